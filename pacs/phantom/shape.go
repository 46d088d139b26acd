package phantom

import "math"

// vec is a point or a direction in patient coordinates (LPS, millimetres):
// x grows to the patient's left, y to the back, z to the head.
type vec struct{ x, y, z float32 }

func (a vec) add(b vec) vec            { return vec{a.x + b.x, a.y + b.y, a.z + b.z} }
func (a vec) sub(b vec) vec            { return vec{a.x - b.x, a.y - b.y, a.z - b.z} }
func (a vec) times(s float32) vec      { return vec{a.x * s, a.y * s, a.z * s} }
func (a vec) dot(b vec) float32        { return a.x*b.x + a.y*b.y + a.z*b.z }
func (a vec) length() float32          { return sqrt(a.dot(a)) }
func (a vec) mirrored() vec            { return vec{-a.x, a.y, a.z} }
func (a vec) mix(b vec, t float32) vec { return a.add(b.sub(a).times(t)) }

func (a vec) unit() vec {
	l := a.length()
	if l == 0 {
		return vec{1, 0, 0}
	}
	return a.times(1 / l)
}

func (a vec) cross(b vec) vec {
	return vec{a.y*b.z - a.z*b.y, a.z*b.x - a.x*b.z, a.x*b.y - a.y*b.x}
}

func sqrt(x float32) float32 { return float32(math.Sqrt(float64(x))) }

// norm is the length of the vector (x, y, z).
func norm(x, y, z float32) float32 { return sqrt(x*x + y*y + z*z) }

func abs(x float32) float32 {
	return math.Float32frombits(math.Float32bits(x) &^ (1 << 31))
}

func clamp01(x float32) float32 {
	if x < 0 {
		return 0
	}
	if x > 1 {
		return 1
	}
	return x
}

// ramp rises smoothly from 0 at lo to 1 at hi; lo may exceed hi.
func ramp(lo, hi, x float32) float32 {
	t := clamp01((x - lo) / (hi - lo))
	return t * t * (3 - 2*t)
}

func mix(a, b, t float32) float32 { return a + (b-a)*t }

// join is the smooth union of two depths: a fillet of width k where they meet.
func join(a, b, k float32) float32 {
	m := max(a, b)
	if h := k - abs(a-b); h > 0 {
		m += h * h / (4 * k)
	}
	return m
}

// meet is the smooth intersection of two depths.
func meet(a, b, k float32) float32 { return -join(-a, -b, k) }

// A shape is an implicit solid. depth is the distance in millimetres from the
// surface, positive inside; it is exact enough near the surface and only has
// the right sign far from it. reach is the interval the shape covers along a
// unit direction, so that a slice skips what it doesn't cut.
type shape interface {
	depth(x, y, z float32) float32
	reach(dir vec) (lo, hi float32)
}

// ellipsoid has centre c, semi-axes r and orthonormal axes u, v, w.
type ellipsoid struct {
	c, r    vec
	u, v, w vec
	upright bool // the axes are those of the patient
}

func oval(cx, cy, cz, rx, ry, rz float32) *ellipsoid {
	return &ellipsoid{
		c: vec{cx, cy, cz}, r: vec{rx, ry, rz},
		u: vec{1, 0, 0}, v: vec{0, 1, 0}, w: vec{0, 0, 1}, upright: true,
	}
}

// turned rotates the shape about its centre: by degrees about the patient axis
// 'x', 'y' or 'z', right-handed.
func (e *ellipsoid) turned(axis byte, degrees float64) *ellipsoid {
	s64, c64 := math.Sincos(degrees * math.Pi / 180)
	s, c := float32(s64), float32(c64)
	rot := func(p vec) vec {
		switch axis {
		case 'x':
			return vec{p.x, c*p.y - s*p.z, s*p.y + c*p.z}
		case 'y':
			return vec{c*p.x + s*p.z, p.y, -s*p.x + c*p.z}
		default:
			return vec{c*p.x - s*p.y, s*p.x + c*p.y, p.z}
		}
	}
	t := *e
	t.u, t.v, t.w, t.upright = rot(e.u), rot(e.v), rot(e.w), false
	return &t
}

// grown is the ellipsoid with mm added to each semi-axis.
func (e *ellipsoid) grown(mm float32) *ellipsoid {
	t := *e
	t.r = vec{e.r.x + mm, e.r.y + mm, e.r.z + mm}
	return &t
}

// mirrored is the same shape on the patient's other side.
func (e *ellipsoid) mirrored() *ellipsoid {
	t := *e
	t.c, t.u, t.v, t.w = e.c.mirrored(), e.u.mirrored(), e.v.mirrored(), e.w.mirrored()
	return &t
}

func (e *ellipsoid) depth(x, y, z float32) float32 {
	x, y, z = x-e.c.x, y-e.c.y, z-e.c.z
	if !e.upright {
		p := vec{x, y, z}
		x, y, z = p.dot(e.u), p.dot(e.v), p.dot(e.w)
	}
	x, y, z = x/e.r.x, y/e.r.y, z/e.r.z
	q := x*x + y*y + z*z
	x, y, z = x/e.r.x, y/e.r.y, z/e.r.z
	g := x*x + y*y + z*z
	if g < 1e-8 {
		return min(e.r.x, e.r.y, e.r.z)
	}
	// First-order distance: the value over the length of the gradient.
	return (1 - q) / (2 * sqrt(g))
}

