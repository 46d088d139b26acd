package ups

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
)

// empty says whether an attribute has no value.
func empty(e *dicom.Element) bool {
	if e.VR == dicom.SQ {
		return len(e.Items) == 0
	}
	return strings.Trim(string(e.Value), " \x00") == ""
}

func valued(ds *dicom.Dataset, tag dicom.Tag) bool {
	e, ok := ds.Get(tag)
	return ok && !empty(e)
}

func offending(code dimse.Code, why string, tags ...dicom.Tag) dimse.Status {
	s := dimse.Status{Code: code, Comment: why}
	for _, t := range tags {
		s.Offending = append(s.Offending, uint32(t))
	}
	return s
}

func keywords(tags []dicom.Tag) string {
	names := make([]string, len(tags))
	for i, t := range tags {
		names[i] = cmp.Or(dicom.Keyword(t), t.String())
	}
	return strings.Join(names, ", ")
}

// checkCreate checks the attributes of an N-CREATE, which are in UTF-8, and
// returns those that are kept. The status is success, or Modified when something
// was dropped or corrected; any other means that there is no step.
func checkCreate(given *dicom.Dataset) (*dicom.Dataset, dimse.Status) {
	state := given.String(dicom.TagProcedureStepState)
	if state != "" && state != string(Scheduled) {
		return nil, say(NotScheduled)
	}
	var absent, valueless []dicom.Tag
	for _, a := range attributes {
		if a.create != mustValue {
			continue
		}
		switch e, ok := given.Get(a.tag); {
		case !ok:
			absent = append(absent, a.tag)
		case empty(e):
			valueless = append(valueless, a.tag)
		}
	}
	switch {
	case len(absent) > 0:
		return nil, offending(dimse.MissingAttribute, "lacks "+keywords(absent), absent...)
	case len(valueless) > 0:
		return nil, offending(dimse.MissingAttributeValue, "no value of "+keywords(valueless), valueless...)
	}
	if status := checkValues(given, 0); !status.OK() {
		return nil, status
	}
	kept, status := given.UTF8(), dimse.Status{}
	for _, e := range given.Elements {
		switch need := byTag[e.Tag].create; {
		case ours(e.Tag):
			kept.Delete(e.Tag)
		case need == notAllowed || need == startsEmpty:
			if !empty(&e) {
				status = say(Modified)
			}
			kept.Delete(e.Tag)
		}
	}
	for _, a := range attributes {
		if (a.create == mayBeEmpty || a.create == startsEmpty) && !kept.Has(a.tag) {
			putEmpty(kept, a.tag)
		}
	}
	return kept, status
}

// ours are attributes that are not kept among those of a step.
func ours(tag dicom.Tag) bool {
	return tag == dicom.TagSpecificCharacterSet || tag == dicom.TagProcedureStepState || tag.IsGroupLength()
}

// put copies an element that is in UTF-8 to a data set that is.
func put(ds *dicom.Dataset, e *dicom.Element) {
	if e.VR == dicom.SQ {
		ds.SetSequence(e.Tag, e.Items...)
	} else {
		ds.SetBytes(e.Tag, e.VR, e.Value)
	}
}

func putEmpty(ds *dicom.Dataset, tag dicom.Tag) {
	if vr := dicom.LookupVR(tag, false); vr == dicom.SQ {
		ds.SetSequence(tag)
	} else {
		ds.SetBytes(tag, vr, nil)
	}
}

// maxItems bounds the items of one sequence: a step has references by series, and
// the instances of a series within them.
const maxItems = 20_000

// checkValues checks what the table says of values, at all levels: value
// representations, enumerated values, dates, UIDs, codes.
func checkValues(ds *dicom.Dataset, depth int) dimse.Status {
	for i := range ds.Elements {
		e := &ds.Elements[i]
		want := dicom.LookupVR(e.Tag, false)
		if (want == dicom.SQ) != (e.VR == dicom.SQ) && want != dicom.UN && !(e.VR == dicom.UN && empty(e)) {
			return offending(dimse.InvalidAttributeValue, "the value representation of "+keywords([]dicom.Tag{e.Tag})+" is "+want.String(), e.Tag)
		}
		if e.VR == dicom.SQ {
			if len(e.Items) > maxItems {
				return offending(dimse.ResourceLimitation, "too many items in "+keywords([]dicom.Tag{e.Tag}), e.Tag)
			}
			for _, item := range e.Items {
				if slices.Contains(codes, e.Tag) {
					if status := checkCode(e.Tag, item); !status.OK() {
						return status
					}
				}
				if status := checkValues(item, depth+1); !status.OK() {
					return status
				}
			}
			continue
		}
		if empty(e) {
			continue
		}
		if why := wrongValue(ds, e); why != "" {
			return offending(dimse.InvalidAttributeValue, why, e.Tag)
		}
	}
	return dimse.Status{}
}

