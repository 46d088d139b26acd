package commitment

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
)

// Args is the job that answers one request.
type Args struct {
	ID int64 `json:"commitment"`
}

// Kind implements river.JobArgs.
func (Args) Kind() string { return "storage_commitment" }

// Pauses grow from five seconds to ten minutes, so that the last attempt is some
// three days after the first.
const (
	maxAttempts = 440
	firstPause  = 5 * time.Second
	longestWait = 10 * time.Minute
)

// Enqueue adds the job of a request, for when it is not answered over the
// association that asked.
func Enqueue(ctx context.Context, jobs *river.Client[pgx.Tx], tx pgx.Tx, id int64) error {
	_, err := jobs.InsertTx(ctx, tx, Args{ID: id}, &river.InsertOpts{MaxAttempts: maxAttempts, ScheduledAt: time.Now().Add(window)})
	return err
}

// Worker runs Args.
type Worker struct {
	river.WorkerDefaults[Args]
	Commitments *Commitments
}

// Work implements river.Worker.
func (w *Worker) Work(ctx context.Context, job *river.Job[Args]) error {
	wait, err := w.Commitments.process(ctx, job.Args.ID, nil)
	switch {
	case err != nil && job.Attempt >= job.MaxAttempts:
		w.Commitments.o.Log.Error("a storage commitment could not be reported; its sender must ask again", "commitment", job.Args.ID, "error", err)
		return w.Commitments.giveUp(ctx, job.Args.ID, err)
	case err != nil:
		return err
	case wait > 0:
		return river.JobSnooze(wait)
	}
	return nil
}

// Timeout implements river.Worker: a request may name more bytes than can be
// read in the usual time.
func (w *Worker) Timeout(*river.Job[Args]) time.Duration { return longest + time.Minute }

// NextRetry implements river.Worker.
func (w *Worker) NextRetry(job *river.Job[Args]) time.Time {
	d := min(firstPause<<min(max(job.Attempt-1, 0), 16), longestWait)
	return time.Now().Add(d + time.Duration(rand.Int64N(int64(d)/4+1)))
}
