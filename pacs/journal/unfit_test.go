package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// TestUnfitIsKept: what is DICOM but can't be indexed is acknowledged and kept
// to its last byte, also behind the place where the scan gave up.
func TestUnfitIsKept(t *testing.T) {
	sound := dataset("1.5", 0)
	many := bytes.Repeat([]byte{0x0B, 0, 0x10, 0x10, 'L', 'O', 0, 0}, limits.MaxElements+1)
	many = append(many, "and what the scan has not seen any more"...)
	deep := bytes.Clone(sound)
	for range 100 {
		deep = append(deep, 0x40, 0, 0x30, 0xA7, 'S', 'Q', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE, 0xFF, 0, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF)
	}
	long := "1." + strings.Repeat("2", 70)
	file := dicom.AppendFileMeta(nil, dicom.FileMeta{SOPClassUID: ctImageStorage, SOPInstanceUID: "1.5", TransferSyntaxUID: "1.2.840.10008.1.2.6.2"})
	whole := Entry{StudyInstanceUID: "1.2.3", SeriesInstanceUID: "1.2.3.4", SOPInstanceUID: "1.5", SOPClassUID: ctImageStorage}
	missing := func(e Entry, field func(*Entry) *string) Entry { *field(&e) = ""; return e }
	for _, c := range []struct {
		name   string
		data   []byte
		change func(*pacs.Incoming)
		reason pacs.QuarantineReason
		uids   Entry
	}{
		{"no study UID", without(t, dicom.TagStudyInstanceUID), nil, pacs.MissingUID, missing(whole, func(e *Entry) *string { return &e.StudyInstanceUID })},
		{"no series UID", without(t, dicom.TagSeriesInstanceUID), nil, pacs.MissingUID, missing(whole, func(e *Entry) *string { return &e.SeriesInstanceUID })},
		{"no SOP class", without(t, dicom.TagSOPClassUID), nil, pacs.MissingUID, missing(whole, func(e *Entry) *string { return &e.SOPClassUID })},
		{"no SOP instance", without(t, dicom.TagSOPInstanceUID), nil, pacs.MissingUID, missing(whole, func(e *Entry) *string { return &e.SOPInstanceUID })},
		{"no study UID, to a study's address", without(t, dicom.TagStudyInstanceUID), func(in *pacs.Incoming) { in.StudyInstanceUID = "1.2.3" }, pacs.MissingUID, missing(whole, func(e *Entry) *string { return &e.StudyInstanceUID })},
		{"a UID that is none", bytes.Replace(sound, []byte("1.2.3.4"), []byte("1.2/../"), 1), nil, pacs.BadUID, missing(whole, func(e *Entry) *string { return &e.SeriesInstanceUID })},
		{"a UID that is too long", dataset(long, 0), func(in *pacs.Incoming) { in.SOPInstanceUID = long }, pacs.BadUID, missing(whole, func(e *Entry) *string { return &e.SOPInstanceUID })},
		{"another instance than announced", sound, func(in *pacs.Incoming) { in.SOPInstanceUID = "1.6" }, pacs.Mismatch, whole},
		{"another class than announced", sound, func(in *pacs.Incoming) { in.SOPClassUID = "1.6" }, pacs.Mismatch, whole},
		{"announced under what is no UID", sound, func(in *pacs.Incoming) { in.SOPInstanceUID = "../../etc/passwd" }, pacs.Mismatch, whole},
		{"truncated", sound[:len(sound)-3], nil, pacs.BrokenHeader, missing(whole, func(e *Entry) *string { return &e.SeriesInstanceUID })},
		{"rubbish in the middle", slices.Concat(sound, []byte{0xFE, 0xFF, 0, 0xE0, 9, 9, 9, 9}, bytes.Repeat([]byte("rest"), 100_000)), nil, pacs.BrokenHeader, whole},
		{"too many elements", append(bytes.Clone(sound), many...), nil, pacs.TooManyElements, whole},
		{"nested too deep", deep, nil, pacs.TooManyElements, whole},
		{"a transfer syntax of XML", sound, func(in *pacs.Incoming) { in.TransferSyntaxUID = "1.2.840.10008.1.2.6.2" }, pacs.Unfit, Entry{}},
		{"a file in a transfer syntax of XML", append(file, sound...), func(in *pacs.Incoming) {
			in.TransferSyntaxUID, in.SOPClassUID, in.SOPInstanceUID = "", "", ""
		}, pacs.Unfit, Entry{}},
		{"a file without a data set", file, func(in *pacs.Incoming) {
			in.TransferSyntaxUID, in.SOPClassUID, in.SOPInstanceUID = "", "", ""
		}, pacs.BrokenHeader, Entry{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			j := open(t, Options{Dir: dir})
			receiveAll(t, j, "1.1")
			in := incoming("1.5", 0)
			in.Data = bytes.NewReader(c.data)
			if c.change != nil {
				c.change(&in)
			}
			receipt, err := j.Receive(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			if receipt.Unfit != c.reason || receipt.Problem == "" || len(receipt.Problem) > maxUnfitMessage+3 {
				t.Errorf("unfit for %q (%s), want %q", receipt.Unfit, receipt.Problem, c.reason)
			}
			receiveAll(t, j, "1.2")
			// Also for one who opens what is there now.
			for _, opened := range []*Journal{j, open(t, Options{Dir: copyDir(t, dir)})} {
				records := take(t, opened, 3)
				checkRecord(t, records[0], "1.1", 0)
				checkRecord(t, records[2], "1.2", 0)
				r := records[1]
				body, err := io.ReadAll(r.Body())
				if err != nil || !bytes.HasSuffix(body, c.data) {
					t.Fatalf("%d bytes are kept of %d, %v", len(body), len(c.data), err)
				}
				if in.TransferSyntaxUID != "" && !bytes.Equal(body[r.DatasetOffset:], c.data) {
					t.Errorf("the data set is said to begin at %d", r.DatasetOffset)
				}
				if r.Unfit == nil || r.Unfit.Reason != c.reason || r.Unfit.Message != receipt.Problem {
					t.Errorf("%+v", r.Unfit)
				}
				got := Entry{StudyInstanceUID: r.StudyInstanceUID, SeriesInstanceUID: r.SeriesInstanceUID, SOPInstanceUID: r.SOPInstanceUID, SOPClassUID: r.SOPClassUID}
				if diff := cmp.Diff(c.uids, got); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// TestUnfitHasItsOwnRoom: nobody fills the disk with what can't be published.
func TestUnfitHasItsOwnRoom(t *testing.T) {
	j := open(t, Options{Dir: t.TempDir()})
	broken := func() error {
		in := incoming("1.5", 0)
		in.Data = io.MultiReader(in.Data, strings.NewReader("\xFE\xFF\x00\xE0rubbish"), io.LimitReader(pattern{}, 100_000))
		_, err := j.Receive(t.Context(), in)
		return err
	}
	room := int64(250_000)
	j.QuarantineRoom(func() int64 { return room })
	for range 2 {
		if err := broken(); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, broken(), pacs.OutOfResources) // 200,000 are in the journal
	receiveAll(t, j, "1.1")                    // sound ones are none the worse
	// Quarantine takes one over and has the less room; it still counts once.
	records := take(t, j, 3)
	j.Hold(records[0], errors.New("held"))
	wantCode(t, broken(), pacs.OutOfResources)
	room -= records[1].Length
	j.Drop(records[1])
	wantCode(t, broken(), pacs.OutOfResources)
	room = 250_000 // somebody has looked through it
	if err := broken(); err != nil {
		t.Error(err)
	}
}

// TestStudyThatContradicts: a device that sends for ever what contradicts the
// index is told so once its quarantine is full.
func TestStudyThatContradicts(t *testing.T) {
	dir := t.TempDir()
	j := open(t, Options{Dir: dir})
	receiveAll(t, j, "1.1")
	j.RefuseStudy("TMA", "CT1", "1.2.3")
	_, err := j.Receive(t.Context(), incoming("1.2", 0))
	wantCode(t, err, pacs.OutOfResources)
	other := incoming("1.3", 0)
	other.Facility = "NUKUS"
	if _, err := j.Receive(t.Context(), other); err != nil {
		t.Error(err)
	}
	j.AdmitStudies()
	receiveAll(t, j, "1.4")
	for i, r := range take(t, j, 3) {
		checkRecord(t, r, []string{"1.1", "1.3", "1.4"}[i], 0)
	}
}

// TestSenderOfManyContradictions: who sends again what another hospital has
// sent before is refused altogether before what is held fills the journal;
// others are not. It is known of the 10,001st study as of those before it.
func TestSenderOfManyContradictions(t *testing.T) {
	j := open(t, Options{Dir: t.TempDir()})
	from := func(facility, sender string) error {
		in := incoming("1.1", 0) // of a study that contradicts nothing
		in.Facility, in.Sender = facility, sender
		_, err := j.Receive(t.Context(), in)
		return err
	}
	for n := range maxOfSender - 1 {
		j.RefuseStudy("TMA", "PACS", fmt.Sprint("1.9.", n))
		j.RefuseStudy("TMA", "PACS", "1.9.0") // again: one and the same
	}
	if err := from("TMA", "PACS"); err != nil {
		t.Errorf("one study too few: %v", err)
	}
	j.RefuseStudy("TMA", "PACS", "1.9.200")
	wantCode(t, from("TMA", "PACS"), pacs.OutOfResources)
	for _, other := range [][2]string{{"TMA", "CT1"}, {"NUKUS", "PACS"}} {
		if err := from(other[0], other[1]); err != nil {
			t.Errorf("%q: %v", other, err)
		}
	}
	corrected := incoming("1.1", 0) // an administrator lets something of it in
	corrected.Sender, corrected.Correction = "PACS", &pacs.Correction{Item: "1"}
	if _, err := j.Receive(t.Context(), corrected); err != nil {
		t.Error(err)
	}
	j.AdmitStudies()
	if err := from("TMA", "PACS"); err != nil {
		t.Error(err)
	}

	for n := range maxOverQuota + 10 {
		j.RefuseStudy("TMA", fmt.Sprint("AE", n), fmt.Sprint("1.9.", n))
	}
	left := 0
	for n := range maxOverQuota + 10 {
		if j.overQuota("TMA", "CT1", fmt.Sprint("1.9.", n)) != nil {
			left++
		}
	}
	if left != maxOverQuota || len(j.quarantine.from) > maxOverQuota {
		t.Errorf("%d studies and %d senders are remembered", left, len(j.quarantine.from))
	}
}
