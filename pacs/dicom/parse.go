package dicom

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ParseOptions bound what ParseJSON, JSONReader and ParseXML take.
type ParseOptions struct {
	// MaxBytes is the longest text of one data set (default 64 MiB).
	MaxBytes int64
	// MaxDepth bounds the nesting of sequences (default 32).
	MaxDepth int
	// MaxElements bounds elements and items together (default 1,000,000).
	MaxElements int
}

func (o ParseOptions) withDefaults() ParseOptions {
	if o.MaxBytes <= 0 {
		o.MaxBytes = 64 << 20
	}
	if o.MaxDepth <= 0 {
		o.MaxDepth = 32
	}
	if o.MaxElements <= 0 {
		o.MaxElements = 1_000_000
	}
	return o
}

// Parsed is a data set read from one of the two text models.
type Parsed struct {
	// Dataset is little endian and UTF-8. Its elements whose value is somewhere
	// else have a Bulk whose Offset is a place in URIs and whose Length is -1.
	*Dataset
	// URIs are the BulkDataURIs as they were given.
	URIs []string
}

// BulkURI is for JSONOptions and XMLOptions: it gives back the addresses that
// were read.
func (p Parsed) BulkURI(_ string, r Range) string {
	if r.Offset < 0 || r.Offset >= int64(len(p.URIs)) {
		return ""
	}
	return p.URIs[r.Offset]
}

// parseError is what is wrong with a text.
type parseError struct {
	tag Tag
	msg string
}

func (e *parseError) Error() string {
	if e.tag == 0 {
		return "dicom: " + e.msg
	}
	return fmt.Sprintf("dicom: %s: %s", e.tag, e.msg)
}

func parseErrorf(t Tag, format string, args ...any) error {
	return &parseError{t, fmt.Sprintf(format, args...)}
}

var errTextTooLong = errors.New("dicom: the text of a data set is too long")

// builder makes data sets of what the two models say.
type builder struct {
	opt      ParseOptions
	uris     []string
	elements int
	foreign  bool // some text isn't ASCII
}

// attribute is what a text says of one attribute.
type parsedAttribute struct {
	tag     Tag
	vr      VR // 0 when not given
	values  []string
	items   []*Dataset
	uri     string
	inline  []byte
	hasURI  bool
	hasData bool
}

func (b *builder) count() error {
	if b.elements++; b.elements > b.opt.MaxElements {
		return parseErrorf(0, "there are more than %d attributes and items", b.opt.MaxElements)
	}
	return nil
}

func (b *builder) newDataset() *Dataset { return &Dataset{utf8: true} }

// add puts an attribute into ds. Attributes mostly come in order.
func (b *builder) add(ds *Dataset, a *parsedAttribute) error {
	if a.tag.IsGroupLength() {
		return nil
	}
	if a.vr == 0 || a.vr == UN && (len(a.values) > 0 || len(a.items) > 0) {
		a.vr = LookupVR(a.tag, false)
		if a.vr == UN && len(a.items) > 0 {
			a.vr = SQ
		}
	}
	e := Element{Tag: a.tag, VR: a.vr}
	switch {
	case a.vr == SQ:
		if len(a.values) > 0 || a.hasData || a.hasURI {
			return parseErrorf(a.tag, "a sequence has items, nothing else")
		}
		e.Items = a.items
	case len(a.items) > 0:
		return parseErrorf(a.tag, "items stand in an attribute of VR %s", a.vr)
	case a.hasURI:
		e.Bulk = &Range{Offset: int64(len(b.uris)), Length: -1}
		b.uris = append(b.uris, a.uri)
	case a.hasData:
		e.Value = a.inline
	default:
		var err error
		if e.Value, err = encodeValues(a.tag, a.vr, a.values); err != nil {
			return err
		}
		if a.tag == TagSpecificCharacterSet {
			// Whatever the text's author had: the values are UTF-8 now.
			e.Value = []byte(charsetUTF8[0])
		} else if !isASCII(e.Value) && !a.vr.is(vrNumeric) {
			b.foreign = true
		}
	}
	if n := len(ds.Elements); n == 0 || ds.Elements[n-1].Tag < e.Tag {
		ds.Elements = append(ds.Elements, e)
		return nil
	}
	if ds.Has(e.Tag) {
		return parseErrorf(e.Tag, "the attribute is there twice")
	}
	ds.put(e)
	return nil
}

// finish declares the character set where that is needed.
func (b *builder) finish(ds *Dataset) Parsed {
	if b.foreign {
		ds.put(Element{Tag: TagSpecificCharacterSet, VR: CS, Value: []byte(charsetUTF8[0])})
	}
	p := Parsed{ds, b.uris}
	b.uris, b.elements, b.foreign = nil, 0, false
	return p
}

