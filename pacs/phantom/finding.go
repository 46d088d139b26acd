package phantom

// Finding is an abnormality painted into a study.
type Finding uint8

// The findings and where they sit. Each shows in only part of the slices.
const (
	NoFinding   Finding = iota
	Haemorrhage         // head: basal ganglia, with a rim of oedema
	Infarct             // head: middle cerebral artery territory
	Plaques             // brain MR: demyelination around the ventricles
	LungNodule          // chest: right upper lobe
	Pneumonia           // chest: right lower zone
	LiverLesion         // abdomen: right lobe
	RenalCyst           // abdomen: left kidney
	Spondylosis         // lumbar MR: two low discs
	numFindings
)

// rough is a shape with an irregular border.
type rough struct {
	shape
	n     *noise
	amp   float32
	scale float32
}

func (r *rough) depth(x, y, z float32) float32 {
	d := r.shape.depth(x, y, z)
	if abs(d) > r.amp*2 {
		return d
	}
	return d + r.amp*r.n.at(x/r.scale, y/r.scale, z/r.scale)
}

func (r *rough) reach(dir vec) (lo, hi float32) {
	lo, hi = r.shape.reach(dir)
	return lo - r.amp, hi + r.amp
}

// headLesion builds the finding of a head; side is +1 for the patient's left.
func headLesion(f Finding, size, side float32, seed uint64) []lesionPart {
	n := newNoise(seed ^ 0x44)
	at := func(x, y, z, rx, ry, rz, amp float32) shape {
		return &rough{oval(side*x, y, z, rx*size, ry*size, rz*size), n, amp * size, 8}
	}
	switch f {
	case Haemorrhage:
		return []lesionPart{
			{at(27, -2, 6, 19, 26, 19, 4), oedema, 0.75},
			{at(27, -2, 6, 13, 20, 13, 4), clot, 1},
		}
	case Infarct:
		return []lesionPart{
			{at(50, 2, 18, 25, 30, 22, 7), infarct, 0.72},
			{at(34, -2, 8, 12, 18, 12, 4), infarct, 0.6},
		}
	case Plaques:
		var list []lesionPart
		for i, p := range [][3]float32{
			{17, -30, 16},
			{18, 22, 26},
			{22, 8, 28},
			{16, -12, 27},
			{-19, 14, 27},
			{-17, -26, 17},
			{30, 26, 8},
			{-27, 34, 14},
			{-24, -2, 30},
			{12, 40, 20},
			{28, -20, 30},
			{-33, 18, 20},
		} {
			if float32(i) > 12*size {
				break
			}
			r := 2.4 + 0.9*float32((i*7)%4)
			list = append(list, lesionPart{&rough{oval(side*p[0], p[1], p[2], r, r*1.5, r), n, 1.2, 5}, plaque, 0.95})
		}
		return list
	}
	return nil
}
