package worklist

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// mayClaim limits to tasks whose group has the person ($2) as a member, or
// that have no group.
const mayClaim = `(t.group_row IS NULL OR EXISTS (
	SELECT 1 FROM reading_group_member m WHERE m.group_row = t.group_row AND m.user_row = $2))`

// Claim gives an open task to a radiologist. Claiming what one holds already
// is a success.
//
//	NotFound    no such task in scope
//	Forbidden   the person is not in the task's reading group
//	Conflict    claimed_by_other (Who has the name), already_signed
func (w *Worklist) Claim(ctx context.Context, scope pacs.Scope, id string, userID int64) (Task, error) {
	task, err := w.Task(ctx, scope, id)
	if err != nil {
		return Task{}, err
	}
	err = pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			UPDATE reading_task t SET state = 'claimed', claimed_by = $2, claimed_at = clock_timestamp()
			WHERE t.id = $1 AND t.state = 'open' AND `+mayClaim, task.ID, userID)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		return w.notify(ctx, tx, task)
	})
	if err != nil {
		return Task{}, Failure(err)
	}
	if task, err = w.Task(ctx, scope, id); err != nil {
		return Task{}, err
	}
	switch {
	case task.State == Claimed && task.ClaimedBy == userID:
		return task, nil
	case task.State == Claimed:
		return task, heldByOther(task)
	case task.State == Signed:
		return task, alreadySigned()
	}
	return task, pacs.Errorf(pacs.Forbidden, "The study is read by the group %s, which you are not a member of", task.GroupName)
}

// ClaimNext claims the most urgent open task of the person's reading groups.
// NotFound when there is none.
func (w *Worklist) ClaimNext(ctx context.Context, scope pacs.Scope, userID int64) (Task, error) {
	var id string
	err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		c := where{args: []any{nil, userID}}
		c.scope(scope)
		c.args[0] = Open
		// SKIP LOCKED: two who ask at once get two different tasks.
		err := tx.QueryRow(ctx, `
			UPDATE reading_task SET state = 'claimed', claimed_by = $2, claimed_at = clock_timestamp()
			WHERE id = (
				SELECT t.id FROM reading_task t
				WHERE t.state = $1 AND t.group_row IS NOT NULL AND `+mayClaim+` AND `+c.String()+`
				ORDER BY t.rank, t.deadline, t.id LIMIT 1 FOR UPDATE SKIP LOCKED)
			RETURNING id::text`, c.args...).Scan(&id)
		if errors.Is(err, pgx.ErrNoRows) {
			return pacs.Errorf(pacs.NotFound, "Nothing waits for you at the moment")
		}
		if err != nil {
			return err
		}
		return nil
	})
	if err != nil {
		return Task{}, Failure(err)
	}
	task, err := w.Task(ctx, scope, id)
	if err == nil {
		err = Failure(pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error { return w.notify(ctx, tx, task) }))
	}
	return task, err
}

// Release gives a claimed task back. A draft stays with it.
//
//	Conflict    claimed_by_other, already_signed; releasing an open task is a success
func (w *Worklist) Release(ctx context.Context, scope pacs.Scope, id string, userID int64) (Task, error) {
	task, err := w.Task(ctx, scope, id)
	if err != nil {
		return Task{}, err
	}
	switch {
	case task.State == Signed:
		return task, alreadySigned()
	case task.State == Claimed && task.ClaimedBy != userID:
		return task, heldByOther(task)
	}
	err = pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			UPDATE reading_task SET state = 'open', claimed_by = NULL, claimed_at = NULL
			WHERE id = $1 AND state = 'claimed' AND claimed_by = $2`, task.ID, userID)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		return w.notify(ctx, tx, task)
	})
	if err != nil {
		return Task{}, Failure(err)
	}
	return w.Task(ctx, scope, id)
}

// Lock locks a task's row in tx and returns its state and holder, for the
// report's operations.
func Lock(ctx context.Context, tx pgx.Tx, id string) (state State, claimedBy int64, err error) {
	err = tx.QueryRow(ctx, `SELECT state, coalesce(claimed_by, 0) FROM reading_task WHERE id::text = $1 FOR UPDATE`, id).Scan(&state, &claimedBy)
	return state, claimedBy, Failure(err)
}

// MarkSigned records in tx that a task's report has been signed.
func (w *Worklist) MarkSigned(ctx context.Context, tx pgx.Tx, task Task, userID int64) error {
	_, err := tx.Exec(ctx, `
		UPDATE reading_task SET state = 'signed', signed_by = $2, signed_at = coalesce(signed_at, clock_timestamp())
		WHERE id = $1`, task.ID, userID)
	if err != nil {
		return Failure(err)
	}
	return w.notify(ctx, tx, task)
}

func (w *Worklist) notify(ctx context.Context, tx pgx.Tx, task Task) error {
	var uid string
	if err := tx.QueryRow(ctx, `SELECT study_uid FROM study WHERE id = $1`, task.StudyID).Scan(&uid); err != nil {
		return err
	}
	return notifyTask(ctx, tx, task.ID, uid, task.FacilityID)
}

func heldByOther(task Task) error {
	err := pacs.Errorf(pacs.Conflict, "%s is reading this study", task.ClaimedByName)
	err.Reason, err.Who = "claimed_by_other", task.ClaimedByName
	return err
}

func alreadySigned() error {
	err := pacs.Errorf(pacs.Conflict, "The report is signed. To change it, write a correction or an addendum")
	err.Reason = "already_signed"
	return err
}
