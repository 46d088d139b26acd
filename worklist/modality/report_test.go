package modality

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/worklist/orders"
)

const mpps = dicom.ModalityPerformedProcedureStepSOPClass

// begun is what a device sends when it begins what an order asks.
func begun(o orders.Order, change ...func(*dicom.Dataset)) *dicom.Dataset {
	item := new(dicom.Dataset).SetString(dicom.TagStudyInstanceUID, dicom.UI, o.StudyUID).SetString(dicom.TagAccessionNumber, dicom.SH, o.Accession)
	if len(o.Steps) > 0 {
		item.SetString(dicom.TagScheduledProcedureStepID, dicom.SH, o.Steps[0].ID)
	}
	ds := new(dicom.Dataset).SetString(dicom.TagPatientName, dicom.PN, "Каримов^Али").SetString(dicom.TagPatientID, dicom.LO, "P1").
		SetString(dicom.TagModality, dicom.CS, "CT").SetString(dicom.TagPerformedProcedureStepID, dicom.SH, "PPS1").
		SetString(dicom.TagPerformedStationAETitle, dicom.AE, "CT1").SetString(dicom.TagPerformedProcedureStepStartDate, dicom.DA, "20261122").
		SetString(dicom.TagPerformedProcedureStepStartTime, dicom.TM, "093500").SetString(dicom.TagPerformedProcedureStepStatus, dicom.CS, "IN PROGRESS").
		SetSequence(dicom.TagScheduledStepAttributesSequence, item)
	for _, f := range change {
		f(ds)
	}
	return ds
}

// ended is what it sends when it has ended with these instances.
func ended(status string, uids ...string) *dicom.Dataset {
	ds := new(dicom.Dataset).SetString(dicom.TagPerformedProcedureStepStatus, dicom.CS, status).
		SetString(dicom.TagPerformedProcedureStepEndDate, dicom.DA, "20261122").SetString(dicom.TagPerformedProcedureStepEndTime, dicom.TM, "094500")
	if len(uids) == 0 {
		return ds
	}
	var images []*dicom.Dataset
	for _, uid := range uids {
		images = append(images, new(dicom.Dataset).SetString(dicom.TagReferencedSOPClassUID, dicom.UI, "1.2.840.10008.5.1.4.1.1.2").SetString(dicom.TagReferencedSOPInstanceUID, dicom.UI, uid))
	}
	return ds.SetSequence(dicom.TagPerformedSeriesSequence, new(dicom.Dataset).SetString(dicom.TagSeriesInstanceUID, dicom.UI, "1.2.3.4").
		SetString(dicom.TagProtocolName, dicom.LO, "Бош").SetSequence(dicom.TagReferencedImageSequence, images...))
}

func (s *site) create(calling, uid string, ds *dicom.Dataset) dimse.NResponse {
	s.Helper()
	rsp, err := s.dial(calling).NCreate(s.Context(), dimse.NRequest{SOPClassUID: mpps, SOPInstanceUID: uid, DataSet: ds})
	if err != nil {
		s.Fatal(err)
	}
	return rsp
}

func (s *site) set(calling, uid string, ds *dicom.Dataset) dimse.Status {
	s.Helper()
	rsp, err := s.dial(calling).NSet(s.Context(), dimse.NRequest{SOPClassUID: mpps, SOPInstanceUID: uid, DataSet: ds})
	if err != nil {
		s.Fatal(err)
	}
	return rsp.Status
}

func (s *site) retrieve(calling, uid string, attributes ...dicom.Tag) dimse.NResponse {
	s.Helper()
	rsp, err := s.dial(calling).NGet(s.Context(), dimse.NRequest{SOPClassUID: RetrieveSOPClass, SOPInstanceUID: uid, Attributes: attributes})
	if err != nil {
		s.Fatal(err)
	}
	return rsp
}

func (s *site) wantState(o orders.Order, want orders.State) {
	s.Helper()
	got, err := s.Orders.Get(s.Context(), pacs.System("test"), o.ID)
	if err != nil || got.State != want {
		s.Errorf("the order is %s, want %s; %v", got.State, want, err)
	}
}

