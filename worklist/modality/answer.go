package modality

import (
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/worklist"
	"github.com/tasvir-pacs/tasvir/worklist/charset"
	"github.com/tasvir-pacs/tasvir/worklist/matching"
	"github.com/tasvir-pacs/tasvir/worklist/orders"
)

// field is an attribute of the modality worklist information model. One of value
// and items gives what we hold of it; neither, that we hold nothing and return
// it empty.
type field struct {
	vr    dicom.VR
	value func(w *orders.Waiting, calling string) []string
	items func(w *orders.Waiting) []*dicom.Dataset
}

func of(vr dicom.VR, get func(w *orders.Waiting) string) field {
	return field{vr: vr, value: func(w *orders.Waiting, _ string) []string { return []string{get(w)} }}
}

func unknown(vr dicom.VR) field { return field{vr: vr} }

func coded(get func(w *orders.Waiting) orders.Code) field {
	return field{vr: dicom.SQ, items: func(w *orders.Waiting) []*dicom.Dataset {
		c := get(w)
		if c == (orders.Code{}) {
			return nil
		}
		meaning := c.Meaning
		if meaning == "" {
			meaning = c.Value // type 1, PS3.3 Table 8.8-1
		}
		return []*dicom.Dataset{new(dicom.Dataset).SetString(dicom.TagCodeValue, dicom.SH, c.Value).
			SetString(dicom.TagCodingSchemeDesignator, dicom.SH, c.Scheme).SetString(dicom.TagCodeMeaning, dicom.LO, meaning)}
	}}
}

// dicomPriority is Requested Procedure Priority, PS3.3 C.4.11.
var dicomPriority = map[worklist.Priority]string{worklist.Stat: "STAT", worklist.Urgent: "HIGH", worklist.Routine: "ROUTINE"}

// stepStatus is Scheduled Procedure Step Status, PS3.3 C.4.10.
var stepStatus = map[orders.State]string{orders.Scheduled: "SCHEDULED", orders.Arrived: "ARRIVED", orders.InProgress: "STARTED"}

