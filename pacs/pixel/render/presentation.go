package render

import (
	"context"
	"image"
	"image/color"
	"image/draw"
	"math"
	"slices"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// state is a softcopy presentation state, PS3.3 A.33, as it holds for one frame
// of an image. Its Dataset has the shutters and the modality transformation.
type state struct {
	*dicom.Dataset
	instance string
	frame    int
	voi      *dicom.Dataset // item of Softcopy VOI LUT Sequence
	area     *dicom.Dataset // item of Displayed Area Selection Sequence
}

// stateOf is nil when ds is.
func stateOf(ds *dicom.Dataset, image attributes, frame int) *state {
	if ds == nil {
		return nil
	}
	st := &state{Dataset: ds, instance: image.String(dicom.TagSOPInstanceUID), frame: frame}
	st.voi = st.first(dicom.TagSoftcopyVOILUTSequence)
	st.area = st.first(dicom.TagDisplayedAreaSelectionSequence)
	return st
}

// first is the first item of a sequence that is for the frame.
func (st *state) first(tag dicom.Tag) *dicom.Dataset {
	for _, item := range st.Items(tag) {
		if st.isFor(item) {
			return item
		}
	}
	return nil
}

// isFor says whether an item is for the frame: without references it is for all
// images of the presentation state.
func (st *state) isFor(item *dicom.Dataset) bool {
	references := item.Items(dicom.TagReferencedImageSequence)
	return len(references) == 0 || slices.ContainsFunc(references, func(r *dicom.Dataset) bool {
		return r.String(dicom.TagReferencedSOPInstanceUID) == st.instance && names(r, st.frame)
	})
}

// names says whether a reference to an image is to one of its frames.
func names(reference *dicom.Dataset, frame int) bool {
	numbers := reference.Floats(dicom.TagReferencedFrameNumber)
	return len(numbers) == 0 || slices.Contains(numbers, float64(frame))
}

// Reference is an image that a presentation state is for.
type Reference struct {
	SeriesInstanceUID, SOPInstanceUID string
	Frames                            []int // nil for all
}

// References are the images that a presentation state is for, in its order,
// PS3.3 C.11.11.
func References(presentation *dicom.Dataset) (all []Reference) {
	for _, series := range presentation.Items(dicom.TagReferencedSeriesSequence) {
		for _, image := range series.Items(dicom.TagReferencedImageSequence) {
			r := Reference{series.String(dicom.TagSeriesInstanceUID), image.String(dicom.TagReferencedSOPInstanceUID), nil}
			for _, n := range image.Floats(dicom.TagReferencedFrameNumber) {
				r.Frames = append(r.Frames, rounded(n))
			}
			all = append(all, r)
		}
	}
	return all
}

// place decides what is shown, PS3.3 C.10.4 and C.10.6.
func (st *state) place(pl *placement, aspect *float64, p Parameters) {
	if n, ok := st.Int(dicom.TagImageRotation); ok && n > 0 && n < 360 && n%90 == 0 {
		pl.rotation = n
	}
	if st.String(dicom.TagImageHorizontalFlip) == "Y" {
		pl.flipHorizontal = !pl.flipHorizontal
	}
	if st.area == nil {
		return
	}
	if !p.NoAspect {
		for _, tag := range []dicom.Tag{dicom.TagPresentationPixelSpacing, dicom.TagPresentationPixelAspectRatio} {
			if v := floats(st.area, tag); len(v) == 2 {
				*aspect = ratio(v)
				break
			}
		}
	}
	// The corners are those of the picture, so that either may be the smaller
	// one in an image that is turned.
	a, b := floats(st.area, dicom.TagDisplayedAreaTopLeftHandCorner), floats(st.area, dicom.TagDisplayedAreaBottomRightHandCorner)
	if len(a) == 2 && len(b) == 2 {
		area := Region{
			min(a[0], b[0]) - 1, min(a[1], b[1]) - 1,
			math.Abs(a[0]-b[0]) + 1, math.Abs(a[1]-b[1]) + 1,
		}
		if max(math.Abs(area.X), math.Abs(area.Y), area.Width, area.Height) < maxCoordinate {
			pl.area = area
		}
	}
}

// drawOverlays draws those of the presentation state, and those of the image that
// it activates, PS3.3 C.11.7.
func (st *state) drawOverlays(im draw.Image, a attributes, number int, s *samples) {
	shutter, _ := st.Int(dicom.TagShutterOverlayGroup)
	for group := range overlayGroups {
		layer := st.String(tagOverlayActivation + dicom.Tag(group)<<17)
		if layer == "" || shutter == 0x6000+2*group {
			continue
		}
		o := overlayOf(st.Dataset, group, number, nil)
		if o == nil {
			o = overlayOf(a.Dataset, group, number, s)
		}
		if o == nil {
			continue
		}
		level := color.GrayModel.Convert(st.layer(layer).color).(color.Gray).Y
		o.each(im.Bounds(), func(x, y int) { setLevel(im, x, y, level) })
	}
}

// closeShutters hides what the shutters of the presentation state, or else of the
// image, hide.
func (st *state) closeShutters(im draw.Image, a attributes, number int) {
	ds, aspect := a.Dataset, a.aspect()
	if g := a.group(dicom.TagFrameDisplayShutterSequence); g != nil {
		ds = g
	}
	var bitmap *overlay
	if st != nil {
		ds = st.Dataset
		if group, ok := ds.Int(dicom.TagShutterOverlayGroup); ok && group >= 0x6000 && group < 0x6000+2*overlayGroups && group%2 == 0 {
			bitmap = overlayOf(ds, (group-0x6000)/2, number, nil)
		}
	}
	sh := shutterOf(ds, bitmap, aspect)
	if sh == nil {
		return
	}
	sh.close(im.Bounds(), func(y, from, to int) {
		for x := from; x < to; x++ {
			setLevel(im, x, y, sh.level)
		}
	})
}

// layer is one of Graphic Layer Sequence, PS3.3 C.10.7.
type layer struct {
	order int
	color color.RGBA
}

func (st *state) layer(name string) layer {
	for _, item := range st.Items(dicom.TagGraphicLayerSequence) {
		if item.String(dicom.TagGraphicLayer) != name {
			continue
		}
		l := layer{color: white}
		l.order, _ = item.Int(dicom.TagGraphicLayerOrder)
		if lab := floats(item, dicom.TagGraphicLayerRecommendedDisplayCIELabValue); len(lab) == 3 {
			l.color = fromLab(lab)
		} else if v, ok := item.Int(dicom.TagGraphicLayerRecommendedDisplayGrayscaleValue); ok {
			y := uint8(min(max(v, 0), 0xFFFF) >> 8)
			l.color = color.RGBA{y, y, y, 255}
		}
		return l
	}
	return layer{color: white}
}

var white = color.RGBA{255, 255, 255, 255}

// fromLab is the sRGB colour of a CIELab value as PS3.3 C.10.7.1.1 writes it.
func fromLab(v []float64) color.RGBA {
	l, a, b := v[0]*100/0xFFFF, v[1]*255/0xFFFF-128, v[2]*255/0xFFFF-128
	f := func(t float64) float64 {
		if t > 6.0/29 {
			return t * t * t
		}
		return 3 * (6.0 / 29) * (6.0 / 29) * (t - 4.0/29)
	}
	fy := (l + 16) / 116
	x, y, z := 0.9642*f(fy+a/500), f(fy), 0.8249*f(fy-b/200) // D50
	gamma := func(c float64) uint8 {
		if c <= 0.0031308 {
			c *= 12.92
		} else {
			c = 1.055*math.Pow(c, 1/2.4) - 0.055
		}
		return uint8(clamp(c)*255 + 0.5)
	}
	return color.RGBA{ // Bradford, D50 to sRGB
		gamma(3.1338561*x - 1.6168667*y - 0.4906146*z),
		gamma(-0.9787684*x + 1.9161415*y + 0.0334540*z),
		gamma(0.0719453*x - 0.2289914*y + 1.4052427*z),
		255,
	}
}

// annotate draws the lines and letters of the presentation state, PS3.3 C.10.5.
// A gray picture becomes one in colour if a layer is.
func (st *state) annotate(ctx context.Context, im draw.Image, pl placement) (draw.Image, error) {
	type annotation struct {
		item  *dicom.Dataset
		layer layer
	}
	var all []annotation
	for _, item := range st.Items(dicom.TagGraphicAnnotationSequence) {
		if st.isFor(item) && len(all) < maxAnnotations {
			all = append(all, annotation{item, st.layer(item.String(dicom.TagGraphicLayer))})
		}
	}
	slices.SortStableFunc(all, func(a, b annotation) int { return a.layer.order - b.layer.order })
	d := drawing{placement: &pl}
	for _, a := range all {
		if c := a.layer.color; c.R != c.G || c.G != c.B {
			if _, gray := im.(*image.Gray); gray {
				colored := blank(&image.RGBA{}, im.Bounds().Dx(), im.Bounds().Dy())
				draw.Draw(colored, colored.Bounds(), im, im.Bounds().Min, draw.Src)
				im = colored
			}
		}
	}
	d.picture = im
	for _, a := range all {
		d.color = a.layer.color
		for _, object := range a.item.Items(dicom.TagGraphicObjectSequence) {
			if ctx.Err() == nil {
				d.graphic(object)
			}
		}
		for _, object := range a.item.Items(dicom.TagTextObjectSequence) {
			if ctx.Err() == nil {
				d.text(object)
			}
		}
	}
	return im, ctx.Err()
}
