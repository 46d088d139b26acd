package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"github.com/tasvir-pacs/tasvir/worklist/fhir"
	"github.com/tasvir-pacs/tasvir/worklist/report"
)

// Args is the job that delivers one signed version.
type Args struct {
	ReportID string `json:"report"`
	Version  int    `json:"version"`
}

// Kind implements river.JobArgs.
func (Args) Kind() string { return "deliver_report" }

// Attempts and pauses: from a few seconds up to ten minutes, so that the last
// attempt is some two weeks after the first. Then a person must press "send
// again"; the report stays in the list of failed ones.
const (
	maxAttempts = 2000
	firstPause  = 3 * time.Second
	longestWait = 10 * time.Minute
	inOrderWait = 2 * time.Second
)

// Enqueue adds the job in the transaction that signs or requeues a version.
func Enqueue(ctx context.Context, jobs *river.Client[pgx.Tx], tx pgx.Tx, reportID string, version int) error {
	_, err := jobs.InsertTx(ctx, tx, Args{ReportID: reportID, Version: version}, &river.InsertOpts{MaxAttempts: maxAttempts})
	return err
}

// Sender brings a version to the platform; fhir.Client is one.
type Sender interface {
	Deliver(ctx context.Context, r *fhir.Report, previous *fhir.Receipt) (fhir.Receipt, error)
}

// Worker runs Args.
type Worker struct {
	river.WorkerDefaults[Args]
	Reports  *report.Reports
	Composer *Composer
	Sender   Sender
	// Observe, when set, is told of every attempt.
	Observe func(err error, took time.Duration)
}

// Timeout implements river.Worker.
func (w *Worker) Timeout(*river.Job[Args]) time.Duration { return 5 * time.Minute }

// NextRetry implements river.Worker for failures that Work did not schedule
// itself, such as a panic or a database that is down.
func (w *Worker) NextRetry(job *river.Job[Args]) time.Time { return time.Now().Add(pause(job.Attempt)) }

// pause grows from firstPause to longestWait and is spread by a quarter, so
// that what failed together does not come back together.
func pause(attempt int) time.Duration {
	d := min(firstPause<<min(max(attempt-1, 0), 16), longestWait)
	return d + time.Duration(rand.Int64N(int64(d)/4+1))
}

// Work implements river.Worker.
func (w *Worker) Work(ctx context.Context, job *river.Job[Args]) error {
	signed, err := w.Reports.Get(ctx, job.Args.ReportID, job.Args.Version)
	if err != nil {
		return err
	}
	if signed.Delivery != nil && signed.Delivery.State == report.Delivered {
		return nil
	}
	waiting, err := w.Reports.Undelivered(ctx, signed.ReportID, signed.Version.Version)
	if err != nil {
		return err
	}
	if waiting > 0 {
		return river.JobSnooze(inOrderWait)
	}
	attempts := 1
	if signed.Delivery != nil {
		attempts += signed.Delivery.Attempts
	}
	started := time.Now()
	receipt, err := w.deliver(ctx, signed)
	if w.Observe != nil {
		w.Observe(err, time.Since(started))
	}
	if err == nil {
		raw, err := json.Marshal(receipt)
		if err != nil {
			return err
		}
		return w.Reports.RecordDelivery(ctx, signed.ReportID, signed.Version.Version, report.Delivery{
			State: report.Delivered, Attempts: attempts, DeliveredAt: time.Now(), Receipt: raw,
		})
	}
	return w.failed(ctx, job, signed, attempts, err)
}

func (w *Worker) deliver(ctx context.Context, signed report.Signed) (fhir.Receipt, error) {
	composed, err := w.Composer.Compose(ctx, signed)
	if err != nil {
		return fhir.Receipt{}, err
	}
	raw, err := w.Reports.LastReceipt(ctx, signed.ReportID, signed.Version.Version)
	if err != nil {
		return fhir.Receipt{}, err
	}
	var previous *fhir.Receipt
	if raw != nil {
		if err := json.Unmarshal(raw, &previous); err != nil {
			return fhir.Receipt{}, err
		}
	}
	return w.Sender.Deliver(ctx, composed, previous)
}

// failed records why an attempt failed and decides whether there is another.
func (w *Worker) failed(ctx context.Context, job *river.Job[Args], signed report.Signed, attempts int, cause error) error {
	if ctx.Err() != nil {
		return cause // shutting down or timed out; River repeats it
	}
	d := report.Delivery{State: report.Retrying, Attempts: attempts, LastError: "Something went wrong on this side; the details are in the server's log"}
	wait := pause(attempts)
	var refused *fhir.DeliveryError
	if errors.As(cause, &refused) {
		d.LastError = refused.Message
		wait = max(wait, refused.RetryAfter)
		if refused.Permanent {
			d.State = report.Failed
		}
	}
	if d.State == report.Retrying {
		d.NextAttemptAt = time.Now().Add(wait)
	}
	if err := w.Reports.RecordDelivery(ctx, signed.ReportID, signed.Version.Version, d); err != nil {
		return errors.Join(cause, err)
	}
	if d.State == report.Failed {
		return river.JobCancel(cause)
	}
	// A snooze does not use up an attempt, and the job runs when the client
	// says it will.
	return river.JobSnooze(wait)
}
