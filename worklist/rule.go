package worklist

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

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
	Condition string // CEL over study.* and order.*, see condition; empty: always
	GroupID   int64
	Priority  Priority
	Deadline  time.Duration // from the study's completion
	Active    bool
}

// condition is a compiled rule condition.
type condition struct{ program cel.Program }

// conditionFields are what a condition may use. Each is declared with its type,
// so that a misspelt field or a comparison that can never hold is refused when
// the rule is saved and not found out when a study is not where it should be.
var conditionFields = []struct {
	name string
	kind *cel.Type
	of   func(s pacs.Study, r Request, age int64) any
}{
	{"study.modalities", cel.ListType(cel.StringType), func(s pacs.Study, _ Request, _ int64) any { return s.Modalities }},
	{"study.description", cel.StringType, func(s pacs.Study, _ Request, _ int64) any { return s.Description }},
	{"study.question", cel.StringType, func(s pacs.Study, _ Request, _ int64) any { return s.Question }},
	{"study.body_part", cel.StringType, func(s pacs.Study, _ Request, _ int64) any { return strings.Join(s.BodyParts, ",") }},
	{"study.facility", cel.StringType, func(s pacs.Study, _ Request, _ int64) any { return s.Facility.Code }},
	{"study.sex", cel.StringType, func(s pacs.Study, _ Request, _ int64) any { return s.Patient.Sex }},
	{"study.patient_age", cel.IntType, func(_ pacs.Study, _ Request, age int64) any { return age }}, // whole years, -1 when unknown
	{"study.instances", cel.IntType, func(s pacs.Study, _ Request, _ int64) any { return int64(s.InstanceCount) }},
	// Of the order; all empty for a study without one.
	{"order.priority", cel.StringType, func(_ pacs.Study, r Request, _ int64) any { return string(r.Priority) }},
	{"order.question", cel.StringType, func(_ pacs.Study, r Request, _ int64) any { return r.Text() }},
	{"order.department", cel.StringType, func(_ pacs.Study, r Request, _ int64) any { return r.Department }},
}

var conditionEnv, conditionEnvErr = func() (*cel.Env, error) {
	var declared []cel.EnvOption
	for _, field := range conditionFields {
		declared = append(declared, cel.Variable(field.name, field.kind))
	}
	return cel.NewEnv(declared...)
}()

// Bounds of a condition, so that a rule can't stall the routing of everything
// else.
const (
	conditionCost   = 100_000 // CEL's units of work, some milliseconds
	conditionLength = 2_000   // characters
	maxCompiled     = 1_000
)

// variables are what a condition sees of a study.
func variables(s pacs.Study, r Request, now time.Time) map[string]any {
	age := int64(-1)
	if years, ok := AgeAt(s.Patient.BirthDate, s.Date, now); ok {
		age = int64(years)
	}
	values := make(map[string]any, len(conditionFields))
	for _, field := range conditionFields {
		values[field.name] = field.of(s, r, age)
	}
	return values
}

func compile(source string) (*condition, error) {
	if strings.TrimSpace(source) == "" {
		return &condition{}, nil
	}
	refuse := func(detail error) error {
		return pacs.Errorf(pacs.Invalid, "The condition can't be used: %s", detail).WithReason("rule_condition", "")
	}
	if conditionEnvErr != nil {
		return nil, conditionEnvErr
	}
	if utf8.RuneCountInString(source) > conditionLength {
		return nil, refuse(fmt.Errorf("it is longer than %d characters", conditionLength))
	}
	ast, issues := conditionEnv.Compile(source)
	if issues.Err() != nil {
		return nil, refuse(issues.Err())
	}
	if kind := ast.OutputType(); kind != cel.BoolType {
		return nil, refuse(fmt.Errorf("it gives %s, not true or false", kind))
	}
	program, err := conditionEnv.Program(ast, cel.CostLimit(conditionCost))
	if err != nil {
		return nil, refuse(err)
	}
	c := &condition{program}
	// What costs too much, or fails on an ordinary study, only shows when the
	// condition runs.
	if _, err := c.holds(trialStudy, trialRequest, time.Now()); err != nil {
		return nil, refuse(err)
	}
	return c, nil
}

// trialStudy is what a new condition is tried on.
var trialStudy = pacs.Study{
	Modalities: []string{"CT", "SR"}, Description: "CT head", Question: "Stroke?", BodyParts: []string{"HEAD"},
	Facility: pacs.Facility{Code: "URGUT"}, Patient: pacs.Patient{Sex: "F", BirthDate: "19890317"}, Date: "20261121", InstanceCount: 300,
}

var trialRequest = Request{Priority: Urgent, Reason: "Headache", Question: "Bleeding?", Department: "Neurology"}

func (c *condition) holds(s pacs.Study, r Request, now time.Time) (bool, error) {
	if c.program == nil {
		return true, nil
	}
	value, _, err := c.program.Eval(variables(s, r, now))
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
		if len(w.compiled) >= maxCompiled {
			clear(w.compiled) // of rules long changed
		}
		w.compiled[source] = c
	}
	return c, err
}

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

// AgeAt is a person's age in whole years on the day of the study (now when the
// study has no date). Dates are DICOM dates; false when the birth date is none,
// or later than the study.
func AgeAt(birthDate, studyDate string, now time.Time) (int, bool) {
	born, ok := dateNumber(birthDate)
	if !ok {
		return 0, false
	}
	day, ok := dateNumber(studyDate)
	if !ok {
		day, _ = dateNumber(now.Format(dicomDate))
	}
	if day < born {
		return 0, false
	}
	// As numbers, YYYYMMDD dates differ by 10000 for each birthday passed.
	return (day - born) / 10000, true
}

const dicomDate = "20060102"

func dateNumber(date string) (int, bool) {
	if _, err := time.Parse(dicomDate, date); err != nil {
		return 0, false
	}
	n, err := strconv.Atoi(date)
	return n, err == nil
}
