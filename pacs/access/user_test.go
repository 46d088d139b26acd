package access

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
)

func TestCreateUser(t *testing.T) {
	a := open(t, Settings{})
	good := NewUser{
		Login: "Ali.Karimov", Name: " Каримов Али ", Password: testPassword, Roles: []pacs.Role{pacs.Clinician},
		Facilities: []string{"A"}, PINFL: "12345678901234", Language: "uz-Cyrl",
	}
	user, err := a.CreateUser(t.Context(), System("test"), good)
	if err != nil {
		t.Fatal(err)
	}
	if user.Login != "ali.karimov" || user.Name != "Каримов Али" || user.ID == 0 || !user.Active || user.Facilities[0].Name != "Hospital A" {
		t.Errorf("%+v", user)
	}
	_, err = a.CreateUser(t.Context(), System("test"), good)
	wantCode(t, err, pacs.Conflict)

	for name, spoil := range map[string]func(*NewUser){
		"empty login":              func(u *NewUser) { u.Login = "" },
		"a login with a space":     func(u *NewUser) { u.Login = "a b" },
		"a Cyrillic login":         func(u *NewUser) { u.Login = "али" },
		"a long login":             func(u *NewUser) { u.Login = strings.Repeat("a", 65) },
		"no name":                  func(u *NewUser) { u.Name = " " },
		"a name with a line break": func(u *NewUser) { u.Name = "a\nb" },
		"no role":                  func(u *NewUser) { u.Roles = nil },
		"an unknown role":          func(u *NewUser) { u.Roles = []pacs.Role{"king"} },
		"a role twice":             func(u *NewUser) { u.Roles = []pacs.Role{pacs.Clinician, pacs.Clinician} },
		"an unknown facility":      func(u *NewUser) { u.Facilities = []string{"A", "NOWHERE"} },
		"no facility":              func(u *NewUser) { u.Facilities = nil },
		"13 digits of PINFL":       func(u *NewUser) { u.PINFL = "1234567890123" },
		"an unknown language":      func(u *NewUser) { u.Language = "tlh" },
		"a weak password":          func(u *NewUser) { u.Password = "short" },
		"no password":              func(u *NewUser) { u.Password = "" },
		"a clinician who sees all": func(u *NewUser) { u.AllFacilities = true },
		"a radiologist and clinician who sees all": func(u *NewUser) {
			u.AllFacilities, u.Roles = true, []pacs.Role{pacs.Radiologist, pacs.Clinician}
		},
	} {
		bad := good
		bad.Login = "another"
		spoil(&bad)
		if _, err := a.CreateUser(t.Context(), System("test"), bad); pacs.CodeOf(err) != pacs.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	users, err := a.Users(t.Context(), System("test"))
	if err != nil || len(users) != 1 {
		t.Errorf("%d people (%v), want 1: refused ones must leave nothing", len(users), err)
	}
}

func TestScopes(t *testing.T) {
	a := open(t, Settings{})
	sees := func(user *User) string {
		var codes []string
		list, err := a.Facilities(t.Context(), user.Scope())
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range list {
			codes = append(codes, f.Code)
		}
		return strings.Join(codes, " ")
	}
	for _, test := range []struct {
		role       pacs.Role
		facilities []string
		want       string
	}{
		{pacs.Radiologist, nil, "A B UNASSIGNED"}, // all_facilities
		{pacs.Radiologist, []string{"A"}, "A"},
		{pacs.Clinician, []string{"A"}, "A"},
		{pacs.Technician, []string{"B", "A"}, "A B"},
		{pacs.FacilityAdministrator, []string{"B"}, "B"},
		{pacs.Administrator, nil, "A B UNASSIGNED"},
	} {
		user := a.person(t, "p"+strings.ReplaceAll(string(test.role)+strings.Join(test.facilities, ""), "_", "-")[:5]+strings.ToLower(strings.Join(test.facilities, "")), test.role, test.facilities...)
		if got := sees(user); got != test.want {
			t.Errorf("%s of %v sees %q, want %q", test.role, test.facilities, got, test.want)
		}
	}
	if got := sees(&User{}); got != "" {
		t.Errorf("nobody sees %q", got)
	}
}

// A facility administrator manages people of own facilities, and can't gain
// more through them.
func TestFacilityAdministrator(t *testing.T) {
	a := open(t, Settings{})
	_, boss := a.signedIn(t, a.person(t, "boss-a", pacs.FacilityAdministrator, "A"))
	clinician := a.person(t, "clinician-a", pacs.Clinician, "A")
	shared := a.person(t, "shared", pacs.Clinician, "A", "B")
	foreign := a.person(t, "clinician-b", pacs.Clinician, "B")
	national := a.person(t, "national", pacs.Radiologist)
	root := a.person(t, "root", pacs.Administrator)
	rootOfA := a.person(t, "root-a", pacs.Administrator, "A") // an administrator who happens to work at A

	listed, err := a.Users(t.Context(), boss)
	if err != nil {
		t.Fatal(err)
	}
	var logins []string
	for _, u := range listed {
		logins = append(logins, u.Login)
	}
	if want := []string{"boss-a", "clinician-a", "root-a", "shared"}; !slices.Equal(logins, want) {
		t.Errorf("sees %v, want %v", logins, want)
	}

	newOne := func(login string, change func(*NewUser)) error {
		in := NewUser{Login: login, Name: "New", Password: testPassword, Roles: []pacs.Role{pacs.Clinician}, Facilities: []string{"A"}}
		change(&in)
		_, err := a.CreateUser(t.Context(), boss, in)
		return err
	}
	wantCode(t, newOne("n1", func(*NewUser) {}), "")
	wantCode(t, newOne("n2", func(u *NewUser) { u.Facilities = []string{"B"} }), pacs.Forbidden)
	wantCode(t, newOne("n3", func(u *NewUser) { u.Facilities = []string{"A", "B"} }), pacs.Forbidden)
	wantCode(t, newOne("n4", func(u *NewUser) { u.Roles = []pacs.Role{pacs.Administrator} }), pacs.Forbidden)
	wantCode(t, newOne("n5", func(u *NewUser) { u.Roles = []pacs.Role{pacs.Clinician, pacs.Administrator} }), pacs.Forbidden)
	wantCode(t, newOne("n6", func(u *NewUser) { u.Roles, u.AllFacilities = []pacs.Role{pacs.Radiologist}, true }), pacs.Forbidden)
	wantCode(t, newOne("n7", func(u *NewUser) { u.Roles = []pacs.Role{pacs.FacilityAdministrator} }), "")

	password, yes := "battery staple", true
	update := func(id int64, change UserChange) error {
		_, err := a.UpdateUser(t.Context(), boss, id, change)
		return err
	}
	wantCode(t, update(clinician.ID, UserChange{Password: &password}), "")
	wantCode(t, update(clinician.ID, UserChange{Facilities: []string{"A", "B"}}), pacs.Forbidden)
	wantCode(t, update(clinician.ID, UserChange{Roles: []pacs.Role{pacs.Administrator}}), pacs.Forbidden)
	wantCode(t, update(clinician.ID, UserChange{Roles: []pacs.Role{pacs.Radiologist}, AllFacilities: &yes}), pacs.Forbidden)
	// Whoever sets a password can sign in as that person: so nobody who sees
	// more than the boss may be touched, not even to take it from them.
	for _, target := range []*User{shared, rootOfA} {
		wantCode(t, update(target.ID, UserChange{Password: &password}), pacs.Forbidden)
		wantCode(t, update(target.ID, UserChange{Password: &password, Roles: []pacs.Role{pacs.Clinician}, Facilities: []string{"A"}}), pacs.Forbidden)
	}
	for _, target := range []*User{foreign, national, root} {
		wantCode(t, update(target.ID, UserChange{Password: &password}), pacs.NotFound)
	}
	// Nor does a boss become an administrator alone.
	wantCode(t, update(boss.User.ID, UserChange{Roles: []pacs.Role{pacs.Administrator}}), pacs.Forbidden)
	wantCode(t, update(boss.User.ID, UserChange{Facilities: []string{"A", "B"}}), pacs.Forbidden)

	// Devices and facilities.
	_, err = a.AddDevice(t.Context(), boss, Device{AETitle: "CT_A", FacilityCode: "A"})
	wantCode(t, err, "")
	_, err = a.AddDevice(t.Context(), boss, Device{AETitle: "CT_B", FacilityCode: "B"})
	wantCode(t, err, pacs.Forbidden)
	if _, err := a.AddDevice(t.Context(), System("test"), Device{AETitle: "CT_B", FacilityCode: "B"}); err != nil {
		t.Fatal(err)
	}
	_, err = a.UpdateDevice(t.Context(), boss, "CT_B", func(d *Device) error { d.FacilityCode = "A"; return nil })
	wantCode(t, err, pacs.NotFound)
	_, err = a.UpdateDevice(t.Context(), boss, "CT_A", func(d *Device) error { d.FacilityCode = "B"; return nil })
	wantCode(t, err, pacs.Forbidden)
	wantCode(t, a.RemoveDevice(t.Context(), boss, "CT_B"), pacs.NotFound)
	devices, err := a.Devices(t.Context(), boss)
	if err != nil || len(devices) != 1 || devices[0].AETitle != "CT_A" {
		t.Errorf("%v, %v", devices, err)
	}
	_, err = a.AddFacility(t.Context(), boss, pacs.Facility{Code: "C", Name: "C"})
	wantCode(t, err, pacs.Forbidden)
	_, _, err = a.IssueToken(t.Context(), boss, NewToken{Name: "x", Scopes: []string{ScopeAPI}})
	wantCode(t, err, pacs.Forbidden)
}

// Who has no administrative role changes nothing.
func TestOthersAdministerNothing(t *testing.T) {
	a := open(t, Settings{})
	for _, role := range []pacs.Role{pacs.Radiologist, pacs.Clinician, pacs.Technician} {
		user := a.person(t, string(role), role, "A")
		_, by := a.signedIn(t, user)
		_, err := a.CreateUser(t.Context(), by, NewUser{Login: "x", Name: "x", Password: testPassword, Roles: []pacs.Role{role}, Facilities: []string{"A"}})
		wantCode(t, err, pacs.Forbidden)
		_, err = a.UpdateUser(t.Context(), by, user.ID, UserChange{Roles: []pacs.Role{pacs.Administrator}})
		wantCode(t, err, pacs.Forbidden)
		_, err = a.Users(t.Context(), by)
		wantCode(t, err, pacs.Forbidden)
		_, err = a.AddDevice(t.Context(), by, Device{AETitle: "X", FacilityCode: "A"})
		wantCode(t, err, pacs.Forbidden)
		wantCode(t, a.RemoveDevice(t.Context(), by, "X"), pacs.Forbidden)
		_, err = a.Devices(t.Context(), by)
		wantCode(t, err, pacs.Forbidden)
		_, err = a.AddFacility(t.Context(), by, pacs.Facility{Code: "X", Name: "X"})
		wantCode(t, err, pacs.Forbidden)
		_, err = a.Tokens(t.Context(), by)
		wantCode(t, err, pacs.Forbidden)
	}
}

func TestSomebodyAdministers(t *testing.T) {
	a := open(t, Settings{})
	generated, err := a.EnsureAdministrator(t.Context(), "")
	if err != nil || len(generated) != 20 {
		t.Fatalf("%q, %v", generated, err)
	}
	admin, err := a.Authenticate(t.Context(), "admin", generated, "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	// A second start changes nothing, with or without a password.
	for _, password := range []string{"", "another password"} {
		if again, err := a.EnsureAdministrator(t.Context(), password); err != nil || again != "" {
			t.Errorf("%q, %v", again, err)
		}
	}
	if _, err := a.Authenticate(t.Context(), "admin", generated, "192.0.2.1"); err != nil {
		t.Error(err)
	}

	_, me := a.signedIn(t, admin)
	no := false
	for _, change := range []UserChange{{Active: &no}, {Roles: []pacs.Role{pacs.Clinician}, Facilities: []string{"A"}}} {
		for _, by := range []*Identity{me, System("cli")} {
			_, err := a.UpdateUser(t.Context(), by, admin.ID, change)
			wantCode(t, err, pacs.Conflict)
		}
	}
	// With another administrator, the other one may.
	other := a.person(t, "other", pacs.Administrator)
	_, err = a.UpdateUser(t.Context(), me, admin.ID, UserChange{Active: &no})
	wantCode(t, err, pacs.Conflict)
	_, by := a.signedIn(t, other)
	if _, err = a.UpdateUser(t.Context(), by, admin.ID, UserChange{Active: &no}); err != nil {
		t.Error(err)
	}
	_, err = a.UpdateUser(t.Context(), System("cli"), other.ID, UserChange{Active: &no})
	wantCode(t, err, pacs.Conflict)
}

// Nodes that start together make one administrator with one password.
func TestEnsureAdministratorAtOnce(t *testing.T) {
	a := open(t, Settings{})
	var all sync.WaitGroup
	passwords := make([]string, 8)
	for i := range passwords {
		all.Go(func() {
			var err error
			if passwords[i], err = a.EnsureAdministrator(t.Context(), ""); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	passwords = slices.DeleteFunc(passwords, func(p string) bool { return p == "" })
	if len(passwords) != 1 {
		t.Fatalf("%d passwords were given out, want 1", len(passwords))
	}
	if _, err := a.Authenticate(t.Context(), "admin", passwords[0], "192.0.2.1"); err != nil {
		t.Error(err)
	}
}

func TestEnsureAdministratorWithPassword(t *testing.T) {
	a := open(t, Settings{})
	_, err := a.EnsureAdministrator(t.Context(), "short")
	wantCode(t, err, pacs.Invalid)
	if generated, err := a.EnsureAdministrator(t.Context(), testPassword); err != nil || generated != "" {
		t.Fatalf("%q, %v", generated, err)
	}
	if _, err := a.Authenticate(t.Context(), "admin", testPassword, "192.0.2.1"); err != nil {
		t.Error(err)
	}
}

func TestAuditIsAppendOnly(t *testing.T) {
	a := open(t, Settings{})
	if a.auditCount(t, "facility.create") != 2 {
		t.Fatal("adding facilities left no trace")
	}
	for _, sql := range []string{`UPDATE audit_event SET who = 'x'`, `DELETE FROM audit_event`, `TRUNCATE audit_event`} {
		if _, err := a.pool.Exec(t.Context(), sql); err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Errorf("%s: %v", sql, err)
		}
	}
	// An event stands or falls with its transaction.
	tx, err := a.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := Audit(t.Context(), tx, AuditEvent{Who: "x", Action: "undone"}); err != nil {
		t.Fatal(err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a.auditCount(t, "undone") != 0 {
		t.Error("an event outlived its transaction")
	}
	// Refused operations change nothing and record nothing.
	before := a.auditCount(t, "facility.create")
	if _, err := a.AddFacility(t.Context(), System("test"), pacs.Facility{Code: "A", Name: "again"}); pacs.CodeOf(err) != pacs.Conflict {
		t.Error(err)
	}
	if a.auditCount(t, "facility.create") != before {
		t.Error("a refused operation is on record as done")
	}
}

func TestFacilities(t *testing.T) {
	a := open(t, Settings{})
	by := System("test")
	for _, bad := range []pacs.Facility{{Code: "a", Name: "x"}, {Code: "", Name: "x"}, {Code: "C"}, {Code: "C/D", Name: "x"}, {Code: strings.Repeat("A", 33), Name: "x"}} {
		_, err := a.AddFacility(t.Context(), by, bad)
		wantCode(t, err, pacs.Invalid)
	}
	changed, err := a.UpdateFacility(t.Context(), by, pacs.Facility{Code: "A", Name: "New name", TaxID: "123456789"})
	if err != nil || changed.ID == 0 {
		t.Fatal(changed, err)
	}
	_, err = a.UpdateFacility(t.Context(), by, pacs.Facility{Code: "NOWHERE", Name: "x"})
	wantCode(t, err, pacs.NotFound)
	got, err := a.FacilityByCode(t.Context(), by.Scope, "A")
	if err != nil || got != changed {
		t.Errorf("%+v, %v", got, err)
	}
	_, err = a.FacilityByCode(t.Context(), pacs.Scope{FacilityIDs: []int64{got.ID + 1}}, "A")
	wantCode(t, err, pacs.NotFound)
}
