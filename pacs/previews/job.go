package previews

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// Queue is the queue of all work on previews. One worker per node: decoding
// takes a processor, and nobody waits for it.
const Queue = "previews"

// unfinished are the states of a job that stands for another of its kind.
var unfinished = []rivertype.JobState{
	rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable,
	rivertype.JobStateRunning, rivertype.JobStateScheduled,
}

// MakeArgs is the job that makes the previews of a study. Completions numbers the
// study's completions: what arrives while a job runs is seen by the next.
type MakeArgs struct {
	StudyID     int64 `json:"study"`
	Completions int   `json:"completions"`
}

// Kind implements river.JobArgs.
func (MakeArgs) Kind() string { return "make_previews" }

// InsertOpts implements river.JobArgsWithInsertOpts.
func (MakeArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: Queue, MaxAttempts: 8, Priority: 3, UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: unfinished}}
}

// pause is how long a job waits for more of the study: one then serves for what
// comes at once.
const pause = 3 * time.Second

// Enqueue adds the job that makes the previews of a study after something of it
// was published, unless one waits already.
func Enqueue(ctx context.Context, jobs *river.Client[pgx.Tx], tx pgx.Tx, studyID int64, completions int) error {
	opts := MakeArgs{}.InsertOpts()
	opts.ScheduledAt = time.Now().Add(pause)
	_, err := jobs.InsertTx(ctx, tx, MakeArgs{studyID, completions}, &opts)
	return err
}

// EnqueueCompleted adds it in the transaction that completes the study.
func EnqueueCompleted(ctx context.Context, jobs *river.Client[pgx.Tx], tx pgx.Tx, studyID int64) error {
	args := MakeArgs{StudyID: studyID}
	if err := tx.QueryRow(ctx, `SELECT completions FROM study WHERE id = $1`, studyID).Scan(&args.Completions); err != nil {
		return err
	}
	_, err := jobs.InsertTx(ctx, tx, args, nil)
	return err
}

// Worker runs MakeArgs.
type Worker struct {
	river.WorkerDefaults[MakeArgs]
	Previews *Previews
}

// Work implements river.Worker.
func (w *Worker) Work(ctx context.Context, job *river.Job[MakeArgs]) error {
	return w.Previews.Study(ctx, job.Args.StudyID)
}

// Timeout implements river.Worker. What was made stays made, so that the next
// attempt goes on.
func (w *Worker) Timeout(*river.Job[MakeArgs]) time.Duration { return 4 * time.Minute }

// due is a series that may need new pictures.
type due struct {
	series       int64
	studyUID     string
	seriesUID    string
	instances    int
	sopUID, key  string // of the pictures there are
	small, large int
}

// Study makes the pictures of a study's series that need some. One that can't be
// made, for whatever reason, is left out and keeps no other; what may pass by
// itself is returned then.
func (p *Previews) Study(ctx context.Context, studyID int64) error {
	series, err := p.due(ctx, studyID)
	if err != nil || len(series) == 0 {
		return err
	}
	middle, err := p.o.Index.MiddleInstances(ctx, pacs.System("previews"), studyID)
	if err != nil {
		return err
	}
	var later error
	for _, d := range series {
		sop := middle[d.series]
		if sop == "" {
			continue // no image is current
		}
		if err := p.make(ctx, studyID, d, sop); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			later = errors.Join(later, err)
		}
	}
	return later
}

