package publish

import (
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/journal"
)

// seriesKey names what goes into one pack: instances of one series that one
// facility sent.
type seriesKey struct{ facility, study, series string }

func keyOf(r *journal.Record) seriesKey {
	return seriesKey{r.Facility, r.StudyInstanceUID, r.SeriesInstanceUID}
}

// group gathers records of one series.
type group struct {
	key     seriesKey
	records []*journal.Record
	bytes   int64
	first   time.Time // when its first record was taken
	last    time.Time // when its last record was taken
	retryAt time.Time // after a failure that will pass
	failed  int       // failures in a row
	busy    bool      // a worker is at the group's series
}

// maxInstances bounds the instances of one pack, however small they are, and
// with them the rows of one transaction.
const maxInstances = 2000

// groups decides what is published when.
type groups struct {
	packSize int64
	quiet    time.Duration // publish when nothing was added for so long
	patience time.Duration // or at the latest so long after the first record
	byKey    map[seriesKey]*group

	// While the store or the database is down, one group at a time tries.
	outage  int       // failures in a row that were not the group's
	probeAt time.Time // when the next may try
}

func (gs *groups) add(now time.Time, records []*journal.Record) {
	for _, r := range records {
		g := gs.byKey[keyOf(r)]
		if g == nil {
			g = &group{key: keyOf(r)}
			gs.byKey[g.key] = g
		}
		if len(g.records) == 0 {
			g.first = now
		}
		g.records = append(g.records, r)
		g.bytes += r.Length
		g.last = now
	}
}

// ready takes records of one series that should be published now, at most a
// pack's worth. wait is how long until the next may be ready when none is.
func (gs *groups) ready(now time.Time) (g *group, records []*journal.Record, wait time.Duration) {
	wait = time.Hour
	if d := gs.probeAt.Sub(now); gs.outage > 0 && d > 0 {
		return nil, nil, d
	}
	for _, candidate := range gs.byKey {
		if candidate.busy && gs.outage > 0 {
			return nil, nil, time.Hour // its end wakes us
		}
		if candidate.busy || len(candidate.records) == 0 {
			continue
		}
		if d := candidate.due(gs).Sub(now); d > 0 {
			wait = min(wait, d)
			continue
		}
		if g == nil || candidate.first.Before(g.first) {
			g = candidate
		}
	}
	if g == nil {
		return nil, nil, wait
	}
	n, bytes := 0, int64(0)
	for n < min(len(g.records), maxInstances) && (n == 0 || bytes+g.records[n].Length <= gs.packSize) {
		bytes += g.records[n].Length
		n++
	}
	records = g.records[:n:n]
	g.records = g.records[n:]
	g.bytes -= bytes
	g.busy = true
	return g, records, 0
}

func (g *group) due(gs *groups) time.Time {
	due := g.last.Add(gs.quiet)
	if latest := g.first.Add(gs.patience); latest.Before(due) {
		due = latest
	}
	if g.bytes >= gs.packSize || len(g.records) >= maxInstances {
		due = g.first
	}
	if g.retryAt.After(due) {
		due = g.retryAt
	}
	return due
}

// finished ends a worker's turn. Failed records go back to the head of the
// group and wait. down says that they failed because something all groups need
// is not available.
func (gs *groups) finished(now time.Time, g *group, failed []*journal.Record, down bool) {
	g.busy = false
	switch {
	case down:
		gs.outage++
		gs.probeAt = now.Add(min(backoff(gs.outage), maxProbe))
	case gs.outage > 0 && len(failed) == 0:
		gs.outage = 0
		for _, other := range gs.byKey {
			if soon := now.Add(backoff(1)); other.retryAt.After(soon) {
				other.retryAt = soon
			}
		}
	}
	if len(failed) > 0 {
		for _, r := range failed {
			g.bytes += r.Length
		}
		g.records = append(failed, g.records...)
		g.failed++
		g.retryAt = now.Add(backoff(g.failed))
		return
	}
	g.failed, g.retryAt = 0, time.Time{}
	if len(g.records) == 0 {
		delete(gs.byKey, g.key)
		return
	}
	g.first = now
}

// maxProbe is the longest pause between two attempts in an outage.
const maxProbe = 5 * time.Second

// backoff is 1, 2, 4 … 30 seconds.
func backoff(failures int) time.Duration {
	return min(time.Second<<min(failures-1, 5), 30*time.Second)
}
