package dicom

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// Change is what becomes of one attribute of a data set.
type Change struct {
	Tag Tag
	VR  VR
	// Value is the new value, "" for an empty one.
	Value string
	// Plain is Value in ASCII, for a data set whose text can't be brought to a
	// character set that has Value's.
	Plain string
	// Remove takes the attribute out instead.
	Remove bool
}

// AmendOptions say how Amend changes a data set.
type AmendOptions struct {
	Scan ScanOptions
	// Changes decides what is changed, given the attributes before the pixel
	// data. None: the instance stays as it is.
	Changes func(*Dataset) []Change

	// What the Original Attributes Sequence (0400,0561) tells of the change,
	// PS3.3 C.12.1.1.9: the system that made it, when, and CORRECT or COERCE.
	System string
	At     time.Time
	Reason string
}

// DateTimeLayout is a DT value (PS3.5 6.2) for time.Time.Format.
const DateTimeLayout = "20060102150405.000000-0700"

// edit replaces the bytes from start up to end of a stream.
type edit struct {
	start, end int64
	bytes      []byte
	tag        Tag // orders what is inserted at one place
}

// tagLengthToEnd is a retired count of the bytes behind it.
const tagLengthToEnd Tag = 0x00080001

// amendment gathers the edits of one data set.
type amendment struct {
	*trace
	ds      *Dataset
	edits   []edit
	deltas  map[int64]*lengthDelta // by where the length is
	changed map[uint16]bool        // groups whose length has changed
}

// lengthDelta is by how much a length has grown.
type lengthDelta struct {
	lengthField
	by int64
}

// amend returns the edits that make the changes, sorted.
func amend(h *Header, t *trace, changes []Change, opt AmendOptions) []edit {
	a := &amendment{trace: t, ds: h.Dataset, deltas: map[int64]*lengthDelta{}, changed: map[uint16]bool{}}
	values, switched := a.encode(changes)
	for i, c := range changes {
		if c.Remove {
			a.remove(c.Tag)
		} else {
			a.set(c.Tag, c.VR, values[i])
		}
	}
	if switched {
		a.set(TagSpecificCharacterSet, CS, []byte(charsetUTF8[0]))
	}
	a.original(changes, switched, opt)
	return a.finish()
}

// finish adds the edits that follow from the others, and sorts them.
func (a *amendment) finish() []edit {
	for i := range a.ds.Elements {
		// Group lengths are optional (PS3.5 7.2), wrong ones are not.
		if tag := a.ds.Elements[i].Tag; tag.IsGroupLength() && a.changed[tag.Group()] || tag == tagLengthToEnd {
			a.edits = append(a.edits, edit{a.top[i].start, a.top[i].end, nil, tag})
		}
	}
	for _, d := range a.deltas {
		a.edits = append(a.edits, edit{d.at, d.at + 4, appendUint32(nil, d.order, uint32(int64(d.length)+d.by)), 0})
	}
	// An insertion comes before what replaces the bytes behind it.
	slices.SortStableFunc(a.edits, func(x, y edit) int {
		return cmp.Or(cmp.Compare(x.start, y.start), cmp.Compare(x.end, y.end), cmp.Compare(x.tag, y.tag))
	})
	return a.edits
}

// set replaces an attribute, or inserts it where its tag belongs.
func (a *amendment) set(tag Tag, vr VR, value []byte) {
	a.changed[tag.Group()] = true
	bytes := appendValue(nil, tag, vr, value, a.explicit, a.order)
	done := false
	for i := range a.ds.Elements {
		if a.ds.Elements[i].Tag != tag {
			continue
		}
		a.edits = append(a.edits, edit{a.top[i].start, a.top[i].end, bytes, tag})
		bytes, done = nil, true // of duplicates one stays
	}
	if !done {
		a.insert(tag, bytes)
	}
}

func (a *amendment) remove(tag Tag) {
	for i := range a.ds.Elements {
		if a.ds.Elements[i].Tag == tag {
			a.changed[tag.Group()] = true
			a.edits = append(a.edits, edit{a.top[i].start, a.top[i].end, nil, tag})
		}
	}
}

// insert puts an attribute before the first one with a greater tag.
func (a *amendment) insert(tag Tag, bytes []byte) {
	at := a.rest
	for i := range a.ds.Elements {
		if a.ds.Elements[i].Tag > tag {
			at = a.top[i].start
			break
		}
	}
	a.edits = append(a.edits, edit{at, at, bytes, tag})
}

