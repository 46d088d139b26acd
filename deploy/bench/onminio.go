package main

import (
	"context"
	"fmt"
)

// onMinIO compares the rate at which instances are acknowledged with packs in
// MinIO and in files: receiving must not feel the object store.
func onMinIO(ctx context.Context, r *run) error {
	systems := func() []system { return []system{&tasvir{run: r}, &tasvir{run: r, minio: true}} }
	return r.burst(ctx, "minio", systems, func(s system, batches []batch, before int) error {
		took, err := r.storescu(ctx, s, batches, false)
		if err != nil {
			return err
		}
		n := total(batches)
		rate := float64(n) / took.Seconds()
		r.report.row(fmt.Sprintf("%d CT on 4 associations, packs in MinIO instead of files", n), "instances/s", tasvirOnMinIO, atLeast(0.9, "tasvir")).add(s.name(), rate)
		r.say("  %-15s %7s instances/s", s.name(), figure(rate))
		_, err = awaitCount(ctx, s, before+n, pollPause)
		return err
	})
}
