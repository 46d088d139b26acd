package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"

	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/patrol"
	"github.com/tasvir-pacs/tasvir/storage"
)

// VerifyFlags say how a node looks after what it keeps.
type VerifyFlags struct {
	VerifyRate     int64         `name:"verify-rate" default:"20" env:"TASVIR_VERIFY_RATE" placeholder:"MB" help:"Megabytes a second that the patrol reads to verify packs; 0 turns the patrol off (${default})."`
	VerifyInterval time.Duration `name:"verify-interval" default:"720h" env:"TASVIR_VERIFY_INTERVAL" help:"How often each pack is read (${default})."`
	Copy           string        `name:"copy" env:"TASVIR_COPY" placeholder:"URL" help:"A copy of the store under the same keys, made by any tool, to repair damage from: a folder or s3://…"`
}

// openCopy opens the copy; nil when there is none.
func (f VerifyFlags) openCopy(ctx context.Context, flags DatabaseFlags) (storage.Store, error) {
	if f.Copy == "" {
		return nil, nil
	}
	return openStore(ctx, ServerFlags{DatabaseFlags: flags, Store: f.Copy})
}

// startPatrol starts verifying. What it finds is in the client, in the metrics
// and in the log.
func (n *Node) startPatrol(ctx context.Context, jobs *river.Client[pgx.Tx], m *patrolMetrics) error {
	copied, err := n.flags.openCopy(ctx, n.flags.DatabaseFlags)
	if err != nil {
		return err
	}
	n.patrol, err = patrol.New(ctx, patrol.Options{
		Index: n.Index, Store: n.store, Copy: copied, Rate: n.flags.VerifyRate << 20, Interval: n.flags.VerifyInterval, Repair: true,
		InTransaction: followUp(jobs, n.flags.Quiet), Observer: patrol.Observer{Verified: m.result}, Log: n.log.With("part", "patrol"),
	})
	if err != nil {
		return err
	}
	m.patrol.Store(n.patrol)
	if n.flags.VerifyRate > 0 {
		n.spawn(&n.work, "the patrol", n.patrol.Run)
	}
	return nil
}

// orphan tells the patrol of an object that no pack knows.
func (n *Node) orphan(ctx context.Context, key string, size int64, why error) error {
	return n.patrol.Orphan(ctx, key, size, why)
}

// VerifyCmd reads all packs once.
type VerifyCmd struct {
	DatabaseFlags
	Store     string        `env:"TASVIR_STORE" placeholder:"URL" help:"Where images are kept; as for serve."`
	ColdStore string        `name:"cold-store" env:"TASVIR_COLD_STORE" placeholder:"URL" help:"The cold store; as for serve."`
	Copy      string        `env:"TASVIR_COPY" placeholder:"URL" help:"A copy of the store under the same keys, to repair damage from: a folder or s3://…"`
	Repair    bool          `help:"Repair what can be, and index packs that the index does not know."`
	Study     string        `placeholder:"UID" help:"Only the packs of this study."`
	Rate      int64         `placeholder:"MB" help:"Read no more than so many megabytes a second."`
	JSON      bool          `name:"json" help:"Print the problems as JSON."`
	Quiet     time.Duration `default:"60s" env:"TASVIR_QUIET" hidden:""`
}

// Help is shown by --help.
func (*VerifyCmd) Help() string {
	return `Reads every pack and compares each byte with what was stored: the ZIP's directory, the checksums of all members, the SHA-256 of every instance, the metadata, and the index. The exit code is 0 when all is sound or was repaired, and 3 when problems are left. The server may run meanwhile; it does the same by itself, slowly (serve --verify-rate).

A repair stores a new pack beside the damaged one, reads it back, and only then uses it. The damaged object stays in the store as damaged/KEY until you delete it.`
}

// Run verifies.
func (c *VerifyCmd) Run(ctx context.Context) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError + 1}))
	store, err := openStore(ctx, ServerFlags{DatabaseFlags: c.DatabaseFlags, Store: c.Store, RetentionFlags: RetentionFlags{ColdStore: c.ColdStore}})
	if err != nil {
		return err
	}
	copied, err := VerifyFlags{Copy: c.Copy}.openCopy(ctx, c.DatabaseFlags)
	if err != nil {
		return err
	}
	ix, closeDatabase, err := openDatabase(ctx, c.DatabaseFlags)
	if err != nil {
		return err
	}
	defer closeDatabase()
	o := patrol.Options{Index: ix, Store: store, Copy: copied, Rate: c.Rate << 20, Repair: c.Repair, AddOrphans: c.Repair, Log: log}
	if c.Repair {
		jobs, err := enqueuer(ctx, ix, log)
		if err != nil {
			return err
		}
		o.InTransaction = followUp(jobs, c.Quiet)
	}
	p, err := patrol.New(ctx, o)
	if err != nil {
		return err
	}
	return c.pass(ctx, ix, p)
}

