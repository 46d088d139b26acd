package journal

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// judge fills in the UIDs of an entry and says in Entry.Unfit what keeps the
// data set from being published. scanned is what the scan ended with. An error
// is for what is not kept at all.
func judge(e *Entry, h *dicom.Header, scanned error, in pacs.Incoming) error {
	var broken *dicom.ScanError
	if scanned != nil && !errors.As(scanned, &broken) {
		return pacs.Wrap(pacs.Internal, scanned, "The data set can't be read")
	}
	unreadable := broken != nil && broken.Kind == dicom.UnsupportedSyntax
	if !h.Recognised() && !unreadable {
		err := pacs.Errorf(pacs.Invalid, "This is no DICOM data set: it has no attribute that the standard knows")
		if broken != nil {
			err = pacs.Errorf(pacs.Invalid, "This is no DICOM data set: %s", broken.Error())
		}
		return err.WithReason(pacs.ReasonNotDICOM, "")
	}
	ds := h.Dataset
	if broken != nil {
		ds = withoutTag(ds, broken.Tag) // its value is not all there
	}
	uids := []struct {
		name  string
		tag   dicom.Tag
		field *string
	}{
		{"Study Instance UID (0020,000D)", dicom.TagStudyInstanceUID, &e.StudyInstanceUID},
		{"Series Instance UID (0020,000E)", dicom.TagSeriesInstanceUID, &e.SeriesInstanceUID},
		{"SOP Instance UID (0008,0018)", dicom.TagSOPInstanceUID, &e.SOPInstanceUID},
		{"SOP Class UID (0008,0016)", dicom.TagSOPClassUID, &e.SOPClassUID},
	}
	var missing, bad []string
	for _, uid := range uids {
		value := ds.String(uid.tag)
		switch *uid.field = onlyUID(value); {
		case value == "":
			missing = append(missing, uid.name)
		case *uid.field == "":
			bad = append(bad, uid.name)
		}
	}
	if in.StudyInstanceUID != "" && e.StudyInstanceUID != "" && in.StudyInstanceUID != e.StudyInstanceUID {
		return pacs.Errorf(pacs.Invalid, "The instance belongs to another study than the one it was sent to").WithReason(pacs.ReasonOtherStudy, "")
	}
	switch {
	case unreadable:
		e.Unfit = unfit(pacs.Unfit, "The transfer syntax can't be read: %s", broken.Msg)
	case broken != nil && (broken.Kind == dicom.TooLarge || broken.Kind == dicom.TooDeep):
		e.Unfit = unfit(pacs.TooManyElements, "The header is over a limit: %s", broken.Error())
	case broken != nil:
		e.Unfit = unfit(pacs.BrokenHeader, "The data set can't be read to its end: %s", broken.Error())
	case missing != nil:
		e.Unfit = unfit(pacs.MissingUID, "The data set has no %s", strings.Join(missing, ", no "))
	case bad != nil:
		e.Unfit = unfit(pacs.BadUID, "What the data set has as %s is no UID", strings.Join(bad, " and "))
	case in.SOPInstanceUID != "" && in.SOPInstanceUID != e.SOPInstanceUID:
		e.Unfit = unfit(pacs.Mismatch, "The data set is another instance than the request says")
	case in.SOPClassUID != "" && in.SOPClassUID != e.SOPClassUID:
		e.Unfit = unfit(pacs.Mismatch, "The data set is of another SOP class than the request says")
	}
	return nil
}

// unfit bounds the message: parts of it are the sender's.
func unfit(reason pacs.QuarantineReason, format string, args ...any) *Unfit {
	message := strings.ToValidUTF8(fmt.Sprintf(format, args...), "?")
	if len(message) > maxUnfitMessage {
		message = strings.ToValidUTF8(message[:maxUnfitMessage], "") + "…"
	}
	return &Unfit{Reason: reason, Message: message}
}

const maxUnfitMessage = 500

// onlyUID is s if that is a UID, "" otherwise: what a record says of itself is
// used in names of objects and in queries.
func onlyUID(s string) string {
	if dicom.ValidUID(s) != nil {
		return ""
	}
	return s
}

// withoutTag is ds without an attribute.
func withoutTag(ds *dicom.Dataset, tag dicom.Tag) *dicom.Dataset {
	if _, there := ds.Get(tag); !there {
		return ds
	}
	chosen := *ds
	chosen.Elements = nil
	for _, e := range ds.Elements {
		if e.Tag != tag {
			chosen.Elements = append(chosen.Elements, e)
		}
	}
	return &chosen
}