func devices() []access.Device {
	return []access.Device{
		{AETitle: "CT1", FacilityCode: "A"},
		{AETitle: "CT2", FacilityCode: "A", AnswerCharset: "ISO_IR 6"},
		{AETitle: "ELSEWHERE", FacilityCode: "B"},
		{AETitle: "LISTONLY", FacilityCode: "A", Services: []access.Service{access.Worklist}},
	}
}

// PS3.4 F.7: begun, gone on with, ended, and final.
func TestPerformedStep(t *testing.T) {
	s := open(t, devices()...)
	o := s.order()
	const uid = "1.2.826.0.1.3680043.10.77.1"
	if rsp := s.create("CT1", uid, begun(o)); rsp.Code != dimse.Success || rsp.SOPInstanceUID != uid {
		t.Fatalf("%+v", rsp)
	}
	s.wantState(o, orders.InProgress)
	if rsp := s.create("CT1", uid, begun(o)); rsp.Code != dimse.DuplicateInstance {
		t.Errorf("created twice: %s", rsp.Status)
	}
	// Another device of the hospital may end it, one of another hospital not
	// even know it.
	if status := s.set("ELSEWHERE", uid, ended("DISCONTINUED")); status.Code != dimse.NoSuchInstance {
		t.Errorf("%s", status)
	}
	going := new(dicom.Dataset).SetString(dicom.TagPerformedProcedureStepDescription, dicom.LO, "Бош мия КТ")
	if status := s.set("CT2", uid, going); status.Code != dimse.Success {
		t.Errorf("%s", status)
	}
	if status := s.set("CT1", uid, ended("FINISHED")); status.Code != dimse.InvalidAttributeValue {
		t.Errorf("%s", status)
	}
	if status := s.set("CT1", uid, new(dicom.Dataset).SetString(dicom.TagPerformedProcedureStepStatus, dicom.CS, "COMPLETED")); status.Code != dimse.MissingAttribute ||
		!slices.Contains(status.Offending, uint32(dicom.TagPerformedSeriesSequence)) {
		t.Errorf("%s %v", status, status.Offending)
	}
	if status := s.set("CT1", uid, ended("COMPLETED").SetSequence(dicom.TagPerformedSeriesSequence)); status.Code != dimse.MissingAttributeValue {
		t.Errorf("%s", status)
	}
	s.wantState(o, orders.InProgress)

	// What may not change stays, and the device is told.
	end := ended("COMPLETED", "1.2.3.4.1", "1.2.3.4.2").SetString(dicom.TagPatientID, dicom.LO, "P2").SetString(dicom.TagModality, dicom.CS, "CT")
	if status := s.set("CT1", uid, end); status.Code != dimse.AttributeListError || !slices.Equal(status.Offending, []uint32{uint32(dicom.TagPatientID)}) {
		t.Errorf("%s %v", status, status.Offending)
	}
	s.wantState(o, orders.Completed)
	if !slices.Equal(s.ended, []string{o.StudyUID}) {
		t.Errorf("ended %q", s.ended)
	}
	final := s.set("CT1", uid, ended("DISCONTINUED"))
	if final.Code != dimse.ProcessingFailure || final.ErrorID != 0xA710 || final.Comment != "Performed Procedure Step Object may no longer be updated" {
		t.Errorf("%+v", final)
	}

	whole := s.retrieve("CT1", uid)
	ds := whole.DataSet
	if whole.Code != dimse.Success || ds.String(dicom.TagPatientID) != "P1" || ds.String(dicom.TagPatientName) != "Каримов^Али" || ds.String(dicom.TagPerformedProcedureStepDescription) != "Бош мия КТ" ||
		ds.String(dicom.TagPerformedProcedureStepStatus) != "COMPLETED" || ds.Item(dicom.TagPerformedSeriesSequence).String(dicom.TagProtocolName) != "Бош" ||
		len(ds.Item(dicom.TagPerformedSeriesSequence).Items(dicom.TagReferencedImageSequence)) != 2 {
		t.Errorf("%s\n%s", whole.Status, lines(ds, ""))
	}
	if part := s.retrieve("CT2", uid, dicom.TagPatientName); lines(part.DataSet, "") != "00100010 PN Karimov^Ali\n" {
		t.Errorf("%s\n%s", part.Status, lines(part.DataSet, ""))
	}
	if rsp := s.retrieve("ELSEWHERE", uid); rsp.Code != dimse.NoSuchInstance {
		t.Errorf("%s", rsp.Status)
	}
}

