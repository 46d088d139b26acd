package dicom

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// XMLOptions say what AppendXML can't know. BulkURI is as in JSONOptions.
type XMLOptions struct {
	BulkURI func(path string, r Range) string
}

// AppendXML appends ds as an XML document in the Native DICOM Model (PS3.19
// A.1) to dst: attributes sorted by tag, the first of duplicates, without group
// lengths. The output is UTF-8, and Specific Character Set says so wherever it
// is present. Binary values are little endian.
//
// Characters that XML 1.0 doesn't know, such as escape and form feed, become
// U+FFFD.
func AppendXML(dst []byte, ds *Dataset, opt XMLOptions) []byte {
	w := xmlWriter{dst: dst, opt: opt}
	w.raw(`<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<NativeDicomModel xmlns="` + xmlNamespace + `" xml:space="preserve">` + "\n")
	w.dataset(ds)
	w.raw("</NativeDicomModel>\n")
	return w.dst
}

// xmlNamespace is that of PS3.19 A.1.6.
const xmlNamespace = "http://dicom.nema.org/PS3.19/models/NativeDICOM"

type xmlWriter struct {
	dst  []byte
	opt  XMLOptions
	path []byte
}

func (w *xmlWriter) raw(s string) { w.dst = append(w.dst, s...) }

func (w *xmlWriter) dataset(ds *Dataset) {
	elements := ds.Elements
	byTag := func(a, b Element) int { return int(int64(a.Tag) - int64(b.Tag)) }
	if !slices.IsSortedFunc(elements, byTag) {
		elements = slices.Clone(elements)
		slices.SortStableFunc(elements, byTag)
	}
	for i := range elements {
		e := &elements[i]
		if e.Tag.IsGroupLength() || i > 0 && e.Tag == elements[i-1].Tag {
			continue
		}
		tag, creator := ds.privateTag(e.Tag)
		w.raw(`<DicomAttribute tag="`)
		w.dst = tag.append(w.dst)
		w.raw(`" vr="`)
		w.dst = append(w.dst, byte(e.VR>>8), byte(e.VR), '"')
		if keyword := Keyword(e.Tag); keyword != "" {
			w.raw(` keyword="` + keyword + `"`)
		}
		if creator != "" {
			w.raw(` privateCreator="`)
			w.text(creator)
			w.raw(`"`)
		}
		w.raw(">\n")
		w.value(ds, e)
		w.raw("</DicomAttribute>\n")
	}
}

// privateTag gives the creator of a private element's block (PS3.5 7.8.1) and
// the tag without the block's number, gggg00ee, as PS3.19 table A.1.5-2 has it.
// A tag stays whole where its creator isn't known or has a block before this.
func (ds *Dataset) privateTag(t Tag) (Tag, string) {
	if !t.IsPrivate() || t.Element() < 0x1000 {
		return t, ""
	}
	group, block := t&0xFFFF0000, Tag(t.Element()>>8)
	creator := ds.String(group | block)
	if creator == "" {
		return t, ""
	}
	for i := range ds.Elements {
		if e := &ds.Elements[i]; e.Tag >= group|0x10 && e.Tag < group|block && ds.String(e.Tag) == creator {
			return t, ""
		}
	}
	return group | t&0xFF, creator
}

