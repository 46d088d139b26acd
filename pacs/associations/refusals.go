package associations

import (
	"net"
	"sync"
	"time"
)

// Refusals cost the one who is refused nothing. In each window of time a host
// gets a few rows of its own; what comes beyond is counted in one more row for
// the host, and all hosts together have a bound.
const (
	refusalWindow   = time.Minute
	refusalsOfHost  = 5
	refusalsOfAll   = 60
	refusalsFolding = 60 // hosts
)

// refusals folds them.
type refusals struct {
	mu     sync.Mutex
	began  time.Time
	rows   int
	byHost map[string]*refused
	drop   func(n int) // counts what gets no row at all
}

type refused struct {
	rows   int
	folded *Entry // what stands for the rest, with Times
}

func host(address string) string {
	if h, _, err := net.SplitHostPort(address); err == nil {
		return h
	}
	return address
}

// note hands the entry to put, or folds it.
func (r *refusals) note(e Entry, now time.Time, put func(*Entry)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn(now, put)
	h := host(e.Address)
	of := r.byHost[h]
	switch {
	case of == nil && len(r.byHost) >= refusalsFolding:
		r.drop(1)
		return
	case of == nil:
		of = &refused{}
		r.byHost[h] = of
	}
	if of.rows < refusalsOfHost && r.rows < refusalsOfAll {
		of.rows++
		r.rows++
		put(&e)
		return
	}
	if of.folded == nil {
		of.folded = &e
		return
	}
	e.Began, e.Times = of.folded.Began, of.folded.Times+1
	of.folded = &e // the last one stands for them
}

// flush ends the window if it is over, so that what was folded is seen when
// nobody knocks any more.
func (r *refusals) flush(now time.Time, put func(*Entry)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn(now, put)
}

func (r *refusals) turn(now time.Time, put func(*Entry)) {
	if r.byHost != nil && now.Sub(r.began) < refusalWindow {
		return
	}
	for _, of := range r.byHost {
		if of.folded != nil {
			of.folded.Duration = now.Sub(of.folded.Began)
			put(of.folded)
		}
	}
	r.began, r.rows, r.byHost = now, 0, map[string]*refused{}
}
