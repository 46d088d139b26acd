package archive_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/journal"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
	"github.com/tasvir-pacs/tasvir/pacs/quarantine"
	"github.com/tasvir-pacs/tasvir/pacs/web"
	"github.com/tasvir-pacs/tasvir/pacs/web/archive"
	"github.com/tasvir-pacs/tasvir/pacs/web/webtest"
	"github.com/tasvir-pacs/tasvir/storage/file"
)

// door takes what is released, as the journal does, and remembers it.
type door struct{ came []pacs.Incoming }

func (d *door) Receive(_ context.Context, in pacs.Incoming) (pacs.Receipt, error) {
	_, err := io.Copy(io.Discard, in.Data)
	d.came = append(d.came, in)
	return pacs.Receipt{}, err
}

func openWard(t *testing.T) (*webtest.Archive, *quarantine.Quarantine, *door) {
	store, err := file.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var ward *quarantine.Quarantine
	d := &door{}
	a := webtest.OpenArchive(t, func(ctx context.Context, ix *index.Index) error {
		_, err := quarantine.Open(ctx, quarantine.Options{Index: ix})
		return err
	}, func(a *webtest.Archive, server *web.Server) {
		if ward, err = quarantine.Open(t.Context(), quarantine.Options{Index: a.Index, Store: store, Receiver: d, Quota: 1 << 20}); err != nil {
			t.Fatal(err)
		}
		(&archive.API{Index: a.Index, Quarantine: ward}).Register(server.API())
	})
	return a, ward, d
}

// keep puts a data set without a Study Instance UID, or of another patient,
// into quarantine.
func keep(t *testing.T, ward *quarantine.Quarantine, facility, study, sop string, at time.Time) {
	t.Helper()
	ds := &dicom.Dataset{}
	ds.SetString(dicom.TagSOPClassUID, dicom.UI, "1.2.840.10008.5.1.4.1.1.2")
	ds.SetString(dicom.TagSOPInstanceUID, dicom.UI, sop)
	ds.SetString(dicom.TagModality, dicom.CS, "CT")
	ds.SetString(dicom.TagPatientName, dicom.PN, "Каримов^Али")
	ds.SetString(dicom.TagPatientID, dicom.LO, "P1")
	reason := pacs.MissingUID
	if study != "" {
		ds.SetString(dicom.TagStudyInstanceUID, dicom.UI, study)
		ds.SetString(dicom.TagSeriesInstanceUID, dicom.UI, study+".1")
		reason = pacs.OtherPatient
	}
	b, err := dicom.AppendDataset(dicom.AppendFileMeta(nil, dicom.FileMeta{SOPInstanceUID: sop, TransferSyntaxUID: dicom.ExplicitVRLittleEndian}), ds, dicom.ExplicitVRLittleEndian)
	if err != nil {
		t.Fatal(err)
	}
	err = ward.Keep(t.Context(), publish.Unfit{
		Entry:  journal.Entry{Facility: facility, Sender: "CT1", Channel: pacs.ChannelDIMSE, StudyInstanceUID: study, SOPInstanceUID: sop, ReceivedAt: at},
		Reason: reason, Message: "The data set has no Study Instance UID",
	}, io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b))))
	if err != nil {
		t.Fatal(err)
	}
}

