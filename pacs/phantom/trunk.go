package phantom

// paint draws one slice of the trunk.
func (t *torso) paint(c *canvas) {
	cageIn := c.scratch(1)
	c.sampled(cageIn, 2.5, func(k int) float32 { return cageDepth(c.x[k], c.y[k], c.z[k]) })
	t.wall(c, cageIn)
	lo, hi := t.heights(c)
	if lo < 30 {
		t.viscera(c, cageIn)
	}
	if hi > -130 {
		t.thorax(c, cageIn)
	}
	t.ribs(c, cageIn)
	t.girdle(c)
	t.column(c)
	for _, l := range t.findings {
		v := c.pal[l.m]
		c.each(l.shape, func(k int, d float32) { c.lay(k, v, l.weight*clamp01(0.5+d/2)) })
	}
}

// heights is the range of z a slice can touch.
func (t *torso) heights(c *canvas) (lo, hi float32) {
	a := c.origin.z
	b := a + c.u.z*c.spacing*float32(c.nx)
	d := a + c.v.z*c.spacing*float32(c.ny)
	e := b + d - a
	return min(a, b, d, e) - c.bend, max(a, b, d, e) + c.bend
}

// wall paints skin, subcutaneous fat, muscle, and fat within the cavity.
func (t *torso) wall(c *canvas, cageIn []float32) {
	body := c.scratch(0)
	c.sampled(body, 2.5, func(k int) float32 { return bodyDepth(c.x[k], c.y[k], c.z[k]) })
	n := c.texture(3, cageIn, -200, -13, func(x, y, z float32) float32 { return t.speck.at(x/34, y/17, z/50) })
	for k, d := range body {
		if d < -c.edge {
			continue
		}
		x, y, z := c.x[k], c.y[k], c.z[k]
		// Fat under the skin is thick on the belly, thin over the shoulders.
		sub := 7 + 9*ramp(60, -120, z) + 5*ramp(40, 110, abs(x))*ramp(40, -120, z) - 3*ramp(20, 90, y)*ramp(-60, 60, z)
		in := cageIn[k]
		v := c.pal[fat]
		if in < 3 {
			m := ramp(sub-0.6, sub+0.6, d)
			// Planes of fat between the muscles, further out than the ribs.
			m *= 1 - 0.75*ramp(0.035, 0.012, abs(n[k]))*ramp(-13, -18, in)
			m *= ramp(1.6, 0.4, in)
			v = mix(v, c.pal[muscle], m)
		}
		v = mix(c.pal[skin], v, ramp(1.6, 2.6, d))
		c.lay(k, v, c.cover(d))
	}
}

// thorax paints the lungs with their vessels and airways, the heart and what
// lies around it, and the diaphragm.
func (t *torso) thorax(c *canvas, cageIn []float32) {
	lungIn := c.scratch(2)
	c.sampled(lungIn, 1.6, func(k int) float32 {
		if cageIn[k] < -12 {
			return -20
		}
		return lungDepth(c.x[k], c.y[k], c.z[k])
	})
	n := c.texture(3, lungIn, 0, 999, func(x, y, z float32) float32 { return t.mottle.at(x/12, y/12, z/12) })
	for k, d := range lungIn {
		if d < -5 {
			continue
		}
		x, y, z := c.x[k], c.y[k], c.z[k]
		if d < c.edge && z < 20 && cageIn[k] > 0 {
			// The muscle of the diaphragm and the pleura against it.
			if over := abs(diaphragm(x, y) - z); over < 6 {
				c.lay(k, c.pal[muscle], ramp(4, 2, over))
			}
		}
		if d < -c.edge {
			continue
		}
		// Lung is denser where the patient lies on it.
		v := c.pal[lung] + (c.pal[softLung]-c.pal[lung])*(0.012*n[k]+0.00032*(y+40))
		// Oblique fissures, and the horizontal one on the right.
		f := abs(z-70-1.25*(y-10)+6*n[k]) * 0.62
		if x < 0 && y < 10 {
			f = min(f, abs(z-84+0.34*y-0.2*(x+70)+2*n[k])*0.9)
		}
		v = mix(v, c.pal[softLung], 0.22*clamp01(1-f/1.1))
		c.lay(k, v, c.cover(d))
	}
	c.fillTree(t.vessels, softLung, 0)
	for _, p := range t.chest {
		c.fillPart(p)
	}
	for _, p := range t.heart {
		c.fillPart(p)
	}
	c.fillTree(t.bronchi, softLung, 0.5)
	c.fillTree(t.bronchi, air, 0)
}

// bone lays cortical and trabecular bone by depth.
func (t *torso) bone(c *canvas, k int, d, shell float32) {
	v := mix(c.pal[spongiosa]*(1+0.3*c.field[k]), c.pal[cortex]*0.62, ramp(shell+0.8, shell, d))
	c.lay(k, v, c.cover(d))
}

