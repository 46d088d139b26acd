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

// segment is one file of the journal. end and the writing methods belong to
// whoever leased it; refs and the flags are guarded by the journal's mutex.
type segment struct {
	path string
	id   uint64 // in the name and in each record's header
	file *os.File
	end  int64 // offset behind the last sealed record

	unpublished int  // sealed records that are not dropped yet
	leased      bool // a receiver writes to it
	closed      bool // takes no more records
	damaged     bool // has a record that fails its checksums: never remove
	removed     bool
}

func createSegment(path string, id uint64) (*segment, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return nil, err
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		_ = f.Close()
		_ = os.Remove(path)
		return nil, err
	}
	return &segment{path: path, id: id, file: f}, nil
}

// openSegment reads a segment left by an earlier run: its sealed records, and
// the torn tail cut off. found is called for each sealed record.
func openSegment(path string, id uint64, found func(Record)) (_ *segment, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	s := &segment{path: path, id: id, file: f, closed: true}
	for size := info.Size(); s.end < size; {
		h, entry, next, err := readRecord(f, id, size, s.end)
		switch {
		case err == nil:
			s.unpublished++
			found(Record{Entry: entry, Length: h.bodyLength, CRC32: h.bodyCRC, segment: s, offset: s.end + headerLength})
		case errors.Is(err, errDamaged):
			s.damaged = true
		case errors.Is(err, errTorn):
			if next, err = findRecord(f, id, size, s.end+1); err != nil {
				return nil, err
			}
			if next < 0 {
				// Nothing sealed comes any more: what was being received when
				// this ended. Nobody has been told that it is safe.
				if !s.damaged {
					if err := f.Truncate(s.end); err != nil {
						return nil, fmt.Errorf("cutting the torn tail of %s: %w", path, err)
					}
				}
				return s, nil
			}
			// Records were sealed behind this one, so it was too.
			s.damaged = true
		default:
			return nil, err
		}
		s.end = next
	}
	return s, nil
}

// writer appends the body of one record to a leased segment.
type writer struct {
	s   *segment
	at  int64
	crc uint32
}

func (s *segment) begin() *writer { return &writer{s: s, at: s.end + headerLength} }

func (w *writer) Write(p []byte) (int, error) {
	n, err := w.s.file.WriteAt(p, w.at)
	w.at += int64(n)
	w.crc = crc32.Update(w.crc, crc32.IEEETable, p[:n])
	return n, err
}

// length is how much of the body has been written.
func (w *writer) length() int64 { return w.at - w.s.end - headerLength }

// seal writes trailer and header and makes the record durable.
func (w *writer) seal(e Entry) (Record, error) {
	trailer, err := json.Marshal(e)
	if err != nil {
		return Record{}, err
	}
	if len(trailer) > maxTrailer {
		return Record{}, fmt.Errorf("entry of %d bytes", len(trailer))
	}
	h := header{
		bodyLength:    w.length(),
		trailerLength: uint32(len(trailer)),
		trailerCRC:    crc32.Checksum(trailer, castagnoli),
		bodyCRC:       w.crc,
		segment:       w.s.id,
		offset:        w.s.end,
	}
	if _, err := w.s.file.WriteAt(trailer, w.at); err != nil {
		return Record{}, err
	}
	if _, err := w.s.file.WriteAt(h.encode(), w.s.end); err != nil {
		return Record{}, err
	}
	if err := unix.Fdatasync(int(w.s.file.Fd())); err != nil {
		return Record{}, errSync{err}
	}
	r := Record{Entry: e, Length: h.bodyLength, CRC32: h.bodyCRC, segment: w.s, offset: w.s.end + headerLength}
	w.s.end = w.at + int64(len(trailer))
	return r, nil
}

// abandon drops what was written since begin.
func (w *writer) abandon() error { return w.s.file.Truncate(w.s.end) }

// errSync is a failed fdatasync. The kernel may have dropped the dirty pages,
// so nothing more may be appended to that file.
type errSync struct{ err error }

func (e errSync) Error() string { return "fdatasync: " + e.err.Error() }
func (e errSync) Unwrap() error { return e.err }

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
