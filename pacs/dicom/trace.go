package dicom

import "encoding/binary"

// trace records, while a data set is scanned, what Amend must know to change
// it in place: where each attribute of the data set itself is, where text is
// that isn't ASCII, and the lengths around such text. The scan ends before the
// pixel data: nothing behind it is changed.
type trace struct {
	explicit bool // of the data set
	order    binary.ByteOrder

	top   []element // of the data set itself, as in Dataset.Elements
	texts []text
	rest  int64 // where the scan ended
	stops bool  // at pixel data

	around  []around // the values being read, outermost first
	lengths []lengthField
	own     int // depth of the item that declares a character set of its own, 0 for none

	pictures []picture // pixel data within sequences
}

// element is where an element is in the stream.
type element struct {
	start, value, end int64
	raw               VR // as it is written
	length            uint32
	undefined         bool
	explicit          bool
	order             binary.ByteOrder
}

// text is a value that isn't ASCII.
type text struct {
	element
	Element
	charset  []string
	fallback string
	own      bool    // in a character set of its own, whatever the data set's is
	lengths  []int32 // around it, in trace.lengths
}

// picture is pixel data within a sequence, or an icon.
type picture struct {
	element
	lengths []int32 // around it, in trace.lengths
}

// around is a value that is being read; defined says that it has a length.
type around struct {
	at      int64 // of its 32-bit length
	length  uint32
	order   binary.ByteOrder
	defined bool
	field   int32 // 1 + its place in trace.lengths, 0 while it has none
}

// lengthField is a length that changes with what it is around.
type lengthField struct {
	at     int64
	length uint32
	order  binary.ByteOrder
}

// stopsAt tells whether pixel data comes next.
func (t *trace) stopsAt(src *source) bool {
	t.rest = src.offset
	b := src.peek(4)
	t.stops = len(b) == 4 && NewTag(t.order.Uint16(b), t.order.Uint16(b[2:])).IsPixelData()
	return t.stops
}

// begin is called behind the header of an element or item.
func (t *trace) begin(s *scanner, length uint32) {
	t.around = append(t.around, around{at: s.src.offset - 4, length: length, order: s.order, defined: length != undefined})
}

// end is called behind an element.
func (t *trace) end(ds *Dataset, e *Element, at element, depth int) {
	t.around = t.around[:len(t.around)-1]
	if depth == 0 {
		t.top = append(t.top, at)
		t.rest = at.end
	}
	if e.Tag == TagIconImageSequence || depth > 0 && e.Tag.Group() == pixelGroup {
		t.pictures = append(t.pictures, picture{element: at, lengths: t.lengthsAround()})
	}
	switch {
	case depth > 0 && t.own == 0 && e.Tag == TagSpecificCharacterSet:
		t.own = depth
	case e.VR.is(vrString) || e.VR == UN:
		if e.Bulk == nil && isASCII(e.Value) && !hasEscape(e.Value) {
			return
		}
		x := text{element: at, Element: *e, charset: ds.charset, fallback: ds.fallback, own: t.own > 0, lengths: t.lengthsAround()}
		t.texts = append(t.texts, x)
	}
}

// lengthsAround are the lengths that change with what has just been read.
func (t *trace) lengthsAround() (fields []int32) {
	for i := range t.around {
		a := &t.around[i]
		if !a.defined {
			continue
		}
		if a.field == 0 {
			t.lengths = append(t.lengths, lengthField{a.at, a.length, a.order})
			a.field = int32(len(t.lengths))
		}
		fields = append(fields, a.field-1)
	}
	return fields
}

// endItem is called behind an item.
func (t *trace) endItem(depth int) {
	t.around = t.around[:len(t.around)-1]
	if t.own == depth {
		t.own = 0
	}
}
