package access

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// maxSessions is how many sessions a person can have at once; a new one ends
// the oldest.
const maxSessions = 20

// Session is a signed-in browser.
type Session struct {
	ID         [32]byte // SHA-256 of the browser's token
	UserID     int64
	CSRF       string // what unsafe requests must repeat in a header
	Viewer     Viewer // "" for a person's own session
	CreatedAt  time.Time
	LastUsedAt time.Time
	ExpiresAt  time.Time
}

// Authenticate checks a login and password. It takes as long for a login that
// does not exist, and says the same. remote is the caller's network address
// without port: failures are counted for it and for the login.
//
//	Unauthenticated  reason bad_credentials: wrong, or the person is inactive
//	Unauthenticated  reason too_many_attempts: not even tried; the cause is a
//	                 *TooManyAttempts with the time to wait
//	Unavailable      the database is down
func (a *Access) Authenticate(ctx context.Context, login, password, remote string) (*User, error) {
	login, err := loginForm(login)
	if err != nil {
		// It can't exist; still let it cost and count like one that could.
		login = "\x00"
	}
	done, undo, err := a.throttle.begin(login, remote)
	if err != nil {
		return nil, err
	}
	user, err := a.checkCredentials(ctx, login, password)
	switch pacs.CodeOf(err) {
	case "":
		done(true)
		err = Audit(ctx, a.pool, AuditEvent{Who: user.Login, Action: "session.begin", Object: "user:" + user.Login, Remote: remote})
		if err != nil {
			return nil, err
		}
		return user, nil
	case pacs.Unauthenticated:
		done(false)
		object := "user:" + login
		if login == "\x00" {
			object = "user:?"
		}
		if err := Audit(ctx, a.pool, AuditEvent{Who: "anonymous", Action: "session.refused", Object: object, Remote: remote}); err != nil {
			return nil, err
		}
	default:
		undo()
	}
	return nil, err
}

func (a *Access) checkCredentials(ctx context.Context, login, password string) (*User, error) {
	refused := pacs.Errorf(pacs.Unauthenticated, "The login or the password is wrong").WithReason("bad_credentials", "")
	var hash string
	var user *User
	if login != "\x00" {
		var err error
		user, err = scanUser(a.pool.QueryRow(ctx, `SELECT `+userColumns+`, u.password_hash FROM user_account u WHERE u.login = $1`, login), &hash)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return nil, failure(err)
		}
	}
	known := user != nil && hash != ""
	if !known {
		hash = a.dummyHash
	}
	if len(password) > MaxPassword {
		password = password[:MaxPassword] // can't be right; must not cost more either
		known = false
	}
	ok, outdated, err := a.hasher.verify(ctx, password, hash)
	if err != nil {
		return nil, err
	}
	if !known || !ok || !user.Active {
		return nil, refused
	}
	if outdated {
		// The cost setting was raised since: renew the hash while the password
		// is at hand. Failing to is no reason to refuse the person.
		if renewed, err := a.hasher.hash(ctx, password); err == nil {
			_, _ = a.pool.Exec(ctx, `UPDATE user_account SET password_hash = $2 WHERE id = $1 AND password_hash = $3`, user.ID, renewed, hash)
		}
	}
	return user, nil
}

// StartSession gives a person who has just been authenticated a new session.
// token goes to the browser and is stored nowhere. Sessions never continue
// under a token that the browser brought along.
func (a *Access) StartSession(ctx context.Context, user *User, remote string) (token string, session *Session, err error) {
	token = randomToken()
	session = &Session{ID: sha256.Sum256([]byte(token)), UserID: user.ID, CSRF: randomToken()}
	err = a.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM session WHERE id IN (
			SELECT id FROM session WHERE expires_at < now() OR last_used_at < now() - $1::interval LIMIT 100)`, a.settings.SessionIdle); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM session WHERE user_row = $1 AND viewer = '' AND id NOT IN (
			SELECT id FROM session WHERE user_row = $1 AND viewer = '' ORDER BY created_at DESC LIMIT $2)`, user.ID, maxSessions-1); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `INSERT INTO session (id, user_row, csrf, remote, expires_at) VALUES ($1, $2, $3, $4, now() + $5::interval)
			RETURNING created_at, last_used_at, expires_at`, session.ID[:], user.ID, session.CSRF, remote, a.settings.SessionLife).
			Scan(&session.CreatedAt, &session.LastUsedAt, &session.ExpiresAt)
	})
	if err != nil {
		return "", nil, err
	}
	return token, session, nil
}

// SessionByToken returns the identity behind a browser's token, and notes that
// the session is in use. A session ended on another node may be honoured here
// for recentFor longer.
//
//	Unauthenticated  unknown, ended or expired, or the person is inactive
//	Unavailable      the database is down: says nothing about the session
func (a *Access) SessionByToken(ctx context.Context, token string) (*Identity, error) {
	id := sha256.Sum256([]byte(token))
	return a.recentSessions.get(id, func() (*Identity, error) { return a.sessionByID(ctx, id, true) })
}

