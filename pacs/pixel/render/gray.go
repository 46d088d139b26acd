package render

import (
	"context"
	"encoding/binary"
	"image"
	"math"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/pixel"
)

// modality maps stored values to those of the modality, PS3.3 C.11.1.
type modality struct {
	slope, intercept float64
	lut              *lut
}

func (m modality) at(v float64) float64 {
	if m.lut != nil {
		return float64(m.lut.at(rounded(v)))
	}
	return v*m.slope + m.intercept
}

// trivial says whether m changes nothing.
func (m modality) trivial() bool { return m.lut == nil && m.slope == 1 && m.intercept == 0 }

// modalityOf reads the modality LUT module or macro from ds.
func modalityOf(ds *dicom.Dataset, signed bool) (modality, error) {
	m := modality{slope: 1}
	if item := ds.Item(dicom.TagModalityLUTSequence); item != nil {
		var err error
		if m.lut, err = lutOf(item, dicom.TagLUTDescriptor, dicom.TagLUTData, signed); err != nil || m.lut != nil {
			return m, err
		}
	}
	if s := floats(ds, dicom.TagRescaleSlope); len(s) > 0 && s[0] != 0 {
		m.slope = s[0]
	}
	if i := floats(ds, dicom.TagRescaleIntercept); len(i) > 0 {
		m.intercept = i[0]
	}
	return m, nil
}

// X-ray angiography and fluoroscopy, whose modality transformation leads away
// from what is displayed when the values are logarithmic or for display
// (PS3.3 C.8.7.1.1.2).
var forDisplay = map[string]bool{
	"1.2.840.10008.5.1.4.1.1.12.1": true,
	"1.2.840.10008.5.1.4.1.1.12.2": true,
}

// modality of the instance itself.
func (a attributes) modality(signed bool) (modality, error) {
	if forDisplay[a.String(dicom.TagSOPClassUID)] {
		if r := a.String(dicom.TagPixelIntensityRelationship); r == "LOG" || r == "DISP" {
			return modality{slope: 1}, nil
		}
	}
	if g := a.group(dicom.TagPixelValueTransformationSequence); g != nil {
		return modalityOf(g, signed)
	}
	return modalityOf(a.Dataset, signed)
}

// padding says which stored values are no picture, PS3.3 C.7.5.1.1.2.
type padding struct {
	is       bool
	from, to float64
}

func (p padding) has(v float64) bool { return p.is && v >= p.from && v <= p.to }

func (a attributes) padding(floating bool) padding {
	value, limit := dicom.TagPixelPaddingValue, dicom.TagPixelPaddingRangeLimit
	if floating {
		value, limit = dicom.TagFloatPixelPaddingValue, dicom.TagFloatPixelPaddingRangeLimit
		if a.Has(dicom.TagDoubleFloatPixelPaddingValue) {
			value, limit = dicom.TagDoubleFloatPixelPaddingValue, dicom.TagDoubleFloatPixelPaddingRangeLimit
		}
	}
	v, ok := a.Float(value)
	if !ok {
		return padding{}
	}
	p := padding{true, v, v}
	if l, ok := a.Float(limit); ok {
		p.from, p.to = min(v, l), max(v, l)
	}
	return p
}

// grayscale is what becomes of the values of a gray frame.
type grayscale struct {
	modality modality
	voi      voi  // nil for the range of the frame
	full     bool // voi is the range of all values that samples can have
	padding  padding
	// presentation, when there is one, maps what voi gives, PS3.3 C.11.4.
	presentation *lut
	invert       bool
}

// gray decides how the values of a frame are shown.
func (a attributes) gray(f pixel.Format, floating bool, st *state, p Parameters) (grayscale, error) {
	g := grayscale{padding: a.padding(floating), invert: f.Photometric == pixel.Monochrome1}
	var err error
	if st == nil {
		if g.modality, err = a.modality(f.Signed); err != nil {
			return g, err
		}
		ds := a.group(dicom.TagFrameVOILUTSequence)
		if ds == nil {
			ds = a.Dataset
		}
		if g.voi, err = voiOf(ds, p.VOI); err != nil {
			return g, err
		}
		g.full = g.voi == nil && f.BitsStored <= 8 && g.modality.trivial() && !floating
		g.invert = g.invert || a.String(dicom.TagPresentationLUTShape) == "INVERSE"
	} else {
		// The presentation state stands for all that the image says of these,
		// PS3.4 N.2.1: what it does not have is no transformation.
		if g.modality, err = modalityOf(st.Dataset, f.Signed); err != nil {
			return g, err
		}
		if g.voi, err = voiOf(st.voi, p.VOI); err != nil {
			return g, err
		}
		g.full = g.voi == nil && !floating
		g.invert = st.String(dicom.TagPresentationLUTShape) == "INVERSE"
		if item := st.Item(dicom.TagPresentationLUTSequence); item != nil {
			if g.presentation, err = lutOf(item, dicom.TagLUTDescriptor, dicom.TagLUTData, false); err != nil {
				return g, err
			}
			g.invert = g.invert && g.presentation == nil
		}
	}
	if p.Window != nil {
		g.voi, g.full = p.Window.mapping(), false
	}
	if p.Invert {
		g.invert = !g.invert
	}
	return g, nil
}

// level is the gray level of a modality value.
func (g *grayscale) level(v float64) uint8 {
	y := g.voi(v)
	if l := g.presentation; l != nil {
		y = float64(l.at(l.first+rounded(y*float64(len(l.values)-1)))) / l.top()
	}
	if g.invert {
		y = 1 - y
	}
	return uint8(y*255 + 0.5)
}

