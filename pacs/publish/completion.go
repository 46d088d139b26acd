package publish

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
)

// CompleteStudyArgs is the job that completes a study once it has been quiet.
// Completions numbers the completions of one study, so that images that
// arrive while the job of an earlier completion still runs get a job of their
// own, and all others of that time share one.
type CompleteStudyArgs struct {
	StudyID     int64 `json:"study"`
	Completions int   `json:"completions"`
}

// Kind implements river.JobArgs.
func (CompleteStudyArgs) Kind() string { return "complete_study" }

// CompletionWorker runs CompleteStudyArgs.
type CompletionWorker struct {
	river.WorkerDefaults[CompleteStudyArgs]
	Index *index.Index
	// Quiet is how long nothing must have arrived.
	Quiet time.Duration
	// Completed is called in the transaction that completes the study.
	Completed func(ctx context.Context, tx pgx.Tx, study pacs.Study) error
}

// Work implements river.Worker.
func (w *CompletionWorker) Work(ctx context.Context, job *river.Job[CompleteStudyArgs]) error {
	left, err := w.Index.Complete(ctx, job.Args.StudyID, w.Quiet, w.Completed)
	if err != nil {
		return err
	}
	if left > 0 {
		return river.JobSnooze(left + 50*time.Millisecond)
	}
	return nil
}

// EnqueueCompletion adds the job that completes a study, unless one waits
// already.
func EnqueueCompletion(ctx context.Context, jobs *river.Client[pgx.Tx], tx pgx.Tx, added index.Added, quiet time.Duration) error {
	_, err := jobs.InsertTx(ctx, tx, CompleteStudyArgs{StudyID: added.StudyID, Completions: added.Completions}, &river.InsertOpts{
		ScheduledAt: time.Now().Add(quiet),
		UniqueOpts: river.UniqueOpts{
			ByArgs: true,
			ByState: []rivertype.JobState{
				rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable,
				rivertype.JobStateRunning, rivertype.JobStateScheduled,
			},
		},
	})
	return err
}
