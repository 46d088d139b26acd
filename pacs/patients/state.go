package patients

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// ref names a patient within a facility for good: the identity under which the
// row was made. Rows have numbers of their own after a rebuild.
type ref string

func refOf(issuer, patientID string, variant int) ref {
	return ref(strconv.Quote(issuer) + " " + strconv.Quote(patientID) + " " + strconv.Itoa(variant))
}

// State is some patients and studies of one facility at one moment.
type State struct {
	Patients []PatientState `json:"patients,omitempty"`
	Studies  []StudyState   `json:"studies,omitempty"`
}

// Face is how a patient is or was known.
type Face struct {
	Issuer    string `json:"issuer"`
	PatientID string `json:"patient_id"`
	Variant   int    `json:"variant,omitempty"`
	Name      string `json:"name,omitempty"`
	Sex       string `json:"sex,omitempty"`
	BirthDate string `json:"birth_date,omitempty"`
	PINFL     string `json:"pinfl,omitempty"`
}

// PatientState is a row of the index.
type PatientState struct {
	Ref ref `json:"ref"`
	Face
	// Aliases are what it was known as before, oldest first.
	Aliases    []Face `json:"aliases,omitempty"`
	MergedInto ref    `json:"merged_into,omitempty"`

	revision int
}

// StudyState is whose a study is.
type StudyState struct {
	StudyUID string `json:"study"`
	Patient  ref    `json:"patient"`
	// Received is the patient it came under, when it is another's.
	Received ref  `json:"received,omitempty"`
	Amended  bool `json:"amended,omitempty"`
}

func (s *State) patient(r ref) *PatientState {
	for i := range s.Patients {
		if s.Patients[i].Ref == r {
			return &s.Patients[i]
		}
	}
	return nil
}

// session is a transaction that holds, or shares, a facility's patients.
type session struct {
	context.Context
	tx       pgx.Tx
	facility int64
	code     string
	rows     map[ref]int64
	refs     map[int64]ref
}

// know remembers which row a patient has.
func (s *session) know(r ref, row int64) {
	if s.rows == nil {
		s.rows, s.refs = map[ref]int64{}, map[int64]ref{}
	}
	s.rows[r], s.refs[row] = row, r
}

// load reads a living patient and gives it the name it has for good.
func (s *session) load(row int64) (PatientState, error) {
	p, err := s.read(row)
	if err == nil && p.MergedInto != "" {
		return p, pacs.Errorf(pacs.Conflict, "The record was merged into another one")
	}
	return p, err
}

func (s *session) read(row int64) (PatientState, error) {
	var p PatientState
	var into *int64
	var origin *string
	err := s.tx.QueryRow(s, `
		SELECT issuer, patient_id, variant, name, sex, birth_date, pinfl, merged_into, revision, origin
		FROM patient WHERE id = $1 AND facility_row = $2`, row, s.facility).
		Scan(&p.Issuer, &p.PatientID, &p.Variant, &p.Name, &p.Sex, &p.BirthDate, &p.PINFL, &into, &p.revision, &origin)
	if errors.Is(err, pgx.ErrNoRows) {
		return p, errNoPatient
	}
	if err != nil {
		return p, err
	}
	if origin == nil {
		p.Ref = refOf(p.Issuer, p.PatientID, p.Variant)
		if _, err := s.tx.Exec(s, `UPDATE patient SET origin = $2 WHERE id = $1`, row, p.Ref); err != nil {
			return p, err
		}
	} else {
		p.Ref = ref(*origin)
	}
	s.know(p.Ref, row)
	if into != nil {
		if p.MergedInto, err = s.refOf(*into); err != nil {
			return p, err
		}
	}
	rows, err := s.tx.Query(s, `
		SELECT issuer, patient_id, variant, name, sex, birth_date, pinfl FROM patient_alias WHERE patient_row = $1 ORDER BY position`, row)
	if err != nil {
		return p, err
	}
	p.Aliases, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Face])
	return p, err
}

// refOf is the name of a patient to whom something was done before.
func (s *session) refOf(row int64) (ref, error) {
	if r, ok := s.refs[row]; ok {
		return r, nil
	}
	p, err := s.read(row)
	return p.Ref, err
}

