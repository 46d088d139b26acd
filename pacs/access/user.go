package access

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// Languages of the client, as BCP 47 tags; the first is the default.
var Languages = []string{"uz-Latn", "uz-Cyrl", "ru", "en"}

// User is a person with an account.
type User struct {
	ID            int64
	Login         string // lower case
	Name          string // family name first
	Roles         []pacs.Role
	AllFacilities bool            // sees every facility; radiologists and administrators only
	Facilities    []pacs.Facility // the facilities the person belongs to
	PINFL         string          // 14 digits or ""
	ARGOS         string          // id in the national register of health workers, or ""
	Language      string
	Active        bool
	CreatedAt     time.Time
}

// Scope is what the person may see: everything for administrators and for
// those given all facilities, their own facilities otherwise.
func (u *User) Scope() pacs.Scope {
	scope := pacs.Scope{Who: u.Login, All: u.AllFacilities || slices.Contains(u.Roles, pacs.Administrator)}
	if !scope.All {
		for _, facility := range u.Facilities {
			scope.FacilityIDs = append(scope.FacilityIDs, facility.ID)
		}
	}
	return scope
}

// NewUser is what CreateUser needs. Language may be empty for the default.
type NewUser struct {
	Login         string
	Name          string
	Password      string
	Roles         []pacs.Role
	Facilities    []string // codes
	AllFacilities bool
	PINFL         string
	ARGOS         string
	Language      string
	Inactive      bool
}

// UserChange is what UpdateUser changes; what is nil stays.
type UserChange struct {
	Login         *string // may only repeat the login: it names the person in the audit trail
	Name          *string
	Password      *string
	Roles         []pacs.Role
	Facilities    []string // codes; nil stays, empty removes all
	AllFacilities *bool
	PINFL         *string
	ARGOS         *string
	Language      *string
	Active        *bool
}

// CreateUser adds a person. by needs AdminUsers; a facility administrator adds
// people only to own facilities, never administrators nor people who see all
// facilities.
//
//	Invalid    login, name, password, role, facility or PINFL can't be accepted
//	Forbidden  by may not create such a person
//	Conflict   the login is taken
func (a *Access) CreateUser(ctx context.Context, by *Identity, in NewUser) (*User, error) {
	if err := by.must(AdminUsers); err != nil {
		return nil, err
	}
	user := User{
		Login: strings.ToLower(strings.TrimSpace(in.Login)), Name: strings.TrimSpace(in.Name), Roles: in.Roles,
		AllFacilities: in.AllFacilities, PINFL: in.PINFL, ARGOS: in.ARGOS, Language: in.Language, Active: !in.Inactive,
	}
	if user.Language == "" {
		user.Language = Languages[0]
	}
	if err := checkPassword(user.Login, in.Password); err != nil {
		return nil, err
	}
	if err := user.check(); err != nil {
		return nil, err
	}
	hash, err := a.hasher.hash(ctx, in.Password)
	if err != nil {
		return nil, err
	}
	err = a.inTx(ctx, func(tx pgx.Tx) error {
		var err error
		if user.Facilities, err = facilitiesByCode(ctx, tx, in.Facilities); err != nil {
			return err
		}
		if err := user.checkSight(); err != nil {
			return err
		}
		if err := by.mustManage(&user); err != nil {
			return err
		}
		err = tx.QueryRow(ctx, `INSERT INTO user_account (login, name, password_hash, language, pinfl, argos, all_facilities, active)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (login) DO NOTHING RETURNING id, created_at`,
			user.Login, user.Name, hash, user.Language, user.PINFL, user.ARGOS, user.AllFacilities, user.Active).
			Scan(&user.ID, &user.CreatedAt)
		if errors.Is(err, pgx.ErrNoRows) {
			return pacs.Errorf(pacs.Conflict, "The login %q is taken. Choose another", user.Login)
		}
		if err != nil {
			return err
		}
		if err := storeRolesAndFacilities(ctx, tx, &user); err != nil {
			return err
		}
		return Audit(ctx, tx, by.event("user.create", "user:"+user.Login))
	})
	if err != nil {
		return nil, err
	}
	return &user, nil
}

