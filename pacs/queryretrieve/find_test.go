package queryretrieve

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/matching"
)

const (
	studyFind   = dicom.StudyRootFindSOPClass
	patientFind = dicom.PatientRootFindSOPClass
)

// queried fills an archive with what the query tests look for.
func queried(t *testing.T) *archive {
	a := newArchive(t)
	a.receive(
		image{number: 1, pixels: 128}, image{number: 2, pixels: 128}, image{series: "1.2.3.2", modality: "SR", more: func(ds *dicom.Dataset) {
			ds.SetSequence(dicom.TagRequestAttributesSequence, new(dicom.Dataset).SetString(dicom.TagRequestedProcedureID, dicom.SH, "RP1"))
		}},
		image{study: "1.2.4", date: "20260303", more: func(ds *dicom.Dataset) {
			ds.SetString(dicom.TagStudyTime, dicom.TM, "08").SetString(dicom.TagStudyDescription, dicom.LO, "Бош мия КТ").SetString(dicom.TagInstitutionName, dicom.LO, "Urgut")
			ds.SetSequence(dicom.TagProcedureCodeSequence, new(dicom.Dataset).SetString(dicom.TagCodeValue, dicom.SH, "CT100").SetString(dicom.TagCodingSchemeDesignator, dicom.SH, "DCM"))
		}},
		image{facility: "NUKUS", patient: "P9", name: "Karimova^Zulfiya", study: "1.2.5", modality: "MR", date: "20260401"},
	)
	return a
}

