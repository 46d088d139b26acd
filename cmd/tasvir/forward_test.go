package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/dimse/peertest"
)

// forwardRule is a rule that sends complete studies.
func forwardRule(name, kind, target string) map[string]any {
	return map[string]any{
		"name": name, "enabled": true, "occasion": "complete", "level": "study", "target": map[string]any{"kind": kind, "name": target},
		"priority": "normal", "retry_hours": 24,
	}
}

type forwardItem struct {
	To, State, Error    string
	Total, Sent, Failed int
}

// forwarded is what the queue says.
func forwarded(p *person) (list []forwardItem) {
	p.t.Helper()
	var answer struct{ Items []forwardItem }
	p.must(http.StatusOK, p.call("GET", "/api/admin/forwarding/queue", nil, &answer))
	return answer.Items
}

// storeFrom sends files as a device does.
func storeFrom(a *archive, ae, dir string) {
	a.t.Helper()
	a.tasvir("", "store", "--aet", ae, "--called", "TASVIR", a.dicom, dir)
}

// A study that a modality sends goes, by rules, to dcmtk's storescp, which dies
// at first, to Orthanc by C-STORE and by STOW-RS, and to a second archive of ours by
// STOW-RS; what comes later goes there, too.
func TestForwarding(t *testing.T) {
	storescp := peertest.Path(t, "storescp")
	other := startArchive(t, nil)
	other.tasvir("", "facility", "add", "CENTRE", "National centre")
	token := strings.TrimSpace(other.tasvir("", "token", "create", "forwarding", "--facility", "CENTRE", "--scope", "dicomweb:read", "--scope", "dicomweb:write"))
	a := startArchive(t, nil)
	orthanc := peertest.StartOrthanc(t, a.dicom, peertest.DICOMweb)
	shelf := t.TempDir()
	dcmtk := peertest.FreePorts(t, 1)[0] // nobody listens there yet
	a.tasvir("", "facility", "add", "URGUT", "Urgut hospital")
	a.tasvir("", "device", "add", "CT1", "URGUT")
	a.tasvir("", "device", "add", "ORTHANC", "URGUT", "--address", orthanc.DICOM, "--destination")
	a.tasvir("", "device", "add", "DCMTK", "URGUT", "--address", "127.0.0.1:"+dcmtk, "--destination")
	admin := a.signIn("admin", adminPassword)
	for _, node := range []map[string]any{
		{"name": "Centre", "url": other.web + "/dicom-web", "authorization": "bearer", "secret": token},
		{"name": "Orthanc web", "url": orthanc.Web + "/dicom-web", "authorization": "none"},
	} {
		admin.must(http.StatusCreated, admin.call("POST", "/api/admin/forwarding/nodes", node, nil))
	}
	for _, to := range [][2]string{{"device", "DCMTK"}, {"device", "ORTHANC"}, {"node", "Centre"}, {"node", "Orthanc web"}} {
		admin.must(http.StatusCreated, admin.call("POST", "/api/admin/forwarding/rules", forwardRule("To "+to[1], to[0], to[1]), nil))
	}
	eventually(t, "the device is known", func() bool { return a.echo("CT1") == nil })

	const study = "1.2.826.0.1.3680043.10.96.1"
	first := t.TempDir()
	writeStudy(t, first, study, "P-1", "KARIMOV^BAHODIR", 5)
	storeFrom(a, "CT1", first)
	sent := func(each int, without ...string) func() bool {
		return func() bool {
			done := 0
			for _, i := range forwarded(admin) {
				if i.State == "sent" && i.Sent == each && i.Total == each {
					done++
				}
			}
			return done == 4-len(without)
		}
	}
	eventually(t, "all but one have it", sent(10, "DCMTK"))
	for _, i := range forwarded(admin) {
		if i.To == "DCMTK" && (i.Sent != 0 || i.State == "sent" || i.State == "failed") {
			t.Errorf("%+v, and nobody is there", i)
		}
	}
	var instances []string
	orthanc.Call("GET", "/instances", nil, &instances)
	if len(instances) != 10 {
		t.Errorf("Orthanc has %d instances", len(instances))
	}
	centre := other.signIn("admin", adminPassword)
	var there []any
	eventually(t, "the centre has published it", func() bool {
		centre.must(http.StatusOK, centre.call("GET", "/dicom-web/studies/"+study+"/instances", nil, &there))
		return len(there) == 10
	})

	// The device comes up, and somebody has it tried at once.
	cmd := exec.Command(storescp, "-od", shelf, "+xa", "-aet", "DCMTK", dcmtk)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	eventually(t, "dcmtk listens", func() bool {
		c, err := net.Dial("tcp", "127.0.0.1:"+dcmtk)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	admin.must(http.StatusOK, admin.call("POST", "/api/admin/forwarding/queue/act", map[string]any{"act": "retry", "states": []string{"waiting"}}, nil))
	eventually(t, "all have it", sent(10))
	if files, _ := filepath.Glob(filepath.Join(shelf, "*")); len(files) != 10 {
		t.Errorf("dcmtk has %d files", len(files))
	}

	// More of the study.
	second := t.TempDir()
	writeStudy(t, second, study, "P-1", "KARIMOV^BAHODIR", 6)
	storeFrom(a, "CT1", second)
	eventually(t, "all have what is new", sent(12))
	if files, _ := filepath.Glob(filepath.Join(shelf, "*")); len(files) != 12 {
		t.Errorf("dcmtk has %d files", len(files))
	}
	var metrics []byte
	admin.must(http.StatusOK, admin.call("GET", "/metrics", nil, &metrics))
	for _, line := range []string{`tasvir_forward_instances_total{outcome="sent",target="Centre"} 12`, `tasvir_forward_instances_total{outcome="sent",target="DCMTK"} 12`} {
		if !strings.Contains(string(metrics), line) {
			t.Errorf("/metrics lacks %s", line)
		}
	}
	a.stop()
	other.stop()
}

// An order is entered, and the patient's earlier study goes to the workstation
// before anybody is examined.
func TestPrefetchForOrder(t *testing.T) {
	station := &storeNode{}
	address := startNode(t, &dimse.Server{}, station)
	a := startArchive(t, nil)
	a.tasvir("", "facility", "add", "URGUT", "Urgut hospital")
	a.tasvir("", "device", "add", "CT1", "URGUT")
	a.tasvir("", "device", "add", "NODE", "URGUT", "--address", address, "--destination")
	a.tasvir(password, "user", "add", "qabul", "--name", "Saidova Lola", "--role", "registrar", "--facility", "URGUT")
	eventually(t, "the device is known", func() bool { return a.echo("CT1") == nil })
	files := t.TempDir()
	writeStudy(t, files, "1.2.826.0.1.3680043.10.96.3", "K-1", "KARIMOV^ALI", 2)
	writeStudy(t, files, "1.2.826.0.1.3680043.10.96.4", "K-2", "SOMEBODY^ELSE", 1)
	storeFrom(a, "CT1", files)
	admin := a.signIn("admin", adminPassword)
	eventually(t, "the studies are there", func() bool {
		var list []any
		admin.must(http.StatusOK, admin.call("GET", "/dicom-web/instances", nil, &list))
		return len(list) == 6
	})
	rule := forwardRule("Priors", "device", "NODE")
	rule["occasion"], rule["priors"] = "order", map[string]any{"count": 3, "years": 5, "same_modality": true}
	admin.must(http.StatusCreated, admin.call("POST", "/api/admin/forwarding/rules", rule, nil))
	clerk := a.signIn("qabul", password)
	clerk.must(http.StatusCreated, clerk.call("POST", "/api/orders", map[string]any{
		"facility": "URGUT", "priority": "routine", "patient": map[string]string{"name": "Karimov^Ali", "patient_id": "K-1", "sex": "M", "birth_date": "19580512"},
		"steps": []any{map[string]any{"modality": "CT", "stations": []string{"CT1"}, "start": "2026-11-22T09:30", "description": "CT head"}},
	}, nil))
	eventually(t, "the earlier study is sent", func() bool {
		list := forwarded(admin)
		return len(list) == 1 && list[0].State == "sent" && list[0].Sent == 4
	})
	station.mu.Lock()
	defer station.mu.Unlock()
	if len(station.got) != 4 {
		t.Errorf("the workstation has %d instances", len(station.got))
	}
}

// kill -9 while a study is sent: all of it arrives, and what had arrived and was
// written down is not sent again.
func TestForwardingKilled(t *testing.T) {
	var mu sync.Mutex
	got := map[string]int{}
	arrived := make(chan int, 10_000)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	slow := &dimse.Server{DrainTimeout: time.Second, Store: dimse.StoreHandlerFunc(func(_ context.Context, rq *dimse.StoreRequest) dimse.Status {
		if _, err := io.Copy(io.Discard, rq.Data); err != nil {
			return dimse.Status{Code: dimse.ProcessingFailure}
		}
		time.Sleep(10 * time.Millisecond) // as a slow line
		mu.Lock()
		got[rq.SOPInstanceUID]++
		n := len(got)
		mu.Unlock()
		arrived <- n
		return dimse.Status{}
	})}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = slow.Serve(ctx, ln) })
	defer running.Wait()
	defer cancel()

	a := startArchive(t, nil)
	a.tasvir("", "facility", "add", "URGUT", "Urgut hospital")
	a.tasvir("", "device", "add", "CT1", "URGUT")
	a.tasvir("", "device", "add", "SLOW", "URGUT", "--address", ln.Addr().String(), "--destination")
	admin := a.signIn("admin", adminPassword)
	admin.must(http.StatusCreated, admin.call("POST", "/api/admin/forwarding/rules", forwardRule("Slow", "device", "SLOW"), nil))
	eventually(t, "the device is known", func() bool { return a.echo("CT1") == nil })
	const each = 300
	files := t.TempDir()
	writeStudy(t, files, "1.2.826.0.1.3680043.10.96.2", "P-1", "KARIMOV^BAHODIR", each)
	storeFrom(a, "CT1", files)
	reaches := func(n int) {
		t.Helper()
		for deadline := time.After(patience); ; {
			select {
			case have := <-arrived:
				if have >= n {
					return
				}
			case <-deadline:
				t.Fatalf("%d instances do not arrive within %s", n, patience)
			}
		}
	}
	for _, n := range []int{150, 320, 480} {
		reaches(n)
		a.kill()
		a.start()
	}
	admin = a.signIn("admin", adminPassword)
	eventually(t, "all of it is sent", func() bool {
		list := forwarded(admin)
		return len(list) == 1 && list[0].State == "sent" && list[0].Sent == 2*each
	})
	twice := 0
	mu.Lock()
	for _, n := range got {
		twice += n - 1
	}
	if len(got) != 2*each {
		t.Errorf("%d of %d instances have arrived", len(got), 2*each)
	}
	mu.Unlock()
	// A second's worth after each kill.
	if twice > 3*200 {
		t.Errorf("%d instances were sent again", twice)
	}
	t.Logf("%d instances were sent twice", twice)
	a.stop()
}
