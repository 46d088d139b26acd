package publish

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tasvir-pacs/tasvir/pacs/journal"
)

// clockwork drives groups by hand. Times are milliseconds.
type clockwork struct {
	t     *testing.T
	gs    groups
	taken map[string]*group
}

func newClockwork(t *testing.T) *clockwork {
	return &clockwork{t: t, taken: map[string]*group{}, gs: groups{
		packSize: 100, quiet: 150 * time.Millisecond, patience: 600 * time.Millisecond, byKey: map[seriesKey]*group{},
	}}
}

func at(ms int) time.Time { return time.UnixMilli(int64(ms)) }

func records(series string, lengths ...int64) (out []*journal.Record) {
	for i, n := range lengths {
		out = append(out, &journal.Record{Length: n, Entry: journal.Entry{
			Facility: "TMA", StudyInstanceUID: "1", SeriesInstanceUID: series, SOPInstanceUID: fmt.Sprintf("%s.%d", series, i+1),
		}})
	}
	return out
}

func (c *clockwork) add(ms int, series string, lengths ...int64) {
	c.gs.add(at(ms), records(series, lengths...))
}

// ready says what is published: the series and the number of records, or how
// long to wait.
func (c *clockwork) ready(ms int) string {
	g, records, wait := c.gs.ready(at(ms))
	if g == nil {
		if records != nil {
			c.t.Errorf("records without a group")
		}
		return "wait " + wait.String()
	}
	c.taken[g.key.series] = g
	return fmt.Sprintf("%s: %d", g.key.series, len(records))
}

func (c *clockwork) finished(ms int, series string, failed ...*journal.Record) {
	c.gs.finished(at(ms), c.taken[series], failed, false)
}

// down ends a turn that failed because something everybody needs is down.
func (c *clockwork) down(ms int, series string, failed ...*journal.Record) {
	c.gs.finished(at(ms), c.taken[series], failed, true)
}

func (c *clockwork) want(ms int, want string) {
	c.t.Helper()
	if got := c.ready(ms); got != want {
		c.t.Errorf("at %d ms %q, want %q", ms, got, want)
	}
}

