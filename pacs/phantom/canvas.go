package phantom

import "math"

// plane is where a picture lies in the patient: origin is the centre of its
// first pixel, u and v the unit directions along a row and down a column.
type plane struct {
	origin, u, v vec
	spacing      float32 // mm between pixel centres, both ways
	nx, ny       int
}

func (p *plane) normal() vec { return p.u.cross(p.v) }

// canvas is one slice while it is being painted. Anatomy paints materials; the
// palette says what a material is worth: Hounsfield units for CT, signal for
// MR, attenuation for a radiograph. A canvas is reused from slice to slice.
type canvas struct {
	plane
	n    vec
	pal  *palette
	edge float32 // mm over which one material turns into another

	val     []float32 // nx*ny values, row by row
	x, y, z []float32 // where each pixel lies in the unbent anatomy
	field   []float32 // spare nx*ny for one noise field
	coarse  []float32
	line    []float32
	spare   [3][]float32
	bend    float32 // the largest displacement of x, y, z, mm
	twig    rod     // the one being painted; here it needs no allocation
	rough   bool    // leave textures out: a projection blurs them anyway
}

// scratch is one of three spare buffers of the picture's size.
func (c *canvas) scratch(i int) []float32 {
	c.spare[i] = grownTo(c.spare[i], c.nx*c.ny)
	return c.spare[i]
}

// fillPart paints a shape of a list; a tube goes rod by rod.
func (c *canvas) fillPart(p part) {
	if t, ok := p.shape.(*tube); ok {
		c.fillTube(t, p.m)
		return
	}
	c.fill(p.shape, p.m)
}

// at is the displacement at a point: anatomy at p+at(p) is seen at p.
func (b *bending) at(p vec) vec {
	k := 1 / b.scale
	one := func(axis int) float32 {
		shift := float32(axis) * 37.3
		return b.amplitude * b.noise.at(p.x*k+shift, p.y*k-shift, p.z*k+shift)
	}
	return vec{one(0), one(1), one(2)}
}

// twigs notes where each rod of a tree is seen.
func (b *bending) twigs(rods []*rod) []twig {
	list := make([]twig, len(rods))
	for i, r := range rods {
		q := r.a.mix(r.b, 0.5)
		shift := b.at(q)
		for range 2 {
			shift = b.at(q.sub(shift))
		}
		list[i] = twig{*r, shift}
	}
	return list
}

// bending is the smooth displacement that makes symmetric shapes anatomical.
type bending struct {
	noise     *noise
	amplitude float32 // mm
	scale     float32 // mm from one bump to the next
}

func grownTo(s []float32, n int) []float32 {
	if cap(s) < n {
		return make([]float32, n)
	}
	return s[:n]
}

// reset turns the canvas to a plane and fills it with a material.
func (c *canvas) reset(p plane, pal *palette, edge float32, b bending, m material) {
	c.plane, c.n, c.pal = p, p.normal(), pal
	c.edge = max(edge, p.spacing)
	n := p.nx * p.ny
	c.val, c.x, c.y, c.z = grownTo(c.val, n), grownTo(c.x, n), grownTo(c.y, n), grownTo(c.z, n)
	c.field = grownTo(c.field, n)
	for i := range c.val {
		c.val[i] = pal[m]
	}
	c.bend = 0
	k := 1 / b.scale
	for axis, out := range [3][]float32{c.x, c.y, c.z} {
		shift := float32(axis) * 37.3
		if b.amplitude > 0 {
			c.bend = b.amplitude * 1.8
			c.fillSlow(out, func(x, y, z float32) float32 {
				return b.amplitude * b.noise.at(x*k+shift, y*k-shift, z*k+shift)
			})
		} else {
			clear(out)
		}
		du, dv, o := pick(p.u, axis)*p.spacing, pick(p.v, axis)*p.spacing, pick(p.origin, axis)
		i := 0
		for row := range p.ny {
			base := o + dv*float32(row)
			for col := range p.nx {
				out[i] += base + du*float32(col)
				i++
			}
		}
	}
}

func pick(v vec, axis int) float32 {
	switch axis {
	case 0:
		return v.x
	case 1:
		return v.y
	default:
		return v.z
	}
}

