package dicom

import (
	"bytes"
	"fmt"
	"testing"
)

// Encapsulated pixel data: two frames, the first in two fragments.
const goldenEncapsulated = `
2800 0800 'IS' 0200 '2 '
E07F 1000 'OB' 0000 FFFFFFFF
  FEFF 00E0 08000000 00000000 14000000           // offset table: frames at 0 and 20
  FEFF 00E0 02000000 A1A2                        // 0:  frame 1
  FEFF 00E0 02000000 A3A4                        // 10: frame 1, continued
  FEFF 00E0 04000000 B1B2B3B4                    // 20: frame 2
FEFF DDE0 00000000
FCFF FCFF 'OB' 0000 02000000 0000                // data set trailing padding
`

func TestFramesEncapsulated(t *testing.T) {
	b := unhex(t, goldenEncapsulated)
	h, err := Scan(bytes.NewReader(b), ScanOptions{TransferSyntax: JPEGBaseline8Bit})
	if err != nil {
		t.Fatal(err)
	}
	pd := h.PixelData
	if !pd.Encapsulated || pd.Length != -1 || fmt.Sprint(pd.BasicOffsetTable) != "[0 20]" || len(pd.Fragments) != 3 {
		t.Fatalf("pixel data %+v", pd)
	}
	frames, err := h.Frames()
	if err != nil {
		t.Fatal(err)
	}
	if len(frames) != 2 || !bytes.Equal(pick(b, frames[0]), []byte{0xA1, 0xA2, 0xA3, 0xA4}) || !bytes.Equal(pick(b, frames[1]), []byte{0xB1, 0xB2, 0xB3, 0xB4}) {
		t.Errorf("frames %v", frames)
	}
}

// Without a table a frame is told from the next by the stream that begins with
// it; a table that contradicts the fragments is as good as none.
func TestFramesByStreams(t *testing.T) {
	const (
		jpeg1 = "FEFF 00E0 04000000 FFD8FFE0\n"
		jpeg2 = "FEFF 00E0 04000000 FFD8FFDB\n"
		j2k   = "FEFF 00E0 04000000 FF4FFF51\n"
		more  = "FEFF 00E0 04000000 11223344\n"
		other = "FEFF 00E0 04000000 FFD80011\n" // no marker behind SOI
		none  = "FEFF 00E0 00000000\n"
		wrong = "FEFF 00E0 08000000 00000000 07000000\n"
	)
	for name, c := range map[string]struct {
		items string
		want  string // fragments of each frame; "" when they can't be told apart
	}{
		"JPEG":                     {none + jpeg1 + more + jpeg2, "[2 1]"},
		"a wrong table":            {wrong + jpeg1 + jpeg2 + more, "[1 2]"},
		"JPEG 2000":                {none + j2k + more + more + j2k + more, "[3 2]"},
		"not as many":              {none + jpeg1 + jpeg1 + jpeg1, ""},
		"no stream":                {none + more + more + more, ""},
		"the first begins nothing": {none + more + jpeg1 + jpeg2, ""},
		"like a stream":            {none + jpeg1 + other + jpeg2, "[2 1]"},
	} {
		b := unhex(t, "2800 0800 'IS' 0200 '2 '\nE07F 1000 'OB' 0000 FFFFFFFF\n"+c.items+"FEFF DDE0 00000000\n")
		h, err := Scan(bytes.NewReader(b), ScanOptions{TransferSyntax: JPEGBaseline8Bit})
		if err != nil {
			t.Fatal(name, err)
		}
		frames, err := h.Frames()
		got := ""
		if err == nil {
			var n []int
			for _, f := range frames {
				n = append(n, len(f))
			}
			got = fmt.Sprint(n)
		}
		if got != c.want {
			t.Errorf("%s: %s %v, want %s", name, got, err, c.want)
		}
	}
}

func TestFramesExtendedOffsetTable(t *testing.T) {
	b := unhex(t, `
2800 0800 'IS' 0200 '2 '
E07F 0100 'OV' 0000 10000000 0000000000000000 0C00000000000000
E07F 0200 'OV' 0000 10000000 0300000000000000 0200000000000000   // the first frame has 3 bytes, padded to 4
E07F 1000 'OB' 0000 FFFFFFFF
  FEFF 00E0 00000000                             // no basic offset table
  FEFF 00E0 04000000 A1A2A300                    // 0
  FEFF 00E0 02000000 B1B2                        // 12
FEFF DDE0 00000000
`)
	h, err := Scan(bytes.NewReader(b), ScanOptions{TransferSyntax: HTJ2KLossless, MaxValue: 8})
	if err != nil {
		t.Fatal(err)
	}
	frames, err := h.Frames()
	if err != nil || len(frames) != 2 || !bytes.Equal(pick(b, frames[0]), []byte{0xA1, 0xA2, 0xA3}) || !bytes.Equal(pick(b, frames[1]), []byte{0xB1, 0xB2}) {
		t.Errorf("frames %v, %v", frames, err)
	}
}