func (w *xmlWriter) value(ds *Dataset, e *Element) {
	switch {
	case e.Tag == TagSpecificCharacterSet:
		w.values("ISO_IR 192")
	case e.Bulk != nil:
		w.bulk(e)
	case e.VR == SQ:
		w.sequence(e)
	case len(e.Value) == 0:
	case e.VR.is(vrOpaque):
		v := e.Value
		if ds.BigEndian {
			v = swapped(v, e.VR.Unit())
		}
		w.raw("<InlineBinary>")
		w.dst = base64.StdEncoding.AppendEncode(w.dst, v)
		w.raw("</InlineBinary>\n")
	case e.VR.is(vrNumeric):
		w.numbers(ds, e)
	case e.VR.is(vrSingle):
		if s := trimTrailing(ds.decode(e)); s != "" {
			w.values(s)
		}
	case e.VR == PN:
		w.names(trimTrailing(ds.decode(e)))
	default:
		if s := trimTrailing(ds.decode(e)); strings.Trim(s, ` `) != "" {
			w.values(strings.Split(s, `\`)...)
		}
	}
}

// values writes Value elements, also those of empty values between others or at
// the end: their number is known then.
func (w *xmlWriter) values(list ...string) {
	for i, v := range list {
		if len(list) > 1 {
			v = trimSpace(v)
		}
		w.number("Value", i)
		w.text(v)
		w.raw("</Value>\n")
	}
}

// number opens an element with its place in the attribute, counted from 1.
func (w *xmlWriter) number(name string, i int) {
	w.raw("<" + name + ` number="`)
	w.dst = strconv.AppendInt(w.dst, int64(i+1), 10)
	w.raw(`">`)
}

func (w *xmlWriter) numbers(ds *Dataset, e *Element) {
	unit := e.VR.Unit()
	if e.VR == AT {
		unit = 4
	}
	order := ds.order()
	for i, b := 0, e.Value; len(b) >= unit; i, b = i+1, b[unit:] {
		w.number("Value", i)
		w.dst = appendNumber(w.dst, e.VR, b, order)
		w.raw("</Value>\n")
	}
}

func (w *xmlWriter) bulk(e *Element) {
	if w.opt.BulkURI == nil {
		return
	}
	n := len(w.path)
	w.path = e.Tag.append(w.path)
	if uri := w.opt.BulkURI(string(w.path), *e.Bulk); uri != "" {
		w.raw(`<BulkData uri="`)
		w.text(uri)
		w.raw(`"/>` + "\n")
	}
	w.path = w.path[:n]
}

func (w *xmlWriter) sequence(e *Element) {
	n := len(w.path)
	w.path = append(e.Tag.append(w.path), '/')
	for i, item := range e.Items {
		m := len(w.path)
		w.path = append(strconv.AppendInt(w.path, int64(i), 10), '/')
		w.number("Item", i)
		w.raw("\n")
		w.dataset(item)
		w.raw("</Item>\n")
		w.path = w.path[:m]
	}
	w.path = w.path[:n]
}

// The elements of a name, PS3.19 table A.1.5-2.
var (
	xmlNameGroups = [...]string{"Alphabetic", "Ideographic", "Phonetic"}
	xmlNameParts  = [...]string{"FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix"}
)

func (w *xmlWriter) names(text string) {
	if strings.Trim(text, " ^=") == "" {
		return
	}
	for i, name := range strings.Split(text, `\`) {
		w.number("PersonName", i)
		for g, group := range strings.SplitN(name, "=", len(xmlNameGroups)) {
			if strings.Trim(group, " ^") == "" {
				continue
			}
			w.raw("\n<" + xmlNameGroups[g] + ">")
			for p, part := range strings.SplitN(group, "^", len(xmlNameParts)) {
				if part = strings.Trim(part, " "); part == "" {
					continue
				}
				w.raw("<" + xmlNameParts[p] + ">")
				w.text(part)
				w.raw("</" + xmlNameParts[p] + ">")
			}
			w.raw("</" + xmlNameGroups[g] + ">")
		}
		w.raw("\n</PersonName>\n")
	}
}

// text writes character data, fit for attributes, too. A carriage return is
// escaped, since readers make a line feed of it.
func (w *xmlWriter) text(s string) {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '<':
			w.raw("&lt;")
		case r == '>':
			w.raw("&gt;")
		case r == '&':
			w.raw("&amp;")
		case r == '"':
			w.raw("&quot;")
		case r == '\r', r == '\n', r == '\t':
			w.raw("&#" + strconv.Itoa(int(r)) + ";")
		case r < ' ', r == utf8.RuneError && n <= 1, r == 0xFFFE, r == 0xFFFF:
			w.raw("\uFFFD")
		default:
			w.dst = append(w.dst, s[i:i+n]...)
		}
		i += n
	}
}
