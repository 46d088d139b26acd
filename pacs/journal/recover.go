package journal

import (
	"errors"
	"path/filepath"
	"slices"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// recoveryPatience is how long Open waits for what an earlier run has left. A
// large backlog is read while new records are received; they go to segments of
// their own.
const recoveryPatience = time.Second

// recover finds the segments of earlier runs and begins to read them.
func (j *Journal) recover() error {
	names, err := filepath.Glob(filepath.Join(j.options.Dir, "*.segment"))
	if err != nil {
		return err
	}
	slices.Sort(names)
	ids := make([]uint64, len(names))
	for i, name := range names {
		number, id, err := parseSegmentName(name)
		if err != nil {
			return pacs.Wrap(pacs.Internal, err, "The journal has a file that no Tasvir of this version made; move it elsewhere: "+name)
		}
		j.names.next, ids[i] = max(j.names.next, number), id
	}
	if len(names) == 0 {
		close(j.recovered)
		return nil
	}
	j.recovering = true
	j.writers.Go(func() {
		defer close(j.recovered)
		j.readBacklog(names, ids)
	})
	select {
	case <-j.recovered:
	case <-time.After(recoveryPatience):
		j.options.Log.Info("the journal has a large backlog, which is read while the archive works", "segments", len(names))
	}
	return nil
}

// errClosing ends a recovery: what it has not read waits for the next.
var errClosing = errors.New("the journal is being closed")

func (j *Journal) readBacklog(names []string, ids []uint64) {
	started, records, bytes := time.Now(), 0, int64(0)
	found := func(r Record) error {
		j.mu.Lock()
		defer j.mu.Unlock()
		if j.closing {
			return errClosing
		}
		r.segment.unpublished++
		j.segments[r.segment] = struct{}{}
		j.count(&r, 1)
		j.queue = append(j.queue, &r)
		records, bytes = records+1, bytes+r.Length
		j.signal()
		return nil
	}
	unreadable := 0
	for i, name := range names {
		s, err := openSegment(name, ids[i], found)
		if s != nil {
			s.keep = err != nil
		}
		if errors.Is(err, errClosing) {
			j.readEnd(s, unreadable)
			return
		}
		if err != nil {
			// What could be read of it is published, and it is read again at the
			// next start.
			j.options.Log.Error("a journal segment can't be read; it stays where it is", "segment", filepath.Base(name), "error", err)
			unreadable++
		}
		if s != nil && s.damaged {
			j.options.Log.Error("a journal segment has a record that doesn't match its checksum; the segment will be kept as *.damaged. The last record may also have been on its way when the power failed", "segment", filepath.Base(name))
		}
		j.readEnd(s, unreadable)
	}
	j.mu.Lock()
	j.recovering = false
	j.mu.Unlock()
	if records > 0 {
		j.options.Log.Info("journal recovered", "records", records, "bytes", bytes, "segments", len(names), "took", time.Since(started).Round(time.Millisecond))
	}
}

// readEnd lets a segment go that has been read; it is nil when it could not be
// opened.
func (j *Journal) readEnd(s *segment, unreadable int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.unreadable = unreadable; s == nil {
		return
	}
	j.segments[s] = struct{}{}
	s.leased = false
	if !j.closing {
		j.settle(s)
	}
}