// UpdateUser changes a person. A new password, or making them inactive, ends
// all their sessions. The errors are those of CreateUser, and
//
//	NotFound  there is no such person, or not in by's sight
//	Conflict  the last active administrator would be gone, or by would lock
//	          themselves out
func (a *Access) UpdateUser(ctx context.Context, by *Identity, id int64, change UserChange) (*User, error) {
	if err := by.must(AdminUsers); err != nil {
		return nil, err
	}
	var hash string
	if change.Password != nil {
		// Hashing is slow: not while rows are locked.
		if err := checkPassword("", *change.Password); err != nil {
			return nil, err
		}
		var err error
		if hash, err = a.hasher.hash(ctx, *change.Password); err != nil {
			return nil, err
		}
	}
	var user *User
	err := a.inTx(ctx, func(tx pgx.Tx) error {
		// All changes of people queue up: two administrators who remove each
		// other at once must not leave none.
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtext('tasvir user_account'))`); err != nil {
			return err
		}
		var err error
		if user, err = userWhere(ctx, tx, `u.id = $1`, id); err != nil {
			return err
		}
		if !by.inSight(user) {
			return pacs.Errorf(pacs.NotFound, "There is no such person")
		}
		if err := by.mustManage(user); err != nil {
			return err
		}
		wasAdministrator := user.Active && slices.Contains(user.Roles, pacs.Administrator)
		wasActive := user.Active
		if err := user.apply(ctx, tx, change); err != nil {
			return err
		}
		if change.Password != nil {
			if err := checkPassword(user.Login, *change.Password); err != nil {
				return err
			}
		}
		if err := user.check(); err != nil {
			return err
		}
		if err := user.checkSight(); err != nil {
			return err
		}
		if err := by.mustManage(user); err != nil {
			return err
		}
		if wasAdministrator && !(user.Active && slices.Contains(user.Roles, pacs.Administrator)) {
			if err := mayLoseAdministrator(ctx, tx, by, user); err != nil {
				return err
			}
		}
		if !user.Active && by.UserID() == user.ID {
			return pacs.Errorf(pacs.Conflict, "You can't make your own account inactive. Ask another administrator")
		}
		if _, err := tx.Exec(ctx, `UPDATE user_account SET name = $2, language = $3, pinfl = $4, argos = $5,
				all_facilities = $6, active = $7, updated_at = now(),
				password_hash = CASE WHEN $8 = '' THEN password_hash ELSE $8 END WHERE id = $1`,
			user.ID, user.Name, user.Language, user.PINFL, user.ARGOS, user.AllFacilities, user.Active, hash); err != nil {
			return err
		}
		if err := storeRolesAndFacilities(ctx, tx, user); err != nil {
			return err
		}
		if hash != "" || wasActive && !user.Active {
			if _, err := tx.Exec(ctx, `DELETE FROM session WHERE user_row = $1`, user.ID); err != nil {
				return err
			}
		}
		if hash != "" {
			if err := Audit(ctx, tx, by.event("user.password", "user:"+user.Login)); err != nil {
				return err
			}
		}
		return Audit(ctx, tx, by.event("user.update", "user:"+user.Login))
	})
	if err != nil {
		return nil, err
	}
	return user, nil
}

// Users lists people in by's sight, by login. by needs AdminUsers.
func (a *Access) Users(ctx context.Context, by *Identity) ([]User, error) {
	if err := by.must(AdminUsers); err != nil {
		return nil, err
	}
	all, err := usersWhere(ctx, a.pool, `true`)
	if err != nil {
		return nil, failure(err)
	}
	return slices.DeleteFunc(all, func(u User) bool { return !by.inSight(&u) }), nil
}

// UserByLogin finds a person; NotFound when there is none in by's sight. by
// needs AdminUsers.
func (a *Access) UserByLogin(ctx context.Context, by *Identity, login string) (*User, error) {
	if err := by.must(AdminUsers); err != nil {
		return nil, err
	}
	user, err := userWhere(ctx, a.pool, `u.login = $1`, strings.ToLower(strings.TrimSpace(login)))
	if err != nil {
		return nil, failure(err)
	}
	if !by.inSight(user) {
		return nil, pacs.Errorf(pacs.NotFound, "There is no such person")
	}
	return user, nil
}

// EnsureAdministrator makes sure that somebody can administer the archive. If
// there is no active administrator yet, it creates one with the login "admin"
// and the password given, or a generated one, which it returns; it can't be
// seen again. Otherwise it changes nothing.
func (a *Access) EnsureAdministrator(ctx context.Context, password string) (generated string, err error) {
	exists := func(q querier) (found bool, err error) {
		err = q.QueryRow(ctx, `SELECT EXISTS (SELECT FROM user_account u JOIN user_role r ON r.user_row = u.id
			WHERE r.role = 'administrator' AND u.active)`).Scan(&found)
		return found, err
	}
	if found, err := exists(a.pool); err != nil || found {
		return "", failure(err)
	}
	if password == "" {
		generated = GeneratePassword()
		password = generated
	} else if err := checkPassword("admin", password); err != nil {
		return "", err
	}
	hash, err := a.hasher.hash(ctx, password)
	if err != nil {
		return "", err
	}
	err = a.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtext('tasvir user_account'))`); err != nil {
			return err
		}
		if found, err := exists(tx); err != nil || found {
			generated = ""
			return err
		}
		// Should "admin" exist without the role or inactive, it becomes the
		// administrator again: whoever starts the server owns the archive.
		var id int64
		if err := tx.QueryRow(ctx, `INSERT INTO user_account (login, name, password_hash) VALUES ('admin', 'Administrator', $1)
			ON CONFLICT (login) DO UPDATE SET password_hash = excluded.password_hash, active = true, updated_at = now()
			RETURNING id`, hash).Scan(&id); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO user_role VALUES ($1, 'administrator')`, id); err != nil {
			return err
		}
		return Audit(ctx, tx, System("setup").event("user.create", "user:admin"))
	})
	if err != nil {
		return "", err
	}
	return generated, nil
}

var (
	loginPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._@-]{0,63}$`)
	pinflPattern = regexp.MustCompile(`^([0-9]{14})?$`)
)

