package journal

import (
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
	record, err := receive(s.begin(), in, func(written int64) error { return j.space.check(j.options.MinFree, written) })
	if err != nil {
		var broken errSync
		appendable := !errors.As(err, &broken)
		if terr := s.begin().abandon(); terr != nil {
			appendable = false
		}
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
	j.bytes += record.Length
	j.queue = append(j.queue, &record)
	j.mu.Unlock()
	j.giveBack(s, true)
	j.signal()

	receipt := pacs.Receipt{
		StudyInstanceUID:  record.StudyInstanceUID,
		SeriesInstanceUID: record.SeriesInstanceUID,
		SOPInstanceUID:    record.SOPInstanceUID,
		SOPClassUID:       record.SOPClassUID,
		TransferSyntaxUID: record.TransferSyntaxUID,
		Bytes:             record.Length,
		ReceivedAt:        record.ReceivedAt,
	}
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

// receive streams one instance into w and seals it. room is asked on the way
// whether so many more bytes still left room.
func receive(w *writer, in pacs.Incoming, room func(written int64) error) (Record, error) {
	entry := Entry{
		Channel:    in.Channel,
		Facility:   in.Facility,
		Sender:     in.Sender,
		Remote:     in.Remote,
		Charset:    in.Charset,
		ReceivedAt: time.Now().UTC(),
	}
	bare := in.TransferSyntaxUID != ""
	if bare {
		if err := checkUIDs(in.SOPClassUID, in.SOPInstanceUID, in.TransferSyntaxUID); err != nil {
			return Record{}, err
		}
		meta := dicom.AppendFileMeta(nil, dicom.FileMeta{
			SOPClassUID:               in.SOPClassUID,
			SOPInstanceUID:            in.SOPInstanceUID,
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
	sink := &tee{source: in.Data, sink: w, room: room}
	limits := limits
	limits.TransferSyntax = in.TransferSyntaxUID
	header, err := dicom.Scan(sink, limits)
	if sink.writeErr != nil {
		return Record{}, storeError(sink.writeErr)
	}
	if err != nil {
		return Record{}, scanError(err)
	}
	entry.TransferSyntaxUID = header.TransferSyntax
	if !bare {
		entry.DatasetOffset = header.DatasetOffset
	}
	if err := identify(&entry, header, in); err != nil {
		return Record{}, err
	}
	entry.intern()
	record, err := w.seal(entry)
	if err != nil {
		return Record{}, storeError(err)
	}
	return record, nil
}

// identify fills in the UIDs and refuses what an index can't hold.
func identify(e *Entry, h *dicom.Header, in pacs.Incoming) error {
	e.StudyInstanceUID = h.Dataset.String(dicom.TagStudyInstanceUID)
	e.SeriesInstanceUID = h.Dataset.String(dicom.TagSeriesInstanceUID)
	e.SOPInstanceUID = h.Dataset.String(dicom.TagSOPInstanceUID)
	e.SOPClassUID = h.Dataset.String(dicom.TagSOPClassUID)
	for _, uid := range []struct{ name, value string }{
		{"Study Instance UID (0020,000D)", e.StudyInstanceUID},
		{"Series Instance UID (0020,000E)", e.SeriesInstanceUID},
		{"SOP Instance UID (0008,0018)", e.SOPInstanceUID},
		{"SOP Class UID (0008,0016)", e.SOPClassUID},
	} {
		if uid.value == "" {
			return pacs.Errorf(pacs.Invalid, "The data set has no %s", uid.name)
		}
		if err := dicom.ValidUID(uid.value); err != nil {
			return pacs.Wrap(pacs.Invalid, err, "The data set's "+uid.name+" is not a UID")
		}
	}
	if in.SOPInstanceUID != "" && in.SOPInstanceUID != e.SOPInstanceUID || in.SOPClassUID != "" && in.SOPClassUID != e.SOPClassUID {
		err := pacs.Errorf(pacs.Invalid, "The data set is another instance or class than the request says")
		err.Reason = ReasonMismatch
		return err
	}
	if in.StudyInstanceUID != "" && in.StudyInstanceUID != e.StudyInstanceUID {
		err := pacs.Errorf(pacs.Invalid, "The instance belongs to another study than the one it was sent to")
		err.Reason = ReasonMismatch
		return err
	}
	return nil
}

// ReasonMismatch is the pacs.Error reason of a data set that contradicts its
// request (PS3.4 Table B.2-1: A900, data set does not match SOP class).
const ReasonMismatch = "mismatch"

func checkUIDs(class, instance, syntax string) error {
	for _, uid := range []string{class, instance, syntax} {
		if err := dicom.ValidUID(uid); err != nil {
			return pacs.Wrap(pacs.Invalid, err, "The request has a UID that is none")
		}
	}
	return nil
}

// roomEvery is after how many bytes of one instance the free space is looked at.
const roomEvery = 1 << 20

// tee passes on what it reads to the journal, and tells a journal that can't
// write from a sender that stopped sending.
type tee struct {
	source    io.Reader
	sink      io.Writer
	room      func(written int64) error
	unchecked int64 // bytes since room was asked
	writeErr  error
}

func (t *tee) Read(p []byte) (int, error) {
	n, err := t.source.Read(p)
	if n > 0 {
		if _, werr := t.sink.Write(p[:n]); werr != nil {
			t.writeErr = werr
			return n, werr
		}
		if t.unchecked += int64(n); t.unchecked >= roomEvery {
			if t.writeErr = t.room(t.unchecked); t.writeErr != nil {
				return n, t.writeErr
			}
			t.unchecked = 0
		}
	}
	return n, err
}

// NotDICOM reports whether Receive refused something because it is no DICOM
// data set at all.
func NotDICOM(err error) bool {
	reason, _ := pacs.ReasonOf(err)
	return reason == reasonNotDICOM
}

const reasonNotDICOM = "not_dicom"

func scanError(err error) error {
	var se *dicom.ScanError
	if !errors.As(err, &se) {
		return pacs.Wrap(pacs.Invalid, err, "The instance broke off while it was being sent")
	}
	code := pacs.Invalid
	switch se.Kind {
	case dicom.TooLarge:
		code = pacs.TooLarge
	case dicom.UnsupportedSyntax:
		code = pacs.Unsupported
	}
	refused := pacs.Errorf(code, "Not a data set that can be kept: %s", se.Error())
	if se.Kind == dicom.NotDICOM {
		refused.Reason = reasonNotDICOM
	}
	return refused
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