func TestWhatIsRefused(t *testing.T) {
	s := open(t, devices()...)
	o := s.order()
	without := func(tag dicom.Tag) func(*dicom.Dataset) { return func(ds *dicom.Dataset) { ds.Delete(tag) } }
	with := func(tag dicom.Tag, vr dicom.VR, v string) func(*dicom.Dataset) {
		return func(ds *dicom.Dataset) { ds.SetString(tag, vr, v) }
	}
	for i, row := range []struct {
		change func(*dicom.Dataset)
		want   dimse.Code
	}{
		{without(dicom.TagPerformedProcedureStepID), dimse.MissingAttribute},
		{without(dicom.TagScheduledStepAttributesSequence), dimse.MissingAttribute},
		{without(dicom.TagModality), dimse.MissingAttribute},
		{with(dicom.TagPerformedProcedureStepStartTime, dicom.TM, ""), dimse.MissingAttributeValue},
		{func(ds *dicom.Dataset) { ds.SetSequence(dicom.TagScheduledStepAttributesSequence) }, dimse.MissingAttributeValue},
		{func(ds *dicom.Dataset) {
			ds.SetSequence(dicom.TagScheduledStepAttributesSequence, new(dicom.Dataset))
		}, dimse.MissingAttribute},
		{with(dicom.TagPerformedProcedureStepStatus, dicom.CS, "COMPLETED"), dimse.InvalidAttributeValue},
		{with(dicom.TagPerformedProcedureStepStatus, dicom.CS, "WHATEVER"), dimse.InvalidAttributeValue},
		{func(ds *dicom.Dataset) {
			ds.SetSequence(dicom.TagScheduledStepAttributesSequence, new(dicom.Dataset).SetString(dicom.TagStudyInstanceUID, dicom.UI, "1.2.x"))
		}, dimse.InvalidAttributeValue},
	} {
		if rsp := s.create("CT1", fmt.Sprintf("1.2.%d", i), begun(o, row.change)); rsp.Code != row.want {
			t.Errorf("%d: %s, want %s", i, rsp.Status, row.want)
		}
	}
	s.wantState(o, orders.Scheduled)
	if rsp := s.create("CT1", "1.02", begun(o)); rsp.Code != dimse.InvalidInstance {
		t.Errorf("%s", rsp.Status)
	}
	if rsp := s.create("LISTONLY", "1.3", begun(o)); rsp.Code != dimse.NotAuthorized {
		t.Errorf("%s", rsp.Status)
	}
	if status := s.set("CT1", "1.4", ended("DISCONTINUED")); status.Code != dimse.NoSuchInstance {
		t.Errorf("%s", status)
	}
	for _, operation := range []func(context.Context, dimse.NRequest) (dimse.NResponse, error){s.dial("CT1").NSet, s.dial("CT1").NCreate} {
		if rsp, err := operation(t.Context(), dimse.NRequest{SOPClassUID: RetrieveSOPClass, SOPInstanceUID: "1.5", DataSet: begun(o)}); err != nil || rsp.Code != dimse.UnrecognizedOperation {
			t.Errorf("%s, %v", rsp.Status, err)
		}
	}
	// Without a SOP Instance UID one is given.
	if rsp := s.create("CT1", "", begun(o)); rsp.Code != dimse.Success || dicom.ValidUID(rsp.SOPInstanceUID) != nil {
		t.Errorf("%+v", rsp)
	}
}

