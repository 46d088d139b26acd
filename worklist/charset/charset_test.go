package charset

import (
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

func TestAnswerCharset(t *testing.T) {
	for _, row := range []struct {
		registered string
		declared   []string
		want       string
	}{
		{"", nil, ASCII},
		{"", []string{"ISO_IR 192"}, "ISO_IR 192"},
		{"", []string{"ISO_IR 144"}, "ISO_IR 144"},
		{"ISO_IR 144", []string{"ISO_IR 192"}, "ISO_IR 144"},
		{"ISO_IR 192", nil, "ISO_IR 192"},
		{"", []string{"", `ISO 2022 IR 144`}, "ISO_IR 144"},
		{"", []string{"ISO_IR 100", "ISO 2022 IR 144"}, "ISO_IR 144"},
		{"", []string{"ISO_IR 100"}, "ISO_IR 100"},
		{"", []string{"ISO 2022 IR 13", "ISO 2022 IR 87"}, ASCII},
		{"", []string{"\x00", "nonsense"}, ASCII},
		{"ISO_IR 6", []string{"ISO_IR 192"}, ASCII},
	} {
		if got := ForAnswer(row.registered, row.declared); got != row.want {
			t.Errorf("registered %q, declared %q: %q, want %q", row.registered, row.declared, got, row.want)
		}
	}
}

// Names of Uzbekistan in what devices can show. Never a question mark.
func TestTransliteration(t *testing.T) {
	for _, row := range []struct{ charset, text, want string }{
		{UTF8, "Ўринбоев^Ғани=Oʻrinboyev^Gʻani", "Ўринбоев^Ғани=Oʻrinboyev^Gʻani"},
		{ASCII, "Ўринбоев^Ғани", "O'rinboyev^G'ani"},
		{ASCII, "Oʻrinboyev^Gʻani", "O'rinboyev^G'ani"},
		{ASCII, "Ҳакимов^Шуҳрат^Қодирович", "Hakimov^Shuhrat^Qodirovich"},
		{ASCII, "Щербакова^Юлия^Ильинична", "Sherbakova^Yuliya^Ilinichna"},
		{ASCII, "ЁҚУБОВА^МАЪМУРА", "YOQUBOVA^MA'MURA"},
		{ASCII, "Әбдиев^Ңур", "Abdiyev^Nur"},
		{ASCII, "Müller^Jörg", "Muller^Jorg"},
		{ASCII, "Bosh ogʻrigʻi – «kuchli» №3…", `Bosh og'rig'i - "kuchli" N3...`},
		{"ISO_IR 100", "Müller^Jörg", "Müller^Jörg"},
		{"ISO_IR 100", "Каримов^Али", "Karimov^Ali"},
		{"ISO_IR 144", "Каримов^Али", "Каримов^Али"},
		{"ISO_IR 144", "Қодирова^Ҳилола^Ғаниевна", "Кодирова^Хилола^Ганиевна"},
		{"ISO_IR 144", "ЎРИНБОЕВ^ҒАНИ", "ЎРИНБОЕВ^ГАНИ"}, // ў is Belarusian, too, and in the set
		{"ISO_IR 144", "Oʻrinboyev^Gʻani", "O'rinboyev^G'ani"},
		{"ISO_IR 144", "Müller", "Muller"},
		{"ISO_IR 148", "Karimov^Şükrü", "Karimov^Şükrü"},
		{"ISO_IR 148", "Каримов", "Karimov"},
		{"GB18030", "Каримов", "Каримов"},
		{ASCII, "山田^太郎", "^"},
	} {
		ds := new(dicom.Dataset).SetString(dicom.TagPatientName, dicom.PN, row.text)
		raw, err := dicom.AppendDataset(nil, Convert(ds, row.charset), dicom.ExplicitVRLittleEndian)
		if err != nil {
			t.Fatal(err)
		}
		h, err := dicom.Scan(strings.NewReader(string(raw)), dicom.ScanOptions{TransferSyntax: dicom.ExplicitVRLittleEndian})
		if err != nil {
			t.Fatal(err)
		}
		got := h.Dataset.String(dicom.TagPatientName)
		if got != row.want || strings.ContainsAny(got, "?\uFFFD") {
			t.Errorf("%s in %s is %q, want %q", row.text, row.charset, got, row.want)
		}
		ascii := strings.IndexFunc(got, func(r rune) bool { return r > 127 }) < 0
		if declared := h.Dataset.String(dicom.TagSpecificCharacterSet); ascii != (declared == "") || declared != "" && declared != row.charset {
			t.Errorf("%s declares %q", got, declared)
		}
	}
}

func TestWhatIsTooLongIsCut(t *testing.T) {
	ds := new(dicom.Dataset).SetString(dicom.TagPatientName, dicom.PN, strings.Repeat("щ", 64)).
		SetString(dicom.TagScheduledProcedureStepLocation, dicom.SH, "Ўринбосар шифокор").
		SetString(dicom.TagRequestedProcedureComments, dicom.LT, "a\nb\\c "+strings.Repeat("x", 11000)).
		SetString(dicom.TagOtherPatientNames, dicom.PN, "А^Б", "В")
	out := Convert(ds, ASCII)
	if got := out.String(dicom.TagPatientName); got != strings.Repeat("sh", 32) {
		t.Errorf("%q", got)
	}
	if got := out.String(dicom.TagScheduledProcedureStepLocation); got != "O'rinbosar shifo" {
		t.Errorf("%q", got)
	}
	if got := out.Text(dicom.TagRequestedProcedureComments); len(got) != 10240 || !strings.HasPrefix(got, "a\nb\\c x") {
		t.Errorf("%d %q", len(got), got[:10])
	}
	if got := strings.Join(out.Strings(dicom.TagOtherPatientNames), "|"); got != "A^B|V" {
		t.Errorf("%q", got)
	}
}
