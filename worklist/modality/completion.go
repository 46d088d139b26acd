package modality

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/worklist"
)

// end notes that a step has ended and asks to look at its studies.
func (s *Steps) end(ctx context.Context, tx pgx.Tx, uid string) error {
	rows, err := tx.Query(ctx, `UPDATE performed_study SET pending = true WHERE sop_uid = $1 RETURNING study_uid`, uid)
	if err != nil {
		return err
	}
	studies, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || s.Ended == nil {
		return err
	}
	for _, study := range studies {
		if err := s.Ended(ctx, tx, study); err != nil {
			return err
		}
	}
	return nil
}

// Arriving looks, in the transaction that indexes images of a study, whether a
// step that has ended waits for them, and has the study looked at then.
func (s *Steps) Arriving(ctx context.Context, tx pgx.Tx, studyUID string) error {
	var waits bool
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM performed_study WHERE study_uid = $1 AND pending)`, studyUID).Scan(&waits)
	if err != nil || !waits || s.Ended == nil {
		return err
	}
	return s.Ended(ctx, tx, studyUID)
}

// Complete completes a study whose performed steps have all ended and whose
// instances that they name are all published; a step that was discontinued may
// name none, and leaves what there is. In any other case it does nothing: images
// that come later have the study looked at again, and one that stays quiet is
// completed in time. completed is called in the completing transaction. late,
// when set, is called in one that notes that the steps of a study, which was
// complete already, have ended: what was told of it didn't name them.
func (s *Steps) Complete(ctx context.Context, studyUID string, completed func(context.Context, pgx.Tx, pacs.Study) error, late func(ctx context.Context, tx pgx.Tx, studyID int64) error) error {
	var row int64
	var steps []string
	err := s.pool.QueryRow(ctx, `
		SELECT st.id, array_agg(o.sop_uid) FROM study st
			JOIN performed_study o USING (study_uid) JOIN performed_step p ON p.sop_uid = o.sop_uid AND p.facility_row = st.facility_row
		WHERE st.study_uid = $1 AND o.pending
			AND NOT EXISTS (SELECT FROM performed_study o JOIN performed_step p USING (sop_uid)
				WHERE o.study_uid = $1 AND p.facility_row = st.facility_row AND (
					p.state = 'in_progress'
					OR EXISTS (SELECT FROM unnest(p.instances) named WHERE NOT EXISTS (
						SELECT FROM instance i JOIN study its ON its.id = i.study_row
						WHERE i.sop_uid = named AND i.current AND its.facility_row = p.facility_row))))
		GROUP BY st.id`, studyUID).Scan(&row, &steps)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return worklist.Failure(err)
	}
	told := false
	if _, err := s.index.Complete(ctx, row, 0, func(ctx context.Context, tx pgx.Tx, study pacs.Study) error {
		told = true
		return completed(ctx, tx, study)
	}); err != nil {
		return err
	}
	// A step that ends meanwhile is another job's, and so are those that another
	// job was faster with.
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		done, err := tx.Exec(ctx, `UPDATE performed_study SET pending = false WHERE study_uid = $1 AND sop_uid = ANY($2) AND pending`, studyUID, steps)
		if err != nil || told || late == nil || done.RowsAffected() == 0 {
			return err
		}
		return late(ctx, tx, row)
	})
	return worklist.Failure(err)
}

// CompleteArgs is the job that looks whether a study is complete.
type CompleteArgs struct {
	StudyUID string `json:"study"`
}

// Kind implements river.JobArgs.
func (CompleteArgs) Kind() string { return "complete_performed_study" }

// CompleteWorker runs CompleteArgs.
type CompleteWorker struct {
	river.WorkerDefaults[CompleteArgs]
	Steps *Steps
	// Completed is called in the transaction that completes a study.
	Completed func(ctx context.Context, tx pgx.Tx, study pacs.Study) error
	// Late is called when steps have ended after their study was complete.
	Late func(ctx context.Context, tx pgx.Tx, studyID int64) error
}

// Work implements river.Worker.
func (w *CompleteWorker) Work(ctx context.Context, job *river.Job[CompleteArgs]) error {
	return w.Steps.Complete(ctx, job.Args.StudyUID, w.Completed, w.Late)
}

// Enqueue adds the job that looks at a study. One that runs may have looked
// already, and looking costs little, so each time has its own.
func Enqueue(ctx context.Context, jobs *river.Client[pgx.Tx], tx pgx.Tx, studyUID string) error {
	_, err := jobs.InsertTx(ctx, tx, CompleteArgs{StudyUID: studyUID}, nil)
	return err
}
