package forward

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// reject takes in a note that rejects instances of a study's first series, and
// waits until it is indexed.
func (a *forwarded) reject(sop, study string, reason pacs.RejectionReason, instances ...string) {
	a.t.Helper()
	scheme := "DCM"
	if reason == pacs.RejectionRevoked {
		scheme = pacs.RevocationScheme
	}
	var references []*dicom.Dataset
	for _, uid := range instances {
		references = append(references, new(dicom.Dataset).SetString(dicom.TagReferencedSOPClassUID, dicom.UI, dicom.CTImageStorage).
			SetString(dicom.TagReferencedSOPInstanceUID, dicom.UI, uid))
	}
	i := image{study: study}.withDefaults()
	ds := new(dicom.Dataset).SetString(dicom.TagSOPClassUID, dicom.UI, dicom.KeyObjectSelectionStorage).SetString(dicom.TagSOPInstanceUID, dicom.UI, sop).
		SetString(dicom.TagStudyInstanceUID, dicom.UI, study).SetString(dicom.TagSeriesInstanceUID, dicom.UI, sop+".1").
		SetString(dicom.TagPatientID, dicom.LO, i.patient).SetString(dicom.TagPatientName, dicom.PN, "Karimov^Ali^"+i.patient).
		SetString(dicom.TagModality, dicom.CS, "KO").
		SetString(dicom.TagContentDate, dicom.DA, "20260302").SetString(dicom.TagContentTime, dicom.TM, "120000").
		SetSequence(dicom.TagConceptNameCodeSequence, new(dicom.Dataset).SetString(dicom.TagCodeValue, dicom.SH, string(reason)).
			SetString(dicom.TagCodingSchemeDesignator, dicom.SH, scheme).SetString(dicom.TagCodeMeaning, dicom.LO, reason.Meaning())).
		SetSequence(dicom.TagCurrentRequestedProcedureEvidenceSequence, new(dicom.Dataset).SetString(dicom.TagStudyInstanceUID, dicom.UI, study).
			SetSequence(dicom.TagReferencedSeriesSequence, new(dicom.Dataset).SetString(dicom.TagSeriesInstanceUID, dicom.UI, i.series).
				SetSequence(dicom.TagReferencedSOPSequence, references...)))
	b, err := dicom.AppendDataset(nil, ds, dicom.ExplicitVRLittleEndian)
	if err != nil {
		a.t.Fatal(err)
	}
	receipt, err := a.journal.Receive(a.t.Context(), pacs.Incoming{
		Data: bytes.NewReader(b), TransferSyntaxUID: dicom.ExplicitVRLittleEndian, SOPClassUID: dicom.KeyObjectSelectionStorage, SOPInstanceUID: sop,
		Channel: pacs.ChannelDIMSE, Facility: i.facility, Sender: i.sender,
	})
	if err != nil || receipt.Unfit != "" {
		a.t.Fatalf("%v %s", err, receipt.Problem)
	}
	a.received++
	a.until("the note is indexed", func() bool { return a.number(`SELECT count(*) FROM instance`) >= a.received })
}

// A target that has what a note rejects gets the note, once, even when nothing of
// the study is shown any more; one that has none of it gets neither.
func TestRejectionNotesFollowWhatTheyReject(t *testing.T) {
	a := newArchive(t)
	ws, late, series := newStation(t, nil), newStation(t, nil), newStation(t, nil)
	a.device("WS", ws.address)
	a.device("LATE", late.address, func(d *access.Device) { d.MaxAssociationsTo = 1 })
	a.device("BYSERIES", series.address)
	a.rule("WS")
	a.rule("BYSERIES", func(r *Rule) { r.Level = SeriesLevel })
	a.receive(images("1.2.3", 3)...)
	a.completed("1.2.3")
	a.until("both have it", func() bool { return len(a.items(ItemFilter{States: []State{Sent}})) == 2 })

	a.reject("1.2.99.1", "1.2.3", pacs.RejectedForQuality, "1.2.3.1.2")
	a.until("both have the note", func() bool { return len(ws.images()) == 4 && len(series.images()) == 4 })
	if got := ws.images()[3]; got != "1.2.99.1" {
		t.Errorf("sent %s", got)
	}
	a.until("all is sent", func() bool { return len(a.items(ItemFilter{States: []State{Sent}})) == 2 })

	// Who comes later gets what is shown.
	a.rule("LATE")
	a.completed("1.2.3")
	a.until("all is sent", func() bool { return len(a.items(ItemFilter{States: []State{Sent}})) == 3 })
	if got := late.images(); len(got) != 2 || slices.Contains(got, "1.2.3.1.2") || slices.Contains(got, "1.2.99.1") {
		t.Errorf("who comes later has %v", got)
	}

	// The rest is rejected: nothing is shown, and everybody is told.
	a.reject("1.2.99.2", "1.2.3", pacs.IncorrectWorklistEntry, "1.2.3.1.1", "1.2.3.1.3")
	if n := a.number(`SELECT count(*) FROM study WHERE hidden`); n != 1 {
		t.Fatalf("%d studies are hidden", n)
	}
	a.until("all have the note", func() bool {
		return slices.Contains(ws.images(), "1.2.99.2") && slices.Contains(late.images(), "1.2.99.2") && slices.Contains(series.images(), "1.2.99.2")
	})
	a.until("all is sent", func() bool { return len(a.items(ItemFilter{States: []State{Sent}})) == 3 })

	// A note that takes it back is one, too, and nothing is sent twice.
	a.reject("1.2.99.3", "1.2.3", pacs.RejectionRevoked, "1.2.3.1.1")
	a.until("all have it", func() bool {
		return slices.Contains(ws.images(), "1.2.99.3") && slices.Contains(late.images(), "1.2.99.3")
	})
	a.completed("1.2.3")
	a.until("all is sent", func() bool { return len(a.items(ItemFilter{States: []State{Sent}})) == 3 })
	if got := ws.images(); len(got) != 6 {
		t.Errorf("sent %s", strings.Join(got, " "))
	}
}

// What is paused stays so when it is rejected, and is sent the note afterwards.
func TestRejectionNoteForWhatIsCancelled(t *testing.T) {
	a := newArchive(t)
	ws := newStation(t, nil)
	a.device("WS", ws.address)
	a.rule("WS")
	a.receive(images("1.2.3", 2)...)
	a.completed("1.2.3")
	i := a.comes("1.2.3", Sent)
	a.exec(`UPDATE forward_item SET state = 'paused', ended_at = NULL WHERE id = $1`, i.ID)
	a.reject("1.2.99.1", "1.2.3", pacs.RejectedForPatientSafety, "1.2.3.1.2")
	if got := a.item("1.2.3"); got.State != Paused {
		t.Errorf("%+v", got)
	}
	if n, err := a.Do(t.Context(), a.admin, Resume, []int64{i.ID}, ItemFilter{}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	a.until("the note is sent", func() bool { return slices.Contains(ws.images(), "1.2.99.1") })
	a.comes("1.2.3", Sent)
}
