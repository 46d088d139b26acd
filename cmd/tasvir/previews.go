package main

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/previews"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
)

// openPreviews prepares the small pictures of series and what makes them.
func (n *Node) openPreviews(ctx context.Context, workers *river.Workers, registry prometheus.Registerer) error {
	made := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tasvir_previews_total", Help: "Series of which small pictures were made, or could not be (none: there is no picture of such pixels; failed: to be repeated).",
	}, []string{"result"})
	if err := registry.Register(made); err != nil {
		return pacs.Wrap(pacs.Internal, err, "The metrics of previews can't be registered")
	}
	var err error
	n.previews, err = previews.New(ctx, previews.Options{
		Index: n.Index, Store: n.store, Packs: &publish.Packs{Index: n.Index, Store: n.store}, Codecs: n.codecs(),
		Log: n.log.With("part", "previews"),
		Made: func(err error) {
			result := "failed"
			switch code := pacs.CodeOf(err); {
			case err == nil:
				result = "made"
			case code == pacs.Unsupported || code == pacs.Invalid:
				result = "none"
			}
			made.WithLabelValues(result).Inc()
		},
	})
	if err != nil {
		return err
	}
	river.AddWorker(workers, &previews.Worker{Previews: n.previews})
	river.AddWorker(workers, &previews.SweepWorker{Previews: n.previews})
	river.AddWorker(workers, &previews.OrphansWorker{Previews: n.previews})
	return nil
}

// schedulePreviews gives the work on previews its queue and its pace.
func schedulePreviews(jobs *river.Client[pgx.Tx]) error {
	if err := jobs.Queues().Add(previews.Queue, river.QueueConfig{MaxWorkers: 1}); err != nil {
		return pacs.Wrap(pacs.Internal, err, "The job queue can't be prepared")
	}
	jobs.PeriodicJobs().Add(river.NewPeriodicJob(river.PeriodicInterval(previews.SweepEvery),
		func() (river.JobArgs, *river.InsertOpts) { return previews.SweepArgs{}, nil }, &river.PeriodicJobOpts{RunOnStart: true}))
	jobs.PeriodicJobs().Add(river.NewPeriodicJob(nightly(3*time.Hour+30*time.Minute),
		func() (river.JobArgs, *river.InsertOpts) { return previews.FindOrphansArgs{}, nil }, nil))
	return nil
}
