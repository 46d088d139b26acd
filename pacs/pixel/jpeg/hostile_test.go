package jpeg

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// seeds are small streams of every process.
func seeds(t testing.TB) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	paths, err := filepath.Glob(filepath.Join("testdata", "*.jpg"))
	if err != nil || len(paths) < 5 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		if out[filepath.Base(path)], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	for name, im := range map[string]Image{
		"lossless-8bit": picture(9, 7, 1, 8, 5, 1), "lossless-16bit": picture(9, 7, 1, 16, 900, 2), "lossless-colour": picture(9, 7, 3, 8, 5, 3),
	} {
		if out[name], err = EncodeLossless(im); err != nil {
			t.Fatal(err)
		}
	}
	for name, im := range map[string]Image{"baseline": picture(20, 17, 1, 8, 5, 4), "baseline-colour": picture(20, 17, 3, 8, 5, 5)} {
		if out[name], err = EncodeBaseline(im, 80); err != nil {
			t.Fatal(err)
		}
	}
	out["lossless-restart"] = withRestarts(t, picture(9, 12, 1, 12, 40, 6), 3)
	return out
}

// Cut anywhere, a stream is an error; but for the end marker, which may be
// missing where nothing else is.
func TestTruncated(t *testing.T) {
	for name, data := range seeds(t) {
		whole, err := Decode(data, Limits{1 << 20})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for n := range bytes.TrimRight(data[:len(data)-2], "\xFF") { // fill bytes may go
			if _, err := Decode(data[:n], Limits{1 << 20}); !errors.Is(err, ErrDamaged) {
				t.Fatalf("%s cut to %d of %d bytes: %v", name, n, len(data), err)
			}
		}
		cut, err := Decode(data[:len(data)-2], Limits{1 << 20})
		if whole.Process == Progressive {
			if err == nil {
				t.Errorf("%s: a progressive stream may have scans to come", name)
			}
		} else if err != nil || !bytes.Equal(cut.Pixels, whole.Pixels) {
			t.Errorf("%s without its end marker: %v", name, err)
		}
		padded, err := Decode(append(bytes.Clone(data), 0, 0, 0xFF), Limits{1 << 20})
		if err != nil || !bytes.Equal(padded.Pixels, whole.Pixels) {
			t.Errorf("%s with bytes behind: %v", name, err)
		}
	}
}