// wrongValue says what is wrong with a value of a standard attribute that things
// here depend on.
func wrongValue(ds *dicom.Dataset, e *dicom.Element) string {
	name := keywords([]dicom.Tag{e.Tag})
	if list := values[e.Tag]; list != nil && !slices.Contains(list, ds.String(e.Tag)) {
		return name + " is one of " + strings.Join(list, ", ")
	}
	if e.Tag.IsPrivate() {
		return ""
	}
	switch e.VR {
	case dicom.UI:
		for _, uid := range ds.Values(e) {
			if uid != "" && dicom.ValidUID(uid) != nil {
				return name + " is no UID"
			}
		}
	case dicom.DT:
		for _, v := range ds.Values(e) {
			if _, _, ok := dateTime(v); v != "" && !ok {
				return name + " is no date and time"
			}
		}
	}
	return ""
}

// checkCode checks an item of a code sequence.
func checkCode(sequence dicom.Tag, item *dicom.Dataset) dimse.Status {
	in := " in " + keywords([]dicom.Tag{sequence})
	switch {
	case !valued(item, dicom.TagCodeValue) && !valued(item, dicom.TagLongCodeValue) && !valued(item, dicom.TagURNCodeValue):
		return offending(dimse.MissingAttribute, "no code value"+in, sequence)
	case !valued(item, dicom.TagURNCodeValue) && !valued(item, dicom.TagCodingSchemeDesignator):
		return offending(dimse.MissingAttribute, "no CodingSchemeDesignator"+in, sequence)
	case !valued(item, dicom.TagCodeMeaning):
		return offending(dimse.MissingAttribute, "no CodeMeaning"+in, sequence)
	}
	return dimse.Status{}
}

// checkSet checks the attributes of an N-SET, which are in UTF-8.
func checkSet(changes *dicom.Dataset) dimse.Status {
	for i := range changes.Elements {
		e := &changes.Elements[i]
		row, known := byTag[e.Tag]
		switch {
		case e.Tag == dicom.TagProcedureStepState:
			return say(OnlyByCreate)
		case e.Tag == dicom.TagTransactionUID || ours(e.Tag) || !known || row.set:
		default:
			return offending(dimse.InvalidAttributeValue, keywords([]dicom.Tag{e.Tag})+" can't be changed", e.Tag)
		}
		if (row.create == mustValue || e.Tag == dicom.TagWorklistLabel) && empty(e) {
			return offending(dimse.MissingAttributeValue, "no value of "+keywords([]dicom.Tag{e.Tag}), e.Tag)
		}
	}
	return checkValues(changes, 0)
}

// lacking are the attributes whose Final State Code is not met.
func lacking(ds *dicom.Dataset, to State) []dicom.Tag {
	code := finalComplete
	if to == Canceled {
		code = finalCancel
	}
	var list []dicom.Tag
	look := func(ds *dicom.Dataset, rows []attribute) {
		for _, a := range rows {
			if a.final != finalBoth && a.final != code || a.tag == dicom.TagProcedureStepState || a.tag == dicom.TagSOPClassUID || a.tag == dicom.TagSOPInstanceUID {
				continue // which every step has
			}
			if a.present && ds.Has(a.tag) || !a.present && valued(ds, a.tag) {
				continue
			}
			list = append(list, a.tag)
		}
	}
	look(ds, attributes)
	within := map[dicom.Tag][]attribute{
		dicom.TagUnifiedProcedureStepPerformedProcedureSequence: performed,
		dicom.TagProcedureStepProgressInformationSequence:       progress,
	}
	for _, tag := range []dicom.Tag{dicom.TagUnifiedProcedureStepPerformedProcedureSequence, dicom.TagProcedureStepProgressInformationSequence} {
		if item := ds.Item(tag); item != nil {
			look(item, within[tag])
		}
	}
	return list
}

// Dates and times are those of the wall, as elsewhere in the archive; one that
// names its offset from UTC is brought to it.
const dateTimeForm = "20060102150405"

func wall(t time.Time) string { return t.Local().Format(dateTimeForm) }

// dateTime reads a DT: the first and the last second that it stands for.
func dateTime(text string) (first, last time.Time, ok bool) {
	text = strings.TrimSpace(text)
	zone := time.Local
	if at := strings.LastIndexAny(text, "+-"); at >= 4 {
		offset, err := time.Parse("-0700", text[at:])
		if err != nil {
			return first, last, false
		}
		zone, text = offset.Location(), text[:at]
	}
	whole, fraction, fractional := strings.Cut(text, ".")
	if fractional && (len(whole) != len(dateTimeForm) || fraction == "" || len(fraction) > 6 || strings.Trim(fraction, "0123456789") != "") {
		return first, last, false
	}
	if len(whole) < 4 || len(whole) > len(dateTimeForm) || len(whole)%2 != 0 {
		return first, last, false
	}
	first, err := time.ParseInLocation(dateTimeForm[:len(whole)], whole, zone)
	if err != nil {
		return first, last, false
	}
	switch len(whole) {
	case 4:
		last = first.AddDate(1, 0, 0)
	case 6:
		last = first.AddDate(0, 1, 0)
	case 8:
		last = first.AddDate(0, 0, 1)
	case 10:
		last = first.Add(time.Hour)
	case 12:
		last = first.Add(time.Minute)
	default:
		last = first.Add(time.Second)
	}
	return first, last.Add(-time.Second), true
}
