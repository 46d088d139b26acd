package journal

import (
	"sync/atomic"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// pressureWarning is the fill level from which the log warns.
const pressureWarning = 0.8

// pressure is what keeps the journal from taking everything that comes.
type pressure struct {
	claimed atomic.Int64 // bytes of records that are being received
	warned  atomic.Bool
}

// claim counts the bytes of one record on their way in.
type claim struct {
	j     *Journal
	bytes int64
}

// more says whether so many more bytes may be written: OutOfResources when
// the quota or the disk would be full.
func (c *claim) more(written int64) error {
	c.bytes += written
	c.j.pressure.claimed.Add(written)
	return c.j.room(written)
}

func (c *claim) release() { c.j.pressure.claimed.Add(-c.bytes) }

// room is OutOfResources when the journal takes nothing more. written is what
// was written to its disk since it was asked before.
func (j *Journal) room(written int64) error {
	if quota := j.options.Quota; quota > 0 {
		if used := j.used(); used >= quota {
			return pacs.Errorf(pacs.OutOfResources, "%d MiB wait to be published, as much as the journal may hold; see why publishing doesn't keep up, then send again", used>>20)
		}
	}
	return j.space.check(j.options.MinFree, written)
}

// used is how many bytes count against the quota.
func (j *Journal) used() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.bytes + j.pressure.claimed.Load()
}

// Ready says whether the journal takes records: OutOfResources when its quota
// is used up or its disk nearly full. It recovers by itself.
func (j *Journal) Ready() error {
	err := j.room(0)
	high := err != nil || j.fill() >= pressureWarning
	if j.pressure.warned.Swap(high) != high {
		if high {
			j.options.Log.Warn("the journal fills up; when it is full, senders are told to try again later", "fill", j.fill(), "bytes", j.used())
		} else {
			j.options.Log.Info("the journal has room again", "fill", j.fill())
		}
	}
	return err
}

// fill is how near the journal is to taking nothing more, 0 to 1: the part of
// its quota or of the usable disk that is taken, whichever is more.
func (j *Journal) fill() float64 {
	fill := j.space.fill(j.options.MinFree)
	if quota := j.options.Quota; quota > 0 {
		fill = max(fill, float64(j.used())/float64(quota))
	}
	return min(fill, 1)
}
