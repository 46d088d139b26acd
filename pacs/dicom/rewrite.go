package dicom

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

// Rewritten is a data set in another transfer syntax, made while it is read: what the scanner has kept is encoded anew, values that it has left in
// the stream are ranges of it. It holds no more than the header.
type Rewritten struct {
	pieces []rewrittenPiece
}

type rewrittenPiece struct {
	bytes  []byte      // new bytes, or
	from   Range       // those of the stream,
	swap   int         // in the other byte order when more than 1
	pixels *PixelValue // or other pixel data
}

// PixelValue is a value of Pixel Data (7FE0,0010) to stand in for the one that is
// stored. Open reads it: Length bytes of native pixels, little endian, frame after
// frame; or, of undefined length, the items of encapsulated ones with the
// delimiter behind them (PS3.5 A.4).
type PixelValue struct {
	VR     VR    // OB or OW
	Length int64 // -1 when encapsulated
	Known  int64 // bytes that Open reads of encapsulated ones; 0 when not known beforehand
	Open   func(ctx context.Context) (io.ReadCloser, error)
}

// Rewrite prepares the data set of h in implicit VR little endian, or else in
// explicit VR little endian, as it is in all encapsulated transfer syntaxes.
// Encapsulated pixel data need pixels; with nil what is stored stays. Of a
// deflated data set the ranges are those of the inflated one.
func (h *Header) Rewrite(transferSyntax string, pixels *PixelValue) (*Rewritten, error) {
	w := &rewriter{explicit: transferSyntax != ImplicitVRLittleEndian, pixels: pixels}
	ts, known := LookupTransferSyntax(transferSyntax)
	native := h.PixelData != nil && pixels == nil
	switch {
	case !known || ts.BigEndian || ts.Deflated || ts.Implicit && w.explicit:
		return nil, fmt.Errorf("dicom: data sets are not written in %s", transferSyntax)
	case native && (h.PixelData.Encapsulated || ts.Encapsulated):
		return nil, fmt.Errorf("dicom: pixel data in %s can't be written in %s", h.TransferSyntax, transferSyntax)
	case native && h.TransferSyntax == gePrivateSyntax:
		return nil, fmt.Errorf("dicom: pixel data in %s can't be written in %s", h.TransferSyntax, transferSyntax)
	case pixels != nil && ts.Encapsulated != (pixels.Length < 0):
		return nil, fmt.Errorf("dicom: pixel data of this form can't be written in %s", transferSyntax)
	}
	if err := w.dataset(h.Dataset, true); err != nil {
		return nil, err
	}
	w.flush()
	return &Rewritten{w.pieces}, nil
}

// gePrivateSyntax has big endian pixels in a little endian data set.
const gePrivateSyntax = "1.2.840.113619.5.2"

type rewriter struct {
	explicit bool
	pixels   *PixelValue
	out      []byte
	pieces   []rewrittenPiece
}

func (w *rewriter) flush() {
	if len(w.out) > 0 {
		w.pieces = append(w.pieces, rewrittenPiece{bytes: w.out})
		w.out = nil
	}
}

