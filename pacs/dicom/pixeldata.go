package dicom

import (
	"fmt"
	"sort"
)

// readPixelData records where pixel data is. At depth 0 it becomes the
// header's PixelData; in an item (an icon) only the element's Bulk.
func (s *scanner) readPixelData(e *Element, length uint32, depth int) error {
	pd := &PixelData{Tag: e.Tag, VR: e.VR, Offset: s.src.offset, Length: int64(length)}
	var err error
	if length == undefined {
		pd.Encapsulated, pd.Length = true, -1
		err = s.readEncapsulated(pd, depth == 0)
		e.Bulk = &Range{pd.Offset, s.src.offset - pd.Offset}
	} else {
		e.Bulk = &Range{pd.Offset, pd.Length}
		err = s.src.skip(pd.Length)
	}
	if depth == 0 && s.h.PixelData == nil {
		s.h.PixelData = pd
	}
	return err
}

// readEncapsulated reads encapsulated pixel data (PS3.5 A.4): the item with
// the basic offset table, then the fragments.
func (s *scanner) readEncapsulated(pd *PixelData, keep bool) error {
	b := s.src.peek(8)
	if len(b) < 8 {
		return s.src.short()
	}
	length := s.order.Uint32(b[4:])
	if NewTag(s.order.Uint16(b), s.order.Uint16(b[2:])) != TagItem || length == undefined {
		return s.fail(Malformed, "encapsulated pixel data doesn't begin with an item")
	}
	s.src.advance(8)
	if length%4 != 0 {
		return s.fail(Malformed, "a basic offset table of %d bytes", length)
	}
	if keep {
		if s.kept += int64(length); s.kept > s.opt.MaxHeader {
			return s.fail(TooLarge, "the basic offset table and the values of the header have more than %d bytes", s.opt.MaxHeader)
		}
		raw, err := s.readBytes(int(length))
		if err != nil {
			return err
		}
		pd.BasicOffsetTable = make([]uint32, length/4)
		for i := range pd.BasicOffsetTable {
			pd.BasicOffsetTable[i] = s.order.Uint32(raw[4*i:])
		}
	} else if err := s.src.skip(int64(length)); err != nil {
		return err
	}
	if !keep {
		pd = nil
	}
	return s.readFragments(pd)
}

// readFragments reads items up to and including the sequence delimiter. into,
// when not nil, gets to know where they are.
func (s *scanner) readFragments(into *PixelData) error {
	for {
		b := s.src.peek(8)
		if len(b) < 8 {
			return s.src.short()
		}
		tag, length := NewTag(s.order.Uint16(b), s.order.Uint16(b[2:])), s.order.Uint32(b[4:])
		switch {
		case tag == TagSequenceDelimitationItem:
			s.src.advance(8)
			return nil
		case tag != TagItem || length == undefined:
			return s.fail(Malformed, "(%04X,%04X) where a fragment should begin", tag.Group(), tag.Element())
		}
		s.src.advance(8)
		if err := s.count1(); err != nil {
			return err
		}
		if into != nil {
			into.Fragments = append(into.Fragments, Range{s.src.offset, int64(length)})
			into.begins = append(into.begins, length >= 4 && beginsStream(s.src.peek(4)))
		}
		if err := s.src.skip(int64(length)); err != nil {
			return err
		}
	}
}

// maxFrames bounds what Frames returns; 24 bytes each.
const maxFrames = 4 << 20

// Frames returns the byte ranges of every frame, in order: one range per frame
// for native pixel data, one or more fragments for encapsulated. It fails when
// the frames can't be told apart without decoding them, or aren't there.
func (h *Header) Frames() ([][]Range, error) {
	pd := h.PixelData
	if pd == nil {
		return nil, fmt.Errorf("dicom: the instance has no pixel data")
	}
	if !pd.Encapsulated {
		frames, size, err := h.NativeFrames()
		if err != nil {
			return nil, err
		}
		flat := make([]Range, frames)
		out := make([][]Range, frames)
		for i := range out {
			flat[i] = Range{pd.Offset + int64(i)*size, size}
			out[i] = flat[i : i+1 : i+1]
		}
		return out, nil
	}
	frames, err := h.numberOfFrames()
	if err != nil {
		return nil, err
	}
	return h.encapsulatedFrames(frames)
}

