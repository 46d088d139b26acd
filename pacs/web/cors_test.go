package web

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
)

func cors(t *testing.T, api bool, origins ...string) *CORS {
	t.Helper()
	c, err := NewCORS(origins, api)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCORS(t *testing.T) {
	const viewer = "https://viewer.example.uz"
	s := open(t, func(o *Options) { o.CORS = cors(t, false, viewer, "https://second.example.uz:8443") })
	b := &browser{site: s}
	token := bearer(s.token("viewer", "A", access.ScopeDICOMwebRead))
	preflight := func(origin string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Set("Origin", origin)
			r.Header.Set("Access-Control-Request-Method", "GET")
			r.Header.Set("Access-Control-Request-Headers", "accept,authorization,range")
		}
	}

	// A preflight carries no credentials, and is answered all the same.
	answer := b.do("OPTIONS", "/dicom-web/studies", nil, preflight(viewer)).want(204)
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin": viewer, "Access-Control-Allow-Credentials": "true", "Access-Control-Max-Age": "7200", "Vary": "Origin",
	} {
		if got := answer.Header.Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	allowed := strings.ToLower(answer.Header.Get("Access-Control-Allow-Headers"))
	for _, name := range []string{"accept", "authorization", "range", "if-none-match", "content-type"} {
		if !strings.Contains(allowed, name) {
			t.Errorf("%s may not be sent: %s", name, allowed)
		}
	}
	b.do("OPTIONS", "/dicom-web/studies", nil, preflight("https://evil.example")).problem(403, pacs.Forbidden, "origin")

	answer = b.do("GET", "/dicom-web/studies", nil, token, header("Origin", viewer)).want(200)
	if answer.Header.Get("Access-Control-Allow-Origin") != viewer || answer.Header.Get("Cross-Origin-Resource-Policy") != "cross-origin" {
		t.Errorf("%v", answer.Header)
	}
	for _, name := range []string{"ETag", "Content-Range", "Link", "Warning", "Retry-After"} {
		if !strings.Contains(answer.Header.Get("Access-Control-Expose-Headers"), name) {
			t.Errorf("%s is not shown", name)
		}
	}
	// An error is as readable; somebody else's page gets nothing to read.
	if got := b.do("GET", "/dicom-web/studies", nil, header("Origin", viewer)).want(401).Header.Get("Access-Control-Allow-Origin"); got != viewer {
		t.Errorf("an error: %q", got)
	}
	other := b.do("GET", "/dicom-web/studies", nil, token, header("Origin", "https://evil.example")).want(200)
	if got := other.Header.Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("another site: %q", got)
	}
	if got := b.do("GET", "/dicom-web/studies", nil, token).want(200).Header.Get("Vary"); !strings.Contains(got, "Origin") {
		t.Errorf("Vary of an answer without origin: %q", got)
	}
	// The client's API is not opened with it.
	if got := b.do("GET", "/api/session", nil, header("Origin", viewer)).Header.Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("/api: %q", got)
	}
	s.start(func(o *Options) { o.CORS = cors(t, true, viewer) })
	if got := b.do("GET", "/api/session", nil, header("Origin", viewer)).Header.Get("Access-Control-Allow-Origin"); got != viewer {
		t.Errorf("/api, opened: %q", got)
	}
	// All sites, but none with its visitor's session.
	s.start(func(o *Options) { o.CORS = cors(t, false, "*") })
	answer = b.do("GET", "/dicom-web/studies", nil, token, header("Origin", "https://anybody.example")).want(200)
	if answer.Header.Get("Access-Control-Allow-Origin") != "*" || answer.Header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("%v", answer.Header)
	}
}

func TestCORSConfiguration(t *testing.T) {
	for origins, ok := range map[string]bool{
		"https://a.uz": true, "http://localhost:3000": true, "https://a.uz,https://b.uz": true, "*": true,
		"a.uz": false, "https://a.uz/": false, "https://A.uz": false, "ftp://a.uz": false, "https://a.uz,*": false, "null": false, "https://u@a.uz": false,
	} {
		if _, err := NewCORS(strings.Split(origins, ","), false); (err == nil) != ok {
			t.Errorf("%s: %v", origins, err)
		}
	}
	if _, err := NewCORS([]string{"*"}, true); err == nil {
		t.Error("the API is open to all sites")
	}
	if c, err := NewCORS(nil, true); c != nil || err != nil {
		t.Error(c, err)
	}
}
