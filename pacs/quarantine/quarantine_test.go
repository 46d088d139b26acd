package quarantine_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/quarantine"
)

func given(s string) *string { return &s }

// TestReasons: whatever is wrong with a data set, it is kept as it came, with
// what could be read of it.
func TestReasons(t *testing.T) {
	whole := image{}.encoded(t)
	tests := map[string]struct {
		before []image
		send   pacs.Incoming
		reason pacs.QuarantineReason
		says   string // in the message
		want   quarantine.Item
	}{
		"no study":   {send: image{study: "-"}.incoming(t), reason: pacs.MissingUID, says: "Study Instance UID"},
		"no class":   {send: image{class: "-"}.incoming(t), reason: pacs.MissingUID, says: "SOP Class UID"},
		"bad series": {send: image{series: "1.2.abc"}.incoming(t), reason: pacs.BadUID, says: "Series Instance UID"},
		"mismatch":   {send: func() pacs.Incoming { in := image{}.incoming(t); in.SOPInstanceUID = "1.9"; return in }(), reason: pacs.Mismatch, says: "another instance"},
		"breaks off": {send: func() pacs.Incoming {
			in := image{}.incoming(t)
			in.Data = bytes.NewReader(whole[:len(whole)-20])
			return in
		}(), reason: pacs.BrokenHeader, says: "ends too early"},
		"too deep": {send: image{more: func(ds *dicom.Dataset) { nest(ds, 40) }}.incoming(t), reason: pacs.TooManyElements, says: "deep"},
		"patient":  {before: []image{{}}, send: image{patient: "P2", name: "Umarova^Nilufar", sop: "1.2.3.1.2"}.incoming(t), reason: pacs.OtherPatient, says: "another patient"},
		"facility": {before: []image{{facility: "B"}}, send: image{sop: "1.2.3.1.2"}.incoming(t), reason: pacs.OtherFacility, says: "another facility"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := newArchive(t)
			a.send(test.before...)
			if _, err := a.journal.Receive(t.Context(), test.send); err != nil {
				t.Fatal(err)
			}
			a.idle()
			item := a.only()
			if item.Reason != test.reason || !strings.Contains(item.Message, test.says) {
				t.Errorf("%s: %q, want %s", item.Reason, item.Message, test.reason)
			}
			if item.Facility != "A" || item.FacilityName != "Hospital A" || item.Sender != "CT1" || item.Channel != pacs.ChannelDIMSE || item.ReceivedAt.IsZero() {
				t.Errorf("where it came from: %+v", item)
			}
			if item.Modality != "CT" || item.StudyDate != "20260302" || item.Description != "Head" || item.Patient.Name == "" || item.Patient.Issuer != "A" {
				t.Errorf("what could be read: %+v", item)
			}
			file := a.file(item.ID)
			if int64(len(file)) != item.Bytes || string(file[128:132]) != "DICM" {
				t.Errorf("a file of %d bytes, want %d", len(file), item.Bytes)
			}
			var sent bytes.Buffer
			test.send.Data.(*bytes.Reader).Seek(0, 0)
			sent.ReadFrom(test.send.Data)
			if !bytes.HasSuffix(file, sent.Bytes()) {
				t.Error("the file does not hold what was sent")
			}
			if st := a.journal.Stats(); st.Held != 0 || st.Bytes != 0 {
				t.Errorf("the journal still has %+v", st)
			}
			if n, size := len(a.objects("quarantine/")), a.count(`SELECT count(*) FROM audit_event WHERE action = 'quarantine.download'`); n != 2 || size != 1 {
				t.Errorf("%d objects, %d downloads on record", n, size)
			}
		})
	}
}

func nest(ds *dicom.Dataset, depth int) {
	inner := &dicom.Dataset{}
	inner.SetString(dicom.TagCodeValue, dicom.SH, "x")
	for range depth {
		outer := &dicom.Dataset{}
		outer.SetSequence(dicom.TagContentSequence, inner)
		inner = outer
	}
	ds.SetSequence(dicom.TagContentSequence, inner)
}

// TestOnce: what is repeated, by the sender or after a crash, is one item.
func TestOnce(t *testing.T) {
	a := newArchive(t)
	for range 3 {
		a.send(image{study: "-"})
	}
	a.send(image{study: "-", facility: "B"})
	if items := a.list(); len(items) != 2 {
		t.Errorf("%d items, want one per facility", len(items))
	}
	if bytes, items, _ := a.ward.Usage(); items != 2 || bytes != a.list()[0].Bytes*2 {
		t.Errorf("%d items of %d bytes counted", items, bytes)
	}
}

