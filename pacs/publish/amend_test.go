package publish

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// TestChanges: only what means something else is changed.
func TestChanges(t *testing.T) {
	served := pacs.Patient{Issuer: "A", PatientID: "1", Name: "Karimov^Ali", BirthDate: "19700101", Sex: "M"}
	for _, c := range []struct {
		what string
		said func(*pacs.Patient)
		want []dicom.Change
	}{
		{"nothing", func(*pacs.Patient) {}, nil},
		{"delimiters and blanks", func(p *pacs.Patient) { p.Name = " Karimov^Ali^^ ==" }, nil},
		{"another name", func(p *pacs.Patient) { p.Name = "Karimov^Vali" }, []dicom.Change{{Tag: dicom.TagPatientName, VR: dicom.PN, Value: "Karimov^Ali", Plain: "Karimov^Ali"}}},
		{"an issuer that goes without saying", func(p *pacs.Patient) { p.Issuer = "OTHER" }, []dicom.Change{{Tag: dicom.TagIssuerOfPatientID, VR: dicom.LO, Remove: true}}},
		{"no sex and birth date", func(p *pacs.Patient) { p.Sex, p.BirthDate = "", "" }, []dicom.Change{
			{Tag: dicom.TagPatientBirthDate, VR: dicom.DA, Value: "19700101", Plain: "19700101"}, {Tag: dicom.TagPatientSex, VR: dicom.CS, Value: "M", Plain: "M"},
		}},
	} {
		said := served
		c.said(&said)
		if diff := cmp.Diff(c.want, changes(&pacs.Amendment{Patient: served, Facility: "A"}, said)); diff != "" {
			t.Errorf("%s: %s", c.what, diff)
		}
	}
}

func TestInASCII(t *testing.T) {
	for in, want := range map[string]string{
		"Karimov^Ali": "Karimov^Ali", "Каримов^Али": "Karimov^Ali", "Gʻulomov^Oʻtkir": "G'ulomov^O'tkir", "山田": "??", "": "",
	} {
		if got := pacs.InASCII(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}

// TestAmendObject: a sequence of original attributes that is there already is
// continued; an object that says what is served stays as it is.
func TestAmendObject(t *testing.T) {
	parse := func(s string) (o map[string]json.RawMessage) {
		if err := json.Unmarshal([]byte(s), &o); err != nil {
			t.Fatal(err)
		}
		return o
	}
	a := &pacs.Amendment{Patient: pacs.Patient{Issuer: "A", PatientID: "1", Name: "Каримов"}, Facility: "A"}
	const same = `{"00100010":{"vr":"PN","Value":[{"Alphabetic":"Каримов"}]},"00100020":{"vr":"LO","Value":["1"]}}`
	if got, err := amendObject(parse(same), a); err != nil || string(got) != same {
		t.Errorf("%s, %v", got, err)
	}
	got, err := amendObject(parse(`{"00100020":{"vr":"LO","Value":["7"]},"00100010":{"vr":"PN"},"04000561":{"vr":"SQ","Value":[{"04000563":{"vr":"LO","Value":["X"]}}]}}`), a)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"00100010":{"vr":"PN","Value":[{"Alphabetic":"Каримов"}]},"00100020":{"vr":"LO","Value":["1"]},"04000561":{"vr":"SQ","Value":[` +
		`{"04000563":{"vr":"LO","Value":["X"]}},{"04000550":{"vr":"SQ","Value":[{"00100010":{"vr":"PN"},"00100020":{"vr":"LO","Value":["7"]}}]},` +
		`"04000562":{"vr":"DT","Value":["00010101000000.000000+0000"]},"04000563":{"vr":"LO","Value":["Tasvir"]},"04000564":{"vr":"LO"},"04000565":{"vr":"CS","Value":["CORRECT"]}}]}}`
	if string(got) != want {
		t.Error(cmp.Diff(want, string(got)))
	}
}
