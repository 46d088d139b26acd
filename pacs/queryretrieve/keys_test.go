package queryretrieve

import (
	"slices"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// Keys tells the truth: an identifier is understood in every kind of matching
// that is listed, lower levels ignore it, and what is not matched by is ignored.
func TestKeys(t *testing.T) {
	list := Keys()
	if len(list) < 60 || slices.ContainsFunc(list, func(k Key) bool { return k.Tag == dicom.TagTimezoneOffsetFromUTC }) {
		t.Errorf("%d keys", len(list))
	}
	unique := 0
	for _, k := range list {
		vr := dicom.LookupVR(k.Tag, false)
		if k.Unique {
			unique++
		}
		// sample is a value for a kind of matching.
		sample := func(kind string) []string {
			value := map[dicom.VR]string{
				dicom.DA: "20260312", dicom.TM: "1015", dicom.UI: "1.2.3", dicom.IS: "7", dicom.DS: "7.5", dicom.US: "7",
			}[vr]
			if value == "" {
				value = "ABC"
			}
			switch kind {
			case wildCard:
				return []string{"A*C"}
			case rangeOf:
				return []string{value + "-"}
			case listOfUID, listOfValue:
				return []string{value, value}
			}
			return []string{value}
		}
		ask := func(at string, values ...string) (*query, error) {
			ds := new(dicom.Dataset).SetString(dicom.TagQueryRetrieveLevel, dicom.CS, at)
			if vr == dicom.US {
				ds.SetInts(k.Tag, vr, 7)
			} else {
				ds.SetString(k.Tag, vr, values...)
			}
			return patientRoot.parseQuery(ds, options{relational: true})
		}
		for _, kind := range k.Matching {
			if kind == sequence {
				continue // needs items; see TestFind
			}
			if q, err := ask(k.Level, sample(kind)...); err != nil || q.ignored {
				t.Errorf("%s, %s: ignored or %v", dicom.Keyword(k.Tag), kind, err)
			}
			if kind == singleValue && levelNames[k.Level] > studyLevel && k.Tag != dicom.TagModality {
				if q, err := ask("STUDY", sample(kind)...); err != nil || !q.ignored {
					t.Errorf("%s is not ignored by a query of studies: %v", dicom.Keyword(k.Tag), err)
				}
			}
		}
		if q, err := ask("IMAGE", sample("")...); len(k.Matching) == 0 && (err != nil || !q.ignored) {
			t.Errorf("%s is matched by: %v", dicom.Keyword(k.Tag), err)
		}
	}
	if unique != len(uniqueKeys) {
		t.Errorf("%d unique keys", unique)
	}
	if got := Levels(dicom.StudyRootGetSOPClass); !slices.Equal(got, []string{"STUDY", "SERIES", "IMAGE"}) || Levels("1.2.3") != nil {
		t.Errorf("levels %v", got)
	}
}
