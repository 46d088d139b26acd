package main

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"

	"github.com/tasvir-pacs/tasvir/pacs/commitment"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
)

// CommitmentFlags say how storage commitment is answered.
type CommitmentFlags struct {
	CommitmentPatience time.Duration `name:"commitment-patience" default:"10m" env:"TASVIR_COMMITMENT_PATIENCE" help:"How long storage commitment waits for an instance that is not published yet before it says no (${default})."`
}

// openCommitments prepares storage commitment. jobs is asked when a request
// comes, and the patrol when it is answered: both are there by then.
func (n *Node) openCommitments(ctx context.Context, jobs func() *river.Client[pgx.Tx], workers *river.Workers, registry prometheus.Registerer) (err error) {
	instances := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tasvir_commitment_instances_total", Help: "Instances that storage commitment has reported on, by outcome: safe or failed.",
	}, []string{"outcome"})
	took := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "tasvir_commitment_seconds", Help: "From a storage commitment request to its report.", Buckets: []float64{0.1, 1, 10, 60, 600, 3600, 86400},
	})
	registry.MustRegister(instances, took)
	n.commitments, err = commitment.New(n.work.ctx, commitment.Options{
		Index: n.Index, AETitle: n.flags.AET, Patience: n.flags.CommitmentPatience,
		Verifier: lateVerifier{n},
		Dial:     n.dial,
		Enqueue: func(ctx context.Context, tx pgx.Tx, id int64) error {
			return commitment.Enqueue(ctx, jobs(), tx, id)
		},
		Reported: func(safe, failed int, after time.Duration) {
			instances.WithLabelValues("safe").Add(float64(safe))
			instances.WithLabelValues("failed").Add(float64(failed))
			took.Observe(after.Seconds())
		},
		Log: n.log.With("part", "commitment"),
	})
	river.AddWorker(workers, &commitment.Worker{Commitments: n.commitments})
	return err
}

// lateVerifier is the patrol, which starts later.
type lateVerifier struct{ n *Node }

func (v lateVerifier) Unsound(ctx context.Context, packID int64) ([]string, bool, error) {
	return v.n.patrol.Unsound(ctx, packID)
}

// dial associates with a registered device, as its registration says.
func (n *Node) dial(ctx context.Context, aeTitle string, how dimse.Dialer) (*dimse.Client, error) {
	device, err := n.Access.Remote(ctx, aeTitle)
	if err != nil {
		return nil, err
	}
	how.CallingAE, how.CalledAE = n.flags.AET, device.AETitle
	how.Observe = n.talk.Outgoing
	how.DialContext = n.security.connect(device, how.DialTimeout)
	return dimse.Dial(ctx, device.Address(), how)
}
