package publish

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/journal"
	"github.com/tasvir-pacs/tasvir/storage"
)

// Options configure a Publisher.
type Options struct {
	Journal *journal.Journal
	Index   *index.Index
	Store   storage.Store
	// InTransaction is called in the transaction that indexes a pack: to
	// enqueue the study's completion and to tell listeners.
	InTransaction func(ctx context.Context, tx pgx.Tx, studyUID string, added index.Added) error
	// Quarantine takes what can't be published. Without one, and when it has
	// no room, that is held in the journal.
	Quarantine Quarantine

	PackSize int64         // bytes of instances per pack at most; default 64 MiB
	Quiet    time.Duration // publish a series after so long without a new instance; default 150 ms
	Patience time.Duration // and at the latest after so long; default 600 ms
	Workers  int           // series published at once; default 2
	Log      *slog.Logger
	Observer Observer
}

// Observer is told what the publisher does. Nil functions are skipped.
type Observer struct {
	Published   func(instances int, bytes int64, oldest time.Duration)
	Failed      func(err error)
	Held        func(err error)
	Quarantined func(reason pacs.QuarantineReason)
}

// Publisher moves records from the journal to storage and index.
type Publisher struct {
	o Options

	mu     sync.Mutex
	groups groups
	wake   chan struct{}

	refusedMu   sync.Mutex
	refused     []refusal // on their way to quarantine
	wakeRefused chan struct{}
	retryHeld   atomic.Bool
}

// New makes a Publisher; Run starts it.
func New(o Options) *Publisher {
	if o.PackSize == 0 {
		o.PackSize = 64 << 20
	}
	if o.Quiet == 0 {
		o.Quiet = 150 * time.Millisecond
	}
	if o.Patience == 0 {
		o.Patience = 600 * time.Millisecond
	}
	if o.Workers == 0 {
		o.Workers = 2
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Publisher{
		o:      o,
		groups: groups{packSize: o.PackSize, quiet: o.Quiet, patience: o.Patience, byKey: map[seriesKey]*group{}},
		wake:   make(chan struct{}, 1),

		wakeRefused: make(chan struct{}, 1),
	}
}

// Run publishes until ctx is cancelled. What is in the journal then stays
// there for the next run.
func (p *Publisher) Run(ctx context.Context) error {
	var workers sync.WaitGroup
	for range p.o.Workers {
		workers.Go(func() { p.work(ctx) })
	}
	if p.o.Quarantine != nil {
		workers.Go(func() { p.keepRefused(ctx) })
	}
	for {
		records, err := p.o.Journal.Take(ctx)
		if err != nil {
			break
		}
		records = p.refuseUnfit(records)
		p.mu.Lock()
		p.groups.add(time.Now(), records)
		p.mu.Unlock()
		p.signal()
	}
	workers.Wait()
	return ctx.Err()
}

func (p *Publisher) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *Publisher) work(ctx context.Context) {
	background()
	for ctx.Err() == nil {
		p.mu.Lock()
		g, records, wait := p.groups.ready(time.Now())
		p.mu.Unlock()
		if g == nil {
			timer := time.NewTimer(wait)
			select {
			case <-ctx.Done():
			case <-p.wake:
			case <-timer.C:
			}
			timer.Stop()
			continue
		}
		p.signal() // another worker may find more
		failed, down := p.publish(ctx, g.key, records)
		p.mu.Lock()
		p.groups.finished(time.Now(), g, failed, down)
		p.mu.Unlock()
		p.signal()
	}
}

// publish brings records of one series to storage and index and drops or
// holds them. It returns those that should be tried again; down when that is
// because the store or the database is not available.
func (p *Publisher) publish(ctx context.Context, key seriesKey, records []*journal.Record) (failed []*journal.Record, down bool) {
	for len(records) > 0 && ctx.Err() == nil {
		left, err := p.round(ctx, key, records)
		switch {
		case err == nil:
			records = left
		case ctx.Err() != nil:
			return left, false
		case !errors.Is(err, errContent):
			p.o.Log.Warn("publishing failed and will be repeated", "study", key.study, "series", key.series, "instances", len(left), "error", err)
			if p.o.Observer.Failed != nil {
				p.o.Observer.Failed(err)
			}
			return left, pacs.CodeOf(err) == pacs.Unavailable
		case len(left) == 1:
			p.quarantine(left[0], reasonOf(err), err)
			return nil, false
		default:
			// One bad record must not keep the others: find it.
			middle := len(left) / 2
			failed, down = p.publish(ctx, key, left[:middle])
			more, downToo := p.publish(ctx, key, left[middle:])
			return slices.Concat(failed, more), down || downToo
		}
	}
	return records, false
}

