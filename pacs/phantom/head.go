package phantom

// head is a head with brain, painted slice by slice. Its origin lies midway
// between the commissures: z = 0 is the level of the third ventricle.
//
// Everything hangs on one implicit surface, the vault (the inside of the
// skull). Going outwards from it come the inner table, diploë, outer table and
// scalp; going inwards the subarachnoid space, cortex and white matter. Sulci
// are the zero surfaces of smooth noise, so that gyri run on from slice to
// slice and look alike in every plane.
type head struct {
	bent   bending
	gyri   *noise
	speck  *noise
	parts  headParts
	lesion []lesionPart
}

// lesionPart is one solid of a finding, painted over the brain in order.
type lesionPart struct {
	shape  shape
	m      material
	weight float32 // 1 replaces what is there, less lets it shine through
}

// headParts are the shapes that need no per-pixel logic of their own.
type headParts struct {
	under, over []part // beneath and above the skull and brain in painting order
	ventricles  []*tube
	csf, tissue []part
}

// part is a shape with its material.
type part struct {
	shape shape
	m     material
}

// The inside of the skull: cerebrum, temporal lobes, posterior fossa, canal.
var (
	vaultMain     = oval(0, 0, 8, 66, 83, 62)
	vaultTemporal = oval(39, -14, -28, 25, 36, 25)
	vaultFossa    = oval(0, 42, -36, 53, 42, 37)
	vaultStem     = &rod{a: vec{0, 20, -34}, b: vec{0, 30, -110}, ra: 15, rb: 11}
	faceMass      = oval(0, -46, -62, 60, 50, 66)
	neckMass      = &rod{a: vec{0, 26, -78}, b: vec{0, 34, -150}, ra: 60, rb: 54}
	orbitMass     = oval(31, -62, -42, 27, 27, 25)
	browMass      = oval(0, -73, -20, 46, 19, 18)
	templeMass    = oval(50, -24, -22, 20, 48, 46)
	noseMass      = &rod{a: vec{0, -88, -40}, b: vec{0, -103, -66}, ra: 8, rb: 12}
)

// vault is the depth below the inner surface of the skull, negative outside.
func vault(x, y, z float32) float32 {
	// The head is egg-shaped: narrower in front.
	d := vaultMain.depth(x/(1+0.0016*(y-10)), y, z)
	if z < 14 {
		d = meet(d, z+27+0.02*(y+30), 10)
		ax := abs(x)
		d = join(d, vaultTemporal.depth(ax, y, z), 7)
		d = join(d, vaultFossa.depth(x, y, z), 7)
		d = join(d, vaultStem.depth(x, y, z), 6)
	}
	return d
}

// newHead builds a head for a patient. size scales the finding: 1 is as
// described, 0.5 half as wide.
func newHead(seed uint64, f Finding, size float32, side float32) *head {
	h := &head{
		bent:  bending{noise: newNoise(seed ^ 0x11), amplitude: 2.6, scale: 55},
		gyri:  newNoise(seed ^ 0x22),
		speck: newNoise(seed ^ 0x33),
	}
	h.parts = buildHeadParts(float32(seed%5) * 0.35)
	h.lesion = headLesion(f, size, side, seed)
	return h
}

func both(list []part, e *ellipsoid, m material) []part {
	return append(list, part{e, m}, part{e.mirrored(), m})
}

func bothTubes(list []part, t *tube, m material) []part {
	return append(list, part{t, m}, part{t.mirrored(), m})
}

