package pixel

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/charls"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/openjpeg"
)

// withSign gives a picture negative samples too.
func withSign(f Frame, bits int) Frame {
	f.Signed, f.BitsStored, f.HighBit = true, bits, bits-1
	pixels := bytes.Clone(f.Pixels)
	for i := 0; i < len(pixels); i += 2 {
		v := int16(binary.LittleEndian.Uint16(pixels[i:]))
		v = (v - 100) << (16 - bits) >> (16 - bits)
		binary.LittleEndian.PutUint16(pixels[i:], uint16(v))
	}
	f.Pixels = pixels
	return f
}

var pictures = map[string]Frame{
	"1 × 1":             picture(1, 1, 1, 8),
	"2 bits":            picture(17, 19, 1, 2),
	"8 bits":            picture(64, 48, 1, 8),
	"10 bits, thin":     picture(2000, 3, 1, 10),
	"12 bits":           picture(256, 256, 1, 12),
	"16 bits":           picture(100, 90, 1, 16),
	"12 bits, signed":   withSign(picture(64, 64, 1, 12), 12),
	"16 bits, signed":   withSign(picture(64, 64, 1, 16), 16),
	"colour":            picture(33, 7, 3, 8),
	"colour of 16 bits": picture(64, 64, 3, 16),
}

