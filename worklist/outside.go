package worklist

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// A task can be held by a performer that is no person of this archive: a device
// or a program that claims it as a unified procedure step (worklist/ups). It is
// named as in the audit trail: "ae:TITLE", "token:NAME". Reading groups are of
// people; that it may take work at all was settled when it was let in.

// performerName is how a performer is shown.
func performerName(performer string) string {
	if _, name, ok := strings.Cut(performer, ":"); ok {
		return name
	}
	return performer
}

// HoldOutside gives a task, whose row is locked, to a performer.
//
//	Conflict    claimed_by_other (Who has the name), already_signed
func (w *Worklist) HoldOutside(ctx context.Context, tx pgx.Tx, task Task, performer string) error {
	switch task.State {
	case Signed:
		return alreadySigned()
	case Claimed:
		return heldByOther(task)
	}
	if _, err := tx.Exec(ctx, `UPDATE reading_task SET state = 'claimed', claimed_by = NULL, performer = $2, claimed_at = clock_timestamp() WHERE id = $1`, task.ID, performer); err != nil {
		return Failure(err)
	}
	return Failure(w.notify(ctx, tx, task))
}

// LetGo ends what is done with a task, whose row is locked: it is Signed, which
// means that it was read outside; Cancelled; or Open again for others.
func (w *Worklist) LetGo(ctx context.Context, tx pgx.Tx, task Task, to State) error {
	set := map[State]string{
		Signed:    `signed_at = coalesce(signed_at, clock_timestamp())`,
		Cancelled: `claimed_by = NULL, performer = '', claimed_at = NULL`,
		Open:      `claimed_by = NULL, performer = '', claimed_at = NULL`,
	}[to]
	if set == "" {
		return pacs.Errorf(pacs.Internal, "a task is not let go as %q", to)
	}
	if _, err := tx.Exec(ctx, `UPDATE reading_task SET state = $2, `+set+` WHERE id = $1`, task.ID, to); err != nil {
		return Failure(err)
	}
	return Failure(w.notify(ctx, tx, task))
}

// Ask raises the priority of a task and brings its deadline forward, where what
// is asked is more urgent than what it has.
func (w *Worklist) Ask(ctx context.Context, tx pgx.Tx, task Task, priority Priority) error {
	if rank(priority) >= rank(task.Priority) {
		return nil
	}
	_, err := tx.Exec(ctx, `UPDATE reading_task SET priority = $2, deadline = least(deadline, clock_timestamp() + $3::interval) WHERE id = $1`,
		task.ID, priority, orderDeadlines[priority])
	return Failure(err)
}
