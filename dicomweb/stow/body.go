package stow

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"io"
	"strings"
	"sync"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// part is one instance of a request.
type part struct {
	at       int // in what was asked for
	instance pacs.Instance
	file     pacs.File
}

const partHead = "Content-Type: application/dicom\r\n\r\n"

// body is a request's content, RFC 2387. Files are opened one after the other.
type body struct {
	ctx      context.Context
	parts    []part
	boundary string
	length   int64
	progress func(done bool)

	mu      sync.Mutex // net/http may close it while it reads
	next    int
	current io.Reader
	file    io.ReadCloser
	read    bool
	broken  error
	reading part // or the last that was
	closed  bool
}

func newBody(ctx context.Context, parts []part) *body {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails
	b := &body{ctx: ctx, parts: parts, boundary: hex.EncodeToString(random[:]), progress: func(bool) {}}
	for _, p := range parts {
		b.length += int64(len(b.head())) + p.file.Length + 2
	}
	b.length += int64(len(b.tail()))
	return b
}

func (b *body) contentType() string {
	return `multipart/related; type="application/dicom"; boundary=` + b.boundary
}

func (b *body) head() string { return "--" + b.boundary + "\r\n" + partHead }

func (b *body) tail() string { return "--" + b.boundary + "--\r\n" }

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, io.ErrClosedPipe
	}
	b.read = true
	for {
		if b.current != nil {
			n, err := b.current.Read(p)
			if n > 0 {
				b.progress(false)
				return n, nil
			}
			if err != nil && err != io.EOF {
				b.broken = err
				return 0, err
			}
			if err == nil {
				continue
			}
			b.closeFile()
			b.current = nil
		}
		switch {
		case b.next < len(b.parts):
			b.reading = b.parts[b.next]
			f := b.reading.file
			file, err := f.Open(b.ctx, 0, f.Length)
			if err != nil {
				b.broken = err
				return 0, err
			}
			b.file, b.current = file, io.MultiReader(strings.NewReader(b.head()), file, strings.NewReader("\r\n"))
		case b.next == len(b.parts):
			b.current = strings.NewReader(b.tail())
		default:
			b.progress(true)
			return 0, io.EOF
		}
		b.next++
	}
}

func (b *body) closeFile() {
	if b.file != nil {
		_ = b.file.Close()
		b.file = nil
	}
}

// Close implements io.Closer.
func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.closeFile()
	return nil
}

// begun tells whether anything of it was read.
func (b *body) begun() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.read
}

// unreadable is the part that could not be read, and why; nil when that is none.
func (b *body) unreadable() *unreadablePart {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.broken == nil {
		return nil
	}
	return &unreadablePart{b.reading.at, b.broken}
}

// unreadablePart says that an instance could not be read while it was sent.
type unreadablePart struct {
	at  int
	err error
}

func (e *unreadablePart) Error() string { return "an instance could not be read: " + e.err.Error() }
