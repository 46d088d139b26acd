package dicomweb

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// workitemQuery is a search for items. PS3.18 11.9.1.2.
type workitemQuery struct {
	keys          *dicom.Dataset
	limit, offset int
	ignored       []string // parameters of PS3.18 8.3.4 that have no effect here
}

// The bounds of a query, above what a client can mean.
const (
	maxKeys     = 100
	maxKeyDepth = 4
	maxOffset   = 1_000_000
)

func parseWorkitemQuery(values url.Values) (q workitemQuery, err error) {
	q = workitemQuery{keys: new(dicom.Dataset).UTF8(), limit: maxWorkitems}
	n := 0
	for _, name := range slices.Sorted(maps.Keys(values)) {
		for _, value := range values[name] {
			if n++; n > maxKeys {
				return q, pacs.Errorf(pacs.Invalid, "A search has at most %d parameters.", maxKeys)
			}
			switch name {
			case "accept", "charset", "fuzzymatching": // names are always matched without regard to script
			case "emptyvaluematching", "multiplevaluematching", "timezoneadjustment":
				q.ignored = append(q.ignored, name)
			case "limit":
				q.limit, err = atMost(name, value, maxWorkitems)
			case "offset":
				q.offset, err = atMost(name, value, maxOffset)
			case "includefield":
				for field := range strings.SplitSeq(value, ",") {
					if field == "all" {
						field = "InputInformationSequence" // all else comes anyway
					}
					if err = addKey(q.keys, field, ""); err != nil {
						return q, err
					}
				}
			default:
				err = addKey(q.keys, name, value)
			}
			if err != nil {
				return q, err
			}
		}
	}
	return q, nil
}

func atMost(name, value string, most int) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 {
		return 0, pacs.Errorf(pacs.Invalid, "%s is a number that is not negative.", name)
	}
	return min(n, most), nil
}

// addKey adds a matching key: an attribute by keyword or tag, or a path of them
// through sequences, with dots. Several values are given with commas for UIDs and
// with backslashes otherwise.
func addKey(keys *dicom.Dataset, path, value string) error {
	names := strings.Split(path, ".")
	if len(names) > maxKeyDepth {
		return pacs.Errorf(pacs.Invalid, "%q has more than %d levels.", path, maxKeyDepth)
	}
	for i, name := range names {
		tag, ok := dicom.LookupKeyword(name)
		if n, err := strconv.ParseUint(name, 16, 32); !ok && len(name) == 8 && err == nil {
			tag, ok = dicom.Tag(n), true
		}
		if !ok {
			return pacs.Errorf(pacs.Invalid, "There is no attribute %.64q.", name)
		}
		vr := dicom.LookupVR(tag, false)
		if i < len(names)-1 {
			if vr != dicom.SQ {
				return pacs.Errorf(pacs.Invalid, "%s is no sequence.", name)
			}
			item := keys.Item(tag)
			if item == nil {
				item = new(dicom.Dataset).UTF8()
				keys.SetSequence(tag, item)
			}
			keys = item
			continue
		}
		switch vr {
		case dicom.SQ:
			if value != "" {
				return pacs.Errorf(pacs.Invalid, "%s is a sequence. Name the attribute within it, as in %s.CodeValue.", name, name)
			}
			if !keys.Has(tag) {
				keys.SetSequence(tag)
			}
		case dicom.UI:
			if value != "" || !keys.Has(tag) {
				keys.SetString(tag, vr, strings.FieldsFunc(value, func(c rune) bool { return c == ',' || c == '\\' })...)
			}
		case dicom.AE, dicom.CS, dicom.DA, dicom.DT, dicom.LO, dicom.LT, dicom.PN, dicom.SH, dicom.ST, dicom.TM, dicom.UC, dicom.UT, dicom.DS, dicom.IS, dicom.AS, dicom.UR:
			if value != "" || !keys.Has(tag) {
				keys.SetString(tag, vr, strings.Split(value, `\`)...)
			}
		default:
			return pacs.Errorf(pacs.Invalid, "Work items are not searched by %s.", name)
		}
	}
	return nil
}
