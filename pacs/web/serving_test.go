package web

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/klauspost/compress/zstd"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
)

func bytesContain(data []byte, text string) bool { return bytes.Contains(data, []byte(text)) }

func TestProblemTable(t *testing.T) {
	for _, test := range []struct {
		err  error
		want int
	}{
		{pacs.Errorf(pacs.Invalid, "x"), 400},
		{pacs.Errorf(pacs.Invalid, "x").WithReason("empty_report", ""), 422},
		{pacs.Errorf(pacs.Unauthenticated, "x"), 401},
		{pacs.Errorf(pacs.Unauthenticated, "x").WithReason("too_many_attempts", ""), 429},
		{pacs.Errorf(pacs.Forbidden, "x").WithReason("csrf", ""), 403},
		{pacs.Errorf(pacs.NotFound, "x"), 404},
		{pacs.Errorf(pacs.Conflict, "x").WithReason("claimed_by_other", "Ali"), 409},
		{pacs.Errorf(pacs.TooLarge, "x"), 413},
		{pacs.Errorf(pacs.Unsupported, "x"), 415},
		{pacs.Errorf(pacs.NotAcceptable, "x"), 406},
		{pacs.Errorf(pacs.OutOfResources, "x"), 507},
		{pacs.Errorf(pacs.Unavailable, "x"), 503},
		{pacs.Errorf(pacs.Internal, "x"), 500},
		{errors.New("x"), 500},
		{fmt.Errorf("while y: %w", pacs.Errorf(pacs.NotFound, "x")), 404},
		{pacs.Wrap(pacs.Unavailable, pacs.Errorf(pacs.NotFound, "inner"), "outer"), 503},
	} {
		if got := StatusOf(test.err); got != test.want {
			t.Errorf("%v: %d, want %d", test.err, got, test.want)
		}
	}
}

func TestProblemShape(t *testing.T) {
	s := open(t, nil)
	for path, err := range map[string]error{
		"/claimed":  pacs.Errorf(pacs.Conflict, "Ali reads this study").WithReason("claimed_by_other", "Karimov Ali"),
		"/secret":   pacs.Wrap(pacs.Internal, errors.New("password=hunter2"), "SELECT failed"),
		"/unknown":  errors.New("password=hunter2"),
		"/down":     pacs.Wrap(pacs.Unavailable, errors.New("password=hunter2"), "The store does not answer"),
		"/too-late": pacs.Wrap(pacs.Unauthenticated, &access.TooManyAttempts{Wait: 1500 * time.Millisecond}, "x").WithReason("too_many_attempts", ""),
	} {
		s.server.API().GET(path, Handle(func(*gin.Context) error { return err }))
	}
	s.server.API().GET("/panic", func(*gin.Context) { panic("password=hunter2") })
	b := s.browser("ali", pacs.Clinician, "A")

	claimed := b.do("GET", "/api/claimed", nil).problem(409, "conflict", "claimed_by_other")
	var got map[string]any
	if err := json.Unmarshal(claimed.body, &got); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{"type": "about:blank", "status": 409.0, "detail": "Ali reads this study", "who": "Karimov Ali"} {
		if got[name] != want {
			t.Errorf("%s: %v, want %v", name, got[name], want)
		}
	}
	for _, path := range []string{"/secret", "/unknown", "/panic"} {
		answer := b.do("GET", "/api"+path, nil).problem(500, "internal", "")
		if bytesContain(answer.body, "hunter2") || bytesContain(answer.body, "SELECT") {
			t.Errorf("%s tells too much: %s", path, answer.body)
		}
	}
	down := b.do("GET", "/api/down", nil).problem(503, "unavailable", "")
	if down.Header.Get("Retry-After") == "" || bytesContain(down.body, "hunter2") {
		t.Errorf("%v %s", down.Header, down.body)
	}
	if got := b.do("GET", "/api/too-late", nil).problem(429, "unauthenticated", "too_many_attempts").Header.Get("Retry-After"); got != "2" {
		t.Errorf("Retry-After %q, want 2: never too early", got)
	}
	b.do("PATCH", "/api/session", nil).problem(405, "unsupported", "")
	b.do("GET", "/api/nowhere", nil).problem(404, "not_found", "")
	b.do("GET", "/dicom-web/nowhere", nil).problem(404, "not_found", "")
	if !bytes.Contains(s.log.Bytes(), []byte(`"panic":"password=hunter2"`)) {
		t.Error("the panic is not in the log")
	}
}

