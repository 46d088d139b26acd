package orders

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// maxNumbers is how many generated accession numbers are tried. Each is new,
// so only somebody who gave numbers of our form by hand makes one be taken.
const maxNumbers = 100

// Create enters an order at the facility with order.Facility.Code. What is
// empty is given: accession number, patient ID and its issuer, procedure and
// step IDs, Study Instance UID. When the facility has an order with this placer
// number already, that one is returned as it is and created is false: who
// repeats a request has one order. by needs OrderWrite and the facility in
// sight.
//
//	Invalid   with reason "order": what was entered can't be accepted
//	NotFound  no such facility in by's sight
//	Conflict  with reason "accession_taken" or "study_uid_taken"
func (o *Orders) Create(ctx context.Context, by *access.Identity, order Order) (entered Order, created bool, err error) {
	if err := must(by, access.OrderWrite); err != nil {
		return Order{}, false, err
	}
	order.clean()
	if err := order.check(); err != nil {
		return Order{}, false, err
	}
	err = o.inTx(ctx, func(tx pgx.Tx) error {
		if err := facilityInSight(ctx, tx, by.Scope, &order.Facility); err != nil {
			return err
		}
		id, err := insert(ctx, tx, by, order)
		if err != nil {
			return err
		}
		created = id != ""
		if !created {
			return tx.QueryRow(ctx, `SELECT id::text FROM imaging_order WHERE facility_row = $1 AND placer = $2 AND placer <> ''`,
				order.Facility.ID, order.Placer).Scan(&entered.ID)
		}
		entered.ID = id
		if err := linkEarlier(ctx, tx, id); err != nil {
			return err
		}
		if o.Entered != nil {
			if err := o.Entered(ctx, tx, id); err != nil {
				return err
			}
		}
		return access.Audit(ctx, tx, by.Event("order.create", Object(id), order.Facility.ID))
	})
	if err != nil {
		return Order{}, false, err
	}
	entered, err = o.Get(ctx, by.Scope, entered.ID)
	return entered, created, err
}

func facilityInSight(ctx context.Context, tx pgx.Tx, scope pacs.Scope, f *pacs.Facility) error {
	err := tx.QueryRow(ctx, `SELECT id, name FROM facility WHERE code = $1`, f.Code).Scan(&f.ID, &f.Name)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && !scope.Sees(f.ID) {
		return pacs.Errorf(pacs.NotFound, "There is no facility %q among those you work for", f.Code)
	}
	return err
}

// insert writes a new order and returns its id, "" when the placer number is
// known.
func insert(ctx context.Context, tx pgx.Tx, by *access.Identity, order Order) (string, error) {
	given := order.Accession != ""
	for range maxNumbers {
		if !given || order.Patient.PatientID == "" {
			var n int64
			if err := tx.QueryRow(ctx, `SELECT nextval('imaging_order_number')`).Scan(&n); err != nil {
				return "", err
			}
			if !given {
				order.Accession = fmt.Sprintf("TV%08d", n)
			}
			if order.Patient.PatientID == "" {
				order.Patient.PatientID = fmt.Sprintf("TV%08d", n)
			}
		}
		id, err := insertNumbered(ctx, tx, by, order)
		if err != nil || id != "" {
			return id, err
		}
		taken, err := whatIsTaken(ctx, tx, order)
		if taken != accessionTaken || err != nil {
			if taken == placerTaken {
				return "", nil
			}
			if err == nil {
				err = taken.conflict(order)
			}
			return "", err
		}
		if given {
			return "", accessionTaken.conflict(order)
		}
	}
	return "", pacs.Errorf(pacs.Conflict, "No accession number is free at the moment; give one by hand").WithReason("accession_taken", "")
}

// taken says which unique value an order has in common with another.
type taken int

const (
	nothingTaken taken = iota
	placerTaken
	accessionTaken
	studyTaken
)

func (t taken) conflict(order Order) error {
	switch t {
	case studyTaken:
		return pacs.Errorf(pacs.Conflict, "The Study Instance UID %s belongs to another order", order.StudyUID).WithReason("study_uid_taken", "")
	case placerTaken:
		return pacs.Errorf(pacs.Conflict, "The placer's order number %s belongs to another order of %s", order.Placer, order.Facility.Code).WithReason("placer_taken", "")
	}
	return pacs.Errorf(pacs.Conflict, "The accession number %s belongs to another order of %s", order.Accession, order.Facility.Code).WithReason("accession_taken", "")
}

