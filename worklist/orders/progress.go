package orders

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/worklist"
)

// StepRef is how a modality names the scheduled step that it performs: an item
// of the Scheduled Step Attributes Sequence (PS3.3 C.4.13).
type StepRef struct {
	StudyUID  string
	Accession string
	Procedure string // Requested Procedure ID
	Step      string // Scheduled Procedure Step ID
}

// Performed is a step of an order that a modality reports on.
type Performed struct {
	Order    string
	Position int
}

// FindStep finds the step that a modality of a facility names: by Study
// Instance UID, else by accession number, and within the order by the step's
// ID, else its only step of the modality. ok is false when it is of no order:
// modalities perform what nobody ordered.
func FindStep(ctx context.Context, tx pgx.Tx, facility int64, ref StepRef, modality string) (found Performed, ok bool, err error) {
	rows, err := tx.Query(ctx, `
		SELECT id::text FROM (
			SELECT id, 0 AS by FROM imaging_order WHERE facility_row = $1 AND study_uid = $2
			UNION ALL
			SELECT id, 1 FROM imaging_order WHERE facility_row = $1 AND accession = $3 AND $3 <> ''
		) x ORDER BY by LIMIT 1`, facility, ref.StudyUID, ref.Accession)
	if err != nil {
		return found, false, err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(ids) == 0 {
		return found, false, err
	}
	order, err := get(ctx, tx, ids[0], "FOR UPDATE OF o")
	if err != nil {
		return found, false, err
	}
	position := order.step(ref.Step, modality)
	return Performed{order.ID, position}, position > 0, nil
}

// step is the position of the step with this ID, or else of the only step of a
// modality, or else of the only step; 0 for none.
func (o *Order) step(id, modality string) int {
	only := func(is func(s Step) bool) int {
		found := 0
		for i, s := range o.Steps {
			if is(s) {
				if found > 0 {
					return 0
				}
				found = i + 1
			}
		}
		return found
	}
	if id != "" {
		if n := only(func(s Step) bool { return s.ID == id }); n > 0 {
			return n
		}
	}
	if n := only(func(s Step) bool { return s.Modality == modality }); n > 0 {
		return n
	}
	return only(func(Step) bool { return true })
}

// Report notes what a modality says of a step: it is in progress, completed or
// discontinued. who is the machine ("ae:CT1").
func Report(ctx context.Context, tx pgx.Tx, step Performed, to State, who string) error {
	order, err := get(ctx, tx, step.Order, "FOR UPDATE OF o")
	if err != nil {
		return err
	}
	if step.Position < 1 || step.Position > len(order.Steps) {
		return nil // the order was edited since
	}
	order.Steps[step.Position-1].Performed = true
	order.Steps[step.Position-1].State = to
	if _, err := tx.Exec(ctx, `UPDATE order_step SET state = $3, performed = true WHERE order_id = $1 AND position = $2`, step.Order, step.Position, to); err != nil {
		return err
	}
	return settle(ctx, tx, order, who)
}

// settle derives an order's state from its steps and notes it if it is new.
func settle(ctx context.Context, tx pgx.Tx, order Order, who string) error {
	states := make([]State, len(order.Steps))
	for i, s := range order.Steps {
		states[i] = s.State
	}
	now := derive(states)
	if now == order.State {
		return nil
	}
	if _, err := tx.Exec(ctx, `UPDATE imaging_order SET state = $2, revision = revision + 1, updated_at = now() WHERE id = $1`, order.ID, now); err != nil {
		return err
	}
	return record(ctx, tx, order.ID, order.Facility.ID, who, string(now), "")
}

// Arriving links a study that gets images to its order and notes that the
// order is in progress. It is called in the transaction that indexes them, for
// every pack, and does nothing when there is nothing to do.
func Arriving(ctx context.Context, tx pgx.Tx, studyID int64) error {
	order, linked, err := link(ctx, tx, studyID)
	if err != nil || !linked {
		return err
	}
	return advance(ctx, tx, order, studyID, InProgress)
}

// StudyCompleted notes that a study's images are all there: the steps that no
// modality reports on are completed by it. It is called in the transaction that
// completes the study, before the worklist makes its task.
func StudyCompleted(ctx context.Context, tx pgx.Tx, study pacs.Study) error {
	order, _, err := link(ctx, tx, study.ID)
	if err != nil || order == "" {
		return err
	}
	return advance(ctx, tx, order, study.ID, Completed)
}

// images is who reports that images have come.
const images = "system:images"

// advance brings those steps of an order to a state that a study's images are
// of: steps of its modalities, or the only step. What a modality reports on is
// the modality's to say, and what is completed stays so.
func advance(ctx context.Context, tx pgx.Tx, id string, studyID int64, to State) error {
	order, err := get(ctx, tx, id, "FOR UPDATE OF o")
	if err != nil {
		return err
	}
	var modalities []string
	if err := tx.QueryRow(ctx, `SELECT modalities FROM study WHERE id = $1`, studyID).Scan(&modalities); err != nil {
		return worklist.Failure(err)
	}
	for i := range order.Steps {
		s := &order.Steps[i]
		if s.Performed || s.State == Completed || s.State == to || len(order.Steps) > 1 && !slices.Contains(modalities, s.Modality) {
			continue
		}
		s.State = to
		if _, err := tx.Exec(ctx, `UPDATE order_step SET state = $3 WHERE order_id = $1 AND position = $2`, id, i+1, to); err != nil {
			return err
		}
	}
	return settle(ctx, tx, order, images)
}
