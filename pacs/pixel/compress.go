package pixel

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// ErrKeep says that an instance is better left as it is: it is compressed
// already, would not become smaller, or is of a kind that is not touched.
// Its code is Unsupported.
var ErrKeep error = pacs.Errorf(pacs.Unsupported, "The instance is kept as it is")

// Compressor makes JPEG-LS lossless copies of uncompressed instances.
type Compressor struct {
	Codecs *Codecs
}

// Compress writes a JPEG-LS lossless copy (1.2.840.10008.1.2.4.80) of the
// PS3.10 file of size bytes in src to dst, from its beginning, and returns the
// copy's length. Each frame is decoded again and compared with the original
// before it is written, so that the samples are the same in every bit, those
// that mean nothing included.
//
// The file meta information says the new transfer syntax; the data set is the
// same, byte for byte, but for Pixel Data (7FE0,0010), which has one fragment
// per frame and a basic offset table (PS3.5 A.4). Memory is that of two frames.
//
// The error is ErrKeep when the original should stay: also when the copy would
// not be smaller. It is Unavailable when the codec failed and the call may be
// repeated.
func (c *Compressor) Compress(ctx context.Context, src io.ReaderAt, size int64, dst io.WriterAt) (int64, error) {
	p, err := planCompression(src, size)
	if err != nil {
		return 0, err
	}
	at, err := p.writeHead(src, dst)
	if err != nil {
		return 0, err
	}
	table := at + 8 // the item of the offset table, filled in at the end
	first := table + 4*int64(len(p.frames))
	at = first
	offsets := make([]uint32, len(p.frames))
	frame := make([]byte, p.format.FrameSize())
	for i, r := range p.frames {
		if _, err := src.ReadAt(frame, r.Offset); err != nil {
			return 0, fmt.Errorf("reading frame %d: %w", i+1, err)
		}
		coded, err := c.frame(ctx, Frame{p.format, frame})
		if err != nil {
			return 0, err
		}
		if at-first > 1<<32-1 {
			return 0, fmt.Errorf("%w: its offset table would not hold its frames", ErrKeep)
		}
		offsets[i] = uint32(at - first)
		if err := writeItem(dst, &at, coded); err != nil {
			return 0, err
		}
		if at > size {
			return 0, fmt.Errorf("%w: JPEG-LS would make it larger", ErrKeep)
		}
	}
	if err := p.writeTail(src, size, dst, &at); err != nil {
		return 0, err
	}
	item := table - 8
	value := make([]byte, 0, 4*len(offsets))
	for _, offset := range offsets {
		value = binary.LittleEndian.AppendUint32(value, offset)
	}
	if err := writeItem(dst, &item, value); err != nil {
		return 0, err
	}
	if at >= size {
		return 0, fmt.Errorf("%w: JPEG-LS would make it larger", ErrKeep)
	}
	return at, nil
}

// frame compresses one frame and makes sure that nothing is lost.
func (c *Compressor) frame(ctx context.Context, f Frame) ([]byte, error) {
	coded, _, err := c.Codecs.Encode(ctx, dicom.JPEGLSLossless, f, EncodeOptions{})
	if err == nil {
		var back Frame
		if back, err = c.Codecs.Decode(ctx, dicom.JPEGLSLossless, f.Format, coded); err == nil {
			if !bytes.Equal(back.Pixels, f.Pixels) {
				return nil, fmt.Errorf("%w: the codec did not give back the same samples", ErrKeep)
			}
			return coded, nil
		}
	}
	if code := pacs.CodeOf(err); code == pacs.Unsupported || code == pacs.Invalid {
		return nil, fmt.Errorf("%w: %w", ErrKeep, err)
	}
	return nil, err
}

// compression is what is to be done with one file.
type compression struct {
	head    []byte // preamble, prefix and file meta information of the copy
	dataset int64  // where the data set begins in the source
	element int64  // where Pixel Data begins
	end     int64  // where it ends
	frames  []dicom.Range
	format  Format
}

const (
	pixelDataHeader = 12       // (7FE0,0010), VR, two reserved bytes, length
	maxHeader       = 64 << 20 // bytes of attributes
	// maxFrame bounds the bytes of a frame that is compressed: it is held some
	// times over. A mammogram has 30 MB.
	maxFrame = 128 << 20
)