// What fails half-way must not look complete.
func TestBrokenAnswersAreCut(t *testing.T) {
	s := open(t, nil)
	for path, handler := range map[string]func(*gin.Context) error{
		"/late-error": func(c *gin.Context) error {
			c.Header("Content-Type", "application/json")
			_, _ = c.Writer.Write(bytes.Repeat([]byte("[1,"), 1000))
			return errors.New("the store went away")
		},
		"/late-panic": func(c *gin.Context) error {
			_, _ = c.Writer.WriteString("half")
			c.Writer.Flush()
			panic("half-way")
		},
	} {
		s.server.API().GET(path, Handle(handler))
	}
	b := s.browser("ali", pacs.Clinician, "A")
	for _, path := range []string{"/api/late-error", "/api/late-panic"} {
		for _, encoding := range []string{"gzip", "identity"} {
			r, err := http.NewRequestWithContext(t.Context(), "GET", s.http.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.AddCookie(b.cookie)
			r.Header.Set("Accept-Encoding", encoding)
			response, err := s.client.Do(r)
			if err == nil {
				_, err = io.ReadAll(response.Body)
				_ = response.Body.Close()
			}
			if err == nil {
				t.Errorf("%s, %s: the answer looks complete: %s %v", path, encoding, response.Status, response.Header)
			}
		}
	}
}

func TestSecurityHeaders(t *testing.T) {
	s := open(t, nil)
	for _, path := range []string{"/", "/api/session", "/dicom-web/studies", "/healthz", "/nowhere.js"} {
		h := (&browser{site: s}).do("GET", path, nil).Header
		for name, want := range map[string]string{
			"Content-Security-Policy": "frame-ancestors 'none'", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
			"X-Frame-Options": "DENY", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if !strings.Contains(h.Get(name), want) {
				t.Errorf("%s: %s: %q", path, name, h.Get(name))
			}
		}
		if h.Get("Access-Control-Allow-Origin") != "" || h.Get(requestIDHeader) == "" {
			t.Errorf("%s: %v", path, h)
		}
		script := strings.SplitN(h.Get("Content-Security-Policy"), "script-src", 2)[1]
		script, _, _ = strings.Cut(script, ";")
		if strings.Contains(script, "unsafe-inline") || strings.Contains(script, "'unsafe-eval'") || !strings.Contains(script, "'wasm-unsafe-eval'") {
			t.Errorf("scripts: %s", script)
		}
	}
}

func TestRequestLog(t *testing.T) {
	s := open(t, nil)
	b := s.browser("ali", pacs.Clinician, "A")
	s.log.Reset()
	b.do("GET", "/api/studies/1.2.840.99?PatientName=KARIMOV", nil, header(requestIDHeader, "from-the-proxy-1"))
	b.do("POST", "/api/session", map[string]string{"login": "KARIMOV", "password": "KARIMOV-secret"})
	b.do("GET", "/KARIMOV?x=KARIMOV", nil, header(requestIDHeader, "bad id\x01"[:6]))
	s.http.Close()
	log := s.log.String()
	for _, private := range []string{"KARIMOV", "1.2.840.99", b.cookie.Value, b.csrf, "bad id"} {
		if strings.Contains(log, private) {
			t.Errorf("the log has %q:\n%s", private, log)
		}
	}
	var line struct {
		Method, Route, Who, Request string
		Status                      int
		Ms, Bytes                   *int
	}
	first, _, _ := strings.Cut(log, "\n")
	if err := json.Unmarshal([]byte(first), &line); err != nil {
		t.Fatal(err)
	}
	if line.Method != "GET" || line.Route != "/api/studies/:study" || line.Who != "ali" || line.Status != 404 || line.Ms == nil || line.Bytes == nil ||
		line.Request != "from-the-proxy-1" {
		t.Errorf("%s", first)
	}
}

func TestBodyLimits(t *testing.T) {
	s := open(t, func(o *Options) { o.MaxUpload = 3 << 20 })
	b := s.browser("tech", pacs.Technician, "A")
	upload := func(path string, size int, declared bool) *answer {
		t.Helper()
		var content io.Reader = bytes.NewReader(make([]byte, size))
		if !declared {
			content = io.MultiReader(content) // of unknown length: chunked
		}
		r, err := http.NewRequestWithContext(t.Context(), "POST", s.http.URL+path, content)
		if err != nil {
			t.Fatal(err)
		}
		r.AddCookie(b.cookie)
		r.Header.Set(csrfHeader, b.csrf)
		return b.send(r)
	}
	for _, declared := range []bool{true, false} {
		upload("/dicom-web/studies", 3<<20, declared).want(200)
		upload("/dicom-web/studies", 3<<20+1, declared).problem(413, "too_large", "")
	}
	upload("/api/probe", 1<<20+1, true).problem(413, "too_large", "")
}

func TestOperating(t *testing.T) {
	s := open(t, nil)
	b := &browser{site: s}
	b.do("GET", "/healthz", nil).want(200)
	b.do("GET", "/readyz", nil).want(200)
	var down atomic.Bool
	s.server.Ready("database", func(context.Context) error { return nil })
	s.server.Ready("store", func(context.Context) error {
		if down.Load() {
			return errors.New("secret address refused")
		}
		return nil
	})
	b.do("GET", "/readyz", nil).want(200)
	down.Store(true)
	answer := b.do("GET", "/readyz", nil).want(503)
	if string(answer.body) != `{"not_ready":["store"],"ready":false}` {
		t.Errorf("%s", answer.body)
	}
	// A check that hangs fails, and holds up nobody for long.
	release := make(chan struct{})
	s.server.Ready("journal", func(context.Context) error { <-release; return nil })
	for range 2 {
		if answer := b.do("GET", "/readyz", nil).want(503); answer.field("not_ready") != "[store journal]" {
			t.Errorf("%s", answer.body)
		}
	}
	close(release)
	b.do("GET", "/healthz", nil).want(200) // the process is up all the same
	b.do("GET", "/dicom-web/studies", nil).want(401)
	b.do("BREW", "/api/session", nil).want(405)
	metrics := b.do("GET", "/metrics", nil).want(200)
	for _, want := range []string{
		`tasvir_http_request_duration_seconds_count{method="GET",route="/dicom-web/studies",status="4xx"} 1`,
		`tasvir_http_request_duration_seconds_count{method="other",route="(none)",status="4xx"} 1`,
		"tasvir_http_requests_in_flight 1", "tasvir_event_streams 0", "go_goroutines",
	} {
		if !bytesContain(metrics.body, want) {
			t.Errorf("no %s", want)
		}
	}
	// The contract's document is served to everyone.
	document := b.do("GET", "/api/openapi.yaml", nil).want(200)
	if !bytes.Equal(openAPI, document.body) {
		t.Error("another document")
	}
}

func TestStatic(t *testing.T) {
	s := open(t, nil)
	script := strings.Repeat("console.log('tasvir');\n", 200)
	b := &browser{site: s}
	b.do("GET", "/", nil).problem(404, "not_found", "") // not built yet
	if err := s.server.Static(fstest.MapFS{
		"index.html":                   {Data: []byte("<!doctype html><title>Tasvir</title>")},
		"assets/app-Dk3jX_9a.js":       {Data: []byte(script)},
		"assets/codec-AbCdEf12.wasm":   {Data: bytes.Repeat([]byte{0}, 3000)},
		"assets/ready-AbCdEf12.css":    {Data: []byte(script)},
		"assets/ready-AbCdEf12.css.gz": {Data: []byte("prepared")},
		"logo.svg":                     {Data: []byte("<svg/>")},
		".gitkeep":                     {Data: []byte("x")},
	}); err != nil {
		t.Fatal(err)
	}
	plain := header("Accept-Encoding", "identity")
	index := b.do("GET", "/", nil, plain).want(200)
	if index.Header.Get("Content-Type") != "text/html; charset=utf-8" || index.Header.Get("Cache-Control") != "no-cache" {
		t.Errorf("%v", index.Header)
	}
	for _, path := range []string{"/worklist", "/studies/1", "/index.html"} {
		if page := b.do("GET", path, nil, plain).want(200); !bytes.Equal(page.body, index.body) {
			t.Errorf("%s is not the client's page", path)
		}
	}
	for _, path := range []string{"/assets/missing-12345678.js", "/.gitkeep", "/nothing.png", "/../../etc/passwd.txt"} {
		b.do("GET", path, nil).problem(404, "not_found", "")
	}
	b.do("POST", "/worklist", nil).problem(404, "not_found", "")

	js := b.do("GET", "/assets/app-Dk3jX_9a.js", nil, plain).want(200)
	if string(js.body) != script || js.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" ||
		js.Header.Get("Content-Type") != "text/javascript; charset=utf-8" || js.Header.Get("Vary") != "Accept-Encoding" {
		t.Errorf("%v", js.Header)
	}
	packed := b.do("GET", "/assets/app-Dk3jX_9a.js", nil, header("Accept-Encoding", "br, gzip")).want(200)
	if packed.Header.Get("Content-Encoding") != "gzip" || len(packed.body) >= len(script) || unzip(t, packed.body) != script {
		t.Errorf("%v", packed.Header)
	}
	if refused := b.do("GET", "/assets/app-Dk3jX_9a.js", nil, header("Accept-Encoding", "gzip;q=0, *")).want(200); refused.Header.Get("Content-Encoding") != "" {
		t.Error("compressed although refused")
	}
	if prepared := b.do("GET", "/assets/ready-AbCdEf12.css", nil, header("Accept-Encoding", "gzip")).want(200); string(prepared.body) != "prepared" {
		t.Errorf("%q", prepared.body)
	}
	if wasm := b.do("GET", "/assets/codec-AbCdEf12.wasm", nil, plain).want(200); wasm.Header.Get("Content-Type") != "application/wasm" {
		t.Errorf("%v", wasm.Header) // browsers compile while loading only this type
	}
	for _, first := range []*answer{js, packed} { // whichever was cached
		same := b.do("GET", "/assets/app-Dk3jX_9a.js", nil, header("If-None-Match", `"other", `+first.Header.Get("Etag"))).want(304)
		if len(same.body) != 0 {
			t.Error("304 with a body")
		}
	}
	b.do("GET", "/assets/app-Dk3jX_9a.js", nil, header("If-None-Match", `"other"`)).want(200)
	head := b.do("HEAD", "/assets/app-Dk3jX_9a.js", nil, plain).want(200)
	if len(head.body) != 0 || head.ContentLength != int64(len(script)) {
		t.Errorf("%v", head.Header)
	}
}

func unzip(t *testing.T, data []byte) string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestCompression(t *testing.T) {
	s := open(t, nil)
	long := strings.Repeat("x", 5000)
	for path, handler := range map[string]gin.HandlerFunc{
		"/long":  func(c *gin.Context) { c.Header("Etag", `"1"`); c.JSON(200, long) },
		"/short": func(c *gin.Context) { c.JSON(200, "x") },
		"/dicom": func(c *gin.Context) { c.Data(200, "application/dicom+json", []byte(`"`+long+`"`)) },
		"/image": func(c *gin.Context) { c.Data(200, "application/octet-stream", []byte(long)) },
		"/multi": func(c *gin.Context) { c.Data(200, `multipart/related; boundary=x`, []byte(long)) },
		"/done": func(c *gin.Context) {
			c.Header("Content-Encoding", "gzip")
			c.Data(200, "application/json", []byte(long))
		},
		"/part": func(c *gin.Context) {
			c.Header("Content-Range", "bytes 0-4999/9999")
			c.Data(206, "text/plain", []byte(long))
		},
		"/flushed": func(c *gin.Context) {
			c.Header("Content-Type", "application/json")
			_, _ = c.Writer.WriteString("[1")
			c.Writer.Flush()
			_, _ = c.Writer.WriteString(",2]")
		},
		"/sized": func(c *gin.Context) {
			c.Header("Content-Length", "5002")
			c.Data(200, "application/json", []byte(`"`+long+`"`))
		},
		"/empty": func(c *gin.Context) { c.Header("Content-Type", "application/json"); c.Status(200) },
	} {
		s.server.API().GET(path, handler)
	}
	b := s.browser("ali", pacs.Clinician, "A")
	for accepted, want := range map[string]string{"zstd": "zstd", "gzip, deflate, br, zstd": "zstd", "zstd;q=0, gzip": "gzip", "*": "gzip", "br": ""} {
		answer := b.do("GET", "/api/long", nil, header("Accept-Encoding", accepted))
		if got := answer.Header.Get("Content-Encoding"); got != want {
			t.Errorf("who takes %s gets %q", accepted, got)
		}
		if want == "zstd" {
			reader, err := zstd.NewReader(bytes.NewReader(answer.body))
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(reader)
			reader.Close()
			if err != nil || string(text) != `"`+long+`"` {
				t.Errorf("%v: %.100s", err, text)
			}
		}
	}
	for path, want := range map[string]string{
		"/long": "gzip", "/dicom": "gzip", "/flushed": "gzip", "/sized": "gzip",
		"/short": "", "/image": "", "/multi": "", "/part": "", "/empty": "", "/done": "gzip",
	} {
		answer := b.do("GET", "/api"+path, nil, header("Accept-Encoding", "gzip"))
		if got := answer.Header.Get("Content-Encoding"); got != want {
			t.Errorf("%s: encoding %q, want %q", path, got, want)
		}
		switch path {
		case "/done":
			if string(answer.body) != long {
				t.Error("compressed twice")
			}
		case "/long", "/dicom", "/sized":
			if unzip(t, answer.body) != `"`+long+`"` || answer.Header.Get("Vary") != "Accept-Encoding" {
				t.Errorf("%s: %v", path, answer.Header)
			}
		case "/flushed":
			if unzip(t, answer.body) != "[1,2]" {
				t.Errorf("%s: %q", path, unzip(t, answer.body))
			}
		}
		if path == "/long" && answer.Header.Get("Etag") != `W/"1"` {
			t.Errorf("a strong validator for other bytes: %s", answer.Header.Get("Etag"))
		}
		plain := b.do("GET", "/api"+path, nil, header("Accept-Encoding", "identity"))
		if path != "/done" && plain.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s: compressed for somebody who can't read it", path)
		}
	}
}

