package access

import (
	"strings"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
)

func TestTokens(t *testing.T) {
	a := open(t, Settings{})
	by := System("test")
	value, issued, err := a.IssueToken(t.Context(), by, NewToken{Name: "gateway-A", Scopes: []string{ScopeDICOMwebWrite}, Facility: "A", Life: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(value, "tasvir_") || len(value) != 7+43 {
		t.Errorf("token %q", value)
	}
	id, err := a.TokenByValue(t.Context(), value)
	if err != nil {
		t.Fatal(err)
	}
	if id.Who() != "token:gateway-A" || id.User != nil || id.FacilityCode != "A" || id.Scope.All || !id.Scope.Sees(issued.Facility.ID) ||
		!id.Can(DICOMwebWrite) || id.Can(DICOMwebRead) || id.Can(StudyRead) || id.Can(AdminUsers) {
		t.Errorf("%+v", id)
	}

	_, all, err := a.IssueToken(t.Context(), by, NewToken{Name: "reader", Scopes: []string{ScopeDICOMwebRead, ScopeDICOMwebRead}})
	if err != nil || len(all.Scopes) != 1 || !all.ExpiresAt.IsZero() {
		t.Errorf("%+v, %v", all, err)
	}
	_, _, err = a.IssueToken(t.Context(), by, NewToken{Name: "reader", Scopes: []string{ScopeAPI}})
	wantCode(t, err, pacs.Conflict)
	for _, bad := range []NewToken{
		{Name: "", Scopes: []string{ScopeAPI}},
		{Name: "a b", Scopes: []string{ScopeAPI}},
		{Name: "x"},
		{Name: "x", Scopes: []string{"everything"}},
		{Name: "x", Scopes: []string{ScopeAPI}, Facility: "NOWHERE"},
		{Name: "x", Scopes: []string{ScopeAPI}, Life: -1},
	} {
		_, _, err := a.IssueToken(t.Context(), by, bad)
		wantCode(t, err, pacs.Invalid)
	}

	// No scope of a token administers or reads reports in progress.
	for _, scope := range TokenScopes {
		value, _, err := a.IssueToken(t.Context(), by, NewToken{Name: "probe-" + strings.ReplaceAll(scope, ":", "-"), Scopes: []string{scope}})
		if err != nil {
			t.Fatal(err)
		}
		id, err := a.TokenByValue(t.Context(), value)
		if err != nil {
			t.Fatal(err)
		}
		for _, action := range []Action{TaskClaim, ReportWrite, ReportSign, ReportReadDraft, AdminUsers, AdminDevices, AdminFacilities, AdminTokens, AdminRules} {
			if id.Can(action) {
				t.Errorf("a token of scope %s can %s", scope, action)
			}
		}
	}

	if err := a.RevokeToken(t.Context(), by, "gateway-A"); err != nil {
		t.Fatal(err)
	}
	_, err = a.TokenByValue(t.Context(), value)
	wantCode(t, err, pacs.Unauthenticated)
	_, err = a.Renew(t.Context(), id)
	wantCode(t, err, pacs.Unauthenticated)
	wantCode(t, a.RevokeToken(t.Context(), by, "gateway-A"), pacs.NotFound)
	// The name stays taken: the record of who did what refers to it.
	_, _, err = a.IssueToken(t.Context(), by, NewToken{Name: "gateway-A", Scopes: []string{ScopeAPI}})
	wantCode(t, err, pacs.Conflict)
}

func TestTokensExpire(t *testing.T) {
	a := open(t, Settings{})
	value, _, err := a.IssueToken(t.Context(), System("test"), NewToken{Name: "x", Scopes: []string{ScopeAPI}, Life: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.TokenByValue(t.Context(), value); err != nil {
		t.Fatal(err)
	}
	tokens, err := a.Tokens(t.Context(), System("test"))
	if err != nil || time.Since(tokens[0].LastUsedAt) > time.Minute {
		t.Errorf("its use was not noted: %+v, %v", tokens, err)
	}
	if _, err := a.pool.Exec(t.Context(), `UPDATE access_token SET expires_at = now() - interval '1 second'`); err != nil {
		t.Fatal(err)
	}
	a.forgetRecent()
	_, err = a.TokenByValue(t.Context(), value)
	wantCode(t, err, pacs.Unauthenticated)
}

// A session's token is no bearer token, and the other way round.
func TestTokensAndSessionsAreApart(t *testing.T) {
	a := open(t, Settings{})
	session, _ := a.signedIn(t, a.person(t, "ali", pacs.Clinician, "A"))
	value, _, err := a.IssueToken(t.Context(), System("test"), NewToken{Name: "x", Scopes: []string{ScopeAPI}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.TokenByValue(t.Context(), value); err != nil { // both are remembered now
		t.Fatal(err)
	}
	_, err = a.TokenByValue(t.Context(), session)
	wantCode(t, err, pacs.Unauthenticated)
	_, err = a.SessionByToken(t.Context(), value)
	wantCode(t, err, pacs.Unauthenticated)
}
