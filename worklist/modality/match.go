package modality

import (
	"slices"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/worklist/matching"
	"github.com/tasvir-pacs/tasvir/worklist/orders"
)

// matches says whether a step that waits is one that the query asks for. calling
// is the AE title of who asks.
func (q *query) matches(w *orders.Waiting, calling string) bool {
	if !q.start.holds(w.Step.Start) {
		return false
	}
	for _, k := range q.order {
		if !k.matches(orderFields[k.tag], w, calling) {
			return false
		}
	}
	for _, k := range q.step {
		if k.tag == dicom.TagScheduledProcedureStepStartDate || k.tag == dicom.TagScheduledProcedureStepStartTime {
			continue // the window
		}
		if !k.matches(stepFields[k.tag], w, calling) {
			return false
		}
	}
	return true
}

// matches says whether one of the key's values matches one of the attribute's.
// Several values of a key are a list of which any matches: the standard has that
// for UIDs only, but who sends it otherwise means nothing else.
func (k *key) matches(f field, w *orders.Waiting, calling string) bool {
	if len(k.values) == 0 || f.value == nil {
		return true
	}
	if k.tag == dicom.TagScheduledStationAETitle && len(w.Step.Stations) == 0 {
		return true // any device of the modality
	}
	values := f.value(w, calling)
	return slices.ContainsFunc(k.values, func(want string) bool {
		return slices.ContainsFunc(values, func(value string) bool {
			if k.vr == dicom.PN {
				return matching.Name(want, value)
			}
			if k.vr == dicom.DA {
				return matchDate(want, value)
			}
			return value != "" && matching.Text(want, value) || strings.Trim(want, "*") == ""
		})
	})
}

// matchDate matches a date by a date or a range of them.
func matchDate(want, value string) bool {
	days, _, err := parseRange(want, parseDate)
	day, ok := parseDate(value)
	if err != nil || !ok {
		return false
	}
	return (!days.low.set || day.first >= days.low.first) && (!days.high.set || day.first <= days.high.first)
}