func TestFrames(t *testing.T) {
	native := func(frames string, rows, columns, samples, bits int, length int64) *Header {
		ds := &Dataset{}
		ds.SetString(TagNumberOfFrames, IS, frames).SetInts(TagRows, US, rows).SetInts(TagColumns, US, columns)
		ds.SetInts(TagSamplesPerPixel, US, samples).SetInts(TagBitsAllocated, US, bits)
		return &Header{Dataset: ds, PixelData: &PixelData{Tag: TagPixelData, VR: OW, Offset: 1000, Length: length}}
	}
	encapsulated := func(frames string, table []uint32, fragments int) *Header {
		h := native(frames, 1, 1, 1, 8, -1)
		h.PixelData.Encapsulated, h.PixelData.BasicOffsetTable = true, table
		for i := range fragments { // of 12 bytes, with their headers 20
			h.PixelData.Fragments = append(h.PixelData.Fragments, Range{1000 + 20*int64(i), 12})
		}
		return h
	}
	with := func(h *Header, f func(h *Header)) *Header { f(h); return h }
	for _, c := range []struct {
		what string
		h    *Header
		want string // "" is an error
	}{
		{"one frame, number absent", native("", 4, 4, 1, 16, 32), "[[{1000 32}]]"},
		{"three frames", native("3", 2, 2, 3, 8, 36), "[[{1000 12}] [{1012 12}] [{1024 12}]]"},
		{"padded", native("1", 1, 3, 1, 8, 4), "[[{1000 3}]]"},
		{"too short", native("3", 2, 2, 3, 8, 35), ""},
		{"one bit, whole bytes", native("2", 4, 4, 1, 1, 4), "[[{1000 2}] [{1002 2}]]"},
		{"one bit, one odd frame", native("1", 3, 3, 1, 1, 2), "[[{1000 2}]]"},
		{"one bit, frames inside bytes", native("2", 3, 3, 1, 1, 4), ""},
		{"4:2:2", with(native("2", 2, 2, 3, 8, 16), func(h *Header) { h.Dataset.SetString(TagPhotometricInterpretation, CS, "YBR_FULL_422") }), "[[{1000 8}] [{1008 8}]]"},
		{"4:2:2 only by name", with(native("1", 2, 2, 3, 8, 12), func(h *Header) { h.Dataset.SetString(TagPhotometricInterpretation, CS, "YBR_FULL_422") }), "[[{1000 12}]]"},
		{"float", with(native("1", 2, 2, 1, 32, 16), func(h *Header) { h.PixelData.Tag = TagFloatPixelData; h.Dataset.Delete(TagBitsAllocated) }), "[[{1000 16}]]"},
		{"double", with(native("1", 2, 2, 1, 64, 32), func(h *Header) { h.PixelData.Tag = TagDoubleFloatPixelData }), "[[{1000 32}]]"},
		{"zero frames", native("0", 2, 2, 1, 8, 4), ""},
		{"no number", native("1A", 2, 2, 1, 8, 4), ""},
		{"billions of frames", native("2147483647", 1, 1, 1, 1, 1<<40), ""},
		{"no rows", native("1", 0, 2, 1, 8, 4), ""},
		{"overflow", native("4000000", 65535, 65535, 65535, 65535, 1<<40), ""},
		{"one frame, all fragments", encapsulated("1", nil, 3), "[[{1000 12} {1020 12} {1040 12}]]"},
		{"a fragment each", encapsulated("3", nil, 3), "[[{1000 12}] [{1020 12}] [{1040 12}]]"},
		{"a fragment each, table of rubbish", encapsulated("2", []uint32{7, 9}, 2), "[[{1000 12}] [{1020 12}]]"},
		{"by table", encapsulated("2", []uint32{0, 40}, 3), "[[{1000 12} {1020 12}] [{1040 12}]]"},
		{"table inside a fragment", encapsulated("2", []uint32{0, 30}, 3), ""},
		{"table backwards", encapsulated("2", []uint32{40, 0}, 3), ""},
		{"table not from the start", encapsulated("2", []uint32{20, 40}, 3), ""},
		{"short table", encapsulated("2", []uint32{0}, 3), ""},
		{"no table", encapsulated("2", nil, 3), ""},
		{"more frames than fragments", encapsulated("4", nil, 3), ""},
		{"no fragment", encapsulated("1", nil, 0), ""},
		{"video", with(encapsulated("100", nil, 1), func(h *Header) { h.TransferSyntax = "1.2.840.10008.1.2.4.102" }), ""},
		{"none", &Header{Dataset: &Dataset{}}, ""},
	} {
		frames, err := c.h.Frames()
		if got := fmt.Sprint(frames); (err != nil) != (c.want == "") || err == nil && got != c.want {
			t.Errorf("%s: %s, %v; want %s", c.what, got, err, c.want)
		}
	}
}
