package patients

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
)

// Detail is all there is to know of a patient.
type Detail struct {
	index.PatientRecord
	Received *Face // as they first came, when that is something else
	List     []Study
	Linked   []index.PatientRecord // with the same PINFL, at other facilities in scope
	History  []Operation           // newest first
}

// Study is one of a patient's studies.
type Study struct {
	pacs.Study
	Moved bool // it came under another patient
}

// Operation is a line of a patient's history.
type Operation struct {
	ID            int64
	Kind          string
	At            time.Time
	Who, Why      string
	Before, After *Face // of the patient that was corrected, or made by a split
	Patient       int64 // row of the patient it was done to
	Other         int64 // row of the other patient, 0 for none
	Studies       []string
	Undoes        int64
	UndoneBy      int64
	Undoable      bool
}

// Find returns the patients in scope whose name in any script, ID or PINFL
// matches text, and the cursor of the next page. Invalid without a text.
func (p *Patients) Find(ctx context.Context, scope pacs.Scope, text, facility string, page pacs.Page) ([]index.PatientRecord, string, error) {
	if strings.Trim(text, "*? ") == "" {
		return nil, "", pacs.Errorf(pacs.Invalid, "Give part of a name, an ID, or a PINFL")
	}
	return p.index.Patients(ctx, scope, index.PatientFilter{Text: text, Facility: facility, Page: page})
}

// maxListed bounds what is shown of a patient's studies and history.
const maxListed = 1000

// Get returns a patient. NotFound outside the scope and for merged records.
func (p *Patients) Get(ctx context.Context, scope pacs.Scope, id int64) (*Detail, error) {
	if id <= 0 {
		return nil, errNoPatient
	}
	found, _, err := p.index.Patients(ctx, scope, index.PatientFilter{ID: id, Page: pacs.Page{Limit: 1}})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, errNoPatient
	}
	d := &Detail{PatientRecord: found[0]}
	if d.PINFL != "" {
		if d.Linked, _, err = p.index.Patients(ctx, scope, index.PatientFilter{LinkedTo: id, Page: pacs.Page{Limit: 100}}); err != nil {
			return nil, err
		}
	}
	if err := p.fill(ctx, scope, d); err != nil {
		return nil, failure(err)
	}
	return d, nil
}

func (p *Patients) fill(ctx context.Context, scope pacs.Scope, d *Detail) error {
	rows, err := p.pool.Query(ctx, `
		SELECT issuer, patient_id, variant, name, sex, birth_date, pinfl FROM patient_alias WHERE patient_row = $1 ORDER BY position LIMIT 1`, d.ID)
	if err != nil {
		return err
	}
	first, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Face])
	if err != nil {
		return err
	}
	now := Face{d.Issuer, d.PatientID, d.Variant, d.Name, d.Sex, d.BirthDate, d.PINFL}
	if len(first) == 1 && first[0] != now {
		d.Received = &first[0]
	}
	rows, err = p.pool.Query(ctx, `
		SELECT id, received_patient IS NOT NULL FROM study WHERE patient_row = $1 AND deleted_at IS NULL ORDER BY study_date DESC, id DESC LIMIT $2`, d.ID, maxListed)
	if err != nil {
		return err
	}
	var ids []int64
	moved := map[int64]bool{}
	var id int64
	var came bool
	if _, err := pgx.ForEachRow(rows, []any{&id, &came}, func() error {
		ids, moved[id] = append(ids, id), came
		return nil
	}); err != nil {
		return err
	}
	studies, err := p.index.StudiesByID(ctx, scope, ids)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if s, ok := studies[id]; ok {
			d.List = append(d.List, Study{s, moved[id]})
		}
	}
	d.History, err = p.history(ctx, d.ID)
	return err
}

func (p *Patients) history(ctx context.Context, patient int64) ([]Operation, error) {
	rows, err := p.pool.Query(ctx, `
		SELECT o.id, o.kind, o.at, o.who, o.why, o.patient_row, coalesce(o.other_row, 0), coalesce(o.undoes, 0), coalesce(o.undone_by, 0), a.document,
			o.kind <> 'undo' AND o.undone_by IS NULL AND NOT EXISTS (SELECT FROM patient_operation later WHERE `+standsOn+`)
		FROM patient_operation o JOIN amendment a ON a.key = o.key
		WHERE o.id IN (SELECT id FROM patient_operation WHERE patient_row = $1 UNION SELECT id FROM patient_operation WHERE other_row = $1)
		ORDER BY o.id DESC LIMIT $2`, patient, maxListed)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (Operation, error) {
		var o Operation
		var document []byte
		var d Document
		err := row.Scan(&o.ID, &o.Kind, &o.At, &o.Who, &o.Why, &o.Patient, &o.Other, &o.Undoes, &o.UndoneBy, &document, &o.Undoable)
		if err == nil {
			err = json.Unmarshal(document, &d)
		}
		if err != nil {
			return o, err
		}
		if o.Other == patient {
			o.Other = o.Patient // the other one as seen from here
		}
		switch o.Kind {
		case Correct, Undo:
			o.Before, o.After = faceOf(&d.Before, d.Patient), faceOf(&d.After, d.Patient)
		case Split:
			o.After = faceOf(&d.After, d.Other)
		}
		// The studies that have changed hands, or all of a corrected patient.
		was := map[string]ref{}
		for _, s := range d.Before.Studies {
			was[s.StudyUID] = s.Patient
		}
		for _, s := range d.After.Studies {
			if o.Kind == Correct || was[s.StudyUID] != s.Patient {
				o.Studies = append(o.Studies, s.StudyUID)
			}
		}
		return o, nil
	})
}

func faceOf(s *State, r ref) *Face {
	if p := s.patient(r); p != nil {
		return &p.Face
	}
	return nil
}
