package render

import (
	"image"
	"math"
	"slices"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// maxVertices bounds a polygonal shutter.
const maxVertices = 4096

// shutter hides the pixels outside of its shapes, PS3.3 C.7.6.11 and, with a
// bitmap, C.7.6.15.
type shutter struct {
	shapes                    []string
	left, right, upper, lower int // visible pixels, from 0
	x, y, radius              float64
	aspect                    float64 // height of a pixel over its width
	vertices                  [][2]float64
	bitmap                    *overlay
	level                     uint8
}

// shutterOf reads the Display Shutter module from ds, nil when there is none.
func shutterOf(ds *dicom.Dataset, bitmap *overlay, aspect float64) *shutter {
	sh := &shutter{right: math.MaxInt32, lower: math.MaxInt32, aspect: aspect}
	for _, shape := range ds.Strings(dicom.TagShutterShape) {
		switch shape {
		case "RECTANGULAR":
			edge := func(tag dicom.Tag, otherwise int) int {
				if n, ok := ds.Int(tag); ok {
					return n - 1
				}
				return otherwise
			}
			sh.left, sh.right = edge(dicom.TagShutterLeftVerticalEdge, 0), edge(dicom.TagShutterRightVerticalEdge, sh.right)
			sh.upper, sh.lower = edge(dicom.TagShutterUpperHorizontalEdge, 0), edge(dicom.TagShutterLowerHorizontalEdge, sh.lower)
		case "CIRCULAR":
			center, radius := floats(ds, dicom.TagCenterOfCircularShutter), floats(ds, dicom.TagRadiusOfCircularShutter)
			if len(center) != 2 || len(radius) == 0 || radius[0] < 0 {
				continue
			}
			sh.y, sh.x, sh.radius = center[0]-1, center[1]-1, radius[0]
		case "POLYGONAL":
			v := floats(ds, dicom.TagVerticesOfThePolygonalShutter)
			if len(v) < 6 || len(v)/2 > maxVertices {
				continue
			}
			for ; len(v) >= 2; v = v[2:] {
				sh.vertices = append(sh.vertices, [2]float64{v[1] - 1, v[0] - 1})
			}
		case "BITMAP":
			if sh.bitmap = bitmap; bitmap == nil {
				continue
			}
		default:
			continue
		}
		if !slices.Contains(sh.shapes, shape) {
			sh.shapes = append(sh.shapes, shape)
		}
	}
	if v, ok := ds.Int(dicom.TagShutterPresentationValue); ok {
		sh.level = uint8(min(max(v, 0), 0xFFFF) * 255 / 0xFFFF)
	}
	if sh.shapes == nil {
		return nil
	}
	return sh
}

// close hides what is outside; hide fills a run of pixels of a row.
func (sh *shutter) close(r image.Rectangle, hide func(y, from, to int)) {
	for _, shape := range sh.shapes {
		switch shape {
		case "RECTANGULAR":
			for y := r.Min.Y; y < r.Max.Y; y++ {
				if y < sh.upper || y > sh.lower || sh.left > sh.right {
					hide(y, r.Min.X, r.Max.X)
					continue
				}
				keep(r, y, sh.left, sh.right+1, hide)
			}
		case "CIRCULAR":
			for y := r.Min.Y; y < r.Max.Y; y++ {
				// The radius is in widths of a pixel.
				dy := (float64(y) - sh.y) * sh.aspect
				if dy*dy > sh.radius*sh.radius {
					hide(y, r.Min.X, r.Max.X)
					continue
				}
				dx := math.Sqrt(sh.radius*sh.radius - dy*dy)
				keep(r, y, bounded(math.Ceil(sh.x-dx)), bounded(math.Floor(sh.x+dx))+1, hide)
			}
		case "POLYGONAL":
			sh.polygon(r, hide)
		case "BITMAP":
			sh.bitmap.each(r, func(x, y int) { hide(y, x, x+1) })
		}
	}
}

// keep hides a row but for the pixels in [from, to).
func keep(r image.Rectangle, y, from, to int, hide func(y, from, to int)) {
	from, to = min(max(from, r.Min.X), r.Max.X), min(max(to, r.Min.X), r.Max.X)
	if from >= to {
		hide(y, r.Min.X, r.Max.X)
		return
	}
	hide(y, r.Min.X, from)
	hide(y, to, r.Max.X)
}

// polygon hides what is outside of the polygon, row by row: inside is where a
// line from the left has crossed an odd number of its sides.
func (sh *shutter) polygon(r image.Rectangle, hide func(y, from, to int)) {
	var crossings []float64
	for y := r.Min.Y; y < r.Max.Y; y++ {
		crossings = crossings[:0]
		at := float64(y)
		for i, a := range sh.vertices {
			b := sh.vertices[(i+1)%len(sh.vertices)]
			if a[1] > b[1] {
				a, b = b, a
			}
			if at >= a[1] && at < b[1] {
				crossings = append(crossings, a[0]+(at-a[1])/(b[1]-a[1])*(b[0]-a[0]))
			}
		}
		slices.Sort(crossings)
		x := r.Min.X
		for i := 0; i+1 < len(crossings); i += 2 {
			from := min(max(bounded(math.Ceil(crossings[i])), x), r.Max.X)
			hide(y, x, from)
			x = min(max(bounded(math.Floor(crossings[i+1]))+1, from), r.Max.X)
		}
		hide(y, x, r.Max.X)
	}
}

// bounded is a coordinate as an integer.
func bounded(v float64) int {
	if !(v > -maxCoordinate) {
		return -maxCoordinate
	}
	return int(min(v, maxCoordinate))
}