func (w *rewriter) dataset(ds *Dataset, top bool) (err error) {
	elements := ds.Elements
	byTag := func(a, b Element) int { return int(int64(a.Tag) - int64(b.Tag)) }
	if !slices.IsSortedFunc(elements, byTag) {
		elements = slices.Clone(elements)
		slices.SortStableFunc(elements, byTag)
	}
	for i := range elements {
		e := &elements[i]
		switch {
		case e.Tag.IsGroupLength():
		case top && w.pixels != nil && e.Tag == TagPixelData && w.pixels.Length < 0:
			w.header(e.Tag, w.pixels.VR, undefined)
			w.flush()
			w.pieces = append(w.pieces, rewrittenPiece{pixels: w.pixels})
		case top && w.pixels != nil && e.Tag == TagPixelData:
			w.header(e.Tag, w.pixels.VR, w.pixels.Length+w.pixels.Length&1)
			w.flush()
			w.pieces = append(w.pieces, rewrittenPiece{pixels: w.pixels})
			w.pad(w.pixels.Length, 0)
		case e.Bulk != nil:
			if e.Bulk.Length < 0 || e.Bulk.Length+1 >= undefined {
				return fmt.Errorf("dicom: the value of %s can't be written anew", e.Tag)
			}
			w.header(e.Tag, e.VR, e.Bulk.Length+e.Bulk.Length&1)
			w.flush()
			swap := 1
			if ds.BigEndian {
				swap = e.VR.Unit()
			}
			w.pieces = append(w.pieces, rewrittenPiece{from: *e.Bulk, swap: swap})
			w.pad(e.Bulk.Length, e.VR.padding())
		case e.VR == SQ && (!w.explicit || hasBulk(e)):
			// It ends with a delimiter: its length would have to be known, and in
			// implicit VR only an undefined one shows that a private element is a
			// sequence.
			w.header(e.Tag, SQ, undefined)
			for _, item := range e.Items {
				w.out = append(w.out, 0xFE, 0xFF, 0x00, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF)
				if err := w.dataset(item, false); err != nil {
					return err
				}
				w.out = append(w.out, 0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0)
			}
			w.out = append(w.out, 0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0)
		default:
			if w.out, err = appendElement(w.out, ds, e, w.explicit); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *rewriter) pad(length int64, with byte) {
	if length&1 != 0 {
		w.out = append(w.out, with)
	}
}

func (w *rewriter) header(t Tag, vr VR, length int64) {
	if w.explicit && !vr.is(vrLong) && length > 0xFFFE {
		vr = UN // PS3.5 6.2.2 note 4: too long for a 16-bit length
	}
	var at int
	w.out, at = appendElementHeader(w.out, t, vr, w.explicit)
	if w.explicit && !vr.is(vrLong) {
		binary.LittleEndian.PutUint16(w.out[at:], uint16(length))
	} else {
		binary.LittleEndian.PutUint32(w.out[at:], uint32(length))
	}
}

// hasBulk says whether a sequence has values that were left in the stream.
func hasBulk(e *Element) bool {
	for _, item := range e.Items {
		for i := range item.Elements {
			if item.Elements[i].Bulk != nil || hasBulk(&item.Elements[i]) {
				return true
			}
		}
	}
	return false
}

// Length is the number of bytes that Open reads, -1 when it depends on pixel
// data that are encoded while they are read.
func (r *Rewritten) Length() (n int64) {
	for _, p := range r.pieces {
		switch {
		case p.bytes != nil:
			n += int64(len(p.bytes))
		case p.pixels == nil:
			n += p.from.Length
		case p.pixels.Length < 0 && p.pixels.Known == 0:
			return -1
		case p.pixels.Length < 0:
			n += p.pixels.Known
		default:
			n += p.pixels.Length
		}
	}
	return n
}

// Open reads the data set; stored opens ranges of the stream that was scanned.
// The pieces are read in order, each once.
func (r *Rewritten) Open(ctx context.Context, stored OpenRange) io.ReadCloser {
	return &rewrittenReader{ctx: ctx, pieces: r.pieces, stored: stored}
}

type rewrittenReader struct {
	ctx    context.Context
	pieces []rewrittenPiece
	stored OpenRange
	now    io.Reader
	close  io.Closer
	left   int64 // of a piece that must have a certain length
	exact  bool
}

func (r *rewrittenReader) Read(p []byte) (int, error) {
	for {
		if r.now == nil {
			if len(r.pieces) == 0 {
				return 0, io.EOF
			}
			if err := r.open(r.pieces[0]); err != nil {
				return 0, err
			}
			r.pieces = r.pieces[1:]
		}
		n, err := r.now.Read(p)
		r.left -= int64(n)
		if err == io.EOF { // only the bare value means the end
			err = nil
			if r.exact && r.left != 0 {
				return n, io.ErrUnexpectedEOF
			}
			r.now = nil
			if e := r.Close(); e != nil {
				return n, e
			}
		}
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
	}
}

func (r *rewrittenReader) open(p rewrittenPiece) error {
	r.exact = true
	switch {
	case p.bytes != nil:
		r.now, r.left = bytes.NewReader(p.bytes), int64(len(p.bytes))
		return nil
	case p.pixels != nil:
		body, err := p.pixels.Open(r.ctx)
		if err != nil {
			return err
		}
		r.now, r.close, r.left = body, body, p.pixels.Length
		r.exact = p.pixels.Length >= 0
		return nil
	}
	body, err := r.stored(p.from.Offset, p.from.Length)
	if err != nil {
		return err
	}
	r.now, r.close, r.left = body, body, p.from.Length
	if p.swap > 1 {
		r.now = &swappingReader{r: body, unit: p.swap}
	}
	return nil
}

func (r *rewrittenReader) Close() error {
	if r.close == nil {
		return nil
	}
	c := r.close
	r.close = nil
	return c.Close()
}

// swappingReader turns the bytes of each unit round.
type swappingReader struct {
	r    io.Reader
	unit int
	buf  []byte
	at   int // buf[at:end] is ready
	end  int
}

func (s *swappingReader) Read(p []byte) (int, error) {
	if s.at == s.end {
		if s.buf == nil {
			s.buf = make([]byte, 32<<10) // a multiple of every unit
		}
		n, err := io.ReadFull(s.r, s.buf)
		if n == 0 {
			if err == io.ErrUnexpectedEOF {
				err = io.EOF
			}
			return 0, err
		}
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return 0, err
		}
		for i := 0; i+s.unit <= n; i += s.unit {
			slices.Reverse(s.buf[i : i+s.unit])
		}
		s.at, s.end = 0, n
	}
	n := copy(p, s.buf[s.at:s.end])
	s.at += n
	return n, nil
}
