package jpeg

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// encoder writes a stream.
type encoder struct {
	out  []byte
	bits uint64 // not written yet, the last as the least significant
	n    int    // how many
}

// segment writes a marker and what belongs to it.
func (e *encoder) segment(marker byte, body ...byte) {
	e.out = append(e.out, 0xFF, marker)
	e.out = binary.BigEndian.AppendUint16(e.out, uint16(len(body)+2))
	e.out = append(e.out, body...)
}

// frame writes a frame header; components are named 1, 2, 3.
func (e *encoder) frame(marker byte, h Header, factors, tables []byte) {
	body := []byte{byte(h.Precision), byte(h.Rows >> 8), byte(h.Rows), byte(h.Columns >> 8), byte(h.Columns), byte(h.Components)}
	for i := range h.Components {
		body = append(body, byte(i+1), factors[i], tables[i])
	}
	e.segment(marker, body...)
}

// put appends up to 32 bits.
func (e *encoder) put(v uint32, n int) {
	e.bits = e.bits<<n | uint64(v)
	if e.n += n; e.n < 32 {
		return
	}
	e.n -= 32
	e.four(uint32(e.bits >> e.n))
}

// four writes four bytes. A byte 0xFF is followed by a zero, T.81 F.1.2.3.
func (e *encoder) four(v uint32) {
	if inverted := ^v; (inverted-0x01010101)&^inverted&0x80808080 == 0 {
		e.out = binary.BigEndian.AppendUint32(e.out, v)
		return
	}
	for shift := 24; shift >= 0; shift -= 8 {
		e.stuffed(byte(v >> shift))
	}
}

func (e *encoder) stuffed(b byte) {
	if e.out = append(e.out, b); b == 0xFF {
		e.out = append(e.out, 0)
	}
}

// end fills the last byte with ones and writes the end marker.
func (e *encoder) end() []byte {
	for e.n >= 8 {
		e.n -= 8
		e.stuffed(byte(e.bits >> e.n))
	}
	if e.n > 0 {
		e.stuffed(byte(e.bits<<(8-e.n)) | (1<<(8-e.n) - 1))
	}
	return append(e.out, 0xFF, markerEOI)
}

// codes are the Huffman codes for symbols; a length of 0 means none.
type codes struct {
	code   [256]uint16
	length [256]uint8
}

// newCodes makes codes of a table, T.81 annex C.
func newCodes(counts [16]byte, values []byte) *codes {
	c := &codes{}
	code, k := uint16(0), 0
	for length := range 16 {
		for range counts[length] {
			c.code[values[k]], c.length[values[k]] = code, uint8(length+1)
			code++
			k++
		}
		code <<= 1
	}
	return c
}

// table writes a Huffman table.
func (e *encoder) table(class, to byte, counts [16]byte, values []byte) {
	body := append([]byte{class<<4 | to}, counts[:]...)
	e.segment(markerDHT, append(body, values...)...)
}

// sizeOf is the category of a difference or coefficient, T.81 table F.1 and H.2.
func sizeOf(v int32) int {
	if v < 0 {
		v = -v
	}
	return bits.Len32(uint32(v))
}

// optimal makes the best table for symbols that occur so often (T.81 K.2): codes
// have at most 16 bits, and none is all ones.
func optimal(often []int) (counts [16]byte, values []byte) {
	n := len(often)
	frequency := append(append(make([]int, 0, n+1), often...), 1) // the last gets the code of ones
	length := make([]int, n+1)
	next := make([]int, n+1) // symbols of a branch are chained
	for i := range next {
		next[i] = -1
	}
	for {
		// The two rarest; of equals the one with the larger symbol.
		least, second := -1, -1
		for i, f := range frequency {
			switch {
			case f == 0:
			case least < 0 || f <= frequency[least]:
				least, second = i, least
			case second < 0 || f <= frequency[second]:
				second = i
			}
		}
		if second < 0 {
			break
		}
		frequency[least] += frequency[second]
		frequency[second] = 0
		at := least
		for length[at]++; next[at] >= 0; length[at]++ {
			at = next[at]
		}
		next[at] = second
		for at = second; at >= 0; at = next[at] {
			length[at]++
		}
	}
	size := make([]int, n+2)
	for _, l := range length {
		if l > 0 {
			size[l]++
		}
	}
	for i := len(size) - 1; i > 16; i-- { // T.81 figure K.3
		for size[i] > 0 {
			j := i - 2
			for size[j] == 0 {
				j--
			}
			size[i] -= 2
			size[i-1]++
			size[j+1] += 2
			size[j]--
		}
	}
	longest := min(16, len(size)-1)
	for size[longest] == 0 {
		longest--
	}
	size[longest]-- // the one of ones
	for i := 1; i <= 16 && i < len(size); i++ {
		counts[i-1] = byte(size[i])
	}
	for l := 1; l <= n+1; l++ {
		for symbol := range n {
			if length[symbol] == l {
				values = append(values, byte(symbol))
			}
		}
	}
	return counts, values
}

// checkEncodable looks at what both encoders need.
func (im *Image) checkEncodable() error {
	if im.Columns < 1 || im.Rows < 1 || im.Columns > 65535 || im.Rows > 65535 {
		return fmt.Errorf("%w: %d × %d pixels", ErrUnsupported, im.Columns, im.Rows)
	}
	if int64(len(im.Pixels)) != im.Size() {
		return fmt.Errorf("an image of %d bytes, its header asks for %d", len(im.Pixels), im.Size())
	}
	return nil
}
