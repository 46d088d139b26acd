package api_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/worklist"
	"github.com/tasvir-pacs/tasvir/worklist/orders"
)

// order enters an order of hospital A.
func (h *hospital) order(change ...func(*orders.Order)) orders.Order {
	h.Helper()
	o := orders.Order{
		Facility: pacs.Facility{Code: "A"}, Patient: pacs.Patient{PatientID: "P9", Name: "Каримов^Али"}, Priority: worklist.Stat, Reason: "Insult",
		Steps: []orders.Step{{Modality: "CT", Start: time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC)}},
	}
	for _, f := range change {
		f(&o)
	}
	o, _, err := h.Orders.Create(h.Context(), access.System("test"), o)
	if err != nil {
		h.Fatal(err)
	}
	return o
}

// From the receptionist's desk to the radiologist's question, as the client does
// it.
func TestFromOrderToTask(t *testing.T) {
	h := open(t)
	clerk, radiologist := h.person("clerk", pacs.Registrar, "A"), h.signIn(h.Radiologist("radiologist"))
	h.Study("A")
	if _, err := h.Access.AddDevice(t.Context(), access.System("test"), access.Device{AETitle: "CT1", FacilityCode: "A", Description: "CT, 1-qavat"}); err != nil {
		t.Fatal(err)
	}
	known := clerk.Do("GET", "/api/order-patients?q=karimov", nil).Want(200)
	if known.Length("patients") != 1 || known.Field("patients.0.patient.patient_id") != "P1" || known.Field("patients.0.facility.code") != "A" {
		t.Errorf("%s", known.Body)
	}
	if a := clerk.Do("GET", "/api/order-stations?facility=A", nil).Want(200); a.Field("stations.0.ae_title") != "CT1" || a.Field("stations.0.description") != "CT, 1-qavat" {
		t.Errorf("%s", a.Body)
	}
	entry := map[string]any{
		"facility": "A", "placer": "HIS-1", "priority": "stat", "reason": "Insult", "question": "Qon quyilishi?", "department": "Qabul", "physician": "Ergashev^Jasur",
		"patient":   map[string]string{"name": "Каримов^Али^Бахтиёрович", "patient_id": "P1", "birth_date": "19580512", "sex": "M"},
		"procedure": map[string]any{"description": "Bosh KT", "code": map[string]string{"value": "CT01", "scheme": "99UZ", "meaning": "Head CT"}},
		"steps":     []any{map[string]any{"modality": "CT", "stations": []string{"CT1"}, "start": "2026-11-22T09:30"}},
	}
	order := clerk.Do("POST", "/api/orders", entry).Want(http.StatusCreated)
	id := order.Field("id")
	if order.Field("steps.0.start") != "2026-11-22T09:30:00" || order.Field("state") != "scheduled" || order.Field("accession") == "" || order.Field("created_by") != "clerk" ||
		order.Field("procedure.code.meaning") != "Head CT" || order.Field("moves.0") != "arrived" {
		t.Errorf("%s", order.Body)
	}
	if again := clerk.Do("POST", "/api/orders", entry).Want(http.StatusOK); again.Field("id") != id {
		t.Errorf("%s", again.Body)
	}
	entry["revision"], entry["question"] = 1, "Qon quyilishi bormi?"
	clerk.Do("PUT", "/api/orders/"+id, entry).Want(200)
	clerk.Do("PUT", "/api/orders/"+id, entry).Problem(409, pacs.Conflict, "stale_revision")
	clerk.Do("POST", "/api/orders/"+id+"/state", map[string]any{"state": "cancelled", "revision": 2}).Problem(400, pacs.Invalid, "")
	clerk.Do("POST", "/api/orders/"+id+"/state", map[string]any{"state": "discontinued", "revision": 2, "why": "x"}).Problem(409, pacs.Conflict, "order_state")
	clerk.Do("POST", "/api/orders/"+id+"/state", map[string]any{"state": "arrived", "revision": 2}).Want(200)
	for path, want := range map[string]int{
		"?day=20261122": 1, "?day=20261123": 0, "?q=karimov": 1, "?state=arrived": 1, "?state=scheduled": 0, "?modality=CT&station=CT1&priority=stat&facility=A": 1,
	} {
		if a := clerk.Do("GET", "/api/orders"+path, nil).Want(200); a.Length("orders") != want {
			t.Errorf("%s: %s", path, a.Body)
		}
	}

	study := h.Study("A", func(a *index.Addition) {
		a.Study.StudyInstanceUID, a.Study.Question, a.Patient.PatientID = order.Field("study_uid"), "", "P1"
	})
	task := h.Complete(study)
	shown := radiologist.Do("GET", "/api/tasks/"+task.ID, nil).Want(200)
	if shown.Field("priority") != "stat" || shown.Field("study.question") != "Insult\nQon quyilishi bormi?" || shown.Field("study.order.id") != id ||
		shown.Field("study.order.department") != "Qabul" || shown.Field("study.order.physician") != "Ergashev Jasur" {
		t.Errorf("%s", shown.Body)
	}
	detail := radiologist.Do("GET", "/api/orders/"+id, nil).Want(200)
	if detail.Field("state") != "completed" || detail.Length("history") != 6 || detail.Field("studies.0.study_uid") != study.StudyInstanceUID || detail.Field("studies.0.complete") != "true" || detail.Length("moves") != 0 {
		t.Errorf("%s", detail.Body)
	}
	h.WantAudited("order.view", "radiologist order:"+id)
}

