package pacs

import "slices"

// Role is what a person is allowed to do, apart from where.
type Role string

const (
	Radiologist           Role = "radiologist"            // reads, reports, signs
	Clinician             Role = "clinician"              // sees images and signed reports
	Technician            Role = "technician"             // sees studies, no reports in progress
	Registrar             Role = "registrar"              // enters orders, sees no images
	FacilityAdministrator Role = "facility_administrator" // people and devices of own facilities
	Administrator         Role = "administrator"          // everything but reading
)

// Roles lists all roles in the order in which they are shown.
var Roles = []Role{Radiologist, Clinician, Technician, Registrar, FacilityAdministrator, Administrator}

// Scope says who asks and what they may see. Every read of the index takes
// one; there is no unscoped read path. The zero Scope sees nothing.
type Scope struct {
	// Who is asking, for the audit trail: a user's login, "token:NAME", or
	// the name of the part of the archive that works by itself.
	Who string
	// All grants every facility.
	All bool
	// FacilityIDs are the facilities in sight when All is false.
	FacilityIDs []int64
}

// System is the scope of the archive's own work: publishing, routing,
// delivering. part names the worker.
func System(part string) Scope { return Scope{Who: "system:" + part, All: true} }

// Sees reports whether a facility lies in the scope.
func (s Scope) Sees(facilityID int64) bool {
	return s.All || slices.Contains(s.FacilityIDs, facilityID)
}

// Empty reports whether the scope sees nothing at all.
func (s Scope) Empty() bool { return !s.All && len(s.FacilityIDs) == 0 }
