package delivery_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/riverqueue/river"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/worklist/delivery"
	"github.com/tasvir-pacs/tasvir/worklist/fhir"
	"github.com/tasvir-pacs/tasvir/worklist/fhir/sandboxtest"
	"github.com/tasvir-pacs/tasvir/worklist/orders"
	"github.com/tasvir-pacs/tasvir/worklist/report"
	"github.com/tasvir-pacs/tasvir/worklist/worklisttest"
)

// River brings a signed report to the platform, once, with its pictures and the
// very PDF that is kept.
func TestDeliveredOnce(t *testing.T) {
	t.Parallel()
	s := sandboxtest.Start(t)
	o := toSandbox(t, s)
	o.run()
	task, id := o.sign("Norma")
	d := o.waitFor(id, 1, report.Delivered)
	if d.Attempts != 1 || d.LastError != "" || d.DeliveredAt.IsZero() || !d.NextAttemptAt.IsZero() {
		t.Errorf("%+v", d)
	}
	var receipt fhir.Receipt
	if err := json.Unmarshal(d.Receipt, &receipt); err != nil || receipt.Version != 1 {
		t.Errorf("the receipt: %s %v", d.Receipt, err)
	}
	there := onPlatform(t, s, id, "final")
	if there["id"] != receipt.DiagnosticReportID {
		t.Errorf("the receipt says %s, the platform %v", receipt.DiagnosticReportID, there["id"])
	}
	form := there["presentedForm"].([]any)[0].(map[string]any)
	sent, err := base64.StdEncoding.DecodeString(form["data"].(string))
	kept, err2 := o.reports.PDF(t.Context(), everywhere, id, 1)
	if errors.Join(err, err2) != nil || !bytes.Equal(sent, kept) {
		t.Errorf("the PDF is not the one that is kept (%v %v)", err, err2)
	}

	study, err := o.Index.StudiesByID(t.Context(), everywhere, []int64{task.StudyID})
	if err != nil {
		t.Fatal(err)
	}
	uid := study[task.StudyID].StudyInstanceUID
	imaging := s.Search("ImagingStudy")
	if len(imaging) != 1 {
		t.Fatalf("%d imaging studies", len(imaging))
	}
	series := imaging[0]["series"].([]any)
	if len(series) != 2 {
		t.Fatalf("%d series", len(series))
	}
	first := series[0].(map[string]any)
	listed := first["instance"].([]any)
	if first["uid"] != uid+".1" || len(listed) != 2 || listed[1].(map[string]any)["uid"] != uid+".1.2" || listed[1].(map[string]any)["number"] != 2.0 {
		t.Errorf("the first series: %v", first)
	}

	// Working the job again sends nothing.
	seen := len(s.Requests())
	if err := o.work(t.Context(), id, 1); err != nil {
		t.Error(err)
	}
	if again := len(s.Requests()); again != seen {
		t.Errorf("%d more requests", again-seen)
	}
}

// A platform in trouble is tried again, later each time, and people see it.
func TestTroubleOnThePlatform(t *testing.T) {
	t.Parallel()
	s := sandboxtest.Start(t)
	o := toSandbox(t, s)
	_, id := o.sign("Norma")
	before := time.Duration(0)
	for attempt := 1; attempt <= 4; attempt++ {
		s.ClearFaults()
		s.Fault(sandboxtest.Fault{Status: 503, Count: 10})
		wait := o.snoozed(o.work(t.Context(), id, 1))
		d := o.delivery(id, 1)
		if d.State != report.Retrying || d.Attempts != attempt || d.LastError == "" || strings.Contains(d.LastError, "on this side") {
			t.Errorf("after attempt %d: %+v", attempt, d)
		}
		if wait <= before || time.Until(d.NextAttemptAt) > wait || time.Until(d.NextAttemptAt) < wait-time.Minute {
			t.Errorf("attempt %d: wait %s (before %s), the next is said to be at %s", attempt, wait, before, d.NextAttemptAt)
		}
		before = wait
	}
	s.ClearFaults()
	if err := o.work(t.Context(), id, 1); err != nil {
		t.Fatal(err)
	}
	d := o.delivery(id, 1)
	if d.State != report.Delivered || d.Attempts != 5 || d.LastError != "" || !d.NextAttemptAt.IsZero() {
		t.Errorf("%+v", d)
	}
	onPlatform(t, s, id, "final")

	// The platform's own wish is respected.
	_, id = o.sign("Norma")
	s.Fault(sandboxtest.Fault{Status: 429, RetryAfter: 120, Count: 10})
	if wait := o.snoozed(o.work(t.Context(), id, 1)); wait < 2*time.Minute {
		t.Errorf("come back after 120 s, it says; we come after %s", wait)
	}
}

