package dicomweb

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

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
	// pack and at say where in which pack the bytes lie, when they are sent as
	// they are kept: what lies behind one another is read at once.
	pack string
	at   int64
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
	return piece{size: length, pack: loc.PackKey, at: loc.Offset + offset, open: func(ctx context.Context, from, n int64) (io.ReadCloser, error) {
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

// answer describes a body and how long it may be kept.
type answer struct {
	*content
	contentType string
	etag        string // without quotes; "" for none
	cache       string // Cache-Control: lasting, or changing when ""
	download    string // file name offered to a browser; "" for none
}

// changing is the Cache-Control of what may be another at any time: a browser
// keeps it and asks whether it still is so.
const changing = "private, no-cache"

// lasting is the Cache-Control of what an instance's bytes alone decide. When
// other bytes are sent under its UID they are served from then on; that happens
// soon or never. So a browser may keep it without asking as long again as it has
// been here, and for good after a day.
func lasting(i pacs.Instance) string { return cacheControl(time.Since(i.ReceivedAt)) }

func cacheControl(age time.Duration) string {
	if age >= 24*time.Hour {
		return "private, max-age=31536000, immutable"
	}
	return "private, max-age=" + strconv.Itoa(int(max(age, 0).Seconds()))
}

// unchanged says of an answer by what it is known again, and how long it may be
// kept ("" for changing), and reports whether the client has it already, in which
// case the answer is complete. Without an etag it never has.
func unchanged(r *request, etag, cache string) bool {
	h := r.Writer.Header()
	h.Add("Vary", "Accept, Cookie, Authorization")
	h.Set("Cache-Control", cmp.Or(cache, changing))
	if etag == "" {
		return false
	}
	h.Set("ETag", `"`+etag+`"`)
	if !etagMatches(r.Request.Header.Values("If-None-Match"), etag) {
		return false
	}
	r.Status(http.StatusNotModified)
	r.Writer.WriteHeaderNow()
	return true
}

// send answers with a content: whole, in part (Range), or not at all
// (If-None-Match, HEAD).
func (s *service) send(r *request, a answer) error {
	h := r.Writer.Header()
	if unchanged(r, a.etag, a.cache) {
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

	body := a.reader(r.Request.Context(), s.Packs, offset, length)
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
