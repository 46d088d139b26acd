package ups

import (
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/worklist"
	"github.com/tasvir-pacs/tasvir/worklist/worklisttest"
)

// A complete study is a step: found, read and claimed by a device, it is taken
// in the worklist; completed, it is read.
func TestReadingTaskIsAStep(t *testing.T) {
	s := open(t)
	person := s.Person("karimova", pacs.Radiologist)
	task := s.Task("A")
	uid := s.stepOf(task.ID)
	p := s.dial("PULLER")
	found := p.find(keys(dicom.TagProcedureStepState, "SCHEDULED", dicom.TagSOPInstanceUID, "", dicom.TagPatientName, "", dicom.TagStudyInstanceUID, "",
		dicom.TagProcedureStepLabel, "", dicom.TagScheduledProcedureStepPriority, "", dicom.TagTransactionUID, ""))
	if len(found) != 1 || found[0].String(dicom.TagSOPInstanceUID) != uid || found[0].String(dicom.TagPatientName) != "Каримов^Али^Бахтиёрович" ||
		found[0].String(dicom.TagProcedureStepLabel) != "Interpretation: CT head" || found[0].String(dicom.TagScheduledProcedureStepPriority) != "LOW" || found[0].Has(dicom.TagTransactionUID) {
		t.Fatalf("found %v", found)
	}
	whole := p.get(uid)
	if !whole.OK() || len(whole.DataSet.Items(dicom.TagInputInformationSequence)) != 2 || whole.DataSet.Item(dicom.TagReferencedRequestSequence).String(dicom.TagAccessionNumber) != "ACC1" {
		t.Errorf("%s: %v", whole.Status, whole.DataSet)
	}
	wantCode(t, "claim", p.state(uid, InProgress, "1.2.3.4"), 0)
	if got := s.TaskOf(pacs.Study{ID: task.StudyID}); got.State != worklist.Claimed || got.Performer != "ae:PULLER" || got.ClaimedByName != "PULLER" || got.ClaimedBy != 0 {
		t.Errorf("the task is %+v", got)
	}
	_, err := s.Worklist.Claim(t.Context(), pacs.System("test"), task.ID, person.ID)
	worklisttest.WantCode(t, err, pacs.Conflict, "claimed_by_other")
	if _, who := pacs.ReasonOf(err); who != "PULLER" {
		t.Errorf("held by %q", who)
	}
	if whole := p.get(uid); whole.DataSet.Has(dicom.TagTransactionUID) || whole.DataSet.String(dicom.TagProcedureStepState) != "IN PROGRESS" {
		t.Error("the transaction is told, or the state is another")
	}
	wantCode(t, "not final", p.state(uid, Completed, "1.2.3.4"), NotFinal)
	wantCode(t, "set", p.set(uid, "1.2.3.4", performedAll()).Code, 0)
	wantCode(t, "another's", p.state(uid, Completed, "1.2.3.5"), WrongTransaction)
	wantCode(t, "complete", p.state(uid, Completed, "1.2.3.4"), 0)
	if got := s.TaskOf(pacs.Study{ID: task.StudyID}); got.State != worklist.Signed || got.ClaimedByName != "PULLER" {
		t.Errorf("the task is %+v", got)
	}
	s.WantAudited("ups.claim", "ae:PULLER ups:"+uid)
	s.WantAudited("ups.complete", "ae:PULLER ups:"+uid)
}

