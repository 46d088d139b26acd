package worklist_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/worklist"
	"github.com/tasvir-pacs/tasvir/worklist/worklisttest"
)

func TestConditionsThatCanBeUsed(t *testing.T) {
	s := worklisttest.Open(t)
	group := s.Group("G")
	// What s.Study makes: a CT of a man born 1958-05-12 on 2026-11-21, "CT head",
	// "Stroke?", HEAD, facility A, four images.
	for condition, want := range map[string]bool{
		"":                           true,
		" \n":                        true,
		"true":                       true,
		`"CT" in study.modalities`:   true,
		`'MR' in study.modalities`:   false,
		`study.modalities == ["CT"]`: true,
		`size(study.modalities) > 1`: false,
		`study.facility == "A"`:      true,
		`study.sex == "F"`:           false,
		`study.patient_age == 68`:    true,
		`study.patient_age < 18`:     false,
		`study.instances >= 4`:       true,
		`study.body_part == "HEAD"`:  true,
		`study.description == "CT head" && study.question.contains("troke")`:        true,
		`study.description.matches("(?i)HEAD$")`:                                    true,
		`study.modalities.exists(m, m in ["CT", "MR"]) && !(study.facility == "B")`: true,
		`study.patient_age >= 60 ? study.sex == "M" : false`:                        true,
		`study.description == "` + strings.Repeat("ў", 1_900) + `"`:                 false, // characters, not bytes
	} {
		rule := s.Rule(group, func(r *worklist.Rule) { r.Condition = condition })
		task := s.Task("A")
		if got := task.RuleID == rule.ID; got != want {
			t.Errorf("%.80s holds: %v, want %v", condition, got, want)
		}
		if err := s.Worklist.RemoveRule(t.Context(), rule.ID); err != nil {
			t.Fatal(err)
		}
	}
}

func TestConditionsThatAreRefused(t *testing.T) {
	s := worklisttest.Open(t)
	group := s.Group("G")
	nested := "[1,2,3,4,5,6,7,8,9,10]"
	for range 6 {
		nested = "[1,2,3,4,5,6,7,8,9,10].map(x, " + nested + ")"
	}
	for what, condition := range map[string]string{
		"syntax":                        `study.sex ==`,
		"not CEL":                       `SELECT * FROM study`,
		"misspelt field":                `study.modality == "CT"`,
		"misspelt field, not reached":   `false && study.modality == "CT"`,
		"misspelt field, other branch":  `study.sex == "M" || study.modality == "CT"`,
		"misspelt variable":             `studi.sex == "M"`,
		"the study as a whole":          `study == study`,
		"wrong type":                    `study.patient_age == "68"`,
		"wrong type, not reached":       `true || study.patient_age == "68"`,
		"a list where text is":          `study.modalities == "CT"`,
		"unknown function":              `study.description.lower() == "ct"`,
		"text":                          `study.description`,
		"number":                        `study.patient_age + 1`,
		"anything":                      `dyn(study.sex)`,
		"fails on an ordinary study":    `int(study.question) > 3`,
		"divides by zero":               `1 / (study.instances - study.instances) == 1`,
		"bad regular expression":        `study.description.matches("(")`,
		"cost":                          nested + `.size() > 0`,
		"cost, quietly":                 `[1,2,3,4,5,6,7,8,9,10].all(a, [1,2,3,4,5,6,7,8,9,10].all(b, [1,2,3,4,5,6,7,8,9,10].all(c, [1,2,3,4,5,6,7,8,9,10].all(d, [1,2,3,4,5,6,7,8,9,10].all(e, a+b+c+d+e > 0)))))`,
		"10,000 characters":             `study.sex == "` + strings.Repeat("M", 10_000) + `"`,
		"2,001 characters":              `study.sex == "` + strings.Repeat("M", 2_001-14) + `"`,
		"deep nesting":                  strings.Repeat("(", 900) + "true" + strings.Repeat(")", 900),
		"deep nesting, not even closed": strings.Repeat("[", 1_900),
		"NUL":                           "study.sex == \x00",
	} {
		_, err := s.Worklist.AddRule(t.Context(), worklist.Rule{Name: what, Condition: condition, GroupID: group.ID, Priority: worklist.Stat, Deadline: time.Hour, Active: true})
		if pacs.CodeOf(err) != pacs.Invalid {
			t.Errorf("%s: %v", what, err)
		}
		if reason, _ := pacs.ReasonOf(err); reason != "rule_condition" {
			t.Errorf("%s: the reason is %q: %v", what, reason, err)
		}
	}
	if rules, err := s.Worklist.Rules(t.Context()); err != nil || len(rules) != 0 {
		t.Errorf("refused rules were kept: %v %v", rules, err)
	}
}

