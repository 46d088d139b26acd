package dicom

// VR is a value representation: its two letters, the first in the high byte.
type VR uint16

// Value representations, PS3.5 table 6.2-1.
const (
	AE VR = 'A'<<8 | 'E'
	AS VR = 'A'<<8 | 'S'
	AT VR = 'A'<<8 | 'T'
	CS VR = 'C'<<8 | 'S'
	DA VR = 'D'<<8 | 'A'
	DS VR = 'D'<<8 | 'S'
	DT VR = 'D'<<8 | 'T'
	FD VR = 'F'<<8 | 'D'
	FL VR = 'F'<<8 | 'L'
	IS VR = 'I'<<8 | 'S'
	LO VR = 'L'<<8 | 'O'
	LT VR = 'L'<<8 | 'T'
	OB VR = 'O'<<8 | 'B'
	OD VR = 'O'<<8 | 'D'
	OF VR = 'O'<<8 | 'F'
	OL VR = 'O'<<8 | 'L'
	OV VR = 'O'<<8 | 'V'
	OW VR = 'O'<<8 | 'W'
	PN VR = 'P'<<8 | 'N'
	SH VR = 'S'<<8 | 'H'
	SL VR = 'S'<<8 | 'L'
	SQ VR = 'S'<<8 | 'Q'
	SS VR = 'S'<<8 | 'S'
	ST VR = 'S'<<8 | 'T'
	SV VR = 'S'<<8 | 'V'
	TM VR = 'T'<<8 | 'M'
	UC VR = 'U'<<8 | 'C'
	UI VR = 'U'<<8 | 'I'
	UL VR = 'U'<<8 | 'L'
	UN VR = 'U'<<8 | 'N'
	UR VR = 'U'<<8 | 'R'
	US VR = 'U'<<8 | 'S'
	UT VR = 'U'<<8 | 'T'
	UV VR = 'U'<<8 | 'V'
)

// ParseVR returns the VR named by two letters and whether the standard knows it.
func ParseVR(s string) (VR, bool) {
	if len(s) != 2 {
		return 0, false
	}
	vr := VR(s[0])<<8 | VR(s[1])
	return vr, vr.Known()
}

// String returns the two letters.
func (v VR) String() string { return string([]byte{byte(v >> 8), byte(v)}) }

// vrClass says how a VR is encoded and read.
type vrClass uint8

const (
	vrKnown   vrClass = 1 << iota
	vrLong            // explicit encoding has two reserved bytes and a 32-bit length, PS3.5 table 7.1-1
	vrText            // affected by Specific Character Set, PS3.5 6.1.2.2
	vrString          // character string of any kind
	vrSingle          // never more than one value: a backslash is text
	vrOpaque          // bytes: InlineBinary in JSON
	vrNumeric         // fixed-size binary numbers
)

// vrTable has one entry per VR: class and the size of the unit that changes
// with byte order (1 where nothing does).
var vrTable = map[VR]struct {
	class vrClass
	unit  int
}{
	AE: {vrString, 1}, AS: {vrString, 1}, CS: {vrString, 1}, DA: {vrString, 1},
	DS: {vrString, 1}, DT: {vrString, 1}, IS: {vrString, 1}, TM: {vrString, 1}, UI: {vrString, 1},
	LO: {vrString | vrText, 1}, PN: {vrString | vrText, 1}, SH: {vrString | vrText, 1},
	LT: {vrString | vrText | vrSingle, 1}, ST: {vrString | vrText | vrSingle, 1},
	UC: {vrLong | vrString | vrText, 1}, UT: {vrLong | vrString | vrText | vrSingle, 1},
	UR: {vrLong | vrString | vrSingle, 1},
	AT: {vrNumeric, 2}, US: {vrNumeric, 2}, SS: {vrNumeric, 2},
	UL: {vrNumeric, 4}, SL: {vrNumeric, 4}, FL: {vrNumeric, 4}, FD: {vrNumeric, 8},
	SV: {vrLong | vrNumeric, 8}, UV: {vrLong | vrNumeric, 8},
	OB: {vrLong | vrOpaque, 1}, UN: {vrLong | vrOpaque, 1}, OW: {vrLong | vrOpaque, 2},
	OF: {vrLong | vrOpaque, 4}, OL: {vrLong | vrOpaque, 4}, OD: {vrLong | vrOpaque, 8}, OV: {vrLong | vrOpaque, 8},
	SQ: {vrLong, 1},
}

// vrClasses and vrUnits are vrTable by letter pair, for the scanner's inner loop.
var vrClasses, vrUnits = func() (classes [26 * 26]vrClass, units [26 * 26]uint8) {
	for vr, e := range vrTable {
		i := vr.index()
		classes[i] = e.class | vrKnown
		units[i] = uint8(e.unit)
	}
	return
}()

// index is the place of v in vrClasses, -1 when v isn't two upper-case letters.
func (v VR) index() int {
	a, b := int(v>>8)-'A', int(v&0xFF)-'A'
	if a < 0 || a > 25 || b < 0 || b > 25 {
		return -1
	}
	return a*26 + b
}

func (v VR) class() vrClass {
	if i := v.index(); i >= 0 {
		return vrClasses[i]
	}
	return 0
}

func (v VR) is(c vrClass) bool { return v.class()&c != 0 }

// Known tells whether the standard defines v.
func (v VR) Known() bool { return v.is(vrKnown) }

// Unit is the size in bytes of what byte order swaps: 2 for US and OW, 8 for
// FD, 1 for text and bytes.
func (v VR) Unit() int {
	if i := v.index(); i >= 0 && vrUnits[i] > 0 {
		return int(vrUnits[i])
	}
	return 1
}

// padding is the byte that makes a value of this VR even, PS3.5 6.2.
func (v VR) padding() byte {
	if v != UI && v.is(vrString) {
		return ' '
	}
	return 0
}
