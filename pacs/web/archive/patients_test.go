package archive_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/patients"
	"github.com/tasvir-pacs/tasvir/pacs/web"
	"github.com/tasvir-pacs/tasvir/pacs/web/archive"
	"github.com/tasvir-pacs/tasvir/pacs/web/webtest"
	"github.com/tasvir-pacs/tasvir/storage/file"
)

// patientsArchive has a study of each of two patients of A and one of B, with
// the same PINFL.
func patientsArchive(t *testing.T) *webtest.Archive {
	t.Helper()
	store, err := file.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	a := webtest.OpenArchive(t, func(ctx context.Context, ix *index.Index) error {
		_, err := patients.New(ctx, ix, nil, nil)
		return err
	}, func(a *webtest.Archive, server *web.Server) {
		p, err := patients.New(t.Context(), a.Index, store, nil)
		if err != nil {
			t.Fatal(err)
		}
		(&archive.API{Index: a.Index, Patients: p}).Register(server.API())
	})
	for _, s := range []struct{ study, facility, id, name string }{
		{"1.1", "A", "1", "Karimov^Ali"}, {"1.2", "A", "2", "Каримов^Али"}, {"1.3", "B", "1", "Karimov^Ali"},
	} {
		sum := sha256.Sum256([]byte(s.study))
		if err := a.Index.Add(t.Context(), index.Addition{
			Facility: s.facility, Patient: pacs.Patient{Issuer: s.facility, PatientID: s.id, Name: s.name, PINFL: "30101700000001"},
			Study:  pacs.Study{StudyInstanceUID: s.study, Date: "20261121", ReceivedAt: time.Now()},
			Series: pacs.Series{StudyInstanceUID: s.study, SeriesInstanceUID: s.study + ".1", Modality: "CT"},
			Pack:   index.Pack{Key: "packs/" + s.study, Bytes: 1},
			Instances: []index.NewInstance{{Instance: pacs.Instance{
				SOPInstanceUID: s.study + ".1.1", SHA256: sum[:], Version: 1, ReceivedAt: time.Now(), Location: pacs.Location{Length: 1},
			}, Channel: pacs.ChannelDIMSE}},
		}, nil); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

func TestPatients(t *testing.T) {
	a := patientsArchive(t)
	chief := a.Person("chief", pacs.Administrator)
	found := chief.Do("GET", "/api/admin/patients?q=каримов&facility=A", nil).Want(http.StatusOK)
	if found.Length("patients") != 2 || found.Field("patients.0.facility.name") != "Hospital A" || found.Field("patients.0.studies") != "1" {
		t.Fatalf("%s", found.Body)
	}
	page := chief.Do("GET", "/api/admin/patients?q=karimov&limit=2", nil).Want(http.StatusOK)
	if rest := chief.Do("GET", "/api/admin/patients?q=karimov&limit=2&after="+page.Field("next"), nil).Want(http.StatusOK); rest.Length("patients") != 1 || rest.Field("next") != "" {
		t.Errorf("second page: %s", rest.Body)
	}
	first, second := found.Field("patients.0.id"), found.Field("patients.1.id")
	detail := chief.Do("GET", "/api/admin/patients/"+first, nil).Want(http.StatusOK)
	if detail.Length("linked") != 2 || detail.Field("studies.0.moved") != "false" || detail.Length("history") != 0 {
		t.Errorf("%s", detail.Body)
	}

	correct := func(revision int) *webtest.Answer {
		return chief.Do("POST", "/api/admin/patients/"+first+"/correct", map[string]any{
			"demographics": map[string]string{"name": "Karimov^Aliy", "sex": "M"}, "why": "misspelt", "revision": revision,
		})
	}
	corrected := correct(1).Want(http.StatusOK)
	if corrected.Field("patient.demographics.name") != "Karimov^Aliy" || corrected.Field("received.name") == "" || corrected.Field("patient.corrected") != "true" ||
		corrected.Field("patient.revision") != "2" || corrected.Field("history.0.who") != "chief" || corrected.Field("history.0.after.sex") != "M" {
		t.Errorf("%s", corrected.Body)
	}
	correct(1).Problem(http.StatusConflict, pacs.Conflict, "stale_revision")
	merged := chief.Do("POST", "/api/admin/patients/"+first+"/merge", map[string]any{"into": second, "why": "one person", "revision": 2}).Want(http.StatusOK)
	if merged.Field("patient.id") != second || merged.Length("studies") != 2 || merged.Field("history.0.other") != first {
		t.Errorf("%s", merged.Body)
	}
	chief.Do("GET", "/api/admin/patients/"+first, nil).Want(http.StatusNotFound)
	undone := chief.Do("POST", "/api/admin/patient-operations/"+merged.Field("history.0.id")+"/undo", map[string]string{"why": "two people"}).Want(http.StatusOK)
	if undone.Field("patient.id") != first || undone.Field("history.0.kind") != "undo" {
		t.Errorf("%s", undone.Body)
	}
	// Whichever of the two was found first: its study is moved to the other.
	study := detail.Field("studies.0.study_uid")
	moved := chief.Do("POST", "/api/admin/studies/"+study+"/move", map[string]string{"patient": second, "why": "wrong worklist entry"}).Want(http.StatusOK)
	if moved.Field("patient.id") != second || moved.Length("studies") != 2 {
		t.Errorf("%s", moved.Body)
	}
	split := chief.Do("POST", "/api/admin/patients/"+second+"/split", map[string]any{
		"studies": []string{study}, "demographics": map[string]string{"name": "Toshev^Olim"}, "why": "two people",
		"revision": int(chief.Do("GET", "/api/admin/patients/"+second, nil).Value("patient.revision").(float64)),
	}).Want(http.StatusOK)
	if split.Field("patient.demographics.name") != "Toshev^Olim" || split.Field("patient.shared_id") != "true" {
		t.Errorf("%s", split.Body)
	}
	for _, path := range []string{"/api/admin/patients/x", "/api/admin/patients/99999999999999999999", "/api/admin/patients/-1"} {
		chief.Do("GET", path, nil).Want(http.StatusNotFound)
	}
	chief.Do("GET", "/api/admin/patients?q=*", nil).Problem(http.StatusBadRequest, pacs.Invalid, "")
	feed := chief.Do("GET", "/api/changes", nil).Want(http.StatusOK)
	var kinds []string
	for i := range feed.Length("changes") {
		if c := fmt.Sprint("changes.", i, "."); feed.Field(c+"patient") != "" {
			kinds = append(kinds, feed.Field(c+"kind")+" "+feed.Field(c+"into"))
		}
	}
	want := []string{"patient.corrected ", "patient.merged " + second, "patient.undone " + second, "study.moved " + second, "patient.split " + split.Field("patient.id")}
	if !slices.Equal(kinds, want) {
		t.Errorf("the feed has %q, want %q", kinds, want)
	}
}

// TestPatientsWithinScope: a hospital's administrator sees and changes only its
// own patients; others have no business here.
func TestPatientsWithinScope(t *testing.T) {
	a := patientsArchive(t)
	local := a.Person("local", pacs.FacilityAdministrator, "B")
	found := local.Do("GET", "/api/admin/patients?q=karimov", nil).Want(http.StatusOK)
	if found.Length("patients") != 1 || found.Field("patients.0.facility.code") != "B" {
		t.Fatalf("%s", found.Body)
	}
	own := found.Field("patients.0.id")
	if d := local.Do("GET", "/api/admin/patients/"+own, nil).Want(http.StatusOK); d.Length("linked") != 0 {
		t.Errorf("sees linked records of another hospital: %s", d.Body)
	}
	chief := a.Person("chief", pacs.Administrator)
	other := chief.Do("GET", "/api/admin/patients?q=karimov&facility=A", nil).Field("patients.0.id")
	local.Do("GET", "/api/admin/patients/"+other, nil).Want(http.StatusNotFound)
	local.Do("POST", "/api/admin/patients/"+other+"/correct", map[string]any{"demographics": map[string]string{"sex": "F"}, "why": "x", "revision": 1}).Problem(http.StatusNotFound, pacs.NotFound, "")
	local.Do("POST", "/api/admin/patients/"+own+"/merge", map[string]any{"into": other, "why": "x", "revision": 1}).Problem(http.StatusNotFound, pacs.NotFound, "")
	chief.Do("POST", "/api/admin/patients/"+own+"/merge", map[string]any{"into": other, "why": "x", "revision": 1}).Problem(http.StatusBadRequest, pacs.Invalid, "")
	done := chief.Do("POST", "/api/admin/patients/"+other+"/correct", map[string]any{"demographics": map[string]string{"sex": "F"}, "why": "x", "revision": 1}).Want(http.StatusOK)
	local.Do("POST", "/api/admin/patient-operations/"+done.Field("history.0.id")+"/undo", map[string]string{"why": "x"}).Problem(http.StatusNotFound, pacs.NotFound, "")
	local.Do("POST", "/api/admin/studies/1.1/move", map[string]string{"patient": own, "why": "x"}).Problem(http.StatusNotFound, pacs.NotFound, "")
	for _, role := range []pacs.Role{pacs.Radiologist, pacs.Clinician, pacs.Technician} {
		a.Person("some_"+string(role), role, "A").Do("GET", "/api/admin/patients?q=karimov", nil).Problem(http.StatusForbidden, pacs.Forbidden, "")
	}
}
