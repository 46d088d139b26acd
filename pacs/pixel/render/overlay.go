package render

import (
	"image"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// overlay is one bit per pixel of an overlay plane, PS3.3 C.9.2, for one frame.
type overlay struct {
	columns, rows int
	x, y          int // of its upper left pixel in the image, from 0; may be negative
	set           func(i int) bool
}

// The tags of the first overlay group; others are 2 further each.
const (
	tagOverlayRows        dicom.Tag = 0x60000010
	tagOverlayColumns     dicom.Tag = 0x60000011
	tagOverlayFrames      dicom.Tag = 0x60000015
	tagOverlayOrigin      dicom.Tag = 0x60000050
	tagImageFrameOrigin   dicom.Tag = 0x60000051
	tagOverlayBits        dicom.Tag = 0x60000100
	tagOverlayBitPosition dicom.Tag = 0x60000102
	tagOverlayActivation  dicom.Tag = 0x60001001
	tagOverlayData        dicom.Tag = 0x60003000
	overlayGroups                   = 16
)

// overlayOf reads overlay group (0 … 15, for 6000 … 601E) of ds for a frame; nil
// when there is none. s are the pixels of the image, in whose unused bits it may
// lie; nil for an overlay of a presentation state.
func overlayOf(ds *dicom.Dataset, group, frame int, s *samples) *overlay {
	tag := func(t dicom.Tag) dicom.Tag { return t + dicom.Tag(group)<<17 }
	rows, ok1 := ds.Int(tag(tagOverlayRows))
	columns, ok2 := ds.Int(tag(tagOverlayColumns))
	e, hasData := ds.Get(tag(tagOverlayData))
	if bit, ok := ds.Int(tag(tagOverlayBitPosition)); ok && s != nil && !hasData {
		// Embedded (retired): the bit of each pixel.
		if allocated, _ := ds.Int(tag(tagOverlayBits)); allocated != s.BitsAllocated || allocated < 8 || s.Samples != 1 ||
			bit < 0 || bit >= allocated || bit <= s.HighBit && bit > s.HighBit-s.BitsStored {
			return nil
		}
		return &overlay{s.Columns, s.Rows, 0, 0, func(i int) bool { return s.raw(i)>>bit&1 != 0 }}
	}
	if !ok1 || !ok2 || !hasData || rows < 1 || columns < 1 || rows > 1<<16 || columns > 1<<16 || len(e.Value) == 0 {
		return nil
	}
	o := &overlay{columns: columns, rows: rows}
	if origin := floats(ds, tag(tagOverlayOrigin)); len(origin) == 2 {
		o.y, o.x = rounded(origin[0])-1, rounded(origin[1])-1
	}
	// Overlay frame 1 is for image frame Image Frame Origin, and so on.
	first := 1
	if n, ok := ds.Int(tag(tagImageFrameOrigin)); ok {
		first = n
	}
	frames := 1
	if n, ok := ds.Int(tag(tagOverlayFrames)); ok && n > 0 {
		frames = n
	}
	index := frame - first
	if frames == 1 && first <= 1 && !ds.Has(tag(tagImageFrameOrigin)) {
		index = 0 // one for all
	}
	if index < 0 || index >= frames {
		return nil
	}
	data := octets(ds, e)
	begin := int64(index) * int64(rows) * int64(columns)
	o.set = func(i int) bool {
		at := begin + int64(i)
		return at/8 < int64(len(data)) && data[at/8]>>(at%8)&1 != 0
	}
	return o
}

// overlaysOf are the overlays that an image shows by itself.
func (a attributes) overlays(frame int, s *samples) (all []*overlay) {
	for group := range overlayGroups {
		if o := overlayOf(a.Dataset, group, frame, s); o != nil {
			all = append(all, o)
		}
	}
	return all
}

// each calls f for the pixels of the picture that are set.
func (o *overlay) each(r image.Rectangle, f func(x, y int)) {
	for y := max(0, r.Min.Y-o.y); y < o.rows && o.y+y < r.Max.Y; y++ {
		for x := max(0, r.Min.X-o.x); x < o.columns && o.x+x < r.Max.X; x++ {
			if o.set(y*o.columns + x) {
				f(o.x+x, o.y+y)
			}
		}
	}
}
