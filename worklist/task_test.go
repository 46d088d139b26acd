package worklist_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/worklist"
	"github.com/tasvir-pacs/tasvir/worklist/worklisttest"
)

// list is the studies of a view, without paging.
func list(t *testing.T, w *worklist.Worklist, scope pacs.Scope, f worklist.Filter) (studies []int64) {
	t.Helper()
	tasks, next, err := w.Tasks(t.Context(), scope, f)
	if err != nil || next != "" {
		t.Fatalf("%+v: %q %v", f, next, err)
	}
	for _, task := range tasks {
		studies = append(studies, task.StudyID)
	}
	slices.Sort(studies)
	return studies
}

func TestViewsAndCounts(t *testing.T) {
	s := worklisttest.Open(t)
	me, other := s.Person("me", pacs.Radiologist), s.Person("other", pacs.Radiologist)
	mine, theirs := s.Group("Mine", me), s.Group("Theirs", other)
	s.Rule(mine, func(r *worklist.Rule) { r.Condition = `study.description == "mine"` })
	s.Rule(theirs, func(r *worklist.Rule) { r.Condition = `study.description == "theirs"` })
	make := func(facility, description string) worklist.Task {
		return s.Task(facility, func(a *index.Addition) { a.Study.Description = description })
	}
	claim := func(task worklist.Task, by int64) {
		if _, err := s.Worklist.Claim(t.Context(), everywhere, task.ID, by); err != nil {
			t.Fatal(err)
		}
	}
	exec := func(sql string, args ...any) {
		if _, err := s.Index.Pool().Exec(t.Context(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	draft := func(task worklist.Task, by int64) {
		exec(`WITH r AS (INSERT INTO report (task_id) VALUES ($1) RETURNING id)
			INSERT INTO report_draft (report_id, author, kind, language, sections, revision) SELECT id, $2, 'final', 'ru', '{}', 1 FROM r`, task.ID, by)
	}
	sign := func(task worklist.Task, by int64, ago time.Duration) {
		exec(`WITH r AS (INSERT INTO report (task_id) VALUES ($1) RETURNING id)
			INSERT INTO report_version (report_id, version, kind, language, sections, signer, signed_by, signed_at, pdf)
			SELECT id, 1, 'final', 'ru', '{}', $2, 'x', $3, '' FROM r`, task.ID, by, time.Now().Add(-ago))
		if err := pgx.BeginFunc(t.Context(), s.Index.Pool(), func(tx pgx.Tx) error { return s.Worklist.MarkSigned(t.Context(), tx, task, by) }); err != nil {
			t.Fatal(err)
		}
	}

	open, openB, claimedByMe, drafted, unrouted := make("A", "mine"), make("B", "mine"), make("A", "mine"), make("A", "mine"), make("A", "")
	theirOpen, theirClaimed, released := make("A", "theirs"), make("B", "theirs"), make("A", "mine")
	signed, signedLong, signedByOther := make("A", "mine"), make("A", "mine"), make("A", "theirs")
	claim(claimedByMe, me.ID)
	claim(drafted, me.ID)
	draft(drafted, me.ID)
	draft(released, me.ID) // a draft stays with a task that was given back
	claim(theirClaimed, other.ID)
	draft(theirClaimed, other.ID)
	sign(signed, me.ID, 0)
	sign(signedLong, me.ID, 25*time.Hour)
	sign(signedByOther, other.ID, 0)
	calledOff, readOutside, longAgo := make("A", "mine"), make("B", "mine"), make("A", "mine")
	exec(`UPDATE reading_task SET state = 'cancelled' WHERE id = ANY($1::uuid[])`, []string{calledOff.ID, longAgo.ID})
	exec(`UPDATE reading_task SET state = 'signed', signed_at = now(), performer = 'ae:READER' WHERE id = $1`, readOutside.ID)
	exec(`UPDATE reading_task SET created_at = now() - interval '32 days' WHERE id = $1`, longAgo.ID)

	type want map[worklist.View][]worklist.Task
	for what, c := range map[string]struct {
		who   int64
		scope pacs.Scope
		want  want
	}{
		"me": {me.ID, everywhere, want{
			"mine": {claimedByMe, drafted}, "groups": {open, openB, claimedByMe, drafted, released},
			"open":   {open, openB, claimedByMe, drafted, unrouted, theirOpen, theirClaimed, released},
			"drafts": {drafted, released}, "signed": {signed}, "unreported": {calledOff, readOutside},
		}},
		"other": {other.ID, everywhere, want{
			"mine": {theirClaimed}, "groups": {theirOpen, theirClaimed},
			"open":   {open, openB, claimedByMe, drafted, unrouted, theirOpen, theirClaimed, released},
			"drafts": {theirClaimed}, "signed": {signedByOther}, "unreported": {calledOff, readOutside},
		}},
		"me at A": {me.ID, only(s.A), want{
			"mine": {claimedByMe, drafted}, "groups": {open, claimedByMe, drafted, released},
			"open":   {open, claimedByMe, drafted, unrouted, theirOpen, released},
			"drafts": {drafted, released}, "signed": {signed}, "unreported": {calledOff},
		}},
		"other at A":  {other.ID, only(s.A), want{"mine": nil, "groups": {theirOpen}, "open": {open, claimedByMe, drafted, unrouted, theirOpen, released}, "drafts": nil, "signed": {signedByOther}, "unreported": {calledOff}}},
		"me nowhere":  {me.ID, pacs.Scope{}, want{"mine": nil, "groups": nil, "open": nil, "drafts": nil, "signed": nil, "unreported": nil}},
		"a machine":   {0, only(s.B), want{"mine": nil, "groups": nil, "open": {openB, theirClaimed}, "drafts": nil, "signed": nil, "unreported": {readOutside}}},
		"not in town": {me.ID, only(s.B), want{"mine": nil, "groups": {openB}, "open": {openB, theirClaimed}, "drafts": nil, "signed": nil, "unreported": {readOutside}}},
	} {
		counts := map[worklist.View]int{}
		for view, tasks := range c.want {
			counts[view] = len(tasks)
			var studies []int64
			for _, task := range tasks {
				studies = append(studies, task.StudyID)
			}
			slices.Sort(studies)
			if got := list(t, s.Worklist, c.scope, worklist.Filter{View: view, UserID: c.who}); !slices.Equal(got, studies) {
				t.Errorf("%s, %s: studies %v, want %v", what, view, got, studies)
			}
		}
		got, err := s.Worklist.Counts(t.Context(), c.scope, c.who)
		if err != nil || !maps.Equal(got, counts) {
			t.Errorf("%s: counts %v, want %v (%v)", what, got, counts, err)
		}
	}
	_, _, err := s.Worklist.Tasks(t.Context(), everywhere, worklist.Filter{View: "all", UserID: me.ID})
	wantCode(t, err, pacs.Invalid, "")
}

func TestFiltersNarrowAView(t *testing.T) {
	s := worklisttest.Open(t)
	s.Rule(s.Group("G"), func(r *worklist.Rule) { r.Condition, r.Priority = `"MR" in study.modalities`, worklist.Stat })
	ct := s.Task("A")
	mr := s.Task("B", func(a *index.Addition) {
		a.Series.Modality, a.Patient.Name, a.Patient.PINFL = "MR", "Gʻulomova^Oʻgʻiloy", "41703892345671"
		a.Patient.PatientID = "50%_off"
	})
	for f, want := range map[worklist.Filter][]int64{
		{}:                              {ct.StudyID, mr.StudyID},
		{Modality: "MR"}:                {mr.StudyID},
		{Modality: "US"}:                nil,
		{Priority: worklist.Stat}:       {mr.StudyID},
		{Priority: "asap"}:              nil,
		{Facility: "A"}:                 {ct.StudyID},
		{Facility: "A", Modality: "MR"}: nil,
		{Text: "Karimov"}:               {ct.StudyID},
		{Text: "каримов али"}:           {ct.StudyID},
		{Text: "Ғуломова"}:              {mr.StudyID},
		{Text: "gulomova"}:              {mr.StudyID},
		{Text: "Karimov Oʻgʻiloy"}:      nil,
		{Text: "P1"}:                    {ct.StudyID},
		{Text: "ACC"}:                   {ct.StudyID, mr.StudyID},
		{Text: "ACC2"}:                  {mr.StudyID},
		{Text: "41703892345671"}:        {mr.StudyID},
		{Text: "4170389"}:               nil,
		{Text: "%"}:                     nil,
		{Text: "_"}:                     nil,
		{Text: "50%"}:                   {mr.StudyID},
		{Text: "50%_"}:                  {mr.StudyID},
		{Text: "50__"}:                  nil,
		{Text: `\`}:                     nil,
		{Text: "  "}:                    {ct.StudyID, mr.StudyID},
		{Text: "'; DROP TABLE study"}:   nil,
	} {
		f.View = worklist.ViewOpen
		if got := list(t, s.Worklist, everywhere, f); !slices.Equal(got, want) {
			t.Errorf("%+v: %v, want %v", f, got, want)
		}
		// The lists of studies find the same.
		if f.Text != "" && strings.TrimSpace(f.Text) != "" {
			studies, _, err := s.Index.Studies(t.Context(), everywhere, pacs.StudyFilter{Text: f.Text})
			if err != nil || len(studies) != len(want) {
				t.Errorf("%q finds %d studies, but %d tasks (%v)", f.Text, len(studies), len(want), err)
			}
		}
	}
}

// Pages hold together when many tasks have the same deadline, and when tasks
// come and go between one page and the next.
func TestPages(t *testing.T) {
	s := worklisttest.Open(t)
	const n = 23
	for range n {
		s.Task("A")
	}
	at := time.Date(2026, 11, 22, 8, 0, 0, 123456000, time.UTC)
	if _, err := s.Index.Pool().Exec(t.Context(), `UPDATE reading_task SET deadline = $1::timestamptz + (study_row / 10) * interval '1 microsecond',
		priority = CASE WHEN study_row % 3 = 0 THEN 'stat' WHEN study_row % 3 = 1 THEN 'urgent' ELSE 'routine' END`, at); err != nil {
		t.Fatal(err)
	}
	var seen []worklist.Task
	f := worklist.Filter{View: worklist.ViewOpen, Limit: 4}
	for page := 0; ; page++ {
		tasks, next, err := s.Worklist.Tasks(t.Context(), everywhere, f)
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, tasks...)
		if next == "" {
			break
		}
		if len(tasks) != f.Limit || page > n {
			t.Fatalf("page %d has %d tasks", page, len(tasks))
		}
		f.After = next
	}
	unique := map[string]bool{}
	for i, task := range seen {
		unique[task.ID] = true
		if i > 0 && sortKey(seen[i-1]) >= sortKey(task) {
			t.Errorf("%s before %s", sortKey(seen[i-1]), sortKey(task))
		}
	}
	if len(unique) != n || len(seen) != n {
		t.Errorf("%d tasks on the pages, %d different, want %d", len(seen), len(unique), n)
	}
	// A page that is exactly full is the last one.
	if tasks, next, err := s.Worklist.Tasks(t.Context(), everywhere, worklist.Filter{View: worklist.ViewOpen, Limit: n}); err != nil || len(tasks) != n || next != "" {
		t.Errorf("one page of all: %d %q %v", len(tasks), next, err)
	}
	marker := func(json string) string { return base64.RawURLEncoding.EncodeToString([]byte(json)) }
	for _, after := range []string{"x", "!!", marker("{}"), marker("[]"), marker(`{"r":1,"i":"no id"}`), marker(`{"r":99999999999,"i":"` + seen[0].ID + `"}`), marker(`{"r":-1,"i":"` + seen[0].ID + `"}`), marker("\x00")} {
		_, _, err := s.Worklist.Tasks(t.Context(), everywhere, worklist.Filter{View: worklist.ViewOpen, After: after})
		wantCode(t, err, pacs.Invalid, "")
	}
	// A marker of another's page shows nothing outside of the scope.
	if tasks, _, err := s.Worklist.Tasks(t.Context(), only(s.B), f); err != nil || len(tasks) != 0 {
		t.Errorf("with a marker from elsewhere: %d tasks, %v", len(tasks), err)
	}
}

func sortKey(t worklist.Task) string {
	return fmt.Sprint(slices.Index(worklist.Priorities, t.Priority), t.Deadline.UTC().Format("2006-01-02T15:04:05.000000000"), t.ID)
}

// Priors are other studies of the same person, here or by PINFL elsewhere, that
// the one who looks may see.
func TestPriorCount(t *testing.T) {
	s := worklisttest.Open(t)
	as := func(id, pinfl string) func(*index.Addition) {
		return func(a *index.Addition) { a.Patient.PatientID, a.Patient.PINFL = id, pinfl }
	}
	s.Study("A", as("1", "41703892345671"))
	s.Study("B", as("1", "41703892345671")) // the same person in another hospital
	s.Study("B", as("2", ""))               // another
	s.Study("A", as("3", ""))               // another without a number
	task := s.Task("A", as("1", "41703892345671"))
	unknown := s.Task("B", as("2", ""))
	for what, c := range map[string]struct {
		task  worklist.Task
		scope pacs.Scope
		want  int
	}{
		"everywhere": {task, everywhere, 2},
		"at A":       {task, only(s.A), 1},
		"no number":  {unknown, everywhere, 1},
	} {
		got, err := s.Worklist.Task(t.Context(), c.scope, c.task.ID)
		if err != nil || got.PriorCount != c.want {
			t.Errorf("%s: %d priors, want %d (%v)", what, got.PriorCount, c.want, err)
		}
	}
}

func TestTaskOutsideOfTheScope(t *testing.T) {
	s := worklisttest.Open(t)
	task := s.Task("A")
	for _, scope := range []pacs.Scope{only(s.B), {}, {FacilityIDs: []int64{}}} {
		_, err := s.Worklist.Task(t.Context(), scope, task.ID)
		wantCode(t, err, pacs.NotFound, "")
		_, err = s.Worklist.TaskOfStudy(t.Context(), scope, task.StudyID)
		wantCode(t, err, pacs.NotFound, "")
	}
	for _, scope := range []pacs.Scope{only(s.A), everywhere, {FacilityIDs: []int64{s.A.ID, s.B.ID}}} {
		if got, err := s.Worklist.TaskOfStudy(t.Context(), scope, task.StudyID); err != nil || got.ID != task.ID {
			t.Errorf("%+v: %+v %v", scope, got, err)
		}
	}
	got, err := s.Worklist.TaskIDs(t.Context(), []int64{task.StudyID, 99})
	if err != nil || len(got) != 1 || got[task.StudyID] != task.ID {
		t.Errorf("ids of tasks: %v %v", got, err)
	}
}

// A client that goes away is no defect of ours.
func TestCancelledRequest(t *testing.T) {
	s := worklisttest.Open(t)
	task := s.Task("A")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Worklist.Task(gone, everywhere, task.ID)
	wantCode(t, err, pacs.Unavailable, "")
	_, err = s.Worklist.Claim(gone, everywhere, task.ID, 1)
	wantCode(t, err, pacs.Unavailable, "")
}
