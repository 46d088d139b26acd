package archive_test

import (
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
	r.receive("A", "1.2.3", 9, "", func(ds *dicom.Dataset) {
		title := new(dicom.Dataset).SetString(dicom.TagCodeValue, dicom.SH, "113037").SetString(dicom.TagCodingSchemeDesignator, dicom.SH, "DCM")
		named := new(dicom.Dataset).SetString(dicom.TagReferencedSOPInstanceUID, dicom.UI, "1.2.3.1.7")
		series := new(dicom.Dataset).SetString(dicom.TagSeriesInstanceUID, dicom.UI, "1.2.3.1").SetSequence(dicom.TagReferencedSOPSequence, named)
		ds.SetString(dicom.TagSOPClassUID, dicom.UI, "1.2.840.10008.5.1.4.1.1.88.59").SetString(dicom.TagModality, dicom.CS, "KO")
		ds.SetString(dicom.TagSeriesInstanceUID, dicom.UI, "1.2.3.2").SetSequence(dicom.TagConceptNameCodeSequence, title)
		ds.SetSequence(dicom.TagCurrentRequestedProcedureEvidenceSequence, new(dicom.Dataset).
			SetString(dicom.TagStudyInstanceUID, dicom.UI, "1.2.3").SetSequence(dicom.TagReferencedSeriesSequence, series))
	})
	list := technician.Do("GET", address, nil).Want(http.StatusOK)
	for field, want := range map[string]string{
		"sop_uid": "1.2.3.1.7", "series_uid": "1.2.3.1", "version": "1", "reason": "113037", "meaning": "Rejected for Patient Safety Reasons",
		"note_uid": "1.2.3.1.9", "sender": "CT1",
	} {
		if got := list.Field("instances.0." + field); got != want {
			t.Errorf("%s %q, want %q", field, got, want)
		}
	}
	if list.Length("instances") != 1 {
		t.Errorf("%s", list.Body)
	}
	boss.Do("GET", address, nil).Want(http.StatusOK)
	r.Person("reader", pacs.Radiologist, "A").Do("GET", address, nil).Want(http.StatusForbidden)
	r.Person("tech-b", pacs.Technician, "B").Do("GET", address, nil).Want(http.StatusNotFound)
	boss.Do("GET", "/api/admin/studies/9.9/rejected", nil).Want(http.StatusNotFound)
}
