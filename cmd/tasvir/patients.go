package main

import (
	"context"

	"github.com/tasvir-pacs/tasvir/pacs/patients"
)

// startPatients opens what administrators do to patients, and keeps a record
// of it in object storage.
func (n *Node) startPatients(ctx context.Context) (err error) {
	if n.patients, err = patients.New(ctx, n.Index, n.store, n.log.With("part", "patients")); err != nil {
		return err
	}
	n.spawn(&n.work, "the record of patients", n.patients.Run)
	return nil
}