// encodeValues makes the value field, without padding, of values as text. None,
// or only empty ones at the end, make it shorter or nil.
func encodeValues(t Tag, vr VR, values []string) ([]byte, error) {
	switch {
	case len(values) == 0:
		return nil, nil
	case vr.is(vrNumeric):
		return encodeNumbers(t, vr, values)
	case vr.is(vrOpaque):
		return nil, parseErrorf(t, "values of VR %s are given as InlineBinary or BulkDataURI", vr)
	case vr.is(vrSingle) && len(values) > 1:
		return nil, parseErrorf(t, "VR %s takes one value", vr)
	case !vr.Known():
		return nil, parseErrorf(t, "there is no VR %s", vr)
	}
	var out []byte
	for i, v := range values {
		if i > 0 {
			out = append(out, '\\')
		}
		switch vr {
		case DS:
			v = shortDS(v)
		case IS:
			v = wholeIS(v)
		}
		out = append(out, v...)
	}
	if !utf8.Valid(out) {
		out = []byte(strings.ToValidUTF8(string(out), "\uFFFD"))
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, nil
}

// shortDS brings a number to the 16 characters of DS; what is no number stays
// as it is.
func shortDS(v string) string {
	if len(v) <= 16 {
		return v
	}
	if f, ok := parseNumber(v); ok && !math.IsInf(f, 0) {
		return formatDS(f)
	}
	return v
}

// wholeIS writes a whole number such as 1.0 or 1e3 as IS has it.
func wholeIS(v string) string {
	if !strings.ContainsAny(v, ".eE") {
		return v
	}
	if f, ok := parseNumber(v); ok && f == math.Trunc(f) && math.Abs(f) <= math.MaxInt32 {
		return strconv.FormatInt(int64(f), 10)
	}
	return v
}

func encodeNumbers(t Tag, vr VR, values []string) ([]byte, error) {
	order := binary.LittleEndian
	out := make([]byte, 0, len(values)*max(vr.Unit(), 2))
	for _, v := range values {
		v = strings.TrimSpace(v)
		if vr == AT {
			n, err := strconv.ParseUint(strings.Trim(strings.ReplaceAll(v, ",", ""), "()"), 16, 32)
			if err != nil {
				return nil, parseErrorf(t, "%.20q is not a tag of eight hexadecimal digits", v)
			}
			out = order.AppendUint16(order.AppendUint16(out, uint16(n>>16)), uint16(n))
			continue
		}
		if vr == FL || vr == FD {
			bits := 64
			if vr == FL {
				bits = 32
			}
			f, err := strconv.ParseFloat(v, bits)
			if err != nil && !math.IsInf(f, 0) || strings.ContainsAny(v, "xX_") {
				return nil, parseErrorf(t, "%.20q is not a number", v)
			}
			if vr == FL {
				out = order.AppendUint32(out, math.Float32bits(float32(f)))
			} else {
				out = order.AppendUint64(out, math.Float64bits(f))
			}
			continue
		}
		signed := vr == SS || vr == SL || vr == SV
		n, ok := wholeNumber(v, vr.Unit()*8, signed)
		if !ok {
			return nil, parseErrorf(t, "%.20q is not a number that VR %s can hold", v, vr)
		}
		switch vr.Unit() {
		case 2:
			out = order.AppendUint16(out, uint16(n))
		case 4:
			out = order.AppendUint32(out, uint32(n))
		default:
			out = order.AppendUint64(out, n)
		}
	}
	return out, nil
}

// wholeNumber reads an integer of so many bits. JSON may write it as 1.0 or 1e3.
func wholeNumber(v string, bits int, signed bool) (uint64, bool) {
	if signed {
		if n, err := strconv.ParseInt(v, 10, bits); err == nil {
			return uint64(n), true
		}
	} else if n, err := strconv.ParseUint(v, 10, bits); err == nil {
		return n, true
	}
	if len(v) > maxNumber || !strings.ContainsAny(v, ".eE") {
		return 0, false
	}
	f, ok := parseNumber(v)
	if !ok || f != math.Trunc(f) || math.Abs(f) >= 1<<63 {
		return 0, false
	}
	n, _ := new(big.Float).SetFloat64(f).Int(nil)
	return wholeNumber(n.String(), bits, signed)
}

// decodeInline reads base64 as both models have it, with or without line breaks
// and padding.
func decodeInline(t Tag, s string) ([]byte, error) {
	if strings.ContainsAny(s, " \t\r\n") {
		s = strings.Map(func(r rune) rune {
			if r == ' ' || r == '\t' || r == '\r' || r == '\n' {
				return -1
			}
			return r
		}, s)
	}
	b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(s, "="))
	if err != nil {
		return nil, parseErrorf(t, "InlineBinary is not base64")
	}
	if len(b) == 0 {
		return nil, nil
	}
	return b, nil
}

// setValue puts a value to its place, counted from 1, in a list with gaps.
func (b *builder) setValue(t Tag, list []string, number int, v string) ([]string, error) {
	if err := b.gap(t, len(list), number); err != nil {
		return nil, err
	}
	if number > len(list) {
		list = slices.Grow(list, number-len(list))[:number]
	}
	list[number-1] = v
	return list, nil
}

// maxGap is how many empty values or items may stand between two.
const maxGap = 1000

// gap checks the number of a value or item and counts what it leaves empty.
func (b *builder) gap(t Tag, have, number int) error {
	if number < 1 || number > have+maxGap {
		return parseErrorf(t, "number %d is out of place", number)
	}
	b.elements += max(number-have-1, 0)
	return b.count()
}
