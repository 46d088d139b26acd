package dicom

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// put adds or replaces an element, keeping Elements sorted by tag.
func (ds *Dataset) put(e Element) *Dataset {
	i := sort.Search(len(ds.Elements), func(i int) bool { return ds.Elements[i].Tag >= e.Tag })
	if i < len(ds.Elements) && ds.Elements[i].Tag == e.Tag {
		ds.Elements[i] = e
	} else {
		ds.Elements = slices.Insert(ds.Elements, i, e)
	}
	return ds
}

// SetString sets an attribute to string values; numbers of IS and DS are given
// as strings, too. No value makes it empty. Backslashes in a value become
// slashes, except in LT, ST, UT and UR.
//
// The first text that isn't ASCII turns ds into UTF-8 as a whole (see UTF8) and
// sets its Specific Character Set (0008,0005), which needn't be set by hand.
func (ds *Dataset) SetString(tag Tag, vr VR, values ...string) *Dataset {
	var b strings.Builder
	for i, v := range values {
		if i > 0 {
			b.WriteByte('\\')
		}
		if !vr.is(vrSingle) {
			v = strings.ReplaceAll(v, `\`, "/")
		}
		b.WriteString(v)
	}
	s := strings.ToValidUTF8(b.String(), "\uFFFD")
	value := []byte(s)
	if len(value) == 0 {
		value = nil
	}
	if !isASCII(value) && tag != TagSpecificCharacterSet {
		if !ds.utf8 {
			*ds = *ds.UTF8()
		}
		ds.put(Element{Tag: TagSpecificCharacterSet, VR: CS, Value: []byte(charsetUTF8[0])})
	}
	return ds.put(Element{Tag: tag, VR: vr, Value: value})
}

// SetInts sets an attribute to integers: US, SS, UL, SL, UV, SV, AT (as
// 0xggggeeee) in binary, IS and DS in decimal. It panics for other VRs, which
// is a mistake of the program.
func (ds *Dataset) SetInts(tag Tag, vr VR, values ...int) *Dataset {
	var v []byte
	order := binary.AppendByteOrder(binary.LittleEndian)
	if ds.BigEndian {
		order = binary.BigEndian
	}
	for i, n := range values {
		switch vr {
		case US, SS:
			v = order.AppendUint16(v, uint16(n))
		case UL, SL:
			v = order.AppendUint32(v, uint32(n))
		case UV, SV:
			v = order.AppendUint64(v, uint64(n))
		case AT:
			v = order.AppendUint16(order.AppendUint16(v, uint16(n>>16)), uint16(n))
		case IS, DS:
			if i > 0 {
				v = append(v, '\\')
			}
			v = strconv.AppendInt(v, int64(n), 10)
		default:
			panic("dicom: SetInts of VR " + vr.String())
		}
	}
	return ds.put(Element{Tag: tag, VR: vr, Value: v})
}

// SetFloats sets an attribute to numbers: FL, FD in binary, DS in at most 16
// characters each (PS3.5 6.2). It panics for other VRs.
func (ds *Dataset) SetFloats(tag Tag, vr VR, values ...float64) *Dataset {
	var v []byte
	order := binary.AppendByteOrder(binary.LittleEndian)
	if ds.BigEndian {
		order = binary.BigEndian
	}
	for i, f := range values {
		switch vr {
		case FL:
			v = order.AppendUint32(v, math.Float32bits(float32(f)))
		case FD:
			v = order.AppendUint64(v, math.Float64bits(f))
		case DS:
			if i > 0 {
				v = append(v, '\\')
			}
			v = append(v, formatDS(f)...)
		default:
			panic("dicom: SetFloats of VR " + vr.String())
		}
	}
	return ds.put(Element{Tag: tag, VR: vr, Value: v})
}

// formatDS writes f with as many digits as fit into 16 characters.
func formatDS(f float64) string {
	s := strconv.FormatFloat(f, 'g', -1, 64)
	for digits := 16; len(s) > 16; digits-- {
		s = strconv.FormatFloat(f, 'g', digits, 64)
	}
	return s
}

// SetBytes sets an attribute to a value that is encoded already, without
// padding to even length. The slice is kept, not copied.
func (ds *Dataset) SetBytes(tag Tag, vr VR, value []byte) *Dataset {
	return ds.put(Element{Tag: tag, VR: vr, Value: value})
}

// SetSequence sets a sequence; no item makes it empty.
func (ds *Dataset) SetSequence(tag Tag, items ...*Dataset) *Dataset {
	return ds.put(Element{Tag: tag, VR: SQ, Items: items})
}

// Delete removes an attribute.
func (ds *Dataset) Delete(tag Tag) *Dataset {
	ds.Elements = slices.DeleteFunc(ds.Elements, func(e Element) bool { return e.Tag == tag })
	return ds
}

// UTF8 returns a copy of ds whose text is UTF-8 and whose binary values are
// little endian, fit for AppendDataset. Values left in the stream are shared.
func (ds *Dataset) UTF8() *Dataset {
	out := &Dataset{utf8: true, Elements: slices.Clone(ds.Elements)}
	needs := ds.Has(TagSpecificCharacterSet)
	for i := range out.Elements {
		e := &out.Elements[i]
		switch {
		case e.VR == SQ:
			e.Items = make([]*Dataset, len(e.Items))
			for j, item := range ds.Elements[i].Items {
				e.Items[j] = item.UTF8()
			}
		case e.VR.is(vrString) && len(e.Value) > 0:
			if !isASCII(e.Value) || hasEscape(e.Value) {
				e.Value = []byte(ds.decode(e))
				needs = needs || !isASCII(e.Value)
			}
		case ds.BigEndian && len(e.Value) > 0:
			e.Value = swapped(e.Value, e.VR.Unit())
		}
	}
	if needs {
		out.put(Element{Tag: TagSpecificCharacterSet, VR: CS, Value: []byte(charsetUTF8[0])})
	}
	return out
}

// AppendDataset appends ds, encoded in explicit or implicit VR little endian
// (transferSyntax is one of the two UIDs), to dst. Elements are written sorted
// by tag, values padded to even length, sequences and items with their length;
// group lengths are left out (AppendCommand writes the one that is mandatory).
// A data set with values left in the stream can't be encoded; that is an error.
func AppendDataset(dst []byte, ds *Dataset, transferSyntax string) ([]byte, error) {
	switch transferSyntax {
	case ExplicitVRLittleEndian:
		return appendDataset(dst, ds, true)
	case ImplicitVRLittleEndian:
		return appendDataset(dst, ds, false)
	}
	return dst, fmt.Errorf("dicom: data sets are written in implicit or explicit VR little endian, not in %s", transferSyntax)
}

// AppendCommand appends a DIMSE command set: implicit VR little endian with
// Command Group Length in front (PS3.7 6.3.1).
func AppendCommand(dst []byte, ds *Dataset) ([]byte, error) {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0) // (0000,0000), 4 bytes
	dst, err := appendDataset(dst, ds, false)
	if err != nil {
		return dst[:start], err
	}
	binary.LittleEndian.PutUint32(dst[start+8:], uint32(len(dst)-start-12))
	return dst, nil
}

func appendDataset(dst []byte, ds *Dataset, explicit bool) ([]byte, error) {
	elements := ds.Elements
	byTag := func(a, b Element) int { return int(int64(a.Tag) - int64(b.Tag)) }
	if !slices.IsSortedFunc(elements, byTag) {
		elements = slices.Clone(elements)
		slices.SortStableFunc(elements, byTag)
	}
	var err error
	for i := range elements {
		e := &elements[i]
		if e.Tag.IsGroupLength() {
			continue
		}
		if dst, err = appendElement(dst, ds, e, explicit); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

func appendElement(dst []byte, ds *Dataset, e *Element, explicit bool) ([]byte, error) {
	if e.Bulk != nil {
		return dst, fmt.Errorf("dicom: the value of %s was left in its stream and can't be encoded", e.Tag)
	}
	vr := e.VR
	if explicit && !vr.is(vrLong) && len(e.Value) > 0xFFFE {
		vr = UN // PS3.5 6.2.2 note 4: too long for a 16-bit length
	}
	dst, lengthAt := appendElementHeader(dst, e.Tag, vr, explicit)
	start := len(dst)
	if e.VR == SQ {
		for _, item := range e.Items {
			dst = append(dst, 0xFE, 0xFF, 0x00, 0xE0, 0, 0, 0, 0)
			itemStart := len(dst)
			var err error
			if dst, err = appendDataset(dst, item, explicit); err != nil {
				return dst, err
			}
			binary.LittleEndian.PutUint32(dst[itemStart-4:], uint32(len(dst)-itemStart))
		}
	} else {
		v := e.Value
		if ds.BigEndian {
			v = swapped(v, e.VR.Unit())
		}
		dst = append(dst, v...)
		if len(v)&1 != 0 {
			dst = append(dst, e.VR.padding())
		}
	}
	n := len(dst) - start
	if uint64(n) >= undefined {
		return dst, fmt.Errorf("dicom: the value of %s has %d bytes, more than a length can say", e.Tag, n)
	}
	if explicit && !vr.is(vrLong) {
		binary.LittleEndian.PutUint16(dst[lengthAt:], uint16(n))
	} else {
		binary.LittleEndian.PutUint32(dst[lengthAt:], uint32(n))
	}
	return dst, nil
}

// appendElementHeader appends tag, VR and room for the length, which begins at
// lengthAt.
func appendElementHeader(dst []byte, tag Tag, vr VR, explicit bool) (out []byte, lengthAt int) {
	dst = binary.LittleEndian.AppendUint16(dst, tag.Group())
	dst = binary.LittleEndian.AppendUint16(dst, tag.Element())
	switch {
	case !explicit:
		return append(dst, 0, 0, 0, 0), len(dst)
	case vr.is(vrLong):
		return append(dst, byte(vr>>8), byte(vr), 0, 0, 0, 0, 0, 0), len(dst) + 4
	}
	return append(dst, byte(vr>>8), byte(vr), 0, 0), len(dst) + 2
}

// AppendLongHeader appends tag, VR and length of an element in Explicit VR Little
// Endian whose value follows from elsewhere: one of the VRs with a length of 32
// bits, UndefinedLength among them. ok is false for another VR.
func AppendLongHeader(dst []byte, tag Tag, vr VR, length uint32) (out []byte, ok bool) {
	if !vr.is(vrLong) || vr == SQ {
		return dst, false
	}
	dst, at := appendElementHeader(dst, tag, vr, true)
	binary.LittleEndian.PutUint32(dst[at:], length)
	return dst, true
}

// UndefinedLength is the length of encapsulated pixel data, PS3.5 A.4.
const UndefinedLength = undefined

// FileMeta is the File Meta Information of a Part 10 file (PS3.10 table 7.1-1).
type FileMeta struct {
	SOPClassUID       string
	SOPInstanceUID    string
	TransferSyntaxUID string
	// ImplementationClassUID and ImplementationVersionName default to ours.
	ImplementationClassUID    string
	ImplementationVersionName string
	// SourceAETitle is who sent the instance; left out when "".
	SourceAETitle string
}

// AppendFileMeta appends preamble, prefix and group 2 to dst. What follows
// them in a file is the data set in m.TransferSyntaxUID.
func AppendFileMeta(dst []byte, m FileMeta) []byte {
	if m.ImplementationClassUID == "" {
		m.ImplementationClassUID, m.ImplementationVersionName = ImplementationClassUID, ImplementationVersionName
	}
	dst = append(dst, make([]byte, 128)...)
	dst = append(dst, "DICM"...)
	// (0002,0000) UL, 4 bytes: what follows it in the group
	dst = append(dst, 2, 0, 0, 0, 'U', 'L', 4, 0, 0, 0, 0, 0)
	start := len(dst)
	// (0002,0001) OB: version 00 01
	dst = append(dst, 2, 0, 1, 0, 'O', 'B', 0, 0, 2, 0, 0, 0, 0, 1)
	for _, e := range [...]struct {
		tag   Tag
		vr    VR
		value string
	}{
		{TagMediaStorageSOPClassUID, UI, m.SOPClassUID},
		{TagMediaStorageSOPInstanceUID, UI, m.SOPInstanceUID},
		{TagTransferSyntaxUID, UI, m.TransferSyntaxUID},
		{TagImplementationClassUID, UI, m.ImplementationClassUID},
		{TagImplementationVersionName, SH, m.ImplementationVersionName},
		{TagSourceApplicationEntityTitle, AE, m.SourceAETitle},
	} {
		if e.value == "" {
			continue
		}
		value := e.value[:min(len(e.value), 0xFFFE)]
		at := 0
		dst, at = appendElementHeader(dst, e.tag, e.vr, true)
		dst = append(dst, value...)
		if len(value)&1 != 0 {
			dst = append(dst, e.vr.padding())
		}
		binary.LittleEndian.PutUint16(dst[at:], uint16(len(dst)-at-2))
	}
	binary.LittleEndian.PutUint32(dst[start-4:], uint32(len(dst)-start))
	return dst
}
