package web

import (
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
)

func TestSignIn(t *testing.T) {
	s := open(t, nil)
	s.person("ali", pacs.Clinician, "A")
	b := &browser{site: s}
	answer := b.do("POST", "/api/session", map[string]string{"login": "Ali", "password": testPassword}).want(200)
	cookies := answer.Cookies()
	if len(cookies) != 1 {
		t.Fatalf("%d cookies", len(cookies))
	}
	c := cookies[0]
	if c.Name != "tasvir_session" || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" ||
		c.Secure || c.MaxAge != 7*24*3600 || len(c.Value) != 43 {
		t.Errorf("%+v", c)
	}
	if strings.Contains(string(answer.body), c.Value) {
		t.Error("the answer's body has the cookie's secret")
	}
	for path, want := range map[string]string{
		"user.login": "ali", "user.all_facilities": "false", "user.facilities.0.code": "A", "user.roles.0": "clinician",
		"user.groups.0.name": "CT", "user.language": "uz-Latn", "version": "test",
	} {
		if got := answer.field(path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	again := b.do("GET", "/api/session", nil).want(200)
	if again.field("csrf") != b.csrf || again.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s %v", again.body, again.Header)
	}
	out := b.do("DELETE", "/api/session", nil).want(204)
	if out.Cookies()[0].MaxAge >= 0 || out.Cookies()[0].Value != "" {
		t.Errorf("the cookie stays: %+v", out.Cookies()[0])
	}
	b.cookie = c // a thief kept it
	b.do("GET", "/api/session", nil).problem(401, "unauthenticated", "")
}

func TestSignInRefused(t *testing.T) {
	s := open(t, nil)
	s.person("ali", pacs.Clinician, "A")
	b := &browser{site: s}
	try := func(body any, edits ...func(*http.Request)) *answer {
		t.Helper()
		return b.do("POST", "/api/session", body, edits...)
	}
	try(map[string]string{"login": "ali", "password": "wrong"}).problem(401, "unauthenticated", "bad_credentials")
	try(map[string]string{"login": "nobody", "password": "wrong"}).problem(401, "unauthenticated", "bad_credentials")
	try(nil).problem(415, "unsupported", "")
	try("text").problem(400, "invalid", "")
	try(map[string]int{"login": 1}).problem(400, "invalid", "")
	try(map[string]string{}, header("Content-Type", "text/plain")).problem(415, "unsupported", "")
	try(map[string]string{"login": strings.Repeat("x", 2<<20)}).problem(413, "too_large", "")
	// A page of another site can't sign somebody in.
	good := map[string]string{"login": "ali", "password": testPassword}
	try(good, header("Origin", "https://evil.example")).problem(403, "forbidden", "csrf")
	try(good, header("Sec-Fetch-Site", "cross-site")).problem(403, "forbidden", "csrf")
	if b.cookie != nil {
		t.Error("a refused sign-in set a cookie")
	}
	try(good, header("Sec-Fetch-Site", "same-origin"), header("Origin", s.http.URL)).want(200)

	for range access.DefaultThrottle.FreePair + 1 {
		try(map[string]string{"login": "bob", "password": "wrong"}).problem(401, "unauthenticated", "bad_credentials")
	}
	answer := try(map[string]string{"login": "bob", "password": "wrong"}).problem(429, "unauthenticated", "too_many_attempts")
	if seconds, err := strconv.Atoi(answer.Header.Get("Retry-After")); err != nil || seconds < 1 || seconds > 61 {
		t.Errorf("Retry-After: %q", answer.Header.Get("Retry-After"))
	}
}

// A session that somebody else put into the browser does not become the
// person's, and the person's earlier one ends.
func TestSessionFixation(t *testing.T) {
	s := open(t, nil)
	s.person("ali", pacs.Clinician, "A")
	mallory := s.browser("mallory", pacs.Clinician, "B")
	planted := *mallory.cookie
	victim := &browser{site: s, cookie: &planted}
	victim.do("POST", "/api/session", map[string]string{"login": "ali", "password": testPassword}).want(200)
	if victim.cookie.Value == planted.Value {
		t.Fatal("the planted session goes on")
	}
	mallory.do("GET", "/api/session", nil).problem(401, "unauthenticated", "")

	first := *victim.cookie
	victim.do("POST", "/api/session", map[string]string{"login": "ali", "password": testPassword}).want(200)
	old := &browser{site: s, cookie: &first}
	old.do("GET", "/api/session", nil).problem(401, "unauthenticated", "")

	invented := &browser{site: s, cookie: &http.Cookie{Name: sessionCookie, Value: "i-choose-this-myself-0123456789abcdefghijklm"}}
	invented.do("POST", "/api/session", map[string]string{"login": "ali", "password": testPassword}).want(200)
	if strings.HasPrefix(invented.cookie.Value, "i-choose") {
		t.Error("the browser chose its session's name")
	}
}

func TestCSRF(t *testing.T) {
	s := open(t, nil)
	b := s.browser("tech", pacs.Technician, "A")
	other := s.browser("other", pacs.Technician, "A")
	for _, path := range []string{"/api/probe", "/dicom-web/studies"} {
		ok := b.do("POST", path, nil)
		if ok.StatusCode >= 300 {
			t.Errorf("%s: %s", path, ok.Status)
		}
		b.do("POST", path, nil, header(csrfHeader, "")).problem(403, "forbidden", "csrf")
		b.do("POST", path, nil, header(csrfHeader, other.csrf)).problem(403, "forbidden", "csrf")
		b.do("POST", path, nil, header(csrfHeader, b.csrf+"x")).problem(403, "forbidden", "csrf")
		b.do("POST", path, nil, header("Sec-Fetch-Site", "cross-site")).problem(403, "forbidden", "csrf")
		b.do("POST", path, nil, header("Sec-Fetch-Site", "same-site")).problem(403, "forbidden", "csrf")
		b.do("POST", path, nil, header("Origin", "null")).problem(403, "forbidden", "csrf")
		b.do("POST", path, nil, header("Origin", "https://evil.example")).problem(403, "forbidden", "csrf")
		b.do("POST", path, nil, header("Origin", s.http.URL)).want(ok.StatusCode)
	}
	for _, method := range []string{"PUT", "DELETE"} {
		b.do(method, map[string]string{"PUT": "/api/session/language", "DELETE": "/api/session"}[method], map[string]string{"language": "ru"},
			header(csrfHeader, "")).problem(403, "forbidden", "csrf")
	}
	// Reading needs none.
	b.do("GET", "/dicom-web/studies", nil, header(csrfHeader, "")).want(200)
	// A bearer token is no cookie: no page can make a browser send it.
	machine := &browser{site: s}
	machine.do("POST", "/dicom-web/studies", nil, bearer(s.token("gw", "A", access.ScopeDICOMwebWrite))).want(200)
	// But a session's secret is no bearer token.
	machine.do("POST", "/dicom-web/studies", nil, bearer(b.cookie.Value)).problem(401, "unauthenticated", "")
}

func TestSecureCookie(t *testing.T) {
	proxy := netip.MustParsePrefix("127.0.0.0/8")
	for _, test := range []struct {
		name    string
		proxies []netip.Prefix
		setting SecureCookies
		headers []func(*http.Request)
		want    bool
	}{
		{"plain", nil, SecureAuto, nil, false},
		{"always", nil, SecureAlways, nil, true},
		{"TLS at a trusted proxy", []netip.Prefix{proxy}, SecureAuto, []func(*http.Request){header("X-Forwarded-Proto", "https")}, true},
		{"plain at a trusted proxy", []netip.Prefix{proxy}, SecureAuto, []func(*http.Request){header("X-Forwarded-Proto", "http")}, false},
		{"TLS says anybody", nil, SecureAuto, []func(*http.Request){header("X-Forwarded-Proto", "https")}, false},
		{"never", []netip.Prefix{proxy}, SecureNever, []func(*http.Request){header("X-Forwarded-Proto", "https")}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := open(t, func(o *Options) { o.TrustedProxies, o.SecureCookies = test.proxies, test.setting })
			s.person("ali", pacs.Clinician, "A")
			b := &browser{site: s}
			answer := b.do("POST", "/api/session", map[string]string{"login": "ali", "password": testPassword}, test.headers...).want(200)
			if got := answer.Cookies()[0].Secure; got != test.want {
				t.Errorf("Secure: %v, want %v", got, test.want)
			}
		})
	}
}

