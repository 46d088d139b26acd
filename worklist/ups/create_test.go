package ups

import (
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/worklist"
)

// A step that is pushed for a study takes the place of the archive's own, before
// and after the study is complete; a second one is another step.
func TestPushedReading(t *testing.T) {
	s := open(t)
	p := s.dial("PULLER")
	task := s.Task("A")
	study, err := s.Index.StudiesByID(t.Context(), pacs.System("test"), []int64{task.StudyID})
	if err != nil {
		t.Fatal(err)
	}
	own := s.stepOf(task.ID)
	urgent := func(ds *dicom.Dataset) {
		ds.SetString(dicom.TagScheduledProcedureStepPriority, dicom.CS, "HIGH")
	}
	wantCode(t, "push", p.create("1.2.1", pushable(ofStudy(study[task.StudyID].StudyInstanceUID), urgent)).Code, 0)
	if s.stepOf(task.ID) != "1.2.1" || s.stateOf(own) != Canceled {
		t.Errorf("the task is %s, the archive's own is %s", s.stepOf(task.ID), s.stateOf(own))
	}
	if got := s.TaskOf(pacs.Study{ID: task.StudyID}); got.Priority != worklist.Stat || got.State != worklist.Open {
		t.Errorf("the task is %+v", got)
	}
	ds := p.get("1.2.1").DataSet
	if ds.Item(dicom.TagReplacedProcedureStepSequence).String(dicom.TagReferencedSOPInstanceUID) != own || ds.String(dicom.TagPatientName) != "Каримов^Али^Бахтиёрович" {
		t.Errorf("it does not replace it, or is of another patient: %v", ds)
	}
	wantCode(t, "second reading", p.create("1.2.2", pushable(ofStudy(study[task.StudyID].StudyInstanceUID))).Code, 0)
	if s.stepOf(task.ID) != "1.2.1" || s.stateOf("1.2.2") != Scheduled {
		t.Error("the second took the place of the first")
	}
	// Called off by who asked: nobody is to read it; a person still may.
	wantCode(t, "cancel", p.cancel("1.2.1", nil), 0)
	if got := s.TaskOf(pacs.Study{ID: task.StudyID}); got.State != worklist.Cancelled {
		t.Errorf("the task is %s", got.State)
	}
	person := s.Person("karimova", pacs.Radiologist)
	if _, err := s.Worklist.Claim(t.Context(), pacs.System("test"), task.ID, person.ID); err != nil {
		t.Error(err)
	}
	if again := s.stepOf(task.ID); again == "1.2.1" || s.stateOf(again) != InProgress {
		t.Errorf("claimed again: %s is %s", again, s.stateOf(again))
	}

	late := s.Study("A")
	wantCode(t, "push before", p.create("1.2.3", pushable(ofStudy(late.StudyInstanceUID), urgent)).Code, 0)
	if task := s.Complete(late); s.stepOf(task.ID) != "1.2.3" || s.TaskOf(late).Priority != worklist.Stat {
		t.Errorf("the task of a study that came later is %s", s.stepOf(task.ID))
	}
	// A study of another hospital is none that is here.
	other := s.Task("B")
	theirs := s.stepOf(other.ID)
	wantCode(t, "another's", p.get(theirs).Code, NoSuchStep)
	wantCode(t, "claim another's", p.state(theirs, InProgress, right), NoSuchStep)
	wantCode(t, "the nation's", s.dial("NATION").get(theirs).Code, 0)
}