// River itself comes back after a failure.
func TestRiverTriesAgain(t *testing.T) {
	t.Parallel()
	s := sandboxtest.Start(t)
	o := toSandbox(t, s)
	s.Fault(sandboxtest.Fault{Status: 503, Count: 1})
	o.run()
	_, id := o.sign("Norma")
	d := o.waitFor(id, 1, report.Delivered)
	if d.Attempts != 2 {
		t.Errorf("%+v", d)
	}
	onPlatform(t, s, id, "final")
}

// The sandbox does not know this radiologist: a person has to act. When they
// have, "send again" sends.
func TestRefusedUntilAPersonActs(t *testing.T) {
	t.Parallel()
	s := sandboxtest.Start(t)
	o := toSandbox(t, s)
	if _, err := o.Index.Pool().Exec(t.Context(), `UPDATE user_account SET pinfl = '39999999999999', argos = ''`); err != nil {
		t.Fatal(err)
	}
	o.run()
	task, id := o.sign("Norma")
	d := o.waitFor(id, 1, report.Failed)
	if d.Attempts != 1 || d.LastError == "" || strings.Contains(d.LastError, "on this side") || !d.NextAttemptAt.IsZero() {
		t.Errorf("%+v", d)
	}
	o.eventually("the job has ended", func() bool { return len(o.waiting()) == 0 })
	if n := len(s.Search("DiagnosticReport")); n != 0 {
		t.Errorf("the platform has %d reports", n)
	}
	if _, err := o.Index.Pool().Exec(t.Context(), `UPDATE user_account SET pinfl = '30101800000011'`); err != nil {
		t.Fatal(err)
	}
	if err := o.reports.Requeue(t.Context(), everywhere, "", id, 1); err != nil {
		t.Fatal(err)
	}
	if d := o.waitFor(id, 1, report.Delivered); d.Attempts != 2 || d.LastError != "" {
		t.Errorf("%+v", d)
	}
	onPlatform(t, s, id, "final")
	worklisttest.WantCode(t, o.reports.Requeue(t.Context(), everywhere, "", id, 1), pacs.Conflict, "")

	// A version whose predecessor was refused does not wait for it.
	s.Fault(sandboxtest.Fault{Status: 422, Count: 1, Method: "PUT"})
	o.amend(task, report.Correction, "Insult")
	o.waitFor(id, 2, report.Failed)
	o.amend(task, report.Addendum, "Nazorat")
	o.waitFor(id, 3, report.Delivered)
	onPlatform(t, s, id, "appended")
	// And sent later, it does not take the newer one's place.
	if err := o.reports.Requeue(t.Context(), everywhere, "", id, 2); err != nil {
		t.Fatal(err)
	}
	o.waitFor(id, 2, report.Delivered)
	onPlatform(t, s, id, "appended")
}

