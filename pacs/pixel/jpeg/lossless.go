package jpeg

import (
	"encoding/binary"
	"fmt"
)

// losslessFrame decodes lossless processes, T.81 annex H.
type losslessFrame struct {
	*stream
	pixels []byte
	done   [4]bool
}

func newLosslessFrame(s *stream) (*losslessFrame, error) {
	if s.header.Components > 1 {
		for _, c := range s.components {
			if c.h != 1 || c.v != 1 {
				return nil, fmt.Errorf("%w: lossless with subsampled components", ErrUnsupported)
			}
		}
	}
	return &losslessFrame{stream: s, pixels: make([]byte, s.header.Size())}, nil
}

func (f *losslessFrame) complete() bool {
	for i := range f.components {
		if !f.done[i] {
			return false
		}
	}
	return true
}

func (f *losslessFrame) image() (Image, error) { return Image{f.header, f.pixels}, nil }

func (f *losslessFrame) scan(sc scan) error {
	predictor, shift := sc.start, sc.low
	if predictor < 1 || predictor > 7 || shift >= f.header.Precision {
		return fmt.Errorf("%w: predictor %d, point transform %d", ErrDamaged, predictor, shift)
	}
	columns := f.header.Columns
	if f.restart%columns != 0 { // T.81 H.1.1
		return fmt.Errorf("%w: a restart interval that is not a number of rows", ErrUnsupported)
	}
	n := len(sc.components)
	tables := make([]*huffman, n)
	// The rows above and the ones at hand, in samples before the point transform.
	above, row := make([][]uint16, n), make([][]uint16, n)
	for i, c := range sc.components {
		var err error
		if tables[i], err = f.dc[c.dc].huffman(); err != nil {
			return err
		}
		if f.done[c.index] {
			return fmt.Errorf("%w: a component comes twice", ErrDamaged)
		}
		f.done[c.index] = true
		above[i], row[i] = make([]uint16, columns), make([]uint16, columns)
	}
	differences := make([]uint16, columns*n)
	begin := uint16(1) << (f.header.Precision - shift - 1)
	f.segment()
	interval := f.restart / columns
	for y := range f.header.Rows {
		first := y == 0
		if interval > 0 && y > 0 && y%interval == 0 {
			if err := f.afterRestart(); err != nil {
				return err
			}
			first = true
		}
		if !readDifferences(&f.bits, tables, differences) {
			return errCode()
		}
		if f.bits.short() {
			return errShort()
		}
		for i, c := range sc.components {
			if first {
				row[i][0] = begin + differences[i]
				predict(1, row[i], above[i], differences[i:], n)
			} else {
				row[i][0] = above[i][0] + differences[i]
				predict(predictor, row[i], above[i], differences[i:], n)
			}
			f.put(y, c.index, row[i], shift)
			above[i], row[i] = row[i], above[i]
		}
	}
	return nil
}

// put writes a row of a component.
func (f *losslessFrame) put(y, component int, row []uint16, shift int) {
	stride := f.header.Components
	at := y*f.header.Columns*stride + component
	mask := uint16(1)<<f.header.Precision - 1 // all ones for 16 bits
	if f.header.Precision <= 8 {
		if stride == 1 {
			for i, v := range row {
				f.pixels[at+i] = byte(v << shift & mask)
			}
			return
		}
		for _, v := range row {
			f.pixels[at] = byte(v << shift & mask)
			at += stride
		}
		return
	}
	for _, v := range row {
		binary.LittleEndian.PutUint16(f.pixels[2*at:], v<<shift&mask)
		at += stride
	}
}

// readDifferences reads a row, the components of a pixel one after another. It is
// false when there is a code that does not exist.
func readDifferences(r *bitReader, tables []*huffman, out []uint16) bool {
	data, at, bits, have := r.data, r.at, r.bits, r.n
	c := 0
	table := tables[0]
	for i := range out {
		// A code and its difference have up to 16 bits each.
		if have < 32 {
			if uint(at)+8 <= uint(len(data)) {
				bits |= binary.BigEndian.Uint64(data[at:]) >> uint(have&63)
				loaded := (63 - have) >> 3
				at += loaded
				have += loaded * 8
			} else {
				r.at, r.bits, r.n = at, bits, have
				r.refill()
				at, bits, have = r.at, r.bits, r.n
			}
		}
		if e := table.direct[bits>>(64-lookBits)]; e != 0 {
			out[i] = uint16(e >> 16)
			bits <<= uint(e & 63)
			have -= int(e & 63)
		} else {
			l := table.look[bits>>(64-lookBits)]
			size, length := int(l>>8), int(l&0xFF)
			if length == 0 {
				if size, length = table.long(bits); length == 0 {
					return false
				}
			}
			bits <<= uint(length & 63)
			have -= length
			switch {
			case size == 0:
				out[i] = 0
			case size < 16:
				out[i] = uint16(extend(int32(bits>>(64-size)), size))
				bits <<= uint(size)
				have -= size
			case size == 16: // T.81 H.1.2.2: no bits follow
				out[i] = 1 << 15
			default:
				return false
			}
		}
		if len(tables) > 1 {
			if c++; c == len(tables) {
				c = 0
			}
			table = tables[c]
		}
	}
	r.at, r.bits, r.n = at, bits, have
	return true
}

// predict adds predictions (T.81 table H.1) to differences, all modulo 65536,
// from the second sample of a row on. The difference of the next sample is step
// behind.
func predict(predictor int, row, above, differences []uint16, step int) {
	above = above[:len(row)]
	a := row[0]
	d := step
	switch predictor {
	case 1:
		for x := 1; x < len(row); x++ {
			a += differences[d]
			row[x] = a
			d += step
		}
	case 2:
		for x := 1; x < len(row); x++ {
			row[x] = above[x] + differences[d]
			d += step
		}
	case 3:
		for x := 1; x < len(row); x++ {
			row[x] = above[x-1] + differences[d]
			d += step
		}
	case 4:
		for x := 1; x < len(row); x++ {
			a += above[x] - above[x-1] + differences[d]
			row[x] = a
			d += step
		}
	case 5:
		for x := 1; x < len(row); x++ {
			a += uint16((int32(above[x])-int32(above[x-1]))>>1) + differences[d]
			row[x] = a
			d += step
		}
	case 6:
		for x := 1; x < len(row); x++ {
			a = above[x] + uint16((int32(a)-int32(above[x-1]))>>1) + differences[d]
			row[x] = a
			d += step
		}
	case 7:
		for x := 1; x < len(row); x++ {
			a = uint16((int32(a)+int32(above[x]))>>1) + differences[d]
			row[x] = a
			d += step
		}
	}
}
