package index

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// Addition is what one pack brings to the index: instances of one series.
type Addition struct {
	Facility  string // code
	Patient   pacs.Patient
	Study     pacs.Study
	Series    pacs.Series
	Pack      Pack
	Instances []NewInstance
}

// Pack is an object in storage.
type Pack struct {
	ID         int64
	Key        string
	Bytes      int64
	MetaOffset int64 // of the gzipped DICOM JSON
	MetaLength int64
}

// NewInstance is an instance with where it came from. Its Version is set by
// the publisher from what Known said.
type NewInstance struct {
	pacs.Instance
	Sender  string
	Channel pacs.Channel
}

// Added is what an addition has led to.
type Added struct {
	StudyID     int64
	FacilityID  int64
	New         int // instances that were not there before
	Completions int // how often the study has been completed before
}

// ErrContradiction is the cause of a Conflict from Add: the study UID belongs
// to another patient or facility already.
var ErrContradiction = errors.New("contradicts the index")

// ErrRaced means that another addition indexed the same instance since Known
// was asked; ask again and build the pack anew.
var ErrRaced = errors.New("the instance was indexed meanwhile")

// KnownVersion is a version of an instance that the index has.
type KnownVersion struct {
	Version int
	SHA256  []byte
}

// Known returns the versions the index has of the named instances of a study,
// by SOP Instance UID. It is for the publisher's de-duplication and shows
// nothing of the instances, so it takes no scope.
func (ix *Index) Known(ctx context.Context, studyUID string, sopUIDs []string) (map[string][]KnownVersion, error) {
	rows, err := ix.pool.Query(ctx, `
		SELECT i.sop_uid, i.version, i.sha256
		FROM instance i JOIN study s ON s.id = i.study_row
		WHERE s.study_uid = $1 AND i.sop_uid = ANY($2)
		ORDER BY i.version`, studyUID, sopUIDs)
	if err != nil {
		return nil, fail(err)
	}
	known := map[string][]KnownVersion{}
	var uid string
	var v KnownVersion
	_, err = pgx.ForEachRow(rows, []any{&uid, &v.Version, &v.SHA256}, func() error {
		known[uid] = append(known[uid], KnownVersion{v.Version, bytes.Clone(v.SHA256)})
		return nil
	})
	return known, fail(err)
}

// Add writes the rows of one pack, and whatever inTx adds, in one transaction.
// Adding what is there already changes nothing and is no error.
//
//	Conflict      ErrContradiction: the study belongs to another patient or facility
//	Unavailable   the database can't be reached; repeat
func (ix *Index) Add(ctx context.Context, a Addition, inTx func(context.Context, pgx.Tx, Added) error) error {
	err := pgx.BeginFunc(ctx, ix.pool, func(tx pgx.Tx) error {
		added, err := add(ctx, tx, a)
		if err != nil || inTx == nil {
			return err
		}
		return inTx(ctx, tx, added)
	})
	return fail(err)
}

