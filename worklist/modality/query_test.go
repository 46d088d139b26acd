package modality

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/worklist"
	"github.com/tasvir-pacs/tasvir/worklist/charset"
	"github.com/tasvir-pacs/tasvir/worklist/matching"
	"github.com/tasvir-pacs/tasvir/worklist/orders"
)

// asked is an identifier: order-level attributes, and those of the step.
func asked(order, step map[dicom.Tag]string) *dicom.Dataset {
	ds := new(dicom.Dataset)
	for tag, v := range order {
		ds.SetString(tag, dicom.LookupVR(tag, false), strings.Split(v, `\`)...)
	}
	item := new(dicom.Dataset)
	for tag, v := range step {
		item.SetString(tag, dicom.LookupVR(tag, false), strings.Split(v, `\`)...)
	}
	return ds.SetSequence(dicom.TagScheduledProcedureStepSequence, item)
}

func waiting(change ...func(*orders.Waiting)) *orders.Waiting {
	w := &orders.Waiting{
		Order: orders.Order{
			Accession: "TV00000001", StudyUID: "1.2.3", Priority: worklist.Stat, Placer: "HIS1", Facility: pacs.Facility{Code: "A", Name: "Urgut"},
			Patient:   pacs.Patient{PatientID: "P1", Issuer: "A", Name: "Каримов^Али^Бахтиёрович", Sex: "M", BirthDate: "19580512"},
			Procedure: orders.Procedure{ID: "RP1", Description: "Bosh KT"}, Physician: "Ergashev^Jasur",
		},
		Step:     orders.Step{ID: "S1", Modality: "CT", Stations: []string{"CT1", "CT2"}, Start: at(9, 30), State: orders.Arrived, Description: "Bosh KT", Physician: "Ким^Виктория"},
		Position: 1,
	}
	for _, f := range change {
		f(w)
	}
	return w
}

const (
	pn, pid, acc, sex, birth, uid = dicom.TagPatientName, dicom.TagPatientID, dicom.TagAccessionNumber, dicom.TagPatientSex, dicom.TagPatientBirthDate, dicom.TagStudyInstanceUID
	ae, mod, date, tm             = dicom.TagScheduledStationAETitle, dicom.TagModality, dicom.TagScheduledProcedureStepStartDate, dicom.TagScheduledProcedureStepStartTime
)

// Matching as PS3.4 C.2.2.2 and Table K.6-1 have it.
func TestMatching(t *testing.T) {
	type m = map[dicom.Tag]string
	for _, row := range []struct {
		name        string
		order, step m
		want        bool
	}{
		{"nothing asked", nil, nil, true},
		{"empty keys", m{pn: "", pid: "", uid: ""}, m{ae: "", mod: "", date: "", tm: ""}, true},
		{"modality", nil, m{mod: "CT"}, true},
		{"other modality", nil, m{mod: "MR"}, false},
		{"modality by wild card", nil, m{mod: "C*"}, true},
		{"list of modalities", nil, m{mod: `MR\CT`}, true},
		{"first station", nil, m{ae: "CT1"}, true},
		{"second station", nil, m{ae: "CT2 "}, true},
		{"other station", nil, m{ae: "CT3"}, false},
		{"lower case station", nil, m{ae: "ct1"}, false},
		{"day", nil, m{date: "20261122"}, true},
		{"other day", nil, m{date: "20261121"}, false},
		{"days", nil, m{date: "20261120-20261122"}, true},
		{"from a day", nil, m{date: "20261122-"}, true},
		{"from the next day", nil, m{date: "20261123-"}, false},
		{"to a day", nil, m{date: "-20261122"}, true},
		{"to the day before", nil, m{date: "-20261121"}, false},
		{"old form of a day", nil, m{date: "2026.11.22"}, true},
		{"time", nil, m{date: "20261122", tm: "093000"}, true},
		{"time to the minute", nil, m{date: "20261122", tm: "0930"}, true},
		{"time to the hour", nil, m{date: "20261122", tm: "09"}, true},
		{"time with a fraction", nil, m{date: "20261122", tm: "093000.000000"}, true},
		{"other time", nil, m{date: "20261122", tm: "0931"}, false},
		{"times of a day", nil, m{date: "20261122", tm: "0900-1000"}, true},
		{"other times of the day", nil, m{date: "20261122", tm: "1000-1100"}, false},
		{"times without a day", nil, m{tm: "0900-1000"}, true},
		{"other times without a day", nil, m{tm: "1000-"}, false},
		// Table K.6-1: from the 21st 20:00 to the 23rd 08:00, and not each day.
		{"days and times are one range", nil, m{date: "20261121-20261123", tm: "2000-0800"}, true},
		{"range ends the same day before", nil, m{date: "20261121-20261122", tm: "2000-0800"}, false},
		{"range begins the same day after", nil, m{date: "20261122-20261123", tm: "1000-0800"}, false},
		{"open range from", nil, m{date: "20261122-", tm: "0931-"}, false},
		{"days with one time", nil, m{date: "20261121-20261123", tm: "0930"}, true},
		{"days with one other time", nil, m{date: "20261121-20261123", tm: "0800"}, false},
		{"performing physician", nil, m{dicom.TagScheduledPerformingPhysicianName: "KIM*"}, true},
		{"status", nil, m{dicom.TagScheduledProcedureStepStatus: "ARRIVED"}, true},
		{"other status", nil, m{dicom.TagScheduledProcedureStepStatus: "SCHEDULED"}, false},
		{"step's ID", nil, m{dicom.TagScheduledProcedureStepID: "S?"}, true},
		{"name as it is", m{pn: "Каримов^Али^Бахтиёрович"}, nil, true},
		{"name in capitals", m{pn: "КАРИМОВ^АЛИ^БАХТИЁРОВИЧ"}, nil, true},
		{"name by its beginning", m{pn: "Кар*"}, nil, true},
		{"name in Latin", m{pn: "KARIMOV^ALI*"}, nil, true},
		{"name in Latin, whole", m{pn: "Karimov^Ali^Baxtiyorovich"}, nil, true},
		{"family name only, no wild card", m{pn: "KARIMOV"}, nil, false},
		{"given name", m{pn: "*^ALI^*"}, nil, true},
		{"part of the given name is no component", m{pn: "*^AL^*"}, nil, false},
		{"middle", m{pn: "*ali*"}, nil, true},
		{"one letter", m{pn: "Карим?в^Али^Бахтиёрович"}, nil, true},
		{"somebody else", m{pn: "YUSUPOVA*"}, nil, false},
		{"all names", m{pn: "*"}, nil, true},
		{"patient ID", m{pid: "P1"}, nil, true},
		{"patient ID in the other case", m{pid: "p1"}, nil, false},
		{"accession number", m{acc: "TV0000000?"}, nil, true},
		{"sex", m{sex: "F"}, nil, false},
		{"birth date", m{birth: "19580101-19581231"}, nil, true},
		{"other birth date", m{birth: "19590101"}, nil, false},
		{"study UIDs", m{uid: `9.9\1.2.3`}, nil, true},
		{"other study UIDs", m{uid: `9.9\1.2`}, nil, false},
		{"requested procedure", m{dicom.TagRequestedProcedureID: "RP1"}, nil, true},
		{"priority", m{dicom.TagRequestedProcedurePriority: "STAT"}, nil, true},
		{"what we don't know of", m{dicom.TagAdmissionID: "17"}, nil, true},
		{"percent is no wild card", m{pid: "%"}, nil, false},
	} {
		q, err := parseQuery(asked(row.order, row.step))
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		if got := q.matches(waiting(), "CT9"); got != row.want {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
	q, _ := parseQuery(asked(nil, m2(ae, "CT9")))
	anywhere := waiting(func(w *orders.Waiting) { w.Step.Stations = nil })
	if !q.matches(anywhere, "CT9") || q.answer(anywhere, "CT8").Item(dicom.TagScheduledProcedureStepSequence).String(ae) != "CT9" {
		t.Error("a step for any station is not told to one")
	}
}

func m2(tag dicom.Tag, value string) map[dicom.Tag]string { return map[dicom.Tag]string{tag: value} }

func TestBadIdentifiers(t *testing.T) {
	two := new(dicom.Dataset).SetSequence(dicom.TagScheduledProcedureStepSequence, new(dicom.Dataset), new(dicom.Dataset))
	if _, err := parseQuery(two); err == nil {
		t.Error("two items are taken")
	}
	for _, step := range []map[dicom.Tag]string{
		m2(date, "tomorrow"), m2(date, "20261301"), m2(date, "-"), m2(date, "20261122-20261123-20261124"), m2(date, "99999999"), m2(tm, "25"), m2(tm, "1"), m2(tm, "093000-x"),
	} {
		if _, err := parseQuery(asked(nil, step)); err == nil {
			t.Errorf("%v is taken", step)
		}
	}
	if _, err := parseQuery(asked(m2(uid, strings.Repeat(`1.2\`, 2000)+"1.3"), nil)); err == nil {
		t.Error("a list without end is taken")
	}
	if _, err := parseQuery(asked(m2(pn, strings.Repeat("x", 5000)), nil)); err == nil {
		t.Error("a value without end is taken")
	}
	q, err := parseQuery(new(dicom.Dataset).SetString(dicom.TagStudyDescription, dicom.LO, "x"))
	if err != nil || !q.ignored {
		t.Errorf("%+v, %v", q, err)
	}
}

// Wild cards cost no more than the product of the lengths.
func TestWildCardsAreQuick(t *testing.T) {
	pattern, text := strings.Repeat("*a", 200)+"b", strings.Repeat("a", 1000)
	begun := time.Now()
	if matching.Text(pattern, text) || matching.Name(pattern, text) {
		t.Error("it matches")
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}

// The answer has what was asked for, and nothing else.
func TestAnswer(t *testing.T) {
	q, err := parseQuery(asked(map[dicom.Tag]string{pn: "", acc: "", dicom.TagMedicalAlerts: "", dicom.TagRequestedProcedurePriority: "", uid: ""}, map[dicom.Tag]string{mod: "", tm: "", dicom.TagScheduledProcedureStepStatus: ""}))
	if err != nil {
		t.Fatal(err)
	}
	got := lines(q.answer(waiting(), "CT1"), "")
	want := `00080005 CS ISO_IR 192
00080050 SH TV00000001
00100010 PN Каримов^Али^Бахтиёрович
00102000 LO 
0020000D UI 1.2.3
00400100 SQ
 00080060 CS CT
 00400003 TM 093000
 00400020 CS ARRIVED
00401003 SH STAT
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	nameless, _ := parseQuery(asked(m2(pn, ""), m2(mod, "")))
	for _, name := range []string{"", "^", "山田^太郎"} {
		if got := nameless.written(waiting(func(w *orders.Waiting) { w.Patient.Name = name }), "", charset.ASCII).String(pn); got != "P1" {
			t.Errorf("%s is %q", name, got)
		}
	}
	// A sequence without attributes asks for the whole step.
	whole, _ := parseQuery(new(dicom.Dataset).SetSequence(dicom.TagScheduledProcedureStepSequence, new(dicom.Dataset)))
	item := whole.answer(waiting(func(w *orders.Waiting) {
		w.Step.Description, w.Step.Code = "", orders.Code{Value: "X", Scheme: "99UZ"}
	}), "CT1").Item(dicom.TagScheduledProcedureStepSequence)
	if item.String(ae) != "CT1" || item.String(dicom.TagScheduledProcedureStepID) != "S1" || item.Item(dicom.TagScheduledProtocolCodeSequence).String(dicom.TagCodeMeaning) != "X" {
		t.Errorf("whole step\n%s", lines(item, ""))
	}
	bare, _ := parseQuery(new(dicom.Dataset).SetString(pid, dicom.LO))
	if got := lines(bare.answer(waiting(), "CT1"), ""); got != "00100020 LO P1\n" {
		t.Errorf("without a sequence\n%s", got)
	}
}

// lines shows a data set.
func lines(ds *dicom.Dataset, indent string) string {
	var out strings.Builder
	for _, e := range ds.Elements {
		fmt.Fprintf(&out, "%s%s %s", indent, e.Tag, e.VR)
		if e.VR == dicom.SQ {
			out.WriteByte('\n')
			for _, item := range e.Items {
				out.WriteString(lines(item, indent+" "))
			}
			continue
		}
		fmt.Fprintf(&out, " %s\n", strings.Join(ds.Strings(e.Tag), `\`))
	}
	return out.String()
}

// Whatever is asked, an answer can be made, and what matches is answered with
// text that can be encoded.
func FuzzQuery(f *testing.F) {
	for _, ds := range []*dicom.Dataset{
		asked(map[dicom.Tag]string{pn: "КАР*^?", pid: ""}, map[dicom.Tag]string{date: "20261121-20261123", tm: "0800-0900", ae: "CT1"}),
		asked(nil, nil), asked(map[dicom.Tag]string{uid: `1.2\1.3`, birth: "-1990"}, map[dicom.Tag]string{mod: "*"}),
	} {
		raw, err := dicom.AppendDataset(nil, ds, dicom.ExplicitVRLittleEndian)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, "Каримов^Али=Karimov^Ali", "ISO_IR 144")
	}
	f.Fuzz(func(t *testing.T, raw []byte, name, term string) {
		h, err := dicom.Scan(strings.NewReader(string(raw)), dicom.ScanOptions{TransferSyntax: dicom.ExplicitVRLittleEndian})
		if err != nil || len(name) > 200 {
			return
		}
		q, err := parseQuery(h.Dataset)
		if err != nil {
			return
		}
		w := waiting(func(w *orders.Waiting) { w.Patient.Name = strings.ToValidUTF8(name, "") })
		q.matches(w, "CT1")
		out := charset.Convert(q.answer(w, "CT1"), charset.ForAnswer("", []string{term}))
		if _, err := dicom.AppendDataset(nil, out, dicom.ImplicitVRLittleEndian); err != nil {
			t.Error(err)
		}
	})
}