// Steps nobody ordered are kept; a step performed in two is done when one of
// them has completed it and none goes on; another hospital's order is none.
func TestSeveralSteps(t *testing.T) {
	s := open(t, devices()...)
	if rsp := s.create("CT1", "1.1", begun(orders.Order{StudyUID: "1.2.9"})); rsp.Code != dimse.Success {
		t.Errorf("%s", rsp.Status)
	}
	o := s.order()
	s.create("ELSEWHERE", "1.2", begun(o))
	s.wantState(o, orders.Scheduled)
	for _, uid := range []string{"1.3", "1.4"} {
		s.create("CT1", uid, begun(o))
	}
	s.set("CT1", "1.3", ended("DISCONTINUED"))
	s.wantState(o, orders.InProgress)
	s.set("CT1", "1.4", ended("COMPLETED", "1.2.3.4.1"))
	s.wantState(o, orders.Completed)
	given := s.order()
	s.create("CT1", "1.5", begun(given, func(ds *dicom.Dataset) { // by accession number and modality alone
		ds.SetSequence(dicom.TagScheduledStepAttributesSequence, new(dicom.Dataset).SetString(dicom.TagStudyInstanceUID, dicom.UI, "1.9.9").SetString(dicom.TagAccessionNumber, dicom.SH, given.Accession))
	}))
	s.set("CT1", "1.5", ended("DISCONTINUED"))
	s.wantState(given, orders.Discontinued)
	history, err := s.Orders.History(t.Context(), given.ID)
	if err != nil || len(history) != 3 || history[1].What != "in_progress" || history[2].Who != "ae:CT1" {
		t.Errorf("%+v, %v", history, err)
	}
	found, _ := s.find("CT1", asked(nil, m2(mod, "")))
	if len(found) != 0 {
		t.Errorf("%d steps wait", len(found))
	}
}

