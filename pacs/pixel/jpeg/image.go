package jpeg

import "errors"

// ErrDamaged is returned for a stream that contradicts itself or ends early.
var ErrDamaged = errors.New("the JPEG stream is damaged")

// ErrUnsupported is returned for a stream of a kind that is not decoded, and for
// an image that is not encoded.
var ErrUnsupported = errors.New("this kind of JPEG is not supported")

// ErrTooLarge is returned for an image beyond the caller's limit.
var ErrTooLarge = errors.New("the JPEG image is larger than expected")

// Process is how an image is compressed.
type Process int

// The processes by their frame headers, T.81 table B.1.
const (
	Baseline    Process = iota // SOF0
	Extended                   // SOF1
	Progressive                // SOF2
	Lossless                   // SOF3
)

// Colour is what a stream says its components are.
type Colour int

// What streams say, by a JFIF or Adobe segment or by the components' identifiers.
const (
	// Unspecified: there is nothing that says. Most decoders take three components
	// of a lossy stream for YCbCr then.
	Unspecified Colour = iota
	Gray
	YCbCr
	RGB
	CMYK
	YCCK
)

// Header is what a stream says before its first scan.
type Header struct {
	Columns, Rows int
	Components    int // 1 to 4
	Precision     int // bits per sample, 2 to 16
	Process       Process
	Colour        Colour
	// Subsampled: some component has fewer samples than another. Decode gives
	// them all the same number.
	Subsampled bool
}

// Size is the number of bytes of the decoded image.
func (h Header) Size() int64 {
	size := int64(h.Columns) * int64(h.Rows) * int64(h.Components)
	if h.Precision > 8 {
		size *= 2
	}
	return size
}

// Image is the samples of an image: components of a pixel beside one another, as
// they were in the stream. Samples of up to 8 bits are a byte, others two, little
// endian.
type Image struct {
	Header
	Pixels []byte
}

// Limits bound what Decode allocates.
type Limits struct {
	// Size is the largest Header.Size that is decoded. Decode needs up to five
	// times as much at once, for progressive streams.
	Size int64
}

// ToRGB converts an image of three components from YCbCr to RGB in place: full
// range, ITU-R BT.601 (T.871 section 7; PS3.3 C.7.6.3.1.2 YBR_FULL), rounded as
// the Independent JPEG Group's library does. Images with other components stay.
func (im *Image) ToRGB() {
	if im.Components != 3 {
		return
	}
	if im.Precision <= 8 {
		top := int32(1)<<im.Precision - 1
		half := int32(1) << (im.Precision - 1)
		p := im.Pixels
		for ; len(p) >= 3; p = p[3:] {
			r, g, b := rgb(int32(p[0]), int32(p[1])-half, int32(p[2])-half)
			p[0], p[1], p[2] = byte(clamp(r, top)), byte(clamp(g, top)), byte(clamp(b, top))
		}
	} else {
		top := int32(1)<<im.Precision - 1
		half := int32(1) << (im.Precision - 1)
		p := im.Pixels
		for ; len(p) >= 6; p = p[6:] {
			sample := func(i int) int32 { return int32(p[2*i]) | int32(p[2*i+1])<<8 }
			r, g, b := rgb(sample(0), sample(1)-half, sample(2)-half)
			r, g, b = clamp(r, top), clamp(g, top), clamp(b, top)
			p[0], p[1], p[2], p[3], p[4], p[5] = byte(r), byte(r>>8), byte(g), byte(g>>8), byte(b), byte(b>>8)
		}
	}
	im.Colour = RGB
}

// rgb is the conversion in fixed point of 16 bits, with chroma around zero.
func rgb(y, cb, cr int32) (r, g, b int32) {
	const half = 1 << 15
	r = y + int32((91881*int64(cr)+half)>>16)                  // 1.40200
	g = y + int32((-22554*int64(cb)-46802*int64(cr)+half)>>16) // 0.34414, 0.71414
	b = y + int32((116130*int64(cb)+half)>>16)                 // 1.77200
	return r, g, b
}

func clamp(v, top int32) int32 {
	return max(0, min(v, top))
}
