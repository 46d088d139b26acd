package forward

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Claiming reads a few pages of the queue, however many items of a paused rule
// stand before what is due, and however many wait for the night.
func TestClaimingPassesOverWhatWaits(t *testing.T) {
	ctx := t.Context()
	a := newArchive(t, func(o *Options) { o.AtOnce = 1 })
	a.device("WS", "127.0.0.1:9")
	rules := []Rule{a.rule("WS", func(r *Rule) { r.Priority = High }), a.rule("WS"), a.rule("WS")}
	if _, err := a.PauseRule(ctx, a.admin, rules[0].ID, true); err != nil {
		t.Fatal(err)
	}
	// In a transaction, so that nobody works on them.
	tx, err := a.pool.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	const many = 30_000
	fill := func(rule Rule, priority, n int, at time.Time) {
		t.Helper()
		if _, err := tx.Exec(ctx, `INSERT INTO forward_item (rule_row, target_row, study_row, study_uid, facility_row, occasion, state, priority, queued_at, next_attempt_at)
			SELECT $1, (SELECT id FROM forward_target), n, '1.2.' || n, (SELECT min(id) FROM facility), 'complete', 'waiting', $2, $3, $3 FROM generate_series(1, $4::int) n`,
			rule.ID, priority, at, n); err != nil {
			t.Fatal(err)
		}
	}
	now := a.clock.Now()
	fill(rules[0], 1, many, now.Add(-2*time.Hour)) // paused, and first
	fill(rules[1], 2, many, now.Add(8*time.Hour))  // tonight
	fill(rules[2], 3, 3, now.Add(-1*time.Hour))    // due
	if _, err := tx.Exec(ctx, `ANALYZE forward_item`); err != nil {
		t.Fatal(err)
	}
	var claimed int64
	var rest [8]any
	for i := range rest {
		rest[i] = new(any)
	}
	sub, err := tx.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := sub.QueryRow(ctx, claimItem, now, lease, len(priorities)).Scan(append([]any{&claimed}, rest[:]...)...); err != nil {
		t.Fatal(err)
	}
	var rule int64
	if err := sub.QueryRow(ctx, `SELECT rule_row FROM forward_item WHERE id = $1`, claimed).Scan(&rule); err != nil || rule != rules[2].ID {
		t.Errorf("an item of rule %d is claimed, %v", rule, err)
	}
	if err := sub.Rollback(ctx); err != nil {
		t.Fatal(err)
	}

	var raw []byte
	if err := tx.QueryRow(ctx, `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) `+claimItem, now, lease, len(priorities)).Scan(&raw); err != nil {
		t.Fatal(err)
	}
	var plans []struct {
		Plan map[string]any
	}
	if err := json.Unmarshal(raw, &plans); err != nil {
		t.Fatal(err)
	}
	read := plans[0].Plan["Shared Hit Blocks"].(float64) + plans[0].Plan["Shared Read Blocks"].(float64)
	t.Logf("%.0f pages", read)
	if read > 300 { // the table has over 600 pages of them
		t.Errorf("claiming reads %.0f pages:\n%s", read, raw)
	}
	if err := tx.Rollback(ctx); err != nil && !errors.Is(err, pgx.ErrTxClosed) {
		t.Fatal(err)
	}
}
