package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/phantom"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
	"github.com/tasvir-pacs/tasvir/worklist/ups"
)

// program is one that works over UPS-RS.
type program struct {
	t           *testing.T
	base, token string
}

func (p *program) ask(method, path, media, body string) (*http.Response, string) {
	p.t.Helper()
	rq, err := http.NewRequestWithContext(p.t.Context(), method, p.base+"/dicom-web"+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	if p.token != "" {
		rq.Header.Set("Authorization", "Bearer "+p.token)
	}
	if body != "" {
		rq.Header.Set("Content-Type", media)
	} else if media != "" {
		rq.Header.Set("Accept", media)
	}
	rsp, err := http.DefaultClient.Do(rq)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = rsp.Body.Close() }()
	raw, err := io.ReadAll(rsp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return rsp, string(raw)
}

func (p *program) must(want int, method, path, media, body string) string {
	p.t.Helper()
	rsp, text := p.ask(method, path, media, body)
	if rsp.StatusCode != want {
		p.t.Fatalf("%s %s: %d, want %d: %s", method, path, rsp.StatusCode, want, text)
	}
	return text
}

// listen opens the notification channel of an AE title.
func (p *program) listen(aet string) *websocket.Conn {
	p.t.Helper()
	conn, _, err := websocket.Dial(p.t.Context(), "ws"+strings.TrimPrefix(p.base, "http")+"/dicom-web/subscribers/"+aet,
		&websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + p.token}}})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = conn.CloseNow() })
	return conn
}

type dicomJSON map[string]struct {
	VR    string
	Value []any
}

func (d dicomJSON) first(tag string) any {
	if v := d[tag].Value; len(v) > 0 {
		return v[0]
	}
	return nil
}

// next is the next event of a channel.
func (p *program) next(conn *websocket.Conn) dicomJSON {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 30*time.Second)
	defer cancel()
	_, raw, err := conn.Read(ctx)
	if err != nil {
		p.t.Fatal(err)
	}
	var event dicomJSON
	if err := json.Unmarshal(raw, &event); err != nil {
		p.t.Fatal(err)
	}
	return event
}

const (
	jsonItem = "application/dicom+json"
	cadItem  = `[{"00404005":{"vr":"DT","Value":["20261122093000"]},"00404041":{"vr":"CS","Value":["READY"]},"00741000":{"vr":"CS","Value":["SCHEDULED"]},
		"00741200":{"vr":"CS","Value":["HIGH"]},"00741202":{"vr":"LO","Value":["CAD"]},"00741204":{"vr":"LO","Value":["Ўпка"]},
		"00100010":{"vr":"PN","Value":[{"Alphabetic":"Каримов^Али"}]},"00100020":{"vr":"LO","Value":["P77"]}}]`
)

func stateBody(state, transaction string) string {
	return `[{"00741000":{"vr":"CS","Value":["` + state + `"]},"00081195":{"vr":"UI","Value":["` + transaction + `"]}}]`
}

