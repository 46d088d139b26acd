package api_test

import (
	"fmt"
	"net/url"
	"slices"
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
	me := fmt.Sprint(radiologist.User.ID)

	group := admin.Do("POST", "/api/admin/groups", map[string]any{"name": "Neyro", "members": []string{me}}).Want(201)
	groupID := group.Field("id")
	rule := map[string]any{"name": "KT", "condition": `"CT" in study.modalities`, "group": groupID, "priority": "urgent", "deadline_minutes": 60}
	made := admin.Do("POST", "/api/admin/rules", rule).Want(201)
	if made.Field("position") != "10" || made.Field("active") != "true" || made.Field("deadline_minutes") != "60" {
		t.Errorf("%s", made.Body)
	}
	rule["condition"] = "study.no_such"
	admin.Do("POST", "/api/admin/rules", rule).Problem(422, pacs.Invalid, "rule_condition")
	admin.Do("PUT", "/api/admin/rules/"+made.Field("id"), rule).Problem(422, pacs.Invalid, "rule_condition")
	rule["condition"] = ""
	if a := admin.Do("PUT", "/api/admin/rules/"+made.Field("id"), rule).Want(200); a.Field("position") != "10" {
		t.Errorf("%s", a.Body)
	}
	admin.Do("PUT", "/api/admin/groups/"+groupID, map[string]any{"name": "Neyroradiologiya", "members": []string{me}}).Want(200)
	admin.Do("POST", "/api/admin/groups", map[string]any{"name": "Neyroradiologiya", "members": []string{}}).Problem(409, pacs.Conflict, "")
	if a := admin.Do("GET", "/api/admin/groups", nil).Want(200); a.Length("groups") != 1 || a.Field("groups.0.members.0") != me {
		t.Errorf("%s", a.Body)
	}

	prior := h.Study("A", withPINFL)
	task := h.Task("A", withPINFL)
	list := radiologist.Do("GET", "/api/tasks", nil).Want(200)
	if list.Length("tasks") != 1 || list.Field("tasks.0.rule.name") != "KT" || list.Field("tasks.0.group.name") != "Neyroradiologiya" || list.Field("tasks.0.priority") != "urgent" ||
		list.Field("tasks.0.prior_count") != "1" || list.Field("tasks.0.study.patient.name") != "Каримов Али Бахтиёрович" || list.Field("tasks.0.study.patient.name_other") != "Karimov Ali Baxtiyorovich" ||
		list.Field("tasks.0.study.patient.age") != "68" || list.Field("tasks.0.study.complete") != "true" || list.Field("tasks.0.study.task_id") != task.ID ||
		list.Field("counts.groups") != "1" || list.Field("counts.mine") != "0" || list.Value("next") != nil {
		t.Errorf("%s", list.Body)
	}
	stranger.Do("POST", "/api/tasks/"+task.ID+"/claim", nil).Problem(403, pacs.Forbidden, "")
	next := radiologist.Do("POST", "/api/tasks/next", nil).Want(200)
	if next.Field("id") != task.ID || next.Field("claimed_by.id") != me || next.Field("claimed_by.me") != "true" || next.Field("state") != "claimed" {
		t.Errorf("%s", next.Body)
	}
	other := stranger.Do("POST", "/api/tasks/"+task.ID+"/claim", nil)
	other.Problem(409, pacs.Conflict, "claimed_by_other")
	if other.Field("who") != radiologist.User.Name {
		t.Errorf("%s", other.Body)
	}
	if a := stranger.Do("GET", "/api/tasks/"+task.ID, nil).Want(200); a.Field("claimed_by.me") != "false" {
		t.Errorf("%s", a.Body)
	}

	path := "/api/tasks/" + task.ID + "/report"
	if a := radiologist.Do("GET", path, nil).Want(200); a.Value("id") != nil || a.Value("draft") != nil || a.Field("study_uid") != h.uid(task) {
		t.Errorf("before the first save: %s", a.Body)
	}
	radiologist.Do("POST", path+"/sign", map[string]int{"revision": 0}).Problem(422, pacs.Invalid, "empty_report")
	radiologist.draft(task, "", 0).Want(200)
	radiologist.Do("POST", path+"/sign", map[string]int{"revision": 1}).Problem(422, pacs.Invalid, "empty_report")
	radiologist.draft(task, findings, 0).Problem(409, pacs.Conflict, "stale_revision")
	if a := radiologist.draft(task, findings, 1).Want(200); a.Field("revision") != "2" || a.Field("kind") != "final" {
		t.Errorf("%s", a.Body)
	}
	stranger.draft(task, "mine", 2).Problem(409, pacs.Conflict, "claimed_by_other")
	radiologist.Do("POST", path+"/sign", map[string]int{"revision": 1}).Problem(409, pacs.Conflict, "stale_revision")
	signed := radiologist.Do("POST", path+"/sign", map[string]int{"revision": 2}).Want(200)
	if signed.Length("versions") != 1 || signed.Field("versions.0.delivery.state") != "queued" || signed.Value("draft") != nil || signed.Field("versions.0.signed_by") != radiologist.User.Name {
		t.Errorf("%s", signed.Body)
	}
	reportID := signed.Field("id")
	radiologist.Do("POST", path+"/sign", map[string]int{"revision": 2}).Problem(409, pacs.Conflict, "already_signed")
	radiologist.Do("POST", "/api/tasks/"+task.ID+"/release", nil).Problem(409, pacs.Conflict, "already_signed")

	pdf := radiologist.Do("GET", "/api/reports/"+reportID+"/versions/1/pdf", nil).Want(200)
	if !strings.HasPrefix(string(pdf.Body), "%PDF-") || !strings.Contains(pdf.Header.Get("Cache-Control"), "no-store") || !strings.HasPrefix(pdf.Header.Get("Content-Disposition"), "inline") {
		t.Errorf("%v %.20q", pdf.Header, pdf.Body)
	}
	begun := radiologist.Do("POST", path+"/amend", map[string]string{"kind": "correction"}).Want(200)
	if begun.Field("draft.sections.findings") != findings || begun.Field("draft.kind") != "correction" {
		t.Errorf("%s", begun.Body)
	}
	taken := stranger.Do("POST", path+"/amend", map[string]string{"kind": "correction"})
	taken.Problem(409, pacs.Conflict, "draft_by_other")
	radiologist.Do("DELETE", path+"/draft", nil).Want(204)
	radiologist.Do("POST", path+"/amend", map[string]string{"kind": "addendum"}).Want(200)
	radiologist.draft(task, "Nazorat 3 oydan keyin", 1).Want(200)
	radiologist.Do("POST", path+"/sign", map[string]int{"revision": 2}).Want(200)

	detail := radiologist.Do("GET", "/api/studies/"+h.uid(task), nil).Want(200)
	if detail.Length("reports") != 2 || detail.Field("reports.0.version") != "2" || detail.Field("reports.0.delivery.state") != "queued" || detail.Field("report.kind") != "addendum" ||
		detail.Length("priors") != 1 || detail.Field("priors.0.study_uid") != prior.StudyInstanceUID {
		t.Errorf("%s", detail.Body)
	}
	deliveries := radiologist.Do("GET", "/api/deliveries?state=queued&q=karimov", nil).Want(200)
	if deliveries.Length("deliveries") != 2 || deliveries.Field("deliveries.0.version") != "2" || deliveries.Field("counts.queued") != "2" || deliveries.Field("platform") != "https://platform.example.uz/fhir" {
		t.Errorf("%s", deliveries.Body)
	}
	admin.Do("POST", "/api/deliveries/"+reportID+"/1/retry", nil).Want(202)
	admin.Do("DELETE", "/api/admin/rules/"+made.Field("id"), nil).Want(204)
	if a := radiologist.Do("GET", "/api/tasks/"+task.ID, nil).Want(200); a.Field("rule.name") != "KT" || a.Field("state") != "signed" {
		t.Errorf("%s", a.Body)
	}

	// Who did and saw what is on record, once each.
	for action, want := range map[string][]string{
		"group.add":      {"administrator group:" + groupID},
		"group.change":   {"administrator group:" + groupID},
		"rule.add":       {"administrator rule:" + made.Field("id")},
		"rule.change":    {"administrator rule:" + made.Field("id")},
		"rule.remove":    {"administrator rule:" + made.Field("id")},
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
		clinician.Do("GET", path, nil).Want(200)
		machine.Do("GET", path, nil).Want(200)
		elsewhere.Do("GET", path, nil).Want(404)
		elsewhere.Do("GET", "/api/studies/1.2.3", nil).Want(404)
	}
	h.WantAudited("study.view", "clinician study:"+h.uid(task), "token:his study:"+h.uid(task))
	h.WantAudited("report.view")
	id := radiologist.signed(task)
	for range 3 {
		clinician.Do("GET", path, nil).Want(200)
		clinician.Do("GET", "/api/tasks/"+task.ID+"/report", nil).Want(200)
		clinician.Do("GET", "/api/reports/"+id+"/versions/1/pdf", nil).Want(200)
		elsewhere.Do("GET", "/api/reports/"+id+"/versions/1/pdf", nil).Want(404)
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
	if a := clinician.Do("GET", "/api/studies/"+h.uid(task), nil).Want(500); strings.Contains(string(a.Body), "Каримов") {
		t.Errorf("%s", a.Body)
	}
}

// The same person's studies in other hospitals are priors for who may see them.
func TestPriorsKeepToTheScope(t *testing.T) {
	h := open(t)
	h.Study("B", withPINFL)
	task := h.Task("A", withPINFL)
	for c, want := range map[*caller]int{h.signIn(h.Radiologist("all")): 1, h.person("only-a", pacs.Radiologist, "A"): 0} {
		study := c.Do("GET", "/api/studies/"+h.uid(task), nil).Want(200)
		seen := c.Do("GET", "/api/tasks/"+task.ID, nil).Want(200)
		if study.Length("priors") != want || seen.Field("prior_count") != fmt.Sprint(want) {
			t.Errorf("%s sees %d priors, the task says %s", c.User.Login, study.Length("priors"), seen.Field("prior_count"))
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
			a := radiologist.Do("GET", path+"&limit=2&after="+url.QueryEscape(after), nil).Want(200)
			for i := range a.Length(list) {
				uid := a.Field(fmt.Sprintf("%s.%d.study_uid", list, i)) + a.Field(fmt.Sprintf("%s.%d.study.study_uid", list, i))
				if seen[uid] {
					t.Errorf("%s: %s is on two pages", path, uid)
				}
				seen[uid] = true
			}
			if after = a.Field("next"); after == "" {
				break
			}
		}
		if len(seen) != n {
			t.Errorf("%s: %d on the pages, want %d", path, len(seen), n)
		}
	}
	if a := radiologist.Do("GET", "/api/studies?from=20261121&to=20261121&modality=CT&facility=A", nil).Want(200); a.Length("studies") != 3 {
		t.Errorf("%d studies of the day", a.Length("studies"))
	}
	for _, limit := range []string{"0", "-1", "x", "9999999999999999999999"} {
		if a := radiologist.Do("GET", "/api/tasks?view=open&limit="+limit, nil).Want(200); a.Length("tasks") != n {
			t.Errorf("limit %s: %d", limit, a.Length("tasks"))
		}
	}
}

func TestListsAreSorted(t *testing.T) {
	h := open(t)
	radiologist := h.signIn(h.Radiologist("radiologist"))
	// In the order in which they come; names by the Uzbek alphabet.
	for _, s := range []struct{ name, date string }{{"Sobirov^Ali", "20261120"}, {"Shodiyev^Ali", "20261122"}, {"Zokirov^Ali", "20261121"}} {
		h.Task("A", func(a *index.Addition) { a.Patient.Name, a.Study.Date = s.name, s.date })
	}
	for sort, want := range map[string][]string{
		"":                {"Shodiyev", "Zokirov", "Sobirov"},
		"date":            {"Shodiyev", "Zokirov", "Sobirov"},
		"received":        {"Zokirov", "Shodiyev", "Sobirov"},
		"name":            {"Sobirov", "Zokirov", "Shodiyev"},
		"name&facility=A": {"Sobirov", "Zokirov", "Shodiyev"},
	} {
		var got []string
		for after, more := "", true; more; more = after != "" {
			a := radiologist.Do("GET", "/api/studies?limit=2&sort="+sort+"&after="+url.QueryEscape(after), nil).Want(200)
			for i := range a.Length("studies") {
				family, _, _ := strings.Cut(a.Field(fmt.Sprintf("studies.%d.patient.name", i)), " ")
				got = append(got, family)
			}
			after = a.Field("next")
		}
		if !slices.Equal(got, want) {
			t.Errorf("by %q: %v, want %v", sort, got, want)
		}
	}
	radiologist.Do("GET", "/api/studies?sort=size", nil).Want(400)
}
