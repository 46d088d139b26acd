package jpeg

import "testing"

func BenchmarkDecodeLossless16(b *testing.B) {
	im := picture(512, 512, 1, 16, 300, 1)
	coded, err := EncodeLossless(im)
	if err != nil {
		b.Fatal(err)
	}
	decode(b, coded, im)
}

func BenchmarkDecodeLosslessRGB(b *testing.B) {
	im := picture(512, 512, 3, 8, 6, 1)
	coded, err := EncodeLossless(im)
	if err != nil {
		b.Fatal(err)
	}
	decode(b, coded, im)
}

func BenchmarkDecodeBaselineGray(b *testing.B) {
	im := picture(1024, 1024, 1, 8, 6, 1)
	coded, err := EncodeBaseline(im, 90)
	if err != nil {
		b.Fatal(err)
	}
	decode(b, coded, im)
}

func BenchmarkDecodeBaselineColour(b *testing.B) {
	im := picture(1024, 1024, 3, 8, 6, 1)
	coded, err := EncodeBaseline(im, 90)
	if err != nil {
		b.Fatal(err)
	}
	decode(b, coded, im)
}

func decode(b *testing.B, coded []byte, im Image) {
	b.SetBytes(im.Size())
	b.ReportMetric(float64(im.Size())/float64(len(coded)), "ratio")
	for b.Loop() {
		if _, err := Decode(coded, Limits{im.Size()}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeLossless16(b *testing.B) {
	im := picture(512, 512, 1, 16, 300, 1)
	b.SetBytes(im.Size())
	for b.Loop() {
		if _, err := EncodeLossless(im); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeBaselineColour(b *testing.B) {
	im := picture(1024, 1024, 3, 8, 6, 1)
	b.SetBytes(im.Size())
	for b.Loop() {
		if _, err := EncodeBaseline(im, 90); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeBaselineGray(b *testing.B) {
	im := picture(512, 512, 1, 8, 16, 1)
	b.SetBytes(im.Size())
	for b.Loop() {
		if _, err := EncodeBaseline(im, 90); err != nil {
			b.Fatal(err)
		}
	}
}