func add(ctx context.Context, tx pgx.Tx, a Addition) (Added, error) {
	var out Added
	if err := tx.QueryRow(ctx, `SELECT id FROM facility WHERE code = $1`, a.Facility).Scan(&out.FacilityID); err != nil {
		if errors.Is(err, pgx.ErrNoRows) {
			// The sender was admitted for a facility that has been removed
			// since, or the index was rebuilt: the archive must not lose it.
			err = tx.QueryRow(ctx, `INSERT INTO facility (code, name) VALUES ($1, $1)
				ON CONFLICT (code) DO UPDATE SET code = EXCLUDED.code RETURNING id`, a.Facility).Scan(&out.FacilityID)
		}
		if err != nil {
			return out, err
		}
	}
	patientID, err := addPatient(ctx, tx, a.Patient)
	if err != nil {
		return out, err
	}
	if err := addStudy(ctx, tx, a, patientID, &out); err != nil {
		return out, err
	}
	seriesID, err := addSeries(ctx, tx, a.Series, out.StudyID)
	if err != nil {
		return out, err
	}
	var packID int64
	if err := tx.QueryRow(ctx, `
		INSERT INTO pack (key, series_row, bytes, meta_offset, meta_length) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (key) DO UPDATE SET key = EXCLUDED.key RETURNING id`,
		a.Pack.Key, seriesID, a.Pack.Bytes, a.Pack.MetaOffset, a.Pack.MetaLength).Scan(&packID); err != nil {
		return out, err
	}
	var fresh int
	var size int64
	for i := range a.Instances {
		isNew, err := addInstance(ctx, tx, &a.Instances[i], out.StudyID, seriesID, packID)
		if err != nil {
			return out, err
		}
		if isNew {
			out.New++
			size += a.Instances[i].Location.Length
			if a.Instances[i].Version == 1 {
				fresh++
			}
		}
	}
	_, err = tx.Exec(ctx, `
		UPDATE series SET instance_count = instance_count + $2, has_pixels = has_pixels OR $3 WHERE id = $1`,
		seriesID, fresh, slices.ContainsFunc(a.Instances, func(i NewInstance) bool { return i.FrameCount > 0 }))
	if err != nil {
		return out, err
	}
	if out.New == 0 {
		return out, nil
	}
	_, err = tx.Exec(ctx, `
		UPDATE study SET
			instance_count = instance_count + $2,
			bytes          = bytes + $3,
			series_count   = (SELECT count(*) FROM series WHERE study_row = $1),
			modalities     = (SELECT coalesce(array_agg(DISTINCT modality ORDER BY modality), '{}') FROM series WHERE study_row = $1 AND modality <> ''),
			body_parts     = (SELECT coalesce(array_agg(DISTINCT body_part ORDER BY body_part), '{}') FROM series WHERE study_row = $1 AND body_part <> ''),
			updated_at     = clock_timestamp(),
			completed_at   = NULL
		WHERE id = $1`, out.StudyID, fresh, size)
	return out, err
}

func addPatient(ctx context.Context, tx pgx.Tx, p pacs.Patient) (int64, error) {
	// The first study names the patient; later ones fill in what was empty.
	// Corrections are an administrator's act, not a side effect of receiving.
	var id int64
	err := tx.QueryRow(ctx, `
		INSERT INTO patient (issuer, patient_id, name, name_fold, sex, birth_date, pinfl)
		VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (issuer, patient_id) DO UPDATE SET
			name       = CASE WHEN patient.name = '' THEN EXCLUDED.name ELSE patient.name END,
			name_fold  = CASE WHEN patient.name = '' THEN EXCLUDED.name_fold ELSE patient.name_fold END,
			sex        = CASE WHEN patient.sex = '' THEN EXCLUDED.sex ELSE patient.sex END,
			birth_date = CASE WHEN patient.birth_date = '' THEN EXCLUDED.birth_date ELSE patient.birth_date END,
			pinfl      = CASE WHEN patient.pinfl = '' THEN EXCLUDED.pinfl ELSE patient.pinfl END
		RETURNING id`,
		p.Issuer, p.PatientID, p.Name, pacs.Fold(p.Name), p.Sex, p.BirthDate, p.PINFL).Scan(&id)
	return id, err
}

func addStudy(ctx context.Context, tx pgx.Tx, a Addition, patientID int64, out *Added) error {
	s := a.Study
	var owner, facility int64
	// The no-op update locks the row, so that additions to one study and its
	// completion take turns.
	err := tx.QueryRow(ctx, `
		INSERT INTO study (study_uid, patient_row, facility_row, study_date, study_time, accession_number, study_id,
			description, referring_physician, question, received_at, attributes)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
		ON CONFLICT (study_uid) DO UPDATE SET study_uid = EXCLUDED.study_uid
		RETURNING id, patient_row, facility_row, completions`,
		s.StudyInstanceUID, patientID, out.FacilityID, s.Date, s.Time, s.AccessionNumber, s.StudyID,
		s.Description, s.ReferringPhysician, s.Question, s.ReceivedAt, object(s.Attributes)).
		Scan(&out.StudyID, &owner, &facility, &out.Completions)
	if err != nil {
		return err
	}
	if facility != out.FacilityID {
		return pacs.Wrap(pacs.Conflict, ErrContradiction, "The study belongs to another facility already")
	}
	if owner != patientID {
		return pacs.Wrap(pacs.Conflict, ErrContradiction, "The study belongs to another patient already")
	}
	return nil
}

