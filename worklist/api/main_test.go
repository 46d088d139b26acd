package api_test

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

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/web"
	"github.com/tasvir-pacs/tasvir/worklist"
	"github.com/tasvir-pacs/tasvir/worklist/api"
	"github.com/tasvir-pacs/tasvir/worklist/report"
	"github.com/tasvir-pacs/tasvir/worklist/worklisttest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("os/exec.(*Cmd).Wait"), goleak.IgnoreAnyFunction("github.com/tasvir-pacs/tasvir/pacs/index/cluster.(*server).wait"))
}

// hospital is a running server over a fresh database.
type hospital struct {
	*worklisttest.Site
	reports *report.Reports
	url     string
	client  *http.Client
	log     *lockedBuffer // of everything, at info level
}

func open(t *testing.T) *hospital {
	t.Helper()
	h := &hospital{Site: worklisttest.Open(t), log: &lockedBuffer{}}
	log := slog.New(slog.NewJSONHandler(h.log, nil))
	before := slog.Default()
	slog.SetDefault(log)
	t.Cleanup(func() { slog.SetDefault(before) })

	h.reports = report.New(h.Worklist)
	h.reports.Deliver = func(context.Context, pgx.Tx, string, int) error { return nil }
	server, err := web.New(web.Options{Access: h.Access, Pool: h.Index.Pool(), Version: "test", Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	(&api.API{Index: h.Index, Worklist: h.Worklist, Reports: h.reports, Platform: "https://platform.example.uz/fhir"}).Register(server.API())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.url = "http://" + listener.Addr().String()
	h.client = &http.Client{Transport: &http.Transport{}}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, listener) }()
	t.Cleanup(func() {
		h.client.CloseIdleConnections()
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return h
}

// caller makes requests as one person or machine.
type caller struct {
	*hospital
	user   *access.User
	cookie *http.Cookie
	csrf   string
	token  string
}

// person adds a person and signs them in.
func (h *hospital) person(login string, role pacs.Role, facilities ...string) *caller {
	h.Helper()
	return h.signIn(h.Person(login, role, facilities...))
}

func (h *hospital) signIn(user *access.User) *caller {
	h.Helper()
	c := &caller{hospital: h, user: user}
	a := c.do("POST", "/api/session", map[string]string{"login": user.Login, "password": worklisttest.Password}).want(http.StatusOK)
	for _, cookie := range a.Cookies() {
		c.cookie = cookie
	}
	c.csrf = a.field("csrf")
	return c
}

// machine has a token with these scopes.
func (h *hospital) machine(name, facility string, scopes ...string) *caller {
	h.Helper()
	value, _, err := h.Access.IssueToken(h.Context(), access.System("test"), access.NewToken{Name: name, Scopes: scopes, Facility: facility})
	if err != nil {
		h.Fatal(err)
	}
	return &caller{hospital: h, token: value}
}

// answer is a response that was read and checked against openapi.yaml.
type answer struct {
	testing.TB
	*http.Response
	request string
	body    []byte
}

// do sends body as JSON, or as it is when it is a string.
func (c *caller) do(method, path string, body any, edits ...func(*http.Request)) *answer {
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
	r, err := http.NewRequestWithContext(c.Context(), method, c.url+path, bytes.NewReader(content))
	if err != nil {
		c.Fatal(err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.cookie != nil {
		r.AddCookie(c.cookie)
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
	response, err := c.client.Do(r)
	if err != nil {
		c.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		c.Fatal(err)
	}
	a := &answer{c.TB, response, method + " " + path, data}
	a.checkContract(method, strings.SplitN(path, "?", 2)[0])
	return a
}

func (a *answer) want(status int) *answer {
	a.Helper()
	if a.StatusCode != status {
		a.Errorf("%s: got %s, want %d: %.300s", a.request, a.Status, status, a.body)
	}
	return a
}

// problem wants problem details with a code and a reason ("" for none).
func (a *answer) problem(status int, code pacs.Code, reason string) {
	a.Helper()
	a.want(status)
	if a.Header.Get("Content-Type") != "application/problem+json" || a.field("code") != string(code) || a.field("reason") != reason || a.field("detail") == "" {
		a.Errorf("%s: %.300s, want code %s, reason %q", a.request, a.body, code, reason)
	}
}

// value is a member of the answer, members within members with dots; nil when
// there is none.
func (a *answer) value(path string) any {
	a.Helper()
	var value any
	if err := json.Unmarshal(a.body, &value); err != nil {
		a.Fatalf("%s: not JSON: %.300s", a.request, a.body)
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

// field is value as text, "" for none.
func (a *answer) field(path string) string {
	a.Helper()
	if v := a.value(path); v != nil {
		return fmt.Sprint(v)
	}
	return ""
}

// length is how many items a list has.
func (a *answer) length(path string) int {
	a.Helper()
	list, _ := a.value(path).([]any)
	return len(list)
}

const findings = "Oʻng oʻrta miya arteriyasi zichligi oshgan"

// draft saves a draft over the revision based.
func (c *caller) draft(task worklist.Task, text string, based int) *answer {
	c.Helper()
	return c.do("PUT", "/api/tasks/"+task.ID+"/report/draft", map[string]any{
		"sections": map[string]string{"indication": "", "technique": "", "findings": text, "impression": ""}, "language": "uz-Latn", "revision": based,
	})
}

// signed claims, writes and signs a report through the API and returns its id.
func (c *caller) signed(task worklist.Task) string {
	c.Helper()
	base := "/api/tasks/" + task.ID
	c.do("POST", base+"/claim", nil).want(http.StatusOK)
	c.draft(task, findings, 0).want(http.StatusOK)
	return c.do("POST", base+"/report/sign", map[string]int{"revision": 1}).want(http.StatusOK).field("id")
}

// uid is the Study Instance UID of a task's study.
func (h *hospital) uid(task worklist.Task) string {
	h.Helper()
	studies, err := h.Index.StudiesByID(h.Context(), pacs.System("test"), []int64{task.StudyID})
	if err != nil {
		h.Fatal(err)
	}
	return studies[task.StudyID].StudyInstanceUID
}

func withPINFL(a *index.Addition) { a.Patient.PINFL = "31203680000044" }

// lockedBuffer is a log that several write.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