func TestPasswordAndLanguage(t *testing.T) {
	s := open(t, nil)
	b := s.browser("ali", pacs.Clinician, "A")
	elsewhere := s.signIn("ali")
	b.do("PUT", "/api/session/language", map[string]string{"language": "uz-Cyrl"}).want(204)
	b.do("PUT", "/api/session/language", map[string]string{"language": "tlh"}).problem(400, "invalid", "")
	if got := b.do("GET", "/api/session", nil).field("user.language"); got != "uz-Cyrl" {
		t.Errorf("language %q", got)
	}
	b.do("PUT", "/api/session/password", map[string]string{"current": "wrong", "new": "battery staple"}).problem(422, "invalid", "bad_credentials")
	b.do("PUT", "/api/session/password", map[string]string{"current": testPassword, "new": "short"}).problem(422, "invalid", "weak_password")
	b.do("PUT", "/api/session/password", map[string]string{"current": testPassword, "new": "battery staple"}).want(204)
	b.do("GET", "/api/session", nil).want(200)
	elsewhere.do("GET", "/api/session", nil).problem(401, "unauthenticated", "")
}

func TestBearerTokens(t *testing.T) {
	s := open(t, nil)
	machine := &browser{site: s}
	read := s.token("reader", "", access.ScopeDICOMwebRead)
	write := s.token("gateway", "B", access.ScopeDICOMwebWrite)
	api := s.token("watcher", "", access.ScopeAPI)

	machine.do("GET", "/dicom-web/studies", nil, bearer(read)).want(200)
	machine.do("POST", "/dicom-web/studies", nil, bearer(read)).problem(403, "forbidden", "")
	machine.do("GET", "/dicom-web/studies", nil, bearer(write)).problem(403, "forbidden", "")
	if got := string(machine.do("POST", "/dicom-web/studies", nil, bearer(write)).want(200).body); got != `"B"` {
		t.Errorf("the upload belongs to %s", got)
	}
	machine.do("GET", "/dicom-web/studies", nil, bearer(api)).problem(403, "forbidden", "")
	machine.do("GET", "/api/admin/status", nil, bearer(api)).want(200)
	machine.do("GET", "/api/admin/users", nil, bearer(api)).problem(403, "forbidden", "")
	machine.do("GET", "/api/session", nil, bearer(api)).problem(401, "unauthenticated", "")
	for _, token := range []string{read, write} {
		machine.do("POST", "/api/probe", nil, bearer(token)).problem(403, "forbidden", "")
		machine.do("GET", "/api/events", nil, bearer(token)).problem(403, "forbidden", "")
	}
	// The header decides alone, whatever cookie comes along.
	b := s.browser("tech", pacs.Technician, "A")
	b.do("GET", "/dicom-web/studies", nil, bearer("tasvir_wrong")).problem(401, "unauthenticated", "")

	if err := s.access.RevokeToken(t.Context(), access.System("test"), "reader"); err != nil {
		t.Fatal(err)
	}
	answer := machine.do("GET", "/dicom-web/studies", nil, bearer(read)).problem(401, "unauthenticated", "")
	if answer.Header.Get("WWW-Authenticate") != `Bearer realm="Tasvir"` {
		t.Errorf("%v", answer.Header)
	}
}

