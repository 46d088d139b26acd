package web

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/gin-gonic/gin"
)

// kernelWriter stands where net/http's own writer does, and notes how a file
// comes to it.
type kernelWriter struct {
	http.ResponseWriter
	files, bytes int64
}

func (w *kernelWriter) ReadFrom(src io.Reader) (int64, error) {
	limited, ok := src.(*io.LimitedReader)
	if _, file := limited.R.(*os.File); ok && file {
		w.files++ // net.TCPConn gives such a thing to the kernel
	}
	n, err := w.ResponseWriter.(io.ReaderFrom).ReadFrom(src)
	w.bytes += n
	return n, err
}

func (w *kernelWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// What is sent of a file passes through none of our writers, is counted, and is
// cut into steps that each have a deadline.
func TestFilesGoThroughTheKernel(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pack")
	content := make([]byte, sendStep+1000)
	for i := range content {
		content[i] = byte(i >> 7)
	}
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	gin.SetMode(gin.TestMode)
	engine := gin.New()
	size := make(chan int, 1)
	engine.Use(files, func(c *gin.Context) { c.Next(); size <- c.Writer.Size() })
	engine.GET("/", func(c *gin.Context) {
		f, err := os.Open(name)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		c.Header("Content-Type", "application/octet-stream")
		c.Header("Content-Length", "4195310")
		_, _ = c.Writer.WriteString("head: ")
		if n, err := io.Copy(c.Writer, &io.LimitedReader{R: f, N: int64(len(content))}); err != nil || n != int64(len(content)) {
			t.Errorf("%d bytes were sent: %v", n, err)
		}
	})
	kernel := new(kernelWriter)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kernel.ResponseWriter = w
		compressed := compress(pace(kernel, r), r)
		engine.ServeHTTP(compressed, r)
		compressed.finish()
	}))
	defer server.Close()
	answer, err := server.Client().Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	if err != nil || string(got) != "head: "+string(content) {
		t.Fatalf("%d bytes came, and not those of the file: %v", len(got), err)
	}
	if n := <-size; n != len(got) {
		t.Errorf("the log says %d bytes, %d came", n, len(got))
	}
	if kernel.files != 2 || kernel.bytes != int64(len(content)) {
		t.Errorf("%d files with %d bytes came to the connection, want 2 steps with %d", kernel.files, kernel.bytes, len(content))
	}
}
