package publish

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/tasvir-pacs/tasvir/pacs/index"
)

// PackQueue is the queue of the work on packs. It has one worker per node: it
// moves many bytes, and nobody waits for it.
const PackQueue = "packs"

// unfinished are the states of a job that stands for another of its kind.
var unfinished = []rivertype.JobState{
	rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable,
	rivertype.JobStateRunning, rivertype.JobStateScheduled,
}

// MergeStudyArgs is the job that merges the packs of a study after one of its
// completions.
type MergeStudyArgs struct {
	StudyID     int64 `json:"study"`
	Completions int   `json:"completions"`
}

// Kind implements river.JobArgs.
func (MergeStudyArgs) Kind() string { return "merge_study" }

// InsertOpts implements river.JobArgsWithInsertOpts.
func (MergeStudyArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: PackQueue, Priority: 2, UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: unfinished}}
}

// EnqueueMerge adds the job that merges a study, in the transaction that has
// completed it.
func EnqueueMerge(ctx context.Context, jobs *river.Client[pgx.Tx], tx pgx.Tx, studyID int64) error {
	args := MergeStudyArgs{StudyID: studyID}
	if err := tx.QueryRow(ctx, `SELECT completions FROM study WHERE id = $1`, studyID).Scan(&args.Completions); err != nil {
		return err
	}
	_, err := jobs.InsertTx(ctx, tx, args, nil)
	return err
}

// MergeWorker runs MergeStudyArgs.
type MergeWorker struct {
	river.WorkerDefaults[MergeStudyArgs]
	Merger *Merger
}

// Work implements river.Worker.
func (w *MergeWorker) Work(ctx context.Context, job *river.Job[MergeStudyArgs]) error {
	return w.Merger.Study(ctx, job.Args.StudyID)
}

// Timeout implements river.Worker: a merge bounds itself.
func (w *MergeWorker) Timeout(*river.Job[MergeStudyArgs]) time.Duration { return 2 * mergeTime }

// CatchUpArgs is the periodic job that enqueues what completion did not: merges
// of studies that were completed before there was merging, whose jobs have
// failed too often, or whose queue was lost.
type CatchUpArgs struct{}

// Kind implements river.JobArgs.
func (CatchUpArgs) Kind() string { return "catch_up_merges" }

// InsertOpts implements river.JobArgsWithInsertOpts.
func (CatchUpArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: PackQueue, UniqueOpts: river.UniqueOpts{ByState: unfinished}}
}

// CatchUpEvery is the pace of CatchUpArgs, and how long a completed study waits
// before it is taken for one that was forgotten.
const CatchUpEvery = 10 * time.Minute

// catchUpAtOnce bounds how many merges wait in the queue because of one job.
const catchUpAtOnce = 500

// CatchUpWorker runs CatchUpArgs.
type CatchUpWorker struct {
	river.WorkerDefaults[CatchUpArgs]
	Index *index.Index
}

// Work implements river.Worker.
func (w *CatchUpWorker) Work(ctx context.Context, _ *river.Job[CatchUpArgs]) error {
	jobs, err := river.ClientFromContextSafely[pgx.Tx](ctx)
	if err != nil {
		return err
	}
	return CatchUp(ctx, jobs, w.Index, CatchUpEvery)
}

// CatchUp enqueues the merges of studies that have been complete for longer
// than since and are not merged.
func CatchUp(ctx context.Context, jobs *river.Client[pgx.Tx], ix *index.Index, since time.Duration) error {
	studies, err := ix.Unmerged(ctx, since, catchUpAtOnce)
	if err != nil {
		return err
	}
	for _, s := range studies {
		if _, err := jobs.Insert(ctx, MergeStudyArgs{StudyID: s.StudyID, Completions: s.Completions}, nil); err != nil {
			return err
		}
	}
	return nil
}
