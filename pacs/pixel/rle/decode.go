package rle

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrDamaged is returned for a stream that does not hold the frame.
var ErrDamaged = errors.New("the RLE stream is damaged")

// Decode gives the samples of a frame: little endian, colour by pixel. What is
// allocated is the frame that l describes, and only when the stream could hold
// it: a byte of RLE stands for at most 64.
func Decode(coded []byte, l Layout) ([]byte, error) {
	planes, size, err := l.check()
	if err != nil {
		return nil, err
	}
	if len(coded) < headerSize {
		return nil, fmt.Errorf("%w: it has %d bytes, less than its header", ErrDamaged, len(coded))
	}
	if n := binary.LittleEndian.Uint32(coded); n != uint32(planes) {
		return nil, fmt.Errorf("%w: it has %d segments, the attributes ask for %d", ErrDamaged, n, planes)
	}
	// A replicate run of two bytes makes 128, so this many are needed at least.
	if len(coded)-headerSize < planes*(size/64) {
		return nil, fmt.Errorf("%w: its %d bytes can't hold %d planes of %d bytes", ErrDamaged, len(coded), planes, size)
	}
	pixels := make([]byte, planes*size)
	for plane := range planes {
		begin, end := segment(coded, plane, planes)
		if begin < headerSize || begin > end {
			return nil, fmt.Errorf("%w: segment %d begins at %d of %d bytes", ErrDamaged, plane+1, begin, len(coded))
		}
		if missing := expand(pixels[l.place(plane):], planes, size, coded[begin:end]); missing > 0 {
			return nil, fmt.Errorf("%w: %d of %d bytes are missing in segment %d", ErrDamaged, missing, size, plane+1)
		}
	}
	return pixels, nil
}

// segment says where a segment lies. It ends where the next begins; the last,
// and one whose successor's offset makes no sense, at the end of the stream.
func segment(coded []byte, plane, planes int) (begin, end int) {
	offset := func(i int) int { return int(binary.LittleEndian.Uint32(coded[4+4*i:])) }
	begin, end = offset(plane), len(coded)
	if plane+1 < planes {
		if next := offset(plane + 1); next > begin && next < end {
			end = next
		}
	}
	return begin, end
}

// expand undoes PackBits (PS3.5 G.3.2) for size bytes, each stride behind the one
// before, and says how many could not be filled. What a run has beyond the last
// byte is dropped.
func expand(dst []byte, stride, size int, coded []byte) (missing int) {
	at, left := 0, size // of dst
	for left > 0 && len(coded) >= 2 {
		control := int(int8(coded[0]))
		switch {
		case control >= 0:
			n := control + 1
			literal := coded[1:]
			coded = coded[min(1+n, len(coded)):]
			n = min(n, left, len(literal))
			if stride == 1 {
				copy(dst[at:at+n], literal)
				at += n
			} else {
				for _, b := range literal[:n] {
					dst[at] = b
					at += stride
				}
			}
			left -= n
		case control > -128:
			n := min(1-control, left)
			b := coded[1]
			coded = coded[2:]
			if b == 0 { // as it was allocated
				at += n * stride
			} else {
				for range n {
					dst[at] = b
					at += stride
				}
			}
			left -= n
		default:
			coded = coded[1:]
		}
	}
	return left
}
