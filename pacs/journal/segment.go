package journal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// segment is one file of the journal. end, size and the writing methods belong
// to whoever leased it; refs and the flags are guarded by the journal's mutex.
type segment struct {
	path string
	id   uint64 // in the name and in each record's header
	file *os.File
	disk *disk
	end  int64 // offset behind the last sealed record
	size int64 // of the file; behind end there is space for the next records
	full int64 // size at which it takes no more records
	fits bool  // the file system can reserve space

	unpublished int  // sealed records that are not dropped yet
	leased      bool // a receiver writes to it
	closed      bool // takes no more records
	spoilt      bool // writing has failed, or it is of an earlier run: not used again
	damaged     bool // has a record that fails its checksums: never remove
	keep        bool // has not been read to its end: stays for the next start
	removed     bool
	renamed     bool // the folder must be synced before anything is written
}

// disk is what a segment does with its file that can fail on a disk. Tests put
// failures in.
type disk struct {
	write func(f *os.File, p []byte, at int64) error
	sync  func(f *os.File) error // returns when all that was written is durable
}

var realDisk = disk{
	write: func(f *os.File, p []byte, at int64) error {
		_, err := f.WriteAt(p, at)
		return err
	},
	sync: func(f *os.File) error { return unix.Fdatasync(int(f.Fd())) },
}

func createSegment(path string, id uint64, d *disk, full int64) (*segment, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return nil, err
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		_ = f.Close()
		_ = os.Remove(path)
		return nil, err
	}
	return &segment{path: path, id: id, file: f, disk: d, full: full, fits: true}, nil
}

// recycle makes an empty segment whose records are all dropped a new one: other
// name, other number, same file. What it overwrites needs no new blocks, and
// fdatasync then has no metadata to write. What is left in it from before has
// the former number and is never taken for a record.
func (s *segment) recycle(path string, id uint64) error {
	if err := os.Rename(s.path, path); err != nil {
		return err
	}
	s.path, s.id, s.end, s.renamed = path, id, 0, true
	return nil
}

// growth is by how much a segment's file grows at a time.
const growth = 8 << 20

// reserve sees to it that the file has room up to an offset, in large steps: a
// file whose length stays is synced twice as fast. Where the file system can't
// do it, and for what goes beyond a full segment, the file grows as it is
// written.
func (s *segment) reserve(end int64) {
	if end <= s.size || end > s.full || !s.fits {
		return
	}
	to := min((end+growth-1)/growth*growth, s.full)
	if err := unix.Fallocate(int(s.file.Fd()), 0, s.size, to-s.size); err != nil {
		_ = s.file.Truncate(s.size)
		s.fits = false
		return
	}
	s.size = to
}

// openSegment reads a segment left by an earlier run: its sealed records, and
// the torn tail cut off. found is called for each sealed record; its error ends
// the reading. The segment is returned leased, also with an error, unless it
// can't be opened at all.
func openSegment(path string, id uint64, found func(Record) error) (*segment, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	s := &segment{path: path, id: id, file: f, size: info.Size(), leased: true, closed: true, spoilt: true}
	return s, s.read(found)
}

func (s *segment) read(found func(Record) error) error {
	for s.end < s.size {
		h, entry, next, err := readRecord(s.file, s.id, s.size, s.end)
		switch {
		case err == nil:
			if err := found(Record{Entry: entry, Length: h.bodyLength, CRC32: h.bodyCRC, segment: s, offset: s.end + headerLength}); err != nil {
				return err
			}
		case errors.Is(err, errDamaged):
			s.damaged = true
		case errors.Is(err, errTorn):
			if next, err = findRecord(s.file, s.id, s.size, s.end+1); err != nil {
				return err
			}
			if next < 0 {
				// Nothing sealed comes any more: what was being received when
				// this ended, or what was there before the segment was used
				// again. Nobody has been told that it is safe.
				if s.damaged {
					return nil
				}
				if err := s.file.Truncate(s.end); err != nil {
					return fmt.Errorf("cutting the torn tail: %w", err)
				}
				return nil
			}
			// Records were sealed behind this one, so it was too.
			s.damaged = true
		default:
			return err
		}
		s.end = next
	}
	return nil
}

// makeDir makes a folder and those above it, and sees to it that a power cut
// does not take them away again.
func makeDir(dir string) error {
	var absent []string
	for d := filepath.Clean(dir); ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); err == nil || d == filepath.Dir(d) {
			break
		}
		absent = append(absent, d)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	for _, d := range absent {
		if err := syncDir(filepath.Dir(d)); err != nil {
			return err
		}
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// segmentNames gives each segment of this run a name of its own: a number that
// rises, and one by chance. The latter keeps a sender from smuggling in records
// (see record.go).
type segmentNames struct {
	mu   sync.Mutex
	next uint64
}

func (n *segmentNames) take(dir string) (path string, id uint64) {
	var chance [8]byte
	_, _ = rand.Read(chance[:]) // never fails: crypto/rand ends the program if it can't
	id = binary.LittleEndian.Uint64(chance[:])
	n.mu.Lock()
	defer n.mu.Unlock()
	n.next++
	return filepath.Join(dir, fmt.Sprintf("%012d-%016x.segment", n.next, id)), id
}

func parseSegmentName(path string) (number, id uint64, err error) {
	name := filepath.Base(path)
	if _, err = fmt.Sscanf(name, "%d-%x.segment", &number, &id); err == nil && name != fmt.Sprintf("%012d-%016x.segment", number, id) {
		err = errors.New("not the name of a segment")
	}
	return number, id, err
}
