package main

import (
	"context"
	"fmt"
)

// burst gets 3,000 CT slices (1.5 GB) ready for four associations, and in every
// repetition starts each system, warms it up and lets send send them; before is
// how many instances the system shows by then.
func (r *run) burst(ctx context.Context, part string, systems func() []system, send func(s system, batches []batch, before int) error) error {
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
	for repetition := range r.repeat {
		for _, s := range systems() {
			err := r.on(ctx, s, func() error {
				r.noteLoad(fmt.Sprintf("%s %d on %s", part, repetition+1, s.name()))
				if _, err := r.storescu(ctx, s, warm, false); err != nil {
					return err
				}
				if _, err := awaitCount(ctx, s, total(warm), pollPause); err != nil {
					return err
				}
				settle()
				return send(s, batches, total(warm))
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
