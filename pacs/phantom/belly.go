package phantom

import "math/rand/v2"

// The solid organs that need more than one shape.
var (
	liverRight  = oval(-68, 6, -60, 84, 94, 88)
	liverLeft   = oval(4, -46, -34, 72, 38, 36)
	spleenBody  = oval(100, 44, -50, 27, 48, 46).turned('z', 24)
	kidneyRight = oval(-64, 50, -142, 27, 25, 54).turned('y', -10)
	kidneyLeft  = oval(66, 50, -122, 27, 25, 55).turned('y', 10)
	gallbladder = oval(-46, -50, -112, 14, 19, 24).turned('x', 20)
)

// organ is the depth of the peritoneal cavity below the diaphragm.
func organ(x, y, z float32) float32 {
	d := cageDepth(x, y, z) - 3
	return meet(d, (diaphragm(x, y)-3-z)*0.7, 6)
}

func liverDepth(x, y, z float32) float32 {
	d := join(liverRight.depth(x, y, z), liverLeft.depth(x, y, z), 24)
	if d < -12 {
		return d
	}
	d = meet(d, organ(x, y, z), 8)
	d = meet(d, -kidneyRight.depth(x, y, z)-5, 8)
	d = meet(d, -gallbladder.depth(x, y, z)-2, 6)
	// A cleft for the ligament between the lobes, and room for the spine.
	d = meet(d, norm(x-2, (y+50)*0.4, (z+70)*0.3)-5, 6)
	return meet(d, norm(x-4, y-spine.at(z, 0), 0)-44, 14)
}

func spleenDepth(x, y, z float32) float32 {
	return meet(spleenBody.depth(x, y, z), organ(x, y, z), 8)
}

