package jpeg

// The factors of the transform of Loeffler, Ligtenberg and Moschytz (ICASSP 1989),
// in fixed point of 13 bits: what the Independent JPEG Group's "islow" method
// uses, so that samples are those of DCMTK.
const (
	fix0298 = 2446  // 0.298631336
	fix0390 = 3196  // 0.390180644
	fix0541 = 4433  // 0.541196100
	fix0765 = 6270  // 0.765366865
	fix0899 = 7373  // 0.899976223
	fix1175 = 9633  // 1.175875602
	fix1501 = 12299 // 1.501321110
	fix1847 = 15137 // 1.847759065
	fix1961 = 16069 // 1.961570560
	fix2053 = 16819 // 2.053119869
	fix2562 = 20995 // 2.562915447
	fix3072 = 25172 // 3.072711026

	fixBits = 13
)

// inverse is the inverse cosine transform (T.81 A.3.3) of a block in natural
// order whose coefficients behind the zig-zag index last are zero. The block is
// zeros afterwards.
func inverse[S sample](block *[64]int32, last int, to []S, stride int) {
	// passBits more bits are kept between the passes: as many as 32 bits allowed.
	bits, passBits := 8, 2
	if S(0)-1 > 255 {
		bits, passBits = 12, 1
	}
	top, centre := 1<<bits-1, 1<<(bits-1)
	if last == 0 {
		v := S(max(0, min((int(block[0])+4)>>3+centre, top)))
		block[0] = 0
		for range 8 {
			row := to[:8]
			for i := range row {
				row[i] = v
			}
			to = to[min(stride, len(to)):]
		}
		return
	}
	var work [64]int
	for x := range 8 {
		c := func(i int) int { return int(block[8*i+x]) }
		if block[8+x]|block[16+x]|block[24+x]|block[32+x]|block[40+x]|block[48+x]|block[56+x] == 0 {
			v := c(0) << passBits
			for i := range 8 {
				work[8*i+x] = v
			}
			continue
		}
		e0, e1, e2, e3 := even(c(0), c(2), c(4), c(6))
		o0, o1, o2, o3 := odd(c(1), c(3), c(5), c(7))
		shift := fixBits - passBits
		half := 1 << (shift - 1)
		work[x] = (e0 + o3 + half) >> shift
		work[56+x] = (e0 - o3 + half) >> shift
		work[8+x] = (e1 + o2 + half) >> shift
		work[48+x] = (e1 - o2 + half) >> shift
		work[16+x] = (e2 + o1 + half) >> shift
		work[40+x] = (e2 - o1 + half) >> shift
		work[24+x] = (e3 + o0 + half) >> shift
		work[32+x] = (e3 - o0 + half) >> shift
	}
	*block = [64]int32{}
	shift := fixBits + passBits + 3
	half := 1<<(shift-1) + centre<<shift
	for y := range 8 {
		w := (*[8]int)(work[8*y:])
		row := to[:8]
		e0, e1, e2, e3 := even(w[0], w[2], w[4], w[6])
		o0, o1, o2, o3 := odd(w[1], w[3], w[5], w[7])
		row[0] = S(max(0, min((e0+o3+half)>>shift, top)))
		row[7] = S(max(0, min((e0-o3+half)>>shift, top)))
		row[1] = S(max(0, min((e1+o2+half)>>shift, top)))
		row[6] = S(max(0, min((e1-o2+half)>>shift, top)))
		row[2] = S(max(0, min((e2+o1+half)>>shift, top)))
		row[5] = S(max(0, min((e2-o1+half)>>shift, top)))
		row[3] = S(max(0, min((e3+o0+half)>>shift, top)))
		row[4] = S(max(0, min((e3-o0+half)>>shift, top)))
		to = to[min(stride, len(to)):]
	}
}

func even(c0, c2, c4, c6 int) (e0, e1, e2, e3 int) {
	z := (c2 + c6) * fix0541
	t2, t3 := z-c6*fix1847, z+c2*fix0765
	t0, t1 := (c0+c4)<<fixBits, (c0-c4)<<fixBits
	return t0 + t3, t1 + t2, t1 - t2, t0 - t3
}

func odd(c1, c3, c5, c7 int) (o0, o1, o2, o3 int) {
	z1, z2, z3, z4 := c7+c1, c5+c3, c7+c3, c5+c1
	z5 := (z3 + z4) * fix1175
	z1, z2 = -z1*fix0899, -z2*fix2562
	z3, z4 = z5-z3*fix1961, z5-z4*fix0390
	return c7*fix0298 + z1 + z3, c5*fix2053 + z2 + z4, c3*fix3072 + z2 + z3, c1*fix1501 + z1 + z4
}
