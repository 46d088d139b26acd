package dicom

import (
	"strings"
	"testing"
)

func TestSpell(t *testing.T) {
	latin := func(s string) string { return strings.NewReplacer("Каримов", "Karimov", "Қ", "Q").Replace(s) }
	tests := []struct {
		term, in string
		raw      string // bytes of the name
		declared string
		whole    bool
		reads    string // what our accessors make of it
	}{
		{"ISO_IR 192", "Каримов^Али", "Каримов^Али", "ISO_IR 192", true, "Каримов^Али"},
		{"ISO_IR 144", "Али", "\xB0\xDB\xD8", "ISO_IR 144", true, "Али"},
		{"ISO_IR 144", "Қ", "Q", "ISO_IR 144", false, "Q"}, // ISO 8859-5 has Russian letters only
		{"ISO_IR 6", "Каримов", "Karimov", "", false, "Karimov"},
		{"ISO_IR 6", "Али", "???", "", false, "???"},
		{"ISO_IR 6", "Karimov^Ali", "Karimov^Ali", "", true, "Karimov^Ali"},
		{"ISO_IR 100", "Müller", "M\xFCller", "ISO_IR 100", true, "Müller"},
		{"ISO_IR 148", "Şahin", "\xDEahin", "ISO_IR 148", true, "Şahin"},
	}
	for _, tt := range tests {
		t.Run(tt.term+" "+tt.in, func(t *testing.T) {
			ds := new(Dataset).SetString(TagPatientName, PN, tt.in).SetInts(TagRows, US, 512)
			ds.SetSequence(TagRequestAttributesSequence, new(Dataset).SetString(TagPatientName, PN, tt.in))
			out, whole := ds.Spell(tt.term, latin)
			e, _ := out.Get(TagPatientName)
			item := out.Item(TagRequestAttributesSequence)
			if string(e.Value) != tt.raw || whole != tt.whole || out.String(TagPatientName) != tt.reads || item.String(TagPatientName) != tt.reads {
				t.Errorf("% X, %t, reads %q and %q", e.Value, whole, out.String(TagPatientName), item.String(TagPatientName))
			}
			if got := out.String(TagSpecificCharacterSet); got != tt.declared && tt.in != "Karimov^Ali" {
				t.Errorf("declared %q", got)
			}
			if item.Has(TagSpecificCharacterSet) && tt.term != "ISO_IR 192" {
				t.Error("an item declares a character set")
			}
			if ds.String(TagPatientName) != tt.in {
				t.Error("the original changed")
			}
			if n, _ := out.Int(TagRows); n != 512 {
				t.Errorf("Rows %d", n)
			}
			// What is sent reads the same.
			b, err := AppendDataset(nil, out, ExplicitVRLittleEndian)
			if err != nil {
				t.Fatal(err)
			}
			h, err := Scan(strings.NewReader(string(b)), ScanOptions{TransferSyntax: ExplicitVRLittleEndian})
			if err != nil || h.Dataset.String(TagPatientName) != tt.reads || h.Dataset.Item(TagRequestAttributesSequence).String(TagPatientName) != tt.reads {
				t.Errorf("sent: %v, %q", err, h.Dataset.String(TagPatientName))
			}
		})
	}
	for _, term := range []string{"GB18030", "", "ISO 2022 IR 87"} {
		if CanSpell(term) {
			t.Errorf("%q can be spelled", term)
		}
	}
}
