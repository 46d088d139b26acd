package queryretrieve

import (
	"strconv"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/matching"
)

// level is a level of the information models. PS3.4 C.6.1.1.
type level int

const (
	patientLevel level = iota
	studyLevel
	seriesLevel
	imageLevel
)

var levelNames = map[string]level{"PATIENT": patientLevel, "STUDY": studyLevel, "SERIES": seriesLevel, "IMAGE": imageLevel}

func (l level) String() string { return [...]string{"PATIENT", "STUDY", "SERIES", "IMAGE"}[l] }

// uniqueKeys identify what is at a level. PS3.4 C.6.1.1.
var uniqueKeys = [...]dicom.Tag{dicom.TagPatientID, dicom.TagStudyInstanceUID, dicom.TagSeriesInstanceUID, dicom.TagSOPInstanceUID}

// wrong is what a key's value must not be; it goes on from the key's name.
type wrong string

func (w wrong) Error() string { return string(w) }

// key is an attribute that is matched by.
type key struct {
	level level
	// set puts the values of the identifier, none of them empty, into the filter.
	// An error says what is wrong with them.
	set func(f *pacs.InstanceFilter, values []string) error
}

// keys are the attributes with a column of their own: all required keys of PS3.4
// Tables C.6-1 to C.6-4, and more.
var keys = map[dicom.Tag]key{
	dicom.TagPatientName:       {patientLevel, name(func(f *pacs.InstanceFilter) *string { return &f.Series.Study.PatientName })},
	dicom.TagPatientID:         {patientLevel, text(func(f *pacs.InstanceFilter) *string { return &f.Series.Study.PatientID })},
	dicom.TagIssuerOfPatientID: {patientLevel, text(func(f *pacs.InstanceFilter) *string { return &f.Series.Study.Issuer })},
	dicom.TagPatientBirthDate:  {patientLevel, dates(func(f *pacs.InstanceFilter) *pacs.DateRange { return &f.Series.Study.BirthDate })},
	dicom.TagPatientSex:        {patientLevel, text(func(f *pacs.InstanceFilter) *string { return &f.Series.Study.Sex })},

	dicom.TagStudyInstanceUID: {studyLevel, uids(func(f *pacs.InstanceFilter) *[]string { return &f.Series.Study.StudyInstanceUIDs })},
	dicom.TagStudyDate:        {studyLevel, dates(func(f *pacs.InstanceFilter) *pacs.DateRange { return &f.Series.Study.Date })},
	dicom.TagStudyTime: {studyLevel, one(func(f *pacs.InstanceFilter, v string) (err error) {
		f.Series.Study.Time, err = pacs.ParseTimeRange(matching.PlainTime(v))
		return err
	})},
	dicom.TagAccessionNumber:        {studyLevel, text(func(f *pacs.InstanceFilter) *string { return &f.Series.Study.AccessionNumber })},
	dicom.TagStudyID:                {studyLevel, text(func(f *pacs.InstanceFilter) *string { return &f.Series.Study.StudyID })},
	dicom.TagStudyDescription:       {studyLevel, text(func(f *pacs.InstanceFilter) *string { return &f.Series.Study.Description })},
	dicom.TagReferringPhysicianName: {studyLevel, name(func(f *pacs.InstanceFilter) *string { return &f.Series.Study.Referring })},
	dicom.TagModalitiesInStudy:      {studyLevel, codes(func(f *pacs.InstanceFilter) *[]string { return &f.Series.Study.Modalities })},

	dicom.TagSeriesInstanceUID: {seriesLevel, uids(func(f *pacs.InstanceFilter) *[]string { return &f.Series.SeriesInstanceUIDs })},
	dicom.TagModality: {seriesLevel, func(f *pacs.InstanceFilter, values []string) error {
		if len(values) == 1 && strings.ContainsAny(values[0], "*?") {
			f.Series.Modality = values[0]
			return nil
		}
		return codes(func(f *pacs.InstanceFilter) *[]string { return &f.Series.Modalities })(f, values)
	}},
	dicom.TagSeriesNumber:      {seriesLevel, integer(func(f *pacs.InstanceFilter) **int { return &f.Series.Number })},
	dicom.TagSeriesDescription: {seriesLevel, text(func(f *pacs.InstanceFilter) *string { return &f.Series.Description })},
	dicom.TagBodyPartExamined:  {seriesLevel, text(func(f *pacs.InstanceFilter) *string { return &f.Series.BodyPart })},

	dicom.TagSOPInstanceUID: {imageLevel, uids(func(f *pacs.InstanceFilter) *[]string { return &f.SOPInstanceUIDs })},
	dicom.TagSOPClassUID:    {imageLevel, uids(func(f *pacs.InstanceFilter) *[]string { return &f.SOPClassUIDs })},
	dicom.TagInstanceNumber: {imageLevel, integer(func(f *pacs.InstanceFilter) **int { return &f.Number })},
}

