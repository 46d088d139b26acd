package main

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"

	"github.com/tasvir-pacs/tasvir/dicomweb/stow"
	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/forward"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
	"github.com/tasvir-pacs/tasvir/worklist/orders"
)

// ForwardFlags are about what is sent elsewhere by rules.
type ForwardFlags struct {
	ForwardCA string `name:"forward-ca" env:"TASVIR_FORWARD_CA" placeholder:"FILE" help:"Authorities whose certificates are trusted of DICOMweb nodes that are sent to, PEM, beside those of the system; a new file in its place is taken without a restart."`
}

// openForwarding prepares forwarding, and has every order that is entered asked
// about. jobs is asked when one is: it is there by then.
func (n *Node) openForwarding(ctx context.Context, jobs func() *river.Client[pgx.Tx], workers *river.Workers, registry prometheus.Registerer) (err error) {
	instances := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tasvir_forward_instances_total", Help: "Instances that were forwarded, by target and outcome: sent or failed.",
	}, []string{"target", "outcome"})
	took := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "tasvir_forward_attempt_seconds", Help: "Duration of an attempt to forward a study or series.", Buckets: []float64{.1, 1, 5, 15, 60, 300, 1800},
	})
	files := &publish.Packs{Index: n.Index, Store: n.store}
	nodes := &stow.Client{Files: files}
	if n.flags.ForwardCA != "" {
		if nodes.Authorities, err = stow.LoadAuthorities(n.flags.ForwardCA, n.log.With("part", "forwarding")); err != nil {
			return err
		}
	}
	n.onClose(func(context.Context) { nodes.Close() })
	n.forwarding, err = forward.New(ctx, forward.Options{
		Index: n.Index, Files: files, Transcoder: n.transcoder(), Devices: n.Access, AETitle: n.flags.AET,
		Destinations: n.destinations(),
		Nodes:        nodes,
		Order:        n.expected,
		Observe: func(a forward.Attempt) {
			instances.WithLabelValues(a.Target, "sent").Add(float64(a.Sent))
			instances.WithLabelValues(a.Target, "failed").Add(float64(a.Failed))
			took.Observe(a.Took.Seconds())
		},
		Log: n.log.With("part", "forwarding"),
	})
	if err != nil {
		return err
	}
	registry.MustRegister(instances, took, &forwardQueue{n.forwarding, prometheus.NewDesc("tasvir_forward_queue_items", "Items in the queue of forwarding that are not sent, by target and state.", []string{"target", "state"}, nil)})
	river.AddWorker(workers, &forward.Worker{Forwarding: n.forwarding})
	n.orders.Entered = func(ctx context.Context, tx pgx.Tx, id string) error {
		return forward.Enqueue(ctx, jobs(), tx, forward.Args{Occasion: forward.OnOrder, Order: id})
	}
	if n.flags.Database == "" {
		if err := n.forwarding.Abandon(ctx); err != nil {
			return err
		}
	}
	n.spawn(&n.work, "forwarding", n.forwarding.Run)
	return nil
}

// expected is what an order says of the study that is to come.
func (n *Node) expected(ctx context.Context, id string) (forward.Expected, error) {
	o, err := n.orders.Get(ctx, pacs.System("forwarding"), id)
	if err != nil {
		return forward.Expected{}, err
	}
	e := forward.Expected{Facility: o.Facility, Patient: o.Patient, Description: o.Procedure.Description, Question: o.Question}
	for _, s := range o.Steps {
		e.Modalities = append(e.Modalities, s.Modality)
	}
	if o.State == orders.Cancelled {
		return e, pacs.Errorf(pacs.NotFound, "The order is cancelled")
	}
	return e, nil
}

// forwardToo has the rules of forwarding asked, too, when images are indexed, and
// rejection notes follow what they reject.
func (n *Node) forwardToo(jobs *river.Client[pgx.Tx], followUp func(context.Context, pgx.Tx, string, index.Added) error) func(context.Context, pgx.Tx, string, index.Added) error {
	return func(ctx context.Context, tx pgx.Tx, studyUID string, added index.Added) error {
		if err := followUp(ctx, tx, studyUID, added); err != nil || added.New == 0 {
			return err
		}
		if err := forward.Rejected(ctx, tx, studyUID); err != nil {
			return err
		}
		return forward.Enqueue(ctx, jobs, tx, forward.Args{Occasion: forward.OnArrival, StudyID: added.StudyID})
	}
}

// forwardQueue shows the length of the queue when it is asked for.
type forwardQueue struct {
	forwarding *forward.Forwarding
	items      *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (q *forwardQueue) Describe(ch chan<- *prometheus.Desc) { ch <- q.items }

// Collect implements prometheus.Collector.
func (q *forwardQueue) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	list, err := q.forwarding.Counts(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(q.items, err)
		return
	}
	for _, c := range list {
		ch <- prometheus.MustNewConstMetric(q.items, prometheus.GaugeValue, float64(c.Items), c.Target, string(c.State))
	}
}
