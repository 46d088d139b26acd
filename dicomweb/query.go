package dicomweb

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/matching"
)

// query is a search request understood: PS3.18 8.3.4.
type query struct {
	// filter holds the match keys of all levels; the level searched uses its
	// own part of it.
	filter   pacs.InstanceFilter
	include  include
	limit    int // -1 when not given
	offset   int
	after    string
	warnings []string
	extras   extras
	stored   storedKeys
	matching matching.Options
	combined bool // of StudyDate and StudyTime; see parseQuery
}

// matchKey is an attribute that searches can match by.
type matchKey struct {
	level level
	// set puts the values of one parameter into the filter. values is never
	// empty and holds no empty string.
	set func(f *pacs.InstanceFilter, values []string) error
}

// matchKeys are the attributes that are matched: all that PS3.18 tables
// 10.6.1-5, 10.6.1-6 and 10.6.1-7 require, and more.
var matchKeys = map[dicom.Tag]matchKey{
	dicom.TagStudyInstanceUID: {studyLevel, uids(func(f *pacs.InstanceFilter) *[]string { return &f.Series.Study.StudyInstanceUIDs })},
	dicom.TagStudyDate:        {studyLevel, dates(func(f *pacs.InstanceFilter) *pacs.DateRange { return &f.Series.Study.Date })},
	dicom.TagStudyTime: {studyLevel, one(func(f *pacs.InstanceFilter, v string) (err error) {
		f.Series.Study.Time, err = pacs.ParseTimeRange(v)
		return understood(err)
	})},
	dicom.TagAccessionNumber:        {studyLevel, pattern(func(f *pacs.InstanceFilter) *string { return &f.Series.Study.AccessionNumber })},
	dicom.TagModalitiesInStudy:      {studyLevel, codes(func(f *pacs.InstanceFilter) *[]string { return &f.Series.Study.Modalities })},
	dicom.TagReferringPhysicianName: {studyLevel, pattern(func(f *pacs.InstanceFilter) *string { return &f.Series.Study.Referring })},
	dicom.TagPatientName:            {studyLevel, pattern(func(f *pacs.InstanceFilter) *string { return &f.Series.Study.PatientName })},
	dicom.TagPatientID:              {studyLevel, pattern(func(f *pacs.InstanceFilter) *string { return &f.Series.Study.PatientID })},
	dicom.TagIssuerOfPatientID:      {studyLevel, literal(func(f *pacs.InstanceFilter) *string { return &f.Series.Study.Issuer })},
	dicom.TagPatientBirthDate:       {studyLevel, dates(func(f *pacs.InstanceFilter) *pacs.DateRange { return &f.Series.Study.BirthDate })},
	dicom.TagPatientSex:             {studyLevel, literal(func(f *pacs.InstanceFilter) *string { return &f.Series.Study.Sex })},
	dicom.TagStudyID:                {studyLevel, pattern(func(f *pacs.InstanceFilter) *string { return &f.Series.Study.StudyID })},
	dicom.TagStudyDescription:       {studyLevel, pattern(func(f *pacs.InstanceFilter) *string { return &f.Series.Study.Description })},

	dicom.TagSeriesInstanceUID: {seriesLevel, uids(func(f *pacs.InstanceFilter) *[]string { return &f.Series.SeriesInstanceUIDs })},
	dicom.TagModality:          {seriesLevel, modality},
	dicom.TagSeriesNumber:      {seriesLevel, integer(func(f *pacs.InstanceFilter) **int { return &f.Series.Number })},
	dicom.TagSeriesDescription: {seriesLevel, pattern(func(f *pacs.InstanceFilter) *string { return &f.Series.Description })},
	dicom.TagBodyPartExamined:  {seriesLevel, pattern(func(f *pacs.InstanceFilter) *string { return &f.Series.BodyPart })},

	dicom.TagSOPInstanceUID: {imageLevel, uids(func(f *pacs.InstanceFilter) *[]string { return &f.SOPInstanceUIDs })},
	dicom.TagSOPClassUID:    {imageLevel, uids(func(f *pacs.InstanceFilter) *[]string { return &f.SOPClassUIDs })},
	dicom.TagInstanceNumber: {imageLevel, integer(func(f *pacs.InstanceFilter) **int { return &f.Number })},
}

