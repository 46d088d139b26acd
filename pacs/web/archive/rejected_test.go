package archive_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// TestRejected: who may reject sees what is hidden, why and by whose note, also
// when nothing else of the study is shown; others don't.
func TestRejected(t *testing.T) {
	r := openReceiving(t)
	r.receive("A", "1.2.3", 7, "blurred")
	boss, technician := r.Person("boss", pacs.Administrator), r.Person("tech-a", pacs.Technician, "A")
	const address = "/api/admin/studies/1.2.3/rejected"
	if empty := technician.Do("GET", address, nil).Want(http.StatusOK); empty.Length("instances") != 0 {
		t.Errorf("%s", empty.Body)
	}
	if empty := technician.Do("GET", "/api/admin/rejected", nil).Want(http.StatusOK); empty.Length("studies") != 0 {
		t.Errorf("%s", empty.Body)
	}
	r.receive("A", "1.2.4", 1, "not rejected")
	r.receive("A", "1.2.3", 9, "", note("1.2.3", 7))
	list := technician.Do("GET", address, nil).Want(http.StatusOK)
	for field, want := range map[string]string{
		"sop_uid": "1.2.3.1.7", "series_uid": "1.2.3.1", "version": "1", "reason": "113037", "meaning": "Rejected for Patient Safety Reasons",
		"note_uid": "1.2.3.1.9", "sender": "CT1", "series_description": "blurred", "number": "7",
	} {
		if got := list.Field("instances.0." + field); got != want {
			t.Errorf("%s %q, want %q", field, got, want)
		}
	}
	if list.Length("instances") != 1 {
		t.Errorf("%s", list.Body)
	}
	// Nothing of the study is shown, so only this list leads to it.
	hidden := boss.Do("GET", "/api/admin/rejected", nil).Want(http.StatusOK)
	for field, want := range map[string]string{"study_uid": "1.2.3", "shown": "0", "rejected": "1", "facility.code": "A", "patient.patient_id": list.Field("study.patient.patient_id")} {
		if got := hidden.Field("studies.0." + field); got != want || got == "" {
			t.Errorf("%s %q, want %q", field, got, want)
		}
	}
	if hidden.Length("studies") != 1 || hidden.Field("next") != "" {
		t.Errorf("%s", hidden.Body)
	}
	r.receive("B", "1.2.5", 1, "")
	r.receive("B", "1.2.5", 2, "", note("1.2.5", 1))
	first := boss.Do("GET", "/api/admin/rejected?limit=1", nil).Want(http.StatusOK)
	if first.Length("studies") != 1 || first.Field("studies.0.study_uid") != "1.2.5" {
		t.Errorf("%s", first.Body)
	}
	if last := boss.Do("GET", "/api/admin/rejected?limit=1&after="+first.Field("next"), nil).Want(http.StatusOK); last.Length("studies") != 1 || last.Field("studies.0.study_uid") != "1.2.3" || last.Field("next") != "" {
		t.Errorf("%s", last.Body)
	}
	boss.Do("GET", "/api/admin/rejected?after=x", nil).Problem(http.StatusBadRequest, pacs.Invalid, "")
	r.Person("reader-b", pacs.Radiologist, "B").Do("GET", "/api/admin/rejected", nil).Want(http.StatusForbidden)
	if own := technician.Do("GET", "/api/admin/rejected", nil).Want(http.StatusOK); own.Length("studies") != 1 || own.Field("studies.0.study_uid") != "1.2.3" {
		t.Errorf("%s", own.Body)
	}
	boss.Do("GET", address, nil).Want(http.StatusOK)
	r.Person("reader", pacs.Radiologist, "A").Do("GET", address, nil).Want(http.StatusForbidden)
	r.Person("tech-b", pacs.Technician, "B").Do("GET", address, nil).Want(http.StatusNotFound)
	boss.Do("GET", "/api/admin/studies/9.9/rejected", nil).Want(http.StatusNotFound)
}

// note makes a rejection note about the nth image of a study.
func note(study string, n int) func(*dicom.Dataset) {
	return func(ds *dicom.Dataset) {
		title := new(dicom.Dataset).SetString(dicom.TagCodeValue, dicom.SH, "113037").SetString(dicom.TagCodingSchemeDesignator, dicom.SH, "DCM")
		named := new(dicom.Dataset).SetString(dicom.TagReferencedSOPInstanceUID, dicom.UI, fmt.Sprintf("%s.1.%d", study, n))
		series := new(dicom.Dataset).SetString(dicom.TagSeriesInstanceUID, dicom.UI, study+".1").SetSequence(dicom.TagReferencedSOPSequence, named)
		ds.SetString(dicom.TagSOPClassUID, dicom.UI, "1.2.840.10008.5.1.4.1.1.88.59").SetString(dicom.TagModality, dicom.CS, "KO")
		ds.SetString(dicom.TagSeriesInstanceUID, dicom.UI, study+".2").SetSequence(dicom.TagConceptNameCodeSequence, title)
		ds.SetSequence(dicom.TagCurrentRequestedProcedureEvidenceSequence, new(dicom.Dataset).
			SetString(dicom.TagStudyInstanceUID, dicom.UI, study).SetSequence(dicom.TagReferencedSeriesSequence, series))
	}
}
