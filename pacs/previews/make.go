package previews

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/flate"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"path"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/render"
)

// Prefix begins the keys of all previews.
const Prefix = "previews/"

// keyOf is a key for the pictures of a series that nothing had before, so that
// what was deleted under a key is never needed again.
func keyOf(studyUID, seriesUID string) string {
	series := sha256.Sum256([]byte(studyUID + "/" + seriesUID))
	name := hex.EncodeToString(series[:12])
	return Prefix + name[:2] + "/" + name + "/" + strings.ToLower(rand.Text()) + ".jpg"
}

// tagOf is the part of a key that is no other's.
func tagOf(key string) string { return strings.TrimSuffix(path.Base(key), ".jpg") }

// quality of the JPEGs.
const quality = 80

// maxCoded is the longest frame that is read, in bytes as it is stored.
const maxCoded = 160 << 20

// pictures makes both pictures of an instance. Unsupported and Invalid say why
// there can be none.
func (p *Previews) pictures(ctx context.Context, i pacs.Instance) (small, large []byte, err error) {
	if i.Location.PixelData == nil || i.FrameCount < 1 {
		return nil, nil, pacs.Errorf(pacs.Unsupported, "The instance has no pixel data")
	}
	if ts, known := dicom.LookupTransferSyntax(i.TransferSyntaxUID); known && ts.Video || !p.o.Codecs.Decodes(i.TransferSyntaxUID) {
		return nil, nil, pacs.Errorf(pacs.Unsupported, "Pixel data in %s are not decoded", i.TransferSyntaxUID)
	}
	h, err := p.header(ctx, i)
	if err != nil {
		return nil, nil, err
	}
	number := render.Representative(h.Dataset, i.FrameCount)
	coded, err := p.frame(ctx, i, number)
	if err != nil {
		return nil, nil, err
	}
	frame, err := render.Decode(ctx, p.o.Codecs, h.TransferSyntax, h.Dataset, coded)
	if err != nil {
		return nil, nil, err
	}
	picture := func(side int) ([]byte, error) {
		im, err := render.Picture(ctx, frame, number, h.Dataset, render.Parameters{Width: side, Height: side, Shrink: true})
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		err = render.EncodeJPEG(&b, im, quality, nil)
		return b.Bytes(), err
	}
	if small, err = picture(Small); err != nil {
		return nil, nil, err
	}
	large, err = picture(Large)
	return small, large, err
}

// header reads the attributes in front of the pixel data.
func (p *Previews) header(ctx context.Context, i pacs.Instance) (*dicom.Header, error) {
	px, end := i.Location.PixelData, i.Location.Length
	if !px.Deflated && px.Offset > 0 && px.Offset < end {
		end = px.Offset
	}
	body, err := p.o.Packs.Open(ctx, i.Location, 0, end)
	if err != nil {
		return nil, err
	}
	h, err := dicom.Scan(bufio.NewReaderSize(body, 64<<10), dicom.ScanOptions{
		FallbackCharset: cmp.Or(i.Charset, dicom.FallbackCyrillic), MaxHeader: 32 << 20,
	})
	_ = body.Close()
	var cut *dicom.ScanError
	if errors.As(err, &cut) {
		// Cut off where the pixel data begin.
		if err = nil; cut.Kind != dicom.Truncated || end == i.Location.Length {
			return nil, pacs.Wrap(pacs.Invalid, cut, "The stored instance can't be read")
		}
	}
	if err != nil {
		return nil, pacs.Wrap(pacs.Unavailable, err, "The stored instance can't be read at the moment")
	}
	return h, render.Load(h.Dataset, func(r dicom.Range) (io.ReadCloser, error) {
		if px.Deflated {
			return p.inflated(ctx, i, r.Offset)
		}
		return p.o.Packs.Open(ctx, i.Location, r.Offset, r.Length)
	})
}

// frame reads the bytes of frame n as they are stored.
func (p *Previews) frame(ctx context.Context, i pacs.Instance, n int) ([]byte, error) {
	px := i.Location.PixelData
	var ranges []pacs.Range
	switch {
	case px.Encapsulated && px.Mapped > 0:
		frames, err := p.o.Index.FrameMap(ctx, i)
		if err != nil {
			return nil, err
		}
		ranges, _ = frames.Frame(n)
	case px.Encapsulated && n <= len(px.Fragments):
		ranges = px.Fragments[n-1]
	case px.Encapsulated:
	case px.FrameLength > 0:
		ranges = []pacs.Range{{Offset: px.Offset + int64(n-1)*px.FrameLength, Length: px.FrameLength}}
	case i.FrameCount == 1:
		ranges = []pacs.Range{{Offset: px.Offset, Length: px.Length}}
	}
	size := int64(0)
	for _, r := range ranges {
		if r.Length < 0 || r.Length > maxCoded-size {
			return nil, pacs.Errorf(pacs.Unsupported, "Frame %d is too large for a preview", n)
		}
		size += r.Length
	}
	if size == 0 {
		return nil, pacs.Errorf(pacs.Unsupported, "Frame %d can't be told apart in the stored pixel data", n)
	}
	coded := make([]byte, 0, size)
	for _, r := range ranges {
		open := func() (io.ReadCloser, error) { return p.o.Packs.Open(ctx, i.Location, r.Offset, r.Length) }
		if px.Deflated {
			open = func() (io.ReadCloser, error) { return p.inflated(ctx, i, r.Offset) }
		}
		body, err := open()
		if err != nil {
			return nil, err
		}
		from := len(coded)
		coded = coded[:int64(from)+r.Length]
		_, err = io.ReadFull(body, coded[from:])
		_ = body.Close()
		if err != nil {
			return nil, pacs.Wrap(pacs.Unavailable, err, "The stored pixel data can't be read at the moment")
		}
	}
	return coded, nil
}

// maxInflated bounds how much of a deflated data set is inflated.
const maxInflated = 512 << 20

// inflated reads a deflated data set from offset in the inflated one.
func (p *Previews) inflated(ctx context.Context, i pacs.Instance, offset int64) (io.ReadCloser, error) {
	body, err := p.o.Packs.Open(ctx, i.Location, i.Location.DatasetOffset, i.Location.Length-i.Location.DatasetOffset)
	if err != nil {
		return nil, err
	}
	z := io.LimitReader(flate.NewReader(bufio.NewReader(body)), maxInflated)
	if _, err := io.CopyN(io.Discard, z, offset); err != nil {
		_ = body.Close()
		return nil, pacs.Wrap(pacs.Unsupported, err, "The deflated data set can't be inflated")
	}
	return struct {
		io.Reader
		io.Closer
	}{z, body}, nil
}
