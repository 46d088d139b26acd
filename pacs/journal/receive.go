package journal

import (
	"cmp"
	"context"
	"errors"
	"io"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

var _ pacs.Receiver = (*Journal)(nil)

// limits bound what one sender can cost in memory: some 100 bytes an element,
// and the values kept. Series of thousands of frames stay well below.
var limits = dicom.ScanOptions{MaxElements: 500_000, MaxHeader: 64 << 20}

// metaElements and maxMeta are more than what the file meta information adds
// that Receive writes in front of a bare data set.
const (
	metaElements = 16
	maxMeta      = 1 << 10
)

// Receive implements pacs.Receiver.
func (j *Journal) Receive(ctx context.Context, in pacs.Incoming) (pacs.Receipt, error) {
	if err := j.Ready(); err != nil {
		return pacs.Receipt{}, err
	}
	s, err := j.lease()
	if err != nil {
		return pacs.Receipt{}, storeError(err)
	}
	w := s.begin()
	record, err := j.receive(w, in)
	if err != nil {
		// A segment is used on when it is the instance that was not right, or
		// the disk is only full.
		appendable := w.abandon() == nil && !w.failed
		j.space.forget()
		j.giveBack(s, appendable)
		return pacs.Receipt{}, err
	}
	if j.options.AckPublished {
		record.done = make(chan error, 1)
	}
	done := record.done
	j.mu.Lock()
	s.unpublished++
	j.count(&record, 1)
	j.queue = append(j.queue, &record)
	j.mu.Unlock()
	j.giveBack(s, true)
	j.signal()

	receipt := record.receipt()
	if done == nil {
		return receipt, nil
	}
	select {
	case err := <-done:
		if err != nil {
			return pacs.Receipt{}, pacs.Wrap(pacs.Conflict, err, "The instance is kept but can't be published; an administrator must look at it")
		}
		return receipt, nil
	case <-j.closed:
		return pacs.Receipt{}, pacs.Errorf(pacs.Unavailable, "The instance is kept but the archive is shutting down; send again later")
	case <-ctx.Done():
		// The record stays and will be published; the sender must repeat,
		// which then finds it there.
		return pacs.Receipt{}, pacs.Wrap(pacs.Unavailable, ctx.Err(), "The instance is kept but could not be published in time; send again later")
	}
}

// receive streams one instance into w and seals it.
func (j *Journal) receive(w *writer, in pacs.Incoming) (Record, error) {
	entry := Entry{
		Channel:    in.Channel,
		Facility:   in.Facility,
		Sender:     in.Sender,
		Remote:     in.Remote,
		Charset:    cmp.Or(in.Charset, dicom.FallbackCyrillic),
		ReceivedAt: time.Now().UTC(),
		Correction: in.Correction,
	}
	bare := in.TransferSyntaxUID != ""
	if bare {
		if err := dicom.ValidUID(in.TransferSyntaxUID); err != nil {
			return Record{}, pacs.Wrap(pacs.Invalid, err, "The transfer syntax of the request is no UID")
		}
		meta := dicom.AppendFileMeta(nil, dicom.FileMeta{
			SOPClassUID:               onlyUID(in.SOPClassUID),
			SOPInstanceUID:            onlyUID(in.SOPInstanceUID),
			TransferSyntaxUID:         in.TransferSyntaxUID,
			ImplementationClassUID:    dicom.ImplementationClassUID,
			ImplementationVersionName: dicom.ImplementationVersionName,
			SourceAETitle:             in.Sender,
		})
		if _, err := w.Write(meta); err != nil {
			return Record{}, storeError(err)
		}
		entry.DatasetOffset = int64(len(meta))
	}
	claimed := &claim{j: j}
	defer claimed.release()
	stream := &tee{source: in.Data, sink: w, room: claimed.more}
	limits := limits
	limits.TransferSyntax = in.TransferSyntaxUID
	header, err := dicom.Scan(stream, limits)
	if failed := stream.failed(); failed != nil {
		return Record{}, failed
	}
	entry.TransferSyntaxUID = onlyUID(header.TransferSyntax)
	if !bare {
		entry.DatasetOffset = header.DatasetOffset
	}
	if err := judge(&entry, header, err, in); err != nil {
		return Record{}, err
	}
	if entry.Unfit != nil {
		if err := j.admitUnfit(stream, w); err != nil {
			return Record{}, err
		}
	} else if in.Correction == nil {
		if err := j.overQuota(in.Facility, in.Sender, entry.StudyInstanceUID); err != nil {
			return Record{}, err
		}
	}
	entry.intern()
	record, err := w.seal(entry)
	if err != nil {
		return Record{}, storeError(err)
	}
	return record, nil
}

// roomEvery is after how many bytes of one instance the free space is looked at.
const roomEvery = 1 << 20

// tee passes on what it reads to the journal. It remembers how reading and
// writing ended: whoever reads from it has a view of his own of both. It is a
// dicom.Skipper: what the scanner has no interest in goes from the source to
// the journal without a detour.
type tee struct {
	source    io.Reader
	sink      *writer
	room      func(written int64) error
	unchecked int64 // bytes since room was asked
	ended     bool  // the source has given io.EOF
	readErr   error // of the source, other than io.EOF: the sender broke off
	writeErr  error // of the journal
}

func (t *tee) Read(p []byte) (int, error) {
	if t.ended {
		return 0, io.EOF
	}
	n, err := t.source.Read(p)
	if n > 0 {
		if _, werr := t.sink.Write(p[:n]); werr != nil {
			t.writeErr = werr
			return n, werr
		}
	}
	return n, t.after(n, err)
}

// Skip implements dicom.Skipper.
func (t *tee) Skip(n int64) error {
	passed, err := t.pass(n)
	if err == nil && passed < n {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// pass lets up to limit bytes through to the journal. It is short only at the
// end of the source.
func (t *tee) pass(limit int64) (passed int64, err error) {
	for empty := 0; passed < limit && !t.ended; empty++ {
		space := t.sink.space()
		n, err := t.source.Read(space[:min(int64(len(space)), limit-passed)])
		if n > 0 {
			passed, empty = passed+int64(n), 0
			if t.writeErr = t.sink.advance(n); t.writeErr != nil {
				return passed, t.writeErr
			}
		} else if err == nil && empty == 100 {
			err = io.ErrNoProgress
		}
		if err := t.after(n, err); err != nil && err != io.EOF {
			return passed, err
		}
	}
	return passed, nil
}

// after looks at how a read of n bytes ended, and at the room there is.
func (t *tee) after(n int, err error) error {
	if t.unchecked += int64(n); t.unchecked >= roomEvery {
		if t.writeErr = t.room(t.unchecked); t.writeErr != nil {
			return t.writeErr
		}
		t.unchecked = 0
	}
	if t.ended = err == io.EOF; !t.ended {
		t.readErr = err
	}
	return err
}

// failed is the error for the sender when its data could not be read or
// written to the end, whatever the data are.
func (t *tee) failed() error {
	switch {
	case t.writeErr != nil:
		return storeError(t.writeErr)
	case t.readErr != nil:
		return pacs.Wrap(pacs.Invalid, t.readErr, "The instance broke off while it was being sent")
	}
	return nil
}

func storeError(err error) error {
	var own *pacs.Error
	if errors.As(err, &own) {
		return err
	}
	if isFull(err) {
		return pacs.Wrap(pacs.OutOfResources, err, "The archive's disk is full; free space on it, then send again")
	}
	return pacs.Wrap(pacs.OutOfResources, err, "The archive's disk does not take the instance; see the server's log")
}
