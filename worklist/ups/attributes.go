package ups

import (
	"slices"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// need is what N-CREATE demands of an attribute: the requirement types of PS3.4
// section 5.4.2.
type need byte

const (
	optional    need = iota // 3, 1C, 2C: kept when it comes
	mayBeEmpty              // 2: made empty when it does not come
	mustValue               // 1
	startsEmpty             // 2, "shall be empty": what comes is dropped
	notAllowed              // -: what comes is dropped
)

// final is the Final State Code of PS3.4 Table CC.2.5-1.
type final byte

const (
	finalOpen     final = 'O'
	finalBoth     final = 'R'
	finalComplete final = 'P' // before COMPLETED
	finalCancel   final = 'X' // before CANCELED
)

// attribute is a row of PS3.4 Table CC.2.5-3.
type attribute struct {
	tag    dicom.Tag
	create need
	set    bool // may be changed by N-SET
	final  final
	// present says that the final state wants the attribute, not a value of it.
	present bool
	match   bool // is a matching key, not only a return key
}

// attributes are the rows of PS3.4 Table CC.2.5-3, edition 2026c, at the level of
// the step; golden_test.go has them as the standard prints them. An attribute
// that is none of them is kept and returned like an optional one. The Transaction
// UID "shall be empty" in an N-CREATE, and there is no other way to look at it.
var attributes = []attribute{
	{dicom.TagTransactionUID, notAllowed, false, finalOpen, false, false},

	// SOP Common
	{dicom.TagSOPClassUID, notAllowed, false, finalBoth, false, true},
	{dicom.TagSOPInstanceUID, notAllowed, false, finalBoth, false, true},

	// Unified Procedure Step Scheduled Procedure Information
	{dicom.TagScheduledProcedureStepPriority, mustValue, true, finalBoth, false, true},
	{dicom.TagScheduledProcedureStepModificationDateTime, notAllowed, false, finalBoth, false, true},
	{dicom.TagProcedureStepLabel, mustValue, true, finalOpen, false, true},
	{dicom.TagWorklistLabel, mayBeEmpty, true, finalOpen, false, true},
	{dicom.TagScheduledProcessingParametersSequence, mayBeEmpty, true, finalOpen, false, false},
	{dicom.TagScheduledStationNameCodeSequence, mayBeEmpty, true, finalOpen, false, true},
	{dicom.TagScheduledStationClassCodeSequence, mayBeEmpty, true, finalOpen, false, true},
	{dicom.TagScheduledStationGeographicLocationCodeSequence, mayBeEmpty, true, finalOpen, false, true},
	{dicom.TagScheduledHumanPerformersSequence, optional, true, finalOpen, false, true},
	{dicom.TagScheduledProcedureStepStartDateTime, mustValue, true, finalBoth, false, true},
	{dicom.TagExpectedCompletionDateTime, optional, true, finalOpen, false, true},
	{dicom.TagScheduledProcedureStepExpirationDateTime, optional, true, finalOpen, false, true},
	{dicom.TagScheduledWorkitemCodeSequence, mayBeEmpty, true, finalOpen, false, true},
	{dicom.TagCommentsOnTheScheduledProcedureStep, mayBeEmpty, true, finalOpen, false, true},
	{dicom.TagInputReadinessState, mustValue, true, finalBoth, false, true},
	{dicom.TagInputInformationSequence, mayBeEmpty, true, finalOpen, false, false},
	{dicom.TagStudyInstanceUID, optional, true, finalOpen, false, true},
	{dicom.TagOutputDestinationSequence, optional, true, finalOpen, false, true},

	// Unified Procedure Step Relationship
	{dicom.TagPatientName, mayBeEmpty, false, finalOpen, false, true},
	{dicom.TagPatientID, optional, false, finalOpen, false, true},
	{dicom.TagIssuerOfPatientID, mayBeEmpty, false, finalOpen, false, true},
	{dicom.TagIssuerOfPatientIDQualifiersSequence, mayBeEmpty, false, finalOpen, false, true},
	{dicom.TagOtherPatientIDsSequence, mayBeEmpty, true, finalOpen, false, true},
	{dicom.TagPatientBirthDate, mayBeEmpty, false, finalOpen, false, true},
	{dicom.TagPatientSex, mayBeEmpty, false, finalOpen, false, true},
	{dicom.TagReferencedPatientPhotoSequence, optional, true, finalOpen, false, false},
	{dicom.TagAdmissionID, mayBeEmpty, false, finalOpen, false, true},
	{dicom.TagIssuerOfAdmissionIDSequence, mayBeEmpty, false, finalOpen, false, true},
	{dicom.TagAdmittingDiagnosesDescription, mayBeEmpty, false, finalOpen, false, true},
	{dicom.TagAdmittingDiagnosesCodeSequence, mayBeEmpty, false, finalOpen, false, true},
	{dicom.TagReferencedRequestSequence, mayBeEmpty, false, finalOpen, false, true},
	{dicom.TagReplacedProcedureStepSequence, optional, false, finalOpen, false, true},
	{dicom.TagMedicalAlerts, optional, true, finalOpen, false, true},
	{dicom.TagPregnancyStatus, optional, true, finalOpen, false, false},
	{dicom.TagSpecialNeeds, optional, true, finalOpen, false, true},

	// Unified Procedure Step Progress Information
	{dicom.TagProcedureStepState, mustValue, false, finalBoth, false, true},
	{dicom.TagProcedureStepProgressInformationSequence, startsEmpty, true, finalCancel, false, false},

	// Unified Procedure Step Performed Procedure Information
	{dicom.TagUnifiedProcedureStepPerformedProcedureSequence, startsEmpty, true, finalComplete, false, true},
}

// performed are the rows within the Unified Procedure Step Performed Procedure
// Sequence that have a Final State Code, progress those within the Procedure
// Step Progress Information Sequence.
var (
	performed = []attribute{
		{tag: dicom.TagPerformedStationNameCodeSequence, final: finalComplete},
		{tag: dicom.TagPerformedProcedureStepStartDateTime, final: finalComplete},
		{tag: dicom.TagPerformedWorkitemCodeSequence, final: finalComplete},
		{tag: dicom.TagPerformedProcedureStepEndDateTime, final: finalComplete},
		{tag: dicom.TagOutputInformationSequence, final: finalComplete, present: true},
	}
	progress = []attribute{
		{tag: dicom.TagProcedureStepCancellationDateTime, final: finalCancel},
		{tag: dicom.TagProcedureStepDiscontinuationReasonCodeSequence, final: finalCancel},
	}
)

// byTag finds a row.
var byTag = func() map[dicom.Tag]attribute {
	rows := make(map[dicom.Tag]attribute, len(attributes))
	for _, a := range attributes {
		rows[a.tag] = a
	}
	return rows
}()

// codes are the code sequences, whose items are checked: PS3.4 Table CC.2.5-2a.
var codes = []dicom.Tag{
	dicom.TagScheduledStationNameCodeSequence, dicom.TagScheduledStationClassCodeSequence,
	dicom.TagScheduledStationGeographicLocationCodeSequence, dicom.TagScheduledWorkitemCodeSequence,
	dicom.TagAdmittingDiagnosesCodeSequence, dicom.TagPerformedStationNameCodeSequence, dicom.TagPerformedStationClassCodeSequence,
	dicom.TagPerformedStationGeographicLocationCodeSequence, dicom.TagPerformedWorkitemCodeSequence,
	dicom.TagProcedureStepDiscontinuationReasonCodeSequence, dicom.TagHumanPerformerCodeSequence, dicom.TagRequestedProcedureCodeSequence,
}

// values are the enumerated values. PS3.3 C.30.1, C.30.2.
var values = map[dicom.Tag][]string{
	dicom.TagScheduledProcedureStepPriority: {"HIGH", "MEDIUM", "LOW"},
	dicom.TagInputReadinessState:            {"INCOMPLETE", "UNAVAILABLE", "READY"},
	dicom.TagProcedureStepState:             {string(Scheduled), string(InProgress), string(Completed), string(Canceled)},
}

// Attribute is what the conformance statement says of a row.
type Attribute struct {
	Tag      dicom.Tag
	Create   string // what N-CREATE demands
	Settable bool
	Final    string // the Final State Code
	Matched  bool
}

// Attributes are the rows of PS3.4 Table CC.2.5-3, for the conformance statement.
func Attributes() []Attribute {
	demands := map[need]string{optional: "optional", mayBeEmpty: "may be empty", mustValue: "value", startsEmpty: "created empty", notAllowed: "not taken"}
	list := make([]Attribute, 0, len(attributes))
	for _, a := range attributes {
		list = append(list, Attribute{a.tag, demands[a.create], a.set, string(a.final), a.match})
	}
	slices.SortFunc(list, func(a, b Attribute) int { return int(int64(a.Tag) - int64(b.Tag)) })
	return list
}