func TestFind(t *testing.T) {
	a := queried(t)
	all := []byte{1, 1, 1}
	tests := []struct {
		name     string
		calling  string
		class    string
		extended []byte
		query    *dicom.Dataset
		show     dicom.Tag
		want     string // values of show, sorted
		status   dimse.Code
		ignored  bool
	}{
		{name: "universal", query: identifier("STUDY", dicom.TagStudyInstanceUID, "", dicom.TagPatientName, "*"), want: "1.2.3 1.2.4 1.2.5"},
		{name: "name, case does not matter", query: identifier("STUDY", dicom.TagPatientName, "каримов^али"), want: "1.2.3 1.2.4"},
		{name: "name with delimiters at its end", query: identifier("STUDY", dicom.TagPatientName, "Каримов^Али^^"), want: "1.2.3 1.2.4"},
		{name: "name in the other script", query: identifier("STUDY", dicom.TagPatientName, "KARIMOV*"), want: "1.2.5"},
		{name: "name in the other script, fuzzy", extended: all, query: identifier("STUDY", dicom.TagPatientName, "KARIMOV*"), want: "1.2.3 1.2.4 1.2.5"},
		{name: "name in a character set that is not declared", calling: "CYRILLIC_WS", query: new(dicom.Dataset).SetString(dicom.TagQueryRetrieveLevel, dicom.CS, "STUDY").
			SetBytes(dicom.TagPatientName, dicom.PN, []byte("\xCA\xE0\xF0\xE8\xEC\xEE\xE2*")), want: "1.2.3 1.2.4"},
		{name: "patient ID", query: identifier("STUDY", dicom.TagPatientID, "P?"), want: "1.2.3 1.2.4 1.2.5"},
		{name: "date range", query: identifier("STUDY", dicom.TagStudyDate, "20260303-20260401"), want: "1.2.4 1.2.5"},
		{name: "open date range", query: identifier("STUDY", dicom.TagStudyDate, "-20260302"), want: "1.2.3"},
		{name: "ACR-NEMA date", query: identifier("STUDY", dicom.TagStudyDate, "2026.03.02"), want: "1.2.3"},
		{name: "time range", query: identifier("STUDY", dicom.TagStudyTime, "0800-0900"), want: "1.2.4"},
		{name: "date and time apart", query: identifier("STUDY", dicom.TagStudyDate, "20260302-20260401", dicom.TagStudyTime, "100000-110000"), want: "1.2.3 1.2.5"},
		{name: "date and time combined", extended: all, query: identifier("STUDY", dicom.TagStudyDate, "20260302-20260401", dicom.TagStudyTime, "101531-101530"), want: "1.2.4 1.2.5"},
		{name: "list of UIDs", query: identifier("STUDY", dicom.TagStudyInstanceUID, []string{"1.2.3", "1.2.5", "1.2.9"}), want: "1.2.3 1.2.5"},
		{name: "accession number", query: identifier("STUDY", dicom.TagAccessionNumber, "A-1.2.4"), want: "1.2.4"},
		{name: "modalities in study", query: identifier("STUDY", dicom.TagModalitiesInStudy, []string{"SR", "MR"}), want: "1.2.3 1.2.5"},
		{name: "modality of a study", query: identifier("STUDY", dicom.TagModality, "MR"), want: "1.2.5"},
		{name: "sequence", query: identifier("STUDY", dicom.TagProcedureCodeSequence, new(dicom.Dataset).SetString(dicom.TagCodeValue, dicom.SH, "CT*").SetString(dicom.TagCodeMeaning, dicom.LO, "")), want: "1.2.4"},
		{name: "stored attribute", query: identifier("STUDY", dicom.TagInstitutionName, "Urg?t"), want: "1.2.4"},
		{name: "nothing", query: identifier("STUDY", dicom.TagPatientID, "P77"), want: ""},
		{name: "unknown attribute", query: identifier("STUDY", dicom.TagPatientID, "P9", dicom.TagKVP, "120"), want: "1.2.5", ignored: true},
		{name: "key of a lower level", query: identifier("STUDY", dicom.TagPatientID, "P9", dicom.TagSeriesNumber, "3"), want: "1.2.5", ignored: true},
		{name: "another facility's workstation", calling: "URGUT_WS", query: identifier("STUDY"), want: "1.2.3 1.2.4"},
		{name: "who may not query", calling: "NOBODY", query: identifier("STUDY"), status: dimse.NotAuthorized},

		{name: "patients", class: patientFind, query: identifier("PATIENT", dicom.TagPatientID, ""), show: dicom.TagPatientID, want: "P1 P9"},
		{name: "patients of a facility", class: patientFind, calling: "URGUT_WS", query: identifier("PATIENT", dicom.TagPatientSex, "M"), show: dicom.TagPatientID, want: "P1"},
		{name: "studies of a patient", class: patientFind, query: identifier("STUDY", dicom.TagPatientID, "P1"), want: "1.2.3 1.2.4"},
		{name: "studies of any patient", class: patientFind, query: identifier("STUDY", dicom.TagPatientID, "P*"), status: dimse.DataSetMismatch},
		{name: "studies of any patient, relational", class: patientFind, extended: all, query: identifier("STUDY", dicom.TagPatientID, "P*"), want: "1.2.3 1.2.4 1.2.5"},
		{name: "no such level", query: identifier("PATIENT"), status: dimse.DataSetMismatch},
		{name: "no level", query: new(dicom.Dataset), status: dimse.DataSetMismatch},
		{name: "no such level of patients and studies", class: dicom.PatientStudyOnlyFindSOPClass, query: identifier("SERIES"), status: dimse.DataSetMismatch},

		{name: "series", query: identifier("SERIES", dicom.TagStudyInstanceUID, "1.2.3"), show: dicom.TagSeriesInstanceUID, want: "1.2.3.1 1.2.3.2"},
		{name: "series by modality", query: identifier("SERIES", dicom.TagStudyInstanceUID, "1.2.3", dicom.TagModality, []string{"SR", "KO"}), show: dicom.TagSeriesInstanceUID, want: "1.2.3.2"},
		{name: "series by modality with wild card", query: identifier("SERIES", dicom.TagStudyInstanceUID, "1.2.3", dicom.TagModality, "C*"), show: dicom.TagSeriesInstanceUID, want: "1.2.3.1"},
		{name: "series by request", query: identifier("SERIES", dicom.TagStudyInstanceUID, "1.2.3", dicom.TagRequestAttributesSequence,
			new(dicom.Dataset).SetString(dicom.TagRequestedProcedureID, dicom.SH, "RP1")), show: dicom.TagSeriesInstanceUID, want: "1.2.3.2"},
		{name: "series of no study", query: identifier("SERIES", dicom.TagModality, "MR"), status: dimse.DataSetMismatch},
		{name: "series of any study, relational", extended: all, query: identifier("SERIES", dicom.TagModality, "MR", dicom.TagPatientName, "karimova*"), show: dicom.TagPatientName, want: "Karimova^Zulfiya"},
		{name: "images", query: identifier("IMAGE", dicom.TagStudyInstanceUID, "1.2.3", dicom.TagSeriesInstanceUID, "1.2.3.1"), show: dicom.TagSOPInstanceUID, want: "1.2.3.1.1 1.2.3.1.2"},
		{name: "image by number", query: identifier("IMAGE", dicom.TagStudyInstanceUID, "1.2.3", dicom.TagSeriesInstanceUID, "1.2.3.1", dicom.TagInstanceNumber, "2"), show: dicom.TagSOPInstanceUID, want: "1.2.3.1.2"},
		{name: "images of no series", query: identifier("IMAGE", dicom.TagStudyInstanceUID, "1.2.3"), status: dimse.DataSetMismatch},
		{name: "image of any series, relational", extended: all, query: identifier("IMAGE", dicom.TagSOPInstanceUID, "1.2.5.1.1", dicom.TagSeriesDescription, "", dicom.TagStudyID, ""), show: dicom.TagSOPInstanceUID, want: "1.2.5.1.1"},

		{name: "no date", query: identifier("STUDY", dicom.TagStudyDate, "yesterday"), status: dimse.DataSetMismatch},
		{name: "a range that ends before it begins", query: identifier("STUDY", dicom.TagStudyDate, "20260303-20260302"), status: dimse.DataSetMismatch},
		{name: "two names", query: identifier("STUDY", dicom.TagPatientName, []string{"A", "B"}), status: dimse.DataSetMismatch},
		{name: "UID with wild card", query: identifier("STUDY", dicom.TagStudyInstanceUID, "1.2.*"), status: dimse.DataSetMismatch},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.calling == "" {
				tt.calling = "WS1"
			}
			if tt.class == "" {
				tt.class = studyFind
			}
			if tt.show == 0 {
				tt.show = dicom.TagStudyInstanceUID
			}
			c := a.dial(tt.calling, tt.extended, tt.class)
			var got []string
			status, err := c.Find(t.Context(), tt.class, tt.query, func(match *dicom.Dataset, ignored bool) error {
				got = append(got, match.String(tt.show))
				if ignored != tt.ignored {
					t.Errorf("keys ignored: %t", ignored)
				}
				if match.String(dicom.TagRetrieveAETitle) != "TASVIR" || match.String(dicom.TagQueryRetrieveLevel) != tt.query.String(dicom.TagQueryRetrieveLevel) {
					t.Errorf("%q, %q", match.String(dicom.TagRetrieveAETitle), match.String(dicom.TagQueryRetrieveLevel))
				}
				return nil
			})
			slices.Sort(got)
			if err != nil || status.Code != tt.status || strings.Join(got, " ") != tt.want {
				t.Errorf("%s, %v, %q", status, err, got)
			}
			if status.Code == dimse.DataSetMismatch && (len(status.Offending) == 0 || status.Comment == "") {
				t.Errorf("%+v does not say what is wrong", status)
			}
		})
	}
	for proposed, want := range map[string]string{
		"\x01\x01\x01\x01\x01": "\x01\x01\x01\x00\x00", "\x01\x01\x01\x01\x01\x01\x01\x01": "\x01\x01\x01\x00\x00\x01\x01", "\x00\x00\x00\x00\x00\x01": "\x00\x00\x00\x00\x00\x01",
	} {
		if got := a.dial("WS1", []byte(proposed), studyFind).Extended(studyFind); !bytes.Equal(got, []byte(want)) {
			t.Errorf("extended negotiation of %v answered with %v", []byte(proposed), got)
		}
	}
}

