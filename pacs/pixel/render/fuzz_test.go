package render

import (
	"encoding/binary"
	"io"
	"math"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/pixel"
)

// FuzzPicture makes pictures of attributes that contradict one another: none of
// them may crash, hang or be larger than the bounds.
func FuzzPicture(f *testing.F) {
	f.Add(byte(0), uint16(4), uint16(4), byte(12), "MONOCHROME2", []byte{4, 0, 0, 0, 16, 0}, []byte{1, 2, 3, 4, 5, 6, 7, 8}, "40", "400", "SIGMOID", 1.0, 2.0, int16(0), uint16(90))
	f.Add(byte(1), uint16(3), uint16(5), byte(8), "PALETTE COLOR", []byte{0, 0, 0, 0x80, 8, 0}, []byte{0, 2, 1, 2, 1, 3, 8}, "1e308", "-1e308", "", 0.5, 1e9, int16(-7), uint16(180))
	f.Add(byte(3), uint16(300), uint16(2), byte(16), "YBR_FULL_422", []byte{255, 255, 255, 255, 255, 255}, []byte{2, 1, 0, 0}, "nan", "0", "LINEAR_EXACT", -1.0, 1e-9, int16(32767), uint16(270))
	f.Add(byte(4), uint16(9), uint16(7), byte(1), "MONOCHROME1", []byte{}, []byte{}, "", "", "LINEAR", 1e300, -1e300, int16(-32768), uint16(45))
	f.Fuzz(func(t *testing.T, kind byte, columns, rows uint16, bits byte, photometric string, descriptor, data []byte, center, width, function string, x, y float64, small int16, rotation uint16) {
		if len(data) > 1<<16 || len(descriptor) > 64 {
			return
		}
		columns, rows = columns%400, rows%400
		ds := &dicom.Dataset{}
		ds.SetString(dicom.TagSOPInstanceUID, dicom.UI, "2.25.1")
		ds.SetInts(dicom.TagColumns, dicom.US, int(columns)).SetInts(dicom.TagRows, dicom.US, int(rows))
		ds.SetInts(dicom.TagBitsAllocated, dicom.US, []int{1, 8, 16, 32, 64}[kind%5])
		ds.SetInts(dicom.TagBitsStored, dicom.US, int(bits))
		ds.SetInts(dicom.TagHighBit, dicom.US, int(bits)+int(kind>>6)-1)
		ds.SetInts(dicom.TagSamplesPerPixel, dicom.US, 1+int(kind>>3&1)*2)
		ds.SetInts(dicom.TagPixelRepresentation, dicom.US, int(kind>>4&1))
		ds.SetInts(dicom.TagPlanarConfiguration, dicom.US, int(kind>>5&1))
		ds.SetString(dicom.TagPhotometricInterpretation, dicom.CS, photometric)
		if kind&4 != 0 && kind%5 >= 3 {
			ds.SetBytes(dicom.TagFloatPixelData, dicom.OF, nil)
		}
		for _, tag := range []dicom.Tag{dicom.TagWindowCenter, dicom.TagRescaleSlope, dicom.TagPixelPaddingValue, dicom.TagPixelAspectRatio} {
			ds.SetString(tag, dicom.DS, center, width)
		}
		ds.SetString(dicom.TagWindowWidth, dicom.DS, width)
		ds.SetString(dicom.TagRescaleIntercept, dicom.DS, center)
		ds.SetString(dicom.TagVOILUTFunction, dicom.CS, function)
		item := (&dicom.Dataset{}).SetBytes(dicom.TagLUTDescriptor, dicom.SS, descriptor).SetBytes(dicom.TagLUTData, dicom.OW, data)
		ds.SetSequence([]dicom.Tag{dicom.TagModalityLUTSequence, dicom.TagVOILUTSequence, dicom.TagPresentationLUTSequence}[kind%3], item)
		for c := range dicom.Tag(3) {
			ds.SetBytes(dicom.TagRedPaletteColorLookupTableDescriptor+c, dicom.US, descriptor)
			ds.SetBytes([]dicom.Tag{dicom.TagRedPaletteColorLookupTableData, dicom.TagSegmentedRedPaletteColorLookupTableData}[kind%2]+c, dicom.OW, data)
		}
		for group := range dicom.Tag(2) {
			at := group << 17
			ds.SetInts(tagOverlayRows+at, dicom.US, int(rows)+int(small)).SetInts(tagOverlayColumns+at, dicom.US, int(columns)+int(small))
			ds.SetInts(tagOverlayOrigin+at, dicom.SS, int(small), -int(small))
			ds.SetInts(tagOverlayFrames+at, dicom.IS, int(small)).SetInts(tagImageFrameOrigin+at, dicom.US, int(small))
			ds.SetInts(tagOverlayBits+at, dicom.US, int(bits)).SetInts(tagOverlayBitPosition+at, dicom.US, int(small))
			ds.SetString(tagOverlayActivation+at, dicom.CS, "L")
		}
		ds.SetBytes(tagOverlayData, dicom.OW, data)
		ds.SetString(dicom.TagShutterShape, dicom.CS, "RECTANGULAR", "CIRCULAR", "POLYGONAL", "BITMAP")
		for _, tag := range []dicom.Tag{
			dicom.TagShutterLeftVerticalEdge, dicom.TagShutterRightVerticalEdge, dicom.TagShutterUpperHorizontalEdge, dicom.TagShutterLowerHorizontalEdge, dicom.TagRadiusOfCircularShutter,
		} {
			ds.SetInts(tag, dicom.IS, int(small))
		}
		ds.SetString(dicom.TagCenterOfCircularShutter, dicom.IS, center, width)
		ds.SetString(dicom.TagVerticesOfThePolygonalShutter, dicom.IS, center, width, "1", "2", width, center)
		ds.SetInts(dicom.TagShutterOverlayGroup, dicom.US, 0x6000)
		format, err := pixel.FormatOf(ds)
		if err != nil {
			return
		}
		pixels := make([]byte, format.FrameSize())
		for i := range pixels {
			if len(data) > 0 {
				pixels[i] = data[i%len(data)] + byte(i)
			}
		}
		ds.SetInts(dicom.TagImageRotation, dicom.US, int(rotation)).SetString(dicom.TagImageHorizontalFlip, dicom.CS, "Y")
		area := (&dicom.Dataset{}).SetInts(dicom.TagDisplayedAreaTopLeftHandCorner, dicom.SL, int(small), int(int32(binary.LittleEndian.Uint32(append(descriptor, 0, 0, 0, 0)))))
		area.SetInts(dicom.TagDisplayedAreaBottomRightHandCorner, dicom.SL, int(rotation), int(columns))
		ds.SetSequence(dicom.TagDisplayedAreaSelectionSequence, area)
		annotation := (&dicom.Dataset{}).SetString(dicom.TagGraphicLayer, dicom.CS, "L")
		var graphics []*dicom.Dataset
		for _, kind := range []string{"POINT", "POLYLINE", "INTERPOLATED", "CIRCLE", "ELLIPSE"} {
			g := (&dicom.Dataset{}).SetString(dicom.TagGraphicType, dicom.CS, kind).SetString(dicom.TagGraphicFilled, dicom.CS, "Y")
			g.SetString(dicom.TagGraphicAnnotationUnits, dicom.CS, []string{"PIXEL", "DISPLAY"}[rotation%2])
			graphics = append(graphics, g.SetFloats(dicom.TagGraphicData, dicom.FL, x, y, y, x, x*y, 1, 0, float64(small), x, y))
		}
		annotation.SetSequence(dicom.TagGraphicObjectSequence, graphics...)
		text := (&dicom.Dataset{}).SetString(dicom.TagUnformattedTextValue, dicom.ST, photometric+"\r\nЎзбекистон").SetString(dicom.TagAnchorPointVisibility, dicom.CS, "Y")
		text.SetFloats(dicom.TagAnchorPoint, dicom.FL, x, y).SetFloats(dicom.TagBoundingBoxTopLeftHandCorner, dicom.FL, y, x).SetFloats(dicom.TagBoundingBoxBottomRightHandCorner, dicom.FL, float64(small), y)
		annotation.SetSequence(dicom.TagTextObjectSequence, text)
		ds.SetSequence(dicom.TagGraphicAnnotationSequence, annotation)
		layer := (&dicom.Dataset{}).SetString(dicom.TagGraphicLayer, dicom.CS, "L").SetInts(dicom.TagGraphicLayerRecommendedDisplayCIELabValue, dicom.US, int(columns), int(rotation), int(rows)*1000%65536)
		ds.SetSequence(dicom.TagGraphicLayerSequence, layer)
		for _, p := range []Parameters{
			{},
			{Width: int(rows), Height: int(columns), Region: &Region{x, y, math.Abs(y), math.Abs(x)}},
			{Presentation: ds, Width: 300, Height: 300, Annotations: []string{photometric}},
			{Window: &Window{x, y, Function(function)}, Shrink: true, Height: 10, VOI: int(small), Invert: true, FlipVertical: true},
		} {
			im, err := Picture(t.Context(), pixel.Frame{Format: format, Pixels: pixels}, 1+int(small&3), ds, p)
			if err != nil {
				continue
			}
			b := im.Bounds()
			if b.Dx() < 1 || b.Dy() < 1 || b.Dx() > MaxSide || b.Dy() > MaxSide || b.Dx()*b.Dy() > MaxPixels+2*MaxSide {
				t.Fatalf("a picture of %v", b)
			}
			if p.Width > 0 && (b.Dx() > p.Width || p.Height > 0 && b.Dy() > p.Height) {
				t.Fatalf("%v in a viewport of %d × %d", b, p.Width, p.Height)
			}
			if b.Dx()*b.Dy() < 1<<16 {
				if err := EncodeJPEG(io.Discard, im, 0, data); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}