// TestReleaseAsItIs: what it contradicted was put right.
func TestReleaseAsItIs(t *testing.T) {
	a := newArchive(t)
	a.send(image{}, image{patient: "P2", sop: "1.2.3.1.2"})
	item := a.only()
	if item.BelongsTo == nil || item.BelongsTo.PatientID != "P1" || item.BelongsTo.Name != "Karimov^Ali" || item.Patient.PatientID != "P2" {
		t.Errorf("belongs to %+v, says %+v", item.BelongsTo, item.Patient)
	}
	if why := a.refused(quarantine.Correction{}, item.ID); !strings.Contains(why, "another patient") {
		t.Errorf("refused: %s", why)
	}
	a.only() // it stays
	if _, err := a.index.Pool().Exec(t.Context(), `UPDATE patient SET patient_id = 'P2'`); err != nil {
		t.Fatal(err)
	}
	a.release(quarantine.Correction{}, item.ID)
	if s := a.study("1.2.3"); s.InstanceCount != 2 {
		t.Errorf("%d instances", s.InstanceCount)
	}
	a.gone()
	if n := a.count(`SELECT count(*) FROM study WHERE amended`); n != 0 {
		t.Error("a study is amended that nobody has corrected")
	}
	if !bytes.HasSuffix(a.stored("1.2.3", "1.2.3.1.2"), image{patient: "P2", sop: "1.2.3.1.2"}.encoded(t)) {
		t.Error("the archived bytes are not those that were sent")
	}
}

// gone wants nothing of the quarantine to be left.
func (a *archive) gone() {
	a.Helper()
	if items, objects, rows := a.list(), a.objects("quarantine/"), a.count(`SELECT count(*) FROM quarantine_item WHERE state NOT IN ('released', 'gone')`); len(items)+len(objects)+rows > 0 {
		a.Errorf("left: items %v, objects %v, %d rows", items, objects, rows)
	}
	if bytes, items, _ := a.ward.Usage(); bytes != 0 || items != 0 {
		a.Errorf("counted as left: %d items, %d bytes", items, bytes)
	}
}

// TestReleaseWithAPatient: the index goes by the administrator's word, the
// bytes stay as they are.
func TestReleaseWithAPatient(t *testing.T) {
	a := newArchive(t)
	wrong := image{patient: "P2", name: "Emergency^1", sop: "1.2.3.1.2"}
	a.send(image{}, wrong)
	item := a.only()
	if why := a.refused(quarantine.Correction{Patient: quarantine.Given{PatientID: given("P3")}}, item.ID); !strings.Contains(why, "another patient") {
		t.Errorf("refused: %s", why)
	}
	a.release(quarantine.Correction{Patient: quarantine.Given{PatientID: given("P1"), Name: given("Karimov^Ali")}}, item.ID)
	a.gone()
	s := a.study("1.2.3")
	if s.InstanceCount != 2 || s.Patient.PatientID != "P1" || s.Patient.Name != "Karimov^Ali" {
		t.Errorf("%d instances of %+v", s.InstanceCount, s.Patient)
	}
	if n := a.count(`SELECT count(*) FROM study WHERE amended`); n != 1 {
		t.Error("the study is not amended: its images would be served with another's name")
	}
	if !bytes.HasSuffix(a.stored("1.2.3", "1.2.3.1.2"), wrong.encoded(t)) {
		t.Error("the archived bytes are not those that were sent")
	}
	if n := a.count(`SELECT count(*) FROM change WHERE kind = 'quarantine.released' AND study_uid = '1.2.3' AND instances = 1`); n != 1 {
		t.Errorf("%d changes in the feed", n)
	}
	if n := a.count(`SELECT count(*) FROM audit_event WHERE action = 'quarantine.release' AND who = 'system:test' AND object = $1`, "quarantine:"+item.ID); n != 1 {
		t.Errorf("%d releases on record", n)
	}
	// The sender repeats it: it is archived already.
	a.send(wrong)
	a.gone()
	if s := a.study("1.2.3"); s.InstanceCount != 2 {
		t.Errorf("%d instances", s.InstanceCount)
	}
}