// Matching of what is empty and of several values at once is done for who has
// agreed on it.
func TestFindEmptyAndMultiple(t *testing.T) {
	a := queried(t)
	a.receive(
		image{series: "1.2.3.3", number: 1, more: func(ds *dicom.Dataset) {
			ds.SetString(dicom.TagImageType, dicom.CS, "ORIGINAL", "PRIMARY", "AXIAL").SetString(dicom.TagBodyPartExamined, dicom.CS, "HEAD")
		}},
		image{series: "1.2.3.3", number: 2, more: func(ds *dicom.Dataset) {
			ds.SetString(dicom.TagImageType, dicom.CS, "DERIVED", "SECONDARY").SetString(dicom.TagBodyPartExamined, dicom.CS, "HEAD")
		}},
	)
	any, empty, multiple := []byte{1, 1, 1}, []byte{1, 0, 0, 0, 0, 1}, []byte{1, 0, 0, 0, 0, 0, 1}
	for _, tt := range []struct {
		name     string
		class    string
		extended []byte
		query    *dicom.Dataset
		show     dicom.Tag
		want     string
	}{
		{name: "each of several modalities", extended: multiple, query: identifier("STUDY", dicom.TagModalitiesInStudy, []string{"SR", "CT"}), want: "1.2.3"},
		{name: "each of several values", extended: multiple, class: studyFind, query: identifier("IMAGE", dicom.TagImageType, []string{"AXIAL", "ORIGINAL"}), show: dicom.TagSOPInstanceUID, want: "1.2.3.3.1"},
		{name: "any of several values", extended: any, class: studyFind, query: identifier("IMAGE", dicom.TagImageType, []string{"AXIAL", "DERIVED"}), show: dicom.TagSOPInstanceUID, want: "1.2.3.3.1 1.2.3.3.2"},
		{name: "each value, of an attribute with one", extended: multiple, query: identifier("STUDY", dicom.TagInstitutionName, []string{"Urgut", "Nukus"}), want: "1.2.4"},
		{name: "without a description", extended: empty, query: identifier("STUDY", dicom.TagStudyDescription, `""`), want: "1.2.3 1.2.5"},
		{name: "without an institution", extended: empty, query: identifier("STUDY", dicom.TagInstitutionName, `""`), want: "1.2.3 1.2.5"},
		{name: "without a name", extended: empty, class: patientFind, query: identifier("PATIENT", dicom.TagPatientName, `""`), show: dicom.TagPatientID, want: ""},
		{name: "series without a body part", extended: empty, query: identifier("SERIES", dicom.TagStudyInstanceUID, "1.2.3", dicom.TagBodyPartExamined, `""`), show: dicom.TagSeriesInstanceUID, want: "1.2.3.1 1.2.3.2"},
		{name: "an item without a value", extended: empty, query: identifier("SERIES", dicom.TagRequestAttributesSequence, new(dicom.Dataset).SetString(dicom.TagScheduledProcedureStepID, dicom.SH, `""`)), show: dicom.TagSeriesInstanceUID, want: "1.2.3.2"},
		{name: "quotation marks, nothing agreed", query: identifier("STUDY", dicom.TagStudyDescription, `""`), want: ""},
	} {
		if tt.class == "" {
			tt.class = studyFind
		}
		if tt.show == 0 {
			tt.show = dicom.TagStudyInstanceUID
		}
		var got []string
		status, err := a.dial("WS1", tt.extended, tt.class).Find(t.Context(), tt.class, tt.query, func(match *dicom.Dataset, ignored bool) error {
			got = append(got, match.String(tt.show))
			if ignored {
				t.Errorf("%s: keys were ignored", tt.name)
			}
			return nil
		})
		slices.Sort(got)
		if err != nil || !status.OK() || strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %s, %v, %q, want %q", tt.name, status, err, got, tt.want)
		}
	}
}

