package dicom

import (
	"bufio"
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
)

// Amended is an instance with some attributes changed, made while it is read:
// new bytes where something changes, ranges of the stored file for all else.
// It holds no more than the changes.
type Amended struct {
	// Unchanged says that there was nothing to change.
	Unchanged bool

	size     int64 // of the stored file
	dataset  int64 // where its data set begins
	deflated bool
	limit    int64 // of the inflated data set
	pieces   []amendedPiece
	length   int64 // of pieces; not when deflated
}

// amendedPiece is a run of bytes: new ones, or those of the stored file (the
// inflated data set if deflated) from start; end -1 is its end.
type amendedPiece struct {
	bytes      []byte
	start, end int64
}

func (p amendedPiece) length() int64 {
	if p.bytes != nil {
		return int64(len(p.bytes))
	}
	return p.end - p.start
}

// Amend reads the header of a stored instance of size bytes, up to the pixel
// data, and prepares it for being read with other attributes (PS3.10 files and
// bare data sets of every transfer syntax). What is not changed is the same
// byte for byte, with these exceptions: group lengths of groups that change
// are left out, a deflated data set is deflated anew, and where the new values
// need UTF-8 all text becomes UTF-8.
//
// The previous values go into the Original Attributes Sequence. Errors are
// those of Scan.
func Amend(r io.Reader, size int64, opt AmendOptions) (*Amended, error) {
	t := &trace{}
	h, err := scan(r, opt.Scan, t)
	if err != nil {
		return nil, err
	}
	a := &Amended{size: size, dataset: h.DatasetOffset, deflated: h.Deflated, limit: opt.Scan.withDefaults().MaxInflated}
	changes := opt.Changes(h.Dataset)
	if len(changes) == 0 {
		a.Unchanged, a.length = true, size
		return a, nil
	}
	end := size
	if a.deflated {
		end = -1
	}
	return a, a.assemble(amend(h, t, changes, opt), end)
}

// assemble makes the pieces: what is stored up to end, -1 for all of a deflated
// data set, with edits.
func (a *Amended) assemble(edits []edit, end int64) error {
	at := int64(0)
	stored := func(start, end int64) {
		if start != end {
			a.pieces = append(a.pieces, amendedPiece{start: start, end: end})
		}
	}
	for _, e := range edits {
		if e.start < at {
			return fmt.Errorf("dicom: two changes at byte %d of a data set", e.start)
		}
		stored(at, e.start)
		if len(e.bytes) > 0 {
			a.pieces = append(a.pieces, amendedPiece{bytes: e.bytes})
		}
		at = e.end
	}
	stored(at, end)
	if a.deflated {
		return nil
	}
	for _, p := range a.pieces {
		a.length += p.length()
	}
	return nil
}

// Held is how many bytes of changes are held in memory.
func (a *Amended) Held() (n int64) {
	for _, p := range a.pieces {
		n += int64(len(p.bytes))
	}
	return n
}

// OpenRange opens length bytes of the stored file from offset.
type OpenRange func(offset, length int64) (io.ReadCloser, error)

// Length is the number of bytes of the amended file. Of a deflated data set it
// is found by deflating it once, for which the file is read.
func (a *Amended) Length(stored OpenRange) (int64, error) {
	if a.Unchanged || !a.deflated {
		return a.length, nil
	}
	r, err := a.openDeflated(stored)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(io.Discard, r)
	return n, errors.Join(err, r.Close())
}

