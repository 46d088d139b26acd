package access

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/index/indextest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("os/exec.(*Cmd).Wait"), goleak.IgnoreAnyFunction("github.com/tasvir-pacs/tasvir/pacs/index/cluster.(*server).wait"))
}

// cheap makes hashes that cost nothing.
var cheap = Settings{Password: Argon2{MemoryKiB: 64, Passes: 1, Lanes: 1}}

func migrate(ctx context.Context, url string) error {
	ix, err := index.Open(ctx, url)
	if err != nil {
		return err
	}
	defer ix.Close()
	_, err = Open(ctx, ix, cheap)
	return err
}

// open returns access control over a fresh database with two hospitals, A and
// B.
func open(t *testing.T, settings Settings) *Access {
	t.Helper()
	ix, err := index.Open(t.Context(), indextest.New(t, migrate))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ix.Close)
	if settings.Password == (Argon2{}) {
		settings.Password = cheap.Password
	}
	a, err := Open(t.Context(), ix, settings)
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range []string{"A", "B"} {
		if _, err := a.AddFacility(t.Context(), System("test"), pacs.Facility{Code: code, Name: "Hospital " + code}); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

const testPassword = "correct horse"

// person adds a person with one role to the facilities named.
func (a *Access) person(t *testing.T, login string, role pacs.Role, facilities ...string) *User {
	t.Helper()
	user, err := a.CreateUser(t.Context(), System("test"), NewUser{
		Login: login, Name: "Name of " + login, Password: testPassword, Roles: []pacs.Role{role}, Facilities: facilities,
		AllFacilities: role == pacs.Radiologist && len(facilities) == 0,
	})
	if err != nil {
		t.Fatal(err)
	}
	return user
}

// signedIn starts a session for a person and returns its token and identity.
func (a *Access) signedIn(t *testing.T, user *User) (string, *Identity) {
	t.Helper()
	token, _, err := a.StartSession(t.Context(), user, "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	identity, err := a.SessionByToken(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	return token, identity
}

func wantCode(t *testing.T, err error, want pacs.Code) {
	t.Helper()
	if got := pacs.CodeOf(err); got != want {
		t.Errorf("got %q (%v), want %q", got, err, want)
	}
}

func wantReason(t *testing.T, err error, want string) {
	t.Helper()
	if got, _ := pacs.ReasonOf(err); got != want {
		t.Errorf("got reason %q (%v), want %q", got, err, want)
	}
}

// auditCount is how often an action is on record.
func (a *Access) auditCount(t *testing.T, action string) (n int) {
	t.Helper()
	if err := a.pool.QueryRow(t.Context(), `SELECT count(*) FROM audit_event WHERE action = $1`, action).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// clock is a time that tests move.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }
