package api_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/index"
)

// From a rule to a corrected report, as the client does it.
func TestFromRuleToCorrectedReport(t *testing.T) {
	h := open(t)
	admin, radiologist := h.person("administrator", pacs.Administrator), h.signIn(h.Radiologist("radiologist"))
	stranger := h.person("stranger", pacs.Radiologist)
	me := fmt.Sprint(radiologist.user.ID)

	group := admin.do("POST", "/api/admin/groups", map[string]any{"name": "Neyro", "members": []string{me}}).want(201)
	groupID := group.field("id")
	rule := map[string]any{"name": "KT", "condition": `"CT" in study.modalities`, "group": groupID, "priority": "urgent", "deadline_minutes": 60}
	made := admin.do("POST", "/api/admin/rules", rule).want(201)
	if made.field("position") != "10" || made.field("active") != "true" || made.field("deadline_minutes") != "60" {
		t.Errorf("%s", made.body)
	}
	rule["condition"] = "study.no_such"
	admin.do("POST", "/api/admin/rules", rule).problem(422, pacs.Invalid, "rule_condition")
	admin.do("PUT", "/api/admin/rules/"+made.field("id"), rule).problem(422, pacs.Invalid, "rule_condition")
	rule["condition"] = ""
	if a := admin.do("PUT", "/api/admin/rules/"+made.field("id"), rule).want(200); a.field("position") != "10" {
		t.Errorf("%s", a.body)
	}
	admin.do("PUT", "/api/admin/groups/"+groupID, map[string]any{"name": "Neyroradiologiya", "members": []string{me}}).want(200)
	admin.do("POST", "/api/admin/groups", map[string]any{"name": "Neyroradiologiya", "members": []string{}}).problem(409, pacs.Conflict, "")
	if a := admin.do("GET", "/api/admin/groups", nil).want(200); a.length("groups") != 1 || a.field("groups.0.members.0") != me {
		t.Errorf("%s", a.body)
	}

	prior := h.Study("A", withPINFL)
	task := h.Task("A", withPINFL)
	list := radiologist.do("GET", "/api/tasks", nil).want(200)
	if list.length("tasks") != 1 || list.field("tasks.0.rule.name") != "KT" || list.field("tasks.0.group.name") != "Neyroradiologiya" || list.field("tasks.0.priority") != "urgent" ||
		list.field("tasks.0.prior_count") != "1" || list.field("tasks.0.study.patient.name") != "Каримов Али Бахтиёрович" || list.field("tasks.0.study.patient.name_other") != "Karimov Ali Baxtiyorovich" ||
		list.field("tasks.0.study.patient.age") != "68" || list.field("tasks.0.study.complete") != "true" || list.field("tasks.0.study.task_id") != task.ID ||
		list.field("counts.groups") != "1" || list.field("counts.mine") != "0" || list.value("next") != nil {
		t.Errorf("%s", list.body)
	}
	stranger.do("POST", "/api/tasks/"+task.ID+"/claim", nil).problem(403, pacs.Forbidden, "")
	next := radiologist.do("POST", "/api/tasks/next", nil).want(200)
	if next.field("id") != task.ID || next.field("claimed_by.id") != me || next.field("claimed_by.me") != "true" || next.field("state") != "claimed" {
		t.Errorf("%s", next.body)
	}
	other := stranger.do("POST", "/api/tasks/"+task.ID+"/claim", nil)
	other.problem(409, pacs.Conflict, "claimed_by_other")
	if other.field("who") != radiologist.user.Name {
		t.Errorf("%s", other.body)
	}
	if a := stranger.do("GET", "/api/tasks/"+task.ID, nil).want(200); a.field("claimed_by.me") != "false" {
		t.Errorf("%s", a.body)
	}

	path := "/api/tasks/" + task.ID + "/report"
	if a := radiologist.do("GET", path, nil).want(200); a.value("id") != nil || a.value("draft") != nil || a.field("study_uid") != h.uid(task) {
		t.Errorf("before the first save: %s", a.body)
	}
	radiologist.do("POST", path+"/sign", map[string]int{"revision": 0}).problem(422, pacs.Invalid, "empty_report")
	radiologist.draft(task, "", 0).want(200)
	radiologist.do("POST", path+"/sign", map[string]int{"revision": 1}).problem(422, pacs.Invalid, "empty_report")
	radiologist.draft(task, findings, 0).problem(409, pacs.Conflict, "stale_revision")
	if a := radiologist.draft(task, findings, 1).want(200); a.field("revision") != "2" || a.field("kind") != "final" {
		t.Errorf("%s", a.body)
	}
	stranger.draft(task, "mine", 2).problem(409, pacs.Conflict, "claimed_by_other")
	radiologist.do("POST", path+"/sign", map[string]int{"revision": 1}).problem(409, pacs.Conflict, "stale_revision")
	signed := radiologist.do("POST", path+"/sign", map[string]int{"revision": 2}).want(200)
	if signed.length("versions") != 1 || signed.field("versions.0.delivery.state") != "queued" || signed.value("draft") != nil || signed.field("versions.0.signed_by") != radiologist.user.Name {
		t.Errorf("%s", signed.body)
	}
	reportID := signed.field("id")
	radiologist.do("POST", path+"/sign", map[string]int{"revision": 2}).problem(409, pacs.Conflict, "already_signed")
	radiologist.do("POST", "/api/tasks/"+task.ID+"/release", nil).problem(409, pacs.Conflict, "already_signed")

	pdf := radiologist.do("GET", "/api/reports/"+reportID+"/versions/1/pdf", nil).want(200)
	if !strings.HasPrefix(string(pdf.body), "%PDF-") || !strings.Contains(pdf.Header.Get("Cache-Control"), "no-store") || !strings.HasPrefix(pdf.Header.Get("Content-Disposition"), "inline") {
		t.Errorf("%v %.20q", pdf.Header, pdf.body)
	}
	begun := radiologist.do("POST", path+"/amend", map[string]string{"kind": "correction"}).want(200)
	if begun.field("draft.sections.findings") != findings || begun.field("draft.kind") != "correction" {
		t.Errorf("%s", begun.body)
	}
	taken := stranger.do("POST", path+"/amend", map[string]string{"kind": "correction"})
	taken.problem(409, pacs.Conflict, "draft_by_other")
	radiologist.do("DELETE", path+"/draft", nil).want(204)
	radiologist.do("POST", path+"/amend", map[string]string{"kind": "addendum"}).want(200)
	radiologist.draft(task, "Nazorat 3 oydan keyin", 1).want(200)
	radiologist.do("POST", path+"/sign", map[string]int{"revision": 2}).want(200)

	detail := radiologist.do("GET", "/api/studies/"+h.uid(task), nil).want(200)
	if detail.length("reports") != 2 || detail.field("reports.0.version") != "2" || detail.field("reports.0.delivery.state") != "queued" || detail.field("report.kind") != "addendum" ||
		detail.length("priors") != 1 || detail.field("priors.0.study_uid") != prior.StudyInstanceUID {
		t.Errorf("%s", detail.body)
	}
	deliveries := radiologist.do("GET", "/api/deliveries?state=queued&q=karimov", nil).want(200)
	if deliveries.length("deliveries") != 2 || deliveries.field("deliveries.0.version") != "2" || deliveries.field("counts.queued") != "2" || deliveries.field("platform") != "https://platform.example.uz/fhir" {
		t.Errorf("%s", deliveries.body)
	}
	admin.do("POST", "/api/deliveries/"+reportID+"/1/retry", nil).want(202)
	admin.do("DELETE", "/api/admin/rules/"+made.field("id"), nil).want(204)
	if a := radiologist.do("GET", "/api/tasks/"+task.ID, nil).want(200); a.field("rule.name") != "KT" || a.field("state") != "signed" {
		t.Errorf("%s", a.body)
	}

	// Who did and saw what is on record, once each.
	for action, want := range map[string][]string{
		"group.add":      {"administrator group:" + groupID},
		"group.change":   {"administrator group:" + groupID},
		"rule.add":       {"administrator rule:" + made.field("id")},
		"rule.change":    {"administrator rule:" + made.field("id")},
		"rule.remove":    {"administrator rule:" + made.field("id")},
		"task.claim":     {"radiologist task:" + task.ID},
		"report.sign":    {"radiologist report:" + reportID + "/1", "radiologist report:" + reportID + "/2"},
		"report.amend":   {"radiologist report:" + reportID + "/2", "radiologist report:" + reportID + "/2"},
		"report.pdf":     {"radiologist report:" + reportID + "/1"},
		"draft.discard":  {"radiologist task:" + task.ID},
		"delivery.retry": {"administrator report:" + reportID + "/1"},
		"study.view":     {"radiologist study:" + h.uid(task)},
	} {
		h.WantAudited(action, want...)
	}
}

