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

// Viewer is a program of others that a signed-in person opens studies in. It
// gets a session of its own below the person's: that one may do nothing but
// read over DICOMweb, is good for that viewer only, and ends with the person's.
type Viewer string

const (
	// OHIF runs in the browser, on a host of its own, and sees what the person
	// sees: it shows the patient's other studies too.
	OHIF Viewer = "ohif"
	// Weasis runs on the person's computer. Its token is seen by that computer's
	// other programs, so it is good for one facility and some hours.
	Weasis Viewer = "weasis"
)

const (
	// WeasisLife is how long Weasis can read at most.
	WeasisLife = 8 * time.Hour
	// LaunchLife is how long a browser may take to come to the viewer's host.
	LaunchLife = time.Minute

	maxViewers  = 20 // sessions of viewers below one session; a new one ends the oldest
	maxLaunches = 50 // codes of one session that wait

	// viewerPrefix makes a viewer's token recognisable, and keeps it from being
	// looked for among the tokens of machines.
	viewerPrefix = "tasvir_viewer_"
)

// LaunchCode makes the code that OHIF's host is shown once, within LaunchLife,
// to open a study. by must have come with a session, and see the study.
//
//	Forbidden  by may not read images, or is no person
//	NotFound   the study is out of scope
func (a *Access) LaunchCode(ctx context.Context, by *Identity, study pacs.Study) (code string, err error) {
	if err := by.mayView(study); err != nil {
		return "", err
	}
	code = randomToken()
	hash := sha256.Sum256([]byte(code))
	err = pgx.BeginFunc(ctx, a.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM viewer_launch WHERE expires_at < now() OR code IN (
			SELECT code FROM viewer_launch WHERE session = $1 ORDER BY expires_at DESC OFFSET $2)`, by.Session.ID[:], maxLaunches-1); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO viewer_launch (code, session, study_uid, expires_at) VALUES ($1, $2, $3, now() + $4::interval)`,
			hash[:], by.Session.ID[:], study.StudyInstanceUID, LaunchLife); err != nil {
			return err
		}
		return Audit(ctx, tx, by.Event("viewer.launch", "study:"+study.StudyInstanceUID, study.Facility.ID).Because(string(OHIF)))
	})
	return code, failure(err)
}

// Launched is what RedeemLaunch gives for a code.
type Launched struct {
	Token    string // of the new session; it goes to the browser and is stored nowhere
	StudyUID string
	Language string // of the person
	Life     time.Duration
}