func TestWhatIsPublishedWhen(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(*clockwork)
	}{
		{"nothing there", func(c *clockwork) {
			c.want(0, "wait 1h0m0s")
		}},
		{"quiet", func(c *clockwork) {
			c.add(0, "A", 10, 10)
			c.want(0, "wait 150ms")
			c.want(149, "wait 1ms")
			c.want(150, "A: 2")
			c.want(150, "wait 1h0m0s")
			c.finished(160, "A")
			if len(c.gs.byKey) != 0 {
				c.t.Error("an empty group stays")
			}
		}},
		{"each new instance begins the quiet anew, until patience ends", func(c *clockwork) {
			for ms := 0; ms < 600; ms += 100 {
				c.add(ms, "A", 1)
			}
			c.want(599, "wait 1ms")
			c.want(600, "A: 6")
		}},
		{"a full pack does not wait", func(c *clockwork) {
			c.add(0, "A", 40, 40, 20)
			c.want(0, "A: 3")
		}},
		{"a pack is not overfilled", func(c *clockwork) {
			c.add(0, "A", 40, 40, 40, 40)
			c.want(0, "A: 2")
			c.finished(10, "A")
			c.want(10, "wait 140ms") // the rest is quiet since 0
			c.want(150, "A: 2")
		}},
		{"an instance larger than a pack has one of its own", func(c *clockwork) {
			c.add(0, "A", 1000, 1)
			c.want(0, "A: 1")
			c.finished(0, "A")
			c.want(150, "A: 1")
		}},
		{"many small instances", func(c *clockwork) {
			c.add(0, "A", make([]int64, maxInstances+1)...)
			c.want(0, fmt.Sprint("A: ", maxInstances))
			c.finished(0, "A")
			c.want(150, "A: 1")
		}},
		{"the series that waits longest comes first", func(c *clockwork) {
			c.add(1, "B", 1)
			c.add(0, "A", 1)
			c.add(2, "C", 1)
			c.want(300, "A: 1")
			c.want(300, "B: 1")
			c.want(300, "C: 1")
		}},
		{"one worker per series", func(c *clockwork) {
			c.add(0, "A", 100)
			c.want(0, "A: 1")
			c.add(10, "A", 100)
			c.want(700, "wait 1h0m0s")
			c.finished(700, "A")
			c.want(700, "A: 1")
		}},
		{"failures wait longer and longer, and keep their order", func(c *clockwork) {
			all := records("A", 10, 10)
			c.gs.add(at(0), all)
			ms := 150
			for _, wait := range []int{1000, 2000, 4000, 8000, 16000, 30000, 30000} {
				c.want(ms, "A: 2")
				c.finished(ms, "A", all...)
				c.want(ms, fmt.Sprint("wait ", time.Duration(wait)*time.Millisecond))
				c.want(ms+wait-1, "wait 1ms")
				ms += wait
			}
			c.gs.add(at(ms), records("A", 10)) // arrives behind those that failed
			g, records, _ := c.gs.ready(at(ms))
			if g == nil || len(records) != 3 || records[0] != all[0] || records[1] != all[1] {
				c.t.Errorf("%d records in another order", len(records))
			}
			c.gs.finished(at(ms), g, nil, false)
			c.add(ms, "A", 1)
			c.want(ms+150, "A: 1") // after a success nothing waits
		}},
		{"a failing series does not keep others", func(c *clockwork) {
			c.add(0, "A", 100)
			c.want(0, "A: 1")
			c.finished(0, "A", records("A", 100)...)
			c.add(1, "B", 100)
			c.want(1, "B: 1")
			c.want(1, "wait 999ms")
		}},
		{"in an outage one series at a time tries, and afterwards all go on", func(c *clockwork) {
			for _, series := range []string{"A", "B", "C"} {
				c.add(0, series, 100)
			}
			c.gs.byKey[keyOf(records("B", 1)[0])].first = at(1)
			c.gs.byKey[keyOf(records("C", 1)[0])].first = at(2)
			c.want(10, "A: 1")
			c.want(10, "B: 1") // does not know yet
			c.down(10, "A", records("A", 100)...)
			c.want(10, "wait 1s")
			c.down(11, "B", records("B", 100)...)
			c.want(11, "wait 2s")
			c.want(2011, "A: 1")
			c.want(2011, "wait 1h0m0s") // until A ends
			c.down(2100, "A", records("A", 100)...)
			for ms, probes := 2100, 0; probes < 5; probes++ {
				wait := min(4000<<probes, 5000)
				c.want(ms+wait-1, "wait 1ms")
				ms += wait
				if got := c.ready(ms); !strings.HasSuffix(got, ": 1") {
					c.t.Fatalf("at %d ms %q, want a probe", ms, got)
				}
				var busy *group
				for _, g := range c.gs.byKey {
					if g.busy {
						busy = g
					}
				}
				if probes < 4 {
					c.gs.finished(at(ms), busy, records(busy.key.series, 100), true)
					continue
				}
				c.gs.finished(at(ms), busy, nil, false)
				left := len(c.gs.byKey)
				if left != 2 {
					c.t.Fatalf("%d series left, want 2", left)
				}
				for range left {
					if got := c.ready(ms + 1000); !strings.HasSuffix(got, ": 1") {
						c.t.Errorf("%q after the outage", got)
					}
				}
			}
		}},
		{"what arrives for a failing series waits with it", func(c *clockwork) {
			c.add(0, "A", 100)
			c.want(0, "A: 1")
			c.finished(0, "A", records("A", 100)...)
			c.add(1, "A", 100)
			c.want(999, "wait 1ms")
			c.want(1000, "A: 1")
		}},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(newClockwork(t)) })
	}
}

func TestFacilitiesDoNotShareAPack(t *testing.T) {
	gs := newClockwork(t).gs
	a, b := records("A", 1), records("A", 1)
	b[0].Facility = "SAM"
	gs.add(at(0), append(a, b...))
	var facilities []string
	for range 2 {
		g, records, _ := gs.ready(at(1000))
		if g == nil || len(records) != 1 {
			t.Fatalf("%d records", len(records))
		}
		facilities = append(facilities, records[0].Facility)
	}
	if diff := cmp.Diff(2, len(map[string]bool{facilities[0]: true, facilities[1]: true})); diff != "" {
		t.Error(facilities)
	}
}
