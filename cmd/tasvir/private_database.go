package main

import (
	"context"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/index/cluster"
)

// privateDatabase is the node's own PostgreSQL. When its server dies it is
// started again in place: the node stays, the doors stay open, and what comes
// in meanwhile waits in the journal.
type privateDatabase struct {
	options cluster.Options
	cluster *cluster.Cluster
}

// pauseBetweenStarts is how long to wait before a failed start is repeated.
const pauseBetweenStarts = 2 * time.Second

func (d *privateDatabase) start(ctx context.Context) (err error) {
	d.cluster, err = cluster.Start(ctx, d.options)
	return err
}

// watch runs until ctx ends; the node calls stop only after that.
func (d *privateDatabase) watch(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.cluster.Done():
		}
		if ctx.Err() != nil {
			return nil
		}
		d.options.Log.Error("PostgreSQL ended by itself and is started again; images are kept in the journal meanwhile")
		d.stop(ctx) // lets go of its lock
		for err := d.start(ctx); err != nil; err = d.start(ctx) {
			d.options.Log.Error("PostgreSQL does not start", "error", err)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(pauseBetweenStarts):
			}
		}
		d.options.Log.Info("PostgreSQL is back")
	}
}

func (d *privateDatabase) stop(ctx context.Context) {
	if d.cluster == nil {
		return
	}
	if err := d.cluster.Stop(ctx); err != nil {
		d.options.Log.Warn("stopping PostgreSQL", "error", err)
	}
	d.cluster = nil
}
