package dicomweb

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/pixel"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/transcode"
)

// What is made for an answer, frames in another transfer syntax and pictures, is
// sent as slowly as its reader takes it. A hundred readers that take nothing would
// keep gigabytes in memory, so there is a bound for all of them together, and what
// is over it waits in files that have no name.
const (
	// outgoingMemory is what may wait for readers in memory, in bytes.
	outgoingMemory = 192 << 20
	// outgoingLeast waits in memory in any case.
	outgoingLeast = 64 << 10
	// recodingMemory is what all frames that are being recoded may take together,
	// by estimate, in bytes. What alone takes more is recoded when nothing else is.
	recodingMemory = 256 << 20
)

// outgoing is something made that waits for its reader. It may be closed again.
type outgoing struct {
	io.ReaderAt
	size  int64
	close func()
}

// outgoing keeps data until it is closed. Whoever has made data must forget it.
func (s *service) outgoing(data []byte) (*outgoing, error) {
	size := int64(len(data))
	if size <= outgoingLeast {
		return &outgoing{bytes.NewReader(data), size, func() {}}, nil
	}
	if s.waiting.TryAcquire(size) {
		return &outgoing{bytes.NewReader(data), size, sync.OnceFunc(func() { s.waiting.Release(size) })}, nil
	}
	return s.spooled(bytes.NewReader(data))
}

// spooled copies what src gives into a file, which is gone when it is closed.
func (s *service) spooled(src io.Reader) (*outgoing, error) {
	file, err := os.CreateTemp(s.TempDir, "tasvir-outgoing-")
	if err != nil {
		return nil, err
	}
	_ = os.Remove(file.Name()) // nobody else needs its name
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	size, err := io.CopyBuffer(onlyWriter{file}, src, *buf)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &outgoing{file, size, func() { _ = file.Close() }}, nil
}

// piece is all of it as a part of an answer.
func (o *outgoing) piece() piece {
	return piece{size: o.size, open: func(_ context.Context, from, n int64) (io.ReadCloser, error) {
		return io.NopCloser(io.NewSectionReader(o, from, n)), nil
	}}
}

// body is all of it, closed with its reader.
func (o *outgoing) body() io.ReadCloser {
	return closing{io.NewSectionReader(o, 0, o.size), func() error { o.close(); return nil }}
}

// closing is a reader that something is to be done for in the end.
type closing struct {
	io.Reader
	end func() error
}

func (c closing) Close() error { return c.end() }

// newRecodings bounds what is recoded at once.
func newRecodings() (waiting, recodings *semaphore.Weighted) {
	return semaphore.NewWeighted(outgoingMemory), semaphore.NewWeighted(recodingMemory)
}

// recodingCost estimates what one frame takes that is read, decoded and encoded;
// half of that stays while it is sent.
func recodingCost(f pixel.Format) int64 { return 4 * f.FrameSize() }

// recoding waits until there is memory for cost bytes; the caller calls done.
func (s *service) recoding(ctx context.Context, cost int64) (done func(), err error) {
	cost = max(1, min(cost, recodingMemory))
	if err := s.recodings.Acquire(ctx, cost); err != nil {
		return nil, err
	}
	return func() { s.recodings.Release(cost) }, nil
}

// recodedBody prepares the recoded form of an instance to be read at any pace: its
// frames are made while they are read, as long as there is memory for that many
// readers, else before.
func (s *service) recodedBody(ctx context.Context, source transcode.Source, form offer) (part recodedPart, err error) {
	var cost int64
	if source.Header.PixelData != nil {
		// Pixels that can't be decoded are at most copied, which takes nothing.
		if format, err := pixel.FormatOf(source.Header.Dataset); err == nil {
			cost = recodingCost(format)
		}
	}
	done, err := s.recoding(ctx, cost)
	if err != nil {
		return recodedPart{}, err
	}
	defer done()
	made, end, err := s.made(ctx, source, form)
	if err != nil {
		return recodedPart{}, err
	}
	head, err := made.Head()
	if err != nil {
		return recodedPart{}, errors.Join(err, end())
	}
	dataset, length := made.Dataset(ctx), made.Length()
	if length >= 0 {
		length += int64(len(head))
	}
	whole := closing{io.MultiReader(bytes.NewReader(head), dataset), func() error { return errors.Join(dataset.Close(), end()) }}
	part = recodedPart{mediaDICOM + ";transfer-syntax=" + form.transferSyntax, length, whole}
	if s.inFile(form, source) {
		return part, nil
	}
	if cost /= 2; s.waiting.TryAcquire(cost) { // never when it is more than there is
		release := sync.OnceFunc(func() { s.waiting.Release(cost) })
		part.body = closing{whole, func() error { release(); return whole.Close() }}
		return part, nil
	}
	file, err := s.spooled(whole)
	if err = errors.Join(err, whole.Close()); err != nil {
		return recodedPart{}, err
	}
	part.body, part.length = file.body(), file.size
	return part, nil
}

// inFile says whether made leaves the frames of an instance in a file.
func (s *service) inFile(form offer, source transcode.Source) bool {
	ts, _ := dicom.LookupTransferSyntax(form.transferSyntax)
	return ts.Encapsulated && source.Header.PixelData != nil && (ts.Lossy || !form.multipart)
}

// recodedFrame makes one frame with what that takes accounted for, and has it wait
// for its reader.
func (s *service) recodedFrame(ctx context.Context, cost int64, recode func(context.Context) ([]byte, error)) (*outgoing, error) {
	done, err := s.recoding(ctx, cost)
	if err != nil {
		return nil, err
	}
	defer done()
	data, err := recode(ctx)
	if err != nil {
		return nil, err
	}
	return s.outgoing(data)
}
