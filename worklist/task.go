package worklist

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// State is where a task is.
type State string

const (
	Open    State = "open"    // waits for a radiologist
	Claimed State = "claimed" // one holds it
	Signed  State = "signed"  // has a signed report, or was read by an outside performer
	// Cancelled is a task that nobody is to do: who asked for it has called it
	// off. A person may still claim it.
	Cancelled State = "cancelled"
)

// Task is the reading of one study.
type Task struct {
	ID            string // UUID
	StudyID       int64
	FacilityID    int64
	State         State
	Priority      Priority
	Deadline      time.Time
	CreatedAt     time.Time
	RuleID        int64 // 0 when no rule made it or the rule is gone
	RuleName      string
	GroupID       int64 // 0 for none
	GroupName     string
	ClaimedBy     int64 // 0 when open, and when Performer holds it; stays after signing
	ClaimedByName string
	Performer     string // who holds it that is no person of this archive, as "ae:READER"; see outside.go
	ClaimedAt     time.Time
	DraftSavedAt  time.Time // zero without a draft
	PriorCount    int
}

// View is a way to look at the worklist.
type View string

const (
	ViewMine   View = "mine"   // claimed by me, not signed
	ViewGroups View = "groups" // open or claimed, in my reading groups
	ViewOpen   View = "open"   // all open or claimed in scope
	ViewDrafts View = "drafts" // I have an unsigned draft
	ViewSigned View = "signed" // signed by me today
	// ViewUnreported is what nobody waits for though there is no report here:
	// called off, or read by an outside performer. Of the last 30 days.
	ViewUnreported View = "unreported"
)

// viewConditions say in SQL what a view shows. $1 is the person, $2 the start
// of the server's day. Each can be answered from an index: the signed tasks of
// all times are not to be read through.
var viewConditions = map[View]string{
	ViewMine:       `t.state = 'claimed' AND t.claimed_by = $1`,
	ViewGroups:     `t.state IN ('open', 'claimed') AND t.group_row IN (SELECT group_row FROM reading_group_member WHERE user_row = $1)`,
	ViewOpen:       `t.state IN ('open', 'claimed')`,
	ViewDrafts:     `t.id IN (SELECT r.task_id FROM report r JOIN report_draft d ON d.report_id = r.id WHERE d.author = $1)`,
	ViewSigned:     `t.id IN (SELECT r.task_id FROM report r JOIN report_version v ON v.report_id = r.id WHERE v.signer = $1 AND v.signed_at >= $2)`,
	ViewUnreported: `(t.state = 'cancelled' OR t.state = 'signed' AND t.signed_by IS NULL) AND t.created_at >= $2::timestamptz - interval '30 days'`,
}

// Filter narrows a view.
type Filter struct {
	View     View
	UserID   int64
	Modality string
	Priority Priority
	Facility string // code
	Text     string // name in any script, patient ID or accession number
	Limit    int
	After    string
}

// taskColumns are scanned by scanTask; %s limits the priors to what is in scope.
const taskColumns = `
	t.id::text, t.study_row, t.facility_row, t.state, t.priority, t.deadline, t.created_at,
	coalesce(t.rule_row, 0), t.rule_name, coalesce(t.group_row, 0), coalesce(g.name, ''),
	coalesce(t.claimed_by, 0), coalesce(u.name, ''), t.performer, t.claimed_at,
	(SELECT d.saved_at FROM report r JOIN report_draft d ON d.report_id = r.id WHERE r.task_id = t.id),
	(SELECT coalesce(sum(each.studies), 0)::int
		FROM (SELECT s.patient_row AS id UNION SELECT linked.id FROM patient linked WHERE linked.pinfl <> '' AND linked.pinfl = p.pinfl) person,
			LATERAL (SELECT count(*) AS studies FROM study o WHERE o.patient_row = person.id AND o.id <> s.id AND o.deleted_at IS NULL AND %s) each)`

const taskTables = `
	reading_task t
	JOIN study s ON s.id = t.study_row JOIN patient p ON p.id = s.patient_row JOIN facility f ON f.id = s.facility_row
	LEFT JOIN reading_group g ON g.id = t.group_row LEFT JOIN user_account u ON u.id = t.claimed_by`

