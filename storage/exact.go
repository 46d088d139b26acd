package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Exact returns a reader for the size bytes that r must hold, for the
// implementations of Store. It gives io.EOF only after exactly size bytes and
// only if r ended there too; otherwise ErrSizeMismatch. It looks ahead: when r
// is longer than size the last byte is never handed out, so that an upload of
// known length fails instead of succeeding with a truncated body. It ends with
// ctx's error when ctx ends.
func Exact(ctx context.Context, r io.Reader, size int64) io.Reader {
	return &exactReader{ctx: ctx, r: r, size: size, left: size}
}

type exactReader struct {
	ctx  context.Context
	r    io.Reader
	size int64
	left int64
	err  error
}

func (e *exactReader) Read(p []byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if err := e.ctx.Err(); err != nil {
		e.err = err
		return 0, err
	}
	if e.left == 0 { // only for size 0: otherwise the last byte set err
		e.err = e.atEnd()
		return 0, e.err
	}
	n, err := e.r.Read(p[:min(int64(len(p)), e.left)])
	e.left -= int64(n)
	switch {
	case e.left == 0:
		if e.err = e.atEnd(); !errors.Is(e.err, io.EOF) {
			return max(n-1, 0), e.err
		}
		return n, nil
	case errors.Is(err, io.EOF):
		e.err = fmt.Errorf("%w: %d bytes were announced, %d came", ErrSizeMismatch, e.size, e.size-e.left)
	case err != nil:
		e.err = fmt.Errorf("reading the object's body: %w", err)
	}
	return n, e.err
}

// atEnd returns io.EOF if nothing follows.
func (e *exactReader) atEnd() error {
	var one [1]byte
	for range 100 {
		n, err := e.r.Read(one[:])
		switch {
		case n > 0:
			return fmt.Errorf("%w: more than the announced %d bytes came", ErrSizeMismatch, e.size)
		case errors.Is(err, io.EOF):
			return io.EOF
		case err != nil:
			return fmt.Errorf("reading the object's body: %w", err)
		}
	}
	return io.ErrNoProgress
}
