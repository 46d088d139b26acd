package main

import (
	"context"

	"github.com/tasvir-pacs/tasvir/worklist/orders"
)

// openOrders opens imaging orders and has the worklist ask them what a study's
// reader is to answer.
func (n *Node) openOrders(ctx context.Context) (err error) {
	if n.orders, err = orders.New(ctx, n.Index); err == nil {
		n.Worklist.Requests = orders.Requests
	}
	return err
}
