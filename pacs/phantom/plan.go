package phantom

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// anatomy paints materials into a canvas.
type anatomy interface {
	paint(c *canvas)
	bends() bending
}

func (h *head) bends() bending  { return h.bent }
func (t *torso) bends() bending { return t.bent }

// job is one instance to be made.
type job struct {
	study  *Study
	body   anatomy
	common *dataset // what all instances of the series share
	spec   SeriesSpec
	plane  plane
	step   float64 // mm between slices
	number int     // instance number, from 1
	index  int     // of the series, from 0
	uid    string
	offset vec // where the scanner's origin lies in the anatomy
	seed   uint64
	series string // series UID
}

// size is the number of columns and rows.
func (s *SeriesSpec) size(k Kind) (nx, ny int) {
	if k == ChestXRay {
		return s.Matrix, s.Matrix * 6 / 5
	}
	return s.Matrix, s.Matrix
}

// coverage is what a series spans along its normal, and the centre of its
// pictures, in the coordinates of the anatomy (mm).
func coverage(k Kind, v View) (from, to float32, centre vec) {
	switch k {
	case HeadCT, BrainMR:
		switch v {
		case Sagittal:
			return -72, 72, vec{0, -4, -16}
		case Coronal:
			return -92, 98, vec{0, 0, -16}
		}
		return -78, 82, vec{0, -2, 0}
	case ChestCT:
		switch v {
		case Sagittal:
			return -180, 180, vec{0, 6, 90}
		case Coronal:
			return -110, 120, vec{0, 0, 90}
		}
		return -70, 270, vec{0, 8, 0}
	case AbdomenCT:
		switch v {
		case Sagittal:
			return -160, 160, vec{0, 6, -130}
		case Coronal:
			return -110, 120, vec{0, 0, -130}
		}
		return -310, 20, vec{0, 4, 0}
	case LumbarMR:
		switch v {
		case Axial:
			return -280, -80, vec{0, 40, 0}
		case Coronal:
			return -20, 110, vec{0, 0, -180}
		}
		return -30, 30, vec{0, 46, -180}
	}
	return -140, 140, vec{0, 0, 78} // radiograph: projected front to back
}

// plan turns the recipe into jobs, in the order in which they are yielded.
func (s *Study) plan() ([]job, error) {
	list, err := s.series()
	if err != nil {
		return nil, err
	}
	if s.Finding >= numFindings {
		return nil, fmt.Errorf("phantom: unknown finding %d", s.Finding)
	}
	size := float32(s.FindingSize)
	if size == 0 {
		size = 1
	}
	side := float32(1)
	if s.RightSided {
		side = -1
	}
	var body anatomy
	switch s.Kind {
	case HeadCT, BrainMR:
		body = newHead(s.Seed, s.Finding, size, side)
	default:
		body = newTorso(s.Seed, s.Finding, size, side)
	}
	id := s.identity()
	// Nobody lies in the same place twice: the scanner's origin is somewhere
	// near the middle, so that a prior is comparable but not identical.
	rng := rand.New(rand.NewPCG(seedOf(id), 1))
	shift := func(mm float32) float32 { return float32(math.Round(float64((rng.Float32()*2-1)*mm*10)) / 10) }
	offset := vec{shift(4), shift(5), shift(9)}
	var jobs []job
	for i, spec := range list {
		seriesID := fmt.Sprint(id, "\x00series ", i+1)
		from, to, centre := coverage(s.Kind, spec.View)
		step := math.Round(float64(to-from)/float64(spec.Slices)*100) / 100
		if spec.Slices == 1 {
			from, step = (from+to)/2, 5
		}
		nx, ny := spec.size(s.Kind)
		px := spec.FieldOfView / float64(nx)
		common, err := s.common(i, spec, uid(seriesID), uid(id+"\x00frame of reference"), step, px)
		if err != nil {
			return nil, err
		}
		for n := range spec.Slices {
			p := plane{spacing: float32(px), nx: nx, ny: ny}
			at := from + float32(float64(n)*step)
			switch spec.View {
			case Sagittal:
				p.u, p.v, centre.x = vec{0, 1, 0}, vec{0, 0, -1}, at
			case Coronal:
				p.u, p.v, centre.y = vec{1, 0, 0}, vec{0, 0, -1}, at
			default:
				p.u, p.v, centre.z = vec{1, 0, 0}, vec{0, 1, 0}, at
			}
			p.origin = centre.sub(p.u.times(float32(px * float64(nx-1) / 2))).sub(p.v.times(float32(px * float64(ny-1) / 2)))
			instance := fmt.Sprint(seriesID, "\x00instance ", n+1)
			jobs = append(jobs, job{
				study: s, body: body, common: common, spec: spec, plane: p, step: step, number: n + 1, index: i,
				uid: uid(instance), series: uid(seriesID), offset: offset, seed: seedOf(instance),
			})
		}
	}
	return jobs, nil
}

// make paints and encodes one instance.
func (j *job) make(c *canvas) *Instance {
	d := j.common.with()
	j.attributes(d)
	n := j.plane.nx * j.plane.ny * 2
	b := d.bytes(n + 12)
	b = d.header(b, 0x7fe00010, "OW", n)
	at := len(b)
	b = b[:at+n]
	switch j.study.Kind {
	case ChestXRay:
		j.radiograph(b[at:])
	case BrainMR, LumbarMR:
		j.resonance(c, b[at:])
	default:
		j.tomogram(c, b[at:])
	}
	syntax := explicitVRLittleEndian
	if j.study.ImplicitVR {
		syntax = implicitVRLittleEndian
	}
	return &Instance{
		SOPClassUID: j.study.sopClass(), SOPInstanceUID: j.uid, SeriesInstanceUID: j.series,
		StudyInstanceUID: j.study.StudyInstanceUID(), TransferSyntaxUID: syntax,
		SeriesNumber: j.index + 1, InstanceNumber: j.number, dataset: b,
	}
}
