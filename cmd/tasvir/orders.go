package main

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/worklist/modality"
	"github.com/tasvir-pacs/tasvir/worklist/orders"
)

// openOrders opens imaging orders and what modalities report on them, and has
// the worklist ask the orders what a study's reader is to answer.
func (n *Node) openOrders(ctx context.Context) (err error) {
	if n.orders, err = orders.New(ctx, n.Index); err != nil {
		return err
	}
	n.Worklist.Requests = orders.Requests
	n.steps, err = modality.New(ctx, n.Index, n.log.With("part", "mpps"))
	return err
}

// addModalityWorker adds the job that completes studies whose performed
// procedure steps have ended.
func (n *Node) addModalityWorker(workers *river.Workers) {
	river.AddWorker(workers, &modality.CompleteWorker{Steps: n.steps, Completed: n.completed, Late: n.notices.Changed})
}

// stepsToo has the performed procedure steps of a study looked at, too, when
// images of it are indexed.
func (n *Node) stepsToo(followUp func(context.Context, pgx.Tx, string, index.Added) error) func(context.Context, pgx.Tx, string, index.Added) error {
	return func(ctx context.Context, tx pgx.Tx, studyUID string, added index.Added) error {
		if err := followUp(ctx, tx, studyUID, added); err != nil {
			return err
		}
		return n.steps.Arriving(ctx, tx, studyUID)
	}
}

// modalityServices are the modality worklist and the performed procedure steps.
func (n *Node) modalityServices() []dimse.Service {
	told := &modality.Worklist{Orders: n.orders, Log: n.log.With("part", "modality worklist")}
	return []dimse.Service{told.Service(), n.steps.Service()}
}