func TestRulesThatAreRefused(t *testing.T) {
	s := worklisttest.Open(t)
	group := s.Group("G")
	good := worklist.Rule{Name: "R", GroupID: group.ID, Priority: worklist.Stat, Deadline: time.Hour, Active: true}
	kept := s.Rule(group)
	for what, c := range map[string]struct {
		change func(*worklist.Rule)
		code   pacs.Code
	}{
		"no name":         {func(r *worklist.Rule) { r.Name = " \t" }, pacs.Invalid},
		"long name":       {func(r *worklist.Rule) { r.Name = strings.Repeat("n", 1000) }, pacs.Invalid},
		"NUL in the name": {func(r *worklist.Rule) { r.Name = "a\x00b" }, pacs.Invalid},
		"not UTF-8":       {func(r *worklist.Rule) { r.Name = "a\xffb" }, pacs.Invalid},
		"no priority":     {func(r *worklist.Rule) { r.Priority = "" }, pacs.Invalid},
		"other priority":  {func(r *worklist.Rule) { r.Priority = "asap" }, pacs.Invalid},
		"no deadline":     {func(r *worklist.Rule) { r.Deadline = 0 }, pacs.Invalid},
		"long deadline":   {func(r *worklist.Rule) { r.Deadline = 366 * 24 * time.Hour }, pacs.Invalid},
		"negative place":  {func(r *worklist.Rule) { r.Position = -1 }, pacs.Invalid},
		"far place":       {func(r *worklist.Rule) { r.Position = 1 << 40 }, pacs.Invalid},
		"unknown group":   {func(r *worklist.Rule) { r.GroupID = 999 }, pacs.Conflict},
	} {
		r := good
		c.change(&r)
		_, err := s.Worklist.AddRule(t.Context(), r)
		if pacs.CodeOf(err) != c.code {
			t.Errorf("adding, %s: %v", what, err)
		}
		r.ID = kept.ID
		if _, err := s.Worklist.UpdateRule(t.Context(), r); pacs.CodeOf(err) != c.code {
			t.Errorf("changing, %s: %v", what, err)
		}
	}
	good.ID = 999
	_, err := s.Worklist.UpdateRule(t.Context(), good)
	wantCode(t, err, pacs.NotFound, "")
	wantCode(t, s.Worklist.RemoveRule(t.Context(), 999), pacs.NotFound, "")
}

func TestTheFirstRuleThatHoldsDecides(t *testing.T) {
	s := worklisttest.Open(t)
	neuro, chest := s.Group("Neuro"), s.Group("Chest")
	condition := func(source string) func(*worklist.Rule) { return func(r *worklist.Rule) { r.Condition = source } }
	s.Rule(neuro, condition(`"MR" in study.modalities`), func(r *worklist.Rule) { r.Priority = worklist.Stat })
	head := s.Rule(neuro, condition(`study.body_part == "HEAD"`), func(r *worklist.Rule) { r.Priority, r.Deadline = worklist.Urgent, 30*time.Minute })
	first := s.Rule(chest, condition(`study.facility == "B"`), func(r *worklist.Rule) { r.Position = 1 })
	rest := s.Rule(chest)

	before := time.Now()
	task := s.Task("A")
	if task.RuleID != head.ID || task.GroupID != neuro.ID || task.Priority != worklist.Urgent || task.RuleName != head.Name || task.State != worklist.Open {
		t.Errorf("the second rule made %+v", task)
	}
	if due := task.Deadline.Sub(before); due < 29*time.Minute || due > 31*time.Minute {
		t.Errorf("the deadline is in %s", due)
	}
	if task := s.Task("B"); task.RuleID != first.ID {
		t.Errorf("the rule at position 1 was not tried first: %+v", task)
	}
	head.Active = false
	if _, err := s.Worklist.UpdateRule(t.Context(), head); err != nil {
		t.Fatal(err)
	}
	if task := s.Task("A"); task.RuleID != rest.ID {
		t.Errorf("with the second rule inactive: %+v", task)
	}
	if err := s.Worklist.RemoveRule(t.Context(), rest.ID); err != nil {
		t.Fatal(err)
	}
	if task := s.Task("A"); task.RuleID != 0 || task.RuleName != "" || task.GroupID != 0 || task.Priority != worklist.Routine || task.Deadline.Before(time.Now().Add(23*time.Hour)) {
		t.Errorf("a study that no rule wants: %+v", task)
	}
	// What a rule made says so after the rule is gone.
	if task := s.TaskOf(pacs.Study{ID: task.StudyID}); task.RuleName != head.Name {
		t.Errorf("the first task has forgotten its rule: %+v", task)
	}
}