// due lists the series that have no pictures, have twice as many instances as
// when those were made, or show something else in a complete study.
func (p *Previews) due(ctx context.Context, studyID int64) ([]due, error) {
	rows, err := p.o.Index.Pool().Query(ctx, `
		SELECT e.id, s.study_uid, e.series_uid, e.instance_count, coalesce(p.sop_uid, ''), coalesce(p.key, ''), coalesce(p.small, 0), coalesce(p.large, 0)
		FROM study s JOIN series e ON e.study_row = s.id LEFT JOIN preview p ON p.series_row = e.id
		WHERE s.id = $1 AND s.deleted_at IS NULL AND e.has_pixels
			AND (p.series_row IS NULL OR e.instance_count >= 2 * p.instances AND e.instance_count > p.instances
				OR s.completed_at IS NOT NULL AND e.instance_count <> p.instances
				OR NOT EXISTS (SELECT FROM instance i WHERE i.study_row = s.id AND i.sop_uid = p.sop_uid AND i.current AND i.rejected IS NULL))
		ORDER BY e.number, e.id`, studyID)
	if err != nil {
		return nil, fail(err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (d due, err error) {
		err = row.Scan(&d.series, &d.studyUID, &d.seriesUID, &d.instances, &d.sopUID, &d.key, &d.small, &d.large)
		return d, err
	})
	return all, fail(err)
}

// make makes the pictures of one series of the instance sop.
func (p *Previews) make(ctx context.Context, studyID int64, d due, sop string) error {
	if sop == d.sopUID && d.key != "" {
		return p.note(ctx, studyID, d, sop, place{d.key, int64(d.small), int64(d.large)}, "")
	}
	filter := pacs.InstanceFilter{SOPInstanceUIDs: []string{sop}, Page: pacs.Page{Limit: 1}}
	filter.Series.SeriesInstanceUIDs = []string{d.seriesUID}
	filter.Series.Study.StudyInstanceUIDs = []string{d.studyUID}
	found, _, err := p.o.Index.Instances(ctx, pacs.System("previews"), filter)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return nil // gone since
	}
	small, large, err := p.pictures(ctx, found[0])
	if code := pacs.CodeOf(err); code == pacs.Unsupported || code == pacs.Invalid {
		p.o.Made(err)
		p.o.Log.Debug("there is no preview of a series", "series", d.series, "error", err)
		return p.note(ctx, studyID, d, sop, place{}, pacs.MessageOf(err))
	}
	if err != nil {
		p.o.Made(err)
		return err
	}
	content := append(small, large...)
	at := place{keyOf(d.studyUID, d.seriesUID), int64(len(small)), int64(len(large))}
	if err := p.o.Store.Put(ctx, at.key, int64(len(content)), bytes.NewReader(content)); err != nil {
		return pacs.Wrap(pacs.Unavailable, err, "The object store does not take a preview")
	}
	p.o.Made(nil)
	return p.note(ctx, studyID, d, sop, at, "")
}

// note writes the row of a series, unless its pixels are gone meanwhile. The
// object that was there before is garbage then.
func (p *Previews) note(ctx context.Context, studyID int64, d due, sop string, at place, problem string) error {
	err := pgx.BeginFunc(ctx, p.o.Index.Pool(), func(tx pgx.Tx) error {
		// Locked first: a deletion comes before, or finds the row.
		var there bool
		err := tx.QueryRow(ctx, `SELECT has_pixels FROM series WHERE id = $1 FOR SHARE`, d.series).Scan(&there)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		old := d.key
		if !there {
			old = at.key
		} else if _, err := tx.Exec(ctx, `
			INSERT INTO preview (series_row, study_row, instances, sop_uid, key, small, large, problem) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (series_row) DO UPDATE SET instances = EXCLUDED.instances, sop_uid = EXCLUDED.sop_uid, key = EXCLUDED.key,
				small = EXCLUDED.small, large = EXCLUDED.large, problem = EXCLUDED.problem, made_at = clock_timestamp()`,
			d.series, studyID, d.instances, sop, at.key, at.small, at.large, problem); err != nil {
			return err
		}
		if old == "" || there && old == at.key {
			return nil
		}
		_, err = tx.Exec(ctx, `INSERT INTO preview_garbage (key) VALUES ($1) ON CONFLICT DO NOTHING`, old)
		return err
	})
	return fail(err)
}
