package queryretrieve

import (
	"encoding/json"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// setStored sets an attribute to what DICOM JSON (PS3.18 Annex F) says of it; it
// is empty when that is nothing.
func setStored(ds *dicom.Dataset, t dicom.Tag, raw json.RawMessage) {
	var a struct {
		VR    string            `json:"vr"`
		Value []json.RawMessage `json:"Value"`
	}
	if len(raw) > 0 {
		_ = json.Unmarshal(raw, &a) // what the archive wrote itself
	}
	vr, ok := dicom.ParseVR(a.VR)
	if !ok {
		vr = dicom.LookupVR(t, false)
	}
	switch vr {
	case dicom.SQ:
		items := make([]*dicom.Dataset, 0, len(a.Value))
		for _, v := range a.Value {
			items = append(items, storedItem(v))
		}
		ds.SetSequence(t, items...)
	case dicom.US, dicom.SS, dicom.UL, dicom.SL:
		var list []int
		for _, v := range a.Value {
			var n int
			if json.Unmarshal(v, &n) == nil {
				list = append(list, n)
			}
		}
		ds.SetInts(t, vr, list...)
	case dicom.FL, dicom.FD:
		var list []float64
		for _, v := range a.Value {
			var n float64
			if json.Unmarshal(v, &n) == nil {
				list = append(list, n)
			}
		}
		ds.SetFloats(t, vr, list...)
	case dicom.OB, dicom.OW, dicom.OF, dicom.OD, dicom.OL, dicom.OV, dicom.UN, dicom.AT, dicom.SV, dicom.UV:
		ds.SetBytes(t, vr, nil) // no list has use for them
	default:
		list := make([]string, len(a.Value))
		for i, v := range a.Value {
			list[i] = storedText(v)
		}
		ds.SetString(t, vr, list...)
	}
}

func storedItem(raw json.RawMessage) *dicom.Dataset {
	item := new(dicom.Dataset)
	var attributes map[string]json.RawMessage
	if json.Unmarshal(raw, &attributes) != nil {
		return item
	}
	for name, v := range attributes {
		if t, err := dicom.ParseTag(name); err == nil {
			setStored(item, t, v)
		}
	}
	return item
}

// storedText is a value of a string VR: a string, a name by its component groups,
// or a number as it is written.
func storedText(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var name struct{ Alphabetic, Ideographic, Phonetic string }
	if json.Unmarshal(raw, &name) == nil {
		return strings.TrimRight(name.Alphabetic+"="+name.Ideographic+"="+name.Phonetic, "=")
	}
	if s = string(raw); s != "null" {
		return s
	}
	return ""
}
