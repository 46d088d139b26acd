package viewers_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"go.uber.org/goleak"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/web"
	"github.com/tasvir-pacs/tasvir/pacs/web/viewers"
	"github.com/tasvir-pacs/tasvir/pacs/web/webtest"
)

func TestMain(m *testing.M) {
	// indextest keeps its cluster until the process ends.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("os/exec.(*Cmd).Wait"), goleak.IgnoreAnyFunction("github.com/tasvir-pacs/tasvir/pacs/index/cluster.(*server).wait"))
}

// studies has one study, of a facility.
type studies struct{ of pacs.Facility }

func (s *studies) Study(_ context.Context, scope pacs.Scope, uid string) (pacs.Study, error) {
	if uid != "1.2.3" || !scope.Sees(s.of.ID) {
		return pacs.Study{}, pacs.Errorf(pacs.NotFound, "There is no such study")
	}
	return pacs.Study{StudyInstanceUID: uid, Facility: s.of}, nil
}

const script = `console.log("inline")`

// dist writes a folder such as OHIF's, and a file beside it that nobody may see.
func dist(t *testing.T) *viewers.Dist {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "dist")
	for name, content := range map[string]string{
		"../secret.txt":                      "secret",
		"index.html":                         `<html><script>` + script + `</script><script defer src="/app.bundle.0f6159c501addfe9.js"></script></html>`,
		"app.bundle.0f6159c501addfe9.js":     "app",
		"app.bundle.0f6159c501addfe9.js.gz":  "app, zipped",
		"app.bundle.0f6159c501addfe9.js.map": "map",
		"sw.js":                              "service worker",
		"init-service-worker.js":             "registers",
		"app-config.js":                      "of somebody else",
		"assets/logo.svg":                    "<svg/>",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../secret.txt", filepath.Join(dir, "link.txt")); err != nil {
		t.Fatal(err)
	}
	d, err := viewers.OpenDist(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// site is an archive with both viewers.
type site struct {
	*webtest.Archive
	ohif *httptest.Server
}

func open(t *testing.T) *site {
	t.Helper()
	s := &site{}
	api := &viewers.API{Weasis: true, OHIF: func(*http.Request) string { return s.ohif.URL }}
	var server *web.Server
	s.Archive = webtest.OpenArchive(t, nil, func(a *webtest.Archive, to *web.Server) {
		server = to
		api.Studies, api.Origin = &studies{a.A}, to.Origin
		api.Register(to.API())
		to.DICOMweb().GET("/studies", func(c *gin.Context) { c.String(http.StatusOK, web.Identity(c).Who()) })
		to.DICOMweb().POST("/studies", func(c *gin.Context) { c.Status(http.StatusOK) })
		to.DICOMweb().GET("/workitems", func(c *gin.Context) { c.Status(http.StatusOK) })
	})
	api.Access = s.Access
	s.ohif = httptest.NewServer(&viewers.Host{
		Access: s.Access, Dist: dist(t), DICOMweb: server.ServeDICOMweb, Secure: server.Secure, Remote: server.Remote, Log: slog.Default(),
	})
	t.Cleanup(s.ohif.Close)
	return s
}

// ask asks OHIF's host, or another, and follows no redirect.
func (s *site) ask(method, address string, edits ...func(*http.Request)) (*http.Response, string) {
	s.Helper()
	r, err := http.NewRequestWithContext(s.Context(), method, address, nil)
	if err != nil {
		s.Fatal(err)
	}
	r.Header.Set("Accept-Encoding", "identity")
	for _, edit := range edits {
		edit(r)
	}
	answer, err := s.Client.Transport.RoundTrip(r)
	if err != nil {
		s.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		s.Fatal(err)
	}
	return answer, string(body)
}

func with(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// opened is the cookie of OHIF's host after a person opened the study.
func (s *site) opened(who *webtest.Caller) string {
	s.Helper()
	address := who.Do("POST", "/api/ohif/launch", map[string]string{"study_uid": "1.2.3"}).Want(http.StatusOK).Field("url")
	answer, _ := s.ask("GET", address)
	if answer.StatusCode != http.StatusSeeOther || len(answer.Cookies()) != 1 {
		s.Fatalf("%s: %s, cookies %v", address, answer.Status, answer.Cookies())
	}
	cookie := answer.Cookies()[0]
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode || cookie.Path != "/" || cookie.MaxAge < 3600 {
		s.Errorf("the cookie is %+v", cookie)
	}
	if to, err := url.Parse(answer.Header.Get("Location")); err != nil || to.Path != "/viewer" || to.Host != "" || to.Query().Get("StudyInstanceUIDs") != "1.2.3" {
		s.Errorf("and then to %q", answer.Header.Get("Location"))
	}
	return cookie.Name + "=" + cookie.Value
}

func TestOHIFHost(t *testing.T) {
	s := open(t)
	ali := s.Person("ali", pacs.Clinician, "A")
	s.Person("bek", pacs.Clinician, "B").Do("POST", "/api/ohif/launch", map[string]string{"study_uid": "1.2.3"}).Want(http.StatusNotFound)
	s.Person("reg", pacs.Registrar, "A").Do("POST", "/api/ohif/launch", map[string]string{"study_uid": "1.2.3"}).Want(http.StatusForbidden)
	s.Machine("api", "", access.ScopeAPI, access.ScopeDICOMwebRead).Do("POST", "/api/ohif/launch", map[string]string{"study_uid": "1.2.3"}).Want(http.StatusForbidden)

	// What only looks does not use the code up; then it works once.
	address := ali.Do("POST", "/api/ohif/launch", map[string]string{"study_uid": "1.2.3"}).Want(http.StatusOK).Field("url")
	for i, want := range []int{http.StatusNoContent, http.StatusSeeOther, http.StatusUnauthorized} {
		method := "GET"
		if i == 0 {
			method = "HEAD"
		}
		if answer, _ := s.ask(method, address); answer.StatusCode != want {
			t.Errorf("%s the launch address, time %d: %s, want %d", method, i, answer.Status, want)
		}
	}

	cookie := s.opened(ali)
	for _, try := range []struct {
		method, path, cookie string
		status               int
		has                  string
	}{
		{"GET", "/viewer", cookie, 200, script},
		{"GET", "/", cookie, 200, script},
		{"GET", "/viewer", "", 401, "Studies are opened here from Tasvir"},
		{"GET", "/", "tasvir_ohif=made-up", 401, "Исследования открываются здесь из Tasvir"},
		{"GET", "/index.html", cookie, 404, ""},
		{"GET", "/dicom-web/studies", cookie, 200, "ali"},
		{"GET", "/dicom-web/studies", "", 401, ""},
		{"GET", "/dicom-web/studies", strings.Replace(cookie, "tasvir_ohif", "tasvir_session", 1), 401, ""},
		{"GET", "/dicom-web/studies", "tasvir_ohif=" + ali.Cookie.Value, 401, ""},
		{"GET", "/dicom-web/workitems", cookie, 403, ""},
		{"POST", "/dicom-web/studies", cookie, 405, ""},
		{"DELETE", "/dicom-web/studies", cookie, 405, ""},
		{"POST", "/launch", cookie, 405, ""},
		{"OPTIONS", "/dicom-web/studies", cookie, 405, ""},
		{"GET", "/app.bundle.0f6159c501addfe9.js", "", 200, "app"},
		{"GET", "/app-config.js", "", 200, "qidoRoot: '/dicom-web'"},
		{"GET", "/init-service-worker.js", "", 200, "no service worker"},
		{"GET", "/assets/logo.svg", "", 200, "<svg/>"},
		{"GET", "/sw.js", cookie, 404, ""},
		{"GET", "/app.bundle.0f6159c501addfe9.js.map", cookie, 404, ""},
		{"GET", "/app.bundle.0f6159c501addfe9.js.gz", cookie, 404, ""},
		{"GET", "/link.txt", cookie, 404, ""},
		{"GET", "/../secret.txt", cookie, 404, ""},
		{"GET", "/%2e%2e/secret.txt", cookie, 404, ""},
		{"GET", "/assets/..%2f..%2fsecret.txt", cookie, 404, ""},
		{"GET", "/..%5csecret.txt", cookie, 404, ""},
		{"GET", "/dicom-web/../api/session", cookie, 404, ""},
		{"GET", "/dicom-web/%2e%2e/api/session", cookie, 404, ""},
		{"GET", "/dicom-web//api/session", cookie, 404, ""},
		{"GET", "/api/session", cookie, 200, script}, // a page of OHIF's, for all we know
	} {
		answer, body := s.ask(try.method, s.ohif.URL+try.path, with("Cookie", try.cookie))
		if answer.StatusCode != try.status || !strings.Contains(body, try.has) || strings.Contains(body, "secret") {
			t.Errorf("%s %s (%.12s): %s %.200s, want %d with %q", try.method, try.path, try.cookie, answer.Status, body, try.status, try.has)
		}
	}

	// OHIF's cookie and the client's are not the same thing on the other port.
	for _, path := range []string{"/api/session", "/dicom-web/studies"} {
		for _, header := range [][2]string{
			{"Cookie", strings.Replace(cookie, "tasvir_ohif", "tasvir_session", 1)},
			{"Authorization", "Bearer " + strings.TrimPrefix(cookie, "tasvir_ohif=")},
		} {
			if answer, body := s.ask("GET", s.URL+path, with(header[0], header[1])); answer.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s takes OHIF's session as a %s: %s %.100s", path, header[0], answer.Status, body)
			}
		}
	}

	ali.Do("DELETE", "/api/session", nil).Want(http.StatusNoContent)
	for _, path := range []string{"/viewer", "/dicom-web/studies"} {
		if answer, _ := s.ask("GET", s.ohif.URL+path, with("Cookie", cookie)); answer.StatusCode != http.StatusUnauthorized {
			t.Errorf("after the person's session has ended, %s: %s", path, answer.Status)
		}
	}
}

// The page's policy names the hash of each of its inline scripts; files come
// compressed to who takes that, and only once.
func TestFilesOfOHIF(t *testing.T) {
	s := open(t)
	cookie := s.opened(s.Person("ali", pacs.Clinician, "A"))
	answer, _ := s.ask("GET", s.ohif.URL+"/viewer", with("Cookie", cookie))
	sum := sha256.Sum256([]byte(script))
	policy := answer.Header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") || strings.Count(policy, "sha256-") != 1 ||
		strings.Contains(policy, "script-src 'self' 'unsafe-inline'") || !strings.Contains(policy, "frame-ancestors 'none'") {
		t.Errorf("the policy is %s", policy)
	}
	const bundle = "/app.bundle.0f6159c501addfe9.js"
	plain, _ := s.ask("GET", s.ohif.URL+bundle, with("Accept-Encoding", "identity"))
	zipped, body := s.ask("GET", s.ohif.URL+bundle, with("Accept-Encoding", "gzip, br"), with("Range", "bytes=1-2"))
	if plain.Header.Get("Content-Encoding") != "" || zipped.Header.Get("Content-Encoding") != "gzip" || body != "app, zipped" || zipped.StatusCode != http.StatusOK {
		t.Errorf("plain as %q, compressed as %q: %q", plain.Header.Get("Content-Encoding"), zipped.Header.Get("Content-Encoding"), body)
	}
	if caching := zipped.Header.Get("Cache-Control"); !strings.Contains(caching, "immutable") {
		t.Errorf("a file with a hash in its name is cached as %q", caching)
	}
	if again, _ := s.ask("GET", s.ohif.URL+bundle, with("If-None-Match", zipped.Header.Get("Etag"))); again.StatusCode != http.StatusNotModified {
		t.Errorf("what the browser has comes again: %s", again.Status)
	}
	if _, err := viewers.OpenDist(t.TempDir()); pacs.CodeOf(err) != pacs.Invalid {
		t.Errorf("an empty folder is taken for OHIF: %v", err)
	}
	if _, err := viewers.OpenDist(filepath.Join(t.TempDir(), "none")); pacs.CodeOf(err) != pacs.Invalid {
		t.Errorf("a folder that isn't there is taken for OHIF: %v", err)
	}
}

func TestWeasis(t *testing.T) {
	s := open(t)
	ali := s.Person("ali", pacs.Radiologist)
	s.Person("bek", pacs.Clinician, "B").Do("POST", "/api/weasis/launch", map[string]string{"study_uid": "1.2.3"}).Want(http.StatusNotFound)
	address := ali.Do("POST", "/api/weasis/launch", map[string]string{"study_uid": "1.2.3"}).Want(http.StatusOK).Field("url")
	encoded, found := strings.CutPrefix(address, "weasis://?")
	command, err := url.PathUnescape(encoded)
	if err != nil || !found || strings.ContainsAny(encoded, ` "+$&?`) {
		t.Fatalf("%q: %v", address, err)
	}
	before, after, _ := strings.Cut(command, "Bearer ")
	if want := `$dicom:rs --url "` + s.URL + `/dicom-web" -r "studyUID=1.2.3" -H "Authorization: `; before != want {
		t.Errorf("%q, want %q", before, want)
	}
	token := with("Authorization", "Bearer "+strings.TrimSuffix(after, `"`))
	for _, try := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/dicom-web/studies", 200},
		{"POST", "/dicom-web/studies", 403},
		{"GET", "/dicom-web/workitems", 403},
		{"GET", "/api/session", 403},
		{"DELETE", "/api/session", 403},
		{"GET", "/api/admin/users", 403},
	} {
		if answer, body := s.ask(try.method, s.URL+try.path, token); answer.StatusCode != try.status {
			t.Errorf("Weasis: %s %s: %s %.200s, want %d", try.method, try.path, answer.Status, body, try.status)
		}
	}
	ali.Do("DELETE", "/api/session", nil).Want(http.StatusNoContent)
	if answer, _ := s.ask("GET", s.URL+"/dicom-web/studies", token); answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("after the person's session has ended: %s", answer.Status)
	}
}