func TestQuarantine(t *testing.T) {
	a, ward, d := openWard(t)
	at := time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)
	for n := range 3 {
		keep(t, ward, "A", "", fmt.Sprint("1.2.", n), at.Add(time.Duration(n)*time.Second))
	}
	keep(t, ward, "B", "1.9", "1.9.1", at)
	boss, chief := a.Person("boss", pacs.Administrator), a.Person("chief", pacs.FacilityAdministrator, "A")

	page := boss.Do("GET", "/api/admin/quarantine?limit=2", nil).Want(http.StatusOK)
	if page.Length("items") != 2 || page.Field("total") != "4" || page.Field("next") == "" || page.Field("items.0.sop_uid") != "1.2.2" ||
		page.Field("items.0.patient.name") != "Каримов^Али" || page.Field("items.0.facility.name") != "Hospital A" || page.Field("quota") != "1.048576e+06" {
		t.Errorf("%s", page.Body)
	}
	if rest := boss.Do("GET", "/api/admin/quarantine?limit=2&after="+page.Field("next"), nil).Want(http.StatusOK); rest.Length("items") != 2 || rest.Value("next") != nil {
		t.Errorf("%s", rest.Body)
	}
	if some := boss.Do("GET", "/api/admin/quarantine?facility=B&reason=other_patient", nil).Want(http.StatusOK); some.Length("items") != 1 || some.Field("total") != "1" {
		t.Errorf("%s", some.Body)
	}
	theirs := chief.Do("GET", "/api/admin/quarantine", nil).Want(http.StatusOK)
	if theirs.Length("items") != 3 {
		t.Errorf("the facility's administrator sees %s", theirs.Body)
	}
	boss.Do("GET", "/api/admin/quarantine?after=nonsense", nil).Problem(http.StatusBadRequest, pacs.Invalid, "")

	if theirs.Field("items.0.sop_class") != "1.2.840.10008.5.1.4.1.1.2" || theirs.Value("items.0.needs_sop_class") != nil || theirs.Value("items.0.unreleasable") != nil {
		t.Errorf("%s", theirs.Body)
	}

	id := theirs.Field("items.0.id")
	chief.Do("POST", "/api/admin/quarantine/release", map[string]any{"ids": []string{id}, "sop_class": "CT"}).Problem(http.StatusUnprocessableEntity, pacs.Invalid, "sop_class")
	foreign := boss.Do("GET", "/api/admin/quarantine?facility=B", nil).Field("items.0.id")
	download := chief.Do("GET", "/api/admin/quarantine/"+id+"/file", nil).Want(http.StatusOK)
	if string(download.Body[128:132]) != "DICM" || download.Header.Get("Content-Type") != "application/dicom" || !strings.Contains(download.Header.Get("Content-Disposition"), id) {
		t.Errorf("%v", download.Header)
	}
	for _, other := range []string{foreign, "nonsense", strings.Repeat("0", 32)} {
		chief.Do("GET", "/api/admin/quarantine/"+other+"/file", nil).Problem(http.StatusNotFound, pacs.NotFound, "")
	}

	release := "/api/admin/quarantine/release"
	out := chief.Do("POST", release, map[string]any{"ids": []string{id, foreign}, "patient": map[string]string{"patient_id": "P7", "birth_date": "19900501"}}).Want(http.StatusOK)
	if out.Length("released") != 1 || out.Field("released.0") != id || out.Length("refused") != 1 || out.Field("refused.0.id") != foreign || out.Field("refused.0.message") == "" {
		t.Errorf("%s", out.Body)
	}
	if len(d.came) != 1 || d.came[0].Facility != "A" || d.came[0].Correction.Item != id || d.came[0].Correction.Patient.PatientID != "P7" || d.came[0].Correction.Patient.Name != "Каримов^Али" {
		t.Errorf("%+v", d.came)
	}
	for reason, body := range map[string]any{
		"ids":        map[string]any{"ids": []string{}},
		"birth_date": map[string]any{"ids": []string{id}, "patient": map[string]string{"birth_date": "1990"}},
		"facility":   map[string]any{"ids": []string{id}, "facility": "B"},
	} {
		chief.Do("POST", release, body).Problem(http.StatusUnprocessableEntity, pacs.Invalid, reason)
	}

	discard := "/api/admin/quarantine/discard"
	chief.Do("POST", discard, map[string]any{"ids": []string{foreign}, "why": " "}).Problem(http.StatusUnprocessableEntity, pacs.Invalid, "why")
	if gone := chief.Do("POST", discard, map[string]any{"ids": []string{theirs.Field("items.1.id"), foreign}, "why": "A phantom"}).Want(http.StatusOK); gone.Field("discarded") != "1" {
		t.Errorf("%s", gone.Body)
	}
	if left := boss.Do("GET", "/api/admin/quarantine", nil).Want(http.StatusOK); left.Length("items") != 2 {
		t.Errorf("%s", left.Body)
	}

	for _, role := range []pacs.Role{pacs.Radiologist, pacs.Clinician, pacs.Technician} {
		nobody := a.Person(string(role), role, "A")
		nobody.Do("GET", "/api/admin/quarantine", nil).Problem(http.StatusForbidden, pacs.Forbidden, "")
		nobody.Do("POST", release, map[string]any{"ids": []string{id}}).Problem(http.StatusForbidden, pacs.Forbidden, "")
		nobody.Do("POST", discard, map[string]any{"ids": []string{id}, "why": "x"}).Problem(http.StatusForbidden, pacs.Forbidden, "")
	}
	if strings.Contains(a.Log.String(), "Каримов") {
		t.Error("the log names a patient")
	}
}
