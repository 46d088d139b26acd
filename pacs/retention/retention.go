package retention

import (
	"context"
	"embed"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
	"github.com/tasvir-pacs/tasvir/storage"
)

//go:embed migrations/*.sql
var migrations embed.FS

// DefaultLimit is how many studies are touched a day at most.
const DefaultLimit = 10_000

// Options of Retention.
type Options struct {
	Index *index.Index
	Store storage.Store
	// Cold says that the store has a cold tier (storage/tiered). Without it no
	// policy that moves there can be enabled.
	Cold bool
	// Busy says which studies somebody still works with; nil: none.
	Busy Busy
	// Limit is how many studies are touched a day (UTC) at most; 0 is
	// DefaultLimit.
	Limit int
	// Touching is called in the transaction that touches a study, before it does.
	Touching func(ctx context.Context, tx pgx.Tx, studyID int64, action Action) error
	Log      *slog.Logger
	// Observe is told of each study that was touched.
	Observe func(action Action, bytes int64)
}

// Busy returns those of the studies that must not be touched because somebody
// still works with them. With lock it also keeps the others from becoming so
// until tx ends.
type Busy func(ctx context.Context, tx pgx.Tx, studyIDs []int64, lock bool) (map[int64]bool, error)

// Retention keeps policies and legal holds, and carries them out. Safe for
// concurrent use, also by several nodes.
type Retention struct {
	o     Options
	pool  *pgxpool.Pool
	packs *publish.Packs
	now   func() time.Time
}

// Open brings the tables of retention up to date. Those of package access must
// be there.
func Open(ctx context.Context, o Options) (*Retention, error) {
	if err := index.Migrate(ctx, o.Index.Pool(), "retention", migrations); err != nil {
		return nil, err
	}
	if o.Limit <= 0 {
		o.Limit = DefaultLimit
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Busy == nil {
		o.Busy = func(context.Context, pgx.Tx, []int64, bool) (map[int64]bool, error) { return nil, nil }
	}
	if o.Observe == nil {
		o.Observe = func(Action, int64) {}
	}
	if o.Touching == nil {
		o.Touching = func(context.Context, pgx.Tx, int64, Action) error { return nil }
	}
	r := &Retention{o: o, pool: o.Index.Pool(), packs: &publish.Packs{Index: o.Index, Store: o.Store}, now: time.Now}
	return r, r.checkCold(ctx)
}

// checkCold refuses to run without the cold store that has packs in it: they
// would seem lost.
func (r *Retention) checkCold(ctx context.Context) error {
	if r.o.Cold {
		return nil
	}
	var moved int
	if err := r.pool.QueryRow(ctx, `SELECT count(*) FROM pack WHERE key LIKE 'cold/%' AND retired_at IS NULL`).Scan(&moved); err != nil {
		return failure(err)
	}
	if moved > 0 {
		return pacs.Errorf(pacs.Invalid, "%d packs are in a cold store and none is configured; start with the --cold-store that they were moved to", moved)
	}
	return nil
}

func failure(err error) error { return index.Failure("retention", err) }

// words checks a text that a person gives.
func words(what, text string, longest int) (string, error) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return "", invalid("Say %s", what)
	case utf8.RuneCountInString(text) > longest:
		return "", invalid("That is too long: at most %d characters are taken for %s", longest, what)
	case strings.ContainsRune(text, 0) || !utf8.ValidString(text):
		return "", invalid("The text has characters that can't be kept (NUL, or bytes that are not UTF-8)")
	}
	return text, nil
}

// invalid is content that was understood and is refused.
func invalid(format string, args ...any) error {
	return pacs.Errorf(pacs.Invalid, format, args...).WithReason("refused", "")
}
