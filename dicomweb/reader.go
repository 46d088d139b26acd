package dicomweb

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
)

// How many pieces are opened before their turn, and how many bytes they may
// have together: opening costs a round trip to the object store, and small
// instances are read faster than that. Large ones must not wait, open, for a
// slow client; the object store would lose patience.
const (
	aheadPieces = 8
	aheadBytes  = 4 << 20
)

// reader streams n bytes of c from offset.
type reader struct {
	ctx    context.Context
	cancel context.CancelFunc
	queue  []opened // from here on, in order
	queued int64    // bytes of queue
	rest   []cut    // not opened yet
	runs   []*run
}

// cut is the part of a piece that is wanted.
type cut struct {
	piece
	offset, length int64
	run            *run // what it is read from together with others; nil: alone
}

// opened is a cut whose opening is under way.
type opened struct {
	length int64
	ready  chan openResult
}

type openResult struct {
	rc  io.ReadCloser
	err error
}

func (c *content) reader(ctx context.Context, packs Packs, offset, n int64) *reader {
	r := &reader{}
	r.ctx, r.cancel = context.WithCancel(ctx)
	for _, p := range c.pieces {
		if n == 0 {
			break
		}
		if offset >= p.size {
			offset -= p.size
			continue
		}
		length := min(p.size-offset, n)
		r.rest = append(r.rest, cut{piece: p, offset: offset, length: length})
		offset, n = 0, n-length
	}
	r.runs = joinRuns(packs, r.rest)
	r.fill()
	return r
}

// fill starts opening pieces until enough are under way.
func (r *reader) fill() {
	for len(r.rest) > 0 && (len(r.queue) == 0 || len(r.queue) < aheadPieces && r.queued+r.rest[0].length <= aheadBytes) {
		p := r.rest[0]
		r.rest = r.rest[1:]
		r.queued += p.length
		o := opened{length: p.length, ready: make(chan openResult, 1)}
		if p.open == nil {
			text := p.text[p.offset : p.offset+p.length]
			o.ready <- openResult{rc: io.NopCloser(strings.NewReader(text))}
		} else {
			go func() {
				rc, err := p.read(r.ctx)
				o.ready <- openResult{rc, err}
			}()
		}
		r.queue = append(r.queue, o)
	}
}

// prime waits until all pieces that are being opened are open, or one failed.
// It is called before the head of the answer is sent, while a failure can
// still be told.
func (r *reader) prime() error {
	for i := range r.queue {
		res := <-r.queue[i].ready
		r.queue[i].ready <- res
		if res.err != nil {
			return res.err
		}
	}
	return nil
}

// writeTo copies everything to w through buf.
func (r *reader) writeTo(w io.Writer, buf []byte) error {
	for len(r.queue) > 0 {
		o := r.queue[0]
		r.queue, r.queued = r.queue[1:], r.queued-o.length
		r.fill()
		res := <-o.ready
		if res.err != nil {
			return res.err
		}
		n, err := copyN(w, res.rc, o.length, buf)
		if closeErr := res.rc.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return err
		}
		if n != o.length {
			return fmt.Errorf("dicomweb: %d of %d bytes were there: %w", n, o.length, io.ErrUnexpectedEOF)
		}
	}
	return nil
}

// directReader is a stored object that can be sent without passing through this
// process (sendfile).
type directReader interface {
	// CopyN is as io.CopyN.
	CopyN(w io.Writer, n int64) (int64, error)
}

// copyN copies n bytes of src to w: directly where both can, or through buf.
func copyN(w io.Writer, src io.Reader, n int64, buf []byte) (int64, error) {
	if direct, ok := src.(directReader); ok {
		if _, ok := w.(io.ReaderFrom); ok {
			return direct.CopyN(w, n)
		}
	}
	return io.CopyBuffer(onlyWriter{w}, io.LimitReader(src, n), buf)
}

// onlyWriter hides ReadFrom, which would bypass the buffer.
type onlyWriter struct{ io.Writer }

// close ends what is still being opened.
func (r *reader) close() {
	r.cancel()
	for _, o := range r.queue {
		if res := <-o.ready; res.rc != nil {
			res.rc.Close()
		}
	}
	r.queue, r.rest = nil, nil
	for _, run := range r.runs {
		run.close()
	}
}

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, 128<<10); return &b }}