// invalid is the error of a value that can't be used; parseQuery adds which
// parameter it was.
type invalid string

func (e invalid) Error() string { return string(e) }

// one takes a single value.
func one(set func(f *pacs.InstanceFilter, v string) error) func(*pacs.InstanceFilter, []string) error {
	return func(f *pacs.InstanceFilter, values []string) error {
		if len(values) > 1 {
			return invalid("takes one value, but is given several times")
		}
		return set(f, values[0])
	}
}

// maxValue is the longest value that any of the matched attributes can have,
// in bytes, with room for UTF-8: PN has 64 characters in each of 3 groups.
const maxValue = 1024

func pattern(target func(*pacs.InstanceFilter) *string) func(*pacs.InstanceFilter, []string) error {
	return one(func(f *pacs.InstanceFilter, v string) error {
		if len(v) > maxValue {
			return invalid("is too long")
		}
		if strings.Trim(v, "*") != "" { // a lone * matches everything
			*target(f) = v
		}
		return nil
	})
}

func literal(target func(*pacs.InstanceFilter) *string) func(*pacs.InstanceFilter, []string) error {
	return one(func(f *pacs.InstanceFilter, v string) error {
		if len(v) > maxValue {
			return invalid("is too long")
		}
		if v == "*" {
			return nil
		}
		if strings.ContainsAny(v, "*?") {
			return invalid("takes no wildcards")
		}
		*target(f) = v
		return nil
	})
}

func integer(target func(*pacs.InstanceFilter) **int) func(*pacs.InstanceFilter, []string) error {
	return one(func(f *pacs.InstanceFilter, v string) error {
		n, err := strconv.ParseInt(v, 10, 32)
		if err != nil {
			return invalid("is not a whole number")
		}
		i := int(n)
		*target(f) = &i
		return nil
	})
}

// list splits values at commas (PS3.18 8.3.4.1) and backslashes (PS3.4
// C.2.2.2.2).
func list(values []string) []string {
	var out []string
	for _, v := range values {
		for _, s := range strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == '\\' }) {
			if s = strings.TrimSpace(s); s != "" {
				out = append(out, s)
			}
		}
	}
	return out
}

// maxList is how many UIDs or codes one parameter may list.
const maxList = 1000

func uids(target func(*pacs.InstanceFilter) *[]string) func(*pacs.InstanceFilter, []string) error {
	return func(f *pacs.InstanceFilter, values []string) error {
		all := list(values)
		if len(all) > maxList {
			return invalid("lists more than 1000 UIDs")
		}
		if len(all) == 1 && all[0] == "*" {
			return nil
		}
		for _, uid := range all {
			if !uidPattern.MatchString(uid) {
				return invalid("holds something that is not a UID: " + strconv.Quote(clip(uid)))
			}
		}
		t := target(f)
		if *t == nil {
			*t = all
			return nil
		}
		// The address names one already: both must hold.
		*t = slices.DeleteFunc(slices.Clone(*t), func(uid string) bool { return !slices.Contains(all, uid) })
		if len(*t) == 0 {
			return errNothing
		}
		return nil
	}
}

// errNothing says that the match keys contradict each other, so nothing matches.
const errNothing = invalid("matches nothing")

func codes(target func(*pacs.InstanceFilter) *[]string) func(*pacs.InstanceFilter, []string) error {
	return func(f *pacs.InstanceFilter, values []string) error {
		all := list(values)
		if len(all) > maxList {
			return invalid("lists more than 1000 values")
		}
		if len(all) == 1 && all[0] == "*" {
			return nil
		}
		for _, v := range all {
			if len(v) > 16 || strings.ContainsAny(v, "*?") {
				return invalid("takes modality codes such as CT or MR, without wildcards, not " + strconv.Quote(clip(v)))
			}
		}
		*target(f) = all
		return nil
	}
}

