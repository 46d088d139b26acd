package orders

import (
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
)

// Moves says which states a person may bring an order to, from each. Machines
// report what they do whatever the state (progress.go).
var Moves = map[State][]State{
	Scheduled:    {Arrived, Cancelled, Completed},
	Arrived:      {Scheduled, Cancelled, Completed},
	InProgress:   {Completed, Discontinued},
	Completed:    {},
	Discontinued: {Scheduled},
	Cancelled:    {Scheduled},
}

// needsReason are the moves that say why.
var needsReason = []State{Cancelled, Discontinued}

const maxWhy = 500

// Move brings an order to another state: arrived when the patient is there,
// cancelled or discontinued with a reason, completed when no machine will say
// so, scheduled again. All steps that have not ended go along. by needs
// OrderWrite.
//
//	Invalid   no such state, or no reason where one is needed
//	NotFound  no such order in by's sight
//	Conflict  with reason "stale_revision", or "order_state" when the order's
//	          state doesn't allow it
func (o *Orders) Move(ctx context.Context, by *access.Identity, id string, revision int, to State, why string) (Order, error) {
	if err := must(by, access.OrderWrite); err != nil {
		return Order{}, err
	}
	why = strings.TrimSpace(why)
	switch {
	case !slices.Contains(States, to):
		return Order{}, pacs.Errorf(pacs.Invalid, "There is no state %q", string(to))
	case slices.Contains(needsReason, to) && why == "":
		return Order{}, pacs.Errorf(pacs.Invalid, "Say why")
	case utf8.RuneCountInString(why) > maxWhy || !utf8.ValidString(why) || strings.ContainsRune(why, 0):
		return Order{}, pacs.Errorf(pacs.Invalid, "The reason has at most %d characters", maxWhy)
	}
	err := o.inTx(ctx, func(tx pgx.Tx) error {
		was, err := locked(ctx, tx, by.Scope, id)
		if err != nil {
			return err
		}
		if was.Revision != revision {
			return stale()
		}
		if !slices.Contains(Moves[was.State], to) {
			return pacs.Errorf(pacs.Conflict, "The order is %s; it can't become %s", was.State, to).WithReason("order_state", "")
		}
		from := []State{Scheduled, Arrived, InProgress}
		if was.State == Cancelled || was.State == Discontinued {
			from = []State{Cancelled, Discontinued} // what was completed stays so
		}
		if _, err := tx.Exec(ctx, `UPDATE order_step SET state = $2 WHERE order_id = $1 AND state = ANY($3)`, id, to, from); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE imaging_order SET state = $2, revision = revision + 1, updated_at = now() WHERE id = $1`, id, to); err != nil {
			return err
		}
		if err := record(ctx, tx, id, was.Facility.ID, by.Who(), string(to), why); err != nil {
			return err
		}
		return access.Audit(ctx, tx, by.Event("order."+string(to), Object(id), was.Facility.ID).Because(why))
	})
	if err != nil {
		return Order{}, err
	}
	return o.Get(ctx, by.Scope, id)
}