func buildHeadParts(wide float32) headParts {
	var p headParts
	u := &p.under
	// Muscles of mastication and of the neck.
	*u = both(*u, oval(60, -30, -20, 8, 30, 36).turned('z', -14), muscle)
	*u = both(*u, oval(54, -22, -70, 10, 22, 34), muscle)
	*u = both(*u, oval(28, -18, -72, 14, 16, 22), muscle)
	*u = both(*u, oval(22, 62, -88, 20, 18, 32), muscle)
	*u = both(*u, oval(56, 40, -84, 10, 14, 34), muscle)
	// Ears.
	*u = both(*u, oval(80, 16, -42, 4, 15, 26).turned('z', -24), skin)
	// Middle of the skull base: sphenoid, clivus, wings, zygoma, jaw.
	*u = append(*u, part{oval(0, -72, -22, 40, 13, 12), cortex})
	*u = append(*u, part{oval(0, -14, -40, 20, 22, 15), marrow})
	*u = append(*u, part{&rod{a: vec{0, 0, -34}, b: vec{0, 16, -66}, ra: 8, rb: 6}, marrow})
	*u = bothTubes(*u, through(4, bead{46, -58, -52, 4.5}, bead{57, -48, -54, 4}, bead{66, -30, -54, 3}, bead{67, -12, -53, 3}, bead{62, 4, -50, 4}), cortex)
	*u = bothTubes(*u, through(3, bead{50, -8, -58, 5}, bead{49, -12, -72, 4.5}, bead{46, -22, -100, 5}), cortex)
	*u = bothTubes(*u, through(3, bead{12, -86, -27, 4}, bead{34, -84, -25, 4.5}, bead{50, -66, -34, 4.5}, bead{50, -60, -50, 5}, bead{36, -76, -62, 4}, bead{16, -84, -58, 3}), cortex)
	// Orbits: a cone of bone, in it fat, muscles, nerve and globe.
	*u = bothTubes(*u, through(3, bead{32, -62, -44, 20.5}, bead{26, -48, -43, 16.5}, bead{15, -28, -40, 7}), cortex)
	*u = bothTubes(*u, through(3, bead{33.5, -70, -44, 17}, bead{32, -62, -44, 18.4}, bead{26, -48, -43, 14.2}, bead{15, -28, -40, 5}), fat)
	for _, m := range [][6]float32{{47, -66, -44, 17, -30, -40}, {22, -64, -44, 14, -30, -40}, {33, -62, -31, 16, -30, -38}, {33, -62, -57, 16, -30, -42}} {
		a := bead{m[0], m[1], m[2], 2}
		b := bead{m[3], m[4], m[5], 1.5}
		mid := bead{(a.x+b.x)/2 + 0.14*(a.x-33), (a.y + b.y) / 2, (a.z+b.z)/2 + 0.1*(a.z+44), 2.6}
		*u = bothTubes(*u, through(3, a, mid, b), muscle)
	}
	*u = bothTubes(*u, through(3, bead{33, -60, -44, 2.4}, bead{25, -44, -43, 2.2}, bead{14, -26, -39, 2.2}), deepGrey)
	*u = both(*u, oval(34, -73, -44, 12.6, 12.2, 12.4), dura)
	*u = both(*u, oval(34, -73, -44, 11.4, 11, 11.2), vitreous)
	*u = both(*u, oval(34, -82, -44, 4.6, 2.1, 4.6), lens)
	// Air: maxillary and frontal sinuses, nose, throat; each within thin bone.
	*u = both(*u, oval(29, -60, -76, 16.6, 17.6, 17), cortex)
	*u = both(*u, oval(29, -60, -76, 15, 16, 15.4), mucosa)
	*u = both(*u, oval(29, -60, -76, 14, 15, 14.4), air)
	*u = append(*u, part{oval(0, -60, -72, 13, 32, 16), mucosa})
	*u = both(*u, oval(5, -62, -72, 4, 26, 15), air)
	*u = both(*u, oval(8, -58, -78, 2.6, 18, 5), mucosa)
	*u = append(*u, part{oval(0, -20, -84, 10, 11, 20), air})
	*u = append(*u, part{oval(0, -60, -76, 1, 34, 20), cartilage})

	o := &p.over
	*o = both(*o, oval(11, -81, -21, 11, 5, 11), cortex)
	*o = both(*o, oval(10, -81.5, -21, 9, 3.4, 9), air)
	*o = append(*o, part{oval(0, -16, -40, 12.5, 13, 9.5), cortex}, part{oval(5, -16, -40, 6.5, 11.6, 8), air}, part{oval(-6, -17, -40, 5.6, 10.6, 7), air})
	*o = append(*o, part{oval(0, 4, -27, 9, 2.4, 5), cortex}) // dorsum sellae
	// Petrous pyramids with ear canals and the middle ear.
	*o = bothTubes(*o, through(3, bead{50, 24, -48, 11}, bead{34, 15, -44, 8.5}, bead{16, 3, -41, 5}), petrous)
	*o = bothTubes(*o, through(2, bead{80, 15, -50, 4}, bead{62, 14, -49, 3.4}, bead{46, 13, -47, 3.4}), air)
	*o = both(*o, oval(42, 13, -45, 3.4, 6, 5), air)
	*o = both(*o, oval(28, 14, -43, 2.4, 1.6, 1.6), csf) // internal auditory canal
	*o = append(*o, part{oval(0, 24, -2, 2.2, 2.6, 2.2), calcium})
	*o = both(*o, oval(20, 30, 9, 2.2, 4, 2), calcium)
	// Dens and arch of the atlas, just in the lowest slices.
	*o = append(*o, part{oval(0, 12, -90, 6, 6, 18), cortex}, part{oval(0, 12, -90, 4.4, 4.4, 16), marrow})

	for _, side := range []float32{1, -1} {
		w := wide
		if side < 0 {
			w += 0.3
		}
		p.ventricles = append(p.ventricles,
			through(4, bead{side * 10, -36, 7, 2 + w}, bead{side * 6.8, -26, 11, 4.6 + w}, bead{side * 6.2, -8, 19, 4.4 + w},
				bead{side * 9, 10, 21, 4.8 + w}, bead{side * 19, 27, 14, 6 + w}, bead{side * 26, 27, 0, 4 + w*0.5},
				bead{side * 32, 12, -13, 2.4}, bead{side * 31, -8, -20, 1.8}),
			through(3, bead{side * 19, 27, 12, 5 + w}, bead{side * 19, 44, 7, 3.4 + w*0.5}, bead{side * 15, 56, 4, 1.6}),
			through(2, bead{side * 16, -24, 13, 1.6}, bead{side * 14, -4, 24, 1.8}, bead{side * 17, 12, 26, 1.8}),
		)
	}
	s := &p.csf
	*s = append(*s,
		part{oval(0, 2, -3, 2.2+wide*0.6, 14, 11), csf},
		part{oval(0, -8, -25, 15, 10, 7), csf},
		part{oval(0, -18, -22, 22, 4, 4), csf},
		part{oval(0, 14, -20, 22, 15, 12), csf},
		part{oval(0, 29, -8, 11, 7, 7), csf},
		part{oval(0, 8, -46, 18, 12, 18), csf},
		part{oval(0, 62, -64, 9, 10, 9), csf},
		part{oval(0, 28, -70, 15, 14, 16), csf},
	)
	t := &p.tissue
	*t = append(*t,
		part{through(4, bead{0, -29, 3, 2.4}, bead{0, -33, 10, 4.6}, bead{0, -22, 23, 3.8}, bead{0, 0, 29, 3.2},
			bead{0, 20, 25.5, 3.6}, bead{0, 33, 15, 5.4}, bead{0, 30, 9, 3.4}), white},
		part{through(3, bead{0, 26, 13, 2}, bead{0, 8, 15, 1.6}, bead{0, -14, 6, 1.6}, bead{0, -12, -8, 1.4}), white},
		part{oval(0, 12, -20, 17, 12, 13), deepGrey},
		part{oval(9, -1, -19, 7, 9, 8).turned('z', -24), white},
		part{oval(-9, -1, -19, 7, 9, 8).turned('z', 24), white},
		part{oval(0, 13, -42, 17, 13.5, 16), white},
		part{oval(0, 22, -66, 9, 8, 22), white},
		part{oval(4.5, 25, -11, 4.4, 4, 3.6), deepGrey},
		part{oval(-4.5, 25, -11, 4.4, 4, 3.6), deepGrey},
		part{oval(0, 34, -38, 7, 5, 8), csf},
		part{oval(0, 22.6, -20, 1.1, 1.1, 10), csf},
		part{oval(0, -1, -27, 5, 3, 3), deepGrey},
	)
	return p
}

