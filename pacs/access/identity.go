package access

import (
	"slices"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// Identity is who makes a request: a signed-in person, a machine with a token,
// or a part of the archive itself. It holds for one request and is not changed
// by anyone.
type Identity struct {
	User    *User    // nil for machines
	Token   *Token   // nil for people
	Session *Session // the session the person came with

	// Roles of a person; empty for tokens, whose scopes stand in for them.
	Roles []pacs.Role
	// Scope is what reads take.
	Scope pacs.Scope
	// FacilityCode is the facility that owns what this caller uploads: the
	// token's, or the person's only one. Empty when it can't be told.
	FacilityCode string
	// Remote is the network address the request came from, for the audit trail.
	Remote string

	rows []string // rows of the grants table
}

// Can reports whether any of the caller's roles or token scopes allows action.
func (id *Identity) Can(action Action) bool {
	if id == nil {
		return false
	}
	return slices.ContainsFunc(id.rows, func(row string) bool { return slices.Contains(grants[row], action) })
}

// Has reports whether a person has a role.
func (id *Identity) Has(role pacs.Role) bool { return id != nil && slices.Contains(id.Roles, role) }

// Who names the caller for logs and the audit trail: a login, "token:NAME" or
// "system:PART".
func (id *Identity) Who() string {
	if id == nil {
		return ""
	}
	return id.Scope.Who
}

// UserID is the row of the person, 0 for machines.
func (id *Identity) UserID() int64 {
	if id == nil || id.User == nil {
		return 0
	}
	return id.User.ID
}

// From returns a copy of the identity for a request from a network address.
func (id *Identity) From(remote string) *Identity {
	copied := *id
	copied.Remote = remote
	return &copied
}

// System is the identity of a part of the archive that acts by itself, and of
// whoever runs the command line on the archive's own machine. It may do what
// an administrator may.
func System(part string) *Identity {
	return &Identity{
		Roles: []pacs.Role{pacs.Administrator},
		Scope: pacs.System(part),
		rows:  []string{string(pacs.Administrator)},
	}
}

// Loopback is the identity of a process on the archive's own machine that may
// use DICOMweb, all facilities, without a token (serve --trusted-loopback).
func Loopback() *Identity {
	return &Identity{
		Scope: pacs.System("loopback"),
		rows:  []string{ScopeDICOMwebRead, ScopeDICOMwebWrite, ScopeUPS},
	}
}

// must returns Forbidden unless the caller may do action.
func (id *Identity) must(action Action) error {
	if id.Can(action) {
		return nil
	}
	return pacs.Errorf(pacs.Forbidden, "Your roles don't allow this (%s). Ask an administrator", action)
}
