package jpeg

import (
	"fmt"
	"math/bits"
)

// EncodeBaseline compresses an image of 8 bits by process 1
// (1.2.840.10008.1.2.4.50), with loss. quality is 1 to 100 as in the Independent
// JPEG Group's library. Three components are RGB, unless Colour is YCbCr; in the
// stream they are YCbCr with chroma halved across: photometric interpretation
// YBR_FULL_422, PS3.5 8.2.1.
func EncodeBaseline(im Image, quality int) ([]byte, error) {
	if im.Components != 1 && im.Components != 3 || im.Precision != 8 {
		return nil, fmt.Errorf("%w: baseline with %d components of %d bits", ErrUnsupported, im.Components, im.Precision)
	}
	if err := im.checkEncodable(); err != nil {
		return nil, err
	}
	e := &encoder{out: make([]byte, 0, len(im.Pixels)/4+1024)}
	e.out = append(e.out, 0xFF, markerSOI)
	scan := []byte{byte(im.Components)}
	var planes []*coding
	for i := range im.Components {
		c := im.coding(i, quality)
		planes = append(planes, c)
		scan = append(scan, byte(i+1), byte(min(i, 1))*0x11)
	}
	for i := range min(im.Components, 2) {
		body := []byte{byte(i)}
		for _, z := range natural {
			body = append(body, byte(planes[i].quant[z]))
		}
		e.segment(markerDQT, body...)
	}
	factors := []byte{0x11}
	if im.Components == 3 {
		factors = []byte{0x21, 0x11, 0x11}
	}
	e.frame(markerSOF0, im.Header, factors, []byte{0, 1, 1})
	for i := range min(im.Components, 2) {
		e.table(0, byte(i), dcCounts[i], dcValues[:])
		e.table(1, byte(i), acCounts[i], acValues[i][:])
	}
	e.segment(markerSOS, append(scan, 0, 63, 0)...)
	across, down := ceilDiv(im.Columns, 8), ceilDiv(im.Rows, 8)
	wide := 1 // blocks of the first component in an MCU
	if im.Components == 3 {
		wide = 2
	}
	for y := range down {
		for x := range ceilDiv(across, wide) {
			for bx := range wide {
				planes[0].encode(e, x*wide+bx, y)
			}
			for _, p := range planes[1:] {
				p.encode(e, x, y)
			}
		}
	}
	return e.end(), nil
}

// coding is a component that is being encoded.
type coding struct {
	samples       []uint8
	columns, rows int
	quant         [64]int32 // natural order
	// What forward gives is divided by 8 × quant: multiplied by 2³² over that,
	// which is exact for what 8 bits can give.
	inverse [64]uint64
	half    [64]int32 // of that divisor
	dc, ac  *codes
	pred    int32
}

// coding takes a component out of an image.
func (im *Image) coding(i, quality int) *coding {
	t := min(i, 1)
	c := &coding{columns: im.Columns, rows: im.Rows, dc: dcCodes[t], ac: acCodes[t]}
	quality = max(1, min(quality, 100))
	scale := 200 - 2*quality
	if quality < 50 {
		scale = 5000 / quality
	}
	for k, q := range quantTables[t] {
		z := natural[k]
		c.quant[z] = max(1, min((int32(q)*int32(scale)+50)/100, 255))
		c.inverse[z], c.half[z] = 1<<32/uint64(8*c.quant[z])+1, 4*c.quant[z]
	}
	if im.Components == 1 {
		c.samples = im.Pixels
		return c
	}
	line := make([]uint8, im.Columns)
	if i > 0 {
		c.columns = ceilDiv(im.Columns, 2)
	}
	c.samples = make([]uint8, 0, c.columns*im.Rows)
	for y := range im.Rows {
		pixels := im.Pixels[y*im.Columns*3:]
		for x := range line {
			if im.Colour == YCbCr {
				line[x] = pixels[3*x+i]
			} else {
				line[x] = component601(i, int32(pixels[3*x]), int32(pixels[3*x+1]), int32(pixels[3*x+2]))
			}
		}
		if i == 0 {
			c.samples = append(c.samples, line...)
			continue
		}
		for x := 0; x < len(line); x += 2 {
			a, b := int(line[x]), int(line[min(x+1, len(line)-1)])
			c.samples = append(c.samples, uint8((a+b+x/2%2)>>1)) // halves up and down by turns
		}
	}
	return c
}

