package access

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
)

func TestAuthenticate(t *testing.T) {
	a := open(t, Settings{})
	ali := a.person(t, "ali", pacs.Clinician, "A")
	gone := a.person(t, "gone", pacs.Clinician, "A")
	no := false
	if _, err := a.UpdateUser(t.Context(), System("test"), gone.ID, UserChange{Active: &no}); err != nil {
		t.Fatal(err)
	}
	for _, login := range []string{"ali", " ALI ", "Ali"} {
		user, err := a.Authenticate(t.Context(), login, testPassword, "192.0.2.1")
		if err != nil || user.ID != ali.ID {
			t.Errorf("%q: %v, %v", login, user, err)
		}
	}
	said := map[string]bool{}
	for _, try := range [][2]string{
		{"ali", "wrong horse"},
		{"ali", ""},
		{"nobody", testPassword},
		{"gone", testPassword},
		{"", ""},
		{"ali' OR '1'='1", testPassword},
		{"ali", testPassword + strings.Repeat("x", 1<<20)},
	} {
		_, err := a.Authenticate(t.Context(), try[0], try[1], "192.0.2.2")
		wantCode(t, err, pacs.Unauthenticated)
		wantReason(t, err, "bad_credentials")
		said[pacs.MessageOf(err)] = true
	}
	if len(said) != 1 {
		t.Errorf("the answers tell known logins from unknown ones: %v", said)
	}
	if n := a.auditCount(t, "session.begin"); n != 3 {
		t.Errorf("%d successes on record, want 3", n)
	}
	if n := a.auditCount(t, "session.refused"); n != 7 {
		t.Errorf("%d refusals on record, want 7", n)
	}
}

// An unknown login costs a hash, too. Counted, because times can't be trusted
// in a test.
func TestUnknownLoginsCostAHash(t *testing.T) {
	a := open(t, Settings{})
	a.dummyHash = "damaged" // whoever checks it, notices
	_, err := a.Authenticate(t.Context(), "nobody", "whatever it is", "192.0.2.1")
	wantCode(t, err, pacs.Internal)
	_, err = a.Authenticate(t.Context(), "can't be a login", "whatever it is", "192.0.2.1")
	wantCode(t, err, pacs.Internal)
}

func TestAuthenticateIsThrottled(t *testing.T) {
	a := open(t, Settings{Throttle: Throttle{
		FreePair: 2, FreeAddress: 100, FreeLogin: 100, FirstWait: time.Hour,
		MaxWait: time.Hour, MaxLoginWait: time.Hour, Forget: time.Hour, Entries: 100,
	}})
	a.person(t, "ali", pacs.Clinician, "A")
	for _, login := range []string{"ali", "nobody"} { // known or not, the same
		for range 3 {
			_, err := a.Authenticate(t.Context(), login, "wrong horse", "192.0.2.1")
			wantReason(t, err, "bad_credentials")
		}
		_, err := a.Authenticate(t.Context(), login, testPassword, "192.0.2.1")
		wantReason(t, err, "too_many_attempts")
		var many *TooManyAttempts
		if !errors.As(err, &many) || many.RetryAfter() < time.Minute {
			t.Errorf("no time to wait: %v", err)
		}
	}
	if _, err := a.Authenticate(t.Context(), "ali", testPassword, "192.0.2.9"); err != nil {
		t.Errorf("from another address: %v", err)
	}
}

func TestOldHashesAreRenewed(t *testing.T) {
	a := open(t, Settings{})
	ali := a.person(t, "ali", pacs.Clinician, "A")
	a.hasher = newHasher(Argon2{MemoryKiB: 128, Passes: 1, Lanes: 1})
	for range 2 {
		if _, err := a.Authenticate(t.Context(), "ali", testPassword, "192.0.2.1"); err != nil {
			t.Fatal(err)
		}
	}
	var hash string
	if err := a.pool.QueryRow(t.Context(), `SELECT password_hash FROM user_account WHERE id = $1`, ali.ID).Scan(&hash); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(hash, "m=128,") {
		t.Errorf("still the old cost: %s", hash)
	}
}

