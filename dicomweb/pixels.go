package dicomweb

import (
	"bufio"
	"compress/flate"
	"context"
	"encoding/binary"
	"io"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// frameSet cuts frames out of the stored pixel data of one instance.
type frameSet struct {
	count int
	// pieces returns the bytes of frame n, counted from 1 and at most count.
	pieces func(n int) ([]piece, error)
}

// framesOf tells how the frames of an instance are found in its file.
func (s *service) framesOf(ctx context.Context, i pacs.Instance) (frameSet, error) {
	if err := pixelsDeleted(i); err != nil {
		return frameSet{}, err
	}
	px := i.Location.PixelData
	if px == nil || i.FrameCount < 1 {
		return frameSet{}, pacs.Errorf(pacs.NotFound, "The instance has no pixel data, so there are no frames.")
	}
	loc := i.Location
	loc.PixelData = nil
	switch {
	case px.Encapsulated:
		return s.fragmentsOf(ctx, i)
	case px.FrameLength > 0:
		return frameSet{i.FrameCount, func(n int) ([]piece, error) {
			return s.nativePiece(loc, px, int64(n-1)*px.FrameLength, px.FrameLength, n)
		}}, nil
	case i.FrameCount == 1:
		return frameSet{1, func(n int) ([]piece, error) {
			return s.nativePiece(loc, px, 0, px.Length, n)
		}}, nil
	}
	// Frames that don't begin at byte boundaries: one bit per pixel, PS3.5 8.1.1.
	bits := int64(i.Rows) * int64(i.Columns)
	if bits > 0 && bits <= px.Length*8/int64(i.FrameCount) && bits*int64(i.FrameCount)+15 >= px.Length*8 {
		return frameSet{i.FrameCount, func(n int) ([]piece, error) {
			return s.bitPiece(loc, px, int64(n-1)*bits, bits, n)
		}}, nil
	}
	return frameSet{}, pacs.Errorf(pacs.NotAcceptable, "The %d frames of this instance can't be told apart: its pixel data have %d bytes, which don't fit %d rows and %d columns. "+
		"Retrieve the whole instance instead.", i.FrameCount, px.Length, i.Rows, i.Columns)
}

// fragmentsOf tells where the frames of encapsulated pixel data are.
func (s *service) fragmentsOf(ctx context.Context, i pacs.Instance) (frameSet, error) {
	loc, px := i.Location, i.Location.PixelData
	loc.PixelData = nil
	pieces := func(n int, fragments []pacs.Range) ([]piece, error) {
		pieces := make([]piece, 0, len(fragments))
		for _, f := range fragments {
			if f.Offset < 0 || f.Length < 0 || f.Offset > loc.Length || f.Length > loc.Length-f.Offset {
				return nil, outside(n)
			}
			pieces = append(pieces, s.stored(loc, f.Offset, f.Length))
		}
		return pieces, nil
	}
	switch {
	case px.Fragments != nil:
		return frameSet{len(px.Fragments), func(n int) ([]piece, error) { return pieces(n, px.Fragments[n-1]) }}, nil
	case px.Mapped > 0:
		frames, err := s.Index.FrameMap(ctx, i)
		if err != nil {
			return frameSet{}, err
		}
		return frameSet{frames.Frames(), func(n int) ([]piece, error) {
			fragments, ok := frames.Frame(n)
			if !ok {
				return nil, pacs.Errorf(pacs.Internal, "frame %d is missing in the index of instance %s", n, i.SOPInstanceUID)
			}
			return pieces(n, fragments)
		}}, nil
	}
	return frameSet{}, pacs.Errorf(pacs.NotAcceptable, "The %d frames of this instance can't be told apart in the stored pixel data (%s). "+
		"Retrieve the whole instance instead.", i.FrameCount, syntaxName(i.TransferSyntaxUID))
}

// maxStream is how many fragments the stream of a video may be cut into: each
// costs a read to find.
const maxStream = 4096

// stream returns the fragments of encapsulated pixel data as they follow one
// another in the file, without item headers and offset table (PS3.5 A.4). For a
// video they are one stream, and the index holds no frames.
func (s *service) stream(ctx context.Context, i pacs.Instance) ([]piece, error) {
	loc, at := i.Location, i.Location.PixelData.Offset
	var pieces []piece
	for n := 0; n <= maxStream; n++ {
		head, err := s.bytesAt(ctx, loc, at, 8)
		if err != nil {
			return nil, err
		}
		length := int64(binary.LittleEndian.Uint32(head[4:]))
		at += 8
		switch tag := dicom.NewTag(binary.LittleEndian.Uint16(head), binary.LittleEndian.Uint16(head[2:])); {
		case tag == 0xFFFEE0DD: // sequence delimitation
			return pieces, nil
		case tag != 0xFFFEE000 || length > loc.Length-at:
			return nil, pacs.Errorf(pacs.Internal, "no fragment at byte %d of instance %s", at-8, i.SOPInstanceUID)
		}
		if n > 0 { // behind the offset table
			pieces = append(pieces, s.stored(loc, at, length))
		}
		at += length
	}
	return nil, pacs.Errorf(pacs.NotAcceptable, "The video is cut into more than %d fragments. Retrieve the whole instance instead.", maxStream)
}

// bytesAt reads a few bytes of an instance's file.
func (s *service) bytesAt(ctx context.Context, loc pacs.Location, offset, n int64) ([]byte, error) {
	if offset < 0 || offset > loc.Length-n {
		return nil, pacs.Errorf(pacs.Internal, "byte %d is outside of an instance of %d bytes", offset, loc.Length)
	}
	rc, err := s.Packs.Open(ctx, loc, offset, n)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	b := make([]byte, n)
	_, err = io.ReadFull(rc, b)
	return b, err
}

func outside(frame int) error {
	return pacs.Errorf(pacs.NotFound, "Frame %d lies outside the stored pixel data.", frame)
}

// nativePiece is a run of native pixel data; offset counts from their beginning.
func (s *service) nativePiece(loc pacs.Location, px *pacs.PixelLocation, offset, length int64, frame int) ([]piece, error) {
	if offset < 0 || length < 0 || length > px.Length || offset > px.Length-length {
		return nil, outside(frame)
	}
	if px.Deflated {
		return []piece{s.inflated(loc, px.Offset+offset, length)}, nil
	}
	if px.Offset < 0 || px.Offset > loc.Length-px.Length {
		return nil, outside(frame)
	}
	return []piece{s.stored(loc, px.Offset+offset, length)}, nil
}

// bitPiece is a frame that begins within a byte: its bits are moved to the
// beginning of the first byte (the first pixel is the lowest bit) and the last
// byte is filled up with zeros, as PS3.18 8.7.3.3 wants single frames.
func (s *service) bitPiece(loc pacs.Location, px *pacs.PixelLocation, offset, bits int64, frame int) ([]piece, error) {
	first, shift := offset/8, uint(offset%8)
	source, err := s.nativePiece(loc, px, first, (offset+bits+7)/8-first, frame)
	if err != nil {
		return nil, err
	}
	raw := source[0]
	return []piece{{size: (bits + 7) / 8, open: func(ctx context.Context, from, n int64) (io.ReadCloser, error) {
		// One byte more than asked for, where there is one, to shift in.
		rc, err := raw.open(ctx, from, min(n+1, raw.size-from))
		if err != nil {
			return nil, err
		}
		b := &bitReader{src: bufio.NewReaderSize(rc, 32<<10), Closer: rc, shift: shift, left: n}
		if tail := bits % 8; tail != 0 && from+n == (bits+7)/8 {
			b.mask = 1<<tail - 1
		}
		return b, nil
	}}}, nil
}

// bitReader shifts a stream of bits, lowest bit first, down by shift bits.
type bitReader struct {
	src *bufio.Reader
	io.Closer
	shift uint
	left  int64 // bytes to deliver
	mask  byte  // of the last byte, 0 for all bits
	begun bool
	cur   byte
}

func (b *bitReader) Read(p []byte) (n int, err error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	if !b.begun {
		if b.cur, err = b.src.ReadByte(); err != nil {
			return 0, short(err)
		}
		b.begun = true
	}
	for n < len(p) && b.left > 0 {
		next, err := b.src.ReadByte()
		// The last byte may end where the source does.
		if err != nil && (err != io.EOF || b.left > 1) {
			return n, short(err)
		}
		p[n] = byte((uint16(next)<<8 | uint16(b.cur)) >> b.shift)
		b.cur = next
		b.left--
		if b.left == 0 && b.mask != 0 {
			p[n] &= b.mask
		}
		n++
	}
	return n, nil
}

// short makes an early end of a source an error.
func short(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// maxInflated bounds how much of a deflated data set is inflated to reach what
// is asked for; 80 KB can become 80 MB. It is what the scanner accepts.
const maxInflated = 2 << 30

// inflated is a run of a deflated data set; offset counts in the inflated one,
// PS3.5 A.5.
func (s *service) inflated(loc pacs.Location, offset, length int64) piece {
	return piece{size: length, open: func(ctx context.Context, from, n int64) (io.ReadCloser, error) {
		skip := offset + from
		if skip < 0 || n < 0 || skip > maxInflated-n {
			return nil, pacs.Errorf(pacs.Unsupported, "The data set inflates to more than %d bytes.", int64(maxInflated))
		}
		rc, err := s.Packs.Open(ctx, loc, loc.DatasetOffset, -1)
		if err != nil {
			return nil, err
		}
		z := flate.NewReader(bufio.NewReaderSize(rc, 64<<10))
		if _, err := io.CopyN(io.Discard, z, skip); err != nil {
			rc.Close()
			return nil, pacs.Wrap(pacs.Internal, short(err), "The deflated data set can't be read.")
		}
		return struct {
			io.Reader
			io.Closer
		}{io.LimitReader(z, n), rc}, nil
	}}
}

// isDeflated tells whether offsets into an instance count in its inflated
// data set.
func isDeflated(i pacs.Instance) bool {
	ts, _ := dicom.LookupTransferSyntax(i.TransferSyntaxUID)
	return ts.Deflated || i.Location.PixelData != nil && i.Location.PixelData.Deflated
}