// fillSlow evaluates f on a grid of about 8 mm and interpolates between; f sees
// rigid patient coordinates.
func (c *canvas) fillSlow(out []float32, f func(x, y, z float32) float32) {
	c.interpolate(out, max(1, int(8/c.spacing)), f)
}

// texture evaluates noise every step millimetres into c.field and interpolates
// between, only where the depth lies between from and to.
func (c *canvas) texture(step float32, depth []float32, from, to float32, f func(x, y, z float32) float32) []float32 {
	if c.rough {
		clear(c.field)
		return c.field
	}
	// A grid point outside may still be a neighbour of a pixel inside.
	from, to = from-2*step, to+2*step
	c.sampled(c.field, step, func(k int) float32 {
		if depth[k] < from || depth[k] > to {
			return 0
		}
		return f(c.x[k], c.y[k], c.z[k])
	})
	return c.field
}

func (c *canvas) interpolate(out []float32, stride int, f func(x, y, z float32) float32) {
	gx, gy := (c.nx-1)/stride+2, (c.ny-1)/stride+2
	c.coarse = grownTo(c.coarse, gx*gy)
	for j := range gy {
		for i := range gx {
			p := c.origin.add(c.u.times(c.spacing * float32(i*stride))).add(c.v.times(c.spacing * float32(j*stride)))
			c.coarse[j*gx+i] = f(p.x, p.y, p.z)
		}
	}
	c.spread(out, stride)
}

// sampled evaluates f every step millimetres and interpolates between; f gets
// the index of a pixel, so it sees the bent anatomy.
func (c *canvas) sampled(out []float32, step float32, f func(k int) float32) {
	if c.rough {
		step *= 1.5
	}
	stride := max(1, int(step/c.spacing))
	gx, gy := (c.nx-1)/stride+2, (c.ny-1)/stride+2
	c.coarse = grownTo(c.coarse, gx*gy)
	for j := range gy {
		for i := range gx {
			c.coarse[j*gx+i] = f(min(j*stride, c.ny-1)*c.nx + min(i*stride, c.nx-1))
		}
	}
	c.spread(out, stride)
}

// spread interpolates the coarse grid into a full picture.
func (c *canvas) spread(out []float32, stride int) {
	gx := (c.nx-1)/stride + 2
	inv := 1 / float32(stride)
	c.line = grownTo(c.line, gx)
	line := c.line
	for row := range c.ny {
		j, fy := row/stride, float32(row%stride)*inv
		a, b := c.coarse[j*gx:(j+1)*gx], c.coarse[(j+1)*gx:(j+2)*gx]
		for i := range line {
			line[i] = a[i] + (b[i]-a[i])*fy
		}
		dst := out[row*c.nx : (row+1)*c.nx]
		if stride == 2 {
			for i := 0; 2*i+1 < len(dst); i++ {
				dst[2*i] = line[i]
				dst[2*i+1] = 0.5 * (line[i] + line[i+1])
			}
			if n := len(dst); n%2 == 1 {
				dst[n-1] = line[n/2]
			}
			continue
		}
		for i, l := range line[:gx-1] {
			d := (line[i+1] - l) * inv
			part := dst[i*stride : min((i+1)*stride, len(dst))]
			for x := range part {
				part[x] = l
				l += d
			}
		}
	}
}

// window is the part of the picture a shape can touch, in pixels.
type window struct{ x0, x1, y0, y1 int }

// windowOf says which pixels come within m millimetres of a shape, and whether
// any does. shift is how far the bending has moved it.
func (c *canvas) windowOf(s shape, shift vec, m float32) (window, bool) {
	origin := c.origin.add(shift)
	at := origin.dot(c.n)
	if lo, hi := s.reach(c.n); at < lo-m || at > hi+m {
		return window{}, false
	}
	side := func(d vec, n int) (int, int) {
		lo, hi := s.reach(d)
		o := origin.dot(d)
		a := math.Floor(float64((lo - m - o) / c.spacing))
		b := math.Ceil(float64((hi+m-o)/c.spacing)) + 1
		return int(max(a, 0)), int(min(b, float64(n)))
	}
	var w window
	w.x0, w.x1 = side(c.u, c.nx)
	w.y0, w.y1 = side(c.v, c.ny)
	return w, w.x0 < w.x1 && w.y0 < w.y1
}

