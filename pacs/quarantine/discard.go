package quarantine

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
)

// Discard deletes items for good and returns how many. Those out of scope, gone
// or being released are passed over. The audit trail keeps who, when and why;
// it is written before anything is deleted.
func (q *Quarantine) Discard(ctx context.Context, who *access.Identity, ids []string, why string) (int, error) {
	why = strings.TrimSpace(why)
	if why == "" {
		return 0, pacs.Errorf(pacs.Invalid, "Say why it is deleted: the audit trail keeps it").WithReason("why", "")
	}
	discarded := 0
	for _, id := range ids {
		if !validID(id) {
			continue
		}
		var size int64
		err := pgx.BeginFunc(ctx, q.pool, func(tx pgx.Tx) error {
			var c conditions
			c.add(`i.id = ?`, id)
			c.add(waiting)
			c.scope(who.Scope)
			var facility int64
			err := tx.QueryRow(ctx, `
				UPDATE quarantine_item i SET state = 'discarding' FROM facility f
				WHERE f.id = i.facility_row AND `+c.where()+` RETURNING i.facility_row, i.bytes`, c.args...).Scan(&facility, &size)
			if err != nil {
				return err
			}
			return access.Audit(ctx, tx, who.Event("quarantine.discard", "quarantine:"+id, facility).Because(why))
		})
		if pacs.CodeOf(failure(err)) == pacs.NotFound {
			continue
		}
		if err != nil {
			return discarded, failure(err)
		}
		discarded++
		if err := q.finishDiscard(ctx, id, size); err != nil {
			// Decided and on record; Run finishes it.
			q.o.Log.Warn("an item's objects could not be deleted yet", "item", id, "error", err)
		}
	}
	return discarded, nil
}

// finishDiscard deletes the objects of an item and says so in its row.
func (q *Quarantine) finishDiscard(ctx context.Context, id string, size int64) error {
	if err := q.deleteObjects(ctx, id); err != nil {
		return err
	}
	tag, err := q.pool.Exec(ctx, `UPDATE quarantine_item SET state = 'gone', gone_at = clock_timestamp() WHERE id = $1 AND state = 'discarding'`, id)
	if err == nil && tag.RowsAffected() == 1 {
		q.freed(size)
	}
	return failure(err)
}

// deleteObjects deletes what Restore finds an item by, then its bytes.
func (q *Quarantine) deleteObjects(ctx context.Context, id string) error {
	for _, key := range []string{entryKey(keptPrefix, id), bytesKey(keptPrefix, id)} {
		if err := q.o.Store.Delete(ctx, key); err != nil {
			return pacs.Wrap(pacs.Unavailable, err, "The object store does not delete")
		}
	}
	return nil
}

// finishDiscards finishes what was interrupted.
func (q *Quarantine) finishDiscards(ctx context.Context) error {
	type left struct {
		ID    string
		Bytes int64
	}
	rows, err := q.pool.Query(ctx, `SELECT id, bytes FROM quarantine_item WHERE state = 'discarding' LIMIT 1000`)
	if err != nil {
		return failure(err)
	}
	items, err := pgx.CollectRows(rows, pgx.RowToStructByPos[left])
	if err != nil {
		return failure(err)
	}
	for _, item := range items {
		if err := q.finishDiscard(ctx, item.ID, item.Bytes); err != nil {
			return err
		}
	}
	return nil
}
