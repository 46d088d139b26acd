package report

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/worklist"
	"github.com/tasvir-pacs/tasvir/worklist/worklisttest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("os/exec.(*Cmd).Wait"), goleak.IgnoreAnyFunction("github.com/tasvir-pacs/tasvir/pacs/index/cluster.(*server).wait"))
}

var (
	everywhere = pacs.Scope{Who: "test", All: true}
	wantCode   = worklisttest.WantCode
)

// only is the scope of somebody at one facility.
func only(f pacs.Facility) pacs.Scope { return pacs.Scope{Who: "test", FacilityIDs: []int64{f.ID}} }

// desk is a site with reports and two radiologists in one group.
type desk struct {
	*worklisttest.Site
	*Reports
	me, colleague *access.User

	mu     sync.Mutex
	queued []string // report and version of each delivery enqueued
	broken bool     // Deliver fails
}

func open(t *testing.T) *desk {
	t.Helper()
	d := &desk{Site: worklisttest.Open(t)}
	d.me, d.colleague = d.Radiologist("me"), d.Person("colleague", pacs.Radiologist)
	d.Rule(d.Group("G", d.me, d.colleague))
	d.Reports = New(d.Worklist)
	d.Deliver = func(_ context.Context, _ pgx.Tx, reportID string, version int) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.broken {
			return errors.New("the job queue is broken")
		}
		d.queued = append(d.queued, reference(reportID, version))
		return nil
	}
	return d
}

func signer(u *access.User) Signer {
	return Signer{ID: u.ID, Name: u.Name, ARGOS: u.ARGOS, From: "192.0.2.1"}
}

// claimed is a new task that somebody holds.
func (d *desk) claimed(by *access.User) worklist.Task {
	d.Helper()
	task := d.Task("A")
	d.claim(task, by)
	return task
}

func (d *desk) claim(task worklist.Task, by *access.User) {
	d.Helper()
	if _, err := d.Worklist.Claim(d.Context(), everywhere, task.ID, by.ID); err != nil {
		d.Fatal(err)
	}
}

func (d *desk) save(task worklist.Task, by *access.User, findings string, based int) (Draft, error) {
	return d.SaveDraft(d.Context(), everywhere, task.ID, by.ID, Sections{Indication: "Bosh ogʻrigʻi", Findings: findings}, "uz-Latn", based)
}

// mustSave saves over whatever draft there is.
func (d *desk) mustSave(task worklist.Task, by *access.User, findings string) Draft {
	d.Helper()
	based := 0
	if draft := d.report(task).Draft; draft != nil {
		based = draft.Revision
	}
	saved, err := d.save(task, by, findings, based)
	if err != nil {
		d.Fatal(err)
	}
	return saved
}

func (d *desk) sign(task worklist.Task, by *access.User, revision int) (Report, error) {
	return d.Sign(d.Context(), everywhere, task.ID, signer(by), revision)
}

// signed is the report of a new task, signed by me.
func (d *desk) signed() (worklist.Task, Report) {
	d.Helper()
	task := d.claimed(d.me)
	draft := d.mustSave(task, d.me, "Norma")
	r, err := d.sign(task, d.me, draft.Revision)
	if err != nil {
		d.Fatal(err)
	}
	return task, r
}

func (d *desk) report(task worklist.Task) Report {
	d.Helper()
	r, err := d.OfTask(d.Context(), everywhere, task.ID)
	if err != nil {
		d.Fatal(err)
	}
	return r
}

// count is how many rows a table has.
func (d *desk) count(table string) (n int) {
	d.Helper()
	if err := d.Index.Pool().QueryRow(d.Context(), `SELECT count(*) FROM `+table).Scan(&n); err != nil {
		d.Fatal(err)
	}
	return n
}

// atOnce runs f n times at once and returns what each has returned.
func atOnce(n int, f func(i int) error) []error {
	errs := make([]error, n)
	var done sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		done.Go(func() {
			<-start
			errs[i] = f(i)
		})
	}
	close(start)
	done.Wait()
	return errs
}
