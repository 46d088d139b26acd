package dicomweb

import (
	"encoding/json"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// attribute is one attribute in the DICOM JSON model, PS3.18 F.2.
type attribute struct {
	VR    string `json:"vr"`
	Value []any  `json:"Value,omitempty"`
}

// dataset is a data set in the DICOM JSON model, by tag; encoding/json writes
// the keys in order, as F.2.2 wants.
type dataset map[string]any

// text makes an attribute with one string, or an empty one.
func text(vr, s string) attribute {
	if s == "" {
		return attribute{VR: vr}
	}
	return attribute{vr, []any{s}}
}

// texts makes an attribute with several strings.
func texts(vr string, list []string) attribute {
	a := attribute{VR: vr}
	for _, s := range list {
		a.Value = append(a.Value, s)
	}
	return a
}

// number makes an IS or US attribute.
func number(vr string, n int) attribute { return attribute{vr, []any{n}} }

// optional makes an IS attribute that may be empty.
func optional(n *int) attribute {
	if n == nil {
		return attribute{VR: "IS"}
	}
	return number("IS", *n)
}

// personName makes a PN attribute: the component groups of the DICOM form,
// separated by =, become members (F.2.2, table F.2.3-1).
func personName(s string) attribute {
	if s == "" {
		return attribute{VR: "PN"}
	}
	name := map[string]string{}
	for i, group := range strings.SplitN(s, "=", 3) {
		if group != "" {
			name[[...]string{"Alphabetic", "Ideographic", "Phonetic"}[i]] = group
		}
	}
	if len(name) == 0 {
		return attribute{VR: "PN"}
	}
	return attribute{"PN", []any{name}}
}

// field is an attribute that the index answers by itself.
type field[T any] struct {
	tag dicom.Tag
	// always: returned whether asked for or not. The others come with
	// includefield.
	always bool
	value  func(*T) attribute
}

// studyFields are the study attributes of PS3.18 table 10.6.3-3, and what else
// the index holds of a study and its patient.
var studyFields = []field[pacs.Study]{
	{dicom.TagStudyDate, true, func(s *pacs.Study) attribute { return text("DA", s.Date) }},
	{dicom.TagStudyTime, true, func(s *pacs.Study) attribute { return text("TM", s.Time) }},
	{dicom.TagAccessionNumber, true, func(s *pacs.Study) attribute { return text("SH", s.AccessionNumber) }},
	{dicom.TagInstanceAvailability, true, func(s *pacs.Study) attribute { return text("CS", s.Availability.String()) }},
	{dicom.TagModalitiesInStudy, true, func(s *pacs.Study) attribute { return texts("CS", s.Modalities) }},
	{dicom.TagReferringPhysicianName, true, func(s *pacs.Study) attribute { return personName(s.ReferringPhysician) }},
	{dicom.TagStudyDescription, true, func(s *pacs.Study) attribute { return text("LO", s.Description) }},
	{dicom.TagPatientName, true, func(s *pacs.Study) attribute { return personName(s.Patient.Name) }},
	{dicom.TagPatientID, true, func(s *pacs.Study) attribute { return text("LO", s.Patient.PatientID) }},
	{dicom.TagIssuerOfPatientID, false, func(s *pacs.Study) attribute { return text("LO", s.Patient.Issuer) }},
	{dicom.TagPatientBirthDate, true, func(s *pacs.Study) attribute { return text("DA", s.Patient.BirthDate) }},
	{dicom.TagPatientSex, true, func(s *pacs.Study) attribute { return text("CS", s.Patient.Sex) }},
	{dicom.TagStudyInstanceUID, true, func(s *pacs.Study) attribute { return text("UI", s.StudyInstanceUID) }},
	{dicom.TagStudyID, true, func(s *pacs.Study) attribute { return text("SH", s.StudyID) }},
	{dicom.TagNumberOfStudyRelatedSeries, true, func(s *pacs.Study) attribute { return number("IS", s.SeriesCount) }},
	{dicom.TagNumberOfStudyRelatedInstances, true, func(s *pacs.Study) attribute { return number("IS", s.InstanceCount) }},
}

// seriesFields are the series attributes of PS3.18 table 10.6.3-4, and how soon
// the series can be had.
var seriesFields = []field[pacs.Series]{
	{dicom.TagInstanceAvailability, true, func(s *pacs.Series) attribute { return text("CS", s.Availability.String()) }},
	{dicom.TagModality, true, func(s *pacs.Series) attribute { return text("CS", s.Modality) }},
	{dicom.TagSeriesDescription, true, func(s *pacs.Series) attribute { return text("LO", s.Description) }},
	{dicom.TagBodyPartExamined, true, func(s *pacs.Series) attribute { return text("CS", s.BodyPart) }},
	{dicom.TagStudyInstanceUID, true, func(s *pacs.Series) attribute { return text("UI", s.StudyInstanceUID) }},
	{dicom.TagSeriesInstanceUID, true, func(s *pacs.Series) attribute { return text("UI", s.SeriesInstanceUID) }},
	{dicom.TagSeriesNumber, true, func(s *pacs.Series) attribute { return optional(s.Number) }},
	{dicom.TagNumberOfSeriesRelatedInstances, true, func(s *pacs.Series) attribute { return number("IS", s.InstanceCount) }},
}

// instanceFields are the instance attributes of PS3.18 table 10.6.3-5.
var instanceFields = []field[pacs.Instance]{
	{dicom.TagSOPClassUID, true, func(i *pacs.Instance) attribute { return text("UI", i.SOPClassUID) }},
	{dicom.TagSOPInstanceUID, true, func(i *pacs.Instance) attribute { return text("UI", i.SOPInstanceUID) }},
	{dicom.TagInstanceAvailability, true, func(i *pacs.Instance) attribute { return text("CS", i.Availability().String()) }},
	{dicom.TagAvailableTransferSyntaxUID, true, func(i *pacs.Instance) attribute { return text("UI", i.TransferSyntaxUID) }},
	{dicom.TagStudyInstanceUID, true, func(i *pacs.Instance) attribute { return text("UI", i.StudyInstanceUID) }},
	{dicom.TagSeriesInstanceUID, true, func(i *pacs.Instance) attribute { return text("UI", i.SeriesInstanceUID) }},
	{dicom.TagInstanceNumber, true, func(i *pacs.Instance) attribute { return optional(i.Number) }},
}

// pixelFields are returned for instances with pixels only.
var pixelFields = []field[pacs.Instance]{
	{dicom.TagNumberOfFrames, true, func(i *pacs.Instance) attribute { return number("IS", i.FrameCount) }},
	{dicom.TagRows, true, func(i *pacs.Instance) attribute { return number("US", i.Rows) }},
	{dicom.TagColumns, true, func(i *pacs.Instance) attribute { return number("US", i.Columns) }},
}

// storedDefaults are the attributes of the three tables that come from the
// data sets as they are, if they are there.
var storedDefaults = map[level][]dicom.Tag{
	studyLevel:  {dicom.TagTimezoneOffsetFromUTC},
	seriesLevel: {dicom.TagTimezoneOffsetFromUTC, dicom.TagPerformedProcedureStepStartDate, dicom.TagPerformedProcedureStepStartTime, dicom.TagRequestAttributesSequence},
	imageLevel:  {dicom.TagTimezoneOffsetFromUTC, dicom.TagBitsAllocated},
}

// level is a level of the query/retrieve model.
type level int

const (
	studyLevel level = iota
	seriesLevel
	imageLevel
)

func (l level) String() string { return [...]string{"study", "series", "instance"}[l] }

func (l level) plural() string { return [...]string{"studies", "series", "instances"}[l] }

// include says which attributes an answer holds beyond the default ones.
type include struct {
	all  bool
	tags map[dicom.Tag]bool
}

func (in include) has(t dicom.Tag) bool { return in.all || in.tags[t] }

// put adds the fields that are wanted. A lower level written later wins.
func put[T any](d dataset, fields []field[T], row *T, in include) {
	for _, f := range fields {
		if f.always || in.has(f.tag) {
			d[f.tag.String()] = f.value(row)
		}
	}
}

// putStored adds wanted attributes out of a row's stored DICOM JSON.
func putStored(d dataset, stored json.RawMessage, at level, in include) {
	if len(stored) == 0 {
		return
	}
	var attributes map[string]json.RawMessage
	if json.Unmarshal(stored, &attributes) != nil {
		return
	}
	add := func(tag string) {
		if v, ok := attributes[tag]; ok {
			if _, known := d[tag]; !known {
				d[tag] = v
			}
		}
	}
	if in.all {
		for tag := range attributes {
			add(tag)
		}
		return
	}
	for _, t := range storedDefaults[at] {
		add(t.String())
	}
	for t := range in.tags {
		add(t.String())
	}
}

// Addresses within the service.
func studyURL(service, study string) string { return service + "/studies/" + study }

func seriesURL(service, study, series string) string {
	return studyURL(service, study) + "/series/" + series
}

func instanceURL(service, study, series, instance string) string {
	return seriesURL(service, study, series) + "/instances/" + instance
}

func putStudy(d dataset, s *pacs.Study, in include) {
	put(d, studyFields, s, in)
	putStored(d, s.Attributes, studyLevel, in)
}

func putSeries(d dataset, s *pacs.Series, in include) {
	put(d, seriesFields, s, in)
	putStored(d, s.Attributes, seriesLevel, in)
}

func putInstance(d dataset, i *pacs.Instance, in include) {
	put(d, instanceFields, i, in)
	if i.FrameCount > 0 {
		put(d, pixelFields, i, in)
	}
	putStored(d, i.Attributes, imageLevel, in)
}

// finish adds what every match carries.
func finish(d dataset, retrieveURL string) dataset {
	d[dicom.TagSpecificCharacterSet.String()] = text("CS", "ISO_IR 192")
	d[dicom.TagRetrieveURL.String()] = text("UR", retrieveURL)
	return d
}
