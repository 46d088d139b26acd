package publish

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/storage"
	"github.com/tasvir-pacs/tasvir/storage/tiered"
)

// Reindex rebuilds the index from the packs in storage.
//
// It works in four steps, of which the first reads all bytes and takes nearly
// all of the time:
//
//  1. Read every pack, several at once, check it, and put what its rows need
//     into a table of our own (staging.go). A run that was killed goes on where
//     it was.
//     Packs that a retention policy has deleted are left out (Deletion).
//  2. Look at each study's packs together (resolve.go): an instance that is in
//     several packs is one row, one that is there with and without its pixel
//     data is there with them, versions get the numbers they had, and packs
//     whose instances are all in others (merged since, or orphans of a publisher
//     that was killed) are set aside.
//  3. Add the packs to the index as the publisher did, in the order in which
//     their first instances were received. That is what decides who a patient
//     is when several people share an ID; the order of the objects in storage
//     has no influence.
//  4. Restore what others keep in storage (Restorers), and count.
//
// A pack that is damaged gives what is sound in it.
type Reindex struct {
	Store storage.Store
	Index *index.Index // nil with DryRun
	// Parallel is how many packs are read at once; default 4.
	Parallel int
	// Add allows an index that is not empty: what is missing is added to it.
	Add bool
	// DryRun reads and checks everything and changes nothing.
	DryRun bool
	// InTransaction is called as the publisher's, with Add only: an index that
	// is rebuilt is one of complete studies.
	InTransaction func(ctx context.Context, tx pgx.Tx, studyUID string, added index.Added) error
	// Restorers run after the packs, in this order.
	Restorers []Restorer
	Progress  func(ReindexProgress)
	Log       *slog.Logger
}

// Restorer brings back what a part of the archive keeps in object storage
// beside the packs.
type Restorer interface {
	// Restore reads it into the index and says how many it brought back.
	// Repeating it changes nothing.
	Restore(ctx context.Context) (int, error)
}

// ReindexProgress says how far reading is; Packs and Bytes of TotalPacks and
// TotalBytes. Adding is over those that were read.
type ReindexProgress struct {
	Packs, TotalPacks int
	Bytes, TotalBytes int64
	Added             int // packs in the index
	Adding            bool
}

// ReindexReport is what came of it.
type ReindexReport struct {
	Packs     int // read, in this run or in one that it went on with
	Bytes     int64
	Instances int // sound instances in them, copies in several packs included
	Contained int // packs whose instances are all in others
	Deleted   int // packs that a retention policy has deleted and whose objects are not swept yet
	Restored  int
	Bad       []BadPack // those with a problem
}

// BadPack is a pack that is damaged or that contradicts others.
type BadPack struct {
	Key      string
	Problems []string
	Indexed  int // sound instances in it
}

// Run rebuilds the index.
//
//	Conflict     the index is not empty, and Add is not set
//	Unavailable  storage or database can't be reached; run it again to go on
func (r *Reindex) Run(ctx context.Context) (*ReindexReport, error) {
	if r.Parallel < 1 {
		r.Parallel = 4
	}
	if r.Log == nil {
		r.Log = slog.New(slog.DiscardHandler)
	}
	run := &reindexing{Reindex: r}
	if !r.DryRun {
		if err := run.begin(ctx); err != nil {
			return nil, err
		}
	}
	if err := run.read(ctx); err != nil {
		return nil, err
	}
	if r.DryRun {
		return &run.report, nil
	}
	for _, step := range []func(context.Context) error{run.resolve, run.addAll, run.settle, run.restore, run.addContradicting, run.finish} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return &run.report, nil
}

type reindexing struct {
	*Reindex
	staged map[string]int64 // keys that an earlier run has read, with their sizes

	deleted map[string]bool // keys of packs that a retention policy has deleted
	unswept []storage.Info  // those of them that are there

	mu       sync.Mutex
	progress ReindexProgress
	report   ReindexReport
}

func (r *reindexing) tell(change func(p *ReindexProgress)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.progress)
	if r.Progress != nil {
		r.Progress(r.progress)
	}
}

// read stages every pack that is not staged or indexed.
func (r *reindexing) read(ctx context.Context) (err error) {
	if r.deleted, err = deletedPacks(ctx, r.Store, r.Log); err != nil {
		return err
	}
	for info, err := range AllPacks(ctx, r.Store) {
		if err != nil {
			return pacs.Wrap(pacs.Unavailable, err, "The object store does not list the packs")
		}
		if r.deleted[info.Key] {
			r.unswept = append(r.unswept, info)
			r.report.Deleted++
			continue
		}
		r.progress.TotalPacks++
		r.progress.TotalBytes += info.Size
	}
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(r.Parallel)
	for info, err := range AllPacks(ctx, r.Store) {
		if err != nil {
			return errors.Join(pacs.Wrap(pacs.Unavailable, err, "The object store does not list the packs"), work.Wait())
		}
		if r.deleted[info.Key] {
			continue
		}
		if size, ok := r.staged[info.Key]; ok && size == info.Size {
			r.tell(func(p *ReindexProgress) { p.Packs++; p.Bytes += info.Size })
			continue
		}
		work.Go(func() error {
			if err := r.readPack(ctx, info.Key); err != nil {
				return err
			}
			r.tell(func(p *ReindexProgress) { p.Packs++; p.Bytes += info.Size })
			return nil
		})
	}
	return work.Wait()
}

// packPrefix begins the keys of all packs, behind the prefix of those in a cold
// store (storage/tiered).
const packPrefix = "packs/"

