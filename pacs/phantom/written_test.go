package phantom

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestCharacterSets(t *testing.T) {
	for _, c := range []struct{ set, as, family, want string }{
		{"", "", "KARIMOV", "KARIMOV^A"},
		{"ISO_IR 144", "", "Ёлкин", "\xa1\xdb\xda\xd8\xdd^A"},
		{"ISO_IR 192", "", "Gʻulomova", "G\xca\xbbulomova^A"},
		{"", "windows-1251", "Каримов", "\xca\xe0\xf0\xe8\xec\xee\xe2^A"},
		{"ISO_IR 100", "windows-1251", "Ёлкин", "\xa8\xeb\xea\xe8\xed^A"},
	} {
		s := Small(ChestCT, 1)
		s.Family, s.Given, s.CharacterSet, s.WrittenAs = c.family, "A", c.set, c.as
		m := attributes(t, collect(t, s)[0].Dataset())
		if got := text(m[0x00100010]); got != c.want {
			t.Errorf("%s in %q written as %q: %q, want %q", c.family, c.set, c.as, got, c.want)
		}
		if got := text(m[0x00080005]); got != c.set {
			t.Errorf("Specific Character Set is %q, want %q", got, c.set)
		}
	}
}

// mandatory lists attributes of type 1 per kind of image: PS3.3 tables A.3-1
// (CT), A.4-1 (MR), A.2-1 (CR), A.26-1 (DX).
var mandatory = map[string][]uint32{
	"CT": {
		0x00080008, 0x00080016, 0x00080018, 0x00080060, 0x0020000d, 0x0020000e, 0x00200032, 0x00200037, 0x00200052,
		0x00280002, 0x00280004, 0x00280010, 0x00280011, 0x00280030, 0x00280100, 0x00280101, 0x00280102, 0x00280103,
		0x00281052, 0x00281053, 0x00185100, 0x00180060, 0x00200013, 0x7fe00010,
	},
	"MR": {
		0x00080008, 0x00080016, 0x00080018, 0x00080060, 0x00180020, 0x00180021, 0x0020000d, 0x0020000e, 0x00200032,
		0x00200037, 0x00200052, 0x00280002, 0x00280004, 0x00280010, 0x00280011, 0x00280030, 0x00280100, 0x7fe00010,
	},
	"CR": {0x00080008, 0x00080016, 0x00080018, 0x00080060, 0x00280002, 0x00280004, 0x00280010, 0x00280011, 0x00280100, 0x7fe00010},
	"DX": {
		0x00080008, 0x00080016, 0x00080018, 0x00080060, 0x00080068, 0x00181164, 0x00200020, 0x00200062, 0x00280002,
		0x00280004, 0x00280301, 0x00281040, 0x00281041, 0x00281052, 0x00281053, 0x00281054, 0x00282110, 0x20500020, 0x7fe00010,
	},
}

func TestMandatoryAttributes(t *testing.T) {
	for _, kind := range kinds {
		for _, modality := range []string{"", "CR"} {
			if modality != "" && kind != ChestXRay {
				continue
			}
			s := Small(kind, 1)
			s.Modality = modality
			m := attributes(t, collect(t, s)[0].Dataset())
			for _, tag := range mandatory[s.modality()] {
				if len(m[tag]) == 0 {
					t.Errorf("%v: (%08x) is missing or empty", kind, tag)
				}
			}
			// Type 2: present, may be empty.
			for _, tag := range []uint32{0x00080020, 0x00080030, 0x00080050, 0x00080070, 0x00080090, 0x00100010, 0x00100020, 0x00100030, 0x00100040, 0x00200010, 0x00200011} {
				if _, ok := m[tag]; !ok {
					t.Errorf("%v: (%08x) is missing", kind, tag)
				}
			}
		}
	}
}

// dcmtk reads what is written, without a complaint, and can render it.
func TestReadByDCMTK(t *testing.T) {
	for _, tool := range []string{"dcmdump", "dcm2pnm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s isn't installed; apt-get install dcmtk", tool)
		}
	}
	dir := t.TempDir()
	var files []string
	for _, kind := range kinds {
		for _, implicit := range []bool{false, true} {
			s := Small(kind, 2)
			s.Family, s.CharacterSet, s.ImplicitVR = "Каримов", "ISO_IR 144", implicit
			s.PINFL = "31205581234567"
			for _, in := range collect(t, s) {
				name := filepath.Join(dir, fmt.Sprintf("%d-%t-%d.dcm", kind, implicit, in.InstanceNumber))
				var b bytes.Buffer
				if _, err := in.WriteTo(&b); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
				files = append(files, name)
			}
		}
	}
	out, err := exec.Command("dcmdump", append([]string{"-v", "+P", "PatientName", "+U8"}, files...)...).CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("W:")) || bytes.Contains(out, []byte("E:")) {
		t.Errorf("dcmdump: %v\n%s", err, out)
	}
	if n := bytes.Count(out, []byte("Каримов^Phantom")); n != len(files) {
		t.Errorf("dcmdump shows %d of %d names:\n%s", n, len(files), out)
	}
	for _, f := range files {
		out, err := exec.Command("dcm2pnm", "--write-png", "+Wi", "1", f, f+".png").CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("dcm2pnm %s: %v\n%s", filepath.Base(f), err, out)
		}
	}
}
