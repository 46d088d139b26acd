package rle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// stream is a header for the segments and the segments.
func stream(segments ...[]byte) []byte {
	out := make([]byte, headerSize)
	binary.LittleEndian.PutUint32(out, uint32(len(segments)))
	for i, s := range segments {
		binary.LittleEndian.PutUint32(out[4+4*i:], uint32(len(out)))
		out = append(out, s...)
	}
	return out
}

func TestDecode(t *testing.T) {
	for name, c := range map[string]struct {
		layout Layout
		coded  []byte
		want   []byte
	}{
		"a literal and a run":       {Layout{5, 1, 1, 8}, stream([]byte{1, 10, 11, 0xFE, 12}), []byte{10, 11, 12, 12, 12}},
		"128 means nothing":         {Layout{2, 1, 1, 8}, stream([]byte{128, 0xFF, 7}), []byte{7, 7}},
		"high byte first":           {Layout{2, 1, 1, 16}, stream([]byte{0xFF, 0x12}, []byte{1, 0x34, 0x56}), []byte{0x34, 0x12, 0x56, 0x12}},
		"32 bits":                   {Layout{1, 1, 1, 32}, stream([]byte{0, 1}, []byte{0, 2}, []byte{0, 3}, []byte{0, 4}), []byte{4, 3, 2, 1}},
		"colour by pixel":           {Layout{2, 1, 3, 8}, stream([]byte{1, 1, 2}, []byte{1, 3, 4, 0}, []byte{1, 5, 6}), []byte{1, 3, 5, 2, 4, 6}},
		"colour of 16 bits":         {Layout{1, 1, 3, 16}, stream([]byte{0, 1}, []byte{0, 2}, []byte{0, 3}, []byte{0, 4}, []byte{0, 5}, []byte{0, 6}), []byte{2, 1, 4, 3, 6, 5}},
		"one bit":                   {Layout{12, 1, 1, 1}, stream([]byte{1, 0xA5, 0x0F}), []byte{0xA5, 0x0F}},
		"a run through rows":        {Layout{2, 2, 1, 8}, stream([]byte{0xFD, 9}), []byte{9, 9, 9, 9}},
		"a run beyond the last row": {Layout{2, 1, 1, 8}, stream([]byte{0x81, 9}), []byte{9, 9}},
		"literals beyond the last":  {Layout{2, 1, 1, 8}, stream([]byte{127, 1, 2, 3}), []byte{1, 2}},
		"anything behind":           {Layout{1, 1, 1, 8}, stream([]byte{0, 1, 77, 78, 79}), []byte{1}},
	} {
		got, err := Decode(c.coded, c.layout)
		if err != nil || !bytes.Equal(got, c.want) {
			t.Errorf("%s: %v, %v; want %v", name, got, err, c.want)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	wild := stream([]byte{0, 1})
	binary.LittleEndian.PutUint32(wild[4:], 0xFFFFFFF0)
	header := stream([]byte{0, 1})
	binary.LittleEndian.PutUint32(header[4:], 0)
	for name, c := range map[string]struct {
		layout Layout
		coded  []byte
		want   error
	}{
		"nothing":                   {Layout{1, 1, 1, 8}, nil, ErrDamaged},
		"half a header":             {Layout{1, 1, 1, 8}, make([]byte, 63), ErrDamaged},
		"no segments":               {Layout{1, 1, 1, 8}, make([]byte, 80), ErrDamaged},
		"too few segments":          {Layout{1, 1, 1, 16}, stream([]byte{0, 1}), ErrDamaged},
		"an offset beyond":          {Layout{1, 1, 1, 8}, wild, ErrDamaged},
		"an offset into the header": {Layout{1, 1, 1, 8}, header, ErrDamaged},
		"a short literal":           {Layout{3, 1, 1, 8}, stream([]byte{2, 1, 2}), ErrDamaged},
		"a short segment":           {Layout{3, 1, 1, 8}, stream([]byte{0xFF, 1}), ErrDamaged},
		"a run without its byte":    {Layout{2, 1, 1, 8}, stream([]byte{0xFF}), ErrDamaged},
		"a bomb":                    {Layout{40000, 40000, 1, 8}, stream([]byte{0xFF, 1}), ErrDamaged},
		"more than is taken":        {Layout{1 << 20, 1 << 20, 1, 8}, stream([]byte{0xFF, 1}), ErrLayout},
		"no bits":                   {Layout{1, 1, 1, 0}, stream(nil), ErrLayout},
		"too many planes":           {Layout{1, 1, 4, 32}, stream(nil), ErrLayout},
		"negative":                  {Layout{-1, -1, 1, 8}, stream(nil), ErrLayout},
	} {
		if _, err := Decode(c.coded, c.layout); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// Rows don't share runs, and segments are even (PS3.5 G.3.1).
func TestEncodeGolden(t *testing.T) {
	got, err := Encode([]byte{5, 5, 5, 5, 1, 2, 2, 3}, Layout{4, 2, 1, 8})
	want := stream([]byte{0xFD, 5, 3, 1, 2, 2, 3, 0})
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%v (%v), want %v", got[headerSize:], err, want[headerSize:])
	}
	if _, err := Encode(make([]byte, 7), Layout{4, 2, 1, 8}); err == nil {
		t.Error("a frame that is too short is encoded")
	}
}

func TestThereAndBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := Layout{
			rapid.IntRange(1, 300).Draw(t, "columns"), rapid.IntRange(1, 20).Draw(t, "rows"),
			rapid.IntRange(1, 3).Draw(t, "samples"), rapid.SampledFrom([]int{8, 16, 32}).Draw(t, "bits"),
		}
		pixels := noise(l, rapid.IntRange(1, 256).Draw(t, "values"), rapid.Uint64().Draw(t, "seed"))
		coded, err := Encode(pixels, l)
		if err != nil {
			t.Fatal(err)
		}
		for i := range binary.LittleEndian.Uint32(coded) {
			if binary.LittleEndian.Uint32(coded[4+4*i:])%2 != 0 {
				t.Fatalf("segment %d is not at an even offset", i+1)
			}
		}
		back, err := Decode(coded, l)
		if err != nil || !bytes.Equal(back, pixels) {
			t.Fatalf("%+v came back different (%v)", l, err)
		}
	})
}

