package web

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/index/indextest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("os/exec.(*Cmd).Wait"), goleak.IgnoreAnyFunction("github.com/tasvir-pacs/tasvir/pacs/index/cluster.(*server).wait"))
}

// cheap makes hashes that cost nothing, and lets a throttled caller wait long
// enough for a slow machine to notice.
var cheap = access.Settings{
	Password: access.Argon2{MemoryKiB: 64, Passes: 1, Lanes: 1},
	Throttle: func() access.Throttle {
		t := access.DefaultThrottle
		t.FirstWait = time.Minute
		return t
	}(),
}

func migrate(ctx context.Context, url string) error {
	ix, err := index.Open(ctx, url)
	if err != nil {
		return err
	}
	defer ix.Close()
	_, err = access.Open(ctx, ix, cheap)
	return err
}

const testPassword = "correct horse"

// site is a running server over a fresh database with the hospitals A and B.
type site struct {
	*testing.T
	server *Server
	http   *httptest.Server
	client *http.Client
	access *access.Access
	pool   *pgxpool.Pool
	log    *bytes.Buffer // read it after the requests are answered
	a, b   pacs.Facility
}

func open(t *testing.T, change func(*Options)) *site {
	t.Helper()
	ix, err := index.Open(t.Context(), indextest.New(t, migrate))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ix.Close)
	s := &site{T: t, pool: ix.Pool(), log: &bytes.Buffer{}}
	if s.access, err = access.Open(t.Context(), ix, cheap); err != nil {
		t.Fatal(err)
	}
	for code, to := range map[string]*pacs.Facility{"A": &s.a, "B": &s.b} {
		if *to, err = s.access.AddFacility(t.Context(), access.System("test"), pacs.Facility{Code: code, Name: "Hospital " + code}); err != nil {
			t.Fatal(err)
		}
	}
	s.start(change)
	return s
}

// start starts the site's server; again for another node of the same site.
func (s *site) start(change func(*Options)) {
	s.Helper()
	options := Options{
		Access: s.access, Pool: s.pool, Version: "test", Logger: slog.New(slog.NewJSONHandler(s.log, nil)),
		Groups: func(context.Context, int64) ([]Named, error) { return []Named{{ID: "7", Name: "CT"}}, nil },
	}
	if change != nil {
		change(&options)
	}
	server, err := New(options)
	if err != nil {
		s.Fatal(err)
	}
	// What other packages would add.
	server.API().GET("/studies/:study", Require(access.StudyRead), func(c *gin.Context) { Problem(c, pacs.Errorf(pacs.NotFound, "There is no such study")) })
	server.API().POST("/probe", func(c *gin.Context) { c.Status(http.StatusNoContent) })
	server.DICOMweb().GET("/studies", func(c *gin.Context) { c.JSON(http.StatusOK, Identity(c).Who()) })
	server.DICOMweb().POST("/studies", func(c *gin.Context) {
		if _, err := io.Copy(io.Discard, c.Request.Body); err != nil {
			Problem(c, err)
			return
		}
		c.JSON(http.StatusOK, Identity(c).FacilityCode)
	})
	s.server, s.http = server, httptest.NewServer(server)
	s.client = s.http.Client()
	s.Cleanup(s.http.Close)
	s.Cleanup(func() { _ = server.Close() })
}

func (s *site) person(login string, role pacs.Role, facilities ...string) *access.User {
	s.Helper()
	user, err := s.access.CreateUser(s.Context(), access.System("test"), access.NewUser{
		Login: login, Name: "Name of " + login, Password: testPassword, Roles: []pacs.Role{role}, Facilities: facilities,
		AllFacilities: role == pacs.Radiologist && len(facilities) == 0,
	})
	if err != nil {
		s.Fatal(err)
	}
	return user
}

func (s *site) token(name, facility string, scopes ...string) string {
	s.Helper()
	value, _, err := s.access.IssueToken(s.Context(), access.System("test"), access.NewToken{Name: name, Scopes: scopes, Facility: facility})
	if err != nil {
		s.Fatal(err)
	}
	return value
}