// samples reads the stored values of a frame.
type samples struct {
	pixel.Format
	pixels   []byte
	floating bool
}

// stored is the value whose bits are raw.
func (s *samples) stored(raw uint64) float64 {
	raw >>= s.HighBit + 1 - s.BitsStored
	if s.BitsStored < 64 {
		raw &= 1<<s.BitsStored - 1
	}
	if s.Signed {
		shift := 64 - s.BitsStored
		return float64(int64(raw<<shift) >> shift)
	}
	return float64(raw)
}

// value is sample i.
func (s *samples) value(i int) float64 {
	switch {
	case s.floating && s.BitsAllocated == 32:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(s.pixels[4*i:])))
	case s.floating:
		return math.Float64frombits(binary.LittleEndian.Uint64(s.pixels[8*i:]))
	}
	return s.stored(s.raw(i))
}

// raw are the allocated bits of sample i.
func (s *samples) raw(i int) uint64 {
	switch s.BitsAllocated {
	case 1:
		return uint64(s.pixels[i/8] >> (i % 8) & 1)
	case 8:
		return uint64(s.pixels[i])
	case 16:
		return uint64(binary.LittleEndian.Uint16(s.pixels[2*i:]))
	case 32:
		return uint64(binary.LittleEndian.Uint32(s.pixels[4*i:]))
	}
	return binary.LittleEndian.Uint64(s.pixels[8*i:])
}

// finish gives g a range where it has no window.
func (g *grayscale) finish(ctx context.Context, s *samples) error {
	if g.voi != nil {
		return nil
	}
	if g.full {
		low, high := 0.0, math.Exp2(float64(s.BitsStored))-1
		if s.Signed {
			low, high = -math.Exp2(float64(s.BitsStored-1)), math.Exp2(float64(s.BitsStored-1))-1
		}
		if l := g.modality.lut; l != nil {
			g.voi = between(0, l.top())
		} else {
			g.voi = between(g.modality.at(low), g.modality.at(high))
		}
		return nil
	}
	low, high := math.Inf(1), math.Inf(-1)
	add := func(stored float64) {
		if g.padding.has(stored) {
			return
		}
		if v := g.modality.at(stored); v >= -math.MaxFloat64 && v <= math.MaxFloat64 {
			low, high = min(low, v), max(high, v)
		}
	}
	if n := s.Columns * s.Rows; s.BitsAllocated == 8 || s.BitsAllocated == 16 {
		var seen [1 << 16]bool
		if s.BitsAllocated == 8 {
			for _, b := range s.pixels[:n] {
				seen[b] = true
			}
		} else {
			for p := s.pixels[:2*n]; len(p) >= 2; p = p[2:] {
				seen[uint16(p[0])|uint16(p[1])<<8] = true
			}
		}
		for raw := range seen {
			if seen[raw] {
				add(s.stored(uint64(raw)))
			}
		}
	} else {
		for i := range n {
			if i&0xFFFF == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			add(s.value(i))
		}
	}
	if low > high {
		low, high = 0, 0
	}
	g.voi = between(low, high)
	return nil
}

// grayPicture maps a gray frame.
func grayPicture(ctx context.Context, s *samples, g grayscale) (*image.Gray, error) {
	if err := g.finish(ctx, s); err != nil {
		return nil, err
	}
	n := s.Columns * s.Rows
	if need := (int64(n)*int64(s.BitsAllocated) + 7) / 8; int64(len(s.pixels)) < need {
		return nil, pacs.Errorf(pacs.Invalid, "A frame has %d bytes instead of %d.", len(s.pixels), need)
	}
	im := image.NewGray(image.Rect(0, 0, s.Columns, s.Rows))
	level := func(stored float64) uint8 {
		if g.padding.has(stored) {
			return 0
		}
		return g.level(g.modality.at(stored))
	}
	if s.BitsAllocated > 16 {
		for i := range im.Pix {
			if i&0xFFFF == 0 && ctx.Err() != nil {
				return nil, ctx.Err()
			}
			im.Pix[i] = level(s.value(i))
		}
		return im, nil
	}
	// One table for everything, as long as samples are, filled where they are: of
	// 65,536 values few are in a frame.
	const known = 1 << 8
	var table [1 << 16]uint16
	shift, mask := s.HighBit+1-s.BitsStored, uint16(1<<s.BitsStored-1)
	look := func(v uint16) uint8 {
		table[v] = known | uint16(level(s.stored(uint64(v)<<shift)))
		return uint8(table[v])
	}
	switch s.BitsAllocated {
	case 1:
		levels := [2]uint8{look(0), look(1)}
		for i := range im.Pix {
			im.Pix[i] = levels[s.pixels[i/8]>>(i%8)&1]
		}
	case 8:
		for i, b := range s.pixels[:n] {
			v := uint16(b) >> shift & mask
			if im.Pix[i] = uint8(table[v]); table[v] == 0 {
				im.Pix[i] = look(v)
			}
		}
	case 16:
		p := s.pixels[:2*n]
		for i := range im.Pix {
			v := (uint16(p[2*i]) | uint16(p[2*i+1])<<8) >> shift & mask
			if im.Pix[i] = uint8(table[v]); table[v] == 0 {
				im.Pix[i] = look(v)
			}
		}
	}
	return im, ctx.Err()
}
