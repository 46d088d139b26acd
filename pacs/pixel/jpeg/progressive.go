package jpeg

import "fmt"

// progressiveScan decodes T.81 annex G: a scan brings a band of coefficients of
// one component, or the first coefficients of several, or one bit more of them.
func (f *dctFrame[S]) progressiveScan(sc scan) error {
	start, end, high, low := sc.start, sc.end, sc.high, sc.low
	if start > end || end > 63 || start == 0 && end != 0 || start > 0 && len(sc.components) != 1 || low > 13 || high != 0 && high != low+1 {
		return fmt.Errorf("%w: a scan of coefficients %d to %d, bits %d to %d", ErrDamaged, start, end, high, low)
	}
	var tables [4]*huffman
	for i, c := range sc.components {
		p := &f.planes[c.index]
		if p.quant == nil {
			if p.quant = f.quant[f.components[c.index].quant]; p.quant == nil {
				return fmt.Errorf("%w: a quantisation table is missing", ErrDamaged)
			}
		}
		if start > 0 && !f.done[c.index] {
			return fmt.Errorf("%w: a component begins without its first coefficients", ErrDamaged)
		}
		table := &f.dc[c.dc]
		if start > 0 {
			table = &f.ac[c.ac]
		}
		if start > 0 || high == 0 { // one bit more of the first coefficients has no codes
			var err error
			if tables[i], err = table.huffman(); err != nil {
				return err
			}
		}
		f.done[c.index] = true
	}
	var (
		dcPred [4]int32
		eobRun int // blocks to come that have nothing more in this band
	)
	reset := func() { dcPred, eobRun = [4]int32{}, 0 }
	return f.eachBlock(sc, reset, func(i, x, y int) error {
		c := sc.components[i]
		p := &f.planes[c.index]
		at := (y*p.blocks + x) * 64
		block := (*[64]int16)(p.coefficients[at : at+64])
		ok := true
		switch {
		case start == 0 && high == 0:
			size := f.bits.symbol(tables[i])
			if ok = size >= 0 && size <= 15; ok {
				dcPred[i] += f.bits.extended(size)
				block[0] = int16(dcPred[i] << low)
			}
		case start == 0:
			if f.bits.take(1) != 0 {
				block[0] |= 1 << low
			}
		case high == 0:
			ok = f.bits.firstBand(tables[i], start, end, low, &eobRun, block)
		default:
			ok = f.bits.refineBand(tables[i], start, end, low, &eobRun, block)
		}
		if !ok {
			return errCode()
		}
		return nil
	})
}

// firstBand reads a band of coefficients, T.81 G.1.2.2.
func (r *bitReader) firstBand(ac *huffman, start, end, low int, eobRun *int, block *[64]int16) bool {
	if *eobRun > 0 {
		*eobRun--
		return true
	}
	for k := start; k <= end; k++ {
		symbol := r.symbol(ac)
		if symbol < 0 {
			return false
		}
		run, size := symbol>>4, symbol&15
		if size == 0 {
			if run < 15 {
				*eobRun = 1<<run - 1 + int(r.take(run))
				return true
			}
			k += 15
			continue
		}
		if k += run; k > 63 {
			return false
		}
		block[natural[k]] = int16(r.extended(size) << low)
	}
	return true
}

// refineBand reads one bit more of a band, T.81 G.1.2.3: one for each coefficient
// that is not zero yet, and those that become so.
func (r *bitReader) refineBand(ac *huffman, start, end, low int, eobRun *int, block *[64]int16) bool {
	bit := int16(1) << low
	refine := func(c *int16) {
		if r.take(1) != 0 && *c&bit == 0 {
			if *c > 0 {
				*c += bit
			} else {
				*c -= bit
			}
		}
	}
	k := start
	if *eobRun == 0 {
	band:
		for k <= end {
			symbol := r.symbol(ac)
			if symbol < 0 {
				return false
			}
			run, size := symbol>>4, symbol&15
			var fresh int16
			switch {
			case size == 1:
				if fresh = -bit; r.take(1) != 0 {
					fresh = bit
				}
			case size != 0:
				return false
			case run < 15:
				*eobRun = 1<<run + int(r.take(run))
				break band
			}
			// Pass over run coefficients that are zero and stay so.
			for ; k <= end; k++ {
				c := &block[natural[k]]
				if *c != 0 {
					refine(c)
					continue
				}
				if run == 0 {
					*c = fresh
					k++
					break
				}
				run--
			}
		}
	}
	if *eobRun > 0 {
		for ; k <= end; k++ {
			if c := &block[natural[k]]; *c != 0 {
				refine(c)
			}
		}
		*eobRun--
	}
	return true
}

// transform makes samples of the coefficients, after the last scan.
func (f *dctFrame[S]) transform() {
	for i := range f.planes {
		p := &f.planes[i]
		var block [64]int32
		for at := 0; at < len(p.coefficients); at += 64 {
			last := 0
			for z, c := range (*[64]int16)(p.coefficients[at : at+64]) {
				if c != 0 {
					block[z] = int32(c) * p.quant[z]
					last = max(last, z)
				}
			}
			if last > 0 {
				last = 63
			}
			x, y := at/64%p.blocks, at/64/p.blocks
			inverse(&block, last, p.samples[(y*p.stride+x)*8:], p.stride)
		}
		p.coefficients = nil
	}
}
