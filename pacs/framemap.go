package pacs

import (
	"encoding/binary"
	"encoding/json"
	"math"
)

// FrameMap says where the fragments of each frame of encapsulated pixel data
// are: some four bytes a frame, and any frame is found by looking at a few.
//
//	byte 0      1, the form
//	bytes 1-4   number of frames, little endian like all numbers here
//	directory   for each block of 128 frames 12 bytes: where the last fragment
//	            before the block ends in the file (8), and where the block is in
//	            the map (4)
//	blocks      for each frame the number of its fragments; for each fragment the
//	            distance from the end of the one before, and its length; all as
//	            (zigzag) varints
type FrameMap []byte

const (
	frameMapForm  = 1
	frameMapHead  = 5
	frameMapEntry = 12
	// framesPerBlock bounds what has to be passed over to come to a frame.
	framesPerBlock = 128
	// maxMappedFrames is more than the scanner takes.
	maxMappedFrames = 16 << 20
)

// NewFrameMap makes the map of frames, each of which is the byte ranges of its
// fragments. Nil when there are more than can be mapped.
func NewFrameMap(frames [][]Range) FrameMap {
	if len(frames) == 0 || len(frames) > maxMappedFrames {
		return nil
	}
	head := frameMapHead + frameMapEntry*blocksOf(len(frames))
	m := make(FrameMap, head, head+len(frames)*6)
	m[0] = frameMapForm
	binary.LittleEndian.PutUint32(m[1:], uint32(len(frames)))
	end := int64(0)
	for n, fragments := range frames {
		if n%framesPerBlock == 0 {
			if len(m) > math.MaxUint32 {
				return nil
			}
			entry := m[frameMapHead+frameMapEntry*(n/framesPerBlock):]
			binary.LittleEndian.PutUint64(entry, uint64(end))
			binary.LittleEndian.PutUint32(entry[8:], uint32(len(m)))
		}
		m = binary.AppendUvarint(m, uint64(len(fragments)))
		for _, f := range fragments {
			m = binary.AppendVarint(m, f.Offset-end)
			m = binary.AppendVarint(m, f.Length)
			end = f.Offset + f.Length
		}
	}
	return m
}

// LegacyFrameMap makes a map of what the index held before there were any: the
// JSON of [][]Range.
func LegacyFrameMap(text []byte) (FrameMap, error) {
	var frames [][]Range
	if err := json.Unmarshal(text, &frames); err != nil {
		return nil, Wrap(Internal, err, "A row of the index can't be read")
	}
	return NewFrameMap(frames), nil
}

func blocksOf(frames int) int { return (frames + framesPerBlock - 1) / framesPerBlock }

// Frames is how many frames the map has; 0 when it is none.
func (m FrameMap) Frames() int {
	if len(m) < frameMapHead || m[0] != frameMapForm {
		return 0
	}
	n := int64(binary.LittleEndian.Uint32(m[1:]))
	if n > maxMappedFrames || int64(len(m)) < frameMapHead+frameMapEntry*int64(blocksOf(int(n))) {
		return 0
	}
	return int(n)
}

// Frame returns the fragments of frame n, counted from 1; false when the map has
// no such frame, or is damaged.
func (m FrameMap) Frame(n int) (fragments []Range, ok bool) {
	if n < 1 || n > m.Frames() {
		return nil, false
	}
	n--
	entry := m[frameMapHead+frameMapEntry*(n/framesPerBlock):]
	end, at := int64(binary.LittleEndian.Uint64(entry)), int64(binary.LittleEndian.Uint32(entry[8:]))
	if at > int64(len(m)) {
		return nil, false
	}
	rest := m[at:]
	for skip := n % framesPerBlock; ; skip-- {
		count, size := binary.Uvarint(rest)
		// A fragment takes two bytes at least.
		if size <= 0 || count > uint64(len(rest)-size)/2 {
			return nil, false
		}
		rest = rest[size:]
		if skip == 0 {
			fragments = make([]Range, 0, count)
		}
		for range count {
			distance, size := binary.Varint(rest)
			if size <= 0 {
				return nil, false
			}
			rest = rest[size:]
			length, size := binary.Varint(rest)
			if size <= 0 || length < 0 {
				return nil, false
			}
			rest = rest[size:]
			f := Range{Offset: end + distance, Length: length}
			if f.Offset < 0 || f.Offset > math.MaxInt64-length {
				return nil, false
			}
			end = f.Offset + length
			if skip == 0 {
				fragments = append(fragments, f)
			}
		}
		if skip == 0 {
			return fragments, true
		}
	}
}
