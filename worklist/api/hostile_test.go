package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// Nothing that a client can send is answered with an internal error.
func TestHostileRequests(t *testing.T) {
	h := open(t)
	admin, radiologist := h.person("administrator", pacs.Administrator), h.signIn(h.Radiologist("radiologist"))
	task := h.Task("A")
	base := "/api/tasks/" + task.ID
	reportID := radiologist.signed(h.Task("A"))
	radiologist.Do("POST", base+"/claim", nil).Want(200)
	group := admin.Do("POST", "/api/admin/groups", map[string]any{"name": "G", "members": []string{}}).Want(201).Field("id")
	rule := func(change string) string {
		return `{"name": "R", "condition": "", "group": "` + group + `", "priority": "stat", "deadline_minutes": 5` + change + `}`
	}
	for _, row := range []struct {
		who          *caller
		method, path string
		body         any
		status       int
	}{
		{radiologist, "GET", "/api/tasks?q=%00", nil, 400},
		{radiologist, "GET", "/api/tasks?q=%ff%fe", nil, 400},
		{radiologist, "GET", "/api/tasks?facility=%00", nil, 400},
		{radiologist, "GET", "/api/tasks?view=everything", nil, 400},
		{radiologist, "GET", "/api/tasks?after=AAAA", nil, 400},
		{radiologist, "GET", "/api/tasks?q=" + strings.Repeat("a+", 2_000), nil, 400},
		{radiologist, "GET", "/api/tasks?priority='", nil, 200},
		{radiologist, "GET", "/api/tasks/%00", nil, 400},
		{radiologist, "GET", "/api/tasks/%ff", nil, 400},
		{radiologist, "GET", "/api/tasks/x'--", nil, 404},
		{radiologist, "GET", "/api/studies/%00", nil, 400},
		{radiologist, "GET", "/api/studies/..%2f..%2fetc", nil, 404},
		{radiologist, "GET", "/api/studies?q=%00&after=x", nil, 400},
		{radiologist, "GET", "/api/studies?after=x", nil, 400},
		{radiologist, "GET", "/api/studies?from=yesterday", nil, 200},
		{radiologist, "GET", "/api/studies?q=" + strings.Repeat("a+", 2_000), nil, 400},
		{radiologist, "GET", "/api/deliveries?state=lost", nil, 400},
		{radiologist, "GET", "/api/deliveries?after=2026-11-21T10:00:00Z", nil, 400},
		{radiologist, "GET", "/api/deliveries?q=" + strings.Repeat("a+", 2_000), nil, 400},
		{radiologist, "GET", "/api/reports/" + reportID + "/versions/99999999999/pdf", nil, 404},
		{radiologist, "GET", "/api/reports/" + reportID + "/versions/x/pdf", nil, 404},
		{radiologist, "GET", "/api/reports/" + reportID + "/versions/-1/pdf", nil, 404},
		{radiologist, "GET", "/api/reports/%00/versions/1/pdf", nil, 400},
		{radiologist, "PUT", base + "/report/draft", "{", 400},
		{radiologist, "PUT", base + "/report/draft", "[]", 400},
		{radiologist, "PUT", base + "/report/draft", `{"sections": "x"}`, 400},
		{radiologist, "PUT", base + "/report/draft", `{"language": "ru"} {}`, 400},
		{radiologist, "PUT", base + "/report/draft", `{"language": "ru", "revision": 1e99}`, 400},
		{radiologist, "PUT", base + "/report/draft", `{"language": "ru", "revision": 99999999999}`, 409},
		{radiologist, "PUT", base + "/report/draft", `{"language": "de"}`, 400},
		{radiologist, "PUT", base + "/report/draft", `{"language": "ru", "sections": {"findings": "` + strings.Repeat("я", 20_001) + `"}}`, 400},
		{radiologist, "PUT", base + "/report/draft", `{"language": "ru", "sections": {"findings": "` + strings.Repeat("x", 2<<20) + `"}}`, 413},
		{radiologist, "PUT", base + "/report/draft", `{"language": "ru", "sections": {"findings": "a\u0000b\ud800"}}`, 200},
		{radiologist, "POST", base + "/report/sign", `{"revision": "1"}`, 400},
		{radiologist, "POST", base + "/report/sign", "", 400},
		{radiologist, "POST", base + "/report/amend", `{"kind": 1}`, 400},
		{radiologist, "POST", base + "/report/amend", `{"kind": "\u0000"}`, 400},
		{radiologist, "POST", base + "/report/amend", `{"kind": "correction"}`, 409},
		{radiologist, "PATCH", base, "{}", 405},
		{admin, "POST", "/api/deliveries/" + reportID + "/99999999999/retry", nil, 404},
		{admin, "POST", "/api/deliveries/x/1/retry", nil, 404},
		{admin, "POST", "/api/admin/groups", `{"name": "a\u0000b", "members": []}`, 400},
		{admin, "POST", "/api/admin/groups", `{"name": "X", "members": ["me"]}`, 400},
		{admin, "POST", "/api/admin/groups", `{"name": "X", "members": ["99999999999999999999"]}`, 400},
		{admin, "POST", "/api/admin/groups", `{"name": "X", "members": ["999999"]}`, 409},
		{admin, "POST", "/api/admin/groups", `{"name": "X"}`, 201},
		{admin, "PUT", "/api/admin/groups/99999999999999999999", `{"name": "X"}`, 404},
		{admin, "PUT", "/api/admin/groups/x", `{"name": "X"}`, 404},
		{admin, "POST", "/api/admin/rules", rule(`, "position": 99999999999`), 400},
		{admin, "POST", "/api/admin/rules", rule(`, "deadline_minutes": 9223372036854775807`), 400},
		{admin, "POST", "/api/admin/rules", rule(`, "deadline_minutes": -5`), 400},
		// 2^64 nanoseconds and a bit: as a duration, some minutes.
		{admin, "POST", "/api/admin/rules", rule(`, "deadline_minutes": 307445739`), 400},
		{admin, "POST", "/api/admin/rules", rule(`, "group": ""`), 400},
		{admin, "POST", "/api/admin/rules", rule(`, "group": "999999"`), 409},
		{admin, "POST", "/api/admin/rules", rule(`, "condition": "\u0000"`), 422},
		{admin, "POST", "/api/admin/rules", rule(`, "condition": "` + strings.Repeat("(", 1_900) + `"`), 422},
		{admin, "POST", "/api/admin/rules", rule(`, "name": "\u0000"`), 400},
		{admin, "POST", "/api/admin/rules", rule(""), 201},
	} {
		a := row.who.Do(row.method, row.path, row.body)
		if a.StatusCode != row.status {
			t.Errorf("%s %.80s %.80v: got %s, want %d: %.300s", row.method, row.path, row.body, a.Status, row.status, a.Body)
		}
	}
	radiologist.Do("POST", base+"/report/sign", "{}", func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }).Problem(415, pacs.Unsupported, "")
	if text := h.server.Log.String(); strings.Contains(text, `"level":"ERROR"`) {
		t.Errorf("the log has errors: %s", text)
	}
}
