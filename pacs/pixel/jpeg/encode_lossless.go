package jpeg

import (
	"encoding/binary"
	"fmt"
)

// EncodeLossless compresses an image by process 14, selection value 1
// (1.2.840.10008.1.2.4.70): Columns, Rows, Components (1 to 4), Precision (2 to 16)
// and Pixels count. No bit is lost; samples with bits above Precision are an error.
// Nothing is said of colour: PS3.5 8.2.1 leaves that to the attributes.
func EncodeLossless(im Image) ([]byte, error) {
	if im.Components < 1 || im.Components > 4 || im.Precision < 2 || im.Precision > 16 {
		return nil, fmt.Errorf("%w: %d components of %d bits", ErrUnsupported, im.Components, im.Precision)
	}
	if err := im.checkEncodable(); err != nil {
		return nil, err
	}
	n := im.Components
	differences, ok := im.differences()
	if !ok {
		return nil, fmt.Errorf("%w: samples have more than %d bits", ErrUnsupported, im.Precision)
	}
	var often [4][17]int
	for i := 0; i < len(differences); i += n {
		for c := range n {
			often[c][sizeOf(int32(differences[i+c]))]++
		}
	}
	e := &encoder{out: make([]byte, 0, len(im.Pixels)/2+1024)}
	e.out = append(e.out, 0xFF, markerSOI)
	e.frame(markerSOF3, im.Header, []byte{0x11, 0x11, 0x11, 0x11}, make([]byte, 4))
	var tables [4]*codes
	scan := []byte{byte(n)}
	for c := range n {
		counts, values := optimal(often[c][:])
		e.table(0, byte(c), counts, values)
		tables[c] = newCodes(counts, values)
		scan = append(scan, byte(c+1), byte(c)<<4)
	}
	e.segment(markerSOS, append(scan, 1, 0, 0)...)
	for i := 0; i < len(differences); i += n {
		for c := range n {
			d := int32(differences[i+c])
			size := sizeOf(d)
			more := size & 15 // bits behind the code: none for 16, T.81 H.1.2.2
			t := tables[c]
			e.put(uint32(t.code[size])<<more|uint32(d+d>>31)&(1<<more-1), int(t.length[size])+more)
		}
	}
	return e.end(), nil
}

// differences are those to the sample before, or above in the first column
// (T.81 H.1.1), modulo 65536. It is false when a sample has too many bits.
func (im *Image) differences() ([]int16, bool) {
	n, width := im.Components, im.Columns*im.Components
	out := make([]int16, width*im.Rows)
	row, above := make([]uint16, width), make([]uint16, width)
	all := uint16(0)
	for y := range im.Rows {
		if im.Precision > 8 {
			for i := range row {
				row[i] = binary.LittleEndian.Uint16(im.Pixels[2*(y*width+i):])
			}
		} else {
			for i, b := range im.Pixels[y*width:][:width] {
				row[i] = uint16(b)
			}
		}
		to := out[y*width:][:width]
		for i := range n {
			predicted := above[i]
			if y == 0 {
				predicted = 1 << (im.Precision - 1)
			}
			to[i] = int16(row[i] - predicted)
			all |= row[i]
		}
		for i := n; i < len(row); i++ {
			to[i] = int16(row[i] - row[i-n])
			all |= row[i]
		}
		row, above = above, row
	}
	return out, uint32(all)>>im.Precision == 0
}
