package quarantine

import (
	"context"
	"embed"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
	"github.com/tasvir-pacs/tasvir/storage"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Options configure a Quarantine.
type Options struct {
	Index *index.Index
	Store storage.Store
	// Receiver is the archive's door, by which what is released comes in
	// again. Nil where nothing is released.
	Receiver pacs.Receiver
	// Quota is how many bytes are kept at most. Default 10 GiB.
	Quota int64
	// MaxItems is how many data sets are kept at most, however small they are.
	// Default 200,000.
	MaxItems int64
	// Freed is called when there is room again. It must not wait for anything.
	Freed func()
	Log   *slog.Logger
}

// Quarantine keeps data sets that can't be indexed. Safe for concurrent use,
// also by several nodes on one database and store.
type Quarantine struct {
	o     Options
	pool  *pgxpool.Pool
	usage usage
}

var _ publish.Quarantine = (*Quarantine)(nil)

// Open brings the quarantine's tables up to date. The tables of package access
// must be there.
func Open(ctx context.Context, o Options) (*Quarantine, error) {
	if o.Quota == 0 {
		o.Quota = 10 << 30
	}
	if o.MaxItems == 0 {
		o.MaxItems = 200_000
	}
	if o.Freed == nil {
		o.Freed = func() {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	q := &Quarantine{o: o, pool: o.Index.Pool()}
	if err := index.Migrate(ctx, q.pool, "quarantine", migrations); err != nil {
		return nil, err
	}
	return q, q.refresh(ctx)
}

// Run looks after the quarantine until ctx ends: it counts what other nodes
// have added and freed, and finishes what an end of the program has
// interrupted.
func (q *Quarantine) Run(ctx context.Context) error {
	tick := time.NewTicker(refreshEvery)
	defer tick.Stop()
	for {
		if err := q.look(ctx); err != nil && ctx.Err() == nil {
			q.o.Log.Warn("the quarantine can't be looked after at the moment", "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

const refreshEvery = 15 * time.Second

func (q *Quarantine) look(ctx context.Context) error {
	if err := q.finishDiscards(ctx); err != nil {
		return err
	}
	// No journal offers again what it had so long ago.
	if _, err := q.pool.Exec(ctx, `DELETE FROM quarantine_item WHERE state = 'gone' AND gone_at < now() - interval '90 days'`); err != nil {
		return failure(err)
	}
	return q.refresh(ctx)
}

// usage counts what is kept. What other nodes keep is known from the last
// refresh, so that together they may go over the quota by a few seconds' worth.
type usage struct {
	mu      sync.Mutex
	bytes   int64 // of what is kept
	items   int64
	coming  int64 // bytes of what is being kept
	arrival int64 // items
}

// held is the condition that an item's bytes are in quarantine.
const held = `state IN ('kept', 'releasing', 'discarding')`

// refresh counts anew what is kept.
func (q *Quarantine) refresh(ctx context.Context) error {
	var bytes, items int64
	err := q.pool.QueryRow(ctx, `SELECT coalesce(sum(bytes), 0)::bigint, count(*) FROM quarantine_item WHERE `+held).Scan(&bytes, &items)
	if err != nil {
		return failure(err)
	}
	u := &q.usage
	u.mu.Lock()
	freed := bytes < u.bytes || items < u.items
	u.bytes, u.items = bytes, items
	u.mu.Unlock()
	if freed {
		q.o.Freed()
	}
	return nil
}

// Usage says how full the quarantine is: bytes and items as this node knows
// them, and the quota in bytes.
func (q *Quarantine) Usage() (bytes, items, quota int64) {
	u := &q.usage
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.bytes, u.items, q.o.Quota
}

// Room is how many bytes are still taken, by what this node knows; it waits
// for nothing.
func (q *Quarantine) Room() int64 {
	u := &q.usage
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.items+u.arrival >= q.o.MaxItems {
		return 0
	}
	return max(0, q.o.Quota-u.bytes-u.coming)
}

// reserve claims room for an item.
func (q *Quarantine) reserve(size int64) error {
	u := &q.usage
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.bytes+u.coming+size > q.o.Quota || u.items+u.arrival >= q.o.MaxItems {
		return errFull
	}
	u.coming += size
	u.arrival++
	return nil
}

// settle ends a reservation: the item is kept now, or is not.
func (q *Quarantine) settle(size int64, kept bool) {
	u := &q.usage
	u.mu.Lock()
	defer u.mu.Unlock()
	u.coming -= size
	u.arrival--
	if kept {
		u.bytes += size
		u.items++
	}
}

// freed notes that an item is gone.
func (q *Quarantine) freed(size int64) {
	u := &q.usage
	u.mu.Lock()
	u.bytes -= size
	u.items--
	u.mu.Unlock()
	q.o.Freed()
}

var errFull = pacs.Errorf(pacs.OutOfResources, "The quarantine is full; release or discard what is in it, or give it more room with --quarantine-quota")

// failure is index.Failure, with what there is to say of the quarantine.
func failure(err error) error {
	var own *pacs.Error
	var refused *pgconn.PgError
	switch {
	case errors.As(err, &own):
		return err
	case errors.Is(err, pgx.ErrNoRows):
		return errNoItem
	case errors.As(err, &refused) && refused.Code == "22021":
		return pacs.Wrap(pacs.Invalid, err, "The text has characters that can't be kept (NUL, or bytes that are not UTF-8)")
	}
	return index.Failure("quarantine", err)
}

var errNoItem = pacs.Errorf(pacs.NotFound, "There is no such data set in quarantine")
