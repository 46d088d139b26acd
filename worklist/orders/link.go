package orders

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/worklist"
)

// samePerson says that an order o and a patient p speak of one person. An
// accession number that was typed wrong must not put one patient's question to
// another's images; a Study Instance UID was copied by machines.
const samePerson = `(o.patient_id = p.patient_id OR o.pinfl <> '' AND o.pinfl = p.pinfl
	OR o.name_fold <> '' AND o.name_fold = p.name_fold AND o.birth_date <> '' AND o.birth_date = p.birth_date)`

// link finds the order of a study, and links the two when they aren't yet;
// linked is true when they weren't. The order is "" when there is none.
func link(ctx context.Context, tx pgx.Tx, studyID int64) (order string, linked bool, err error) {
	err = tx.QueryRow(ctx, `SELECT order_id::text FROM order_study WHERE study_row = $1`, studyID).Scan(&order)
	if !errors.Is(err, pgx.ErrNoRows) {
		return order, false, err
	}
	var facility int64
	err = tx.QueryRow(ctx, `
		INSERT INTO order_study (study_row, order_id)
		SELECT $1, id FROM (
			SELECT o.id, 0 AS by FROM study s JOIN imaging_order o ON o.study_uid = s.study_uid AND o.facility_row = s.facility_row
			WHERE s.id = $1
			UNION ALL
			SELECT o.id, 1 FROM study s JOIN patient p ON p.id = s.patient_row
				JOIN imaging_order o ON o.facility_row = s.facility_row AND o.accession = s.accession_number
			WHERE s.id = $1 AND s.accession_number <> '' AND o.state <> 'cancelled' AND `+samePerson+`
		) x ORDER BY by LIMIT 1
		ON CONFLICT DO NOTHING
		RETURNING order_id::text, (SELECT facility_row FROM study WHERE id = $1)`, studyID).Scan(&order, &facility)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	return order, true, record(ctx, tx, order, facility, images, "images", "")
}

// linkEarlier links studies whose images came before the order.
func linkEarlier(ctx context.Context, tx pgx.Tx, id string) error {
	rows, err := tx.Query(ctx, `
		SELECT s.id, s.completed_at IS NOT NULL FROM imaging_order o JOIN study s ON s.study_uid = o.study_uid AND s.facility_row = o.facility_row
		WHERE o.id = $1 AND s.deleted_at IS NULL
		UNION
		SELECT s.id, s.completed_at IS NOT NULL FROM imaging_order o
			JOIN study s ON s.accession_number = o.accession AND s.accession_number <> '' AND s.facility_row = o.facility_row
			JOIN patient p ON p.id = s.patient_row
		WHERE o.id = $1 AND s.deleted_at IS NULL AND `+samePerson+`
		ORDER BY 1 LIMIT 100`, id)
	if err != nil {
		return err
	}
	type earlier struct {
		ID       int64
		Complete bool
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[earlier])
	if err != nil {
		return err
	}
	for _, s := range list {
		order, linked, err := link(ctx, tx, s.ID)
		if err != nil {
			return err
		}
		if !linked || order != id {
			continue
		}
		to := InProgress
		if s.Complete {
			to = Completed
		}
		if err := advance(ctx, tx, id, s.ID, to); err != nil {
			return err
		}
	}
	return nil
}

// Requests returns what the orders of studies (rows) ask, for those that have
// one; q is a pool or a transaction. It is worklist.Worklist.Requests.
func Requests(ctx context.Context, q worklist.Querier, studies []int64) (map[int64]worklist.Request, error) {
	rows, err := q.Query(ctx, `
		SELECT l.study_row, o.id::text, o.accession, o.placer, o.priority, o.reason, o.question, o.department, o.physician
		FROM order_study l JOIN imaging_order o ON o.id = l.order_id WHERE l.study_row = ANY($1)`, studies)
	if err != nil {
		return nil, worklist.Failure(err)
	}
	found := map[int64]worklist.Request{}
	var study int64
	var r worklist.Request
	_, err = pgx.ForEachRow(rows, []any{&study, &r.Order, &r.Accession, &r.Placer, &r.Priority, &r.Reason, &r.Question, &r.Department, &r.Physician}, func() error {
		found[study] = r
		return nil
	})
	return found, worklist.Failure(err)
}
