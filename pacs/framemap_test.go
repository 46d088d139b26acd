package pacs

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestFrameMapGolden(t *testing.T) {
	m := NewFrameMap([][]Range{{{100, 6}}, {{114, 2}, {124, 4}}})
	want := []byte{
		1,          // the form
		2, 0, 0, 0, // frames
		0, 0, 0, 0, 0, 0, 0, 0, // the first block begins behind byte 0 of the file
		17, 0, 0, 0, // and here in the map
		1, 0xC8, 0x01, 12, // one fragment, at +100, of 6 bytes
		2, 16, 4, 16, 8, // two: at +8 with 2 bytes, at +8 with 4
	}
	if !bytes.Equal(m, want) {
		t.Fatalf("%v\nwant %v", []byte(m), want)
	}
	if f, ok := m.Frame(2); !ok || !cmp.Equal(f, []Range{{114, 2}, {124, 4}}) {
		t.Errorf("frame 2: %v %v", f, ok)
	}
	for _, n := range []int{-1, 0, 3} {
		if f, ok := m.Frame(n); ok {
			t.Errorf("frame %d: %v", n, f)
		}
	}
}

// What goes in comes out, in any order, also of frames without fragments and of
// fragments that go back in the file.
func TestFrameMapRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fragment := rapid.Custom(func(t *rapid.T) Range {
			return Range{rapid.Int64Range(0, 1<<50).Draw(t, "offset"), rapid.Int64Range(0, 1<<33).Draw(t, "length")}
		})
		frames := rapid.SliceOfN(rapid.SliceOfN(fragment, 0, 3), 1, 400).Draw(t, "frames")
		m := NewFrameMap(frames)
		if m.Frames() != len(frames) {
			t.Fatalf("%d frames of %d", m.Frames(), len(frames))
		}
		for n, want := range frames {
			if got, ok := m.Frame(n + 1); !ok || len(got) != len(want) || len(want) > 0 && !cmp.Equal(got, want) {
				t.Fatalf("frame %d: %v %v, want %v", n+1, got, ok, want)
			}
		}
		text, _ := json.Marshal(frames)
		if old, err := LegacyFrameMap(text); err != nil || !bytes.Equal(old, m) {
			t.Fatalf("from JSON: %v", err)
		}
	})
}

// 10,000 frames of a slide take some 60 KB, a tenth of what their JSON did.
func TestFrameMapIsSmall(t *testing.T) {
	m := NewFrameMap(slide(10_000))
	if len(m) > 65_000 {
		t.Errorf("%d bytes", len(m))
	}
	t.Logf("10,000 frames in %d bytes", len(m))
}

func slide(frames int) [][]Range {
	out := make([][]Range, frames)
	at := int64(1 << 20)
	for i := range out {
		length := int64(15_000 + i*7919%9000)
		out[i] = []Range{{at, length}}
		at += length + 8
	}
	return out
}

func FuzzFrameMap(f *testing.F) {
	f.Add([]byte(NewFrameMap(slide(3))), 2)
	f.Add([]byte(NewFrameMap(slide(300))), 299)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		m := FrameMap(b)
		frames := m.Frames()
		fragments, ok := m.Frame(n)
		if ok && (n < 1 || n > frames || len(fragments) > len(b)) {
			t.Fatalf("frame %d of %d: %d fragments of %d bytes", n, frames, len(fragments), len(b))
		}
		for _, r := range fragments {
			if r.Offset < 0 || r.Length < 0 {
				t.Fatal(r)
			}
		}
	})
}

func BenchmarkFrameMap(b *testing.B) {
	m := NewFrameMap(slide(10_000))
	for b.Loop() {
		if _, ok := m.Frame(9_000); !ok {
			b.Fatal()
		}
	}
}
