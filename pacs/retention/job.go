package retention

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// PassArgs is the job that makes a pass.
type PassArgs struct{}

// Kind implements river.JobArgs.
func (PassArgs) Kind() string { return "retention" }

// InsertOpts implements river.JobArgsWithInsertOpts: one at a time.
func (PassArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{UniqueOpts: river.UniqueOpts{ByState: []rivertype.JobState{
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable, rivertype.JobStateRunning, rivertype.JobStateScheduled,
	}}}
}

const (
	// turn is for how long a job works before it lets others have its place.
	turn = 4 * time.Minute
	// patience is how long one study may take beyond that.
	patience = 2 * time.Hour
)

// Worker runs PassArgs.
type Worker struct {
	river.WorkerDefaults[PassArgs]
	Retention *Retention
}

// Timeout implements river.Worker.
func (w *Worker) Timeout(*river.Job[PassArgs]) time.Duration { return turn + patience }

// Work implements river.Worker.
func (w *Worker) Work(ctx context.Context, job *river.Job[PassArgs]) error {
	err := w.Retention.Pass(ctx, strconv.FormatInt(job.ID, 10), time.Now().Add(turn))
	switch {
	case errors.Is(err, ErrUnfinished):
		return river.JobSnooze(time.Second)
	case errors.Is(err, ErrElsewhere):
		return river.JobSnooze(time.Minute)
	}
	return err
}

// Daily makes a pass a day: at the same hour of the night wherever and however
// often nodes are started.
func Daily(at time.Duration) *river.PeriodicJob {
	return river.NewPeriodicJob(daily(at), func() (river.JobArgs, *river.InsertOpts) { return PassArgs{}, nil }, nil)
}

// daily is a time of day in the server's time zone.
type daily time.Duration

// Next implements river.PeriodicSchedule.
func (d daily) Next(now time.Time) time.Time {
	year, month, day := now.Local().Date()
	for ; ; day++ {
		if next := time.Date(year, month, day, 0, 0, 0, 0, time.Local).Add(time.Duration(d)); next.After(now) {
			return next
		}
	}
}
