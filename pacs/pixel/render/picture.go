package render

import (
	"context"
	"image"
	"image/draw"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/pixel"
)

// Decode decodes one frame of an instance; coded is as pixel.Codecs.Decode takes
// it, and so are the errors.
func Decode(ctx context.Context, codecs *pixel.Codecs, transferSyntax string, ds *dicom.Dataset, coded []byte) (pixel.Frame, error) {
	f, err := pixel.FormatOf(ds)
	if err != nil {
		return pixel.Frame{}, err
	}
	if ts, known := dicom.LookupTransferSyntax(transferSyntax); known && !ts.Encapsulated && f.Samples == 3 &&
		(f.Photometric == pixel.YBRFull422 || f.Photometric == pixel.YBRPartial422) {
		// Some declare that two pixels share their chroma and don't do it.
		if full := int64(f.Columns) * int64(f.Rows) * 3 * int64(f.BitsAllocated/8); int64(len(coded)) >= full {
			if f.Photometric = pixel.YBRFull; ds.String(dicom.TagPhotometricInterpretation) == pixel.YBRPartial422 {
				f.Photometric = pixel.YBRPartial420
			}
		}
	}
	return codecs.Decode(ctx, transferSyntax, f, coded)
}

// Picture makes frame number (counted from 1) of an instance with attributes ds
// visible: an *image.Gray, or an opaque *image.RGBA where there is colour.
//
//	Invalid      a parameter can't be, or the frame has too few bytes
//	Unsupported  there are no pictures of this kind
//
// It ends early with the context's error.
func Picture(ctx context.Context, f pixel.Frame, number int, ds *dicom.Dataset, p Parameters) (image.Image, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	if f.Columns < 1 || f.Rows < 1 || int64(f.Columns)*int64(f.Rows) > maxFramePixels || f.BitsStored < 1 || f.BitsStored > f.BitsAllocated ||
		f.HighBit < f.BitsStored-1 || f.HighBit >= f.BitsAllocated || f.BitsAllocated > 64 || int64(len(f.Pixels)) < f.FrameSize() {
		return nil, pacs.Errorf(pacs.Unsupported, "The frame's size and bits contradict one another.")
	}
	a := attributesOf(ds, number)
	s := &samples{Format: f.Format, pixels: f.Pixels, floating: ds.Has(dicom.TagFloatPixelData) || ds.Has(dicom.TagDoubleFloatPixelData)}
	if s.floating && s.BitsAllocated < 32 {
		return nil, pacs.Errorf(pacs.Unsupported, "Floating point samples have 32 or 64 bits, not %d.", s.BitsAllocated)
	}
	st := stateOf(p.Presentation, a, number)
	im, err := pixels(ctx, s, a, st, p)
	if err != nil {
		return nil, err
	}
	pl := placed(f.Format, a, st, p)
	if !p.NoOverlays {
		if st == nil {
			for _, o := range a.overlays(number, s) {
				o.each(im.Bounds(), func(x, y int) { setLevel(im, x, y, 255) })
			}
		} else {
			st.drawOverlays(im, a, number, s)
		}
	}
	if !p.NoShutters {
		st.closeShutters(im, a, number)
	}
	if im, err = pl.apply(ctx, im); err != nil {
		return nil, err
	}
	if st != nil {
		if im, err = st.annotate(ctx, im, pl); err != nil {
			return nil, err
		}
	}
	if len(p.Annotations) > 0 {
		writeCorner(im, p.Annotations)
	}
	return im, ctx.Err()
}

// maxFramePixels bounds what is rendered of a frame at once.
const maxFramePixels = 128 << 20

// pixels are those of the whole frame, in 8 bits.
func pixels(ctx context.Context, s *samples, a attributes, st *state, p Parameters) (draw.Image, error) {
	if s.Samples > 1 || s.Photometric == pixel.PaletteColor {
		im, err := colorPicture(ctx, s, a, p.Invert)
		if err != nil {
			return nil, err
		}
		return im, nil
	}
	g, err := a.gray(s.Format, s.floating, st, p)
	if err != nil {
		return nil, err
	}
	im, err := grayPicture(ctx, s, g)
	if err != nil {
		return nil, err
	}
	return im, nil
}

// setLevel makes a pixel gray.
func setLevel(im draw.Image, x, y int, level uint8) {
	switch im := im.(type) {
	case *image.Gray:
		im.Pix[im.PixOffset(x, y)] = level
	case *image.RGBA:
		p := im.Pix[im.PixOffset(x, y):]
		p[0], p[1], p[2], p[3] = level, level, level, 255
	}
}
