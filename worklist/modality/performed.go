package modality

import (
	"slices"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/worklist/charset"
	"github.com/tasvir-pacs/tasvir/worklist/orders"
)

// statuses are the values of Performed Procedure Step Status (0040,0252),
// PS3.3 C.4.14.
var statuses = map[string]orders.State{"IN PROGRESS": orders.InProgress, "COMPLETED": orders.Completed, "DISCONTINUED": orders.Discontinued}

// mustCreate are the attributes of type 1 in N-CREATE, PS3.4 Table F.7.2-1.
// Those of type 2 are not insisted on: nothing follows from an empty value that
// does not follow from none.
var mustCreate = []dicom.Tag{
	dicom.TagScheduledStepAttributesSequence, dicom.TagPerformedProcedureStepID, dicom.TagPerformedStationAETitle,
	dicom.TagPerformedProcedureStepStartDate, dicom.TagPerformedProcedureStepStartTime, dicom.TagPerformedProcedureStepStatus, dicom.TagModality,
}

// mustEnd are the attributes that must have a value when the step ends;
// mustComplete also when it ends as COMPLETED. PS3.4 Table F.7.2-1, final state.
var (
	mustEnd      = []dicom.Tag{dicom.TagPerformedProcedureStepEndDate, dicom.TagPerformedProcedureStepEndTime}
	mustComplete = []dicom.Tag{dicom.TagPerformedSeriesSequence}
)

// settled are the attributes that N-SET may not change, PS3.4 Table F.7.2-1.
var settled = []dicom.Tag{
	dicom.TagModality, dicom.TagReferencedPatientSequence, dicom.TagPatientName, dicom.TagPatientID, dicom.TagIssuerOfPatientID,
	dicom.TagPatientBirthDate, dicom.TagPatientSex, dicom.TagStudyID, dicom.TagPerformedStationAETitle, dicom.TagPerformedStationName,
	dicom.TagPerformedLocation, dicom.TagPerformedProcedureStepStartDate, dicom.TagPerformedProcedureStepStartTime,
	dicom.TagPerformedProcedureStepID, dicom.TagScheduledStepAttributesSequence,
}

// finalErrorID is the Error ID by which a step says that it can't change any
// more, PS3.4 F.7.2.2.2.
const finalErrorID = 0xA710

var mayNoLongerChange = dimse.Status{
	Code: dimse.ProcessingFailure, ErrorID: finalErrorID, Comment: "Performed Procedure Step Object may no longer be updated",
}

// lacking refuses a data set that has not all of the attributes, or not a value
// in each.
func lacking(ds *dicom.Dataset, tags []dicom.Tag) (dimse.Status, bool) {
	var absent, empty []uint32
	for _, tag := range tags {
		e, ok := ds.Get(tag)
		switch {
		case !ok:
			absent = append(absent, uint32(tag))
		case e.VR == dicom.SQ && len(e.Items) == 0, e.VR != dicom.SQ && strings.Trim(string(e.Value), " \x00") == "":
			empty = append(empty, uint32(tag))
		}
	}
	switch {
	case len(absent) > 0:
		return dimse.Status{Code: dimse.MissingAttribute, Comment: "lacks " + named(absent), Offending: absent}, true
	case len(empty) > 0:
		return dimse.Status{Code: dimse.MissingAttributeValue, Comment: "no value of " + named(empty), Offending: empty}, true
	}
	return dimse.Status{}, false
}

func named(tags []uint32) string {
	names := make([]string, len(tags))
	for i, tag := range tags {
		names[i] = dicom.Keyword(dicom.Tag(tag))
	}
	return strings.Join(names, ", ")
}

// statusOf reads the Performed Procedure Step Status; ok is false for a value
// that is none.
func statusOf(ds *dicom.Dataset) (state orders.State, ok bool) {
	state, ok = statuses[ds.String(dicom.TagPerformedProcedureStepStatus)]
	return state, ok
}

func badStatus(why string) dimse.Status {
	return dimse.Status{Code: dimse.InvalidAttributeValue, Comment: why, Offending: []uint32{uint32(dicom.TagPerformedProcedureStepStatus)}}
}