// buildBelly places what lies below the diaphragm.
func (t *torso) buildBelly(rng *rand.Rand) {
	add := func(s shape, m material) { t.belly = append(t.belly, part{s, m}) }
	pair := func(s *tube, m material) { add(s, m); add(s.mirrored(), m) }
	pair(through(3, bead{24, 46, -100, 8}, bead{36, 42, -160, 17}, bead{48, 34, -220, 21}, bead{62, 14, -300, 19}, bead{70, 0, -360, 17}), muscle)
	pair(through(2, bead{46, 76, -88, 9}, bead{58, 74, -150, 13}, bead{70, 68, -220, 13}), muscle)
	// Splenic and mesenteric vessels.
	add(through(4, bead{-22, -4, -84, 7}, bead{4, -12, -92, 7}, bead{44, 8, -80, 5}, bead{84, 30, -62, 4.5}), vein)
	add(through(4, bead{-8, -10, -92, 6.5}, bead{-10, -18, -150, 6}, bead{-14, -24, -210, 4}), vein)
	add(through(4, bead{6, 14, -108, 4.5}, bead{4, -12, -130, 4.5}, bead{2, -22, -210, 3}), blood)
	add(through(3, bead{6, 14, -102, 4}, bead{10, -2, -98, 4}, bead{40, 12, -90, 3}), blood)
	for _, s := range []float32{-1, 1} {
		add(through(3, bead{5, 18, -124, 3.4}, bead{s * 24, 34, -130, 3.2}, bead{s * 46, 46, -132, 3}), blood)
		add(through(3, bead{-16, 22, -118, 5}, bead{s*28 - 4, 30, -126, 4.6}, bead{s * 48, 44, -128, 4}), vein)
	}
	for range 70 {
		x, z := (rng.Float32()-0.5)*130, -165-rng.Float32()*120
		y := -46 + rng.Float32()*40
		add(&rod{a: vec{x * 0.5, y*0.6 - 8, z + 30}, b: vec{x, y, z}, ra: 2, rb: 1.3}, vein)
	}
	n := t.mottle
	pancreas0 := through(4, bead{-24, -16, -118, 13}, bead{-12, -20, -104, 12}, bead{8, -24, -96, 9}, bead{40, -4, -86, 9}, bead{76, 22, -70, 8})
	for i := range pancreas0.rods {
		add(&rough{&pancreas0.rods[i], n, 3, 5}, pancreas)
	}
	add(gallbladder.grown(1.6), bowel)
	add(gallbladder, fluid)

	gut := func(wall, gas float32, content material, tb *tube) {
		t.gut = append(t.gut, loop{t: tb, content: content, gas: gas, wall: wall})
	}
	gut(4, 0.42, fluid, through(4, bead{54, 26, -16, 24}, bead{62, 2, -40, 31}, bead{58, -28, -76, 27}, bead{34, -50, -108, 21}, bead{-2, -46, -108, 15}, bead{-20, -36, -104, 11}))
	gut(2.5, 0.1, fluid, through(3, bead{-24, -34, -104, 13}, bead{-40, -10, -112, 13}, bead{-38, 0, -150, 13}, bead{-8, 2, -166, 12}, bead{26, -2, -150, 12}))
	gut(2.5, 0.5, stool, through(3, bead{-92, 0, -290, 25}, bead{-98, 12, -220, 24}, bead{-96, 10, -176, 23}))
	gut(2.5, 0.62, stool, through(3, bead{-94, 4, -174, 22}, bead{-60, -54, -168, 20}, bead{-6, -66, -176, 19}, bead{54, -58, -156, 19}, bead{94, -6, -112, 19}))
	gut(2.5, 0.35, stool, through(3, bead{100, 14, -112, 17}, bead{103, 24, -180, 15}, bead{102, 14, -250, 15}, bead{80, -4, -300, 16}, bead{30, 10, -330, 16}))
	for range 17 {
		p := vec{(rng.Float32() - 0.5) * 130, -52 + rng.Float32()*48, -182 - rng.Float32()*130}
		var beads []bead
		for range 5 {
			beads = append(beads, bead{p.x, p.y, p.z, 10 + 3.5*rng.Float32()})
			step := vec{rng.Float32() - 0.5, rng.Float32() - 0.5, rng.Float32() - 0.5}.unit().times(30)
			p = p.add(step)
			p.x, p.y, p.z = max(-78, min(78, p.x)), max(-60, min(2, p.y)), max(-330, min(-178, p.z))
		}
		gas := float32(0)
		if rng.Float32() < 0.35 {
			gas = 0.3 + 0.4*rng.Float32()
		}
		gut(2.6, gas, fluid, through(3, beads...))
	}

	var portal []*rod
	var grow func(p, d vec, r float32, level int)
	grow = func(p, d vec, r float32, level int) {
		if r < 1 || level > 7 {
			return
		}
		for range 3 {
			d = d.add(vec{rng.Float32() - 0.5, rng.Float32() - 0.5, rng.Float32() - 0.5}.times(0.4)).unit()
			q := p.add(d.times(5 + r))
			if level > 0 && liverDepth(q.x, q.y, q.z) < 6 {
				return
			}
			portal = append(portal, &rod{a: p, b: q, ra: r, rb: r * 0.95})
			p, r = q, r*0.96
		}
		axis := d.cross(vec{rng.Float32() - 0.5, rng.Float32() - 0.5, rng.Float32() - 0.5}).unit().times(0.65)
		grow(p, d.add(axis).unit(), r*0.8, level+1)
		grow(p, d.sub(axis).unit(), r*0.72, level+1)
	}
	porta := vec{-26, -2, -76}
	portal = append(portal, &rod{a: vec{-20, -4, -84}, b: porta, ra: 7, rb: 7})
	for _, d := range []vec{{-1, -0.2, 0.2}, {-1, 0.5, -0.1}, {-0.8, -0.6, -0.5}, {0.5, -1, 0.5}, {-0.7, 0.2, 0.9}} {
		grow(porta, d.unit(), 5.4, 0)
	}
	for _, d := range []vec{{-1, 0.2, -0.4}, {-0.6, -0.8, -0.5}, {0.3, -1, -0.2}, {-0.9, 0.8, -0.8}} {
		grow(vec{-22, 14, -24}, d.unit(), 5, 0)
	}
	t.portal = t.bent.twigs(portal)
}