// What N-CREATE and N-SET demand, with what they offend by.
func TestWhatIsRefused(t *testing.T) {
	s := open(t)
	p := s.dial("PULLER")
	without := func(tag dicom.Tag) *dicom.Dataset { return pushable().Delete(tag) }
	with := func(tag dicom.Tag, vr dicom.VR, value string) *dicom.Dataset {
		return pushable().SetString(tag, vr, value)
	}
	deep := new(dicom.Dataset)
	for range 40 {
		deep = new(dicom.Dataset).SetSequence(dicom.TagInputInformationSequence, deep)
	}
	for what, row := range map[string]struct {
		uid  string
		ds   *dicom.Dataset
		want dimse.Code
	}{
		"no label":          {"1.1", without(dicom.TagProcedureStepLabel), dimse.MissingAttribute},
		"an empty priority": {"1.2", with(dicom.TagScheduledProcedureStepPriority, dicom.CS, ""), dimse.MissingAttributeValue},
		"a strange one":     {"1.3", with(dicom.TagScheduledProcedureStepPriority, dicom.CS, "SOON"), dimse.InvalidAttributeValue},
		"no date":           {"1.4", with(dicom.TagScheduledProcedureStepStartDateTime, dicom.DT, "20261341"), dimse.InvalidAttributeValue},
		"begun":             {"1.5", with(dicom.TagProcedureStepState, dicom.CS, "IN PROGRESS"), NotScheduled},
		"no UID":            {"1.6", with(dicom.TagStudyInstanceUID, dicom.UI, "1.2.x"), dimse.InvalidAttributeValue},
		"no code meaning": {"1.7", pushable().SetSequence(dicom.TagScheduledWorkitemCodeSequence,
			new(dicom.Dataset).SetString(dicom.TagCodeValue, dicom.SH, "1").SetString(dicom.TagCodingSchemeDesignator, dicom.SH, "X")), dimse.MissingAttribute},
		"text as sequence":    {"1.8", with(dicom.TagInputInformationSequence, dicom.LO, "x"), dimse.InvalidAttributeValue},
		"too deep":            {"1.9", deep, dimse.ProcessingFailure},
		"a bad SOP UID":       {"1..2", pushable(), dimse.InvalidInstance},
		"the subscriptions'":  {GlobalSubscription, pushable(), dimse.InvalidInstance},
		"a progress to begin": {"1.10", pushable().SetSequence(dicom.TagProcedureStepProgressInformationSequence, new(dicom.Dataset).SetString(dicom.TagProcedureStepProgress, dicom.DS, "5")), Modified},
		"a transaction":       {"1.11", with(dicom.TagTransactionUID, dicom.UI, "1.2"), Modified},
		"too long":            {"1.12", with(dicom.TagCommentsOnTheScheduledProcedureStep, dicom.LT, strings.Repeat("x", 60_000)).SetString(0x00091001, dicom.UT, strings.Repeat("x", 3<<20)), dimse.ResourceLimitation},
	} {
		got := p.create(row.uid, row.ds)
		wantCode(t, what, got.Code, row.want)
	}
	if ds := p.get("1.10").DataSet; len(ds.Items(dicom.TagProcedureStepProgressInformationSequence)) != 0 || ds.Has(dicom.TagTransactionUID) {
		t.Errorf("what was to be dropped is there: %v", ds)
	}
	wantCode(t, "create", p.create("1.20", pushable()).Code, 0)
	for what, row := range map[string]struct {
		ds   *dicom.Dataset
		want dimse.Code
	}{
		"the patient":   {keys(dicom.TagPatientName, "X"), dimse.InvalidAttributeValue},
		"the state":     {keys(dicom.TagProcedureStepState, "COMPLETED"), OnlyByCreate},
		"a value away":  {keys(dicom.TagProcedureStepLabel, ""), dimse.MissingAttributeValue},
		"no worklist":   {keys(dicom.TagWorklistLabel, ""), dimse.MissingAttributeValue},
		"the study":     {keys(dicom.TagStudyInstanceUID, "1.2.3.4.5"), 0},
		"other IDs":     {new(dicom.Dataset).SetSequence(dicom.TagOtherPatientIDsSequence, keys(dicom.TagPatientID, "X7")), 0},
		"what is done":  {performedAll(), NotInProgress},
		"a transaction": {keys(dicom.TagTransactionUID, "1.2", dicom.TagWorklistLabel, "x"), NotInProgress},
	} {
		wantCode(t, what, p.set("1.20", "", row.ds).Code, row.want)
	}
	if found := p.find(keys(dicom.TagStudyInstanceUID, "1.2.3.4.5", dicom.TagSOPInstanceUID, "")); len(found) != 1 || found[0].String(dicom.TagSOPInstanceUID) != "1.20" {
		t.Errorf("by its new study %v is found", found)
	}

	// A reading stays that of its study.
	step := s.stepOf(s.Task("A").ID)
	wantCode(t, "the study of a reading", p.set(step, "", keys(dicom.TagStudyInstanceUID, "1.2.3.4.5")).Code, dimse.InvalidAttributeValue)
}

// A performer that gives no reason has one put into its step, PS3.4 Table
// CC.2.5-3: one that gives a reason keeps it.
func TestReasonsOfDiscontinuation(t *testing.T) {
	s := open(t)
	p := s.dial("PULLER")
	own := new(dicom.Dataset).SetSequence(dicom.TagProcedureStepProgressInformationSequence, new(dicom.Dataset).
		SetSequence(dicom.TagProcedureStepDiscontinuationReasonCodeSequence, code("110501", "DCM", "Equipment failure")))
	for uid, row := range map[string]struct {
		set  *dicom.Dataset
		want string
	}{"1.2.1": {nil, "110513"}, "1.2.2": {own, "110501"}} {
		wantCode(t, "create", p.create(uid, pushable()).Code, 0)
		wantCode(t, "claim", p.state(uid, InProgress, "1.2.3"), 0)
		if row.set != nil {
			wantCode(t, "set", p.set(uid, "1.2.3", row.set).Code, 0)
		}
		wantCode(t, "cancel", p.state(uid, Canceled, "1.2.3"), 0)
		item := p.get(uid).DataSet.Item(dicom.TagProcedureStepProgressInformationSequence)
		if got := item.Item(dicom.TagProcedureStepDiscontinuationReasonCodeSequence).String(dicom.TagCodeValue); got != row.want || !valued(item, dicom.TagProcedureStepCancellationDateTime) {
			t.Errorf("%s: reason %q, want %s", uid, got, row.want)
		}
	}
	// A reading that is pushed takes the place of the archive's own step.
	task := s.Task("A")
	before := s.stepOf(task.ID)
	var study string
	if err := s.Index.Pool().QueryRow(t.Context(), `SELECT study_uid FROM study WHERE id = $1`, task.StudyID).Scan(&study); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "push", p.create("1.2.4", pushable(ofStudy(study))).Code, 0)
	item := p.get(before).DataSet.Item(dicom.TagProcedureStepProgressInformationSequence)
	if got := item.Item(dicom.TagProcedureStepDiscontinuationReasonCodeSequence).String(dicom.TagCodeValue); got != "110528" {
		t.Errorf("replaced: reason %q", got)
	}
}

