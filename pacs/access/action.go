package access

import (
	"slices"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// Action is something a caller wants to do. Where they may do it is the
// Scope's matter.
type Action string

const (
	StudyRead       Action = "study.read"        // lists of studies and patients
	TaskRead        Action = "task.read"         // the worklist
	TaskClaim       Action = "task.claim"        // claim and release
	ReportRead      Action = "report.read"       // signed versions
	ReportReadDraft Action = "report.read_draft" // one's own drafts
	ReportWrite     Action = "report.write"      // drafts
	ReportSign      Action = "report.sign"
	DeliveryRead    Action = "delivery.read" // what went to the FHIR platform
	DeliveryRetry   Action = "delivery.retry"
	OrderRead       Action = "order.read"       // orders and their progress
	OrderWrite      Action = "order.write"      // enter, change, cancel; and look patients up for it
	AdminFacilities Action = "admin.facilities" // add and change facilities
	AdminDevices    Action = "admin.devices"
	AdminUsers      Action = "admin.users"
	AdminTokens     Action = "admin.tokens"
	AdminRules      Action = "admin.rules" // reading groups and routing rules
	AdminStatus     Action = "admin.status"
	AdminQuarantine Action = "admin.quarantine" // what can't be indexed, and versions
	AdminPatients   Action = "admin.patients"   // merge, correct, move, split
	AdminStorage    Action = "admin.storage"    // verification, retention, legal holds
	AdminForwarding Action = "admin.forwarding" // rules by which studies are sent elsewhere, and their queue
	ChangesRead     Action = "changes.read"     // what others follow the archive by
	DICOMwebRead    Action = "dicomweb.read"    // QIDO-RS, WADO-RS
	DICOMwebWrite   Action = "dicomweb.write"   // STOW-RS
	StudyReject     Action = "study.reject"     // hide instances, and show them again
	UPSRead         Action = "ups.read"         // UPS-RS: look at work items, hear of them
	UPSWrite        Action = "ups.write"        // UPS-RS: create, claim, change, cancel
)

// Scopes of tokens.
const (
	ScopeDICOMwebRead  = "dicomweb:read"
	ScopeDICOMwebWrite = "dicomweb:write"
	ScopeAPI           = "api"
	ScopeOrders        = "orders" // what enters orders: a hospital's information system
	ScopeUPS           = "ups"    // what performs or pushes procedure steps over HTTP
)

// TokenScopes lists the scopes a token can have.
var TokenScopes = []string{ScopeDICOMwebRead, ScopeDICOMwebWrite, ScopeAPI, ScopeOrders, ScopeUPS}

// grants is the one table of who may do what. Rows are roles and, for
// machines, the scopes of tokens. A person with several roles may do what any
// of them allows.
//
// An administrator does everything but reading: they see images and signed
// reports to help others, but never claim, write or sign.
var grants = map[string][]Action{
	string(pacs.Radiologist): {
		StudyRead, TaskRead, TaskClaim, ReportRead, ReportReadDraft, ReportWrite, ReportSign, DeliveryRead, OrderRead, DICOMwebRead,
		UPSRead, UPSWrite,
	},
	string(pacs.Clinician):  {StudyRead, ReportRead, OrderRead, OrderWrite, DICOMwebRead},
	string(pacs.Technician): {StudyRead, OrderRead, OrderWrite, DICOMwebRead, DICOMwebWrite, StudyReject},
	string(pacs.Registrar):  {OrderRead, OrderWrite},
	string(pacs.FacilityAdministrator): {
		StudyRead, TaskRead, DeliveryRead, OrderRead, OrderWrite, AdminDevices, AdminUsers, AdminQuarantine, AdminPatients,
	},
	string(pacs.Administrator): {
		StudyRead, TaskRead, ReportRead, DeliveryRead, DeliveryRetry, OrderRead, OrderWrite, DICOMwebRead, DICOMwebWrite,
		AdminFacilities, AdminDevices, AdminUsers, AdminTokens, AdminRules, AdminStatus, AdminQuarantine, AdminPatients, AdminStorage, AdminForwarding, ChangesRead, StudyReject,
	},

	ScopeDICOMwebRead:  {DICOMwebRead},
	ScopeDICOMwebWrite: {DICOMwebWrite},
	ScopeAPI:           {StudyRead, TaskRead, ReportRead, DeliveryRead, DeliveryRetry, OrderRead, AdminStatus, ChangesRead},
	ScopeOrders:        {OrderRead, OrderWrite},
	ScopeUPS:           {UPSRead, UPSWrite},
}

// RoleCan reports whether a role allows an action.
func RoleCan(role pacs.Role, action Action) bool {
	return slices.Contains(grants[string(role)], action)
}
