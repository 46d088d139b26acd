package render

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/pixel"
)

// grayImage is the data set of a gray image of one row of 16-bit samples.
func grayImage(bits int, signed bool) *dicom.Dataset {
	ds := &dicom.Dataset{}
	ds.SetString(dicom.TagSOPInstanceUID, dicom.UI, "2.25.1")
	ds.SetInts(dicom.TagSamplesPerPixel, dicom.US, 1)
	ds.SetString(dicom.TagPhotometricInterpretation, dicom.CS, pixel.Monochrome2)
	ds.SetInts(dicom.TagBitsAllocated, dicom.US, 16)
	ds.SetInts(dicom.TagBitsStored, dicom.US, bits)
	ds.SetInts(dicom.TagHighBit, dicom.US, bits-1)
	if signed {
		ds.SetInts(dicom.TagPixelRepresentation, dicom.US, 1)
	}
	return ds
}

// little are 16-bit words.
func little(values ...int) (out []byte) {
	for _, v := range values {
		out = binary.LittleEndian.AppendUint16(out, uint16(v))
	}
	return out
}

// picture renders a frame whose format is that of its data set, with as many
// rows as there are samples for.
func picture(t testing.TB, ds *dicom.Dataset, columns int, coded []byte, p Parameters) image.Image {
	t.Helper()
	samples, _ := ds.Int(dicom.TagSamplesPerPixel)
	bits, _ := ds.Int(dicom.TagBitsAllocated)
	ds.SetInts(dicom.TagColumns, dicom.US, columns)
	ds.SetInts(dicom.TagRows, dicom.US, max(1, len(coded)*8/(bits*samples*columns)))
	frame, err := Decode(t.Context(), &pixel.Codecs{}, dicom.ExplicitVRLittleEndian, ds, coded)
	if err != nil {
		t.Fatal(err)
	}
	im, err := Picture(t.Context(), frame, 1, ds, p)
	if err != nil {
		t.Fatal(err)
	}
	return im
}

// levels are the gray levels of a picture, row by row.
func levels(t testing.TB, im image.Image) (out []int) {
	t.Helper()
	gray, ok := im.(*image.Gray)
	if !ok {
		t.Fatalf("a %T, not gray", im)
	}
	for _, v := range gray.Pix {
		out = append(out, int(v))
	}
	return out
}

func wantLevels(t testing.TB, name string, im image.Image, want ...int) {
	t.Helper()
	if got := levels(t, im); !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", name, got, want)
	}
}

// The formulas of PS3.3 C.11.2.1.2 and C.11.2.1.3, by hand.
func TestWindowFunctions(t *testing.T) {
	for _, c := range []struct {
		name   string
		w      Window
		values []int
		want   []int
	}{
		// Black up to 2048-0.5-2047.5 = 0, white above 4095, 2047 is
		// ((2047-2047.5)/4095+0.5)·255 = 127.47, 2048 is 127.53.
		{"the whole of 12 bits", Window{2048, 4096, Linear}, []int{0, 1, 2047, 2048, 4095}, []int{0, 0, 127, 128, 255}},
		// c 100, w 100: black up to 50, white above 149;
		// 100 is (0.5/99+0.5)·255 = 128.79, 75 is (-24.5/99+0.5)·255 = 64.39.
		{"LINEAR", Window{100, 100, ""}, []int{50, 51, 75, 100, 149, 150}, []int{0, 3, 64, 129, 255, 255}},
		// c 100, w 100: black up to 50, white above 150; 75 is 0.25·255 = 63.75.
		{"LINEAR_EXACT", Window{100, 100, LinearExact}, []int{50, 51, 75, 100, 149, 150}, []int{0, 3, 64, 128, 252, 255}},
		// 255/(1+exp(-4·(x-100)/100)): x 75: 68.58, x 200: 250.41.
		{"SIGMOID", Window{100, 100, Sigmoid}, []int{0, 75, 100, 200}, []int{5, 69, 128, 250}},
		// w 1 is a threshold: black up to 99.5.
		{"a threshold", Window{100, 1, Linear}, []int{99, 100}, []int{0, 255}},
	} {
		w := c.w
		wantLevels(t, c.name, picture(t, grayImage(16, false), len(c.values), little(c.values...), Parameters{Window: &w}), c.want...)
		// The same from the attributes.
		ds := grayImage(16, false)
		ds.SetString(dicom.TagWindowCenter, dicom.DS, fmt.Sprint(w.Center))
		ds.SetString(dicom.TagWindowWidth, dicom.DS, fmt.Sprint(w.Width))
		ds.SetString(dicom.TagVOILUTFunction, dicom.CS, string(w.Function))
		wantLevels(t, c.name+" of the image", picture(t, ds, len(c.values), little(c.values...), Parameters{}), c.want...)
	}
}