// cover turns a depth into the fraction of a pixel that lies inside.
func (c *canvas) cover(depth float32) float32 { return clamp01(0.5 + depth/c.edge) }

// fill paints a shape with one material.
func (c *canvas) fill(s shape, m material) {
	v := c.pal[m]
	c.each(s, func(k int, depth float32) {
		c.val[k] += (v - c.val[k]) * c.cover(depth)
	})
}

// fillTube paints a tube rod by rod, so that each rod only visits its own
// neighbourhood.
func (c *canvas) fillTube(t *tube, m material) {
	for i := range t.rods {
		r := &t.rods[i]
		if w, ok := c.windowOf(r, vec{}, c.bend+c.edge); ok {
			c.fillRod(r, w, c.pal[m])
		}
	}
}

// fillRod is fill for rods, of which there are thousands.
func (c *canvas) fillRod(r *rod, w window, v float32) {
	ab := r.b.sub(r.a)
	scale := float32(0)
	if l := ab.dot(ab); l > 0 {
		scale = 1 / l
	}
	far := max(r.ra, r.rb) + c.edge*0.5
	far *= far
	for row := w.y0; row < w.y1; row++ {
		k := row*c.nx + w.x0
		end := row*c.nx + w.x1
		xs, ys, zs, out := c.x[k:end], c.y[k:end], c.z[k:end], c.val[k:end]
		for i, x := range xs {
			px, py, pz := x-r.a.x, ys[i]-r.a.y, zs[i]-r.a.z
			t := clamp01((px*ab.x + py*ab.y + pz*ab.z) * scale)
			px, py, pz = px-ab.x*t, py-ab.y*t, pz-ab.z*t
			if q := px*px + py*py + pz*pz; q < far {
				out[i] += (v - out[i]) * c.cover(mix(r.ra, r.rb, t)-sqrt(q))
			}
		}
	}
}

// twig is a rod of a tree, with the place to which the bending moves it.
type twig struct {
	rod
	shift vec
}

// fillTree paints many small rods. Knowing where the bending moves each, it
// need not search around it.
func (c *canvas) fillTree(list []twig, m material, grow float32) {
	for i := range list {
		t := &list[i]
		if c.rough && t.ra < c.spacing/4 {
			continue // too thin to show in a projection this coarse
		}
		r := &c.twig
		*r = t.rod
		if grow > 0 {
			r.ra += grow + 0.13*r.ra
			r.rb += grow + 0.13*r.rb
		}
		if w, ok := c.windowOf(r, t.shift, c.edge+1); ok {
			c.fillRod(r, w, c.pal[m])
		}
	}
}

// each calls f with the index and depth of every pixel that a shape covers at
// least in part.
func (c *canvas) each(s shape, f func(k int, depth float32)) {
	w, ok := c.windowOf(s, vec{}, c.bend+c.edge)
	if !ok {
		return
	}
	h := c.edge * 0.5
	for row := w.y0; row < w.y1; row++ {
		k := row*c.nx + w.x0
		for range w.x1 - w.x0 {
			if d := s.depth(c.x[k], c.y[k], c.z[k]); d > -h {
				f(k, d)
			}
			k++
		}
	}
}

// rigid calls f for every pixel further back than y with its true position,
// unbent: for what is not anatomy.
func (c *canvas) rigid(y float32, f func(k int, p vec)) {
	du := c.u.times(c.spacing)
	for row := range c.ny {
		p := c.origin.add(c.v.times(c.spacing * float32(row)))
		if max(p.y, p.y+du.y*float32(c.nx)) < y {
			continue
		}
		for k := row * c.nx; k < (row+1)*c.nx; k++ {
			if p.y >= y {
				f(k, p)
			}
			p = p.add(du)
		}
	}
}

// lay paints a value over one pixel with the given coverage.
func (c *canvas) lay(k int, v, coverage float32) { c.val[k] += (v - c.val[k]) * coverage }
