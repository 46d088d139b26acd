package quarantine_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/quarantine"
)

// sole is the one archived instance of the one study.
func (a *archive) sole() (pacs.Study, pacs.Instance, *dicom.Header) {
	a.Helper()
	studies := a.studies()
	if len(studies) != 1 {
		a.Fatalf("%d studies", len(studies))
	}
	instances, _, err := a.index.Instances(a.Context(), pacs.System("test"), pacs.InstanceFilter{})
	if err != nil || len(instances) != 1 {
		a.Fatalf("%d instances, %v", len(instances), err)
	}
	header, err := dicom.Scan(bytes.NewReader(a.stored(studies[0].StudyInstanceUID, instances[0].SOPInstanceUID)), dicom.ScanOptions{})
	if err != nil {
		a.Fatal(err)
	}
	return studies[0], instances[0], header
}

// TestUIDsAreMade where they are missing or none: the data set says what it
// had, all else is as it was, and the original can still be had.
func TestUIDsAreMade(t *testing.T) {
	for name, test := range map[string]struct {
		sent    image
		changed map[dicom.Tag]string // to what they were
	}{
		"no study":    {image{study: "-"}, map[dicom.Tag]string{dicom.TagStudyInstanceUID: ""}},
		"bad study":   {image{study: "1.2.x"}, map[dicom.Tag]string{dicom.TagStudyInstanceUID: "1.2.x"}},
		"no series":   {image{series: "-"}, map[dicom.Tag]string{dicom.TagSeriesInstanceUID: ""}},
		"no instance": {image{sop: "-"}, map[dicom.Tag]string{dicom.TagSOPInstanceUID: ""}},
		"no class":    {image{class: "-"}, map[dicom.Tag]string{dicom.TagSOPClassUID: ""}},
		"nothing": {
			image{study: "-", series: "-", sop: "-", class: "-"},
			map[dicom.Tag]string{dicom.TagStudyInstanceUID: "", dicom.TagSeriesInstanceUID: "", dicom.TagSOPInstanceUID: "", dicom.TagSOPClassUID: ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newArchive(t)
			in := test.sent.incoming(t)
			in.SOPInstanceUID = "1.2.3.1.1"
			if _, err := a.journal.Receive(t.Context(), in); err != nil {
				t.Fatal(err)
			}
			a.idle()
			item := a.only()
			original := a.file(item.ID)
			a.release(quarantine.Correction{}, item.ID)
			a.gone()
			study, instance, header := a.sole()
			ds := header.Dataset
			if header.Meta.String(dicom.TagMediaStorageSOPInstanceUID) != instance.SOPInstanceUID || header.Meta.String(dicom.TagMediaStorageSOPClassUID) != ctImageStorage {
				t.Errorf("the file says %s %s", header.Meta.String(dicom.TagMediaStorageSOPInstanceUID), header.Meta.String(dicom.TagMediaStorageSOPClassUID))
			}
			if study.Patient.Name != "Karimov^Ali" || study.Modalities[0] != "CT" || instance.Rows != 8 {
				t.Errorf("%+v %+v", study, instance)
			}
			item0 := ds.Item(dicom.TagOriginalAttributesSequence)
			before := item0.Item(dicom.TagModifiedAttributesSequence)
			for _, tag := range []dicom.Tag{dicom.TagStudyInstanceUID, dicom.TagSeriesInstanceUID, dicom.TagSOPInstanceUID, dicom.TagSOPClassUID} {
				was, changed := test.changed[tag]
				if err := dicom.ValidUID(ds.String(tag)); err != nil {
					t.Error(err)
				}
				if before.Has(tag) != changed || before.String(tag) != was {
					t.Errorf("%s was %q, the data set says %q", tag, was, before.String(tag))
				}
			}
			if item0.String(dicom.TagModifyingSystem) != "TASVIR" || item0.String(dicom.TagReasonForTheAttributeModification) != "CORRECT" {
				t.Errorf("%+v", item0)
			}
			if pixels := bytes.Repeat([]byte{1, 2}, 64); !bytes.HasSuffix(a.stored(study.StudyInstanceUID, instance.SOPInstanceUID), pixels) {
				t.Error("the pixels are others")
			}
			if !bytes.Equal(a.file(item.ID), original) {
				t.Error("the original can't be had any more")
			}
			if keys := a.objects("released/"); len(keys) != 2 {
				t.Errorf("objects %v", keys)
			}
			// After a rebuild, too.
			if _, err := a.index.Pool().Exec(t.Context(), `DELETE FROM quarantine_item`); err != nil {
				t.Fatal(err)
			}
			if n, err := a.ward.Restore(t.Context()); n != 1 || err != nil || len(a.list()) != 0 {
				t.Errorf("restored %d, %v", n, err)
			}
			if !bytes.Equal(a.file(item.ID), original) {
				t.Error("the original can't be had after a rebuild")
			}
		})
	}
}

