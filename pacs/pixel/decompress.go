package pixel

import (
	"context"
	"errors"
	"io"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// Decompressor gives JPEG-LS lossless pixel data back as native ones: what a
// Compressor has made, and what came like that if it is of the same kind.
type Decompressor struct {
	Codecs *Codecs
}

// Decode prepares the pixel data of the instance whose header is h; open reads
// ranges of what h was scanned from. A frame is decoded when it is read, so that
// memory is that of one.
//
// The error is Unsupported when the pixel data are compressed otherwise or don't
// have the form that the attributes say; errors of reading are Unavailable when
// the codec failed and the call may be repeated.
func (d *Decompressor) Decode(_ context.Context, h *dicom.Header, open dicom.OpenRange) (*dicom.NativePixels, error) {
	if h.TransferSyntax != dicom.JPEGLSLossless || h.PixelData == nil || h.PixelData.Tag != dicom.TagPixelData {
		return nil, pacs.Errorf(pacs.Unsupported, "Pixel data in %s can't be decompressed", h.TransferSyntax)
	}
	f, err := describe(h.Dataset)
	if err != nil {
		return nil, pacs.Wrap(pacs.Unsupported, err, "Pixel data of this kind can't be decompressed")
	}
	frames, err := h.Frames()
	if err != nil || len(frames) == 0 {
		return nil, pacs.Wrap(pacs.Unsupported, err, "The frames of the pixel data can't be told apart")
	}
	for _, pieces := range frames {
		total := int64(0)
		for _, r := range pieces {
			total += r.Length
		}
		if total > maxFrame {
			return nil, pacs.Errorf(pacs.Unsupported, "A frame of the pixel data is too large to be decompressed")
		}
	}
	vr := dicom.OW
	if f.BitsAllocated == 8 {
		vr = dicom.OB
	}
	return &dicom.NativePixels{
		VR: vr, Length: int64(len(frames)) * f.FrameSize(),
		Open: func(ctx context.Context) (io.ReadCloser, error) {
			return &frameReader{ctx: ctx, codecs: d.Codecs, frames: frames, format: f, open: open}, nil
		},
	}, nil
}

// frameReader decodes frame after frame.
type frameReader struct {
	ctx    context.Context
	codecs *Codecs
	frames [][]dicom.Range
	format Format // as the attributes describe it
	open   dicom.OpenRange
	left   []byte // of the frame in hand
}

func (r *frameReader) Read(p []byte) (int, error) {
	if len(r.left) == 0 {
		if len(r.frames) == 0 {
			return 0, io.EOF
		}
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}

func (r *frameReader) next() error {
	var coded []byte
	for _, piece := range r.frames[0] {
		body, err := r.open(piece.Offset, piece.Length)
		if err != nil {
			return err
		}
		part, err := io.ReadAll(body)
		if err = errors.Join(err, body.Close()); err != nil {
			return err
		}
		coded = append(coded, part...)
	}
	f, err := r.codecs.Decode(r.ctx, dicom.JPEGLSLossless, r.format, coded)
	if err != nil {
		return err
	}
	r.frames, r.left = r.frames[1:], f.Pixels
	return nil
}

func (r *frameReader) Close() error { return nil }