// orderFields are the attributes outside of the Scheduled Procedure Step
// Sequence, stepFields those within it. PS3.4 Table K.6-1.
var orderFields = map[dicom.Tag]field{
	dicom.TagAccessionNumber:           of(dicom.SH, func(w *orders.Waiting) string { return w.Accession }),
	dicom.TagInstitutionName:           of(dicom.LO, func(w *orders.Waiting) string { return w.Facility.Name }),
	dicom.TagReferringPhysicianName:    of(dicom.PN, func(w *orders.Waiting) string { return w.Order.Physician }),
	dicom.TagReferencedStudySequence:   unknown(dicom.SQ),
	dicom.TagReferencedPatientSequence: unknown(dicom.SQ),

	dicom.TagPatientName:       of(dicom.PN, func(w *orders.Waiting) string { return w.Patient.Name }),
	dicom.TagPatientID:         of(dicom.LO, func(w *orders.Waiting) string { return w.Patient.PatientID }),
	dicom.TagIssuerOfPatientID: of(dicom.LO, func(w *orders.Waiting) string { return w.Patient.Issuer }),
	dicom.TagPatientBirthDate:  of(dicom.DA, func(w *orders.Waiting) string { return w.Patient.BirthDate }),
	dicom.TagPatientSex:        of(dicom.CS, func(w *orders.Waiting) string { return w.Patient.Sex }),
	dicom.TagOtherPatientIDsSequence: {vr: dicom.SQ, items: func(w *orders.Waiting) []*dicom.Dataset {
		if w.Patient.PINFL == "" {
			return nil
		}
		return []*dicom.Dataset{new(dicom.Dataset).SetString(dicom.TagPatientID, dicom.LO, w.Patient.PINFL).
			SetString(dicom.TagIssuerOfPatientID, dicom.LO, "PINFL").SetString(dicom.TagTypeOfPatientID, dicom.CS, "TEXT")}
	}},
	dicom.TagPatientWeight:            unknown(dicom.DS),
	dicom.TagPatientSize:              unknown(dicom.DS),
	dicom.TagMedicalAlerts:            unknown(dicom.LO),
	dicom.TagAllergies:                unknown(dicom.LO),
	dicom.TagPregnancyStatus:          unknown(dicom.US),
	dicom.TagPatientComments:          unknown(dicom.LT),
	dicom.TagAdditionalPatientHistory: unknown(dicom.LT),
	dicom.TagAdmissionID:              unknown(dicom.LO),
	dicom.TagSpecialNeeds:             unknown(dicom.LO),
	dicom.TagCurrentPatientLocation:   unknown(dicom.LO),
	dicom.TagPatientState:             unknown(dicom.LO),

	dicom.TagConfidentialityConstraintOnPatientDataDescription: unknown(dicom.LO),

	dicom.TagStudyInstanceUID:                       of(dicom.UI, func(w *orders.Waiting) string { return w.StudyUID }),
	dicom.TagRequestingPhysician:                    of(dicom.PN, func(w *orders.Waiting) string { return w.Order.Physician }),
	dicom.TagRequestingService:                      of(dicom.LO, func(w *orders.Waiting) string { return w.Department }),
	dicom.TagRequestedProcedureDescription:          of(dicom.LO, func(w *orders.Waiting) string { return w.Procedure.Description }),
	dicom.TagRequestedProcedureCodeSequence:         coded(func(w *orders.Waiting) orders.Code { return w.Procedure.Code }),
	dicom.TagRequestedProcedureID:                   of(dicom.SH, func(w *orders.Waiting) string { return w.Procedure.ID }),
	dicom.TagReasonForTheRequestedProcedure:         of(dicom.LO, func(w *orders.Waiting) string { return oneLine(w.Reason) }),
	dicom.TagRequestedProcedurePriority:             of(dicom.SH, func(w *orders.Waiting) string { return dicomPriority[w.Priority] }),
	dicom.TagPatientTransportArrangements:           unknown(dicom.LO),
	dicom.TagRequestedProcedureLocation:             unknown(dicom.LO),
	dicom.TagNamesOfIntendedRecipientsOfResults:     unknown(dicom.PN),
	dicom.TagRequestedProcedureComments:             of(dicom.LT, func(w *orders.Waiting) string { return w.Question }),
	dicom.TagIssueDateOfImagingServiceRequest:       of(dicom.DA, func(w *orders.Waiting) string { return w.CreatedAt.Format("20060102") }),
	dicom.TagIssueTimeOfImagingServiceRequest:       of(dicom.TM, func(w *orders.Waiting) string { return w.CreatedAt.Format("150405") }),
	dicom.TagPlacerOrderNumberImagingServiceRequest: of(dicom.LO, func(w *orders.Waiting) string { return w.Placer }),
	dicom.TagFillerOrderNumberImagingServiceRequest: of(dicom.LO, func(w *orders.Waiting) string { return w.Filler }),
}

