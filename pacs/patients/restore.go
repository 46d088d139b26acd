package patients

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
)

// maxDocument is the longest document in bytes that Restore reads: a patient
// with hundreds of thousands of studies.
const maxDocument = 256 << 20

// Restore does again, in order, what object storage says was done to patients
// and the database doesn't know. It is for a database that was rebuilt from the
// packs, and changes nothing in one that has all. It returns how many documents
// it has brought back.
func (p *Patients) Restore(ctx context.Context) (n int, err error) {
	emptied := map[int64]bool{}
	for object, err := range p.store.List(ctx, prefix) {
		if err != nil {
			return n, pacs.Wrap(pacs.Unavailable, err, "The object store can't be listed")
		}
		var there bool
		if err := p.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM amendment WHERE key = $1)`, object.Key).Scan(&there); err != nil {
			return n, failure(err)
		}
		if there {
			continue
		}
		if object.Size > maxDocument {
			return n, pacs.Errorf(pacs.TooLarge, "%s is no record of ours: it has %d bytes", object.Key, object.Size)
		}
		document, err := p.read(ctx, object.Key)
		if err != nil {
			return n, err
		}
		if err := p.restore(ctx, object.Key, document, emptied); err != nil {
			return n, failure(err)
		}
		n++
	}
	return n, p.dropEmpty(ctx, emptied)
}

func (p *Patients) read(ctx context.Context, key string) ([]byte, error) {
	body, err := p.store.Get(ctx, key, 0, -1)
	if err != nil {
		return nil, pacs.Wrap(pacs.Unavailable, err, "The object store does not give a record")
	}
	content, err := io.ReadAll(body)
	if err = errors.Join(err, body.Close()); err != nil {
		return nil, pacs.Wrap(pacs.Unavailable, err, "The object store does not give a record")
	}
	return content, nil
}

// restore does one document again.
func (p *Patients) restore(ctx context.Context, key string, document []byte, emptied map[int64]bool) error {
	var d Document
	if err := json.Unmarshal(document, &d); err != nil || d.Format != 1 {
		return pacs.Wrap(pacs.Invalid, fmt.Errorf("format %d: %w", d.Format, err), key+" is not a record that this version understands; use a newer one, or move it away")
	}
	return pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		o := &operation{session: session{Context: ctx, tx: tx, code: d.Facility}, doc: d}
		if _, err := tx.Exec(ctx, `INSERT INTO facility (code, name) VALUES ($1, $1) ON CONFLICT (code) DO NOTHING`, d.Facility); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, `SELECT id FROM facility WHERE code = $1`, d.Facility).Scan(&o.facility); err != nil {
			return err
		}
		if err := index.LockPatients(ctx, tx, o.facility); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO amendment (key, document, stored_at) VALUES ($1, $2, clock_timestamp())`, key, document); err != nil {
			return err
		}
		if err := o.resolve(); err != nil {
			return err
		}
		if err := o.owners(emptied); err != nil {
			return err
		}
		if err := o.apply(d.After, d.At); err != nil {
			return err
		}
		if d.Kind == arrival {
			return nil
		}
		o.patient, o.other = o.rows[d.Patient], o.rows[d.Other]
		var undoes int64
		if d.Undoes != "" {
			if err := tx.QueryRow(ctx, `SELECT id FROM patient_operation WHERE key = $1`, d.Undoes).Scan(&undoes); err != nil {
				return err
			}
		}
		_, err := o.insert(key, undoes)
		return err
	})
}

// resolve finds the rows of the patients a document names.
func (o *operation) resolve() error {
	refs := map[ref]bool{o.doc.Patient: true, o.doc.Other: true}
	for _, state := range []State{o.doc.Before, o.doc.After} {
		for _, p := range state.Patients {
			refs[p.Ref], refs[p.MergedInto] = true, true
		}
		for _, s := range state.Studies {
			refs[s.Patient], refs[s.Received] = true, true
		}
	}
	delete(refs, "")
	for r := range refs {
		row, err := o.resolveOne(r)
		if err != nil {
			return err
		}
		if row != 0 {
			o.know(r, row)
		}
	}
	for i := range o.doc.After.Patients {
		if err := o.giveWay(&o.doc.After.Patients[i]); err != nil {
			return err
		}
	}
	return nil
}

