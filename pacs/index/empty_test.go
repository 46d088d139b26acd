package index

import (
	"slices"
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// Keys that ask for no value, and for several modalities at once, in every way
// that studies are found.
func TestEmptyAndMultipleValues(t *testing.T) {
	ix := open(t)
	fill(t, ix,
		addition("1.1", "1.1.1", 1, func(a *Addition) {
			a.Patient = pacs.Patient{Issuer: "TMA", PatientID: "P1", Name: "Karimov^Ali", Sex: "M", BirthDate: "19700101"}
			a.Study.AccessionNumber, a.Study.StudyID, a.Study.Description, a.Study.ReferringPhysician = "A1", "S1", "Head", "Usmonov"
			a.Series.Description, a.Series.BodyPart = "Axial", "HEAD"
			five := 5
			a.Series.Number = &five
		}),
		addition("1.1", "1.1.2", 1, func(a *Addition) { a.Series.Modality, a.Series.BodyPart = "SR", "HEAD" }),
		addition("1.2", "1.2.1", 1, func(a *Addition) {
			a.Patient = pacs.Patient{Issuer: "TMA", PatientID: "P2"}
			a.Study.Date, a.Study.Time = "", ""
			a.Series.Modality = ""
			a.Instances[0].Number = nil
		}),
		addition("1.3", "1.3.1", 1, func(a *Addition) {
			a.Patient = pacs.Patient{Issuer: "TMA", PatientID: "P3", Name: "Karimova^Zulfiya", BirthDate: "19800101"}
			a.Study.AccessionNumber, a.Series.Modality = "A3", "SR"
		}),
	)
	uids := func(rows []pacs.Study) string {
		var list []string
		for _, r := range rows {
			list = append(list, r.StudyInstanceUID)
		}
		slices.Sort(list)
		return strings.Join(list, " ")
	}
	for _, tt := range []struct {
		name string
		f    pacs.StudyFilter
		want string
	}{
		{"date", pacs.StudyFilter{Without: []string{dicom.TagStudyDate.String()}}, "1.2"},
		{"time", pacs.StudyFilter{Without: []string{dicom.TagStudyTime.String()}}, "1.2"},
		{"accession number", pacs.StudyFilter{Without: []string{dicom.TagAccessionNumber.String()}}, "1.2"},
		{"study ID", pacs.StudyFilter{Without: []string{dicom.TagStudyID.String()}}, "1.2 1.3"},
		{"description and name", pacs.StudyFilter{Without: []string{dicom.TagStudyDescription.String(), dicom.TagPatientName.String()}}, "1.2"},
		{"referring physician", pacs.StudyFilter{Without: []string{dicom.TagReferringPhysicianName.String()}}, "1.2 1.3"},
		{"modalities", pacs.StudyFilter{Without: []string{dicom.TagModalitiesInStudy.String()}}, "1.2"},
		{"sex", pacs.StudyFilter{Without: []string{dicom.TagPatientSex.String()}}, "1.2 1.3"},
		{"sex of a name", pacs.StudyFilter{PatientName: "Karim*", Without: []string{dicom.TagPatientSex.String()}}, "1.3"},
		{"birth date, by name", pacs.StudyFilter{Sort: pacs.ByName, Without: []string{dicom.TagPatientBirthDate.String()}}, "1.2"},
		{"patient ID and issuer", pacs.StudyFilter{Without: []string{dicom.TagPatientID.String(), dicom.TagIssuerOfPatientID.String()}}, ""},
		{"with an accession number", pacs.StudyFilter{AccessionNumber: "A3", Without: []string{dicom.TagPatientSex.String()}}, "1.3"},
		{"a unique key", pacs.StudyFilter{Without: []string{dicom.TagStudyInstanceUID.String()}}, ""},
		{"an attribute of another level", pacs.StudyFilter{Without: []string{dicom.TagSeriesNumber.String()}}, ""},
		{"any modality", pacs.StudyFilter{Modalities: []string{"CT", "SR"}}, "1.1 1.3"},
		{"each modality", pacs.StudyFilter{Modalities: []string{"CT", "SR"}, AllModalities: true}, "1.1"},
		{"each modality, of a name", pacs.StudyFilter{PatientName: "Kar*", Modalities: []string{"SR", "CT"}, AllModalities: true}, "1.1"},
		{"each, one impossible", pacs.StudyFilter{Modalities: []string{"CT", "\x00"}, AllModalities: true}, ""},
	} {
		rows, _, err := ix.Studies(t.Context(), system, tt.f)
		if err != nil || uids(rows) != tt.want {
			t.Errorf("%s: %q, %v, want %q", tt.name, uids(rows), err, tt.want)
		}
		// Below, the same studies are meant.
		series, _, err := ix.Series(t.Context(), system, pacs.SeriesFilter{Study: tt.f})
		for _, s := range series {
			if !strings.Contains(tt.want, s.StudyInstanceUID) {
				t.Errorf("%s: series of %s", tt.name, s.StudyInstanceUID)
			}
		}
		if err != nil || (len(series) == 0) != (tt.want == "") {
			t.Errorf("%s: %d series, %v", tt.name, len(series), err)
		}
	}
	for tag, want := range map[dicom.Tag]string{
		dicom.TagModality: "1.2.1", dicom.TagSeriesNumber: "1.1.2 1.2.1 1.3.1", dicom.TagSeriesDescription: "1.1.2 1.2.1 1.3.1", dicom.TagBodyPartExamined: "1.2.1 1.3.1", dicom.TagStudyDate: "",
	} {
		var got []string
		rows, _, err := ix.Series(t.Context(), system, pacs.SeriesFilter{Without: []string{tag.String()}})
		for _, r := range rows {
			got = append(got, r.SeriesInstanceUID)
		}
		slices.Sort(got)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: series %q, %v, want %q", dicom.Keyword(tag), got, err, want)
		}
	}
	rows, _, err := ix.Instances(t.Context(), system, pacs.InstanceFilter{Without: []string{dicom.TagInstanceNumber.String()}})
	if err != nil || len(rows) != 1 || rows[0].SOPInstanceUID != "1.2.1.1" {
		t.Errorf("instances without a number: %v, %v", rows, err)
	}
	patients, _, err := ix.PatientsWithStudies(t.Context(), system, pacs.StudyFilter{Without: []string{dicom.TagPatientName.String()}})
	if err != nil || len(patients) != 1 || patients[0].PatientID != "P2" {
		t.Errorf("patients without a name: %v, %v", patients, err)
	}
}
