package dicom

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"testing"
)

func TestValidUID(t *testing.T) {
	for _, s := range []string{"1", "0", "1.0.3", "1.2.840.10008.1.2", NewUID(), ImplementationClassUID, strings.Repeat("1", 64)} {
		if err := ValidUID(s); err != nil {
			t.Error(err)
		}
	}
	for _, s := range []string{"", ".", "1.", ".1", "1..2", "01", "1.02", "00", "1.2a", "1.2 ", "1.2\x00", strings.Repeat("1", 65), "1,2"} {
		if ValidUID(s) == nil {
			t.Errorf("%q passes for a UID", s)
		}
	}
	if NewUID() == NewUID() {
		t.Error("NewUID repeats itself")
	}
}

func TestTables(t *testing.T) {
	seen := map[string]bool{}
	for _, ts := range TransferSyntaxes {
		if ValidUID(ts.UID) != nil || seen[ts.UID] || ts.Name == "" {
			t.Errorf("transfer syntax %+v", ts)
		}
		if ts.Implicit && (ts.BigEndian || ts.Encapsulated) || ts.Deflated && ts.Encapsulated {
			t.Errorf("no such encoding: %+v", ts)
		}
		seen[ts.UID] = true
	}
	for _, c := range StorageSOPClasses {
		if ValidUID(c.UID) != nil || seen[c.UID] || !IsStorageSOPClass(c.UID) || SOPClassName(c.UID) != c.Name {
			t.Errorf("SOP class %+v", c)
		}
		seen[c.UID] = true
	}
	for _, uid := range []string{CTImageStorage, MRImageStorage, EnhancedSRStorage, EncapsulatedPDFStorage, VLWholeSlideMicroscopyStorage, SegmentationStorage} {
		if !IsStorageSOPClass(uid) {
			t.Errorf("%s is no storage class", uid)
		}
	}
	if IsStorageSOPClass(VerificationSOPClass) || SOPClassName(VerificationSOPClass) != "Verification" {
		t.Error("Verification is taken for storage")
	}
}

func TestTag(t *testing.T) {
	if NewTag(0x7FE0, 0x10) != TagPixelData || TagPatientName.String() != "00100010" || TagPixelData.String() != "7FE00010" {
		t.Error("tags")
	}
	for s, want := range map[string]Tag{"00100010": TagPatientName, "7fe00010": TagPixelData, "PatientName": TagPatientName, "CommandField": TagCommandField} {
		if got, err := ParseTag(s); err != nil || got != want {
			t.Errorf("ParseTag(%q) = %s, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "Patient's Name", "0010,0010", "+0100010", "nonsense", "0010001", "includefield"} {
		if got, err := ParseTag(s); err == nil {
			t.Errorf("ParseTag(%q) = %s", s, got)
		}
	}
	for tag, vr := range map[Tag]VR{
		0x00090010: LO, 0x00091001: UN, 0x00080000: UL, 0x00020000: UL, 0x00000900: US, TagPixelData: OW,
		TagExtendedOffsetTable: OV, 0x60023000: OW, 0x60020010: US, 0x50043000: OW, 0x00203101: CS, 0x00189999: UN, 0x0040A162: SQ,
	} {
		if got := LookupVR(tag, false); tag != 0x0040A162 && got != vr {
			t.Errorf("LookupVR(%s) = %s, want %s", tag, got, vr)
		}
	}
	if LookupVR(TagSmallestImagePixelValue, true) != SS || LookupVR(TagSmallestImagePixelValue, false) != US {
		t.Error("US or SS isn't decided by Pixel Representation")
	}
	if Keyword(TagPatientName) != "PatientName" || Keyword(0x00091001) != "" || Keyword(TagStatus) != "Status" {
		t.Error("keywords")
	}
}

// The dictionary agrees with the one of dcmtk.
func TestDictionaryAgreesWithDcmtk(t *testing.T) {
	f, err := os.Open("/usr/share/libdcmtk17/dicom.dic")
	if err != nil {
		t.Skip("dcmtk's dictionary (Debian package libdcmtk17) is not installed")
	}
	defer f.Close()
	ambiguous := map[string]string{"xs": "US", "ox": "OW", "lt": "OW", "up": "UL", "px": "OW"}
	compared := 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		field := strings.Split(lines.Text(), "\t")
		if len(field) < 5 || len(field[0]) != 11 || !strings.HasPrefix(field[4], "DICOM") || field[1] == "na" {
			continue
		}
		group, err1 := strconv.ParseUint(field[0][1:5], 16, 16)
		element, err2 := strconv.ParseUint(field[0][6:10], 16, 16)
		if err1 != nil || err2 != nil {
			continue
		}
		tag, want := NewTag(uint16(group), uint16(element)), field[1]
		if a, ok := ambiguous[want]; ok {
			want = a
		}
		if strings.HasPrefix(field[2], "RETIRED_") {
			continue // two dictionaries keep different things of what is gone
		}
		got := LookupVR(tag, false).String()
		if got != want && !(want == "OW" && got == "US") {
			t.Errorf("%s %s: %s, dcmtk has %s", tag, field[2], got, field[1])
		}
		if found, ok := LookupKeyword(field[2]); compared%50 == 0 && (!ok || found != tag) {
			t.Errorf("keyword %s: %s, want %s", field[2], found, tag)
		}
		compared++
	}
	if compared < 3000 {
		t.Errorf("only %d entries compared", compared)
	}
}
