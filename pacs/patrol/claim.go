package patrol

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs/index"
)

const (
	// fillEvery is how often new packs are added to the walk, tidyEvery how
	// often those that are gone are taken out of it: that reads all of them.
	fillEvery = time.Minute
	tidyEvery = time.Hour
	// settling is how long after it was written a pack is first read: most are
	// merged into others before.
	settling = 24 * time.Hour
	// lease is how long a pack is a node's: more than reading the largest at
	// the slowest pace takes. A node that was killed keeps it so long.
	lease = 2 * time.Hour
)

// addPacks adds packs to the walk. Numbers are given before transactions end,
// so a pack may become visible behind later ones; nobody is 100,000 behind.
// Packs of synthetic studies name no object.
const addPacks = `
	INSERT INTO patrol_pack (pack_row, due_at)
	SELECT k.id, k.created_at + least($1::interval, $2::interval) FROM pack k
	WHERE k.retired_at IS NULL AND k.key NOT LIKE '` + index.SyntheticPrefix + `%'
		AND k.id > (SELECT coalesce(max(pack_row), 0) - 100000 FROM patrol_pack)
		AND NOT EXISTS (SELECT 1 FROM patrol_pack v WHERE v.pack_row = k.id)
	ON CONFLICT DO NOTHING`

// fill adds new packs to the walk and removes those that are gone, now and
// then.
func (p *Patrol) fill(ctx context.Context) error {
	p.mu.Lock()
	due, tidy := time.Since(p.filledAt) >= fillEvery, time.Since(p.tidiedAt) >= tidyEvery
	p.mu.Unlock()
	if tidy {
		return p.fillAll(ctx)
	}
	if !due {
		return nil
	}
	if _, err := p.pool.Exec(ctx, addPacks, settling, p.o.Interval); err != nil {
		return failure(err)
	}
	p.mu.Lock()
	p.filledAt = time.Now()
	p.mu.Unlock()
	return nil
}

func (p *Patrol) fillAll(ctx context.Context) error {
	if _, err := p.pool.Exec(ctx, addPacks, settling, p.o.Interval); err != nil {
		return failure(err)
	}
	for _, sql := range []string{
		`DELETE FROM patrol_pack v WHERE NOT EXISTS (SELECT 1 FROM pack k WHERE k.id = v.pack_row AND k.retired_at IS NULL)`,
		`UPDATE patrol_problem q SET state = 'gone', checked_at = clock_timestamp()
			WHERE state = 'open' AND kind NOT IN ('orphan', 'not_indexed')
			AND NOT EXISTS (SELECT 1 FROM pack k WHERE k.key = q.key AND k.retired_at IS NULL)`,
	} {
		if _, err := p.pool.Exec(ctx, sql); err != nil {
			return failure(err)
		}
	}
	p.mu.Lock()
	p.filledAt, p.tidiedAt = time.Now(), time.Now()
	p.mu.Unlock()
	return nil
}

// claim takes the pack that was due first, 0 when none is due. While a pass is
// asked for every pack is due that it has not reached.
func (p *Patrol) claim(ctx context.Context) (id int64, err error) {
	err = p.pool.QueryRow(ctx, `
		WITH pass AS (SELECT max(started_at) AS began FROM patrol_pass WHERE finished_at IS NULL)
		UPDATE patrol_pack SET claimed_until = clock_timestamp() + $1::interval WHERE pack_row = (
			SELECT v.pack_row FROM patrol_pack v, pass
			WHERE v.claimed_until < clock_timestamp()
				AND (v.due_at < clock_timestamp() OR pass.began IS NOT NULL AND (v.verified_at IS NULL OR v.verified_at < pass.began))
			ORDER BY v.due_at LIMIT 1 FOR UPDATE OF v SKIP LOCKED)
		RETURNING pack_row`, lease).Scan(&id)
	if !errors.Is(err, pgx.ErrNoRows) {
		return id, failure(err)
	}
	return 0, p.endPass(ctx)
}

// endPass ends a pass that has reached every pack.
func (p *Patrol) endPass(ctx context.Context) error {
	tag, err := p.pool.Exec(ctx, `
		UPDATE patrol_pass SET finished_at = clock_timestamp() WHERE finished_at IS NULL
			AND NOT EXISTS (SELECT 1 FROM patrol_pack v WHERE v.verified_at IS NULL OR v.verified_at < started_at)`)
	if err == nil && tag.RowsAffected() > 0 {
		p.o.Log.Info("a pass through all packs has ended")
	}
	return failure(err)
}

// release gives a pack back that could not be read.
func (p *Patrol) release(ctx context.Context, id int64) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_, err := p.pool.Exec(ctx, `UPDATE patrol_pack SET claimed_until = '-infinity' WHERE pack_row = $1`, id)
	return failure(err)
}

// retryEvery is how soon a pack with a problem is read again: there may be a
// copy by then.
const retryEvery = 24 * time.Hour

// verified notes that a pack was read.
func (p *Patrol) verified(ctx context.Context, id int64, sound bool) error {
	next := p.o.Interval
	if !sound {
		next = min(next, retryEvery)
	}
	_, err := p.pool.Exec(ctx, `
		INSERT INTO patrol_pack (pack_row, due_at, verified_at, sound) VALUES ($1, clock_timestamp() + $2::interval, clock_timestamp(), $3)
		ON CONFLICT (pack_row) DO UPDATE SET due_at = EXCLUDED.due_at, verified_at = EXCLUDED.verified_at, sound = EXCLUDED.sound, claimed_until = '-infinity'`,
		id, next, sound)
	return failure(err)
}
