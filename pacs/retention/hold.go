package retention

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/storage"
)

// Hold says that nothing of a study may be deleted or moved.
type Hold struct {
	StudyUID string    `json:"study_uid"`
	Who      string    `json:"who"`
	Why      string    `json:"why"`
	At       time.Time `json:"at"`

	// What the index knows of the study; empty when it doesn't know it.
	Facility    string `json:"-"`
	Patient     string `json:"-"` // name
	Date        string `json:"-"`
	Description string `json:"-"`
}

const (
	holdPrefix = "holds/"
	maxHold    = 64 << 10 // bytes of a hold's object
)

func holdKey(studyUID string) string { return holdPrefix + studyUID + ".json" }

// Holds returns the studies under legal hold that the caller may see, newest
// first.
func (r *Retention) Holds(ctx context.Context, scope pacs.Scope) ([]Hold, error) {
	return holds(ctx, r.pool, `WHERE $1 OR s.facility_row = ANY($2)`, scope.All, append([]int64{}, scope.FacilityIDs...))
}

func holds(ctx context.Context, q querier, where string, args ...any) ([]Hold, error) {
	rows, err := q.Query(ctx, `
		SELECT h.study_uid, h.who, h.why, h.held_at, coalesce(f.code, ''), coalesce(p.name, ''), coalesce(s.study_date, ''), coalesce(s.description, '')
		FROM legal_hold h LEFT JOIN study s ON s.study_uid = h.study_uid
			LEFT JOIN facility f ON f.id = s.facility_row LEFT JOIN patient p ON p.id = s.patient_row
		`+where+` ORDER BY h.held_at DESC, h.study_uid`, args...)
	if err != nil {
		return nil, failure(err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (h Hold, err error) {
		err = row.Scan(&h.StudyUID, &h.Who, &h.Why, &h.At, &h.Facility, &h.Patient, &h.Date, &h.Description)
		return h, err
	})
	return list, failure(err)
}

// holding runs f while no other node sets or lifts a hold on the study.
func (r *Retention) holding(ctx context.Context, studyUID string, f func(pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended($1, 0))`, "legal hold "+studyUID); err != nil {
			return err
		}
		return f(tx)
	})
}

// Hold holds a study. When it returns nil the hold is in the database and in
// storage. Who holds a held study again gives a new reason.
//
//	NotFound     there is no such study in scope, or it is deleted
//	Invalid      no reason is given
//	Unavailable  nothing has changed, or at most the object in storage
func (r *Retention) Hold(ctx context.Context, who *access.Identity, studyUID, why string) (Hold, error) {
	why, err := words("why the study is held", why, 2000)
	if err != nil {
		return Hold{}, err
	}
	if _, err := r.o.Index.Study(ctx, who.Scope, studyUID); err != nil {
		return Hold{}, err
	}
	h := Hold{StudyUID: studyUID, Who: who.Who(), Why: why, At: r.now().UTC().Truncate(time.Microsecond)}
	err = r.holding(ctx, studyUID, func(tx pgx.Tx) error {
		// The object first: a row without one would not outlive the database.
		if err := r.putHold(ctx, h); err != nil {
			return err
		}
		// Behind this lock a deletion of the study has ended or not begun.
		var facility int64
		err := tx.QueryRow(ctx, `SELECT facility_row FROM study WHERE study_uid = $1 AND deleted_at IS NULL FOR NO KEY UPDATE`, studyUID).Scan(&facility)
		if errors.Is(err, pgx.ErrNoRows) {
			return pacs.Errorf(pacs.NotFound, "There is no such study")
		}
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `
			INSERT INTO legal_hold (study_uid, who, why, held_at) VALUES ($1, $2, $3, $4)
			ON CONFLICT (study_uid) DO UPDATE SET who = EXCLUDED.who, why = EXCLUDED.why, held_at = EXCLUDED.held_at`, h.StudyUID, h.Who, h.Why, h.At); err != nil {
			return err
		}
		return access.Audit(ctx, tx, who.Event("study.hold", "study:"+studyUID, facility).Because(why))
	})
	if pacs.CodeOf(err) == pacs.NotFound {
		err = errors.Join(err, r.tidy(ctx, studyUID))
	}
	if err != nil {
		return Hold{}, failure(err)
	}
	return r.hold(ctx, studyUID)
}

func (r *Retention) hold(ctx context.Context, studyUID string) (Hold, error) {
	list, err := holds(ctx, r.pool, `WHERE h.study_uid = $1`, studyUID)
	if err == nil && len(list) == 0 {
		err = pacs.Errorf(pacs.NotFound, "The study is not under legal hold")
	}
	if err != nil {
		return Hold{}, err
	}
	return list[0], nil
}

// Lift ends a hold. When it returns nil the hold is gone from the database and
// from storage.
//
//	NotFound     the study is not held, or out of scope
//	Unavailable  the hold may be gone from the database already; repeat
func (r *Retention) Lift(ctx context.Context, who *access.Identity, studyUID string) error {
	err := r.holding(ctx, studyUID, func(tx pgx.Tx) error {
		list, err := holds(ctx, tx, `WHERE h.study_uid = $1 AND ($2 OR s.facility_row = ANY($3))`, studyUID, who.Scope.All, append([]int64{}, who.Scope.FacilityIDs...))
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return pacs.Errorf(pacs.NotFound, "The study is not under legal hold")
		}
		if _, err := tx.Exec(ctx, `DELETE FROM legal_hold WHERE study_uid = $1`, studyUID); err != nil {
			return err
		}
		var facility int64
		if err := tx.QueryRow(ctx, `SELECT coalesce((SELECT facility_row FROM study WHERE study_uid = $1), 0)`, studyUID).Scan(&facility); err != nil {
			return err
		}
		return access.Audit(ctx, tx, who.Event("study.hold_lifted", "study:"+studyUID, facility).Because(list[0].Why))
	})
	// The object last, and also where an attempt before has come no further
	// than the row.
	if err == nil || pacs.CodeOf(err) == pacs.NotFound && who.Scope.All {
		err = errors.Join(err, r.tidy(ctx, studyUID))
	}
	return failure(err)
}

// tidy removes a hold's object unless the study is held.
func (r *Retention) tidy(ctx context.Context, studyUID string) error {
	if storage.CheckKey(holdKey(studyUID)) != nil {
		return nil
	}
	return r.holding(ctx, studyUID, func(tx pgx.Tx) error {
		var held bool
		if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM legal_hold WHERE study_uid = $1)`, studyUID).Scan(&held); err != nil || held {
			return err
		}
		if err := r.o.Store.Delete(ctx, holdKey(studyUID)); err != nil {
			return pacs.Wrap(pacs.Unavailable, err, "The object store does not delete the hold's object at the moment; repeat it")
		}
		return nil
	})
}

