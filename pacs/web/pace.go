package web

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"
)

// A peer must take up to paceBytes, or give something, every paceTime, or the
// connection is dropped. A limit on the whole request would cut off a
// large study on a thin link; no limit would let a stalled peer stay for ever.
const (
	paceBytes = 64 << 10
	paceTime  = 30 * time.Second
)

// pace gives each read of the request's body and each write of the answer a
// deadline of its own.
func pace(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
	return paceAt(w, r, paceTime)
}

func paceAt(w http.ResponseWriter, r *http.Request, each time.Duration) http.ResponseWriter {
	control := http.NewResponseController(w)
	if r.Body != nil && r.Body != http.NoBody {
		// For a body that the handler never reads: net/http reads some of what
		// is left before it answers.
		_ = control.SetReadDeadline(time.Now().Add(each))
		r.Body = &pacedBody{ReadCloser: r.Body, control: control, each: each}
	}
	return &pacedWriter{ResponseWriter: w, control: control, each: each}
}

type pacedBody struct {
	io.ReadCloser
	control *http.ResponseController
	each    time.Duration
}

func (b *pacedBody) Read(p []byte) (int, error) {
	_ = b.control.SetReadDeadline(time.Now().Add(b.each)) // a test's recorder has none
	n, err := b.ReadCloser.Read(p[:min(len(p), paceBytes)])
	if errors.Is(err, io.EOF) {
		// After the body, net/http watches the connection for its end; a
		// deadline would look like one. After any other error the deadline
		// stays: net/http goes on to drain the body.
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

type pacedWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	each    time.Duration
	written int64 // bytes of the body as they were sent
}

// Unwrap is for http.ResponseController.
func (w *pacedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *pacedWriter) Write(data []byte) (written int, err error) {
	for first := true; first || len(data) > 0; first = false {
		part := data[:min(len(data), paceBytes)]
		_ = w.control.SetWriteDeadline(time.Now().Add(w.each))
		n, err := w.ResponseWriter.Write(part)
		written += n
		w.written += int64(n)
		if err != nil {
			return written, err
		}
		data = data[len(part):]
	}
	return written, nil
}

// ReadFrom lets the kernel copy a file to the connection (sendfile), where there
// is one. The deadline is for all of a step then, and a step may be more than
// paceBytes: it is over when less than that was taken in the time.
func (w *pacedWriter) ReadFrom(src io.Reader) (total int64, err error) {
	inner, direct := w.ResponseWriter.(io.ReaderFrom)
	limited, ok := src.(*io.LimitedReader)
	if !direct || !ok {
		buf := make([]byte, paceBytes)
		return io.CopyBuffer(struct{ io.Writer }{w}, src, buf)
	}
	for limited.N > 0 {
		step := &io.LimitedReader{R: limited.R, N: min(limited.N, sendStep)}
		_ = w.control.SetWriteDeadline(time.Now().Add(w.each))
		n, err := inner.ReadFrom(step)
		total, limited.N, w.written = total+n, limited.N-n, w.written+n
		if errors.Is(err, os.ErrDeadlineExceeded) && n >= paceBytes {
			continue
		}
		if err != nil || n == 0 {
			return total, err
		}
	}
	return total, nil
}

// sendStep is how many bytes of a file the kernel is told to send at once.
const sendStep = 4 << 20

// written is how many bytes of a body have been sent by a writer that wraps a
// pacedWriter.
func written(w http.ResponseWriter) int64 {
	for w != nil {
		if paced, ok := w.(*pacedWriter); ok {
			return paced.written
		}
		inner, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return 0
		}
		w = inner.Unwrap()
	}
	return 0
}

// Flush sends what is buffered.
func (w *pacedWriter) Flush() {
	_ = w.control.SetWriteDeadline(time.Now().Add(w.each))
	_ = w.control.Flush()
}
