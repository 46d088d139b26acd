package ups

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/worklist"
)

// Listen hands the events of a subscriber to send, in order, each as soon as it
// has happened, until ctx ends, send fails, or the subscriber opens another
// channel, here or on another node: the newest one gets them. What send has taken
// is forgotten; what nobody takes waits for keptEvents.
func (s *Steps) Listen(ctx context.Context, by Caller, who Subscriber, send func(Event) error) error {
	title, err := access.CheckAETitle(who.AETitle)
	if err != nil {
		return err
	}
	var facilities []int64
	if !by.Scope.All {
		facilities = append([]int64{}, by.Scope.FacilityIDs...)
	}
	if full, err := tooMany(ctx, s.pool, title, who.Owner); err != nil {
		return worklist.Failure(err)
	} else if full {
		return pacs.Errorf(pacs.TooLarge, tooManyText, maxOwned)
	}
	mine := uuid.New()
	var id int64
	if err := s.pool.QueryRow(ctx, `INSERT INTO ups_subscriber (ae_title, owner, facility_rows, claimed_by, claimed_until) VALUES ($1, $2, $3, $4, clock_timestamp() + $5::interval)
		ON CONFLICT (ae_title, owner) DO UPDATE SET facility_rows = EXCLUDED.facility_rows, claimed_by = EXCLUDED.claimed_by, claimed_until = EXCLUDED.claimed_until
		RETURNING id`, title, who.Owner, facilities, mine, lease).Scan(&id); err != nil {
		return worklist.Failure(err)
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = pgx.BeginFunc(end, s.pool, func(tx pgx.Tx) error {
			_, err := tx.Exec(end, `UPDATE ups_subscriber SET claimed_by = NULL, claimed_until = '-infinity' WHERE id = $1 AND claimed_by = $2`, id, mine)
			return err
		})
	}()
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		woken := s.wake.wait()
		if err := s.renew(ctx, id, mine); err != nil {
			return worklist.Failure(err)
		}
		list, err := s.waiting(ctx, id, batch)
		if err != nil {
			return worklist.Failure(err)
		}
		for _, e := range list {
			if err := send(e); err != nil {
				return err
			}
			if err := s.told(ctx, e); err != nil {
				return worklist.Failure(err)
			}
		}
		if len(list) == batch {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-woken:
		case <-ticker.C:
		}
	}
}
