package phantom

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
)

// How values become stored pixels: head and chest CT come unsigned with an
// intercept of -1024, abdomen CT signed without one, as makers differ.
func (s *Study) signedPixels() bool { return s.Kind == AbdomenCT }

// tomogram makes a CT slice: anatomy, couch, noise, stored values.
func (j *job) tomogram(c *canvas, out []byte) {
	c.reset(j.plane, &hounsfield, 0.9, j.body.bends(), air)
	j.body.paint(c)
	noise := float32(9)
	switch j.study.Kind {
	case HeadCT:
		headrest(c)
		noise = 3.2
	case ChestCT:
		tableTop(c)
		noise = 12
	default:
		tableTop(c)
	}
	intercept := float32(-1024)
	if j.study.signedPixels() {
		intercept = 0
	}
	g := coarseGrain().sampler(rand.New(rand.NewPCG(j.seed, 2)))
	k := 0
	for y := range c.ny {
		for x := range c.nx {
			v := max(c.val[k]+noise*g.at(x, y), -1024)
			// Round half up; the offset keeps the truncation away from zero.
			q := int32(v-intercept+4096.5) - 4096
			binary.LittleEndian.PutUint16(out[2*k:], uint16(int16(q)))
			k++
		}
	}
}

// resonance makes an MR slice: signal, the falling sensitivity of the coil,
// and the noise of a magnitude image, which never is negative (Rice).
func (j *job) resonance(c *canvas, out []byte) {
	pal := &signalT2
	switch j.spec.Weighting {
	case T1:
		pal = &signalT1
	case FLAIR:
		pal = &signalFLAIR
	}
	c.reset(j.plane, pal, 1, j.body.bends(), air)
	j.body.paint(c)
	n := newNoise(j.study.Seed ^ uint64(j.index+1)*0x99)
	lumbar := j.study.Kind == LumbarMR
	bias := c.field
	c.fillSlow(bias, func(x, y, z float32) float32 {
		b := 1 + 0.16*n.at(x/90, y/90, z/90)
		if lumbar {
			// A surface coil under the back: bright near, dark far.
			return b * (0.45 + 0.75*ramp(-90, 110, y))
		}
		return b * (1.1 - 0.2*(x*x+y*y)/9000)
	})
	rng := rand.New(rand.NewPCG(j.seed, 3))
	re, im := fineGrain().sampler(rng), fineGrain().sampler(rng)
	const noise = 16
	k := 0
	for y := range c.ny {
		for x := range c.nx {
			a := c.val[k]*bias[k] + noise*re.at(x, y)
			b := noise * im.at(x, y)
			binary.LittleEndian.PutUint16(out[2*k:], uint16(min(sqrt(a*a+b*b)+0.5, 4095)))
			k++
		}
	}
}

// radiograph projects the trunk from back to front. The sum of attenuation is
// the logarithm of what arrives at the detector, so no exponentials are needed.
func (j *job) radiograph(out []byte) {
	plain := hounsfield
	plain[blood], plain[vein], plain[myocardium] = 45, 45, 45
	plain[liver], plain[spleen], plain[renalCortex], plain[renalMedulla] = 55, 50, 35, 35
	const (
		coarse = 5 // detector pixels for one ray, at most
		parts  = 4 // summed apart, so that the result doesn't depend on the processors
	)
	p := j.plane
	step := max(1, int(0.95/p.spacing))
	step = min(step, coarse)
	ray := p
	ray.spacing, ray.nx, ray.ny = p.spacing*float32(step), (p.nx-1)/step+3, (p.ny-1)/step+3
	depth := max(3, min(p.spacing, 8)) // mm from one sample of a ray to the next
	layers := int(282 / depth)
	sums := make([][]float32, parts)
	var wg sync.WaitGroup
	for part := range parts {
		wg.Go(func() {
			c := &canvas{rough: true}
			sum := make([]float32, ray.nx*ray.ny)
			for l := part; l < layers; l += parts {
				r := ray
				r.origin.y = (float32(l) - float32(layers)/2 + 0.5) * depth
				c.reset(r, &plain, 1.8, j.body.bends(), air)
				j.body.paint(c)
				for k, hu := range c.val {
					mu := 1 + hu/1000
					if hu > 120 {
						mu += 0.3 * (hu - 120) / 1000
					}
					sum[k] += max(mu, 0)
				}
			}
			sums[part] = sum
		})
	}
	wg.Wait()
	total := sums[0]
	for _, s := range sums[1:] {
		for k := range total {
			total[k] += s[k]
		}
	}
	g := coarseGrain().sampler(rand.New(rand.NewPCG(j.seed, 4)))
	fine := fineGrain().sampler(rand.New(rand.NewPCG(j.seed, 5)))
	inv := 1 / float32(step)
	cubic := func(a, b, c, d, t float32) float32 {
		return b + 0.5*t*(c-a+t*(2*a-5*b+4*c-d+t*(3*(b-c)+d-a)))
	}
	line := make([]float32, ray.nx)
	k := 0
	for y := range p.ny {
		r, ty := y/step, float32(y%step)*inv
		at := func(i int) []float32 {
			i = max(0, min(ray.ny-1, i))
			return total[i*ray.nx : (i+1)*ray.nx]
		}
		a, b, c, d := at(r-1), at(r), at(r+1), at(r+2)
		for i := range line {
			line[i] = cubic(a[i], b[i], c[i], d[i], ty)
		}
		for x := range p.nx {
			i, tx := x/step, float32(x%step)*inv
			v := cubic(line[max(i-1, 0)], line[i], line[i+1], line[min(i+2, len(line)-1)], tx) * depth
			// v is mm of water: lung lies near 60 to 110, the heart near 200,
			// the spine beyond. Like film, the curve spends its range on the
			// lungs and flattens towards the dense end.
			s := max(v-30, 0) / 170
			q := 120 + 0.8*v + 4600*s/(0.55+s) + 10*fine.at(x, y) + 8*g.at(x/2, y/2)
			binary.LittleEndian.PutUint16(out[2*k:], uint16(max(0, min(4095, q))))
			k++
		}
	}
	j.marker(out)
}

// marker stamps the lead letter R beside the patient's right shoulder.
func (j *job) marker(out []byte) {
	strokes := []rod{
		{a: vec{0, 0, 0}, b: vec{0, 12, 0}},
		{a: vec{0, 0, 0}, b: vec{4, 0, 0}},
		{a: vec{4, 0, 0}, b: vec{6, 3, 0}},
		{a: vec{6, 3, 0}, b: vec{4, 6, 0}},
		{a: vec{4, 6, 0}, b: vec{0, 6, 0}},
		{a: vec{3, 6, 0}, b: vec{7, 12, 0}},
	}
	s := j.plane.spacing
	for y := range int(24 / s) {
		for x := range int(24 / s) {
			d := float32(-9)
			for i := range strokes {
				strokes[i].ra, strokes[i].rb = 0.9, 0.9
				d = max(d, strokes[i].depth(float32(x)*s-8, float32(y)*s-6, 0))
			}
			px, py := x+int(8/s), y+int(26/s)
			if d > 0 && px < j.plane.nx && py < j.plane.ny {
				binary.LittleEndian.PutUint16(out[2*(py*j.plane.nx+px):], 4000)
			}
		}
	}
}
