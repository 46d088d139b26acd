package modality

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/worklist/orders"
)

// A device sees what waits in its own facility, in the letters it can show.
func TestFind(t *testing.T) {
	s := open(t,
		access.Device{AETitle: "CT1", FacilityCode: "A"},
		access.Device{AETitle: "CYRILLIC", FacilityCode: "A", AnswerCharset: "ISO_IR 144"},
		access.Device{AETitle: "MODERN", FacilityCode: "A", AnswerCharset: "ISO_IR 192"},
		access.Device{AETitle: "ELSEWHERE", FacilityCode: "B", AllFacilities: true},
		access.Device{AETitle: "ARCHIVE", FacilityCode: "A", Services: []access.Service{access.Store}},
	)
	o := s.order()
	s.order(func(o *orders.Order) { o.Facility.Code = "B" })
	done := s.order()
	if _, err := s.Orders.Move(t.Context(), access.System("test"), done.ID, 1, orders.Completed, ""); err != nil {
		t.Fatal(err)
	}
	identifier := func() *dicom.Dataset {
		return asked(map[dicom.Tag]string{pn: "", acc: "", dicom.TagRequestingPhysician: "", dicom.TagRequestingService: "", dicom.TagReasonForTheRequestedProcedure: "", dicom.TagRequestedProcedureComments: ""},
			map[dicom.Tag]string{ae: "CT1", mod: "CT", date: "20261122", tm: "", dicom.TagScheduledPerformingPhysicianName: "", dicom.TagPreMedication: ""}).
			SetSequence(dicom.TagOtherPatientIDsSequence).SetSequence(dicom.TagRequestedProcedureCodeSequence)
	}
	found, ignored := s.find("CT1", identifier())
	if len(found) != 1 || ignored {
		t.Fatalf("%d found, keys ignored: %v", len(found), ignored)
	}
	want := `00080050 SH ` + o.Accession + `
00100010 PN Karimov^Ali^Baxtiyorovich
00101002 SQ
 00100020 LO 31205580000044
 00100021 LO PINFL
 00100022 CS TEXT
00321032 PN Ergashev^Jasur
00321033 LO Nevrologiya
00321064 SQ
 00080100 SH CT01
 00080102 SH 99UZ
 00080104 LO Head CT
00400100 SQ
 00080060 CS CT
 00400001 AE CT1
 00400002 DA 20261122
 00400003 TM 093000
 00400006 PN Qodirova^Hilola
 00400012 LO Yo'q
00401002 LO Bosh og'rig'i
00401400 LT Qon quyilishi bormi?
`
	if got := lines(found[0], ""); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for calling, name := range map[string]string{"CYRILLIC": "Каримов^Али^Бахтиёрович", "MODERN": "Каримов^Али^Бахтиёрович"} {
		found, _ := s.find(calling, identifier())
		if len(found) != 1 || found[0].String(pn) != name || found[0].Item(dicom.TagScheduledProcedureStepSequence).Has(dicom.TagSpecificCharacterSet) {
			t.Errorf("%s: %d found, %s", calling, len(found), lines(found[0], ""))
		}
		physician := found[0].Item(dicom.TagScheduledProcedureStepSequence).String(dicom.TagScheduledPerformingPhysicianName)
		if want := map[string]string{"CYRILLIC": "Кодирова^Хилола", "MODERN": "Қодирова^Ҳилола"}[calling]; physician != want {
			t.Errorf("%s: %q, want %q", calling, physician, want)
		}
	}
	// What the request declares holds for the answer, and for its own letters.
	declared := identifier().SetString(pn, dicom.PN, "КАРИМОВ*")
	if found, _ := s.find("CT1", declared); len(found) != 1 || found[0].String(pn) != "Каримов^Али^Бахтиёрович" {
		t.Errorf("%d found", len(found))
	}
	windows := identifier().SetBytes(pn, dicom.PN, []byte("\xca\xe0\xf0\xe8\xec\xee\xe2*")) // Каримов in windows-1251, undeclared
	if found, _ := s.find("CT1", windows); len(found) != 1 {
		t.Errorf("%d found by a name in windows-1251", len(found))
	}
	if found, _ := s.find("ELSEWHERE", asked(nil, nil)); len(found) != 1 {
		t.Errorf("%d found in the other hospital", len(found))
	}
	if _, ignored := s.find("CT1", identifier().SetString(dicom.TagStudyDescription, dicom.LO)); !ignored {
		t.Error("a key that is none goes unnoticed")
	}
	refused := func(calling string, ds *dicom.Dataset, want dimse.Code) {
		t.Helper()
		status, err := s.dial(calling).Find(t.Context(), dicom.ModalityWorklistFindSOPClass, ds, func(*dicom.Dataset, bool) error { return errors.New("an answer") })
		if err != nil || status.Code != want {
			t.Errorf("%s, %v; want %s", status, err, want)
		}
	}
	refused("ARCHIVE", identifier(), dimse.NotAuthorized)
	refused("CT1", asked(nil, m2(date, "yesterday")), dimse.DataSetMismatch)
}

