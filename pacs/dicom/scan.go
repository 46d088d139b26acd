package dicom

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

// ScanOptions bound what Scan accepts. Zero values mean the defaults.
type ScanOptions struct {
	// TransferSyntax is the encoding of a bare data set, as C-STORE sends it.
	// "" means a Part 10 file: preamble, "DICM", group 2.
	TransferSyntax string
	// MaxValue is the longest value in bytes that is kept (default 64 KiB).
	// Longer ones stay in the stream, described by Element.Bulk. Pixel data
	// always stays; offset tables never do.
	MaxValue int
	// MaxHeader bounds the bytes of all values kept (default 64 MiB).
	MaxHeader int64
	// MaxDepth bounds the nesting of sequences (default 32).
	MaxDepth int
	// MaxElements bounds the number of elements, items and fragments
	// (default 4 million); each costs up to about 100 bytes.
	MaxElements int
	// MaxInflated bounds the inflated size of a deflated data set (default 2 GiB).
	MaxInflated int64
	// FallbackCharset is passed to Dataset.SetFallbackCharset.
	FallbackCharset string
}

func (o ScanOptions) withDefaults() ScanOptions {
	if o.MaxValue <= 0 {
		o.MaxValue = 64 << 10
	}
	if o.MaxHeader <= 0 {
		o.MaxHeader = 64 << 20
	}
	if o.MaxDepth <= 0 {
		o.MaxDepth = 32
	}
	if o.MaxElements <= 0 {
		o.MaxElements = 4 << 20
	}
	if o.MaxInflated <= 0 {
		o.MaxInflated = 2 << 30
	}
	return o
}

// Scan reads one instance from r until EOF and returns what is worth keeping
// of it. r is read sequentially, every byte once (unless it is a Skipper, then
// bulk values are jumped over).
//
// A stream that is no complete data set gives a *ScanError; the Header then
// holds what was read so far, and the rest of r is unread. An error of r itself
// is returned unchanged, wrapped.
func Scan(r io.Reader, opt ScanOptions) (*Header, error) { return scan(r, opt, nil) }

func scan(r io.Reader, opt ScanOptions, t *trace) (*Header, error) {
	s := scanners.Get().(*scanner)
	defer s.release()
	s.src.reset(r)
	s.opt = opt.withDefaults()
	s.explicit, s.order = true, binary.LittleEndian
	h := &Header{Dataset: &Dataset{fallback: opt.FallbackCharset}}
	s.h = h
	err := s.scan(t)
	if err != nil {
		err = s.explain(err)
	}
	return h, err
}

// scanners are reused for their buffers.
var scanners = sync.Pool{New: func() any { return new(scanner) }}

type scanner struct {
	src source
	opt ScanOptions
	h   *Header

	explicit bool
	order    binary.ByteOrder
	signed   bool // Pixel Representation is 1: "US or SS" is SS

	tag   Tag // being read, for errors
	kept  int64
	count int

	trace *trace // where things are, for Amend; else nil

	stack []Element  // elements of the data sets being read, innermost last
	items []*Dataset // likewise items

	bytesSlab   []byte
	elementSlab []Element
	datasetSlab []Dataset
}

func (s *scanner) release() {
	stack, items, buf := s.stack[:0], s.items[:0], s.src.buf
	if cap(stack) > 4096 || cap(items) > 4096 { // don't keep what one hostile file needed
		stack, items = nil, nil
	}
	*s = scanner{stack: stack, items: items}
	s.src.buf = buf
	scanners.Put(s)
}

func (s *scanner) fail(kind ErrorKind, format string, args ...any) error {
	return &ScanError{Kind: kind, Tag: s.tag, Offset: s.src.offset, Msg: fmt.Sprintf(format, args...)}
}

// explain turns what ended the scan into the error Scan promises.
func (s *scanner) explain(err error) error {
	var known *ScanError
	var corrupt flate.CorruptInputError
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return s.fail(Truncated, "the stream ends too early")
	case errors.Is(err, errInflated):
		return s.fail(TooLarge, "%v", err)
	case errors.As(err, &corrupt):
		return s.fail(Malformed, "the deflated data set is corrupt: %v", err)
	}
	return fmt.Errorf("dicom: reading at byte %d: %w", s.src.offset, err)
}

func (s *scanner) scan(t *trace) error {
	h := s.h
	h.Declared = s.opt.TransferSyntax
	if s.opt.TransferSyntax == "" {
		if err := s.readFileMeta(); err != nil {
			return err
		}
	}
	h.DatasetOffset = s.src.offset
	if err := s.chooseSyntax(); err != nil {
		return err
	}
	if t != nil {
		t.explicit, t.order = s.explicit, s.order
		s.trace = t
	}
	if ts, _ := LookupTransferSyntax(h.TransferSyntax); ts.Deflated {
		return s.scanDeflated()
	}
	err := s.readDataset(h.Dataset, -1, 0)
	h.Length = s.src.offset
	return err
}

