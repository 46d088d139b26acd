package dicom

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// JSONOptions say what AppendJSON can't know.
type JSONOptions struct {
	// BulkURI gives the BulkDataURI for a value that was left in the stream.
	// path names the attribute as tags and item numbers, for example
	// "00091001/0/7FE00010". When BulkURI is nil or returns "", the
	// attribute appears without a value.
	BulkURI func(path string, r Range) string
}

// AppendJSON appends ds in the DICOM JSON model (PS3.18 Annex F) to dst: one
// object, attributes sorted by tag, the first of duplicates. Group lengths are
// left out. The output is valid UTF-8, and Specific Character Set says so
// wherever it is present. Binary values are little endian.
//
// Number strings (DS, IS) keep their digits as they are when JSON allows it;
// what is no number stays a string. FL and FD that JSON can't express are the
// strings "NaN", "Infinity" and "-Infinity".
func AppendJSON(dst []byte, ds *Dataset, opt JSONOptions) []byte {
	w := jsonWriter{dst: dst, opt: opt}
	w.dataset(ds)
	return w.dst
}

type jsonWriter struct {
	dst  []byte
	opt  JSONOptions
	path []byte
}

func (w *jsonWriter) raw(s string) { w.dst = append(w.dst, s...) }

func (w *jsonWriter) dataset(ds *Dataset) {
	elements := ds.Elements
	byTag := func(a, b Element) int { return int(int64(a.Tag) - int64(b.Tag)) }
	if !slices.IsSortedFunc(elements, byTag) {
		elements = slices.Clone(elements)
		slices.SortStableFunc(elements, byTag)
	}
	w.raw("{")
	first := true
	for i := range elements {
		e := &elements[i]
		if e.Tag.IsGroupLength() || i > 0 && e.Tag == elements[i-1].Tag {
			continue
		}
		if !first {
			w.raw(",")
		}
		first = false
		w.raw(`"`)
		w.dst = e.Tag.append(w.dst)
		w.raw(`":{"vr":"`)
		w.dst = append(w.dst, byte(e.VR>>8), byte(e.VR))
		w.raw(`"`)
		w.value(ds, e)
		w.raw("}")
	}
	w.raw("}")
}

func (w *jsonWriter) value(ds *Dataset, e *Element) {
	switch {
	case e.Tag == TagSpecificCharacterSet:
		w.raw(`,"Value":["ISO_IR 192"]`)
	case e.Bulk != nil:
		w.bulk(e)
	case e.VR == SQ:
		w.sequence(e)
	case len(e.Value) == 0:
	case e.VR.is(vrOpaque):
		w.inline(ds, e)
	case e.VR.is(vrNumeric):
		w.numbers(ds, e)
	case e.VR.is(vrSingle):
		if s := trimTrailing(ds.decode(e)); s != "" {
			w.raw(`,"Value":[`)
			w.dst = appendJSONString(w.dst, s)
			w.raw("]")
		}
	default:
		w.strings(ds, e)
	}
}

// bulk writes a BulkDataURI, F.2.6.
func (w *jsonWriter) bulk(e *Element) {
	if w.opt.BulkURI == nil {
		return
	}
	n := len(w.path)
	w.path = e.Tag.append(w.path)
	if uri := w.opt.BulkURI(string(w.path), *e.Bulk); uri != "" {
		w.raw(`,"BulkDataURI":`)
		w.dst = appendJSONString(w.dst, uri)
	}
	w.path = w.path[:n]
}

func (w *jsonWriter) sequence(e *Element) {
	if len(e.Items) == 0 {
		return
	}
	n := len(w.path)
	w.path = append(e.Tag.append(w.path), '/')
	w.raw(`,"Value":[`)
	for i, item := range e.Items {
		if i > 0 {
			w.raw(",")
		}
		m := len(w.path)
		w.path = append(strconv.AppendInt(w.path, int64(i), 10), '/')
		w.dataset(item)
		w.path = w.path[:m]
	}
	w.raw("]")
	w.path = w.path[:n]
}

// inline writes InlineBinary, F.2.7.
func (w *jsonWriter) inline(ds *Dataset, e *Element) {
	v := e.Value
	if ds.BigEndian {
		v = swapped(v, e.VR.Unit())
	}
	w.raw(`,"InlineBinary":"`)
	w.dst = base64.StdEncoding.AppendEncode(w.dst, v)
	w.raw(`"`)
}

// swapped returns a copy of v with the bytes of every unit reversed.
func swapped(v []byte, unit int) []byte {
	v = slices.Clone(v)
	for i := 0; unit > 1 && i+unit <= len(v); i += unit {
		slices.Reverse(v[i : i+unit])
	}
	return v
}

func (w *jsonWriter) numbers(ds *Dataset, e *Element) {
	unit := e.VR.Unit()
	if e.VR == AT {
		unit = 4
	}
	if len(e.Value) < unit {
		return
	}
	order := ds.order()
	w.raw(`,"Value":[`)
	for b := e.Value; len(b) >= unit; b = b[unit:] {
		if len(b) != len(e.Value) {
			w.raw(",")
		}
		w.number(e.VR, b, order)
	}
	w.raw("]")
}

