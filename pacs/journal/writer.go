package journal

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"
	"syscall"
)

// bufferLength is how much of a record is in memory: most images are, whole.
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

// flush writes the buffer to the file.
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
	sum := w.sum(e.DatasetOffset)
	if len(trailer) > len(w.buffer)-w.n {
		if err := w.flush(); err != nil {
			return Record{}, err
		}
	}
	w.n += copy(w.buffer[w.n:], trailer)
	if err := w.commit(h); err != nil {
		return Record{}, err
	}
	r := Record{Entry: e, Length: h.bodyLength, CRC32: h.bodyCRC, SHA256: sum, segment: w.s, offset: w.s.end + headerLength}
	w.s.end = w.at
	w.s.size = max(w.s.size, w.at)
	w.release()
	return r, nil
}

// summed is how long a data set may be for its hash to be computed before it is
// acknowledged: one of this length costs the sender 40 µs, and the publisher would
// spend more on reading it. Longer ones are hashed by the publisher, in its time.
const summed = 64 << 10

// sum is the SHA-256 of a short data set that is still in the buffer, else nil.
func (w *writer) sum(start int64) []byte {
	if w.at != w.s.end || w.length-start > summed {
		return nil
	}
	sum := sha256.Sum256(w.buffer[headerLength+start : w.n])
	return sum[:]
}

// commit writes what is in the buffer, and then the header: a process that ends
// in the middle of a write leaves no header to a record that isn't all there.
func (w *writer) commit(h header) error {
	if err := w.flush(); err != nil {
		return err
	}
	if err := w.write(h.encode(), w.s.end); err != nil {
		return err
	}
	if err := w.s.disk.sync(w.s.file); err != nil {
		// The kernel may have dropped the dirty pages, and says so only once.
		w.failed = true
		return fmt.Errorf("fdatasync: %w", err)
	}
	return nil
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
