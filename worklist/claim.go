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

// Claim gives an open task to a radiologist, also one that was called off, or
// that an outside performer has read, so that there is no report of it here.
// Claiming what one holds already is a success.
//
//	NotFound    no such task in scope
//	Forbidden   the person is not in the task's reading group
//	Conflict    claimed_by_other (Who has the name), already_signed
func (w *Worklist) Claim(ctx context.Context, scope pacs.Scope, id string, userID int64) (Task, error) {
	return w.change(ctx, scope, id, func(tx pgx.Tx, task Task) error {
		switch {
		case task.State == Signed:
			// What was signed by nobody of this archive was read outside.
			tag, err := tx.Exec(ctx, `UPDATE reading_task SET signed_at = NULL WHERE id = $1 AND signed_by IS NULL`, task.ID)
			if err != nil {
				return err
			}
			if tag.RowsAffected() == 0 {
				return alreadySigned()
			}
		case task.State == Claimed && task.ClaimedBy != userID:
			return heldByOther(task)
		case task.State == Claimed:
			return nil
		}
		return w.HoldFor(ctx, tx, task, userID)
	})
}

// HoldFor gives a task, whose row is locked, to a radiologist. Forbidden when
// they are not in its reading group.
func (w *Worklist) HoldFor(ctx context.Context, tx pgx.Tx, task Task, userID int64) error {
	tag, err := tx.Exec(ctx, `
		UPDATE reading_task t SET state = 'claimed', claimed_by = $2, performer = '', claimed_at = clock_timestamp()
		WHERE t.id = $1 AND `+mayClaim, task.ID, userID)
	if err != nil {
		return err
	}
	if tag.RowsAffected() == 0 {
		return pacs.Errorf(pacs.Forbidden, "The study is read by the group %s, which you are not a member of", task.GroupName)
	}
	return w.notify(ctx, tx, task)
}

// ClaimNext claims the most urgent open task of the person's reading groups.
// NotFound when there is none.
func (w *Worklist) ClaimNext(ctx context.Context, scope pacs.Scope, userID int64) (Task, error) {
	var task Task
	err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		c := where{args: []any{Open, userID}}
		c.scope(scope)
		// SKIP LOCKED: two who ask at once get two different tasks.
		err := tx.QueryRow(ctx, `
			UPDATE reading_task SET state = 'claimed', claimed_by = $2, claimed_at = clock_timestamp()
			WHERE id = (
				SELECT t.id FROM reading_task t
				WHERE t.state = $1 AND t.group_row IS NOT NULL AND `+mayClaim+` AND `+c.String()+`
				ORDER BY t.rank, t.deadline, t.id LIMIT 1 FOR UPDATE SKIP LOCKED)
			RETURNING id::text, study_row, facility_row`, c.args...).Scan(&task.ID, &task.StudyID, &task.FacilityID)
		if errors.Is(err, pgx.ErrNoRows) {
			return pacs.Errorf(pacs.NotFound, "Nothing waits for you at the moment")
		}
		if err != nil {
			return err
		}
		return w.notify(ctx, tx, task)
	})
	if err != nil {
		return Task{}, Failure(err)
	}
	return w.Task(ctx, scope, task.ID)
}

// Release gives a claimed task back. A draft stays with it.
//
//	NotFound    no such task in scope
//	Conflict    claimed_by_other, already_signed; releasing an open task is a success
func (w *Worklist) Release(ctx context.Context, scope pacs.Scope, id string, userID int64) (Task, error) {
	return w.change(ctx, scope, id, func(tx pgx.Tx, task Task) error {
		switch {
		case task.State == Signed:
			return alreadySigned()
		case task.State == Claimed && task.ClaimedBy != userID:
			return heldByOther(task)
		case task.State != Claimed:
			return nil
		}
		if _, err := tx.Exec(ctx, `UPDATE reading_task SET state = 'open', claimed_by = NULL, claimed_at = NULL WHERE id = $1`, task.ID); err != nil {
			return err
		}
		return w.notify(ctx, tx, task)
	})
}

// change runs one operation on a task whose row is locked, and returns the
// task as it is afterwards; with an error, as it was.
func (w *Worklist) change(ctx context.Context, scope pacs.Scope, id string, f func(pgx.Tx, Task) error) (Task, error) {
	task, err := w.Task(ctx, scope, id)
	if err != nil {
		return Task{}, err
	}
	err = pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		if err := Lock(ctx, tx, &task); err != nil {
			return err
		}
		return f(tx, task)
	})
	if err != nil {
		return task, Failure(err)
	}
	return w.Task(ctx, scope, id)
}

// Lock locks a task's row in tx and brings its state and holder up to date, so
// that claims, drafts and signatures of one task take turns.
func Lock(ctx context.Context, tx pgx.Tx, task *Task) error {
	before := task.ClaimedBy
	err := tx.QueryRow(ctx, `SELECT state, coalesce(claimed_by, 0), performer FROM reading_task WHERE id = $1 FOR UPDATE`, task.ID).
		Scan(&task.State, &task.ClaimedBy, &task.Performer)
	switch {
	case err == nil && task.ClaimedBy == 0:
		task.ClaimedByName = performerName(task.Performer)
	case err == nil && task.ClaimedBy != before:
		// Not by a join: a query that has waited for the lock joins the holder
		// it saw before.
		task.ClaimedByName = ""
		err = tx.QueryRow(ctx, `SELECT coalesce((SELECT name FROM user_account WHERE id = $1), '')`, task.ClaimedBy).Scan(&task.ClaimedByName)
	}
	return Failure(err)
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
	return w.moved(ctx, tx, task.ID, uid, task.FacilityID)
}

func heldByOther(task Task) error {
	return pacs.Errorf(pacs.Conflict, "%s is reading this study", task.ClaimedByName).WithReason("claimed_by_other", task.ClaimedByName)
}

func alreadySigned() error {
	return pacs.Errorf(pacs.Conflict, "The report is signed. To change it, write a correction or an addendum").WithReason("already_signed", "")
}
