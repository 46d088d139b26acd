package orders

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/worklist"
)

// columns are scanned by scanOrder, over the aliases o and f.
const columns = `
	o.id::text, o.revision, o.state, f.id, f.code, f.name, f.tax_id, o.accession, o.placer, o.filler,
	o.issuer, o.patient_id, o.name, o.sex, o.birth_date, o.pinfl, o.physician, o.department, o.reason, o.question, o.priority,
	o.procedure_id, o.procedure_description, o.procedure_code, o.study_uid, o.created_by, o.created_at, o.updated_at`

const tables = `imaging_order o JOIN facility f ON f.id = o.facility_row`

// targets are where columns are scanned to; done finishes the order then.
func (o *Order) targets() (into []any, done func()) {
	var code []string
	return []any{
		&o.ID, &o.Revision, &o.State, &o.Facility.ID, &o.Facility.Code, &o.Facility.Name, &o.Facility.TaxID, &o.Accession, &o.Placer, &o.Filler,
		&o.Patient.Issuer, &o.Patient.PatientID, &o.Patient.Name, &o.Patient.Sex, &o.Patient.BirthDate, &o.Patient.PINFL,
		&o.Physician, &o.Department, &o.Reason, &o.Question, &o.Priority,
		&o.Procedure.ID, &o.Procedure.Description, &code, &o.StudyUID, &o.CreatedBy, &o.CreatedAt, &o.UpdatedAt,
	}, func() { o.Procedure.Code = codeOf(code) }
}

func scanOrder(row pgx.CollectableRow) (Order, error) {
	var o Order
	into, done := o.targets()
	err := row.Scan(into...)
	done()
	return o, err
}

func codeOf(values []string) (c Code) {
	if len(values) == 3 {
		c = Code{values[0], values[1], values[2]}
	}
	return c
}

func (c Code) values() []string {
	if c == (Code{}) {
		return []string{}
	}
	return []string{c.Value, c.Scheme, c.Meaning}
}

// stepColumns are scanned by Step.targets, over the alias s.
const stepColumns = `s.step_id, s.state, s.performed, s.modality, s.stations, s.starts_at, s.description, s.code, s.physician, s.location, s.medication`

func (s *Step) targets() (into []any, done func()) {
	var code []string
	return []any{
		&s.ID, &s.State, &s.Performed, &s.Modality, &s.Stations, &s.Start, &s.Description, &code, &s.Physician, &s.Location, &s.Medication,
	}, func() { s.Code = codeOf(code) }
}

// fill adds steps and studies to orders.
func fill(ctx context.Context, q querier, list []Order) error {
	ids := make([]string, len(list))
	at := make(map[string]*Order, len(list))
	for i := range list {
		ids[i] = list[i].ID
		at[list[i].ID] = &list[i]
	}
	rows, err := q.Query(ctx, `SELECT s.order_id::text, `+stepColumns+` FROM order_step s WHERE s.order_id = ANY($1) ORDER BY s.order_id, s.position`, ids)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var s Step
		into, done := s.targets()
		if err := rows.Scan(append([]any{&id}, into...)...); err != nil {
			return err
		}
		done()
		at[id].Steps = append(at[id].Steps, s)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	rows, err = q.Query(ctx, `
		SELECT l.order_id::text, s.study_uid, s.instance_count, s.modalities, s.completed_at IS NOT NULL
		FROM order_study l JOIN study s ON s.id = l.study_row WHERE l.order_id = ANY($1) AND s.deleted_at IS NULL ORDER BY l.linked_at, s.id`, ids)
	if err != nil {
		return err
	}
	var id string
	var s Study
	_, err = pgx.ForEachRow(rows, []any{&id, &s.StudyUID, &s.Instances, &s.Modalities, &s.Complete}, func() error {
		at[id].Studies = append(at[id].Studies, s)
		s.Modalities = nil
		return nil
	})
	return err
}

// Get returns an order. NotFound outside the scope.
func (o *Orders) Get(ctx context.Context, scope pacs.Scope, id string) (Order, error) {
	found, err := get(ctx, o.pool, id, "")
	if err == nil && !scope.Sees(found.Facility.ID) {
		err = noSuchOrder()
	}
	if err != nil {
		return Order{}, worklist.Failure(err)
	}
	return found, nil
}

// get reads an order; lock is a locking clause.
func get(ctx context.Context, q querier, id, lock string) (Order, error) {
	if !worklist.IsID(id) {
		return Order{}, noSuchOrder()
	}
	rows, err := q.Query(ctx, `SELECT `+columns+` FROM `+tables+` WHERE o.id = $1 `+lock, id)
	if err != nil {
		return Order{}, err
	}
	list, err := pgx.CollectRows(rows, scanOrder)
	if err != nil {
		return Order{}, err
	}
	if len(list) == 0 {
		return Order{}, noSuchOrder()
	}
	return list[0], fill(ctx, q, list)
}

// locked reads an order that nobody else changes until the transaction ends.
// NotFound outside the scope.
func locked(ctx context.Context, tx pgx.Tx, scope pacs.Scope, id string) (Order, error) {
	found, err := get(ctx, tx, id, "FOR UPDATE OF o")
	if err == nil && !scope.Sees(found.Facility.ID) {
		err = noSuchOrder()
	}
	return found, err
}

// maxHistory bounds what is shown of an order's history.
const maxHistory = 500

// History returns what was done to an order that the caller has established
// to be in scope, oldest first.
func (o *Orders) History(ctx context.Context, id string) ([]Event, error) {
	rows, err := o.pool.Query(ctx, `SELECT at, who, what, why FROM order_event WHERE order_id = $1 ORDER BY number LIMIT $2`, id, maxHistory)
	if err != nil {
		return nil, worklist.Failure(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Event])
	return list, worklist.Failure(err)
}