// check looks at what a user row must satisfy by itself.
func (u *User) check() error {
	switch {
	case !loginPattern.MatchString(u.Login):
		return pacs.Errorf(pacs.Invalid, "The login must have 1 to 64 of a-z, 0-9 and . _ @ - and begin with a letter or digit")
	case u.Name == "" || utf8.RuneCountInString(u.Name) > 200 || !printable(u.Name):
		return pacs.Errorf(pacs.Invalid, "The name must have 1 to 200 characters")
	case len(u.Roles) == 0:
		return pacs.Errorf(pacs.Invalid, "Give the person at least one role: %s", roleList())
	case !slices.Contains(Languages, u.Language):
		return pacs.Errorf(pacs.Invalid, "The language must be one of %s", strings.Join(Languages, ", "))
	case !pinflPattern.MatchString(u.PINFL):
		return pacs.Errorf(pacs.Invalid, "The PINFL has 14 digits")
	case len(u.ARGOS) > 64 || !printable(u.ARGOS):
		return pacs.Errorf(pacs.Invalid, "The ARGOS id may have at most 64 characters")
	}
	for i, role := range u.Roles {
		if !slices.Contains(pacs.Roles, role) {
			return pacs.Errorf(pacs.Invalid, "There is no role %q; there are %s", string(role), roleList())
		}
		if slices.Contains(u.Roles[:i], role) {
			return pacs.Errorf(pacs.Invalid, "The role %s is named twice", role)
		}
	}
	return nil
}

// checkSight looks at roles and facilities together. Clinicians, technicians
// and facility administrators see their own facilities only, so a person with
// one of these roles can't have all.
func (u *User) checkSight() error {
	administrator := slices.Contains(u.Roles, pacs.Administrator)
	if u.AllFacilities && !administrator {
		for _, role := range u.Roles {
			if role != pacs.Radiologist {
				return pacs.Errorf(pacs.Invalid, "A %s sees own facilities only. Name them instead of all_facilities", role)
			}
		}
	}
	if !u.AllFacilities && !administrator && len(u.Facilities) == 0 {
		return pacs.Errorf(pacs.Invalid, "Name at least one facility the person belongs to")
	}
	return nil
}

func (u *User) apply(ctx context.Context, tx pgx.Tx, change UserChange) (err error) {
	set := func(to *string, from *string) {
		if from != nil {
			*to = strings.TrimSpace(*from)
		}
	}
	if change.Login != nil && !strings.EqualFold(strings.TrimSpace(*change.Login), u.Login) {
		return pacs.Errorf(pacs.Invalid, "A login can't change: the record of who did what names people by it. Add another person")
	}
	set(&u.Name, change.Name)
	set(&u.PINFL, change.PINFL)
	set(&u.ARGOS, change.ARGOS)
	set(&u.Language, change.Language)
	if change.Roles != nil {
		u.Roles = change.Roles
	}
	if change.AllFacilities != nil {
		u.AllFacilities = *change.AllFacilities
	}
	if change.Active != nil {
		u.Active = *change.Active
	}
	if change.Facilities != nil {
		u.Facilities, err = facilitiesByCode(ctx, tx, change.Facilities)
	}
	return err
}

// inSight reports whether the caller may know of the person: everyone for an
// administrator, otherwise those who share a facility. People who see all
// facilities belong to none and are the administrators' matter.
func (id *Identity) inSight(user *User) bool {
	return id.Scope.All || slices.ContainsFunc(user.Facilities, func(f pacs.Facility) bool { return id.Scope.Sees(f.ID) })
}