func scanTask(row pgx.CollectableRow) (Task, error) {
	var t Task
	var claimed, saved *time.Time
	err := row.Scan(&t.ID, &t.StudyID, &t.FacilityID, &t.State, &t.Priority, &t.Deadline, &t.CreatedAt,
		&t.RuleID, &t.RuleName, &t.GroupID, &t.GroupName, &t.ClaimedBy, &t.ClaimedByName, &t.Performer, &claimed, &saved, &t.PriorCount)
	if t.Performer != "" && t.ClaimedBy == 0 {
		t.ClaimedByName = performerName(t.Performer)
	}
	if claimed != nil {
		t.ClaimedAt = *claimed
	}
	if saved != nil {
		t.DraftSavedAt = *saved
	}
	return t, err
}

// where is the WHERE clause of a query under construction.
type where struct {
	clauses []string
	args    []any
}

func (w *where) arg(v any) string {
	w.args = append(w.args, v)
	return fmt.Sprintf("$%d", len(w.args))
}

func (w *where) and(clause string) { w.clauses = append(w.clauses, clause) }

func (w *where) scope(s pacs.Scope) { w.and(w.inScope(s, "t.facility_row")) }

func (w *where) inScope(s pacs.Scope, column string) string {
	if s.All {
		return "true"
	}
	return column + " = ANY(" + w.arg(append([]int64{}, s.FacilityIDs...)) + "::bigint[])"
}

func (w *where) String() string { return strings.Join(append([]string{"true"}, w.clauses...), " AND ") }

// taskCursor is the sort key of a task: rank, deadline, id.
type taskCursor struct {
	Rank     int       `json:"r"`
	Deadline time.Time `json:"d"`
	ID       string    `json:"i"`
}

func parseTaskCursor(s string) (taskCursor, error) {
	var at taskCursor
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(raw, &at)
	}
	if err != nil || !IsID(at.ID) || at.Rank < 0 || at.Rank > len(Priorities) {
		return at, pacs.Errorf(pacs.Invalid, "The page marker is not one of ours; begin at the first page")
	}
	return at, nil
}

// maxWords is more than any name has.
const maxWords = 16

// StudyText is the SQL condition that a study (alias s) answers to a text: each
// word is part of the patient's name in any script, or the text begins the
// patient ID or the accession number, or is the PINFL. arg adds an argument and
// returns its placeholder. It is what the archive's lists of studies match, here
// without fetching them; each alternative has an index.
func StudyText(text string, arg func(any) string) string {
	text = strings.TrimSpace(strings.NewReplacer("*", " ", "?", " ").Replace(text))
	literal := strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)
	named := "false"
	if words := strings.Fields(pacs.Fold(text)); len(words) > 0 && len(words) <= maxWords {
		parts := make([]string, len(words))
		for i, word := range words {
			parts[i] = "name_fold LIKE " + arg("%"+literal.Replace(word)+"%")
		}
		named = strings.Join(parts, " AND ")
	}
	return fmt.Sprintf(`s.id IN (
		SELECT id FROM study WHERE patient_row IN (
			SELECT id FROM patient WHERE %s OR patient_id LIKE %s OR pinfl <> '' AND pinfl = %s)
		UNION ALL
		SELECT id FROM study WHERE accession_number <> '' AND accession_number LIKE %[2]s)`,
		named, arg(literal.Replace(text)+"%"), arg(text))
}

// Tasks returns a page of a view, by deadline within priority, and the cursor
// of the next page.
func (w *Worklist) Tasks(ctx context.Context, scope pacs.Scope, f Filter) ([]Task, string, error) {
	view, ok := viewConditions[f.View]
	if !ok {
		return nil, "", pacs.Errorf(pacs.Invalid, "There is no view %q", f.View)
	}
	c := where{args: []any{f.UserID, startOfDay()}}
	c.and("$1::bigint IS NOT NULL AND $2::timestamptz IS NOT NULL") // both are used, whatever the view
	c.and(view)
	c.scope(scope)
	if f.Modality != "" {
		c.and(c.arg(f.Modality) + " = ANY(s.modalities)")
	}
	if f.Priority != "" {
		c.and("t.priority = " + c.arg(f.Priority))
	}
	if f.Facility != "" {
		c.and("f.code = " + c.arg(f.Facility))
	}
	if text := strings.TrimSpace(f.Text); text != "" {
		c.and(StudyText(text, c.arg))
	}
	if f.After != "" {
		at, err := parseTaskCursor(f.After)
		if err != nil {
			return nil, "", err
		}
		c.and(fmt.Sprintf("(t.rank, t.deadline, t.id) > (%s, %s, %s)", c.arg(at.Rank), c.arg(at.Deadline), c.arg(at.ID)))
	}
	limit := f.Limit
	if limit <= 0 || limit > 200 {
		limit = 100
	}
	tasks, err := w.collect(ctx, scope, &c, ` ORDER BY t.rank, t.deadline, t.id LIMIT `+c.arg(limit+1))
	if err != nil || len(tasks) <= limit {
		return tasks, "", err
	}
	tasks = tasks[:limit]
	last := tasks[limit-1]
	raw, err := json.Marshal(taskCursor{Rank: rank(last.Priority), Deadline: last.Deadline, ID: last.ID})
	return tasks, base64.RawURLEncoding.EncodeToString(raw), err
}

