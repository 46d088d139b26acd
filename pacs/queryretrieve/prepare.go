package queryretrieve

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
)

const (
	// ahead is how many instances are read before they can be sent: reading goes
	// on while the peer stores.
	ahead = 2
	// inMemory is the size in bytes up to which an instance is read at once; longer
	// ones are read while they are sent.
	inMemory = 4 << 20
	// maxRun bounds one read of a pack, for instances that lie in it one behind
	// the other, and maxGap what is read over in between.
	maxRun = 64 << 20
	maxGap = 64 << 10
	// maxInflated bounds a deflated data set that is sent in another syntax.
	maxInflated = 256 << 20
)

// accepted says in which transfer syntaxes a peer takes instances of a class.
type accepted map[string][]string

// prepared is an instance ready to be sent, or the reason why it can't be.
type prepared struct {
	instance pacs.Instance
	item     dimse.StoreItem
	close    func()
	err      error
}

// ErrNotTaken says that a peer takes an instance in no syntax that we can give.
var ErrNotTaken = errors.New("the peer takes the instance in no transfer syntax that it can be sent in")

// buffers hold short instances until they are sent.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// reader reads instances in the order in which they are sent. It belongs to one
// goroutine.
type reader struct {
	files    Files
	decoder  Decoder
	accepted accepted

	run    io.ReadCloser // of runKey, at runAt, until runEnd
	runKey string
	runAt  int64
	runEnd int64
}

// prepare reads an instance, following are those that will be asked for next.
func (r *reader) prepare(ctx context.Context, i pacs.Instance, following []pacs.Instance) prepared {
	p := prepared{instance: i, close: func() {}}
	if i.PixelsDeleted != nil {
		p.err = fmt.Errorf("its pixel data were deleted by the retention policy %s", i.PixelsDeleted.Policy)
		return p
	}
	p.item = dimse.StoreItem{SOPClassUID: i.SOPClassUID, SOPInstanceUID: i.SOPInstanceUID, TransferSyntaxUID: i.TransferSyntaxUID}
	takes := r.accepted[i.SOPClassUID]
	verbatim := slices.Contains(takes, i.TransferSyntaxUID)
	if verbatim && i.Amendment == nil && i.Location.Length <= inMemory {
		buf := buffers.Get().(*[]byte)
		data, err := r.stored(ctx, i, following, *buf)
		*buf = data[:0]
		p.item.Data, p.err, p.close = bytes.NewReader(data), err, func() { buffers.Put(buf) }
		return p
	}
	file, err := r.files.Instance(ctx, i)
	if err != nil {
		p.err = err
		return p
	}
	if !verbatim {
		return r.converted(ctx, p, file, takes)
	}
	body, err := file.Open(ctx, i.Location.DatasetOffset, file.Length-i.Location.DatasetOffset)
	if err != nil {
		p.err = err
		return p
	}
	if file.Length <= inMemory {
		data, err := io.ReadAll(body)
		p.item.Data, p.err = bytes.NewReader(data), errors.Join(err, body.Close())
		return p
	}
	p.item.Data, p.close = body, func() { _ = body.Close() }
	return p
}

// stored reads the data set of a short instance as it is kept. Instances that lie
// behind one another in a pack are read with one request.
func (r *reader) stored(ctx context.Context, i pacs.Instance, following []pacs.Instance, buf []byte) ([]byte, error) {
	loc := i.Location
	if r.run == nil || r.runKey != loc.PackKey || loc.Offset < r.runAt || loc.Offset > r.runAt+maxGap || loc.Offset+loc.Length > r.runEnd {
		if err := r.open(ctx, loc, following); err != nil {
			return buf, err
		}
	}
	from := loc.Offset + loc.DatasetOffset
	if _, err := io.CopyN(io.Discard, r.run, from-r.runAt); err != nil {
		r.end()
		return buf, broken(err)
	}
	data := slices.Grow(buf[:0], int(loc.Length-loc.DatasetOffset))[:loc.Length-loc.DatasetOffset]
	if _, err := io.ReadFull(r.run, data); err != nil {
		r.end()
		return buf, broken(err)
	}
	if r.runAt = loc.Offset + loc.Length; r.runAt >= r.runEnd {
		r.end()
	}
	return data, nil
}

