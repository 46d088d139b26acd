package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// scenario is one way of sending that all systems are measured with.
type scenario struct {
	what         string
	recipe       *recipe
	associations int
	instances    int // of each association
	nagle        bool
	targets      []target
	batches      []batch

	// Milliseconds of the processors per instance until the last is
	// acknowledged, by system.
	server, sender map[string][]float64
}

// receive measures how fast instances are acknowledged: CT and MR, one
// association with and without Nagle's algorithm in the sender, and four. The
// same files go to every system, each of which starts empty in every
// repetition.
func receive(ctx context.Context, r *run) error {
	ct, mr := r.corpus.ct, r.corpus.mr
	nagleCT, nagleMR := ctSlices, mrSlices/2 // a receiver that waits for delayed acknowledgements needs a minute for these
	if r.quick {
		nagleCT, nagleMR = 60, 60
	}
	peers := []target{atLeast(1, "storescp"), atLeast(4, "orthanc")}
	scenarios := []*scenario{
		{what: "CT, 1 association, TCP_NODELAY=1", recipe: ct, associations: 1, instances: ctSlices, targets: peers},
		{what: "MR, 1 association, TCP_NODELAY=1", recipe: mr, associations: 1, instances: mrSlices, targets: peers},
		{what: "CT, 1 association, storescu as shipped", recipe: ct, associations: 1, instances: nagleCT, nagle: true, targets: []target{atLeast(10, "orthanc")}},
		{what: "MR, 1 association, storescu as shipped", recipe: mr, associations: 1, instances: nagleMR, nagle: true, targets: []target{atLeast(10, "orthanc")}},
		{what: "CT, 4 associations, TCP_NODELAY=1", recipe: ct, associations: 4, instances: ctSlices, targets: []target{atLeast(5, "orthanc")}},
		{what: "MR, 4 associations, TCP_NODELAY=1", recipe: mr, associations: 4, instances: mrSlices, targets: []target{atLeast(8, "orthanc")}},
	}
	for _, s := range scenarios {
		var err error
		if s.batches, err = r.corpus.batches(s.recipe, s.associations, s.instances, 1); err != nil {
			return err
		}
		defer remove(s.batches) //nolint:errcheck // the whole folder goes at the end
		s.server, s.sender = map[string][]float64{}, map[string][]float64{}
	}
	warm, err := r.corpus.batches(mr, 1, 50, 1)
	if err != nil {
		return err
	}
	for n := range r.repeat {
		for _, s := range []system{&tasvir{run: r}, &storescp{run: r, fork: true}, &orthanc{run: r}} {
			err := r.on(ctx, s, func() error { return r.receiveOn(ctx, s, n, warm, scenarios) })
			if err != nil {
				return err
			}
		}
	}
	for _, s := range scenarios {
		var texts []string
		for _, system := range slices.Sorted(maps.Keys(s.server)) {
			texts = append(texts, fmt.Sprintf("%s %s ms and storescu %s ms", system, figure(median(s.server[system])), figure(median(s.sender[system]))))
		}
		r.report.note("%s: processors' time per instance until all are acknowledged: %s.", s.what, strings.Join(texts, "; "))
	}
	return nil
}

func (r *run) receiveOn(ctx context.Context, s system, repetition int, warm []batch, scenarios []*scenario) error {
	r.noteLoad(fmt.Sprintf("receive %d on %s", repetition+1, s.name()))
	sent := 0
	var server, sender time.Duration
	send := func(batches []batch, nagle bool) (time.Duration, error) {
		settle()
		took, err := r.storescu(ctx, s, batches, nagle)
		if err != nil {
			return 0, err
		}
		server, sender = r.lastServer, r.lastSender
		sent += total(batches)
		_, err = awaitCount(ctx, s, sent, 50*time.Millisecond)
		return took, err
	}
	if _, err := send(warm, false); err != nil {
		return err
	}
	for _, c := range scenarios {
		took, err := send(c.batches, c.nagle)
		if err != nil {
			return fmt.Errorf("%s: %w", c.what, err)
		}
		n := float64(total(c.batches))
		rate := n / took.Seconds()
		c.server[s.name()] = append(c.server[s.name()], 1000*server.Seconds()/n)
		c.sender[s.name()] = append(c.sender[s.name()], 1000*sender.Seconds()/n)
		r.report.row(c.what, "instances/s", "tasvir", c.targets...).add(s.name(), rate)
		r.say("  %-9s %-40s %7s instances/s", s.name(), c.what, figure(rate))
	}
	return nil
}
