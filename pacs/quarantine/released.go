package quarantine

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/journal"
	"github.com/tasvir-pacs/tasvir/storage"
)

// Released implements publish.Quarantine: the item is in packs and index and
// leaves. Of one that was archived with other UIDs the original stays, under
// released/. The row goes last, so that all of it can be repeated.
func (q *Quarantine) Released(ctx context.Context, e journal.Entry) error {
	id := e.Correction.Item
	var state string
	var rewritten bool
	var size int64
	err := q.pool.QueryRow(ctx, `SELECT state, rewritten, bytes FROM quarantine_item WHERE id = $1`, id).Scan(&state, &rewritten, &size)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return failure(err)
	case state != "kept" && state != "releasing":
		return nil
	}
	if rewritten {
		for _, key := range []func(prefix, id string) string{bytesKey, entryKey} {
			if err := q.copyObject(ctx, key(keptPrefix, id), key(releasedPrefix, id)); err != nil {
				return err
			}
		}
	}
	if err := q.deleteObjects(ctx, id); err != nil {
		return err
	}
	gone := false
	err = pgx.BeginFunc(ctx, q.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			UPDATE quarantine_item SET state = CASE WHEN rewritten THEN 'released' ELSE 'gone' END, releasing_at = NULL, gone_at = clock_timestamp()
			WHERE id = $1 AND state IN ('kept', 'releasing')`, id)
		if gone = tag.RowsAffected() == 1; err != nil || !gone {
			return err
		}
		// The facility it went to, which may not be the one it came from.
		var facility int64
		err = tx.QueryRow(ctx, `SELECT facility_row FROM study WHERE study_uid = $1`, e.StudyInstanceUID).Scan(&facility)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil // retention was faster
		}
		if err != nil {
			return err
		}
		return index.RecordChange(ctx, tx, index.Change{
			Kind: index.QuarantineReleased, FacilityID: facility, StudyUID: e.StudyInstanceUID, SeriesUID: e.SeriesInstanceUID, Instances: 1,
		})
	})
	if err == nil && gone {
		q.freed(size)
	}
	return failure(err)
}

// copyObject copies an object unless that was done before and the original is
// gone.
func (q *Quarantine) copyObject(ctx context.Context, from, to string) error {
	info, err := q.o.Store.Stat(ctx, from)
	if storage.IsNotExist(err) {
		if _, err = q.o.Store.Stat(ctx, to); err == nil {
			return nil
		}
	}
	if err != nil {
		return pacs.Wrap(pacs.Unavailable, err, "The object store does not give the data set back")
	}
	body, err := q.o.Store.Get(ctx, from, 0, -1)
	if err != nil {
		return pacs.Wrap(pacs.Unavailable, err, "The object store does not give the data set back")
	}
	defer func() { _ = body.Close() }()
	return storeFailure(q.o.Store.Put(ctx, to, info.Size, body))
}
