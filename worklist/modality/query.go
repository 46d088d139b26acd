package modality

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/worklist/matching"
)

// query is what a modality worklist identifier asks for: keys to match by and
// attributes to return. PS3.4 Table K.6-1.
type query struct {
	// keys are the attributes of the request, of the step those within the
	// Scheduled Procedure Step Sequence. A key without a value matches
	// everything and is returned.
	order, step []key
	// wholeStep says that the sequence came without an attribute: all of a step
	// is returned.
	wholeStep bool
	start     window
	// ignored says that an attribute is none of the table, or can't be matched
	// by.
	ignored bool
}

// key is one attribute of an identifier.
type key struct {
	tag    dicom.Tag
	vr     dicom.VR
	values []string // empty: matches everything
}

// The limits of an identifier's values: several times what the attributes can
// hold.
const (
	maxKey    = 1024
	maxValues = 1000
)

// parseQuery reads an identifier. An error says what is wrong with it, for the
// device's log.
func parseQuery(identifier *dicom.Dataset) (query, error) {
	var q query
	var err error
	if q.order, err = q.keys(identifier, orderFields); err != nil {
		return q, err
	}
	switch items := identifier.Items(dicom.TagScheduledProcedureStepSequence); {
	case len(items) > 1:
		return q, fmt.Errorf("Scheduled Procedure Step Sequence has %d items; one is asked with", len(items)) //nolint:staticcheck // an attribute's name
	case !identifier.Has(dicom.TagScheduledProcedureStepSequence):
	case len(items) == 0 || len(items[0].Elements) == 0:
		q.wholeStep = true
	default:
		if q.step, err = q.keys(items[0], stepFields); err != nil {
			return q, err
		}
		q.start, err = parseWindow(items[0].String(dicom.TagScheduledProcedureStepStartDate), items[0].String(dicom.TagScheduledProcedureStepStartTime))
	}
	return q, err
}

