package pixel

import (
	"context"
	"errors"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/openjpeg"
)

func decodeJPEG2000(ctx context.Context, c *Codecs, f Format, coded []byte) (Frame, error) {
	h, err := openjpeg.ReadHeader(coded)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return Frame{}, pacs.Wrap(pacs.Unsupported, err, "JPEG 2000 of this kind can't be read")
	case err != nil:
		return Frame{}, pacs.Wrap(pacs.Invalid, err, "A JPEG 2000 frame can't be read")
	}
	if err := f.matches(samples{Columns: h.Columns, Rows: h.Rows, Components: h.Components, Bits: h.Bits}); err != nil {
		return Frame{}, err
	}
	s, err := c.Worker.do(ctx, message{operation: opDecodeJPEG2000, samples: f.expected(coded)})
	if err != nil {
		return Frame{}, err
	}
	if h.Transformed || f.Photometric == YBRIrreversible || f.Photometric == YBRReversible {
		f.Photometric = RGB // decoding has turned the transformation back
	}
	return f.decoded(s, true)
}

func encodeJPEG2000(ctx context.Context, c *Codecs, f Frame, _ EncodeOptions) ([]byte, Format, error) {
	return c.encodeJPEG2000(ctx, f, 0, YBRReversible)
}

func encodeJPEG2000Lossy(ctx context.Context, c *Codecs, f Frame, o EncodeOptions) ([]byte, Format, error) {
	if o.Ratio == 0 {
		o.Ratio = 10
	}
	switch {
	case f.Photometric == PaletteColor:
		return nil, Format{}, errPaletteLossy
	case o.Ratio < 1 || o.Ratio > 1000:
		return nil, Format{}, pacs.Errorf(pacs.Invalid, "A compression ratio of %g is not between 1 and 1000", o.Ratio)
	}
	return c.encodeJPEG2000(ctx, f, o.Ratio, YBRIrreversible)
}

// encodeJPEG2000 calls the photometric interpretation of what was RGB as it has
// been transformed: PS3.5 8.2.4.
func (c *Codecs) encodeJPEG2000(ctx context.Context, f Frame, ratio float64, as string) ([]byte, Format, error) {
	full := int64(f.Columns) * int64(f.Rows) * int64(f.Samples) * int64(f.BitsAllocated/8)
	if f.BitsAllocated < 8 || f.BitsAllocated > 32 || f.FrameSize() != full {
		return nil, Format{}, pacs.Errorf(pacs.Unsupported, "JPEG 2000 has no frames like this one")
	}
	m := message{operation: opEncodeJPEG2000, parameter: uint32(ratio * 1000), samples: samples{
		Columns: f.Columns, Rows: f.Rows, Components: f.Samples, Signed: f.Signed, Pixels: f.Pixels,
	}}
	switch {
	case f.Signed:
		m.Bits = f.signedBits()
	case f.BitsAllocated <= 16:
		m.Bits = f.usedBits()
	default:
		m.Bits = f.BitsStored
	}
	if m.Bits > 31 || m.sampleBytes() != f.BitsAllocated/8 {
		// The codec goes by bits: 12 of 16 are fine, 8 of 16 would be bytes.
		if m.Bits = f.BitsAllocated; m.Bits > 31 {
			return nil, Format{}, pacs.Errorf(pacs.Unsupported, "JPEG 2000 has no samples of %d bits here", m.Bits)
		}
	}
	if f.Samples == 3 && f.Photometric == RGB {
		m.parameter |= transformed
		f.Photometric = as
	}
	s, err := c.Worker.do(ctx, m)
	return s.Pixels, f.Format, err
}
