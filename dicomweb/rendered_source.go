package dicomweb

import (
	"bufio"
	"cmp"
	"compress/flate"
	"context"
	"errors"
	raster "image"
	"io"
	"runtime"

	"golang.org/x/sync/semaphore"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/pixel"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/render"
)

// Bounds of rendering, for all requests together and for each.
const (
	// renderingMemory is what all pictures that are being made may take together,
	// by estimate, in bytes. What alone takes more is made when nothing else is.
	renderingMemory = 512 << 20
	// maxCodedFrame is the largest frame that is read to be rendered.
	maxCodedFrame = 160 << 20
	// maxAnimation is how many pixels an animation has, all pictures together.
	maxAnimation = 96 << 20
)

// newRenderings bounds how many pictures are made at once: twice as many as
// there are processors, fewer when they are large.
func newRenderings() *semaphore.Weighted { return semaphore.NewWeighted(renderingMemory) }

// source is an instance that pictures are made of.
type source struct {
	pacs.Instance
	header *dicom.Header
	frames frameSet
}

// attributes reads the attributes of an instance as they are served now, without
// its pixel data, with what of the long ones a picture or document needs.
func (s *service) attributes(ctx context.Context, i pacs.Instance) (*dicom.Header, error) {
	file, err := s.Packs.Instance(ctx, i)
	if err != nil {
		return nil, err
	}
	// What is amended lies in front of the pixel data, which move with it.
	end, cut := file.Length, false
	if px := i.Location.PixelData; px != nil && !px.Deflated && px.Offset > 0 && px.Offset < i.Location.Length {
		end, cut = px.Offset+file.Length-i.Location.Length, true
	}
	if end <= 0 || end > file.Length {
		return nil, pacs.Errorf(pacs.Internal, "the pixel data of instance %s are not where the index says", i.SOPInstanceUID)
	}
	rc, err := file.Open(ctx, 0, end)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	h, err := dicom.Scan(bufio.NewReaderSize(rc, 64<<10), dicom.ScanOptions{
		FallbackCharset: cmp.Or(i.Charset, dicom.FallbackCyrillic), MaxHeader: 32 << 20,
	})
	var scan *dicom.ScanError
	if err != nil && (!errors.As(err, &scan) || scan.Kind != dicom.Truncated || !cut && i.Location.PixelData != nil) {
		return nil, pacs.Wrap(pacs.Internal, err, "The stored instance can't be read.")
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	err = render.Load(h.Dataset, func(r dicom.Range) (io.ReadCloser, error) {
		if !h.Deflated {
			return file.Open(ctx, r.Offset, r.Length)
		}
		rc, err := file.Open(ctx, h.DatasetOffset, file.Length-h.DatasetOffset)
		if err != nil {
			return nil, err
		}
		z := flate.NewReader(bufio.NewReader(rc))
		if _, err := io.CopyN(io.Discard, z, r.Offset); err != nil {
			rc.Close()
			return nil, err
		}
		return struct {
			io.Reader
			io.Closer
		}{z, rc}, nil
	})
	return h, err
}

// source prepares an instance for making pictures of it.
func (s *service) source(ctx context.Context, i pacs.Instance) (*source, error) {
	if err := pixelsDeleted(i); err != nil {
		return nil, err
	}
	if ts, known := dicom.LookupTransferSyntax(i.TransferSyntaxUID); known && ts.Video {
		return nil, pacs.Errorf(pacs.NotAcceptable, "The instance is a video (%s), of which no pictures are made. Ask for video/mp4 or video/mpeg.", ts.Name)
	}
	if !s.Codecs.Decodes(i.TransferSyntaxUID) {
		return nil, pacs.Errorf(pacs.NotAcceptable, "Pixel data in %s (%s) can't be decoded by this server. Retrieve the instance or its frames as they are stored.", i.TransferSyntaxUID, syntaxName(i.TransferSyntaxUID))
	}
	frames, err := s.framesOf(ctx, i)
	if err != nil {
		return nil, err
	}
	h, err := s.attributes(ctx, i)
	if err != nil {
		return nil, err
	}
	return &source{i, h, frames}, nil
}

// coded reads the bytes of frame n as they are stored.
func (s *service) coded(ctx context.Context, src *source, n int) ([]byte, error) {
	if n < 1 || n > src.frames.count {
		return nil, pacs.Errorf(pacs.NotFound, "There is no frame %d: the instance has %s.", n, plural(src.frames.count, "frame"))
	}
	pieces, err := src.frames.pieces(n)
	if px := src.Location.PixelData; src.frames.count == 1 && px != nil && !px.Encapsulated && px.FrameLength%2 != 0 && isBigEndian(src.TransferSyntaxUID) {
		// The byte that comes last may be behind its neighbour's.
		pieces, err = s.nativePiece(src.Location, px, 0, px.Length, n)
	}
	if err != nil {
		return nil, err
	}
	c := &content{}
	for _, p := range pieces {
		c.add(p)
	}
	if c.size > maxCodedFrame {
		return nil, pacs.Errorf(pacs.NotAcceptable, "Frame %d has %d bytes, which are too many to make a picture of.", n, c.size)
	}
	return s.read(ctx, c)
}

// cost estimates what a picture of the instance takes, in bytes.
func (src *source) cost(l look) (int64, error) {
	f, err := pixel.FormatOf(src.header.Dataset)
	if err != nil {
		return 0, unrenderable(err)
	}
	pixels := int64(f.Columns) * int64(f.Rows)
	shown := max(pixels, render.MaxPixels)
	if l.Width > 0 && l.Height > 0 {
		shown = min(shown, int64(l.Width)*int64(l.Height))
	}
	perPixel := int64(2)
	if f.Samples > 1 || f.Photometric == pixel.PaletteColor {
		perPixel = 8
	}
	return min(2*f.FrameSize()+perPixel*(pixels+shown), renderingMemory), nil
}

// rendering waits for a place to make pictures of an instance in; the caller
// gives it back.
func (s *service) rendering(ctx context.Context, src *source, l look) (done func(), err error) {
	weight, err := src.cost(l)
	if err != nil {
		return nil, err
	}
	weight = max(weight, renderingMemory/int64(2*runtime.GOMAXPROCS(0)))
	if err := s.renderings.Acquire(ctx, weight); err != nil {
		return nil, err
	}
	return func() { s.renderings.Release(weight) }, nil
}

// picture makes one of frame n. The caller has waited for its rendering.
func (s *service) picture(ctx context.Context, src *source, n int, l look, presentation *dicom.Dataset) (raster.Image, error) {
	coded, err := s.coded(ctx, src, n)
	if err != nil {
		return nil, err
	}
	ds := src.header.Dataset
	frame, err := render.Decode(ctx, s.Codecs, src.TransferSyntaxUID, ds, coded)
	if err != nil {
		return nil, unrenderable(err)
	}
	p, err := l.in(frame.Columns, frame.Rows)
	if err != nil {
		return nil, err
	}
	p.Presentation = presentation
	p.Annotations = l.annotations(ds, n, src.frames.count)
	im, err := render.Picture(ctx, frame, n, ds, p)
	if err != nil && pacs.CodeOf(err) == pacs.Unsupported {
		err = unrenderable(err)
	}
	return im, err
}

// unrenderable makes what is wrong with pixels an error that is not the caller's:
// the resource has no such representation.
func unrenderable(err error) error {
	switch pacs.CodeOf(err) {
	case pacs.Unsupported, pacs.Invalid:
		return pacs.Wrap(pacs.NotAcceptable, err, "No picture can be made of this image: "+pacs.MessageOf(err))
	}
	return err
}

// profile is the ICC profile of a color image, nil for none: of the instance, or
// of the first of its optical paths (PS3.3 C.11.15, C.8.12.5).
func profile(ds *dicom.Dataset) []byte {
	for _, from := range []*dicom.Dataset{ds, ds.Item(dicom.TagOpticalPathSequence)} {
		if e, ok := from.Get(dicom.TagICCProfile); ok && len(e.Value) > 0 {
			return e.Value
		}
	}
	return nil
}