// What people do in the client is seen by machines: claim, release, sign.
func TestStepFollowsThePerson(t *testing.T) {
	s := open(t)
	person := s.Person("karimova", pacs.Radiologist)
	task := s.Task("A")
	first := s.stepOf(task.ID)
	p := s.dial("PULLER")
	must := func(_ worklist.Task, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.Worklist.Claim(t.Context(), pacs.System("test"), task.ID, person.ID))
	wantCode(t, "what a person holds", p.state(first, InProgress, "1.2.3"), WrongTransaction)
	ds := p.get(first).DataSet
	human := ds.Item(dicom.TagUnifiedProcedureStepPerformedProcedureSequence).Item(dicom.TagActualHumanPerformersSequence)
	if ds.String(dicom.TagProcedureStepState) != "IN PROGRESS" || human.String(dicom.TagHumanPerformerName) != "Name^of^karimova" {
		t.Errorf("claimed: %v", ds)
	}
	wantCode(t, "cancel what a person reads", p.cancel(first, nil), NoContact)

	must(s.Worklist.Release(t.Context(), pacs.System("test"), task.ID, person.ID))
	second := s.stepOf(task.ID)
	if second == first || s.stateOf(first) != Canceled || s.stateOf(second) != Scheduled {
		t.Fatalf("released: %s is %s, %s is %s", first, s.stateOf(first), second, s.stateOf(second))
	}
	ds = p.get(second).DataSet
	if ds.Item(dicom.TagReplacedProcedureStepSequence).String(dicom.TagReferencedSOPInstanceUID) != first {
		t.Errorf("it does not say what it replaces: %v", ds)
	}
	must(s.Worklist.Claim(t.Context(), pacs.System("test"), task.ID, person.ID))
	tx, err := s.Index.Pool().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	held := s.TaskOf(pacs.Study{ID: task.StudyID})
	if err := s.Worklist.MarkSigned(t.Context(), tx, held, person.ID); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	ds = p.get(second).DataSet
	if ds.String(dicom.TagProcedureStepState) != "COMPLETED" {
		t.Errorf("signed: %v", ds)
	}
	if tags := lacking(ds, Completed); len(tags) > 0 {
		t.Errorf("completed without %s", keywords(tags))
	}
	// An amendment marks it signed again; it stays what it is.
	wantCode(t, "no more", p.set(second, "", keys(dicom.TagWorklistLabel, "x")).Code, NoLongerUpdated)
}

// What a device has read has no report here: a person can take it all the same,
// with a step of its own that names the one before. What a person has signed can't
// be taken.
func TestReportOfWhatWasReadOutside(t *testing.T) {
	s := open(t)
	person := s.Person("karimova", pacs.Radiologist)
	task := s.Task("A")
	first := s.stepOf(task.ID)
	p := s.dial("PULLER")
	wantCode(t, "claim", p.state(first, InProgress, "1.2.3.4"), 0)
	wantCode(t, "set", p.set(first, "1.2.3.4", performedAll()).Code, 0)
	wantCode(t, "complete", p.state(first, Completed, "1.2.3.4"), 0)
	everywhere := pacs.System("test")
	if list, _, err := s.Worklist.Tasks(t.Context(), everywhere, worklist.Filter{View: worklist.ViewUnreported, UserID: person.ID}); err != nil || len(list) != 1 || list[0].ID != task.ID {
		t.Errorf("without a report: %+v, %v", list, err)
	}
	held, err := s.Worklist.Claim(t.Context(), everywhere, task.ID, person.ID)
	if err != nil || held.State != worklist.Claimed || held.ClaimedBy != person.ID || held.Performer != "" {
		t.Fatalf("claimed: %+v, %v", held, err)
	}
	second := s.stepOf(task.ID)
	ds := p.get(second).DataSet
	if second == first || s.stateOf(first) != Completed || s.stateOf(second) != InProgress ||
		ds.Item(dicom.TagReplacedProcedureStepSequence).String(dicom.TagReferencedSOPInstanceUID) != first {
		t.Errorf("%s is %s, %s is %s: %v", first, s.stateOf(first), second, s.stateOf(second), ds)
	}
	tx, err := s.Index.Pool().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Worklist.MarkSigned(t.Context(), tx, held, person.ID); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.stateOf(second) != Completed {
		t.Errorf("signed, the step is %s", s.stateOf(second))
	}
	_, err = s.Worklist.Claim(t.Context(), everywhere, task.ID, person.ID)
	worklisttest.WantCode(t, err, pacs.Conflict, "already_signed")
}
