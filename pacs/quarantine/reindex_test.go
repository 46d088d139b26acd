package quarantine_test

import (
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/index/indextest"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
	"github.com/tasvir-pacs/tasvir/pacs/quarantine"
)

// TestAnIndexThatIsRebuilt goes by the administrator's word as before, and has
// the list of what is in quarantine.
func TestAnIndexThatIsRebuilt(t *testing.T) {
	a := newArchive(t)
	a.send(image{})
	a.send(image{patient: "P2", name: "Emergency^1", sop: "1.2.3.1.2"})
	a.release(quarantine.Correction{Patient: quarantine.Given{PatientID: given("P1"), Name: given("Karimov^Ali")}}, a.only().ID)
	// A study of which nothing says whose it is but that word.
	a.send(image{study: "-", patient: "P9", sop: "1.2.3.1.3"})
	a.release(quarantine.Correction{Patient: quarantine.Given{PatientID: given("P7"), Name: given("Umarova^Nilufar")}}, a.only().ID)
	a.send(image{study: "-", sop: "1.2.3.1.4"})
	before := map[string]string{}
	for _, s := range a.studies() {
		before[s.StudyInstanceUID] = s.Patient.PatientID + " " + s.Patient.Name
	}

	a.close()
	a.url = indextest.New(t, migrate)
	ix, err := index.Open(t.Context(), a.url)
	if err != nil {
		t.Fatal(err)
	}
	ward, err := quarantine.Open(t.Context(), quarantine.Options{Index: ix, Store: a.store})
	if err != nil {
		t.Fatal(err)
	}
	_, err = (&publish.Reindex{Store: a.store, Index: ix, Restorers: []publish.Restorer{ward}}).Run(t.Context())
	ix.Close()
	if err != nil {
		t.Fatal(err)
	}
	a.open()
	for _, s := range a.studies() {
		if before[s.StudyInstanceUID] != s.Patient.PatientID+" "+s.Patient.Name {
			t.Errorf("study %s is %+v's, was %s's", s.StudyInstanceUID, s.Patient, before[s.StudyInstanceUID])
		}
		delete(before, s.StudyInstanceUID)
	}
	if len(before) > 0 {
		t.Errorf("missing: %v", before)
	}
	if n := a.count(`SELECT count(*) FROM study WHERE amended`); n != 2 {
		t.Errorf("%d studies are amended, want 2", n)
	}
	a.only()
}
