package pixel

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"io"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// decodeNative gives a frame as it is: little endian.
func decodeNative(_ context.Context, _ *Codecs, f Format, coded []byte) (Frame, error) {
	f = f.really(len(coded))
	size := f.FrameSize()
	if int64(len(coded)) < size {
		return Frame{}, pacs.Errorf(pacs.Invalid, "A frame has %d bytes instead of %d", len(coded), size)
	}
	return Frame{f, coded[:size]}, nil
}

// really sees through those who write three samples for every pixel and call it
// YBR_FULL_422; dicom.Header.Frames does too.
func (f Format) really(bytes int) Format {
	full := f
	full.Photometric = YBRFull
	if f.FrameSize() < full.FrameSize() && int64(bytes) >= full.FrameSize() {
		return full
	}
	return f
}

// encodeNative is decodeNative backwards.
func encodeNative(_ context.Context, _ *Codecs, f Frame, _ EncodeOptions) ([]byte, Format, error) {
	return f.Pixels, f.Format, nil
}

// decodeBigEndian turns the bytes of each sample round. Samples of 8 bits and
// fewer are not touched where they are bytes, but come in pairs turned round
// where they are written as words: PS3.5 8.1.1 and Annex D.
func decodeBigEndian(ctx context.Context, c *Codecs, f Format, coded []byte) (Frame, error) {
	frame, err := decodeNative(ctx, c, f, coded)
	if err != nil {
		return frame, err
	}
	unit := f.BitsAllocated / 8
	if unit <= 1 {
		if !f.Words {
			return frame, nil
		}
		unit = 2
		if len(frame.Pixels)%2 != 0 { // the byte that comes last is behind its neighbour's
			if len(coded) == len(frame.Pixels) {
				return Frame{}, pacs.Errorf(pacs.Unsupported, "Frames of an odd number of bytes can't be read from words in big endian")
			}
			frame.Pixels = coded[:len(frame.Pixels)+1]
		}
	}
	turned := make([]byte, len(frame.Pixels))
	for at := 0; at+unit <= len(turned); at += unit {
		for i := range unit {
			turned[at+i] = frame.Pixels[at+unit-1-i]
		}
	}
	frame.Pixels = turned[:frame.FrameSize()]
	return frame, nil
}

// decodeDeflated inflates a frame: Deflated Image Frame Compression, PS3.5 A.4.13.
func decodeDeflated(ctx context.Context, c *Codecs, f Format, coded []byte) (Frame, error) {
	full := f
	if full.Photometric == YBRFull422 || full.Photometric == YBRPartial422 {
		full.Photometric = YBRFull
	}
	r := flate.NewReader(bytes.NewReader(coded))
	plain, err := io.ReadAll(io.LimitReader(r, full.FrameSize()))
	if err != nil && !(errors.Is(err, io.ErrUnexpectedEOF) && int64(len(plain)) >= f.FrameSize()) {
		return Frame{}, pacs.Wrap(pacs.Invalid, err, "A deflated frame is damaged")
	}
	return decodeNative(ctx, c, f, plain)
}
