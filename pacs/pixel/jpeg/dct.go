package jpeg

import (
	"encoding/binary"
	"fmt"
)

// natural is where the coefficients in zig-zag order belong, T.81 figure A.6.
var natural = [64]uint8{
	0, 1, 8, 16, 9, 2, 3, 10,
	17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34,
	27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36,
	29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46,
	53, 60, 61, 54, 47, 55, 62, 63,
}

// sample is a byte for 8 bits, two bytes for 12.
type sample interface{ uint8 | uint16 }

// plane is the samples of one component, before it has the size of the image.
type plane[S sample] struct {
	samples       []S
	stride        int
	columns, rows int // that mean something; the rest fills blocks and MCUs
	blocks        int // in a row of blocks, those that fill an MCU included

	// Progressive only: what is known of each block so far, in natural order, and
	// the quantisation table as it was in the component's first scan.
	coefficients []int16
	quant        *[64]int32
}

// dctFrame decodes the processes with a cosine transform, T.81 annexes F and G.
type dctFrame[S sample] struct {
	*stream
	planes []plane[S]
	done   [4]bool // sequential: it has been in a scan; progressive: with its DC
}

func newDCTFrame[S sample](s *stream) *dctFrame[S] {
	f := &dctFrame[S]{stream: s}
	across, down := s.mcus()
	for _, c := range s.components {
		p := plane[S]{
			columns: ceilDiv(s.header.Columns*c.h, s.maxH), rows: ceilDiv(s.header.Rows*c.v, s.maxV),
			blocks: across * c.h, stride: across * c.h * 8,
		}
		if p.samples = make([]S, p.stride*down*c.v*8); s.header.Process == Progressive {
			p.coefficients = make([]int16, len(p.samples))
		}
		f.planes = append(f.planes, p)
	}
	return f
}

// mcus is the number of MCUs of interleaved scans, T.81 A.2.3.
func (s *stream) mcus() (across, down int) {
	return ceilDiv(s.header.Columns, 8*s.maxH), ceilDiv(s.header.Rows, 8*s.maxV)
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

func (f *dctFrame[S]) complete() bool {
	for i := range f.components {
		if !f.done[i] {
			return false
		}
	}
	return true
}

func (f *dctFrame[S]) scan(sc scan) error {
	if f.header.Process == Progressive {
		return f.progressiveScan(sc)
	}
	type decoder struct {
		plane  *plane[S]
		dc, ac *huffman
		quant  *[64]int32
		dcPred int32
	}
	var decoders [4]decoder
	for i, c := range sc.components {
		d := decoder{plane: &f.planes[c.index], quant: f.quant[f.components[c.index].quant]}
		if d.quant == nil {
			return fmt.Errorf("%w: a quantisation table is missing", ErrDamaged)
		}
		var err error
		if d.dc, err = f.dc[c.dc].huffman(); err != nil {
			return err
		}
		if d.ac, err = f.ac[c.ac].huffman(); err != nil {
			return err
		}
		if f.done[c.index] {
			return fmt.Errorf("%w: a component comes twice", ErrDamaged)
		}
		f.done[c.index] = true
		decoders[i] = d
	}
	var block [64]int32
	return f.eachBlock(sc, func() {
		for i := range decoders {
			decoders[i].dcPred = 0
		}
	}, func(i, x, y int) error {
		d := &decoders[i]
		last := readBlock(&f.bits, d.dc, d.ac, d.quant, &d.dcPred, &block)
		if last < 0 {
			return errCode()
		}
		inverse(&block, last, d.plane.samples[(y*d.plane.stride+x)*8:], d.plane.stride)
		return nil
	})
}

// eachBlock calls visit for the blocks of a scan in their order (T.81 A.2), with
// the component's place in the scan; reset at the beginning of the scan and of
// each restart interval.
func (f *dctFrame[S]) eachBlock(sc scan, reset func(), visit func(i, x, y int) error) error {
	across, down := f.mcus()
	single := len(sc.components) == 1
	if single { // T.81 A.2.2: one block at a time, no filling up
		p := &f.planes[sc.components[0].index]
		across, down = ceilDiv(p.columns, 8), ceilDiv(p.rows, 8)
	}
	f.segment()
	reset()
	mcu := 0
	for my := range down {
		for mx := range across {
			if f.restart > 0 && mcu > 0 && mcu%f.restart == 0 {
				if f.bits.short() {
					return errShort()
				}
				if err := f.afterRestart(); err != nil {
					return err
				}
				reset()
			}
			mcu++
			if single {
				if err := visit(0, mx, my); err != nil {
					return err
				}
				continue
			}
			for i, c := range sc.components {
				h, v := f.components[c.index].h, f.components[c.index].v
				for by := range v {
					for bx := range h {
						if err := visit(i, mx*h+bx, my*v+by); err != nil {
							return err
						}
					}
				}
			}
		}
		if f.bits.short() {
			return errShort()
		}
	}
	return nil
}

// readBlock reads a block of a sequential scan (T.81 F.2.2), multiplied by the
// quantisation table and in natural order. It returns the zig-zag index of the
// last coefficient that may be other than zero, or -1 for a damaged block. block
// must be zeros.
func readBlock(r *bitReader, dc, ac *huffman, quant *[64]int32, pred *int32, block *[64]int32) (last int) {
	size := r.symbol(dc)
	if size < 0 || size > 15 {
		return -1
	}
	*pred += r.extended(size)
	block[0] = int32(int16(*pred)) * quant[0]
	data, at, bits, have := r.data, r.at, r.bits, r.n
	for k := 1; k < 64; {
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
		if e := ac.direct[bits>>(64-lookBits)]; e != 0 {
			bits <<= uint(e & 63)
			have -= int(e & 63)
			if k += int(e >> 8 & 15); k > 63 {
				return -1
			}
			z := natural[k] & 63
			block[z] = (e >> 16) * quant[z]
			last = k
			k++
			continue
		}
		l := ac.look[bits>>(64-lookBits)]
		symbol, length := int(l>>8), int(l&0xFF)
		if length == 0 {
			if symbol, length = ac.long(bits); length == 0 {
				return -1
			}
		}
		bits <<= uint(length & 63)
		have -= length
		run, size := symbol>>4, symbol&15
		if size == 0 {
			if run != 15 {
				break // end of block
			}
			k += 16
			continue
		}
		if k += run; k > 63 {
			return -1
		}
		v := extend(int32(bits>>(64-uint(size))), size)
		bits <<= uint(size)
		have -= size
		z := natural[k] & 63
		block[z] = v * quant[z]
		last = k
		k++
	}
	r.at, r.bits, r.n = at, bits, have
	return last
}
