package dicomweb

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// content is the body of an answer before it is read: runs of bytes, each
// either in memory or in a pack. Its size is known beforehand, so every answer
// has a Content-Length and can be asked for in part.
type content struct {
	pieces []piece
	size   int64
}

// piece is a run of bytes.
type piece struct {
	size int64
	text string // the bytes themselves, when open is nil
	// open streams length of the bytes from offset; both lie within size.
	open func(ctx context.Context, offset, length int64) (io.ReadCloser, error)
}

func (c *content) addText(s string) {
	c.pieces = append(c.pieces, piece{size: int64(len(s)), text: s})
	c.size += int64(len(s))
}

func (c *content) add(p piece) {
	c.pieces = append(c.pieces, p)
	c.size += p.size
}

// stored is a run of an instance's PS3.10 file.
func (s *service) stored(loc pacs.Location, offset, length int64) piece {
	return piece{size: length, open: func(ctx context.Context, from, n int64) (io.ReadCloser, error) {
		return s.Packs.Open(ctx, loc, offset+from, n)
	}}
}

// multipartContent wraps parts into a multipart/related body. The boundary is
// made from tag, so the same resource has the same bytes each time and can be
// fetched in ranges.
func multipartContent(tag string, parts []part) (c *content, boundary string) {
	sum := sha256.Sum256([]byte("boundary " + tag))
	boundary = "tasvir-" + hex.EncodeToString(sum[:16])
	c = &content{pieces: make([]piece, 0, 2*len(parts)+1)}
	for i, p := range parts {
		var b strings.Builder
		// No line break before the first boundary: clients look for it at the
		// very beginning.
		if i > 0 {
			b.WriteString("\r\n")
		}
		// "Content-Type" is spelled as Cornerstone3D looks for it.
		b.WriteString("--" + boundary + "\r\nContent-Type: " + p.contentType + "\r\n\r\n")
		c.addText(b.String())
		for _, piece := range p.pieces {
			c.add(piece)
		}
	}
	c.addText("\r\n--" + boundary + "--\r\n")
	return c, boundary
}

// part is one part of a multipart body.
type part struct {
	contentType string
	pieces      []piece
}

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
}

// cut is the part of a piece that is wanted.
type cut struct {
	piece
	offset, length int64
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

func (c *content) reader(ctx context.Context, offset, n int64) *reader {
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
		r.rest = append(r.rest, cut{p, offset, length})
		offset, n = 0, n-length
	}
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
				rc, err := p.open(r.ctx, p.offset, p.length)
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
		n, err := io.CopyBuffer(onlyWriter{w}, io.LimitReader(res.rc, o.length), buf)
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
}

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, 128<<10); return &b }}

// answer describes a body and how long it may be kept.
type answer struct {
	*content
	contentType string
	etag        string // without quotes; "" for none
	immutable   bool   // bytes under this address never change
	download    string // file name offered to a browser; "" for none
}

// send answers with a content: whole, in part (Range), or not at all
// (If-None-Match, HEAD).
func (s *service) send(r *request, a answer) error {
	h := r.Writer.Header()
	if a.etag != "" {
		h.Set("ETag", `"`+a.etag+`"`)
	}
	h.Set("Vary", "Accept, Cookie, Authorization")
	if a.immutable {
		h.Set("Cache-Control", "private, max-age=31536000, immutable")
	} else {
		h.Set("Cache-Control", "private, no-cache")
	}
	if a.etag != "" && etagMatches(r.Request.Header.Values("If-None-Match"), a.etag) {
		r.Status(http.StatusNotModified)
		r.Writer.WriteHeaderNow()
		return nil
	}
	h.Set("Accept-Ranges", "bytes")
	h.Set("Content-Type", a.contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	if a.download != "" {
		h.Set("Content-Disposition", `attachment; filename="`+a.download+`"`)
	}

	status, offset, length := http.StatusOK, int64(0), a.size
	if v := r.GetHeader("Range"); v != "" && rangeApplies(r.GetHeader("If-Range"), a.etag) {
		from, n, kind := parseRange(v, a.size)
		switch kind {
		case rangePart:
			status, offset, length = http.StatusPartialContent, from, n
			h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, from+n-1, a.size))
		case rangeOutside:
			for _, name := range bodyHeaders {
				h.Del(name)
			}
			h.Set("Content-Range", fmt.Sprintf("bytes */%d", a.size))
			r.Status(http.StatusRequestedRangeNotSatisfiable)
			r.Writer.WriteHeaderNow()
			return nil
		}
	}
	h.Set("Content-Length", strconv.FormatInt(length, 10))
	if r.Request.Method == http.MethodHead {
		r.Status(status)
		r.Writer.WriteHeaderNow()
		return nil
	}

	body := a.reader(r.Request.Context(), offset, length)
	defer body.close()
	if err := body.prime(); err != nil {
		return err
	}
	r.Status(status)
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	return body.writeTo(r.Writer, *buf)
}

// bodyHeaders describe a body that is not sent after all when an error is
// found before the answer begins.
var bodyHeaders = []string{
	"Accept-Ranges", "Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Length",
	"Content-Range", "Content-Type", "ETag", "Link", "Warning",
}

// etagMatches evaluates If-None-Match, RFC 9110 13.1.2, by weak comparison.
func etagMatches(headers []string, etag string) bool {
	for _, header := range headers {
		for _, v := range splitQuoted(header, ',') {
			v = strings.TrimPrefix(strings.TrimSpace(v), "W/")
			if v == "*" || v == `"`+strings.TrimPrefix(etag, "W/")+`"` {
				return true
			}
		}
	}
	return false
}

// rangeApplies evaluates If-Range, RFC 9110 13.1.5; there are no dates here.
func rangeApplies(ifRange, etag string) bool {
	return ifRange == "" || etag != "" && ifRange == `"`+etag+`"`
}

type rangeKind int

const (
	rangeIgnored rangeKind = iota // the whole is sent
	rangePart
	rangeOutside
)

// parseRange reads a Range header, RFC 9110 14.2. Several ranges, other units
// and what can't be read are ignored, as the RFC allows.
func parseRange(s string, size int64) (offset, length int64, kind rangeKind) {
	spec, ok := strings.CutPrefix(s, "bytes=")
	if !ok || strings.Contains(spec, ",") {
		return 0, 0, rangeIgnored
	}
	first, last, ok := strings.Cut(strings.TrimSpace(spec), "-")
	if !ok {
		return 0, 0, rangeIgnored
	}
	if first == "" {
		n, err := strconv.ParseInt(last, 10, 64)
		if err != nil || n < 0 {
			return 0, 0, rangeIgnored
		}
		if n == 0 || size == 0 {
			return 0, 0, rangeOutside
		}
		n = min(n, size)
		return size - n, n, rangePart
	}
	from, err := strconv.ParseInt(first, 10, 64)
	if err != nil || from < 0 {
		return 0, 0, rangeIgnored
	}
	to := size - 1
	if last != "" {
		if to, err = strconv.ParseInt(last, 10, 64); err != nil || to < from {
			return 0, 0, rangeIgnored
		}
		to = min(to, size-1)
	}
	if from >= size {
		return 0, 0, rangeOutside
	}
	return from, to - from + 1, rangePart
}
