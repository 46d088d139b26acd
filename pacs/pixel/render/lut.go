package render

import (
	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// lut is a lookup table: of a modality, a window, a presentation or a palette.
type lut struct {
	first  int // value that is mapped to the first entry
	values []uint16
	bits   int // of the entries
}

// at looks a value up; values beside the table are those at its ends.
func (l *lut) at(v int) uint16 {
	return l.values[min(max(v-l.first, 0), len(l.values)-1)]
}

// top is the largest value that entries may have.
func (l *lut) top() float64 { return float64(uint32(1)<<l.bits - 1) }

// lutOf reads a LUT Descriptor (0028,3002) and LUT Data (0028,3006), or those of
// a palette; nil when there is none. signed says that the values which are mapped
// may be negative.
func lutOf(ds *dicom.Dataset, descriptor, data dicom.Tag, signed bool) (*lut, error) {
	entries, l, ok := describe(ds, descriptor, signed)
	e, found := ds.Get(data)
	if !ok || !found || len(e.Value) == 0 {
		return nil, nil
	}
	// Entries of 8 bits may be written one per byte or one per word.
	if len(e.Value) >= 2*entries {
		l.values = words(ds, e)[:entries]
	} else {
		raw := octets(ds, e)
		if len(raw) < entries {
			if l.bits > 8 && len(raw) >= 2 {
				// Shorter than announced, but words.
				l.values = words(ds, e)
				return l.fitted(), nil
			}
			entries = len(raw)
		}
		l.values = make([]uint16, entries)
		for i := range l.values {
			l.values[i] = uint16(raw[i])
		}
		l.bits = min(l.bits, 8)
	}
	return l.fitted(), nil
}

// describe reads a LUT descriptor, PS3.3 C.11.1.1.1: number of entries (0 is
// 65536), first value mapped, bits of an entry.
func describe(ds *dicom.Dataset, descriptor dicom.Tag, signed bool) (entries int, l *lut, ok bool) {
	e, found := ds.Get(descriptor)
	if !found {
		return 0, nil, false
	}
	d := words(ds, e)
	if len(d) < 3 {
		return 0, nil, false
	}
	entries = int(d[0])
	if entries == 0 {
		entries = 1 << 16
	}
	l = &lut{first: int(d[1]), bits: int(d[2])}
	if signed || e.VR == dicom.SS {
		l.first = int(int16(d[1]))
	}
	if l.bits < 1 || l.bits > 16 {
		l.bits = 16
	}
	return entries, l, true
}

// fitted corrects the number of bits where the entries have more than the
// descriptor says.
func (l *lut) fitted() *lut {
	top := uint16(0)
	for _, v := range l.values {
		top = max(top, v)
	}
	for l.bits < 16 && int(top)>>l.bits != 0 {
		l.bits++
	}
	return l
}

// segmentedLUT reads a Segmented Palette Color Lookup Table, PS3.3 C.7.9.2; nil
// when there is none.
func segmentedLUT(ds *dicom.Dataset, descriptor, data dicom.Tag, signed bool) (*lut, error) {
	entries, l, ok := describe(ds, descriptor, signed)
	e, found := ds.Get(data)
	if !ok || !found || len(e.Value) == 0 {
		return nil, nil
	}
	s := segments{limit: entries, bytes: l.bits == 8}
	if s.bytes {
		for _, b := range octets(ds, e) {
			s.data = append(s.data, uint16(b))
		}
	} else {
		s.data = words(ds, e)
	}
	if err := s.expand(0, -1, false); err != nil {
		return nil, err
	}
	if len(s.out) == 0 {
		return nil, errSegments
	}
	l.values = s.out
	return l.fitted(), nil
}

var errSegments = pacs.Errorf(pacs.Unsupported, "The segmented palette of the image can't be read.")

// segments expands the segments of a table.
type segments struct {
	data  []uint16
	bytes bool // data were bytes
	limit int
	out   []uint16
}

// expand appends count segments (-1: all) from place at.
func (s *segments) expand(at, count int, indirect bool) error {
	for ; count != 0 && at+1 < len(s.data) && len(s.out) < s.limit; count-- {
		opcode, n := s.data[at], int(s.data[at+1])
		at += 2
		switch opcode {
		case 0: // discrete: n values
			if n > len(s.data)-at {
				return errSegments
			}
			s.out = append(s.out, s.data[at:at+min(n, s.limit-len(s.out))]...)
			at += n
		case 1: // linear: n values, the last of which is given
			if at >= len(s.data) || len(s.out) == 0 {
				return errSegments
			}
			from, to := int(s.out[len(s.out)-1]), int(s.data[at])
			at++
			for i := 1; i <= n && len(s.out) < s.limit; i++ {
				s.out = append(s.out, uint16(from+floorDiv((to-from)*i*2+n, 2*n)))
			}
		case 2: // indirect: n segments again that stand at a place in bytes
			size, offset := 2, 0
			if s.bytes {
				size = 4
			}
			if at+size > len(s.data) || indirect {
				return errSegments
			}
			if s.bytes {
				offset = int(s.data[at]) | int(s.data[at+1])<<8 | int(s.data[at+2])<<16 | int(s.data[at+3])<<24
			} else {
				offset = (int(s.data[at]) | int(s.data[at+1])<<16) / 2
			}
			at += size
			if offset >= len(s.data) || n == 0 {
				return errSegments
			}
			if err := s.expand(offset, n, true); err != nil {
				return err
			}
		default:
			// Padding behind the last segment is the only other thing there may be.
			return errSegments
		}
	}
	return nil
}

func floorDiv(a, b int) int {
	if q := a / b; a%b == 0 || a > 0 {
		return q
	}
	return a/b - 1
}