// Open reads n bytes of the amended file from offset; both must lie within its
// Length. It reads the stored file once, in order.
func (a *Amended) Open(offset, n int64, stored OpenRange) (io.ReadCloser, error) {
	if a.Unchanged {
		return stored(offset, n)
	}
	if a.deflated {
		r, err := a.openDeflated(stored)
		if err != nil {
			return nil, err
		}
		if _, err := io.CopyN(io.Discard, r, offset); err != nil {
			return nil, errors.Join(err, r.Close())
		}
		return readCloser{io.LimitReader(r, n), r}, nil
	}
	var cut []amendedPiece
	first, last := int64(-1), int64(0)
	for _, p := range a.pieces {
		skip := min(offset, p.length())
		offset -= skip
		keep := min(n, p.length()-skip)
		n -= keep
		if keep == 0 {
			continue
		}
		if p.bytes != nil {
			cut = append(cut, amendedPiece{bytes: p.bytes[skip : skip+keep]})
			continue
		}
		p = amendedPiece{start: p.start + skip, end: p.start + skip + keep}
		if first < 0 {
			first = p.start
		}
		last = p.end
		cut = append(cut, p)
	}
	if offset > 0 || n > 0 {
		return nil, errors.New("dicom: the range is not within the amended file")
	}
	src := io.NopCloser(bytes.NewReader(nil))
	if first >= 0 {
		var err error
		if src, err = stored(first, last-first); err != nil {
			return nil, err
		}
	}
	return readCloser{&piecesReader{pieces: cut, src: src, at: max(first, 0)}, src}, nil
}

type readCloser struct {
	io.Reader
	io.Closer
}

// openDeflated reads the whole file, deflated anew (PS3.5 A.5).
func (a *Amended) openDeflated(stored OpenRange) (io.ReadCloser, error) {
	src, err := stored(0, a.size)
	if err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(src, 64<<10)
	meta := make([]byte, a.dataset)
	if _, err := io.ReadFull(in, meta); err != nil {
		return nil, errors.Join(err, src.Close())
	}
	inflated := &cappedReader{flate.NewReader(in), a.limit}
	d := &deflatingReader{src: &piecesReader{pieces: a.pieces, src: inflated}, written: a.dataset}
	d.zip, _ = flate.NewWriter(&d.out, flate.DefaultCompression) // the level is valid
	return readCloser{io.MultiReader(bytes.NewReader(meta), d), src}, nil
}

// piecesReader reads pieces; those of src come in order, with gaps.
type piecesReader struct {
	pieces []amendedPiece
	within int // how much of the first piece's bytes has been read
	src    io.Reader
	at     int64 // of src
}

func (r *piecesReader) Read(b []byte) (n int, err error) {
	for len(r.pieces) > 0 && len(b) > 0 {
		p := r.pieces[0]
		if p.bytes != nil {
			n = copy(b, p.bytes[r.within:])
			if r.within += n; r.within == len(p.bytes) {
				r.pieces, r.within = r.pieces[1:], 0
			}
			return n, nil
		}
		if r.at < p.start {
			skipped, err := io.CopyN(io.Discard, r.src, p.start-r.at)
			if r.at += skipped; err != nil {
				return 0, early(err)
			}
		}
		toEnd := p.end < 0
		if !toEnd && int64(len(b)) > p.end-r.at {
			b = b[:p.end-r.at]
		}
		n, err = r.src.Read(b)
		r.at += int64(n)
		switch {
		case !toEnd && r.at == p.end, toEnd && err == io.EOF:
			r.pieces, err = r.pieces[1:], nil
		case err == io.EOF:
			err = io.ErrUnexpectedEOF
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
	if len(r.pieces) > 0 {
		return 0, nil
	}
	return 0, io.EOF
}

func early(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// deflatingReader deflates src while it is read, padded to an even length of
// the file.
type deflatingReader struct {
	src     io.Reader
	zip     *flate.Writer
	out     bytes.Buffer
	chunk   [32 << 10]byte
	written int64
	ended   bool
}

func (d *deflatingReader) Read(b []byte) (int, error) {
	for d.out.Len() == 0 {
		if d.ended {
			return 0, io.EOF
		}
		n, err := d.src.Read(d.chunk[:])
		if _, err := d.zip.Write(d.chunk[:n]); err != nil {
			return 0, err
		}
		if err == io.EOF {
			err = d.zip.Close()
			if d.ended = true; err == nil && (d.written+int64(d.out.Len()))&1 == 1 {
				d.out.WriteByte(0)
			}
		}
		if err != nil {
			return 0, err
		}
	}
	n, _ := d.out.Read(b)
	d.written += int64(n)
	return n, nil
}