func addSeries(ctx context.Context, tx pgx.Tx, s pacs.Series, studyID int64) (int64, error) {
	var id int64
	err := tx.QueryRow(ctx, `
		INSERT INTO series (study_row, series_uid, modality, number, description, body_part, attributes)
		VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (study_row, series_uid) DO UPDATE SET series_uid = EXCLUDED.series_uid
		RETURNING id`,
		studyID, s.SeriesInstanceUID, s.Modality, s.Number, s.Description, s.BodyPart, object(s.Attributes)).Scan(&id)
	return id, err
}

func addInstance(ctx context.Context, tx pgx.Tx, in *NewInstance, studyID, seriesID, packID int64) (isNew bool, err error) {
	var pixels []byte
	if in.Location.PixelData != nil {
		if pixels, err = json.Marshal(in.Location.PixelData); err != nil {
			return false, err
		}
	}
	if in.Version > 1 {
		if _, err := tx.Exec(ctx, `UPDATE instance SET current = false WHERE study_row = $1 AND sop_uid = $2 AND version < $3 AND current`,
			studyID, in.SOPInstanceUID, in.Version); err != nil {
			return false, err
		}
	}
	tag, err := tx.Exec(ctx, `
		INSERT INTO instance (study_row, series_row, sop_uid, version, sop_class, transfer_syntax, number, rows, columns, frames,
			sha256, pack_row, pack_offset, length, dataset_offset, pixels, sender, channel, received_at, attributes)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
		ON CONFLICT (study_row, sop_uid, version) DO NOTHING`,
		studyID, seriesID, in.SOPInstanceUID, in.Version, in.SOPClassUID, in.TransferSyntaxUID, in.Number, in.Rows, in.Columns, in.FrameCount,
		in.SHA256, packID, in.Location.Offset, in.Location.Length, in.Location.DatasetOffset, pixels, in.Sender, in.Channel, in.ReceivedAt, object(in.Attributes))
	if err != nil {
		return false, err
	}
	if tag.RowsAffected() == 1 {
		return true, nil
	}
	var sum []byte
	if err := tx.QueryRow(ctx, `SELECT sha256 FROM instance WHERE study_row = $1 AND sop_uid = $2 AND version = $3`,
		studyID, in.SOPInstanceUID, in.Version).Scan(&sum); err != nil {
		return false, err
	}
	if !bytes.Equal(sum, in.SHA256) {
		return false, ErrRaced
	}
	return false, nil
}

// Complete marks a study complete unless something arrived within quiet. inTx
// runs in the same transaction when it does; left is how long to wait when
// it does not.
func (ix *Index) Complete(ctx context.Context, studyID int64, quiet time.Duration, inTx func(context.Context, pgx.Tx, pacs.Study) error) (left time.Duration, err error) {
	err = pgx.BeginFunc(ctx, ix.pool, func(tx pgx.Tx) error {
		var since float64
		var done bool
		err := tx.QueryRow(ctx, `
			SELECT extract(epoch FROM clock_timestamp() - updated_at)::float8, completed_at IS NOT NULL
			FROM study WHERE id = $1 FOR UPDATE`, studyID).Scan(&since, &done)
		if errors.Is(err, pgx.ErrNoRows) || err == nil && done {
			return nil
		}
		if err != nil {
			return err
		}
		if passed := time.Duration(since * float64(time.Second)); passed < quiet {
			left = quiet - passed
			return nil
		}
		if _, err := tx.Exec(ctx, `UPDATE study SET completed_at = clock_timestamp(), completions = completions + 1 WHERE id = $1`, studyID); err != nil {
			return err
		}
		study, err := studyByID(ctx, tx, studyID)
		if err != nil {
			return err
		}
		return inTx(ctx, tx, study)
	})
	return left, fail(err)
}

// object is attributes as a JSON object, {} for none.
func object(attributes json.RawMessage) json.RawMessage {
	if len(attributes) == 0 {
		return json.RawMessage("{}")
	}
	return attributes
}

// fail turns a database error into the archive's: Unavailable for what may
// pass, Internal for the rest. The archive's own errors go through unchanged.
func fail(err error) error {
	var own *pacs.Error
	switch {
	case err == nil, errors.As(err, &own), errors.Is(err, ErrRaced),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case Transient(err):
		return pacs.Wrap(pacs.Unavailable, err, "The database is not available at the moment")
	}
	return pacs.Wrap(pacs.Internal, fmt.Errorf("database: %w", err), "The database refused the statement")
}