// A small stream that declares a large picture is refused without memory for it.
func TestBombs(t *testing.T) {
	for name, data := range seeds(t) {
		bomb := bytes.Clone(data)
		at := frameHeaderAt(bomb)
		binary.BigEndian.PutUint16(bomb[at+5:], 0xFFF0)
		binary.BigEndian.PutUint16(bomb[at+7:], 0xFFF0)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, tooLarge := Decode(bomb, Limits{1 << 20})
		_, impossible := Decode(bomb, Limits{1 << 40})
		runtime.ReadMemStats(&after)
		if !errors.Is(tooLarge, ErrTooLarge) || !errors.Is(impossible, ErrDamaged) {
			t.Errorf("%s: %v, %v", name, tooLarge, impossible)
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
			t.Errorf("%s: %d bytes were allocated", name, grown)
		}
		h, err := DecodeHeader(bomb)
		if err != nil || h.Columns != 0xFFF0 || h.Rows != 0xFFF0 {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
}

// frameHeaderAt finds the marker SOF0 to SOF3.
func frameHeaderAt(data []byte) int {
	for at := 2; ; at += 2 + int(binary.BigEndian.Uint16(data[at+2:])) {
		if m := data[at+1]; m >= markerSOF0 && m <= markerSOF3 {
			return at
		}
	}
}

// Scans that cost nothing to write cost time to go through.
func TestTooManyScans(t *testing.T) {
	data := seeds(t)["progressive-12bit.jpg"]
	first := bytes.Index(data, []byte{0xFF, markerSOS})
	next := first + bytes.Index(data[first:], []byte{0xFF, markerDHT})
	many := bytes.Clone(data[:first])
	for range maxScans + 1 {
		many = append(many, data[first:next]...)
	}
	many = append(many, 0xFF, markerEOI)
	if _, err := Decode(many, Limits{1 << 20}); !errors.Is(err, ErrUnsupported) {
		t.Error(err)
	}
}

// What is not decoded is told apart from what is damaged.
func TestKinds(t *testing.T) {
	coded, err := EncodeLossless(picture(9, 7, 1, 8, 5, 1))
	if err != nil {
		t.Fatal(err)
	}
	at := frameHeaderAt(coded)
	for name, c := range map[string]struct {
		change func(data []byte) []byte
		want   error
	}{
		"arithmetic coding":        {func(d []byte) []byte { d[at+1] = 0xC9; return d }, ErrUnsupported},
		"arithmetic, lossless":     {func(d []byte) []byte { d[at+1] = 0xCB; return d }, ErrUnsupported},
		"hierarchical":             {func(d []byte) []byte { d[at+1] = 0xC7; return d }, ErrUnsupported},
		"JPEG-LS":                  {func(d []byte) []byte { d[at+1] = 0xF7; return d }, ErrDamaged},
		"height in DNL":            {func(d []byte) []byte { d[at+5], d[at+6] = 0, 0; return d }, ErrUnsupported},
		"no width":                 {func(d []byte) []byte { d[at+7], d[at+8] = 0, 0; return d }, ErrDamaged},
		"17 bits":                  {func(d []byte) []byte { d[at+4] = 17; return d }, ErrUnsupported},
		"16 bits in SOF1":          {func(d []byte) []byte { d[at+1], d[at+4] = 0xC1, 16; return d }, ErrUnsupported},
		"five components":          {func(d []byte) []byte { d[at+9] = 5; return d }, ErrDamaged},
		"sampling of 0":            {func(d []byte) []byte { d[at+11] = 0x01; return d }, ErrDamaged},
		"a segment of 0 bytes":     {func(d []byte) []byte { d[at+2], d[at+3] = 0, 0; return d }, ErrDamaged},
		"two frames":               {func(d []byte) []byte { return bytes.Join([][]byte{d[:at], d[at : at+13], d[at:]}, nil) }, ErrDamaged},
		"no frame":                 {func(d []byte) []byte { return append(d[:at:at], d[at+13:]...) }, ErrDamaged},
		"no tables":                {func(d []byte) []byte { return append(d[:at+13:at+13], d[bytes.Index(d, []byte{0xFF, markerSOS}):]...) }, ErrDamaged},
		"predictor 0":              {func(d []byte) []byte { d[bytes.Index(d, []byte{0xFF, markerSOS})+7] = 0; return d }, ErrDamaged},
		"another component's scan": {func(d []byte) []byte { d[bytes.Index(d, []byte{0xFF, markerSOS})+5] = 9; return d }, ErrDamaged},
		"no image":                 {func([]byte) []byte { return []byte("this is no picture") }, ErrDamaged},
		"nothing":                  {func([]byte) []byte { return nil }, ErrDamaged},
	} {
		if _, err := Decode(c.change(bytes.Clone(coded)), Limits{1 << 20}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// Whatever the bytes, the answer is an image of the size that it says, or an
// error.
func FuzzDecode(f *testing.F) {
	for _, data := range seeds(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		const limit = 1 << 18
		im, err := Decode(data, Limits{limit})
		if err != nil {
			return
		}
		if int64(len(im.Pixels)) != im.Size() || im.Size() > limit {
			t.Fatalf("%d bytes for %+v", len(im.Pixels), im.Header)
		}
		if h, err := DecodeHeader(data); err != nil || h != im.Header {
			t.Fatalf("the header alone is %+v (%v), with the image %+v", h, err, im.Header)
		}
		im.ToRGB()
	})
}