// component601 is one of Y, Cb and Cr, the reverse of rgb.
func component601(i int, r, g, b int32) uint8 {
	const half, centre = 1 << 15, 128 << 16
	switch i {
	case 0:
		return uint8((19595*r + 38470*g + 7471*b + half) >> 16) // 0.29900, 0.58700, 0.11400
	case 1:
		return uint8((-11059*r - 21709*g + 32768*b + centre + half - 1) >> 16) // 0.16874, 0.33126, 0.5
	default:
		return uint8((32768*r - 27439*g - 5329*b + centre + half - 1) >> 16) // 0.5, 0.41869, 0.08131
	}
}

// encode writes a block (T.81 F.1.2). Beyond the edges the last samples are
// repeated.
func (c *coding) encode(e *encoder, bx, by int) {
	var block [64]int32
	inside := 8*bx+8 <= c.columns
	for y := range 8 {
		row := c.samples[min(8*by+y, c.rows-1)*c.columns:]
		if inside {
			for x, v := range row[8*bx:][:8] {
				block[8*y+x] = int32(v) - 128
			}
			continue
		}
		for x := range 8 {
			block[8*y+x] = int32(row[min(8*bx+x, c.columns-1)]) - 128
		}
	}
	forward(&block)

	// Where in zig-zag order there is something: most have a few only, and those
	// in between need no look.
	var there uint64
	for z := range 64 {
		v := block[z]
		sign := v >> 31 // to the nearest, halves away from zero
		size := uint64((v^sign)-sign+c.half[z]) * c.inverse[z] >> 32
		block[z] = (int32(size) ^ sign) - sign
		there |= -size >> 63 << (zigzag[z] & 63)
	}
	v := block[0]
	e.coefficient(c.dc, 0, v-c.pred)
	c.pred = v
	done, t := 0, c.ac
	held, n := e.bits, e.n // as put does it, in registers
	for there &^= 1; there != 0; there &= there - 1 {
		k := bits.TrailingZeros64(there)
		v := block[natural[k&63]&63]
		run, size := k-done-1, bits.Len32(uint32((v^v>>31)-v>>31))
		for done = k; run > 15; run -= 16 {
			held, n = held<<(t.length[0xF0]&63)|uint64(t.code[0xF0]), n+int(t.length[0xF0])
			if n >= 32 {
				n -= 32
				e.four(uint32(held >> (n & 31)))
			}
		}
		symbol, more := (run<<4|size)&0xFF, uint64(v+v>>31)&(1<<(size&31)-1)
		length := int(t.length[symbol]) + size
		held, n = held<<(length&63)|uint64(t.code[symbol])<<(size&31)|more, n+length
		if n >= 32 {
			n -= 32
			e.four(uint32(held >> (n & 31)))
		}
	}
	e.bits, e.n = held, n
	if done < 63 {
		e.put(uint32(c.ac.code[0]), int(c.ac.length[0]))
	}
}

// zigzag is the place in zig-zag order of each coefficient, the reverse of natural.
var zigzag = func() (places [64]uint8) {
	for k, z := range natural {
		places[z] = uint8(k)
	}
	return places
}()

// coefficient writes a code for a run of zeros and a size, and the bits of v.
func (e *encoder) coefficient(t *codes, run int, v int32) {
	size := sizeOf(v)
	symbol := (run<<4 | size) & 0xFF
	e.put(uint32(t.code[symbol])<<size|uint32(v+v>>31)&(1<<size-1), int(t.length[symbol])+size)
}

