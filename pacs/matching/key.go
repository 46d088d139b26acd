package matching

import (
	"errors"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

var errItems = errors.New("takes one item")

// PlainDate and PlainTime take the punctuation of ACR-NEMA off, which old devices
// still send. PS3.5 Table 6.2-1.
func PlainDate(v string) string { return strings.ReplaceAll(v, ".", "") }
func PlainTime(v string) string { return strings.ReplaceAll(v, ":", "") }

// Options are kinds of matching that are done for who asks for them.
type Options struct {
	Empty    bool // PS3.4 C.2.2.2.7
	Multiple bool // PS3.4 C.2.2.2.8
}

// EmptyValue is the value of a key that asks for attributes without one, or that
// are absent.
const EmptyValue = `""`

// IsEmpty tells whether the key asks for attributes without a value.
func (o Options) IsEmpty(ds *dicom.Dataset, e *dicom.Element) bool {
	if !o.Empty || e.VR == dicom.SQ {
		return false
	}
	values := ds.Values(e)
	return len(values) == 1 && values[0] == EmptyValue
}

// all tells whether each of several values of a key must be there: of attributes
// that may have several, of the value representations that C.2.2.2.8 lists.
func (o Options) all(t dicom.Tag, vr dicom.VR) bool {
	switch vr {
	case dicom.AE, dicom.AS, dicom.AT, dicom.CS, dicom.LO, dicom.PN, dicom.SH, dicom.UC:
		return o.Multiple && dicom.Multiple(t)
	}
	return false
}

// Key makes the key of a stored attribute out of an identifier's
// element. ok is false for one that matches everything. The error goes on from
// the attribute's name: "takes one item".
func (o Options) Key(ds *dicom.Dataset, e *dicom.Element) (k pacs.AttributeKey, ok bool, err error) {
	vr := e.VR
	if vr == dicom.UN {
		vr = dicom.LookupVR(e.Tag, false)
	}
	k = pacs.AttributeKey{Tag: e.Tag.String(), VR: vr.String()}
	if vr == dicom.SQ {
		switch {
		case len(e.Items) > 1:
			return k, false, errItems
		case len(e.Items) == 0:
			return k, false, nil
		}
		item := e.Items[0]
		for i := range item.Elements {
			if item.Elements[i].Tag == dicom.TagSpecificCharacterSet {
				continue // of the item's own text
			}
			sub, ok, err := o.Key(item, &item.Elements[i])
			if err != nil {
				return k, false, err
			}
			if ok {
				k.Item = append(k.Item, sub)
			}
		}
		return k, len(k.Item) > 0, nil
	}
	if o.IsEmpty(ds, e) {
		k.Empty = true
		return k, true, nil
	}
	values := Given(ds, e)
	if len(values) == 0 {
		return k, false, nil
	}
	switch vr {
	case dicom.DA:
		k.Range, err = pacs.ParseDateRange(PlainDate(values[0]))
	case dicom.TM:
		k.Range, err = pacs.ParseTimeRange(PlainTime(values[0]))
	default:
		k.Values, k.All = values, len(values) > 1 && o.all(e.Tag, vr)
	}
	return k, true, err
}

// Given returns the values of a key, without those that match everything:
// universal matching, PS3.4 C.2.2.2.3.
func Given(ds *dicom.Dataset, e *dicom.Element) []string {
	var values []string
	for _, v := range ds.Values(e) {
		if strings.Trim(v, "*") != "" {
			values = append(values, v)
		} else if v != "" {
			return nil
		}
	}
	return values
}
