package dicomweb

import (
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/matching"
)

// storedKeys gathers the parameters about attributes that the index keeps as
// DICOM JSON into an identifier as C-FIND has it, so that both are matched
// alike: 00400275.00400007=x and 00400275.00401001=y are one item with two keys
// (PS3.18 8.3.4.1, PS3.4 C.2.2.2.6).
type storedKeys struct {
	identifier dicom.Dataset
	names      map[dicom.Tag]string // of the parameter, by the first tag of its path
}

// takes says whether queries at a level match by the attribute.
func (*storedKeys) takes(t dicom.Tag, at level) bool {
	// It says how the others are meant.
	if t == dicom.TagTimezoneOffsetFromUTC {
		return false
	}
	l, ok := matching.Stored(t)
	return ok && level(l) <= at
}

// add takes in one parameter. An attribute within a sequence is a path of tags.
func (k *storedKeys) add(name string, path []dicom.Tag, values []string) error {
	ds := &k.identifier
	for _, t := range path[:len(path)-1] {
		if dicom.LookupVR(t, false) != dicom.SQ {
			return invalid("goes into an attribute that is not a sequence")
		}
		item := ds.Item(t)
		if item == nil {
			item = new(dicom.Dataset)
			ds.SetSequence(t, item)
		}
		ds = item
	}
	t := path[len(path)-1]
	vr := dicom.LookupVR(t, false)
	if vr == dicom.SQ {
		return invalid("is a sequence: name an attribute within it, as in 00400275.00400007")
	}
	var all []string
	for _, v := range values {
		if len(v) > maxValue {
			return invalid("is too long")
		}
		if vr == dicom.UI {
			all = append(all, list([]string{v})...)
		} else {
			all = append(all, strings.Split(v, `\`)...)
		}
	}
	if len(all) > maxList {
		return invalid("lists more than 1000 values")
	}
	ds.SetString(t, dicom.LO, all...)
	e, _ := ds.Get(t)
	e.VR = vr
	if vr == dicom.UN {
		e.VR = dicom.LO
	}
	if k.names == nil {
		k.names = make(map[dicom.Tag]string)
	}
	k.names[path[0]] = name
	return nil
}

// addTo adds what was gathered to a filter. name is the parameter of an error.
func (k *storedKeys) addTo(f *pacs.InstanceFilter, o matching.Options) (name string, err error) {
	for i := range k.identifier.Elements {
		e := &k.identifier.Elements[i]
		l, ok := matching.Stored(e.Tag)
		if !ok {
			continue // Specific Character Set, of the others' text
		}
		key, ok, err := o.Key(&k.identifier, e)
		if err != nil {
			return k.names[e.Tag], invalid(err.Error())
		}
		if ok {
			matching.Add(f, l, key)
		}
	}
	return "", nil
}