// TestImagesThatBelongTogetherStayTogether: those of one study without a Study
// Instance UID, and those of one that get a study of their own, in one release
// or several.
func TestImagesThatBelongTogetherStayTogether(t *testing.T) {
	a := newArchive(t)
	for n := range 4 {
		a.send(image{study: "-", sop: fmt.Sprint("1.5.", n)})
	}
	a.send(image{study: "-", patient: "P2", sop: "1.6.1"})
	items := a.list()
	var p1 []string
	for _, item := range items {
		if item.Patient.PatientID == "P1" {
			p1 = append(p1, item.ID)
		} else {
			a.release(quarantine.Correction{}, item.ID)
		}
	}
	a.release(quarantine.Correction{}, p1[:3]...)
	a.release(quarantine.Correction{}, p1[3])
	if studies := a.studies(); len(studies) != 2 || studies[0].InstanceCount+studies[1].InstanceCount != 5 {
		t.Errorf("%d studies: %+v", len(studies), studies)
	}
}

// TestANewStudy: an image whose study belongs to somebody else gets one of its
// own, under its own patient.
func TestANewStudy(t *testing.T) {
	a := newArchive(t)
	a.send(image{})
	for n := range 2 {
		a.send(image{patient: "P2", name: "Umarova^Nilufar", sop: fmt.Sprint("1.2.3.1.1", n)})
	}
	items := a.list()
	a.release(quarantine.Correction{NewStudy: true}, items[0].ID)
	a.release(quarantine.Correction{NewStudy: true}, items[1].ID)
	a.gone()
	if s := a.study("1.2.3"); s.InstanceCount != 1 || s.Patient.PatientID != "P1" {
		t.Errorf("the study that was there has %d instances of %+v", s.InstanceCount, s.Patient)
	}
	var other pacs.Study
	for _, s := range a.studies() {
		if s.StudyInstanceUID != "1.2.3" {
			other = s
		}
	}
	if other.InstanceCount != 2 || other.Patient.PatientID != "P2" || other.SeriesCount != 1 || !strings.HasPrefix(other.StudyInstanceUID, "2.25.") {
		t.Errorf("the new study has %d instances in %d series of %+v", other.InstanceCount, other.SeriesCount, other.Patient)
	}
	// Sent again, it is in quarantine again; released again, archived once.
	a.send(image{patient: "P2", name: "Umarova^Nilufar", sop: "1.2.3.1.10"})
	a.release(quarantine.Correction{NewStudy: true}, a.only().ID)
	if n := a.count(`SELECT count(*) FROM instance`); n != 3 {
		t.Errorf("%d instances and versions", n)
	}
}