// studies reads the studies that fit a condition over study s.
func (s *session) studies(condition string, args ...any) ([]StudyState, error) {
	rows, err := s.tx.Query(s, `
		SELECT s.study_uid, s.patient_row, coalesce(s.received_patient, 0), s.amended FROM study s
		WHERE `+condition+` ORDER BY s.id`, args...)
	if err != nil {
		return nil, err
	}
	type row struct {
		uid               string
		patient, received int64
		amended           bool
	}
	list, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (x row, err error) {
		err = r.Scan(&x.uid, &x.patient, &x.received, &x.amended)
		return x, err
	})
	if err != nil {
		return nil, err
	}
	out := make([]StudyState, len(list))
	for i, x := range list {
		out[i] = StudyState{StudyUID: x.uid, Amended: x.amended}
		if out[i].Patient, err = s.refOf(x.patient); err != nil {
			return nil, err
		}
		if x.received != 0 {
			if out[i].Received, err = s.refOf(x.received); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// studiesOf reads all studies of a patient.
func (s *session) studiesOf(r ref) ([]StudyState, error) {
	return s.studies(`s.patient_row = $1`, s.rows[r])
}

// apply makes the rows what the state says. Patients that have no row yet get
// one.
func (s *session) apply(state State, at time.Time) error {
	for i := range state.Patients {
		if err := s.applyPatient(&state.Patients[i], at); err != nil {
			return err
		}
	}
	touched := make([]int64, 0, 2*len(state.Patients))
	for i := range state.Patients {
		p := &state.Patients[i]
		var into *int64
		if p.MergedInto != "" {
			row := s.rows[p.MergedInto]
			into = &row
			touched = append(touched, row)
		}
		touched = append(touched, s.rows[p.Ref])
		if _, err := s.tx.Exec(s, `UPDATE patient SET merged_into = $2 WHERE id = $1`, s.rows[p.Ref], into); err != nil {
			return err
		}
	}
	for _, study := range state.Studies {
		var received *int64
		if row, ok := s.rows[study.Received]; ok && study.Received != "" {
			received = &row
		}
		if _, err := s.tx.Exec(s, `
			UPDATE study SET patient_row = $3, received_patient = $4, amended = $5, recorded = true,
				amended_at = CASE WHEN $5 THEN $6::timestamptz END
			WHERE study_uid = $1 AND facility_row = $2`,
			study.StudyUID, s.facility, s.rows[study.Patient], received, study.Amended, at); err != nil {
			return err
		}
	}
	// Receiving leaves alone whom people have looked after.
	_, err := s.tx.Exec(s, `
		UPDATE patient p SET amended = merged_into IS NOT NULL
			OR EXISTS (SELECT FROM patient_alias a WHERE a.patient_row = p.id)
			OR EXISTS (SELECT FROM patient m WHERE m.merged_into = p.id)
		WHERE id = ANY($1)`, touched)
	return err
}

func (s *session) applyPatient(p *PatientState, at time.Time) error {
	f := p.Face
	row, ok := s.rows[p.Ref]
	if !ok {
		err := s.tx.QueryRow(s, `
			INSERT INTO patient (facility_row, issuer, patient_id, variant, origin) VALUES ($1, $2, $3, $4, $5) RETURNING id`,
			s.facility, f.Issuer, f.PatientID, f.Variant, p.Ref).Scan(&row)
		if err != nil {
			return err
		}
		s.know(p.Ref, row)
	}
	if _, err := s.tx.Exec(s, `
		UPDATE patient SET issuer = $2, patient_id = $3, variant = $4, name = $5, name_fold = $6, sex = $7, birth_date = $8, pinfl = $9,
			revision = revision + 1, updated_at = $10 WHERE id = $1`,
		row, f.Issuer, f.PatientID, f.Variant, f.Name, fold(f.Name), f.Sex, f.BirthDate, f.PINFL, at); err != nil {
		return err
	}
	if _, err := s.tx.Exec(s, `DELETE FROM patient_alias WHERE patient_row = $1`, row); err != nil {
		return err
	}
	for i, a := range p.Aliases {
		if _, err := s.tx.Exec(s, `
			INSERT INTO patient_alias (patient_row, position, facility_row, issuer, patient_id, variant, name, name_fold, sex, birth_date, pinfl)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
			row, i+1, s.facility, a.Issuer, a.PatientID, a.Variant, a.Name, fold(a.Name), a.Sex, a.BirthDate, a.PINFL); err != nil {
			return err
		}
	}
	return nil
}

// fold is the search key of a name, as the index makes it.
func fold(name string) string {
	const longest = 1024
	f := pacs.Fold(name)
	if len(f) <= longest {
		return f
	}
	cut := []rune(f)
	for len(string(cut)) > longest {
		cut = cut[:len(cut)-1]
	}
	return string(cut)
}

// free returns the variant under which an identity can be given to a patient:
// the one it had itself before, or one that nobody ever had.
func (s *session) free(p *PatientState, issuer, patientID string) (int, error) {
	if i := slices.IndexFunc(p.Aliases, func(a Face) bool { return a.Issuer == issuer && a.PatientID == patientID }); i >= 0 {
		return p.Aliases[i].Variant, nil
	}
	var next int
	err := s.tx.QueryRow(s, `
		SELECT coalesce(max(variant) + 1, 0) FROM (
			SELECT variant FROM patient WHERE facility_row = $1 AND issuer = $2 AND patient_id = $3
			UNION ALL
			SELECT variant FROM patient_alias WHERE facility_row = $1 AND issuer = $2 AND patient_id = $3) taken`,
		s.facility, issuer, patientID).Scan(&next)
	return next, err
}

// taken refuses an ID that another patient has.
func (s *session) taken(issuer, patientID string, except int64) error {
	if patientID == "" {
		return nil
	}
	var others bool
	err := s.tx.QueryRow(s, `
		WITH RECURSIVE up AS (
			SELECT id, merged_into FROM patient WHERE facility_row = $1 AND issuer = $2 AND patient_id = $3
			UNION
			SELECT p.id, p.merged_into FROM patient p JOIN up ON p.id = up.merged_into)
		SELECT EXISTS (SELECT FROM up WHERE merged_into IS NULL AND id <> $4)`, s.facility, issuer, patientID, except).Scan(&others)
	if err == nil && others {
		err = pacs.Errorf(pacs.Conflict, "Another patient of the facility has this ID. If it is the same person merge the records, or move the study there")
	}
	return err
}

var errNoPatient = pacs.Errorf(pacs.NotFound, "There is no such patient")
