package pixel

import (
	"context"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/charls"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/openjpeg"
)

// Codecs decode and encode single frames. Safe for concurrent use.
type Codecs struct {
	// Worker runs the codecs that are written in C; nil for none.
	Worker *Worker
}

// EncodeOptions say how much may be lost where a transfer syntax loses. The zero
// value has the defaults.
type EncodeOptions struct {
	// Quality of baseline JPEG, 1 to 100. Default 90.
	Quality int
	// Near is how much a sample may change in near-lossless JPEG-LS. Default 2.
	Near int
	// Ratio is how many times smaller lossy JPEG 2000 is than the samples.
	// Default 10.
	Ratio float64
}

// codec decodes and encodes the frames of one transfer syntax.
type codec struct {
	// available says whether this build has the library for it; Codecs needs a
	// Worker for those. nil for what is written in Go.
	available *bool
	decode    func(ctx context.Context, c *Codecs, f Format, coded []byte) (Frame, error)
	// encode is nil for what is only decoded. What it gets is complete, colour by
	// pixel.
	encode func(ctx context.Context, c *Codecs, f Frame, o EncodeOptions) (coded []byte, as Format, err error)
}

var (
	hasCharls   = charls.Available
	hasOpenJPEG = openjpeg.Available
)

// codecs by transfer syntax.
var codecs = map[string]codec{
	dicom.ImplicitVRLittleEndian:         {decode: decodeNative, encode: encodeNative},
	dicom.ExplicitVRLittleEndian:         {decode: decodeNative, encode: encodeNative},
	dicom.DeflatedExplicitVRLittleEndian: {decode: decodeNative},
	dicom.EncapsulatedUncompressed:       {decode: decodeNative, encode: encodeNative},
	dicom.ExplicitVRBigEndian:            {decode: decodeBigEndian},
	gePrivateSyntax:                      {decode: decodeBigEndian},
	papyrusSyntax:                        {decode: decodeNative},
	deflatedFrameSyntax:                  {decode: decodeDeflated},

	dicom.RLELossless:       {decode: decodeRLE, encode: encodeRLE},
	dicom.JPEGBaseline8Bit:  {decode: decodeJPEG, encode: encodeJPEGBaseline},
	dicom.JPEGExtended12Bit: {decode: decodeJPEG},
	jpegSpectralSelection:   {decode: decodeJPEG},
	jpegFullProgression:     {decode: decodeJPEG},
	dicom.JPEGLossless:      {decode: decodeJPEG},
	dicom.JPEGLosslessSV1:   {decode: decodeJPEG, encode: encodeJPEGLossless},

	dicom.JPEGLSLossless:     {available: &hasCharls, decode: decodeJPEGLS, encode: encodeJPEGLS},
	dicom.JPEGLSNearLossless: {available: &hasCharls, decode: decodeJPEGLS, encode: encodeJPEGLSNear},

	dicom.JPEG2000Lossless:   {available: &hasOpenJPEG, decode: decodeJPEG2000, encode: encodeJPEG2000},
	dicom.JPEG2000:           {available: &hasOpenJPEG, decode: decodeJPEG2000, encode: encodeJPEG2000Lossy},
	dicom.JPEG2000MCLossless: {available: &hasOpenJPEG, decode: decodeJPEG2000},
	dicom.JPEG2000MC:         {available: &hasOpenJPEG, decode: decodeJPEG2000},
	dicom.HTJ2KLossless:      {available: &hasOpenJPEG, decode: decodeJPEG2000},
	dicom.HTJ2KLosslessRPCL:  {available: &hasOpenJPEG, decode: decodeJPEG2000},
	dicom.HTJ2K:              {available: &hasOpenJPEG, decode: decodeJPEG2000},
}

// Transfer syntaxes that are only named here.
const (
	gePrivateSyntax     = "1.2.840.113619.5.2" // little endian with big endian pixels
	papyrusSyntax       = "1.2.840.10008.1.20"
	deflatedFrameSyntax = "1.2.840.10008.1.2.8.1" // Deflated Image Frame Compression
)

func (c *Codecs) codec(transferSyntax string) (codec, bool) {
	found, ok := codecs[transferSyntax]
	return found, ok && c != nil && (found.available == nil || *found.available && c.Worker != nil)
}

// Decodes says whether frames in a transfer syntax can be decoded by this build.
func (c *Codecs) Decodes(transferSyntax string) bool {
	_, ok := c.codec(transferSyntax)
	return ok
}

// Encodes says whether this build can make frames in a transfer syntax: those of
// 1 bit and more than 16 in few of them.
func (c *Codecs) Encodes(transferSyntax string) bool {
	found, ok := c.codec(transferSyntax)
	return ok && found.encode != nil
}

// Decode decodes one frame of an instance whose attributes say f. coded are the
// fragments of the frame one after another, or a native frame in the byte order
// of its transfer syntax. It is bounded by f: a stream that declares another
// picture than f is an error before anything is allocated for it. What it returns
// may share memory with coded.
//
//	Unsupported  the transfer syntax or this kind of frame is not decoded
//	Invalid      the bytes are damaged
//	Unavailable  the codec has no place or took too long; may be repeated
func (c *Codecs) Decode(ctx context.Context, transferSyntax string, f Format, coded []byte) (Frame, error) {
	if err := f.check(); err != nil {
		return Frame{}, err
	}
	found, ok := c.codec(transferSyntax)
	if !ok {
		return Frame{}, pacs.Errorf(pacs.Unsupported, "Pixel data in %s can't be decoded", transferSyntax)
	}
	return found.decode(ctx, c, f, coded)
}

// Encode encodes one frame. as is what the attributes of an instance with it have
// to say: another photometric interpretation where components are transformed.
// The result has an even length.
//
//	Unsupported  the transfer syntax is not encoded, or not frames like this
//	Unavailable  the codec has no place or took too long; may be repeated
func (c *Codecs) Encode(ctx context.Context, transferSyntax string, f Frame, o EncodeOptions) (coded []byte, as Format, err error) {
	if err := f.check(); err != nil {
		return nil, Format{}, err
	}
	if int64(len(f.Pixels)) != f.FrameSize() {
		return nil, Format{}, pacs.Errorf(pacs.Invalid, "A frame has %d bytes instead of %d", len(f.Pixels), f.FrameSize())
	}
	found, ok := c.codec(transferSyntax)
	if !ok || found.encode == nil {
		return nil, Format{}, pacs.Errorf(pacs.Unsupported, "Pixel data can't be encoded in %s", transferSyntax)
	}
	if ts, _ := dicom.LookupTransferSyntax(transferSyntax); ts.Encapsulated && transferSyntax != dicom.EncapsulatedUncompressed {
		f = f.byPixel()
	}
	if coded, as, err = found.encode(ctx, c, f, o); err != nil {
		return nil, Format{}, err
	}
	if len(coded)%2 != 0 {
		coded = append(coded[:len(coded):len(coded)], 0)
	}
	return coded, as, nil
}