// A peer that stalls while sending is dropped; a handler that takes its time
// after the body was read is not.
func TestPaceOfBodies(t *testing.T) {
	const each = 300 * time.Millisecond
	failed := make(chan error, 2)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w = paceAt(w, r, each)
		_, err := io.Copy(io.Discard, r.Body)
		if err == nil {
			select {
			case <-r.Context().Done():
				err = errors.New("the request was cancelled though the client waits")
			case <-time.After(2 * each):
			}
		}
		failed <- err
		_, _ = w.Write([]byte("done"))
	}))
	defer server.Close()

	response, err := server.Client().Post(server.URL, "text/plain", strings.NewReader("all of it"))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err := errors.Join(<-failed, err); err != nil || string(answer) != "done" {
		t.Errorf("%q, %v", answer, err)
	}

	stalled, err := net.Dial("tcp", strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer stalled.Close()
	fmt.Fprint(stalled, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nthe first part")
	if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a stalled body: %v", err)
	}
}

// A body that was promised, not sent and not wanted holds up nobody.
func TestPaceOfUnwantedBodies(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		paceAt(w, r, 200*time.Millisecond).WriteHeader(http.StatusUnauthorized)
	}))
	defer server.Close()
	stalled, err := net.Dial("tcp", strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer stalled.Close()
	fmt.Fprint(stalled, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
	if _, err := io.Copy(io.Discard, stalled); err != nil { // until the server closes
		t.Error(err)
	}
}

// A peer that stalls while receiving is dropped; one that receives slowly is
// not, however long it takes altogether.
func TestPaceOfAnswers(t *testing.T) {
	failed := make(chan error, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w = paceAt(w, r, 200*time.Millisecond)
		_, err := w.Write(make([]byte, 64<<20)) // more than all buffers between
		failed <- err
	}))
	defer server.Close()
	stalled, err := net.Dial("tcp", strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer stalled.Close()
	fmt.Fprint(stalled, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a stalled reader: %v", err)
	}
}

// Serve ends with its context, open streams or not, and leaves nothing behind.
func TestServe(t *testing.T) {
	s := open(t, nil)
	b := s.browser("radiologist", pacs.Radiologist)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	entered, release := make(chan struct{}), make(chan struct{})
	s.server.API().GET("/slow", func(c *gin.Context) { close(entered); <-release; c.String(200, "finished") })
	go func() { ended <- s.server.Serve(ctx, ln) }()
	there := *s
	there.http = &httptest.Server{URL: "http://" + ln.Addr().String()}
	client := *b
	client.site = &there
	open := client.stream()
	answered := make(chan *answer, 1)
	go func() { answered <- client.do("GET", "/api/slow", nil) }()
	<-entered
	stop()
	if event, ok := open.next(); ok {
		t.Errorf("the stream goes on: %s", event)
	}
	select {
	case err := <-ended:
		t.Errorf("ended before a running request was answered: %v", err)
	default:
	}
	close(release)
	if answer := <-answered; string(answer.body) != "finished" {
		t.Errorf("%s", answer.body)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if conn, err := net.Dial("tcp", ln.Addr().String()); err == nil {
		_ = conn.Close()
		t.Error("still listening")
	}
}
