package api_test

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
)

// The log, at info level, says who did what when, and nothing about patients:
// no names, numbers, texts or words that somebody searched for.
func TestLogsHaveNoPatientData(t *testing.T) {
	h := open(t)
	admin, radiologist := h.person("administrator", pacs.Administrator), h.signIn(h.Radiologist("radiologist"))
	group := admin.Do("POST", "/api/admin/groups", map[string]any{"name": "G", "members": []string{}}).Want(201).Field("id")
	// A rule that fails on just this study.
	admin.Do("POST", "/api/admin/rules", map[string]any{
		"name": "R", "group": group, "priority": "stat", "deadline_minutes": 5,
		"condition": `study.question == "Stroke?" || timestamp(study.question) > timestamp("2026-01-01T00:00:00Z")`,
	}).Want(201)
	task := h.Task("A", withPINFL, func(a *index.Addition) {
		a.Patient.Name, a.Patient.PatientID, a.Study.Question = "Zulfiqorov^Xurshid", "SECRET-77", "Zulfiqorov fell from a ladder"
		a.Study.AccessionNumber, a.Study.Description = "ACC-SECRET", "CT of a secret"
	})
	radiologist.signed(task)
	uid := h.uid(task)
	radiologist.Do("GET", "/api/studies/"+uid, nil).Want(200)
	for _, q := range []string{"Zulfiqorov", "Зулфиқоров", "SECRET-77", "31203680000044", "\x00Zulfiqorov"} {
		for _, list := range []string{"/api/tasks?view=open&q=", "/api/studies?q=", "/api/deliveries?q="} {
			radiologist.Do("GET", list+url.QueryEscape(q), nil)
		}
	}
	// Mistakes quote what was sent, to who sent it only.
	radiologist.Do("POST", "/api/tasks/"+task.ID+"/report/amend", `{"kind": "Zulfiqorov"}`).Want(400)
	radiologist.Do("PUT", "/api/tasks/"+task.ID+"/report/draft", `{"sections": {"findings": 77, "Zulfiqorov": 1}}`).Want(400)
	radiologist.Do("GET", "/api/tasks/Zulfiqorov", nil).Want(404)
	radiologist.Do("GET", "/api/studies/Zulfiqorov", nil).Want(404)
	radiologist.Do("GET", "/api/tasks?view=Zulfiqorov", nil).Want(400)
	// And the database's own words, when it refuses, do not come out either.
	if _, err := h.Index.Pool().Exec(context.WithoutCancel(t.Context()), `ALTER TABLE report_draft ADD CONSTRAINT small CHECK (revision < 1) NOT VALID`); err != nil {
		t.Fatal(err)
	}
	radiologist.Do("POST", "/api/tasks/"+task.ID+"/report/amend", map[string]string{"kind": "correction"}).Want(500)

	text := h.server.Log.String()
	if !strings.Contains(text, `"route":"/api/tasks/:task/report/sign"`) || !strings.Contains(text, "was passed over") {
		t.Errorf("the log does not say what happened: %s", text)
	}
	for _, secret := range []string{
		"ulfiqor", "Зулф", "SECRET", "31203680000044", "ladder", "secret", "arteriya", findings[:10], uid + `"` + `,"q`, "19580512",
	} {
		if i := strings.Index(text, secret); i >= 0 {
			t.Errorf("the log has %q: %.300s", secret, text[max(0, i-200):])
		}
	}
}
