package forward

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
)

const (
	// Outcomes are written down together: a node that is killed sends again what
	// it had not written down, which does no harm.
	flushAfter = time.Second
	flushCount = 200
	// maxBroken is how many instances in a row may be lost with their connection.
	maxBroken = 4
)

// record keeps what becomes of the instances of one attempt. Safe for concurrent
// use.
type record struct {
	f        *Forwarding
	c        claimed
	stop     context.CancelCauseFunc
	closesAt time.Time // of the time window; zero: never

	mu      sync.Mutex
	total   int // instances of the item
	before  int // sent by earlier attempts
	sent    int
	failed  int
	lasting int // of the failed: to repeat them does not help
	first   string
	broken  int   // in a row
	reached bool  // the target has said something of an instance
	cause   error // why the attempt ends before its time

	pending []outcome
	written time.Time
}

type outcome struct {
	sop     string
	version int
	failure *string
}

func newRecord(f *Forwarding, c claimed, stop context.CancelCauseFunc) *record {
	return &record{f: f, c: c, stop: stop, written: time.Now()}
}

func (r *record) begin(total, before int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total, r.before = total, before
}

// end ends the attempt, when what is being sent is sent.
func (r *record) end(cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endLocked(cause)
}

func (r *record) endLocked(cause error) {
	if r.cause == nil {
		r.cause = cause
		r.stop(dimse.ErrCancelled)
	}
}

// why is what has ended the attempt before its time.
func (r *record) why() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cause
}

// message sums up what went wrong.
func (r *record) message() string {
	if r.failed == 1 {
		return "1 instance could not be sent. " + r.first
	}
	return fmt.Sprintf("%d instances could not be sent. The first: %s", r.failed, r.first)
}

// outcome takes down what became of an instance; nil means that it was taken.
func (r *record) outcome(ctx context.Context, i pacs.Instance, failure *failed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if failure != nil && failure.broken {
		// It says nothing of the instance. What is lost with a connection is sent
		// again; a peer that goes on losing it is left alone for a while.
		if r.broken++; r.broken >= maxBroken {
			r.endLocked(errors.New("The connection was lost: " + failure.text)) //nolint:staticcheck // shown as a sentence
		}
		r.failed++
		r.first = firstText(r.first, failure.text)
		return
	}
	r.broken = 0
	r.reached = r.reached || failure == nil || failure.refused
	o := outcome{sop: i.SOPInstanceUID, version: i.Version}
	if failure == nil {
		r.sent++
	} else {
		r.failed++
		if failure.permanent {
			r.lasting++
		}
		r.first = firstText(r.first, failure.text)
		o.failure = &failure.text
	}
	r.pending = append(r.pending, o)
	if !r.closesAt.IsZero() && !r.f.o.Now().Before(r.closesAt) {
		r.endLocked(errClosed)
	}
	if len(r.pending) >= flushCount || time.Since(r.written) >= flushAfter {
		if err := r.flushLocked(context.WithoutCancel(ctx)); err != nil {
			r.endLocked(err)
		}
	}
}

func firstText(before, text string) string {
	if before != "" {
		return before
	}
	return text
}

// flush writes down what is not written yet.
func (r *record) flush(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.flushLocked(ctx)
}

func (r *record) flushLocked(ctx context.Context) error {
	if len(r.pending) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, endPatience)
	defer cancel()
	// An instance that was tried twice has the later outcome.
	last := make(map[string]outcome, len(r.pending))
	for _, o := range r.pending {
		last[o.sop] = o
	}
	var sops []string
	var versions []int
	var failures []*string
	for _, o := range last {
		sops, versions, failures = append(sops, o.sop), append(versions, o.version), append(failures, o.failure)
	}
	err := pgx.BeginFunc(ctx, r.f.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `
			INSERT INTO forward_instance (item_row, sop_uid, version, failure)
			SELECT $1, o.sop, o.version, left(o.failure, 500) FROM unnest($2::text[], $3::int[], $4::text[]) AS o(sop, version, failure)
			ON CONFLICT (item_row, sop_uid) DO UPDATE SET version = EXCLUDED.version, failure = EXCLUDED.failure`,
			r.c.id, sops, versions, failures); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE forward_item SET sent = $3, failed = $4 WHERE id = $1 AND claims = $2`, r.c.id, r.c.claims, r.before+r.sent, r.failed)
		return err
	})
	if err == nil {
		r.pending, r.written = nil, time.Now()
	}
	return err
}
