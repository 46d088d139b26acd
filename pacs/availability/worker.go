package availability

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
)

// Args is the job that sees to one notice.
type Args struct {
	ID int64 `json:"notice"`
}

// Kind implements river.JobArgs.
func (Args) Kind() string { return "availability_notification" }

// Enqueue adds the job of a notice.
func Enqueue(ctx context.Context, jobs *river.Client[pgx.Tx], tx pgx.Tx, id int64) error {
	_, err := jobs.InsertTx(ctx, tx, Args{ID: id}, &river.InsertOpts{MaxAttempts: 200})
	return err
}

// Worker runs Args.
type Worker struct {
	river.WorkerDefaults[Args]
	Notices *Notices
}

// Work implements river.Worker. An error is one of the database; waiting for a
// device is none.
func (w *Worker) Work(ctx context.Context, job *river.Job[Args]) error {
	wait, err := w.Notices.process(ctx, job.Args.ID)
	switch {
	case err != nil:
		return err
	case wait > 0:
		// Those that wait for the same device don't come all at once.
		return river.JobSnooze(wait + time.Duration(rand.Int64N(int64(wait)/4+1)))
	}
	return w.Notices.forget(ctx)
}

// Timeout implements river.Worker.
func (w *Worker) Timeout(*river.Job[Args]) time.Duration { return longest + time.Minute }

// NextRetry implements river.Worker.
func (w *Worker) NextRetry(job *river.Job[Args]) time.Time { return time.Now().Add(pause(job.Attempt)) }
