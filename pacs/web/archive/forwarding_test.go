package archive_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/forward"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/web"
	"github.com/tasvir-pacs/tasvir/pacs/web/archive"
	"github.com/tasvir-pacs/tasvir/pacs/web/webtest"
)

func openForwarding(t *testing.T) (*webtest.Archive, *forward.Forwarding) {
	t.Helper()
	var f *forward.Forwarding
	a := webtest.OpenArchive(t, forward.Migrate, func(a *webtest.Archive, server *web.Server) {
		devices, err := access.Open(t.Context(), a.Index, access.Settings{})
		if err != nil {
			t.Fatal(err)
		}
		f, err = forward.New(t.Context(), forward.Options{
			Index: a.Index, Devices: devices, Order: func(context.Context, string) (forward.Expected, error) { return forward.Expected{}, nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		(&archive.API{Index: a.Index, Forwarding: f}).Register(server.API())
	})
	return a, f
}

func into(t *testing.T, answer *webtest.Answer, value any) {
	t.Helper()
	if err := json.Unmarshal(answer.Body, value); err != nil {
		t.Fatal(err)
	}
}

// Rules, nodes and the queue, as the contract has them, for administrators only.
func TestForwarding(t *testing.T) {
	a, f := openForwarding(t)
	admin := a.Person("admin2", pacs.Administrator)
	if _, err := a.Access.AddDevice(t.Context(), access.System("test"), access.Device{AETitle: "WS", FacilityCode: "A", Host: "127.0.0.1", Port: 104, Destination: true}); err != nil {
		t.Fatal(err)
	}
	const study = "1.2.826.0.1.3680043.10.80.1"
	sum := sha256.Sum256([]byte(study))
	if err := a.Index.Add(t.Context(), index.Addition{
		Facility: "A", Patient: pacs.Patient{Issuer: "A", PatientID: "1", Name: "Karimov^Ali"}, Study: pacs.Study{StudyInstanceUID: study, Date: "20260101", ReceivedAt: time.Now()},
		Series: pacs.Series{SeriesInstanceUID: study + ".1", Modality: "CT"}, Pack: index.Pack{Key: "packs/1", Bytes: 10},
		Instances: []index.NewInstance{{Instance: pacs.Instance{
			SOPInstanceUID: study + ".1.1", SOPClassUID: "1.2", TransferSyntaxUID: "1.2.840.10008.1.2.1", SHA256: sum[:], Version: 1, ReceivedAt: time.Now(),
			Location: pacs.Location{Length: 10},
		}, Channel: "dimse", Sender: "CT1"}},
	}, nil); err != nil {
		t.Fatal(err)
	}
	rule := func(change func(map[string]any)) map[string]any {
		r := map[string]any{
			"name": "CT by night", "enabled": true, "occasion": "complete", "level": "series", "facilities": []string{"A"}, "condition": `series.modality == "CT" && "CT1" in series.senders`,
			"target": map[string]any{"kind": "device", "name": "WS"}, "priority": "high", "retry_hours": 48, "transfer_syntaxes": []string{"1.2.840.10008.1.2.1"},
			"window": map[string]any{"from": "20:00", "until": "06:30", "days": []int{1, 5}, "zone": "Asia/Samarkand"},
		}
		if change != nil {
			change(r)
		}
		return r
	}
	const rules = "/api/admin/forwarding/rules"
	var added struct {
		ID     string
		Window struct {
			From, Until, Zone string
			Days              []int
		}
	}
	into(t, admin.Do("POST", rules, rule(nil)).Want(http.StatusCreated), &added)
	if added.Window.From != "20:00" || added.Window.Until != "06:30" || added.Window.Zone != "Asia/Samarkand" || len(added.Window.Days) != 2 {
		t.Errorf("%+v", added)
	}
	for what, change := range map[string]func(map[string]any){
		"no name":             func(r map[string]any) { r["name"] = " " },
		"a misspelt variable": func(r map[string]any) { r["condition"] = "studi.sex == 'M'" },
		"an unknown device":   func(r map[string]any) { r["target"] = map[string]any{"kind": "device", "name": "NOBODY"} },
		"an unknown node": func(r map[string]any) {
			r["target"] = map[string]any{"kind": "node", "name": "NOBODY"}
			r["transfer_syntaxes"] = []string{}
		},
		"an unknown facility":   func(r map[string]any) { r["facilities"] = []string{"X"} },
		"a clock with 25 hours": func(r map[string]any) { r["window"] = map[string]any{"from": "25:00", "until": "06:00"} },
		"no time zone": func(r map[string]any) {
			r["window"] = map[string]any{"from": "20:00", "until": "06:00", "zone": "Mars"}
		},
		"a day of an order":  func(r map[string]any) { r["occasion"] = "order" },
		"priors of a series": func(r map[string]any) { r["priors"] = map[string]any{"count": 2} },
		"too many priors":    func(r map[string]any) { r["level"] = "study"; r["priors"] = map[string]any{"count": 200} },
		"years of retries":   func(r map[string]any) { r["retry_hours"] = 10_000 },
		"no transfer syntax": func(r map[string]any) { r["transfer_syntaxes"] = []string{"1.2.3"} },
	} {
		if got := admin.Do("POST", rules, rule(change)).StatusCode; got != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d", what, got)
		}
	}
	var trial struct{ Looked, Studies, Series int }
	into(t, admin.Do("POST", rules+"/try", rule(nil)).Want(http.StatusOK), &trial)
	if trial.Looked != 1 || trial.Studies != 1 || trial.Series != 1 {
		t.Errorf("the trial says %+v", trial)
	}
	admin.Do("PUT", rules+"/"+added.ID, rule(func(r map[string]any) { delete(r, "window"); r["name"] = "CT" })).Want(http.StatusOK)
	admin.Do("PUT", rules+"/999", rule(nil)).Want(http.StatusNotFound)
	admin.Do("POST", rules+"/"+added.ID+"/pause", nil).Want(http.StatusOK)
	if body := string(admin.Do("GET", rules, nil).Want(http.StatusOK).Body); !strings.Contains(body, `"paused":true`) {
		t.Error(body)
	}
	admin.Do("POST", rules+"/"+added.ID+"/resume", nil).Want(http.StatusOK)

	// The secret of a node is written and never read.
	const nodes = "/api/admin/forwarding/nodes"
	node := map[string]any{"name": "National", "url": "https://pacs.example.uz/dicom-web/", "authorization": "bearer", "secret": "s3cr3t-token"}
	var target struct {
		ID  string
		URL string
	}
	answer := admin.Do("POST", nodes, node).Want(http.StatusCreated)
	into(t, answer, &target)
	if strings.Contains(string(answer.Body), "s3cr3t") || target.URL != "https://pacs.example.uz/dicom-web" {
		t.Errorf("%s", answer.Body)
	}
	admin.Do("POST", nodes, node).Want(http.StatusConflict)
	node["secret"] = ""
	admin.Do("PUT", nodes+"/"+target.ID, node).Want(http.StatusOK)
	node["url"] = "https://elsewhere.example.uz/dicom-web"
	admin.Do("PUT", nodes+"/"+target.ID, node).Want(http.StatusUnprocessableEntity) // the secret is not for that address
	if body := string(admin.Do("GET", "/api/admin/forwarding/targets", nil).Want(http.StatusOK).Body); strings.Contains(body, "s3cr3t") || !strings.Contains(body, `"has_secret":true`) {
		t.Error(body)
	}

	// The queue.
	if err := f.Decide(t.Context(), forward.Args{Occasion: forward.OnComplete, StudyID: 1}); err != nil {
		t.Fatal(err)
	}
	var queue struct {
		Items []struct{ ID, State, To, Patient string }
	}
	into(t, admin.Do("GET", "/api/admin/forwarding/queue?state=waiting,scheduled&limit=10&study="+study, nil).Want(http.StatusOK), &queue)
	if len(queue.Items) != 1 || queue.Items[0].To != "WS" || queue.Items[0].Patient == "" {
		t.Fatalf("%+v", queue)
	}
	id := queue.Items[0].ID
	for _, step := range [][2]string{{"pause", "paused"}, {"resume", "waiting"}, {"cancel", "cancelled"}, {"replay", "waiting"}, {"cancel", "cancelled"}, {"retry", "waiting"}} {
		var did struct{ Count int }
		into(t, admin.Do("POST", "/api/admin/forwarding/queue/act", map[string]any{"act": step[0], "items": []string{id}}).Want(http.StatusOK), &did)
		var detail struct{ Item struct{ State string } }
		into(t, admin.Do("GET", "/api/admin/forwarding/queue/"+id, nil).Want(http.StatusOK), &detail)
		if did.Count != 1 || detail.Item.State != step[1] {
			t.Errorf("%s: %d, and it is %s", step[0], did.Count, detail.Item.State)
		}
	}
	admin.Do("POST", "/api/admin/forwarding/queue/act", map[string]any{"act": "cancel"}).Want(http.StatusUnprocessableEntity) // not everything by mistake
	admin.Do("POST", "/api/admin/forwarding/queue/act", map[string]any{"act": "burn", "items": []string{id}}).Want(http.StatusUnprocessableEntity)
	admin.Do("GET", "/api/admin/forwarding/queue?state=lost", nil).Want(http.StatusUnprocessableEntity)
	admin.Do("GET", "/api/admin/forwarding/queue/999", nil).Want(http.StatusNotFound)
	admin.Do("POST", "/api/admin/forwarding/queue/act", map[string]any{"act": "pause", "rule": added.ID}).Want(http.StatusOK)
	var paused struct{ Targets []struct{ ID, Name string } }
	into(t, admin.Do("GET", "/api/admin/forwarding/targets", nil).Want(http.StatusOK), &paused)
	admin.Do("POST", "/api/admin/forwarding/targets/"+paused.Targets[0].ID+"/pause", nil).Want(http.StatusOK)
	admin.Do("POST", "/api/admin/forwarding/targets/"+paused.Targets[0].ID+"/resume", nil).Want(http.StatusOK)
	admin.Do("DELETE", rules+"/"+added.ID, nil).Want(http.StatusNoContent)
	admin.Do("DELETE", nodes+"/"+target.ID, nil).Want(http.StatusNoContent)
	into(t, admin.Do("GET", "/api/admin/forwarding/queue", nil).Want(http.StatusOK), &queue)
	if queue.Items[0].State != "cancelled" {
		t.Errorf("%+v after its rule was removed", queue.Items)
	}

	// Whatever was done is in the audit trail, and no secret is.
	rows, err := a.Index.Pool().Query(t.Context(), `SELECT action, why FROM audit_event WHERE action LIKE 'forwarding.%' ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for rows.Next() {
		var action, why string
		if err := rows.Scan(&action, &why); err != nil {
			t.Fatal(err)
		}
		seen[action]++
		if strings.Contains(why, "s3cr3t") {
			t.Error("a secret is in the audit trail")
		}
	}
	for action, want := range map[string]int{
		"rule_create": 1, "rule_change": 1, "rule_pause": 1, "rule_resume": 1, "rule_remove": 1, "node_create": 1, "node_change": 1, "node_remove": 1,
		"target_pause": 1, "target_resume": 1, "pause": 2, "resume": 1, "cancel": 2, "replay": 1, "retry": 1,
	} {
		if seen["forwarding."+action] != want {
			t.Errorf("%s is %d times in the audit trail, not %d", action, seen["forwarding."+action], want)
		}
	}

	for _, who := range []*webtest.Caller{a.Person("fa", pacs.FacilityAdministrator, "A"), a.Person("rad", pacs.Radiologist), a.Machine("m", "", "api")} {
		for _, request := range [][2]string{
			{"GET", rules}, {"DELETE", rules + "/1"}, {"POST", rules + "/1/pause"}, {"GET", "/api/admin/forwarding/targets"}, {"DELETE", nodes + "/1"}, {"GET", "/api/admin/forwarding/queue"},
		} {
			who.Do(request[0], request[1], nil).Want(http.StatusForbidden)
		}
		who.Do("POST", rules, rule(nil)).Want(http.StatusForbidden)
		who.Do("POST", "/api/admin/forwarding/queue/act", map[string]any{"act": "cancel", "items": []string{id}}).Want(http.StatusForbidden)
	}
}
