package main

import (
	"context"
	"fmt"
)

// onMinIO compares the rate at which instances are acknowledged with packs in
// MinIO and in files: receiving must not feel the object store.
func onMinIO(ctx context.Context, r *run) error {
	studies := 3
	if r.quick {
		studies = 1
	}
	batches, err := r.corpus.batches(r.corpus.ct, 4, ctSlices, studies)
	if err != nil {
		return err
	}
	defer remove(batches) //nolint:errcheck // the whole folder goes at the end
	warm, err := r.corpus.batches(r.corpus.ct, 1, 50, 1)
	if err != nil {
		return err
	}
	n := total(batches)
	for repetition := range r.repeat {
		for _, s := range []system{&tasvir{run: r}, &tasvir{run: r, minio: true}} {
			err := r.on(ctx, s, func() error {
				r.noteLoad(fmt.Sprintf("minio %d on %s", repetition+1, s.name()))
				if _, err := r.storescu(ctx, s, warm, false); err != nil {
					return err
				}
				if _, err := awaitCount(ctx, s, total(warm), pollPause); err != nil {
					return err
				}
				settle()
				took, err := r.storescu(ctx, s, batches, false)
				if err != nil {
					return err
				}
				rate := float64(n) / took.Seconds()
				r.report.row(fmt.Sprintf("%d CT on 4 associations, packs in MinIO instead of files", n), "instances/s", tasvirOnMinIO, atLeast(0.9, "tasvir")).add(s.name(), rate)
				r.say("  %-15s %7s instances/s", s.name(), figure(rate))
				_, err = awaitCount(ctx, s, total(warm)+n, pollPause)
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
