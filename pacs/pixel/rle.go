package pixel

import (
	"context"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/rle"
)

func (f Format) rle() rle.Layout {
	return rle.Layout{Columns: f.Columns, Rows: f.Rows, Samples: f.Samples, Bits: f.BitsAllocated}
}

// decodeRLE gives colour by pixel, whatever Planar Configuration says.
func decodeRLE(_ context.Context, _ *Codecs, f Format, coded []byte) (Frame, error) {
	f.Planar = false
	switch f.Photometric {
	case YBRFull422, YBRPartial422:
		f.Photometric = YBRFull // RLE has all samples of each plane, PS3.5 8.2.2
	}
	if f.FrameSize() > maxFrame {
		return Frame{}, pacs.Errorf(pacs.Unsupported, "A frame of %d bytes is too large to be read at once", f.FrameSize())
	}
	pixels, err := rle.Decode(coded, f.rle())
	if err != nil {
		return Frame{}, pacs.Wrap(pacs.Invalid, err, "An RLE frame is damaged")
	}
	return Frame{f, pixels}, nil
}

func encodeRLE(_ context.Context, _ *Codecs, f Frame, _ EncodeOptions) ([]byte, Format, error) {
	coded, err := rle.Encode(f.Pixels, f.rle())
	if err != nil {
		return nil, Format{}, pacs.Wrap(pacs.Unsupported, err, "RLE has no frames like this one")
	}
	return coded, f.Format, nil
}
