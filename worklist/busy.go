package worklist

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Busy returns those of the studies (rows) that somebody still works with: the
// reading task waits or is claimed, there is a draft, or a signed version has not
// reached the platform. With lock it also keeps the other tasks from being
// claimed or written to until tx ends.
func (w *Worklist) Busy(ctx context.Context, tx pgx.Tx, studyIDs []int64, lock bool) (map[int64]bool, error) {
	if lock {
		if _, err := tx.Exec(ctx, `SELECT FROM reading_task WHERE study_row = ANY($1) ORDER BY id FOR UPDATE`, studyIDs); err != nil {
			return nil, Failure(err)
		}
	}
	rows, err := tx.Query(ctx, `
		SELECT t.study_row FROM reading_task t LEFT JOIN report r ON r.task_id = t.id
		WHERE t.study_row = ANY($1) AND (
			t.state IN ('open', 'claimed')
			OR EXISTS (SELECT FROM report_draft d WHERE d.report_id = r.id)
			OR EXISTS (SELECT FROM report_delivery v WHERE v.report_id = r.id AND v.state <> 'delivered'))`, studyIDs)
	if err != nil {
		return nil, Failure(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	busy := make(map[int64]bool, len(list))
	for _, id := range list {
		busy[id] = true
	}
	return busy, Failure(err)
}
