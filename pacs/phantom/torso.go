package phantom

import "math/rand/v2"

// torso is a trunk from the shoulders to the pelvis. z = 0 is the level of the
// right dome of the diaphragm; the lungs reach up to about z = 245, the iliac
// crests lie at about z = -215.
//
// Three implicit surfaces carry it: the outline of the body, the inside of the
// rib cage, and the diaphragm. Vessels and bronchi are grown as trees of
// tapering rods once per patient and painted where a slice cuts them.
type torso struct {
	bent     bending
	speck    *noise
	mottle   *noise
	chest    []part // mediastinum, in painting order
	heart    []part
	vessels  []twig // of the lungs
	bronchi  []twig
	portal   []twig // of the liver
	belly    []part
	gut      []loop
	findings []lesionPart
	worn     bool // two low discs are dry and bulge
}

// loop is a piece of bowel: a chain of beads with wall, content and gas.
type loop struct {
	t       *tube
	content material
	gas     float32 // fraction of the lumen from the front
	wall    float32
}

// outline: z, half width, half depth, centre y of the body's surface.
var outline = tabulate([][]float32{
	{-360, 182, 112, 6},
	{-300, 178, 112, 6},
	{-230, 166, 106, 4},
	{-150, 150, 100, 2},
	{-60, 156, 106, 2},
	{40, 166, 112, 2},
	{120, 172, 112, 4},
	{185, 180, 104, 8},
	{222, 186, 92, 14},
	{252, 176, 78, 20},
	{276, 120, 68, 20},
	{300, 66, 60, 16},
	{340, 58, 58, 12},
})

// cage: z, half width, half depth, centre y of the inside of the chest wall,
// and further down of the muscular wall of the belly.
var cage = tabulate([][]float32{
	{-360, 122, 80, 0},
	{-300, 124, 82, -2},
	{-230, 124, 80, -4},
	{-160, 120, 78, -4},
	{-90, 126, 84, -2},
	{-30, 134, 90, 2},
	{30, 137, 92, 2},
	{90, 131, 88, 4},
	{140, 120, 80, 7},
	{180, 104, 70, 12},
	{210, 84, 57, 18},
	{232, 60, 42, 24},
	{250, 30, 24, 30},
	{262, 4, 4, 30},
})

// spine: z, y of the middle of the vertebral bodies, half width, half depth.
var spine = tabulate([][]float32{
	{-330, 58, 25, 17},
	{-280, 48, 26, 18},
	{-220, 36, 25.5, 17.5},
	{-150, 34, 24, 17},
	{-90, 44, 22, 16},
	{-20, 52, 19, 15.5},
	{60, 58, 17, 15},
	{140, 58, 15, 13.5},
	{210, 48, 14, 12},
	{260, 38, 13, 10},
	{320, 34, 13, 9},
})

// discs are the levels between vertebrae, from the sacrum up.
var discs = [...]float32{
	-262, -227, -191, -155, -121, -89, -59, -31, -5, 19, 42, 64, 86, 107, 128, 148, 168, 187, 205, 222, 238, 254, 270, 286, 302,
}

// rounded is the depth inside a rounded-square cross-section.
func rounded(x, y, a, b, square float32) float32 {
	X, Y := x/a, y/b
	x2, y2 := X*X, Y*Y
	q := (1-square)*(x2+y2) + square*(x2*x2+y2*y2)
	gx, gy := X/a*((1-square)+2*square*x2), Y/b*((1-square)+2*square*y2)
	g := sqrt(gx*gx + gy*gy)
	if g < 1e-4 {
		return min(a, b)
	}
	return (1 - q) / (2 * g)
}

func bodyDepth(x, y, z float32) float32 {
	return rounded(x, y-outline.at(z, 2), outline.at(z, 0), outline.at(z, 1), 0.42)
}

func cageDepth(x, y, z float32) float32 {
	return rounded(x, y-cage.at(z, 2), cage.at(z, 0), cage.at(z, 1), 0.3)
}

// diaphragm is the height of the muscle above a point.
func diaphragm(x, y float32) float32 {
	dome := func(cx, peak float32) float32 {
		u, v := (x-cx)/80, (y+14)/112
		q := u*u + v*v
		return peak - 52*q - 34*q*q
	}
	return join(dome(-62, 4), dome(60, -10), 30)
}

func newTorso(seed uint64, f Finding, size, side float32) *torso {
	t := &torso{
		bent:   bending{noise: newNoise(seed ^ 0x55), amplitude: 4, scale: 90},
		speck:  newNoise(seed ^ 0x66),
		mottle: newNoise(seed ^ 0x77),
	}
	rng := rand.New(rand.NewPCG(seed, 0x746f72736f))
	t.buildChest()
	t.growLungs(rng)
	t.buildBelly(rng)
	t.addFinding(f, size, side, seed)
	return t
}

