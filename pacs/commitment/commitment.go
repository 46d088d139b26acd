package commitment

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/index"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Verifier reads packs back; patrol.Patrol is one.
type Verifier interface {
	// Unsound says which instances of a pack are not as they were received. gone
	// means that the pack is not in use any more. An error is one of the store or
	// the database, and nothing is known of the pack.
	Unsound(ctx context.Context, packID int64) (sops []string, gone bool, err error)
}

// Options are what Commitments needs.
type Options struct {
	Index    *index.Index
	Verifier Verifier
	// AETitle is where the instances can be retrieved.
	AETitle string
	// Patience is how long an instance that is not in the index may be on its way
	// before the answer is no. Default 10 minutes.
	Patience time.Duration
	// Dial opens an association to a device at its registered address.
	//
	//	NotFound  the device is not known, or has no address
	Dial func(ctx context.Context, aeTitle string, how dimse.Dialer) (*dimse.Client, error)
	// Enqueue adds the job of a request (Args) in the transaction that keeps it.
	Enqueue func(ctx context.Context, tx pgx.Tx, id int64) error
	// Reported, when set, is told of each answer that has arrived.
	Reported func(safe, failed int, after time.Duration)
	Log      *slog.Logger
}

// Commitments keeps requests and answers them. Safe for concurrent use.
type Commitments struct {
	o    Options
	pool *pgxpool.Pool
	now  chan struct{} // one per request that is answered over its association
	ctx  context.Context
}

// atOnce bounds how many requests a node answers over the associations that
// asked; others are left to the jobs.
const atOnce = 8

// New brings the tables up to date. ctx ends what is done over associations.
func New(ctx context.Context, o Options) (*Commitments, error) {
	if err := index.Migrate(ctx, o.Index.Pool(), "commitment", migrations); err != nil {
		return nil, err
	}
	o.Patience = cmp.Or(max(o.Patience, 0), 10*time.Minute)
	return &Commitments{o: o, pool: o.Index.Pool(), now: make(chan struct{}, atOnce), ctx: ctx}, nil
}

// window is how long a request may take to be answered over the association that
// asked. Its job comes after that.
const window = 10 * time.Second

// soon answers a request over its association, if that can be done within the
// window.
func (c *Commitments) soon(id int64, rq *dimse.Request) {
	select {
	case c.now <- struct{}{}:
	default:
		return
	}
	go func() {
		defer func() { <-c.now }()
		<-rq.Answered()
		ctx, cancel := context.WithTimeout(c.ctx, window)
		defer cancel()
		for {
			wait, err := c.process(ctx, id, rq.Association)
			switch {
			case err != nil && ctx.Err() == nil:
				c.o.Log.Info("a storage commitment is reported later", "calling", rq.Association.CallingAE, "error", err)
				return
			case err != nil || wait == 0:
				return
			}
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return
			}
		}
	}()
}

// A node is at a request for longest in one go. What it has claimed it keeps for
// lease, and claims again while it lives: one that was killed keeps nobody waiting.
const (
	longest = 15 * time.Minute
	lease   = 20 * time.Second
)

// open is a request without answer.
type open struct {
	id          int64
	ae          string
	transaction string
	facilities  []int64 // nil: everything
	state       string
	requestedAt time.Time
}

// process does what can be done for a request now. wait says when there is more
// to do; 0 that it is answered. association may be nil.
func (c *Commitments) process(ctx context.Context, id int64, association *dimse.AssociationInfo) (wait time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	r := open{id: id}
	err = c.pool.QueryRow(ctx, `UPDATE commitment SET claimed_until = clock_timestamp() + $2::interval
		WHERE id = $1 AND state IN ('checking', 'reporting') AND claimed_until < clock_timestamp()
		RETURNING ae_title, transaction_uid, facility_rows, state, requested_at`, id, lease).
		Scan(&r.ae, &r.transaction, &r.facilities, &r.state, &r.requestedAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return c.otherwise(ctx, id)
	}
	if err != nil {
		return 0, err
	}
	renewing, done := context.WithCancel(ctx)
	var renewer sync.WaitGroup
	renewer.Go(func() { c.renew(renewing, id) })
	defer func() {
		done()
		renewer.Wait()
		message := ""
		if err != nil {
			message = err.Error()
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_, e := c.pool.Exec(ctx, `UPDATE commitment SET claimed_until = '-infinity', last_error = left($2, 500) WHERE id = $1`, id, message)
		err = errors.Join(err, e)
	}()
	if r.state == "checking" {
		if wait, err := c.check(ctx, r); err != nil || wait > 0 {
			return wait, err
		}
	}
	return 0, c.report(ctx, r, association)
}

// renew keeps a claim until ctx is done. One that is lost does no harm: then two
// nodes find out the same and may both tell it.
func (c *Commitments) renew(ctx context.Context, id int64) {
	ticker := time.NewTicker(lease / 4)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			_, _ = c.pool.Exec(ctx, `UPDATE commitment SET claimed_until = clock_timestamp() + $2::interval WHERE id = $1`, id, lease)
		}
	}
}

// otherwise says what is left of a request that this node may not work on: 0
// when it is answered or gone.
func (c *Commitments) otherwise(ctx context.Context, id int64) (time.Duration, error) {
	var busy bool
	err := c.pool.QueryRow(ctx, `SELECT state IN ('checking', 'reporting') FROM commitment WHERE id = $1`, id).Scan(&busy)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && !busy {
		return 0, nil
	}
	return window, err
}

// giveUp ends a request whose answer can't be brought to the device.
func (c *Commitments) giveUp(ctx context.Context, id int64, why error) error {
	_, err := c.pool.Exec(ctx, `UPDATE commitment SET state = 'failed', ended_at = now(), last_error = left($2, 500) WHERE id = $1 AND ended_at IS NULL`, id, why.Error())
	return err
}
