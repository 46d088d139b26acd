package render

import (
	"math"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// Parameters say how a picture is to look. The zero value shows the whole frame
// as its instance says.
type Parameters struct {
	// Window replaces the window of the instance or presentation state.
	Window *Window
	// VOI chooses among the instance's windows, and then its VOI LUTs, counted
	// from 0. What there is not is the first.
	VOI int
	// Invert shows black as white.
	Invert bool

	// Width and Height bound the picture, which is made as large as fits into
	// them without being distorted (PS3.18 8.3.5.1.3). 0 is no bound; if both are
	// 0 the picture has the size of what it shows.
	Width, Height int
	// Shrink never enlarges.
	Shrink bool
	// Region is the part of the image that is shown; nil for all.
	Region *Region
	// FlipHorizontal mirrors left and right, FlipVertical top and bottom.
	FlipHorizontal, FlipVertical bool

	// Presentation is a softcopy presentation state that refers to the instance.
	Presentation *dicom.Dataset

	// Annotations are lines of text in the upper left corner.
	Annotations []string

	// Without overlays (60xx), shutters, or the correction of pixels that are not
	// square.
	NoOverlays, NoShutters, NoAspect bool
}

// Region is a part of an image in pixels from its upper left corner.
type Region struct{ X, Y, Width, Height float64 }

// Function is a VOI LUT Function (0028,1056).
type Function string

// PS3.3 C.11.2.1.3.
const (
	Linear      Function = "LINEAR"
	LinearExact Function = "LINEAR_EXACT"
	Sigmoid     Function = "SIGMOID"
)

// Window is a VOI window, PS3.3 C.11.2.1.2, in modality units.
type Window struct {
	Center, Width float64
	Function      Function // Linear when empty
}

// usable says whether values can be mapped by w.
func (w Window) usable() bool {
	return !math.IsNaN(w.Center) && !math.IsInf(w.Center, 0) && w.Width > 0 && !math.IsInf(w.Width, 0)
}

// MaxSide bounds a picture, and so does MaxPixels one of an image that has not
// more itself.
const (
	MaxSide   = 16384
	MaxPixels = 16 << 20
)

func (p Parameters) check() error {
	if p.Window != nil {
		switch f := p.Window.Function; {
		case !p.Window.usable():
			return pacs.Errorf(pacs.Invalid, "A window needs a number as its center and a width above 0.")
		case f != "" && f != Linear && f != LinearExact && f != Sigmoid:
			return pacs.Errorf(pacs.Invalid, "A window's function is LINEAR, LINEAR_EXACT or SIGMOID.")
		case p.Window.Width < 1 && (f == "" || f == Linear):
			return pacs.Errorf(pacs.Invalid, "A window of the LINEAR function has a width of at least 1; LINEAR_EXACT takes any above 0.")
		}
	}
	if p.Width < 0 || p.Height < 0 || p.Width > MaxSide || p.Height > MaxSide {
		return pacs.Errorf(pacs.Invalid, "A picture has between 1 and %d pixels in width and height.", MaxSide)
	}
	if r := p.Region; r != nil {
		for _, n := range []float64{r.X, r.Y, r.Width, r.Height} {
			if math.IsNaN(n) || math.Abs(n) > maxCoordinate {
				return pacs.Errorf(pacs.Invalid, "The region of the image is not given by numbers of pixels.")
			}
		}
		if r.Width <= 0 || r.Height <= 0 {
			return pacs.Errorf(pacs.Invalid, "The region of the image has no width or no height.")
		}
	}
	return nil
}
