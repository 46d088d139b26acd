package main

import (
	"context"
	"net"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// What --dicom-user-identity says of the user identity that a peer presents
// (PS3.7 Annex D.3.3.7), besides its AE title.
const (
	identityIgnore  = "ignore"  // not looked at, and so not confirmed
	identityCheck   = "check"   // a wrong one is refused, none is fine
	identityRequire = "require" // a right one or no association
)

// identities holds the identities of peers against the archive's people and
// tokens.
type identities struct {
	access *access.Access
	rule   string
}

// verifiers are the identities that can be verified, by their type.
var verifiers = map[ul.IdentityType]func(context.Context, *access.Access, dimse.Caller) error{
	ul.IdentityUsernamePasscode: func(ctx context.Context, people *access.Access, caller dimse.Caller) error {
		host, _, err := net.SplitHostPort(caller.RemoteAddr.String())
		if err != nil {
			host = caller.RemoteAddr.String()
		}
		id := caller.Request.User.Identity
		_, err = people.Authenticate(ctx, string(id.Primary), string(id.Secondary), host)
		return err
	},
	ul.IdentityJWT: func(ctx context.Context, people *access.Access, caller dimse.Caller) error {
		_, err := people.TokenByValue(ctx, string(caller.Request.User.Identity.Primary))
		return err
	},
}

// confirm returns the answer to a request's user identity: nil when it was not
// verified. The error refuses the association. A name with a passcode is a
// person's login, and a token in the place of a JSON web token is one of
// tasvir token create. A name alone proves nothing, and Kerberos tickets and
// SAML assertions can't be verified here.
func (i identities) confirm(ctx context.Context, caller dimse.Caller) (*ul.UserIdentityResponse, error) {
	id := caller.Request.User.Identity
	if i.rule == identityIgnore || i.rule == "" || id == nil && i.rule == identityCheck {
		return nil, nil
	}
	var err error = pacs.Errorf(pacs.Unauthenticated, "a user identity is required, and none was presented that can be verified")
	switch {
	case id == nil:
	case verifiers[id.Type] != nil:
		err = verifiers[id.Type](ctx, i.access, caller)
	case i.rule == identityCheck:
		return nil, nil
	}
	switch {
	case err == nil:
		return &ul.UserIdentityResponse{}, nil
	case pacs.CodeOf(err) == pacs.Unauthenticated:
		return nil, &identityRefused{err}
	case i.rule == identityCheck: // a database that is down makes no modality fail
		return nil, nil
	}
	return nil, err
}

// identityRefused is a peer whose user is not who it says.
type identityRefused struct{ err error }

func (e *identityRefused) Error() string { return "user identity refused: " + e.err.Error() }

// Unwrap tells the peer no more than that it is refused.
func (e *identityRefused) Unwrap() error {
	rj := ul.RejectNoReason
	return &rj
}