func (h *Header) numberOfFrames() (int, error) {
	frames := 1
	if e, ok := h.Dataset.Get(TagNumberOfFrames); ok && len(trimSpace(string(e.Value))) > 0 {
		n, ok := h.Dataset.Int(TagNumberOfFrames)
		if !ok || n < 1 {
			return 0, fmt.Errorf("dicom: Number of Frames is %q", h.Dataset.String(TagNumberOfFrames))
		}
		frames = n
	}
	if frames > maxFrames {
		return 0, fmt.Errorf("dicom: %d frames are more than can be handled (%d)", frames, maxFrames)
	}
	return frames, nil
}

// NativeFrames returns how many frames native pixel data have and how many
// bytes each; they follow one another. Errors as of Frames.
func (h *Header) NativeFrames() (frames int, size int64, err error) {
	if h.PixelData == nil || h.PixelData.Encapsulated {
		return 0, 0, fmt.Errorf("dicom: the instance has no native pixel data")
	}
	if frames, err = h.numberOfFrames(); err != nil {
		return 0, 0, err
	}
	size, err = h.nativeFrameSize(frames)
	return frames, size, err
}

func (h *Header) nativeFrameSize(frames int) (int64, error) {
	pd, ds := h.PixelData, h.Dataset
	rows, ok1 := ds.Int(TagRows)
	columns, ok2 := ds.Int(TagColumns)
	if !ok1 || !ok2 || rows <= 0 || columns <= 0 {
		return 0, fmt.Errorf("dicom: pixel data without Rows and Columns")
	}
	samples, ok := ds.Int(TagSamplesPerPixel)
	if !ok || samples <= 0 {
		samples = 1
	}
	bits, ok := ds.Int(TagBitsAllocated)
	switch pd.Tag {
	case TagFloatPixelData:
		bits = 32
	case TagDoubleFloatPixelData:
		bits = 64
	default:
		if !ok || bits <= 0 {
			return 0, fmt.Errorf("dicom: pixel data without Bits Allocated")
		}
	}
	// All four come from 16-bit attributes, normally; the product of what
	// Int can return must not overflow.
	const limit = 1 << 16
	if rows > limit || columns > limit || samples > limit || bits > limit {
		return 0, fmt.Errorf("dicom: impossible frame of %d x %d pixels, %d samples of %d bits", rows, columns, samples, bits)
	}
	pixels := int64(rows) * int64(columns)
	if pixels > (1<<62)/(int64(samples)*int64(bits)*int64(frames)) {
		return 0, fmt.Errorf("dicom: frames of %d x %d pixels are larger than the pixel data", rows, columns)
	}
	frameBits := pixels * int64(samples) * int64(bits)
	// Uncompressed 4:2:2 has two samples per pixel, 4:2:0 one and a half
	// (PS3.3 C.7.6.3.1.2). Some writers declare it and don't do it.
	if (frameBits*int64(frames)+7)/8 > pd.Length && samples == 3 {
		switch ds.String(TagPhotometricInterpretation) {
		case "YBR_FULL_422", "YBR_PARTIAL_422":
			frameBits = pixels * 2 * int64(bits)
		case "YBR_PARTIAL_420":
			frameBits = pixels * 3 / 2 * int64(bits)
		}
	}
	if (frameBits*int64(frames)+7)/8 > pd.Length {
		return 0, fmt.Errorf("dicom: %d frames of %d bits need more than the %d bytes of pixel data", frames, frameBits, pd.Length)
	}
	if frames > 1 && frameBits%8 != 0 {
		return 0, fmt.Errorf("dicom: frames of %d bits don't begin at byte boundaries", frameBits)
	}
	return (frameBits + 7) / 8, nil
}

func (h *Header) encapsulatedFrames(frames int) ([][]Range, error) {
	pd := h.PixelData
	fragments := pd.Fragments
	if len(fragments) == 0 {
		return nil, fmt.Errorf("dicom: encapsulated pixel data without a fragment")
	}
	if ts, _ := LookupTransferSyntax(h.TransferSyntax); ts.Video {
		return nil, fmt.Errorf("dicom: the fragments are one video stream; it has no frames to cut out")
	}
	if frames == 1 {
		return [][]Range{fragments[:len(fragments):len(fragments)]}, nil
	}
	// A table that contradicts the fragments is no reason to give up when
	// there is just one fragment per frame.
	var tableErr error
	if out, err := h.framesByExtendedTable(frames); out != nil {
		return out, nil
	} else if err != nil {
		tableErr = err
	}
	if len(fragments) == frames {
		out := make([][]Range, frames)
		for i := range out {
			out[i] = fragments[i : i+1 : i+1]
		}
		return out, nil
	}
	if len(pd.BasicOffsetTable) > 0 {
		starts := make([]int64, len(pd.BasicOffsetTable))
		for i, o := range pd.BasicOffsetTable {
			starts[i] = int64(o)
		}
		out, err := framesByStarts(fragments, starts, frames, "basic offset table")
		if err == nil {
			return out, nil
		}
		tableErr = err
	}
	// Where no table says it, the streams do: each frame is one.
	if out := h.framesByStreams(frames); out != nil {
		return out, nil
	}
	if tableErr != nil {
		return nil, tableErr
	}
	return nil, fmt.Errorf("dicom: %d fragments for %d frames and no offset table", len(fragments), frames)
}