// A correction waits for what it corrects.
func TestVersionsArriveInTheirOrder(t *testing.T) {
	t.Parallel()
	s := sandboxtest.Start(t)
	o := toSandbox(t, s)
	task, id := o.sign("Norma")
	o.amend(task, report.Correction, "Insult")
	o.snoozed(o.work(t.Context(), id, 2))
	if d := o.delivery(id, 2); d.State != report.Queued || d.Attempts != 0 {
		t.Errorf("waiting for its turn is not an attempt: %+v", d)
	}
	if n := len(standing(t, s, id)); n != 0 {
		t.Errorf("the platform has %d reports", n)
	}
	s.Fault(sandboxtest.Fault{Status: 503, Count: 10})
	o.snoozed(o.work(t.Context(), id, 1))
	s.ClearFaults()
	next := func(in string) {
		if _, err := o.Index.Pool().Exec(t.Context(), `UPDATE report_delivery SET next_attempt_at = now() + $1::interval WHERE version = 1`, in); err != nil {
			t.Fatal(err)
		}
	}
	// Version 1 is still being retried; until then there is little to look for.
	next("5 minutes")
	if wait := o.snoozed(o.work(t.Context(), id, 2)); wait != time.Minute {
		t.Errorf("version 2 looks again in %s", wait)
	}
	next("0")
	o.run()
	o.waitFor(id, 2, report.Delivered)
	if d := o.delivery(id, 1); d.State != report.Delivered {
		t.Errorf("version 1 is %+v", d)
	}
	there := onPlatform(t, s, id, "corrected")
	if there["meta"].(map[string]any)["versionId"] == "1" {
		t.Errorf("the platform has seen one version only: %v", there["meta"])
	}
	if n := len(s.Search("ImagingStudy")) + len(s.Search("Patient?identifier=31203680000044")); n != 2 {
		t.Errorf("study and patient are there %d times together, want 2", n)
	}
}

// The connection breaks after the platform has stored the report and before it
// says so.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	for name, flags := range map[string][]string{"conditional create": nil, "search first": {"--no-conditional-create"}} {
		t.Run(name, func(t *testing.T) {
			s := sandboxtest.Start(t, flags...)
			o := toSandbox(t, s)
			task, id := o.sign("Norma")
			s.Fault(sandboxtest.Fault{DropAfterCommit: 1})
			o.finish(id, 1)
			onPlatform(t, s, id, "final")
			o.amend(task, report.Correction, "Insult")
			s.Fault(sandboxtest.Fault{DropAfterCommit: 1, Method: "PUT"})
			o.finish(id, 2)
			onPlatform(t, s, id, "corrected")
		})
	}
}

// finish works a version until it is delivered.
func (o *outbox) finish(id string, version int) {
	o.Helper()
	for range 5 {
		if err := o.work(o.Context(), id, version); err != nil {
			o.snoozed(err)
		}
		if o.delivery(id, version).State == report.Delivered {
			return
		}
	}
	o.Fatalf("not delivered: %+v", o.delivery(id, version))
}

func TestPlatformDownThenUp(t *testing.T) {
	t.Parallel()
	s := sandboxtest.Start(t)
	o := toSandbox(t, s)
	s.Stop()
	_, id := o.sign("Norma")
	o.snoozed(o.work(t.Context(), id, 1))
	if d := o.delivery(id, 1); d.State != report.Retrying || d.LastError == "" || strings.Contains(d.LastError, "on this side") {
		t.Errorf("%+v", d)
	}
	if text := o.log.String(); !strings.Contains(text, id) || strings.Contains(text, "31203680000044") {
		t.Errorf("the log: %s", text)
	}
	s.Restart()
	if err := o.work(t.Context(), id, 1); err != nil {
		t.Fatal(err)
	}
	onPlatform(t, s, id, "final")
}

// The node stops in the middle of a delivery; the next one finishes it.
func TestRestartInTheMiddle(t *testing.T) {
	t.Parallel()
	s := sandboxtest.Start(t)
	o := toSandbox(t, s)
	_, id := o.sign("Norma")
	// The platform is slow to answer, so that the worker stops while it waits.
	s.Fault(sandboxtest.Fault{DelayMS: 3000, Method: "POST"})
	stop := o.run()
	o.eventually("the report is on its way", func() bool {
		for _, request := range s.Requests() {
			if request.Method == "POST" {
				return true
			}
		}
		return false
	})
	stop()
	if d := o.delivery(id, 1); d.State != report.Queued {
		t.Errorf("an attempt cut short by us counts against the platform: %+v", d)
	}

	next := *o // another node
	var err error
	next.worker = &delivery.Worker{Reports: o.reports, Composer: o.worker.Composer, Sender: platformClient(s), Log: o.worker.Log}
	if next.jobs, err = next.newClient(); err != nil {
		t.Fatal(err)
	}
	next.run()
	next.waitFor(id, 1, report.Delivered)
	onPlatform(t, s, id, "final")
}

// senderFunc is a platform of a few lines.
type senderFunc func(ctx context.Context, r *fhir.Report) (fhir.Receipt, error)