// paint draws one slice.
func (h *head) paint(c *canvas) {
	depth := c.scratch(0)
	c.sampled(depth, 2, func(k int) float32 { return vault(c.x[k], c.y[k], c.z[k]) })
	h.soft(c, depth)
	for _, p := range h.parts.under {
		c.fillPart(p)
	}
	h.ethmoid(c)
	h.skull(c, depth)
	h.brain(c, depth)
	for _, t := range h.parts.ventricles {
		c.fillTube(t, csf)
	}
	for _, p := range h.parts.tissue {
		c.fillPart(p)
	}
	for _, l := range h.lesion {
		v := c.pal[l.m]
		c.each(l.shape, func(k int, d float32) {
			if depth[k] > 1 {
				c.lay(k, v, l.weight*clamp01(0.5+d/3))
			}
		})
	}
	for _, p := range h.parts.over {
		c.fillPart(p)
	}
	h.mastoid(c)
}

// soft paints skin, fat and muscle from the outline of head, face and neck.
func (h *head) soft(c *canvas, depth []float32) {
	outline := c.scratch(1)
	c.sampled(outline, 2, func(k int) float32 {
		x, y, z := c.x[k], c.y[k], c.z[k]
		if beyondHead(x, y) {
			return -40
		}
		d := depth[k] + 13
		if z < 26 {
			ax := abs(x)
			d = join(d, templeMass.depth(ax, y, z), 24)
			d = join(d, browMass.depth(x, y, z), 8)
			d = join(d, orbitMass.depth(ax, y, z), 8)
			d = join(d, faceMass.depth(x, y, z), 14)
			d = join(d, neckMass.depth(x, y, z), 14)
			d = join(d, noseMass.depth(x, y, z), 6)
		}
		return d
	})
	n := c.texture(1.6, depth, -90, -8, func(x, y, z float32) float32 {
		if z > 24 || beyondHead(x, y) {
			return 0
		}
		return h.speck.at(x/13, y/13, z/16)
	})
	for k, out := range outline {
		if out <= -c.edge {
			continue
		}
		// Below the skin a layer of fat, then muscles with fat between them.
		layer := 5 + 5*ramp(0, -60, c.y[k]) + 4*n[k]
		m := ramp(layer, layer+1.6, out) * (1 - 0.55*ramp(0.05, 0.015, abs(n[k]))*ramp(4, 10, out-layer))
		under := mix(c.pal[fat], c.pal[muscle], m)
		if c.z[k] > -20 && depth[k] > -13.5 {
			// Over the vault: skin, a layer of fat, and the aponeurosis.
			under = mix(c.pal[fat], c.pal[muscle], ramp(4.4, 5.4, out))
		}
		v := mix(c.pal[skin], under, ramp(1.6, 2.4, out))
		c.lay(k, v, c.cover(out))
	}
}

