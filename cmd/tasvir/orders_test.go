package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

const ctClass = "1.2.840.10008.5.1.4.1.1.2"

// scanner is a modality that asks for its worklist, reports and sends.
func (h *hospital) scanner(calling string) *dimse.Client {
	t := h.a.t
	t.Helper()
	c, err := dimse.Dial(t.Context(), h.a.dicom, dimse.Dialer{CallingAE: calling, CalledAE: "TASVIR", Contexts: []ul.ProposedContext{
		dimse.ServiceContext(1, dicom.ModalityWorklistFindSOPClass),
		dimse.ServiceContext(3, dicom.ModalityPerformedProcedureStepSOPClass),
		{ID: 5, AbstractSyntax: ctClass, TransferSyntaxes: []string{dicom.ExplicitVRLittleEndian}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// From the reception's desk to the reading room: an order is entered, the
// scanner finds it, reports on it and sends; when it has ended, the study is on
// the worklist with the order's priority and question, though the archive would
// wait an hour for more images.
func TestOrderToTask(t *testing.T) {
	a := startArchive(t, nil, "--quiet", "1h")
	h := furnish(a)
	a.tasvir("", "device", "change", "URGUT_CT1", "--service", "store,worklist,mpps")
	a.tasvir(password, "user", "add", "qabul", "--name", "Saidova Lola", "--role", "registrar", "--facility", "URGUT")
	clerk := a.signIn("qabul", password)
	clerk.must(http.StatusForbidden, clerk.call("GET", "/api/studies", nil, nil))
	var order struct {
		ID, Accession, State string
		StudyUID             string `json:"study_uid"`
		Steps                []struct{ ID string }
	}
	clerk.must(http.StatusCreated, clerk.call("POST", "/api/orders", map[string]any{
		"facility": "URGUT", "priority": "stat", "reason": "Insult", "question": "Qon quyilishi bormi?",
		"patient": map[string]string{"name": "Каримов^Али", "patient_id": "K-1", "sex": "M", "birth_date": "19580512"},
		"steps":   []any{map[string]any{"modality": "CT", "stations": []string{"URGUT_CT1"}, "start": "2026-11-22T09:30", "description": "Bosh miya KT"}},
	}, &order))

	scanner := h.scanner("URGUT_CT1")
	var item *dicom.Dataset
	eventually(t, "the scanner may ask for its worklist", func() bool {
		item = nil
		status, err := scanner.Find(t.Context(), dicom.ModalityWorklistFindSOPClass, new(dicom.Dataset).SetString(dicom.TagPatientName, dicom.PN).
			SetString(dicom.TagStudyInstanceUID, dicom.UI).SetString(dicom.TagAccessionNumber, dicom.SH).
			SetSequence(dicom.TagScheduledProcedureStepSequence, new(dicom.Dataset).SetString(dicom.TagScheduledStationAETitle, dicom.AE, "URGUT_CT1").SetString(dicom.TagScheduledProcedureStepID, dicom.SH)),
			func(match *dicom.Dataset, _ bool) error {
				item = match
				return nil
			})
		if errors.Is(err, dimse.ErrNotAccepted) { // known to the port by the settings of before
			scanner = h.scanner("URGUT_CT1")
			return false
		}
		if err != nil || !status.OK() {
			t.Fatal(status, err)
		}
		return item != nil
	})
	step := item.Item(dicom.TagScheduledProcedureStepSequence).String(dicom.TagScheduledProcedureStepID)
	if item.String(dicom.TagPatientName) != "Karimov^Ali" || item.String(dicom.TagStudyInstanceUID) != order.StudyUID || step != order.Steps[0].ID {
		t.Errorf("the scanner is told of %s, study %s, step %s", item.String(dicom.TagPatientName), item.String(dicom.TagStudyInstanceUID), step)
	}

	mpps := dimse.NRequest{SOPClassUID: dicom.ModalityPerformedProcedureStepSOPClass, SOPInstanceUID: dicom.NewUID()}
	mpps.DataSet = new(dicom.Dataset).SetString(dicom.TagModality, dicom.CS, "CT").SetString(dicom.TagPerformedProcedureStepID, dicom.SH, "PPS1").
		SetString(dicom.TagPerformedStationAETitle, dicom.AE, "URGUT_CT1").SetString(dicom.TagPerformedProcedureStepStartDate, dicom.DA, "20261122").
		SetString(dicom.TagPerformedProcedureStepStartTime, dicom.TM, "0935").SetString(dicom.TagPerformedProcedureStepStatus, dicom.CS, "IN PROGRESS").
		SetSequence(dicom.TagScheduledStepAttributesSequence, new(dicom.Dataset).SetString(dicom.TagStudyInstanceUID, dicom.UI, order.StudyUID).
			SetString(dicom.TagAccessionNumber, dicom.SH, order.Accession).SetString(dicom.TagScheduledProcedureStepID, dicom.SH, step))
	if rsp, err := scanner.NCreate(t.Context(), mpps); err != nil || rsp.Code != dimse.Success {
		t.Fatalf("%s, %v", rsp.Status, err)
	}
	series := dicom.NewUID()
	var images []*dicom.Dataset
	for number := 1; number <= 3; number++ {
		uid := dicom.NewUID()
		images = append(images, new(dicom.Dataset).SetString(dicom.TagReferencedSOPClassUID, dicom.UI, ctClass).SetString(dicom.TagReferencedSOPInstanceUID, dicom.UI, uid))
		image, err := dicom.AppendDataset(nil, new(dicom.Dataset).SetString(dicom.TagSOPClassUID, dicom.UI, ctClass).SetString(dicom.TagSOPInstanceUID, dicom.UI, uid).
			SetString(dicom.TagStudyInstanceUID, dicom.UI, order.StudyUID).SetString(dicom.TagSeriesInstanceUID, dicom.UI, series).SetString(dicom.TagModality, dicom.CS, "CT").
			SetString(dicom.TagPatientID, dicom.LO, "K-1").SetString(dicom.TagPatientName, dicom.PN, "Karimov^Ali").SetString(dicom.TagInstanceNumber, dicom.IS, fmt.Sprint(number)).
			SetString(dicom.TagAccessionNumber, dicom.SH, order.Accession), dicom.ExplicitVRLittleEndian)
		if err != nil {
			t.Fatal(err)
		}
		status, err := scanner.Store(t.Context(), dimse.StoreItem{SOPClassUID: ctClass, SOPInstanceUID: uid, TransferSyntaxUID: dicom.ExplicitVRLittleEndian, Data: bytes.NewReader(image)})
		if err != nil || !status.OK() {
			t.Fatalf("%s, %v", status, err)
		}
	}
	mpps.DataSet = new(dicom.Dataset).SetString(dicom.TagPerformedProcedureStepStatus, dicom.CS, "COMPLETED").
		SetString(dicom.TagPerformedProcedureStepEndDate, dicom.DA, "20261122").SetString(dicom.TagPerformedProcedureStepEndTime, dicom.TM, "0945").
		SetSequence(dicom.TagPerformedSeriesSequence, new(dicom.Dataset).SetString(dicom.TagSeriesInstanceUID, dicom.UI, series).SetSequence(dicom.TagReferencedImageSequence, images...))
	if rsp, err := scanner.NSet(t.Context(), mpps); err != nil || rsp.Code != dimse.Success {
		t.Fatalf("%s, %v", rsp.Status, err)
	}

	task := h.onlyTask(h.radiologist)
	var shown struct {
		Priority string
		Study    struct {
			Question string
			Order    struct{ ID string }
		}
	}
	h.radiologist.must(http.StatusOK, h.radiologist.call("GET", "/api/tasks/"+task.ID, nil, &shown))
	if shown.Priority != "stat" || shown.Study.Question != "Insult\nQon quyilishi bormi?" || shown.Study.Order.ID != order.ID || task.Study.InstanceCount != 3 {
		t.Errorf("the task is %+v of %d images", shown, task.Study.InstanceCount)
	}
	clerk.must(http.StatusOK, clerk.call("GET", "/api/orders/"+order.ID, nil, &order))
	if order.State != "completed" {
		t.Errorf("the order is %s", order.State)
	}
}
