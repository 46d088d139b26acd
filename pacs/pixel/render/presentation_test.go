package render

import (
	"fmt"
	"image"
	"image/color"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// eightBits is a gray image of 8 bits, without a window.
func eightBits() *dicom.Dataset {
	return grayImage(8, false).SetInts(dicom.TagBitsAllocated, dicom.US, 8)
}

func referring(item *dicom.Dataset, instance string, frames ...int) *dicom.Dataset {
	reference := (&dicom.Dataset{}).SetString(dicom.TagReferencedSOPInstanceUID, dicom.UI, instance)
	if len(frames) > 0 {
		reference.SetInts(dicom.TagReferencedFrameNumber, dicom.IS, frames...)
	}
	return item.SetSequence(dicom.TagReferencedImageSequence, reference)
}

// Rotation is clockwise and comes before the flip, PS3.3 C.10.6.
func TestPresentationTurns(t *testing.T) {
	pixels := []byte{1, 2, 3, 4, 5, 6} // 1 2 3 over 4 5 6
	for _, c := range []struct {
		rotation int
		flip     string
		size     image.Point
		want     []int
	}{
		{0, "N", image.Pt(3, 2), []int{1, 2, 3, 4, 5, 6}},
		{0, "Y", image.Pt(3, 2), []int{3, 2, 1, 6, 5, 4}},
		{90, "N", image.Pt(2, 3), []int{4, 1, 5, 2, 6, 3}},
		{90, "Y", image.Pt(2, 3), []int{1, 4, 2, 5, 3, 6}},
		{180, "N", image.Pt(3, 2), []int{6, 5, 4, 3, 2, 1}},
		{270, "N", image.Pt(2, 3), []int{3, 6, 2, 5, 1, 4}},
	} {
		ps := (&dicom.Dataset{}).SetInts(dicom.TagImageRotation, dicom.US, c.rotation).SetString(dicom.TagImageHorizontalFlip, dicom.CS, c.flip)
		im := picture(t, eightBits(), 3, pixels, Parameters{Presentation: ps})
		if im.Bounds().Size() != c.size {
			t.Errorf("%d %s: %v", c.rotation, c.flip, im.Bounds())
		}
		wantLevels(t, fmt.Sprint(c.rotation, c.flip), im, c.want...)
	}
}

func TestPresentationDisplayedArea(t *testing.T) {
	area := func(values ...int) *dicom.Dataset {
		item := (&dicom.Dataset{}).SetInts(dicom.TagDisplayedAreaTopLeftHandCorner, dicom.SL, values[0], values[1])
		return item.SetInts(dicom.TagDisplayedAreaBottomRightHandCorner, dicom.SL, values[2], values[3])
	}
	ps := func(items ...*dicom.Dataset) Parameters {
		return Parameters{Presentation: (&dicom.Dataset{}).SetSequence(dicom.TagDisplayedAreaSelectionSequence, items...)}
	}
	pixels := []byte{1, 2, 3, 4, 5, 6}
	wantLevels(t, "a part", picture(t, eightBits(), 3, pixels, ps(area(2, 1, 3, 2))), 2, 3, 5, 6)
	wantLevels(t, "beyond the image", picture(t, eightBits(), 3, pixels, ps(area(0, 0, 1, 1))), 0, 0, 0, 1)
	// Corners are those of the turned picture: the left one may be right of the other.
	turned := ps(area(3, 2, 2, 1))
	turned.Presentation.SetInts(dicom.TagImageRotation, dicom.US, 180)
	wantLevels(t, "turned", picture(t, eightBits(), 3, pixels, turned), 6, 5, 3, 2)
	// That of the image before that of another.
	wantLevels(t, "of this image", picture(t, eightBits(), 3, pixels, ps(referring(area(1, 1, 1, 1), "2.25.9"), referring(area(3, 2, 3, 2), "2.25.1", 1))), 6)
	wantLevels(t, "of another frame", picture(t, eightBits(), 3, pixels, ps(referring(area(1, 1, 1, 1), "2.25.1", 7))), 1, 2, 3, 4, 5, 6)
	square := ps(area(1, 1, 3, 2).SetInts(dicom.TagPresentationPixelAspectRatio, dicom.IS, 3, 1))
	if im := picture(t, eightBits(), 3, pixels, square); im.Bounds().Size() != image.Pt(3, 6) {
		t.Errorf("aspect: %v", im.Bounds())
	}
}

// What the presentation state says of gray levels stands for all that the image
// says of them.
func TestPresentationGrays(t *testing.T) {
	ds := grayImage(12, false)
	ds.SetString(dicom.TagPhotometricInterpretation, dicom.CS, "MONOCHROME1")
	ds.SetString(dicom.TagWindowCenter, dicom.DS, "5").SetString(dicom.TagWindowWidth, dicom.DS, "1").SetString(dicom.TagRescaleIntercept, dicom.DS, "-1000")
	values := little(0, 1024, 2048, 4095)
	ps := &dicom.Dataset{}
	wantLevels(t, "identity", picture(t, ds, 4, values, Parameters{Presentation: ps}), 0, 64, 128, 255)
	ps.SetString(dicom.TagPresentationLUTShape, dicom.CS, "INVERSE")
	wantLevels(t, "inverse", picture(t, ds, 4, values, Parameters{Presentation: ps}), 255, 191, 127, 0)
	ps.SetString(dicom.TagPresentationLUTShape, dicom.CS, "IDENTITY")
	window := (&dicom.Dataset{}).SetString(dicom.TagWindowCenter, dicom.DS, "2048").SetString(dicom.TagWindowWidth, dicom.DS, "1")
	other := referring((&dicom.Dataset{}).SetString(dicom.TagWindowCenter, dicom.DS, "1").SetString(dicom.TagWindowWidth, dicom.DS, "1"), "2.25.9")
	ps.SetSequence(dicom.TagSoftcopyVOILUTSequence, other, referring(window, "2.25.1"))
	wantLevels(t, "window", picture(t, ds, 4, values, Parameters{Presentation: ps}), 0, 0, 255, 255)
	wantLevels(t, "the caller's window", picture(t, ds, 4, values, Parameters{Presentation: ps, Window: &Window{1024, 1, Linear}}), 0, 255, 255, 255)
	ps.Delete(dicom.TagSoftcopyVOILUTSequence)
	ps.SetString(dicom.TagRescaleSlope, dicom.DS, "1").SetString(dicom.TagRescaleIntercept, dicom.DS, "-2048")
	ps.SetSequence(dicom.TagSoftcopyVOILUTSequence, (&dicom.Dataset{}).SetString(dicom.TagWindowCenter, dicom.DS, "0").SetString(dicom.TagWindowWidth, dicom.DS, "1"))
	wantLevels(t, "rescale and window", picture(t, ds, 4, values, Parameters{Presentation: ps}), 0, 0, 255, 255)
	// A presentation LUT of three entries: black, a third, white.
	ps = (&dicom.Dataset{}).SetSequence(dicom.TagPresentationLUTSequence, lutItem(0, 16, 0, 21845, 65535))
	wantLevels(t, "presentation LUT", picture(t, ds, 3, little(0, 2048, 4095), Parameters{Presentation: ps}), 0, 85, 255)
}

func TestPresentationShutters(t *testing.T) {
	white := []byte{255, 255, 255, 255, 255, 255, 255, 255, 255}
	ps := (&dicom.Dataset{}).SetString(dicom.TagShutterShape, dicom.CS, "BITMAP").SetInts(dicom.TagShutterOverlayGroup, dicom.US, 0x6002)
	ps.SetInts(dicom.TagShutterPresentationValue, dicom.US, 0x4040)
	const group = 2 << 16
	ps.SetInts(tagOverlayRows+group, dicom.US, 3).SetInts(tagOverlayColumns+group, dicom.US, 3).SetInts(tagOverlayOrigin+group, dicom.SS, 1, 1)
	ps.SetBytes(tagOverlayData+group, dicom.OW, []byte{0b0000_0101, 0b1})
	wantLevels(t, "bitmap", picture(t, eightBits(), 3, white, Parameters{Presentation: ps}), 64, 255, 64, 255, 255, 255, 255, 255, 64)
	// The image's own shutter holds only without a presentation state.
	ds := eightBits().SetString(dicom.TagShutterShape, dicom.CS, "RECTANGULAR").SetInts(dicom.TagShutterLeftVerticalEdge, dicom.IS, 2)
	wantLevels(t, "of the image", picture(t, ds, 3, white[:3], Parameters{}), 0, 255, 255)
	wantLevels(t, "none in the presentation state", picture(t, ds, 3, white[:3], Parameters{Presentation: &dicom.Dataset{}}), 255, 255, 255)
}

func TestPresentationOverlays(t *testing.T) {
	ds := eightBits().SetInts(tagOverlayRows, dicom.US, 1).SetInts(tagOverlayColumns, dicom.US, 3).SetInts(tagOverlayOrigin, dicom.SS, 1, 1)
	ds.SetBytes(tagOverlayData, dicom.OW, []byte{0b010, 0})
	black := []byte{0, 0, 0}
	wantLevels(t, "not activated", picture(t, ds, 3, black, Parameters{Presentation: &dicom.Dataset{}}), 0, 0, 0)
	layer := (&dicom.Dataset{}).SetString(dicom.TagGraphicLayer, dicom.CS, "MARKS").SetInts(dicom.TagGraphicLayerRecommendedDisplayGrayscaleValue, dicom.US, 0x8080)
	ps := (&dicom.Dataset{}).SetString(tagOverlayActivation, dicom.CS, "MARKS").SetSequence(dicom.TagGraphicLayerSequence, layer)
	wantLevels(t, "activated", picture(t, ds, 3, black, Parameters{Presentation: ps}), 0, 128, 0)
	ps.SetInts(tagOverlayRows, dicom.US, 1).SetInts(tagOverlayColumns, dicom.US, 3).SetInts(tagOverlayOrigin, dicom.SS, 1, 1).SetBytes(tagOverlayData, dicom.OW, []byte{0b100, 0})
	wantLevels(t, "of the presentation state", picture(t, ds, 3, black, Parameters{Presentation: ps}), 0, 0, 128)
}

// marked is a black image of 100 × 100 pixels with annotations.
func marked(t *testing.T, p Parameters, annotation, layer *dicom.Dataset) image.Image {
	t.Helper()
	annotation.SetString(dicom.TagGraphicLayer, dicom.CS, "L")
	layer.SetString(dicom.TagGraphicLayer, dicom.CS, "L")
	ps := (&dicom.Dataset{}).SetSequence(dicom.TagGraphicAnnotationSequence, annotation).SetSequence(dicom.TagGraphicLayerSequence, layer)
	if p.Presentation != nil {
		ps.Elements = append(ps.Elements, p.Presentation.Elements...)
	}
	p.Presentation = ps
	return picture(t, eightBits(), 100, make([]byte, 100*100), p)
}

func graphic(kind, units string, points ...float64) *dicom.Dataset {
	return (&dicom.Dataset{}).SetString(dicom.TagGraphicType, dicom.CS, kind).SetString(dicom.TagGraphicAnnotationUnits, dicom.CS, units).
		SetFloats(dicom.TagGraphicData, dicom.FL, points...)
}

func drawn(objects ...*dicom.Dataset) *dicom.Dataset {
	return (&dicom.Dataset{}).SetSequence(dicom.TagGraphicObjectSequence, objects...)
}

func TestGraphics(t *testing.T) {
	for _, c := range []struct {
		name    string
		object  *dicom.Dataset
		on, off []image.Point
	}{
		{"POLYLINE", graphic("POLYLINE", "PIXEL", 10, 20.5, 90, 20.5), []image.Point{{12, 20}, {50, 20}, {88, 20}}, []image.Point{{50, 18}, {50, 23}, {5, 20}, {95, 20}}},
		{"POLYLINE in parts of the display", graphic("POLYLINE", "DISPLAY", 0.1, 0.505, 0.9, 0.505), []image.Point{{50, 50}}, []image.Point{{50, 47}, {50, 53}}},
		{"POINT", graphic("POINT", "PIXEL", 50.5, 50.5), []image.Point{{50, 50}}, []image.Point{{46, 50}, {54, 50}}},
		{"CIRCLE", graphic("CIRCLE", "PIXEL", 50, 50, 50, 20.5), []image.Point{{50, 20}, {79, 50}, {50, 79}, {20, 50}}, []image.Point{{50, 50}, {30, 30}, {50, 15}}},
		{"ELLIPSE", graphic("ELLIPSE", "PIXEL", 10.5, 50, 89.5, 50, 50, 40.5, 50, 59.5), []image.Point{{10, 50}, {89, 50}, {50, 40}, {50, 59}}, []image.Point{{50, 50}, {50, 20}}},
		{"INTERPOLATED", graphic("INTERPOLATED", "PIXEL", 10, 50, 30, 30, 50, 50, 70, 70, 90, 50), []image.Point{{30, 29}, {70, 69}}, []image.Point{{30, 70}, {70, 30}}},
		{"filled", graphic("CIRCLE", "PIXEL", 50, 50, 50, 20).SetString(dicom.TagGraphicFilled, dicom.CS, "Y"), []image.Point{{50, 50}, {30, 45}}, []image.Point{{15, 15}, {50, 10}}},
		{"filled and larger than the image", graphic("POLYLINE", "PIXEL", -1e6, -1e6, 1e6, -1e6, 1e6, 1e6, -1e6, 1e6).SetString(dicom.TagGraphicFilled, dicom.CS, "Y"), []image.Point{{0, 0}, {99, 99}, {50, 50}}, nil},
	} {
		im := marked(t, Parameters{}, drawn(c.object), &dicom.Dataset{})
		level := func(p image.Point) uint8 { return im.(*image.Gray).GrayAt(p.X, p.Y).Y }
		for _, p := range c.on {
			if level(p) < 100 {
				t.Errorf("%s: %v is %d", c.name, p, level(p))
			}
		}
		for _, p := range c.off {
			if level(p) > 30 {
				t.Errorf("%s: %v is %d", c.name, p, level(p))
			}
		}
	}
	// Marks turn and grow with the image.
	turn := Parameters{Width: 200, Height: 200, Presentation: (&dicom.Dataset{}).SetInts(dicom.TagImageRotation, dicom.US, 90)}
	im := marked(t, turn, drawn(graphic("POLYLINE", "PIXEL", 10, 20.5, 90, 20.5)), &dicom.Dataset{})
	if y := im.(*image.Gray).GrayAt(200-41, 100).Y; im.Bounds().Dx() != 200 || y < 100 {
		t.Errorf("turned: %d", y)
	}
	// A color makes the picture one in color.
	lab := (&dicom.Dataset{}).SetInts(dicom.TagGraphicLayerRecommendedDisplayCIELabValue, dicom.US, 0x8AF4, 0xD084, 0xC54D) // of sRGB red
	im = marked(t, Parameters{}, drawn(graphic("POLYLINE", "PIXEL", 10, 20.5, 90, 20.5)), lab)
	if c := color.RGBAModel.Convert(im.At(50, 20)).(color.RGBA); c.R < 200 || c.G > 60 || c.B > 60 {
		t.Errorf("red is %v", c)
	}
	// What is for another image isn't drawn.
	im = marked(t, Parameters{}, referring(drawn(graphic("POLYLINE", "PIXEL", 10, 20.5, 90, 20.5)), "2.25.9"), &dicom.Dataset{})
	if im.(*image.Gray).GrayAt(50, 20).Y != 0 {
		t.Error("a mark of another image")
	}
}

// inked counts the bright pixels in a part of a picture.
func inked(im image.Image, r image.Rectangle) (n int) {
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			if color.GrayModel.Convert(im.At(x, y)).(color.Gray).Y > 128 {
				n++
			}
		}
	}
	return n
}