func (w *jsonWriter) number(vr VR, b []byte, order binary.ByteOrder) {
	var f float64
	bits := 64
	switch vr {
	case FL:
		f, bits = float64(math.Float32frombits(order.Uint32(b))), 32
	case FD:
		f = math.Float64frombits(order.Uint64(b))
	case AT:
		w.raw(`"`)
		w.dst = appendNumber(w.dst, vr, b, order)
		w.raw(`"`)
		return
	case SV, UV:
		// JavaScript loses digits beyond 2^53; F.2.3 allows strings.
		v := order.Uint64(b)
		big := v > 1<<53
		if vr == SV {
			big = int64(v) > 1<<53 || int64(v) < -1<<53
		}
		if big {
			w.raw(`"`)
			w.dst = appendNumber(w.dst, vr, b, order)
			w.raw(`"`)
			return
		}
		w.dst = appendNumber(w.dst, vr, b, order)
		return
	default:
		w.dst = appendNumber(w.dst, vr, b, order)
		return
	}
	switch {
	case math.IsNaN(f):
		w.raw(`"NaN"`)
	case math.IsInf(f, 1):
		w.raw(`"Infinity"`)
	case math.IsInf(f, -1):
		w.raw(`"-Infinity"`)
	default:
		w.dst = strconv.AppendFloat(w.dst, f, 'g', -1, bits)
	}
}

// strings writes backslash-separated values. Empty ones are null (F.2.5).
func (w *jsonWriter) strings(ds *Dataset, e *Element) {
	text := trimTrailing(ds.decode(e))
	if strings.Trim(text, " ") == "" {
		return
	}
	if e.VR == PN && strings.Trim(text, " ^=") == "" {
		return
	}
	w.raw(`,"Value":[`)
	for more := true; more; {
		var v string
		v, text, more = strings.Cut(text, `\`)
		v = trimSpace(v)
		switch {
		case v == "", e.VR == PN && strings.Trim(v, " ^=") == "":
			w.raw("null")
		case e.VR == PN:
			w.personName(v)
		case e.VR == DS || e.VR == IS:
			w.numberString(v)
		default:
			w.dst = appendJSONString(w.dst, v)
		}
		if more {
			w.raw(",")
		}
	}
	w.raw("]")
}

// personName writes the three component groups of a PN, F.2.2.
func (w *jsonWriter) personName(v string) {
	w.raw("{")
	first := true
	for i := 0; v != "" && i < len(personNameGroups); i++ {
		var group string
		if i < len(personNameGroups)-1 {
			group, v, _ = strings.Cut(v, "=")
		} else {
			group, v = v, ""
		}
		// Delimiters behind the last component may be left out (PS3.5 6.2.1.1).
		if group = strings.TrimRight(group, " ^"); group == "" {
			continue
		}
		group = strings.TrimLeft(group, " ")
		if !first {
			w.raw(",")
		}
		first = false
		w.raw(personNameGroups[i])
		w.dst = appendJSONString(w.dst, group)
	}
	w.raw("}")
}

var personNameGroups = [...]string{`"Alphabetic":`, `"Ideographic":`, `"Phonetic":`}

// maxNumber is the longest text written as a number: DS has 16 bytes (PS3.5
// 6.2), and devices that exceed it don't exceed it by much.
const maxNumber = 64

// numberString writes IS or DS as a JSON number, digits unchanged.
func (w *jsonWriter) numberString(v string) {
	n := strings.TrimPrefix(v, "+")
	sign := ""
	if rest, ok := strings.CutPrefix(n, "-"); ok {
		sign, n = "-", rest
	}
	// JSON knows no leading zeros, ".5" and "5.".
	for len(n) > 1 && n[0] == '0' && n[1] >= '0' && n[1] <= '9' {
		n = n[1:]
	}
	if strings.HasPrefix(n, ".") {
		n = "0" + n
	}
	if mantissa, ok := strings.CutSuffix(n, "."); ok {
		n = mantissa
	}
	// Beyond a float64 there are readers that fail on the whole document.
	if _, err := strconv.ParseFloat(n, 64); err == nil && len(n) <= maxNumber && isJSONNumber(n) {
		w.raw(sign)
		w.raw(n)
		return
	}
	w.dst = appendJSONString(w.dst, v)
}

// isJSONNumber checks an unsigned number against RFC 8259 section 6.
func isJSONNumber(s string) bool {
	digits := func() bool {
		n := 0
		for n < len(s) && s[n] >= '0' && s[n] <= '9' {
			n++
		}
		s = s[n:]
		return n > 0
	}
	if strings.HasPrefix(s, "0") {
		s = s[1:]
	} else if !digits() {
		return false
	}
	if rest, ok := strings.CutPrefix(s, "."); ok {
		if s = rest; !digits() {
			return false
		}
	}
	if s != "" && (s[0] == 'e' || s[0] == 'E') {
		s = s[1:]
		if s != "" && (s[0] == '+' || s[0] == '-') {
			s = s[1:]
		}
		if !digits() {
			return false
		}
	}
	return s == ""
}

// appendJSONString appends s as a JSON string. It escapes what JSON demands,
// and U+2028 and U+2029, which break JavaScript that embeds it.
func appendJSONString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			switch {
			case r == utf8.RuneError && n == 1:
				dst = append(append(dst, s[start:i]...), `\ufffd`...)
			case r == '\u2028', r == '\u2029':
				dst = append(append(dst, s[start:i]...), `\u202`...)
				dst = append(dst, hexDigits[r&0xF])
			default:
				i += n
				continue
			}
			i += n
			start = i
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xF])
		}
		i++
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}