// keys reads the attributes of a data set that fields names.
func (q *query) keys(ds *dicom.Dataset, fields map[dicom.Tag]field) ([]key, error) {
	var keys []key
	for i := range ds.Elements {
		e := &ds.Elements[i]
		if e.Tag == dicom.TagSpecificCharacterSet || e.Tag == dicom.TagTimezoneOffsetFromUTC || e.Tag == dicom.TagScheduledProcedureStepSequence || e.Tag.IsGroupLength() {
			continue
		}
		f, known := fields[e.Tag]
		if !known {
			q.ignored = true
			continue
		}
		k := key{tag: e.Tag, vr: f.vr}
		if f.vr != dicom.SQ {
			for _, v := range ds.Values(e) {
				if v = strings.TrimSpace(v); v != "" {
					k.values = append(k.values, v)
				}
				if len(v) > maxKey || len(k.values) > maxValues {
					return nil, fmt.Errorf("the value of %s is too long", e.Tag)
				}
			}
		}
		if len(k.values) > 0 && f.value == nil {
			q.ignored = true // we hold none, and can't tell who matches
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// value is the single value of a key of the step, "" for none.
func (q *query) value(keys []key, tag dicom.Tag) string {
	i := slices.IndexFunc(keys, func(k key) bool { return k.tag == tag })
	if i < 0 || len(keys[i].values) != 1 {
		return ""
	}
	return keys[i].values[0]
}

// plainValues are the values of a key when all are to be matched literally.
func (q *query) plainValues(keys []key, tag dicom.Tag) []string {
	i := slices.IndexFunc(keys, func(k key) bool { return k.tag == tag })
	if i < 0 || slices.ContainsFunc(keys[i].values, matching.HasWildcard) {
		return nil
	}
	return keys[i].values
}

// window is when a step begins. The zero window is always.
type window struct {
	// from and to are the first and the last second of the wall clock; zero for
	// open ends.
	from, to time.Time
	// dayFrom and dayTo bound the time of day, for a range of days with a time
	// that is no range, or a time without a date; negative for open ends. Only
	// when daily is set.
	daily          bool
	dayFrom, dayTo time.Duration
}

func (w window) holds(t time.Time) bool {
	clock := time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute + time.Duration(t.Second())*time.Second
	switch {
	case !w.from.IsZero() && t.Before(w.from), !w.to.IsZero() && t.After(w.to):
		return false
	case !w.daily:
		return true
	}
	return (w.dayFrom < 0 || clock >= w.dayFrom) && (w.dayTo < 0 || clock <= w.dayTo)
}

// parseWindow combines the keys Scheduled Procedure Step Start Date and Time.
// Where both are ranges they are the two ends of one: from 5 July 10:00 to 7
// July 18:00, and not each day from 10 to 18 (PS3.4 Table K.6-1).
func parseWindow(date, clock string) (w window, err error) {
	days, oneDay, err := parseRange(date, parseDate)
	if err != nil {
		return w, fmt.Errorf("the Scheduled Procedure Step Start Date %q is none", date)
	}
	times, oneTime, err := parseRange(clock, parseTime)
	if err != nil {
		return w, fmt.Errorf("the Scheduled Procedure Step Start Time %q is none", clock)
	}
	start := func(e edge) time.Time { return epoch.Add(e.first) }
	end := func(e edge) time.Time { return epoch.Add(e.last) }
	if days.low.set {
		w.from = start(days.low)
	}
	if days.high.set {
		w.to = end(days.high)
	}
	switch {
	case clock == "":
	case date != "" && (oneDay || !oneTime):
		if days.low.set && times.low.set {
			w.from = start(days.low).Add(times.low.first)
		}
		if days.high.set && times.high.set {
			w.to = start(days.high).Add(times.high.last)
		}
	default:
		w.daily, w.dayFrom, w.dayTo = true, -1, -1
		if times.low.set {
			w.dayFrom = times.low.first
		}
		if times.high.set {
			w.dayTo = times.high.last
		}
	}
	return w, nil
}

// epoch is what dates are counted from; before all of them, so that durations
// are positive.
var epoch = time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)

// edge is one end of a range: the first and the last second that a value, given
// to the precision it has, stands for.
type edge struct {
	set         bool
	first, last time.Duration
}

type span struct{ low, high edge }

// parseRange reads a value, or a range of them (PS3.4 C.2.2.2.5). single is
// true for one value.
func parseRange(text string, parse func(string) (edge, bool)) (s span, single bool, err error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return s, false, nil
	}
	low, high, isRange := strings.Cut(text, "-")
	if !isRange {
		high = low
	}
	for _, end := range []struct {
		text string
		to   *edge
	}{{low, &s.low}, {high, &s.high}} {
		if end.text = strings.TrimSpace(end.text); end.text == "" {
			continue
		}
		e, ok := parse(end.text)
		if !ok {
			return s, false, fmt.Errorf("%q is none", end.text)
		}
		*end.to = e
	}
	if !s.low.set && !s.high.set {
		return s, false, fmt.Errorf("%q has no end", text)
	}
	return s, !isRange, nil
}

func parseDate(text string) (edge, bool) {
	if len(text) == 10 { // 2026.11.22, of before 1993
		text = strings.ReplaceAll(text, ".", "")
	}
	day, err := time.Parse("20060102", text)
	if err != nil || day.Before(epoch) || day.Year() > 2190 {
		return edge{}, false // durations end 292 years after the epoch
	}
	since := day.Sub(epoch)
	return edge{true, since, since + 24*time.Hour - time.Second}, true
}

// parseTime reads HH, HHMM, HHMMSS and HHMMSS.FFFFFF.
func parseTime(text string) (edge, bool) {
	text, _, _ = strings.Cut(strings.ReplaceAll(text, ":", ""), ".")
	for _, form := range []struct {
		layout string
		unit   time.Duration
	}{{"15", time.Hour}, {"1504", time.Minute}, {"150405", time.Second}} {
		if len(text) != len(form.layout) {
			continue
		}
		t, err := time.Parse(form.layout, text)
		if err != nil {
			return edge{}, false
		}
		first := time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute + time.Duration(t.Second())*time.Second
		return edge{true, first, first + form.unit - time.Second}, true
	}
	return edge{}, false
}
