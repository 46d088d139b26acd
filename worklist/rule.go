package worklist

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/condition"
)

// Priority orders the worklist before the deadline does.
type Priority string

const (
	Stat    Priority = "stat"
	Urgent  Priority = "urgent"
	Routine Priority = "routine"
)

// Priorities lists all, most urgent first.
var Priorities = []Priority{Stat, Urgent, Routine}

// Rule sends studies to a reading group. Rules are tried in order of position;
// the first whose condition holds decides.
type Rule struct {
	ID        int64
	Position  int
	Name      string
	Condition string // CEL over study.* and order.*, see conditions; empty: always
	GroupID   int64
	Priority  Priority
	Deadline  time.Duration // from the study's completion
	Active    bool
}

// subject is what a condition is about.
type subject struct {
	study   pacs.Study
	request Request
	now     time.Time
}

// conditions are those of routing rules: over the study and its order, of which
// all is empty for a study without one.
var conditions = condition.NewLanguage(
	subject{condition.TrialStudy, Request{Priority: Urgent, Reason: "Headache", Question: "Bleeding?", Department: "Neurology"}, time.Now()},
	append(condition.StudyVariables(func(s subject) (pacs.Study, time.Time) { return s.study, s.now }),
		condition.Variable[subject]{Name: "order.priority", Type: cel.StringType, Of: func(s subject) any { return string(s.request.Priority) }},
		condition.Variable[subject]{Name: "order.question", Type: cel.StringType, Of: func(s subject) any { return s.request.Text() }},
		condition.Variable[subject]{Name: "order.department", Type: cel.StringType, Of: func(s subject) any { return s.request.Department }},
	))

// Rules returns all rules in the order in which they are tried.
func (w *Worklist) Rules(ctx context.Context) ([]Rule, error) { return rules(ctx, w.pool) }

func rules(ctx context.Context, q Querier) ([]Rule, error) {
	rows, err := q.Query(ctx, `SELECT id, position, name, condition, group_row, priority, deadline_minutes, active FROM routing_rule ORDER BY position, id`)
	if err != nil {
		return nil, Failure(err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Rule, error) {
		var r Rule
		var minutes int
		err := row.Scan(&r.ID, &r.Position, &r.Name, &r.Condition, &r.GroupID, &r.Priority, &minutes, &r.Active)
		r.Deadline = time.Duration(minutes) * time.Minute
		return r, err
	})
	return out, Failure(err)
}

const (
	maxName     = 200
	maxPosition = 1_000_000
)

func (w *Worklist) check(r Rule) error {
	switch {
	case strings.TrimSpace(r.Name) == "":
		return pacs.Errorf(pacs.Invalid, "Give the rule a name")
	case len(r.Name) > maxName:
		return pacs.Errorf(pacs.Invalid, "The rule's name is longer than %d bytes", maxName)
	case r.Position < 0 || r.Position > maxPosition:
		return pacs.Errorf(pacs.Invalid, "The position is a number from 1 to %d", maxPosition)
	case !slices.Contains(Priorities, r.Priority):
		return pacs.Errorf(pacs.Invalid, "The priority is stat, urgent or routine")
	case r.Deadline < time.Minute || r.Deadline > 365*24*time.Hour:
		return pacs.Errorf(pacs.Invalid, "The deadline is between one minute and a year")
	}
	_, err := conditions.Compile(r.Condition)
	return err
}

// AddRule adds a rule. Position 0 puts it last. Invalid with reason
// rule_condition when its condition can't be used.
func (w *Worklist) AddRule(ctx context.Context, r Rule) (Rule, error) {
	if err := w.check(r); err != nil {
		return r, err
	}
	err := w.pool.QueryRow(ctx, `
		INSERT INTO routing_rule (position, name, condition, group_row, priority, deadline_minutes, active)
		VALUES (CASE WHEN $1 > 0 THEN $1 ELSE (SELECT coalesce(max(position), 0) + 10 FROM routing_rule) END, $2, $3, $4, $5, $6, $7)
		RETURNING id, position`,
		r.Position, r.Name, r.Condition, r.GroupID, r.Priority, int(r.Deadline/time.Minute), r.Active).Scan(&r.ID, &r.Position)
	return r, Failure(err)
}

// UpdateRule changes a rule; position 0 leaves it where it is. Tasks that it
// made stay as they are.
func (w *Worklist) UpdateRule(ctx context.Context, r Rule) (Rule, error) {
	if err := w.check(r); err != nil {
		return r, err
	}
	err := w.pool.QueryRow(ctx, `
		UPDATE routing_rule SET position = CASE WHEN $2 > 0 THEN $2 ELSE position END, name = $3, condition = $4, group_row = $5,
			priority = $6, deadline_minutes = $7, active = $8
		WHERE id = $1 RETURNING position`,
		r.ID, r.Position, r.Name, r.Condition, r.GroupID, r.Priority, int(r.Deadline/time.Minute), r.Active).Scan(&r.Position)
	if errors.Is(err, pgx.ErrNoRows) {
		return r, noSuchRule()
	}
	return r, Failure(err)
}

func noSuchRule() error { return pacs.Errorf(pacs.NotFound, "There is no such rule") }

// RemoveRule removes a rule. Tasks that it made stay as they are.
func (w *Worklist) RemoveRule(ctx context.Context, id int64) error {
	tag, err := w.pool.Exec(ctx, `DELETE FROM routing_rule WHERE id = $1`, id)
	return oneRow(tag.RowsAffected(), err, "There is no such rule")
}

func oneRow(n int64, err error, absent string) error {
	if err != nil {
		return Failure(err)
	}
	if n == 0 {
		return pacs.Errorf(pacs.NotFound, "%s", absent)
	}
	return nil
}
