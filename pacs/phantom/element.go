package phantom

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/encoding/charmap"
)

// The phantoms are written by code of their own, not by pacs/dicom: they are
// what a foreign device would send, in whatever character set it has, and so a
// fair test of the archive's reader.

// Transfer syntaxes and SOP classes (PS3.6 table A-1).
const (
	implicitVRLittleEndian = "1.2.840.10008.1.2"
	explicitVRLittleEndian = "1.2.840.10008.1.2.1"

	crImageStorage = "1.2.840.10008.5.1.4.1.1.1"
	dxImageStorage = "1.2.840.10008.5.1.4.1.1.1.1.1" // for presentation
	ctImageStorage = "1.2.840.10008.5.1.4.1.1.2"
	mrImageStorage = "1.2.840.10008.5.1.4.1.1.4"

	implementationUID     = "2.25.302340114385127914826114358172620412081"
	implementationVersion = "TASVIR_PHANTOM_1"
)

// element is an encoded data element without its header.
type element struct {
	tag   uint32
	vr    string
	value []byte
}

// dataset collects elements in any order.
type dataset struct {
	elements []element
	encode   func(string) ([]byte, error) // text to the declared character set
	implicit bool
	err      error
}

// text sets string values; an empty list makes an element of zero length.
func (d *dataset) text(tag uint32, vr string, values ...string) {
	var b []byte
	for i, v := range values {
		if i > 0 {
			b = append(b, '\\')
		}
		switch vr {
		case "PN", "LO", "SH", "LT", "ST", "UT", "UC":
			e, err := d.encode(v)
			if err != nil && d.err == nil {
				d.err = fmt.Errorf("phantom: (%04X,%04X): %w", tag>>16, tag&0xffff, err)
			}
			b = append(b, e...)
		default:
			b = append(b, v...)
		}
	}
	if len(b)%2 == 1 {
		if vr == "UI" {
			b = append(b, 0)
		} else {
			b = append(b, ' ')
		}
	}
	d.elements = append(d.elements, element{tag, vr, b})
}

// numbers sets a DS. Values keep at most six decimals, so each fits 16 bytes.
func (d *dataset) numbers(tag uint32, values ...float64) {
	list := make([]string, len(values))
	for i, v := range values {
		list[i] = decimal(v)
	}
	d.text(tag, "DS", list...)
}

func decimal(v float64) string {
	s := strconv.FormatFloat(v, 'f', 6, 64)
	s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	if s == "-0" || s == "" {
		s = "0"
	}
	return s
}

// integer sets an IS.
func (d *dataset) integer(tag uint32, v int) { d.text(tag, "IS", strconv.Itoa(v)) }

// words sets a US.
func (d *dataset) words(tag uint32, values ...int) {
	var b []byte
	for _, v := range values {
		b = binary.LittleEndian.AppendUint16(b, uint16(v))
	}
	d.elements = append(d.elements, element{tag, "US", b})
}

// signedWord sets an SS.
func (d *dataset) signedWord(tag uint32, v int) {
	d.elements = append(d.elements, element{tag, "SS", binary.LittleEndian.AppendUint16(nil, uint16(int16(v)))})
}

// sequence sets a sequence of defined length.
func (d *dataset) sequence(tag uint32, items ...func(*dataset)) {
	var b []byte
	for _, fill := range items {
		item := &dataset{encode: d.encode, implicit: d.implicit}
		fill(item)
		body := item.bytes(0)
		if item.err != nil && d.err == nil {
			d.err = item.err
		}
		b = append(b, 0xfe, 0xff, 0x00, 0xe0)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
		b = append(b, body...)
	}
	d.elements = append(d.elements, element{tag, "SQ", b})
}

// with is a copy that elements can be added to.
func (d *dataset) with() *dataset {
	c := *d
	c.elements = slices.Clone(d.elements)
	return &c
}

// bytes encodes the data set in tag order, leaving room for extra bytes.
func (d *dataset) bytes(extra int) []byte {
	slices.SortStableFunc(d.elements, func(a, b element) int { return int(int64(a.tag) - int64(b.tag)) })
	n := extra
	for i := range d.elements {
		n += 12 + len(d.elements[i].value)
	}
	b := make([]byte, 0, n)
	for i := range d.elements {
		e := &d.elements[i]
		b = d.header(b, e.tag, e.vr, len(e.value))
		b = append(b, e.value...)
	}
	return b
}

// header appends tag, VR and length (PS3.5 section 7.1).
func (d *dataset) header(b []byte, tag uint32, vr string, length int) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(tag>>16))
	b = binary.LittleEndian.AppendUint16(b, uint16(tag))
	if d.implicit {
		return binary.LittleEndian.AppendUint32(b, uint32(length))
	}
	b = append(b, vr...)
	switch vr {
	case "OB", "OW", "SQ", "UC", "UT", "UN":
		b = append(b, 0, 0)
		return binary.LittleEndian.AppendUint32(b, uint32(length))
	}
	return binary.LittleEndian.AppendUint16(b, uint16(length))
}

// encoder turns text into the bytes of a character set.
func encoder(set string) (func(string) ([]byte, error), error) {
	table := func(m *charmap.Charmap) func(string) ([]byte, error) {
		return func(s string) ([]byte, error) {
			b, err := m.NewEncoder().Bytes([]byte(s))
			if err != nil {
				return nil, fmt.Errorf("%q has characters outside %s", s, set)
			}
			return b, nil
		}
	}
	switch set {
	case "", "ISO_IR 6":
		return func(s string) ([]byte, error) {
			for _, r := range s {
				if r > 0x7e {
					return nil, fmt.Errorf("%q isn't ASCII; give the patient a CharacterSet", s)
				}
			}
			return []byte(s), nil
		}, nil
	case "ISO_IR 192":
		return func(s string) ([]byte, error) { return []byte(s), nil }, nil
	case "ISO_IR 100":
		return table(charmap.ISO8859_1), nil
	case "ISO_IR 144":
		return table(charmap.ISO8859_5), nil
	case "windows-1251":
		return table(charmap.Windows1251), nil
	}
	return nil, fmt.Errorf("phantom: character set %q can't be written; use ISO_IR 100, 144 or 192", set)
}
