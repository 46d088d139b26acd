package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/web/webtest"
)

// Who gets what on every route. Each request is made so that the permitted
// change nothing: they hear of the state instead.
func TestPermissions(t *testing.T) {
	h := open(t)
	radiologist := h.signIn(h.Radiologist("radiologist"))
	task := h.Task("A")
	reportID := radiologist.signed(task)
	if _, err := h.Index.Pool().Exec(t.Context(), `UPDATE report_delivery SET state = 'delivered'`); err != nil {
		t.Fatal(err)
	}
	requested := h.order()
	stale := map[string]any{"revision": 9, "patient": map[string]string{"name": "A"}, "steps": []any{map[string]string{"modality": "CT", "start": "2026-11-22T09:30"}}}
	callers := map[string]*caller{
		"radiologist":  radiologist,
		"radiologistB": h.person("radiologist-b", pacs.Radiologist, "B"),
		"clinicianA":   h.person("clinician-a", pacs.Clinician, "A"),
		"clinicianB":   h.person("clinician-b", pacs.Clinician, "B"),
		"technicianA":  h.person("technician-a", pacs.Technician, "A"),
		"registrarA":   h.person("registrar-a", pacs.Registrar, "A"),
		"managerA":     h.person("manager-a", pacs.FacilityAdministrator, "A"),
		"managerB":     h.person("manager-b", pacs.FacilityAdministrator, "B"),
		"admin":        h.person("administrator", pacs.Administrator),
		"machine":      h.machine("all", "", access.ScopeAPI),
		"machineB":     h.machine("b", "B", access.ScopeAPI),
		"modality":     h.machine("images", "A", access.ScopeDICOMwebRead, access.ScopeDICOMwebWrite),
		"his":          h.machine("his", "A", access.ScopeOrders),
		"nobody":       {&webtest.Caller{Server: h.server}, h},
	}
	order := strings.Fields("radiologist radiologistB clinicianA clinicianB technicianA managerA managerB admin machine machineB modality nobody registrarA his")
	base := "/api/tasks/" + task.ID
	version := "/api/reports/" + reportID + "/versions/1/pdf"
	for _, row := range []struct {
		method, path string
		body         any
		want         string
	}{
		// rad radB cliA cliB tech manA manB adm mach machB mod nobody reg his
		{"GET", "/api/tasks", nil, "200 200 403 403 403 200 200 200 200 200 403 401 403 403"},
		{"POST", "/api/tasks/next", nil, "404 404 403 403 403 403 403 403 403 403 403 401 403 403"},
		{"GET", base, nil, "200 404 403 403 403 200 404 200 200 404 403 401 403 403"},
		{"POST", base + "/claim", nil, "409 404 403 403 403 403 403 403 403 403 403 401 403 403"},
		{"POST", base + "/release", nil, "409 404 403 403 403 403 403 403 403 403 403 401 403 403"},
		{"GET", base + "/report", nil, "200 404 200 404 403 403 403 200 200 404 403 401 403 403"},
		{"PUT", base + "/report/draft", map[string]any{"sections": map[string]string{}, "language": "ru"}, "409 404 403 403 403 403 403 403 403 403 403 401 403 403"},
		{"DELETE", base + "/report/draft", nil, "204 404 403 403 403 403 403 403 403 403 403 401 403 403"},
		{"POST", base + "/report/sign", map[string]int{"revision": 1}, "409 404 403 403 403 403 403 403 403 403 403 401 403 403"},
		{"POST", base + "/report/amend", map[string]string{"kind": "final"}, "400 400 403 403 403 403 403 403 403 403 403 401 403 403"},
		{"GET", version, nil, "200 404 200 404 403 403 403 200 200 404 403 401 403 403"},
		{"GET", "/api/studies", nil, "200 200 200 200 200 200 200 200 200 200 403 401 403 403"},
		{"GET", "/api/studies/" + h.uid(task), nil, "200 404 200 404 200 200 404 200 200 404 403 401 403 403"},
		{"GET", "/api/deliveries", nil, "200 200 403 403 403 200 200 200 200 200 403 401 403 403"},
		{"POST", "/api/deliveries/" + reportID + "/1/retry", nil, "403 403 403 403 403 403 403 409 409 404 403 401 403 403"},
		{"GET", "/api/orders", nil, "200 200 200 200 200 200 200 200 200 200 403 401 200 200"},
		{"POST", "/api/orders", map[string]any{"facility": "A"}, "403 403 422 422 422 422 422 422 403 403 403 401 422 422"},
		{"GET", "/api/orders/" + requested.ID, nil, "200 404 200 404 200 200 404 200 200 404 403 401 200 200"},
		{"PUT", "/api/orders/" + requested.ID, stale, "403 403 409 404 409 409 404 409 403 403 403 401 409 409"},
		{"POST", "/api/orders/" + requested.ID + "/state", map[string]any{"state": "arrived", "revision": 9}, "403 403 409 404 409 409 404 409 403 403 403 401 409 409"},
		{"GET", "/api/order-patients?q=kari", nil, "403 403 200 200 200 200 200 200 403 403 403 401 200 200"},
		{"GET", "/api/order-stations", nil, "200 200 200 200 200 200 200 200 200 200 403 401 200 200"},
		{"GET", "/api/admin/groups", nil, "403 403 403 403 403 403 403 200 403 403 403 401 403 403"},
		{"POST", "/api/admin/groups", map[string]string{"name": ""}, "403 403 403 403 403 403 403 400 403 403 403 401 403 403"},
		{"PUT", "/api/admin/groups/999", map[string]string{"name": "X"}, "403 403 403 403 403 403 403 404 403 403 403 401 403 403"},
		{"GET", "/api/admin/rules", nil, "403 403 403 403 403 403 403 200 403 403 403 401 403 403"},
		{"POST", "/api/admin/rules", map[string]string{"name": ""}, "403 403 403 403 403 403 403 400 403 403 403 401 403 403"},
		{"PUT", "/api/admin/rules/999", map[string]any{"name": "X", "group": "1", "priority": "stat", "deadline_minutes": 5}, "403 403 403 403 403 403 403 404 403 403 403 401 403 403"},
		{"DELETE", "/api/admin/rules/999", nil, "403 403 403 403 403 403 403 404 403 403 403 401 403 403"},
	} {
		var got []string
		for _, who := range order {
			a := callers[who].Do(row.method, row.path, row.body)
			got = append(got, a.Status[:3])
		}
		if text := strings.Join(got, " "); text != row.want {
			t.Errorf("%s %s\n%s\ngot  %s\nwant %s", row.method, row.path, strings.Join(order, " "), text, row.want)
		}
	}

	// A page of another site can't make a signed-in browser change anything.
	for _, row := range [][2]string{
		{"POST", "/api/tasks/next"},
		{"POST", base + "/claim"},
		{"POST", base + "/release"},
		{"PUT", base + "/report/draft"},
		{"DELETE", base + "/report/draft"},
		{"POST", "/api/orders"},
		{"PUT", "/api/orders/" + requested.ID},
		{"POST", "/api/orders/" + requested.ID + "/state"},
		{"POST", base + "/report/sign"},
		{"POST", base + "/report/amend"},
	} {
		for name, value := range map[string]string{"X-CSRF-Token": "guessed", "Sec-Fetch-Site": "cross-site"} {
			radiologist.Do(row[0], row[1], "{}", func(r *http.Request) { r.Header.Set(name, value) }).Problem(403, pacs.Forbidden, "csrf")
		}
	}
	admin := callers["admin"]
	for _, row := range [][2]string{
		{"POST", "/api/deliveries/" + reportID + "/1/retry"},
		{"POST", "/api/admin/groups"},
		{"PUT", "/api/admin/groups/1"},
		{"POST", "/api/admin/rules"},
		{"PUT", "/api/admin/rules/1"},
		{"DELETE", "/api/admin/rules/1"},
	} {
		admin.Do(row[0], row[1], "{}", func(r *http.Request) { r.Header.Del("X-CSRF-Token") }).Problem(403, pacs.Forbidden, "csrf")
	}
}

