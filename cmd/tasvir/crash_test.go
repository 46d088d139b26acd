package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/phantom"
)

// kill -9 while images arrive on several associations: everything that was
// acknowledged is there afterwards, byte for byte. Several rounds, so that
// the kill falls into receiving, sealing and publishing.
func TestKilledWhileReceiving(t *testing.T) {
	a := startArchive(t, nil)
	h := furnish(a)
	const associations = 3
	type sent struct{ study, series, instance string }
	acknowledged := map[sent][]byte{}
	for round := range 3 {
		var mu sync.Mutex
		var senders sync.WaitGroup
		enough := make(chan struct{}) // closed when this round has its share
		var once sync.Once
		count := 0
		for i := range associations {
			study := phantom.Small(phantom.HeadCT, 200)
			study.Seed = uint64(100*round + i)
			study.Accession = ""
			senders.Go(func() {
				sendUntilDead(t.Context(), a.dicom, study, func(instance *phantom.Instance) {
					mu.Lock()
					defer mu.Unlock()
					acknowledged[sent{instance.StudyInstanceUID, instance.SeriesInstanceUID, instance.SOPInstanceUID}] = bytes.Clone(instance.Dataset())
					if count++; count >= 60+70*round {
						once.Do(func() { close(enough) })
					}
				})
			})
		}
		<-enough
		a.kill()
		senders.Wait()
		a.start()
	}
	t.Logf("%d instances were acknowledged", len(acknowledged))
	eventually(t, "the journal is empty", func() bool {
		var status struct{ Journal struct{ Records, Held int } }
		admin := a.signIn("admin", adminPassword)
		admin.must(200, admin.call("GET", "/api/admin/status", nil, &status))
		if status.Journal.Held > 0 {
			t.Fatalf("%d records are held", status.Journal.Held)
		}
		return status.Journal.Records == 0
	})
	lost := 0
	for key, dataset := range acknowledged {
		got := h.retrieve(key.study, key.series, key.instance)
		header, err := dicom.Scan(bytes.NewReader(got), dicom.ScanOptions{})
		if err != nil || !bytes.Equal(got[header.DatasetOffset:], dataset) {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d acknowledged instances came back changed", lost, len(acknowledged))
	}
	a.stop()
}

// The private PostgreSQL is killed: the modality notices nothing, the database
// comes back by itself, and what came in meanwhile is published.
func TestDatabaseKilled(t *testing.T) {
	a := startArchive(t, nil)
	h := furnish(a)
	before := phantom.Small(phantom.HeadCT, 3)
	h.send("URGUT_CT1", before)
	h.expect(before, 3)
	pidFile, err := os.ReadFile(filepath.Join(a.dir, "data", "postgres", "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(pidFile), &pid); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	meanwhile := phantom.Small(phantom.BrainMR, 3)
	h.send("NUKUS_MR1", meanwhile)
	eventually(t, "the archive is ready again", func() bool {
		answer, err := http.Get(a.web + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
	h.expect(before, 3)
	h.expect(meanwhile, meanwhile.Count())
	a.stop()
}

// Settings that would show themselves as wrong much later are refused at once,
// in one line that says what to do.
func TestWrongSettings(t *testing.T) {
	bin, err := builtBinary()
	if err != nil {
		t.Fatal(err)
	}
	for flag, want := range map[string]string{
		"--fhir=not-a-url":           "--fhir",
		"--fhir-namespace=x":         "--fhir-namespace",
		"--aet=A_TITLE_THAT_IS_LONG": "AE title",
		"--quiet=0s":                 "--quiet",
		"--ack=sometimes":            "--ack",
		"--unknown-flag":             "unknown flag",
	} {
		out, err := exec.Command(bin, "serve", "--data", filepath.Join(t.TempDir(), "data"), flag).CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) || strings.Count(strings.TrimSpace(string(out)), "\n") > 0 {
			t.Errorf("%s: %v\n%s", flag, err, out)
		}
	}
}

// sendUntilDead sends a study and reports each acknowledged instance, until
// the archive is gone.
func sendUntilDead(ctx context.Context, address string, study *phantom.Study, acknowledged func(*phantom.Instance)) {
	var client *dimse.Client
	for instance, err := range study.Instances() {
		if err != nil {
			return
		}
		if client == nil {
			contexts := dimse.GroupContexts([]dimse.Kind{{SOPClassUID: instance.SOPClassUID, TransferSyntaxUID: instance.TransferSyntaxUID}})[0].Contexts
			if client, err = dimse.Dial(ctx, address, dimse.Dialer{CallingAE: "URGUT_CT1", CalledAE: "TASVIR", Contexts: contexts}); err != nil {
				return
			}
			defer client.Close()
		}
		status, err := client.Store(ctx, dimse.StoreItem{
			SOPClassUID: instance.SOPClassUID, SOPInstanceUID: instance.SOPInstanceUID, TransferSyntaxUID: instance.TransferSyntaxUID,
			Data: bytes.NewReader(instance.Dataset()),
		})
		if err != nil || !status.OK() {
			return
		}
		acknowledged(instance)
	}
}
