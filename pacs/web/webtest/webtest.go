// Package webtest gives tests of the client API a running server, people and
// machines that call it, and answers that were checked against openapi.yaml.
package webtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/index/indextest"
	"github.com/tasvir-pacs/tasvir/pacs/web"
	"github.com/tasvir-pacs/tasvir/pacs/web/contracttest"
)

// Contract is what every answer is checked against.
var Contract = contracttest.Parse(web.OpenAPI())

// Settings make password hashes that cost nothing.
var Settings = access.Settings{Password: access.Argon2{MemoryKiB: 64, Passes: 1, Lanes: 1}}

// Password is that of everybody whom a Server signs in.
const Password = "correct horse"

// Server is a running server over a test's database.
type Server struct {
	testing.TB
	URL    string
	Client *http.Client
	Log    *Log // of everything, at info level; also the default logger meanwhile
	Access *access.Access
}

// Serve starts a server with the routes that register adds.
func Serve(t testing.TB, people *access.Access, pool *pgxpool.Pool, register func(*web.Server)) *Server {
	t.Helper()
	s := &Server{TB: t, Log: &Log{}, Access: people, Client: &http.Client{Transport: &http.Transport{}}}
	log := slog.New(slog.NewJSONHandler(s.Log, nil))
	before := slog.Default()
	slog.SetDefault(log)
	t.Cleanup(func() { slog.SetDefault(before) })

	server, err := web.New(web.Options{Access: people, Pool: pool, Version: "test", Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	register(server)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.URL = "http://" + listener.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, listener) }()
	t.Cleanup(func() {
		s.Client.CloseIdleConnections()
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return s
}

// Archive is a fresh database with the hospitals A and B, and a server.
type Archive struct {
	*Server
	Index *index.Index
	A, B  pacs.Facility
}

// OpenArchive makes an Archive that lasts as long as the test. migrate brings
// up tables of other packages; it runs once per test binary and may be nil.
func OpenArchive(t testing.TB, migrate func(context.Context, *index.Index) error, register func(*Archive, *web.Server)) *Archive {
	t.Helper()
	url := indextest.New(t, func(ctx context.Context, url string) error {
		ix, err := index.Open(ctx, url)
		if err != nil {
			return err
		}
		defer ix.Close()
		if _, err := access.Open(ctx, ix, Settings); err != nil || migrate == nil {
			return err
		}
		return migrate(ctx, ix)
	})
	a := &Archive{}
	var err error
	if a.Index, err = index.Open(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Index.Close)
	people, err := access.Open(t.Context(), a.Index, Settings)
	if err != nil {
		t.Fatal(err)
	}
	for code, to := range map[string]*pacs.Facility{"A": &a.A, "B": &a.B} {
		if *to, err = people.AddFacility(t.Context(), access.System("test"), pacs.Facility{Code: code, Name: "Hospital " + code}); err != nil {
			t.Fatal(err)
		}
	}
	a.Server = Serve(t, people, a.Index.Pool(), func(server *web.Server) { register(a, server) })
	return a
}

// Caller makes requests as one person or machine; one that is neither is
// nobody.
type Caller struct {
	*Server
	User   *access.User
	Cookie *http.Cookie
	csrf   string
	token  string
}

// Person adds a person with one role and signs them in; a radiologist without
// facilities sees all.
func (s *Server) Person(login string, role pacs.Role, facilities ...string) *Caller {
	s.Helper()
	user, err := s.Access.CreateUser(s.Context(), access.System("test"), access.NewUser{
		Login: login, Name: "Name of " + login, Password: Password, Roles: []pacs.Role{role}, Facilities: facilities,
		AllFacilities: role == pacs.Radiologist && len(facilities) == 0,
	})
	if err != nil {
		s.Fatal(err)
	}
	return s.SignIn(user)
}

// SignIn signs a person in who has the Password.
func (s *Server) SignIn(user *access.User) *Caller {
	s.Helper()
	c := &Caller{Server: s, User: user}
	a := c.Do("POST", "/api/session", map[string]string{"login": user.Login, "password": Password}).Want(http.StatusOK)
	for _, cookie := range a.Cookies() {
		c.Cookie = cookie
	}
	c.csrf = a.Field("csrf")
	return c
}

// Machine is one with a token of these scopes, of a facility or ("") of all.
func (s *Server) Machine(name, facility string, scopes ...string) *Caller {
	s.Helper()
	value, _, err := s.Access.IssueToken(s.Context(), access.System("test"), access.NewToken{Name: name, Scopes: scopes, Facility: facility})
	if err != nil {
		s.Fatal(err)
	}
	return &Caller{Server: s, token: value}
}

// Answer is a response that was read and checked against openapi.yaml.
type Answer struct {
	testing.TB
	*http.Response
	Request string
	Body    []byte
}

// Do sends body as JSON, or as it is when it is a string.
func (c *Caller) Do(method, path string, body any, edits ...func(*http.Request)) *Answer {
	c.Helper()
	var content []byte
	switch body := body.(type) {
	case nil:
	case string:
		content = []byte(body)
	default:
		var err error
		if content, err = json.Marshal(body); err != nil {
			c.Fatal(err)
		}
	}
	r, err := http.NewRequestWithContext(c.Context(), method, c.URL+path, bytes.NewReader(content))
	if err != nil {
		c.Fatal(err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.Cookie != nil {
		r.AddCookie(c.Cookie)
	}
	if c.csrf != "" {
		r.Header.Set("X-CSRF-Token", c.csrf)
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	for _, edit := range edits {
		edit(r)
	}
	response, err := c.Client.Do(r)
	if err != nil {
		c.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		c.Fatal(err)
	}
	path, _, _ = strings.Cut(path, "?")
	Contract.CheckAnswer(c.TB, method, path, response.StatusCode, response.Header, data)
	return &Answer{c.TB, response, method + " " + path, data}
}

// Want wants a status.
func (a *Answer) Want(status int) *Answer {
	a.Helper()
	if a.StatusCode != status {
		a.Errorf("%s: got %s, want %d: %.300s", a.Request, a.Status, status, a.Body)
	}
	return a
}

// Problem wants problem details with a code and a reason ("" for none).
func (a *Answer) Problem(status int, code pacs.Code, reason string) {
	a.Helper()
	a.Want(status)
	if a.Header.Get("Content-Type") != "application/problem+json" || a.Field("code") != string(code) || a.Field("reason") != reason || a.Field("detail") == "" {
		a.Errorf("%s: %.300s, want code %s, reason %q", a.Request, a.Body, code, reason)
	}
}

// Value is a member of the answer, members within members with dots and items
// of lists by number; nil when there is none.
func (a *Answer) Value(path string) any {
	a.Helper()
	var value any
	if err := json.Unmarshal(a.Body, &value); err != nil {
		a.Fatalf("%s: not JSON: %.300s", a.Request, a.Body)
	}
	for name := range strings.SplitSeq(path, ".") {
		switch v := value.(type) {
		case map[string]any:
			value = v[name]
		case []any:
			var i int
			if _, err := fmt.Sscan(name, &i); err != nil || i >= len(v) {
				return nil
			}
			value = v[i]
		default:
			return nil
		}
	}
	return value
}

// Field is Value as text, "" for none.
func (a *Answer) Field(path string) string {
	a.Helper()
	if v := a.Value(path); v != nil {
		return fmt.Sprint(v)
	}
	return ""
}

// Length is how many items a list has.
func (a *Answer) Length(path string) int {
	a.Helper()
	list, _ := a.Value(path).([]any)
	return len(list)
}

// Log is a log that several write.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
