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

// TestQuota: a full quarantine refuses at the door what would go there, holds
// in the journal what turns out to, and takes it when there is room again.
func TestQuota(t *testing.T) {
	const quota = 2200 // three images, not four
	a := newArchive(t, func(o *quarantine.Options) { o.Quota = quota })
	a.send(image{}) // the study is P1's
	size := int64(0)
	for n := range 3 {
		a.send(image{patient: "P2", sop: fmt.Sprint("1.2.3.1.1", n)})
		size = a.list()[0].Bytes
	}
	contradicting := image{patient: "P2", sop: "1.2.3.1.19"}
	a.send(contradicting) // acknowledged: nobody could know
	a.eventually("one is held", func() bool { return a.journal.Stats().Held == 1 })
	refused := func(i image) {
		t.Helper()
		if _, err := a.journal.Receive(t.Context(), i.incoming(t)); pacs.CodeOf(err) != pacs.OutOfResources {
			t.Errorf("a full quarantine: %v", err)
		}
	}
	refused(image{study: "-"})
	refused(image{patient: "P2", sop: "1.2.3.1.20"}) // more of that study
	a.send(image{study: "1.2.4", series: "1.2.4.1", sop: "1.2.4.1.1"})
	if s := a.study("1.2.4"); s.InstanceCount != 1 {
		t.Error("what has nothing to do with it is not archived")
	}
	if bytes, items, limit := a.ward.Usage(); items != 3 || bytes != 3*size || limit != quota || a.ward.Room() != quota-3*size {
		t.Errorf("%d items, %d bytes of %d", items, bytes, limit)
	}

	// It waits also across an end of the process, and there are no twins.
	a.reopen()
	a.eventually("one is held again", func() bool { return a.journal.Stats().Held == 1 })
	if n, err := a.ward.Discard(t.Context(), a.admin, []string{a.list()[1].ID}, "test"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	a.eventually("it is in quarantine", func() bool { return len(a.list()) == 3 && a.journal.Stats().Held == 0 })
	if item := a.list()[0]; item.SOPInstanceUID != "1.2.3.1.19" || item.Reason != pacs.OtherPatient {
		t.Errorf("%+v", item)
	}
}

// TestAFloodOfRubbish: ten thousand files cost what the quota allows, and the
// archive goes on.
func TestAFloodOfRubbish(t *testing.T) {
	const most = 300
	a := newArchive(t, func(o *quarantine.Options) { o.MaxItems = most })
	var kept, refused int
	for n := range 10_000 {
		_, err := a.journal.Receive(t.Context(), image{study: "-", sop: fmt.Sprint("1.2.3.1.", n)}.incoming(t))
		switch pacs.CodeOf(err) {
		case "":
			kept++
		case pacs.OutOfResources:
			refused++
		default:
			t.Fatal(err)
		}
	}
	a.idle()
	if held := a.journal.Stats().Held; kept != most+held || refused != 10_000-kept {
		t.Errorf("%d acknowledged, %d refused, %d held; want %d kept", kept, refused, held, most)
	}
	if _, items, _ := a.ward.Usage(); items != most || a.ward.Room() != 0 {
		t.Errorf("%d items counted", items)
	}
	a.send(image{})
	a.study("1.2.3")

	// Pages are complete and in order.
	seen := map[string]bool{}
	for after := ""; ; {
		page, next, total, err := a.ward.List(t.Context(), a.admin.Scope, quarantine.Filter{Limit: 70, After: after})
		if err != nil || total != most {
			t.Fatal(total, err)
		}
		for _, item := range page {
			seen[item.ID] = true
		}
		if after = next; next == "" {
			break
		}
	}
	if len(seen) != most {
		t.Errorf("%d items on the pages", len(seen))
	}
}

// TestHostileHeaders: what a sender writes into a header stays text.
func TestHostileHeaders(t *testing.T) {
	a := newArchive(t)
	long := strings.Repeat("Ж", 20_000)
	set := func(tag dicom.Tag, vr dicom.VR, value string) func(*dicom.Dataset) {
		return func(ds *dicom.Dataset) {
			ds.SetBytes(dicom.TagSpecificCharacterSet, dicom.CS, []byte("ISO_IR 192"))
			ds.SetBytes(tag, vr, []byte(value))
		}
	}
	hostile := []func(*dicom.Dataset){
		set(dicom.TagPatientName, dicom.UT, long),
		set(dicom.TagPatientID, dicom.UT, long),
		set(dicom.TagStudyDescription, dicom.UT, long),
		set(dicom.TagPatientName, dicom.PN, "A\x00B\x00"),
		set(dicom.TagPatientName, dicom.PN, "\xff\xfe\xfd"),
		set(dicom.TagPatientID, dicom.LO, "'; DROP TABLE quarantine_item; --"),
		set(dicom.TagModality, dicom.CS, "<script>alert(1)</script>"),
		set(dicom.TagStudyDate, dicom.DA, strings.Repeat("9", 60_000)),
		set(dicom.TagStudyInstanceUID, dicom.UI, strings.Repeat("1.", 30_000)),
		set(dicom.TagSOPInstanceUID, dicom.UI, "../../etc/passwd"),
		set(dicom.TagPatientSex, dicom.CS, "\x00\x00"),
	}
	for n, more := range hostile {
		i := image{study: "-", more: more, sop: fmt.Sprint("1.2.3.1.", n)}
		if n == 8 {
			i.study = ""
		}
		a.send(i)
	}
	items := a.list()
	if len(items) != len(hostile) {
		t.Fatalf("%d items, want %d", len(items), len(hostile))
	}
	for _, item := range items {
		for _, s := range []string{item.Message, item.Patient.Name, item.Patient.PatientID, item.Description, item.Modality, item.StudyDate} {
			if len(s) > 2048 || strings.ContainsRune(s, 0) {
				t.Errorf("%d bytes: %.50q", len(s), s)
			}
		}
		if item.SOPInstanceUID != "" && dicom.ValidUID(item.SOPInstanceUID) != nil || item.StudyInstanceUID != "" {
			t.Errorf("UIDs %q %q", item.StudyInstanceUID, item.SOPInstanceUID)
		}
	}
	if _, err := a.index.Pool().Exec(t.Context(), `DELETE FROM quarantine_item`); err != nil {
		t.Fatal(err)
	}
	if n, err := a.ward.Restore(t.Context()); n != len(hostile) || err != nil {
		t.Errorf("restored %d, %v", n, err)
	}
	for _, id := range []string{"", "x", "../../etc/passwd", strings.Repeat("a", 33), strings.Repeat("A", 32), "\x00"} {
		if _, _, err := a.ward.Bytes(t.Context(), a.admin, id); pacs.CodeOf(err) != pacs.NotFound {
			t.Errorf("the file of %q: %v", id, err)
		}
		if why := a.refused(quarantine.Correction{}, id); !strings.Contains(why, "no such data set") {
			t.Errorf("releasing %q: %s", id, why)
		}
	}
	for _, after := range []string{"x", "e30", "eyJ0IjoxfQ", "\x00"} {
		if _, _, _, err := a.ward.List(t.Context(), a.admin.Scope, quarantine.Filter{After: after}); pacs.CodeOf(err) != pacs.Invalid {
			t.Errorf("a page after %q: %v", after, err)
		}
	}
	if _, _, total, err := a.ward.List(t.Context(), a.admin.Scope, quarantine.Filter{Facility: "\x00", Reason: "\xff"}); total != 0 || err != nil {
		t.Errorf("%d, %v", total, err)
	}
}

// TestScope: a facility's administrator sees, releases and discards what is
// theirs; what nobody is known to have sent is for those who see all.
func TestScope(t *testing.T) {
	a := newArchive(t)
	a.send(image{study: "-"}, image{study: "-", facility: "B"}, image{study: "-", facility: pacs.Unassigned})
	ids := map[string]string{}
	for _, item := range a.list() {
		ids[item.Facility] = item.ID
	}
	var unassigned int64
	if err := a.index.Pool().QueryRow(t.Context(), `SELECT id FROM facility WHERE code = 'UNASSIGNED'`).Scan(&unassigned); err != nil {
		t.Fatal(err)
	}
	who := *a.admin
	who.Scope = pacs.Scope{Who: "chief", FacilityIDs: []int64{a.a.ID, unassigned}}
	items, _, total, err := a.ward.List(t.Context(), who.Scope, quarantine.Filter{})
	if err != nil || total != 1 || len(items) != 1 || items[0].Facility != "A" {
		t.Errorf("%d items %+v, %v", total, items, err)
	}
	if _, _, total, err := a.ward.List(t.Context(), pacs.Scope{}, quarantine.Filter{}); total != 0 || err != nil {
		t.Errorf("nobody sees %d, %v", total, err)
	}
	for _, code := range []string{"B", pacs.Unassigned} {
		if _, _, err := a.ward.Bytes(t.Context(), &who, ids[code]); pacs.CodeOf(err) != pacs.NotFound {
			t.Errorf("the file of %s: %v", code, err)
		}
		if n, err := a.ward.Discard(t.Context(), &who, []string{ids[code]}, "mine now"); n != 0 || err != nil {
			t.Errorf("%s: discarded %d, %v", code, n, err)
		}
		if released, refused, err := a.ward.Release(t.Context(), &who, []string{ids[code]}, quarantine.Correction{}); len(released) != 0 || len(refused) != 1 || err != nil {
			t.Errorf("%s: released %v %v %v", code, released, refused, err)
		}
		if _, _, err := a.ward.Release(t.Context(), &who, []string{ids["A"]}, quarantine.Correction{Facility: code}); pacs.CodeOf(err) != pacs.Invalid {
			t.Errorf("given to %s: %v", code, err)
		}
	}
	if body, _, err := a.ward.Bytes(t.Context(), &who, ids["A"]); err != nil {
		t.Error(err)
	} else {
		body.Close()
	}
	if len(a.list()) != 3 {
		t.Error("something is gone")
	}
}

// TestOtherHospitalsPatientsStayHidden: whom a study of another facility
// belongs to is not shown.
func TestOtherHospitalsPatientsStayHidden(t *testing.T) {
	a := newArchive(t)
	a.send(image{}, image{patient: "P2", sop: "1.2.3.1.2"})
	item := a.only()
	if item.BelongsTo == nil {
		t.Fatal("belongs to nobody")
	}
	if _, err := a.index.Pool().Exec(t.Context(), `UPDATE study SET facility_row = $1`, a.b.ID); err != nil {
		t.Fatal(err)
	}
	items, _, _, err := a.ward.List(t.Context(), pacs.Scope{Who: "chief", FacilityIDs: []int64{a.a.ID}}, quarantine.Filter{})
	if err != nil || len(items) != 1 || items[0].BelongsTo != nil {
		t.Errorf("%+v, %v", items, err)
	}
}

// TestCorrectionsThatCantBe are refused before anything is done.
func TestCorrectionsThatCantBe(t *testing.T) {
	a := newArchive(t)
	a.send(image{}, image{patient: "P2", sop: "1.2.3.1.2"})
	id := a.only().ID
	for what, g := range map[string]quarantine.Given{
		"birth date": {BirthDate: given("1.5.1990")}, "sex": {Sex: given("male")}, "PINFL": {PINFL: given("123")},
	} {
		if _, _, err := a.ward.Release(t.Context(), a.admin, []string{id}, quarantine.Correction{Patient: g}); pacs.CodeOf(err) != pacs.Invalid {
			t.Errorf("%s: %v", what, err)
		}
	}
	// Texts are cut to what an index holds, and cleaned.
	a.release(quarantine.Correction{Patient: quarantine.Given{PatientID: given(" P1 "), Name: given("Ka\x00rimov" + strings.Repeat("x", 5000))}}, id)
	a.gone()
	if s := a.study("1.2.3"); s.InstanceCount != 2 {
		t.Errorf("%d instances", s.InstanceCount)
	}
}

// TestALargeItem passes through without being held in memory.
func TestALargeItem(t *testing.T) {
	a := newArchive(t)
	big := image{study: "-", more: func(ds *dicom.Dataset) {
		ds.SetBytes(dicom.TagPixelData, dicom.OW, bytes.Repeat([]byte("0123456789abcdef"), 1<<20))
	}}
	a.send(big)
	if item := a.only(); item.Bytes < 16<<20 || item.Modality != "CT" {
		t.Errorf("%+v", item)
	}
}