// browser keeps a session like a browser does, and knows the client's part of
// the CSRF protection.
type browser struct {
	*site
	cookie *http.Cookie
	csrf   string
}

// browser signs in a person with one role.
func (s *site) browser(login string, role pacs.Role, facilities ...string) *browser {
	s.Helper()
	s.person(login, role, facilities...)
	return s.signIn(login)
}

func (s *site) signIn(login string) *browser {
	s.Helper()
	b := &browser{site: s}
	answer := b.do("POST", "/api/session", map[string]string{"login": login, "password": testPassword})
	answer.want(http.StatusOK)
	return b
}

// answer is a response that was read and checked against openapi.yaml.
type answer struct {
	*testing.T
	*http.Response
	body []byte
}

// do sends body as JSON; edits change the request before it leaves.
func (b *browser) do(method, path string, body any, edits ...func(*http.Request)) *answer {
	b.Helper()
	var content io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			b.Fatal(err)
		}
		content = bytes.NewReader(data)
	}
	r, err := http.NewRequestWithContext(b.Context(), method, b.http.URL+path, content)
	if err != nil {
		b.Fatal(err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if b.cookie != nil {
		r.AddCookie(b.cookie)
	}
	if b.csrf != "" {
		r.Header.Set(csrfHeader, b.csrf)
	}
	for _, edit := range edits {
		edit(r)
	}
	return b.send(r)
}

func (b *browser) send(r *http.Request) *answer {
	b.Helper()
	response, err := b.client.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		b.Fatal(err)
	}
	for _, cookie := range response.Cookies() {
		if cookie.Name == sessionCookie {
			if b.cookie = cookie; cookie.MaxAge < 0 {
				b.cookie = nil
			}
		}
	}
	a := &answer{b.T, response, data}
	if contract.Names(r.Method, r.URL.Path) { // what a test adds is not in it
		contract.CheckAnswer(b.T, r.Method, r.URL.Path, response.StatusCode, response.Header, data)
	}
	if r.Method == "POST" && r.URL.Path == "/api/session" && response.StatusCode == http.StatusOK {
		b.csrf = a.field("csrf")
	}
	return a
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func bearer(token string) func(*http.Request) { return header("Authorization", "Bearer "+token) }

func (a *answer) want(status int) *answer {
	a.Helper()
	if a.StatusCode != status {
		a.Errorf("%s %s: got %s, want %d: %.300s", a.Request.Method, a.Request.URL.Path, a.Status, status, a.body)
	}
	return a
}

// problem wants problem details with a code and a reason ("" for none).
func (a *answer) problem(status int, code pacs.Code, reason string) *answer {
	a.Helper()
	a.want(status)
	var p problem
	if a.Header.Get("Content-Type") != "application/problem+json" || json.Unmarshal(a.body, &p) != nil {
		a.Errorf("%s %s: not problem details but %s: %.300s", a.Request.Method, a.Request.URL.Path, a.Header.Get("Content-Type"), a.body)
	}
	if p.Code != code || p.Reason != reason || p.Status != status || p.Title == "" || p.Detail == "" {
		a.Errorf("%s %s: %+v, want code %s, reason %q", a.Request.Method, a.Request.URL.Path, p, code, reason)
	}
	return a
}

// field is a member of the answer, members within members with dots.
func (a *answer) field(path string) string {
	a.Helper()
	var value any
	if err := json.Unmarshal(a.body, &value); err != nil {
		a.Fatalf("not JSON: %.300s", a.body)
	}
	for name := range strings.SplitSeq(path, ".") {
		switch v := value.(type) {
		case map[string]any:
			value = v[name]
		case []any:
			var i int
			if _, err := fmt.Sscan(name, &i); err != nil || i >= len(v) {
				a.Fatalf("no %s in %.300s", path, a.body)
			}
			value = v[i]
		}
	}
	return fmt.Sprint(value)
}
