package main

import (
	"context"
	"fmt"
)

// sustained sends 3,000 CT slices (1.5 GB) on four associations; the clock
// stops when all are visible in QIDO-RS.
func sustained(ctx context.Context, r *run) error {
	studies := 3 // of 250 slices on each association
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
		for _, s := range []system{&tasvir{run: r}, &orthanc{run: r}} {
			err := r.on(ctx, s, func() error {
				r.noteLoad(fmt.Sprintf("sustained %d on %s", repetition+1, s.name()))
				if _, err := r.storescu(ctx, s, warm, false); err != nil {
					return err
				}
				if _, err := awaitCount(ctx, s, total(warm), pollPause); err != nil {
					return err
				}
				settle()
				rate, err := r.untilVisible(ctx, s, batches, total(warm))
				if err != nil {
					return err
				}
				r.report.row(fmt.Sprintf("%d CT on 4 associations until visible in QIDO", n), "instances/s", "tasvir", atLeast(3, "orthanc")).add(s.name(), rate)
				r.say("  %-9s %7s instances/s until visible", s.name(), figure(rate))
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