// A study is complete when its steps have ended and all they name is there, in
// whatever order that comes, and not before.
func TestStepsCompleteStudies(t *testing.T) {
	s := open(t, devices()...)
	o := s.order()
	late := 0
	look := func() (completed int) {
		t.Helper()
		if err := s.steps.Complete(t.Context(), o.StudyUID, func(context.Context, pgx.Tx, pacs.Study) error {
			completed++
			return nil
		}, func(context.Context, pgx.Tx, int64) error {
			late++
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return completed
	}
	arrive := func() (enqueued int) {
		t.Helper()
		before := len(s.ended)
		if err := pgx.BeginFunc(t.Context(), s.Index.Pool(), func(tx pgx.Tx) error { return s.steps.Arriving(t.Context(), tx, o.StudyUID) }); err != nil {
			t.Fatal(err)
		}
		return len(s.ended) - before
	}
	s.create("CT1", "1.1", begun(o))
	s.create("CT1", "1.2", begun(o))
	s.create("ELSEWHERE", "1.3", begun(o)) // of no concern
	study := s.Study("A", func(a *index.Addition) { a.Study.StudyInstanceUID = o.StudyUID })
	all, _, err := s.Index.Instances(t.Context(), pacs.System("test"), pacs.InstanceFilter{Series: pacs.SeriesFilter{Study: pacs.StudyFilter{StudyInstanceUIDs: []string{study.StudyInstanceUID}}}})
	if err != nil || len(all) != 4 {
		t.Fatalf("%d instances, %v", len(all), err)
	}
	var uids []string
	for _, i := range all {
		uids = append(uids, i.SOPInstanceUID)
	}
	if n := look() + arrive(); n != 0 {
		t.Error("completed while steps go on")
	}
	s.set("CT1", "1.1", ended("DISCONTINUED"))
	if look() != 0 {
		t.Error("completed while a step goes on")
	}
	s.set("CT1", "1.2", ended("COMPLETED", append(uids, "1.2.3.999")...))
	if look() != 0 {
		t.Error("completed with an instance missing")
	}
	if arrive() != 1 {
		t.Error("images arrive and nobody looks")
	}
	if _, err := s.Index.Pool().Exec(t.Context(), `UPDATE performed_step SET instances = $2 WHERE sop_uid = $1`, "1.2", uids); err != nil {
		t.Fatal(err)
	}
	if look() != 1 {
		t.Error("not completed with all that was named")
	}
	if look()+arrive() != 0 {
		t.Error("completed twice")
	}
	if got, err := s.Index.Study(t.Context(), pacs.System("test"), o.StudyUID); err != nil || got.CompletedAt.IsZero() {
		t.Errorf("%+v, %v", got, err)
	}
	if late != 0 {
		t.Errorf("late %d times when it wasn't complete before", late)
	}
	// Another step ends behind that, as when the study was quiet before.
	s.create("CT1", "1.5", begun(o))
	s.set("CT1", "1.5", ended("COMPLETED", uids...))
	if look() != 0 || late != 1 || look() != 0 || late != 1 {
		t.Errorf("a step that ends when its study is complete is told of %d times", late)
	}
}

// An N-CREATE as a CT sends it, byte by byte, in implicit VR little endian.
func TestGoldenNCreate(t *testing.T) {
	raw := strings.Join(strings.Fields(strings.Join([]string{
		"0800 0500 0a00 0000", hexOf("ISO_IR 144"), // (0008,0005) Specific Character Set
		"0800 6000 0200 0000", hexOf("CT"), // (0008,0060) Modality
		"1000 1000 0c00 0000", "bad0e0d8dcded2 5e b0dbd8 20", // (0010,0010) Каримов^Али in ISO 8859-5
		"1000 2000 0200 0000", hexOf("P1"), // (0010,0020)
		"2000 1000 0200 0000", hexOf("1 "), // (0020,0010) Study ID
		"4000 4102 0400 0000", hexOf("CT1 "), // (0040,0241) Performed Station AE Title
		"4000 4402 0800 0000", hexOf("20261122"), // (0040,0244) start date
		"4000 4502 0600 0000", hexOf("093500"), // (0040,0245) start time
		"4000 5202 0c00 0000", hexOf("IN PROGRESS "), // (0040,0252) status
		"4000 5302 0400 0000", hexOf("PPS1"), // (0040,0253)
		"4000 4003 0000 0000",                     // (0040,0340) Performed Series Sequence, empty
		"4000 7002 ffffffff",                      // (0040,0270) Scheduled Step Attributes Sequence, undefined length
		"feff 00e0 ffffffff",                      // item, undefined length
		"2000 0d00 0600 0000", hexOf("1.2.3\x00"), // (0020,000D) Study Instance UID
		"feff 0de0 0000 0000", "feff dde0 0000 0000", // delimiters
	}, " ")), "")
	b, err := hex.DecodeString(raw)
	if err != nil {
		t.Fatal(err)
	}
	h, err := dicom.Scan(bytes.NewReader(b), dicom.ScanOptions{TransferSyntax: dicom.ImplicitVRLittleEndian})
	if err != nil {
		t.Fatal(err)
	}
	if status, ok := checkCreate(h.Dataset); !ok {
		t.Errorf("%s", status)
	}
	refs, studies := scheduled(h.Dataset)
	if len(refs) != 1 || refs[0].StudyUID != "1.2.3" || !slices.Equal(studies, []string{"1.2.3"}) {
		t.Errorf("%+v %q", refs, studies)
	}
	changed, state, status, ok := merge(h.Dataset, new(dicom.Dataset).SetString(dicom.TagPerformedProcedureStepStatus, dicom.CS, "DISCONTINUED").
		SetString(dicom.TagPerformedProcedureStepEndDate, dicom.DA, "20261122").SetString(dicom.TagPerformedProcedureStepEndTime, dicom.TM, "0940"))
	if !ok || state != orders.Discontinued || status.Code != dimse.Success || changed.String(dicom.TagPatientName) != "Каримов^Али" || changed.String(dicom.TagSpecificCharacterSet) != "ISO_IR 192" {
		t.Errorf("%v %s %s\n%s", ok, state, status, lines(changed, ""))
	}
}

func hexOf(text string) string { return hex.EncodeToString([]byte(text)) }

func FuzzMerge(f *testing.F) {
	for _, ds := range []*dicom.Dataset{ended("COMPLETED", "1.2.3"), ended("DISCONTINUED"), begun(orders.Order{StudyUID: "1.2"})} {
		raw, err := dicom.AppendDataset(nil, ds, dicom.ExplicitVRLittleEndian)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	step := begun(orders.Order{StudyUID: "1.2"})
	f.Fuzz(func(t *testing.T, raw []byte) {
		h, err := dicom.Scan(bytes.NewReader(raw), dicom.ScanOptions{TransferSyntax: dicom.ExplicitVRLittleEndian, MaxValue: len(raw) + 1})
		if err != nil {
			return
		}
		checkCreate(h.Dataset)
		merged, _, _, ok := merge(step, h.Dataset)
		if !ok {
			return
		}
		instances(merged)
		if merged.String(dicom.TagPatientID) != "P1" {
			t.Error("who the patient is has changed")
		}
	})
}
