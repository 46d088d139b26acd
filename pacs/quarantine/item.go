package quarantine

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
)

// Item is a data set in quarantine. As JSON it is the object beside its bytes,
// from which Restore makes the row again.
type Item struct {
	ID         string                `json:"id"`
	Reason     pacs.QuarantineReason `json:"reason"`
	Message    string                `json:"message"`  // in English
	Facility   string                `json:"facility"` // code
	Sender     string                `json:"sender,omitempty"`
	Remote     string                `json:"remote,omitempty"`
	Channel    pacs.Channel          `json:"channel"`
	Charset    string                `json:"charset,omitempty"`
	ReceivedAt time.Time             `json:"received_at"`
	Bytes      int64                 `json:"bytes"`

	// The UIDs are those that could be read and are UIDs, "" otherwise. Class
	// and syntax are the request's where the data set names none.
	StudyInstanceUID  string `json:"study,omitempty"`
	SeriesInstanceUID string `json:"series,omitempty"`
	SOPInstanceUID    string `json:"sop,omitempty"`
	SOPClassUID       string `json:"class,omitempty"`
	TransferSyntaxUID string `json:"ts,omitempty"`

	// What else could be read, to recognise it by.
	Modality    string       `json:"modality,omitempty"`
	StudyDate   string       `json:"study_date,omitempty"`
	Description string       `json:"description,omitempty"`
	Patient     Demographics `json:"patient"`
}

// Demographics are what tells one patient from another.
type Demographics struct {
	Name      string `json:"name,omitempty"` // (0010,0010) decoded, DICOM form
	PatientID string `json:"patient_id,omitempty"`
	Issuer    string `json:"issuer,omitempty"`
	BirthDate string `json:"birth_date,omitempty"` // YYYYMMDD
	Sex       string `json:"sex,omitempty"`        // M, F, O or ""
	PINFL     string `json:"pinfl,omitempty"`
}

func demographicsOf(p pacs.Patient) Demographics {
	return Demographics{Name: p.Name, PatientID: p.PatientID, Issuer: p.Issuer, BirthDate: p.BirthDate, Sex: p.Sex, PINFL: p.PINFL}
}

// The objects of an item.
const (
	keptPrefix     = "quarantine/"
	releasedPrefix = "released/"
)

func bytesKey(prefix, id string) string { return prefix + id + ".dcm" }
func entryKey(prefix, id string) string { return prefix + id + ".json" }

// identify derives the id from facility and bytes, so that what arrives twice
// (the journal offers it again, the sender repeats it) is one item.
func identify(facility string, body io.Reader) (string, error) {
	sum := sha256.New()
	_, _ = io.WriteString(sum, facility+"\n") // a hash never fails
	if _, err := io.Copy(sum, body); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)[:16]), nil
}

// validID says whether s can be the id of an item. Anything else is that of
// nothing, and must not come near the name of an object.
func validID(s string) bool {
	return len(s) == 32 && strings.Trim(s, "0123456789abcdef") == ""
}

// lenient bounds what describing an item may cost: enough for every header
// that is meant well.
var lenient = dicom.ScanOptions{MaxValue: 4 << 10, MaxHeader: 4 << 20, MaxElements: 100_000}

// describe is the item of a record: what the journal knows of it, and what can
// be read. That its header is broken, or is none, is no error here.
func describe(u publish.Unfit, body *io.SectionReader) Item {
	item := Item{
		Reason: u.Reason, Message: fit(u.Message, maxMessage), Facility: u.Facility,
		Sender: fit(u.Sender, maxCode), Remote: fit(u.Remote, maxCode), Channel: u.Channel, Charset: fit(u.Charset, maxCode),
		ReceivedAt: u.ReceivedAt, Bytes: body.Size(),
		StudyInstanceUID: u.StudyInstanceUID, SeriesInstanceUID: u.SeriesInstanceUID, SOPInstanceUID: u.SOPInstanceUID,
		SOPClassUID: u.SOPClassUID, TransferSyntaxUID: u.TransferSyntaxUID,
	}
	header, err := dicom.Scan(dicom.NewSkipReader(body, 0, body.Size()), lenient)
	ds := header.Dataset
	var broken *dicom.ScanError
	if errors.As(err, &broken) {
		ds.Delete(broken.Tag) // its value is not all there
	}
	ds.SetFallbackCharset(u.Charset)
	item.SOPClassUID = onlyUID(ds.String(dicom.TagSOPClassUID), item.SOPClassUID, header.Meta.String(dicom.TagMediaStorageSOPClassUID))
	item.Modality = fit(ds.String(dicom.TagModality), maxCode)
	item.StudyDate = fit(ds.String(dicom.TagStudyDate), maxCode)
	item.Description = fit(ds.String(dicom.TagStudyDescription), maxText)
	item.Patient = demographicsOf(publish.DescribePatient(ds, u.Facility)).fit()
	return item
}

// onlyUID returns the first that is a UID, "" when none is.
func onlyUID(uids ...string) string {
	for _, uid := range uids {
		if dicom.ValidUID(uid) == nil {
			return uid
		}
	}
	return ""
}

// Longest texts in bytes that an item holds. Senders may write anything
// anywhere; the data set itself is kept whole.
const (
	maxCode    = 128
	maxText    = 1024
	maxMessage = 2048
)

func (d Demographics) fit() Demographics {
	return Demographics{
		Name: fit(d.Name, maxText), PatientID: fit(d.PatientID, maxText), Issuer: fit(d.Issuer, maxText),
		BirthDate: fit(d.BirthDate, maxCode), Sex: fit(d.Sex, maxCode), PINFL: fit(d.PINFL, maxCode),
	}
}

// fit makes s a text that PostgreSQL holds (no NUL, UTF-8) and no longer than
// limit.
func fit(s string, limit int) string {
	if len(s) > 4*limit {
		s = s[:4*limit]
	}
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	if len(s) <= limit {
		return s
	}
	for !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