// original adds an item with the previous values to the Original Attributes
// Sequence.
func (a *amendment) original(changes []Change, switched bool, opt AmendOptions) {
	at, there := -1, a.explicit
	order := a.order
	for i := range a.ds.Elements {
		if a.ds.Elements[i].Tag == TagOriginalAttributesSequence {
			at = i
			break
		}
	}
	if at >= 0 && (a.ds.Elements[at].VR != SQ || !a.top[at].undefined && a.top[at].value+int64(a.top[at].length) != a.top[at].end) {
		return // no sequence, or one whose length is wrong: it stays as it is
	}
	if at >= 0 && a.top[at].raw == UN && a.explicit {
		there, order = false, binary.LittleEndian // PS3.5 6.2.2 note 2
	}
	item := a.originalItem(changes, switched, opt, there, order)
	a.changed[TagOriginalAttributesSequence.Group()] = true
	switch {
	case at < 0:
		value := appendValue(nil, TagOriginalAttributesSequence, SQ, item, there, order)
		a.insert(TagOriginalAttributesSequence, value)
	case a.top[at].undefined:
		end := a.top[at].end - 8 // before the delimiter
		a.edits = append(a.edits, edit{end, end, item, TagOriginalAttributesSequence})
	default:
		end := a.top[at].end
		a.edits = append(a.edits, edit{end, end, item, TagOriginalAttributesSequence})
		a.grow(lengthField{a.top[at].value - 4, a.top[at].length, a.order}, int64(len(item)))
	}
}

// originalItem is the item itself, PS3.3 table C.12-1 (Original Attributes
// Macro, 10.41).
func (a *amendment) originalItem(changes []Change, switched bool, opt AmendOptions, explicit bool, order binary.ByteOrder) []byte {
	put := func(dst []byte, tag Tag, vr VR, value string) []byte {
		return appendValue(dst, tag, vr, []byte(value), explicit, order)
	}
	if switched {
		// It is a previous value like the others, and says what they are in.
		changes = append(slices.Clone(changes), Change{Tag: TagSpecificCharacterSet, VR: CS})
	}
	changes = slices.Clone(changes)
	slices.SortFunc(changes, func(x, y Change) int { return cmp.Compare(x.Tag, y.Tag) })
	var previous []byte
	for _, c := range changes {
		vr, value := c.VR, []byte(nil)
		if e, ok := a.ds.Get(c.Tag); ok && e.VR != SQ && e.Bulk == nil {
			vr, value = e.VR, e.Value
		}
		previous = appendValue(previous, c.Tag, vr, value, explicit, order)
	}
	var item []byte
	item = appendValue(item, TagModifiedAttributesSequence, SQ, appendItem(nil, previous, order), explicit, order)
	item = put(item, TagAttributeModificationDateTime, DT, opt.At.UTC().Format(DateTimeLayout))
	item = put(item, TagModifyingSystem, LO, opt.System)
	item = put(item, TagSourceOfPreviousValues, LO, "")
	item = put(item, TagReasonForTheAttributeModification, CS, opt.Reason)
	return appendItem(nil, item, order)
}

// grow adds to a length.
func (a *amendment) grow(f lengthField, by int64) {
	d := a.deltas[f.at]
	if d == nil {
		d = &lengthDelta{lengthField: f}
		a.deltas[f.at] = d
	}
	d.by += by
}

// encode brings the new values into a character set: that of the data set
// where it has the characters, else UTF-8 for the whole data set, provided
// that all its other text can be carried over, else ASCII.
func (a *amendment) encode(changes []Change) (values [][]byte, switched bool) {
	values = make([][]byte, len(changes))
	charset := a.ds.CharacterSet()
	fits := true
	for i, c := range changes {
		var ok bool
		values[i], ok = encodeText(clean(c.Value), charset, a.ds.fallback)
		fits = fits && ok
	}
	if fits {
		return values, false
	}
	if a.toUTF8(changes) {
		for i, c := range changes {
			values[i] = []byte(clean(c.Value))
		}
		return values, true
	}
	for i, c := range changes {
		if values[i] == nil {
			values[i] = []byte(plain(clean(c.Plain)))
		}
	}
	return values, false
}

// encodeText encodes a text without code extensions; ok is false when the
// character set doesn't have it or does not read it back.
func encodeText(s string, charset []string, fallback string) (raw []byte, ok bool) {
	if isASCII([]byte(s)) {
		return []byte(s), true
	}
	var err error
	switch set := chooseSet(charset); {
	case set.isUTF8:
		raw = []byte(s)
	case set.whole != nil:
		raw, err = set.whole.NewEncoder().Bytes([]byte(s))
	case set.g1 != nil && set.g1.charmap != nil:
		raw, err = encodeCharmap(s, set.g1.charmap)
	default:
		return nil, false
	}
	if err != nil || decodeText(raw, charset, fallback, true) != s {
		return nil, false
	}
	return raw, true
}

func encodeCharmap(s string, m *charmap.Charmap) ([]byte, error) {
	return m.NewEncoder().Bytes([]byte(s))
}

