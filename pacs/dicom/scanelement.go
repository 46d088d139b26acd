package dicom

import (
	"encoding/binary"
	"io"
	"slices"
)

// undefined is the length that says "up to the delimiter" (PS3.5 7.1.1).
const undefined = 0xFFFFFFFF

// count1 counts one more thing that costs memory.
func (s *scanner) count1() error {
	if s.count++; s.count > s.opt.MaxElements {
		return s.fail(TooLarge, "more than %d elements, items and fragments", s.opt.MaxElements)
	}
	return nil
}

// readDataset reads elements into ds until position end, or, when end is -1,
// until the item delimiter (depth > 0) or the end of the stream (depth 0).
func (s *scanner) readDataset(ds *Dataset, end int64, depth int) error {
	base := len(s.stack)
	err := s.readElements(ds, end, depth)
	ds.Elements = s.popElements(base)
	return err
}

func (s *scanner) readElements(ds *Dataset, end int64, depth int) error {
	for {
		if end >= 0 {
			if s.src.offset == end {
				return nil
			}
			if s.src.offset > end {
				return s.fail(Malformed, "the element ends behind the item around it")
			}
		} else if depth == 0 {
			if done, err := s.atDatasetEnd(); done || err != nil {
				return err
			}
			if s.trace != nil && s.trace.stopsAt(&s.src) {
				return nil
			}
		}
		done, err := s.readElement(ds, end, depth)
		if done || err != nil {
			return err
		}
	}
}

// atDatasetEnd tells whether the data set is complete: the stream is at its
// end, or only zeros follow, which some writers pad files with.
func (s *scanner) atDatasetEnd() (bool, error) {
	b := s.src.peek(8)
	if len(b) == 8 && b[0]|b[1]|b[2]|b[3] != 0 {
		return false, nil
	}
	s.tag = 0
	if s.src.err != nil && s.src.err != io.EOF && len(b) < 8 {
		return false, s.src.err
	}
	for _, c := range b {
		if c != 0 {
			if len(b) < 8 {
				return false, io.ErrUnexpectedEOF
			}
			return false, nil // command group length: (0000,0000) UL 4
		}
	}
	for {
		window := s.src.buf[s.src.pos:s.src.end]
		for _, c := range window {
			if c != 0 {
				return false, s.fail(Malformed, "bytes behind the padding at the end of the data set")
			}
		}
		s.src.advance(len(window))
		if s.src.atEnd() {
			if s.src.err != io.EOF {
				return false, s.src.err
			}
			return true, nil
		}
	}
}

// readElement reads one element and pushes it on the stack. done is true when
// it met the delimiter that ends ds instead.
func (s *scanner) readElement(ds *Dataset, end int64, depth int) (done bool, err error) {
	start := s.src.offset
	b := s.src.peek(8)
	if len(b) < 8 {
		if len(b) >= 4 {
			s.tag = NewTag(s.order.Uint16(b), s.order.Uint16(b[2:]))
		}
		return false, s.src.short()
	}
	s.tag = NewTag(s.order.Uint16(b), s.order.Uint16(b[2:]))
	if depth == 0 && s.tag.Group() == 0x7FE0 && s.h.PixelGroup == 0 {
		s.h.PixelGroup = s.src.offset
	}
	if s.tag.Group() == 0xFFFE {
		return s.readDelimiter(b, end, depth)
	}
	vr, length, err := s.readHeader(b)
	if err != nil {
		return false, err
	}
	if err := s.count1(); err != nil {
		return false, err
	}
	if end >= 0 && length != undefined && int64(length) > end-s.src.offset {
		return false, s.fail(Malformed, "a value of %d bytes where the item around it has %d left", length, end-s.src.offset)
	}
	e := Element{Tag: s.tag, VR: vr}
	if s.trace != nil {
		s.trace.begin(s, length)
	}
	value, explicit, order := s.src.offset, s.explicit, s.order
	switch {
	case e.Tag.IsPixelData():
		err = s.readPixelData(&e, length, depth)
	case length == undefined:
		err = s.readUndefined(&e, ds, depth)
	case vr == SQ && (length == 0 || s.atItem()):
		err = s.readSequence(&e, ds, s.src.offset+int64(length), depth)
	default:
		if vr == SQ { // not a sequence, whatever it says
			e.VR = UN
		}
		err = s.readValue(&e, int64(length))
	}
	if len(s.stack) == cap(s.stack) { // append would grow big stacks by a quarter only
		s.stack = slices.Grow(s.stack, max(64, len(s.stack)))
	}
	s.stack = append(s.stack, e)
	if err != nil {
		return false, err
	}
	if !s.h.recognised {
		s.h.recognised = s.standard(e.Tag, vr)
	}
	switch e.Tag {
	case TagSpecificCharacterSet:
		ds.charset = parseCharsetValue(e.Value)
	case TagPixelRepresentation:
		s.signed = len(e.Value) >= 2 && s.order.Uint16(e.Value) == 1
	}
	if s.trace != nil {
		s.trace.end(ds, &e, element{
			start: start, value: value, end: s.src.offset, raw: vr, length: length, undefined: length == undefined, explicit: explicit, order: order,
		}, depth)
	}
	return false, nil
}

