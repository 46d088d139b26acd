package synthetic

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
)

// studies lists the rows of synthetic studies: theirs is the facility, and
// theirs are the packs. A real study that was sent for a synthetic facility,
// or a real image that was added to a synthetic study, is somebody's.
const studies = `
	SELECT s.id FROM study s JOIN facility f ON f.id = s.facility_row
	WHERE f.code LIKE '` + facilityPrefix + `%' AND NOT EXISTS (
		SELECT FROM series e JOIN pack k ON k.series_row = e.id
		WHERE e.study_row = s.id AND k.key NOT LIKE '` + index.SyntheticPrefix + `%')`

// Count counts the studies of real facilities and those of synthetic ones.
func Count(ctx context.Context, pool *pgxpool.Pool) (real, synthetic int, err error) {
	err = pool.QueryRow(ctx, `
		SELECT count(*) FILTER (WHERE NOT made_up), count(*) FILTER (WHERE made_up)
		FROM (SELECT f.code LIKE '`+facilityPrefix+`%' AS made_up FROM study s JOIN facility f ON f.id = s.facility_row) s`).Scan(&real, &synthetic)
	if err != nil {
		err = fmt.Errorf("counting studies: %w", err)
	}
	return real, synthetic, err
}

// removedAtOnce is how many studies go in one transaction.
const removedAtOnce = 20_000

// Remove deletes the synthetic studies and patients, and synthetic facilities
// with nothing left in them; progress is told how many studies of all are
// gone.
//
//	Conflict   something refers to a synthetic study: it was reported on, say
func Remove(ctx context.Context, pool *pgxpool.Pool, progress func(done, total int)) error {
	rows, err := pool.Query(ctx, studies+` ORDER BY s.id`)
	if err != nil {
		return fmt.Errorf("removing synthetic studies: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return fmt.Errorf("removing synthetic studies: %w", err)
	}
	for from := 0; from < len(ids); from += removedAtOnce {
		to := min(from+removedAtOnce, len(ids))
		if err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return removeStudies(ctx, tx, ids[from:to]) }); err != nil {
			return referred(err)
		}
		if progress != nil {
			progress(to, len(ids))
		}
	}
	_, err = pool.Exec(ctx, `
		DELETE FROM patient p USING facility f
			WHERE f.id = p.facility_row AND f.code LIKE '`+facilityPrefix+`%' AND NOT EXISTS (SELECT FROM study s WHERE s.patient_row = p.id);
		DELETE FROM facility f
			WHERE f.code LIKE '`+facilityPrefix+`%' AND NOT EXISTS (SELECT FROM patient p WHERE p.facility_row = f.id);`)
	if err != nil {
		return referred(err)
	}
	return tidy(ctx, pool)
}

func removeStudies(ctx context.Context, tx pgx.Tx, ids []int64) error {
	for _, sql := range []string{
		`DELETE FROM instance WHERE study_row = ANY($1)`,
		`DELETE FROM pack WHERE series_row IN (SELECT id FROM series WHERE study_row = ANY($1))`,
		`DELETE FROM series WHERE study_row = ANY($1)`,
		`DELETE FROM study WHERE id = ANY($1)`,
	} {
		if _, err := tx.Exec(ctx, sql, ids); err != nil {
			return err
		}
	}
	return nil
}

// referred says so when a row stays because another refers to it.
func referred(err error) error {
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == "23503" {
		return pacs.Wrap(pacs.Conflict, err, "Something refers to what was generated (a device, a reading task, a report): remove it first; the rest is gone or will go")
	}
	return fmt.Errorf("removing synthetic studies: %w", err)
}