func (f senderFunc) Deliver(ctx context.Context, r *fhir.Report, _ *fhir.Receipt) (fhir.Receipt, error) {
	return f(ctx, r)
}

// Whoever presses "send again" ten times has one job, and it runs now.
func TestSendAgainBringsTheJobForward(t *testing.T) {
	t.Parallel()
	down := &fhir.DeliveryError{Message: "down for lunch", Status: 503, RetryAfter: time.Hour}
	calls := make(chan struct{}, 100)
	o := open(t, senderFunc(func(context.Context, *fhir.Report) (fhir.Receipt, error) {
		calls <- struct{}{}
		return fhir.Receipt{}, down
	}))
	stop := o.run()
	_, id := o.sign("Norma")
	<-calls
	o.waitFor(id, 1, report.Retrying)
	o.eventually("the job waits for an hour", func() bool {
		jobs := o.waiting()
		return len(jobs) == 1 && time.Until(jobs[0].ScheduledAt) > 50*time.Minute
	})
	stop()
	for range 10 {
		if err := o.reports.Requeue(t.Context(), everywhere, "", id, 1); err != nil {
			t.Fatal(err)
		}
	}
	jobs := o.waiting()
	if len(jobs) != 1 || time.Until(jobs[0].ScheduledAt) > time.Minute {
		t.Errorf("%d jobs, the first at %s", len(jobs), jobs[0].ScheduledAt)
	}
	if d := o.delivery(id, 1); d.State != report.Queued || d.Attempts != 1 {
		t.Errorf("%+v", d)
	}
}

// A job that is just giving up is not counted on.
func TestSendAgainWhileTheJobGivesUp(t *testing.T) {
	t.Parallel()
	calls, answer := make(chan struct{}), make(chan error)
	o := open(t, senderFunc(func(ctx context.Context, _ *fhir.Report) (fhir.Receipt, error) {
		calls <- struct{}{}
		return fhir.Receipt{}, <-answer
	}))
	o.run()
	_, id := o.sign("Norma")
	<-calls
	if err := o.reports.Requeue(t.Context(), everywhere, "", id, 1); err != nil {
		t.Fatal(err)
	}
	answer <- &fhir.DeliveryError{Permanent: true, Message: "no", Status: 422}
	<-calls // the second job
	answer <- nil
	o.waitFor(id, 1, report.Delivered)
}

// What goes wrong on our side is told to people without its details, and to the
// log with them.
func TestTroubleOnOurSide(t *testing.T) {
	t.Parallel()
	o := open(t, senderFunc(func(context.Context, *fhir.Report) (fhir.Receipt, error) {
		return fhir.Receipt{}, errors.New("pipe burst in the cellar")
	}))
	_, id := o.sign("Norma")
	o.snoozed(o.work(t.Context(), id, 1))
	if d := o.delivery(id, 1); d.State != report.Retrying || !strings.Contains(d.LastError, "log") || strings.Contains(d.LastError, "cellar") {
		t.Errorf("%+v", d)
	}
	if text := o.log.String(); !strings.Contains(text, "cellar") || !strings.Contains(text, id) {
		t.Errorf("the log: %s", text)
	}
}

// A platform that never answers is seen to fail; a shutdown is not its failure.
func TestTimeoutIsNotAShutdown(t *testing.T) {
	t.Parallel()
	o := open(t, senderFunc(func(ctx context.Context, _ *fhir.Report) (fhir.Receipt, error) {
		<-ctx.Done()
		return fhir.Receipt{}, ctx.Err()
	}))
	_, id := o.sign("Norma")
	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(time.Second))
	defer cancel()
	o.snoozed(o.work(late, id, 1))
	if d := o.delivery(id, 1); d.State != report.Retrying || d.Attempts != 1 || !strings.Contains(d.LastError, "in time") {
		t.Errorf("%+v", d)
	}
	stopping, stop := context.WithCancel(t.Context())
	time.AfterFunc(time.Second, stop)
	if err := o.work(stopping, id, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("at shutdown: %v", err)
	}
	if d := o.delivery(id, 1); d.Attempts != 1 {
		t.Errorf("%+v", d)
	}
}