// standard tells whether an element is one that the standard knows, in the VR
// that the standard gives it.
func (s *scanner) standard(tag Tag, vr VR) bool {
	if tag.IsPrivate() || tag.IsGroupLength() || tag.Group() == 0 {
		return false
	}
	entry, known := lookup(tag, s.signed)
	return known && (entry.vr == vr || vr == UN)
}

// readDelimiter handles item tags between elements.
func (s *scanner) readDelimiter(b []byte, end int64, depth int) (done bool, err error) {
	switch {
	case s.tag == TagItemDelimitationItem && depth > 0 && end < 0:
		s.src.advance(8)
		return true, nil
	case s.tag == TagSequenceDelimitationItem && depth > 0 && end < 0:
		return true, nil // the item's own delimiter was forgotten; the sequence reads this one
	case s.tag != TagItem && s.order.Uint32(b[4:]) == 0:
		s.src.advance(8) // a delimiter after something of defined length: superfluous, harmless
		return false, nil
	}
	return false, s.fail(Malformed, "an item outside of a sequence")
}

// readHeader reads VR and length of the element whose tag is at the start of b
// (PS3.5 7.1).
func (s *scanner) readHeader(b []byte) (vr VR, length uint32, err error) {
	if !s.explicit {
		s.src.advance(8)
		return s.implicitVR(), s.order.Uint32(b[4:]), nil
	}
	vr = VR(b[4])<<8 | VR(b[5])
	class := vr.class()
	if class&vrKnown == 0 {
		return s.readOddHeader(vr, b)
	}
	if class&vrLong == 0 {
		length = uint32(s.order.Uint16(b[6:]))
		s.src.advance(8)
		return vr, length, nil
	}
	b = s.src.peek(12)
	if len(b) < 12 {
		return vr, 0, s.src.short()
	}
	length = s.order.Uint32(b[8:])
	s.src.advance(12)
	return vr, length, nil
}

// readOddHeader reads an explicit header whose VR the standard doesn't know.
func (s *scanner) readOddHeader(vr VR, b []byte) (VR, uint32, error) {
	if vr.index() >= 0 {
		// Two capital letters: a VR of the future. All new ones have a
		// 32-bit length (PS3.5 6.2, note 5).
		b = s.src.peek(12)
		if len(b) < 12 {
			return UN, 0, s.src.short()
		}
		length := s.order.Uint32(b[8:])
		s.src.advance(12)
		return UN, length, nil
	}
	// Either the element is implicit, alone among explicit ones, or the VR
	// was filled with rubbish ("??", blanks, zeros, small letters). What
	// follows the value tells; failing that, a value has under 64 KiB.
	short, long := uint32(s.order.Uint16(b[6:])), s.order.Uint32(b[4:])
	implicit := long>>16 == 0 || long == undefined
	if a, b := s.tagFollows(short), s.tagFollows(long); a != b {
		implicit = b
	}
	s.src.advance(8)
	if implicit {
		return s.implicitVR(), long, nil
	}
	return s.rubbishVR(), short, nil
}

