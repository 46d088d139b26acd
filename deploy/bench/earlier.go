package main

import (
	"context"
	"fmt"
	"time"
)

// earlier measures this build beside another one (BENCH_EARLIER) and storescp,
// which take turns: rates, the processors' time for each instance, and how long an
// acknowledged instance takes to become visible. The time counts until all is
// visible and is the server's with its PostgreSQL: unlike a rate it says
// something on a machine that is not quiet too.
func earlier(ctx context.Context, r *run) error {
	if r.earlier == "" {
		return fmt.Errorf("BENCH_EARLIER does not name another build of tasvir")
	}
	ways := []*scenario{
		{what: "CT, 1 association", recipe: r.corpus.ct, associations: 1, instances: ctSlices},
		{what: "CT, 1 association, storescu as shipped", recipe: r.corpus.ct, associations: 1, instances: ctSlices, nagle: true},
		{what: "CT, 4 associations", recipe: r.corpus.ct, associations: 4, instances: ctSlices},
		{what: "MR, 1 association", recipe: r.corpus.mr, associations: 1, instances: mrSlices},
	}
	for _, way := range ways {
		var err error
		if way.batches, err = r.corpus.batches(way.recipe, way.associations, way.instances, 1); err != nil {
			return err
		}
		defer remove(way.batches) //nolint:errcheck // the whole folder goes at the end
	}
	warm, err := r.corpus.batches(r.corpus.mr, 1, 50, 1)
	if err != nil {
		return err
	}
	for n := range r.repeat {
		for _, s := range []system{&tasvir{run: r, build: r.earlier}, &tasvir{run: r}, &storescp{run: r, fork: true}} {
			err := r.on(ctx, s, func() error {
				r.noteLoad(fmt.Sprintf("earlier %d on %s", n+1, s.name()))
				return r.turn(ctx, s, warm, ways)
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// turn is one system's turn.
func (r *run) turn(ctx context.Context, s system, warm []batch, ways []*scenario) error {
	if _, err := r.storescu(ctx, s, warm, false); err != nil {
		return err
	}
	sent := total(warm)
	if _, err := awaitCount(ctx, s, sent, pollPause); err != nil {
		return err
	}
	archive, indexes := s.(*tasvir)
	for _, way := range ways {
		if way.nagle && !indexes {
			continue // storescp needs 40 ms for each
		}
		settle()
		before := processorTime(s.pids())
		took, err := r.storescu(ctx, s, way.batches, way.nagle)
		if err != nil {
			return err
		}
		sent += total(way.batches)
		if _, err := awaitCount(ctx, s, sent, 100*time.Millisecond); err != nil {
			return err
		}
		n := float64(total(way.batches))
		cost := 1000 * (processorTime(s.pids()) - before).Seconds() / n
		r.report.row(way.what, "instances/s", "tasvir", atLeast(1, earlierName), atLeast(1, "storescp")).add(s.name(), n/took.Seconds())
		r.report.row(way.what+", processors until visible", "ms/instance", "tasvir").add(s.name(), cost)
		r.say("  %-8s %-40s %7s instances/s %7s ms/instance", s.name(), way.what, figure(n/took.Seconds()), figure(cost))
	}
	if !indexes {
		return nil
	}
	settle()
	lags, err := r.lags(ctx, archive, 4, ctSlices, 0)
	if err != nil {
		return err
	}
	r.report.row("acknowledged to visible, p95, 4 associations at full speed", "s", "tasvir").add(s.name(), percentile(lags, 95))
	r.say("  %-8s visible p50 %s s, p95 %s s", s.name(), figure(percentile(lags, 50)), figure(percentile(lags, 95)))
	return nil
}

// earlierName is what the other build is called in the table.
const earlierName = "earlier"
