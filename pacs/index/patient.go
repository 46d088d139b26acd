package index

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// knownPatient is a row that came under the same facility, issuer and ID.
type knownPatient struct {
	id      int64
	variant int
	pacs.Patient
	fold string
}

// addPatient finds or makes the patient of an addition and returns their row.
//
// The first study names the patient; later ones fill in what was empty.
// Corrections are an administrator's act, not a side effect of receiving. Two
// people who come under one ID (a number given twice, an emergency device that
// sends none) stay two: showing one's pictures under the other's name is worse
// than a prior that is not found.
func addPatient(ctx context.Context, tx pgx.Tx, facility int64, a Addition) (int64, error) {
	p := normalized(a.Patient)
	fold := text(pacs.Fold(p.Name), maxName)
	// Additions of one patient take turns: the row may not be there to lock.
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended($1, $2))`, p.Issuer+"\n"+p.PatientID, facility); err != nil {
		return 0, err
	}
	owner, err := knownPatients(ctx, tx, `id = (SELECT patient_row FROM study WHERE study_uid = $1)`, a.Study.StudyInstanceUID)
	if err != nil {
		return 0, err
	}
	if len(owner) > 0 {
		// A study has one patient, however its images spell the name.
		if owner[0].Issuer != p.Issuer || owner[0].PatientID != p.PatientID {
			return 0, errOtherPatient
		}
		return owner[0].id, owner[0].complete(ctx, tx, p, fold)
	}
	known, err := knownPatients(ctx, tx, `facility_row = $1 AND issuer = $2 AND patient_id = $3`, facility, p.Issuer, p.PatientID)
	if err != nil {
		return 0, err
	}
	variant := 0
	for _, k := range known {
		variant = k.variant + 1
		if p.PatientID != "" && k.mayBe(p, fold) {
			return k.id, k.complete(ctx, tx, p, fold)
		}
	}
	var id int64
	err = tx.QueryRow(ctx, `
		INSERT INTO patient (facility_row, issuer, patient_id, variant, name, name_fold, sex, birth_date, pinfl)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING id`,
		facility, p.Issuer, p.PatientID, variant, p.Name, fold, p.Sex, p.BirthDate, p.PINFL).Scan(&id)
	return id, err
}

func knownPatients(ctx context.Context, tx pgx.Tx, condition string, args ...any) ([]knownPatient, error) {
	rows, err := tx.Query(ctx, `
		SELECT id, variant, issuer, patient_id, name, name_fold, sex, birth_date, pinfl FROM patient
		WHERE `+condition+` ORDER BY variant`, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (knownPatient, error) {
		var k knownPatient
		err := row.Scan(&k.id, &k.variant, &k.Issuer, &k.PatientID, &k.Name, &k.fold, &k.Sex, &k.BirthDate, &k.PINFL)
		return k, err
	})
}

// mayBe reports whether nothing speaks against the two being one person:
// birth date, sex and PINFL don't differ where both are given, and the names
// share a word in some spelling.
func (k *knownPatient) mayBe(p pacs.Patient, fold string) bool {
	differ := func(a, b string) bool { return a != "" && b != "" && a != b }
	return !differ(k.BirthDate, p.BirthDate) && !differ(k.Sex, p.Sex) && !differ(k.PINFL, p.PINFL) && shareWord(k.fold, fold)
}

// shareWord compares folded names. Initials prove nothing, so a name without
// a longer word agrees with every other.
func shareWord(a, b string) bool {
	words := func(name string) map[string]bool {
		set := map[string]bool{}
		for _, w := range strings.Fields(name) {
			if len(w) > 1 {
				set[w] = true
			}
		}
		return set
	}
	left, right := words(a), words(b)
	if len(left) == 0 || len(right) == 0 {
		return true
	}
	for w := range left {
		if right[w] {
			return true
		}
	}
	return false
}

// complete fills in what was empty.
func (k *knownPatient) complete(ctx context.Context, tx pgx.Tx, p pacs.Patient, fold string) error {
	news := k.Name == "" && p.Name != "" || k.Sex == "" && p.Sex != "" || k.BirthDate == "" && p.BirthDate != "" || k.PINFL == "" && p.PINFL != ""
	if !news {
		return nil
	}
	_, err := tx.Exec(ctx, `
		UPDATE patient SET
			name       = CASE WHEN name = '' THEN $2 ELSE name END,
			name_fold  = CASE WHEN name = '' THEN $3 ELSE name_fold END,
			sex        = CASE WHEN sex = '' THEN $4 ELSE sex END,
			birth_date = CASE WHEN birth_date = '' THEN $5 ELSE birth_date END,
			pinfl      = CASE WHEN pinfl = '' THEN $6 ELSE pinfl END,
			updated_at = clock_timestamp()
		WHERE id = $1`, k.id, p.Name, fold, p.Sex, p.BirthDate, p.PINFL)
	return err
}