// Whoever looks at a study leaves a line, however often the client asks; and
// whoever is refused leaves none.
func TestViewsAreRecorded(t *testing.T) {
	h := open(t)
	radiologist := h.signIn(h.Radiologist("radiologist"))
	task := h.Task("A")
	path := "/api/studies/" + h.uid(task)
	clinician, elsewhere := h.person("clinician", pacs.Clinician, "A"), h.person("elsewhere", pacs.Clinician, "B")
	machine := h.machine("his", "A", access.ScopeAPI)
	for range 3 {
		clinician.do("GET", path, nil).want(200)
		machine.do("GET", path, nil).want(200)
		elsewhere.do("GET", path, nil).want(404)
		elsewhere.do("GET", "/api/studies/1.2.3", nil).want(404)
	}
	h.WantAudited("study.view", "clinician study:"+h.uid(task), "token:his study:"+h.uid(task))
	h.WantAudited("report.view")
	id := radiologist.signed(task)
	for range 3 {
		clinician.do("GET", path, nil).want(200)
		clinician.do("GET", "/api/tasks/"+task.ID+"/report", nil).want(200)
		clinician.do("GET", "/api/reports/"+id+"/versions/1/pdf", nil).want(200)
		elsewhere.do("GET", "/api/reports/"+id+"/versions/1/pdf", nil).want(404)
	}
	h.WantAudited("report.view", "radiologist report:"+id+"/1", "clinician report:"+id+"/1")
	h.WantAudited("report.pdf", "clinician report:"+id+"/1")
	var remote string
	var facility int64
	if err := h.Index.Pool().QueryRow(t.Context(), `SELECT remote, facility_row FROM audit_event WHERE action = 'study.view' LIMIT 1`).Scan(&remote, &facility); err != nil || remote != "127.0.0.1" || facility != h.A.ID {
		t.Errorf("from %q about facility %d (%v)", remote, facility, err)
	}
}