// Every kind of matching, over pushed steps.
func TestMatching(t *testing.T) {
	s := open(t)
	p := s.dial("PULLER")
	wantCode(t, "create", p.create("1.2.1", pushable()).Code, 0)
	wantCode(t, "create", p.create("1.2.2", pushable(func(ds *dicom.Dataset) {
		ds.SetString(dicom.TagScheduledProcedureStepStartDateTime, dicom.DT, "20261123").SetString(dicom.TagPatientName, dicom.PN, "Ergashev^Jasur")
	})).Code, 0)
	code := func(value string) *dicom.Dataset {
		return new(dicom.Dataset).SetSequence(dicom.TagScheduledWorkitemCodeSequence, new(dicom.Dataset).SetString(dicom.TagCodeValue, dicom.SH, value))
	}
	for what, row := range map[string]struct {
		keys *dicom.Dataset
		want int
	}{
		"all":            {keys(dicom.TagSOPInstanceUID, ""), 2},
		"list of UIDs":   {new(dicom.Dataset).SetString(dicom.TagSOPInstanceUID, dicom.UI, "1.2.1", "1.2.9"), 1},
		"state":          {keys(dicom.TagProcedureStepState, "SCHEDULED"), 2},
		"another state":  {keys(dicom.TagProcedureStepState, "COMPLETED"), 0},
		"wild card":      {keys(dicom.TagProcedureStepLabel, "Lung*"), 2},
		"name by script": {keys(dicom.TagPatientName, "KARIMOV*"), 1},
		"day":            {keys(dicom.TagScheduledProcedureStepStartDateTime, "20261122"), 1},
		"range":          {keys(dicom.TagScheduledProcedureStepStartDateTime, "202611220930-20261123"), 2},
		"until":          {keys(dicom.TagScheduledProcedureStepStartDateTime, "-20261122"), 1},
		"from":           {keys(dicom.TagScheduledProcedureStepStartDateTime, "20261124-"), 0},
		"sequence":       {code("110004"), 2},
		"not in it":      {code("110005"), 0},
	} {
		if got := len(p.find(row.keys)); got != row.want {
			t.Errorf("%s: %d, want %d", what, got, row.want)
		}
	}
	if _, ignored := p.ask(keys(dicom.TagProcedureStepLabel, "*")); ignored {
		t.Error("a key that is matched by is said to be ignored")
	}
	if got := len(s.dial("OTHER").find(keys(dicom.TagSOPInstanceUID, ""))); got != 0 {
		t.Errorf("another hospital finds %d", got)
	}
}

// FuzzCreate gives the validation any data set: what it keeps can be kept, is
// found by its own values, and says nothing of state or transaction.
func FuzzCreate(f *testing.F) {
	for _, ds := range []*dicom.Dataset{pushable(), pushable(ofStudy("1.2.3")), performedAll(), keys(dicom.TagProcedureStepState, "X")} {
		raw, err := dicom.AppendDataset(nil, ds, dicom.ExplicitVRLittleEndian)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		h, err := dicom.Scan(strings.NewReader(string(raw)), dicom.ScanOptions{TransferSyntax: dicom.ExplicitVRLittleEndian, MaxDepth: 16, MaxElements: 10_000})
		if err != nil {
			return
		}
		given := h.Dataset.UTF8()
		_ = checkSet(given)
		_ = lacking(given, Completed)
		if checkKeys(given) == nil {
			matches(given, given)
			answer(given, given)
		}
		kept, status := checkCreate(given)
		if !status.OK() {
			return
		}
		if kept.Has(dicom.TagTransactionUID) || kept.Has(dicom.TagProcedureStepState) {
			t.Error("state or transaction are kept among the attributes")
		}
		again, err := encode(kept)
		if err != nil {
			return // a value that was left in its stream
		}
		if _, err := decode(again); err != nil {
			t.Errorf("what is kept can't be read: %v", err)
		}
	})
}
