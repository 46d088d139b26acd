package index

import (
	"fmt"
	"slices"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// How an attribute with a column of its own is empty or absent, which the index
// does not tell apart; %s is the row. The unique keys never are.
var (
	patientEmpty = map[string]string{
		dicom.TagPatientID.String():         "%s.patient_id = ''",
		dicom.TagIssuerOfPatientID.String(): "%s.issuer = ''",
		dicom.TagPatientName.String():       "%s.name = ''",
		dicom.TagPatientBirthDate.String():  "%s.birth_date = ''",
		dicom.TagPatientSex.String():        "%s.sex = ''",
	}
	studyEmpty = map[string]string{
		dicom.TagStudyDate.String():              "%s.study_date = ''",
		dicom.TagStudyTime.String():              "%s.study_time = ''",
		dicom.TagAccessionNumber.String():        "%s.accession_number = ''",
		dicom.TagStudyID.String():                "%s.study_id = ''",
		dicom.TagStudyDescription.String():       "%s.description = ''",
		dicom.TagReferringPhysicianName.String(): "%s.referring_physician = ''",
		dicom.TagModalitiesInStudy.String():      "%s.modalities = '{}'",
	}
	seriesEmpty = map[string]string{
		dicom.TagModality.String():          "%s.modality = ''",
		dicom.TagSeriesNumber.String():      "%s.number IS NULL",
		dicom.TagSeriesDescription.String(): "%s.description = ''",
		dicom.TagBodyPartExamined.String():  "%s.body_part = ''",
	}
	instanceEmpty = map[string]string{dicom.TagInstanceNumber.String(): "%s.number IS NULL"}
)

// without matches rows whose attributes have no value. The keys of a study filter
// are of two tables: those of the other one are left to it.
func (c *conditions) without(row string, columns map[string]string, tags []string) {
	for _, tag := range slices.Compact(slices.Sorted(slices.Values(tags))) {
		other := patientEmpty
		switch {
		case columns[tag] != "":
			c.clauses = append(c.clauses, fmt.Sprintf(columns[tag], row))
			continue
		case row == "p":
			other = studyEmpty
		case row != "s" && row != "r":
			other = nil
		}
		if other[tag] == "" {
			c.nothing()
		}
	}
}
