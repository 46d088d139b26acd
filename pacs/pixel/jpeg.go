package pixel

import (
	"context"
	"errors"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/jpeg"
)

// Retired transfer syntaxes that are still decoded.
const (
	jpegSpectralSelection = "1.2.840.10008.1.2.4.53" // processes 6 and 8
	jpegFullProgression   = "1.2.840.10008.1.2.4.55" // processes 10 and 12
)

// decodeJPEG decodes all processes that package jpeg does: the stream says which
// one it is, not the transfer syntax. Colour of lossy streams becomes RGB.
//
// Where stream and attributes contradict one another about colour, what the
// stream says explicitly is believed, PS3.5 8.2.1: a JFIF or Adobe segment,
// components named R, G and B, or chroma with fewer samples. Whoever wrote
// PhotometricInterpretation RGB over a JFIF stream took it from the picture that
// was compressed. A stream that says nothing is what the attribute says. Without
// loss nothing is converted, and the attribute alone counts.
func decodeJPEG(_ context.Context, _ *Codecs, f Format, coded []byte) (Frame, error) {
	h, err := jpeg.DecodeHeader(coded)
	if err != nil {
		return Frame{}, jpegError(err)
	}
	s := samples{Columns: h.Columns, Rows: h.Rows, Components: h.Components, Bits: h.Precision}
	if err := f.matches(s); err != nil {
		return Frame{}, err
	}
	im, err := jpeg.Decode(coded, jpeg.Limits{Size: h.Size()})
	if err != nil {
		return Frame{}, jpegError(err)
	}
	if h.Components == 3 && h.Process != jpeg.Lossless {
		if h.Colour == jpeg.YCbCr || h.Colour == jpeg.Unspecified && f.Photometric != RGB {
			im.ToRGB()
		}
		f.Photometric = RGB
	}
	s.Pixels = im.Pixels
	return f.decoded(s, false)
}

func jpegError(err error) error {
	if errors.Is(err, jpeg.ErrUnsupported) {
		return pacs.Wrap(pacs.Unsupported, err, "A frame is JPEG of a kind that is not decoded")
	}
	return pacs.Wrap(pacs.Invalid, err, "A JPEG frame is damaged")
}

// encodeJPEGBaseline compresses with loss, colour as YBR_FULL_422.
func encodeJPEGBaseline(_ context.Context, _ *Codecs, f Frame, o EncodeOptions) ([]byte, Format, error) {
	if o.Quality == 0 {
		o.Quality = 90
	}
	switch {
	case f.Photometric == PaletteColor:
		return nil, Format{}, errPaletteLossy
	case f.BitsAllocated != 8 || f.Signed || f.FrameSize() != int64(f.Columns)*int64(f.Rows)*int64(f.Samples):
		return nil, Format{}, pacs.Errorf(pacs.Unsupported, "Baseline JPEG has no frames like this one: only unsigned samples of 8 bits")
	}
	im := f.jpeg(8)
	if f.Photometric == YBRFull {
		im.Colour = jpeg.YCbCr
	}
	coded, err := jpeg.EncodeBaseline(im, o.Quality)
	if err != nil {
		return nil, Format{}, pacs.Wrap(pacs.Unsupported, err, "Baseline JPEG has no frames like this one")
	}
	as := f.Format
	// What is lost may take samples beyond the bits that they had.
	as.BitsStored, as.HighBit = 8, 7
	if f.Samples == 3 {
		as.Photometric = YBRFull422
	}
	return coded, as, nil
}

// encodeJPEGLossless keeps all bits: selection value 1.
func encodeJPEGLossless(_ context.Context, _ *Codecs, f Frame, _ EncodeOptions) ([]byte, Format, error) {
	full := int64(f.Columns) * int64(f.Rows) * int64(f.Samples) * int64(f.BitsAllocated/8)
	if f.BitsAllocated != 8 && f.BitsAllocated != 16 || f.FrameSize() != full {
		return nil, Format{}, pacs.Errorf(pacs.Unsupported, "JPEG Lossless has no frames like this one")
	}
	bits := max(f.usedBits(), 2)
	if f.BitsAllocated == 16 {
		bits = max(bits, 9) // else decoders take samples for bytes
	}
	coded, err := jpeg.EncodeLossless(f.jpeg(bits))
	if err != nil {
		return nil, Format{}, pacs.Wrap(pacs.Unsupported, err, "JPEG Lossless has no frames like this one")
	}
	return coded, f.Format, nil
}

func (f Frame) jpeg(bits int) jpeg.Image {
	return jpeg.Image{
		Header: jpeg.Header{Columns: f.Columns, Rows: f.Rows, Components: f.Samples, Precision: bits},
		Pixels: f.Pixels,
	}
}
