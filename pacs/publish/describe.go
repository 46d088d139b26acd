package publish

import (
	"slices"
	"strconv"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// Attributes that QIDO-RS may be asked for beside those with a column of
// their own, by level (PS3.18 Tables 10.6.3-3 to 10.6.3-5, and what viewers
// ask for in practice).
var (
	StudyAttributes = []dicom.Tag{
		dicom.TagTimezoneOffsetFromUTC, dicom.TagInstitutionName, dicom.TagStationName, dicom.TagIssuerOfPatientID,
		dicom.TagPatientAge, dicom.TagPatientSize, dicom.TagPatientWeight, dicom.TagOtherPatientIDsSequence,
		dicom.TagReasonForTheRequestedProcedure, dicom.TagRequestedProcedureDescription, dicom.TagAdmittingDiagnosesDescription,
		dicom.TagNameOfPhysiciansReadingStudy, dicom.TagProcedureCodeSequence,
	}
	SeriesAttributes = []dicom.Tag{
		dicom.TagSeriesDate, dicom.TagSeriesTime, dicom.TagManufacturer, dicom.TagManufacturerModelName, dicom.TagStationName,
		dicom.TagInstitutionName, dicom.TagPerformingPhysicianName, dicom.TagOperatorsName, dicom.TagProtocolName,
		dicom.TagLaterality, dicom.TagPatientPosition, dicom.TagFrameOfReferenceUID,
		dicom.TagPerformedProcedureStepStartDate, dicom.TagPerformedProcedureStepStartTime, dicom.TagRequestAttributesSequence,
	}
	InstanceAttributes = []dicom.Tag{
		dicom.TagImageType, dicom.TagContentDate, dicom.TagContentTime, dicom.TagAcquisitionNumber, dicom.TagBitsAllocated,
		dicom.TagImagePositionPatient, dicom.TagImageOrientationPatient, dicom.TagSliceLocation, dicom.TagPixelSpacing,
		dicom.TagConceptNameCodeSequence, dicom.TagDocumentTitle, dicom.TagContentLabel,
	}
)

// maxAttribute is the longest value in bytes of DICOM JSON that a list has use
// for. Longer ones are in the metadata only.
const maxAttribute = 8 << 10

// subset is the named attributes of a data set as a DICOM JSON object.
func subset(ds *dicom.Dataset, tags []dicom.Tag) []byte {
	chosen := ds.Select(tags...)
	object := dicom.AppendJSON(nil, chosen, dicom.JSONOptions{})
	if len(object) <= maxAttribute {
		return object
	}
	chosen.Elements = slices.DeleteFunc(chosen.Elements, func(e dicom.Element) bool {
		return len(dicom.AppendJSON(nil, ds.Select(e.Tag), dicom.JSONOptions{})) > maxAttribute
	})
	return dicom.AppendJSON(nil, chosen, dicom.JSONOptions{})
}

// describePatient reads the patient module. The issuer is the sending
// facility unless the data set names one.
func describePatient(ds *dicom.Dataset, facility string) pacs.Patient {
	p := pacs.Patient{
		Issuer:    ds.String(dicom.TagIssuerOfPatientID),
		PatientID: ds.String(dicom.TagPatientID),
		Name:      ds.String(dicom.TagPatientName),
		BirthDate: date(ds.String(dicom.TagPatientBirthDate)),
		PINFL:     pinfl(ds),
	}
	if p.Issuer == "" {
		p.Issuer = facility
	}
	p.Sex = sex(ds.String(dicom.TagPatientSex))
	return p
}

// sex keeps the defined terms of (0010,0040).
func sex(s string) string {
	switch s = strings.ToUpper(s); s {
	case "M", "F", "O":
		return s
	}
	return ""
}

// pinflIssuers are the names under which devices and registration systems put
// the national personal number among a patient's other IDs.
var pinflIssuers = []string{"PINFL", "JSHSHIR", "JSHSHR", "ПИНФЛ", "ЖШШИР", "https://dhp.uz/fhir/core/sid/pid/uz/ni"}

// pinfl finds the national number: an ID of 14 digits whose issuer says that
// it is one. Digits alone are not enough, since hospitals number freely.
func pinfl(ds *dicom.Dataset) string {
	from := func(issuer, id string) string {
		if len(id) != 14 || strings.Trim(id, "0123456789") != "" {
			return ""
		}
		for _, known := range pinflIssuers {
			if strings.EqualFold(issuer, known) {
				return id
			}
		}
		return ""
	}
	if id := from(ds.String(dicom.TagIssuerOfPatientID), ds.String(dicom.TagPatientID)); id != "" {
		return id
	}
	for _, item := range ds.Items(dicom.TagOtherPatientIDsSequence) {
		if id := from(item.String(dicom.TagIssuerOfPatientID), item.String(dicom.TagPatientID)); id != "" {
			return id
		}
	}
	return ""
}

func describeStudy(ds *dicom.Dataset) pacs.Study {
	question := ds.String(dicom.TagReasonForTheRequestedProcedure)
	if question == "" {
		question = ds.Item(dicom.TagRequestAttributesSequence).String(dicom.TagReasonForTheRequestedProcedure)
	}
	if question == "" {
		question = ds.String(dicom.TagAdmittingDiagnosesDescription)
	}
	return pacs.Study{
		StudyInstanceUID:   ds.String(dicom.TagStudyInstanceUID),
		Date:               date(ds.String(dicom.TagStudyDate)),
		Time:               clock(ds.String(dicom.TagStudyTime)),
		AccessionNumber:    ds.String(dicom.TagAccessionNumber),
		StudyID:            ds.String(dicom.TagStudyID),
		Description:        ds.String(dicom.TagStudyDescription),
		ReferringPhysician: ds.String(dicom.TagReferringPhysicianName),
		Question:           question,
		Attributes:         subset(ds, StudyAttributes),
	}
}

func describeSeries(ds *dicom.Dataset) pacs.Series {
	return pacs.Series{
		StudyInstanceUID:  ds.String(dicom.TagStudyInstanceUID),
		SeriesInstanceUID: ds.String(dicom.TagSeriesInstanceUID),
		Modality:          ds.String(dicom.TagModality),
		Number:            number(ds, dicom.TagSeriesNumber),
		Description:       ds.String(dicom.TagSeriesDescription),
		BodyPart:          ds.String(dicom.TagBodyPartExamined),
		Attributes:        subset(ds, SeriesAttributes),
	}
}

func describeInstance(h *dicom.Header) pacs.Instance {
	ds := h.Dataset
	in := pacs.Instance{
		StudyInstanceUID:  ds.String(dicom.TagStudyInstanceUID),
		SeriesInstanceUID: ds.String(dicom.TagSeriesInstanceUID),
		SOPInstanceUID:    ds.String(dicom.TagSOPInstanceUID),
		SOPClassUID:       ds.String(dicom.TagSOPClassUID),
		TransferSyntaxUID: h.TransferSyntax,
		Number:            number(ds, dicom.TagInstanceNumber),
		Rows:              size(ds, dicom.TagRows),
		Columns:           size(ds, dicom.TagColumns),
		Attributes:        subset(ds, InstanceAttributes),
	}
	in.Location.DatasetOffset = h.DatasetOffset
	in.Location.Length = h.Length
	if h.PixelData != nil {
		in.Location.PixelData, in.FrameCount = locatePixels(h)
	}
	return in
}

// locatePixels says where the frames are. Frames that can't be told apart
// leave the location without frames; the instance is still whole.
func locatePixels(h *dicom.Header) (*pacs.PixelLocation, int) {
	p := &pacs.PixelLocation{
		Offset:       h.PixelData.Offset,
		Length:       h.PixelData.Length,
		Encapsulated: h.PixelData.Encapsulated,
		Deflated:     h.Deflated,
	}
	count := 1
	if n, ok := h.Dataset.Int(dicom.TagNumberOfFrames); ok && n > 0 && n <= 1<<24 {
		count = n
	}
	if !p.Encapsulated {
		frames, length, err := h.NativeFrames()
		if err != nil {
			return p, count
		}
		p.FrameLength = length
		return p, frames
	}
	frames, err := h.Frames()
	if err != nil || len(frames) == 0 {
		return p, count
	}
	ranges := make([][]pacs.Range, len(frames))
	for i, frame := range frames {
		ranges[i] = make([]pacs.Range, len(frame))
		for j, r := range frame {
			ranges[i][j] = pacs.Range(r)
		}
	}
	p.SetFrames(ranges)
	return p, len(frames)
}

// date keeps what sorts as a DICOM date: eight digits. The dotted form of
// ACR-NEMA (1993.08.22) is read as what it means.
func date(s string) string {
	s = strings.ReplaceAll(s, ".", "")
	if len(s) != 8 || strings.Trim(s, "0123456789") != "" {
		return ""
	}
	return s
}

// clock keeps what sorts as a DICOM time: digits and a fraction. The form of
// ACR-NEMA (10:15:00) is read as what it means.
func clock(s string) string {
	s = strings.ReplaceAll(s, ":", "")
	if len(s) < 2 || len(s) > 16 || strings.Trim(s, "0123456789.") != "" {
		return ""
	}
	return s
}

// number is an IS attribute, nil when absent or beyond what the index holds.
func number(ds *dicom.Dataset, tag dicom.Tag) *int {
	n, err := strconv.ParseInt(strings.TrimSpace(ds.String(tag)), 10, 32)
	if err != nil {
		return nil
	}
	v := int(n)
	return &v
}

// size is Rows or Columns; 0 when absent or impossible (they are US).
func size(ds *dicom.Dataset, tag dicom.Tag) int {
	n, _ := ds.Int(tag)
	if n < 0 || n > 1<<16-1 {
		return 0
	}
	return n
}
