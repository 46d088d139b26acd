package queryretrieve

import (
	"cmp"
	"slices"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// Key is an attribute of the information models and what can be done with it.
type Key struct {
	Tag    dicom.Tag
	Level  string
	Unique bool
	// Matching names the kinds of matching of PS3.4 C.2.2.2 that are done besides
	// universal matching; none means that the attribute is only returned.
	Matching []string
	// Returned says that it is returned when asked for.
	Returned bool
}

// Levels are the levels of a SOP class's information model from the top; nil for
// a class that is not served.
func Levels(sopClass string) []string {
	var names []string
	for _, l := range models[sopClass].levels {
		names = append(names, l.String())
	}
	return names
}

// Keys lists all attributes that queries know, level by level, by tag.
func Keys() []Key {
	byTag := make(map[dicom.Tag]Key)
	at := make(map[dicom.Tag]level)
	for t, l := range stored {
		byTag[t], at[t] = Key{Matching: storedMatching(dicom.LookupVR(t, false)), Returned: true}, l
	}
	for t, a := range answers {
		byTag[t], at[t] = Key{Returned: true}, a.level
	}
	for t, k := range keys {
		_, returned := answers[t]
		byTag[t], at[t] = Key{Matching: k.matching(dicom.LookupVR(t, false)), Returned: returned}, k.level
	}
	var list []Key
	for t, k := range byTag {
		if !asked(t) {
			continue
		}
		k.Tag, k.Level, k.Unique = t, at[t].String(), slices.Contains(uniqueKeys[:], t)
		list = append(list, k)
	}
	slices.SortFunc(list, func(a, b Key) int { return cmp.Or(cmp.Compare(at[a.Tag], at[b.Tag]), cmp.Compare(a.Tag, b.Tag)) })
	return list
}

// asked says whether an identifier asks for the attribute when it names it: some
// of those that are stored say how the identifier itself is meant.
func asked(t dicom.Tag) bool {
	ds := new(dicom.Dataset).SetString(dicom.TagQueryRetrieveLevel, dicom.CS, imageLevel.String())
	if vr := dicom.LookupVR(t, false); vr == dicom.SQ {
		ds.SetSequence(t)
	} else {
		ds.SetString(t, vr)
	}
	q, err := patientRoot.parseQuery(ds, options{relational: true})
	return err == nil && slices.Contains(q.wanted, t)
}

// The kinds of matching as PS3.4 C.2.2.2 calls them.
const (
	singleValue = "single value"
	wildCard    = "wild card"
	rangeOf     = "range"
	listOfUID   = "list of UID"
	listOfValue = "list of values"
	sequence    = "sequence"
)

// matching tries what the key takes.
func (k key) matching(vr dicom.VR) []string {
	takes := func(values ...string) bool { return k.set(new(pacs.InstanceFilter), values) == nil }
	kinds := []string{singleValue}
	switch {
	case (vr == dicom.DA && takes("20260101-20261231")) || (vr == dicom.TM && takes("080000-1200")):
		return append(kinds, rangeOf)
	case vr == dicom.UI && takes("1.2.3", "1.2.4"):
		return append(kinds, listOfUID)
	}
	if takes("A*") {
		kinds = append(kinds, wildCard)
	}
	if takes("A", "B") {
		kinds = append(kinds, listOfValue)
	}
	return kinds
}

// storedMatching is what matching.Key and the index do with a stored attribute.
func storedMatching(vr dicom.VR) []string {
	switch vr {
	case dicom.SQ:
		return []string{sequence}
	case dicom.DA, dicom.TM:
		return []string{singleValue, rangeOf}
	case dicom.UI:
		return []string{singleValue, listOfUID}
	case dicom.IS, dicom.DS, dicom.US, dicom.UL:
		return []string{singleValue, listOfValue}
	}
	return []string{singleValue, wildCard, listOfValue}
}