// ribs paints twelve pairs of ribs, their cartilage and the breast bone. A rib
// is a band in the wall of the cage that falls from back to front, so that it
// wanders through the slices.
func (t *torso) ribs(c *canvas, cageIn []float32) {
	c.texture(2, c.spare[0], 3, 999, func(x, y, z float32) float32 { return t.speck.at(x/4, y/4, z/4) })
	for k, in := range cageIn {
		if in > 2 || in < -14 {
			continue
		}
		x, y, z := c.x[k], c.y[k], c.z[k]
		if z < -200 || z > 262 {
			continue
		}
		s := (y - cage.at(z, 2)) / cage.at(z, 1)
		fall := 40 - 24*ramp(120, 240, z)
		pos := (z - fall*s + 112) / 27
		i, f := floor(pos + 0.5)
		if i < 0 || i > 11 {
			continue
		}
		along := (f - 0.5) * 27 * 0.85
		u, v := along/6.6, (in+6.2)/3.7
		q := sqrt(u*u + v*v)
		d := (1 - q) * 4.2
		front := float32(-0.74)
		switch {
		case i == 0:
			front = 0.45
		case i == 1:
			front = 0.1
		case i < 5:
			front = -0.74 + 0.16*float32(5-i)
		}
		// The tip of a rib is round; cartilage goes on to the breast bone.
		if tip := (s - front) * 60; tip < d {
			if i >= 3 && z > 40 && abs(x) > 12 {
				c.lay(k, c.pal[cartilage], c.cover(d*0.9)*clamp01(0.5-tip))
			}
			d = tip
		}
		if d > -c.edge {
			t.bone(c, k, d, 1.3)
		}
	}
	for k, in := range cageIn {
		if in > 4 || in < -16 || c.y[k] > -30 {
			continue
		}
		x, z := c.x[k], c.z[k]
		half := 16 + 12*ramp(182, 200, z) - 6*ramp(110, 80, z)
		d := min(rounded(x, in+7, half, 5.4, 0.6), (z-84)*0.8, (220-z)*0.8)
		if d > -c.edge {
			t.bone(c, k, d, 1.2)
		}
	}
}

// The bones of the shoulder and the pelvis.
var girdleParts = func() []*ellipsoid {
	blade := oval(101, 74, 168, 37, 3.6, 64).turned('z', -36)
	ridge := oval(106, 88, 218, 34, 4, 7).turned('z', -30)
	socket := oval(136, 34, 226, 9, 12, 18)
	head := oval(160, 22, 236, 23, 24, 24)
	return []*ellipsoid{blade, ridge, socket, head}
}()

var (
	collarBone = through(4, bead{22, -52, 222, 8}, bead{62, -62, 232, 6}, bead{104, -28, 246, 6}, bead{138, 6, 252, 6.5})
	iliac      = oval(64, 20, -336, 64, 72, 120)
	sacrum     = []shape{
		oval(30, 62, -300, 26, 15, 42), oval(-30, 62, -300, 26, 15, 42),
		through(4, bead{0, 46, -256, 19}, bead{0, 56, -286, 17}, bead{0, 72, -316, 13}, bead{0, 82, -350, 9}),
		through(3, bead{0, 82, -268, 9}, bead{0, 92, -300, 7}, bead{0, 96, -340, 5}),
	}
	sacralCanal = through(3, bead{0, 72, -256, 8.6}, bead{0, 79, -280, 6.5}, bead{0, 88, -310, 4})
)

func (t *torso) girdle(c *canvas) {
	for _, e := range girdleParts {
		for _, m := range []*ellipsoid{e, e.mirrored()} {
			c.each(m, func(k int, d float32) { t.bone(c, k, d, 1.4) })
		}
	}
	for _, tb := range []*tube{collarBone, collarBone.mirrored()} {
		c.each(tb, func(k int, d float32) { t.bone(c, k, d, 1.4) })
	}
	for _, e := range []*ellipsoid{iliac, iliac.mirrored()} {
		side := float32(1)
		if e.c.x < 0 {
			side = -1
		}
		c.each(e, func(k int, d float32) {
			// A shell: only the outer and hind part of the ellipsoid is bone.
			x, y := (c.x[k]-e.c.x)*side, c.y[k]
			d = min(d, 8+c.field[k]-d, (x+y-6)*0.7)
			if d > -c.edge {
				t.bone(c, k, d, 1.6)
			}
		})
	}
	for _, s := range sacrum {
		c.each(s, func(k int, d float32) {
			if d = min(d, discs[0]-4-c.z[k]); d > -c.edge {
				t.bone(c, k, d, 1.2)
			}
		})
	}
	c.fillTube(sacralCanal, csf)
}