// views in the order in which Counts asks for them.
var views = []View{ViewMine, ViewGroups, ViewOpen, ViewDrafts, ViewSigned, ViewUnreported}

// Counts returns how many tasks each view has.
func (w *Worklist) Counts(ctx context.Context, scope pacs.Scope, userID int64) (map[View]int, error) {
	c := where{args: []any{userID, startOfDay()}}
	c.scope(scope)
	columns := make([]string, len(views))
	counted := make([]int, len(views))
	into := make([]any, len(views))
	for i, view := range views {
		columns[i] = `(SELECT count(*) FROM reading_task t WHERE ` + viewConditions[view] + ` AND ` + c.String() + `)`
		into[i] = &counted[i]
	}
	if err := w.pool.QueryRow(ctx, `SELECT `+strings.Join(columns, ", "), c.args...).Scan(into...); err != nil {
		return nil, Failure(err)
	}
	counts := map[View]int{}
	for i, view := range views {
		counts[view] = counted[i]
	}
	return counts, nil
}

// Task returns one task. NotFound outside the scope.
func (w *Worklist) Task(ctx context.Context, scope pacs.Scope, id string) (Task, error) {
	if !IsID(id) {
		return Task{}, noSuchTask()
	}
	c := where{}
	c.and("t.id = " + c.arg(id))
	return w.one(ctx, scope, &c)
}

// TaskOfStudy returns the task of a study. NotFound when it has none yet.
func (w *Worklist) TaskOfStudy(ctx context.Context, scope pacs.Scope, studyID int64) (Task, error) {
	c := where{}
	c.and("t.study_row = " + c.arg(studyID))
	return w.one(ctx, scope, &c)
}

func noSuchTask() error { return pacs.Errorf(pacs.NotFound, "There is no such task") }

func (w *Worklist) one(ctx context.Context, scope pacs.Scope, c *where) (Task, error) {
	c.scope(scope)
	tasks, err := w.collect(ctx, scope, c, "")
	if err == nil && len(tasks) == 0 {
		err = noSuchTask()
	}
	if err != nil {
		return Task{}, err
	}
	return tasks[0], nil
}

// collect reads the tasks that c describes, in the order that rest gives.
func (w *Worklist) collect(ctx context.Context, scope pacs.Scope, c *where, rest string) ([]Task, error) {
	priors := c.inScope(scope, "o.facility_row")
	rows, err := w.pool.Query(ctx, `SELECT `+fmt.Sprintf(taskColumns, priors)+` FROM `+taskTables+` WHERE `+c.String()+rest, c.args...)
	if err != nil {
		return nil, Failure(err)
	}
	tasks, err := pgx.CollectRows(rows, scanTask)
	return tasks, Failure(err)
}

func rank(p Priority) int {
	for i, known := range Priorities {
		if p == known {
			return i
		}
	}
	return len(Priorities)
}

func startOfDay() time.Time {
	now := time.Now()
	return time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, now.Location())
}

// TaskIDs returns the ids of studies' tasks by study row. The caller has
// established that the studies are in scope.
func (w *Worklist) TaskIDs(ctx context.Context, studyIDs []int64) (map[int64]string, error) {
	rows, err := w.pool.Query(ctx, `SELECT study_row, id::text FROM reading_task WHERE study_row = ANY($1)`, studyIDs)
	if err != nil {
		return nil, Failure(err)
	}
	ids := map[int64]string{}
	var study int64
	var id string
	_, err = pgx.ForEachRow(rows, []any{&study, &id}, func() error { ids[study] = id; return nil })
	return ids, Failure(errors.Join(err, rows.Err()))
}
