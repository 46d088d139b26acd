package main

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// queryLevel is where a query or a retrieval looks. PS3.4 section C.6.
type queryLevel string

const (
	patientLevel queryLevel = "patient"
	studyLevel   queryLevel = "study"
	seriesLevel  queryLevel = "series"
	imageLevel   queryLevel = "image"
	// worklistLevel is the modality worklist, which has no levels. PS3.4 Annex K.
	worklistLevel queryLevel = "worklist"
)

// returned are the attributes that are asked for when none are named.
var returned = map[queryLevel][]string{
	patientLevel: {"PatientID", "PatientName", "PatientBirthDate", "PatientSex", "NumberOfPatientRelatedStudies"},
	studyLevel: {
		"StudyDate", "StudyTime", "ModalitiesInStudy", "PatientID", "PatientName", "AccessionNumber", "StudyDescription",
		"NumberOfStudyRelatedInstances", "StudyInstanceUID",
	},
	seriesLevel: {"SeriesNumber", "Modality", "SeriesDescription", "NumberOfSeriesRelatedInstances", "SeriesInstanceUID"},
	imageLevel:  {"InstanceNumber", "SOPClassUID", "SOPInstanceUID"},
	worklistLevel: {
		"ScheduledProcedureStepSequence.ScheduledProcedureStepStartDate", "ScheduledProcedureStepSequence.ScheduledProcedureStepStartTime",
		"ScheduledProcedureStepSequence.Modality", "ScheduledProcedureStepSequence.ScheduledStationAETitle",
		"ScheduledProcedureStepSequence.ScheduledProcedureStepDescription", "ScheduledProcedureStepSequence.ScheduledProcedureStepID",
		"PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "RequestedProcedureDescription", "StudyInstanceUID",
	},
}

// identifier is what a query or a retrieval asks.
type identifier struct {
	dataset *dicom.Dataset
	columns []attributePath // what was asked for, in this order
}

// newIdentifier reads keys as "Attribute=value" and names of attributes, each a
// keyword or eight hexadecimal digits, within sequences after a dot.
func newIdentifier(level queryLevel, keys []string) (*identifier, error) {
	id := &identifier{dataset: new(dicom.Dataset)}
	if level != worklistLevel {
		id.dataset.SetString(dicom.TagQueryRetrieveLevel, dicom.CS, strings.ToUpper(string(level)))
	}
	for _, key := range keys {
		name, value, _ := strings.Cut(key, "=")
		path, err := parseAttributePath(name)
		if err != nil {
			return nil, err
		}
		if err := path.set(id.dataset, value); err != nil {
			return nil, err
		}
		id.columns = append(id.columns, path)
	}
	return id, nil
}

// ask adds attributes to return, unless they are keys already.
func (id *identifier) ask(names []string) error {
	for _, name := range names {
		path, err := parseAttributePath(name)
		if err != nil {
			return err
		}
		if path.in(id.dataset) {
			continue
		}
		if err := path.set(id.dataset, ""); err != nil {
			return err
		}
		id.columns = append(id.columns, path)
	}
	return nil
}

// attributePath is an attribute, or one within the first items of sequences.
type attributePath []dicom.Tag

func parseAttributePath(name string) (attributePath, error) {
	var path attributePath
	for part := range strings.SplitSeq(name, ".") {
		tag, err := dicom.ParseTag(strings.TrimSpace(part))
		if err != nil {
			return nil, fmt.Errorf("%q is no attribute: write its keyword (PatientName) or its tag (00100010)", part)
		}
		path = append(path, tag)
	}
	return path, nil
}

// String is the path in keywords.
func (p attributePath) String() string {
	names := make([]string, len(p))
	for i, tag := range p {
		names[i] = cmp.Or(dicom.Keyword(tag), fmt.Sprintf("%08X", uint32(tag)))
	}
	return strings.Join(names, ".")
}

// column is the attribute's own name.
func (p attributePath) column() string { return p[len(p)-1:].String() }

func (p attributePath) in(ds *dicom.Dataset) bool {
	ds = p.parent(ds)
	return ds != nil && ds.Has(p[len(p)-1])
}

// parent is the data set that holds the attribute; nil without one.
func (p attributePath) parent(ds *dicom.Dataset) *dicom.Dataset {
	for _, sequence := range p[:len(p)-1] {
		if ds = ds.Item(sequence); ds == nil {
			return nil
		}
	}
	return ds
}

