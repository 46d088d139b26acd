package forward

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// What a node has claimed it keeps for lease, and claims again while it lives: one
// that was killed keeps nobody waiting.
const lease = 20 * time.Second

// claimed is an item that this node is at.
type claimed struct {
	id       int64
	claims   int64 // which claim it is
	asked    int
	attempts int
	giveUpAt *time.Time
	studyUID string
	series   string
	rule     Rule // with the target; without a rule, what an item without one goes by
}

// claimLock has nodes take turns in claiming, so that they keep to what a target
// allows at a time.
const claimLock = 0x7461737677 // "tasvw"

// claimItem looks for the first item of each target, rule that is not paused (0
// for items without one) and priority, by the index forward_item_next.
const claimItem = `
	WITH due AS (
		SELECT i.id FROM forward_target t LEFT JOIN device d ON d.ae_title = t.ae_title
		CROSS JOIN LATERAL (
			SELECT i.id, i.priority, i.next_attempt_at
			FROM (SELECT 0::bigint AS id UNION ALL SELECT id FROM forward_rule WHERE NOT paused) r
			CROSS JOIN generate_series(1, $3) p
			CROSS JOIN LATERAL (
				SELECT i.id, i.priority, i.next_attempt_at FROM forward_item i
				WHERE i.target_row = t.id AND coalesce(i.rule_row, 0) = r.id AND i.priority = p
					AND i.state IN ('waiting', 'scheduled', 'sending') AND i.next_attempt_at <= $1 AND i.claimed_until < clock_timestamp()
				ORDER BY i.next_attempt_at, i.id LIMIT 1) i
			ORDER BY i.priority, i.next_attempt_at, i.id LIMIT 1) i
		WHERE NOT t.paused AND t.resting_until <= $1
			AND (SELECT count(*) FROM forward_item b WHERE b.target_row = t.id AND b.claimed_until > '-infinity' AND b.claimed_until > clock_timestamp())
				< CASE WHEN t.failures > 0 THEN 1 ELSE coalesce(nullif(d.max_associations_to, 0), t.parallel) END
		ORDER BY i.priority, i.next_attempt_at, i.id LIMIT 1)
	UPDATE forward_item i SET claimed_until = clock_timestamp() + $2::interval, claims = claims + 1, state = 'sending'
	FROM due WHERE i.id = due.id
	RETURNING i.id, i.claims, i.asked, i.attempts, i.give_up_at, i.study_uid, i.series_uid, i.rule_row, i.target_row`

// claim takes the first item that can be sent now, of the targets that are neither
// paused nor resting and have room; ok is false when there is none. A target that
// could not be reached is asked with one item at a time until it answers.
func (f *Forwarding) claim(ctx context.Context) (c claimed, ok bool, err error) {
	var rule *int64
	var target int64
	err = pgx.BeginFunc(ctx, f.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(claimLock)); err != nil {
			return err
		}
		return tx.QueryRow(ctx, claimItem, f.o.Now(), lease, len(priorities)).
			Scan(&c.id, &c.claims, &c.asked, &c.attempts, &c.giveUpAt, &c.studyUID, &c.series, &rule, &target)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return c, false, nil
	}
	if err != nil {
		return c, false, err
	}
	if rule != nil {
		if c.rule, err = ruleByID(ctx, f.pool, *rule); err != nil {
			return c, false, err
		}
	} else {
		c.rule.Retries = orphanRetries
	}
	// The rule may send elsewhere by now.
	c.rule.Target, err = targetByID(ctx, f.pool, target)
	return c, err == nil, err
}

// orphanRetries is for how long an item is tried whose rule was removed, and that
// was replayed.
const orphanRetries = 72 * time.Hour

// errTakenAway ends an attempt whose item is paused, cancelled, or another node's.
var errTakenAway = errors.New("the item is not ours any more")

// renew keeps a claim until ctx is done, and calls lost when it is not ours any
// more: somebody has paused or cancelled the item.
func (f *Forwarding) renew(ctx context.Context, c claimed, lost func()) {
	ticker := time.NewTicker(lease / 20)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			tag, err := f.pool.Exec(ctx, `UPDATE forward_item SET claimed_until = clock_timestamp() + $3::interval
				WHERE id = $1 AND claims = $2 AND state = 'sending'
					AND NOT EXISTS (SELECT FROM forward_rule r WHERE r.id = rule_row AND r.paused)
					AND NOT EXISTS (SELECT FROM forward_target t WHERE t.id = target_row AND t.paused)`, c.id, c.claims, lease)
			if err == nil && tag.RowsAffected() == 0 {
				lost()
				return
			}
		}
	}
}