// buildChest places heart, great vessels, airway and oesophagus.
func (t *torso) buildChest() {
	add := func(s shape, m material) { t.chest = append(t.chest, part{s, m}) }
	// Oesophagus and azygos.
	gullet := through(3, bead{2, 34, 260, 7}, bead{6, 42, 160, 7}, bead{8, 44, 90, 7}, bead{14, 36, 20, 8}, bead{26, 18, -22, 9})
	add(gullet, bowel)
	add(gullet.grown(-5), air)
	add(through(2, bead{-14, 56, -40, 4}, bead{-14, 56, 120, 4}, bead{-16, 40, 142, 4.5}, bead{-20, 0, 138, 4.5}), vein)
	// The arch gives off three arteries; beside them run the veins.
	add(through(3, bead{-8, -10, 150, 7}, bead{-18, -2, 190, 6.5}, bead{-30, -2, 240, 5}, bead{-34, 0, 300, 4}), blood)
	add(through(3, bead{4, 2, 154, 5}, bead{14, 4, 200, 4.6}, bead{26, 2, 300, 4}), blood)
	add(through(3, bead{14, 18, 152, 6}, bead{28, 20, 196, 5.6}, bead{48, 4, 236, 5}, bead{120, -4, 240, 4.5}), blood)
	add(through(3, bead{-26, -14, 78, 10}, bead{-27, -16, 140, 10}, bead{-30, -18, 176, 8.5}, bead{-36, -10, 240, 7}, bead{-44, 0, 300, 6}), vein)
	add(through(3, bead{-27, -18, 168, 8}, bead{0, -30, 182, 7}, bead{32, -18, 206, 7}, bead{46, -6, 250, 6}, bead{50, 2, 300, 6}), vein)
	add(through(2, bead{-20, 2, 40, 13}, bead{-20, 14, 0, 13}, bead{-18, 24, -60, 12}, bead{-18, 24, -215, 11}, bead{-40, 26, -300, 8}), vein)
	// Aorta.
	add(through(4, bead{2, -20, 74, 15}, bead{-10, -26, 104, 15.5}, bead{-10, -20, 132, 15}, bead{-2, -2, 150, 14},
		bead{12, 20, 152, 13.5}, bead{20, 42, 132, 12.5}, bead{21, 48, 60, 12}, bead{14, 42, -20, 11}, bead{8, 26, -90, 10},
		bead{5, 14, -150, 9}, bead{4, 12, -205, 8.5}), blood)
	add(through(3, bead{4, 12, -203, 8}, bead{28, 16, -245, 6}, bead{50, 24, -300, 5.5}), blood)
	add(through(3, bead{4, 12, -203, 8}, bead{-26, 16, -245, 6}, bead{-48, 24, -300, 5.5}), blood)
	// Pulmonary trunk and its two branches.
	add(through(4, bead{24, -42, 66, 15}, bead{24, -34, 92, 14}, bead{16, -12, 106, 13}, bead{-14, 2, 98, 11}, bead{-44, 6, 94, 9}), blood)
	add(through(4, bead{20, -18, 104, 12}, bead{36, 8, 110, 11}, bead{52, 24, 102, 9}), blood)

	h := func(s shape, m material) { t.heart = append(t.heart, part{s, m}) }
	h(oval(26, -22, 32, 72, 54, 50).turned('y', 20).turned('z', -32), fat)
	h(oval(24, -20, 34, 66, 48, 46).turned('y', 20).turned('z', -32), myocardium)
	h(oval(-24, -14, 44, 23, 27, 31), blood)                                      // right atrium
	h(oval(6, -46, 38, 34, 19, 30).turned('z', -28), blood)                       // right ventricle
	h(oval(42, -18, 26, 42, 29, 32).turned('y', 20).turned('z', -34), myocardium) // left ventricle
	h(oval(44, -20, 26, 31, 18, 21).turned('y', 20).turned('z', -34), blood)
	h(oval(10, 20, 66, 31, 18, 23), blood)  // left atrium
	h(oval(26, -40, 60, 15, 15, 16), blood) // outflow
	h(&rod{a: vec{-30, 22, 70}, b: vec{-62, 30, 62}, ra: 6, rb: 5}, blood)
	h(&rod{a: vec{38, 24, 70}, b: vec{66, 32, 62}, ra: 6, rb: 5}, blood)
}

