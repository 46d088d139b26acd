package publish

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
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

	PackSize int64         // bytes of instances per pack at most; default 64 MiB
	Quiet    time.Duration // publish a series after so long without a new instance; default 150 ms
	Patience time.Duration // and at the latest after so long; default 600 ms
	Workers  int           // series published at once; default 2
	Log      *slog.Logger
	Observer Observer
}

// Observer is told what the publisher does. Nil functions are skipped.
type Observer struct {
	Published func(instances int, bytes int64, oldest time.Duration)
	Failed    func(err error)
	Held      func(err error)
}

// Publisher moves records from the journal to storage and index.
type Publisher struct {
	o Options

	mu     sync.Mutex
	groups groups
	wake   chan struct{}
	drain  bool
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
	}
}

// Run publishes until ctx is cancelled. What is in the journal then stays
// there for the next run.
func (p *Publisher) Run(ctx context.Context) error {
	var workers sync.WaitGroup
	for range p.o.Workers {
		workers.Go(func() { p.work(ctx) })
	}
	for {
		records, err := p.o.Journal.Take(ctx)
		if err != nil {
			break
		}
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
	for ctx.Err() == nil {
		p.mu.Lock()
		g, records, wait := p.groups.ready(time.Now(), p.drain)
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
		failed := p.publish(ctx, g.key, records)
		p.mu.Lock()
		p.groups.finished(time.Now(), g, failed)
		p.mu.Unlock()
		p.signal()
	}
}

// publish brings records of one series to storage and index and drops or
// holds them. It returns those that should be tried again.
func (p *Publisher) publish(ctx context.Context, key seriesKey, records []*journal.Record) (failed []*journal.Record) {
	err := p.try(ctx, key, records)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return records
	case !errors.Is(err, errContent) && !errors.Is(err, index.ErrContradiction):
		p.o.Log.Warn("publishing failed and will be repeated", "study", key.study, "series", key.series, "instances", len(records), "error", err)
		if p.o.Observer.Failed != nil {
			p.o.Observer.Failed(err)
		}
		return records
	case len(records) > 1:
		// One bad record must not keep the others: find it.
		middle := len(records) / 2
		return append(p.publish(ctx, key, records[:middle]), p.publish(ctx, key, records[middle:])...)
	}
	p.o.Log.Error("an instance can't be published and is held in the journal", "study", key.study, "sop", records[0].SOPInstanceUID, "error", err)
	if p.o.Observer.Held != nil {
		p.o.Observer.Held(err)
	}
	p.o.Journal.Hold(records[0], err)
	return nil
}

func (p *Publisher) try(ctx context.Context, key seriesKey, records []*journal.Record) error {
	uids := make([]string, len(records))
	for i, r := range records {
		uids[i] = r.SOPInstanceUID
	}
	known, err := p.o.Index.Known(ctx, key.study, uids)
	if err != nil {
		return err
	}
	// One pack holds at most one version of an instance: further ones are
	// left for the next round, when the index knows the earlier.
	var now []*candidate
	var settled, later []*journal.Record
	inPack := map[string]*candidate{}
	for _, r := range records {
		c, err := examine(r)
		if err != nil {
			return contentError(err)
		}
		if twin := inPack[r.SOPInstanceUID]; twin != nil {
			if bytes.Equal(twin.hash, c.hash) {
				settled = append(settled, r)
			} else {
				later = append(later, r)
			}
			continue
		}
		if c.version = nextVersion(known[r.SOPInstanceUID], c.hash); c.version == 0 {
			settled = append(settled, r)
			continue
		}
		inPack[r.SOPInstanceUID] = c
		now = append(now, c)
	}
	if len(now) > 0 {
		if err := p.store(ctx, key, now); err != nil {
			return err
		}
	}
	for _, c := range now {
		settled = append(settled, c.record)
	}
	p.settle(settled)
	if len(later) > 0 {
		return p.try(ctx, key, later)
	}
	return nil
}

// store writes one pack and its rows.
func (p *Publisher) store(ctx context.Context, key seriesKey, candidates []*candidate) error {
	built, err := build(key.facility, candidates)
	if err != nil {
		return contentError(err)
	}
	if err := p.o.Store.Put(ctx, built.addition.Pack.Key, built.size, built.body()); err != nil {
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
	if index.RefusedValue(err) {
		return contentError(err)
	}
	return err
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

// nextVersion is the version under which bytes with this hash are kept; 0 when
// the index has them already.
func nextVersion(known []index.KnownVersion, hash []byte) int {
	next := 1
	for _, k := range known {
		if bytes.Equal(k.SHA256, hash) {
			return 0
		}
		next = max(next, k.Version+1)
	}
	return next
}
