package publish

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
)

// completions is an archive whose studies are completed by a River client.
type completions struct {
	*archive
	seen []pacs.Study // guarded by the archive's mutex
}

func newCompletions(t *testing.T, quiet time.Duration, complete func(pacs.Study) error) *completions {
	c := &completions{}
	workers := river.NewWorkers()
	a := newArchive(t)
	c.archive = a
	river.AddWorker(workers, &CompletionWorker{Index: a.index, Quiet: quiet, Completed: func(_ context.Context, _ pgx.Tx, s pacs.Study) error {
		if complete != nil {
			if err := complete(s); err != nil {
				return err
			}
		}
		a.note(func() { c.seen = append(c.seen, s) })
		return nil
	}})
	a.startJobs(workers, quiet, map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 4}})
	return c
}

// startJobs starts a River client that works until the test ends, and enqueues
// with it the completion of what is published.
func (a *archive) startJobs(workers *river.Workers, quiet time.Duration, queues map[string]river.QueueConfig) *river.Client[pgx.Tx] {
	a.t.Helper()
	jobs, err := river.NewClient(riverpgxv5.New(a.index.Pool()), &river.Config{
		Queues: queues, Workers: workers, Logger: slog.New(slog.DiscardHandler), FetchPollInterval: 100 * time.Millisecond,
		TestOnly: true, // starts without a stagger
	})
	if err != nil {
		a.t.Fatal(err)
	}
	a.options.InTransaction = func(ctx context.Context, tx pgx.Tx, _ string, added index.Added) error {
		return EnqueueCompletion(ctx, jobs, tx, added, quiet)
	}
	if err := jobs.Start(context.Background()); err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { // before the archive is closed
		if err := jobs.StopAndCancel(context.Background()); err != nil {
			a.t.Error(err)
		}
	})
	return jobs
}

func (c *completions) completed(n int) {
	c.t.Helper()
	c.until(fmt.Sprintf("waiting for completion %d", n), func() bool { return len(c.seen) >= n })
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	const quiet = 300 * time.Millisecond
	c := newCompletions(t, quiet, nil)
	c.start()
	for n := range 5 { // several packs, one job
		c.receive(image{number: n + 1})
		c.settled(n + 1)
	}
	c.completed(1)
	if s := c.seen[0]; s.StudyInstanceUID != "1.2.3" || s.InstanceCount != 5 || s.CompletedAt.Sub(s.UpdatedAt) < quiet {
		t.Errorf("%+v", s)
	}
	c.wantCount(1, `SELECT count(*) FROM river_job`)
	// A duplicate is nothing new.
	c.receive(image{number: 1})
	c.settled(6)
	c.wantCount(1, `SELECT count(*) FROM study WHERE completed_at IS NOT NULL`)
	// A late image is.
	c.receive(image{number: 6})
	c.settled(7)
	c.completed(2)
	if s := c.seen[1]; s.InstanceCount != 6 {
		t.Errorf("%+v", s)
	}
	c.wantCount(2, `SELECT count(*) FROM river_job`)
}

// TestLateImageWhileCompleting: an image that arrives while the study is being
// completed completes it again.
func TestLateImageWhileCompleting(t *testing.T) {
	t.Parallel()
	var c *completions
	completing, received := make(chan struct{}), make(chan struct{})
	var first sync.Once
	c = newCompletions(t, 50*time.Millisecond, func(pacs.Study) error {
		first.Do(func() {
			close(completing)
			<-received
		})
		return nil
	})
	c.start()
	c.receive(image{number: 1})
	<-completing
	c.receive(image{number: 2}) // its rows wait for the transaction above
	close(received)
	c.completed(2)
	if c.seen[0].InstanceCount != 1 || c.seen[1].InstanceCount != 2 {
		t.Errorf("%+v", c.seen)
	}
}

func TestStudiesCompleteByThemselves(t *testing.T) {
	t.Parallel()
	c := newCompletions(t, 100*time.Millisecond, nil)
	c.start()
	const studies = 12
	for n := range 3 * studies {
		c.receive(image{study: fmt.Sprintf("1.2.%d", n%studies), number: n})
	}
	c.settled(3 * studies)
	c.until("all are complete", func() bool {
		last := map[string]int{}
		for _, s := range c.seen {
			last[s.StudyInstanceUID] = s.InstanceCount
		}
		whole := 0
		for _, n := range last {
			if n == 3 {
				whole++
			}
		}
		return whole == studies
	})
}
