package ups

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/worklist/matching"
)

// The limits of an identifier's values: several times what the attributes can
// hold.
const (
	maxKey    = 1024
	maxValues = 1000
)

// checkKeys says what is wrong with an identifier.
func checkKeys(keys *dicom.Dataset) error {
	for i := range keys.Elements {
		e := &keys.Elements[i]
		name := keywords([]dicom.Tag{e.Tag})
		if e.VR == dicom.SQ {
			if len(e.Items) > 1 {
				return fmt.Errorf("%s has %d items; one is asked with", name, len(e.Items))
			}
			for _, item := range e.Items {
				if err := checkKeys(item); err != nil {
					return err
				}
			}
			continue
		}
		values := keys.Values(e)
		if len(values) > maxValues || slices.ContainsFunc(values, func(v string) bool { return len(v) > maxKey }) {
			return fmt.Errorf("the value of %s is too long", name)
		}
		for _, v := range values {
			if _, ok := span(v, e.VR); v != "" && !ok {
				return fmt.Errorf("%s is no date, time or range", name)
			}
		}
	}
	return nil
}

// matches says whether a step, as it is shown, is one that the keys ask for. A
// key without a value matches everything.
func matches(keys, ds *dicom.Dataset) bool {
	for i := range keys.Elements {
		e := &keys.Elements[i]
		switch e.Tag {
		case dicom.TagSpecificCharacterSet, dicom.TagTimezoneOffsetFromUTC:
			continue
		}
		if row, ok := byTag[e.Tag]; ok && !row.match || e.Tag.IsGroupLength() {
			continue
		}
		if !matchElement(keys, e, ds) {
			return false
		}
	}
	return true
}

func matchElement(keys *dicom.Dataset, key *dicom.Element, ds *dicom.Dataset) bool {
	if key.VR == dicom.SQ {
		if len(key.Items) == 0 || universal(key.Items[0]) {
			return true
		}
		return slices.ContainsFunc(ds.Items(key.Tag), func(item *dicom.Dataset) bool { return matchItem(key.Items[0], item) })
	}
	wants := slices.DeleteFunc(keys.Values(key), func(v string) bool { return v == "" })
	if len(wants) == 0 {
		return true
	}
	e, ok := ds.Get(key.Tag)
	if !ok {
		return false
	}
	have := ds.Values(e)
	return slices.ContainsFunc(wants, func(want string) bool {
		return slices.ContainsFunc(have, func(v string) bool { return v != "" && matchValue(want, v, key.VR) }) || strings.Trim(want, "*") == ""
	})
}

func matchItem(keys, item *dicom.Dataset) bool {
	for i := range keys.Elements {
		e := &keys.Elements[i]
		if e.Tag == dicom.TagCodeMeaning || e.Tag == dicom.TagSpecificCharacterSet {
			continue // shall not be used as a key, PS3.4 Table CC.2.5-2a
		}
		if !matchElement(keys, e, item) {
			return false
		}
	}
	return true
}

// universal says whether no key of an item has a value.
func universal(keys *dicom.Dataset) bool {
	for i := range keys.Elements {
		e := &keys.Elements[i]
		if e.VR == dicom.SQ && slices.ContainsFunc(e.Items, func(item *dicom.Dataset) bool { return !universal(item) }) || e.VR != dicom.SQ && !empty(e) {
			return false
		}
	}
	return true
}

func matchValue(want, value string, vr dicom.VR) bool {
	switch vr {
	case dicom.UI:
		return want == value
	case dicom.PN:
		return matching.Name(want, value)
	case dicom.DT, dicom.DA, dicom.TM:
		asked, ok := span(want, vr)
		got, known := span(value, vr)
		return ok && known && (asked.from == "" || got.to >= asked.from) && (asked.to == "" || got.from <= asked.to)
	}
	return matching.Text(want, value)
}

// interval is a stretch of time, as text that sorts as time does; "" is an open
// end.
type interval struct{ from, to string }

// span reads a value or a range of DA, TM or DT. PS3.4 C.2.2.2.5. It is true,
// too, for other value representations.
func span(text string, vr dicom.VR) (interval, bool) {
	text = strings.TrimSpace(text)
	var read func(string) (interval, bool)
	switch vr {
	case dicom.DT:
		read = func(v string) (interval, bool) {
			first, last, ok := dateTime(v)
			return interval{wall(first), wall(last)}, ok
		}
	case dicom.DA:
		read = func(v string) (interval, bool) {
			v = strings.ReplaceAll(v, ".", "")
			_, _, ok := dateTime(v)
			return interval{v, v}, ok && len(v) == 8
		}
	case dicom.TM:
		read = func(v string) (interval, bool) {
			v, _, _ = strings.Cut(strings.ReplaceAll(v, ":", ""), ".")
			first, last, ok := dateTime("20000101" + v)
			return interval{wall(first)[8:], wall(last)[8:]}, ok && v != ""
		}
	default:
		return interval{}, true
	}
	if one, ok := read(text); ok {
		return one, true
	}
	// A hyphen may also begin an offset from UTC: each is tried as the middle.
	for at, c := range text {
		if c != '-' {
			continue
		}
		var i interval
		low, high := strings.TrimSpace(text[:at]), strings.TrimSpace(text[at+1:])
		from, fromOK := read(low)
		to, toOK := read(high)
		i.from, i.to = from.from, to.to
		if low == "" {
			i.from, fromOK = "", true
		}
		if high == "" {
			i.to, toOK = "", true
		}
		if fromOK && toOK && (low != "" || high != "") {
			return i, true
		}
	}
	return interval{}, false
}

// literal is the value of a key that the database may match by itself: the only
// one, without wild cards.
func literal(keys *dicom.Dataset, tag dicom.Tag) string {
	if list := literals(keys, tag); len(list) == 1 {
		return list[0]
	}
	return ""
}

// literals are the values of a key when none has wild cards; nil for none.
func literals(keys *dicom.Dataset, tag dicom.Tag) []string {
	list := slices.DeleteFunc(keys.Strings(tag), func(v string) bool { return v == "" })
	if len(list) == 0 || slices.ContainsFunc(list, matching.HasWildcard) {
		return nil
	}
	return list
}

// answer is what a query is answered with: the attributes that it asks with.
// Keys within a sequence choose those of its items, except code sequences, which
// come whole.
func answer(keys, ds *dicom.Dataset) *dicom.Dataset {
	out := new(dicom.Dataset).UTF8()
	for i := range keys.Elements {
		key := &keys.Elements[i]
		if key.Tag == dicom.TagSpecificCharacterSet || key.Tag == dicom.TagTimezoneOffsetFromUTC || key.Tag == dicom.TagTransactionUID || key.Tag.IsGroupLength() {
			continue
		}
		e, ok := ds.Get(key.Tag)
		switch {
		case !ok && key.VR == dicom.SQ:
			out.SetSequence(key.Tag)
		case !ok:
			out.SetBytes(key.Tag, key.VR, nil)
		case e.VR == dicom.SQ && len(key.Items) == 1 && len(key.Items[0].Elements) > 0 && !slices.Contains(codes, key.Tag):
			items := make([]*dicom.Dataset, len(e.Items))
			for i, item := range e.Items {
				items[i] = answer(key.Items[0], item)
			}
			out.SetSequence(key.Tag, items...)
		default:
			put(out, e)
		}
	}
	return out
}