// TestWithoutAClass: what nobody says what it is can be archived when an
// administrator says it. What says it itself is not made something else.
func TestWithoutAClass(t *testing.T) {
	a := newArchive(t)
	in := image{class: "-"}.incoming(t)
	in.SOPClassUID, in.SOPInstanceUID, in.TransferSyntaxUID = "", "", ""
	in.Data = bytes.NewReader(append(dicom.AppendFileMeta(nil, dicom.FileMeta{TransferSyntaxUID: dicom.ExplicitVRLittleEndian}), image{class: "-"}.encoded(t)...))
	if _, err := a.journal.Receive(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	a.idle()
	item := a.only()
	if !item.NeedsSOPClass() || item.Unreleasable() != "" {
		t.Errorf("%+v", item)
	}
	original := a.file(item.ID)
	if why := a.refused(quarantine.Correction{}, item.ID); !strings.Contains(why, "SOP Class UID") {
		t.Error(why)
	}
	for _, class := range []string{"CT", "1.2.3", dicom.PatientRootFindSOPClass, dicom.MediaStorageDirectorySOPClass} {
		if _, _, err := a.ward.Release(t.Context(), a.admin, []string{item.ID}, quarantine.Correction{SOPClass: class}); pacs.CodeOf(err) != pacs.Invalid {
			t.Errorf("as %s: %v", class, err)
		}
	}
	a.only()
	a.release(quarantine.Correction{SOPClass: ctImageStorage}, item.ID)
	a.idle()
	a.gone()
	_, instance, h := a.sole()
	if instance.SOPClassUID != ctImageStorage {
		t.Errorf("archived as %q", instance.SOPClassUID)
	}
	if h.Dataset.String(dicom.TagSOPClassUID) != ctImageStorage || h.Meta.String(dicom.TagMediaStorageSOPClassUID) != ctImageStorage {
		t.Errorf("the file says it is %q and %q", h.Dataset.String(dicom.TagSOPClassUID), h.Meta.String(dicom.TagMediaStorageSOPClassUID))
	}
	if _, said := h.Dataset.Item(dicom.TagOriginalAttributesSequence).Item(dicom.TagModifiedAttributesSequence).Get(dicom.TagSOPClassUID); !said {
		t.Error("that it was not in what was received is not said")
	}
	if !bytes.Equal(a.file(item.ID), original) {
		t.Error("the original is lost")
	}

	// Another one says what it is, and lacks something else.
	a.send(image{study: "-", sop: "1.2.77"})
	other := a.only()
	if other.NeedsSOPClass() {
		t.Errorf("%+v", other)
	}
	if why := a.refused(quarantine.Correction{SOPClass: dicom.MRImageStorage}, other.ID); !strings.Contains(why, "CT Image Storage") {
		t.Error(why)
	}
	a.release(quarantine.Correction{SOPClass: ctImageStorage}, other.ID)
}

// TestKilledWhileReleasingWithOtherUIDs ends the process at every call to the
// object store: the instance is archived once, and the original is there.
func TestKilledWhileReleasingWithOtherUIDs(t *testing.T) {
	for calls := range 6 { // the pack; two objects copied, two deleted
		t.Run(fmt.Sprint(calls), func(t *testing.T) {
			a := newArchive(t)
			a.send(image{study: "-"})
			id := a.only().ID
			original := a.file(id)
			a.store.dieAfter(calls)
			released, _, err := a.ward.Release(t.Context(), a.admin, []string{id}, quarantine.Correction{})
			if err != nil || len(released) != 1 {
				t.Fatal(released, err)
			}
			if calls < 5 {
				a.eventually("the store died", func() bool { a.store.mu.Lock(); defer a.store.mu.Unlock(); return a.store.left < 0 })
			}
			a.reopen()
			a.idle()
			a.gone()
			a.sole()
			if n := a.count(`SELECT count(*) FROM instance`); n != 1 {
				t.Errorf("%d versions", n)
			}
			if !bytes.Equal(a.file(id), original) {
				t.Error("the original is lost")
			}
		})
	}
}

// TestALostReleaseMakesTheSame data set when it is done again.
func TestALostReleaseMakesTheSame(t *testing.T) {
	a := newArchive(t)
	a.send(image{study: "-"})
	id := a.only().ID
	a.store.dieAfter(0) // the pack can't be stored: the release is under way
	if released, _, err := a.ward.Release(t.Context(), a.admin, []string{id}, quarantine.Correction{}); len(released) != 1 {
		t.Fatal(err)
	}
	if _, err := a.index.Pool().Exec(t.Context(), `UPDATE quarantine_item SET releasing_at = clock_timestamp() - interval '11 minutes'`); err != nil {
		t.Fatal(err)
	}
	if released, _, err := a.ward.Release(t.Context(), a.admin, []string{id}, quarantine.Correction{}); len(released) != 1 {
		t.Fatal(err)
	}
	a.reopen()
	a.idle()
	a.gone()
	if n := a.count(`SELECT count(*) FROM instance`); n != 1 {
		t.Errorf("%d versions", n)
	}
}