// readFileMeta reads preamble, prefix and group 2 (PS3.10 7.1), or finds out
// that there are none and the stream is a bare data set, as old files are.
func (s *scanner) readFileMeta() error {
	head := s.src.peek(132)
	switch {
	case len(head) == 132 && string(head[128:]) == "DICM":
		s.src.advance(132)
	case len(head) >= 8 && head[0] == 2 && head[1] == 0 && head[3] == 0:
		// Group 2 without a preamble.
	default:
		if _, ok := guessSyntax(s.src.peek(16), true); ok {
			return nil
		}
		if s.src.err != nil && s.src.err != io.EOF {
			return s.src.err
		}
		return s.fail(NotDICOM, `no "DICM" behind a preamble of 128 bytes, and no data set at the beginning`)
	}
	// The meta information ends where the tag's group is no longer 2. Its own
	// group length is wrong or missing too often to be worth reading.
	meta := &Dataset{}
	s.h.Meta = meta
	if b := s.src.peek(6); len(b) == 6 && !(VR(b[4])<<8 | VR(b[5])).Known() {
		s.explicit = false
	}
	base := len(s.stack)
	for {
		b := s.src.peek(2)
		if len(b) < 2 || binary.LittleEndian.Uint16(b) != 2 {
			break
		}
		if _, err := s.readElement(meta, -1, 0); err != nil {
			meta.Elements = s.popElements(base)
			return err
		}
	}
	meta.Elements = s.popElements(base)
	s.explicit = true
	s.h.Declared = meta.String(TagTransferSyntaxUID)
	return nil
}

// chooseSyntax sets the reader up for the declared transfer syntax, corrected
// by what the first element looks like.
func (s *scanner) chooseSyntax() error {
	h := s.h
	h.TransferSyntax = h.Declared
	if h.Meta != nil && len(s.src.peek(8)) < 8 {
		return s.src.short() // an instance has at least one element
	}
	ts, known := LookupTransferSyntax(h.Declared)
	switch {
	case h.Declared == "":
		guess, ok := guessSyntax(s.src.peek(16), true)
		if !ok {
			guess, ok = guessSyntax(s.src.peek(16), false)
		}
		if !ok {
			return s.fail(NotDICOM, "no transfer syntax is declared and the first element can't be recognised")
		}
		h.TransferSyntax = guess
		ts, _ = LookupTransferSyntax(guess)
	case h.Declared == "1.2.840.10008.1.2.6.1", h.Declared == "1.2.840.10008.1.2.6.2":
		return s.fail(UnsupportedSyntax, "%s is not an encoding of data sets", ts.Name)
	case !known:
		// Private syntaxes are explicit little endian with their own way to
		// compress pixels, PS3.5 10.
		if ValidUID(h.Declared) != nil {
			return s.fail(UnsupportedSyntax, "%q is no UID", h.Declared)
		}
	}
	if h.Declared != "" {
		// Only what contradicts the declaration beyond doubt overrules it.
		if guess, ok := guessSyntax(s.src.peek(16), true); ok {
			g, _ := LookupTransferSyntax(guess)
			if ts.Deflated || g.Implicit != ts.Implicit || g.BigEndian != ts.BigEndian {
				if ts.Encapsulated || !known {
					// The pixels are what was declared; only the rest isn't.
					guess = h.Declared
				}
				h.TransferSyntax = guess
				ts = g
			}
		}
	}
	s.explicit = !ts.Implicit
	if ts.BigEndian {
		s.order = binary.BigEndian
		h.Dataset.BigEndian = true
	}
	return nil
}

// guessSyntax tells from the first bytes of a data set how it is encoded. A
// strict guess wants a first attribute that data sets begin with and that the
// dictionary knows.
func guessSyntax(b []byte, strict bool) (uid string, ok bool) {
	if len(b) < 8 {
		return "", false
	}
	for _, uid := range []string{ExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian} {
		ts := transferSyntaxByUID[uid]
		var order binary.ByteOrder = binary.LittleEndian
		if ts.BigEndian {
			order = binary.BigEndian
		}
		tag := NewTag(order.Uint16(b), order.Uint16(b[2:]))
		if group := tag.Group(); strict && (group < 0x0002 || group > 0x0020 || group&1 != 0) || group > 0x7FFF {
			continue
		}
		entry, known := lookup(tag, false)
		if strict && !known {
			continue
		}
		vr := VR(b[4])<<8 | VR(b[5])
		if !ts.Implicit {
			if vr.Known() && (!strict || entry.vr == vr || vr == UN) {
				return uid, true
			}
			continue
		}
		// The first attribute is short; rubbish in place of a VR, read as an
		// implicit length, is not.
		longest := uint32(1 << 24)
		if strict {
			longest = 4 << 10
		}
		if length := order.Uint32(b[4:]); !vr.Known() && (length == undefined || length < longest) {
			return uid, true
		}
	}
	return "", false
}

// scanDeflated reads the data set through an inflater (PS3.5 A.5) and drains
// the stream behind it.
func (s *scanner) scanDeflated() error {
	h := s.h
	h.Deflated = true
	// What is buffered was read from the stream already and comes first.
	buffered := bytes.Clone(s.src.buf[s.src.pos:s.src.end])
	rest := s.src.r
	if s.src.err != nil {
		rest = failingReader{s.src.err}
	}
	raw := &countingReader{r: io.MultiReader(bytes.NewReader(buffered), rest), n: s.src.offset}
	in := bufio.NewReaderSize(raw, 16<<10)
	inflater := flate.NewReader(in)
	defer inflater.Close()
	s.src.reset(&cappedReader{inflater, s.opt.MaxInflated})
	if err := s.readDataset(h.Dataset, -1, 0); err != nil {
		return err
	}
	if s.trace != nil {
		return nil
	}
	// Behind the deflated bytes there may be one byte of padding.
	if _, err := io.Copy(io.Discard, in); err != nil {
		return err
	}
	h.Length = raw.n
	return nil
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) { return 0, f.err }
