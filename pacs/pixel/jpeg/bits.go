package jpeg

import (
	"bytes"
	"encoding/binary"
)

// readAhead is how many bytes behind the data a bitReader may load at once.
const readAhead = 8

// bitReader gives the bits of one entropy-coded segment (T.81 F.2.2.5). Behind
// its end it gives zeros, as long as it is asked; short tells.
type bitReader struct {
	data []byte // without stuffing, and readAhead zeros behind
	at   int    // of the next byte to load; may be beyond the data
	bits uint64 // loaded bits, the first as the most significant
	n    int    // how many of them
	size int    // bytes of data without readAhead
}

// segment reads the entropy-coded segment that begins at data[at], up to a marker
// or the end of data: a byte 0xFF in it is followed by a zero that is dropped. It
// returns where the marker begins.
func (r *bitReader) segment(data []byte, at int) (next int) {
	if r.data == nil {
		r.data = make([]byte, 0, len(data)-at+readAhead)
	}
	out := r.data[:0]
	for {
		i := bytes.IndexByte(data[at:], 0xFF)
		if i < 0 {
			out = append(out, data[at:]...)
			at = len(data)
			break
		}
		out = append(out, data[at:at+i]...)
		at += i
		if at+1 >= len(data) {
			break
		}
		if data[at+1] != 0 {
			if data[at+1] == 0xFF { // a fill byte, T.81 B.1.1.2
				at++
				continue
			}
			break
		}
		out = append(out, 0xFF)
		at += 2
	}
	r.size = len(out)
	r.data = append(out, make([]byte, readAhead)...)
	r.at, r.bits, r.n = 0, 0, 0
	return at
}

// refill makes at least 56 bits available.
func (r *bitReader) refill() {
	if r.at+8 <= len(r.data) {
		r.bits |= binary.BigEndian.Uint64(r.data[r.at:]) >> r.n
	} else if r.at < len(r.data) {
		var last [8]byte
		copy(last[:], r.data[r.at:])
		r.bits |= binary.BigEndian.Uint64(last[:]) >> r.n
	}
	loaded := (63 - r.n) >> 3
	r.at += loaded
	r.n += loaded * 8
}

// short says whether more bits were taken than there are.
func (r *bitReader) short() bool { return r.at*8-r.n > r.size*8 }

// take gives the next n bits, 0 to 16.
func (r *bitReader) take(n int) int32 {
	if r.n < n {
		r.refill()
	}
	v := int32(r.bits >> 32 >> (32 - n))
	r.bits <<= n
	r.n -= n
	return v
}

// extended gives the next n bits as a difference, T.81 F.2.2.1 EXTEND.
func (r *bitReader) extended(n int) int32 {
	if n == 0 {
		return 0
	}
	return extend(r.take(n), n)
}

func extend(v int32, n int) int32 {
	if v < 1<<(n-1) {
		return v - 1<<n + 1
	}
	return v
}

// symbol gives the next Huffman code's value, -1 when there is no such code.
func (r *bitReader) symbol(h *huffman) int {
	if r.n < 16 {
		r.refill()
	}
	e := h.look[r.bits>>(64-lookBits)]
	symbol, length := int(e>>8), int(e&0xFF)
	if length == 0 {
		if symbol, length = h.long(r.bits); length == 0 {
			return -1
		}
	}
	r.bits <<= length
	r.n -= length
	return symbol
}