// A study comes in by C-STORE, a program hears of it over its WebSocket, claims
// its reading over HTTP and the client shows who has it; DIMSE and HTTP see the
// same, and the client can't take what is taken.
func TestWorkitems(t *testing.T) {
	a := startArchive(t, nil)
	h := furnish(a)
	a.tasvir("", "device", "change", "URGUT_CT1", "--service", "store,ups")
	reader := &program{t, a.web, a.tasvir("", "token", "create", "reader", "--scope", "ups")}
	stranger := &program{t, a.web, h.token} // dicomweb:read and :write
	stranger.must(http.StatusForbidden, "GET", "/workitems", "", "")
	nobody := &program{t, a.web, ""}
	nobody.must(http.StatusUnauthorized, "GET", "/workitems", "", "")
	nobody.must(http.StatusUnauthorized, "GET", "/subscribers/AI", "", "")
	reader.must(http.StatusBadRequest, "GET", "/subscribers/AI", "", "") // no upgrade

	rsp, text := reader.ask("POST", "/workitems/1.2.840.10008.5.1.4.34.5/subscribers/AI?deletionlock=false", "", "")
	if rsp.StatusCode != http.StatusCreated || rsp.Header.Get("Content-Location") != "ws"+strings.TrimPrefix(a.web, "http")+"/dicom-web/subscribers/AI" {
		t.Fatalf("subscribed: %d %q %s", rsp.StatusCode, rsp.Header.Get("Content-Location"), text)
	}
	channel := reader.listen("AI")
	study := phantom.Small(phantom.HeadCT, 2)
	h.send("URGUT_CT1", study)
	event := reader.next(channel)
	uid, _ := event.first("00001000").(string)
	if event.first("00001002") != 1.0 || event.first("00741000") != "SCHEDULED" || event.first("00404041") != "READY" || event.first("00000002") != "1.2.840.10008.5.1.4.34.6.4" {
		t.Fatalf("the first event is %v", event)
	}
	task := h.onlyTask(h.radiologist)

	var list []dicomJSON
	if err := json.Unmarshal([]byte(reader.must(http.StatusOK, "GET", "/workitems?ProcedureStepState=SCHEDULED&StudyInstanceUID="+study.StudyInstanceUID()+"&ScheduledWorkitemCodeSequence.CodeValue=110005&limit=5", "", "")), &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || list[0].first("00080018") != uid || list[0].first("00741200") != "MEDIUM" {
		t.Fatalf("found %v", list)
	}
	reader.must(http.StatusOK, "PUT", "/workitems/"+uid+"/state", jsonItem, stateBody("IN PROGRESS", "1.2.3.4"))
	reader.must(http.StatusConflict, "PUT", "/workitems/"+uid+"/state", jsonItem, stateBody("IN PROGRESS", "1.2.3.5"))
	if event := reader.next(channel); event.first("00741000") != "IN PROGRESS" {
		t.Errorf("then %v", event)
	}
	var problem struct{ Reason, Who string }
	h.radiologist.must(http.StatusConflict, h.radiologist.call("POST", "/api/tasks/"+task.ID+"/claim", nil, &problem))
	if problem.Reason != "claimed_by_other" || problem.Who != "reader" {
		t.Errorf("the client hears %+v", problem)
	}
	var shown struct {
		ClaimedBy struct{ ID, Name string } `json:"claimed_by"`
	}
	h.radiologist.must(http.StatusOK, h.radiologist.call("GET", "/api/tasks/"+task.ID, nil, &shown))
	if shown.ClaimedBy.ID != "token:reader" || shown.ClaimedBy.Name != "reader" {
		t.Errorf("the client shows %+v", shown)
	}
	// Given up: it is on the worklist again, as another item.
	reader.must(http.StatusOK, "PUT", "/workitems/"+uid+"/state", jsonItem, stateBody("CANCELED", "1.2.3.4"))
	if event := reader.next(channel); event.first("00741000") != "CANCELED" || event.first("00001000") != uid {
		t.Errorf("given up: %v", event)
	}
	event = reader.next(channel)
	second, _ := event.first("00001000").(string)
	if event.first("00741000") != "SCHEDULED" || second == uid {
		t.Errorf("again: %v", event)
	}
	// A radiologist of the group takes it over HTTP in their own name.
	person := func(method, path, body string) int {
		t.Helper()
		rq, err := http.NewRequestWithContext(t.Context(), method, a.web+"/dicom-web"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		rq.Header.Set("Content-Type", jsonItem)
		rq.Header.Set("X-CSRF-Token", h.radiologist.csrf)
		rsp, err := h.radiologist.http.Do(rq)
		if err != nil {
			t.Fatal(err)
		}
		_ = rsp.Body.Close()
		return rsp.StatusCode
	}
	if got := person("PUT", "/workitems/"+second+"/state", stateBody("IN PROGRESS", "1.2.3.6")); got != http.StatusOK {
		t.Errorf("a radiologist claims: %d", got)
	}
	if got := person("PUT", "/workitems/"+second+"/state", stateBody("COMPLETED", "1.2.3.6")); got != http.StatusConflict {
		t.Errorf("a radiologist completes without a report: %d", got)
	}
	h.sign(task.ID, "Norma", "Patologiya aniqlanmadi")
	if event := reader.next(channel); event.first("00741000") != "IN PROGRESS" {
		t.Errorf("then %v", event)
	}
	if event := reader.next(channel); event.first("00741000") != "COMPLETED" || event.first("00001000") != second {
		t.Errorf("signed: %v", event)
	}

	// What is pushed over HTTP is pulled by DIMSE, and in XML.
	rsp, text = reader.ask("POST", "/workitems?1.2.3.4.5", jsonItem, cadItem)
	if rsp.StatusCode != http.StatusCreated || !strings.HasSuffix(rsp.Header.Get("Location"), "/dicom-web/workitems/1.2.3.4.5") {
		t.Fatalf("created: %d %s %s", rsp.StatusCode, rsp.Header.Get("Location"), text)
	}
	reader.must(http.StatusConflict, "POST", "/workitems?workitem=1.2.3.4.5", jsonItem, cadItem)
	if text := reader.must(http.StatusOK, "GET", "/workitems/1.2.3.4.5", "application/dicom+xml", ""); !strings.Contains(text, "Ўпка") || strings.Contains(text, "00081195") {
		t.Errorf("in XML: %s", text)
	}
	reader.must(http.StatusOK, "POST", "/workitems/1.2.3.4.5", jsonItem, `{"00741202":{"vr":"LO","Value":["CAD 2"]}}`)
	reader.must(http.StatusConflict, "POST", "/workitems/1.2.3.4.5?transaction-uid=1.2", jsonItem, `{"00741202":{"vr":"LO","Value":["CAD 3"]}}`)
	reader.must(http.StatusAccepted, "POST", "/workitems/1.2.3.4.5/cancelrequest", jsonItem, `{"00741238":{"vr":"LT","Value":["Bekor"]}}`)
	nation, err := dimse.Dial(t.Context(), a.dicom, dimse.Dialer{CallingAE: "URGUT_CT1", CalledAE: "TASVIR", Contexts: []ul.ProposedContext{dimse.ServiceContext(1, ups.PullSOPClass)}})
	if err != nil {
		t.Fatal(err)
	}
	defer nation.Close()
	eventually(t, "the device may use the service", func() bool {
		got, err := nation.NGet(t.Context(), dimse.NRequest{SOPClassUID: ups.PushSOPClass, AbstractSyntax: ups.PullSOPClass, SOPInstanceUID: second})
		if err != nil {
			t.Fatal(err)
		}
		if got.Code == dimse.NotAuthorized {
			nation.Close()
			if nation, err = dimse.Dial(t.Context(), a.dicom, dimse.Dialer{CallingAE: "URGUT_CT1", CalledAE: "TASVIR", Contexts: []ul.ProposedContext{dimse.ServiceContext(1, ups.PullSOPClass)}}); err != nil {
				t.Fatal(err)
			}
			return false
		}
		return got.DataSet.String(dicom.TagProcedureStepState) == "COMPLETED"
	})
	// The token's items are of no facility in particular: another's device has none of them.
	if got, err := nation.NGet(t.Context(), dimse.NRequest{SOPClassUID: ups.PushSOPClass, AbstractSyntax: ups.PullSOPClass, SOPInstanceUID: "1.2.3.4.5"}); err != nil || got.Code != ups.NoSuchStep {
		t.Errorf("of another facility: %s, %v", got.Status, err)
	}
	for path, want := range map[string]int{
		"/workitems?Nonsense=1": 400, "/workitems?PixelData=1": 400, "/workitems/x": 400, "/workitems/1.2.999": 404, "/workitems?limit=-1": 400,
	} {
		reader.must(want, "GET", path, "", "")
	}
	for _, body := range []string{`{`, `[{"00741200":{"vr":"CS","Value":["SOON"]}}]`, strings.Repeat("[", 100), `{"00404021":{"vr":"LO","Value":["x"]}}`} {
		reader.must(http.StatusBadRequest, "POST", "/workitems", jsonItem, body)
	}
	reader.must(http.StatusRequestEntityTooLarge, "POST", "/workitems", jsonItem, `{"00741204":{"vr":"LO","Value":["`+strings.Repeat("x", 3<<20)+`"]}}`)
	reader.must(http.StatusOK, "DELETE", "/workitems/1.2.840.10008.5.1.4.34.5/subscribers/AI", "", "")
	a.stop() // with the channel open
}

// Events wait for a client that is away, the newest channel of an AE title gets
// them, and a page of another site gets none.
func TestNotificationChannel(t *testing.T) {
	a := startArchive(t, nil, "--trusted-loopback")
	p := &program{t, a.web, a.tasvir("", "token", "create", "watcher", "--scope", "ups")}
	other := &program{t, a.web, a.tasvir("", "token", "create", "other", "--scope", "ups")}
	p.must(http.StatusCreated, "POST", "/workitems/1.2.840.10008.5.1.4.34.5/subscribers/W", "", "")
	other.must(http.StatusCreated, "POST", "/workitems/1.2.840.10008.5.1.4.34.5.1/subscribers/W?filter=WorklistLabel=Other", "", "")
	p.must(http.StatusCreated, "POST", "/workitems?1.2.1", jsonItem, cadItem)
	first := p.listen("W")
	if e := p.next(first); e.first("00001000") != "1.2.1" {
		t.Errorf("what waited: %v", e)
	}
	newer := p.listen("W")
	p.must(http.StatusCreated, "POST", "/workitems?1.2.2", jsonItem, cadItem)
	if e := p.next(newer); e.first("00001000") != "1.2.2" {
		t.Errorf("over the newer channel: %v", e)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, raw, err := first.Read(ctx); err == nil {
		t.Errorf("the older channel still hears: %s", raw)
	} else if ctx.Err() != nil {
		t.Error("the older channel is not closed")
	}
	// Another caller's AE title of the same name is another subscriber.
	others := other.listen("W")
	p.must(http.StatusCreated, "POST", "/workitems?1.2.3", jsonItem, strings.Replace(cadItem, `"CAD"`, `"Other"`, 1))
	if e := p.next(newer); e.first("00001000") != "1.2.3" {
		t.Errorf("mine: %v", e)
	}
	if e := other.next(others); e.first("00001000") != "1.2.3" {
		t.Errorf("the other's: %v", e)
	}
	_, rsp, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(a.web, "http")+"/dicom-web/subscribers/W", &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {"Bearer " + p.token}, "Origin": {"https://evil.example"}},
	})
	if err == nil || rsp == nil || rsp.StatusCode != http.StatusForbidden {
		t.Errorf("from another site: %v, %v", rsp, err)
	}
	// A suspended subscription goes on for what is subscribed, not for what is new.
	p.must(http.StatusOK, "POST", "/workitems/1.2.840.10008.5.1.4.34.5/subscribers/W/suspend", "", "")
	p.must(http.StatusCreated, "POST", "/workitems?1.2.4", jsonItem, cadItem)
	p.must(http.StatusAccepted, "POST", "/workitems/1.2.1/cancelrequest", "", "")
	if e := p.next(newer); e.first("00001000") != "1.2.1" || e.first("00001002") != 2.0 || e.first("00741236") != "watcher" {
		t.Errorf("the cancel request: %v", e)
	}
	// Killed and started again: the channel is opened anew, what happened waits.
	a.kill()
	a.start()
	p.base = a.web
	again := p.listen("W")
	// The restart comes behind what waited; that may have been told before.
	for last := ""; last != "CANCELED"; {
		e := p.next(again)
		if e.first("00001002") == 4.0 {
			if e.first("00741242") != "RESTARTED" || last != "" {
				t.Errorf("after %q: %v", last, e)
			}
			break
		}
		last, _ = e.first("00741000").(string)
	}
}

// Node's own fetch and WebSocket, as a program that knows only the standard.
func TestWorkitemsFromNode(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("node is not installed")
	}
	a := startArchive(t, nil, "--trusted-loopback")
	script := filepath.Join("testdata", "workitems.mjs")
	if _, err := os.Stat(script); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "node", "--experimental-websocket", script, a.web+"/dicom-web").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "heard SCHEDULED, IN PROGRESS, progress 50, COMPLETED") {
		t.Errorf("%v: %s", err, out)
	}
}
