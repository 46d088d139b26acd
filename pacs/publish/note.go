package publish

import (
	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/index"
)

// describeNote reads a rejection note: a Key Object Selection with such a title
// (IHE RAD TF-2 4.66). nil for anything else. What it names of other studies
// doesn't count: a note speaks of its own.
func describeNote(ds *dicom.Dataset) *index.Note {
	if ds.String(dicom.TagSOPClassUID) != keyObjectSelection {
		return nil
	}
	title := ds.Item(dicom.TagConceptNameCodeSequence)
	reason, ok := pacs.RejectionTitle(title.String(dicom.TagCodeValue), title.String(dicom.TagCodingSchemeDesignator))
	if !ok {
		return nil
	}
	note := &index.Note{Code: string(reason)}
	study := ds.String(dicom.TagStudyInstanceUID)
	for _, evidence := range ds.Items(dicom.TagCurrentRequestedProcedureEvidenceSequence) {
		if evidence.String(dicom.TagStudyInstanceUID) != study {
			continue
		}
		for _, series := range evidence.Items(dicom.TagReferencedSeriesSequence) {
			for _, instance := range series.Items(dicom.TagReferencedSOPSequence) {
				if uid := instance.String(dicom.TagReferencedSOPInstanceUID); uid != "" && len(uid) <= 64 {
					note.Instances = append(note.Instances, uid)
				}
			}
		}
	}
	return note
}

// keyObjectSelection is the SOP class of Key Object Selection Documents.
const keyObjectSelection = "1.2.840.10008.5.1.4.1.1.88.59"