// More than a page, cancelled in the middle.
func TestFindManyAndCancel(t *testing.T) {
	s := open(t, access.Device{AETitle: "CT1", FacilityCode: "A"})
	for i := range 2*pageSize + 1 {
		s.order(func(o *orders.Order) { o.Patient.Name = fmt.Sprintf("N^%d", i) })
	}
	if found, _ := s.find("CT1", asked(nil, m2(mod, ""))); len(found) != 2*pageSize+1 {
		t.Errorf("%d found", len(found))
	}
	enough, n := errors.New("enough"), 0
	status, err := s.dial("CT1").Find(t.Context(), dicom.ModalityWorklistFindSOPClass, asked(nil, m2(mod, "")), func(*dicom.Dataset, bool) error {
		if n++; n == 5 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || status.Code != dimse.Cancelled && status.Code != dimse.Success {
		t.Errorf("%s, %v after %d", status, err, n)
	}
}

// findscu asks with a text dump of an identifier and returns what came.
func (s *site) findscu(calling, dump string) (answers []*dicom.Dataset, log string) {
	s.Helper()
	for _, tool := range []string{"findscu", "dump2dcm"} {
		if _, err := exec.LookPath(tool); err != nil {
			s.Skip(tool + " is not installed (Debian package dcmtk)")
		}
	}
	dir := s.TempDir()
	text, query := filepath.Join(dir, "query.dump"), filepath.Join(dir, "query.dcm")
	if err := os.WriteFile(text, []byte(dump), 0o600); err != nil {
		s.Fatal(err)
	}
	run := func(name string, args ...string) string {
		out, err := exec.CommandContext(s.Context(), name, args...).CombinedOutput()
		if err != nil {
			s.Fatalf("%s: %v\n%s", name, err, out)
		}
		return string(out)
	}
	run("dump2dcm", text, query)
	host, port, _ := strings.Cut(s.addr, ":")
	log = run("findscu", "-v", "-W", "-aet", calling, "-aec", "TASVIR", "-X", "-od", dir, host, port, query)
	files, err := filepath.Glob(filepath.Join(dir, "rsp*.dcm"))
	if err != nil {
		s.Fatal(err)
	}
	slices.Sort(files)
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			s.Fatal(err)
		}
		h, err := dicom.Scan(f, dicom.ScanOptions{})
		_ = f.Close()
		if err != nil {
			s.Fatal(err)
		}
		answers = append(answers, h.Dataset)
	}
	return answers, log
}

// dcmtk's findscu with the example queries that come with its worklist server,
// and with the character sets of two kinds of devices.
func TestFindscu(t *testing.T) {
	s := open(t, access.Device{AETitle: "AA2", FacilityCode: "A"}, access.Device{AETitle: "CT1", FacilityCode: "A"})
	s.order()
	s.order(func(o *orders.Order) {
		o.Patient = pacs.Patient{PatientID: "P2", Name: "Oʻrinboyeva^Gʻuncha"}
		o.Steps[0].Stations, o.Steps[0].Modality = nil, "MR"
		o.Steps[0].Start = at(11, 0).AddDate(0, 0, 1)
	})
	examples, _ := filepath.Glob("/usr/share/doc/dcmtk/examples/wlistqry/*.dump*")
	for _, file := range examples {
		raw, err := os.ReadFile(file)
		if err != nil || strings.HasSuffix(file, ".gz") {
			continue
		}
		found, log := s.findscu("AA2", string(raw))
		if !strings.Contains(log, "Success") {
			t.Errorf("%s\n%s", filepath.Base(file), log)
		}
		if want, ok := map[string]int{"wlistqry1.dump": 2, "wlistqry4.dump": 0, "wlistqry7.dump": 1, "wlistqry10.dump": 2}[filepath.Base(file)]; ok && len(found) != want {
			t.Errorf("%s: %d found, want %d", filepath.Base(file), len(found), want)
		}
	}
	const step = "(0040,0100) SQ\n(fffe,e000) na\n%s(fffe,e00d) na\n(fffe,e0dd) na\n"
	for _, row := range []struct {
		name, order, step string
		want              []string
	}{
		{"everything, undeclared", "(0010,0010) PN []\n", "(0040,0001) AE []\n", []string{"Karimov^Ali^Baxtiyorovich", "O'rinboyeva^G'uncha"}},
		{"in Cyrillic", "(0008,0005) CS [ISO_IR 144]\n(0010,0010) PN []\n", "(0008,0060) CS [CT]\n", []string{"Каримов^Али^Бахтиёрович"}},
		{"in UTF-8", "(0008,0005) CS [ISO_IR 192]\n(0010,0010) PN [каримов*]\n", "(0008,0060) CS []\n", []string{"Каримов^Али^Бахтиёрович"}},
		{"in Latin-1", "(0008,0005) CS [ISO_IR 100]\n(0010,0010) PN [KAR*]\n", "(0008,0060) CS []\n", []string{"Karimov^Ali^Baxtiyorovich"}},
		{"station", "(0010,0010) PN []\n", "(0040,0001) AE [CT1]\n(0040,0002) DA [20261122]\n", []string{"Karimov^Ali^Baxtiyorovich"}},
		{"any station of the modality", "(0010,0010) PN []\n", "(0040,0001) AE [CT1]\n(0008,0060) CS [MR]\n(0040,0002) DA [20261123-]\n", []string{"O'rinboyeva^G'uncha"}},
		{"hours over midnight", "(0010,0010) PN []\n", "(0040,0002) DA [20261122-20261123]\n(0040,0003) TM [2000-1200]\n", []string{"O'rinboyeva^G'uncha"}},
		{"nobody", "(0010,0010) PN [NOBODY*]\n", "(0040,0001) AE []\n", nil},
	} {
		found, log := s.findscu("CT1", row.order+fmt.Sprintf(step, row.step))
		var names []string
		for _, ds := range found {
			names = append(names, ds.String(pn))
		}
		if !slices.Equal(names, row.want) || !strings.Contains(log, "Success") {
			t.Errorf("%s: %q, want %q\n%s", row.name, names, row.want, log)
		}
	}
}