// modality takes one code, with wildcards, or a list of codes.
func modality(f *pacs.InstanceFilter, values []string) error {
	if all := list(values); len(all) > 1 {
		return codes(func(f *pacs.InstanceFilter) *[]string { return &f.Series.Modalities })(f, all)
	}
	return pattern(func(f *pacs.InstanceFilter) *string { return &f.Series.Modality })(f, values)
}

func dates(target func(*pacs.InstanceFilter) *pacs.DateRange) func(*pacs.InstanceFilter, []string) error {
	return one(func(f *pacs.InstanceFilter, v string) (err error) {
		*target(f), err = pacs.ParseDateRange(v)
		return understood(err)
	})
}

// understood makes an invalid of what is wrong with a range.
func understood(err error) error {
	if err == nil {
		return nil
	}
	return invalid(err.Error())
}

// ignoredParameters are names that are no attributes and have no effect on what
// is found here: those of PS3.18 8.3.4 and 8.3.3, and what clients of other
// servers send. true: the caller is told.
var ignoredParameters = map[string]bool{
	"accept": false, "charset": false, "_": false,
	"timezoneadjustment": true, "orderby": true,
}

// parseQuery understands the query of a search at a level, within what the
// address names already. nothing tells that the match keys exclude each other.
func parseQuery(r *request, at level) (q query, nothing bool, err error) {
	q = query{filter: r.filter(), limit: -1}
	values, err := url.ParseQuery(r.Request.URL.RawQuery)
	if err != nil {
		return q, false, pacs.Errorf(pacs.Invalid, "The query can't be read: a %% must be followed by two hexadecimal digits, and parameters are separated by &.")
	}
	for name, set := range map[string]*bool{
		"fuzzymatching": &q.filter.Series.Study.Fuzzy, "emptyvaluematching": &q.matching.Empty, "multiplevaluematching": &q.matching.Multiple,
	} {
		if *set, err = flag(values[name]); err != nil {
			return q, false, pacs.Errorf(pacs.Invalid, "The parameter %s %s.", name, err.Error())
		}
		delete(values, name)
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names) // so that the same query gives the same answer
	given := map[dicom.Tag]string{}
	dates, times := only(values, dicom.TagStudyDate), only(values, dicom.TagStudyTime)
	q.combined = strings.Contains(dates, "-") && strings.Contains(times, "-")
	for _, name := range names {
		err := q.parameter(name, values[name], at, given)
		if err == errNothing {
			nothing = true
			continue
		}
		if why, ok := err.(invalid); ok {
			return q, false, pacs.Errorf(pacs.Invalid, "The parameter %s %s.", clip(name), string(why))
		}
		if err != nil {
			return q, false, err
		}
	}
	q.filter.Series.Study.AllModalities = q.matching.Multiple && len(q.filter.Series.Study.Modalities) > 1
	name, err := q.stored.addTo(&q.filter, q.matching)
	if err == nil && q.combined {
		// From the first moment to the last, not the same hours of every day
		// (combined date-time matching, PS3.4 C.2.2.2.5.4).
		name = "StudyDate with StudyTime"
		q.filter.Series.Study.Moment, err = pacs.CombineRanges(dates, times)
	}
	if err != nil {
		return q, false, pacs.Errorf(pacs.Invalid, "The parameter %s %s.", clip(name), err.Error())
	}
	return q, nothing, nil
}

// only is the value of an attribute that is given once, "" otherwise.
func only(values url.Values, t dicom.Tag) string {
	if v := slices.Concat(values[dicom.Keyword(t)], values[t.String()]); len(v) == 1 {
		return v[0]
	}
	return ""
}

