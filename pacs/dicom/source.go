package dicom

import (
	"errors"
	"io"
)

// Skipper is a reader that can jump. Scan uses it to pass over bulk values
// without reading them. Skip moves n bytes ahead; when fewer are left it
// returns io.ErrUnexpectedEOF (or io.EOF).
type Skipper interface {
	Skip(n int64) error
}

// NewSkipReader reads n bytes of r from off and can skip. Offsets that Scan
// reports then count from off.
func NewSkipReader(r io.ReaderAt, off, n int64) io.Reader {
	return &skipReader{io.NewSectionReader(r, off, n)}
}

type skipReader struct{ section *io.SectionReader }

func (r *skipReader) Read(p []byte) (int, error) { return r.section.Read(p) }

func (r *skipReader) Skip(n int64) error {
	at, err := r.section.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	if n > r.section.Size()-at {
		return io.ErrUnexpectedEOF
	}
	_, err = r.section.Seek(n, io.SeekCurrent)
	return err
}

// source is the scanner's view of the stream: a window of buffered bytes and
// the position in the stream.
type source struct {
	r        io.Reader
	skipper  Skipper
	buf      []byte
	pos, end int   // the window is buf[pos:end]
	offset   int64 // stream position of buf[pos]
	err      error // what r ended with; io.EOF for a proper end
}

const sourceBuffer = 64 << 10

// errInflated is what a deflated data set ends with that inflates to more than
// ScanOptions.MaxInflated.
var errInflated = errors.New("the deflated data set is larger than allowed")

// cappedReader passes n bytes and fails when there are more.
type cappedReader struct {
	r io.Reader
	n int64
}

func (c *cappedReader) Read(p []byte) (int, error) {
	if c.n < 0 {
		return 0, errInflated
	}
	if int64(len(p)) > c.n+1 {
		p = p[:c.n+1]
	}
	n, err := c.r.Read(p)
	if c.n -= int64(n); c.n < 0 {
		return n - 1, errInflated
	}
	return n, err
}

func (s *source) reset(r io.Reader) {
	skipper, _ := r.(Skipper)
	*s = source{r: r, skipper: skipper, buf: s.buf}
	if s.buf == nil {
		s.buf = make([]byte, sourceBuffer)
	}
}

// peek returns the next n bytes without consuming them, fewer at the end of
// the stream. n is at most sourceBuffer.
func (s *source) peek(n int) []byte {
	if s.end-s.pos < n {
		s.fill(n)
	}
	return s.buf[s.pos:min(s.pos+n, s.end)]
}

func (s *source) fill(n int) {
	if s.pos > 0 {
		copy(s.buf, s.buf[s.pos:s.end])
		s.end -= s.pos
		s.pos = 0
	}
	idle := 0
	for s.end < n && s.err == nil {
		k, err := s.r.Read(s.buf[s.end:])
		s.end += k
		if k == 0 && err == nil {
			if idle++; idle == 100 {
				err = io.ErrNoProgress
			}
		}
		s.err = err
	}
}

// advance consumes n bytes that peek has shown.
func (s *source) advance(n int) {
	s.pos += n
	s.offset += int64(n)
}

// read fills dst. It fails with io.ErrUnexpectedEOF or the reader's error.
func (s *source) read(dst []byte) error {
	for len(dst) > 0 {
		b := s.peek(1)
		if len(b) == 0 {
			return s.short()
		}
		n := copy(dst, s.buf[s.pos:s.end])
		s.advance(n)
		dst = dst[n:]
	}
	return nil
}

// skip passes over n bytes.
func (s *source) skip(n int64) error {
	for n > 0 {
		if s.pos == s.end {
			if s.skipper != nil && n >= sourceBuffer && s.err == nil {
				if err := s.skipper.Skip(n); err != nil {
					if s.err = err; err == io.ErrUnexpectedEOF {
						s.err = io.EOF
					}
					return s.short()
				}
				s.offset += n
				return nil
			}
			if len(s.peek(1)) == 0 {
				return s.short()
			}
		}
		k := int(min(n, int64(s.end-s.pos)))
		s.advance(k)
		n -= int64(k)
	}
	return nil
}

// short is the error for a stream that ended where more was needed.
func (s *source) short() error {
	if s.err == nil || s.err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return s.err
}

// atEnd tells whether the stream has ended, in whatever way.
func (s *source) atEnd() bool { return len(s.peek(1)) == 0 }
