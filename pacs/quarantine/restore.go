package quarantine

import (
	"context"
	"encoding/json"
	"io"
	"path"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/storage"
)

// Restore makes the rows anew from object storage and returns how many were
// missing. Rows that are there stay as they are.
func (q *Quarantine) Restore(ctx context.Context) (n int, err error) {
	for _, from := range []struct{ prefix, state string }{{keptPrefix, "kept"}, {releasedPrefix, "released"}} {
		for info, err := range q.o.Store.List(ctx, from.prefix) {
			if err != nil {
				return n, pacs.Wrap(pacs.Unavailable, err, "The object store can't be listed")
			}
			id, ok := strings.CutSuffix(path.Base(info.Key), ".json")
			if !ok || !validID(id) || info.Key != entryKey(from.prefix, id) {
				continue
			}
			added, err := q.restore(ctx, from.prefix, id, from.state)
			if err != nil {
				return n, err
			}
			if added {
				n++
			}
		}
	}
	return n, q.refresh(ctx)
}

// maxEntry bounds what is read of an object that should be an entry.
const maxEntry = 64 << 10

func (q *Quarantine) restore(ctx context.Context, prefix, id, state string) (added bool, err error) {
	stored, err := q.o.Store.Stat(ctx, bytesKey(prefix, id))
	if storage.IsNotExist(err) {
		return false, nil // it was being kept or deleted when that ended
	}
	if err != nil {
		return false, pacs.Wrap(pacs.Unavailable, err, "The object store does not answer")
	}
	body, err := q.o.Store.Get(ctx, entryKey(prefix, id), 0, -1)
	if err != nil {
		return false, pacs.Wrap(pacs.Unavailable, err, "The object store does not answer")
	}
	raw, err := io.ReadAll(io.LimitReader(body, maxEntry))
	_ = body.Close()
	if err != nil {
		return false, pacs.Wrap(pacs.Unavailable, err, "The object store does not answer")
	}
	var item Item
	if err := json.Unmarshal(raw, &item); err != nil || item.ID != id || item.Bytes != stored.Size {
		q.o.Log.Error("an entry of the quarantine can't be read; its data set stays in object storage and out of the list", "item", id, "error", err)
		return false, nil
	}
	err = pgx.BeginFunc(ctx, q.pool, func(tx pgx.Tx) error {
		// One that was being released when its node ended is both: kept wins.
		added, err = insert(ctx, tx, item, state)
		return err
	})
	return added && err == nil, failure(err)
}
