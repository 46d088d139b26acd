package jpeg

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	stdjpeg "image/jpeg"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// picture is a slope with noise.
func picture(columns, rows, components, precision, noise int, seed uint64) Image {
	im := Image{Header: Header{Columns: columns, Rows: rows, Components: components, Precision: precision}}
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range columns * rows * components {
		x, y := i/components%columns, i/components/columns
		v := uint16((x*3+y*2)<<precision/1024+r.IntN(noise)) & (1<<precision - 1)
		if im.Pixels = append(im.Pixels, byte(v)); precision > 8 {
			im.Pixels = append(im.Pixels, byte(v>>8))
		}
	}
	return im
}

func TestLosslessThereAndBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		precision := rapid.IntRange(2, 16).Draw(t, "precision")
		im := picture(rapid.IntRange(1, 70).Draw(t, "columns"), rapid.IntRange(1, 40).Draw(t, "rows"), rapid.IntRange(1, 4).Draw(t, "components"),
			precision, rapid.IntRange(1, 1<<precision).Draw(t, "noise"), rapid.Uint64().Draw(t, "seed"))
		coded, err := EncodeLossless(im)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Decode(coded, Limits{im.Size()})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(back.Pixels, im.Pixels) || back.Precision != precision || back.Process != Lossless {
			t.Fatalf("%+v came back different", im.Header)
		}
	})
}

// The largest difference there can be has a category of its own.
func TestLosslessWidestDifference(t *testing.T) {
	im := Image{Header: Header{Columns: 4, Rows: 1, Components: 1, Precision: 16}}
	for _, v := range []uint16{0, 0x8000, 0, 0xFFFF} {
		im.Pixels = binary.LittleEndian.AppendUint16(im.Pixels, v)
	}
	coded, err := EncodeLossless(im)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := Decode(coded, Limits{100}); err != nil || !bytes.Equal(back.Pixels, im.Pixels) {
		t.Errorf("%v came back as %v (%v)", im.Pixels, back.Pixels, err)
	}
}

func TestEncodersRefuse(t *testing.T) {
	good := picture(8, 8, 1, 8, 4, 1)
	for name, change := range map[string]func(*Image){
		"short":     func(im *Image) { im.Pixels = im.Pixels[1:] },
		"no rows":   func(im *Image) { im.Rows, im.Pixels = 0, nil },
		"wide":      func(im *Image) { im.Columns, im.Rows, im.Pixels = 1<<16, 1, make([]byte, 1<<16) },
		"17 bits":   func(im *Image) { im.Precision = 17 },
		"5 samples": func(im *Image) { im.Components = 5 },
	} {
		im := good
		change(&im)
		if _, err := EncodeLossless(im); err == nil {
			t.Errorf("%s is encoded without loss", name)
		}
		if _, err := EncodeBaseline(im, 90); err == nil {
			t.Errorf("%s is encoded as baseline", name)
		}
	}
	seven := good
	seven.Precision, seven.Pixels = 7, bytes.Repeat([]byte{0x80}, 64)
	if _, err := EncodeLossless(seven); !errors.Is(err, ErrUnsupported) {
		t.Errorf("samples of 8 bits go into 7: %v", err)
	}
}

// Two decoders agree on what the baseline encoder makes, and it is near the
// picture.
func TestBaseline(t *testing.T) {
	for _, im := range []Image{
		picture(64, 48, 1, 8, 6, 1), picture(61, 33, 1, 8, 6, 2), picture(1, 1, 1, 8, 200, 3),
		picture(64, 48, 3, 8, 6, 4), picture(61, 33, 3, 8, 6, 5), picture(1, 3, 3, 8, 200, 6), picture(17, 9, 3, 8, 6, 7),
	} {
		for _, quality := range []int{95, 40} {
			coded, err := EncodeBaseline(im, quality)
			if err != nil {
				t.Fatal(err)
			}
			back, err := Decode(coded, Limits{im.Size()})
			if err != nil {
				t.Fatal(err)
			}
			other, err := stdjpeg.Decode(bytes.NewReader(coded))
			if err != nil {
				t.Fatal(err)
			}
			for i := 0; i < len(back.Pixels); i += im.Components {
				x, y := i/im.Components%im.Columns, i/im.Components/im.Columns
				var luminance uint8
				switch other := other.(type) {
				case *image.Gray:
					luminance = other.GrayAt(x, y).Y
				case *image.YCbCr:
					luminance = other.YCbCrAt(x, y).Y
				}
				if d := int(back.Pixels[i]) - int(luminance); d < -2 || d > 2 {
					t.Fatalf("%+v: %d at %d, %d; another decoder has %d", im.Header, back.Pixels[i], x, y, luminance)
				}
			}
			back.ToRGB()
			sum := 0
			for i, v := range back.Pixels {
				d := int(v) - int(im.Pixels[i])
				sum += d * d
			}
			if most := map[int]int{95: 60, 40: 160}[quality]; sum > most*len(back.Pixels) {
				t.Errorf("%+v at quality %d: mean square error %d", im.Header, quality, sum/len(back.Pixels))
			}
		}
	}
}

// Dividing by multiplication is exact.
func TestQuantisation(t *testing.T) {
	for quality := 1; quality <= 100; quality += 3 {
		im := picture(1, 1, 1, 8, 1, 1)
		c := im.coding(0, quality)
		for z, q := range c.quant {
			for v := uint64(0); v < 1<<15+1<<10; v += 7 {
				if got := v * c.inverse[z] >> 32; got != v/uint64(8*q) {
					t.Fatalf("%d / %d is %d", v, 8*q, got)
				}
			}
		}
	}
}