// beyondHead says that a point is outside whatever a head can reach.
func beyondHead(x, y float32) bool { return x*x/(96*96)+y*y/(122*122) > 1 }

// skull paints inner table, diploë and outer table around the vault.
func (h *head) skull(c *canvas, depth []float32) {
	n := c.texture(1.2, depth, -9, 0, func(x, y, z float32) float32 {
		return h.speck.at(x/3.2+9, y/3.2, z/3.2)
	})
	bone, spongy := c.pal[cortex], c.pal[marrow]
	for k, d := range depth {
		if d > c.edge || d < -12 {
			continue
		}
		y, z := c.y[k], c.z[k]
		thick := 6.4 + 1.6*ramp(-40, -78, y) + 2*ramp(45, 82, y)
		if z < -14 {
			// Thin over the orbits and the temporal fossa.
			thick -= 2.6 * ramp(-14, -30, z) * ramp(34, 14, y)
		}
		t := -d
		table := max(ramp(2.4, 1.3, t), ramp(thick-2.8, thick-1.6, t))
		v := mix(spongy*(1+0.4*n[k]), bone, table)
		c.lay(k, v, min(c.cover(t), c.cover(thick-t)))
	}
}

// brain paints everything inside the vault but the ventricles and the shapes
// in headParts.tissue.
func (h *head) brain(c *canvas, depth []float32) {
	n := c.texture(1, depth, 0, 99, func(x, y, z float32) float32 {
		return h.gyri.at(x/15+0.3, y/15, z/17) + 0.24*h.gyri.at(x/7, y/7+5, z/8)
	})
	e := max(c.edge, 0.9)
	p := c.pal
	for k, d := range depth {
		if d < -c.edge {
			continue
		}
		x, y, z := c.x[k], c.y[k], c.z[k]
		ax := abs(x)
		surface := d - 1.7
		tent := -5 - 0.28*ax - 0.0042*(y-24)*(y-24)
		hind := y > 14 && z < tent
		dura2 := float32(9) // distance to falx or tentorium
		if y > 10 {
			t := abs(z-tent)*0.9 + max(0, 22-y)*0.7
			if ax > 14 || y > 30 {
				dura2 = min(dura2, t)
				surface = min(surface, t-1.4)
			}
		}
		if !hind {
			// The fissure between the hemispheres, except at the callosum.
			yy, zz := (y+2)/45, (z-3)/25
			f := yy*yy + zz*zz
			if z > -20 {
				surface = min(surface, ax-0.5+30*ramp(1.3, 0.95, f))
				if f > 1.35+0.5*ramp(0, -40, y) {
					dura2 = min(dura2, ax)
				}
			}
			// Sylvian fissure and insula.
			if ax > 20 {
				rise := (z-0.42*(y+4))*0.92 + 5*n[k]
				syl := norm(rise, max(0, 38-ax), max(0, abs(y)-32))
				ins := norm(ax-39+3*n[k], max(0, abs(y+1)-17), max(0, abs(rise)-9))
				surface = min(surface, syl-0.9-0.7*ramp(56, 40, ax), ins-0.7)
			}
		}
		var v float32
		if hind {
			folia := h.speck.at(x/15, y/4.4+0.15*z, z/4.2)
			core := ramp(9, 14, surface) * ramp(6, 14, ax)
			v = mix(p[cerebellum], p[white], core)
			v = mix(v, p[csf], 0.26*ramp(0.1, 0.03, abs(folia))*(1-core))
			v = mix(p[csf], v, clamp01(0.5+surface/e))
		} else {
			// A sulcus is where the noise is zero, down to its floor 15 mm
			// below the surface.
			s := abs(n[k]) * 11
			if deep := surface - 11; deep > 0 {
				s = sqrt(s*s + deep*deep*1.2)
			}
			pia := min(surface, s-0.62+0.045*max(surface, 0))
			g := ramp(3.7, 2.3, pia)
			v = mix(p[white], p[grey], g)
			v = mix(p[csf], v, clamp01(0.5+pia/e))
		}
		if dura2 < 2 {
			v = mix(v, p[dura], 0.8*clamp01(0.5+(0.45-dura2)/e))
		}
		c.lay(k, v, c.cover(d))
	}
	for _, s := range h.parts.csf {
		c.fillPart(s)
	}
	for _, side := range []float32{1, -1} {
		c.fill(oval(side*13, -21, 9, 5.5, 9, 12), deepGrey)
		c.fill(oval(side*16.5, 0, 22, 2.6, 20, 4), deepGrey)
		c.fill(oval(side*10.5, 8, 4, 8.6, 14.5, 9).turned('z', float64(side)*-22), deepGrey)
		c.fill(oval(side*24.5, -5, 2, 6.6, 16.5, 10).turned('z', float64(side)*-14), deepGrey)
		c.fill(oval(side*25, -12, -21, 8, 7, 7), deepGrey) // amygdala
		c.fill(oval(side*27, 8, -18, 5, 17, 5), grey)      // hippocampus
	}
}