// What can't be recorded is not shown.
func TestNoViewWithoutARecord(t *testing.T) {
	h := open(t)
	clinician := h.person("clinician", pacs.Clinician, "A")
	task := h.Task("A")
	if _, err := h.Index.Pool().Exec(t.Context(), `ALTER TABLE audit_event ADD CONSTRAINT full_up CHECK (false) NOT VALID`); err != nil {
		t.Fatal(err)
	}
	if a := clinician.do("GET", "/api/studies/"+h.uid(task), nil).want(500); strings.Contains(string(a.body), "Каримов") {
		t.Errorf("%s", a.body)
	}
}

// The same person's studies in other hospitals are priors for who may see them.
func TestPriorsKeepToTheScope(t *testing.T) {
	h := open(t)
	h.Study("B", withPINFL)
	task := h.Task("A", withPINFL)
	for c, want := range map[*caller]int{h.signIn(h.Radiologist("all")): 1, h.person("only-a", pacs.Radiologist, "A"): 0} {
		study := c.do("GET", "/api/studies/"+h.uid(task), nil).want(200)
		seen := c.do("GET", "/api/tasks/"+task.ID, nil).want(200)
		if study.length("priors") != want || seen.field("prior_count") != fmt.Sprint(want) {
			t.Errorf("%s sees %d priors, the task says %s", c.user.Login, study.length("priors"), seen.field("prior_count"))
		}
	}
}

func TestListsInPages(t *testing.T) {
	h := open(t)
	radiologist := h.signIn(h.Radiologist("radiologist"))
	const n = 7
	for i := range n {
		h.Task("A", func(a *index.Addition) {
			a.Patient.Name = "Gʻulomova^Oʻgʻiloy"
			a.Study.Date = fmt.Sprintf("2026112%d", i%2)
		})
	}
	for path, list := range map[string]string{"/api/tasks?view=open": "tasks", "/api/studies?q=Ғуломова": "studies"} {
		path := strings.ReplaceAll(path, "Ғуломова", url.QueryEscape("Ғуломова"))
		seen, after := map[string]bool{}, ""
		for pages := 0; pages < n; pages++ {
			a := radiologist.do("GET", path+"&limit=2&after="+url.QueryEscape(after), nil).want(200)
			for i := range a.length(list) {
				uid := a.field(fmt.Sprintf("%s.%d.study_uid", list, i)) + a.field(fmt.Sprintf("%s.%d.study.study_uid", list, i))
				if seen[uid] {
					t.Errorf("%s: %s is on two pages", path, uid)
				}
				seen[uid] = true
			}
			if after = a.field("next"); after == "" {
				break
			}
		}
		if len(seen) != n {
			t.Errorf("%s: %d on the pages, want %d", path, len(seen), n)
		}
	}
	if a := radiologist.do("GET", "/api/studies?from=20261121&to=20261121&modality=CT&facility=A", nil).want(200); a.length("studies") != 3 {
		t.Errorf("%d studies of the day", a.length("studies"))
	}
	for _, limit := range []string{"0", "-1", "x", "9999999999999999999999"} {
		if a := radiologist.do("GET", "/api/tasks?view=open&limit="+limit, nil).want(200); a.length("tasks") != n {
			t.Errorf("limit %s: %d", limit, a.length("tasks"))
		}
	}
}
