package modality

import (
	"slices"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
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
				return matchName(want, value)
			}
			if k.vr == dicom.DA {
				return matchDate(want, value)
			}
			return value != "" && matchText(want, value) || strings.Trim(want, "*") == ""
		})
	})
}

// matchText is single value and wild card matching, PS3.4 C.2.2.2.1 and
// C.2.2.2.4.
func matchText(pattern, value string) bool {
	if !hasWildcard(pattern) {
		return pattern == value
	}
	return wild([]rune(pattern), []rune(value))
}

// wild matches * (any characters) and ? (any one). It looks back to the last *
// only, so that it takes no more than the product of the lengths.
func wild(pattern, text []rune) bool {
	p, t, star, mark := 0, 0, -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0:
			mark++
			p, t = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// matchName matches a person's name: as written, whatever its case, or as it is
// spelled in another script. Components that a pattern leaves out at the end
// must be empty, as everywhere.
func matchName(pattern, name string) bool {
	pattern, name = strings.TrimRight(pattern, "^= "), strings.TrimRight(name, "^= ")
	if strings.Trim(pattern, "*^=") == "" {
		return true
	}
	groups := append(strings.Split(name, "="), name)
	return slices.ContainsFunc(groups, func(group string) bool {
		return matchText(strings.ToLower(pattern), strings.ToLower(group)) || matchFolded(pattern, group)
	})
}

// matchFolded compares by the key that makes Каримов and KARIMOV one
// (pacs.Fold). A ? may stand for what is several letters there, so it is taken
// for any.
func matchFolded(pattern, name string) bool {
	parts := strings.Split(strings.ReplaceAll(pattern, "?", "*"), "*")
	text := pacs.Fold(name)
	if len(parts) == 1 {
		return pacs.Fold(pattern) == text
	}
	for i, part := range parts {
		folded := pacs.Fold(part)
		// A component's end is a word's end; folding takes it off the edge.
		if i > 0 && strings.HasPrefix(part, "^") {
			folded = " " + folded
		}
		if i < len(parts)-1 && strings.HasSuffix(part, "^") && folded != "" {
			folded += " "
		}
		switch {
		case strings.TrimSpace(part) == "":
		case folded == "":
			return false // letters that the key has none of
		case i == 0:
			if !strings.HasPrefix(text, folded) {
				return false
			}
			text = text[len(folded):]
		case i == len(parts)-1:
			return strings.HasSuffix(text, folded)
		default:
			at := strings.Index(text, folded)
			if at < 0 {
				return false
			}
			text = text[at+len(folded):]
		}
	}
	return true
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