// A rule that fails on one study is passed over, without a word about the
// patient in the log.
func TestAFailingRuleDoesNotStopTheOthers(t *testing.T) {
	log := captureLog(t)
	s := worklisttest.Open(t)
	group := s.Group("G")
	fails := s.Rule(group, func(r *worklist.Rule) {
		r.Condition = `study.question == "Stroke?" || timestamp(study.question) > timestamp("2026-01-01T00:00:00Z")`
	})
	// As if written before conditions were checked.
	if _, err := s.Index.Pool().Exec(t.Context(), `INSERT INTO routing_rule (position, name, condition, group_row, priority, deadline_minutes) VALUES (0, 'old', 'study.no_such ==', $1, 'stat', 1)`, group.ID); err != nil {
		t.Fatal(err)
	}
	rest := s.Rule(group)
	task := s.Task("A", func(a *index.Addition) { a.Study.Question = "Karimov fell from a ladder" })
	if task.RuleID != rest.ID {
		t.Errorf("the rule after the failing ones did not get the study: %+v", task)
	}
	if task := s.Task("A"); task.RuleID != fails.ID {
		t.Errorf("on an ordinary study the rule works: %+v", task)
	}
	if text := log.String(); !strings.Contains(text, "was passed over") || strings.Contains(text, "ladder") {
		t.Errorf("the log: %s", text)
	}
}

// captureLog takes what the default logger says from info level on.
func captureLog(t *testing.T) *bytes.Buffer {
	var text bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewJSONHandler(&text, &slog.HandlerOptions{Level: slog.LevelInfo})))
	t.Cleanup(func() { slog.SetDefault(before) })
	return &text
}

// Completing again, early or late, at once or after a signature, leaves the
// task as it is.
func TestCompleteKeepsTheTask(t *testing.T) {
	s := worklisttest.Open(t)
	radiologist := s.Radiologist("r")
	group := s.Group("G", radiologist)
	s.Rule(group)
	study := s.Study("A")
	first := s.Complete(study)
	if _, err := s.Worklist.Claim(t.Context(), everywhere, first.ID, radiologist.ID); err != nil {
		t.Fatal(err)
	}
	first = s.TaskOf(study)

	// A late series, and by now another rule would want the study.
	s.Rule(s.Group("H"), func(r *worklist.Rule) { r.Position, r.Priority = 1, worklist.Stat })
	s.Study("A", func(a *index.Addition) {
		a.Patient.PatientID, a.Study.StudyInstanceUID = "P1", study.StudyInstanceUID
	})
	if again := s.Complete(study); again != first {
		t.Errorf("after late images the task is %+v, was %+v", again, first)
	}

	// Two nodes complete at once.
	other := s.Study("B")
	done := make(chan error)
	for range 8 {
		go func() {
			done <- pgx.BeginFunc(context.Background(), s.Index.Pool(), func(tx pgx.Tx) error {
				return s.Worklist.Complete(context.Background(), tx, other)
			})
		}()
	}
	var failed error
	for range 8 {
		failed = errors.Join(failed, <-done)
	}
	if failed != nil {
		t.Error(failed)
	}
	var n int
	if err := s.Index.Pool().QueryRow(t.Context(), `SELECT count(*) FROM reading_task`).Scan(&n); err != nil || n != 2 {
		t.Errorf("there are %d tasks of two studies (%v)", n, err)
	}
}

func TestGroups(t *testing.T) {
	s := worklisttest.Open(t)
	r1, r2 := s.Person("r1", pacs.Radiologist), s.Person("r2", pacs.Radiologist)
	group := s.Group("  Neuro ", r1, r2)
	if group.Name != "Neuro" {
		t.Errorf("the name is %q", group.Name)
	}
	for what, c := range map[string]struct {
		g    worklist.Group
		code pacs.Code
	}{
		"no name":        {worklist.Group{Name: " "}, pacs.Invalid},
		"long name":      {worklist.Group{Name: strings.Repeat("n", 1000)}, pacs.Invalid},
		"NUL":            {worklist.Group{Name: "a\x00"}, pacs.Invalid},
		"name taken":     {worklist.Group{Name: "Neuro"}, pacs.Conflict},
		"unknown member": {worklist.Group{Name: "X", Members: []int64{999}}, pacs.Conflict},
	} {
		if _, err := s.Worklist.AddGroup(t.Context(), c.g); pacs.CodeOf(err) != c.code {
			t.Errorf("%s: %v", what, err)
		}
	}
	group.Name, group.Members = "Neyro", ids(r2, r2)
	if err := s.Worklist.UpdateGroup(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Worklist.GroupsOf(t.Context(), r2.ID); err != nil || len(got) != 1 || got[0].Name != "Neyro" || len(got[0].Members) != 1 {
		t.Errorf("r2's groups: %+v %v", got, err)
	}
	if got, err := s.Worklist.GroupsOf(t.Context(), r1.ID); err != nil || len(got) != 0 {
		t.Errorf("r1's groups: %+v %v", got, err)
	}
	group.ID = 999
	wantCode(t, s.Worklist.UpdateGroup(t.Context(), group), pacs.NotFound, "")
	if all, err := s.Worklist.Groups(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("the groups: %+v %v", all, err)
	}
}
