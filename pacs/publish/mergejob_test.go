package publish

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// newMergeJobs is an archive whose studies are completed and merged by River,
// as a node does it.
func newMergeJobs(t *testing.T) (*merging, *river.Client[pgx.Tx]) {
	m := newMerging(t)
	const quiet = 200 * time.Millisecond
	workers := river.NewWorkers()
	river.AddWorker(workers, &CompletionWorker{Index: m.index, Quiet: quiet, Completed: func(ctx context.Context, tx pgx.Tx, s pacs.Study) error {
		return EnqueueMerge(ctx, river.ClientFromContext[pgx.Tx](ctx), tx, s.ID)
	}})
	river.AddWorker(workers, &MergeWorker{Merger: m.merger})
	river.AddWorker(workers, &CatchUpWorker{Index: m.index})
	river.AddWorker(workers, &SweepWorker{Sweeper: m.sweeper})
	river.AddWorker(workers, &FindOrphansWorker{Sweeper: m.sweeper})
	jobs := m.startJobs(workers, quiet, map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 2}, PackQueue: {MaxWorkers: 1}})
	return m, jobs
}

// worked waits for the next job of a kind to be completed.
func worked(t *testing.T, jobs *river.Client[pgx.Tx], kind string, begin func()) {
	t.Helper()
	events, cancel := jobs.Subscribe(river.EventKindJobCompleted, river.EventKindJobFailed)
	defer cancel()
	begin()
	limit := time.After(time.Minute)
	for {
		select {
		case e := <-events:
			if e.Kind == river.EventKindJobFailed {
				t.Fatalf("%s failed: %v", e.Job.Kind, e.Job.Errors)
			}
			if e.Job.Kind == kind {
				return
			}
		case <-limit:
			t.Fatalf("%s has not been worked on", kind)
		}
	}
}

// TestMergeFollowsCompletion, and again after late images.
func TestMergeFollowsCompletion(t *testing.T) {
	t.Parallel()
	m, _ := newMergeJobs(t)
	merged := func(instances int) {
		t.Helper()
		limit := time.After(time.Minute)
		again := time.NewTicker(20 * time.Millisecond)
		defer again.Stop()
		for m.count(`SELECT count(*) FROM study WHERE merged = completions AND completed_at IS NOT NULL AND instance_count = $1`, instances) == 0 {
			select {
			case <-again.C:
			case <-limit:
				t.Fatalf("a study of %d instances is not merged", instances)
			}
		}
		if f := m.readPack(m.inUse().Key); len(f.Instances) != instances {
			t.Errorf("%d instances in the pack", len(f.Instances))
		}
	}
	m.pack(image{number: 3}, image{number: 2})
	m.pack(image{number: 9})
	merged(3)
	m.pack(image{number: 7})
	merged(4)
}

// TestCatchUp: what completion has not enqueued, or what has failed for good.
func TestCatchUp(t *testing.T) {
	t.Parallel()
	m, jobs := newMergeJobs(t)
	m.options.InTransaction = nil // nobody completes it
	m.pack(image{number: 1})
	m.pack(image{number: 2})
	if err := CatchUp(t.Context(), jobs, m.index, 0); err != nil {
		t.Fatal(err)
	}
	m.wantCount(0, `SELECT count(*) FROM river_job`) // it is not complete
	if _, err := m.index.Complete(t.Context(), m.study(), 0, nil); err != nil {
		t.Fatal(err)
	}
	worked(t, jobs, MergeStudyArgs{}.Kind(), func() {
		for range 2 {
			if err := CatchUp(t.Context(), jobs, m.index, 0); err != nil {
				t.Fatal(err)
			}
		}
	})
	m.inUse()
	if err := CatchUp(t.Context(), jobs, m.index, 0); err != nil {
		t.Fatal(err)
	}
	m.wantCount(1, `SELECT count(*) FROM river_job WHERE kind = 'merge_study'`)
	// The periodic jobs do their work, too.
	for _, args := range []river.JobArgs{CatchUpArgs{}, SweepArgs{}, FindOrphansArgs{}} {
		worked(t, jobs, args.Kind(), func() {
			if _, err := jobs.Insert(t.Context(), args, nil); err != nil {
				t.Fatal(err)
			}
		})
	}
	if len(m.keys()) != 3 {
		t.Errorf("%v: swept within the grace time", m.keys())
	}
}