// ethmoid paints the air cells between the orbits.
func (h *head) ethmoid(c *canvas) {
	box := oval(0, -56, -45, 12.5, 29, 13)
	wall, cell := c.pal[cortex]*0.45, c.pal[air]
	c.each(box, func(k int, d float32) {
		v := abs(h.speck.at(c.x[k]/7+3, c.y[k]/9, c.z[k]/8))
		v = min(v*9, abs(c.x[k])*1.1)
		c.lay(k, mix(wall, cell, ramp(0.5, 1.5, v)), c.cover(d))
	})
}

// mastoid paints bone with air cells behind each ear.
func (h *head) mastoid(c *canvas) {
	box := oval(56, 32, -56, 10, 16, 20)
	bone, cell := c.pal[cortex]*0.75, c.pal[air]*0.9
	for _, b := range []*ellipsoid{box, box.mirrored()} {
		c.each(b, func(k int, d float32) {
			v := h.speck.at(c.x[k]/4.2, c.y[k]/4.2, c.z[k]/4.2+7)
			c.lay(k, mix(bone, cell, ramp(-0.02, 0.14, v)*ramp(1.2, 2.6, d)), c.cover(d))
		})
	}
}

// headrest paints the curved rest and its pad, which no patient bends.
func headrest(c *canvas) {
	shell, pad := c.pal[couch], c.pal[foam]
	c.rigid(30, func(k int, p vec) {
		if c.val[k] > -900 {
			return
		}
		r := sqrt(p.x*p.x + (p.y-4)*(p.y-4))
		if r > 99 && r < 108 {
			c.lay(k, pad, 1)
		}
		c.lay(k, shell, min(c.cover(r-108), c.cover(111.5-r)))
	})
}
