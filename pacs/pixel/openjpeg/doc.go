// Package openjpeg decodes and encodes JPEG 2000 (ISO/IEC 15444-1), and decodes
// High-Throughput JPEG 2000 (ISO/IEC 15444-15), by the OpenJPEG library.
//
//   - ReadHeader, in Go, says what a codestream declares: it is asked first, so
//     that nothing is decoded of a stream that declares another picture than was
//     expected.
//   - Decode and Encode call the library. It is C and reads hostile bytes: call
//     them in a process that may die (pixel.Worker).
//
// Built with the tag openjpeg it needs libopenjp2 2.5 and its headers; without
// it Available is false and Decode and Encode fail.
package openjpeg

import (
	"errors"
	"fmt"
)

// Image is the samples of one frame.
type Image struct {
	Columns, Rows int
	// Components beside one another for each pixel, 1 to 4.
	Components int
	// Bits per sample, 1 to 31. Up to 8 a sample is a byte, up to 16 two, above
	// four, little endian, and signed ones fill them.
	Bits   int
	Signed bool
	Pixels []byte
}

// MaxPixels bounds the bytes of one frame that are taken or made.
const MaxPixels = 512 << 20

// Params say how Encode compresses.
type Params struct {
	// Ratio is how many times smaller than the samples the stream becomes, with
	// loss; 0 compresses without loss.
	Ratio float64
	// Transform applies the multiple component transformation to 3 components,
	// which are RGB.
	Transform bool
}

// ErrAbsent says that this build has no codec.
var ErrAbsent = fmt.Errorf("%w: this build has no JPEG 2000 codec (build with -tags openjpeg)", errors.ErrUnsupported)

// SampleBytes is how many bytes a sample has in Pixels.
func (im Image) SampleBytes() int {
	switch {
	case im.Bits <= 8:
		return 1
	case im.Bits <= 16:
		return 2
	}
	return 4
}

// Size is how many bytes Pixels has for the other fields, 0 when they are
// beyond what this package takes.
func (im Image) Size() int {
	if im.Columns < 1 || im.Columns > maxSide || im.Rows < 1 || im.Rows > maxSide || im.Components < 1 || im.Components > 4 || im.Bits < 1 || im.Bits > maxBits {
		return 0
	}
	size := im.Columns * im.Rows * im.Components * im.SampleBytes()
	if size > MaxPixels {
		return 0
	}
	return size
}

const (
	maxSide = 1 << 17
	maxBits = 31 // the library's own limit
)
