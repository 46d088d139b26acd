package pixel

import (
	"context"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// Codecs decode and encode single frames. Safe for concurrent use.
type Codecs struct {
	// Worker runs the codecs that are written in C; nil for none.
	Worker *Worker
}

// Decodes says whether frames in a transfer syntax can be decoded by this build.
func (c *Codecs) Decodes(transferSyntax string) bool {
	ts, known := dicom.LookupTransferSyntax(transferSyntax)
	switch {
	case !known:
		return false
	case !ts.Encapsulated:
		return !ts.Video && !ts.BigEndian
	}
	return transferSyntax == dicom.JPEGLSLossless && Available && c.Worker != nil
}

// Decode decodes one frame of an instance whose attributes say f. coded are the
// fragments of the frame one after another, or a native frame in the byte order
// of its transfer syntax. It is bounded by f: a stream that declares another
// picture than f is an error before anything is allocated for it.
//
//	Unsupported  the transfer syntax or this kind of frame is not decoded
//	Invalid      the bytes are damaged
//	Unavailable  the codec died or took too long; may be repeated
func (c *Codecs) Decode(ctx context.Context, transferSyntax string, f Format, coded []byte) (Frame, error) {
	if err := f.check(); err != nil {
		return Frame{}, err
	}
	if !c.Decodes(transferSyntax) {
		return Frame{}, pacs.Errorf(pacs.Unsupported, "Pixel data in %s can't be decoded", transferSyntax)
	}
	if transferSyntax == dicom.JPEGLSLossless {
		im, err := c.Worker.DecodeJPEGLS(ctx, coded)
		if err != nil {
			return Frame{}, err
		}
		if im.Rows != f.Rows || im.Columns != f.Columns || im.Components != f.Samples || int64(len(im.Pixels)) != f.FrameSize() {
			return Frame{}, pacs.Errorf(pacs.Invalid, "A frame is %d by %d with %d samples of %d bits, which is not what the attributes say", im.Columns, im.Rows, im.Components, im.Bits)
		}
		f.Planar = false
		return Frame{f, im.Pixels}, nil
	}
	if int64(len(coded)) < f.FrameSize() {
		return Frame{}, pacs.Errorf(pacs.Invalid, "A frame has %d bytes instead of %d", len(coded), f.FrameSize())
	}
	return Frame{f, coded[:f.FrameSize()]}, nil
}
