package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

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
	// A version looks so often whether the one before has arrived.
	inOrderWait    = 2 * time.Second
	longestInOrder = time.Minute

	timeToDeliver = 5 * time.Minute
	timeToRecord  = 10 * time.Second
)

// Enqueue has a version sent now, in the transaction that signs or requeues it.
// A job that waits for its next attempt is brought forward, so that there is one
// however often somebody presses "send again". One that is at work at this
// moment is not counted on: it may be about to give up.
func Enqueue(ctx context.Context, jobs *river.Client[pgx.Tx], tx pgx.Tx, reportID string, version int) error {
	args := Args{ReportID: reportID, Version: version}
	encoded, err := json.Marshal(args)
	if err != nil {
		return err
	}
	waiting, err := jobs.JobListTx(ctx, tx, river.NewJobListParams().Kinds(args.Kind()).
		States(rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable, rivertype.JobStateScheduled).
		Where("args @> @args::jsonb", river.NamedArgs{"args": string(encoded)}).First(1))
	if err != nil {
		return err
	}
	if len(waiting.Jobs) > 0 {
		_, err := jobs.JobRetryTx(ctx, tx, waiting.Jobs[0].ID)
		return err
	}
	_, err = jobs.InsertTx(ctx, tx, args, &river.InsertOpts{MaxAttempts: maxAttempts})
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
	// Log is slog.Default when nil. What the platform says, and the addresses
	// that were asked, may name patients: they go there at debug level only.
	Log *slog.Logger
}

// Timeout implements river.Worker.
func (w *Worker) Timeout(*river.Job[Args]) time.Duration { return timeToDeliver }

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
	waiting, next, err := w.Reports.Undelivered(ctx, signed.ReportID, signed.Version.Version)
	if err != nil {
		return err
	}
	if waiting > 0 {
		return river.JobSnooze(min(max(time.Until(next), inOrderWait), longestInOrder))
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
	d := report.Delivery{State: report.Retrying, Attempts: attempts}
	wait := pause(attempts)
	level, status := slog.LevelWarn, 0
	var refused *fhir.DeliveryError
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		d.LastError = "The platform did not answer in time"
		// The time to write it down was not in the time to deliver.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), timeToRecord)
		defer cancel()
	case ctx.Err() != nil:
		return cause // shutting down; River repeats it
	case errors.As(cause, &refused):
		d.LastError, status = refused.Message, refused.Status
		wait = max(wait, refused.RetryAfter)
		if refused.Permanent {
			d.State = report.Failed
		}
	default:
		d.LastError = "Something went wrong on this side; the details are in the server's log"
		level = slog.LevelError
	}
	if d.State == report.Retrying {
		d.NextAttemptAt = time.Now().Add(wait)
	}
	log := w.Log
	if log == nil {
		log = slog.Default()
	}
	attributes := []any{"report", signed.ReportID, "version", signed.Version.Version, "state", d.State, "attempt", attempts, "status", status}
	if level == slog.LevelError {
		attributes = append(attributes, "error", cause)
	}
	log.Log(ctx, level, "a report was not delivered", attributes...)
	log.DebugContext(ctx, "why a report was not delivered", "report", signed.ReportID, "job", job.ID, "error", cause)
	if err := w.Reports.RecordDelivery(ctx, signed.ReportID, signed.Version.Version, d); err != nil {
		return err
	}
	if d.State == report.Failed {
		return river.JobCancel(errRefused)
	}
	// A snooze does not use up an attempt, and the job runs when the client
	// says it will.
	return river.JobSnooze(wait)
}

// errRefused is what River keeps of a refusal; the words are with the report.
var errRefused = errors.New("the platform refused the report")