// noise is made of runs and other bytes.
func noise(l Layout, values int, seed uint64) []byte {
	planes, size, _ := l.check()
	r := rand.New(rand.NewPCG(seed, 1))
	pixels := make([]byte, planes*size)
	for i := 0; i < len(pixels); {
		b := byte(r.IntN(values))
		for range 1 + r.IntN(4)*r.IntN(60) {
			if i < len(pixels) {
				pixels[i] = b
				i++
			}
		}
	}
	return pixels
}

func FuzzDecode(f *testing.F) {
	for _, l := range []Layout{{7, 5, 1, 8}, {7, 5, 3, 8}, {9, 9, 1, 16}, {3, 3, 1, 32}, {9, 3, 1, 1}} {
		coded, err := Encode(noise(l, 20, 1), l)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(coded, l.Columns, l.Rows, l.Samples, l.Bits)
	}
	f.Fuzz(func(t *testing.T, coded []byte, columns, rows, samples, bits int) {
		l := Layout{columns, rows, samples, bits}
		pixels, err := Decode(coded, l)
		if err != nil {
			return
		}
		again, err := Encode(pixels, l)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := Decode(again, l); err != nil || !bytes.Equal(back, pixels) {
			t.Fatalf("%+v came back different (%v)", l, err)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	l := Layout{512, 512, 1, 16}
	coded, err := Encode(noise(l, 50, 1), l)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(512 * 512 * 2)
	for b.Loop() {
		if _, err := Decode(coded, l); err != nil {
			b.Fatal(err)
		}
	}
}
