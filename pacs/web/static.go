package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// static is the web client's files, in memory.
type static struct{ files map[string]*staticFile }

type staticFile struct {
	name        string
	contentType string
	plain       []byte
	etag        string
	immutable   bool // its name has a hash of its content
	zipped      func() []byte
}

// The build puts a hash of eight or more characters before the extension of
// whatever it writes to assets/.
var hashedName = regexp.MustCompile(`^assets/.*-[A-Za-z0-9_-]{8,}\.[a-z0-9]+$`)

// contentTypes of what a client is made of; the system's table may lack or
// change them.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".mjs": "text/javascript; charset=utf-8",
	".css": "text/css; charset=utf-8", ".json": "application/json", ".wasm": "application/wasm", ".svg": "image/svg+xml",
	".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp", ".ico": "image/x-icon", ".woff2": "font/woff2",
	".txt": "text/plain; charset=utf-8", ".map": "application/json", ".webmanifest": "application/manifest+json",
}

// Static serves the web client at /. A path that is no file and looks like a
// page gets index.html: the client routes by itself. Files named NAME.gz
// beside NAME are sent to who takes gzip.
func (s *Server) Static(files fs.FS) error {
	client := &static{files: map[string]*staticFile{}}
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasPrefix(path.Base(name), ".") {
			return err
		}
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(content)
		file := &staticFile{
			name: name, plain: content, immutable: hashedName.MatchString(name),
			etag:        `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`,
			contentType: contentTypes[path.Ext(name)],
		}
		if file.contentType == "" {
			file.contentType = mime.TypeByExtension(path.Ext(name))
		}
		if file.contentType == "" {
			file.contentType = "application/octet-stream"
		}
		prepared, err := fs.ReadFile(files, name+".gz")
		switch {
		case err == nil:
			file.zipped = func() []byte { return prepared }
		case !errors.Is(err, fs.ErrNotExist):
			return err
		default:
			file.zipped = sync.OnceValue(file.zip)
		}
		client.files[name] = file
		return nil
	})
	if err != nil {
		return fmt.Errorf("web client: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.client = client
	return nil
}

// zip compresses once, on first use; nil when there is nothing to win.
func (f *staticFile) zip() []byte {
	if len(f.plain) < compressFrom || !compressible(f.contentType) {
		return nil
	}
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(f.plain); err != nil {
		return nil
	}
	if err := w.Close(); err != nil || out.Len() >= len(f.plain) {
		return nil
	}
	return out.Bytes()
}

func (s *Server) noRoute(c *gin.Context) {
	name := strings.TrimPrefix(path.Clean("/"+c.Request.URL.Path), "/")
	first, _, _ := strings.Cut(name, "/")
	switch first {
	case "api", "dicom-web":
		Problem(c, pacs.Errorf(pacs.NotFound, "There is nothing at this address"))
		return
	}
	if method := c.Request.Method; method != http.MethodGet && method != http.MethodHead {
		Problem(c, pacs.Errorf(pacs.NotFound, "There is nothing at this address"))
		return
	}
	s.mu.RLock()
	client := s.client
	s.mu.RUnlock()
	var file *staticFile
	if client != nil {
		file = client.files[name]
		// A page of the client; a missing file must stay missing, or a script
		// tag would get a page.
		if file == nil && path.Ext(name) == "" {
			file = client.files["index.html"]
		}
	}
	if file == nil {
		message := "There is nothing at this address"
		if name == "" {
			message = "The web client is not part of this build. Build it with make build"
		}
		Problem(c, pacs.Errorf(pacs.NotFound, "%s", message))
		return
	}
	file.serve(c)
}

func (f *staticFile) serve(c *gin.Context) {
	header := c.Writer.Header()
	header.Set("Content-Type", f.contentType)
	header.Set("Cache-Control", "no-cache")
	if f.immutable {
		header.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	header.Set("Vary", "Accept-Encoding")
	etag := "W/" + f.etag // the same for both encodings
	header.Set("Etag", etag)
	if matches(c.GetHeader("If-None-Match"), etag) {
		header.Del("Content-Type")
		c.Status(http.StatusNotModified)
		c.Writer.WriteHeaderNow()
		return
	}
	content := f.plain
	if AcceptsGzip(c.Request) {
		if zipped := f.zipped(); zipped != nil {
			content = zipped
			header.Set("Content-Encoding", "gzip")
		}
	}
	header.Set("Content-Length", strconv.Itoa(len(content)))
	c.Status(http.StatusOK)
	if c.Request.Method == http.MethodHead {
		c.Writer.WriteHeaderNow()
		return
	}
	_, _ = c.Writer.Write(content)
}

// matches is If-None-Match with weak comparison (RFC 9110 13.1.2).
func matches(header, etag string) bool {
	for item := range strings.SplitSeq(header, ",") {
		item = strings.TrimSpace(item)
		if item == "*" || strings.TrimPrefix(item, "W/") == strings.TrimPrefix(etag, "W/") {
			return true
		}
	}
	return false
}