// What is encoded without loss comes back in every bit, also from planes.
func TestLossless(t *testing.T) {
	c := newCodecs(t)
	for _, ts := range []string{dicom.ExplicitVRLittleEndian, dicom.EncapsulatedUncompressed, dicom.JPEGLSLossless, dicom.JPEG2000Lossless, dicom.RLELossless, dicom.JPEGLosslessSV1} {
		for name, f := range pictures {
			coded, as, err := c.Encode(t.Context(), ts, f, EncodeOptions{})
			if err != nil {
				t.Errorf("%s in %s: %v", name, ts, err)
				continue
			}
			back, err := c.Decode(t.Context(), ts, as, coded)
			if err != nil {
				t.Errorf("%s in %s: %v", name, ts, err)
				continue
			}
			if !bytes.Equal(back.Pixels, f.Pixels) || back.Format != f.Format || len(coded)%2 != 0 {
				t.Errorf("%s in %s: %+v came back as %+v", name, ts, f.Format, back.Format)
			}
		}
	}
	f := picture(33, 7, 3, 8)
	planes := f
	planes.Planar, planes.Pixels = true, nil
	for c := range 3 {
		for i := c; i < len(f.Pixels); i += 3 {
			planes.Pixels = append(planes.Pixels, f.Pixels[i])
		}
	}
	for _, ts := range []string{dicom.JPEGLSLossless, dicom.JPEG2000Lossless, dicom.RLELossless, dicom.JPEGLosslessSV1} {
		coded, as, err := c.Encode(t.Context(), ts, planes, EncodeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if back, err := c.Decode(t.Context(), ts, as, coded); err != nil || !bytes.Equal(back.Pixels, f.Pixels) || back.Planar {
			t.Errorf("planes in %s: %+v, %v", ts, back.Format, err)
		}
	}
}

// What loses keeps to what was asked.
func TestLossy(t *testing.T) {
	c := newCodecs(t)
	f := picture(256, 256, 1, 12)
	largest := func(a, b []byte) (most int) {
		for i := 0; i < len(a); i += 2 {
			d := int(binary.LittleEndian.Uint16(a[i:])) - int(binary.LittleEndian.Uint16(b[i:]))
			most = max(most, d, -d)
		}
		return most
	}
	for near := 1; near <= 5; near += 2 {
		coded, as, err := c.Encode(t.Context(), dicom.JPEGLSNearLossless, f, EncodeOptions{Near: near})
		if err != nil {
			t.Fatal(err)
		}
		back, err := c.Decode(t.Context(), dicom.JPEGLSNearLossless, as, coded)
		if err != nil {
			t.Fatal(err)
		}
		if d := largest(f.Pixels, back.Pixels); d == 0 || d > near {
			t.Errorf("NEAR %d changes samples by %d", near, d)
		}
	}
	colour := picture(256, 256, 3, 8)
	for _, ratio := range []float64{5, 20} {
		coded, as, err := c.Encode(t.Context(), dicom.JPEG2000, colour, EncodeOptions{Ratio: ratio})
		if err != nil {
			t.Fatal(err)
		}
		if got := float64(len(colour.Pixels)) / float64(len(coded)); got < ratio*0.95 || as.Photometric != YBRIrreversible {
			t.Errorf("a ratio of %g is %g, %s", ratio, got, as.Photometric)
		}
		if back, err := c.Decode(t.Context(), dicom.JPEG2000, as, coded); err != nil || back.Photometric != RGB || bytes.Equal(back.Pixels, colour.Pixels) {
			t.Errorf("%+v, %v", back.Format, err)
		}
	}
	palette := picture(8, 8, 1, 8)
	palette.Photometric = PaletteColor
	for _, ts := range []string{dicom.JPEGLSNearLossless, dicom.JPEG2000} {
		if _, _, err := c.Encode(t.Context(), ts, palette, EncodeOptions{}); pacs.CodeOf(err) != pacs.Unsupported {
			t.Errorf("a palette in %s: %v", ts, err)
		}
	}
}

// Old encoders put a zero before the end of the image.
func TestPaddedJPEGLS(t *testing.T) {
	c := newCodecs(t)
	f := picture(64, 64, 1, 12)
	coded, as, err := c.Encode(t.Context(), dicom.JPEGLSLossless, f, EncodeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	end := bytes.LastIndex(coded, []byte{0xFF, 0xD9})
	padded := append(append(bytes.Clone(coded[:end]), 0), 0xFF, 0xD9, 0)
	if back, err := c.Decode(t.Context(), dicom.JPEGLSLossless, as, padded); err != nil || !bytes.Equal(back.Pixels, f.Pixels) {
		t.Error(err)
	}
}

// Signs that the stream and the attributes disagree on, and bytes for words.
func TestDecodedAs(t *testing.T) {
	words := func(v ...uint16) (out []byte) {
		for _, w := range v {
			out = binary.LittleEndian.AppendUint16(out, w)
		}
		return out
	}
	base := Format{Columns: 2, Rows: 1, Samples: 1, BitsAllocated: 16, BitsStored: 13, HighBit: 12, Photometric: Monochrome2}
	signed := base
	signed.Signed = true
	for name, c := range map[string]struct {
		as    Format
		s     samples
		knows bool
		want  []byte
	}{
		"signed for unsigned":     {base, samples{Bits: 13, Signed: true, Pixels: words(0xFFFF, 5)}, true, words(0x1FFF, 5)},
		"unsigned for signed":     {signed, samples{Bits: 13, Pixels: words(0x1FFF, 5)}, true, words(0xFFFF, 5)},
		"no signs known":          {signed, samples{Bits: 13, Pixels: words(0x1FFF, 5)}, false, words(0x1FFF, 5)},
		"bytes for words":         {base, samples{Bits: 8, Pixels: []byte{0xFF, 5}}, true, words(0xFF, 5)},
		"signed bytes for words":  {signed, samples{Bits: 8, Signed: true, Pixels: []byte{0xFF, 5}}, true, words(0xFFFF, 5)},
		"five bits, sign unknown": {signed, samples{Bits: 5, Pixels: []byte{0x1F, 5}}, true, words(0xFFFF, 5)},
	} {
		c.s.Columns, c.s.Rows, c.s.Components = 2, 1, 1
		got, err := c.as.decoded(c.s, c.knows)
		if err != nil || !bytes.Equal(got.Pixels, c.want) {
			t.Errorf("%s: % x, want % x (%v)", name, got.Pixels, c.want, err)
		}
	}
	bit := Format{Columns: 10, Rows: 1, Samples: 1, BitsAllocated: 1, BitsStored: 1, Photometric: Monochrome2}
	if got, err := bit.decoded(samples{Columns: 10, Rows: 1, Components: 1, Bits: 1, Pixels: []byte{1, 0, 0, 0, 0, 0, 0, 1, 0, 1}}, true); err != nil || !bytes.Equal(got.Pixels, []byte{0x81, 2}) {
		t.Errorf("packed: % x, %v", got.Pixels, err)
	}
}

func TestBigEndian(t *testing.T) {
	c := &Codecs{}
	for name, p := range map[string]struct {
		bits        int
		words       bool
		coded, want []byte
	}{
		"16":           {16, true, []byte{1, 2, 3, 4}, []byte{2, 1, 4, 3}},
		"32":           {32, false, []byte{1, 2, 3, 4, 5, 6, 7, 8}, []byte{4, 3, 2, 1, 8, 7, 6, 5}},
		"8, bytes":     {8, false, []byte{1, 2}, []byte{1, 2}},
		"8, words":     {8, true, []byte{2, 1}, []byte{1, 2}},
		"1, words":     {1, true, []byte{7, 3}, []byte{3}},
		"1, no second": {1, true, []byte{7}, nil},
	} {
		f := Format{Columns: 2, Rows: 1, Samples: 1, BitsAllocated: p.bits, BitsStored: p.bits, HighBit: p.bits - 1, Words: p.words, Photometric: Monochrome2}
		got, err := c.Decode(t.Context(), dicom.ExplicitVRBigEndian, f, p.coded)
		if !bytes.Equal(got.Pixels, p.want) || (err != nil) != (p.want == nil) {
			t.Errorf("%s: % x, want % x (%v)", name, got.Pixels, p.want, err)
		}
	}
}

// Hostile streams end in an error for that frame only: the next good one decodes.
func TestHostileStreams(t *testing.T) {
	c := newCodecs(t)
	for _, ts := range []string{dicom.JPEGLSLossless, dicom.JPEG2000Lossless, dicom.JPEGLosslessSV1} {
		f := picture(64, 64, 1, 12)
		coded, as, err := c.Encode(t.Context(), ts, f, EncodeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		huge := bytes.Clone(coded)
		if ts == dicom.JPEGLSLossless {
			copy(huge[bytes.Index(huge, []byte{0xFF, 0xF7})+5:], []byte{0xFF, 0xFF, 0xFF, 0xFF}) // 65535 × 65535
		} else {
			copy(huge[8:], []byte{0x7F, 0xFF, 0xFF, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF})
		}
		for name, data := range map[string][]byte{
			"empty": {}, "text": []byte("this is no picture"), "half": coded[:len(coded)/2], "huge": huge, "zeros": make([]byte, 1000), "header": coded[:60],
		} {
			if _, err := c.Decode(t.Context(), ts, as, data); pacs.CodeOf(err) != pacs.Invalid && (name != "huge" || pacs.CodeOf(err) != pacs.Unsupported) {
				t.Errorf("%s in %s: %v", name, ts, err)
			}
		}
		other := as
		other.Columns = 63
		if _, err := c.Decode(t.Context(), ts, other, coded); pacs.CodeOf(err) != pacs.Invalid {
			t.Errorf("other attributes in %s: %v", ts, err)
		}
		r := rand.New(rand.NewPCG(3, 4))
		for n := range 150 {
			bad := bytes.Clone(coded)
			for range 1 + r.IntN(8) {
				bad[r.IntN(len(bad))] = byte(r.Uint32())
			}
			frame, err := c.Decode(t.Context(), ts, as, bad)
			if code := pacs.CodeOf(err); err != nil && code != pacs.Invalid && code != pacs.Unsupported || err == nil && int64(len(frame.Pixels)) != f.FrameSize() {
				t.Errorf("mutation %d in %s: %v", n, ts, err)
			}
		}
		if back, err := c.Decode(t.Context(), ts, as, coded); err != nil || !bytes.Equal(back.Pixels, f.Pixels) {
			t.Errorf("after all that in %s: %v", ts, err)
		}
	}
}

// Whatever bytes the codec is given, it answers or dies; it never harms us.
func FuzzDecodeJPEGLS(f *testing.F) {
	if !charls.Available {
		f.Skip("built without -tags charls")
	}
	for _, p := range []Frame{picture(8, 8, 1, 8), picture(8, 8, 3, 8), picture(8, 8, 1, 12)} {
		coded, err := charls.Encode(charls.Image{Columns: 8, Rows: 8, Components: p.Samples, Bits: p.BitsStored, Pixels: p.Pixels}, 0)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(coded, p.Samples)
	}
	f.Fuzz(func(t *testing.T, data []byte, components int) {
		if len(data) > 64<<10 {
			return
		}
		im, err := charls.Decode(data, charls.Image{Columns: 8, Rows: 8, Components: components, Bits: 16})
		if err == nil && len(im.Pixels) != im.Size() {
			t.Fatalf("%d bytes for %d × %d", len(im.Pixels), im.Columns, im.Rows)
		}
	})
}

// The header is read in Go, so it must never panic; what it lets through, the
// library gets, in small.
func FuzzDecodeJPEG2000(f *testing.F) {
	if !openjpeg.Available {
		f.Skip("built without -tags openjpeg")
	}
	for _, p := range []Frame{picture(8, 8, 1, 8), picture(8, 8, 3, 8), picture(8, 8, 1, 12)} {
		coded, err := openjpeg.Encode(openjpeg.Image{Columns: 8, Rows: 8, Components: p.Samples, Bits: p.BitsStored, Pixels: p.Pixels}, openjpeg.Params{})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(coded)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := openjpeg.ReadHeader(data)
		if err != nil || len(data) > 64<<10 || h.Columns*h.Rows > 1<<16 {
			return
		}
		im, err := openjpeg.Decode(data)
		if err == nil && len(im.Pixels) != im.Size() {
			t.Fatalf("%d bytes for %d × %d", len(im.Pixels), im.Columns, im.Rows)
		}
	})
}