func (e *ellipsoid) reach(d vec) (lo, hi float32) {
	a, b, c := e.r.x*d.dot(e.u), e.r.y*d.dot(e.v), e.r.z*d.dot(e.w)
	h, m := sqrt(a*a+b*b+c*c), e.c.dot(d)
	return m - h, m + h
}

// rod is a straight piece of a tube, tapering from radius ra at a to rb at b.
type rod struct {
	a, b   vec
	ra, rb float32
}

func (r *rod) depth(x, y, z float32) float32 {
	ab := r.b.sub(r.a)
	p := vec{x - r.a.x, y - r.a.y, z - r.a.z}
	t := float32(0)
	if l := ab.dot(ab); l > 0 {
		t = clamp01(p.dot(ab) / l)
	}
	return mix(r.ra, r.rb, t) - p.sub(ab.times(t)).length()
}

func (r *rod) reach(d vec) (lo, hi float32) {
	a, b := r.a.dot(d), r.b.dot(d)
	return min(a-r.ra, b-r.rb), max(a+r.ra, b+r.rb)
}

func (r *rod) mirrored() *rod {
	return &rod{a: r.a.mirrored(), b: r.b.mirrored(), ra: r.ra, rb: r.rb}
}

// bead is one point of a tube: position and radius.
type bead struct{ x, y, z, r float32 }

// tube is a curve through its beads, smoothed by Catmull-Rom into rods.
type tube struct {
	rods []rod
}

// through makes a tube with the given number of rods between two beads.
func through(steps int, beads ...bead) *tube {
	t := &tube{}
	at := func(i int) bead { return beads[max(0, min(len(beads)-1, i))] }
	spline := func(a, b, c, d, t float32) float32 {
		return b + 0.5*t*(c-a+t*(2*a-5*b+4*c-d+t*(3*(b-c)+d-a)))
	}
	for i := 0; i+1 < len(beads); i++ {
		p, q, r, s := at(i-1), at(i), at(i+1), at(i+2)
		prev := q
		for k := 1; k <= steps; k++ {
			f := float32(k) / float32(steps)
			next := bead{
				spline(p.x, q.x, r.x, s.x, f), spline(p.y, q.y, r.y, s.y, f),
				spline(p.z, q.z, r.z, s.z, f), mix(q.r, r.r, f),
			}
			t.rods = append(t.rods, rod{
				a: vec{prev.x, prev.y, prev.z}, b: vec{next.x, next.y, next.z}, ra: prev.r, rb: next.r,
			})
			prev = next
		}
	}
	return t
}

func (t *tube) depth(x, y, z float32) float32 {
	d := float32(math.Inf(-1))
	for i := range t.rods {
		d = max(d, t.rods[i].depth(x, y, z))
	}
	return d
}

func (t *tube) reach(d vec) (lo, hi float32) {
	lo, hi = t.rods[0].reach(d)
	for i := range t.rods[1:] {
		l, h := t.rods[i+1].reach(d)
		lo, hi = min(lo, l), max(hi, h)
	}
	return lo, hi
}

func (t *tube) mirrored() *tube {
	m := &tube{rods: make([]rod, len(t.rods))}
	for i := range t.rods {
		m.rods[i] = *t.rods[i].mirrored()
	}
	return m
}

func (t *tube) grown(mm float32) *tube {
	g := &tube{rods: make([]rod, len(t.rods))}
	for i, r := range t.rods {
		g.rods[i] = rod{a: r.a, b: r.b, ra: max(r.ra+mm, 0.1), rb: max(r.rb+mm, 0.1)}
	}
	return g
}

// profile is a smooth function of one variable with a few values, tabulated at
// every millimetre. Outside the table the end values hold.
type profile struct {
	from float32
	rows [][4]float32
}

// at is value number n (from 0) at v.
func (p *profile) at(v float32, n int) float32 {
	v -= p.from
	if v <= 0 {
		return p.rows[0][n&3]
	}
	i := int(v)
	if i >= len(p.rows)-1 {
		return p.rows[len(p.rows)-1][n&3]
	}
	return mix(p.rows[i][n&3], p.rows[i+1][n&3], v-float32(i))
}

// tabulate makes a profile from points in rising order of the variable, which
// comes first in each. It draws a cubic Hermite curve through them: no kinks
// when slices are stacked into a coronal view.
func tabulate(points [][]float32) *profile {
	last := len(points) - 1
	p := &profile{from: points[0][0]}
	i := 1
	for v := points[0][0]; v <= points[last][0]; v++ {
		for points[i][0] < v {
			i++
		}
		a, b, c, d := points[max(i-2, 0)], points[i-1], points[i], points[min(i+1, last)]
		h := c[0] - b[0]
		t := (v - b[0]) / h
		t2, t3 := t*t, t*t*t
		var row [4]float32
		for n := 1; n < len(b); n++ {
			m0, m1 := (c[n]-b[n])/h, (c[n]-b[n])/h
			if i >= 2 {
				m0 = (c[n] - a[n]) / (c[0] - a[0])
			}
			if i < last {
				m1 = (d[n] - b[n]) / (d[0] - b[0])
			}
			row[n-1] = (2*t3-3*t2+1)*b[n] + (t3-2*t2+t)*h*m0 + (3*t2-2*t3)*c[n] + (t3-t2)*h*m1
		}
		p.rows = append(p.rows, row)
	}
	return p
}
