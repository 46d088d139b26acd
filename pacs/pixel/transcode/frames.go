package transcode

import (
	"context"
	"encoding/binary"
	"errors"
	"io"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/pixel"
)

// maxCoded bounds the bytes of one coded frame.
const maxCoded = 256 << 20

// frames decodes the frames of an instance, and encodes them anew.
type frames struct {
	t      *Transcoder
	source Source
	format pixel.Format // as the attributes say
	ranges [][]dicom.Range
	target string

	// native is the form in which frames are decoded, and coded what they are then
	// encoded to: those of the first.
	native, coded pixel.Format
	first         []byte // the first frame in the target's form, until it is used
}

// read reads the coded bytes of a frame.
func (f *frames) read(n int) ([]byte, error) {
	total := int64(0)
	for _, r := range f.ranges[n] {
		if total += r.Length; total > maxCoded {
			return nil, pacs.Errorf(pacs.Unsupported, "Frame %d has more than 256 MiB", n+1)
		}
	}
	coded := make([]byte, 0, total)
	for _, r := range f.ranges[n] {
		body, err := f.source.Open(r.Offset, r.Length)
		if err != nil {
			return nil, err
		}
		at := len(coded)
		coded = coded[:at+int(r.Length)]
		_, err = io.ReadFull(body, coded[at:])
		if err = errors.Join(err, body.Close()); err != nil {
			return nil, err
		}
	}
	return coded, nil
}

// frame gives a frame in the target's form, with the attributes that it was
// decoded and encoded to.
func (f *frames) frame(ctx context.Context, n int) (data []byte, native, coded pixel.Format, err error) {
	if data, err = f.read(n); err != nil {
		return nil, native, coded, err
	}
	frame, err := f.t.codecs().Decode(ctx, f.source.Header.TransferSyntax, f.format, data)
	if err != nil {
		return nil, native, coded, err
	}
	data, coded, err = f.t.codecs().Encode(ctx, f.target, frame, f.t.Options)
	if ts, _ := dicom.LookupTransferSyntax(f.target); err == nil && !ts.Encapsulated {
		data = frame.Pixels // without padding: frames follow one another
	}
	return data, frame.Format, coded, err
}

// begin decodes the first frame.
func (f *frames) begin(ctx context.Context) (err error) {
	f.first, f.native, f.coded, err = f.frame(ctx, 0)
	return err
}

// next gives frame n; all have the form of the first.
func (f *frames) next(ctx context.Context, n int) ([]byte, error) {
	if n == 0 && f.first != nil {
		first := f.first
		f.first = nil
		return first, nil
	}
	data, native, coded, err := f.frame(ctx, n)
	switch {
	case err != nil:
		return nil, err
	case native != f.native || coded != f.coded:
		return nil, pacs.Errorf(pacs.Unsupported, "Frame %d is of another kind than the first", n+1)
	}
	return data, nil
}

// frameReader reads frames one after another, each as an item when encapsulated.
type frameReader struct {
	ctx          context.Context
	frames       *frames
	encapsulated bool
	n            int
	left         []byte
	ended        bool
}

func (f *frames) open(encapsulated bool) func(context.Context) (io.ReadCloser, error) {
	return func(ctx context.Context) (io.ReadCloser, error) {
		r := &frameReader{ctx: ctx, frames: f, encapsulated: encapsulated}
		if encapsulated {
			r.left = appendItem(nil, 0) // an empty basic offset table
		}
		return r, nil
	}
}

func (r *frameReader) Read(p []byte) (int, error) {
	for len(r.left) == 0 {
		switch {
		case r.n < len(r.frames.ranges):
			data, err := r.frames.next(r.ctx, r.n)
			if err != nil {
				return 0, err
			}
			r.n++
			if !r.encapsulated {
				r.left = data
				continue
			}
			r.left = append(appendItem(make([]byte, 0, len(data)+9), len(data)), data...)
		case r.encapsulated && !r.ended:
			r.ended, r.left = true, delimiter()
		default:
			return 0, io.EOF
		}
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}

func (r *frameReader) Close() error { return nil }

// appendItem appends the header of an item, PS3.5 A.4.
func appendItem(out []byte, length int) []byte {
	return binary.LittleEndian.AppendUint32(append(out, 0xFE, 0xFF, 0x00, 0xE0), uint32(length))
}

// delimiter ends the items.
func delimiter() []byte { return []byte{0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0} }
