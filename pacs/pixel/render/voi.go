package render

import (
	"math"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// voi maps a modality value to 0 (black) … 1 (white).
type voi func(float64) float64

// mapping is the function of a window, PS3.3 C.11.2.1.2 and C.11.2.1.3.
func (w Window) mapping() voi {
	c, width := w.Center, w.Width
	switch {
	case w.Function == Sigmoid:
		return func(x float64) float64 { return 1 / (1 + math.Exp(-4*(x-c)/width)) }
	case w.Function == LinearExact, width < 1:
		// A width below 1 is an error of who wrote it for LINEAR, and can only
		// mean this.
		return func(x float64) float64 { return clamp((x-c)/width + 0.5) }
	}
	low, high := c-0.5-(width-1)/2, c-0.5+(width-1)/2
	return func(x float64) float64 {
		switch {
		case x <= low:
			return 0
		case x > high:
			return 1
		}
		return clamp((x-(c-0.5))/(width-1) + 0.5)
	}
}

// between shows low as black and high as white.
func between(low, high float64) voi {
	if low > high {
		low, high = high, low
	}
	if low == high {
		return func(float64) float64 { return 0 }
	}
	scale := 1 / (high - low)
	return func(x float64) float64 { return clamp((x - low) * scale) }
}

func (l *lut) mapping() voi {
	scale := 1 / l.top()
	return func(x float64) float64 { return float64(l.at(rounded(x))) * scale }
}

// rounded is a value as an index: bounded, whatever it is.
func rounded(x float64) int {
	switch {
	case math.IsNaN(x):
		return 0
	case x > math.MaxInt32:
		return math.MaxInt32
	case x < math.MinInt32:
		return math.MinInt32
	}
	return int(math.Floor(x + 0.5))
}

func clamp(y float64) float64 {
	if y > 0 { // NaN is not
		return min(y, 1)
	}
	return 0
}

// voiOf reads the VOI LUT module or macro (PS3.3 C.11.2, C.7.6.16.2.10) from ds:
// number n of its windows and then LUTs, the first when there is none; nil when
// there are none at all.
func voiOf(ds *dicom.Dataset, n int) (voi, error) {
	var usable []Window
	centers, widths := floats(ds, dicom.TagWindowCenter), floats(ds, dicom.TagWindowWidth)
	for i := 0; i < min(len(centers), len(widths)); i++ {
		w := Window{centers[i], widths[i], Function(ds.String(dicom.TagVOILUTFunction))}
		if w.usable() {
			usable = append(usable, w)
		}
	}
	luts := ds.Items(dicom.TagVOILUTSequence)
	if n < 0 || n >= len(usable)+len(luts) {
		n = 0
	}
	if n < len(usable) {
		return usable[n].mapping(), nil
	}
	for _, item := range luts[min(n-len(usable), len(luts)):] {
		l, err := lutOf(item, dicom.TagLUTDescriptor, dicom.TagLUTData, false)
		if err != nil {
			return nil, err
		}
		if l != nil {
			return l.mapping(), nil
		}
	}
	return nil, nil
}