// framesByStreams cuts the fragments where a JPEG, JPEG-LS or JPEG 2000 stream
// begins. Nil when those are not as many as there are frames: a fragment in the
// middle of a stream may begin like one.
func (h *Header) framesByStreams(frames int) [][]Range {
	pd := h.PixelData
	if len(pd.begins) != len(pd.Fragments) || !pd.begins[0] {
		return nil
	}
	out := make([][]Range, 0, min(frames, len(pd.Fragments)))
	first := 0
	for i := 1; i <= len(pd.Fragments); i++ {
		if i == len(pd.Fragments) || pd.begins[i] {
			if len(out) == frames {
				return nil
			}
			out = append(out, pd.Fragments[first:i:i])
			first = i
		}
	}
	if len(out) != frames {
		return nil
	}
	return out
}

// beginsStream says whether the bytes at the beginning of a fragment are those
// of a JPEG or JPEG-LS stream (SOI and another marker) or of a JPEG 2000 one
// (SOC and SIZ).
func beginsStream(b []byte) bool {
	return len(b) >= 4 && b[0] == 0xFF && (b[1] == 0xD8 && b[2] == 0xFF || b[1] == 0x4F && b[2] == 0xFF && b[3] == 0x51)
}

// framesByExtendedTable uses (7FE0,0001) and (7FE0,0002), PS3.3 C.7.6.3.1.8.
// Both results are nil when there is no table.
func (h *Header) framesByExtendedTable(frames int) ([][]Range, error) {
	e, ok := h.Dataset.Get(TagExtendedOffsetTable)
	if !ok || len(e.Value) == 0 {
		return nil, nil
	}
	if len(e.Value) != 8*frames {
		return nil, fmt.Errorf("dicom: an extended offset table of %d bytes for %d frames", len(e.Value), frames)
	}
	order := h.Dataset.order()
	starts := make([]int64, frames)
	for i := range starts {
		starts[i] = int64(order.Uint64(e.Value[8*i:]))
	}
	out, err := framesByStarts(h.PixelData.Fragments, starts, frames, "extended offset table")
	if err != nil {
		return nil, err
	}
	// The lengths tell what padding of an odd frame doesn't belong to it.
	if e, ok := h.Dataset.Get(TagExtendedOffsetTableLengths); ok && len(e.Value) == 8*frames {
		for i := range out {
			n := order.Uint64(e.Value[8*i:])
			if len(out[i]) == 1 && n > 0 && n <= uint64(out[i][0].Length) {
				out[i] = []Range{{out[i][0].Offset, int64(n)}}
			}
		}
	}
	return out, nil
}

// framesByStarts cuts the fragments where frames start. starts are offsets of
// item headers from the first one behind the basic offset table.
func framesByStarts(fragments []Range, starts []int64, frames int, table string) ([][]Range, error) {
	if len(starts) != frames {
		return nil, fmt.Errorf("dicom: the %s has %d entries for %d frames", table, len(starts), frames)
	}
	first := fragments[0].Offset
	cuts := make([]int, frames+1)
	cuts[frames] = len(fragments)
	for i, start := range starts {
		j := sort.Search(len(fragments), func(j int) bool { return fragments[j].Offset-first >= start })
		if j == len(fragments) || fragments[j].Offset-first != start || i > 0 && j <= cuts[i-1] || i == 0 && j != 0 {
			return nil, fmt.Errorf("dicom: entry %d of the %s points at %d, where no frame can begin", i, table, start)
		}
		cuts[i] = j
	}
	out := make([][]Range, frames)
	for i := range out {
		out[i] = fragments[cuts[i]:cuts[i+1]:cuts[i+1]]
	}
	return out, nil
}
