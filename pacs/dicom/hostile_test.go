package dicom

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"testing"
)

// repeating is an endless stream of one piece behind a head.
type repeating struct {
	head, piece []byte
	at          int
	left        int64
}

func (r *repeating) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, io.EOF
	}
	if len(r.head) > 0 {
		n := copy(p, r.head)
		r.head = r.head[n:]
		return n, nil
	}
	n := 0
	for n < len(p) && r.left > 0 {
		k := copy(p[n:], r.piece[r.at:])
		r.at = (r.at + k) % len(r.piece)
		n += k
		r.left -= int64(k)
	}
	return n, nil
}

func TestScanHostileMemory(t *testing.T) {
	le := binary.LittleEndian
	nest := bytes.Repeat([]byte{
		8, 0, 0x40, 0x11, 'S', 'Q', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF,
		0xFE, 0xFF, 0, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF,
	}, 4000)
	nestImplicitUN := append([]byte{9, 0, 1, 0x10, 'U', 'N', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF},
		bytes.Repeat([]byte{0xFE, 0xFF, 0, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF, 9, 0, 1, 0x10, 0xFF, 0xFF, 0xFF, 0xFF}, 4000)...)
	claim := func(tag Tag, vr string, n uint32) []byte {
		b := le.AppendUint16(le.AppendUint16(nil, tag.Group()), tag.Element())
		b = append(append(b, vr...), 0, 0)
		return append(le.AppendUint32(b, n), "only a little follows, not what was claimed"...)
	}
	var bomb bytes.Buffer
	z, _ := flate.NewWriter(&bomb, 9)
	io.Copy(z, &repeating{head: claim(0x00091001, "OB", 0xF0000000), piece: make([]byte, 1<<16), left: 64 << 20})
	z.Close()

	for _, c := range []struct {
		what   string
		syntax string
		stream func() io.Reader
		kind   ErrorKind
		bound  uint64 // bytes allocated
	}{
		{"4000 nested sequences", ExplicitVRLittleEndian, func() io.Reader { return bytes.NewReader(nest) }, TooDeep, 200 << 10},
		{"4000 nested UN sequences", ExplicitVRLittleEndian, func() io.Reader { return bytes.NewReader(nestImplicitUN) }, TooDeep, 200 << 10},
		{"4 GB value", ExplicitVRLittleEndian, func() io.Reader { return bytes.NewReader(claim(0x00091001, "OB", 0xFFFFFFF0)) }, Truncated, 200 << 10},
		{"4 GB sequence", ExplicitVRLittleEndian, func() io.Reader {
			return bytes.NewReader(append(claim(0x00081140, "SQ", 0xFFFFFFF0)[:12], 0xFE, 0xFF, 0, 0xE0, 0xF0, 0xFF, 0xFF, 0xFF))
		}, Truncated, 200 << 10},
		{"4 GB extended offset table", ExplicitVRLittleEndian, func() io.Reader { return bytes.NewReader(claim(TagExtendedOffsetTable, "OV", 64<<20)) }, Truncated, 300 << 10},
		{"60 MB basic offset table", JPEGBaseline8Bit, func() io.Reader {
			return bytes.NewReader(append(claim(TagPixelData, "OB", undefined)[:12], 0xFE, 0xFF, 0, 0xE0, 0, 0, 0, 3, 1, 2, 3, 4))
		}, Truncated, 300 << 10},
		{"endless empty elements", ExplicitVRLittleEndian, func() io.Reader {
			return &repeating{piece: []byte{9, 0, 1, 0x10, 'L', 'O', 0, 0}, left: 1 << 30}
		}, TooLarge, 70 << 20},
		{"endless empty items", ExplicitVRLittleEndian, func() io.Reader {
			return &repeating{head: claim(0x00081140, "SQ", undefined)[:12], piece: []byte{0xFE, 0xFF, 0, 0xE0, 0, 0, 0, 0}, left: 1 << 30}
		}, TooLarge, 70 << 20},
		{"endless empty fragments", JPEGBaseline8Bit, func() io.Reader {
			return &repeating{head: claim(TagPixelData, "OB", undefined)[:12], piece: []byte{0xFE, 0xFF, 0, 0xE0, 0, 0, 0, 0}, left: 1 << 30}
		}, TooLarge, 30 << 20},
		{"endless rubbish VRs", ExplicitVRLittleEndian, func() io.Reader {
			return &repeating{head: []byte{8, 0, 0x60, 0, 'C', 'S', 0, 0}, piece: []byte{9, 0, 1, 0x10, '?', '?', 0, 0}, left: 1 << 30}
		}, TooLarge, 70 << 20},
		{"1 GB of pixels", ExplicitVRLittleEndian, func() io.Reader {
			return &repeating{head: claim(TagPixelData, "OB", 1<<30)[:12], piece: make([]byte, 1<<16), left: 1 << 30}
		}, 0, 200 << 10},
		{"deflate bomb", DeflatedExplicitVRLittleEndian, func() io.Reader { return bytes.NewReader(bomb.Bytes()) }, TooLarge, 500 << 10},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Scan(c.stream(), ScanOptions{TransferSyntax: c.syntax, MaxElements: 200_000, MaxInflated: 32 << 20})
		runtime.ReadMemStats(&after)
		var e *ScanError
		if c.kind == 0 && err != nil || c.kind != 0 && (!errors.As(err, &e) || e.Kind != c.kind) {
			t.Errorf("%s: %v, want %s", c.what, err, c.kind)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > c.bound {
			t.Errorf("%s: %d KB allocated, at most %d expected", c.what, got>>10, c.bound>>10)
		} else {
			t.Logf("%s: %d KB allocated", c.what, got>>10)
		}
	}
}

// An ordinary image costs a handful of allocations, whatever its size.
func TestScanAllocations(t *testing.T) {
	b := readSample(t, "cornerstoneWADOImageLoader/testImages/CTImage.dcm")
	allocs := testing.AllocsPerRun(20, func() {
		if _, err := Scan(bytes.NewReader(b), ScanOptions{}); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 60 {
		t.Errorf("%v allocations", allocs)
	}
}

func FuzzScan(f *testing.F) {
	for _, golden := range []string{goldenExplicit, goldenBigEndian, goldenEncapsulated} {
		b := unhex(f, golden)
		for _, ts := range []string{ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian} {
			f.Add(ts, b)
		}
		f.Add("", append(AppendFileMeta(nil, FileMeta{TransferSyntaxUID: ExplicitVRLittleEndian}), b...))
		var z bytes.Buffer
		w, _ := flate.NewWriter(&z, 9)
		w.Write(b)
		w.Close()
		f.Add(DeflatedExplicitVRLittleEndian, z.Bytes())
	}
	for name := range corpusForFuzz(f) {
		if b := readSample(f, name); len(b) < 20<<10 {
			f.Add("", b)
		}
	}
	f.Fuzz(func(t *testing.T, ts string, b []byte) {
		opt := ScanOptions{TransferSyntax: ts, MaxInflated: 1 << 20, FallbackCharset: "cyrillic", MaxValue: 256}
		h, err := Scan(bytes.NewReader(b), opt)
		var e *ScanError
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("%v is no ScanError", err)
		}
		js := AppendJSON(nil, h.Dataset, JSONOptions{BulkURI: func(path string, r Range) string {
			if r.Offset < 0 || r.Length < 0 || err == nil && !h.Deflated && r.Offset+r.Length > h.Length {
				t.Fatalf("%s lies at %v of %d", path, r, h.Length)
			}
			return path
		}})
		checkJSON(t, js)
		if err != nil {
			return
		}
		if h.Length != int64(len(b)) {
			t.Fatalf("Length %d of %d", h.Length, len(b))
		}
		if frames, err := h.Frames(); err == nil && !h.Deflated {
			for _, ranges := range frames {
				for _, r := range ranges {
					if r.Offset < 0 || r.Length < 0 || r.Offset+r.Length > h.Length {
						t.Fatalf("frame at %v of %d", r, h.Length)
					}
				}
			}
		}
		again, err := Scan(NewSkipReader(bytes.NewReader(b), 0, int64(len(b))), opt)
		if err != nil {
			t.Fatalf("a Skipper: %v", err)
		}
		if got := AppendJSON(nil, again.Dataset, JSONOptions{BulkURI: func(path string, _ Range) string { return path }}); !bytes.Equal(got, js) {
			t.Fatalf("a Skipper changes the data set:\n%s\n%s", js, got)
		}
		// What has no value in the stream can be written, and reads the same.
		if enc, err := AppendDataset(nil, h.Dataset.UTF8(), ExplicitVRLittleEndian); err == nil {
			if _, err := Scan(bytes.NewReader(enc), ScanOptions{TransferSyntax: ExplicitVRLittleEndian, MaxDepth: 64}); err != nil {
				t.Fatalf("written again: %v", err)
			}
		}
	})
}
