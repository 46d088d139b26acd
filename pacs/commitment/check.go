package commitment

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs/dimse"
)

// safe is the outcome of an instance that may be deleted where it came from.
const safe = 0

// The first pauses while instances are on their way, and the later ones.
const (
	firstWait = 500 * time.Millisecond
	laterWait = 10 * time.Second
	quickFor  = 20 * time.Second
)

// found is an instance of the index that a request names.
type found struct {
	position int
	asked    string // SOP class
	class    string
	sop      string
	pack     int64
	whole    bool // its pixel data are there
}

// check finds out what has no outcome yet. wait is not 0 while something may
// still be on its way.
func (c *Commitments) check(ctx context.Context, r open) (wait time.Duration, err error) {
	list, err := c.found(ctx, r)
	if err != nil {
		return 0, err
	}
	outcomes := map[int]dimse.Code{}
	byPack := map[int64][]found{}
	for _, f := range list {
		switch {
		case f.class != f.asked:
			outcomes[f.position] = dimse.ClassInstanceConflict
		case !f.whole:
			outcomes[f.position] = dimse.ProcessingFailure
		default:
			byPack[f.pack] = append(byPack[f.pack], f)
		}
	}
	for pack, instances := range byPack {
		unsound, gone, err := c.o.Verifier.Unsound(ctx, pack)
		if err != nil {
			return 0, err
		}
		if gone {
			continue // and found elsewhere the next time
		}
		for _, f := range instances {
			outcomes[f.position] = safe
			if slices.Contains(unsound, f.sop) {
				outcomes[f.position] = dimse.ProcessingFailure
			}
		}
		// What was read is known, whatever happens to the rest.
		if err := c.record(ctx, r.id, outcomes); err != nil {
			return 0, err
		}
		clear(outcomes)
	}
	if err := c.record(ctx, r.id, outcomes); err != nil {
		return 0, err
	}
	return c.left(ctx, r)
}

// found looks for the instances in what the sender may see.
func (c *Commitments) found(ctx context.Context, r open) ([]found, error) {
	rows, err := c.pool.Query(ctx, `
		SELECT DISTINCT ON (c.position) c.position, c.sop_class, i.sop_class, i.sop_uid, i.pack_row, i.pixels_deleted IS NULL
		FROM commitment_instance c JOIN instance i ON i.sop_uid = c.sop_uid AND i.current JOIN study s ON s.id = i.study_row
		WHERE c.commitment_row = $1 AND c.outcome IS NULL AND ($2::bigint[] IS NULL OR s.facility_row = ANY($2))
		ORDER BY c.position, i.sop_class = c.sop_class DESC`, r.id, r.facilities)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (f found, err error) {
		return f, row.Scan(&f.position, &f.asked, &f.class, &f.sop, &f.pack, &f.whole)
	})
}

func (c *Commitments) record(ctx context.Context, id int64, outcomes map[int]dimse.Code) error {
	if len(outcomes) == 0 {
		return nil
	}
	var positions, codes []int
	for position, code := range outcomes {
		positions, codes = append(positions, position), append(codes, int(code))
	}
	_, err := c.pool.Exec(ctx, `UPDATE commitment_instance i SET outcome = o.code
		FROM unnest($2::int[], $3::int[]) AS o(position, code) WHERE i.commitment_row = $1 AND i.position = o.position`, id, positions, codes)
	return err
}

// left says how long to wait for what has no outcome, or gives up on it.
func (c *Commitments) left(ctx context.Context, r open) (time.Duration, error) {
	var unknown int
	var age float64
	if err := c.pool.QueryRow(ctx, `SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - $2::timestamptz), 0)::float8
		FROM commitment_instance WHERE commitment_row = $1 AND outcome IS NULL`, r.id, r.requestedAt).Scan(&unknown, &age); err != nil {
		return 0, err
	}
	waited := time.Duration(age * float64(time.Second))
	switch {
	case unknown > 0 && waited < min(quickFor, c.o.Patience):
		return firstWait, nil
	case unknown > 0 && waited < c.o.Patience:
		return laterWait, nil
	}
	return 0, pgx.BeginFunc(ctx, c.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `UPDATE commitment_instance SET outcome = $2 WHERE commitment_row = $1 AND outcome IS NULL`, r.id, int(dimse.NoSuchInstance)); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE commitment SET state = 'reporting' WHERE id = $1`, r.id)
		return err
	})
}
