package pixel

import (
	"context"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/charls"
)

// Available says whether this build has the codec that a Compressor needs.
const Available = charls.Available

func decodeJPEGLS(ctx context.Context, c *Codecs, f Format, coded []byte) (Frame, error) {
	if f.BitsAllocated != 8 && f.BitsAllocated != 16 {
		return Frame{}, pacs.Errorf(pacs.Unsupported, "JPEG-LS has no samples of %d bits", f.BitsAllocated)
	}
	s, err := c.Worker.do(ctx, message{operation: opDecodeJPEGLS, samples: f.expected(coded)})
	if err != nil {
		return Frame{}, err
	}
	return f.decoded(s, false)
}

func encodeJPEGLS(ctx context.Context, c *Codecs, f Frame, _ EncodeOptions) ([]byte, Format, error) {
	return c.encodeJPEGLS(ctx, f, 0)
}

func encodeJPEGLSNear(ctx context.Context, c *Codecs, f Frame, o EncodeOptions) ([]byte, Format, error) {
	if o.Near == 0 {
		o.Near = 2
	}
	if f.Photometric == PaletteColor {
		return nil, Format{}, errPaletteLossy
	}
	return c.encodeJPEGLS(ctx, f, o.Near)
}

var errPaletteLossy error = pacs.Errorf(pacs.Unsupported, "Indices of a palette can't be compressed with loss")

func (c *Codecs) encodeJPEGLS(ctx context.Context, f Frame, near int) ([]byte, Format, error) {
	full := int64(f.Columns) * int64(f.Rows) * int64(f.Samples) * int64(f.BitsAllocated/8)
	if f.BitsAllocated != 8 && f.BitsAllocated != 16 || f.FrameSize() != full || f.Columns > 65535 || f.Rows > 65535 {
		return nil, Format{}, pacs.Errorf(pacs.Unsupported, "JPEG-LS has no frames like this one")
	}
	bits := max(f.usedBits(), 2)
	if f.BitsAllocated == 16 {
		bits = max(bits, 9) // else the codec takes samples for bytes
	}
	s, err := c.Worker.do(ctx, message{operation: opEncodeJPEGLS, parameter: uint32(near), samples: samples{
		Columns: f.Columns, Rows: f.Rows, Components: f.Samples, Bits: bits, Pixels: f.Pixels,
	}})
	return s.Pixels, f.Format, err
}
