package delivery_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"
	"go.uber.org/goleak"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/worklist"
	"github.com/tasvir-pacs/tasvir/worklist/delivery"
	"github.com/tasvir-pacs/tasvir/worklist/fhir"
	"github.com/tasvir-pacs/tasvir/worklist/fhir/sandboxtest"
	"github.com/tasvir-pacs/tasvir/worklist/report"
	"github.com/tasvir-pacs/tasvir/worklist/worklisttest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("os/exec.(*Cmd).Wait"), goleak.IgnoreAnyFunction("github.com/tasvir-pacs/tasvir/pacs/index/cluster.(*server).wait"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

var everywhere = pacs.Scope{Who: "test", All: true}

// outbox is a site whose signed reports are queued for a platform.
type outbox struct {
	*worklisttest.Site
	reports *report.Reports
	worker  *delivery.Worker
	jobs    *river.Client[pgx.Tx]
	me      *access.User
	log     *lockedBuffer // at info level
}

// open makes an outbox for what sends. Jobs are enqueued and not worked; see
// run and work.
func open(t *testing.T, sender delivery.Sender) *outbox {
	t.Helper()
	o := &outbox{Site: worklisttest.Open(t), log: &lockedBuffer{}}
	o.me = o.Radiologist("me")
	o.reports = report.New(o.Worklist)
	log := slog.New(slog.NewJSONHandler(o.log, nil))
	o.worker = &delivery.Worker{Reports: o.reports, Composer: &delivery.Composer{Index: o.Index, Requests: o.Worklist.Requests}, Sender: sender, Log: log}
	var err error
	if o.jobs, err = o.newClient(); err != nil {
		t.Fatal(err)
	}
	o.reports.Deliver = func(ctx context.Context, tx pgx.Tx, id string, version int) error {
		return delivery.Enqueue(ctx, o.jobs, tx, id, version)
	}
	return o
}

// newClient is River's, as a node starts it.
func (o *outbox) newClient() (*river.Client[pgx.Tx], error) {
	workers := river.NewWorkers()
	river.AddWorker(workers, o.worker)
	return river.NewClient(riverpgxv5.New(o.Index.Pool()), &river.Config{
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 4}}, Workers: workers, Logger: slog.New(slog.NewJSONHandler(o.log, nil)),
		FetchPollInterval: 100 * time.Millisecond,
	})
}

// toSandbox is an outbox for a sandbox.
func toSandbox(t *testing.T, s *sandboxtest.Sandbox) *outbox {
	t.Helper()
	return open(t, platformClient(s))
}

func platformClient(s *sandboxtest.Sandbox) *fhir.Client {
	return &fhir.Client{BaseURL: s.URL, Builder: fhir.Builder{Namespace: "https://tasvir.example.uz/fhir/sid", WADORoot: "https://tasvir.example.uz/dicom-web"}}
}

// run works the jobs, until the function it returns is called or the test ends.
func (o *outbox) run() (stop func()) {
	o.Helper()
	if err := o.jobs.Start(context.Background()); err != nil {
		o.Fatal(err)
	}
	var once sync.Once
	stop = func() {
		once.Do(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			if err := o.jobs.StopAndCancel(ctx); err != nil && !errors.Is(err, context.Canceled) {
				o.Error(err)
			}
		})
	}
	o.Cleanup(stop)
	return stop
}

// sign signs a report of a new study, or an amendment of one that is signed.
func (o *outbox) sign(findings string) (worklist.Task, string) {
	o.Helper()
	task := o.Task("A", func(a *index.Addition) { a.Patient.PINFL = "31203680000044" })
	if _, err := o.Worklist.Claim(o.Context(), everywhere, task.ID, o.me.ID); err != nil {
		o.Fatal(err)
	}
	r := o.write(task, findings, 0)
	return task, r.ID
}

func (o *outbox) amend(task worklist.Task, kind report.Kind, findings string) {
	o.Helper()
	r, err := o.reports.Amend(o.Context(), everywhere, task.ID, o.me.ID, kind)
	if err != nil {
		o.Fatal(err)
	}
	o.write(task, findings, r.Draft.Revision)
}

func (o *outbox) write(task worklist.Task, findings string, based int) report.Report {
	o.Helper()
	draft, err := o.reports.SaveDraft(o.Context(), everywhere, task.ID, o.me.ID, report.Sections{Findings: findings}, "uz-Latn", based)
	if err != nil {
		o.Fatal(err)
	}
	r, err := o.reports.Sign(o.Context(), everywhere, task.ID, report.Signer{ID: o.me.ID, Name: o.me.Name}, draft.Revision)
	if err != nil {
		o.Fatal(err)
	}
	return r
}

// work does once what River would.
func (o *outbox) work(ctx context.Context, reportID string, version int) error {
	return o.worker.Work(ctx, &river.Job[delivery.Args]{JobRow: &rivertype.JobRow{ID: 1, Attempt: 1}, Args: delivery.Args{ReportID: reportID, Version: version}})
}

// snoozed fails the test unless err tells River to come back, and returns when.
func (o *outbox) snoozed(err error) time.Duration {
	o.Helper()
	var snooze *rivertype.JobSnoozeError
	if !errors.As(err, &snooze) {
		o.Fatalf("not put off, but %v", err)
	}
	return snooze.Duration
}

// delivery is what the client shows of a version.
func (o *outbox) delivery(reportID string, version int) report.Delivery {
	o.Helper()
	signed, err := o.reports.Get(o.Context(), reportID, version)
	if err != nil {
		o.Fatal(err)
	}
	return *signed.Delivery
}

// waitFor waits until a version is in a state.
func (o *outbox) waitFor(reportID string, version int, state report.DeliveryState) report.Delivery {
	o.Helper()
	var d report.Delivery
	o.eventually("version is "+string(state), func() bool {
		d = o.delivery(reportID, version)
		return d.State == state
	})
	return d
}

func (o *outbox) eventually(what string, is func() bool) {
	o.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for !is() {
		if time.Now().After(deadline) {
			o.Fatalf("it never came about that %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// waiting is the jobs that are to run, or run.
func (o *outbox) waiting() []*rivertype.JobRow {
	o.Helper()
	found, err := o.jobs.JobList(o.Context(), river.NewJobListParams().Kinds(delivery.Args{}.Kind()).States(
		rivertype.JobStateAvailable, rivertype.JobStateRunning, rivertype.JobStateScheduled, rivertype.JobStateRetryable, rivertype.JobStatePending))
	if err != nil {
		o.Fatal(err)
	}
	return found.Jobs
}

// standing is the platform's reports of one of ours.
func standing(t *testing.T, s *sandboxtest.Sandbox, reportID string) []map[string]any {
	t.Helper()
	return s.Search("DiagnosticReport?identifier=" + reportID)
}

// onPlatform fails the test unless the platform has the report exactly once.
func onPlatform(t *testing.T, s *sandboxtest.Sandbox, reportID, status string) map[string]any {
	t.Helper()
	found := standing(t, s, reportID)
	if len(found) != 1 {
		t.Fatalf("the platform has the report %d times", len(found))
	}
	if found[0]["status"] != status {
		t.Errorf("its status is %v, want %s", found[0]["status"], status)
	}
	return found[0]
}

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