var stepFields = map[dicom.Tag]field{
	dicom.TagModality: of(dicom.CS, func(w *orders.Waiting) string { return w.Step.Modality }),
	dicom.TagScheduledStationAETitle: {vr: dicom.AE, value: func(w *orders.Waiting, calling string) []string {
		if len(w.Step.Stations) == 0 {
			return []string{calling} // any device of the modality: who asks
		}
		return w.Step.Stations
	}},
	dicom.TagScheduledProcedureStepStartDate:     of(dicom.DA, func(w *orders.Waiting) string { return w.Step.Start.Format("20060102") }),
	dicom.TagScheduledProcedureStepStartTime:     of(dicom.TM, func(w *orders.Waiting) string { return w.Step.Start.Format("150405") }),
	dicom.TagScheduledProcedureStepEndDate:       unknown(dicom.DA),
	dicom.TagScheduledProcedureStepEndTime:       unknown(dicom.TM),
	dicom.TagScheduledPerformingPhysicianName:    of(dicom.PN, func(w *orders.Waiting) string { return w.Step.Physician }),
	dicom.TagScheduledProcedureStepDescription:   of(dicom.LO, func(w *orders.Waiting) string { return described(w) }),
	dicom.TagScheduledProtocolCodeSequence:       coded(func(w *orders.Waiting) orders.Code { return w.Step.Code }),
	dicom.TagScheduledProcedureStepID:            of(dicom.SH, func(w *orders.Waiting) string { return w.Step.ID }),
	dicom.TagScheduledStationName:                unknown(dicom.SH),
	dicom.TagScheduledProcedureStepLocation:      of(dicom.SH, func(w *orders.Waiting) string { return w.Step.Location }),
	dicom.TagPreMedication:                       of(dicom.LO, func(w *orders.Waiting) string { return w.Step.Medication }),
	dicom.TagScheduledProcedureStepStatus:        of(dicom.CS, func(w *orders.Waiting) string { return stepStatus[w.Step.State] }),
	dicom.TagRequestedContrastAgent:              unknown(dicom.LO),
	dicom.TagCommentsOnTheScheduledProcedureStep: unknown(dicom.LT),
}

// described is what the step is called: it must have a description or a code
// (PS3.4 Table K.6-1).
func described(w *orders.Waiting) string {
	if w.Step.Description == "" && w.Step.Code == (orders.Code{}) {
		return w.Step.Modality
	}
	return w.Step.Description
}

// oneLine makes a text fit for LO, which has no line breaks; its length is
// fitted later.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// answer is the response to the query about a step, in UTF-8. What was asked
// with is returned, and what must be in every answer.
func (q *query) answer(w *orders.Waiting, calling string) *dicom.Dataset {
	ds := new(dicom.Dataset)
	for _, k := range q.order {
		orderFields[k.tag].put(ds, k.tag, w, calling)
	}
	if !q.wholeStep && len(q.step) == 0 {
		return ds
	}
	item := new(dicom.Dataset)
	if q.wholeStep {
		for tag, f := range stepFields {
			if f.value != nil || f.items != nil {
				f.put(item, tag, w, calling)
			}
		}
	}
	for _, k := range q.step {
		stepFields[k.tag].put(item, k.tag, w, calling)
	}
	if station := q.value(q.step, dicom.TagScheduledStationAETitle); station != "" && !matching.HasWildcard(station) && len(w.Step.Stations) == 0 {
		item.SetString(dicom.TagScheduledStationAETitle, dicom.AE, station)
	}
	return ds.SetSequence(dicom.TagScheduledProcedureStepSequence, item)
}

// written is the answer in a character set. A patient of whose name the set has
// no letter is called by their ID: the attribute must have a value.
func (q *query) written(w *orders.Waiting, calling, term string) *dicom.Dataset {
	ds := charset.Convert(q.answer(w, calling), term)
	if ds.Has(dicom.TagPatientName) && strings.Trim(ds.String(dicom.TagPatientName), "^= '") == "" {
		ds.SetBytes(dicom.TagPatientName, dicom.PN, charset.Value(term, w.Patient.PatientID, dicom.PN))
	}
	return ds
}

func (f field) put(ds *dicom.Dataset, tag dicom.Tag, w *orders.Waiting, calling string) {
	switch {
	case f.items != nil:
		ds.SetSequence(tag, f.items(w)...)
	case f.vr == dicom.SQ:
		ds.SetSequence(tag)
	case f.value == nil:
		ds.SetBytes(tag, f.vr, nil)
	default:
		values := f.value(w, calling)
		if len(values) == 1 && values[0] == "" {
			values = nil
		}
		ds.SetString(tag, f.vr, values...)
	}
}
