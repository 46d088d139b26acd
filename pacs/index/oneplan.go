package index

import (
	"context"
	"reflect"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// collectByUID is collect for queries that name what they want by UID. One plan
// is best for all values of these, so a connection makes it once (which is the
// opposite of plainPlans): a plan over all partitions takes ten times longer to
// make than to run, and a viewer asks for each frame. All goes in one round trip.
func collectByUID[T any](ctx context.Context, pool *pgxpool.Pool, sql string, args []any, scan pgx.RowToFunc[T]) (out []T, err error) {
	var batch pgx.Batch
	batch.Queue(`BEGIN READ ONLY`)
	batch.Queue(`SET LOCAL plan_cache_mode = force_generic_plan`)
	batch.Queue(sql, args...)
	batch.Queue(`COMMIT`)
	// A connection that is given back within a failed transaction is closed by
	// the pool.
	results := pool.SendBatch(ctx, &batch)
	defer func() {
		if closed := results.Close(); err == nil {
			err = fail(closed)
		}
	}()
	for range 2 {
		if _, err := results.Exec(); err != nil {
			return nil, fail(err)
		}
	}
	rows, err := results.Query()
	if err != nil {
		return nil, fail(err)
	}
	if out, err = pgx.CollectRows(rows, scan); err != nil {
		return nil, fail(err)
	}
	_, err = results.Exec()
	return out, fail(err)
}

// byUIDOnly says whether a filter names studies, and perhaps series and instances
// in them, by UID and asks for nothing else.
func byUIDOnly(f pacs.InstanceFilter) bool {
	named := pacs.InstanceFilter{SOPInstanceUIDs: f.SOPInstanceUIDs, Page: f.Page}
	named.Series.SeriesInstanceUIDs = f.Series.SeriesInstanceUIDs
	named.Series.Study.StudyInstanceUIDs = f.Series.Study.StudyInstanceUIDs
	return len(f.Series.Study.StudyInstanceUIDs) > 0 && reflect.DeepEqual(f, named)
}