// tagFollows tells whether a value of n bytes behind the header that comes
// next is followed by a greater tag of a group nearby, a delimiter, or nothing.
func (s *scanner) tagFollows(n uint32) bool {
	const ahead = 4 << 10 // looking further would make a hostile stream slow
	if n > ahead {
		return false
	}
	b := s.src.peek(8 + int(n) + 4)
	if len(b) == 8+int(n) {
		return true
	}
	if len(b) < 8+int(n)+4 {
		return false
	}
	b = b[8+n:]
	next := NewTag(s.order.Uint16(b), s.order.Uint16(b[2:]))
	return next > s.tag && next.Group()-s.tag.Group() <= 0x100 || next.Group() == 0xFFFE
}

func (s *scanner) implicitVR() VR { return LookupVR(s.tag, s.signed) }

// rubbishVR is the dictionary's VR for an element that hides its own.
func (s *scanner) rubbishVR() VR {
	if vr := s.implicitVR(); vr != SQ {
		return vr
	}
	return UN
}

// atItem tells whether an item begins here.
func (s *scanner) atItem() bool {
	b := s.src.peek(4)
	if len(b) < 4 {
		return true // let the sequence reader find the truncation
	}
	t := NewTag(s.order.Uint16(b), s.order.Uint16(b[2:]))
	return t == TagItem || t == TagSequenceDelimitationItem
}

// readUndefined reads a value that ends with a delimiter.
func (s *scanner) readUndefined(e *Element, ds *Dataset, depth int) error {
	switch e.VR {
	case SQ:
		return s.readSequence(e, ds, -1, depth)
	case OB, OW:
		// Not pixel data, yet in fragments: kept in place, as a whole.
		offset := s.src.offset
		if err := s.readFragments(nil); err != nil {
			return err
		}
		e.Bulk = &Range{offset, s.src.offset - offset}
		return nil
	}
	// UN of undefined length is a sequence in implicit little endian,
	// whatever surrounds it (PS3.5 6.2.2 note 2). Anything else that begins
	// with an item can only be meant as a sequence, too.
	explicit, order := s.explicit, s.order
	if e.VR == UN {
		s.explicit, s.order = false, binary.LittleEndian
	}
	if !s.atItem() {
		return s.fail(Malformed, "undefined length, but no item follows")
	}
	e.VR = SQ
	err := s.readSequence(e, ds, -1, depth)
	s.explicit, s.order = explicit, order
	return err
}

// readSequence reads the items of a sequence up to position end, or its
// delimiter when end is -1 (PS3.5 7.5).
func (s *scanner) readSequence(e *Element, parent *Dataset, end int64, depth int) error {
	if depth++; depth > s.opt.MaxDepth {
		return s.fail(TooDeep, "more than %d sequences inside each other", s.opt.MaxDepth)
	}
	base := len(s.items)
	err := s.readItems(parent, end, depth)
	if n := len(s.items) - base; n > 0 {
		e.Items = make([]*Dataset, n)
		copy(e.Items, s.items[base:])
	}
	clear(s.items[base:])
	s.items = s.items[:base]
	return err
}

func (s *scanner) readItems(parent *Dataset, end int64, depth int) error {
	sequence := s.tag
	for {
		s.tag = sequence
		if end >= 0 {
			// The last item may end behind its sequence: file sets are
			// edited without the lengths being kept up.
			if s.src.offset >= end {
				return nil
			}
		}
		b := s.src.peek(8)
		if len(b) < 8 {
			return s.src.short()
		}
		tag, length := NewTag(s.order.Uint16(b), s.order.Uint16(b[2:])), s.order.Uint32(b[4:])
		switch {
		case tag == TagSequenceDelimitationItem && end < 0:
			s.src.advance(8)
			return nil
		case tag == TagItem:
			s.src.advance(8)
		case (tag == TagItemDelimitationItem || tag == TagSequenceDelimitationItem) && length == 0:
			s.src.advance(8) // superfluous
			continue
		default:
			return s.fail(Malformed, "(%04X,%04X) where an item should begin", tag.Group(), tag.Element())
		}
		if err := s.count1(); err != nil {
			return err
		}
		itemEnd := int64(-1)
		if length != undefined {
			itemEnd = s.src.offset + int64(length)
		}
		if s.trace != nil {
			s.trace.begin(s, length)
		}
		item := s.newDataset()
		item.BigEndian = s.order == binary.BigEndian
		item.charset, item.fallback = parent.charset, parent.fallback
		s.items = append(s.items, item)

		// An item of a UN sequence that is visibly explicit is read so.
		explicit, signed := s.explicit, s.signed
		if !explicit && s.looksExplicit() {
			s.explicit = true
		}
		err := s.readDataset(item, itemEnd, depth)
		s.explicit, s.signed = explicit, signed
		if err != nil {
			return err
		}
		if s.trace != nil {
			s.trace.endItem(depth)
		}
	}
}

