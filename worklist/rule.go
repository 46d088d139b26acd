package worklist

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
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
	Condition string // CEL over study.*, see condition; empty: always
	GroupID   int64
	Priority  Priority
	Deadline  time.Duration // from the study's completion
	Active    bool
}

// condition is a compiled rule condition.
type condition struct{ program cel.Program }

// A condition may use these fields of study. cost bounds what a condition may
// do, so that a rule can't stall the routing of everything else.
var conditionEnv, conditionEnvErr = cel.NewEnv(
	cel.Variable("study", cel.MapType(cel.StringType, cel.DynType)),
)

const (
	conditionCost   = 100_000
	conditionLength = 2_000
)

// variables are what a condition sees of a study.
func variables(s pacs.Study, now time.Time) map[string]any {
	age := int64(-1)
	if years, ok := AgeAt(s.Patient.BirthDate, s.Date, now); ok {
		age = int64(years)
	}
	return map[string]any{"study": map[string]any{
		"modalities":  s.Modalities,
		"description": s.Description,
		"question":    s.Question,
		"body_part":   strings.Join(s.BodyParts, ","),
		"facility":    s.Facility.Code,
		"sex":         s.Patient.Sex,
		"patient_age": age, // whole years, -1 when unknown
		"instances":   int64(s.InstanceCount),
	}}
}

func compile(source string) (*condition, error) {
	if strings.TrimSpace(source) == "" {
		return &condition{}, nil
	}
	refuse := func(detail error) error {
		err := pacs.Errorf(pacs.Invalid, "The condition can't be used: %s", detail)
		err.Reason = "rule_condition"
		return err
	}
	if conditionEnvErr != nil {
		return nil, conditionEnvErr
	}
	if len(source) > conditionLength {
		return nil, refuse(fmt.Errorf("it is longer than %d characters", conditionLength))
	}
	ast, issues := conditionEnv.Compile(source)
	if issues.Err() != nil {
		return nil, refuse(issues.Err())
	}
	if kind := ast.OutputType(); kind != cel.BoolType && kind != cel.DynType {
		return nil, refuse(fmt.Errorf("it gives %s, not true or false", kind))
	}
	program, err := conditionEnv.Program(ast, cel.CostLimit(conditionCost))
	if err != nil {
		return nil, refuse(err)
	}
	c := &condition{program}
	// A misspelt field only shows when the condition runs.
	if _, err := c.holds(pacs.Study{Modalities: []string{"CT"}}, time.Now()); err != nil {
		return nil, refuse(err)
	}
	return c, nil
}

func (c *condition) holds(s pacs.Study, now time.Time) (bool, error) {
	if c.program == nil {
		return true, nil
	}
	value, _, err := c.program.Eval(variables(s, now))
	if err != nil {
		return false, err
	}
	held, ok := value.Value().(bool)
	if !ok {
		return false, fmt.Errorf("it gives %v, not true or false", value.Type())
	}
	return held, nil
}

// compiledCondition compiles once per source.
func (w *Worklist) compiledCondition(source string) (*condition, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c, ok := w.compiled[source]; ok {
		return c, nil
	}
	c, err := compile(source)
	if err == nil {
		w.compiled[source] = c
	}
	return c, err
}

// Rules returns all rules in the order in which they are tried.
func (w *Worklist) Rules(ctx context.Context) ([]Rule, error) { return rules(ctx, w.pool) }

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func rules(ctx context.Context, q querier) ([]Rule, error) {
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

func (w *Worklist) check(r Rule) error {
	switch {
	case strings.TrimSpace(r.Name) == "":
		return pacs.Errorf(pacs.Invalid, "Give the rule a name")
	case !slices.Contains(Priorities, r.Priority):
		return pacs.Errorf(pacs.Invalid, "The priority is stat, urgent or routine")
	case r.Deadline < time.Minute || r.Deadline > 365*24*time.Hour:
		return pacs.Errorf(pacs.Invalid, "The deadline is between one minute and a year")
	}
	_, err := w.compiledCondition(r.Condition)
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

// UpdateRule changes a rule. Tasks that it made stay as they are.
func (w *Worklist) UpdateRule(ctx context.Context, r Rule) error {
	if err := w.check(r); err != nil {
		return err
	}
	tag, err := w.pool.Exec(ctx, `
		UPDATE routing_rule SET position = CASE WHEN $2 > 0 THEN $2 ELSE position END, name = $3, condition = $4, group_row = $5,
			priority = $6, deadline_minutes = $7, active = $8
		WHERE id = $1`, r.ID, r.Position, r.Name, r.Condition, r.GroupID, r.Priority, int(r.Deadline/time.Minute), r.Active)
	return oneRow(tag.RowsAffected(), err, "There is no such rule")
}

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

// AgeAt is a person's age in whole years on the day of the study (now when the
// study has no date). Dates are DICOM dates.
func AgeAt(birthDate, studyDate string, now time.Time) (int, bool) {
	born, err := strconv.Atoi(birthDate)
	if err != nil || len(birthDate) != 8 {
		return 0, false
	}
	day, err := strconv.Atoi(studyDate)
	if err != nil || len(studyDate) != 8 {
		day, _ = strconv.Atoi(now.Format("20060102"))
	}
	if day < born {
		return 0, false
	}
	// As numbers, YYYYMMDD dates differ by 10000 for each birthday passed.
	return (day - born) / 10000, true
}
