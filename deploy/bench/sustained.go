package main

import (
	"context"
	"fmt"
)

// sustained measures how fast many instances come in for good: the clock stops
// when all are visible in QIDO-RS.
func sustained(ctx context.Context, r *run) error {
	systems := func() []system { return []system{&tasvir{run: r}, &orthanc{run: r}} }
	return r.burst(ctx, "sustained", systems, func(s system, batches []batch, before int) error {
		rate, err := r.untilVisible(ctx, s, batches, before)
		if err != nil {
			return err
		}
		r.report.row(fmt.Sprintf("%d CT on 4 associations until visible in QIDO", total(batches)), "instances/s", "tasvir", atLeast(3, "orthanc")).add(s.name(), rate)
		r.say("  %-9s %7s instances/s until visible", s.name(), figure(rate))
		return nil
	})
}