func TestSession(t *testing.T) {
	a := open(t, Settings{})
	ali := a.person(t, "ali", pacs.Radiologist, "A")
	token, identity := a.signedIn(t, ali)
	if identity.User.Login != "ali" || identity.Who() != "ali" || !identity.Can(ReportSign) || identity.Can(AdminUsers) ||
		identity.FacilityCode != "A" || identity.Scope.All || len(identity.Scope.FacilityIDs) != 1 {
		t.Errorf("%+v", identity)
	}
	if len(token) != 43 || identity.Session.CSRF == "" || identity.Session.CSRF == token {
		t.Errorf("token %q, csrf %q", token, identity.Session.CSRF)
	}
	var stored int
	if err := a.pool.QueryRow(t.Context(), `SELECT count(*) FROM session WHERE position($1 in row(session.*)::text) > 0`, token).Scan(&stored); err != nil || stored != 0 {
		t.Errorf("the token itself is stored (%v)", err)
	}
	other, _ := a.signedIn(t, ali)
	if err := a.EndSession(t.Context(), identity); err != nil {
		t.Fatal(err)
	}
	_, err := a.SessionByToken(t.Context(), token)
	wantCode(t, err, pacs.Unauthenticated)
	if _, err := a.SessionByToken(t.Context(), other); err != nil {
		t.Errorf("the other session ended with it: %v", err)
	}
	for _, bad := range []string{"", "x", token[:42], token + "x"} {
		_, err := a.SessionByToken(t.Context(), bad)
		wantCode(t, err, pacs.Unauthenticated)
	}
}

