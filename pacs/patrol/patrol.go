package patrol

import (
	"context"
	"embed"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/storage"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Options configure a Patrol.
type Options struct {
	Index *index.Index
	Store storage.Store
	// Copy is a second store with the same keys, to repair from; may be nil.
	Copy storage.Store
	// Rate is how many bytes a second are read; 0 is as fast as possible.
	Rate int64
	// Interval is how often each pack is read; default 30 days.
	Interval time.Duration
	// Repair has Run and Pass repair what can be proven.
	Repair bool
	// AddOrphans has Pass index packs that the index does not know. Run never
	// does: why it does not know them is for somebody to look at.
	AddOrphans bool
	// OldEnough is how old an object that no pack knows must be; default a day.
	OldEnough time.Duration
	// InTransaction is called when instances are indexed that were not, as the
	// publisher's is.
	InTransaction func(ctx context.Context, tx pgx.Tx, studyUID string, added index.Added) error
	Observer      Observer
	Log           *slog.Logger
}

// Observer is told what the patrol does. Nil functions are skipped.
type Observer struct {
	// Verified is told of each pack that was read: sound, damaged or missing.
	Verified func(result string)
}

// Patrol verifies what is kept. Safe for concurrent use.
type Patrol struct {
	o       Options
	pool    *pgxpool.Pool
	store   storage.Store // paced
	wake    chan struct{}
	tallies index.Remembered[tally]

	mu                 sync.Mutex
	filledAt, tidiedAt time.Time
}

// New brings the patrol's tables up to date.
func New(ctx context.Context, o Options) (*Patrol, error) {
	if o.Interval <= 0 {
		o.Interval = 30 * 24 * time.Hour
	}
	if o.OldEnough <= 0 {
		o.OldEnough = oldEnough
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := index.Migrate(ctx, o.Index.Pool(), "patrol", migrations); err != nil {
		return nil, err
	}
	return &Patrol{o: o, pool: o.Index.Pool(), store: withPace(o.Store, o.Rate), wake: make(chan struct{}, 1)}, nil
}

// errOutage means that the store did not answer: nothing is known of the pack.
var errOutage = errors.New("the object store does not answer")

const (
	idle       = 20 * time.Second // between two looks for something to do
	leastPause = 2 * time.Second  // after an outage
	mostPause  = 5 * time.Minute
)

// Run patrols until ctx ends.
func (p *Patrol) Run(ctx context.Context) error {
	wait := time.Duration(0)
	for ctx.Err() == nil {
		worked, err := p.step(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			wait = min(max(2*wait, leastPause), mostPause)
			p.o.Log.Warn("the patrol pauses", "for", wait, "error", err)
			p.sleep(ctx, wait)
		case !worked:
			wait = 0
			p.sleep(ctx, idle)
		default:
			wait = 0
		}
	}
	return ctx.Err()
}

func (p *Patrol) sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-p.wake:
	}
}

// step reads one pack that is due. It returns false when none is.
func (p *Patrol) step(ctx context.Context) (bool, error) {
	if err := p.fill(ctx); err != nil {
		return false, err
	}
	id, err := p.claim(ctx)
	if err != nil || id == 0 {
		return false, err
	}
	_, err = p.verify(ctx, id, p.o.Repair)
	if err != nil {
		// Somebody else may try, or we do after the pause.
		return true, errors.Join(err, p.release(context.WithoutCancel(ctx), id))
	}
	return true, nil
}

// Progress says how far a pass is.
type Progress struct {
	Packs, TotalPacks int
	Bytes, TotalBytes int64
	Problems          int
}

// Pass reads every pack now, or those of one study, and says which problems
// it found or left open. With Options.Repair it repairs what it can.
func (p *Patrol) Pass(ctx context.Context, studyUID string, progress func(Progress)) ([]Problem, error) {
	const packs = ` FROM pack k LEFT JOIN series e ON e.id = k.series_row LEFT JOIN study s ON s.id = e.study_row
		WHERE k.retired_at IS NULL AND k.key NOT LIKE '` + index.SyntheticPrefix + `%' AND ($1 = '' OR s.study_uid = $1)`
	var now Progress
	if err := p.pool.QueryRow(ctx, `SELECT count(*), coalesce(sum(k.bytes), 0)::bigint`+packs, studyUID).Scan(&now.TotalPacks, &now.TotalBytes); err != nil {
		return nil, failure(err)
	}
	if err := p.fillAll(ctx); err != nil {
		return nil, err
	}
	var found []Problem
	for last := int64(0); ; {
		rows, err := p.pool.Query(ctx, `SELECT k.id, k.bytes`+packs+` AND k.id > $2 ORDER BY k.id LIMIT 500`, studyUID, last)
		if err != nil {
			return found, failure(err)
		}
		type place struct{ ID, Bytes int64 }
		list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[place])
		if err != nil {
			return found, failure(err)
		}
		if len(list) == 0 {
			break
		}
		for _, k := range list {
			problems, err := p.verify(ctx, k.ID, p.o.Repair)
			if err != nil {
				return found, err
			}
			found = append(found, problems...)
			last = k.ID
			now.Packs++
			now.Bytes += k.Bytes
			now.Problems = len(found)
			if progress != nil {
				progress(now)
			}
		}
	}
	found, err := p.again(ctx, found)
	if err != nil || studyUID != "" {
		return found, err
	}
	orphans, err := p.orphans(ctx)
	return append(found, orphans...), err
}

// again tries once more to repair what stayed open: a pack that was found
// later may hold what one before it needed.
func (p *Patrol) again(ctx context.Context, found []Problem) ([]Problem, error) {
	if !p.o.Repair {
		return found, nil
	}
	var left []Problem
	done := map[string]bool{}
	for _, q := range found {
		if done[q.Key] {
			continue
		}
		done[q.Key] = true
		var id int64
		err := p.pool.QueryRow(ctx, `SELECT id FROM pack WHERE key = $1 AND retired_at IS NULL`, q.Key).Scan(&id)
		if errors.Is(err, pgx.ErrNoRows) {
			continue // merged or deleted meanwhile
		}
		if err != nil {
			return found, failure(err)
		}
		problems, err := p.verify(ctx, id, true)
		if err != nil {
			return found, err
		}
		left = append(left, problems...)
	}
	return left, nil
}

// Begin asks for a full pass at the patrol's pace. It does nothing when one
// is under way. inTx joins the transaction.
func (p *Patrol) Begin(ctx context.Context, inTx func(pgx.Tx) error) error {
	err := pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO patrol_pass DEFAULT VALUES ON CONFLICT DO NOTHING`); err != nil || inTx == nil {
			return err
		}
		return inTx(tx)
	})
	if err != nil {
		return failure(err)
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
	return nil
}

func failure(err error) error {
	var own *pacs.Error
	if !errors.As(err, &own) && errors.Is(err, context.Canceled) {
		return err // the patrol ends
	}
	return index.Failure("patrol", err)
}