func TestDICOMwebByRole(t *testing.T) {
	s := open(t, nil)
	for role, may := range map[pacs.Role][2]int{ // read, write
		pacs.Radiologist: {200, 403}, pacs.Clinician: {200, 403}, pacs.Technician: {200, 200},
		pacs.FacilityAdministrator: {403, 403}, pacs.Administrator: {200, 200},
	} {
		b := s.browser(strings.ReplaceAll(string(role), "_", "-"), role, "A")
		b.do("GET", "/dicom-web/studies", nil).want(may[0])
		b.do("POST", "/dicom-web/studies", nil).want(may[1])
	}
}

func TestTrustedLoopback(t *testing.T) {
	s := open(t, nil)
	tool := &browser{site: s}
	tool.do("GET", "/dicom-web/studies", nil).problem(401, "unauthenticated", "")

	s.start(func(o *Options) { o.TrustedLoopback = true })
	if got := string(tool.do("GET", "/dicom-web/studies", nil).want(200).body); got != `"system:loopback"` {
		t.Errorf("known as %s", got)
	}
	tool.do("POST", "/dicom-web/studies", nil).want(200)
	tool.do("GET", "/api/session", nil).problem(401, "unauthenticated", "") // DICOMweb only
	tool.do("POST", "/api/probe", nil).problem(401, "unauthenticated", "")
	// A proxy on this machine brings requests of others.
	for _, name := range []string{"X-Forwarded-For", "Forwarded", "Via", "X-Real-IP", "X-Forwarded-Proto"} {
		tool.do("GET", "/dicom-web/studies", nil, header(name, "203.0.113.9")).problem(401, "unauthenticated", "")
	}
	// A name of evil.example that resolves to 127.0.0.1.
	tool.do("GET", "/dicom-web/studies", nil, func(r *http.Request) { r.Host = "evil.example" }).problem(401, "unauthenticated", "")
	// A page in this machine's browser.
	tool.do("POST", "/dicom-web/studies", nil, header("Origin", "https://evil.example")).problem(403, "forbidden", "csrf")
	// Who says who they are is taken at their word.
	tool.do("GET", "/dicom-web/studies", nil, bearer("tasvir_wrong")).problem(401, "unauthenticated", "")

	for address, want := range map[string]bool{"127.0.0.1:1": true, "[::1]:1": true, "[::ffff:127.0.0.1]:1": true, "192.0.2.1:1": false, "": false, "@": false} {
		if isLoopback(address) != want {
			t.Errorf("%q: %v", address, !want)
		}
	}
}