func TestWeasisURL(t *testing.T) {
	for _, try := range [][3]string{
		{`https://x/dicom-web" -r "patientID=*`, "1.2.3", "t"},
		{"https://x/dicom-web", `1.2.3" --url "https://evil`, "t"},
		{"https://x/dicom-web", "1.2.3", "t\nX: y"},
		{"https://x/dicom-web", "", "t"},
		{"https://x/`id`", "1.2.3", "t"},
	} {
		if got, err := viewers.WeasisURL(try[0], try[1], try[2]); pacs.CodeOf(err) != pacs.Invalid {
			t.Errorf("%q became %q, %v", try, got, err)
		}
	}
	got, err := viewers.WeasisURL("https://pacs.example.uz/dicom-web/", "1.2.3", "tasvir_viewer_x-_9")
	const want = "weasis://?%24dicom%3Ars%20--url%20%22https%3A%2F%2Fpacs.example.uz%2Fdicom-web%22%20-r%20%22studyUID%3D1.2.3%22%20-H%20%22Authorization%3A%20Bearer%20tasvir_viewer_x-_9%22"
	if err != nil || got != want {
		t.Errorf("%s, %v", got, err)
	}
}

func TestOrigins(t *testing.T) {
	for text, good := range map[string]bool{
		"https://ohif.example.uz": true, "http://10.0.0.1:8081": true,
		"https://ohif.example.uz/": false, "https://x.uz/ohif": false, "ohif.example.uz": false, "ftp://x.uz": false,
		"https://a@x.uz": false, "https://x.uz?a": false, "": false,
	} {
		if err := viewers.CheckOrigin(text); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
	}
	here := func(*http.Request) string { return "https://[fd00::1]:8443" }
	if got := viewers.OriginOf("", 8081, here)(nil); got != "https://[fd00::1]:8081" {
		t.Errorf("without being told: %s", got)
	}
	if got := viewers.OriginOf("https://ohif.example.uz", 8081, here)(nil); got != "https://ohif.example.uz" {
		t.Errorf("told: %s", got)
	}
}
