package publish

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/riverqueue/river"

	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/storage"
)

// Sweeper deletes what is not needed in the store any more. doc.go says why
// that is safe.
type Sweeper struct {
	Index *index.Index
	Store storage.Store
	// Grace is how long the object of a retired pack stays for readers that
	// found it before; DefaultGrace when 0.
	Grace time.Duration
	// SafeAge is how old an object must be to be taken for forgotten when no
	// pack has its key; DefaultSafeAge when 0.
	SafeAge time.Duration
	// KeepChanges is how long the feed of changes goes back; 0 is for ever.
	KeepChanges time.Duration
	// Orphan is told of an object that no pack knows and that holds, or may
	// hold, what the index has nowhere else; it is not deleted. err says why it
	// can't be read when that is the reason. With nil the log says so.
	Orphan   func(ctx context.Context, key string, size int64, err error) error
	Log      *slog.Logger // slog.Default when nil
	Observer SweepObserver
}

// SweepObserver is told what a Sweeper does. Nil functions are skipped.
type SweepObserver struct {
	Deleted func(objects int, bytes int64)
	Orphan  func() // one that is kept
}

// Defaults of a Sweeper.
const (
	DefaultGrace   = time.Hour
	DefaultSafeAge = 24 * time.Hour
)

// forgetAfter is how long the row of a deleted object keeps its key: longer
// than anybody takes between storing an object and indexing it.
const forgetAfter = 7 * 24 * time.Hour

const sweepAtOnce = 100

func (s *Sweeper) log() *slog.Logger {
	if s.Log != nil {
		return s.Log
	}
	return slog.Default()
}

// Retired deletes the objects of packs that were retired longer ago than the
// grace time, and returns how many.
func (s *Sweeper) Retired(ctx context.Context) (deleted int, err error) {
	grace := s.Grace
	if grace == 0 {
		grace = DefaultGrace
	}
	for {
		packs, err := s.Index.RetiredPacks(ctx, grace, sweepAtOnce)
		if err != nil || len(packs) == 0 {
			return deleted, err
		}
		var done []int64
		var size int64
		for _, p := range packs {
			if err = s.Store.Delete(ctx, p.Key); err != nil {
				break
			}
			done = append(done, p.ID)
			size += p.Bytes
		}
		if err := errors.Join(err, s.Index.SetSwept(ctx, done)); err != nil {
			return deleted, err
		}
		deleted += len(done)
		if s.Observer.Deleted != nil {
			s.Observer.Deleted(len(done), size)
		}
	}
}

// Forget deletes rows that are of no use any more: of packs whose objects were
// deleted long ago, and of changes that are too old.
func (s *Sweeper) Forget(ctx context.Context) error {
	if err := s.Index.ForgetSwept(ctx, forgetAfter); err != nil {
		return err
	}
	if s.KeepChanges == 0 {
		return nil
	}
	_, err := s.Index.TrimChanges(ctx, s.KeepChanges)
	return err
}

