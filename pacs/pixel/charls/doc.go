// Package charls encodes and decodes JPEG-LS (ISO/IEC 14495-1) by the CharLS
// library. It is C++ and reads hostile bytes: call it in a process that may
// die (pixel.Worker). Built with the tag charls it needs libcharls and its
// headers; without it Available is false and both functions fail.
package charls

import (
	"errors"
	"fmt"
)

// Image is the samples of one frame.
type Image struct {
	Columns, Rows int
	// Components is 1 to 4, the samples of a pixel beside one another. Two can be
	// decoded only.
	Components int
	// Bits per sample, 2 to 16. Up to 8 a sample is a byte, above two,
	// little endian.
	Bits   int
	Pixels []byte
}

// MaxPixels bounds the bytes of one frame that are taken or made.
const MaxPixels = 512 << 20

// ErrAbsent says that this build has no codec.
var ErrAbsent = fmt.Errorf("%w: this build has no JPEG-LS codec (build with -tags charls)", errors.ErrUnsupported)

// Size is how many bytes Pixels has for the other fields, 0 when they are
// beyond what JPEG-LS and this package allow.
func (im Image) Size() int {
	if im.Columns < 1 || im.Columns > 65535 || im.Rows < 1 || im.Rows > 65535 ||
		im.Components < 1 || im.Components > 4 || im.Bits < 2 || im.Bits > 16 {
		return 0
	}
	size := im.Columns * im.Rows * im.Components * ((im.Bits + 7) / 8)
	if size > MaxPixels {
		return 0
	}
	return size
}
