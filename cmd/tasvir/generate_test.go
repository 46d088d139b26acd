package main

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/index/indextest"
)

// TestGenerate: the command fills an index that answers, adds to it, keeps away
// from real studies and from nonsense, and takes out what it made.
func TestGenerate(t *testing.T) {
	if testing.Short() {
		t.Skip("builds tasvir")
	}
	url := indextest.New(t, nil)
	bin, err := builtBinary()
	if err != nil {
		t.Fatal(err)
	}
	generate := func(args ...string) (said string, err error) {
		out, err := exec.Command(bin, append([]string{"generate", "--database", url, "--facilities", "3"}, args...)...).CombinedOutput()
		return string(out), err
	}
	must := func(want string, args ...string) {
		t.Helper()
		if said, err := generate(args...); err != nil || !strings.Contains(said, want) {
			t.Fatalf("generate %v: %v, %s; want %q", args, err, said, want)
		}
	}
	refuses := func(want string, args ...string) {
		t.Helper()
		if said, err := generate(args...); err == nil || !strings.Contains(said, want) {
			t.Errorf("generate %v: %v, %s; want it refused with %q", args, err, said, want)
		}
	}

	refuses("between 1 and", "--studies", "0")
	refuses("between 1 and", "--studies", "51000000")
	refuses("between 1 and", "--studies", "10", "--instances=-1")
	refuses("YYYYMMDD", "--studies", "10", "--until", "yesterday")
	refuses("studies", "--studies", "many")

	must("has 300 synthetic studies now", "--studies", "300", "--until", "20261121")
	must("has 500 synthetic studies now", "--studies", "200", "--until", "20261121")

	ix, err := index.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer ix.Close()
	all, _, err := ix.Studies(t.Context(), pacs.System("test"), pacs.StudyFilter{})
	if err != nil || len(all) != 500 {
		t.Fatalf("%d studies are found, want 500 (%v)", len(all), err)
	}
	for _, f := range []pacs.StudyFilter{
		{StudyInstanceUIDs: []string{all[7].StudyInstanceUID}},
		{PatientID: all[7].Patient.PatientID},
		{PatientName: all[7].Patient.Name},
		{Text: all[7].Patient.Name},
		{Date: pacs.DateRange{From: all[7].Date, To: all[7].Date}},
	} {
		if found, _, err := ix.Studies(t.Context(), pacs.System("test"), f); err != nil || len(found) == 0 {
			t.Errorf("%+v finds nothing (%v)", f, err)
		}
	}

	real := index.Addition{
		Facility: "TMA", Patient: pacs.Patient{Issuer: "TMA", PatientID: "1", Name: "Karimov^Ali"},
		Study: pacs.Study{StudyInstanceUID: "1.2", Date: "20261121", ReceivedAt: time.Now()}, Series: pacs.Series{SeriesInstanceUID: "1.2.3"},
		Pack: index.Pack{Key: "packs/1.zip"},
	}
	if err := ix.Add(t.Context(), real, nil); err != nil {
		t.Fatal(err)
	}
	refuses("1 real studies", "--studies", "10")
	refuses("1 real studies", "--remove")
	must("has 510 synthetic studies now", "--studies", "10", "--yes")
	must("has 0 synthetic studies now", "--remove", "--yes")
	if left, _, err := ix.Studies(t.Context(), pacs.System("test"), pacs.StudyFilter{}); err != nil || len(left) != 1 {
		t.Errorf("%d studies are left, want the real one (%v)", len(left), err)
	}
}
