package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/events"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/previews"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
	"github.com/tasvir-pacs/tasvir/worklist/orders"
)

// newJobs makes the River client and brings its tables up to date. Without
// workers it only enqueues, for others to work on.
func newJobs(ctx context.Context, pool *pgxpool.Pool, workers *river.Workers, log *slog.Logger) (*river.Client[pgx.Tx], error) {
	driver := riverpgxv5.New(pool)
	quiet := slog.New(levelAtLeast{log.Handler(), slog.LevelWarn})
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: quiet})
	if err != nil {
		return nil, pacs.Wrap(pacs.Internal, err, "The job queue can't be prepared")
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, pacs.Wrap(pacs.Unavailable, err, "The job queue's tables can't be brought up to date")
	}
	config := &river.Config{
		Workers:    workers,
		Logger:     quiet,
		JobTimeout: 5 * time.Minute,
		// A job whose node was killed runs again after this long.
		RescueStuckJobsAfter: 6 * time.Minute,
		// Completed jobs are of no interest; failed ones are in the client.
		CompletedJobRetentionPeriod: time.Hour,
	}
	if workers != nil {
		config.Queues = map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 8}}
	}
	jobs, err := river.NewClient(driver, config)
	if err != nil {
		return nil, pacs.Wrap(pacs.Internal, err, "The job queue can't be prepared")
	}
	return jobs, nil
}

// resumeJobs has the jobs run again that were at work when this node was killed.
// River waits for a job's timeout before it takes it for dead, which for a merge
// is hours; a node whose database is its own knows that nobody works on them.
func resumeJobs(ctx context.Context, pool *pgxpool.Pool) error {
	_, err := pool.Exec(ctx, `UPDATE river_job SET state = 'available', scheduled_at = now() WHERE state = 'running'`)
	return index.Failure("The job queue", err)
}

// enqueuer is the job queue for a command that indexes what the server works on,
// and brings the tables up to date that followUp writes to.
func enqueuer(ctx context.Context, ix *index.Index, log *slog.Logger) (*river.Client[pgx.Tx], error) {
	if _, err := orders.New(ctx, ix); err != nil {
		return nil, err
	}
	return newJobs(ctx, ix.Pool(), nil, log)
}

// followUp is what indexing a pack leads to, in its transaction: clients hear
// of the study, its order is in progress, and the jobs that make its previews and
// complete it are enqueued.
func followUp(jobs *river.Client[pgx.Tx], quiet time.Duration) func(context.Context, pgx.Tx, string, index.Added) error {
	return func(ctx context.Context, tx pgx.Tx, studyUID string, added index.Added) error {
		if err := events.Notify(ctx, tx, events.Event{Type: events.Study, Data: map[string]string{"study_uid": studyUID}, Facility: added.FacilityID}); err != nil {
			return err
		}
		if err := orders.Arriving(ctx, tx, added.StudyID); err != nil {
			return err
		}
		if err := previews.Enqueue(ctx, jobs, tx, added.StudyID, added.Completions); err != nil {
			return err
		}
		return publish.EnqueueCompletion(ctx, jobs, tx, added, quiet)
	}
}

// levelAtLeast passes on only records of a level and above.
type levelAtLeast struct {
	slog.Handler
	level slog.Level
}

func (h levelAtLeast) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= h.level && h.Handler.Enabled(ctx, level)
}

func (h levelAtLeast) WithAttrs(attrs []slog.Attr) slog.Handler {
	return levelAtLeast{h.Handler.WithAttrs(attrs), h.level}
}

func (h levelAtLeast) WithGroup(name string) slog.Handler {
	return levelAtLeast{h.Handler.WithGroup(name), h.level}
}