// viscera paints the organs of the belly over fat.
func (t *torso) viscera(c *canvas, inside []float32) {
	solid := c.scratch(2)
	paint := func(f func(x, y, z float32) float32, m material, grain float32) {
		c.sampled(solid, 2.5, func(k int) float32 {
			if inside[k] < -6 {
				return -20
			}
			return f(c.x[k], c.y[k], c.z[k])
		})
		for k, d := range solid {
			if d > -c.edge {
				v := c.pal[m] * (1 + grain*c.field[k])
				c.lay(k, v, c.cover(d))
			}
		}
	}
	c.texture(2.5, inside, 0, 999, func(x, y, z float32) float32 { return t.mottle.at(x/7, y/7, z/7) })
	for _, p := range t.belly {
		c.fillPart(p)
	}
	paint(liverDepth, liver, 0.03)
	c.fillTree(t.portal, vein, 0)
	paint(spleenDepth, spleen, 0.04)
	for _, kidney := range []*ellipsoid{kidneyRight, kidneyLeft} {
		t.kidney(c, kidney)
	}
	for i := range t.gut {
		t.bowel(c, &t.gut[i])
	}
}

// kidney paints cortex, pyramids, the fat of the sinus and the pelvis in it.
func (t *torso) kidney(c *canvas, e *ellipsoid) {
	side := float32(1)
	if e.c.x < 0 {
		side = -1
	}
	sinus := oval(e.c.x-side*13, e.c.y-5, e.c.z, 14, 9, 30)
	pelvis := oval(e.c.x-side*16, e.c.y-6, e.c.z-2, 12, 4.5, 12)
	c.each(e, func(k int, d float32) {
		x, y, z := c.x[k], c.y[k], c.z[k]
		// Pyramids are lobes of noise between columns of cortex.
		pyramid := ramp(5.5, 7.5, d) * ramp(-0.22, -0.05, t.mottle.at(x/9, y/9, z/11))
		v := mix(c.pal[renalCortex], c.pal[renalMedulla], pyramid)
		v = mix(v, c.pal[fat]*0.8, clamp01(0.5+sinus.depth(x, y, z)/c.edge))
		v = mix(v, c.pal[fluid]+8, clamp01(0.5+pelvis.depth(x, y, z)/c.edge))
		c.lay(k, v, c.cover(d))
	})
}

// bowel paints a loop: its wall, then the content, with gas lying in front of
// a level because the patient lies on the back.
func (t *torso) bowel(c *canvas, l *loop) {
	wall, content, gas := c.pal[bowel], c.pal[l.content], c.pal[air]
	lo, hi := l.t.reach(vec{0, 1, 0})
	for pass := range 2 {
		for i := range l.t.rods {
			r := l.t.rods[i]
			level := lo + (hi-lo)*l.gas
			c.each(&r, func(k int, d float32) {
				if l.content == stool {
					// Haustra: the colon is pinched at intervals.
					d -= 3.4 * ramp(0.25, -0.05, abs(t.speck.at(c.x[k]/26, c.y[k]/26, c.z[k]/26)))
				}
				if pass == 0 {
					c.lay(k, wall, c.cover(d))
					return
				}
				v := content
				if l.content == stool {
					v += 110 * t.speck.at(c.x[k]/3, c.y[k]/3, c.z[k]/3)
				}
				if l.gas > 0 {
					v = mix(v, gas, clamp01(0.5+(level-c.y[k])/c.edge))
				}
				c.lay(k, v, c.cover(d-l.wall))
			})
		}
	}
}
