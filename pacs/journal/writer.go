package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// bufferLength is how much of a record is in memory: most images are, whole.
const bufferLength = 1 << 20

// writeAhead is how much is gathered before it is sent on its way to the disk,
// while more comes: what is there already, fdatasync need not wait for.
const writeAhead = 128 << 10

const pageLength = 4 << 10

var buffers = sync.Pool{New: func() any { return new([bufferLength]byte) }}

// writer appends one record to a leased segment.
type writer struct {
	s       *segment
	buffer  *[bufferLength]byte
	sum     sum
	n       int   // bytes in the buffer
	ahead   int   // of these, bytes that are in the file already
	at      int64 // where the buffer goes in the file
	length  int64 // of the body so far
	crc     uint32
	flushed bool  // the file has been written to
	failed  bool  // and not only for want of space: it must not be used on
	before  int64 // size of the file when the record began
}

// begin starts a record. The writer must end with seal or abandon.
func (s *segment) begin() *writer {
	w := &writer{s: s, buffer: buffers.Get().(*[bufferLength]byte), n: headerLength, at: s.end, before: s.size, sum: newSum()}
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
	switch {
	case w.n == len(w.buffer):
		return w.flush()
	case w.n-w.ahead >= writeAhead:
		return w.writeAhead()
	}
	return nil
}

// writeAhead writes what fills pages, and has the kernel begin with them. The
// page of the header is written last anyway.
func (w *writer) writeAhead() error {
	end := (w.at + int64(w.n)) &^ (pageLength - 1)
	start := w.at + int64(w.ahead)
	w.s.reserve(end)
	if err := w.write(w.buffer[w.ahead:end-w.at], start); err != nil {
		return err
	}
	w.ahead = int(end - w.at)
	start = max(start, (w.s.end+headerLength+pageLength-1)&^(pageLength-1))
	// What comes of it, fdatasync will say.
	_ = unix.SyncFileRange(int(w.s.file.Fd()), start, end-start, unix.SYNC_FILE_RANGE_WRITE)
	return nil
}

func (w *writer) flush() error {
	if w.n == 0 {
		return nil
	}
	body, at := w.body()
	return w.sum.during(body, at, w.put)
}

// put writes the buffer to the file.
func (w *writer) put() error {
	w.s.reserve(w.at + int64(w.n))
	err := w.write(w.buffer[w.ahead:w.n], w.at+int64(w.ahead))
	w.at += int64(w.n)
	w.n, w.ahead = 0, 0
	return err
}

// body is what the buffer holds of the body, and where in the body that is.
func (w *writer) body() (part []byte, at int64) {
	if w.at == w.s.end {
		return w.buffer[headerLength:w.n], 0
	}
	return w.buffer[:w.n], w.at - w.s.end - headerLength
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
	w.sum.from(e.DatasetOffset)
	if len(trailer) > len(w.buffer)-w.n {
		if err := w.flush(); err != nil {
			return Record{}, err
		}
	}
	body, at := w.body()
	w.n += copy(w.buffer[w.n:], trailer)
	err = w.sum.during(body, at, func() error { return w.commit(h) })
	if err != nil {
		return Record{}, err
	}
	r := Record{Entry: e, Length: h.bodyLength, CRC32: h.bodyCRC, SHA256: w.sum.value(), segment: w.s, offset: w.s.end + headerLength}
	w.s.end = w.at
	w.s.size = max(w.s.size, w.at)
	w.release()
	return r, nil
}

// commit writes what is in the buffer, and then the header: a process that ends
// in the middle of a write leaves no header to a record that isn't all there.
func (w *writer) commit(h header) error {
	if err := w.put(); err != nil {
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
	if max(w.at+int64(w.ahead), w.s.size) > w.before {
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
