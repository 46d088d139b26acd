package rle

import (
	"errors"
	"fmt"
)

// Layout is what must be known of a frame beside its stream: the attributes of
// the Image Pixel Module, PS3.3 C.7.6.3.
type Layout struct {
	Columns, Rows int
	Samples       int // per pixel
	Bits          int // allocated: 1, 8, 16, 32 or 64. Pixels of one bit are packed, PS3.5 8.1.1
}

// ErrLayout is returned for a layout that RLE Lossless can't hold.
var ErrLayout = errors.New("no frame of this layout is written in RLE")

// MaxFrame bounds the bytes of a frame that is decoded or encoded.
const MaxFrame = 1 << 31

const (
	headerSize  = 64 // PS3.5 G.5
	maxSegments = 15
	maxSide     = 1 << 20
)

// check gives the number of byte planes and the bytes of each.
func (l Layout) check() (planes, size int, err error) {
	switch l.Bits {
	case 8, 16, 32, 64:
		planes = l.Samples * (l.Bits / 8)
		size = l.Columns * l.Rows
	case 1:
		planes = l.Samples
		size = (l.Columns*l.Rows + 7) / 8
	}
	if l.Columns < 1 || l.Rows < 1 || l.Columns > maxSide || l.Rows > maxSide || l.Samples < 1 ||
		planes < 1 || planes > maxSegments || l.Bits == 1 && l.Samples != 1 || size > MaxFrame/planes {
		return 0, 0, fmt.Errorf("%w: %d × %d pixels of %d samples of %d bits", ErrLayout, l.Columns, l.Rows, l.Samples, l.Bits)
	}
	return planes, size, nil
}

// place is where the first byte of a plane goes among the bytes of a pixel:
// planes come with the most significant byte first, pixels have it last
// (PS3.5 G.2).
func (l Layout) place(plane int) int {
	width := max(l.Bits/8, 1)
	return plane/width*width + width - 1 - plane%width
}