// RedeemLaunch exchanges a code for a session of OHIF. It works once. before is
// the token of the session that the browser has there already, if any: it ends.
//
//	Unauthenticated  the code is unknown, used or expired, or the person's
//	                 session has ended
func (a *Access) RedeemLaunch(ctx context.Context, code, before, remote string) (*Launched, error) {
	hash, old := sha256.Sum256([]byte(code)), sha256.Sum256([]byte(before))
	launched := &Launched{Token: randomToken()}
	err := a.inTx(ctx, func(tx pgx.Tx) error {
		var parent []byte
		err := tx.QueryRow(ctx, `DELETE FROM viewer_launch WHERE code = $1 AND expires_at > now() RETURNING session, study_uid`, hash[:]).
			Scan(&parent, &launched.StudyUID)
		if errors.Is(err, pgx.ErrNoRows) {
			return pacs.Errorf(pacs.Unauthenticated, "This link has been used or is too old. Open the study from Tasvir again")
		}
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM session WHERE id = $1 AND viewer = $2`, old[:], OHIF); err != nil {
			return err
		}
		var expires time.Time
		if expires, err = a.startViewer(ctx, tx, parent, OHIF, 0, launched.Token, remote, a.settings.SessionLife); err != nil {
			return err
		}
		launched.Life = time.Until(expires)
		var login string
		if err := tx.QueryRow(ctx, `SELECT u.login, u.language FROM session s JOIN user_account u ON u.id = s.user_row WHERE s.id = $1`, parent).
			Scan(&login, &launched.Language); err != nil {
			return err
		}
		return Audit(ctx, tx, AuditEvent{Who: login, Action: "viewer.begin", Object: "study:" + launched.StudyUID, Remote: remote, Why: string(OHIF)})
	})
	if err != nil {
		return nil, err
	}
	return launched, nil
}

// WeasisToken gives Weasis a bearer token for the study's facility. Errors are
// those of LaunchCode.
func (a *Access) WeasisToken(ctx context.Context, by *Identity, study pacs.Study) (token string, err error) {
	if err := by.mayView(study); err != nil {
		return "", err
	}
	token = viewerPrefix + randomToken()
	err = a.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := a.startViewer(ctx, tx, by.Session.ID[:], Weasis, study.Facility.ID, token, by.Remote, WeasisLife); err != nil {
			return err
		}
		return Audit(ctx, tx, by.Event("viewer.launch", "study:"+study.StudyInstanceUID, study.Facility.ID).Because(string(Weasis)))
	})
	return token, err
}

func (id *Identity) mayView(study pacs.Study) error {
	if err := id.must(DICOMwebRead); err != nil {
		return err
	}
	if id.User == nil || id.Session == nil {
		return pacs.Errorf(pacs.Forbidden, "Only a signed-in person opens studies in a viewer")
	}
	if !id.Scope.Sees(study.Facility.ID) {
		return pacs.Errorf(pacs.NotFound, "There is no such study")
	}
	return nil
}

// startViewer adds a session below parent, if that one is still good, and
// returns when it ends.
func (a *Access) startViewer(ctx context.Context, tx pgx.Tx, parent []byte, viewer Viewer, facility int64, token, remote string, life time.Duration) (expires time.Time, err error) {
	if _, err := tx.Exec(ctx, `DELETE FROM session WHERE id IN (
		SELECT id FROM session WHERE parent = $1 ORDER BY created_at DESC OFFSET $2)`, parent, maxViewers-1); err != nil {
		return expires, err
	}
	id := sha256.Sum256([]byte(token))
	err = tx.QueryRow(ctx, `INSERT INTO session (id, user_row, csrf, remote, viewer, parent, facility_row, expires_at)
		SELECT $1, p.user_row, '', $2, $3, p.id, nullif($4::bigint, 0), least(p.expires_at, now() + $5::interval) FROM session p
		WHERE p.id = $6 AND p.viewer = '' AND p.expires_at > now() AND p.last_used_at > now() - $7::interval
		RETURNING expires_at`, id[:], remote, viewer, facility, life, parent, a.settings.SessionIdle).Scan(&expires)
	if errors.Is(err, pgx.ErrNoRows) {
		return expires, errViewerEnded
	}
	return expires, err
}

var errViewerEnded = pacs.Errorf(pacs.Unauthenticated, "Your session has ended. Sign in to Tasvir and open the study from there again")

// ViewerByToken returns the identity behind a viewer's token: the person's name
// and scope, or of it the facility the token is for, and leave to read over
// DICOMweb. A session ended on another node may be honoured here for recentFor
// longer.
//
//	Unauthenticated  unknown, of another viewer, ended or expired, the person's
//	                 own session has ended, or the person may no longer read
//	Unavailable      the database is down: says nothing about the session
func (a *Access) ViewerByToken(ctx context.Context, viewer Viewer, token string) (*Identity, error) {
	id := sha256.Sum256([]byte(token))
	identity, err := a.recentViewers.get(id, func() (*Identity, error) { return a.viewerByID(ctx, id, true) })
	if err == nil && identity.Session.Viewer != viewer {
		return nil, errViewerEnded
	}
	return identity, err
}

func (a *Access) viewerByID(ctx context.Context, id [32]byte, use bool) (*Identity, error) {
	session := &Session{ID: id}
	var stale bool
	var facility int64
	user, err := scanUser(a.pool.QueryRow(ctx, `SELECT `+userColumns+`, s.user_row, s.viewer, coalesce(s.facility_row, 0), s.created_at, s.last_used_at,
			least(s.expires_at, p.expires_at), s.last_used_at < now() - least('1 minute', $2::interval / 10)
		FROM session s JOIN session p ON p.id = s.parent JOIN user_account u ON u.id = s.user_row
		WHERE s.id = $1 AND u.active AND s.expires_at > now() AND s.last_used_at > now() - $2::interval
			AND p.expires_at > now() AND p.last_used_at > now() - $2::interval`, id[:], a.settings.SessionIdle),
		&session.UserID, &session.Viewer, &facility, &session.CreatedAt, &session.LastUsedAt, &session.ExpiresAt, &stale)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, errViewerEnded
	}
	if err != nil {
		return nil, failure(err)
	}
	// What the person may do now is asked, not what they might when it began.
	person := identityOf(user, session)
	if !person.Can(DICOMwebRead) || facility != 0 && !person.Scope.Sees(facility) {
		return nil, errViewerEnded
	}
	if stale && use {
		if _, err := a.pool.Exec(ctx, `UPDATE session SET last_used_at = now() WHERE id = $1`, id[:]); err != nil {
			return nil, failure(err)
		}
	}
	identity := &Identity{Session: session, Scope: person.Scope, rows: []string{ScopeDICOMwebRead}}
	if facility != 0 {
		identity.Scope = pacs.Scope{Who: person.Scope.Who, FacilityIDs: []int64{facility}}
	}
	return identity, nil
}

// IsViewerToken reports whether a bearer token has the form of a viewer's.
func IsViewerToken(value string) bool { return strings.HasPrefix(value, viewerPrefix) }
