package forward

import (
	"cmp"
	"context"
	"embed"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/queryretrieve"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Devices knows the registered devices; access.Access is one.
type Devices interface {
	// Remote finds a device that has an address; NotFound otherwise.
	Remote(ctx context.Context, aeTitle string) (access.Device, error)
}

// Expected is what an order says of a study that is to come.
type Expected struct {
	Facility    pacs.Facility
	Patient     pacs.Patient // ID is not set
	Modalities  []string
	Description string
	Question    string
}

// Options are what Forwarding needs.
type Options struct {
	Index      *index.Index
	Files      queryretrieve.Files
	Transcoder queryretrieve.Transcoder // for destinations that don't take instances as they are kept
	Devices    Devices
	// Destinations are how devices are reached.
	Destinations queryretrieve.Destinations
	// Nodes sends to DICOMweb nodes.
	Nodes Storer
	// Order is what an order expects, by its ID; NotFound when there is none.
	// Nil: no rule can wait for orders.
	Order   func(ctx context.Context, id string) (Expected, error)
	AETitle string // ours
	// AtOnce is how many items this node sends at a time. Default 16.
	AtOnce int
	// Now is the clock of time windows, pauses and ages; nil is time.Now.
	Now func() time.Time
	// Observe, when set, is told of every attempt at an item.
	Observe func(Attempt)
	Log     *slog.Logger
}

// Attempt is what one attempt at an item has come to.
type Attempt struct {
	Target string // AE title, or name of a DICOMweb node
	Sent   int    // instances
	Failed int
	State  State // of the item, after it
	Took   time.Duration
}

// Forwarding keeps the rules and the queue, and works on it. Safe for concurrent
// use, also by several nodes.
type Forwarding struct {
	o     Options
	pool  *pgxpool.Pool
	nudge chan struct{} // there may be something to do
}

// New brings the tables up to date. Those of index and access must be there.
func New(ctx context.Context, o Options) (*Forwarding, error) {
	if err := Migrate(ctx, o.Index); err != nil {
		return nil, err
	}
	o.AtOnce = cmp.Or(max(o.AtOnce, 0), 16)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Forwarding{o: o, pool: o.Index.Pool(), nudge: make(chan struct{}, 1)}, nil
}

// Migrate brings the tables up to date, for who only queues (Arrived).
func Migrate(ctx context.Context, ix *index.Index) error {
	return index.Migrate(ctx, ix.Pool(), "forward", migrations)
}

// tick is how often the queue is looked at when nothing was heard of it: another
// node may have queued something, a pause or a time window may be over.
const tick = time.Second

// Run works on the queue until ctx is done. What is being sent then is sent
// another time.
func (f *Forwarding) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, f.o.AtOnce)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var forgotten time.Time
	for ctx.Err() == nil {
		if time.Since(forgotten) > time.Hour {
			forgotten = time.Now()
			f.forget(ctx)
		}
		slots <- struct{}{} // given back within a lease's time: attempts are watched
		c, ok, err := f.claim(ctx)
		if err == nil && ok {
			running.Go(func() {
				defer f.Nudge()
				defer func() { <-slots }()
				f.attempt(ctx, c)
			})
			continue
		}
		<-slots
		if err != nil && ctx.Err() == nil {
			f.o.Log.Warn("the queue of forwarding can't be read", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-f.nudge:
		case <-ticker.C:
		}
	}
	return nil
}

// Nudge has the queue looked at now.
func (f *Forwarding) Nudge() {
	select {
	case f.nudge <- struct{}{}:
	default:
	}
}

// remembered is how long an item is known after it has ended. What is added to its
// study later is sent whole again.
const remembered = 365 * 24 * time.Hour

func (f *Forwarding) forget(ctx context.Context) {
	_, err := f.pool.Exec(ctx, `DELETE FROM forward_item WHERE ended_at < $1`, f.o.Now().Add(-remembered))
	if err != nil && ctx.Err() == nil {
		f.o.Log.Warn("old items of the queue of forwarding could not be removed", "error", err)
	}
}

// Abandon gives back what nodes were at that have been killed. Only for a database
// of which this node is known to be the only user: others find out by themselves
// after some seconds.
func (f *Forwarding) Abandon(ctx context.Context) error {
	_, err := f.pool.Exec(ctx, `UPDATE forward_item SET claimed_until = '-infinity' WHERE claimed_until > '-infinity'`)
	return failure(err)
}

func failure(err error) error { return index.Failure("forwarding", err) }

// must returns Forbidden unless the caller may manage forwarding.
func must(by *access.Identity) error {
	if by.Can(access.AdminForwarding) {
		return nil
	}
	return pacs.Errorf(pacs.Forbidden, "Your roles don't allow this (%s). Ask an administrator", access.AdminForwarding)
}

func invalid(format string, args ...any) error {
	return pacs.Errorf(pacs.Invalid, format, args...).WithReason("refused", "")
}

// words checks a text that a person gives.
func words(what, text string, longest int) (string, error) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return "", invalid("Say %s", what)
	case utf8.RuneCountInString(text) > longest:
		return "", invalid("That is too long: at most %d characters are taken for %s", longest, what)
	case !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7F }):
		return "", invalid("The text has characters that can't be kept")
	}
	return text, nil
}

// inTx runs work in a transaction; its error, or the database's, is in the
// archive's words.
func (f *Forwarding) inTx(ctx context.Context, work func(tx pgx.Tx) error) error {
	return failure(pgx.BeginFunc(ctx, f.pool, work))
}

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}
