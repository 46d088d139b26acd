package patients

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/index"
)

// standsOn is true of an operation later that touches what an operation o
// changed, or changed what o relies on.
const standsOn = `later.facility_row = o.facility_row AND later.id > o.id AND later.kind <> 'undo' AND later.undone_by IS NULL
	AND (later.writes && o.writes OR later.requires && o.writes OR later.writes && o.requires)`

// Undo takes an operation back: it restores exactly what it changed. Studies
// that came in between go where they would have gone without it.
//
//	Invalid    no reason
//	NotFound   no such operation in scope
//	Conflict   a later operation stands on it; it is undone already, or an undo
func (p *Patients) Undo(ctx context.Context, who *access.Identity, id int64, why string) (*Detail, error) {
	var facility int64
	err := p.pool.QueryRow(ctx, `SELECT facility_row FROM patient_operation WHERE id = $1`, id).Scan(&facility)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && !who.Scope.Sees(facility) {
		return nil, errNoOperation
	}
	if err != nil {
		return nil, failure(err)
	}
	return p.done(ctx, who)(p.run(ctx, who, facility, Undo, why, func(o *operation) error {
		var document []byte
		var undone, stands bool
		var other *int64
		if err := o.tx.QueryRow(o, `
			SELECT o.patient_row, o.other_row, o.undone_by IS NOT NULL, a.document, EXISTS (SELECT FROM patient_operation later WHERE `+standsOn+`)
			FROM patient_operation o JOIN amendment a ON a.key = o.key WHERE o.id = $1`, id).
			Scan(&o.patient, &other, &undone, &document, &stands); err != nil {
			return err
		}
		var done Document
		if err := json.Unmarshal(document, &done); err != nil {
			return err
		}
		switch {
		case done.Kind == Undo:
			return pacs.Errorf(pacs.Conflict, "Undoing can't be undone; do again what was undone")
		case undone:
			return pacs.Errorf(pacs.Conflict, "This was undone already")
		case stands:
			return pacs.Errorf(pacs.Conflict, "Something was done to these records later that stands on it; undo that first")
		}
		if other != nil {
			o.other = *other
		}
		o.undoes, o.shown = id, o.patient
		if err := o.tx.QueryRow(o, `SELECT key FROM patient_operation WHERE id = $1`, id).Scan(&o.doc.Undoes); err != nil {
			return err
		}
		o.changes = []index.Change{{Kind: index.PatientUndone, Patient: o.patient, Into: o.other}}
		if done.Kind == Move {
			o.changes[0].StudyUID = done.Before.Studies[0].StudyUID
		}
		return o.takeBack(&done)
	}))
}

// takeBack works out the state without the operation.
func (o *operation) takeBack(done *Document) error {
	main, err := o.read(o.patient)
	if err != nil {
		return err
	}
	o.doc.Before.Patients = []PatientState{main}
	if o.other != 0 {
		other, err := o.read(o.other)
		if err != nil {
			return err
		}
		o.doc.Before.Patients = append(o.doc.Before.Patients, other)
	}
	after := State{Patients: slices.Clone(o.doc.Before.Patients)}
	now, err := o.studies(`s.patient_row = ANY($1)`, []int64{o.patient, o.other})
	if err != nil {
		return err
	}
	o.doc.Before.Studies = now
	// What the operation knew of; anything else came later.
	known := map[string]StudyState{}
	for _, s := range done.Before.Studies {
		known[s.StudyUID] = s
	}
	switch done.Kind {
	case Correct:
		was := done.Before.patient(main.Ref)
		after.Patients[0].Face, after.Patients[0].Aliases = was.Face, was.Aliases
		for _, s := range now {
			if before, ok := known[s.StudyUID]; ok && before.Patient == main.Ref {
				s.Amended = before.Amended
				after.Studies = append(after.Studies, s)
			}
		}
	case Move:
		after.Studies = done.Before.Studies
	case Merge:
		after.Patients[0].MergedInto = ""
		for _, s := range done.Before.Studies {
			if s.Patient == main.Ref {
				after.Studies = append(after.Studies, s)
			}
		}
		arrived, err := o.arrived(main.Ref, now, known)
		if err != nil {
			return err
		}
		others := false
		if err := o.tx.QueryRow(o, `SELECT EXISTS (SELECT FROM patient WHERE merged_into = $1)`, o.patient).Scan(&others); err != nil {
			return err
		}
		for _, s := range arrived {
			s.Patient = main.Ref
			if s.Received == main.Ref {
				// Nothing was done to them but the merge.
				s.Received, s.Amended = "", others || len(main.Aliases) > 0
			}
			after.Studies = append(after.Studies, s)
		}
	case Split:
		made := &after.Patients[1]
		made.MergedInto = main.Ref
		for _, s := range now {
			if before, ok := known[s.StudyUID]; ok {
				after.Studies = append(after.Studies, before)
			} else if s.Patient == made.Ref {
				after.Studies = append(after.Studies, moved([]StudyState{s}, main.Ref)...)
			}
		}
	}
	o.doc.After = after
	return nil
}

// arrived are the studies that came under a merged record, or one merged into
// it before, since the merge, and that nobody has moved since.
func (o *operation) arrived(r ref, now []StudyState, known map[string]StudyState) ([]StudyState, error) {
	rows, err := o.tx.Query(o, `
		WITH RECURSIVE tree AS (
			SELECT id FROM patient WHERE id = $1
			UNION
			SELECT p.id FROM patient p JOIN tree t ON p.merged_into = t.id)
		SELECT id FROM tree`, o.rows[r])
	if err != nil {
		return nil, err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, err
	}
	var out []StudyState
	for _, s := range now {
		if _, ok := known[s.StudyUID]; ok || s.Received == "" || s.Patient != o.refs[o.other] || !slices.Contains(ids, o.rows[s.Received]) {
			continue
		}
		var handled bool
		if err := o.tx.QueryRow(o, `
			SELECT EXISTS (SELECT FROM patient_operation WHERE facility_row = $1 AND id > $2 AND kind <> 'undo' AND undone_by IS NULL AND writes @> ARRAY[$3])`,
			o.facility, o.undoes, belonging(s.StudyUID)).Scan(&handled); err != nil {
			return nil, err
		}
		if !handled {
			out = append(out, s)
		}
	}
	return out, nil
}

var errNoOperation = pacs.Errorf(pacs.NotFound, "There is no such operation")
