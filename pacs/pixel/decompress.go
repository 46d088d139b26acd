package pixel

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/charls"
)

// Decompressor gives JPEG-LS lossless pixel data back as native ones: what a
// Compressor has made, and what came like that if it is of the same kind.
type Decompressor struct {
	Worker *Worker
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
	im, err := describe(h.Dataset)
	if err != nil {
		return nil, pacs.Wrap(pacs.Unsupported, err, "Pixel data of this kind can't be decompressed")
	}
	frames, err := h.Frames()
	if err != nil || len(frames) == 0 {
		return nil, pacs.Wrap(pacs.Unsupported, err, "The frames of the pixel data can't be told apart")
	}
	for _, f := range frames {
		total := int64(0)
		for _, r := range f {
			total += r.Length
		}
		if total > maxFrame {
			return nil, pacs.Errorf(pacs.Unsupported, "A frame of the pixel data is too large to be decompressed")
		}
	}
	vr := dicom.OW
	if im.Bits <= 8 {
		vr = dicom.OB
	}
	return &dicom.NativePixels{
		VR: vr, Length: int64(len(frames)) * int64(im.Size()),
		Open: func(ctx context.Context) (io.ReadCloser, error) {
			return &frameReader{ctx: ctx, worker: d.Worker, frames: frames, image: im, open: open}, nil
		},
	}, nil
}

// frameReader decodes frame after frame.
type frameReader struct {
	ctx    context.Context
	worker *Worker
	frames [][]dicom.Range
	image  charls.Image // as the attributes describe it
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
	im, err := r.worker.DecodeJPEGLS(r.ctx, coded)
	if err != nil {
		return err
	}
	// Bits may be fewer than Bits Stored says, or all of the bits allocated.
	if im.Rows != r.image.Rows || im.Columns != r.image.Columns || im.Components != r.image.Components || len(im.Pixels) != r.image.Size() {
		return fmt.Errorf("a frame is %d by %d with %d samples of %d bits, which is not what the attributes say", im.Columns, im.Rows, im.Components, im.Bits)
	}
	r.frames, r.left = r.frames[1:], im.Pixels
	return nil
}

func (r *frameReader) Close() error { return nil }