// What a clinician sees of their own hospital: pictures and signed reports, and
// nothing of what is still being written.
func TestAClinicianSeesSignedReportsOnly(t *testing.T) {
	h := open(t)
	radiologist := h.signIn(h.Radiologist("radiologist"))
	own, elsewhere, unread := h.Task("A"), h.Task("B"), h.Task("A")
	reportID := radiologist.signed(own)
	radiologist.signed(elsewhere)
	radiologist.Do("POST", "/api/tasks/"+unread.ID+"/claim", nil).Want(200)
	radiologist.draft(unread, "half a thought", 0).Want(200)
	radiologist.Do("POST", "/api/tasks/"+own.ID+"/report/amend", map[string]string{"kind": "correction"}).Want(200)
	radiologist.draft(own, "second thoughts", 1).Want(200)

	clinician := h.person("clinician", pacs.Clinician, "A")
	studies := clinician.Do("GET", "/api/studies", nil).Want(200)
	if studies.Length("studies") != 2 {
		t.Errorf("the clinician sees %d studies: %s", studies.Length("studies"), studies.Body)
	}
	detail := clinician.Do("GET", "/api/studies/"+h.uid(own), nil).Want(200)
	if detail.Length("reports") != 1 || detail.Field("reports.0.sections.findings") != findings || detail.Field("report.id") != reportID || detail.Length("series") != 2 || detail.Field("series.0.middle_instance_uid") == "" {
		t.Errorf("the study: %s", detail.Body)
	}
	seen := clinician.Do("GET", "/api/tasks/"+own.ID+"/report", nil).Want(200)
	if seen.Length("versions") != 1 || seen.Field("versions.0.sections.findings") != findings {
		t.Errorf("the report: %s", seen.Body)
	}
	nothing := clinician.Do("GET", "/api/tasks/"+unread.ID+"/report", nil).Want(200)
	if nothing.Length("versions") != 0 {
		t.Errorf("the unsigned report: %s", nothing.Body)
	}
	for _, a := range []*webtest.Answer{studies, detail, seen, nothing, clinician.Do("GET", "/api/studies/"+h.uid(unread), nil).Want(200)} {
		for _, word := range []string{"thought", "draft", `"task_id":"` + own.ID + `","`, "delivery"} {
			if a == seen && strings.HasPrefix(word, `"task_id"`) {
				continue // they asked for it by that id
			}
			if strings.Contains(string(a.Body), word) {
				t.Errorf("%s shows %q: %s", a.Request, word, a.Body)
			}
		}
	}
	clinician.Do("GET", "/api/studies/"+h.uid(elsewhere), nil).Problem(404, pacs.NotFound, "")
	clinician.Do("GET", "/api/tasks/"+elsewhere.ID+"/report", nil).Problem(404, pacs.NotFound, "")

	// A technician sees that there are pictures, and a manager that there is
	// work, but neither what the report says, nor who wrote it.
	for who, c := range map[string]*caller{"technician": h.person("technician", pacs.Technician, "A"), "manager": h.person("manager", pacs.FacilityAdministrator, "A")} {
		for _, path := range []string{"/api/studies", "/api/studies/" + h.uid(own)} {
			a := c.Do("GET", path, nil).Want(200)
			for _, word := range []string{findings, reportID, "signed_by", "Nilufar"} {
				if strings.Contains(string(a.Body), word) {
					t.Errorf("%s: %s shows %q: %s", who, path, word, a.Body)
				}
			}
		}
	}
	manager := h.signIn(h.Person("manager2", pacs.FacilityAdministrator, "A"))
	if tasks := manager.Do("GET", "/api/tasks?view=open", nil).Want(200); tasks.Length("tasks") != 1 || strings.Contains(string(tasks.Body), "signed_by") {
		t.Errorf("the manager's tasks: %s", tasks.Body)
	}
	if a := manager.Do("GET", "/api/deliveries", nil).Want(200); a.Length("deliveries") != 1 || strings.Contains(string(a.Body), findings) {
		t.Errorf("the manager's deliveries: %s", a.Body)
	}
}

