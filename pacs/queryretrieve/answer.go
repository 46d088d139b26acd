package queryretrieve

import (
	"encoding/json"
	"strconv"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/index"
)

// match is what a query found: the rows of its level and of those above that are
// asked for; the others are nil.
type match struct {
	patient  *index.PatientMatch
	study    *pacs.Study
	series   *pacs.Series
	instance *pacs.Instance
}

// answer is an attribute that the index answers by itself.
type answer struct {
	level level
	// set puts it into ds; the match has the row of the level.
	set func(ds *dicom.Dataset, t dicom.Tag, m *match)
}

func str(vr dicom.VR, at level, value func(m *match) string) answer {
	return answer{at, func(ds *dicom.Dataset, t dicom.Tag, m *match) { ds.SetString(t, vr, value(m)) }}
}

func num(at level, value func(m *match) int) answer {
	return answer{at, func(ds *dicom.Dataset, t dicom.Tag, m *match) {
		ds.SetString(t, dicom.IS, strconv.Itoa(value(m)))
	}}
}

func size(value func(i *pacs.Instance) int) answer {
	return answer{imageLevel, func(ds *dicom.Dataset, t dicom.Tag, m *match) {
		if m.instance.FrameCount > 0 {
			ds.SetInts(t, dicom.US, value(m.instance))
		}
	}}
}

func optional(n *int) string {
	if n == nil {
		return ""
	}
	return strconv.Itoa(*n)
}

// whose returns the patient of a match.
func (m *match) whose() *pacs.Patient {
	if m.patient != nil {
		return &m.patient.Patient
	}
	return &m.study.Patient
}

// answers are the attributes of PS3.4 Tables C.6-1 to C.6-4 that the index has,
// and the counts of C.3-1 ("additional query/retrieve attributes").
var answers = map[dicom.Tag]answer{
	dicom.TagPatientName:                     str(dicom.PN, patientLevel, func(m *match) string { return m.whose().Name }),
	dicom.TagPatientID:                       str(dicom.LO, patientLevel, func(m *match) string { return m.whose().PatientID }),
	dicom.TagIssuerOfPatientID:               str(dicom.LO, patientLevel, func(m *match) string { return m.whose().Issuer }),
	dicom.TagPatientBirthDate:                str(dicom.DA, patientLevel, func(m *match) string { return m.whose().BirthDate }),
	dicom.TagPatientSex:                      str(dicom.CS, patientLevel, func(m *match) string { return m.whose().Sex }),
	dicom.TagNumberOfPatientRelatedStudies:   countOf(func(m *index.PatientMatch) int { return m.Studies }),
	dicom.TagNumberOfPatientRelatedSeries:    countOf(func(m *index.PatientMatch) int { return m.Series }),
	dicom.TagNumberOfPatientRelatedInstances: countOf(func(m *index.PatientMatch) int { return m.Instances }),

	dicom.TagStudyInstanceUID:       str(dicom.UI, studyLevel, func(m *match) string { return m.study.StudyInstanceUID }),
	dicom.TagStudyDate:              str(dicom.DA, studyLevel, func(m *match) string { return m.study.Date }),
	dicom.TagStudyTime:              str(dicom.TM, studyLevel, func(m *match) string { return m.study.Time }),
	dicom.TagAccessionNumber:        str(dicom.SH, studyLevel, func(m *match) string { return m.study.AccessionNumber }),
	dicom.TagStudyID:                str(dicom.SH, studyLevel, func(m *match) string { return m.study.StudyID }),
	dicom.TagStudyDescription:       str(dicom.LO, studyLevel, func(m *match) string { return m.study.Description }),
	dicom.TagReferringPhysicianName: str(dicom.PN, studyLevel, func(m *match) string { return m.study.ReferringPhysician }),
	dicom.TagModalitiesInStudy: {studyLevel, func(ds *dicom.Dataset, t dicom.Tag, m *match) {
		ds.SetString(t, dicom.CS, m.study.Modalities...)
	}},
	dicom.TagNumberOfStudyRelatedSeries:    num(studyLevel, func(m *match) int { return m.study.SeriesCount }),
	dicom.TagNumberOfStudyRelatedInstances: num(studyLevel, func(m *match) int { return m.study.InstanceCount }),

	dicom.TagSeriesInstanceUID:              str(dicom.UI, seriesLevel, func(m *match) string { return m.series.SeriesInstanceUID }),
	dicom.TagModality:                       str(dicom.CS, seriesLevel, func(m *match) string { return m.series.Modality }),
	dicom.TagSeriesNumber:                   str(dicom.IS, seriesLevel, func(m *match) string { return optional(m.series.Number) }),
	dicom.TagSeriesDescription:              str(dicom.LO, seriesLevel, func(m *match) string { return m.series.Description }),
	dicom.TagBodyPartExamined:               str(dicom.CS, seriesLevel, func(m *match) string { return m.series.BodyPart }),
	dicom.TagNumberOfSeriesRelatedInstances: num(seriesLevel, func(m *match) int { return m.series.InstanceCount }),

	dicom.TagSOPInstanceUID:             str(dicom.UI, imageLevel, func(m *match) string { return m.instance.SOPInstanceUID }),
	dicom.TagSOPClassUID:                str(dicom.UI, imageLevel, func(m *match) string { return m.instance.SOPClassUID }),
	dicom.TagInstanceNumber:             str(dicom.IS, imageLevel, func(m *match) string { return optional(m.instance.Number) }),
	dicom.TagAvailableTransferSyntaxUID: str(dicom.UI, imageLevel, func(m *match) string { return m.instance.TransferSyntaxUID }),
	dicom.TagRows:                       size(func(i *pacs.Instance) int { return i.Rows }),
	dicom.TagColumns:                    size(func(i *pacs.Instance) int { return i.Columns }),
	dicom.TagNumberOfFrames: {imageLevel, func(ds *dicom.Dataset, t dicom.Tag, m *match) {
		if m.instance.FrameCount > 0 {
			ds.SetString(t, dicom.IS, strconv.Itoa(m.instance.FrameCount))
		}
	}},

	// Of the level that is asked: the row furthest down.
	dicom.TagInstanceAvailability: str(dicom.CS, patientLevel, func(m *match) string { return m.availability().String() }),
	// Always there; see render.
	dicom.TagRetrieveAETitle: {patientLevel, func(*dicom.Dataset, dicom.Tag, *match) {}},
}