func whatIsTaken(ctx context.Context, q querier, order Order) (taken, error) {
	var placer, accession, study bool
	err := q.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM imaging_order WHERE facility_row = $1 AND placer = $2 AND placer <> '' AND id::text <> $5),
			EXISTS (SELECT FROM imaging_order WHERE facility_row = $1 AND accession = $3 AND id::text <> $5),
			EXISTS (SELECT FROM imaging_order WHERE study_uid = $4 AND id::text <> $5)`,
		order.Facility.ID, order.Placer, order.Accession, order.StudyUID, order.ID).Scan(&placer, &accession, &study)
	switch {
	case placer:
		return placerTaken, err
	case study:
		return studyTaken, err
	case accession:
		return accessionTaken, err
	}
	return nothingTaken, err
}

// number gives the IDs that nobody gave.
func (o *Order) number() {
	if o.Patient.Issuer == "" {
		o.Patient.Issuer = o.Facility.Code
	}
	if o.Procedure.ID == "" {
		o.Procedure.ID = o.Accession
	}
	if o.StudyUID == "" {
		o.StudyUID = dicom.NewUID()
	}
	for i := range o.Steps {
		if o.Steps[i].ID != "" {
			continue
		}
		for n := i + 1; ; n++ {
			suffix := fmt.Sprintf("-%d", n)
			id := o.Accession[:min(len(o.Accession), maxSH-len(suffix))] + suffix
			if !slices.ContainsFunc(o.Steps, func(s Step) bool { return s.ID == id }) {
				o.Steps[i].ID = id
				break
			}
		}
	}
}

// start is when the first step begins.
func (o *Order) start() time.Time {
	first := o.Steps[0].Start
	for _, s := range o.Steps[1:] {
		if s.Start.Before(first) {
			first = s.Start
		}
	}
	return first
}

func (o *Order) modalities() []string {
	list := []string{}
	for _, s := range o.Steps {
		if !slices.Contains(list, s.Modality) {
			list = append(list, s.Modality)
		}
	}
	return list
}

func (o *Order) stations() []string {
	list := []string{}
	for _, s := range o.Steps {
		for _, station := range s.Stations {
			if !slices.Contains(list, station) {
				list = append(list, station)
			}
		}
	}
	return list
}

func insertNumbered(ctx context.Context, tx pgx.Tx, by *access.Identity, order Order) (string, error) {
	order.Steps = slices.Clone(order.Steps)
	order.number()
	var id string
	err := tx.QueryRow(ctx, `
		INSERT INTO imaging_order (facility_row, accession, placer, filler, issuer, patient_id, name, name_fold, sex, birth_date, pinfl,
			physician, department, reason, question, priority, procedure_id, procedure_description, procedure_code, study_uid,
			starts_at, modalities, stations, created_by)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24)
		ON CONFLICT DO NOTHING RETURNING id::text`,
		order.Facility.ID, order.Accession, order.Placer, order.Filler, order.Patient.Issuer, order.Patient.PatientID, order.Patient.Name, pacs.Fold(order.Patient.Name),
		order.Patient.Sex, order.Patient.BirthDate, order.Patient.PINFL, order.Physician, order.Department, order.Reason, order.Question, order.Priority,
		order.Procedure.ID, order.Procedure.Description, order.Procedure.Code.values(), order.StudyUID,
		order.start(), order.modalities(), order.stations(), by.Who()).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if err := insertSteps(ctx, tx, id, order); err != nil {
		return "", err
	}
	return id, record(ctx, tx, id, order.Facility.ID, by.Who(), "created", "")
}

func insertSteps(ctx context.Context, tx pgx.Tx, id string, order Order) error {
	for i, s := range order.Steps {
		state := s.State
		if state == "" {
			state = Scheduled
		}
		if _, err := tx.Exec(ctx, `
			INSERT INTO order_step (order_id, position, facility_row, state, performed, step_id, modality, stations, starts_at, description, code, physician, location, medication)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
			id, i+1, order.Facility.ID, state, s.Performed, s.ID, s.Modality, append([]string{}, s.Stations...), s.Start,
			s.Description, s.Code.values(), s.Physician, s.Location, s.Medication); err != nil {
			return err
		}
	}
	return nil
}