// Orphans looks through the store for objects that no pack knows. Those whose
// instances the index has elsewhere are retired, the others reported.
func (s *Sweeper) Orphans(ctx context.Context) error {
	safe := s.SafeAge
	if safe == 0 {
		safe = DefaultSafeAge
	}
	before := time.Now().Add(-safe)
	var batch []storage.Info
	flush := func() error {
		keys := make([]string, len(batch))
		for i, o := range batch {
			keys[i] = o.Key
		}
		unknown, err := s.Index.UnknownPacks(ctx, keys)
		if err != nil {
			return err
		}
		for _, o := range batch {
			if slices.Contains(unknown, o.Key) {
				if err := s.orphan(ctx, o); err != nil {
					return err
				}
			}
		}
		batch = batch[:0]
		return nil
	}
	for info, err := range AllPacks(ctx, s.Store) {
		if err != nil {
			return err
		}
		if !info.ModTime.Before(before) {
			continue
		}
		if batch = append(batch, info); len(batch) == 1000 {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// orphan decides about one object.
func (s *Sweeper) orphan(ctx context.Context, o storage.Info) error {
	file, err := ReadPack(ctx, s.Store, o.Key, o.Size)
	switch {
	case storage.IsNotExist(err):
		return nil // deleted meanwhile
	case err != nil && !errors.Is(err, ErrDamaged) && !storage.IsPermanent(err):
		return err // the store does not answer
	case err != nil:
		return s.report(ctx, o, err)
	}
	elsewhere, err := s.elsewhere(ctx, file.Manifest)
	if err != nil {
		return err
	}
	if !elsewhere {
		return s.report(ctx, o, nil)
	}
	s.log().Info("an object that no pack knows holds nothing that the archive has not got elsewhere and will be deleted", "key", o.Key)
	return s.Index.RetireObject(ctx, o.Key, o.Size)
}

// elsewhere says whether the index has every instance of a manifest.
func (s *Sweeper) elsewhere(ctx context.Context, m Manifest) (bool, error) {
	uids := make([]string, len(m.Instances))
	for i, entry := range m.Instances {
		uids[i] = entry.SOPInstanceUID
	}
	known, err := s.Index.Known(ctx, m.Study, uids)
	if err != nil {
		return false, err
	}
	for _, entry := range m.Instances {
		sum, err := hex.DecodeString(entry.SHA256)
		sum = entry.received(sum)
		if err != nil || !slices.ContainsFunc(known.Versions[entry.SOPInstanceUID], func(v index.KnownVersion) bool { return bytes.Equal(v.SHA256, sum) }) {
			return false, nil
		}
	}
	return len(m.Instances) > 0, nil
}

func (s *Sweeper) report(ctx context.Context, o storage.Info, why error) error {
	if s.Observer.Orphan != nil {
		s.Observer.Orphan()
	}
	if s.Orphan != nil {
		return s.Orphan(ctx, o.Key, o.Size, why)
	}
	s.log().Warn("an object in the store belongs to no pack and is kept: index it with tasvir reindex, or look at it", "key", o.Key, "error", why)
	return nil
}

// SweepArgs is the periodic job that deletes the objects of retired packs.
type SweepArgs struct{}

// Kind implements river.JobArgs.
func (SweepArgs) Kind() string { return "sweep_packs" }

// InsertOpts implements river.JobArgsWithInsertOpts.
func (SweepArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: PackQueue, UniqueOpts: river.UniqueOpts{ByState: unfinished}}
}

// FindOrphansArgs is the periodic job that looks for objects that no pack
// knows.
type FindOrphansArgs struct{}

// Kind implements river.JobArgs.
func (FindOrphansArgs) Kind() string { return "find_orphans" }

// InsertOpts implements river.JobArgsWithInsertOpts.
func (FindOrphansArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: PackQueue, Priority: 4, UniqueOpts: river.UniqueOpts{ByState: unfinished}}
}

// The paces of the two jobs.
const (
	SweepEvery       = 10 * time.Minute
	FindOrphansEvery = 24 * time.Hour
)

// SweepWorker runs SweepArgs.
type SweepWorker struct {
	river.WorkerDefaults[SweepArgs]
	Sweeper *Sweeper
}

// Work implements river.Worker.
func (w *SweepWorker) Work(ctx context.Context, _ *river.Job[SweepArgs]) error {
	if _, err := w.Sweeper.Retired(ctx); err != nil {
		return err
	}
	return w.Sweeper.Forget(ctx)
}

// Timeout implements river.Worker.
func (w *SweepWorker) Timeout(*river.Job[SweepArgs]) time.Duration { return time.Hour }

// FindOrphansWorker runs FindOrphansArgs.
type FindOrphansWorker struct {
	river.WorkerDefaults[FindOrphansArgs]
	Sweeper *Sweeper
}

// Work implements river.Worker.
func (w *FindOrphansWorker) Work(ctx context.Context, _ *river.Job[FindOrphansArgs]) error {
	return w.Sweeper.Orphans(ctx)
}

// Timeout implements river.Worker: the store may hold millions of objects.
func (w *FindOrphansWorker) Timeout(*river.Job[FindOrphansArgs]) time.Duration { return 12 * time.Hour }