// forward is the cosine transform that inverse undoes; results are 8 times those
// of T.81 A.3.3.
func forward(block *[64]int32) {
	const (
		passBits           = 2 // more precision between the passes
		first, firstHalf   = fixBits - passBits, 1 << (fixBits - passBits - 1)
		second, secondHalf = fixBits + passBits, 1 << (fixBits + passBits - 1)
		secondSum, sumHalf = passBits, 1 << (passBits - 1)
	)
	for y := range 8 {
		b := (*[8]int32)(block[8*y:])
		y0, y1, y2, y3, y4, y5, y6, y7 := cosines(int(b[0]), int(b[1]), int(b[2]), int(b[3]), int(b[4]), int(b[5]), int(b[6]), int(b[7]))
		b[0], b[4] = int32(y0<<passBits), int32(y4<<passBits)
		b[1], b[2], b[3] = int32((y1+firstHalf)>>first), int32((y2+firstHalf)>>first), int32((y3+firstHalf)>>first)
		b[5], b[6], b[7] = int32((y5+firstHalf)>>first), int32((y6+firstHalf)>>first), int32((y7+firstHalf)>>first)
	}
	for x := range 8 {
		b := (*[57]int32)(block[x:])
		y0, y1, y2, y3, y4, y5, y6, y7 := cosines(int(b[0]), int(b[8]), int(b[16]), int(b[24]), int(b[32]), int(b[40]), int(b[48]), int(b[56]))
		b[0], b[32] = int32((y0+sumHalf)>>secondSum), int32((y4+sumHalf)>>secondSum)
		b[8], b[16], b[24] = int32((y1+secondHalf)>>second), int32((y2+secondHalf)>>second), int32((y3+secondHalf)>>second)
		b[40], b[48], b[56] = int32((y5+secondHalf)>>second), int32((y6+secondHalf)>>second), int32((y7+secondHalf)>>second)
	}
}

// cosines transforms eight values. y0 and y4 are sums, the others have fixBits
// more.
func cosines(x0, x1, x2, x3, x4, x5, x6, x7 int) (y0, y1, y2, y3, y4, y5, y6, y7 int) {
	s0, s1, s2, s3 := x0+x7, x1+x6, x2+x5, x3+x4
	e0, e1, e2, e3 := s0+s3, s1+s2, s1-s2, s0-s3
	z := (e2 + e3) * fix0541
	y7, y5, y3, y1 = odd(x0-x7, x1-x6, x2-x5, x3-x4)
	return e0 + e1, y1, z + e3*fix0765, y3, e0 - e1, y5, z - e2*fix1847, y7
}

// The typical tables of T.81 K.1 (in zig-zag order) and K.3, for luminance and for
// chrominance.
var (
	quantTables = [2][64]uint8{{
		16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40,
		26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51, 61, 60, 57, 51,
		56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87,
		95, 98, 103, 104, 103, 62, 77, 113, 121, 112, 100, 120, 92, 101, 103, 99,
	}, {
		17, 18, 18, 24, 21, 24, 47, 26, 26, 47, 99, 66, 56, 66, 99, 99,
		99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
		99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
		99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
	}}
	dcCounts = [2][16]byte{{0, 1, 5, 1, 1, 1, 1, 1, 1}, {0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1}}
	dcValues = [12]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}
	acCounts = [2][16]byte{{0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125}, {0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 119}}
	acValues = [2][162]byte{{
		0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71,
		0x14, 0x32, 0x81, 0x91, 0xa1, 0x08, 0x23, 0x42, 0xb1, 0xc1, 0x15, 0x52, 0xd1, 0xf0, 0x24, 0x33, 0x62, 0x72,
		0x82, 0x09, 0x0a, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x34, 0x35, 0x36, 0x37,
		0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59,
		0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x83,
		0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3,
		0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3,
		0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xe1, 0xe2,
		0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
	}, {
		0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71, 0x13, 0x22,
		0x32, 0x81, 0x08, 0x14, 0x42, 0x91, 0xa1, 0xb1, 0xc1, 0x09, 0x23, 0x33, 0x52, 0xf0, 0x15, 0x62, 0x72, 0xd1,
		0x0a, 0x16, 0x24, 0x34, 0xe1, 0x25, 0xf1, 0x17, 0x18, 0x19, 0x1a, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x35, 0x36,
		0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58,
		0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a,
		0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a,
		0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba,
		0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda,
		0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
	}}
	dcCodes = [2]*codes{newCodes(dcCounts[0], dcValues[:]), newCodes(dcCounts[1], dcValues[:])}
	acCodes = [2]*codes{newCodes(acCounts[0], acValues[0][:]), newCodes(acCounts[1], acValues[1][:])}
)
