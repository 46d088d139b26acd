package quarantine

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"io"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// made are the UIDs that a data set gets, by tag.
type made map[dicom.Tag]string

func (m made) or(tag dicom.Tag, uid string) string {
	if made, ok := m[tag]; ok {
		return made
	}
	return uid
}

// makeUIDs finds out which UIDs a data set needs, and makes them. They follow
// from what the data set is, so that the same release done twice makes the same
// data set, and images that belong together meet: those of one study that are
// given a study of their own, those without a Study Instance UID whose patient,
// date and accession number agree.
func makeUIDs(item Item, h *dicom.Header, p pacs.Patient, facility string, c Correction) (made, error) {
	ds := h.Dataset
	valid := func(tag dicom.Tag) string { return onlyUID(ds.String(tag)) }
	m := made{}
	class := onlyUID(ds.String(dicom.TagSOPClassUID), item.SOPClassUID)
	switch {
	case class == dicom.MediaStorageDirectorySOPClass:
		return nil, pacs.Errorf(pacs.Conflict, "%s", directory)
	case class == "" && c.SOPClass == "":
		return nil, pacs.Errorf(pacs.Conflict, "The data set does not say what it is: it has no SOP Class UID, and none came with it. Say what it is (sop_class) when you release it")
	case class != "" && c.SOPClass != "" && class != c.SOPClass:
		return nil, pacs.Errorf(pacs.Conflict, "The data set says what it is, and that is another SOP class: %s (%s). Release it without one", class, cmp.Or(dicom.SOPClassName(class), "private"))
	}
	if valid(dicom.TagSOPClassUID) == "" {
		m[dicom.TagSOPClassUID] = cmp.Or(class, c.SOPClass)
	}
	study, series := valid(dicom.TagStudyInstanceUID), valid(dicom.TagSeriesInstanceUID)
	owner := []string{facility, p.Issuer, p.PatientID, p.Name}
	switch {
	case study == "":
		study = derivedUID(append(owner, "study of", ds.String(dicom.TagStudyDate), ds.String(dicom.TagStudyTime), ds.String(dicom.TagAccessionNumber), ds.String(dicom.TagStudyID), ds.String(dicom.TagStudyInstanceUID))...)
		m[dicom.TagStudyInstanceUID] = study
	case c.NewStudy:
		study = derivedUID(append(owner, "study instead of", study)...)
		m[dicom.TagStudyInstanceUID] = study
	}
	switch {
	case series == "":
		m[dicom.TagSeriesInstanceUID] = derivedUID(study, "series of", ds.String(dicom.TagModality), ds.String(dicom.TagSeriesNumber), ds.String(dicom.TagSeriesInstanceUID))
	case c.NewStudy:
		m[dicom.TagSeriesInstanceUID] = derivedUID(study, "series instead of", series)
	}
	if c.NewStudy || valid(dicom.TagSOPInstanceUID) == "" {
		m[dicom.TagSOPInstanceUID] = derivedUID(study, "instance", item.ID)
	}
	return m, nil
}

// derivedUID is a UID that follows from parts: "2.25." and the decimal value of
// a UUID (PS3.5 B.2) made of their hash (RFC 9562, version 8).
func derivedUID(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	b := sum[:16]
	b[6] = b[6]&0x0F | 0x80
	b[8] = b[8]&0x3F | 0x80
	return "2.25." + new(big.Int).SetBytes(b).String()
}

// rewrite is the item's file with other UIDs, made while it is read: those it
// had are in its Original Attributes Sequence, all else is as it was received.
func (q *Quarantine) rewrite(ctx context.Context, item Item, h *dicom.Header, m made, at time.Time) (io.ReadCloser, error) {
	key := bytesKey(keptPrefix, item.ID)
	stored := func(offset, length int64) (io.ReadCloser, error) { return q.o.Store.Get(ctx, key, offset, length) }
	amended, err := dicom.Amend(dicom.NewSkipReader(&object{ctx: ctx, store: q.o.Store, key: key}, 0, item.Bytes), item.Bytes, dicom.AmendOptions{
		Changes: func(*dicom.Dataset) (changes []dicom.Change) {
			for _, tag := range slices.Sorted(maps.Keys(m)) {
				changes = append(changes, dicom.Change{Tag: tag, VR: dicom.UI, Value: m[tag], Plain: m[tag]})
			}
			return changes
		},
		System: "TASVIR", At: at, Reason: "CORRECT",
	})
	if err != nil {
		return nil, err
	}
	length, err := amended.Length(stored)
	if err != nil {
		return nil, err
	}
	dataset, err := amended.Open(h.DatasetOffset, length-h.DatasetOffset, stored)
	if err != nil {
		return nil, err
	}
	// The file meta information names the instance, too.
	meta := dicom.AppendFileMeta(nil, dicom.FileMeta{
		SOPClassUID:       m.or(dicom.TagSOPClassUID, h.Dataset.String(dicom.TagSOPClassUID)),
		SOPInstanceUID:    m.or(dicom.TagSOPInstanceUID, h.Dataset.String(dicom.TagSOPInstanceUID)),
		TransferSyntaxUID: h.TransferSyntax,
		SourceAETitle:     item.Sender,
	})
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(meta), dataset), dataset}, nil
}