// quarantine is what receiving must know of the quarantine, which lies behind
// the publisher.
type quarantine struct {
	mu   sync.Mutex
	room func() int64 // bytes it still takes; nil for no limit
	full map[studyOf]struct{}
	from map[senderOf]int // how many of them, also of those forgotten
}

type (
	studyOf  struct{ facility, study string }
	senderOf struct{ facility, sender string }
)

const (
	// maxOverQuota bounds how many studies RefuseStudy remembers.
	maxOverQuota = 10_000
	// maxOfSender is how many such studies a sender may have before nothing is
	// taken from it any more: of each something is in the journal by the time it
	// is refused, and a hospital that sends again what another has sent before
	// has many.
	maxOfSender = 100
)

// QuarantineRoom says how to learn how many bytes the quarantine still takes.
// Unfit data sets are refused with OutOfResources when nothing is left, those
// that are still in the journal reckoned in. room is called from many
// goroutines and must not wait for anything.
func (j *Journal) QuarantineRoom(room func() int64) {
	j.quarantine.mu.Lock()
	defer j.quarantine.mu.Unlock()
	j.quarantine.room = room
}

// RefuseStudy makes Receive refuse instances of a study from a facility with
// OutOfResources: they contradict the index, and the quarantine has no room for
// more of them. After 100 such studies of a sender (AE title) Receive refuses
// whatever comes from it, so that what is held for want of room does not fill
// the journal for everybody else.
//
// It holds until AdmitStudies or the end of the process. After a restart what is
// held is offered again, and refused again if it still contradicts. Of more than
// 10,000 studies one is forgotten for each that comes, which costs at most what
// is held of that one until it is refused again.
func (j *Journal) RefuseStudy(facility, sender, studyUID string) {
	q := &j.quarantine
	q.mu.Lock()
	defer q.mu.Unlock()
	study := studyOf{facility, studyUID}
	if _, known := q.full[study]; known {
		return
	}
	if q.full == nil {
		q.full, q.from = map[studyOf]struct{}{}, map[senderOf]int{}
	}
	for some := range q.full {
		if len(q.full) < maxOverQuota {
			break
		}
		delete(q.full, some)
	}
	q.full[study] = struct{}{}
	if s := (senderOf{facility, sender}); len(q.from) < maxOverQuota || q.from[s] > 0 {
		q.from[s]++
	}
}

// AdmitStudies ends what RefuseStudy began: the quarantine has room again, or
// an administrator has changed what contradicts.
func (j *Journal) AdmitStudies() {
	j.quarantine.mu.Lock()
	defer j.quarantine.mu.Unlock()
	j.quarantine.full, j.quarantine.from = nil, nil
}

// overQuota is OutOfResources when more of a study, or of a sender, would only
// be held for a full quarantine.
func (j *Journal) overQuota(facility, sender, studyUID string) error {
	j.quarantine.mu.Lock()
	defer j.quarantine.mu.Unlock()
	if _, refused := j.quarantine.full[studyOf{facility, studyUID}]; refused {
		return errQuarantineFull()
	}
	if j.quarantine.from[senderOf{facility, sender}] >= maxOfSender {
		return pacs.Errorf(pacs.OutOfResources, "Many studies of this sender belong to other patients or facilities already, and the quarantine for them is full; an administrator must look through it, then send again")
	}
	return nil
}

// quarantineRoom is how many bytes of unfit data are still taken.
func (j *Journal) quarantineRoom() int64 {
	j.quarantine.mu.Lock()
	room := j.quarantine.room
	j.quarantine.mu.Unlock()
	if room == nil {
		return 1 << 62
	}
	left := room()
	j.mu.Lock()
	defer j.mu.Unlock()
	return left - j.unfit
}

func errQuarantineFull() error {
	return pacs.Errorf(pacs.OutOfResources, "The quarantine for data that can't be indexed is full; an administrator must look through it, then send again")
}

// admitUnfit takes the rest of a data set in, which the scan has given up, as
// far as the quarantine has room.
func (j *Journal) admitUnfit(rest *tee, w *writer) error {
	room := j.quarantineRoom()
	if w.length > room {
		return errQuarantineFull()
	}
	// One byte more tells what is too long from what just fits.
	if _, err := rest.pass(room - w.length + 1); err != nil {
		return rest.failed()
	}
	if w.length > room {
		return errQuarantineFull()
	}
	return nil
}
