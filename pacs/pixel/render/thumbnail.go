package render

import (
	"bytes"
	"context"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/pixel"
)

// Thumbnail is a small JPEG, at most size pixels wide and high, of frame number
// (counted from 1) of an instance with header h; coded is as pixel.Codecs.Decode
// takes it. Load should have been called with h.Dataset.
//
//	Unsupported  there can be no picture: no codec, no such kind of pixels
//	Invalid      the frame is damaged
//	Unavailable  the codec died or took too long; may be repeated
func Thumbnail(ctx context.Context, codecs *pixel.Codecs, h *dicom.Header, number int, coded []byte, size int) ([]byte, error) {
	if size < 1 || size > MaxSide {
		return nil, pacs.Errorf(pacs.Invalid, "A thumbnail has between 1 and %d pixels.", MaxSide)
	}
	frame, err := Decode(ctx, codecs, h.TransferSyntax, h.Dataset, coded)
	if err != nil {
		return nil, err
	}
	im, err := Picture(ctx, frame, number, h.Dataset, Parameters{Width: size, Height: size, Shrink: true})
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = EncodeJPEG(&b, im, 80, nil)
	return b.Bytes(), err
}

// Representative is the frame, counted from 1, that stands for all of an instance:
// the one it names (0028,6010), else the middle one.
func Representative(ds *dicom.Dataset, frames int) int {
	if n, ok := ds.Int(dicom.TagRepresentativeFrameNumber); ok && n >= 1 && n <= frames {
		return n
	}
	return max(1, (frames+1)/2)
}
