package publish

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/encoding/charmap"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// TestAmendedAsRecognised: what a device declares not at all, or wrongly, is
// read as it was when it was received, when its patient has been corrected.
// What is right is not said to have been changed, and all text survives when
// the data set becomes UTF-8.
func TestAmendedAsRecognised(t *testing.T) {
	t.Parallel()
	for n, c := range []struct {
		device, declared  string
		set               *charmap.Charmap
		name, description string
	}{
		{"", "", charmap.Windows1251, "Каримов^Али", "Органы грудной клетки"},
		{"", "ISO_IR 100", charmap.Windows1251, "Каримов^Али", "Органы грудной клетки"},
		{"", "", charmap.CodePage866, "Каримов^Али", "Органы грудной клетки"},
		{"windows-1251", "", charmap.Windows1251, "Усмон^Ё", "ЮЯ"}, // too little to be guessed
		{"windows-1254", "", charmap.Windows1254, "Şahin^Ayşe", "Göğüs"},
		{"ISO_IR 126", "", charmap.ISO8859_7, "Παππάς^Νίκος", "Θώρακας"},
	} {
		a := newArchive(t)
		a.start()
		raw := func(s string) []byte {
			b, err := c.set.NewEncoder().Bytes([]byte(s))
			if err != nil {
				t.Fatal(err)
			}
			if len(b)%2 == 1 {
				b = append(b, ' ')
			}
			return b
		}
		i := image{number: 1, more: func(ds *dicom.Dataset) {
			ds.Delete(dicom.TagSpecificCharacterSet)
			if c.declared != "" {
				ds.SetString(dicom.TagSpecificCharacterSet, dicom.CS, c.declared)
			}
			ds.SetBytes(dicom.TagPatientName, dicom.PN, raw(c.name))
			ds.SetBytes(dicom.TagStudyDescription, dicom.LO, raw(c.description))
		}}.withDefaults()
		if _, err := a.journal.Receive(t.Context(), pacs.Incoming{
			Data: bytes.NewReader(i.encoded(t)), TransferSyntaxUID: dicom.ExplicitVRLittleEndian, Channel: pacs.ChannelDIMSE, Facility: i.facility, Charset: c.device,
		}); err != nil {
			t.Fatal(err)
		}
		a.settled(1)
		var name, description string
		a.row(`SELECT p.name, s.description FROM study s JOIN patient p ON p.id = s.patient_row`, nil, &name, &description)
		if name != c.name || description != c.description {
			t.Fatalf("%d: received as %q, %q, want %q, %q", n, name, description, c.name, c.description)
		}
		received := a.instances(pacs.InstanceFilter{})[0]
		served := func(p pacs.Patient) *dicom.Header {
			t.Helper()
			in := received
			in.Amendment = &pacs.Amendment{Patient: p, Facility: i.facility, At: time.Now()}
			f, err := (&Packs{Index: a.index, Store: a.store}).Instance(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			body, err := f.Open(t.Context(), 0, f.Length)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = body.Close() }()
			b, err := io.ReadAll(body)
			if err != nil {
				t.Fatal(err)
			}
			h, err := dicom.Scan(bytes.NewReader(b), dicom.ScanOptions{})
			if err != nil {
				t.Fatal(err)
			}
			return h
		}
		// Another ID: the name was right, and its bytes stay.
		said := pacs.Patient{Issuer: i.facility, PatientID: "777", Name: name, BirthDate: "", Sex: ""}
		a.row(`SELECT birth_date, sex FROM patient`, nil, &said.BirthDate, &said.Sex)
		h := served(said)
		var changed []string
		for _, e := range h.Dataset.Item(dicom.TagOriginalAttributesSequence).Item(dicom.TagModifiedAttributesSequence).Elements {
			changed = append(changed, e.Tag.String())
		}
		if diff := cmp.Diff([]string{dicom.TagPatientID.String()}, changed); diff != "" {
			t.Errorf("%d: changed: %s", n, diff)
		}
		if e, _ := h.Dataset.Get(dicom.TagPatientName); !bytes.Equal(bytes.TrimRight(e.Value, " "), bytes.TrimRight(raw(c.name), " ")) {
			t.Errorf("%d: the name's bytes have changed: %q", n, e.Value)
		}
		// Another name, which no eight bits hold: all is UTF-8 now.
		said.Name = "Қаҳҳоров^Şерзод"
		h = served(said)
		got := []string{h.Dataset.String(dicom.TagSpecificCharacterSet), h.Dataset.String(dicom.TagPatientName), h.Dataset.String(dicom.TagStudyDescription)}
		if diff := cmp.Diff([]string{"ISO_IR 192", said.Name, c.description}, got); diff != "" {
			t.Errorf("%d: %s", n, diff)
		}
		a.stop()
	}
}
