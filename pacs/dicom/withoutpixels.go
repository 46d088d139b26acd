package dicom

import (
	"cmp"
	"io"
	"maps"
	"slices"
)

// pixelGroup is the group of pixel data and of what belongs to it.
const pixelGroup = 0x7FE0

// WithoutPixels reads the header of a stored instance of size bytes and
// prepares it for being read without pictures. It ends where group 7FE0 of the
// data set itself begins. Before that, Icon Image Sequences (0088,0200) are left
// out, which without their pixel data would not be valid, and of other
// sequences what is of group 7FE0 in them. All else is the same byte for byte,
// but for the lengths around what is left out and group lengths of groups that
// have changed, which are left out; a deflated data set is deflated anew.
//
// moved says that something before the end was left out, so that what is behind
// it is at another place than before. Errors are those of Scan; a data set
// without group 7FE0 is Malformed.
func WithoutPixels(r io.Reader, size int64, opt ScanOptions) (a *Amended, moved bool, err error) {
	t := &trace{}
	h, err := scan(r, opt, t)
	if err != nil {
		return nil, false, err
	}
	end := h.PixelGroup
	if end == 0 && t.stops {
		end = t.rest
	}
	if end == 0 {
		return nil, false, &ScanError{Kind: Malformed, Tag: TagPixelData, Offset: t.rest, Msg: "there is no pixel data"}
	}
	a = &Amended{size: size, dataset: h.DatasetOffset, deflated: h.Deflated, limit: opt.withDefaults().MaxInflated}
	m := &amendment{trace: t, ds: h.Dataset, deltas: map[int64]*lengthDelta{}, changed: map[uint16]bool{}}
	m.leaveOut(t.pictures)
	edits := m.finish()
	return a, len(edits) > 0, a.assemble(edits, end)
}

// leaveOut takes pictures out, and what is left without a meaning by that.
func (a *amendment) leaveOut(pictures []picture) {
	slices.SortFunc(pictures, func(x, y picture) int {
		return cmp.Or(cmp.Compare(x.start, y.start), cmp.Compare(y.end, x.end))
	})
	done := int64(0)
	for _, p := range pictures {
		if p.start < done {
			continue // within the one before
		}
		i, found := slices.BinarySearchFunc(a.top, p.start, func(e element, start int64) int { return cmp.Compare(e.start, start) })
		if !found {
			i--
		}
		if !a.fits(p) {
			// A length around it is wrong as it is, and would be less than
			// nothing: all of the sequence goes.
			p = picture{element: a.top[i]}
			a.edits = slices.DeleteFunc(a.edits, func(e edit) bool { return e.start >= p.start })
			maps.DeleteFunc(a.deltas, func(at int64, _ *lengthDelta) bool { return at >= p.start })
		}
		a.changed[a.ds.Elements[i].Tag.Group()] = true
		a.edits = append(a.edits, edit{start: p.start, end: p.end})
		for _, f := range p.lengths {
			a.grow(a.lengths[f], p.start-p.end)
		}
		done = p.end
	}
}

// fits tells whether the lengths around a picture cover it.
func (a *amendment) fits(p picture) bool {
	for _, f := range p.lengths {
		by := p.start - p.end
		if d := a.deltas[a.lengths[f].at]; d != nil {
			by += d.by
		}
		if int64(a.lengths[f].length)+by < 0 {
			return false
		}
	}
	return true
}