func (c *VerifyCmd) pass(ctx context.Context, ix *index.Index, p *patrol.Patrol) error {
	progress := &packProgress{line: newStatusLine(os.Stderr), began: time.Now()}
	var read patrol.Progress
	problems, err := p.Pass(ctx, c.Study, func(now patrol.Progress) {
		read = now
		if progress.line.due() {
			progress.shown = true
			progress.reading(now.Packs, now.TotalPacks, now.Bytes, now.TotalBytes)
		}
	})
	progress.end()
	if err != nil {
		return fmt.Errorf("the pass did not come to its end; what was verified is: %w", err)
	}
	if err := c.tell(problems, read, progress); err != nil {
		return err
	}
	if len(problems) > 0 {
		return exitError{exitProblems, fmt.Errorf("%d problems are open", len(problems))}
	}
	return nil
}

func (c *VerifyCmd) tell(problems []patrol.Problem, read patrol.Progress, progress *packProgress) error {
	if c.JSON {
		type shown struct {
			Key       string    `json:"key"`
			Kind      string    `json:"kind"`
			Message   string    `json:"message"`
			Facility  string    `json:"facility,omitempty"`
			Study     string    `json:"study_uid,omitempty"`
			Series    string    `json:"series_uid,omitempty"`
			Instances []string  `json:"sop_uids"`
			FoundAt   time.Time `json:"found_at"`
		}
		list := []shown{}
		for _, q := range problems {
			list = append(list, shown{q.Key, string(q.Kind), q.Message, q.Facility, q.Study, q.Series, append([]string{}, q.SOPs...), q.FoundAt})
		}
		out := json.NewEncoder(os.Stdout)
		out.SetIndent("", " ")
		return out.Encode(map[string]any{"packs": read.Packs, "bytes": read.Bytes, "problems": list})
	}
	for _, q := range problems {
		fmt.Printf("%s: %s\n  %s\n", q.Kind, q.Key, q.Message)
		if len(q.SOPs) > 0 {
			fmt.Printf("  study %s of %s, instances %s\n", q.Study, q.Facility, strings.Join(q.SOPs, " "))
		}
	}
	fmt.Printf("Verified %d packs (%d MB) in %s; %d problems are open.\n", read.Packs, read.Bytes>>20, progress.elapsed(), len(problems))
	return nil
}

// patrolMetrics is what /metrics shows of verifying.
type patrolMetrics struct {
	verified         *prometheus.CounterVec
	problems, oldest *prometheus.Desc
	patrol           atomic.Pointer[patrol.Patrol]
}

func newPatrolMetrics(registry *prometheus.Registry) *patrolMetrics {
	m := &patrolMetrics{
		verified: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tasvir_verify_packs_total", Help: "Packs read to verify them, by result."}, []string{"result"}),
		problems: prometheus.NewDesc("tasvir_verify_problems", "Open problems of objects in storage, by kind.", []string{"kind"}, nil),
		oldest:   prometheus.NewDesc("tasvir_verify_oldest_seconds", "How long ago the pack was read, or stored when it was never read, for which that is longest.", nil, nil),
	}
	for _, result := range []string{"sound", "damaged", "missing"} {
		m.verified.WithLabelValues(result)
	}
	registry.MustRegister(m.verified, m)
	return m
}

func (m *patrolMetrics) result(result string) { m.verified.WithLabelValues(result).Inc() }

// Describe implements prometheus.Collector.
func (m *patrolMetrics) Describe(out chan<- *prometheus.Desc) { out <- m.problems; out <- m.oldest }

// Collect implements prometheus.Collector. Without a database there is nothing
// to say; other metrics tell that.
func (m *patrolMetrics) Collect(out chan<- prometheus.Metric) {
	p := m.patrol.Load()
	if p == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	open, oldest, err := p.Counts(ctx)
	if err != nil {
		return
	}
	for kind, n := range open {
		out <- prometheus.MustNewConstMetric(m.problems, prometheus.GaugeValue, float64(n), string(kind))
	}
	out <- prometheus.MustNewConstMetric(m.oldest, prometheus.GaugeValue, oldest.Seconds())
}