func planCompression(src io.ReaderAt, size int64) (*compression, error) {
	h, err := dicom.Scan(dicom.NewSkipReader(src, 0, size), dicom.ScanOptions{MaxHeader: maxHeader})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeep, err)
	}
	keep := func(why string) error { return fmt.Errorf("%w: %s", ErrKeep, why) }
	pd := h.PixelData
	switch {
	case pd == nil || pd.Tag != dicom.TagPixelData || pd.Length <= 0:
		return nil, keep("there is no pixel data")
	case h.TransferSyntax != dicom.ExplicitVRLittleEndian || h.Declared != h.TransferSyntax || h.Meta == nil:
		return nil, keep("only explicit VR little endian is compressed")
	case overlaid(h.Dataset):
		return nil, keep("an overlay is among the bits of its pixels") // PS3.5 8.1.2
	case h.Dataset.Has(tagMACParameters):
		return nil, keep("it is signed") // PS3.3 C.12.1.1.3
	}
	var head [pixelDataHeader]byte
	if _, err := src.ReadAt(head[:], pd.Offset-pixelDataHeader); err != nil {
		return nil, err
	}
	if want := []byte{0xE0, 0x7F, 0x10, 0x00, 'O'}; !bytes.HasPrefix(head[:], want) {
		return nil, keep("its pixel data is not written as the transfer syntax says")
	}
	p := &compression{dataset: h.DatasetOffset, element: pd.Offset - pixelDataHeader, end: pd.Offset + pd.Length}
	if p.format, err = describe(h.Dataset); err != nil {
		return nil, err
	}
	frames, err := h.Frames()
	if err != nil || len(frames) == 0 {
		return nil, keep("its frames can't be told apart")
	}
	for _, f := range frames {
		if len(f) != 1 || f[0].Length != p.format.FrameSize() {
			return nil, keep("its frames don't have the size that the attributes say")
		}
		p.frames = append(p.frames, f[0])
	}
	if padding := pd.Length - int64(len(frames))*p.format.FrameSize(); padding > 1 {
		return nil, keep("its pixel data is longer than its frames")
	}
	p.head, err = metaOf(h)
	return p, err
}

// describe reads the image pixel module of what can be JPEG-LS.
func describe(ds *dicom.Dataset) (Format, error) {
	f, err := FormatOf(ds)
	switch {
	case err != nil:
		return f, fmt.Errorf("%w: %w", ErrKeep, err)
	case f.BitsAllocated != 8 && f.BitsAllocated != 16, f.BitsStored < 2, f.BitsAllocated == 16 && f.BitsStored <= 8, f.Samples != 1 && f.Samples != 3, f.Photometric == YBRFull422:
		return f, fmt.Errorf("%w: %d bits of %d, %d samples", ErrKeep, f.BitsStored, f.BitsAllocated, f.Samples)
	case f.Planar:
		return f, fmt.Errorf("%w: colour by plane", ErrKeep) // PS3.5 8.2.3 wants it by pixel
	}
	return f, nil
}

// tagMACParameters (4FFE,0001) is what digital signatures were made with.
const tagMACParameters dicom.Tag = 0x4FFE0001

// overlaid says whether an overlay plane (60xx) lies in bits of the pixel data
// (PS3.3 C.9.2, retired): Overlay Bits Allocated (60xx,0100) is then that of the
// pixels, and Overlay Bit Position (60xx,0102) one above them.
func overlaid(ds *dicom.Dataset) bool {
	for group := dicom.Tag(0x6000); group <= 0x601E; group += 2 {
		allocated, _ := ds.Int(group<<16 | 0x0100)
		position, _ := ds.Int(group<<16 | 0x0102)
		if allocated > 1 || position > 0 {
			return true
		}
	}
	return false
}

// metaOf is the file meta information with the new transfer syntax; all else
// in it stays.
func metaOf(h *dicom.Header) ([]byte, error) {
	meta := &dicom.Dataset{}
	for _, e := range h.Meta.Elements {
		if e.Tag != dicom.TagFileMetaInformationGroupLength {
			meta.Elements = append(meta.Elements, e)
		}
	}
	meta.SetString(dicom.TagTransferSyntaxUID, dicom.UI, dicom.JPEGLSLossless)
	group, err := dicom.AppendDataset(nil, meta, dicom.ExplicitVRLittleEndian)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeep, err)
	}
	head := append(make([]byte, 128), "DICM"...)
	head = append(head, 2, 0, 0, 0, 'U', 'L', 4, 0) // (0002,0000)
	head = binary.LittleEndian.AppendUint32(head, uint32(len(group)))
	return append(head, group...), nil
}

// writeHead writes everything in front of the first item, and returns where
// that is.
func (p *compression) writeHead(src io.ReaderAt, dst io.WriterAt) (int64, error) {
	if _, err := dst.WriteAt(p.head, 0); err != nil {
		return 0, err
	}
	at := int64(len(p.head))
	if err := copyRange(dst, &at, src, p.dataset, p.element); err != nil {
		return 0, err
	}
	// (7FE0,0010) OB of undefined length
	n, err := dst.WriteAt([]byte{0xE0, 0x7F, 0x10, 0x00, 'O', 'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF}, at)
	return at + int64(n), err
}

// writeTail writes the sequence delimiter and what follows the pixel data.
func (p *compression) writeTail(src io.ReaderAt, size int64, dst io.WriterAt, at *int64) error {
	n, err := dst.WriteAt([]byte{0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0}, *at)
	if *at += int64(n); err != nil {
		return err
	}
	return copyRange(dst, at, src, p.end, size)
}

// writeItem writes an item (FFFE,E000) and moves at behind it.
func writeItem(dst io.WriterAt, at *int64, value []byte) error {
	item := binary.LittleEndian.AppendUint32([]byte{0xFE, 0xFF, 0x00, 0xE0}, uint32(len(value)))
	for _, part := range [][]byte{item, value} {
		n, err := dst.WriteAt(part, *at)
		if *at += int64(n); err != nil {
			return err
		}
	}
	return nil
}

func copyRange(dst io.WriterAt, at *int64, src io.ReaderAt, from, to int64) error {
	n, err := io.Copy(io.NewOffsetWriter(dst, *at), io.NewSectionReader(src, from, to-from))
	*at += n
	if err == nil && n != to-from {
		err = io.ErrUnexpectedEOF
	}
	return err
}