// mustManage returns Forbidden unless the caller may create or change a person
// as described. Changing somebody includes setting their password, that is,
// becoming them: so everything they may see, the caller must see too.
func (id *Identity) mustManage(user *User) error {
	if id.Has(pacs.Administrator) {
		return nil
	}
	if slices.Contains(user.Roles, pacs.Administrator) {
		return pacs.Errorf(pacs.Forbidden, "Only an administrator can appoint or change an administrator")
	}
	if user.AllFacilities {
		return pacs.Errorf(pacs.Forbidden, "Only an administrator can manage people who see all facilities")
	}
	for _, facility := range user.Facilities {
		if !id.Scope.Sees(facility.ID) {
			return pacs.Errorf(pacs.Forbidden, "You manage people of your own facilities only. Ask an administrator")
		}
	}
	return nil
}

func mayLoseAdministrator(ctx context.Context, tx pgx.Tx, by *Identity, user *User) error {
	if by.UserID() == user.ID {
		return pacs.Errorf(pacs.Conflict, "You can't give up being an administrator yourself. Ask another administrator")
	}
	var others bool
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM user_account u JOIN user_role r ON r.user_row = u.id
		WHERE r.role = 'administrator' AND u.active AND u.id <> $1)`, user.ID).Scan(&others); err != nil {
		return err
	}
	if !others {
		return pacs.Errorf(pacs.Conflict, "%s is the last active administrator. Appoint another one first", user.Login)
	}
	return nil
}

func storeRolesAndFacilities(ctx context.Context, tx pgx.Tx, user *User) error {
	batch := &pgx.Batch{}
	batch.Queue(`DELETE FROM user_role WHERE user_row = $1`, user.ID)
	batch.Queue(`DELETE FROM user_facility WHERE user_row = $1`, user.ID)
	for _, role := range user.Roles {
		batch.Queue(`INSERT INTO user_role VALUES ($1, $2)`, user.ID, role)
	}
	for _, facility := range user.Facilities {
		batch.Queue(`INSERT INTO user_facility VALUES ($1, $2)`, user.ID, facility.ID)
	}
	return tx.SendBatch(ctx, batch).Close()
}

// querier is a pool, a connection or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// userColumns are read by scanUser; the query has user_account as u.
const userColumns = `u.id, u.login, u.name, u.language, u.pinfl, u.argos, u.all_facilities, u.active, u.created_at,
	ARRAY(SELECT role FROM user_role WHERE user_row = u.id ORDER BY role),
	ARRAY(SELECT f.id FROM user_facility uf JOIN facility f ON f.id = uf.facility_row WHERE uf.user_row = u.id ORDER BY f.code),
	ARRAY(SELECT f.code FROM user_facility uf JOIN facility f ON f.id = uf.facility_row WHERE uf.user_row = u.id ORDER BY f.code),
	ARRAY(SELECT f.name FROM user_facility uf JOIN facility f ON f.id = uf.facility_row WHERE uf.user_row = u.id ORDER BY f.code),
	ARRAY(SELECT f.tax_id FROM user_facility uf JOIN facility f ON f.id = uf.facility_row WHERE uf.user_row = u.id ORDER BY f.code)`

func scanUser(row pgx.Row, extra ...any) (*User, error) {
	var user User
	var ids []int64
	var codes, names, taxIDs []string
	if err := row.Scan(append([]any{
		&user.ID, &user.Login, &user.Name, &user.Language, &user.PINFL, &user.ARGOS,
		&user.AllFacilities, &user.Active, &user.CreatedAt, &user.Roles, &ids, &codes, &names, &taxIDs,
	}, extra...)...); err != nil {
		return nil, err
	}
	for i := range ids {
		user.Facilities = append(user.Facilities, pacs.Facility{ID: ids[i], Code: codes[i], Name: names[i], TaxID: taxIDs[i]})
	}
	return &user, nil
}

func userWhere(ctx context.Context, q querier, condition string, args ...any) (*User, error) {
	user, err := scanUser(q.QueryRow(ctx, `SELECT `+userColumns+` FROM user_account u WHERE `+condition, args...))
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, pacs.Errorf(pacs.NotFound, "There is no such person")
	}
	return user, err
}

func usersWhere(ctx context.Context, q querier, condition string, args ...any) ([]User, error) {
	rows, err := q.Query(ctx, `SELECT `+userColumns+` FROM user_account u WHERE `+condition+` ORDER BY u.login`, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (User, error) {
		user, err := scanUser(row)
		if err != nil {
			return User{}, err
		}
		return *user, nil
	})
}

func roleList() string {
	names := make([]string, len(pacs.Roles))
	for i, role := range pacs.Roles {
		names[i] = string(role)
	}
	return strings.Join(names, ", ")
}

func printable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}

// ParseID reads an identifier as the client API writes it; NotFound for
// anything that can't be one.
func ParseID(text string) (int64, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id <= 0 {
		return 0, pacs.Errorf(pacs.NotFound, "There is nothing with this id")
	}
	return id, nil
}