// checkCreate says what is wrong with the attributes of an N-CREATE.
func checkCreate(ds *dicom.Dataset) (dimse.Status, bool) {
	if status, bad := lacking(ds, mustCreate); bad {
		return status, false
	}
	if state, ok := statusOf(ds); !ok || state != orders.InProgress {
		return badStatus("a step begins IN PROGRESS"), false
	}
	for _, item := range ds.Items(dicom.TagScheduledStepAttributesSequence) {
		if status, bad := lacking(item, []dicom.Tag{dicom.TagStudyInstanceUID}); bad {
			return status, false
		}
		if dicom.ValidUID(item.String(dicom.TagStudyInstanceUID)) != nil {
			return dimse.Status{Code: dimse.InvalidAttributeValue, Comment: "Study Instance UID is none", Offending: []uint32{uint32(dicom.TagStudyInstanceUID)}}, false
		}
	}
	return dimse.Status{}, true
}

// merge applies the attributes of an N-SET to a step that is in progress. The
// result is a new data set in UTF-8. status is a warning when some may not be
// changed, which then stay as they are.
func merge(step, changes *dicom.Dataset) (merged *dicom.Dataset, state orders.State, status dimse.Status, ok bool) {
	merged = step.UTF8()
	var refused []uint32
	for _, e := range changes.UTF8().Elements {
		switch {
		case e.Tag == dicom.TagSpecificCharacterSet, e.Tag.IsGroupLength():
		case slices.Contains(settled, e.Tag):
			was, had := merged.Get(e.Tag)
			if e.VR == dicom.SQ || !had || strings.Trim(string(was.Value), " \x00") != strings.Trim(string(e.Value), " \x00") {
				refused = append(refused, uint32(e.Tag))
			}
		case e.VR == dicom.SQ:
			merged.SetSequence(e.Tag, e.Items...)
		default:
			setText(merged, e)
		}
	}
	if state, ok = statusOf(merged); !ok {
		return nil, "", badStatus("the status is IN PROGRESS, COMPLETED or DISCONTINUED"), false
	}
	if state != orders.InProgress {
		must := mustEnd
		if state == orders.Completed {
			must = slices.Concat(mustEnd, mustComplete)
		}
		if status, bad := lacking(merged, must); bad {
			return nil, "", status, false
		}
	}
	if len(refused) > 0 {
		status = dimse.Status{Code: dimse.AttributeListError, Comment: "can't be changed: " + named(refused), Offending: refused}
	}
	return merged, state, status, true
}

// setText sets an element that is in UTF-8.
func setText(ds *dicom.Dataset, e dicom.Element) {
	if charset.Bounded(e.VR) {
		ds.SetString(e.Tag, dicom.UT, string(e.Value)) // declares UTF-8 where needed; undivided
	}
	ds.SetBytes(e.Tag, e.VR, e.Value)
}

// scheduled are the steps of orders that a step performs, and the studies it
// makes images of.
func scheduled(ds *dicom.Dataset) (refs []orders.StepRef, studies []string) {
	for _, item := range ds.Items(dicom.TagScheduledStepAttributesSequence) {
		ref := orders.StepRef{
			StudyUID: item.String(dicom.TagStudyInstanceUID), Accession: item.String(dicom.TagAccessionNumber),
			Procedure: item.String(dicom.TagRequestedProcedureID), Step: item.String(dicom.TagScheduledProcedureStepID),
		}
		if !slices.Contains(refs, ref) {
			refs = append(refs, ref)
		}
		if !slices.Contains(studies, ref.StudyUID) {
			studies = append(studies, ref.StudyUID)
		}
	}
	return refs, studies
}

// instances are the SOP Instance UIDs that a step names in its series.
func instances(ds *dicom.Dataset) []string {
	found := []string{}
	for _, series := range ds.Items(dicom.TagPerformedSeriesSequence) {
		for _, tag := range []dicom.Tag{dicom.TagReferencedImageSequence, dicom.TagReferencedNonImageCompositeSOPInstanceSequence} {
			for _, item := range series.Items(tag) {
				if uid := item.String(dicom.TagReferencedSOPInstanceUID); dicom.ValidUID(uid) == nil {
					found = append(found, uid)
				}
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}
