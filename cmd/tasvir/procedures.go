package main

import (
	"context"

	"github.com/tasvir-pacs/tasvir/worklist/ups"
)

// openProcedures opens the unified procedure steps, which follow the worklist's
// tasks from then on.
func (n *Node) openProcedures(ctx context.Context) (err error) {
	n.procedures, err = ups.New(ctx, ups.Options{
		Worklist: n.Worklist, AETitle: n.flags.AET, Dial: n.dial, Alone: n.flags.Database == "", Log: n.log.With("part", "ups"),
	})
	return err
}