// A routing rule may ask what was ordered; a study without an order has none of
// it.
func TestRulesKnowOrders(t *testing.T) {
	h := open(t)
	group := h.Group("Neyro")
	h.Rule(group, func(r *worklist.Rule) {
		r.Name, r.Condition = "Neyro", `order.priority == "stat" && order.question.contains("Insult") && order.department == "Nevro"`
		r.Deadline = 10 * time.Minute
	})
	o := h.order(func(o *orders.Order) { o.Department = "Nevro" })
	routed := h.Task("A", func(a *index.Addition) { a.Study.StudyInstanceUID = o.StudyUID })
	if routed.RuleName != "Neyro" || routed.Priority != worklist.Stat || time.Until(routed.Deadline) > 10*time.Minute {
		t.Errorf("%+v", routed)
	}
	if plain := h.Task("A"); plain.RuleName != "" || plain.Priority != worklist.Routine {
		t.Errorf("%+v", plain)
	}
}

// Nothing that can be sent about orders is answered with an internal error.
func TestHostileOrders(t *testing.T) {
	h := open(t)
	clerk := h.person("clerk", pacs.Registrar, "A")
	id := h.order().ID
	entry := func(change string) string {
		return `{"facility": "A", "patient": {"name": "A"}, "steps": [{"modality": "CT", "start": "2026-11-22T09:30"}]` + change + `}`
	}
	for _, row := range []struct {
		method, path string
		body         any
		status       int
	}{
		{"GET", "/api/orders?day=today", nil, 400},
		{"GET", "/api/orders?day=99999999", nil, 400},
		{"GET", "/api/orders?after=e30", nil, 400},
		{"GET", "/api/orders?after=eyJhIjoiMDAwMS0wMS0wMVQwMDowMDowMFoiLCJpIjoieCJ9", nil, 400},
		{"GET", "/api/orders?state=lost", nil, 400},
		{"GET", "/api/orders?q=%00", nil, 400},
		{"GET", "/api/orders?q=" + strings.Repeat("a+", 200), nil, 200},
		{"GET", "/api/orders?modality='--&station='&facility='", nil, 200},
		{"GET", "/api/orders/x'--", nil, 404},
		{"GET", "/api/order-patients?q=", nil, 400},
		{"POST", "/api/orders", entry(""), 201},
		{"POST", "/api/orders", entry(`, "facility": "NONE"`), 404},
		{"POST", "/api/orders", entry(`, "placer": "a\u0000b"`), 422},
		{"POST", "/api/orders", entry(`, "question": "a\u0000b"`), 422},
		{"POST", "/api/orders", entry(`, "question": "` + strings.Repeat("я", 2001) + `"`), 422},
		{"POST", "/api/orders", entry(`, "steps": [{"modality": "CT", "start": "tomorrow"}]`), 422},
		{"POST", "/api/orders", entry(`, "steps": [{"modality": "CT", "start": "0000-01-01T00:00"}]`), 422},
		{"POST", "/api/orders", entry(`, "steps": [{"modality": "CT", "start": "2026-11-22T09:30", "stations": ["\u0000"]}]`), 422},
		{"POST", "/api/orders", entry(`, "steps": 5`), 400},
		{"POST", "/api/orders", entry(`, "study_uid": "1..2"`), 422},
		{"PUT", "/api/orders/" + id, entry(`, "revision": -1`), 409},
		{"PUT", "/api/orders/" + id, entry(`, "revision": 99999999999`), 409},
		{"PUT", "/api/orders/00000000-0000-0000-0000-000000000000", entry(`, "revision": 1`), 404},
		{"POST", "/api/orders/" + id + "/state", `{"state": "cancelled", "revision": 1, "why": "a\u0000b"}`, 400},
		{"POST", "/api/orders/" + id + "/state", `{"state": "", "revision": 1}`, 400},
		{"POST", "/api/orders/x/state", `{"state": "arrived", "revision": 1}`, 404},
	} {
		clerk.Do(row.method, row.path, row.body).Want(row.status)
	}
}