// What an answer holds: what was asked for, by level, and the unique keys.
func TestFindAnswers(t *testing.T) {
	a := queried(t)
	show := func(ds *dicom.Dataset) string {
		var b strings.Builder
		for _, e := range ds.Elements {
			fmt.Fprintf(&b, "%s=%s ", dicom.Keyword(e.Tag), strings.Join(ds.Values(&e), `\`))
			for _, item := range e.Items {
				fmt.Fprintf(&b, "[%s]", item.String(dicom.TagCodeValue))
			}
		}
		return strings.TrimSpace(b.String())
	}
	const head = "RetrieveAETitle=TASVIR "
	tests := []struct {
		class string
		query *dicom.Dataset
		want  string
	}{
		{
			patientFind, identifier("PATIENT", dicom.TagPatientID, "P1", dicom.TagNumberOfPatientRelatedStudies, "", dicom.TagNumberOfPatientRelatedSeries, "", dicom.TagNumberOfPatientRelatedInstances, "", dicom.TagStudyDate, ""),
			"SpecificCharacterSet= QueryRetrieveLevel=PATIENT " + head + "PatientID=P1 NumberOfPatientRelatedStudies=2 NumberOfPatientRelatedSeries=3 NumberOfPatientRelatedInstances=4",
		},
		{
			studyFind, identifier("STUDY", dicom.TagStudyInstanceUID, "1.2.4", dicom.TagStudyTime, "", dicom.TagStudyDescription, "", dicom.TagModalitiesInStudy, "", dicom.TagInstanceAvailability, "",
				dicom.TagNumberOfStudyRelatedSeries, "", dicom.TagNumberOfStudyRelatedInstances, "", dicom.TagProcedureCodeSequence, new(dicom.Dataset), dicom.TagInstitutionName, "", dicom.TagPatientAge, "", dicom.TagKVP, ""),
			"SpecificCharacterSet=ISO_IR 192 StudyTime=08 QueryRetrieveLevel=STUDY " + head + "InstanceAvailability=ONLINE ModalitiesInStudy=CT InstitutionName=Urgut StudyDescription=Бош мия КТ ProcedureCodeSequence= [CT100]" +
				"PatientID=P1 PatientAge= StudyInstanceUID=1.2.4 NumberOfStudyRelatedSeries=1 NumberOfStudyRelatedInstances=1",
		},
		{
			studyFind, identifier("SERIES", dicom.TagStudyInstanceUID, "1.2.3", dicom.TagModality, "SR", dicom.TagSeriesNumber, "", dicom.TagNumberOfSeriesRelatedInstances, "", dicom.TagStudyID, ""),
			"QueryRetrieveLevel=SERIES " + head + "Modality=SR PatientID=P1 StudyInstanceUID=1.2.3 SeriesInstanceUID=1.2.3.2 StudyID=7 SeriesNumber=4 NumberOfSeriesRelatedInstances=1",
		},
		{
			studyFind, identifier("IMAGE", dicom.TagStudyInstanceUID, "1.2.3", dicom.TagSeriesInstanceUID, "1.2.3.1", dicom.TagInstanceNumber, "2", dicom.TagSOPClassUID, "", dicom.TagRows, "", dicom.TagSeriesDescription, ""),
			"SOPClassUID=" + dicom.CTImageStorage + " SOPInstanceUID=1.2.3.1.2 QueryRetrieveLevel=IMAGE " + head + "SeriesDescription=Axial StudyInstanceUID=1.2.3 SeriesInstanceUID=1.2.3.1 InstanceNumber=2 Rows=1",
		},
	}
	for _, tt := range tests {
		c := a.dial("WS1", nil, tt.class)
		var got []string
		status, err := c.Find(t.Context(), tt.class, tt.query, func(match *dicom.Dataset, _ bool) error {
			got = append(got, show(match))
			return nil
		})
		if err != nil || !status.OK() || len(got) != 1 || got[0] != strings.TrimPrefix(tt.want, "SpecificCharacterSet= ") {
			t.Errorf("%s, %v:\n%s\nwant\n%s", status, err, strings.Join(got, "\n"), tt.want)
		}
	}
}

// Names are answered in what the caller can show.
func TestFindCharacterSets(t *testing.T) {
	a := queried(t)
	tests := []struct{ calling, asked, declared, raw string }{
		{"WS1", "", "ISO_IR 192", "Каримов^Али"},
		{"WS1", "ISO_IR 144", "ISO_IR 144", "\xBA\xD0\xE0\xD8\xDC\xDE\xD2^\xB0\xDB\xD8"},
		{"WS1", "ISO_IR 100", "ISO_IR 192", "Каримов^Али"}, // Latin-1 has no Cyrillic
		{"ASCII_WS", "ISO_IR 192", "", "Karimov^Ali"},
	}
	for _, tt := range tests {
		c := a.dial(tt.calling, nil, studyFind)
		q := identifier("STUDY", dicom.TagStudyInstanceUID, "1.2.3", dicom.TagPatientName, "")
		if tt.asked != "" {
			q.SetString(dicom.TagSpecificCharacterSet, dicom.CS, tt.asked)
		}
		status, err := c.Find(t.Context(), studyFind, q, func(match *dicom.Dataset, _ bool) error {
			e, _ := match.Get(dicom.TagPatientName)
			if raw := strings.TrimRight(string(e.Value), " "); raw != tt.raw || match.String(dicom.TagSpecificCharacterSet) != tt.declared {
				t.Errorf("%s asked in %q: %q in %q", tt.calling, tt.asked, raw, match.String(dicom.TagSpecificCharacterSet))
			}
			return nil
		})
		if err != nil || !status.OK() {
			t.Errorf("%s, %v", status, err)
		}
	}
}

// A long answer comes page by page, each study once, and can be cancelled.
func TestFindPagesAndCancel(t *testing.T) {
	a := newArchive(t)
	const studies = firstPage + 50
	var images []image
	for i := range studies {
		images = append(images, image{study: fmt.Sprintf("1.3.%d", i), patient: fmt.Sprintf("P%d", i%7), date: fmt.Sprintf("202601%02d", 1+i%28)})
	}
	a.receive(images...)
	c := a.dial("WS1", nil, studyFind)
	seen := map[string]bool{}
	status, err := c.Find(t.Context(), studyFind, identifier("STUDY"), func(match *dicom.Dataset, _ bool) error {
		seen[match.String(dicom.TagStudyInstanceUID)] = true
		return nil
	})
	if err != nil || !status.OK() || len(seen) != studies {
		t.Errorf("%s, %v, %d studies of %d", status, err, len(seen), studies)
	}
	enough := errors.New("enough")
	n := 0
	status, err = c.Find(t.Context(), studyFind, identifier("STUDY"), func(*dicom.Dataset, bool) error {
		if n++; n == 3 {
			return enough
		}
		return nil
	})
	// All may have been on their way when the cancel came.
	if !errors.Is(err, enough) || status.Code != dimse.Cancelled && status.Code != dimse.Success || n != 3 {
		t.Errorf("%s, %v after %d", status, err, n)
	}
}

func FuzzQuery(f *testing.F) {
	for _, q := range []*dicom.Dataset{
		identifier("STUDY", dicom.TagPatientName, "Каримов*", dicom.TagStudyDate, "20260101-", dicom.TagStudyTime, "10-11"),
		identifier("IMAGE", dicom.TagStudyInstanceUID, []string{"1.2", "1.3"}, dicom.TagProcedureCodeSequence, new(dicom.Dataset).SetString(dicom.TagCodeValue, dicom.SH, "x?")),
	} {
		b, err := dicom.AppendDataset(nil, q, dicom.ImplicitVRLittleEndian)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, byte(7))
	}
	study := pacs.Study{ID: 1, StudyInstanceUID: "1.2", Attributes: []byte(`{"00081032":{"vr":"SQ","Value":[{"00080100":{"vr":"SH","Value":["x"]}}]}}`)}
	f.Fuzz(func(t *testing.T, b []byte, agreed byte) {
		h, err := dicom.Scan(bytes.NewReader(b), dicom.ScanOptions{TransferSyntax: dicom.ImplicitVRLittleEndian})
		if err != nil {
			return
		}
		for class, m := range models {
			q, err := m.parseQuery(h.Dataset, options{agreed&1 != 0, agreed&2 != 0, agreed&4 != 0, matching.Options{Empty: agreed&8 != 0, Multiple: agreed&16 != 0}})
			if err != nil {
				continue
			}
			found := &match{study: &study, series: &pacs.Series{}, instance: &pacs.Instance{FrameCount: 1}}
			answer := Caller{AnswerCharset: "ISO_IR 144"}.spelled(q.render(found, "TASVIR"), q.charset)
			if _, err := dicom.AppendDataset(nil, answer, dicom.ImplicitVRLittleEndian); err != nil {
				t.Errorf("%s: %v", class, err)
			}
		}
	})
}

// How soon what is found can be had is told at each level: the worst of what the
// match stands for.
func TestFindAvailability(t *testing.T) {
	a := queried(t)
	for _, sql := range []string{
		`UPDATE pack SET key = 'cold/' || key WHERE series_row = (SELECT id FROM series WHERE series_uid = '1.2.3.2')`,
		`UPDATE instance SET pixels_deleted = '{}' WHERE sop_uid = '1.2.3.1.2'`,
	} {
		if tag, err := a.index.Pool().Exec(t.Context(), sql); err != nil || tag.RowsAffected() != 1 {
			t.Fatal(tag, err)
		}
	}
	for _, tt := range []struct {
		class, want string
		query       *dicom.Dataset
	}{
		{patientFind, "UNAVAILABLE", identifier("PATIENT", dicom.TagPatientID, "P1")},
		{studyFind, "UNAVAILABLE", identifier("STUDY", dicom.TagStudyInstanceUID, "1.2.3")},
		{studyFind, "ONLINE", identifier("STUDY", dicom.TagStudyInstanceUID, "1.2.4")},
		{studyFind, "UNAVAILABLE NEARLINE", identifier("SERIES", dicom.TagStudyInstanceUID, "1.2.3", dicom.TagSeriesInstanceUID, "")},
		{studyFind, "ONLINE UNAVAILABLE", identifier("IMAGE", dicom.TagStudyInstanceUID, "1.2.3", dicom.TagSeriesInstanceUID, "1.2.3.1")},
		{studyFind, "NEARLINE", identifier("IMAGE", dicom.TagStudyInstanceUID, "1.2.3", dicom.TagSeriesInstanceUID, "1.2.3.2")},
	} {
		tt.query.SetString(dicom.TagInstanceAvailability, dicom.CS)
		var got []string
		status, err := a.dial("WS1", nil, tt.class).Find(t.Context(), tt.class, tt.query, func(match *dicom.Dataset, _ bool) error {
			got = append(got, match.String(dicom.TagInstanceAvailability))
			return nil
		})
		if err != nil || !status.OK() || strings.Join(got, " ") != tt.want {
			t.Errorf("%s, %v: %v, want %s", status, err, got, tt.want)
		}
	}
}