func (p attributePath) set(ds *dicom.Dataset, value string) error {
	for _, sequence := range p[:len(p)-1] {
		if dicom.LookupVR(sequence, false) != dicom.SQ {
			return fmt.Errorf("%s is no sequence, nothing is within it", attributePath{sequence})
		}
		item := ds.Item(sequence)
		if item == nil {
			item = new(dicom.Dataset)
			ds.SetSequence(sequence, item)
		}
		ds = item
	}
	tag := p[len(p)-1]
	vr := dicom.LookupVR(tag, false)
	switch {
	case vr == dicom.SQ && value == "":
		ds.SetSequence(tag)
	case vr == dicom.SQ:
		return fmt.Errorf("%s is a sequence: name an attribute within it, for example %[1]s.CodeValue=%s", p, value)
	case value == "":
		ds.SetString(tag, vr)
	case vr == dicom.US || vr == dicom.SS || vr == dicom.UL || vr == dicom.SL:
		n, err := strconv.Atoi(value)
		if err != nil {
			return fmt.Errorf("%s is a number, not %q", p, value)
		}
		ds.SetInts(tag, vr, n)
	case vr.Unit() > 1 || vr == dicom.OB || vr == dicom.UN:
		return fmt.Errorf("%s can't be a key: it is binary", p)
	default:
		ds.SetString(tag, vr, strings.Split(value, `\`)...)
	}
	return nil
}

// text is the attribute's value in a match, as one line. Of a sequence only the
// first item is looked into.
func (p attributePath) text(ds *dicom.Dataset) string {
	if ds = p.parent(ds); ds == nil {
		return ""
	}
	e, ok := ds.Get(p[len(p)-1])
	if !ok {
		return ""
	}
	if e.VR == dicom.SQ {
		return fmt.Sprintf("(%d items)", len(e.Items))
	}
	return printable(strings.Join(ds.Values(e), `\`))
}

// printable is what a node said, fit for a terminal: it may be anything.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// selectFlags name what to retrieve.
type selectFlags struct {
	Patient  string   `name:"patient" placeholder:"ID" help:"Retrieve all studies of this patient (Patient Root)."`
	Study    []string `name:"study" placeholder:"UID" help:"Retrieve these studies; with --series or --instance, the one they are in."`
	Series   []string `name:"series" placeholder:"UID" help:"Retrieve these series of the study."`
	Instance []string `name:"instance" placeholder:"UID" help:"Retrieve these instances of the series."`
}

// identifier says what was selected, and whether by the Patient Root model.
func (f *selectFlags) identifier() (ds *dicom.Dataset, patientRoot bool, err error) {
	ds = new(dicom.Dataset)
	for _, uid := range append(append(append([]string(nil), f.Study...), f.Series...), f.Instance...) {
		if err := dicom.ValidUID(uid); err != nil {
			return nil, false, fmt.Errorf("%q is no UID: %w", uid, err)
		}
	}
	level := studyLevel
	switch {
	case f.Patient != "" && len(f.Study) == 0 && len(f.Series) == 0 && len(f.Instance) == 0:
		level = patientLevel
	case len(f.Study) == 0:
		return nil, false, errors.New("say what to retrieve: --study UID, or --patient ID for all of a patient's studies")
	case len(f.Instance) > 0:
		if level = imageLevel; len(f.Series) != 1 {
			return nil, false, errors.New("--instance needs the one --series that the instances are in")
		}
	case len(f.Series) > 0:
		level = seriesLevel
	}
	if level != studyLevel && len(f.Study) > 1 {
		return nil, false, errors.New("--series and --instance need the one --study that they are in")
	}
	ds.SetString(dicom.TagQueryRetrieveLevel, dicom.CS, strings.ToUpper(string(level)))
	for _, key := range []struct {
		tag    dicom.Tag
		vr     dicom.VR
		values []string
	}{
		{dicom.TagStudyInstanceUID, dicom.UI, f.Study},
		{dicom.TagSeriesInstanceUID, dicom.UI, f.Series},
		{dicom.TagSOPInstanceUID, dicom.UI, f.Instance},
	} {
		if len(key.values) > 0 {
			ds.SetString(key.tag, key.vr, key.values...)
		}
	}
	if f.Patient != "" {
		ds.SetString(dicom.TagPatientID, dicom.LO, f.Patient)
	}
	return ds, f.Patient != "", nil
}
