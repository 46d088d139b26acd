package main

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/retention"
	"github.com/tasvir-pacs/tasvir/storage"
	"github.com/tasvir-pacs/tasvir/storage/tiered"
)

// RetentionFlags say where and how much retention policies may do.
type RetentionFlags struct {
	ColdStore      string `name:"cold-store" env:"TASVIR_COLD_STORE" placeholder:"URL" help:"A second, slower store that retention policies move studies to; written like --store."`
	RetentionLimit int    `name:"retention-limit" default:"10000" env:"TASVIR_RETENTION_LIMIT" help:"How many studies retention policies may touch a day (${default})."`
}

// retentionHour is when the day's pass begins, by the server's clock: after
// midnight, before the first patients.
const retentionHour = 2*time.Hour + 30*time.Minute

// withCold joins the cold store to the hot one, where there is one.
func (f RetentionFlags) withCold(ctx context.Context, hot storage.Store) (storage.Store, error) {
	if f.ColdStore == "" {
		return hot, nil
	}
	cold, err := openObjects(ctx, f.ColdStore)
	if err != nil {
		return nil, err
	}
	return tiered.New(hot, cold), nil
}

// openRetention opens policies and legal holds, and adds the job that carries
// them out.
func (n *Node) openRetention(ctx context.Context, workers *river.Workers, m *metrics) (err error) {
	if n.flags.RetentionLimit < 1 {
		return pacs.Errorf(pacs.Invalid, "--retention-limit %d: it is a number of studies, at least 1; disable the policies to stop them", n.flags.RetentionLimit)
	}
	n.retention, err = retention.Open(ctx, retention.Options{
		Index: n.Index, Store: n.store, Cold: n.flags.ColdStore != "", Busy: n.Worklist.Busy, Limit: n.flags.RetentionLimit,
		Log: n.log.With("part", "retention"), Observe: m.retained, Touching: n.touching,
	})
	if err == nil {
		river.AddWorker(workers, &retention.Worker{Retention: n.retention})
	}
	return err
}

// scheduleRetention has the leader of all nodes start a pass a day.
func (n *Node) scheduleRetention(jobs *river.Client[pgx.Tx]) {
	jobs.PeriodicJobs().Add(retention.Daily(retentionHour))
}

func retentionMetrics(registry *prometheus.Registry) (studies, bytes *prometheus.CounterVec) {
	studies = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tasvir_retention_studies_total", Help: "Studies that retention policies have deleted or moved."}, []string{"action"})
	bytes = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tasvir_retention_bytes_total", Help: "Bytes that retention policies have deleted or moved."}, []string{"action"})
	registry.MustRegister(studies, bytes)
	return studies, bytes
}

func (m *metrics) retained(action retention.Action, bytes int64) {
	m.retainedStudies.WithLabelValues(string(action)).Inc()
	m.retainedBytes.WithLabelValues(string(action)).Add(float64(max(bytes, 0)))
}

// holdList brings legal holds back into an index that is rebuilt.
type holdList struct {
	index *index.Index
	store storage.Store
}

// Restore implements publish.Restorer.
func (l holdList) Restore(ctx context.Context) (int, error) {
	return retention.RestoreHolds(ctx, l.index, l.store)
}