// AllPacks lists the packs of all tiers. After an error nothing more is yielded.
func AllPacks(ctx context.Context, store storage.Store) iter.Seq2[storage.Info, error] {
	return PacksUnder(ctx, store, packPrefix)
}

// PacksUnder is AllPacks of one folder, packs/…, in all tiers.
func PacksUnder(ctx context.Context, store storage.Store, folder string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		for _, tier := range []string{"", tiered.Prefix} {
			for info, err := range store.List(ctx, tier+folder) {
				if !yield(info, err) || err != nil {
					return
				}
			}
		}
	}
}

// tierOf is what a pack's key begins with before packs/: "" or that of a tier.
func tierOf(key string) string {
	tier, _, _ := strings.Cut(key, packPrefix)
	return tier
}

// attempts is how often a pack is read that the store does not give.
const attempts = 4

// readPack examines a pack and stages it.
func (r *reindexing) readPack(ctx context.Context, key string) error {
	for attempt := 1; ; attempt++ {
		s := newStaging()
		x, err := Examine(ctx, r.Store, key, s.visit)
		switch {
		case err == nil:
			return r.keep(ctx, s.finish(x))
		case ctx.Err() != nil:
			return ctx.Err()
		case storage.IsNotExist(err):
			return nil // merged and removed since it was listed
		case attempt < attempts:
			if err := pause(ctx, time.Second<<(attempt-1)); err != nil {
				return err
			}
		case r.storeAnswers(ctx, key):
			r.Log.Warn("a pack can't be read", "key", key, "error", err)
			return r.keep(ctx, &stagedPack{Key: key, Problems: []string{"the object store does not give it: " + err.Error()}})
		default:
			return pacs.Wrap(pacs.Unavailable, err, "The object store does not answer; run the command again to go on where it was")
		}
	}
}

// storeAnswers tells one unreadable object from a store that is down.
func (r *reindexing) storeAnswers(ctx context.Context, key string) bool {
	_, err := r.Store.Stat(ctx, key)
	return err == nil || storage.IsNotExist(err)
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// keep counts a pack and stages it.
func (r *reindexing) keep(ctx context.Context, p *stagedPack) error {
	if !r.DryRun {
		return p.insert(ctx, r.Index.Pool())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Packs++
	r.report.Bytes += p.Size
	r.report.Instances += len(p.SOPs)
	if len(p.Problems) > 0 {
		r.report.Bad = append(r.report.Bad, BadPack{Key: p.Key, Problems: p.Problems, Indexed: len(p.SOPs)})
	}
	return nil
}

// addAll adds the packs to the index: those of one patient one after the
// other, those of different patients side by side.
func (r *reindexing) addAll(ctx context.Context) error {
	r.tell(func(p *ReindexProgress) { p.Adding = true })
	work, ctx := errgroup.WithContext(ctx)
	for lane := range lanes {
		work.Go(func() error { return r.addLane(ctx, lane) })
	}
	return work.Wait()
}

func (r *reindexing) addLane(ctx context.Context, lane int) error {
	for {
		keys, err := nextStaged(ctx, r.Index.Pool(), lane)
		if err != nil || len(keys) == 0 {
			return err
		}
		for _, key := range keys {
			if err := r.addPack(ctx, key); err != nil {
				return err
			}
			r.tell(func(p *ReindexProgress) { p.Added++ })
		}
	}
}

// addPack adds one staged pack as it was resolved.
func (r *reindexing) addPack(ctx context.Context, key string) error {
	p, err := loadStaged(ctx, r.Index.Pool(), key)
	if err != nil {
		return err
	}
	err = p.additions(func(a index.Addition) error {
		return r.Index.Add(ctx, a, func(ctx context.Context, tx pgx.Tx, added index.Added) error {
			if !r.Add || r.InTransaction == nil || added.New == 0 {
				return nil
			}
			return r.InTransaction(ctx, tx, a.Study.StudyInstanceUID, added)
		})
	})
	switch {
	case errors.Is(err, index.ErrContradiction):
		return p.mark(ctx, r.Index.Pool(), stateContradicts, "")
	case errors.Is(err, index.ErrUnfit), errors.Is(err, index.ErrRaced):
		return p.mark(ctx, r.Index.Pool(), stateDone, "the index does not take it: "+err.Error())
	case err != nil:
		return err
	}
	return p.mark(ctx, r.Index.Pool(), stateDone, "")
}

// restore runs the restorers.
func (r *reindexing) restore(ctx context.Context) error {
	for _, other := range r.Restorers {
		n, err := other.Restore(ctx)
		r.report.Restored += n
		if err != nil {
			return err
		}
	}
	return nil
}

// addContradicting tries again what contradicted the index before studies
// were moved to the patients they belong to.
func (r *reindexing) addContradicting(ctx context.Context) error {
	keys, err := contradicting(ctx, r.Index.Pool())
	if err != nil {
		return err
	}
	for _, key := range keys {
		if err := r.addPack(ctx, key); err != nil {
			return err
		}
	}
	if len(keys) == 0 {
		return nil
	}
	if err := r.settle(ctx); err != nil {
		return err
	}
	keys, err = contradicting(ctx, r.Index.Pool())
	if err != nil {
		return err
	}
	for _, key := range keys {
		p := stagedPack{Key: key}
		if err := p.mark(ctx, r.Index.Pool(), stateContradicts, "its study belongs to another patient or facility: not indexed"); err != nil {
			return err
		}
	}
	return nil
}

// failure names what a statement of reindexing could not do.
func failure(err error) error {
	if err == nil {
		return nil
	}
	if index.Transient(err) {
		return pacs.Wrap(pacs.Unavailable, err, "The database is not available; run the command again to go on where it was")
	}
	return fmt.Errorf("reindexing: %w", err)
}