// round publishes one pack and refuses what contradicts the index. It returns
// the records that are neither published nor refused: those that need a pack of
// their own, or all when it fails.
func (p *Publisher) round(ctx context.Context, key seriesKey, records []*journal.Record) (left []*journal.Record, err error) {
	uids := make([]string, len(records))
	for i, r := range records {
		uids[i] = r.SOPInstanceUID
	}
	known, err := p.o.Index.Known(ctx, key.study, uids)
	if err != nil {
		return records, err
	}
	var (
		pack    []*candidate
		inPack  = map[string]*candidate{}
		settled []*journal.Record
		refused []*candidate
		weight  int
	)
	for i, r := range records {
		if weight >= maxDescribed {
			left = append(left, records[i:]...)
			break
		}
		c, err := examine(r)
		if err != nil {
			// Whoever halves the records comes to this one alone.
			return records, contentError(err)
		}
		c.instance.Version = nextVersion(known.Versions[r.SOPInstanceUID], c.instance.SHA256)
		switch twin := inPack[r.SOPInstanceUID]; {
		case c.instance.Version == 0 && known.Facility == r.Facility:
			// Also when somebody has corrected the study's patient since.
			settled = append(settled, r)
		case known.Contradicts(r.Facility, c.patient) != nil:
			refused = append(refused, c)
		case twin != nil && bytes.Equal(twin.instance.SHA256, c.instance.SHA256):
			settled = append(settled, r)
		case twin != nil, len(pack) > 0 && !c.belongsTo(pack[0]):
			// A pack holds one version of an instance, and one patient: the
			// next round knows what this one has brought.
			left = append(left, r)
		default:
			inPack[r.SOPInstanceUID] = c
			pack = append(pack, c)
			weight += len(c.metadata)
		}
	}
	if len(pack) > 0 {
		if err := p.store(ctx, key, pack); err != nil {
			return records, err
		}
	}
	for _, c := range pack {
		settled = append(settled, c.record)
	}
	if err := p.released(ctx, settled); err != nil {
		return records, err
	}
	p.settle(settled)
	for _, c := range refused {
		err := known.Contradicts(c.record.Facility, c.patient)
		p.quarantine(c.record, reasonOf(err), err)
	}
	return left, nil
}

// store writes one pack and its rows.
func (p *Publisher) store(ctx context.Context, key seriesKey, candidates []*candidate) error {
	err := index.ErrRetired
	for attempt := 0; errors.Is(err, index.ErrRetired); attempt++ {
		err = p.storeOnce(ctx, key, candidates, attempt)
	}
	return err
}

func (p *Publisher) storeOnce(ctx context.Context, key seriesKey, candidates []*candidate, attempt int) error {
	built, err := build(key.facility, candidates, attempt)
	if err != nil {
		return contentError(err)
	}
	if err := p.o.Store.Put(ctx, built.addition.Pack.Key, built.size, built.body()); err != nil {
		if storage.IsPermanent(err) || errors.Is(err, journal.ErrDamaged) {
			return contentError(err)
		}
		return pacs.Wrap(pacs.Unavailable, err, "The object store does not take a pack")
	}
	err = p.o.Index.Add(ctx, built.addition, func(ctx context.Context, tx pgx.Tx, added index.Added) error {
		if p.o.InTransaction == nil || added.New == 0 {
			return nil
		}
		if err := p.o.InTransaction(ctx, tx, key.study, added); err != nil {
			// Whatever it is, the instances are not to blame.
			return pacs.Wrap(pacs.Unavailable, err, "The follow-up work can't be enqueued")
		}
		return nil
	})
	if errors.Is(err, index.ErrUnfit) {
		return contentError(err)
	}
	// What another node has published meanwhile (index.ErrRaced, a
	// contradiction) is known in the next round.
	return err
}

// refuseUnfit refuses what can't be published as it came, and returns the
// others.
func (p *Publisher) refuseUnfit(records []*journal.Record) []*journal.Record {
	return slices.DeleteFunc(records, func(r *journal.Record) bool {
		if r.Unfit != nil {
			p.quarantine(r, r.Unfit.Reason, errors.New(r.Unfit.Message))
		}
		return r.Unfit != nil
	})
}

// hold keeps a record in the journal, out of the way.
func (p *Publisher) hold(r *journal.Record, why error) {
	p.o.Log.Error("an instance can't be published and is held in the journal", "study", r.StudyInstanceUID, "sop", r.SOPInstanceUID, "error", why)
	if p.o.Observer.Held != nil {
		p.o.Observer.Held(why)
	}
	p.o.Journal.Hold(r, why)
}

// settle drops records that are published (or were before).
func (p *Publisher) settle(records []*journal.Record) {
	if len(records) == 0 {
		return
	}
	var size int64
	oldest := records[0].ReceivedAt
	for _, r := range records {
		size += r.Length
		if r.ReceivedAt.Before(oldest) {
			oldest = r.ReceivedAt
		}
	}
	p.o.Journal.Drop(records...)
	if p.o.Observer.Published != nil {
		p.o.Observer.Published(len(records), size, time.Since(oldest))
	}
}

// maxDescribed bounds the metadata in bytes that one pack's worth of instances
// may have while it is put together. It is some 30 KB an instance when a pack
// is full of CT; hostile headers can be a thousand times that.
const maxDescribed = 16 << 20

// nextVersion is the version under which bytes with this hash are kept; 0 when
// the index has them already, and the old one when it has them without their
// pixel data or does not show them because their retention had expired.
func nextVersion(known []index.KnownVersion, hash []byte) int {
	next := 1
	for _, k := range known {
		if bytes.Equal(k.SHA256, hash) {
			if k.PixelsDeleted || k.Expired {
				return k.Version
			}
			return 0
		}
		next = max(next, k.Version+1)
	}
	return next
}