// column paints vertebrae, discs, the canal with the cord, and the processes.
func (t *torso) column(c *canvas) {
	box := &rod{a: vec{0, 62, -330}, b: vec{0, 62, 330}, ra: 74, rb: 74}
	c.each(box, func(k int, _ float32) {
		x, y, z := c.x[k], c.y[k], c.z[k]
		ax := abs(x)
		if ax > 46 || z < discs[0] {
			return
		}
		i := 1
		for i < len(discs)-1 && discs[i] < z {
			i++
		}
		bottom, top := discs[i-1], discs[i]
		rx, ry := spine.at(z, 1), spine.at(z, 2)
		p := y - spine.at(z, 0)
		if p < -ry-3 || p > ry+62 {
			return
		}
		height := top - bottom
		f := (z - bottom) / height
		gap := height * 0.13 // half the height of a disc
		toDisc := min(z-bottom, top-z)
		waist := 1 - 0.1*4*f*(1-f)
		d := rounded(x, p, rx*waist, ry*waist, 0.15)
		// The back of a body is hollow.
		d = min(d, ry*0.82-p+0.012*ax*ax)
		body := min(d, toDisc-gap)
		level := i - 1 // of the nearer disc
		if top-z < z-bottom {
			level = i
		}
		m, bulge := disc, float32(0.6)
		if t.worn && level < 3 && level > 0 {
			m, bulge = wornDisc, 1.6+2.6*ramp(0, ry, p)*ramp(14, 4, abs(x-3))
		}
		if core := min(d+bulge, gap-toDisc); core > -c.edge {
			v := c.pal[m]
			if m == disc {
				// The nucleus holds more water than the ring around it.
				v = mix(v, c.pal[nucleus], ramp(3, 6, d))
			}
			c.lay(k, v, c.cover(core))
		}
		if body > -c.edge {
			t.bone(c, k, body, 1.1)
		}
		// Arch: a ring around the canal, strong in the middle of the level.
		q := p - ry - 8
		ring := norm(x/1.15, q, 0)
		zz := z - (bottom + 0.52*height)
		arch := min(4-abs(ring-13), 0.4*height-abs(zz))
		arch = max(arch, min(7.2-norm(ax-19, q-6, 0)*0.95, 0.46*height-abs(zz+2)))
		sp := 3.2 - ax
		drop := zz + 0.42*(q-12)
		arch = max(arch, min(sp, 9-abs(drop), q-11, 30-q))
		wing := norm(q-4-0.2*(ax-14), zz+1, 0)
		arch = max(arch, min(5.6-0.11*(ax-12)-wing, ax-12, 35-ax))
		if arch > -c.edge {
			t.bone(c, k, arch, 0.8)
		}
		canal := 9.6 - ring
		if canal > -c.edge {
			c.lay(k, c.pal[csf]+6, c.cover(canal))
			if z > -105 {
				c.lay(k, c.pal[cord], c.cover(5.4-norm(x/1.25, q, 0)))
			} else {
				c.lay(k, mix(c.pal[csf], c.pal[cord], 0.5), c.cover(5.6-norm(x/1.2, q-2, 0)))
			}
		}
	})
}

// tableTop paints the couch under a trunk.
func tableTop(c *canvas) {
	shell, pad := c.pal[couch], c.pal[foam]
	c.rigid(40, func(k int, p vec) {
		if c.val[k] > -900 {
			return
		}
		// A shallow trough, 45 mm deep at its rim.
		under := p.y - 128 + p.x*p.x/700
		if p.x*p.x > 215*215 {
			return
		}
		c.lay(k, shell, max(min(c.cover(under), c.cover(2.6-under)), min(c.cover(under-26), c.cover(28.4-under))))
		if under > 2 && under < 26 {
			c.lay(k, pad, 1)
		}
	})
}

func (t *torso) addFinding(f Finding, size, side float32, seed uint64) {
	n := newNoise(seed ^ 0x88)
	ball := func(x, y, z, r, amp, scale float32) shape {
		return &rough{oval(x, y, z, r*size, r*size, r*size), n, amp * size, scale}
	}
	add := func(s shape, m material, w float32) {
		t.findings = append(t.findings, lesionPart{s, m, w})
	}
	switch f {
	case LungNodule:
		add(ball(-74, -14, 152, 9, 3, 4), nodule, 1)
	case Pneumonia:
		add(&rough{oval(-80, 42, 44, 36*size, 34*size, 34*size), n, 14, 18}, nodule, 0.72)
	case LiverLesion:
		add(ball(-84, -10, -62, 19, 3, 9), liver, 0.9)
		add(ball(-84, -10, -62, 16, 3, 7), hypodense, 1)
		add(ball(-58, 50, -84, 9, 2, 6), hypodense, 1)
	case Spondylosis:
		t.worn = true
	case RenalCyst:
		add(oval(88, 56, -104, 18*size, 17*size, 18*size), fluid, 1)
	}
}
