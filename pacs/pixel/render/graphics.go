package render

import (
	"image"
	"image/color"
	"image/draw"
	"math"

	"golang.org/x/image/font"
	"golang.org/x/image/vector"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// Bounds of what is drawn: a radiologist's marks are a few.
const (
	maxAnnotations = 1000
	maxObjects     = 4000
	maxPoints      = 100_000
	maxLetters     = 100_000
	maxPainted     = 1 << 29 // pixels that areas cover, all together
)

// drawing draws graphic and text objects onto a picture.
type drawing struct {
	*placement
	picture draw.Image
	color   color.RGBA

	objects, points, letters, painted int       // drawn so far
	face                              font.Face // of texts, once it is needed
}

type point struct{ x, y float64 }

// placed maps a point in Graphic Annotation Units to the picture: PIXEL from the
// upper left corner of the image, DISPLAY as a fraction of what is displayed.
func (d *drawing) placed(p point, units string) point {
	if units == "DISPLAY" {
		b := d.picture.Bounds()
		return point{p.x * float64(b.Dx()), p.y * float64(b.Dy())}
	}
	x, y := d.at(p.x, p.y)
	return point{x, y}
}

// thickness of a line, in pixels.
func (d *drawing) thickness() float64 {
	b := d.picture.Bounds()
	return max(1, float64(min(b.Dx(), b.Dy()))/400)
}

// graphic draws an item of Graphic Object Sequence.
func (d *drawing) graphic(object *dicom.Dataset) {
	data := floats(object, dicom.TagGraphicData)
	if d.objects++; d.objects > maxObjects || len(data) < 2 || len(data)/2 > maxPoints {
		return
	}
	points := make([]point, len(data)/2)
	for i := range points {
		points[i] = point{data[2*i], data[2*i+1]}
	}
	closed := false
	switch object.String(dicom.TagGraphicType) {
	case "POINT":
		d.dot(d.placed(points[0], object.String(dicom.TagGraphicAnnotationUnits)))
		return
	case "POLYLINE":
	case "INTERPOLATED":
		points = spline(points)
	case "CIRCLE":
		if len(points) < 2 {
			return
		}
		r := math.Hypot(points[1].x-points[0].x, points[1].y-points[0].y)
		points, closed = oval(points[0], point{r, 0}, point{0, r}), true
	case "ELLIPSE":
		if len(points) < 4 {
			return
		}
		half := func(a, b point) point { return point{(b.x - a.x) / 2, (b.y - a.y) / 2} }
		major := half(points[0], points[1])
		center := point{points[0].x + major.x, points[0].y + major.y}
		points, closed = oval(center, major, half(points[2], points[3])), true
	default:
		return
	}
	if d.points += len(points); d.points > 10*maxPoints {
		return
	}
	for i, p := range points {
		points[i] = d.placed(p, object.String(dicom.TagGraphicAnnotationUnits))
	}
	if object.String(dicom.TagGraphicFilled) == "Y" && len(points) > 2 {
		d.fill(points)
	}
	if closed {
		points = append(points, points[0])
	}
	d.stroke(points)
}

// oval has two half axes.
func oval(center, a, b point) []point {
	const steps = 128
	out := make([]point, steps)
	for i := range out {
		sin, cos := math.Sincos(2 * math.Pi * float64(i) / steps)
		out[i] = point{center.x + cos*a.x + sin*b.x, center.y + cos*a.y + sin*b.y}
	}
	return out
}

// spline is a smooth line through points (Catmull-Rom).
func spline(points []point) []point {
	if len(points) < 3 {
		return points
	}
	n := len(points)
	steps := min(max(maxPoints/n, 1), 16)
	around := points[0] == points[n-1]
	at := func(i int) point {
		switch {
		case i < 0 && around:
			return points[n-2]
		case i >= n && around:
			return points[1]
		}
		return points[min(max(i, 0), n-1)]
	}
	var out []point
	for i := range n - 1 {
		p0, p1, p2, p3 := at(i-1), at(i), at(i+1), at(i+2)
		for s := range steps {
			t := float64(s) / float64(steps)
			mix := func(a, b, c, d float64) float64 {
				return 0.5 * (2*b + (c-a)*t + (2*a-5*b+4*c-d)*t*t + (3*b-a-3*c+d)*t*t*t)
			}
			out = append(out, point{mix(p0.x, p1.x, p2.x, p3.x), mix(p0.y, p1.y, p2.y, p3.y)})
		}
	}
	return append(out, points[n-1])
}

// margin around the picture in which lines are still drawn.
const margin = 16

// paint fills areas with the drawing's colour, together: where they overlap it is
// no stronger.
func (d *drawing) paint(areas [][]point) {
	low, high := point{math.Inf(1), math.Inf(1)}, point{math.Inf(-1), math.Inf(-1)}
	for _, area := range areas {
		for _, p := range area {
			if math.IsNaN(p.x) || math.IsNaN(p.y) {
				return
			}
			low, high = point{min(low.x, p.x), min(low.y, p.y)}, point{max(high.x, p.x), max(high.y, p.y)}
		}
	}
	box := image.Rect(bounded(math.Floor(low.x)), bounded(math.Floor(low.y)), bounded(math.Ceil(high.x)), bounded(math.Ceil(high.y))).Intersect(d.picture.Bounds())
	if d.painted += box.Dx() * box.Dy(); box.Empty() || d.painted > maxPainted {
		return
	}
	r := vector.NewRasterizer(box.Dx(), box.Dy())
	for _, area := range areas {
		for i, p := range area {
			area[i] = point{p.x - float64(box.Min.X), p.y - float64(box.Min.Y)}
		}
		polygon(r, area)
	}
	r.Draw(d.picture, box, image.NewUniform(d.color), image.Point{})
}

// polygon adds an area to r, turned so that areas of one path add up.
func polygon(r *vector.Rasterizer, points []point) {
	area := 0.0
	for i, p := range points {
		q := points[(i+1)%len(points)]
		area += p.x*q.y - q.x*p.y
	}
	if area == 0 || math.IsNaN(area) {
		return
	}
	for i := range points {
		p := points[i]
		if area < 0 {
			p = points[len(points)-1-i]
		}
		if i == 0 {
			r.MoveTo(float32(p.x), float32(p.y))
		} else {
			r.LineTo(float32(p.x), float32(p.y))
		}
	}
	r.ClosePath()
}

// stroke draws a line through points.
func (d *drawing) stroke(points []point) {
	var areas [][]point
	half := d.thickness() / 2
	for i := range len(points) - 1 {
		a, b, ok := d.clipped(points[i], points[i+1])
		if !ok {
			continue
		}
		length := math.Hypot(b.x-a.x, b.y-a.y)
		if length == 0 {
			continue
		}
		// Lengthened by half its thickness, so that corners close.
		dx, dy := (b.x-a.x)/length*half, (b.y-a.y)/length*half
		areas = append(areas, []point{
			{a.x - dx - dy, a.y - dy + dx},
			{b.x + dx - dy, b.y + dy + dx},
			{b.x + dx + dy, b.y + dy - dx},
			{a.x - dx + dy, a.y - dy - dx},
		})
	}
	d.paint(areas)
}

// fill paints the area within points.
func (d *drawing) fill(points []point) {
	b := d.picture.Bounds()
	w, h := float64(b.Dx()+margin), float64(b.Dy()+margin)
	// Cut off at each side of the picture (Sutherland-Hodgman).
	for _, side := range []func(p point) float64{
		func(p point) float64 { return p.x + margin }, func(p point) float64 { return w - p.x },
		func(p point) float64 { return p.y + margin }, func(p point) float64 { return h - p.y },
	} {
		var kept []point
		for i, p := range points {
			q := points[(i+1)%len(points)]
			dp, dq := side(p), side(q)
			if dp >= 0 {
				kept = append(kept, p)
			}
			if dp >= 0 != (dq >= 0) {
				t := dp / (dp - dq)
				kept = append(kept, point{p.x + t*(q.x-p.x), p.y + t*(q.y-p.y)})
			}
		}
		points = kept
	}
	if len(points) > 2 {
		d.paint([][]point{points})
	}
}

// dot marks a point.
func (d *drawing) dot(p point) {
	r := d.thickness() * 1.5
	d.fill([]point{{p.x - r, p.y - r}, {p.x + r, p.y - r}, {p.x + r, p.y + r}, {p.x - r, p.y + r}})
}

// clipped is the part of a line that is in the picture (Liang-Barsky).
func (d *drawing) clipped(a, b point) (point, point, bool) {
	bounds := d.picture.Bounds()
	t0, t1 := 0.0, 1.0
	dx, dy := b.x-a.x, b.y-a.y
	for _, edge := range [4][2]float64{
		{-dx, a.x + margin},
		{dx, float64(bounds.Dx()+margin) - a.x},
		{-dy, a.y + margin},
		{dy, float64(bounds.Dy()+margin) - a.y},
	} {
		p, q := edge[0], edge[1]
		switch {
		case math.IsNaN(p) || math.IsNaN(q) || math.IsInf(p, 0) || p == 0 && q < 0:
			return a, b, false
		case p < 0:
			t0 = max(t0, q/p)
		case p > 0:
			t1 = min(t1, q/p)
		}
	}
	if !(t0 <= t1) {
		return a, b, false
	}
	return point{a.x + t0*dx, a.y + t0*dy}, point{a.x + t1*dx, a.y + t1*dy}, true
}