// resolveOne finds a patient by the name an earlier document gave it, by its
// studies, or by how it was known; 0 when it has no row.
func (o *operation) resolveOne(r ref) (row int64, err error) {
	var studies []string
	for _, s := range o.doc.Before.Studies {
		if s.Patient == r && s.Received == "" {
			studies = append(studies, s.StudyUID)
		}
	}
	known := o.doc.Before.patient(r)
	if known == nil {
		known = o.doc.After.patient(r)
	}
	if known == nil {
		known = &PatientState{}
	}
	for _, try := range []struct {
		sql  string
		args []any
	}{
		{`SELECT id FROM patient WHERE facility_row = $1 AND origin = $2`, []any{o.facility, r}},
		{`SELECT p.id FROM patient p JOIN study s ON s.patient_row = p.id WHERE p.facility_row = $1 AND p.origin IS NULL AND s.study_uid = ANY($2)
			GROUP BY p.id ORDER BY count(*) DESC, p.id LIMIT 1`, []any{o.facility, orEmpty(studies)}},
		{`SELECT id FROM patient WHERE facility_row = $1 AND origin IS NULL AND issuer = $2 AND patient_id = $3 AND name = $4
			ORDER BY variant = $5 DESC, variant LIMIT 1`, []any{o.facility, known.Issuer, known.PatientID, known.Name, known.Variant}},
	} {
		err = o.tx.QueryRow(o, try.sql, try.args...).Scan(&row)
		if err == nil {
			_, err = o.tx.Exec(o, `UPDATE patient SET origin = $2 WHERE id = $1`, row, r)
			return row, err
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return 0, err
		}
	}
	return 0, nil
}

// giveWay takes an identity away from another row that has got it in a rebuilt
// index, where people who share an ID may be numbered otherwise.
func (o *operation) giveWay(p *PatientState) error {
	_, err := o.tx.Exec(o, `
		UPDATE patient SET variant = (
			SELECT max(variant) + 1 FROM (
				SELECT variant FROM patient WHERE facility_row = $1 AND issuer = $2 AND patient_id = $3
				UNION ALL
				SELECT variant FROM patient_alias WHERE facility_row = $1 AND issuer = $2 AND patient_id = $3) taken)
		WHERE facility_row = $1 AND issuer = $2 AND patient_id = $3 AND variant = $4 AND id <> $5`,
		o.facility, p.Issuer, p.PatientID, p.Variant, o.rows[p.Ref])
	return err
}

// owners remembers whose the studies are that a document gives to others.
func (o *operation) owners(emptied map[int64]bool) error {
	uids := make([]string, len(o.doc.After.Studies))
	for i, s := range o.doc.After.Studies {
		uids[i] = s.StudyUID
	}
	rows, err := o.tx.Query(o, `SELECT DISTINCT patient_row FROM study WHERE study_uid = ANY($1)`, uids)
	if err != nil {
		return err
	}
	var row int64
	_, err = pgx.ForEachRow(rows, []any{&row}, func() error {
		emptied[row] = true
		return nil
	})
	return err
}

// dropEmpty removes records that reindexing has made for images which, when
// they came, went to somebody else's: nobody's studies are left in them.
func (p *Patients) dropEmpty(ctx context.Context, rows map[int64]bool) error {
	for row := range rows {
		if _, err := p.pool.Exec(ctx, `
			DELETE FROM patient p WHERE id = $1 AND origin IS NULL
				AND NOT EXISTS (SELECT FROM study WHERE patient_row = p.id OR received_patient = p.id)`, row); err != nil {
			return failure(err)
		}
	}
	return nil
}
