package worklist

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/events"
)

// unroutedDeadline is what a study gets that no rule wants.
const unroutedDeadline = 24 * time.Hour

// Complete makes the reading task of a study that has just become complete, in
// the transaction that completes it. A study that has a task keeps it: late
// images don't undo anyone's work.
func (w *Worklist) Complete(ctx context.Context, tx pgx.Tx, study pacs.Study) error {
	now := time.Now()
	request, err := w.asked(ctx, tx, study)
	if err != nil {
		return err
	}
	rule, err := w.route(ctx, tx, study, request, now)
	if err != nil {
		return err
	}
	rule = request.raise(rule)
	var id string
	err = tx.QueryRow(ctx, `
		INSERT INTO reading_task (study_row, facility_row, priority, deadline, group_row, rule_row, rule_name)
		VALUES ($1, $2, $3, $4, nullif($5, 0), nullif($6, 0), $7)
		ON CONFLICT (study_row) DO UPDATE SET study_row = EXCLUDED.study_row RETURNING id::text`,
		study.ID, study.Facility.ID, rule.Priority, now.Add(rule.Deadline), rule.GroupID, rule.ID, rule.Name).Scan(&id)
	if err != nil {
		return err
	}
	return w.moved(ctx, tx, id, study.StudyInstanceUID, study.Facility.ID)
}

// route finds the first rule whose condition holds.
func (w *Worklist) route(ctx context.Context, tx pgx.Tx, study pacs.Study, request Request, now time.Time) (Rule, error) {
	all, err := rules(ctx, tx)
	if err != nil {
		return Rule{}, err
	}
	for _, r := range all {
		if !r.Active {
			continue
		}
		c, err := conditions.Compile(r.Condition)
		var held bool
		if err == nil {
			held, err = c.Holds(subject{study, request, now})
		}
		if err != nil {
			// A rule that fails on one study must not stop the others. The
			// error may quote what the study says of the patient.
			slog.WarnContext(ctx, "a routing rule failed and was passed over", "rule", r.ID, "study", study.StudyInstanceUID)
			slog.DebugContext(ctx, "why a routing rule failed", "rule", r.ID, "error", err)
			continue
		}
		if held {
			return r, nil
		}
	}
	return Rule{Priority: Routine, Deadline: unroutedDeadline}, nil
}

// moved tells of a task that is new or that changed hands.
func (w *Worklist) moved(ctx context.Context, tx pgx.Tx, task, studyUID string, facility int64) error {
	if w.Moved != nil {
		if err := w.Moved(ctx, tx, task); err != nil {
			return err
		}
	}
	return events.Notify(ctx, tx, events.Event{
		Type:     events.Task,
		Data:     map[string]string{"id": task, "study_uid": studyUID},
		Facility: facility,
	})
}