// TestReleaseToAFacility: what came from the wrong sender's facility.
func TestReleaseToAFacility(t *testing.T) {
	a := newArchive(t)
	a.send(image{facility: "B"})
	a.send(image{sop: "1.2.3.1.2"})
	item := a.only()
	a.refused(quarantine.Correction{}, item.ID)
	a.release(quarantine.Correction{Facility: "B"}, item.ID)
	a.gone()
	if s := a.study("1.2.3"); s.InstanceCount != 2 || s.Facility.Code != "B" || s.Patient.Issuer != "B" {
		t.Errorf("%d instances in %s of %+v", s.InstanceCount, s.Facility.Code, s.Patient)
	}
	for _, code := range []string{"NOWHERE", "A'--", "\x00"} {
		if _, _, err := a.ward.Release(t.Context(), a.admin, []string{item.ID}, quarantine.Correction{Facility: code}); pacs.CodeOf(err) != pacs.Invalid {
			t.Errorf("facility %q: %v", code, err)
		}
	}
}

// TestMismatchIsReleased under the UIDs that the data set has.
func TestMismatchIsReleased(t *testing.T) {
	a := newArchive(t)
	in := image{}.incoming(t)
	in.SOPInstanceUID = "1.9"
	if _, err := a.journal.Receive(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	a.idle()
	a.release(quarantine.Correction{}, a.only().ID)
	a.gone()
	a.stored("1.2.3", "1.2.3.1.1")
}

// TestUnreadableIsNotReleased: what breaks off, or is over a limit, can be
// downloaded and stays.
func TestUnreadableIsNotReleased(t *testing.T) {
	a := newArchive(t)
	whole := image{}.encoded(t)
	in := image{}.incoming(t)
	in.Data = bytes.NewReader(whole[:len(whole)-20])
	if _, err := a.journal.Receive(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	a.send(image{more: func(ds *dicom.Dataset) { nest(ds, 40) }})
	items := a.list()
	if len(items) != 2 {
		t.Fatalf("%d items", len(items))
	}
	for i, says := range []string{"over a limit", "can't be read to its end"} {
		if why := a.refused(quarantine.Correction{}, items[i].ID); !strings.Contains(why, says) {
			t.Errorf("%s: %s", items[i].Reason, why)
		}
		if why := items[i].Unreleasable(); !strings.Contains(why, says) || !strings.Contains(why, "send that in") || items[i].NeedsSOPClass() {
			t.Errorf("the list says of %s: %q", items[i].Reason, why)
		}
	}
	if len(a.list()) != 2 {
		t.Error("one is gone")
	}
}

// TestDiscard: gone for good, and on record why.
func TestDiscard(t *testing.T) {
	a := newArchive(t)
	a.send(image{study: "-"})
	id := a.only().ID
	if _, err := a.ward.Discard(t.Context(), a.admin, []string{id}, "  "); pacs.CodeOf(err) != pacs.Invalid {
		t.Errorf("without a reason: %v", err)
	}
	n, err := a.ward.Discard(t.Context(), a.admin, []string{id, id, "nonsense", strings.Repeat("0", 32)}, "A test image")
	if n != 1 || err != nil {
		t.Errorf("%d discarded, %v", n, err)
	}
	a.gone()
	if n := a.count(`SELECT count(*) FROM audit_event WHERE action = 'quarantine.discard' AND object = $1 AND why = 'A test image' AND facility_row = $2`, "quarantine:"+id, a.a.ID); n != 1 {
		t.Errorf("%d discards on record", n)
	}
	a.send(image{study: "-"})
	if a.only().ID != id {
		t.Error("what is sent again is another item")
	}
}

// TestRestore makes the list anew from object storage.
func TestRestore(t *testing.T) {
	a := newArchive(t)
	a.send(image{}, image{patient: "P2", sop: "1.2.3.1.2"}, image{study: "-", facility: "B"})
	before := a.list()
	if n, err := a.ward.Restore(t.Context()); n != 0 || err != nil {
		t.Errorf("restored %d that were there, %v", n, err)
	}
	if _, err := a.index.Pool().Exec(t.Context(), `DELETE FROM quarantine_item`); err != nil {
		t.Fatal(err)
	}
	if n, err := a.ward.Restore(t.Context()); n != 2 || err != nil {
		t.Fatalf("restored %d, %v", n, err)
	}
	after := a.list()
	for i := range before {
		before[i].ReceivedAt, after[i].ReceivedAt = after[i].ReceivedAt.UTC(), after[i].ReceivedAt.UTC()
		if before[i].Item != after[i].Item {
			t.Errorf("before %+v\nafter  %+v", before[i].Item, after[i].Item)
		}
	}
	if bytes, items, _ := a.ward.Usage(); items != 2 || bytes == 0 {
		t.Errorf("counted %d items, %d bytes", items, bytes)
	}
}
