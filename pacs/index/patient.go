package index

import (
	"context"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// knownPatient is a row that came under the same facility, issuer and ID, now
// or before a correction.
type knownPatient struct {
	id      int64
	variant int // of the identity that was asked for
	pacs.Patient
	fold    string
	amended bool
	merged  bool
}

// owner is whose study an addition is.
type owner struct {
	patient  int64
	received int64 // the patient it came under when that one was merged since; else 0
	amended  bool  // the images may say something else than the patient's row
}

// lockOf is the advisory lock of a facility's patients. Receiving shares it;
// whoever changes patients holds it alone, so that nothing arrives meanwhile.
const lockOf = `hashtextextended('patients of facility', $1)`

// LockPatients keeps everybody from adding to a facility's patients until tx
// ends. It waits for additions under way.
func LockPatients(ctx context.Context, tx pgx.Tx, facility int64) error {
	_, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(`+lockOf+`)`, facility)
	return fail(err)
}

// SharePatients keeps a facility's patients as they are until tx ends.
func SharePatients(ctx context.Context, tx pgx.Tx, facility int64) error {
	_, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock_shared(`+lockOf+`)`, facility)
	return fail(err)
}

// addPatient finds or makes the patient of an addition.
//
// The first study names the patient; later ones fill in what was empty.
// Corrections are an administrator's act, not a side effect of receiving. Two
// people who come under one ID (a number given twice, an emergency device that
// sends none) stay two: showing one's pictures under the other's name is worse
// than a prior that is not found.
//
// Images go on coming as they did before an administrator's act: under the
// demographics from before a correction, the ID of a record that was merged,
// the patient a study was moved away from. They follow to where that act put
// them and change nothing there.
func addPatient(ctx context.Context, tx pgx.Tx, facility int64, a Addition) (owner, error) {
	p := normalized(a.Patient)
	fold := text(pacs.Fold(p.Name), maxName)
	// Additions of one patient take turns: the row may not be there to lock.
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock_shared(`+lockOf+`), pg_advisory_xact_lock(hashtextextended($2, $1))`,
		facility, p.Issuer+"\n"+p.PatientID); err != nil {
		return owner{}, err
	}
	known, err := knownPatients(ctx, tx, `JOIN study s ON s.patient_row = p.id WHERE s.study_uid = $1`, `p.variant`, a.Study.StudyInstanceUID)
	if err != nil {
		return owner{}, err
	}
	if len(known) > 0 {
		return ownerOfStudy(ctx, tx, &known[0], a.Study.StudyInstanceUID, p, fold)
	}
	variant := 0
	if p.PatientID == "" {
		// Nobody is found by having no ID.
		err = tx.QueryRow(ctx, `
			SELECT coalesce(max(variant) + 1, 0) FROM (
				SELECT variant FROM patient WHERE facility_row = $1 AND issuer = $2 AND patient_id = ''
				UNION ALL
				SELECT variant FROM patient_alias WHERE facility_row = $1 AND issuer = $2 AND patient_id = '') taken`,
			facility, p.Issuer).Scan(&variant)
	} else {
		known, err = knownPatients(ctx, tx, `JOIN (
				SELECT id, variant FROM patient WHERE facility_row = $1 AND issuer = $2 AND patient_id = $3
				UNION
				SELECT patient_row, variant FROM patient_alias WHERE facility_row = $1 AND issuer = $2 AND patient_id = $3) k ON k.id = p.id`,
			`k.variant`, facility, p.Issuer, p.PatientID)
	}
	if err != nil {
		return owner{}, err
	}
	for i := range known {
		k := &known[i]
		variant = k.variant + 1
		switch {
		case !k.amended && !k.merged:
			if k.mayBe(p, fold) {
				return owner{patient: k.id}, k.complete(ctx, tx, p, fold)
			}
		default:
			living, fits, err := k.hasBeen(ctx, tx, p, fold)
			if err != nil {
				return owner{}, err
			}
			if fits {
				o := owner{patient: living, amended: true}
				if k.id != living {
					o.received = k.id
				}
				return o, nil
			}
		}
	}
	var id int64
	err = tx.QueryRow(ctx, `
		INSERT INTO patient (facility_row, issuer, patient_id, variant, name, name_fold, sex, birth_date, pinfl)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING id`,
		facility, p.Issuer, p.PatientID, variant, p.Name, fold, p.Sex, p.BirthDate, p.PINFL).Scan(&id)
	return owner{patient: id}, err
}

// ownerOfStudy checks further images of a study: a study has one patient,
// however its images spell the name.
func ownerOfStudy(ctx context.Context, tx pgx.Tx, k *knownPatient, studyUID string, p pacs.Patient, fold string) (owner, error) {
	o := owner{patient: k.id, amended: k.amended}
	if k.Issuer == p.Issuer && k.PatientID == p.PatientID {
		if k.amended {
			return o, nil
		}
		return o, k.complete(ctx, tx, p, fold)
	}
	identities, err := identitiesOf(ctx, tx, studyUID)
	if err != nil {
		return o, err
	}
	if !slices.Contains(identities, identityOf(p)) {
		return o, errOtherPatient
	}
	o.amended = true
	return o, nil
}

// knownPatients reads patient rows; from continues the FROM clause behind
// "patient p" and variant says which column that is.
func knownPatients(ctx context.Context, tx pgx.Tx, from, variant string, args ...any) ([]knownPatient, error) {
	rows, err := tx.Query(ctx, `
		SELECT p.id, `+variant+` AS known_as, p.issuer, p.patient_id, p.name, p.name_fold, p.sex, p.birth_date, p.pinfl, p.amended, p.merged_into IS NOT NULL
		FROM patient p `+from+` ORDER BY known_as, p.id`, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (knownPatient, error) {
		var k knownPatient
		err := row.Scan(&k.id, &k.variant, &k.Issuer, &k.PatientID, &k.Name, &k.fold, &k.Sex, &k.BirthDate, &k.PINFL, &k.amended, &k.merged)
		return k, err
	})
}

// hasBeen compares with everything the person was known as: the patient that k
// is now (living), all records merged into it, and each as it was before its
// corrections.
func (k *knownPatient) hasBeen(ctx context.Context, tx pgx.Tx, p pacs.Patient, fold string) (living int64, fits bool, err error) {
	rows, err := tx.Query(ctx, `
		WITH RECURSIVE up AS (
			SELECT id, merged_into FROM patient WHERE id = $1
			UNION ALL
			SELECT p.id, p.merged_into FROM patient p JOIN up ON p.id = up.merged_into),
		tree AS (
			SELECT id FROM up WHERE merged_into IS NULL
			UNION
			SELECT p.id FROM patient p JOIN tree t ON p.merged_into = t.id)
		SELECT (SELECT id FROM up WHERE merged_into IS NULL), name_fold, sex, birth_date, pinfl FROM patient WHERE id IN (SELECT id FROM tree)
		UNION ALL
		SELECT (SELECT id FROM up WHERE merged_into IS NULL), name_fold, sex, birth_date, pinfl FROM patient_alias WHERE patient_row IN (SELECT id FROM tree)`, k.id)
	if err != nil {
		return 0, false, err
	}
	var face knownPatient
	_, err = pgx.ForEachRow(rows, []any{&living, &face.fold, &face.Sex, &face.BirthDate, &face.PINFL}, func() error {
		fits = fits || face.mayBe(p, fold)
		return nil
	})
	return living, fits, err
}

// identityPair is what the sender calls a patient.
type identityPair struct{ issuer, patientID string }

func identityOf(p pacs.Patient) identityPair { return identityPair{p.Issuer, p.PatientID} }

// identitiesOf returns the identities under which images of a study may come:
// those its patient has or had, those of records merged into that patient, and
// those of the patient it came under.
func identitiesOf(ctx context.Context, q querier, studyUID string) ([]identityPair, error) {
	rows, err := q.Query(ctx, `
		WITH RECURSIVE tree AS (
			SELECT unnest(ARRAY[patient_row, received_patient]) AS id FROM study WHERE study_uid = $1
			UNION
			SELECT p.id FROM patient p JOIN tree t ON p.merged_into = t.id)
		SELECT issuer, patient_id FROM patient WHERE id IN (SELECT id FROM tree)
		UNION
		SELECT issuer, patient_id FROM patient_alias WHERE patient_row IN (SELECT id FROM tree)`, studyUID)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (i identityPair, err error) {
		err = row.Scan(&i.issuer, &i.patientID)
		return i, err
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