func TestPermanentRefusalEndsTheJobWithoutThePatient(t *testing.T) {
	t.Parallel()
	o := open(t, senderFunc(func(context.Context, *fhir.Report) (fhir.Receipt, error) {
		return fhir.Receipt{}, &fhir.DeliveryError{Permanent: true, Status: 422, Message: "Karimov Ali is deceased"}
	}))
	_, id := o.sign("Norma")
	err := o.work(t.Context(), id, 1)
	var cancelled *river.JobCancelError
	if !errors.As(err, &cancelled) {
		t.Fatalf("the job goes on: %v", err)
	}
	if d := o.delivery(id, 1); d.State != report.Failed || d.LastError != "Karimov Ali is deceased" {
		t.Errorf("%+v", d)
	}
	if text := o.log.String() + err.Error(); strings.Contains(text, "Karimov") || !strings.Contains(text, id) {
		t.Errorf("River and the log hear %s", text)
	}
}

func TestCompose(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	_, id := o.sign("Norma")
	signed, err := o.reports.Get(t.Context(), id, 1)
	if err != nil {
		t.Fatal(err)
	}
	got, err := o.worker.Composer.Compose(t.Context(), signed)
	if err != nil {
		t.Fatal(err)
	}
	if got.Language != "uz" || got.Kind != fhir.Final || got.Predecessor != nil || got.Sections.Findings != "Norma" ||
		got.Radiologist != (fhir.Radiologist{Name: fhir.PersonName{Family: "Karimova", Given: "Nilufar", Patronymic: "Rustamovna"}, PINFL: "30101800000011", ArgosID: "DEMO-0001"}) ||
		got.Patient.Name != (fhir.PersonName{Family: "Каримов", Given: "Али", Patronymic: "Бахтиёрович"}) || got.Patient.BirthDate != "1958-05-12" ||
		got.Facility != (fhir.Facility{Code: "A", Name: "Hospital A", TaxID: "300000002"}) || got.Study.Started.Format(time.RFC3339) != "2026-11-21T08:42:00+05:00" {
		t.Errorf("%+v", got)
	}
	if len(got.Study.Series) != 2 || len(got.Study.Series[1].Instances) != 2 || got.Study.Series[1].Instances[0].Number != 1 || got.Study.Series[1].Number != 2 {
		t.Errorf("%+v", got.Study.Series)
	}
	if len(got.Patient.IDs) != 1 || got.Patient.IDs[0] != (fhir.PatientID{Issuer: "A", Value: "P1"}) {
		t.Errorf("the patient's numbers: %+v", got.Patient.IDs)
	}
	// What has more instances than are listed goes with their number.
	if _, err := o.Index.Pool().Exec(t.Context(), `UPDATE study SET instance_count = $1`, index.MaxLimit+1); err != nil {
		t.Fatal(err)
	}
	got, err = o.worker.Composer.Compose(t.Context(), signed)
	if err != nil || len(got.Study.Series) != 2 || got.Study.Series[0].Instances != nil || got.Study.Series[0].InstanceCount != 2 {
		t.Errorf("%+v %v", got.Study.Series, err)
	}
	signed.StudyID = 999
	_, err = o.worker.Composer.Compose(t.Context(), signed)
	worklisttest.WantCode(t, err, pacs.NotFound, "")
}

// The platform takes a report that names the order it answers.
func TestReportOfAnOrder(t *testing.T) {
	t.Parallel()
	s := sandboxtest.Start(t)
	o := toSandbox(t, s)
	o.run()
	if _, _, err := o.Orders.Create(t.Context(), access.System("test"), orders.Order{
		Facility: pacs.Facility{Code: "A"}, Patient: pacs.Patient{PatientID: "P1", Name: "Каримов^Али"}, Placer: "HIS-77", Accession: "ACC1",
		Steps: []orders.Step{{Modality: "CT", Start: time.Now()}},
	}); err != nil {
		t.Fatal(err)
	}
	_, id := o.sign("Norma")
	o.waitFor(id, 1, report.Delivered)
	based, _ := onPlatform(t, s, id, "final")["basedOn"].([]any)
	if len(based) != 1 || based[0].(map[string]any)["identifier"].(map[string]any)["value"] != "HIS-77" {
		t.Errorf("the report is based on %v", based)
	}
}
