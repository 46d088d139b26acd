package ups

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// How long things are kept.
const (
	// keptEnded is how long a step can be asked for after it has ended; one with
	// a deletion lock for keptLocked, whatever became of who locked it.
	keptEnded  = 30 * 24 * time.Hour
	keptLocked = 180 * 24 * time.Hour
	// keptEvents is how long an event waits for its subscriber.
	keptEvents = 72 * time.Hour
	tidyEvery  = time.Hour
)

// tidyUp gives tasks from before their steps, and forgets what is old, until ctx
// ends.
func (s *Steps) tidyUp(ctx context.Context) {
	ticker := time.NewTicker(tidyEvery)
	defer ticker.Stop()
	for {
		err := s.catchUp(ctx)
		if err == nil {
			err = s.forget(ctx)
		}
		if err != nil && ctx.Err() == nil {
			s.log.Error("unified procedure steps could not be tidied up", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// catchUp makes the steps of tasks that have none: those of before an update, or
// that a command made while the server was off.
func (s *Steps) catchUp(ctx context.Context) error {
	for {
		rows, err := s.pool.Query(ctx, `SELECT t.id::text FROM reading_task t WHERE t.state IN ('open', 'claimed')
			AND NOT EXISTS (SELECT FROM ups u WHERE u.task_id = t.id AND u.state IN ('SCHEDULED', 'IN PROGRESS')) LIMIT 100`)
		if err != nil {
			return err
		}
		list, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil || len(list) == 0 {
			return err
		}
		for _, id := range list {
			if err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
				if _, err := taskOf(ctx, tx, id); err != nil {
					return err
				}
				return s.moved(ctx, tx, id)
			}); err != nil {
				return err
			}
		}
	}
}

// forget deletes what has been kept long enough.
func (s *Steps) forget(ctx context.Context) error {
	for _, old := range []struct {
		sql  string
		args []any
	}{
		{`DELETE FROM ups_event WHERE happened_at < now() - $1::interval`, []any{keptEvents}},
		{`DELETE FROM ups u WHERE u.ended_at < now() - $1::interval
			AND (u.ended_at < now() - $2::interval OR NOT EXISTS (SELECT FROM ups_subscription x WHERE x.ups_row = u.id AND x.lock))`, []any{keptEnded, keptLocked}},
		// A device that was removed, or a channel that was closed and is subscribed to nothing.
		{`DELETE FROM ups_subscriber s WHERE s.owner = '' AND NOT EXISTS (SELECT FROM device d WHERE d.ae_title = s.ae_title)`, nil},
		{`DELETE FROM ups_subscriber s WHERE s.owner <> '' AND NOT s.every AND s.claimed_until < clock_timestamp()
			AND NOT EXISTS (SELECT FROM ups_subscription x WHERE x.subscriber_row = s.id) AND NOT EXISTS (SELECT FROM ups_event e WHERE e.subscriber_row = s.id)`, nil},
	} {
		if _, err := s.pool.Exec(ctx, old.sql, old.args...); err != nil {
			return err
		}
	}
	return nil
}
