package phantom

import (
	"math/rand/v2"
	"sync"
)

// noise is three-dimensional gradient noise, smooth and of zero mean, in about
// -1..1. It makes anatomy irregular: the same seed gives the same patient.
type noise struct{ perm [512]uint8 }

func newNoise(seed uint64) *noise {
	n := &noise{}
	rng := rand.New(rand.NewPCG(seed, 0x6e6f697365))
	for i, p := range rng.Perm(256) {
		n.perm[i], n.perm[i+256] = uint8(p), uint8(p)
	}
	return n
}

// gradients are the twelve edge directions of a cube, four of them twice.
var gradients = [16]vec{
	{1, 1, 0},
	{-1, 1, 0},
	{1, -1, 0},
	{-1, -1, 0},
	{1, 0, 1},
	{-1, 0, 1},
	{1, 0, -1},
	{-1, 0, -1},
	{0, 1, 1},
	{0, -1, 1},
	{0, 1, -1},
	{0, -1, -1},
	{1, 1, 0},
	{-1, 1, 0},
	{0, -1, 1},
	{0, -1, -1},
}

func floor(x float32) (int32, float32) {
	i := int32(x)
	if float32(i) > x {
		i--
	}
	return i, x - float32(i)
}

func (n *noise) at(x, y, z float32) float32 {
	xi, x := floor(x)
	yi, y := floor(y)
	zi, z := floor(z)
	p := &n.perm
	X, Y, Z := uint8(xi), uint8(yi), uint8(zi)
	fade := func(t float32) float32 { return t * t * t * (t*(t*6-15) + 10) }
	u, v, w := fade(x), fade(y), fade(z)
	corner := func(dx, dy, dz uint8, x, y, z float32) float32 {
		h := p[uint(p[uint(p[X+dx])+uint(Y+dy)])+uint(Z+dz)]
		g := &gradients[h&15]
		return g.x*x + g.y*y + g.z*z
	}
	a := mix(corner(0, 0, 0, x, y, z), corner(1, 0, 0, x-1, y, z), u)
	b := mix(corner(0, 1, 0, x, y-1, z), corner(1, 1, 0, x-1, y-1, z), u)
	c := mix(corner(0, 0, 1, x, y, z-1), corner(1, 0, 1, x-1, y, z-1), u)
	d := mix(corner(0, 1, 1, x, y-1, z-1), corner(1, 1, 1, x-1, y-1, z-1), u)
	return mix(mix(a, b, v), mix(c, d, v), w)
}

// grainSide is the side of the tile of detector noise, a power of two.
const grainSide = 512

// grain is a tile of normally distributed numbers with unit variance. Each
// slice adds two shifted copies of it, which costs far less than drawing a
// random number for each pixel.
type grain []float32

var fineGrain = sync.OnceValue(func() grain {
	rng := rand.New(rand.NewPCG(1, 2))
	g := make(grain, grainSide*grainSide)
	for i := range g {
		// The sum of four uniform numbers: near enough to normal, and free of
		// functions that differ between processors.
		b := rng.Uint64()
		s := float32(b&0xffff) + float32(b>>16&0xffff) + float32(b>>32&0xffff) + float32(b>>48)
		g[i] = (s/65535 - 2) * 1.7320508
	}
	return g
})

// coarseGrain is fineGrain after a small blur, rescaled to unit variance: the
// correlated texture of a reconstructed CT slice.
var coarseGrain = sync.OnceValue(func() grain {
	f := fineGrain()
	g := make(grain, len(f))
	at := func(x, y int) float32 { return f[(y&(grainSide-1))*grainSide+x&(grainSide-1)] }
	var sum float64
	for y := range grainSide {
		for x := range grainSide {
			v := 4*at(x, y) + 2*(at(x-1, y)+at(x+1, y)+at(x, y-1)+at(x, y+1)) +
				at(x-1, y-1) + at(x+1, y-1) + at(x-1, y+1) + at(x+1, y+1) -
				0.35*(at(x-3, y)+at(x+3, y)+at(x, y-3)+at(x, y+3))
			g[y*grainSide+x] = v
			sum += float64(v) * float64(v)
		}
	}
	s := 1 / sqrt(float32(sum/float64(len(g))))
	for i := range g {
		g[i] *= s
	}
	return g
})

// grainSampler draws a slice's own noise from a tile.
type grainSampler struct {
	g      grain
	ax, ay int
	bx, by int
}

func (g grain) sampler(rng *rand.Rand) grainSampler {
	n := func() int { return rng.IntN(grainSide) }
	return grainSampler{g, n(), n(), n(), n()}
}

func (s *grainSampler) at(x, y int) float32 {
	const m = grainSide - 1
	return 0.70710678 * (s.g[((y+s.ay)&m)*grainSide+(x+s.ax)&m] + s.g[((y+s.by)&m)*grainSide+(x+s.bx)&m])
}