// countOf counts what belongs to a patient: at the patient level only.
func countOf(value func(m *index.PatientMatch) int) answer {
	return answer{patientLevel, func(ds *dicom.Dataset, t dicom.Tag, m *match) {
		if m.patient != nil {
			ds.SetString(t, dicom.IS, strconv.Itoa(value(m.patient)))
		}
	}}
}

// needs says which levels above its own a query must have the rows of.
func (q *query) needs() (study, series bool) {
	for _, t := range q.wanted {
		at, known := stored[t]
		if a, ok := answers[t]; ok {
			at, known = a.level, true
		}
		switch {
		case !known:
		case at <= studyLevel && t != dicom.TagStudyInstanceUID && t != dicom.TagInstanceAvailability && t != dicom.TagRetrieveAETitle:
			study = true
		case at == seriesLevel && t != dicom.TagSeriesInstanceUID:
			series = true
		}
	}
	return study && q.level > studyLevel, series && q.level > seriesLevel
}

// render makes the identifier of a response: what was asked for and is known,
// the unique keys down to the level, and where to retrieve it. PS3.4 C.4.1.1.3.2.
func (q *query) render(m *match, aeTitle string) *dicom.Dataset {
	ds := new(dicom.Dataset)
	ds.SetString(dicom.TagQueryRetrieveLevel, dicom.CS, q.level.String())
	ds.SetString(dicom.TagRetrieveAETitle, dicom.AE, aeTitle)
	var rows [3]map[string]json.RawMessage // stored attributes by level, once read
	for _, t := range q.wanted {
		if a, ok := answers[t]; ok {
			if a.level <= q.level {
				a.set(ds, t, m)
			}
			continue
		}
		if at, ok := stored[t]; ok && at <= q.level {
			row := &rows[at-studyLevel]
			if *row == nil {
				*row = m.stored(at)
			}
			setStored(ds, t, (*row)[t.String()])
		}
	}
	for l := patientLevel; l <= q.level; l++ {
		if t := uniqueKeys[l]; !ds.Has(t) && m.knows(l) {
			answers[t].set(ds, t, m)
		}
	}
	return ds
}

// availability is the worst of what the match stands for. PS3.3 C.4.23.1.1.
func (m *match) availability() pacs.Availability {
	switch {
	case m.instance != nil:
		return m.instance.Availability()
	case m.series != nil:
		return m.series.Availability
	case m.study != nil:
		return m.study.Availability
	}
	return m.patient.Availability
}

// knows says whether the match has the row of a level.
func (m *match) knows(l level) bool {
	switch l {
	case patientLevel:
		return m.patient != nil || m.study != nil && m.study.ID != 0
	case studyLevel:
		return m.study != nil
	case seriesLevel:
		return m.series != nil
	}
	return m.instance != nil
}

// stored reads the stored attributes of a level.
func (m *match) stored(at level) map[string]json.RawMessage {
	var raw json.RawMessage
	switch at {
	case studyLevel:
		raw = m.study.Attributes
	case seriesLevel:
		raw = m.series.Attributes
	case imageLevel:
		raw = m.instance.Attributes
	}
	attributes := map[string]json.RawMessage{}
	if len(raw) > 0 {
		_ = json.Unmarshal(raw, &attributes) // what the archive wrote itself
	}
	return attributes
}