// Update replaces what was entered by order, which has the ID and the Revision
// it was made from; states and facility stay. What order leaves empty that
// Create gives stays, too. Once the order is begun, only what readers are told
// (physician, department, reason, question, priority, order numbers) can change:
// the modality has the rest by then. by needs OrderWrite.
//
//	Invalid   as for Create
//	NotFound  no such order in by's sight
//	Conflict  with reason "stale_revision" when somebody was faster,
//	          "order_started", "accession_taken", "placer_taken" or "study_uid_taken"
func (o *Orders) Update(ctx context.Context, by *access.Identity, order Order) (Order, error) {
	if err := must(by, access.OrderWrite); err != nil {
		return Order{}, err
	}
	order.clean()
	if err := order.check(); err != nil {
		return Order{}, err
	}
	err := o.inTx(ctx, func(tx pgx.Tx) error {
		was, err := locked(ctx, tx, by.Scope, order.ID)
		if err != nil {
			return err
		}
		if was.Revision != order.Revision {
			return stale()
		}
		order.keep(was)
		if was.State == Cancelled || was.State != Scheduled && was.State != Arrived && order.begunDiffers(was) {
			return pacs.Errorf(pacs.Conflict, "The order is %s: who is examined, how and when can't change any more", was.State).WithReason("order_started", "")
		}
		clash, err := whatIsTaken(ctx, tx, order)
		if err != nil {
			return err
		}
		if clash != nothingTaken {
			return clash.conflict(order)
		}
		if err := update(ctx, tx, order); err != nil {
			return err
		}
		if err := record(ctx, tx, order.ID, was.Facility.ID, by.Who(), "changed", ""); err != nil {
			return err
		}
		return access.Audit(ctx, tx, by.Event("order.change", Object(order.ID), was.Facility.ID))
	})
	if err != nil {
		return Order{}, err
	}
	return o.Get(ctx, by.Scope, order.ID)
}

func stale() error {
	return pacs.Errorf(pacs.Conflict, "Somebody has changed the order since you opened it").WithReason("stale_revision", "")
}

// keep takes over from the order as it was what isn't changed by editing it.
func (o *Order) keep(was Order) {
	o.Facility, o.State = was.Facility, was.State
	for _, v := range []struct {
		to   *string
		from string
	}{
		{&o.Accession, was.Accession},
		{&o.Patient.PatientID, was.Patient.PatientID},
		{&o.Patient.Issuer, was.Patient.Issuer},
		{&o.Procedure.ID, was.Procedure.ID},
		{&o.StudyUID, was.StudyUID},
	} {
		if *v.to == "" {
			*v.to = v.from
		}
	}
	for i := range o.Steps {
		s := &o.Steps[i]
		s.State, s.Performed = was.State, false
		if s.State != Arrived {
			s.State = Scheduled
		}
		if i < len(was.Steps) {
			if s.ID == "" {
				s.ID = was.Steps[i].ID
			}
			s.State, s.Performed = was.Steps[i].State, was.Steps[i].Performed
		}
	}
	o.number()
}

// begunDiffers tells whether something changed that can't once an order is
// begun.
func (o Order) begunDiffers(was Order) bool {
	fixed := func(x Order) []any {
		steps := slices.Clone(x.Steps)
		for i := range steps {
			steps[i].Stations = append([]string{}, steps[i].Stations...)
			steps[i].Start = wall(steps[i].Start)
		}
		return []any{x.Accession, x.StudyUID, x.Patient, x.Procedure, steps}
	}
	return !reflect.DeepEqual(fixed(o), fixed(was))
}

func update(ctx context.Context, tx pgx.Tx, order Order) error {
	_, err := tx.Exec(ctx, `
		UPDATE imaging_order SET revision = revision + 1, updated_at = now(), accession = $2, placer = $3, filler = $4, issuer = $5, patient_id = $6,
			name = $7, name_fold = $8, sex = $9, birth_date = $10, pinfl = $11, physician = $12, department = $13, reason = $14, question = $15,
			priority = $16, procedure_id = $17, procedure_description = $18, procedure_code = $19, study_uid = $20,
			starts_at = $21, modalities = $22, stations = $23
		WHERE id = $1`,
		order.ID, order.Accession, order.Placer, order.Filler, order.Patient.Issuer, order.Patient.PatientID, order.Patient.Name, pacs.Fold(order.Patient.Name),
		order.Patient.Sex, order.Patient.BirthDate, order.Patient.PINFL, order.Physician, order.Department, order.Reason, order.Question, order.Priority,
		order.Procedure.ID, order.Procedure.Description, order.Procedure.Code.values(), order.StudyUID,
		order.start(), order.modalities(), order.stations())
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `DELETE FROM order_step WHERE order_id = $1`, order.ID); err != nil {
		return err
	}
	return insertSteps(ctx, tx, order.ID, order)
}
