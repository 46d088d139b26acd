package pixel

import (
	"encoding/binary"
	"slices"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// expected is what a codec is told about the picture that it should find.
func (f Format) expected(coded []byte) samples {
	return samples{Columns: f.Columns, Rows: f.Rows, Components: f.Samples, Bits: f.BitsAllocated, Pixels: coded}
}

// matches compares what a stream declares with the attributes.
func (f Format) matches(s samples) error {
	if s.Columns != f.Columns || s.Rows != f.Rows || s.Components != f.Samples || s.Bits > f.BitsAllocated {
		return pacs.Errorf(pacs.Invalid, "A frame is %d by %d with %d samples of %d bits, which is not what the attributes say: %d by %d with %d of %d",
			s.Columns, s.Rows, s.Components, s.Bits, f.Columns, f.Rows, f.Samples, f.BitsAllocated)
	}
	return nil
}

// decoded puts what a codec has decoded into the form that the attributes say:
// in as many bytes as are allocated, with the sign that they say. A stream of
// signed samples that the attributes call unsigned gives the bits that it has;
// the other way round the highest of these bits is the sign, if the codec knows
// signs at all.
func (f Format) decoded(s samples, knowsSign bool) (Frame, error) {
	if err := f.matches(s); err != nil {
		return Frame{}, err
	}
	f.Planar = false
	switch f.Photometric {
	case YBRFull422, YBRPartial422, YBRPartial420:
		f.Photometric = YBRFull // each pixel has its own colour now
	}
	size, in, out := f.FrameSize(), s.sampleBytes(), f.BitsAllocated/8
	n := f.Columns * f.Rows * f.Samples
	switch {
	case size > maxFrame:
		return Frame{}, pacs.Errorf(pacs.Unsupported, "A frame of %d bytes is too large to be read at once", size)
	case len(s.Pixels) != n*in || out > 4:
		return Frame{}, pacs.Errorf(pacs.Unsupported, "Samples of %d bits are kept in %d bytes", s.Bits, len(s.Pixels))
	case out == 0:
		return Frame{f, packed(s.Pixels)}, nil
	}
	extend := f.Signed && (s.Signed || knowsSign)
	cut := s.Signed && !f.Signed
	if in == out && !cut && extend == s.Signed || in == out && s.Bits == 8*in {
		return Frame{f, s.Pixels}, nil
	}
	pixels := make([]byte, size)
	unused := 32 - s.Bits
	for i := range n {
		var v uint32
		switch in {
		case 1:
			v = uint32(s.Pixels[i])
		case 2:
			v = uint32(binary.LittleEndian.Uint16(s.Pixels[2*i:]))
		default:
			v = binary.LittleEndian.Uint32(s.Pixels[4*i:])
		}
		if extend {
			v = uint32(int32(v<<unused) >> unused)
		} else {
			v = v << unused >> unused
		}
		switch out {
		case 1:
			pixels[i] = byte(v)
		case 2:
			binary.LittleEndian.PutUint16(pixels[2*i:], uint16(v))
		default:
			binary.LittleEndian.PutUint32(pixels[4*i:], v)
		}
	}
	return Frame{f, pixels}, nil
}

// packed puts samples of one bit beside one another, the first in the lowest bit
// of a byte: PS3.5 8.1.1.
func packed(bits []byte) []byte {
	out := make([]byte, (len(bits)+7)/8)
	for i, b := range bits {
		out[i/8] |= b & 1 << (i % 8)
	}
	return out
}

// byPixel puts the samples of a pixel beside one another.
func (f Frame) byPixel() Frame {
	if !f.Planar || f.Samples == 1 || f.BitsAllocated < 8 {
		f.Planar = false
		return f
	}
	width := f.BitsAllocated / 8
	plane := f.Columns * f.Rows * width
	if len(f.Pixels) != plane*f.Samples { // shared colour is by pixel always
		f.Planar = false
		return f
	}
	out := make([]byte, len(f.Pixels))
	for c := range f.Samples {
		from, to := f.Pixels[c*plane:(c+1)*plane], c*width
		for at := 0; at < plane; at += width {
			copy(out[to:to+width], from[at:at+width])
			to += width * f.Samples
		}
	}
	f.Planar, f.Pixels = false, out
	return f
}

// usedBits is how many bits of each sample have to be kept: BitsStored, or all
// when a sample has others set (an overlay, a sign). Only for up to 16.
func (f Frame) usedBits() int {
	if f.BitsAllocated == 8 {
		if slices.ContainsFunc(f.Pixels, func(b byte) bool { return b>>f.BitsStored != 0 }) {
			return 8
		}
		return f.BitsStored
	}
	for i := 0; i+1 < len(f.Pixels); i += 2 {
		if binary.LittleEndian.Uint16(f.Pixels[i:])>>f.BitsStored != 0 {
			return 16
		}
	}
	return f.BitsStored
}

// signedBits is usedBits for samples whose sign fills what is allocated.
func (f Frame) signedBits() int {
	unused := 32 - f.BitsStored
	for i := 0; i < len(f.Pixels); i += f.BitsAllocated / 8 {
		var v int32
		switch f.BitsAllocated {
		case 8:
			v = int32(int8(f.Pixels[i]))
		case 16:
			v = int32(int16(binary.LittleEndian.Uint16(f.Pixels[i:])))
		default:
			v = int32(binary.LittleEndian.Uint32(f.Pixels[i:]))
		}
		if v<<unused>>unused != v {
			return f.BitsAllocated
		}
	}
	return f.BitsStored
}
