package dicom

import (
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Range is a piece of a stream, in bytes from its start.
type Range struct {
	Offset, Length int64
}

// Element is one data element. Exactly one of Value, Items and Bulk says what
// it holds; all three are nil for an empty one.
type Element struct {
	Tag Tag
	VR  VR
	// Value is the value field as it is in the stream: padding, byte order
	// and character set untouched.
	Value []byte
	// Items are the items of a sequence, in order.
	Items []*Dataset
	// Bulk says where in the stream the value lies when it was left there.
	Bulk *Range
}

// Dataset is a data set or an item of a sequence: elements in stream order.
// The zero Dataset is empty and ready to be filled by the setters, which keep
// it sorted by tag. A Dataset may be read by many goroutines at once.
type Dataset struct {
	Elements []Element
	// BigEndian says that binary values are in big endian byte order.
	BigEndian bool

	charset  []string // (0008,0005) of this data set or of the nearest one around it
	fallback string
	utf8     bool // text is UTF-8: made by UTF8 or by the setters
}

// Clone returns a copy to which elements can be added, or taken from it, without
// ds being changed. Items and values are shared.
func (ds *Dataset) Clone() *Dataset {
	c := *ds
	c.Elements = slices.Clone(ds.Elements)
	return &c
}

// Get finds the first element with this tag.
func (ds *Dataset) Get(tag Tag) (*Element, bool) {
	if ds == nil {
		return nil, false
	}
	// Data sets are sorted by tag as the standard wants, or small, or both;
	// a binary search that checks its answer would save little here.
	for i := range ds.Elements {
		if ds.Elements[i].Tag == tag {
			return &ds.Elements[i], true
		}
	}
	return nil, false
}

// Has tells whether the attribute is present, with or without a value.
func (ds *Dataset) Has(tag Tag) bool {
	_, ok := ds.Get(tag)
	return ok
}

// Items returns the items of a sequence, nil when it is absent or empty.
func (ds *Dataset) Items(tag Tag) []*Dataset {
	if e, ok := ds.Get(tag); ok {
		return e.Items
	}
	return nil
}

// Item returns the first item of a sequence, nil when there is none. All
// accessors accept a nil Dataset, so lookups can be chained.
func (ds *Dataset) Item(tag Tag) *Dataset {
	if items := ds.Items(tag); len(items) > 0 {
		return items[0]
	}
	return nil
}

// CharacterSet returns the values of Specific Character Set that hold for this
// data set; nil means the default repertoire. It must not be changed.
func (ds *Dataset) CharacterSet() []string {
	if ds == nil {
		return nil
	}
	if ds.utf8 {
		return charsetUTF8
	}
	return ds.charset
}

// SetFallbackCharset names the character set that this data set's text, and
// that of its items, may be in when the declared one can't be true. See
// DecodeText.
func (ds *Dataset) SetFallbackCharset(name string) {
	if ds == nil {
		return
	}
	ds.fallback = name
	for i := range ds.Elements {
		for _, item := range ds.Elements[i].Items {
			item.SetFallbackCharset(name)
		}
	}
}

// String returns the first value as text: decoded to UTF-8, without padding.
// Numbers are formatted in decimal, tags as eight hexadecimal digits. It is ""
// when the attribute is absent, empty, a sequence, or left in the stream.
func (ds *Dataset) String(tag Tag) string {
	e, ok := ds.Get(tag)
	if !ok || len(e.Value) == 0 {
		return ""
	}
	if v := ds.Values(e); len(v) > 0 {
		return v[0]
	}
	return ""
}

// Strings returns all values as String does the first. Empty values between
// backslashes are kept, so positions stay meaningful.
func (ds *Dataset) Strings(tag Tag) []string {
	e, ok := ds.Get(tag)
	if !ok {
		return nil
	}
	return ds.Values(e)
}

// Text returns the whole value as one text with its line breaks, leading
// spaces and backslashes, as LT, ST and UT want it.
func (ds *Dataset) Text(tag Tag) string {
	e, ok := ds.Get(tag)
	if !ok || len(e.Value) == 0 {
		return ""
	}
	return trimTrailing(ds.decode(e))
}

// decode returns the value of a string element as UTF-8, undivided.
func (ds *Dataset) decode(e *Element) string {
	if isASCII(e.Value) && !hasEscape(e.Value) {
		return dropNUL(string(e.Value))
	}
	if !e.VR.is(vrText) && e.VR != UN {
		// AE, CS, DA ... may only use the default repertoire; what devices
		// put there nevertheless is in their usual character set.
		if len(ds.CharacterSet()) > 1 {
			return DecodeText(e.Value, ds.CharacterSet()[:1], ds.fallback)
		}
	}
	return decodeText(e.Value, ds.CharacterSet(), ds.fallback, e.VR == PN)
}

// Values returns the values of an element of ds as strings; see Strings.
func (ds *Dataset) Values(e *Element) []string {
	if len(e.Value) == 0 || e.VR == SQ {
		return nil
	}
	if e.VR.is(vrNumeric) {
		return ds.numberStrings(e)
	}
	if e.VR.is(vrOpaque) && e.VR != UN {
		return nil
	}
	s := ds.decode(e)
	if e.VR.is(vrSingle) {
		return []string{trimTrailing(s)}
	}
	if strings.IndexByte(s, '\\') < 0 {
		if s = trimSpace(s); s == "" {
			return nil
		}
		return []string{s}
	}
	values := strings.Split(s, `\`)
	for i := range values {
		values[i] = trimSpace(values[i])
	}
	return values
}

func (ds *Dataset) order() binary.ByteOrder {
	if ds.BigEndian {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

func (ds *Dataset) numberStrings(e *Element) []string {
	unit := e.VR.Unit()
	if e.VR == AT {
		unit = 4
	}
	values := make([]string, 0, len(e.Value)/unit)
	for b := e.Value; len(b) >= unit; b = b[unit:] {
		values = append(values, string(appendNumber(nil, e.VR, b, ds.order())))
	}
	return values
}

// appendNumber formats the first number of b, which has at least one.
func appendNumber(dst []byte, vr VR, b []byte, order binary.ByteOrder) []byte {
	switch vr {
	case US:
		return strconv.AppendUint(dst, uint64(order.Uint16(b)), 10)
	case SS:
		return strconv.AppendInt(dst, int64(int16(order.Uint16(b))), 10)
	case UL:
		return strconv.AppendUint(dst, uint64(order.Uint32(b)), 10)
	case SL:
		return strconv.AppendInt(dst, int64(int32(order.Uint32(b))), 10)
	case UV:
		return strconv.AppendUint(dst, order.Uint64(b), 10)
	case SV:
		return strconv.AppendInt(dst, int64(order.Uint64(b)), 10)
	case FL:
		return strconv.AppendFloat(dst, float64(math.Float32frombits(order.Uint32(b))), 'g', -1, 32)
	case FD:
		return strconv.AppendFloat(dst, math.Float64frombits(order.Uint64(b)), 'g', -1, 64)
	case AT:
		return NewTag(order.Uint16(b), order.Uint16(b[2:])).append(dst)
	}
	return dst
}

// Int returns the first value as an integer, whether it is binary or a number
// string (IS, or DS without a fraction). ok is false when there is no such value.
func (ds *Dataset) Int(tag Tag) (n int, ok bool) {
	e, found := ds.Get(tag)
	if !found || len(e.Value) == 0 {
		return 0, false
	}
	order := ds.order()
	if e.VR.is(vrNumeric) && len(e.Value) < e.VR.Unit() {
		return 0, false
	}
	switch e.VR {
	case US:
		return int(order.Uint16(e.Value)), true
	case SS:
		return int(int16(order.Uint16(e.Value))), true
	case UL:
		return int(order.Uint32(e.Value)), true
	case SL:
		return int(int32(order.Uint32(e.Value))), true
	case UV:
		v := order.Uint64(e.Value)
		return int(v), v <= math.MaxInt64
	case SV:
		return int(order.Uint64(e.Value)), true
	}
	f, ok := parseNumber(ds.String(tag))
	if !ok || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int(f), true
}

// Float returns the first value as a number.
func (ds *Dataset) Float(tag Tag) (float64, bool) {
	return parseNumber(ds.String(tag))
}

// Floats returns all values as numbers, nil when one of them is none.
func (ds *Dataset) Floats(tag Tag) []float64 {
	values := ds.Strings(tag)
	out := make([]float64, len(values))
	for i, v := range values {
		f, ok := parseNumber(v)
		if !ok {
			return nil
		}
		out[i] = f
	}
	return out
}

// parseNumber reads IS and DS: decimal with an optional exponent (PS3.5 table
// 6.2-1), not the hexadecimal, underscored and spelled-out forms of Go.
func parseNumber(s string) (float64, bool) {
	if s == "" {
		return 0, false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= '0' && c <= '9', c == '+', c == '-', c == '.', c == 'e', c == 'E':
		default:
			return 0, false
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}

// trimSpace removes padding on both sides of a value that isn't free text.
func trimSpace(s string) string { return strings.Trim(s, " \x00") }

// trimTrailing removes padding behind free text.
func trimTrailing(s string) string { return strings.TrimRight(s, " \x00") }
