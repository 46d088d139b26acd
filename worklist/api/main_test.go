package api_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/web"
	"github.com/tasvir-pacs/tasvir/pacs/web/webtest"
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
	server  *webtest.Server
	reports *report.Reports
}

func open(t *testing.T) *hospital {
	t.Helper()
	h := &hospital{Site: worklisttest.Open(t)}
	h.reports = report.New(h.Worklist)
	h.reports.Deliver = func(context.Context, pgx.Tx, string, int) error { return nil }
	h.server = webtest.Serve(t, h.Access, h.Index.Pool(), func(server *web.Server) {
		(&api.API{Index: h.Index, Worklist: h.Worklist, Reports: h.reports, Orders: h.Orders, Platform: "https://platform.example.uz/fhir"}).Register(server.API())
	})
	return h
}

// caller makes requests as one person or machine.
type caller struct {
	*webtest.Caller
	h *hospital
}

// person adds a person and signs them in.
func (h *hospital) person(login string, role pacs.Role, facilities ...string) *caller {
	h.Helper()
	return h.signIn(h.Person(login, role, facilities...))
}

func (h *hospital) signIn(user *access.User) *caller {
	h.Helper()
	return &caller{h.server.SignIn(user), h}
}

// machine has a token with these scopes.
func (h *hospital) machine(name, facility string, scopes ...string) *caller {
	h.Helper()
	return &caller{h.server.Machine(name, facility, scopes...), h}
}

const findings = "Oʻng oʻrta miya arteriyasi zichligi oshgan"

// draft saves a draft over the revision based.
func (c *caller) draft(task worklist.Task, text string, based int) *webtest.Answer {
	c.Helper()
	return c.Do("PUT", "/api/tasks/"+task.ID+"/report/draft", map[string]any{
		"sections": map[string]string{"indication": "", "technique": "", "findings": text, "impression": ""}, "language": "uz-Latn", "revision": based,
	})
}

// signed claims, writes and signs a report through the API and returns its id.
func (c *caller) signed(task worklist.Task) string {
	c.Helper()
	base := "/api/tasks/" + task.ID
	c.Do("POST", base+"/claim", nil).Want(http.StatusOK)
	c.draft(task, findings, 0).Want(http.StatusOK)
	return c.Do("POST", base+"/report/sign", map[string]int{"revision": 1}).Want(http.StatusOK).Field("id")
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
