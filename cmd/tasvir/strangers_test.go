package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/phantom"
)

// operations are the methods and paths of an OpenAPI document.
func operations(t *testing.T, file string) (list [][2]string) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct{ Paths map[string]map[string]any }
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		for _, method := range []string{"get", "post", "put", "delete"} {
			if _, there := doc.Paths[path][method]; there {
				list = append(list, [2]string{strings.ToUpper(method), path})
			}
		}
	}
	return list
}

// webOperations are those that DICOMweb's description of itself names.
func (a *archive) webOperations(p *person) (list [][2]string) {
	a.t.Helper()
	rq, err := http.NewRequestWithContext(a.t.Context(), http.MethodOptions, a.web+"/dicom-web/", nil)
	if err != nil {
		a.t.Fatal(err)
	}
	rq.Header.Set("Accept", "application/json")
	answer, err := p.http.Do(rq)
	if err != nil {
		a.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	var doc struct {
		Resources []struct {
			Path    string
			Methods []struct{ Name string }
		}
	}
	if err := json.NewDecoder(answer.Body).Decode(&doc); err != nil {
		a.t.Fatal(err)
	}
	for _, r := range doc.Resources {
		for _, m := range r.Methods {
			list = append(list, [2]string{m.Name, r.Path})
		}
	}
	return list
}

// caller asks as somebody; it returns the status and the body.
type caller func(method, path, media string, body []byte) (int, string)

func (p *person) asks() caller {
	return func(method, path, media string, body []byte) (int, string) {
		return asks(p.t, &p.http, p.base+path, method, media, body, "X-CSRF-Token", p.csrf)
	}
}

func tokenAsks(a *archive, token string) caller {
	return func(method, path, media string, body []byte) (int, string) {
		return asks(a.t, http.DefaultClient, a.web+path, method, media, body, "Authorization", "Bearer "+token)
	}
}

func asks(t *testing.T, client *http.Client, url, method, media string, body []byte, header, value string) (int, string) {
	t.Helper()
	rq, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	rq.Header.Set(header, value)
	if body != nil {
		rq.Header.Set("Content-Type", media)
	} else {
		rq.Header.Set("Accept", "*/*")
	}
	answer, err := client.Do(rq)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(raw)
}

// What belongs to one facility can't be seen, named or touched by anybody of
// another, who has every role but the administrator's, or a token with every
// scope: each operation of the client's API, of the administration and of
// DICOMweb, found in their own descriptions, so that a new one fails here until
// it is said what its parameters name.
func TestStrangersFindNothing(t *testing.T) {
	peer := startNode(t, &dimse.Server{}, &storeNode{})
	a := startArchive(t, nil, "--commitment-patience", "1s")
	h := furnish(a)
	a.tasvir("", "device", "change", "URGUT_CT1", "--service", "store,query,retrieve,commitment")
	a.tasvir("", "device", "add", "URGUT_WS", "URGUT", "--address", peer, "--destination")
	a.tasvir(password, "user", "add", "begona", "--name", "Begona Begona", "--role", "radiologist,clinician,technician,registrar,facility_administrator", "--facility", "NUKUS")
	stranger := a.signIn("begona", password)
	callers := map[string]caller{
		"person": stranger.asks(),
		"token":  tokenAsks(a, strings.TrimSpace(a.tasvir("", "token", "create", "begona", "--facility", "NUKUS", "--scope", "dicomweb:read,dicomweb:write,api,orders,ups"))),
	}

	// What there is to be found.
	admin := h.admin
	made := func(method, path string, in, out any) {
		t.Helper()
		if status := admin.call(method, path, in, out); status != http.StatusOK && status != http.StatusCreated && status != http.StatusAccepted {
			t.Fatalf("%s %s: %d", method, path, status)
		}
	}
	var rule, node, policy struct{ ID string }
	made("POST", "/api/admin/forwarding/rules", forwardRule("To the workstation", "device", "URGUT_WS"), &rule)
	made("POST", "/api/admin/forwarding/nodes", map[string]any{"name": "Far away", "url": "https://pacs.example.uz/dicom-web", "authorization": "none"}, &node)
	study := phantom.Small(phantom.HeadCT, 2)
	study.Family, study.Given, study.Patient.ID = "SIRLIYEV", "SIRLI", "SIR-4711"
	uid := study.StudyInstanceUID()
	h.send("URGUT_CT1", study)
	h.expect(study, 2)
	var series, sop string
	for i, err := range study.Instances() {
		if err != nil {
			t.Fatal(err)
		}
		series, sop = i.SeriesInstanceUID, i.SOPInstanceUID
	}
	bad := join(element(0x0008, 0x0016, "UI", ctImageStorage), element(0x0008, 0x0018, "UI", "1.2.9.9.1"), element(0x0010, 0x0010, "PN", "SIRLIYEV^YASHIRIN"),
		element(0x0010, 0x0020, "LO", "SIR-4711"), element(0x0020, 0x000D, "UI", "bad"), element(0x0020, 0x000E, "UI", "1.2.9.9"))
	if status := storeOne(t, a, "1.2.9.9.1", bad); status.Code != dimse.Success {
		t.Fatal(status)
	}
	quarantined, _ := h.ward(1)
	task := h.onlyTask(h.radiologist).ID
	h.radiologist.must(http.StatusOK, h.radiologist.call("POST", "/api/tasks/"+task+"/claim", nil, nil))
	report := h.sign(task, "SIRLI findings", "SIRLI impression")
	var order struct {
		ID    string
		Steps []struct{ UID, ID string }
	}
	h.clinician.must(http.StatusCreated, h.clinician.call("POST", "/api/orders", map[string]any{
		"facility": "URGUT", "priority": "stat", "reason": "SIRLI", "patient": map[string]string{"name": "SIRLIYEV^SIRLI", "patient_id": "SIR-4711", "sex": "M", "birth_date": "19580512"},
		"steps": []any{map[string]any{"modality": "CT", "start": "2026-11-22T09:30", "description": "SIRLI"}},
	}, &order))
	k := askFrom(t, a, "URGUT_CT1")
	if status := k.ask("1.2.9.9.2", map[string]string{sop: ctImageStorage}); status.Code != dimse.Success {
		t.Fatal(status)
	}
	id := func(path, list string) (id string) {
		t.Helper()
		eventually(t, path+" has something", func() bool {
			var all map[string]any
			made("GET", path, nil, &all)
			if found, _ := all[list].([]any); len(found) > 0 {
				id = fmt.Sprint(found[0].(map[string]any)["id"])
			}
			return id != ""
		})
		return id
	}
	commitment := id("/api/admin/commitments", "commitments")
	item := id("/api/admin/forwarding/queue", "items")
	patient := id("/api/admin/patients?q=SIRLIYEV", "patients")
	association := id("/api/admin/associations?ae=URGUT_CT1", "associations")
	target := id("/api/admin/forwarding/targets", "targets")
	var detail struct {
		Patient struct{ Revision int }
		History []struct{ ID string }
	}
	made("GET", "/api/admin/patients/"+patient, nil, &detail)
	demographics := map[string]any{"name": "SIRLIYEV^SIRLI^A"}
	made("POST", "/api/admin/patients/"+patient+"/correct", map[string]any{"demographics": demographics, "why": "typo", "revision": detail.Patient.Revision}, nil)
	made("GET", "/api/admin/patients/"+patient, nil, &detail)
	if len(detail.History) == 0 {
		t.Fatal("the correction is not listed")
	}
	made("POST", "/api/admin/retention/policies", map[string]any{"name": "Old", "action": "keep", "days": 10000}, &policy)
	var works []map[string]struct{ Value []any }
	if status, text := tokenAsks(a, strings.TrimSpace(a.tasvir("", "token", "create", "all", "--scope", "ups")))("GET", "/dicom-web/workitems", "", nil); status != http.StatusOK {
		t.Fatal(status, text)
	} else if err := json.Unmarshal([]byte(text), &works); err != nil || len(works) == 0 {
		t.Fatalf("%v: %.300s", err, text)
	}
	workitem := fmt.Sprint(works[0]["00080018"].Value[0])

	// What the parameters name, and the bodies that could do something.
	params := map[string]string{
		"task": task, "study": uid, "report": report.ID, "version": "1", "order": order.ID, "code": "URGUT", "aet": "URGUT_CT1", "patient": patient,
		"sop": sop, "operation": detail.History[0].ID, "series": series, "instance": sop, "frames": "1", "workitem": workitem, "aetitle": "URGUT_CT1", "ae": "URGUT_CT1", "subscriber": "URGUT_CT1",
		"path": "7FE00010", "requester": "URGUT_CT1",
	}
	ids := map[string]string{
		"/api/admin/associations/": association, "/api/admin/commitments/": commitment, "/api/admin/users/": h.clinician.id, "/api/admin/groups/": "1", "/api/admin/rules/": "1",
		"/api/admin/quarantine/": quarantined["bad_uid"], "/api/admin/verification/problems/": "1", "/api/admin/retention/policies/": policy.ID,
		"/api/admin/forwarding/rules/": rule.ID, "/api/admin/forwarding/targets/": target, "/api/admin/forwarding/nodes/": node.ID, "/api/admin/forwarding/queue/": item,
	}
	why := map[string]any{"why": "because"}
	bodies := map[string]any{
		"POST /api/admin/patients/{patient}/correct":                     map[string]any{"demographics": demographics, "why": "because", "revision": detail.Patient.Revision},
		"POST /api/admin/patients/{patient}/merge":                       map[string]any{"into": patient, "why": "because", "revision": detail.Patient.Revision},
		"POST /api/admin/patients/{patient}/split":                       map[string]any{"studies": []string{uid}, "demographics": demographics, "why": "because", "revision": detail.Patient.Revision},
		"POST /api/admin/studies/{study}/move":                           map[string]any{"patient": patient, "why": "because"},
		"POST /api/admin/quarantine/release":                             map[string]any{"ids": []string{quarantined["bad_uid"]}, "facility": "NUKUS"},
		"POST /api/admin/quarantine/discard":                             map[string]any{"ids": []string{quarantined["bad_uid"]}, "why": "because"},
		"POST /api/admin/forwarding/queue/act":                           map[string]any{"act": "cancel", "items": []string{item}},
		"PUT /api/tasks/{task}/report/draft":                             map[string]any{"sections": map[string]string{"indication": "", "technique": "", "findings": "x", "impression": "x"}, "language": "ru", "revision": 1},
		"POST /api/tasks/{task}/report/sign":                             map[string]any{"revision": 1},
		"PUT /api/orders/{order}":                                        map[string]any{"facility": "URGUT", "priority": "stat", "reason": "x", "patient": map[string]string{"name": "A^B", "patient_id": "x", "sex": "M", "birth_date": "19580512"}, "steps": []any{map[string]any{"modality": "CT", "start": "2026-11-22T09:30"}}},
		"POST /api/orders/{order}/state":                                 map[string]any{"state": "cancelled", "why": "because"},
		"POST /api/tasks/{task}/report/amend":                            map[string]any{"kind": "correction"},
		"POST /dicom-web/workitems/{workitem}/cancelrequest":             []any{map[string]any{"00741238": map[string]any{"vr": "LT", "Value": []string{"because"}}}},
		"POST /dicom-web/workitems/{workitem}/cancelrequest/{requester}": []any{map[string]any{"00741238": map[string]any{"vr": "LT", "Value": []string{"because"}}}},
		"PUT /api/admin/devices/{aet}":                                   map[string]any{"description": "mine"},
		"PUT /api/admin/users/{id}":                                      map[string]any{"name": "Mine Mine", "roles": []string{"clinician"}, "facilities": []string{"NUKUS"}},
		"POST /api/orders":                                               map[string]any{"facility": "URGUT", "priority": "stat", "reason": "x", "patient": map[string]string{"name": "A^B", "patient_id": "x", "sex": "M", "birth_date": "19580512"}, "steps": []any{map[string]any{"modality": "CT", "start": "2026-11-22T09:30"}}},
		"POST /api/admin/devices":                                        map[string]any{"aet": "MINE", "facility": "URGUT"},
		"POST /api/admin/users":                                          map[string]any{"login": "mine", "name": "Mine Mine", "roles": []string{"clinician"}, "facilities": []string{"URGUT"}, "password": password},
		"PUT /dicom-web/workitems/{workitem}/state/{requester}":          []any{map[string]any{"00741000": map[string]any{"vr": "CS", "Value": []string{"IN PROGRESS"}}, "00081195": map[string]any{"vr": "UI", "Value": []string{"1.2.3"}}}},
		"PUT /dicom-web/workitems/{workitem}/state":                      []any{map[string]any{"00741000": map[string]any{"vr": "CS", "Value": []string{"IN PROGRESS"}}, "00081195": map[string]any{"vr": "UI", "Value": []string{"1.2.3"}}}},
		"POST /dicom-web/workitems/{workitem}":                           []any{map[string]any{"00081195": map[string]any{"vr": "UI", "Value": []string{"1.2.3"}}}},
	}
	// What is no one facility's, or what everybody has of their own.
	open := []string{
		"GET /api/session", "POST /api/session", "DELETE /api/session", "PUT /api/session/language", "PUT /api/session/password", "GET /api/openapi.yaml", "GET /api/events",
		"POST /dicom-web/studies", "POST /dicom-web/studies/{study}", "POST /dicom-web/workitems", "GET /dicom-web/subscribers/{aet}", // for a WebSocket
		"POST /dicom-web/workitems/{workitem}/subscribers/{aet}/suspend", // there is none for a single item
	}
	// What names everything at once: nothing of the other facility comes of it.
	secrets := []string{uid, sop, "SIRLI", "Sirli", "SIR-4711", "URGUT_CT1", report.ID, order.ID, "1.2.9.9"}
	asked, whole := 0, 0
	all := operations(t, filepath.Join("..", "..", "pacs", "web", "openapi.yaml"))
	for _, op := range a.webOperations(stranger) {
		path := op[1]
		if !strings.HasPrefix(path, "/dicom-web") {
			path = "/dicom-web" + path
		}
		all = append(all, [2]string{op[0], strings.TrimSuffix(path, "/")})
	}
	for _, op := range all {
		method, template := op[0], op[1]
		if slices.Contains(open, method+" "+template) || method == http.MethodOptions || template == "/dicom-web" {
			continue
		}
		steps := strings.Split(template, "/")
		named := false
		for i, step := range steps {
			name, is := strings.CutPrefix(step, "{")
			if !is {
				continue
			}
			name = strings.TrimSuffix(name, "}")
			value := params[name]
			if name == "code" && strings.HasPrefix(template, "/dicom-web") {
				value = "113001%5EDCM"
			} else if name == "id" {
				value = ids[strings.Join(steps[:i], "/")+"/"]
			}
			if value == "" {
				t.Fatalf("%s %s: say in this test what {%s} names", method, template, name)
			}
			steps[i], named = value, true
		}
		path, media := strings.Join(steps, "/"), "application/json"
		if template == "/dicom-web/wado" {
			path, named = path+"?requestType=WADO&studyUID="+uid+"&seriesUID="+series+"&objectUID="+sop, true
		}
		if strings.HasPrefix(template, "/dicom-web") {
			media = "application/dicom+json"
		}
		var body []byte
		if method != http.MethodGet && method != http.MethodDelete {
			in, given := bodies[method+" "+template]
			if !given {
				in = why
			}
			raw, err := json.Marshal(in)
			if err != nil {
				t.Fatal(err)
			}
			body = raw
		}
		// What is asked for must be there, or its absence would say nothing.
		if method == http.MethodGet && named && !strings.Contains(template, "/workitems") && !strings.Contains(template, "/draft") {
			if status := admin.call(method, path, nil, new([]byte)); status != http.StatusOK && status != http.StatusNotAcceptable && !strings.Contains(template, "/versions/") {
				t.Errorf("%s %s: %d for the administrator", method, path, status)
			}
		}
		for who, ask := range callers {
			asked++
			status, text := ask(method, path, media, body)
			for _, secret := range secrets {
				// What was asked for may be repeated.
				if strings.Contains(strings.ReplaceAll(text, params["aet"], ""), secret) && !strings.Contains(path, secret) {
					t.Errorf("%s %s tells a stranger's %s of %s: %.300s", method, path, who, secret, text)
				}
			}
			refused := status == http.StatusForbidden || status == http.StatusNotFound || status == http.StatusUnauthorized
			switch {
			case named && strings.Contains(template, "/studies/") && status == http.StatusNoContent,
				named && strings.Contains(template, "/studies/") && status == http.StatusOK && strings.TrimSpace(text) == "[]":
				// A search below a study finds nothing.
			case named && !refused:
				t.Errorf("%s %s answers a stranger's %s with %d %.300s", method, path, who, status, text)
			case !named && method == http.MethodGet:
				whole++
			case !named && !refused && status < 300 && method != http.MethodGet && !strings.Contains(text, `"refused":[{`) && !strings.Contains(text, `"discarded":0`):
				t.Errorf("%s %s does something for a stranger's %s: %d %.300s", method, path, who, status, text)
			}
		}
	}
	if asked < 200 || whole < 20 {
		t.Errorf("only %d were asked, %d of them for lists", asked, whole)
	}

	// All is as it was.
	var instances []any
	if h.qido("/studies/"+uid+"/instances", &instances); len(instances) != 2 {
		t.Errorf("%d instances are left", len(instances))
	}
	if ids, _ := h.ward(1); ids["bad_uid"] != quarantined["bad_uid"] {
		t.Error("the quarantined one is gone")
	}
	revision := detail.Patient.Revision
	if made("GET", "/api/admin/patients/"+patient, nil, &detail); detail.Patient.Revision != revision {
		t.Errorf("the patient's record has changed: %+v", detail)
	}
}
