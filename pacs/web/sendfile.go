package web

import (
	"io"
	"net/http"

	"github.com/gin-gonic/gin"
)

// fileWriter is gin's writer with ReadFrom, which gin's own hides: by it the
// kernel copies files to the connection (sendfile).
type fileWriter struct {
	gin.ResponseWriter
	to   io.ReaderFrom
	sent int // bytes that gin has not seen
}

// files gives a request a fileWriter.
func files(c *gin.Context) {
	unwrapper, ok := c.Writer.(interface{ Unwrap() http.ResponseWriter })
	if !ok {
		return
	}
	if to, ok := unwrapper.Unwrap().(io.ReaderFrom); ok {
		c.Writer = &fileWriter{ResponseWriter: c.Writer, to: to}
	}
}

// ReadFrom implements io.ReaderFrom.
func (w *fileWriter) ReadFrom(src io.Reader) (int64, error) {
	w.WriteHeaderNow()
	n, err := w.to.ReadFrom(src)
	w.sent += int(n)
	return n, err
}

// Size counts what was sent in either way.
func (w *fileWriter) Size() int { return w.ResponseWriter.Size() + w.sent }

// Unwrap is for http.ResponseController.
func (w *fileWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
