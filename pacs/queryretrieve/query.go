package queryretrieve

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/matching"
)

// query is an identifier understood.
type query struct {
	level   level
	filter  pacs.InstanceFilter // of all levels; the one asked for uses its part
	wanted  []dicom.Tag         // to be returned
	ignored bool                // of some keys nothing is known, or they can't be matched by
	charset []string            // Specific Character Set of the identifier
}

// badIdentifier is why an identifier can't be served: status A900H.
type badIdentifier struct {
	tag     dicom.Tag
	message string
}

func (b *badIdentifier) Error() string { return b.message }

func bad(tag dicom.Tag, format string, args ...any) error {
	return &badIdentifier{tag, fmt.Sprintf(format, args...)}
}

// options are what an association has agreed on.
type options struct {
	relational, dateTime, fuzzy bool
	matching.Options
}

// levelOf reads the level of an identifier.
func (m model) levelOf(ds *dicom.Dataset) (level, error) {
	text := ds.String(dicom.TagQueryRetrieveLevel)
	if text == "" {
		return 0, bad(dicom.TagQueryRetrieveLevel, "Query/Retrieve Level is missing")
	}
	at, ok := levelNames[strings.ToUpper(text)]
	for _, l := range m.levels {
		if ok && l == at {
			return at, nil
		}
	}
	return 0, bad(dicom.TagQueryRetrieveLevel, "%s has no level %.16q", m.name, text)
}

// parseQuery understands the identifier of a C-FIND. PS3.4 C.4.1.1.3.
func (m model) parseQuery(ds *dicom.Dataset, o options) (*query, error) {
	at, err := m.levelOf(ds)
	if err != nil {
		return nil, err
	}
	q := &query{level: at, charset: ds.CharacterSet()}
	q.filter.Series.Study.Fuzzy = o.fuzzy
	dates, times := q.single(ds, dicom.TagStudyDate), q.single(ds, dicom.TagStudyTime)
	combined := o.dateTime && at >= studyLevel && dates != "" && times != ""
	present := make(map[dicom.Tag]bool)
	for i := range ds.Elements {
		e := &ds.Elements[i]
		switch e.Tag {
		case dicom.TagSpecificCharacterSet, dicom.TagQueryRetrieveLevel, dicom.TagTimezoneOffsetFromUTC:
			continue
		}
		if e.Tag.IsGroupLength() || present[e.Tag] {
			continue
		}
		present[e.Tag] = true
		q.wanted = append(q.wanted, e.Tag)
		if combined && (e.Tag == dicom.TagStudyDate || e.Tag == dicom.TagStudyTime) {
			continue
		}
		if err := q.take(ds, e, o.Options); err != nil {
			return nil, bad(e.Tag, "%s %v", dicom.Keyword(e.Tag), err)
		}
	}
	q.filter.Series.Study.AllModalities = o.Multiple && len(q.filter.Series.Study.Modalities) > 1
	if combined {
		if q.filter.Series.Study.Moment, err = pacs.CombineRanges(matching.PlainDate(dates), matching.PlainTime(times)); err != nil {
			return nil, bad(dicom.TagStudyTime, "StudyDate with StudyTime %v", err)
		}
	}
	if !o.relational {
		if err := m.checkHierarchy(q); err != nil {
			return nil, err
		}
	}
	return q, nil
}

// single returns the value of a key, "" when it matches everything.
func (q *query) single(ds *dicom.Dataset, tag dicom.Tag) string {
	if e, ok := ds.Get(tag); ok {
		if values := matching.Given(ds, e); len(values) == 1 {
			return values[0]
		}
	}
	return ""
}

// take takes in one key.
func (q *query) take(ds *dicom.Dataset, e *dicom.Element, o matching.Options) error {
	tag := e.Tag
	if tag == dicom.TagModality && q.level < seriesLevel {
		tag = dicom.TagModalitiesInStudy // not an attribute of studies, but what it means is plain
	}
	k, known := keys[tag]
	if known {
		values := matching.Given(ds, e)
		switch {
		case len(values) == 0:
			return nil
		case k.level > q.level:
			q.ignored = true
			return nil
		case o.IsEmpty(ds, e):
			matching.Without(&q.filter, matching.Level(max(k.level, studyLevel)-studyLevel), tag)
			return nil
		}
		return k.set(&q.filter, values)
	}
	at, isStored := stored[e.Tag]
	if isStored && at <= q.level {
		attribute, ok, err := o.Key(ds, e)
		if err != nil || !ok {
			return err
		}
		matching.Add(&q.filter, matching.Level(at-studyLevel), attribute)
		return nil
	}
	if _, answered := answers[e.Tag]; !answered || len(matching.Given(ds, e)) > 0 {
		q.ignored = true
	}
	return nil
}

// checkHierarchy demands the unique keys of the levels above, as hierarchical
// queries have them. A Study Instance UID says whose the study is, so that below
// it the patient need not be named. PS3.4 C.4.1.3.1.1.
func (m model) checkHierarchy(q *query) error {
	s := q.filter.Series.Study
	missing := func(tag dicom.Tag) error {
		return bad(tag, "%s level needs %s (no relational queries agreed)", q.level, dicom.Keyword(tag))
	}
	switch {
	case q.level == studyLevel && m.levels[0] == patientLevel && (s.PatientID == "" || strings.ContainsAny(s.PatientID, "*?")) && len(s.StudyInstanceUIDs) == 0:
		return missing(dicom.TagPatientID)
	case q.level >= seriesLevel && len(s.StudyInstanceUIDs) == 0:
		return missing(dicom.TagStudyInstanceUID)
	case q.level >= imageLevel && len(q.filter.Series.SeriesInstanceUIDs) == 0:
		return missing(dicom.TagSeriesInstanceUID)
	}
	return nil
}

// status is what an error means for a query or retrieval; failed is for what is
// not the identifier's fault.
func (p *Provider) status(err error, failed dimse.Code) dimse.Status {
	var identifier *badIdentifier
	switch {
	case errors.As(err, &identifier):
		return dimse.Status{Code: dimse.DataSetMismatch, Comment: identifier.message, Offending: []uint32{uint32(identifier.tag)}}
	case errors.Is(err, dimse.ErrCancelled):
		return dimse.Status{Code: dimse.Cancelled}
	}
	switch pacs.CodeOf(err) {
	case pacs.Unavailable, pacs.OutOfResources:
		return dimse.Statusf(failed, "%s", pacs.MessageOf(err))
	}
	return dimse.Statusf(dimse.UnableToProcess, "%s", pacs.MessageOf(err))
}
