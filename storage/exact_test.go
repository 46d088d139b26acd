package storage_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"github.com/tasvir-pacs/tasvir/storage"
)

// Whatever way a body hands out its bytes, Exact ends with io.EOF exactly when
// the length is right, and never gives the full size of a wrong body.
func TestExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(0, 300).Draw(t, "size")
		actual := rapid.OneOf(rapid.Just(size), rapid.IntRange(0, 600)).Draw(t, "actual")
		data := bytes.Repeat([]byte{7}, actual)
		body := rapid.SampledFrom([]func(io.Reader) io.Reader{
			func(r io.Reader) io.Reader { return r },
			iotest.OneByteReader, iotest.HalfReader, iotest.DataErrReader,
		}).Draw(t, "body")(bytes.NewReader(data))

		got, err := io.ReadAll(storage.Exact(context.Background(), body, int64(size)))
		switch {
		case actual == size && (err != nil || len(got) != size):
			t.Fatalf("the right size gave %d bytes, %v", len(got), err)
		case actual != size && !errors.Is(err, storage.ErrSizeMismatch):
			t.Fatalf("a wrong size gave %v", err)
		case actual != size && size > 0 && len(got) >= size:
			t.Fatalf("a wrong size gave %d bytes", len(got))
		}
	})
}

func TestExactKeepsTheBodysError(t *testing.T) {
	broken := errors.New("broken")
	for _, size := range []int64{0, 1, 5, 6, 100} {
		body := io.MultiReader(bytes.NewReader(make([]byte, 5)), iotest.ErrReader(broken))
		_, err := io.ReadAll(storage.Exact(context.Background(), body, size))
		want := broken
		if size < 5 {
			want = storage.ErrSizeMismatch
		}
		if !errors.Is(err, want) {
			t.Errorf("size %d: %v, want %v", size, err, want)
		}
	}
}

func TestErrorsThatMayBeRepeated(t *testing.T) {
	for err, permanent := range map[error]bool{
		nil:                     false,
		storage.ErrNotFound:     true,
		storage.ErrSizeMismatch: true,
		storage.ErrRange:        true,
		storage.ErrKey:          true,
		storage.ErrFull:         false,
		context.Canceled:        false,
		io.ErrUnexpectedEOF:     false,
	} {
		if got := storage.IsPermanent(err); got != permanent {
			t.Errorf("IsPermanent(%v) = %v", err, got)
		}
	}
}