func broken(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// open begins a run of the pack at loc that reaches over as many of the following
// instances as lie behind it in order.
func (r *reader) open(ctx context.Context, loc pacs.Location, following []pacs.Instance) error {
	r.end()
	end := loc.Offset + loc.Length
	for _, f := range following {
		next := f.Location
		if next.PackKey != loc.PackKey || f.Amendment != nil || next.Length > inMemory || next.Offset < end || next.Offset > end+maxGap ||
			next.Offset+next.Length > loc.Offset+maxRun || !slices.Contains(r.accepted[f.SOPClassUID], f.TransferSyntaxUID) {
			break
		}
		end = next.Offset + next.Length
	}
	all := pacs.Location{PackID: loc.PackID, PackKey: loc.PackKey, Offset: loc.Offset, Length: end - loc.Offset}
	body, err := r.files.Open(ctx, all, 0, all.Length)
	if err != nil {
		return err
	}
	r.run, r.runKey, r.runAt, r.runEnd = body, loc.PackKey, loc.Offset, end
	return nil
}

// end closes the run.
func (r *reader) end() {
	if r.run != nil {
		_ = r.run.Close()
		r.run = nil
	}
}

// converted prepares an instance in a transfer syntax that it is not kept in:
// explicit, else implicit little endian.
func (r *reader) converted(ctx context.Context, p prepared, file pacs.File, takes []string) prepared {
	target := ""
	for _, ts := range []string{dicom.ExplicitVRLittleEndian, dicom.ImplicitVRLittleEndian} {
		if slices.Contains(takes, ts) {
			target = ts
			break
		}
	}
	ts, known := dicom.LookupTransferSyntax(p.instance.TransferSyntaxUID)
	if target == "" || !known {
		p.err = ErrNotTaken
		return p
	}
	p.item.TransferSyntaxUID = target
	open := func(offset, length int64) (io.ReadCloser, error) { return file.Open(ctx, offset, length) }
	source := io.Reader(&fileReader{ctx: ctx, file: file})
	if ts.Deflated {
		data, err := inflated(ctx, p.instance, file)
		if err != nil {
			p.err = err
			return p
		}
		if target == dicom.ExplicitVRLittleEndian { // which is what was deflated
			p.item.Data = bytes.NewReader(data)
			return p
		}
		source = dicom.NewSkipReader(bytes.NewReader(data), 0, int64(len(data)))
		open = func(offset, length int64) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(data[offset : offset+length])), nil
		}
	}
	opt := dicom.ScanOptions{}
	if ts.Deflated {
		opt.TransferSyntax = dicom.ExplicitVRLittleEndian
	}
	h, err := dicom.Scan(source, opt)
	if f, ok := source.(*fileReader); ok {
		f.close()
	}
	if err != nil {
		p.err = err
		return p
	}
	var pixels *dicom.NativePixels
	if h.PixelData != nil && h.PixelData.Encapsulated {
		if r.decoder == nil {
			p.err = ErrNotTaken
			return p
		}
		if pixels, err = r.decoder.Decode(ctx, h, open); err != nil {
			p.err = err
			return p
		}
	}
	w, err := h.Rewrite(target, pixels)
	if err != nil {
		p.err = err
		return p
	}
	body := w.Open(ctx, open)
	p.item.Data, p.close = bufio.NewReaderSize(body, 64<<10), func() { _ = body.Close() }
	return p
}

// inflated returns the data set of a deflated instance.
func inflated(ctx context.Context, i pacs.Instance, file pacs.File) ([]byte, error) {
	body, err := file.Open(ctx, i.Location.DatasetOffset, file.Length-i.Location.DatasetOffset)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	data, err := io.ReadAll(io.LimitReader(flate.NewReader(bufio.NewReader(body)), maxInflated+1))
	if err == nil && len(data) > maxInflated {
		err = errors.New("its data set inflates to more than 256 MiB")
	}
	return data, err
}

// fileReader reads a file from its beginning and can skip, which opens it anew
// behind what is skipped.
type fileReader struct {
	ctx  context.Context
	file pacs.File
	at   int64
	body io.ReadCloser
}

func (f *fileReader) Read(p []byte) (int, error) {
	if f.at == f.file.Length {
		return 0, io.EOF
	}
	if f.body == nil {
		body, err := f.file.Open(f.ctx, f.at, f.file.Length-f.at)
		if err != nil {
			return 0, err
		}
		f.body = body
	}
	n, err := f.body.Read(p)
	f.at += int64(n)
	return n, err
}

func (f *fileReader) Skip(n int64) error {
	const worthwhile = 1 << 20
	if n > f.file.Length-f.at {
		return io.ErrUnexpectedEOF
	}
	if n < worthwhile {
		_, err := io.CopyN(io.Discard, f, n)
		return err
	}
	f.close()
	f.at += n
	return nil
}

func (f *fileReader) close() {
	if f.body != nil {
		_ = f.body.Close()
		f.body = nil
	}
}
