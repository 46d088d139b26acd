package jpeg

import "fmt"

// lookBits is how many bits of a code are looked up at once.
const lookBits = 11

// huffmanTable is a table as the stream defines it. What decoding needs is made
// when a scan uses it: there may be any number of tables.
type huffmanTable struct {
	counts [16]byte // of codes by their length, from 1
	values []byte
	ac     bool
	made   *huffman
}

func (t *huffmanTable) huffman() (*huffman, error) {
	if t.values == nil {
		return nil, fmt.Errorf("%w: a Huffman table is missing", ErrDamaged)
	}
	var err error
	if t.made == nil {
		t.made, err = newHuffman(t.counts, t.values, t.ac)
	}
	return t.made, err
}

// huffman is a table for decoding (T.81 annex C and F.2.2.3).
type huffman struct {
	// look by the next bits: the symbol in the upper byte, the length of its code
	// in the lower; 0 for longer codes.
	look [1 << lookBits]uint16
	// direct by the next bits, where code and following difference both fit: the
	// difference in the upper 16 bits, then 8 bits for the run of zeros in front of
	// it, then 8 for the bits of both together. 0 for all else.
	direct [1 << lookBits]int32
	// last code of each length, -1 for none, and what is added to a code to
	// find its symbol.
	last   [17]int32
	offset [17]int32
	values []byte
	ac     bool
}

// newHuffman makes a table of counts[i] codes of i+1 bits. ac says that symbols
// are a run and a size, not a size alone.
func newHuffman(counts [16]byte, values []byte, ac bool) (*huffman, error) {
	h := &huffman{values: values, ac: ac}
	code, k := int32(0), 0
	for length := 1; length <= 16; length++ {
		n := int(counts[length-1])
		h.offset[length] = int32(k) - code
		h.last[length] = -1
		if n > 0 {
			if code+int32(n) > 1<<length {
				return nil, fmt.Errorf("%w: a Huffman table has too many codes", ErrDamaged)
			}
			for range n {
				if length <= lookBits {
					h.fill(uint32(code), length, values[k])
				}
				code++
				k++
			}
			h.last[length] = code - 1
		}
		code <<= 1
	}
	return h, nil
}

// fill enters a code for all bits that may follow it.
func (h *huffman) fill(code uint32, length int, symbol byte) {
	free := lookBits - length
	size, run := int(symbol), 0
	if h.ac {
		size, run = int(symbol&15), int(symbol>>4)
	}
	for rest := range uint32(1) << free {
		i := code<<free | rest
		h.look[i] = uint16(symbol)<<8 | uint16(length)
		switch {
		case size > free || h.ac && size == 0:
			continue
		case size == 0:
			h.direct[i] = int32(length)
		default:
			v := extend(int32(rest>>(free-size)), size)
			h.direct[i] = v<<16 | int32(run)<<8 | int32(length+size)
		}
	}
}

// long finds a code longer than lookBits at the beginning of bits; the length is
// 0 when there is none.
func (h *huffman) long(bits uint64) (symbol, length int) {
	for length := lookBits + 1; length <= 16; length++ {
		code := int32(bits >> (64 - length))
		if code <= h.last[length] {
			if i := int(code + h.offset[length]); i >= 0 && i < len(h.values) {
				return int(h.values[i]), length
			}
			return 0, 0
		}
	}
	return 0, 0
}
