package file

import (
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/tasvir-pacs/tasvir/storage"
)

// section reads a range of a file.
type section struct {
	f    *os.File
	left int64
}

func newSection(f *os.File, offset, length int64) (*section, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fs.ErrNotExist
	}
	if length < 0 {
		length = info.Size() - offset
	}
	if offset > info.Size() || length > info.Size()-offset {
		return nil, fmt.Errorf("%w: offset %d, length %d, the object has %d bytes", storage.ErrRange, offset, length, info.Size())
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, err
	}
	return &section{f: f, left: length}, nil
}

func (s *section) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	n, err := s.f.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	if err == io.EOF { // os.File returns it bare; the file has shrunk under us
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// WriteTo lets the kernel copy the range (sendfile) when w is a socket: frames
// then go from the disk to the viewer without passing through this process.
func (s *section) WriteTo(w io.Writer) (int64, error) { return s.CopyN(w, s.left) }

// CopyN is WriteTo for the next n bytes.
func (s *section) CopyN(w io.Writer, n int64) (int64, error) {
	want := min(n, s.left)
	copied, err := io.Copy(w, &io.LimitedReader{R: s.f, N: want})
	s.left -= copied
	if err == nil && copied < want {
		err = io.ErrUnexpectedEOF
	}
	return copied, err
}

func (s *section) Close() error { return s.f.Close() }
