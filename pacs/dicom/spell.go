package dicom

import (
	"slices"

	"golang.org/x/text/encoding/charmap"
)

// Spelling writes a data set's text in a character set that a device can show.
// It is for what is made here: answers to queries, worklists.

// singleByte are the character sets that text can be spelled in besides UTF-8, by
// the letters and digits of their defined terms: one byte a character, no
// escapes. Nil is ASCII alone.
var singleByte = map[string]*charmap.Charmap{
	"ISO_IR 6": nil, "ISO_IR 100": charmap.ISO8859_1, "ISO_IR 101": charmap.ISO8859_2, "ISO_IR 109": charmap.ISO8859_3,
	"ISO_IR 110": charmap.ISO8859_4, "ISO_IR 144": charmap.ISO8859_5, "ISO_IR 127": charmap.ISO8859_6, "ISO_IR 126": charmap.ISO8859_7,
	"ISO_IR 138": charmap.ISO8859_8, "ISO_IR 148": charmap.ISO8859_9, "ISO_IR 203": charmap.ISO8859_15,
}

// CanSpell says whether Spell can write in the character set of a defined term of
// PS3.3 C.12.1.1.2.
func CanSpell(term string) bool {
	_, ok := singleByte[term]
	return ok || term == charsetUTF8[0]
}

// Spell returns a copy of ds whose text is in the character set of a defined
// term, one that CanSpell knows, with the Specific Character Set that says so;
// for ISO_IR 6, the default repertoire, there is none. ds has its text in UTF-8,
// as data sets made by the setters do.
//
// A value with characters that the set lacks is given to respell, and what is
// still missing then becomes '?'. whole is false when that happened to any value.
func (ds *Dataset) Spell(term string, respell func(string) string) (out *Dataset, whole bool) {
	if term == charsetUTF8[0] {
		return ds.UTF8(), true
	}
	cm := singleByte[term]
	out, whole = ds.spell(cm, respell)
	if _, given := out.Get(TagSpecificCharacterSet); given || cm != nil {
		out.Delete(TagSpecificCharacterSet)
		if cm != nil {
			out.put(Element{Tag: TagSpecificCharacterSet, VR: CS, Value: []byte(term)})
		}
	}
	out.declare(term, cm != nil)
	return out, whole
}

// declare makes the accessors of a copy read its text as it is now.
func (ds *Dataset) declare(term string, given bool) {
	ds.utf8, ds.charset = false, nil
	if given {
		ds.charset = []string{term}
	}
	for i := range ds.Elements {
		for _, item := range ds.Elements[i].Items {
			item.declare(term, given)
		}
	}
}

func (ds *Dataset) spell(cm *charmap.Charmap, respell func(string) string) (*Dataset, bool) {
	out := &Dataset{Elements: slices.Clone(ds.Elements), BigEndian: ds.BigEndian}
	whole := true
	for i := range out.Elements {
		e := &out.Elements[i]
		switch {
		case e.VR == SQ:
			e.Items = make([]*Dataset, len(ds.Elements[i].Items))
			for j, item := range ds.Elements[i].Items {
				spelled, ok := item.spell(cm, respell)
				spelled.Delete(TagSpecificCharacterSet)
				e.Items[j], whole = spelled, whole && ok
			}
		case e.VR.is(vrString) && !isASCII(e.Value):
			value, ok := spellValue(string(e.Value), cm)
			if !ok {
				whole = false
				if respell != nil {
					value, _ = spellValue(respell(string(e.Value)), cm)
				}
			}
			e.Value = value
		}
	}
	return out, whole
}

func spellValue(s string, cm *charmap.Charmap) ([]byte, bool) {
	out, whole := make([]byte, 0, len(s)), true
	for _, r := range s {
		switch {
		case r < 0x80:
			out = append(out, byte(r))
			continue
		case cm != nil:
			if b, ok := cm.EncodeRune(r); ok {
				out = append(out, b)
				continue
			}
		}
		out, whole = append(out, '?'), false
	}
	return out, whole
}
