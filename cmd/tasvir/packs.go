package main

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/forward"
	"github.com/tasvir-pacs/tasvir/pacs/previews"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
	"github.com/tasvir-pacs/tasvir/worklist/orders"
)

// addPackWorkers adds what looks after packs: merging those of a series when
// its study is complete, and sweeping those that are not needed any more.
func (n *Node) addPackWorkers(workers *river.Workers, m *packMetrics) error {
	scratch := filepath.Join(n.flags.dir(), "scratch")
	if err := os.MkdirAll(scratch, 0o700); err != nil {
		return pacs.Wrap(pacs.Unavailable, err, "The folder for scratch files can't be made")
	}
	log := n.log.With("part", "packs")
	sweeper := &publish.Sweeper{Index: n.Index, Store: n.store, KeepChanges: n.flags.KeepChanges, Log: log, Observer: m.sweeper(), Orphan: n.orphan}
	river.AddWorker(workers, &publish.MergeWorker{Merger: &publish.Merger{
		Index: n.Index, Store: n.store, Dir: scratch, Compressor: n.compressor(), Log: log, Observer: m.merger(),
	}})
	river.AddWorker(workers, &publish.CatchUpWorker{Index: n.Index})
	river.AddWorker(workers, &publish.SweepWorker{Sweeper: sweeper})
	river.AddWorker(workers, &publish.FindOrphansWorker{Sweeper: sweeper})
	return nil
}

// schedulePackWork gives the work on packs its queue and its pace.
func schedulePackWork(jobs *river.Client[pgx.Tx]) error {
	if err := jobs.Queues().Add(publish.PackQueue, river.QueueConfig{MaxWorkers: 1}); err != nil {
		return pacs.Wrap(pacs.Internal, err, "The job queue can't be prepared")
	}
	periodic := func(schedule river.PeriodicSchedule, args river.JobArgs) {
		jobs.PeriodicJobs().Add(river.NewPeriodicJob(schedule, func() (river.JobArgs, *river.InsertOpts) { return args, nil }, nil))
	}
	periodic(river.PeriodicInterval(publish.CatchUpEvery), publish.CatchUpArgs{})
	periodic(river.PeriodicInterval(publish.SweepEvery), publish.SweepArgs{})
	// At an hour of the day rather than an interval, which would begin anew
	// with each start of a node.
	periodic(nightly(2*time.Hour+30*time.Minute), publish.FindOrphansArgs{})
	return nil
}

// nightly is a time of the day, as the time since midnight.
type nightly time.Duration

// Next implements river.PeriodicSchedule.
func (n nightly) Next(now time.Time) time.Time {
	at := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, now.Location()).Add(time.Duration(n))
	if !at.After(now) {
		at = at.AddDate(0, 0, 1)
	}
	return at
}

// completed is what follows when a study is complete, in the same transaction:
// it becomes work for radiologists, goes where rules send it, and its packs will be
// merged.
func (n *Node) completed(ctx context.Context, tx pgx.Tx, study pacs.Study) error {
	if err := orders.StudyCompleted(ctx, tx, study); err != nil {
		return err
	}
	if err := n.Worklist.Complete(ctx, tx, study); err != nil {
		return err
	}
	jobs, err := river.ClientFromContextSafely[pgx.Tx](ctx)
	if err != nil {
		return err
	}
	if err := n.notices.Changed(ctx, tx, study.ID); err != nil {
		return err
	}
	if err := forward.Enqueue(ctx, jobs, tx, forward.Args{Occasion: forward.OnComplete, StudyID: study.ID}); err != nil {
		return err
	}
	if err := previews.EnqueueCompleted(ctx, jobs, tx, study.ID); err != nil {
		return err
	}
	return publish.EnqueueMerge(ctx, jobs, tx, study.ID)
}

// packMetrics is what /metrics shows of the work on packs.
type packMetrics struct {
	merged, mergedBytes, damaged prometheus.Counter
	mergeTime                    prometheus.Histogram
	swept, sweptBytes, orphans   prometheus.Counter
	compress                     *compressMetrics
}

func newPackMetrics(registry *prometheus.Registry) *packMetrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		registry.MustRegister(c)
		return c
	}
	m := &packMetrics{
		merged:      counter("tasvir_merged_series_total", "Series whose packs were merged into one."),
		mergedBytes: counter("tasvir_merged_bytes_total", "Bytes of the packs that merging has written."),
		damaged:     counter("tasvir_merge_damaged_total", "Series that were not merged because a pack is damaged."),
		mergeTime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tasvir_merge_seconds", Help: "Time that merging a series took.", Buckets: []float64{.05, .25, 1, 5, 15, 60, 300, 1800, 7200},
		}),
		swept:      counter("tasvir_swept_objects_total", "Objects deleted from the store because their instances are kept elsewhere."),
		sweptBytes: counter("tasvir_swept_bytes_total", "Bytes of those objects."),
		orphans:    counter("tasvir_orphan_objects_total", "Times that an object was found that no pack knows and that was kept."),
	}
	registry.MustRegister(m.mergeTime)
	m.compress = newCompressMetrics(registry)
	return m
}

func (m *packMetrics) merger() publish.MergeObserver {
	return publish.MergeObserver{
		Merged: func(_, _ int, bytes int64, took time.Duration) {
			m.merged.Inc()
			m.mergedBytes.Add(float64(bytes))
			m.mergeTime.Observe(took.Seconds())
		},
		Compressed:    m.compress.compressed,
		NotCompressed: m.compress.failed,
		Damaged:       func(string, error) { m.damaged.Inc() },
	}
}

func (m *packMetrics) sweeper() publish.SweepObserver {
	return publish.SweepObserver{
		Deleted: func(objects int, bytes int64) {
			m.swept.Add(float64(objects))
			m.sweptBytes.Add(float64(bytes))
		},
		Orphan: func() { m.orphans.Inc() },
	}
}
