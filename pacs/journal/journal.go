package journal

import (
	"context"
	"errors"
	"hash/crc32"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// Options configure a journal.
type Options struct {
	// Dir is the journal's folder on a local disk; created when absent.
	Dir string
	// SegmentSize is the size in bytes after which a segment takes no more
	// records. Default 128 MiB.
	SegmentSize int64
	// MinFree is the free space in bytes below which nothing more is
	// received, so that the disk is never filled to the brim. Default 512 MiB.
	MinFree int64
	// Quota is how many bytes of records may wait here at most, so that an
	// outage of what comes behind doesn't take the whole disk. 0 for no limit
	// but the disk's.
	Quota int64
	// AckPublished makes Receive wait until the record is published, for
	// those who can't accept that one disk holds the only copy for a second.
	AckPublished bool
	Log          *slog.Logger
}

// Journal is open on one folder by one process. Safe for concurrent use.
type Journal struct {
	options Options
	disk    disk
	lock    *os.File
	names   segmentNames

	mu       sync.Mutex
	segments map[*segment]struct{}
	idle     []*segment           // open for writing and not leased
	queue    []*Record            // sealed, not taken
	taken    map[*Record]struct{} // taken, not dropped
	held     map[*Record]string
	bytes    int64 // of all records not dropped
	unfit    int64 // of those among them that are unfit
	wake     chan struct{}
	closing  bool
	closed   chan struct{} // nobody waits for the publisher any more
	writers  sync.WaitGroup
	space    spaceGauge
	pressure pressure

	recovered  chan struct{} // closed when nothing of earlier runs is left to be read
	recovering bool          // what earlier runs have left is still being read
	unreadable int           // segments of theirs that can't be

	quarantine quarantine
}

// Record is one sealed instance in the journal.
type Record struct {
	Entry
	Length int64  // of the PS3.10 file
	CRC32  uint32 // IEEE, of the PS3.10 file
	// SHA256 is that of the data set as it was received. It is nil when nobody
	// has computed it yet: of records of an earlier run, and of long ones.
	SHA256 []byte

	segment *segment
	offset  int64 // of the body in the segment
	done    chan error
}

// Body reads the PS3.10 file. Valid until the record is dropped.
func (r *Record) Body() *io.SectionReader {
	return io.NewSectionReader(r.segment.file, r.offset, r.Length)
}

// Checked reads the PS3.10 file once, and with the last bytes ErrDamaged when
// they are not all those that were received.
func (r *Record) Checked() io.Reader { return &checked{body: r.Body(), want: r.CRC32} }

// ErrDamaged is a record whose bytes are not those that were received.
var ErrDamaged = errors.New("the bytes have changed since they were received: the journal's disk is damaged")

type checked struct {
	body *io.SectionReader
	crc  uint32
	read int64
	want uint32
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.body.Read(p)
	c.crc = crc32.Update(c.crc, crc32.IEEETable, p[:n])
	switch c.read += int64(n); {
	case c.read == c.body.Size() && c.crc != c.want:
		return n, ErrDamaged
	case c.read < c.body.Size() && err == io.EOF:
		return n, io.ErrUnexpectedEOF
	}
	return n, err
}

func (r *Record) receipt() pacs.Receipt {
	receipt := pacs.Receipt{
		StudyInstanceUID:  r.StudyInstanceUID,
		SeriesInstanceUID: r.SeriesInstanceUID,
		SOPInstanceUID:    r.SOPInstanceUID,
		SOPClassUID:       r.SOPClassUID,
		TransferSyntaxUID: r.TransferSyntaxUID,
		Bytes:             r.Length,
		ReceivedAt:        r.ReceivedAt,
	}
	if r.Unfit != nil {
		receipt.Unfit, receipt.Problem = r.Unfit.Reason, r.Unfit.Message
	}
	return receipt
}

// Header scans the record. It accepts whatever Receive has found sound; of an
// unfit record it returns what can be read, with the error.
func (r *Record) Header() (*dicom.Header, error) {
	limits := limits
	limits.MaxElements += metaElements
	limits.MaxHeader += maxMeta
	return dicom.Scan(dicom.NewSkipReader(r.Body(), 0, r.Length), limits)
}

// Open recovers the journal in a folder and makes it ready to receive.
// Conflict when another process has it open.
func Open(o Options) (*Journal, error) {
	if o.SegmentSize == 0 {
		o.SegmentSize = 128 << 20
	}
	if o.MinFree == 0 {
		o.MinFree = 512 << 20
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := makeDir(o.Dir); err != nil {
		return nil, pacs.Wrap(pacs.Internal, err, "The journal's folder can't be made")
	}
	lock, err := os.OpenFile(filepath.Join(o.Dir, "lock"), os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, pacs.Wrap(pacs.Internal, err, "The journal's folder can't be written")
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = lock.Close()
		return nil, pacs.Wrap(pacs.Conflict, err, "Another Tasvir has the journal in "+o.Dir+" open; stop it or choose another --data folder")
	}
	j := &Journal{
		options:  o,
		disk:     realDisk,
		lock:     lock,
		segments: map[*segment]struct{}{},
		taken:    map[*Record]struct{}{},
		held:     map[*Record]string{},
		closed:   make(chan struct{}),

		recovered: make(chan struct{}),
		wake:      make(chan struct{}, 1),
		space:     spaceGauge{dir: o.Dir},
	}
	if err := j.recover(); err != nil {
		_ = lock.Close()
		return nil, err
	}
	return j, nil
}

// lease gives a segment to one receiver.
func (j *Journal) lease() (*segment, error) {
	j.mu.Lock()
	if j.closing {
		j.mu.Unlock()
		return nil, pacs.Errorf(pacs.Unavailable, "The archive is shutting down; send again later")
	}
	j.writers.Add(1)
	if n := len(j.idle); n > 0 {
		s := j.idle[n-1]
		j.idle = j.idle[:n-1]
		s.leased = true
		j.mu.Unlock()
		if s.renamed {
			// Its records must not be looked for under the former number.
			if err := syncDir(j.options.Dir); err != nil {
				j.giveBack(s, false)
				return nil, err
			}
			s.renamed = false
		}
		return s, nil
	}
	j.mu.Unlock()

	path, id := j.names.take(j.options.Dir)
	s, err := createSegment(path, id, &j.disk, j.options.SegmentSize)
	if err != nil {
		j.writers.Done()
		return nil, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	s.leased = true
	j.segments[s] = struct{}{}
	return s, nil
}

// giveBack ends a lease. A segment that must not be appended to is closed.
func (j *Journal) giveBack(s *segment, appendable bool) {
	defer j.writers.Done()
	j.mu.Lock()
	defer j.mu.Unlock()
	s.leased = false
	s.spoilt = s.spoilt || !appendable
	if !appendable || s.end >= j.options.SegmentSize || j.closing {
		s.closed = true
	} else {
		j.idle = append(j.idle, s)
	}
	j.settle(s)
}

// maxIdle is how many segments wait for a receiver when all is published.
const maxIdle = 4

// settle removes a segment that is of no more use, or makes it a new one.
// Callers hold j.mu, or are the only user.
func (j *Journal) settle(s *segment) {
	if s.unpublished > 0 || s.leased || s.removed {
		return
	}
	i := slices.Index(j.idle, s)
	if j.reusable(s, i >= 0) {
		if !s.closed && s.end < j.options.SegmentSize/8 {
			return // the next receiver goes on with it
		}
		path, id := j.names.take(j.options.Dir)
		if err := s.recycle(path, id); err == nil {
			if s.closed = false; i < 0 {
				j.idle = append(j.idle, s)
			}
			return
		}
	}
	if i >= 0 {
		j.idle = slices.Delete(j.idle, i, i+1)
	}
	s.closed = true
	s.removed = true
	defer j.space.forget()
	delete(j.segments, s)
	_ = s.file.Close()
	var err error
	switch {
	case s.keep:
	case s.damaged:
		err = os.Rename(s.path, s.path+".damaged")
	default:
		err = os.Remove(s.path)
	}
	if err != nil {
		j.options.Log.Error("a journal segment can't be removed", "segment", filepath.Base(s.path), "error", err)
	}
}

// count adds a record to the sums, or with -1 takes it away. Callers hold j.mu,
// or are the only user.
func (j *Journal) count(r *Record, sign int64) {
	j.bytes += sign * r.Length
	if r.Unfit != nil {
		j.unfit += sign * r.Length
	}
}

// reusable says whether an empty segment is worth keeping for its space.
func (j *Journal) reusable(s *segment, idle bool) bool {
	others := len(j.idle)
	if idle {
		others--
	}
	return !s.spoilt && !j.closing && others < maxIdle && s.size <= j.options.SegmentSize+bufferLength &&
		j.space.check(2*j.options.MinFree, 0) == nil
}

func (j *Journal) signal() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// Take returns all sealed records that nobody has taken, oldest first, and
// waits for one when there are none. Each must be passed to Drop, Hold or
// GiveBack.
func (j *Journal) Take(ctx context.Context) ([]*Record, error) {
	for {
		j.mu.Lock()
		records := j.queue
		j.queue = nil
		for _, r := range records {
			j.taken[r] = struct{}{}
		}
		j.mu.Unlock()
		if len(records) > 0 {
			return records, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-j.wake:
		}
	}
}

// Drop forgets records that are published. Their bytes are gone from here.
func (j *Journal) Drop(records ...*Record) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, r := range records {
		delete(j.taken, r)
		j.count(r, -1)
		r.segment.unpublished--
		j.settle(r.segment)
		r.finish(nil)
	}
}

// Hold keeps a record that can't be published in the journal and out of the
// way. It is offered again when the journal is next opened.
func (j *Journal) Hold(r *Record, reason error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.taken, r)
	j.held[r] = reason.Error()
	r.finish(reason)
}

// Retry offers up to n of the held records again: what they were held for may
// have changed.
func (j *Journal) Retry(n int) {
	j.mu.Lock()
	for r := range j.held {
		if n--; n < 0 {
			break
		}
		delete(j.held, r)
		j.queue = append(j.queue, r)
	}
	j.mu.Unlock()
	j.signal()
}

// GiveBack returns records to the head of the queue: publishing failed for a
// reason that will pass.
func (j *Journal) GiveBack(records ...*Record) {
	j.mu.Lock()
	for _, r := range records {
		delete(j.taken, r)
	}
	j.queue = append(slices.Clone(records), j.queue...)
	j.mu.Unlock()
	j.signal()
}

func (r *Record) finish(err error) {
	if r.done != nil {
		r.done <- err // buffered, one receiver, sent once
		r.done = nil
	}
}

// Stats says what waits in the journal.
type Stats struct {
	Records int       // sealed and not published, without the held
	Held    int       // kept because they can't be published
	Bytes   int64     // of both
	Oldest  time.Time // when the oldest of Records was received

	Unfit      int64   // bytes of what is on its way to quarantine
	Fill       float64 // 0 to 1: at 1 nothing more is taken
	Recovering bool    // there may be more Records, of an earlier run
	Unreadable int     // segments of earlier runs that can't be read
}

// Stats counts what waits. Oldest is zero when nothing does.
func (j *Journal) Stats() Stats {
	fill := j.fill()
	j.mu.Lock()
	defer j.mu.Unlock()
	st := Stats{
		Records: len(j.queue) + len(j.taken), Held: len(j.held), Bytes: j.bytes,
		Unfit: j.unfit, Fill: fill, Recovering: j.recovering, Unreadable: j.unreadable,
	}
	older := func(r *Record) {
		if st.Oldest.IsZero() || r.ReceivedAt.Before(st.Oldest) {
			st.Oldest = r.ReceivedAt
		}
	}
	for _, r := range j.queue {
		older(r)
	}
	for r := range j.taken {
		older(r)
	}
	return st
}

// Close waits for receivers in progress and closes all files. Sealed records
// stay on disk for the next Open. Who waits for a record to be published
// (AckPublished) is told Unavailable.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closing {
		j.mu.Unlock()
		return nil
	}
	j.closing = true
	close(j.closed)
	j.mu.Unlock()
	j.writers.Wait()

	j.mu.Lock()
	defer j.mu.Unlock()
	var errs []error
	for s := range j.segments {
		if s.unpublished == 0 {
			s.closed = true
			j.settle(s)
			continue
		}
		errs = append(errs, s.file.Close())
	}
	return errors.Join(append(errs, j.lock.Close())...)
}