func TestTexts(t *testing.T) {
	text := func(value string) *dicom.Dataset {
		return (&dicom.Dataset{}).SetString(dicom.TagUnformattedTextValue, dicom.ST, value)
	}
	boxed := text("Ўсма").SetString(dicom.TagBoundingBoxAnnotationUnits, dicom.CS, "PIXEL").
		SetFloats(dicom.TagBoundingBoxTopLeftHandCorner, dicom.FL, 10, 40).SetFloats(dicom.TagBoundingBoxBottomRightHandCorner, dicom.FL, 60, 60)
	im := marked(t, Parameters{}, (&dicom.Dataset{}).SetSequence(dicom.TagTextObjectSequence, boxed), &dicom.Dataset{})
	if n := inked(im, image.Rect(8, 38, 62, 62)); n < 15 || n != inked(im, im.Bounds()) {
		t.Errorf("%d pixels of %d are in the box", n, inked(im, im.Bounds()))
	}
	anchored := text("o'sma").SetString(dicom.TagAnchorPointAnnotationUnits, dicom.CS, "DISPLAY").SetFloats(dicom.TagAnchorPoint, dicom.FL, 0.99, 0.99)
	im = marked(t, Parameters{}, (&dicom.Dataset{}).SetSequence(dicom.TagTextObjectSequence, anchored), &dicom.Dataset{})
	if n := inked(im, image.Rect(50, 80, 100, 100)); n < 15 {
		t.Errorf("a text that would begin beside the picture has %d pixels in it", n)
	}
	// Every letter of the languages of the country has a glyph of its own.
	f := face(20)
	missing, _, _ := f.GlyphBounds('\uE000')
	for _, r := range "ЎўҚқҒғҲҳЁёЪъЫыЭэЩщOʻoʻGʻgʻʼ" {
		if got, _, ok := f.GlyphBounds(r); !ok || got == missing {
			t.Errorf("%c has no glyph", r)
		}
	}
	annotated := picture(t, eightBits(), 200, make([]byte, 200*200), Parameters{Annotations: []string{"Каримов Алишер", "12345"}})
	if n := inked(annotated, image.Rect(0, 0, 110, 30)); n < 60 || n != inked(annotated, annotated.Bounds()) {
		t.Errorf("annotations have %d pixels in the corner", n)
	}
}
