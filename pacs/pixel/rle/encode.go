package rle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Encode compresses a frame of little endian samples, colour by pixel. Rows are
// encoded each on its own (PS3.5 G.3.1), segments have even length, as has the
// stream.
func Encode(pixels []byte, l Layout) ([]byte, error) {
	planes, size, err := l.check()
	if err != nil {
		return nil, err
	}
	if len(pixels) != planes*size {
		return nil, fmt.Errorf("a frame of %d bytes, the layout asks for %d", len(pixels), planes*size)
	}
	row := l.Columns
	if l.Bits == 1 {
		row = size // rows of packed pixels don't begin with a byte
	}
	out := make([]byte, headerSize, headerSize+len(pixels)/2)
	binary.LittleEndian.PutUint32(out, uint32(planes))
	line := make([]byte, row)
	for plane := range planes {
		if len(out) > math.MaxUint32 {
			return nil, errors.New("the frame is too large for RLE")
		}
		binary.LittleEndian.PutUint32(out[4+4*plane:], uint32(len(out)))
		at := l.place(plane)
		for range size / row {
			for i := range line {
				line[i] = pixels[at]
				at += planes
			}
			out = appendPacked(out, line)
		}
		if len(out)%2 != 0 {
			out = append(out, 0) // PS3.5 G.3.1
		}
	}
	return out, nil
}

// appendPacked is PackBits. A pair of equal bytes amid literal ones stays among
// them: a run of its own would save nothing.
func appendPacked(out, line []byte) []byte {
	const longest = 128
	for i := 0; i < len(line); {
		run := 1
		for i+run < len(line) && run < longest && line[i+run] == line[i] {
			run++
		}
		if run >= 2 {
			out = append(out, byte(257-run), line[i])
			i += run
			continue
		}
		begin := i
		for i < len(line) && i-begin < longest {
			if i+2 < len(line) && line[i] == line[i+1] && line[i] == line[i+2] {
				break
			}
			i++
		}
		out = append(out, byte(i-begin-1))
		out = append(out, line[begin:i]...)
	}
	return out
}