func TestSessionsEnd(t *testing.T) {
	a := open(t, Settings{SessionIdle: time.Hour, SessionLife: 24 * time.Hour})
	ali := a.person(t, "ali", pacs.Clinician, "A")
	for name, age := range map[string]string{
		"unused for an hour": `UPDATE session SET last_used_at = now() - interval '61 minutes'`,
		"older than a day":   `UPDATE session SET expires_at = now() - interval '1 second'`,
	} {
		token, _ := a.signedIn(t, ali)
		if _, err := a.pool.Exec(t.Context(), age); err != nil {
			t.Fatal(err)
		}
		a.forgetRecent()
		if _, err := a.SessionByToken(t.Context(), token); pacs.CodeOf(err) != pacs.Unauthenticated {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Use prolongs it.
	token, identity := a.signedIn(t, ali)
	age := func() {
		t.Helper()
		if _, err := a.pool.Exec(t.Context(), `UPDATE session SET last_used_at = now() - interval '50 minutes' WHERE id = $1`, identity.Session.ID[:]); err != nil {
			t.Fatal(err)
		}
		a.forgetRecent()
	}
	unused := func() (d time.Duration) {
		t.Helper()
		if err := a.pool.QueryRow(t.Context(), `SELECT now() - last_used_at FROM session WHERE id = $1`, identity.Session.ID[:]).Scan(&d); err != nil {
			t.Fatal(err)
		}
		return d
	}
	age()
	if _, err := a.SessionByToken(t.Context(), token); err != nil || unused() > time.Minute {
		t.Errorf("%v, unused for %s", err, unused())
	}
	// A stream that only looks does not.
	age()
	if _, err := a.Renew(t.Context(), identity); err != nil || unused() < 49*time.Minute {
		t.Errorf("%v, unused for %s", err, unused())
	}
	// A new sign-in clears away what has ended.
	a.signedIn(t, ali)
	var left int
	if err := a.pool.QueryRow(t.Context(), `SELECT count(*) FROM session`).Scan(&left); err != nil || left != 2 {
		t.Errorf("%d sessions left (%v), want 2", left, err)
	}
}

func TestSessionsPerPerson(t *testing.T) {
	a := open(t, Settings{})
	ali := a.person(t, "ali", pacs.Clinician, "A")
	first, _ := a.signedIn(t, ali)
	var last string
	for range maxSessions {
		last, _ = a.signedIn(t, ali)
	}
	_, err := a.SessionByToken(t.Context(), first)
	wantCode(t, err, pacs.Unauthenticated)
	if _, err := a.SessionByToken(t.Context(), last); err != nil {
		t.Error(err)
	}
}

func TestChangesShowInOpenSessions(t *testing.T) {
	a := open(t, Settings{})
	ali := a.person(t, "ali", pacs.Clinician, "A")
	token, _ := a.signedIn(t, ali)
	if _, err := a.UpdateUser(t.Context(), System("test"), ali.ID, UserChange{Roles: []pacs.Role{pacs.Technician}, Facilities: []string{"B"}}); err != nil {
		t.Fatal(err)
	}
	identity, err := a.SessionByToken(t.Context(), token)
	if err != nil || identity.Can(ReportRead) || identity.FacilityCode != "B" {
		t.Errorf("%+v, %v", identity, err)
	}
	no := false
	if _, err := a.UpdateUser(t.Context(), System("test"), ali.ID, UserChange{Active: &no}); err != nil {
		t.Fatal(err)
	}
	_, err = a.SessionByToken(t.Context(), token)
	wantCode(t, err, pacs.Unauthenticated)
}

func TestChangePassword(t *testing.T) {
	slow := DefaultThrottle
	slow.FirstWait = time.Minute
	a := open(t, Settings{Throttle: slow})
	ali := a.person(t, "ali", pacs.Clinician, "A")
	here, identity := a.signedIn(t, ali)
	elsewhere, _ := a.signedIn(t, ali)

	err := a.ChangePassword(t.Context(), identity, "wrong horse", "battery staple")
	wantCode(t, err, pacs.Invalid)
	wantReason(t, err, "bad_credentials")
	wantReason(t, a.ChangePassword(t.Context(), identity, testPassword, "short"), "weak_password")
	if err := a.ChangePassword(t.Context(), identity, testPassword, "battery staple"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.SessionByToken(t.Context(), here); err != nil {
		t.Errorf("the own session ended: %v", err)
	}
	_, err = a.SessionByToken(t.Context(), elsewhere)
	wantCode(t, err, pacs.Unauthenticated)
	_, err = a.Authenticate(t.Context(), "ali", testPassword, "192.0.2.1")
	wantCode(t, err, pacs.Unauthenticated)
	if _, err := a.Authenticate(t.Context(), "ali", "battery staple", "192.0.2.1"); err != nil {
		t.Error(err)
	}

	// Guessing through this door is slowed down like at the front.
	for range DefaultThrottle.FreePair + 1 {
		_ = a.ChangePassword(t.Context(), identity, "wrong horse", "something else")
	}
	wantReason(t, a.ChangePassword(t.Context(), identity, "battery staple", "something else"), "too_many_attempts")
	// A token has no password.
	wantCode(t, a.ChangePassword(t.Context(), Loopback(), "", "something else"), pacs.Forbidden)
}

func TestEndOtherSessions(t *testing.T) {
	a := open(t, Settings{})
	ali := a.person(t, "ali", pacs.Clinician, "A")
	here, identity := a.signedIn(t, ali)
	elsewhere, _ := a.signedIn(t, ali)
	bobs, _ := a.signedIn(t, a.person(t, "bob", pacs.Clinician, "A"))
	if err := a.EndOtherSessions(t.Context(), identity); err != nil {
		t.Fatal(err)
	}
	_, err := a.SessionByToken(t.Context(), elsewhere)
	wantCode(t, err, pacs.Unauthenticated)
	for _, token := range []string{here, bobs} {
		if _, err := a.SessionByToken(t.Context(), token); err != nil {
			t.Error(err)
		}
	}
}

func TestSetLanguage(t *testing.T) {
	a := open(t, Settings{})
	_, identity := a.signedIn(t, a.person(t, "ali", pacs.Clinician, "A"))
	wantCode(t, a.SetLanguage(t.Context(), identity, "tlh"), pacs.Invalid)
	if err := a.SetLanguage(t.Context(), identity, "ru"); err != nil {
		t.Fatal(err)
	}
	renewed, err := a.Renew(t.Context(), identity)
	if err != nil || renewed.User.Language != "ru" {
		t.Errorf("%+v, %v", renewed, err)
	}
}

func TestRecentIdentities(t *testing.T) {
	r := newRecentIdentities()
	c := &clock{now: time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)}
	r.now = c.Now
	loads := 0
	key := [32]byte{1}
	get := func() {
		t.Helper()
		if _, err := r.get(key, func() (*Identity, error) { loads++; return &Identity{}, nil }); err != nil {
			t.Fatal(err)
		}
	}
	get()
	get()
	if loads != 1 {
		t.Errorf("loaded %d times, want once", loads)
	}
	c.now = c.now.Add(recentFor)
	get()
	if loads != 2 {
		t.Errorf("loaded %d times, want twice: what is remembered grows old", loads)
	}
	r.forgetAll()
	get()
	if loads != 3 {
		t.Errorf("loaded %d times, want three times", loads)
	}
	// What changes while it is loaded isn't remembered.
	r.forgetAll()
	_, _ = r.get(key, func() (*Identity, error) { r.forgetAll(); return &Identity{}, nil })
	get()
	if loads != 4 {
		t.Error("an identity loaded before a change was remembered after it")
	}
	// Nor are errors.
	_, err := r.get([32]byte{2}, func() (*Identity, error) { return nil, pacs.Errorf(pacs.Unavailable, "down") })
	wantCode(t, err, pacs.Unavailable)
	if len(r.entries) != 1 {
		t.Error("an error is remembered")
	}
}
