package journal

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"
	"syscall"

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

// bufferLength is how much of a record is gathered before it is written: most
// images go to the disk in one piece.
const bufferLength = 1 << 20

var buffers = sync.Pool{New: func() any { return new([bufferLength]byte) }}

// writer appends one record to a leased segment.
type writer struct {
	s       *segment
	buffer  *[bufferLength]byte
	n       int   // bytes in the buffer
	at      int64 // where the buffer goes in the file
	length  int64 // of the body so far
	crc     uint32
	flushed bool  // the file has been written to
	failed  bool  // and not only for want of space: it must not be used on
	before  int64 // size of the file when the record began
}

// begin starts a record. The writer must end with seal or abandon.
func (s *segment) begin() *writer {
	w := &writer{s: s, buffer: buffers.Get().(*[bufferLength]byte), n: headerLength, at: s.end, before: s.size}
	clear(w.buffer[:headerLength]) // not sealed
	return w
}

// Write appends to the body.
func (w *writer) Write(p []byte) (int, error) {
	for left := p; len(left) > 0; {
		n := copy(w.space(), left)
		left = left[n:]
		if err := w.advance(n); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// space is where the next bytes of the body may be put; advance says how many.
func (w *writer) space() []byte { return w.buffer[w.n:] }

func (w *writer) advance(n int) error {
	w.crc = crc32.Update(w.crc, crc32.IEEETable, w.buffer[w.n:w.n+n])
	w.n += n
	w.length += int64(n)
	if w.n == len(w.buffer) {
		return w.flush()
	}
	return nil
}

func (w *writer) flush() error {
	if w.n == 0 {
		return nil
	}
	w.s.reserve(w.at + int64(w.n))
	err := w.write(w.buffer[:w.n], w.at)
	w.at += int64(w.n)
	w.n = 0
	return err
}

func (w *writer) write(p []byte, at int64) error {
	w.flushed = true
	err := w.s.disk.write(w.s.file, p, at)
	if err != nil && !isFull(err) {
		w.failed = true
	}
	return err
}

// seal completes the record and makes it durable.
func (w *writer) seal(e Entry) (Record, error) {
	trailer, err := json.Marshal(e)
	if err != nil {
		return Record{}, err
	}
	if len(trailer) > maxTrailer {
		return Record{}, fmt.Errorf("entry of %d bytes", len(trailer))
	}
	h := header{
		bodyLength:    w.length,
		trailerLength: uint32(len(trailer)),
		trailerCRC:    crc32.Checksum(trailer, castagnoli),
		bodyCRC:       w.crc,
		segment:       w.s.id,
		offset:        w.s.end,
	}
	if len(trailer) > len(w.buffer)-w.n {
		if err := w.flush(); err != nil {
			return Record{}, err
		}
	}
	w.n += copy(w.buffer[w.n:], trailer)
	if err := w.flush(); err != nil {
		return Record{}, err
	}
	// Last, so that a process that ends in the middle of a write leaves no
	// header to a record that isn't all there.
	if err := w.write(h.encode(), w.s.end); err != nil {
		return Record{}, err
	}
	if err := w.s.disk.sync(w.s.file); err != nil {
		// The kernel may have dropped the dirty pages, and says so only once.
		w.failed = true
		return Record{}, fmt.Errorf("fdatasync: %w", err)
	}
	r := Record{Entry: e, Length: h.bodyLength, CRC32: h.bodyCRC, segment: w.s, offset: w.s.end + headerLength}
	w.s.end = w.at
	w.s.size = max(w.s.size, w.at)
	w.release()
	return r, nil
}

// abandon drops the record. What was written of it loses its header, if it has
// one, and is written over; space it took beyond the file's size is given back.
func (w *writer) abandon() error {
	w.release()
	if !w.flushed {
		return nil
	}
	var err error
	if max(w.at, w.s.size) > w.before {
		err = w.s.file.Truncate(w.before)
		w.s.size = w.before
	}
	if w.before > w.s.end {
		err = errors.Join(err, w.s.disk.write(w.s.file, make([]byte, min(headerLength, w.before-w.s.end)), w.s.end))
	}
	return err
}

func (w *writer) release() {
	if w.buffer != nil {
		buffers.Put(w.buffer)
		w.buffer = nil
	}
}

func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
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
