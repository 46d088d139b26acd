package web

import (
	"compress/gzip"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// compressFrom is the size from which an answer is worth compressing.
const compressFrom = 1024

// compressible are the media types that shrink. Pixel data travels in
// multipart answers and is sent as it is stored.
func compressible(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return false
	}
	switch media {
	case "application/json", "application/dicom+json", "application/problem+json", "application/yaml", "image/svg+xml",
		"application/javascript", "application/wasm", "application/xml", "application/manifest+json":
		return true
	case "text/event-stream":
		return false
	}
	return strings.HasPrefix(media, "text/")
}

// AcceptsGzip reports whether an answer may be sent compressed (Accept-Encoding,
// RFC 9110 12.5.3).
func AcceptsGzip(r *http.Request) bool { return acceptsEncoding(r, "gzip") }

func acceptsEncoding(r *http.Request, encoding string) bool {
	any := false
	for _, value := range r.Header.Values("Accept-Encoding") {
		for item := range strings.SplitSeq(value, ",") {
			name, parameters, _ := strings.Cut(strings.TrimSpace(item), ";")
			name = strings.TrimSpace(name)
			weight, ok := strings.CutPrefix(strings.ReplaceAll(parameters, " ", ""), "q=")
			refused := false
			if q, err := strconv.ParseFloat(weight, 64); ok && err == nil && q == 0 {
				refused = true
			}
			switch {
			case strings.EqualFold(name, encoding):
				return !refused
			case name == "*":
				any = !refused
			}
		}
	}
	return any
}

var gzipWriters = sync.Pool{New: func() any {
	w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level exists
	return w
}}

var zstdWriters = sync.Pool{New: func() any {
	w, _ := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(256<<10), zstd.WithLowerEncoderMem(true)) // the options exist
	return w
}}

// encoder is a compressing writer that is used again and again.
type encoder interface {
	io.WriteCloser
	Flush() error
	Reset(io.Writer)
}

type encoding struct {
	name    string
	writers *sync.Pool
}

// encodings are those that answers are compressed with, the best first.
var encodings = []encoding{{"zstd", &zstdWriters}, {"gzip", &gzipWriters}}

// compressWriter compresses an answer of a compressible type once it has
// compressFrom bytes or is flushed. An answer that has an encoding, or is part
// of something (206), passes untouched.
type compressWriter struct {
	http.ResponseWriter
	request *http.Request
	status  int    // 0 until WriteHeader
	held    []byte // what was written while it is not decided
	holding bool
	// encoding is that of encodings which is used while zip is not nil, or will be.
	encoding int
	zip      encoder
}

func compress(w http.ResponseWriter, r *http.Request) *compressWriter {
	return &compressWriter{ResponseWriter: w, request: r}
}

// Unwrap is for http.ResponseController.
func (w *compressWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *compressWriter) WriteHeader(status int) {
	if status < 200 {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	if w.status != 0 {
		return
	}
	w.status = status
	header := w.Header()
	if compressible(header.Get("Content-Type")) {
		if !strings.Contains(header.Get("Vary"), "Accept-Encoding") {
			header.Add("Vary", "Accept-Encoding")
		}
		length, err := strconv.ParseInt(header.Get("Content-Length"), 10, 64)
		w.holding = header.Get("Content-Encoding") == "" && header.Get("Content-Range") == "" &&
			status != http.StatusNoContent && status != http.StatusNotModified && status != http.StatusPartialContent &&
			w.request.Method != http.MethodHead && (err != nil || length >= compressFrom) && w.choose()
	}
	if !w.holding {
		w.ResponseWriter.WriteHeader(status)
	}
}

// choose picks the encoding; false when the client takes none of ours.
func (w *compressWriter) choose() bool {
	w.encoding = slices.IndexFunc(encodings, func(e encoding) bool {
		// "*" means what everybody knows.
		named := e.name == "gzip" || slices.ContainsFunc(w.request.Header.Values("Accept-Encoding"), func(v string) bool { return strings.Contains(v, e.name) })
		return named && acceptsEncoding(w.request, e.name)
	})
	return w.encoding >= 0
}

func (w *compressWriter) Write(data []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	switch {
	case w.zip != nil:
		return w.zip.Write(data)
	case !w.holding:
		return w.ResponseWriter.Write(data)
	case len(w.held)+len(data) < compressFrom:
		w.held = append(w.held, data...)
		return len(data), nil
	}
	if err := w.begin(); err != nil {
		return 0, err
	}
	return w.zip.Write(data)
}

// ReadFrom passes a file on to the connection when it is not compressed.
func (w *compressWriter) ReadFrom(src io.Reader) (int64, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if inner, ok := w.ResponseWriter.(io.ReaderFrom); ok && !w.holding && w.zip == nil {
		return inner.ReadFrom(src)
	}
	return io.Copy(struct{ io.Writer }{w}, src)
}

// begin starts to compress, with what was held first.
func (w *compressWriter) begin() error {
	w.holding = false
	header := w.Header()
	header.Set("Content-Encoding", encodings[w.encoding].name)
	header.Del("Content-Length")
	if tag := header.Get("Etag"); tag != "" && !strings.HasPrefix(tag, "W/") {
		header.Set("Etag", "W/"+tag) // the bytes differ, the meaning does not
	}
	w.ResponseWriter.WriteHeader(w.status)
	w.zip = encodings[w.encoding].writers.Get().(encoder)
	w.zip.Reset(w.ResponseWriter)
	_, err := w.zip.Write(w.held)
	w.held = nil
	return err
}

// Flush sends what there is.
func (w *compressWriter) Flush() {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.holding && w.begin() != nil {
		return
	}
	if w.zip != nil && w.zip.Flush() != nil {
		return
	}
	if flusher, ok := w.ResponseWriter.(http.Flusher); ok {
		flusher.Flush()
	}
}

// finish ends the answer. Without it a compressed answer is truncated, which
// the client notices.
func (w *compressWriter) finish() {
	switch {
	case w.zip != nil:
		_ = w.zip.Close()
		w.zip.Reset(nil)
		encodings[w.encoding].writers.Put(w.zip)
		w.zip = nil
	case w.holding:
		w.holding = false
		w.Header().Set("Content-Length", strconv.Itoa(len(w.held)))
		w.ResponseWriter.WriteHeader(w.status)
		_, _ = w.ResponseWriter.Write(w.held)
	}
}