// growLungs grows arteries with bronchi beside them from each hilum. Vessels
// that would leave the lung are not grown, so none crosses the chest wall.
func (t *torso) growLungs(rng *rand.Rand) {
	var vessels, bronchi []*rod
	inside := func(p vec) bool { return lungDepth(p.x, p.y, p.z) > 4 }
	side := float32(1)
	var grow func(p, d vec, r, bronchus float32, level int)
	grow = func(p, d vec, r, bronchus float32, level int) {
		if r < 0.5 || level > 13 {
			return
		}
		// A branch is drawn as three short rods that wander a little.
		l := 6 + r*3.4 + rng.Float32()*6
		for range 3 {
			turn := vec{rng.Float32() - 0.5, rng.Float32() - 0.5, rng.Float32() - 0.5}
			d = d.add(turn.times(0.34)).unit()
			q := p.add(d.times(l / 3))
			if level > 0 && !inside(q) {
				// Turn back into the lung once, or end here.
				d = d.add(vec{40 * side, 16, 80}.sub(p).unit().times(1.3)).unit()
				if q = p.add(d.times(l / 3)); !inside(q) {
					return
				}
			}
			vessels = append(vessels, &rod{a: p, b: q, ra: r, rb: r * 0.96})
			if bronchus > 0.9 {
				beside := d.cross(vec{0.3, 0.2, 0.9}).unit().times(r + bronchus + 0.6)
				bronchi = append(bronchi, &rod{a: p.add(beside), b: q.add(beside), ra: bronchus, rb: bronchus * 0.95})
			}
			p, r = q, r*0.97
		}
		axis := d.cross(vec{rng.Float32() - 0.5, rng.Float32() - 0.5, rng.Float32() - 0.5}).unit()
		spread := 0.45 + 0.3*rng.Float32()
		a := d.add(axis.times(spread)).unit()
		b := d.add(axis.times(-spread * 1.15)).unit()
		share := 0.76 + 0.1*rng.Float32()
		grow(p, a, r*share, bronchus*share, level+1)
		grow(p, b, r*(1.57-share), bronchus*(1.5-share), level+1)
		if level > 1 && rng.Float32() < 0.5 {
			grow(p, d, r*0.62, bronchus*0.5, level+1)
		}
	}
	airway := func(b ...bead) {
		tr := through(4, b...)
		for i := range tr.rods {
			bronchi = append(bronchi, &tr.rods[i])
		}
	}
	airway(bead{0, 16, 300, 8.5}, bead{0, 20, 220, 8.5}, bead{-1, 26, 142, 8.8})
	airway(bead{-1, 26, 142, 7.6}, bead{-20, 26, 124, 7}, bead{-40, 24, 108, 6}, bead{-50, 24, 78, 4.6})
	airway(bead{-1, 26, 142, 7}, bead{22, 28, 122, 6.2}, bead{46, 28, 108, 5.4}, bead{56, 34, 80, 4.4})
	airway(bead{-36, 24, 112, 4.6}, bead{-48, 18, 136, 3.6})
	airway(bead{46, 26, 110, 4.4}, bead{56, 16, 132, 3.4})
	for _, side = range []float32{-1, 1} {
		x := side * 50
		for _, b := range [][8]float32{ // start, direction, radius, bronchus
			{0, 20, 116, 0.35, -0.15, 1, 4.8, 2.8},
			{0, 10, 112, 0.6, -0.9, 0.5, 4.4, 2.5},
			{0, 26, 112, 0.7, 0.7, 0.6, 4.4, 2.4},
			{4, 10, 86, 0.7, -0.9, -0.35, 4.6, 2.5},
			{4, 22, 84, 1, -0.1, -0.2, 4.2, 2.2},
			{2, 30, 84, 0.55, 0.8, -0.2, 4.6, 2.5},
			{6, 28, 74, 0.55, 0.1, -1, 5, 2.8},
			{6, 34, 72, 0.45, 0.65, -0.9, 5, 2.8},
			{6, 20, 74, 0.5, -0.5, -0.9, 4.4, 2.4},
		} {
			grow(vec{x + side*b[0], b[1], b[2]}, vec{side * b[3], b[4], b[5]}.unit(), b[6], b[7], 0)
		}
	}
	t.vessels, t.bronchi = t.bent.twigs(vessels), t.bent.twigs(bronchi)
}

// lungDepth is the depth below the pleura of either lung.
func lungDepth(x, y, z float32) float32 {
	d := cageDepth(x, y, z) - 1.2
	if d < -20 {
		return d
	}
	d = meet(d, (z-diaphragm(x, y))*0.6, 5)
	// The mediastinum: wide behind the heart, narrow behind the sternum.
	front := ramp(10, -62, y)
	back := ramp(38, 78, y)
	half := 23 - 17*front - 6*back + 12*ramp(185, 225, z)
	d = meet(d, abs(x-3)-half, 7)
	if z < 100 {
		d = meet(d, -heartSack.depth(x, y, z), 5)
	}
	// The vertebrae bulge into the chest.
	d = meet(d, -rounded(x, y-spine.at(z, 0), spine.at(z, 1)+8, spine.at(z, 2)+6, 0), 6)
	return d
}

var heartSack = oval(26, -22, 32, 74, 56, 52).turned('y', 20).turned('z', -32)
