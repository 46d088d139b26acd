package forward

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// A rejection note (IHE RAD TF-2 4.66) is an instance of its study that is never
// shown, nor are those that it rejects. A target that has been sent some of them
// is sent the note, too: it goes on showing them otherwise.

// Rejected queues again what was sent of a study, and rejected since by a note that
// was not, in the transaction that indexes the note. What is paused, cancelled or on
// its way stays so, and is sent the note when it goes on.
func Rejected(ctx context.Context, tx pgx.Tx, studyUID string) error {
	_, err := tx.Exec(ctx, `
		UPDATE forward_item i SET asked = asked + 1, attempts = 0, give_up_at = NULL, ended_at = NULL,
			state           = CASE WHEN state = 'sending' THEN state ELSE 'waiting' END,
			next_attempt_at = CASE WHEN state = 'sending' THEN next_attempt_at ELSE '-infinity' END
		WHERE study_uid = $1 AND state IN ('sent', 'failed', 'sending') AND EXISTS (
			SELECT FROM rejection r JOIN forward_instance s ON s.item_row = i.id AND s.sop_uid = r.sop_uid AND s.failure IS NULL
			WHERE r.study_row = i.study_row
				AND NOT EXISTS (SELECT FROM forward_instance n WHERE n.item_row = i.id AND n.sop_uid = r.note_uid AND n.failure IS NULL))`, studyUID)
	return err
}

// notes reads the rejection notes that the target is to have.
func (left *remainder) notes(ctx context.Context, classes []string, page func(rows []pacs.Instance, sent map[string]int) error) error {
	if len(classes) > 0 && !slices.Contains(classes, dicom.KeyObjectSelectionStorage) {
		return nil
	}
	found, err := left.f.pool.Query(ctx, `SELECT DISTINCT r.note_uid FROM study s JOIN rejection r ON r.study_row = s.id
			JOIN forward_instance i ON i.item_row = $2 AND i.sop_uid = r.sop_uid AND i.failure IS NULL
		WHERE s.study_uid = $1`, left.c.studyUID, left.c.id)
	if err != nil {
		return err
	}
	uids, err := pgx.CollectRows(found, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for some := range slices.Chunk(uids, pageSize) {
		filter := pacs.InstanceFilter{SOPInstanceUIDs: some, Notes: true, Page: pacs.Page{Limit: pageSize}}
		filter.Series.Study.StudyInstanceUIDs = []string{left.c.studyUID}
		rows, _, err := left.f.o.Index.Instances(ctx, system, filter)
		if err != nil {
			return err
		}
		sent, err := left.f.sent(ctx, left.c.id, rows)
		if err != nil {
			return err
		}
		if err := page(rows, sent); err != nil {
			return err
		}
	}
	return nil
}
