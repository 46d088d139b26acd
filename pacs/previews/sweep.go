package previews

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// SweepArgs is the periodic job that deletes the objects of previews that are
// gone, and looks for series that nobody has made any of.
type SweepArgs struct{}

// Kind implements river.JobArgs.
func (SweepArgs) Kind() string { return "sweep_previews" }

// InsertOpts implements river.JobArgsWithInsertOpts.
func (SweepArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: Queue, UniqueOpts: river.UniqueOpts{ByState: unfinished}}
}

// FindOrphansArgs is the periodic job that deletes objects without a row.
type FindOrphansArgs struct{}

// Kind implements river.JobArgs.
func (FindOrphansArgs) Kind() string { return "find_preview_orphans" }

// InsertOpts implements river.JobArgsWithInsertOpts.
func (FindOrphansArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: Queue, Priority: 4, UniqueOpts: river.UniqueOpts{ByState: unfinished}}
}

// SweepEvery is the pace of SweepArgs.
const SweepEvery = 5 * time.Minute

// SweepWorker runs SweepArgs.
type SweepWorker struct {
	river.WorkerDefaults[SweepArgs]
	Previews *Previews
}

// Work implements river.Worker.
func (w *SweepWorker) Work(ctx context.Context, _ *river.Job[SweepArgs]) error {
	if err := w.Previews.Sweep(ctx); err != nil {
		return err
	}
	jobs, err := river.ClientFromContextSafely[pgx.Tx](ctx)
	if err != nil {
		return err
	}
	more, err := w.Previews.walk(ctx, jobs)
	if err == nil && more {
		return river.JobSnooze(time.Second)
	}
	return err
}

// OrphansWorker runs FindOrphansArgs.
type OrphansWorker struct {
	river.WorkerDefaults[FindOrphansArgs]
	Previews *Previews
}

// Work implements river.Worker.
func (w *OrphansWorker) Work(ctx context.Context, _ *river.Job[FindOrphansArgs]) error {
	return w.Previews.Orphans(ctx, 24*time.Hour)
}

// Timeout implements river.Worker: the store may hold millions of objects.
func (w *OrphansWorker) Timeout(*river.Job[FindOrphansArgs]) time.Duration { return 12 * time.Hour }

const sweepAtOnce = 500

// Sweep deletes the objects of previews that are gone.
func (p *Previews) Sweep(ctx context.Context) error {
	for {
		rows, err := p.o.Index.Pool().Query(ctx, `SELECT key FROM preview_garbage ORDER BY at LIMIT $1`, sweepAtOnce)
		if err != nil {
			return fail(err)
		}
		keys, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil || len(keys) == 0 {
			return fail(err)
		}
		for _, key := range keys {
			if err := p.drop(ctx, key); err != nil {
				return err
			}
		}
	}
}

// drop deletes an object that no row has.
func (p *Previews) drop(ctx context.Context, key string) error {
	if err := p.o.Store.Delete(ctx, key); err != nil {
		return pacs.Wrap(pacs.Unavailable, err, "The object store does not delete a preview")
	}
	_, err := p.o.Index.Pool().Exec(ctx, `DELETE FROM preview_garbage WHERE key = $1`, key)
	return fail(err)
}

const walkAtOnce = 2000

// walk enqueues the studies of the next series that have no row; more says that
// there are further ones.
func (p *Previews) walk(ctx context.Context, jobs *river.Client[pgx.Tx]) (more bool, err error) {
	err = pgx.BeginFunc(ctx, p.o.Index.Pool(), func(tx pgx.Tx) error {
		var after int64
		if err := tx.QueryRow(ctx, `SELECT after_series FROM preview_walk FOR UPDATE`).Scan(&after); err != nil {
			return err
		}
		// A series that is just arriving has its own job.
		rows, err := tx.Query(ctx, `
			SELECT e.id, CASE WHEN e.has_pixels AND p.series_row IS NULL THEN e.study_row ELSE 0 END, s.completions
			FROM series e JOIN study s ON s.id = e.study_row LEFT JOIN preview p ON p.series_row = e.id
			WHERE e.id > $1 ORDER BY e.id LIMIT $2`, after, walkAtOnce)
		if err != nil {
			return err
		}
		var params []river.InsertManyParams
		seen := map[int64]bool{}
		var series, study int64
		var completions int
		count := 0
		if _, err := pgx.ForEachRow(rows, []any{&series, &study, &completions}, func() error {
			count++
			after = series
			if study != 0 && !seen[study] {
				seen[study] = true
				params = append(params, river.InsertManyParams{Args: MakeArgs{study, completions}})
			}
			return nil
		}); err != nil {
			return err
		}
		if more = count == walkAtOnce; len(params) > 0 {
			if _, err := jobs.InsertManyTx(ctx, tx, params); err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, `UPDATE preview_walk SET after_series = $1`, after)
		return err
	})
	return more, fail(err)
}

// Orphans deletes objects that are older than safe and have no row: what is left
// of a job that was killed, or of an index that was lost.
func (p *Previews) Orphans(ctx context.Context, safe time.Duration) error {
	before := time.Now().Add(-safe)
	var keys []string
	flush := func() error {
		rows, err := p.o.Index.Pool().Query(ctx, `
			SELECT key FROM unnest($1::text[]) key WHERE NOT EXISTS (SELECT FROM preview p WHERE p.key = key.key)`, keys)
		if err != nil {
			return fail(err)
		}
		unknown, err := pgx.CollectRows(rows, pgx.RowTo[string])
		for _, key := range unknown {
			err = errors.Join(err, p.drop(ctx, key))
		}
		keys = keys[:0]
		return fail(err)
	}
	for o, err := range p.o.Store.List(ctx, Prefix) {
		if err != nil {
			return err
		}
		if !o.ModTime.Before(before) || !strings.HasPrefix(o.Key, Prefix) {
			continue
		}
		if keys = append(keys, o.Key); len(keys) == sweepAtOnce {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}