// A draft is its author's and the holder's. Others hear whose it is.
func TestWhoSeesADraft(t *testing.T) {
	h := open(t)
	author, colleague := h.signIn(h.Radiologist("author")), h.person("colleague", pacs.Radiologist)
	task := h.Task("A")
	path := "/api/tasks/" + task.ID
	author.Do("POST", path+"/claim", nil).Want(200)
	author.draft(task, "half a thought", 0).Want(200)
	mine := author.Do("GET", path+"/report", nil).Want(200)
	if mine.Field("draft.sections.findings") != "half a thought" || mine.Field("draft_by") != "" {
		t.Errorf("the author sees %s", mine.Body)
	}
	for _, c := range []*caller{colleague, h.person("administrator", pacs.Administrator), h.machine("m", "", access.ScopeAPI)} {
		if a := c.Do("GET", path+"/report", nil).Want(200); strings.Contains(string(a.Body), "thought") {
			t.Errorf("%s %s", a.Request, a.Body)
		}
	}
	if a := colleague.Do("GET", path+"/report", nil); a.Field("draft_by") != author.User.Name {
		t.Errorf("a colleague sees %s", a.Body)
	}
	author.Do("POST", path+"/release", nil).Want(200)
	colleague.Do("POST", path+"/claim", nil).Want(200)
	if a := colleague.Do("GET", path+"/report", nil).Want(200); a.Field("draft.sections.findings") != "half a thought" || a.Field("draft_by") != author.User.Name {
		t.Errorf("who holds the task sees %s", a.Body)
	}
	h.WantAudited("report.view", "author report:"+mine.Field("id")+"/0", "colleague report:"+mine.Field("id")+"/0")
}