func TestStoredValues(t *testing.T) {
	exact := func(center, width float64) Parameters {
		return Parameters{Window: &Window{center, width, LinearExact}}
	}
	// Signed 12 bits: 0x800 is -2048, 0xFFF is -1. 128-wide steps of 510/4096.
	wantLevels(t, "signed", picture(t, grayImage(12, true), 4, little(0x800, 0xFFF, 0, 0x7FF), exact(0, 4096)), 0, 127, 128, 255)
	// The bits above are not of the sample.
	wantLevels(t, "bits above", picture(t, grayImage(12, false), 2, little(0xF000, 0xF800), exact(2048, 4096)), 0, 128)
	// High bit 15 of 12: the sample is in the upper bits.
	high := grayImage(12, false)
	high.SetInts(dicom.TagHighBit, dicom.US, 15)
	wantLevels(t, "high bit", picture(t, high, 3, little(0x000F, 0x8000, 0xFFFF), exact(2048, 4096)), 0, 128, 255)
	// Rescale: 1024·2-1000 = 1048.
	scaled := grayImage(16, false)
	scaled.SetString(dicom.TagRescaleSlope, dicom.DS, "2")
	scaled.SetString(dicom.TagRescaleIntercept, dicom.DS, "-1000")
	wantLevels(t, "rescale", picture(t, scaled, 3, little(500, 1024, 1500), exact(1000, 2000)), 0, 134, 255)
	// No window: from the smallest to the largest, without the padding.
	padded := grayImage(16, true)
	padded.SetInts(dicom.TagPixelPaddingValue, dicom.SS, -2000)
	wantLevels(t, "padding", picture(t, padded, 4, little(-2000, 0, 50, 100), Parameters{}), 0, 0, 128, 255)
	padded.SetInts(dicom.TagPixelPaddingRangeLimit, dicom.SS, 49)
	wantLevels(t, "range of padding", picture(t, padded, 5, little(-2000, 0, 50, 75, 100), Parameters{}), 0, 0, 0, 128, 255)
	wantLevels(t, "one value", picture(t, grayImage(16, false), 2, little(7, 7), Parameters{}), 0, 0)
	// 8 bits without a window: as they are, and inverted for MONOCHROME1.
	eight := grayImage(8, false)
	eight.SetInts(dicom.TagBitsAllocated, dicom.US, 8)
	wantLevels(t, "8 bits", picture(t, eight, 3, []byte{0, 100, 200}, Parameters{}), 0, 100, 200)
	eight.SetString(dicom.TagPhotometricInterpretation, dicom.CS, pixel.Monochrome1)
	wantLevels(t, "MONOCHROME1", picture(t, eight, 3, []byte{0, 100, 200}, Parameters{}), 255, 155, 55)
	eight.SetString(dicom.TagPresentationLUTShape, dicom.CS, "INVERSE")
	wantLevels(t, "MONOCHROME1, INVERSE", picture(t, eight, 3, []byte{0, 100, 200}, Parameters{}), 255, 155, 55)
	wantLevels(t, "inverted again", picture(t, eight, 3, []byte{0, 100, 200}, Parameters{Invert: true}), 0, 100, 200)
	// One bit per pixel, lowest first.
	bit := grayImage(1, false)
	bit.SetInts(dicom.TagBitsAllocated, dicom.US, 1)
	wantLevels(t, "1 bit", picture(t, bit, 8, []byte{0b1000_0101}, Parameters{}), 255, 0, 255, 0, 0, 0, 0, 255)
	// 32 bits, signed.
	long := grayImage(32, true)
	long.SetInts(dicom.TagBitsAllocated, dicom.US, 32)
	raw := binary.LittleEndian.AppendUint32(nil, 0xFFFF0000) // -65536
	raw = binary.LittleEndian.AppendUint32(raw, 0)
	raw = binary.LittleEndian.AppendUint32(raw, 65536)
	wantLevels(t, "32 bits", picture(t, long, 3, raw, Parameters{}), 0, 128, 255)
	// Floating point, with a value that is none.
	long.SetBytes(dicom.TagFloatPixelData, dicom.OF, nil)
	raw = nil
	for _, v := range []float32{0, 0.25, 1, float32(math.NaN()), float32(math.Inf(1))} {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	wantLevels(t, "float", picture(t, long, 5, raw, Parameters{}), 0, 64, 255, 0, 255)
}

func lutItem(first, bits int, values ...int) *dicom.Dataset {
	item := &dicom.Dataset{}
	item.SetBytes(dicom.TagLUTDescriptor, dicom.SS, little(len(values), first, bits))
	return item.SetBytes(dicom.TagLUTData, dicom.OW, little(values...))
}

func TestLookupTables(t *testing.T) {
	ds := grayImage(16, true)
	ds.SetSequence(dicom.TagModalityLUTSequence, lutItem(-1, 16, 100, 200, 300))
	exact := Parameters{Window: &Window{200, 200, LinearExact}}
	wantLevels(t, "modality, beside its ends too", picture(t, ds, 5, little(-9, -1, 0, 1, 9), exact), 0, 0, 128, 255, 255)
	ds = grayImage(16, true)
	ds.SetSequence(dicom.TagVOILUTSequence, lutItem(-1, 10, 0, 512, 1023), lutItem(0, 8, 10, 20))
	wantLevels(t, "VOI", picture(t, ds, 5, little(-9, -1, 0, 1, 9), Parameters{}), 0, 0, 128, 255, 255)
	wantLevels(t, "second VOI LUT", picture(t, ds, 2, little(0, 1), Parameters{VOI: 1}), 10, 20)
	// A window comes before the tables.
	ds.SetString(dicom.TagWindowCenter, dicom.DS, "1")
	ds.SetString(dicom.TagWindowWidth, dicom.DS, "1")
	wantLevels(t, "a window and tables", picture(t, ds, 2, little(0, 1), Parameters{}), 0, 255)
	wantLevels(t, "number 2 of them", picture(t, ds, 2, little(0, 1), Parameters{VOI: 2}), 10, 20)
}

// rgb are the colours of a picture.
func rgb(im image.Image) (out [][3]uint8) {
	for y := range im.Bounds().Dy() {
		for x := range im.Bounds().Dx() {
			c := color.RGBAModel.Convert(im.At(x, y)).(color.RGBA)
			out = append(out, [3]uint8{c.R, c.G, c.B})
		}
	}
	return out
}

func TestColors(t *testing.T) {
	colorImage := func(photometric string, planar int) *dicom.Dataset {
		ds := grayImage(8, false)
		ds.SetInts(dicom.TagBitsAllocated, dicom.US, 8)
		ds.SetInts(dicom.TagSamplesPerPixel, dicom.US, 3)
		ds.SetInts(dicom.TagPlanarConfiguration, dicom.US, planar)
		return ds.SetString(dicom.TagPhotometricInterpretation, dicom.CS, photometric)
	}
	for _, c := range []struct {
		name  string
		ds    *dicom.Dataset
		coded []byte
		want  [][3]uint8
	}{
		{"RGB", colorImage("RGB", 0), []byte{1, 2, 3, 4, 5, 6}, [][3]uint8{{1, 2, 3}, {4, 5, 6}}},
		{"RGB by plane", colorImage("RGB", 1), []byte{1, 4, 2, 5, 3, 6}, [][3]uint8{{1, 2, 3}, {4, 5, 6}}},
		// R = 100+1.402·50 = 170.1; G = 100-0.344136·20-0.714136·50 = 57.4; B = 100+1.772·20 = 135.4
		{"YBR_FULL", colorImage("YBR_FULL", 0), []byte{100, 148, 178, 255, 128, 128}, [][3]uint8{{170, 57, 135}, {255, 255, 255}}},
		{"YBR_FULL_422", colorImage("YBR_FULL_422", 0), []byte{100, 50, 148, 178}, [][3]uint8{{170, 57, 135}, {120, 7, 85}}},
		{"YBR_FULL_422 that isn't", colorImage("YBR_FULL_422", 0), []byte{100, 148, 178, 255, 128, 128}, [][3]uint8{{170, 57, 135}, {255, 255, 255}}},
		// White is 235, black is 16.
		{"YBR_PARTIAL_422", colorImage("YBR_PARTIAL_422", 0), []byte{235, 16, 128, 128}, [][3]uint8{{255, 255, 255}, {0, 0, 0}}},
	} {
		if got := rgb(picture(t, c.ds, 2, c.coded, Parameters{})); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	deep := colorImage("RGB", 0)
	deep.SetInts(dicom.TagBitsAllocated, dicom.US, 16).SetInts(dicom.TagBitsStored, dicom.US, 12).SetInts(dicom.TagHighBit, dicom.US, 11)
	if got := rgb(picture(t, deep, 1, little(0, 2048, 4095), Parameters{})); got[0] != [3]uint8{0, 128, 255} {
		t.Errorf("RGB of 12 bits: %v", got)
	}
}

func TestPalettes(t *testing.T) {
	base := func(descriptor []byte) *dicom.Dataset {
		ds := grayImage(8, false)
		ds.SetInts(dicom.TagBitsAllocated, dicom.US, 8)
		ds.SetString(dicom.TagPhotometricInterpretation, dicom.CS, pixel.PaletteColor)
		for c := range dicom.Tag(3) {
			ds.SetBytes(dicom.TagRedPaletteColorLookupTableDescriptor+c, dicom.US, descriptor)
		}
		return ds
	}
	each := func(ds *dicom.Dataset, first dicom.Tag, data ...[]byte) *dicom.Dataset {
		for c, d := range data {
			ds.SetBytes(first+dicom.Tag(c), dicom.OW, d)
		}
		return ds
	}
	const plain, segmented = dicom.TagRedPaletteColorLookupTableData, dicom.TagSegmentedRedPaletteColorLookupTableData
	sixteen := each(base(little(3, 10, 16)), plain, little(0x1000, 0x2000, 0x3000), little(0x4000, 0x5000, 0x6000), little(0x7000, 0x8000, 0xFFFF))
	eight := each(base(little(2, 0, 8)), plain, []byte{1, 2}, []byte{3, 4}, []byte{5, 6})
	mislabelled := each(base(little(2, 0, 16)), plain, little(1, 2), little(3, 4), little(5, 255))
	// Discrete 2 values, then 3 more up to 0x800, then the first segment again.
	s := little(0, 2, 0x100, 0x200, 1, 3, 0x800, 2, 1, 0, 0)
	seg := each(base(little(7, 0, 16)), segmented, s, s, s)
	// The same in bytes: indirect with an offset of 4 bytes.
	s8 := []byte{0, 2, 1, 2, 1, 3, 8, 2, 1, 0, 0, 0, 0}
	s8 = append(s8, 0) // even
	seg8 := each(base(little(7, 0, 8)), segmented, s8, s8, s8)
	gray := func(v ...uint8) (out [][3]uint8) {
		for _, v := range v {
			out = append(out, [3]uint8{v, v, v})
		}
		return out
	}
	all := []byte{0, 1, 2, 3, 4, 5, 6}
	for _, c := range []struct {
		name  string
		ds    *dicom.Dataset
		coded []byte
		want  [][3]uint8
	}{
		{"16 bits from 10", sixteen, []byte{0, 10, 11, 12, 255}, [][3]uint8{{0x10, 0x40, 0x70}, {0x10, 0x40, 0x70}, {0x20, 0x50, 0x80}, {0x30, 0x60, 0xFF}, {0x30, 0x60, 0xFF}}},
		{"8 bits, packed", eight, []byte{0, 1}, [][3]uint8{{1, 3, 5}, {2, 4, 6}}},
		{"8 bits that claim 16", mislabelled, []byte{0, 1}, [][3]uint8{{1, 3, 5}, {2, 4, 255}}},
		{"segmented", seg, all, gray(1, 2, 4, 6, 8, 1, 2)},
		{"segmented bytes", seg8, all, gray(1, 2, 4, 6, 8, 1, 2)},
	} {
		if got := rgb(picture(t, c.ds, len(c.coded), c.coded, Parameters{})); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	// 65536 entries are written as 0; a first value may be negative.
	ramp := make([]int, 65536)
	for i := range ramp {
		ramp[i] = i
	}
	wide := each(base(little(0, -32768, 16)), plain, little(ramp...), little(ramp...), little(ramp...))
	wide.SetInts(dicom.TagBitsAllocated, dicom.US, 16).SetInts(dicom.TagBitsStored, dicom.US, 16).SetInts(dicom.TagHighBit, dicom.US, 15)
	wide.SetInts(dicom.TagPixelRepresentation, dicom.US, 1)
	if got := rgb(picture(t, wide, 3, little(-32768, 0, 32767), Parameters{})); !slices.Equal(got, gray(0, 128, 255)) {
		t.Errorf("65536 entries: %v", got)
	}
	for name, s := range map[string][]byte{
		"a linear segment first":      little(1, 3, 0x800),
		"an indirect one into itself": little(0, 1, 5, 2, 2, 6, 0),
		"more values than there are":  little(0, 9, 1),
		"an unknown opcode":           little(7, 1, 1),
	} {
		ds := each(base(little(7, 0, 16)), segmented, s, s, s)
		ds.SetInts(dicom.TagColumns, dicom.US, 1).SetInts(dicom.TagRows, dicom.US, 1)
		frame, err := Decode(t.Context(), &pixel.Codecs{}, dicom.ExplicitVRLittleEndian, ds, []byte{0, 0})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Picture(t.Context(), frame, 1, ds, Parameters{}); pacs.CodeOf(err) != pacs.Unsupported {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Functional groups of an enhanced image: those of the frame before the shared.
func TestFunctionalGroups(t *testing.T) {
	window := func(center string) *dicom.Dataset {
		item := &dicom.Dataset{}
		item.SetString(dicom.TagWindowCenter, dicom.DS, center)
		item.SetString(dicom.TagWindowWidth, dicom.DS, "100")
		item.SetString(dicom.TagVOILUTFunction, dicom.CS, "LINEAR_EXACT")
		return (&dicom.Dataset{}).SetSequence(dicom.TagFrameVOILUTSequence, item)
	}
	rescale := (&dicom.Dataset{}).SetString(dicom.TagRescaleSlope, dicom.DS, "2").SetString(dicom.TagRescaleIntercept, dicom.DS, "0")
	ds := grayImage(16, false)
	shared := window("100").SetSequence(dicom.TagPixelValueTransformationSequence, rescale)
	ds.SetSequence(dicom.TagSharedFunctionalGroupsSequence, shared)
	ds.SetSequence(dicom.TagPerFrameFunctionalGroupsSequence, &dicom.Dataset{}, window("150"))
	ds.SetInts(dicom.TagColumns, dicom.US, 2).SetInts(dicom.TagRows, dicom.US, 1)
	for n, want := range map[int][]int{1: {128, 255}, 2: {0, 128}, 3: {128, 255}} {
		frame, err := Decode(t.Context(), &pixel.Codecs{}, dicom.ExplicitVRLittleEndian, ds, little(50, 75))
		if err != nil {
			t.Fatal(err)
		}
		im, err := Picture(t.Context(), frame, n, ds, Parameters{})
		if err != nil {
			t.Fatal(err)
		}
		wantLevels(t, fmt.Sprint("frame ", n), im, want...)
	}
}

func TestOverlays(t *testing.T) {
	ds := grayImage(12, false)
	ds.SetString(dicom.TagWindowCenter, dicom.DS, "2048").SetString(dicom.TagWindowWidth, dicom.DS, "4096")
	ds.SetInts(tagOverlayRows, dicom.US, 2).SetInts(tagOverlayColumns, dicom.US, 2)
	ds.SetInts(tagOverlayOrigin, dicom.SS, 0, 2) // its first row is above the image
	ds.SetBytes(tagOverlayData, dicom.OW, []byte{0b0110, 0})
	// Rows of the overlay: 01, 10 (lowest bit first: pixels 1 and 2 are set). Its
	// second row is the first of the image, and its first column the second.
	wantLevels(t, "an origin above", picture(t, ds, 3, little(0, 0, 0, 0, 0, 0), Parameters{}), 0, 255, 0, 0, 0, 0)
	wantLevels(t, "without", picture(t, ds, 3, little(0, 0, 0, 0, 0, 0), Parameters{NoOverlays: true}), 0, 0, 0, 0, 0, 0)
	// Two frames of 2×2: the second begins within a byte.
	ds.SetInts(tagOverlayOrigin, dicom.SS, 1, 1).SetString(tagOverlayFrames, dicom.IS, "2").SetInts(tagImageFrameOrigin, dicom.US, 1)
	ds.SetBytes(tagOverlayData, dicom.OW, []byte{0b1000_0001, 0})
	ds.SetInts(dicom.TagColumns, dicom.US, 2).SetInts(dicom.TagRows, dicom.US, 2)
	for n, want := range map[int][]int{1: {255, 0, 0, 0}, 2: {0, 0, 0, 255}, 3: {0, 0, 0, 0}} {
		frame, _ := Decode(t.Context(), &pixel.Codecs{}, dicom.ExplicitVRLittleEndian, ds, little(0, 0, 0, 0))
		im, err := Picture(t.Context(), frame, n, ds, Parameters{})
		if err != nil {
			t.Fatal(err)
		}
		wantLevels(t, fmt.Sprint("overlay of frame ", n), im, want...)
	}
	// In bit 15 of the pixels.
	embedded := grayImage(12, false)
	embedded.SetString(dicom.TagWindowCenter, dicom.DS, "2048").SetString(dicom.TagWindowWidth, dicom.DS, "4096")
	embedded.SetInts(tagOverlayRows, dicom.US, 1).SetInts(tagOverlayColumns, dicom.US, 3)
	embedded.SetInts(tagOverlayBits, dicom.US, 16).SetInts(tagOverlayBitPosition, dicom.US, 15)
	wantLevels(t, "embedded", picture(t, embedded, 3, little(0, 0x8000, 0x7FFF), Parameters{}), 0, 255, 255)
	wantLevels(t, "embedded, not shown", picture(t, embedded, 3, little(0, 0x8000, 0x7FFF), Parameters{NoOverlays: true}), 0, 0, 255)
}

func TestShutters(t *testing.T) {
	white := make([]int, 25)
	for i := range white {
		white[i] = 65535
	}
	base := func(shape string) *dicom.Dataset {
		ds := grayImage(16, false)
		ds.SetString(dicom.TagWindowCenter, dicom.DS, "1").SetString(dicom.TagWindowWidth, dicom.DS, "1")
		ds.SetInts(dicom.TagShutterPresentationValue, dicom.US, 0x8080)
		return ds.SetString(dicom.TagShutterShape, dicom.CS, shape)
	}
	rectangular := base("RECTANGULAR")
	rectangular.SetString(dicom.TagShutterLeftVerticalEdge, dicom.IS, "2").SetString(dicom.TagShutterRightVerticalEdge, dicom.IS, "4")
	rectangular.SetString(dicom.TagShutterUpperHorizontalEdge, dicom.IS, "2").SetString(dicom.TagShutterLowerHorizontalEdge, dicom.IS, "3")
	circular := base("CIRCULAR")
	circular.SetInts(dicom.TagCenterOfCircularShutter, dicom.IS, 3, 3).SetString(dicom.TagRadiusOfCircularShutter, dicom.IS, "1")
	polygonal := base("POLYGONAL")
	polygonal.SetInts(dicom.TagVerticesOfThePolygonalShutter, dicom.IS, 1, 1, 1, 5, 5, 1)
	const o, x = 128, 255
	for name, c := range map[string]struct {
		ds   *dicom.Dataset
		want []int
	}{
		"rectangular": {rectangular, []int{o, o, o, o, o, o, x, x, x, o, o, x, x, x, o, o, o, o, o, o, o, o, o, o, o}},
		"circular":    {circular, []int{o, o, o, o, o, o, o, x, o, o, o, x, x, x, o, o, o, x, o, o, o, o, o, o, o}},
		"polygonal":   {polygonal, []int{x, x, x, x, x, x, x, x, x, o, x, x, x, o, o, x, x, o, o, o, o, o, o, o, o}},
	} {
		wantLevels(t, name, picture(t, c.ds, 5, little(white...), Parameters{}), c.want...)
	}
}

func TestGeometry(t *testing.T) {
	ds := grayImage(8, false)
	ds.SetInts(dicom.TagBitsAllocated, dicom.US, 8)
	pixels := []byte{10, 20, 30, 40, 50, 60} // 3 × 2
	wantLevels(t, "flipped", picture(t, ds, 3, pixels, Parameters{FlipHorizontal: true}), 30, 20, 10, 60, 50, 40)
	wantLevels(t, "flipped over", picture(t, ds, 3, pixels, Parameters{FlipVertical: true}), 40, 50, 60, 10, 20, 30)
	wantLevels(t, "region", picture(t, ds, 3, pixels, Parameters{Region: &Region{1, 0, 2, 2}}), 20, 30, 50, 60)
	wantLevels(t, "a region beside the image", picture(t, ds, 3, pixels, Parameters{Region: &Region{2, 1, 2, 2}}), 60, 0, 0, 0)
	big := bytes.Repeat([]byte{100}, 400*200)
	for _, c := range []struct {
		p    Parameters
		want image.Point
	}{
		{Parameters{Width: 100, Height: 100}, image.Pt(100, 50)},
		{Parameters{Width: 100}, image.Pt(100, 50)},
		{Parameters{Height: 100}, image.Pt(200, 100)},
		{Parameters{Width: 800, Height: 800}, image.Pt(800, 400)},
		{Parameters{Width: 800, Height: 800, Shrink: true}, image.Pt(400, 200)},
		{Parameters{Width: 1, Height: 1}, image.Pt(1, 1)},
		{Parameters{Width: 133, Height: 200, Region: &Region{0, 0, 100, 200}}, image.Pt(100, 200)},
	} {
		im := picture(t, ds, 400, big, c.p)
		if im.Bounds().Size() != c.want {
			t.Errorf("%+v: %v, want %v", c.p, im.Bounds(), c.want)
		}
		for _, l := range levels(t, im) {
			if l != 100 {
				t.Fatalf("%+v: a pixel is %d", c.p, l)
			}
		}
	}
	ds.SetInts(dicom.TagPixelAspectRatio, dicom.IS, 2, 1)
	if im := picture(t, ds, 400, big, Parameters{}); im.Bounds().Size() != image.Pt(400, 400) {
		t.Errorf("pixels twice as high as wide: %v", im.Bounds())
	}
	ds.SetInts(dicom.TagPixelAspectRatio, dicom.IS, 1, 2)
	if im := picture(t, ds, 400, big, Parameters{}); im.Bounds().Size() != image.Pt(800, 200) {
		t.Errorf("pixels twice as wide as high: %v", im.Bounds())
	}
	for _, r := range []Region{{0, 0, 0, 1}, {0, 0, -1, 1}, {math.NaN(), 0, 1, 1}, {1e300, 0, 1, 1}} {
		p := Parameters{Region: &r}
		if err := p.check(); pacs.CodeOf(err) != pacs.Invalid {
			t.Errorf("%v: %v", r, err)
		}
	}
}

func TestEncoders(t *testing.T) {
	ds := grayImage(8, false)
	ds.SetInts(dicom.TagBitsAllocated, dicom.US, 8)
	pixels := make([]byte, 64*64)
	for i := range pixels {
		pixels[i] = byte(i % 64 * 4)
	}
	im := picture(t, ds, 64, pixels, Parameters{})
	profile := bytes.Repeat([]byte("profile "), 20_000) // three segments
	var b bytes.Buffer
	if err := EncodeJPEG(&b, im, 95, profile); err != nil {
		t.Fatal(err)
	}
	if got, err := jpeg.Decode(bytes.NewReader(b.Bytes())); err != nil {
		t.Error(err)
	} else if worst, _, _ := compare(im, got); worst > 8 {
		t.Errorf("JPEG differs by %d", worst)
	}
	if n := bytes.Count(b.Bytes(), []byte("ICC_PROFILE\x00")); n != 3 {
		t.Errorf("%d segments of the profile", n)
	}
	b.Reset()
	if err := EncodePNG(&b, im, profile); err != nil {
		t.Fatal(err)
	}
	if got, err := png.Decode(bytes.NewReader(b.Bytes())); err != nil {
		t.Error(err)
	} else if worst, _, _ := compare(im, got); worst != 0 {
		t.Errorf("PNG differs by %d", worst)
	}
	if !bytes.Contains(b.Bytes(), []byte("iCCP")) {
		t.Error("no profile")
	}
	b.Reset()
	p := Paletted(im)
	if err := EncodeGIF(&b, []*image.Paletted{p, p}, []time.Duration{100 * time.Millisecond, time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	all, err := gif.DecodeAll(&b)
	if err != nil || len(all.Image) != 2 || !slices.Equal(all.Delay, []int{10, 2}) {
		t.Fatalf("%v %v", all, err)
	}
	if worst, _, _ := compare(im, all.Image[1]); worst != 0 {
		t.Errorf("GIF differs by %d", worst)
	}
}

func TestLoadIsBounded(t *testing.T) {
	ds := &dicom.Dataset{Elements: []dicom.Element{
		{Tag: dicom.TagLUTData, VR: dicom.OW, Bulk: &dicom.Range{Offset: 8, Length: 4}},
		{Tag: dicom.TagICCProfile, VR: dicom.OB, Bulk: &dicom.Range{Offset: 0, Length: maxLoadedOne + 1}},
		{Tag: dicom.TagPixelData, VR: dicom.OW, Bulk: &dicom.Range{Offset: 0, Length: 4}},
	}}
	err := Load(ds, func(r dicom.Range) (io.ReadCloser, error) {
		if r.Length != 4 || r.Offset != 8 {
			t.Errorf("read %v", r)
		}
		return io.NopCloser(bytes.NewReader([]byte{1, 2, 3, 4})), nil
	})
	if err != nil || !bytes.Equal(ds.Elements[0].Value, []byte{1, 2, 3, 4}) || ds.Elements[1].Value != nil || ds.Elements[2].Value != nil {
		t.Errorf("%v %+v", err, ds.Elements)
	}
	if err := Load(&dicom.Dataset{Elements: []dicom.Element{{Tag: dicom.TagLUTData, Bulk: &dicom.Range{Length: 4}}}}, func(dicom.Range) (io.ReadCloser, error) {
		return nil, io.ErrUnexpectedEOF
	}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}

func TestCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ds := grayImage(16, false)
	ds.SetInts(dicom.TagColumns, dicom.US, 512).SetInts(dicom.TagRows, dicom.US, 512)
	f, _ := pixel.FormatOf(ds)
	if _, err := Picture(ctx, pixel.Frame{Format: f, Pixels: make([]byte, 512*512*2)}, 1, ds, Parameters{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// One slice of a CT as a JPEG, everything included.
func BenchmarkSliceToJPEG(b *testing.B) {
	ds := grayImage(16, true)
	ds.SetString(dicom.TagWindowCenter, dicom.DS, "40").SetString(dicom.TagWindowWidth, dicom.DS, "400")
	ds.SetString(dicom.TagRescaleIntercept, dicom.DS, "-1024").SetString(dicom.TagRescaleSlope, dicom.DS, "1")
	ds.SetInts(dicom.TagColumns, dicom.US, 512).SetInts(dicom.TagRows, dicom.US, 512)
	coded := make([]byte, 512*512*2)
	for y := range 512 {
		for x := range 512 {
			binary.LittleEndian.PutUint16(coded[2*(512*y+x):], uint16(1000+200*math.Sin(float64(x)/20)*math.Cos(float64(y)/17)+float64((x*7+y*13)%32)))
		}
	}
	for b.Loop() {
		frame, err := Decode(b.Context(), &pixel.Codecs{}, dicom.ExplicitVRLittleEndian, ds, coded)
		if err != nil {
			b.Fatal(err)
		}
		im, err := Picture(b.Context(), frame, 1, ds, Parameters{})
		if err != nil {
			b.Fatal(err)
		}
		if err := EncodeJPEG(io.Discard, im, 0, nil); err != nil {
			b.Fatal(err)
		}
	}
}