// parameter takes in one parameter of a query.
func (q *query) parameter(name string, values []string, at level, given map[dicom.Tag]string) (err error) {
	switch name {
	case "limit":
		q.limit, err = count(values)
		return err
	case "offset":
		q.offset, err = count(values)
		return err
	case "after":
		if len(values) != 1 || len(values[0]) > 1024 {
			return invalid("is not a cursor that this server gave")
		}
		q.after = values[0]
		return nil
	case "includefield":
		return q.includes(values)
	}
	if tell, ok := ignoredParameters[name]; ok {
		if tell {
			q.warn("The parameter " + name + " was ignored.")
		}
		return nil
	}

	path := strings.Split(name, ".")
	if len(path) > 4 {
		return invalid("goes too deep into sequences")
	}
	tags := make([]dicom.Tag, len(path))
	for i, step := range path {
		t, err := dicom.ParseTag(step)
		if err != nil {
			return invalid("is neither a keyword (PatientName; upper and lower case matter) nor a tag of eight hexadecimal digits (00100010), nor limit, offset, includefield or fuzzymatching")
		}
		tags[i] = t
	}
	tag := tags[0]
	if other, twice := given[tag]; twice && len(path) == 1 {
		return invalid("is the same attribute as " + other + "; give it once")
	}
	column := tag
	if tag == dicom.TagModality && at == studyLevel {
		// Not a study's attribute, but what it means is plain.
		column = dicom.TagModalitiesInStudy
		if other, twice := given[dicom.TagModalitiesInStudy]; twice {
			return invalid("says the same as " + other + " in a search for studies; give one of them")
		}
	}
	key, ok := matchKeys[column]
	empty := slices.Contains(values, matching.EmptyValue)
	if empty && (!q.matching.Empty || len(values) > 1) {
		q.warn("The parameter " + name + ` was not used for matching: "" by itself, with emptyvaluematching=true, finds what has no value.`)
		q.want(tag)
		return nil
	}
	values = slices.DeleteFunc(slices.Clone(values), func(v string) bool { return strings.Trim(v, "*") == "" })
	if len(values) == 0 {
		// A key without a value matches everything and asks for the
		// attribute, as in C-FIND (PS3.4 C.2.2.2.3).
		q.want(tag)
		return nil
	}
	if !ok && q.stored.takes(tag, at) {
		q.want(tag)
		if len(path) == 1 {
			given[tag] = name
		}
		return q.stored.add(name, tags, values)
	}
	if len(path) > 1 || !ok || key.level > at {
		q.warn("The parameter " + name + " was not used for matching: searches for " + at.plural() + " don't match by it.")
		return nil
	}
	given[tag] = name
	if empty {
		q.want(tag)
		matching.Without(&q.filter, matching.Level(key.level), column)
		return nil
	}
	if q.combined && (tag == dicom.TagStudyDate || tag == dicom.TagStudyTime) {
		return nil
	}
	return key.set(&q.filter, values)
}

func (q *query) warn(text string) { q.warnings = append(q.warnings, text) }

func (q *query) want(t dicom.Tag) {
	if q.include.tags == nil {
		q.include.tags = make(map[dicom.Tag]bool)
	}
	q.include.tags[t] = true
}

// includes reads includefield, PS3.18 8.3.4.3.
func (q *query) includes(values []string) error {
	for _, name := range list(values) {
		if name == "all" {
			q.include.all = true
			continue
		}
		first, _, _ := strings.Cut(name, ".")
		t, err := dicom.ParseTag(first)
		if err != nil {
			return invalid("names " + strconv.Quote(clip(name)) + ", which is neither a keyword, nor a tag of eight hexadecimal digits, nor all")
		}
		q.want(t)
	}
	return nil
}

// flag reads a parameter that is true or false, as it is when it is missing.
func flag(values []string) (bool, error) {
	switch {
	case len(values) == 0 || len(values) == 1 && values[0] == "false":
		return false, nil
	case len(values) == 1 && values[0] == "true":
		return true, nil
	}
	return false, invalid("is true or false")
}

// count reads limit and offset.
func count(values []string) (int, error) {
	if len(values) == 1 {
		if n, err := strconv.ParseInt(values[0], 10, 32); err == nil && n >= 0 {
			return int(n), nil
		}
	}
	return 0, invalid("is not a whole number from 0")
}