// stored are the attributes that the index keeps as DICOM JSON, by tag.
var stored = func() map[dicom.Tag]level {
	m := make(map[dicom.Tag]level)
	for t, l := range matching.AllStored() {
		m[t] = studyLevel + level(l)
	}
	return m
}()

// one takes a single value.
func one(set func(f *pacs.InstanceFilter, v string) error) func(*pacs.InstanceFilter, []string) error {
	return func(f *pacs.InstanceFilter, values []string) error {
		if len(values) > 1 {
			return wrong("takes one value")
		}
		return set(f, values[0])
	}
}

// text is single value and wild card matching. PS3.4 C.2.2.2.1 and C.2.2.2.4.
func text(target func(*pacs.InstanceFilter) *string) func(*pacs.InstanceFilter, []string) error {
	return one(func(f *pacs.InstanceFilter, v string) error {
		*target(f) = v
		return nil
	})
}

// name is text, of which delimiters at the end mean nothing (PS3.5 6.2.1.1).
func name(target func(*pacs.InstanceFilter) *string) func(*pacs.InstanceFilter, []string) error {
	return one(func(f *pacs.InstanceFilter, v string) error {
		*target(f) = strings.TrimRight(v, "^= ")
		return nil
	})
}

func integer(target func(*pacs.InstanceFilter) **int) func(*pacs.InstanceFilter, []string) error {
	return one(func(f *pacs.InstanceFilter, v string) error {
		n, err := strconv.ParseInt(v, 10, 32)
		if err != nil {
			return wrong("takes a whole number")
		}
		i := int(n)
		*target(f) = &i
		return nil
	})
}

// maxList is how many UIDs an identifier may list.
const maxList = 20_000

// uids is list of UID matching. PS3.4 C.2.2.2.2.
func uids(target func(*pacs.InstanceFilter) *[]string) func(*pacs.InstanceFilter, []string) error {
	return func(f *pacs.InstanceFilter, values []string) error {
		if len(values) > maxList {
			return wrong("lists more than 20000 UIDs")
		}
		for _, uid := range values {
			if strings.ContainsAny(uid, "*?") {
				return wrong("takes UIDs without wild cards")
			}
		}
		*target(f) = values
		return nil
	}
}

func codes(target func(*pacs.InstanceFilter) *[]string) func(*pacs.InstanceFilter, []string) error {
	return func(f *pacs.InstanceFilter, values []string) error {
		for _, v := range values {
			if strings.ContainsAny(v, "*?") {
				return wrong("takes codes such as CT or MR")
			}
		}
		*target(f) = values
		return nil
	}
}

func dates(target func(*pacs.InstanceFilter) *pacs.DateRange) func(*pacs.InstanceFilter, []string) error {
	return one(func(f *pacs.InstanceFilter, v string) (err error) {
		*target(f), err = pacs.ParseDateRange(matching.PlainDate(v))
		return err
	})
}
