package jpeg

import "encoding/binary"

// image gives all components the size of the image and puts them together.
func (f *dctFrame[S]) image() (Image, error) {
	if f.header.Process == Progressive {
		f.transform()
	}
	n, columns := f.header.Components, f.header.Columns
	im := Image{f.header, make([]byte, f.header.Size())}
	row := make([]S, columns+2) // an odd width is made by twos
	for i := range f.planes {
		p := &f.planes[i]
		c := f.components[i]
		for y := range f.header.Rows {
			from := row
			if c.h == f.maxH && c.v == f.maxV {
				from = p.samples[y*p.stride:]
			} else {
				f.upsample(row, p, c, y)
			}
			from = from[:columns]
			at := y*columns*n + i
			switch from := any(from).(type) {
			case []uint8:
				if n == 1 {
					copy(im.Pixels[at:], from)
					continue
				}
				for _, v := range from {
					im.Pixels[at] = v
					at += n
				}
			case []uint16:
				for _, v := range from {
					binary.LittleEndian.PutUint16(im.Pixels[2*at:], v)
					at += n
				}
			}
		}
	}
	return im, nil
}

// upsample makes row y of the image from a component with fewer samples. Half as
// many across, or across and down, are interpolated with the weights 3/4 and 1/4
// (the "fancy" upsampling of the Independent JPEG Group's library, which DCMTK
// uses); other proportions are repeated.
func (f *dctFrame[S]) upsample(row []S, p *plane[S], c component, y int) {
	if 2*c.h == f.maxH && p.columns > 2 {
		switch {
		case c.v == f.maxV:
			widen(row, p.samples[y*p.stride:][:p.columns])
			return
		case 2*c.v == f.maxV:
			near := y / 2
			far := near - 1 // the other row that lies beside it
			if y%2 == 1 {
				far = near + 1
			}
			far = max(0, min(far, p.rows-1))
			widenBoth(row, p.samples[near*p.stride:][:p.columns], p.samples[far*p.stride:][:p.columns])
			return
		}
	}
	from := p.samples[y*c.v/f.maxV*p.stride:][:p.stride]
	for x := range f.header.Columns {
		row[x] = from[x*c.h/f.maxH]
	}
}

// widen makes two samples of each.
func widen[S sample](row, from []S) {
	last := len(from) - 1
	for x := range from {
		v := 3 * int(from[x])
		row[2*x] = S((v + int(from[max(x-1, 0)]) + 1) >> 2)
		row[2*x+1] = S((v + int(from[min(x+1, last)]) + 2) >> 2)
	}
}

// widenBoth makes two samples of each, three parts of them from the row near.
func widenBoth[S sample](row, near, far []S) {
	last := len(near) - 1
	sum := func(x int) int { return 3*int(near[x]) + int(far[x]) }
	before, this := sum(0), sum(0)
	for x := range near {
		after := sum(min(x+1, last))
		row[2*x] = S((3*this + before + 8) >> 4)
		row[2*x+1] = S((3*this + after + 7) >> 4)
		before, this = this, after
	}
}