// Renew looks again at who a caller is, for a request that goes on for hours:
// their session or token may have ended, their roles changed. It does not
// count as use of the session.
func (a *Access) Renew(ctx context.Context, id *Identity) (*Identity, error) {
	var renewed *Identity
	var err error
	switch {
	case id.Session != nil && id.Session.Viewer != "":
		renewed, err = a.viewerByID(ctx, id.Session.ID, false)
	case id.Session != nil:
		renewed, err = a.sessionByID(ctx, id.Session.ID, false)
	case id.Token != nil:
		renewed, err = a.tokenByHash(ctx, id.Token.hash)
	default:
		return id, nil
	}
	if err != nil {
		return nil, err
	}
	return renewed.From(id.Remote), nil
}

func (a *Access) sessionByID(ctx context.Context, id [32]byte, use bool) (*Identity, error) {
	session := &Session{ID: id}
	var stale bool
	user, err := scanUser(a.pool.QueryRow(ctx, `SELECT `+userColumns+`, s.user_row, s.csrf, s.created_at, s.last_used_at, s.expires_at,
			s.last_used_at < now() - least('1 minute', $2::interval / 10)
		FROM session s JOIN user_account u ON u.id = s.user_row
		WHERE s.id = $1 AND s.viewer = '' AND u.active AND s.expires_at > now() AND s.last_used_at > now() - $2::interval`, id[:], a.settings.SessionIdle),
		&session.UserID, &session.CSRF, &session.CreatedAt, &session.LastUsedAt, &session.ExpiresAt, &stale)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, pacs.Errorf(pacs.Unauthenticated, "Your session has ended. Sign in again")
	}
	if err != nil {
		return nil, failure(err)
	}
	if stale && use {
		if _, err := a.pool.Exec(ctx, `UPDATE session SET last_used_at = now() WHERE id = $1`, id[:]); err != nil {
			return nil, failure(err)
		}
	}
	return identityOf(user, session), nil
}

func identityOf(user *User, session *Session) *Identity {
	identity := &Identity{User: user, Session: session, Roles: user.Roles, Scope: user.Scope()}
	for _, role := range user.Roles {
		identity.rows = append(identity.rows, string(role))
	}
	if len(user.Facilities) == 1 {
		identity.FacilityCode = user.Facilities[0].Code
	}
	return identity
}

// EndSession ends the session the caller came with.
func (a *Access) EndSession(ctx context.Context, by *Identity) error {
	if by.Session == nil {
		return pacs.Errorf(pacs.Invalid, "There is no session to end")
	}
	return a.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM session WHERE id = $1`, by.Session.ID[:]); err != nil {
			return err
		}
		return Audit(ctx, tx, by.event("session.end", "user:"+by.User.Login))
	})
}

// EndSessionToken ends the session behind a token, whoever holds it; nothing
// happens when there is none.
func (a *Access) EndSessionToken(ctx context.Context, token string) error {
	id := sha256.Sum256([]byte(token))
	return a.inTx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM session WHERE id = $1`, id[:])
		return err
	})
}

// EndOtherSessions ends all sessions of the caller but the one they came with.
func (a *Access) EndOtherSessions(ctx context.Context, by *Identity) error {
	if by.Session == nil {
		return pacs.Errorf(pacs.Invalid, "There is no session to keep")
	}
	return a.inTx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM session WHERE user_row = $1 AND id <> $2`, by.User.ID, by.Session.ID[:])
		return err
	})
}

// ChangePassword sets the caller's own password and ends their other sessions.
//
//	Invalid          reason bad_credentials: current is wrong
//	Invalid          reason weak_password: the new one can't be accepted
//	Unauthenticated  reason too_many_attempts, as for Authenticate
func (a *Access) ChangePassword(ctx context.Context, by *Identity, current, password string) error {
	if by.User == nil || by.Session == nil {
		return pacs.Errorf(pacs.Forbidden, "Only a signed-in person has a password")
	}
	if err := checkPassword(by.User.Login, password); err != nil {
		return err
	}
	done, undo, err := a.throttle.begin(by.User.Login, by.Remote)
	if err != nil {
		return err
	}
	if _, err := a.checkCredentials(ctx, by.User.Login, current); err != nil {
		if pacs.CodeOf(err) == pacs.Unauthenticated {
			// 401 would send the person to the sign-in page.
			return pacs.Errorf(pacs.Invalid, "The current password is wrong").WithReason("bad_credentials", "")
		}
		undo()
		return err
	}
	done(true)
	hash, err := a.hasher.hash(ctx, password)
	if err != nil {
		return err
	}
	return a.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `UPDATE user_account SET password_hash = $2, updated_at = now() WHERE id = $1`, by.User.ID, hash); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM session WHERE user_row = $1 AND id <> $2`, by.User.ID, by.Session.ID[:]); err != nil {
			return err
		}
		return Audit(ctx, tx, by.event("user.password", "user:"+by.User.Login))
	})
}

// SetLanguage remembers the language of the caller's own interface.
func (a *Access) SetLanguage(ctx context.Context, by *Identity, language string) error {
	if by.User == nil {
		return pacs.Errorf(pacs.Forbidden, "Only a signed-in person has a language")
	}
	changed := *by.User
	changed.Language = language
	if err := changed.check(); err != nil {
		return err
	}
	return a.inTx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE user_account SET language = $2, updated_at = now() WHERE id = $1`, by.User.ID, language)
		return err
	})
}

func loginForm(login string) (string, error) {
	form := strings.ToLower(strings.TrimSpace(login))
	if !loginPattern.MatchString(form) {
		return "", pacs.Errorf(pacs.Invalid, "This can't be a login")
	}
	return form, nil
}