// looksExplicit tells whether the element that comes next is explicit where an
// implicit one is expected: it carries a VR, which as a length would be some
// tens of thousands, and what follows agrees.
func (s *scanner) looksExplicit() bool {
	if transferSyntaxByUID[s.h.TransferSyntax].Implicit {
		return false
	}
	b := s.src.peek(8)
	if len(b) < 8 {
		return false
	}
	vr := VR(b[4])<<8 | VR(b[5])
	if !vr.Known() {
		return false
	}
	if vr.is(vrLong) {
		return b[6] == 0 && b[7] == 0
	}
	s.tag = NewTag(s.order.Uint16(b), s.order.Uint16(b[2:]))
	return s.tagFollows(uint32(s.order.Uint16(b[6:])))
}

// readValue keeps or skips a value of n bytes.
func (s *scanner) readValue(e *Element, n int64) error {
	keep := int64(s.opt.MaxValue)
	if e.Tag == TagExtendedOffsetTable || e.Tag == TagExtendedOffsetTableLengths {
		keep = s.opt.MaxHeader
	}
	if n > keep {
		e.Bulk = &Range{s.src.offset, n}
		return s.src.skip(n)
	}
	if s.kept += n; s.kept > s.opt.MaxHeader {
		return s.fail(TooLarge, "the values of the header have more than %d bytes", s.opt.MaxHeader)
	}
	v, err := s.readBytes(int(n))
	e.Value = v
	return err
}

// readBytes reads n bytes. Memory grows with what arrives, not with n.
func (s *scanner) readBytes(n int) ([]byte, error) {
	const slab, step = 8 << 10, 64 << 10
	switch {
	case n == 0:
		return nil, nil
	case n <= slab/4:
		if len(s.bytesSlab) < n {
			s.bytesSlab = make([]byte, slab)
		}
		v := s.bytesSlab[:n:n]
		s.bytesSlab = s.bytesSlab[n:]
		return v, s.src.read(v)
	case n <= step:
		v := make([]byte, n)
		return v, s.src.read(v)
	}
	v := make([]byte, 0, step)
	for len(v) < n {
		if len(v) == cap(v) {
			bigger := make([]byte, len(v), min(2*len(v), n))
			copy(bigger, v)
			v = bigger
		}
		k := len(v)
		v = v[:min(cap(v), n)]
		if err := s.src.read(v[k:]); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// popElements takes the elements above base off the stack.
func (s *scanner) popElements(base int) []Element {
	n := len(s.stack) - base
	if n == 0 {
		return nil
	}
	var out []Element
	if n > 32 {
		out = make([]Element, n)
	} else {
		if len(s.elementSlab) < n {
			s.elementSlab = make([]Element, 128)
		}
		out = s.elementSlab[:n:n]
		s.elementSlab = s.elementSlab[n:]
	}
	copy(out, s.stack[base:])
	clear(s.stack[base:])
	s.stack = s.stack[:base]
	return out
}

func (s *scanner) newDataset() *Dataset {
	if len(s.datasetSlab) == 0 {
		s.datasetSlab = make([]Dataset, 16)
	}
	ds := &s.datasetSlab[0]
	s.datasetSlab = s.datasetSlab[1:]
	return ds
}
