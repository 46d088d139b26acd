package orders

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/worklist"
)

// WaitingFilter narrows what modalities are told of. Empty fields match
// everything.
type WaitingFilter struct {
	// From and To bound the step's start by the wall clock, both included.
	From, To   time.Time
	Modalities []string
	Accession  string
	PatientID  string
}

// Waiting is a step that is to be performed, with its order. The order has no
// other steps and no studies.
type Waiting struct {
	Order
	Step     Step
	Position int
}

// WaitingAfter is where a page of waiting steps begins; the zero value is the
// first page.
type WaitingAfter struct {
	start    time.Time
	order    string
	position int
}

// Waiting returns a page of at most limit steps in scope that are scheduled,
// whose patient has arrived, or that are in progress, by their start, and where
// the next begins; more is false on the last. Pages, and no open result set:
// who reads slowly holds no connection of the database meanwhile.
func (o *Orders) Waiting(ctx context.Context, scope pacs.Scope, f WaitingFilter, after WaitingAfter, limit int) (page []Waiting, next WaitingAfter, more bool, err error) {
	var c conditions
	c.and(`s.state IN ('scheduled', 'arrived', 'in_progress')`)
	c.scope(scope, "s.facility_row")
	if !f.From.IsZero() {
		c.and("s.starts_at >= " + c.arg(wall(f.From)))
	}
	if !f.To.IsZero() {
		c.and("s.starts_at <= " + c.arg(wall(f.To)))
	}
	if len(f.Modalities) > 0 {
		c.and("s.modality = ANY(" + c.arg(f.Modalities) + ")")
	}
	if f.Accession != "" {
		c.and("o.accession = " + c.arg(f.Accession))
	}
	if f.PatientID != "" {
		c.and("o.patient_id = " + c.arg(f.PatientID))
	}
	if after.order != "" {
		c.and(fmt.Sprintf("(s.starts_at, s.order_id, s.position) > (%s, %s, %s)", c.arg(after.start), c.arg(after.order), c.arg(after.position)))
	}
	rows, err := o.pool.Query(ctx, `
		SELECT s.position, `+stepColumns+`, `+columns+` FROM order_step s JOIN imaging_order o ON o.id = s.order_id JOIN facility f ON f.id = o.facility_row
		WHERE `+c.where()+` ORDER BY s.starts_at, s.order_id, s.position LIMIT `+c.arg(limit+1), c.args...)
	if err != nil {
		return nil, next, false, worklist.Failure(err)
	}
	page, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (w Waiting, err error) {
		step, doneStep := w.Step.targets()
		order, doneOrder := w.Order.targets()
		err = row.Scan(append(append([]any{&w.Position}, step...), order...)...)
		doneStep()
		doneOrder()
		return w, err
	})
	if err != nil || len(page) <= limit {
		return page, next, false, worklist.Failure(err)
	}
	page = page[:limit]
	last := page[limit-1]
	return page, WaitingAfter{last.Step.Start, last.ID, last.Position}, true, nil
}
