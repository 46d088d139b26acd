package access

import (
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// TestRoles spells out, independently of the table, what each role must and
// must never be able to do.
func TestRoles(t *testing.T) {
	all := []Action{
		StudyRead, TaskRead, TaskClaim, ReportRead, ReportReadDraft, ReportWrite, ReportSign, DeliveryRead, DeliveryRetry, OrderRead, OrderWrite,
		AdminFacilities, AdminDevices, AdminUsers, AdminTokens, AdminRules, AdminStatus,
		AdminQuarantine, AdminPatients, AdminStorage, ChangesRead, DICOMwebRead, DICOMwebWrite,
	}
	may := map[pacs.Role]string{
		//                          in the order of all: study, task×2, report×4, delivery×2, order×2, admin×6, archive×3 and changes, dicomweb×2
		pacs.Radiologist:           "y yy yyyy yn yn nnnnnn nnnn yn",
		pacs.Clinician:             "y nn ynnn nn yy nnnnnn nnnn yn",
		pacs.Technician:            "y nn nnnn nn yy nnnnnn nnnn yy",
		pacs.Registrar:             "n nn nnnn nn yy nnnnnn nnnn nn",
		pacs.FacilityAdministrator: "y yn nnnn yn yy nyynnn yynn nn",
		pacs.Administrator:         "y yn ynnn yy yy yyyyyy yyyy yy",
	}
	for _, role := range pacs.Roles {
		i := 0
		for _, c := range may[role] {
			if c == ' ' {
				continue
			}
			action := all[i]
			if got, want := RoleCan(role, action), c == 'y'; got != want {
				t.Errorf("%s, %s: got %v, want %v", role, action, got, want)
			}
			i++
		}
		if i != len(all) {
			t.Fatalf("%s: the test names %d actions of %d", role, i, len(all))
		}
	}
	if (*Identity)(nil).Can(StudyRead) || (&Identity{}).Can(StudyRead) {
		t.Error("nobody may do something")
	}
}
