package main

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/index/indextest"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

func TestDICOMUserIdentity(t *testing.T) {
	ctx := context.Background()
	ix, err := index.Open(ctx, indextest.New(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer ix.Close()
	people, err := access.Open(ctx, ix, access.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := people.EnsureAdministrator(ctx, adminPassword); err != nil {
		t.Fatal(err)
	}
	value, _, err := people.IssueToken(ctx, operator(), access.NewToken{Name: "workstation", Scopes: access.TokenScopes[:1]})
	if err != nil {
		t.Fatal(err)
	}
	name := func(kind ul.IdentityType, primary, secondary string) *ul.UserIdentity {
		return &ul.UserIdentity{Type: kind, Primary: []byte(primary), Secondary: []byte(secondary)}
	}
	const confirmed, admitted, refused = "confirmed", "admitted", "refused"
	tests := []struct {
		name                    string
		id                      *ul.UserIdentity
		ignore, check, required string
	}{
		{"none", nil, admitted, admitted, refused},
		{"login", name(ul.IdentityUsernamePasscode, "admin", adminPassword), admitted, confirmed, confirmed},
		{"wrong passcode", name(ul.IdentityUsernamePasscode, "admin", "guess"), admitted, refused, refused},
		{"unknown login", name(ul.IdentityUsernamePasscode, "nobody", adminPassword), admitted, refused, refused},
		{"token", name(ul.IdentityJWT, value, ""), admitted, confirmed, confirmed},
		{"unknown token", name(ul.IdentityJWT, "eyJhbGciOiJub25lIn0.e30.", ""), admitted, refused, refused},
		{"name alone", name(ul.IdentityUsername, "admin", ""), admitted, admitted, refused},
		{"Kerberos", name(ul.IdentityKerberos, "ticket", ""), admitted, admitted, refused},
		{"SAML", name(ul.IdentitySAML, "<Assertion/>", ""), admitted, admitted, refused},
		{"a kind of a later edition", name(9, "x", ""), admitted, admitted, refused},
	}
	for _, tt := range tests {
		for rule, want := range map[string]string{identityIgnore: tt.ignore, identityCheck: tt.check, identityRequire: tt.required} {
			answer, err := identities{people, rule}.confirm(ctx, dimse.Caller{
				Request:    &ul.AssociateRequest{CallingAE: "WS1", User: ul.UserInformation{Identity: tt.id}},
				RemoteAddr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 999},
			})
			got := admitted
			var rj *ul.Reject
			switch {
			case errors.As(err, &rj) && *rj == ul.RejectNoReason:
				got = refused
			case err != nil:
				got = err.Error()
			case answer != nil:
				got = confirmed
			}
			if got != want {
				t.Errorf("%s, %s: %s, want %s", rule, tt.name, got, want)
			}
		}
	}
	// A database that is down makes no modality fail that need not name anybody.
	ix.Close()
	down := dimse.Caller{Request: &ul.AssociateRequest{User: ul.UserInformation{Identity: tests[1].id}}, RemoteAddr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 2)}}
	if answer, err := (identities{people, identityCheck}).confirm(ctx, down); answer != nil || err != nil {
		t.Errorf("check: %v, %v", answer, err)
	}
	var rj *ul.Reject
	if answer, err := (identities{people, identityRequire}).confirm(ctx, down); answer != nil || err == nil || errors.As(err, &rj) {
		t.Errorf("require: %v, %v", answer, err)
	}
}
