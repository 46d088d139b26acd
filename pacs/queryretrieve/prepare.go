package queryretrieve

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/transcode"
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
	files      Files
	transcoder Transcoder
	accepted   accepted

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

// converted prepares an instance in a transfer syntax that it is not kept in.
func (r *reader) converted(ctx context.Context, p prepared, file pacs.File, takes []string) prepared {
	t := r.transcoder
	if t == nil {
		t = &transcode.Transcoder{}
	}
	target, body, err := t.Transcode(ctx, p.instance, file, takes)
	if pacs.CodeOf(err) == pacs.Unsupported {
		err = fmt.Errorf("%w: %w", ErrNotTaken, err)
	}
	if err != nil {
		p.err = err
		return p
	}
	p.item.TransferSyntaxUID = target
	p.item.Data, p.close = bufio.NewReaderSize(body, 64<<10), func() { _ = body.Close() }
	return p
}