// toUTF8 rewrites all text that is in the data set's character set, unless
// some of it could come out as something else.
func (a *amendment) toUTF8(changes []Change) bool {
	type growth struct {
		field int32
		by    int64
	}
	var edits []edit
	var growths []growth
	var groups []uint16
	for i := range a.texts {
		x := &a.texts[i]
		around := a.topOf(x)
		if x.own || around == TagSpecificCharacterSet || slices.ContainsFunc(changes, func(c Change) bool { return c.Tag == around }) {
			continue
		}
		s, ok := x.faithful()
		if !ok || x.explicit && !x.VR.is(vrLong) && len(s) > 0xFFFE {
			return false
		}
		if s == nil {
			continue
		}
		e := edit{x.start, x.end, appendValue(nil, x.Tag, x.VR, s, x.explicit, x.order), x.Tag}
		edits = append(edits, e)
		groups = append(groups, around.Group())
		for _, f := range x.lengths {
			growths = append(growths, growth{f, int64(len(e.bytes)) - (e.end - e.start)})
		}
	}
	for _, g := range growths {
		a.grow(a.lengths[g.field], g.by)
	}
	for _, d := range a.deltas {
		if n := int64(d.length) + d.by; n < 0 || n >= undefined {
			a.deltas = map[int64]*lengthDelta{}
			return false
		}
	}
	for _, g := range groups {
		a.changed[g] = true
	}
	a.edits = append(a.edits, edits...)
	return true
}

// topOf is the attribute of the data set itself in which a text is.
func (a *amendment) topOf(x *text) Tag {
	i, found := slices.BinarySearchFunc(a.top, x.start, func(e element, start int64) int { return cmp.Compare(e.start, start) })
	if !found {
		i--
	}
	return a.ds.Elements[i].Tag
}

// faithful returns the text in UTF-8, nil when its bytes are to stay; ok is
// false when it is not certain what the text is.
func (x *text) faithful() (value []byte, ok bool) {
	if x.Bulk != nil {
		return nil, x.VR == UN // long binary values of unknown VR are no text
	}
	if x.VR == UN {
		// A private text that a reader who knows it would read by the data
		// set's character set can't be told from binary values that look so.
		return nil, !looksLikeText(x.Value)
	}
	raw := x.Value
	for len(raw) > 0 && raw[len(raw)-1] == 0 {
		raw = raw[:len(raw)-1]
	}
	ds := &Dataset{charset: x.charset, fallback: x.fallback}
	s := ds.decode(&Element{VR: x.VR, Value: raw})
	set := chooseSet(x.charset)
	switch {
	case strings.ContainsRune(s, utf8.RuneError), slices.Contains(raw, 0), !knownEscapes(raw):
		return nil, false
	case set.g1 == nil && set.whole == nil && !set.isUTF8 && !hasExtension(x.charset) && !utf8.Valid(raw) &&
		s == decodeISO2022(raw, codedSet{g0: setASCII, g1: setLatin1}, x.VR == PN):
		return nil, false // nothing was declared, and it was read as something only not to lose it
	}
	return []byte(s), true
}

// knownEscapes tells whether all escape sequences of a text are understood.
func knownEscapes(raw []byte) bool {
	for i, c := range raw {
		if c != 0x1B {
			continue
		}
		known := false
		for _, e := range escapes {
			known = known || strings.HasPrefix(string(raw[i+1:min(i+4, len(raw))]), e.sequence)
		}
		if !known {
			return false
		}
	}
	return true
}

func looksLikeText(raw []byte) bool {
	for i, c := range raw {
		switch {
		case c >= ' ', c == '\r', c == '\n', c == '\t', c == '\f', c == 0x1B:
		case c == 0 && i == len(raw)-1:
		default:
			return false
		}
	}
	return true
}

// clean takes out of a new value what would make several of it.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\\':
			return '/'
		case r < ' ', r == 0x7F, r == utf8.RuneError:
			return -1
		}
		return r
	}, s)
}

// plain makes sure of ASCII.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r > 0x7E {
			return '?'
		}
		return r
	}, s)
}

// appendValue appends an element with an encoded value, padded.
func appendValue(dst []byte, tag Tag, vr VR, value []byte, explicit bool, order binary.ByteOrder) []byte {
	pad := len(value) & 1
	if explicit && !vr.is(vrLong) && len(value)+pad > 0xFFFF {
		vr = UN
	}
	dst = appendUint16(appendUint16(dst, order, tag.Group()), order, tag.Element())
	length := len(value) + pad
	switch {
	case !explicit:
		dst = appendUint32(dst, order, uint32(length))
	case vr.is(vrLong):
		dst = appendUint32(append(dst, byte(vr>>8), byte(vr), 0, 0), order, uint32(length))
	default:
		dst = appendUint16(append(dst, byte(vr>>8), byte(vr)), order, uint16(length))
	}
	dst = append(dst, value...)
	if pad == 1 {
		dst = append(dst, vr.padding())
	}
	return dst
}

// appendItem appends an item with its encoded elements.
func appendItem(dst, elements []byte, order binary.ByteOrder) []byte {
	dst = appendUint16(appendUint16(dst, order, TagItem.Group()), order, TagItem.Element())
	dst = appendUint32(dst, order, uint32(len(elements)))
	return append(dst, elements...)
}

func appendUint16(dst []byte, order binary.ByteOrder, v uint16) []byte {
	var b [2]byte
	order.PutUint16(b[:], v)
	return append(dst, b[:]...)
}

func appendUint32(dst []byte, order binary.ByteOrder, v uint32) []byte {
	var b [4]byte
	order.PutUint32(b[:], v)
	return append(dst, b[:]...)
}
