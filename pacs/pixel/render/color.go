package render

import (
	"context"
	"image"
	"math"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/pixel"
)

// colorPicture makes RGB of a frame with a palette or three samples per pixel.
func colorPicture(ctx context.Context, s *samples, a attributes, invert bool) (*image.RGBA, error) {
	im := image.NewRGBA(image.Rect(0, 0, s.Columns, s.Rows))
	var err error
	switch {
	case s.Photometric == pixel.PaletteColor:
		err = s.palette(ctx, im, a)
	case s.Samples != 3 || s.floating || s.BitsAllocated == 1:
		err = pacs.Errorf(pacs.Unsupported, "A picture of %d samples per pixel in %s can't be made.", s.Samples, s.Photometric)
	default:
		err = s.color(ctx, im)
	}
	if err == nil && invert {
		for i := 0; i < len(im.Pix); i += 4 {
			im.Pix[i], im.Pix[i+1], im.Pix[i+2] = 255-im.Pix[i], 255-im.Pix[i+1], 255-im.Pix[i+2]
		}
	}
	return im, err
}

// paletteOf reads the palettes of red, green and blue, PS3.3 C.7.6.3.1.5 and
// C.7.9.
func paletteOf(ds *dicom.Dataset, signed bool) (palette [3]*lut, err error) {
	for c := range palette {
		descriptor := dicom.TagRedPaletteColorLookupTableDescriptor + dicom.Tag(c)
		data, segmented := dicom.TagRedPaletteColorLookupTableData+dicom.Tag(c), dicom.TagSegmentedRedPaletteColorLookupTableData+dicom.Tag(c)
		l, err := lutOf(ds, descriptor, data, signed)
		if l == nil && err == nil {
			l, err = segmentedLUT(ds, descriptor, segmented, signed)
		}
		if err != nil {
			return palette, err
		}
		if l == nil {
			return palette, pacs.Errorf(pacs.Unsupported, "The image refers to a palette that it does not have.")
		}
		palette[c] = l
	}
	// Some write entries of 8 bits and say that they have 16.
	top := uint16(0)
	for _, l := range palette {
		for _, v := range l.values {
			top = max(top, v)
		}
	}
	for _, l := range palette {
		switch {
		case top == 0:
		case top <= 255:
			l.bits = 8
		default:
			l.bits = 16
		}
	}
	return palette, nil
}

func (s *samples) palette(ctx context.Context, im *image.RGBA, a attributes) error {
	palette, err := paletteOf(a.Dataset, s.Signed)
	if err != nil {
		return err
	}
	if s.Samples != 1 || s.BitsAllocated > 16 {
		return pacs.Errorf(pacs.Unsupported, "A palette for %d samples of %d bits is not of the standard.", s.Samples, s.BitsAllocated)
	}
	var table [1 << 16][3]uint8
	for raw := range 1 << s.BitsStored {
		v := int(s.stored(uint64(raw) << (s.HighBit + 1 - s.BitsStored)))
		for c, l := range palette {
			table[raw][c] = uint8(l.at(v) >> (l.bits - 8))
		}
	}
	shift, mask := s.HighBit+1-s.BitsStored, uint64(1)<<s.BitsStored-1
	for i := range s.Columns * s.Rows {
		if i&0xFFFF == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		rgb := &table[s.raw(i)>>shift&mask]
		im.Pix[4*i], im.Pix[4*i+1], im.Pix[4*i+2], im.Pix[4*i+3] = rgb[0], rgb[1], rgb[2], 255
	}
	return nil
}

// color converts three samples per pixel.
func (s *samples) color(ctx context.Context, im *image.RGBA) error {
	n := s.Columns * s.Rows
	convert := rgbOfYBRFull
	shared := false // two pixels share their chroma
	switch s.Photometric {
	case pixel.YBRFull:
	case pixel.YBRFull422:
		shared = true
	case pixel.YBRPartial422:
		shared, convert = true, rgbOfYBRPartial
	case pixel.YBRPartial420:
		convert = rgbOfYBRPartial
	case pixel.RGB, pixel.YBRIrreversible, pixel.YBRReversible:
		// The two transformations of JPEG 2000 are undone by its decoder, and
		// are in no other pixels.
		convert = nil
	default:
		return pacs.Errorf(pacs.Unsupported, "A picture in %s can't be made.", clip(s.Photometric))
	}
	if shared && int64(len(s.pixels)) >= int64(n)*3*int64(s.BitsAllocated/8) {
		shared = false // it says so, and doesn't do it
	}
	if shared && (s.Planar || s.Columns%2 != 0) {
		return pacs.Errorf(pacs.Unsupported, "Pixels that share their color, in an odd number of columns or by plane, can't be read.")
	}

	// Where the samples of pixel i begin, and how far apart they are.
	stride, next := 3, 1
	if s.Planar {
		stride, next = 1, n
	}
	eight := s.eight()
	for i := range n {
		if i&0xFFFF == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		var v [3]uint8
		if shared {
			pair := i / 2 * 4
			v = [3]uint8{eight(pair + i%2), eight(pair + 2), eight(pair + 3)}
		} else {
			at := i * stride
			v = [3]uint8{eight(at), eight(at + next), eight(at + 2*next)}
		}
		if convert != nil {
			v = convert(v)
		}
		im.Pix[4*i], im.Pix[4*i+1], im.Pix[4*i+2], im.Pix[4*i+3] = v[0], v[1], v[2], 255
	}
	return nil
}

// eight reads sample i in 8 bits.
func (s *samples) eight() func(i int) uint8 {
	if s.BitsAllocated == 8 && s.BitsStored == 8 && !s.Signed {
		return func(i int) uint8 { return s.pixels[i] }
	}
	low, high := 0.0, math.Exp2(float64(s.BitsStored))-1
	if s.Signed {
		low, high = -math.Exp2(float64(s.BitsStored-1)), math.Exp2(float64(s.BitsStored-1))-1
	}
	scale := 255 / (high - low)
	return func(i int) uint8 { return uint8(min(255, max(0, (s.value(i)-low)*scale+0.5))) }
}

// rgbOfYBRFull is the inverse of PS3.3 C.7.6.3.1.2 YBR_FULL.
func rgbOfYBRFull(v [3]uint8) [3]uint8 {
	y, cb, cr := int(v[0])<<16+1<<15, int(v[1])-128, int(v[2])-128
	return [3]uint8{
		limited(y + 91881*cr),            // 1.402
		limited(y - 22554*cb - 46802*cr), // 0.344136, 0.714136
		limited(y + 116130*cb),           // 1.772
	}
}

// rgbOfYBRPartial is the same for Y from 16 to 235 and Cb and Cr from 16 to 240.
func rgbOfYBRPartial(v [3]uint8) [3]uint8 {
	y, cb, cr := (int(v[0])-16)*76309+1<<15, int(v[1])-128, int(v[2])-128 // 255/219
	return [3]uint8{
		limited(y + 104597*cr),           // 1.402 · 255/224
		limited(y - 25675*cb - 53279*cr), // 0.344136 · 255/224, 0.714136 · 255/224
		limited(y + 132201*cb),           // 1.772 · 255/224
	}
}

// limited is a fixed point number with 16 bits behind the point as 0 … 255.
func limited(v int) uint8 { return uint8(min(max(v>>16, 0), 255)) }

func clip(s string) string {
	if len(s) > 20 {
		return s[:20]
	}
	return s
}