func (r *Retention) putHold(ctx context.Context, h Hold) error {
	object, err := json.MarshalIndent(h, "", " ")
	if err != nil {
		return err
	}
	if err := r.o.Store.Put(ctx, holdKey(h.StudyUID), int64(len(object)), bytes.NewReader(object)); err != nil {
		return pacs.Wrap(pacs.Unavailable, err, "The object store does not take the hold at the moment; repeat it")
	}
	return nil
}

// RestoreHolds brings legal holds from storage back into a database that has
// been built anew, and returns how many that were. Holds that the database has
// stay as they are. It is to be called before any policy runs.
func RestoreHolds(ctx context.Context, ix *index.Index, store storage.Store) (restored int, err error) {
	for info, err := range store.List(ctx, holdPrefix) {
		if err != nil {
			return restored, pacs.Wrap(pacs.Unavailable, err, "The object store does not list the legal holds")
		}
		uid, ok := strings.CutSuffix(strings.TrimPrefix(info.Key, holdPrefix), ".json")
		if !ok {
			continue
		}
		h, err := readHold(ctx, store, info.Key, uid)
		if err != nil {
			return restored, err
		}
		tag, err := ix.Pool().Exec(ctx, `
			INSERT INTO legal_hold (study_uid, who, why, held_at) VALUES ($1, $2, $3, $4) ON CONFLICT (study_uid) DO NOTHING`, h.StudyUID, h.Who, h.Why, h.At)
		if err != nil {
			return restored, failure(err)
		}
		restored += int(tag.RowsAffected())
	}
	return restored, nil
}

// readHold reads a hold's object. One that can't be read still holds: its key
// says what.
func readHold(ctx context.Context, store storage.Store, key, uid string) (Hold, error) {
	body, err := store.Get(ctx, key, 0, -1)
	if err != nil {
		return Hold{}, pacs.Wrap(pacs.Unavailable, err, "The object store does not give a legal hold")
	}
	defer func() { _ = body.Close() }()
	content, err := io.ReadAll(io.LimitReader(body, maxHold))
	if err != nil {
		return Hold{}, pacs.Wrap(pacs.Unavailable, err, "The object store does not give a legal hold")
	}
	h := Hold{StudyUID: uid}
	if err := json.Unmarshal(content, &h); err != nil || h.StudyUID != uid || h.Why == "" {
		h = Hold{StudyUID: uid, Who: "system:retention", Why: fmt.Sprintf("restored from %s, which can't be read", key), At: time.Now()}
	}
	return h, nil
}

// Restore is RestoreHolds for this archive.
func (r *Retention) Restore(ctx context.Context) (int, error) {
	return RestoreHolds(ctx, r.o.Index, r.o.Store)
}
