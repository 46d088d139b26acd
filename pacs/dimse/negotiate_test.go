package dimse

import (
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

func TestAcceptance06TransferSyntaxChoice(t *testing.T) {
	const private, future = "1.3.12.2.1107.5.9.1", "1.2.840.10008.5.1.4.1.1.999.1"
	unknown := SOPClasses{AcceptUnknown: true}
	both := []string{dicom.ImplicitVRLittleEndian, dicom.ExplicitVRLittleEndian}
	tests := []struct {
		name     string
		classes  SOPClasses
		abstract string
		proposed []string
		want     string
		result   ul.Result
	}{
		{"verification", SOPClasses{}, dicom.VerificationSOPClass, both, dicom.ExplicitVRLittleEndian, ul.Acceptance},
		{"verification in JPEG alone", SOPClasses{}, dicom.VerificationSOPClass, []string{dicom.JPEGLosslessSV1}, dicom.JPEGLosslessSV1, ul.Acceptance},
		{"CT", SOPClasses{}, dicom.CTImageStorage, both, dicom.ExplicitVRLittleEndian, ul.Acceptance},
		{"retired storage class", SOPClasses{}, "1.2.840.10008.5.1.1.29", both, dicom.ExplicitVRLittleEndian, ul.Acceptance},
		{"compressed", SOPClasses{}, dicom.CTImageStorage, append(both, dicom.HTJ2KLossless), dicom.HTJ2KLossless, ul.Acceptance},
		{"video", SOPClasses{}, "1.2.840.10008.5.1.4.1.1.77.1.4.1", []string{"1.2.840.10008.1.2.4.102"}, "1.2.840.10008.1.2.4.102", ul.Acceptance},
		{"lossy after uncompressed", SOPClasses{}, dicom.CTImageStorage, append(both, dicom.JPEGBaseline8Bit), dicom.ExplicitVRLittleEndian, ul.Acceptance},
		{"unknown transfer syntax", SOPClasses{}, dicom.CTImageStorage, []string{"1.2.3"}, "", ul.TransferSyntaxesNotSupported},
		{"pixels elsewhere", SOPClasses{}, dicom.CTImageStorage, []string{"1.2.840.10008.1.2.4.94"}, "", ul.TransferSyntaxesNotSupported},
		{"query is no storage", SOPClasses{}, dicom.StudyRootFindSOPClass, both, "", ul.AbstractSyntaxNotSupported},
		{"private class", SOPClasses{}, private, both, "", ul.AbstractSyntaxNotSupported},
		{"private class wanted", unknown, private, both, dicom.ExplicitVRLittleEndian, ul.Acceptance},
		{"class of a later edition", unknown, future, both, dicom.ExplicitVRLittleEndian, ul.Acceptance},
		{"no UID", unknown, "../../etc/passwd", both, "", ul.AbstractSyntaxNotSupported},
		{"query, unknown wanted", unknown, dicom.StudyRootFindSOPClass, both, "", ul.AbstractSyntaxNotSupported},
		{"worklist, unknown wanted", unknown, dicom.ModalityWorklistFindSOPClass, both, "", ul.AbstractSyntaxNotSupported},
		{"MPPS, unknown wanted", unknown, dicom.ModalityPerformedProcedureStepSOPClass, both, "", ul.AbstractSyntaxNotSupported},
		{"commitment, unknown wanted", unknown, dicom.StorageCommitmentPushModelSOPClass, both, "", ul.AbstractSyntaxNotSupported},
		{"protocol query, unknown wanted", unknown, "1.2.840.10008.5.1.4.1.1.200.4", both, "", ul.AbstractSyntaxNotSupported},
		{"implant query, unknown wanted", unknown, "1.2.840.10008.5.1.4.43.2", both, "", ul.AbstractSyntaxNotSupported},
		{"hanging protocol", unknown, "1.2.840.10008.5.1.4.38.1", both, dicom.ExplicitVRLittleEndian, ul.Acceptance},
		{"a list of its own", SOPClasses{Only: []string{private}}, private, both, dicom.ExplicitVRLittleEndian, ul.Acceptance},
		{"not on the list", SOPClasses{Only: []string{private}}, dicom.CTImageStorage, both, "", ul.AbstractSyntaxNotSupported},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, result := tt.classes.choose(tt.abstract, tt.proposed, false)
			if got != tt.want || result != tt.result {
				t.Errorf("got %q, %s, want %q, %s", got, result, tt.want, tt.result)
			}
		})
	}
}

// Every storage class and every transfer syntax that our scanner reads is taken.
func TestEveryStorageClassIsAccepted(t *testing.T) {
	for _, c := range dicom.StorageSOPClasses {
		if _, r := (SOPClasses{}).choose(c.UID, []string{dicom.ImplicitVRLittleEndian}, false); r != ul.Acceptance {
			t.Errorf("%s: %s", c.Name, r)
		}
	}
	for _, ts := range dicom.TransferSyntaxes {
		_, r := (SOPClasses{}).choose(dicom.CTImageStorage, []string{ts.UID}, false)
		if ts.Encapsulated && r != ul.Acceptance {
			t.Errorf("%s: %s", ts.Name, r)
		}
	}
}

func TestGroupContexts(t *testing.T) {
	var kinds []Kind
	for _, c := range dicom.StorageSOPClasses {
		k := Kind{c.UID, dicom.ExplicitVRLittleEndian}
		kinds = append(kinds, k, k)
	}
	kinds = append(kinds, Kind{dicom.CTImageStorage, dicom.JPEGLosslessSV1})
	groups := GroupContexts(kinds)
	seen := map[Kind]int{}
	for _, g := range groups {
		if len(g.Contexts) > MaxContexts || len(g.Contexts) != len(g.Kinds) {
			t.Errorf("%d contexts for %d kinds", len(g.Contexts), len(g.Kinds))
		}
		ids := map[byte]bool{}
		for i, c := range g.Contexts {
			if c.ID%2 == 0 || ids[c.ID] {
				t.Errorf("context ID %d", c.ID)
			}
			ids[c.ID] = true
			if g.Kinds[i] != (Kind{c.AbstractSyntax, c.TransferSyntaxes[0]}) || len(c.TransferSyntaxes) != 1 {
				t.Errorf("context %v for %v", c, g.Kinds[i])
			}
			seen[g.Kinds[i]]++
		}
	}
	if want := len(dicom.StorageSOPClasses) + 1; len(seen) != want || len(groups) != (want+127)/128 {
		t.Errorf("%d kinds in %d groups, want %d", len(seen), len(groups), want)
	}
	for k, n := range seen {
		if n != 1 {
			t.Errorf("%v is in %d groups", k, n)
		}
	}
	if GroupContexts(nil) != nil {
		t.Error("a group for nothing")
	}
}
