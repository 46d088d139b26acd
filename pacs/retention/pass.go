package retention

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
)

// Run is what one policy has done in one pass.
type Run struct {
	ID                   int64
	Policy               string // its name then
	Action               Action
	StartedAt            time.Time
	FinishedAt           time.Time // zero while it runs
	Studies              int
	Bytes                int64
	Failed               int
	policyID, afterStudy int64
	asOf                 time.Time
}

const runColumns = `id, policy_row, policy, action, as_of, started_at, finished_at, after_study, studies, bytes, failed`

func scanRun(row pgx.CollectableRow) (Run, error) {
	var run Run
	var finished *time.Time
	err := row.Scan(&run.ID, &run.policyID, &run.Policy, &run.Action, &run.asOf, &run.StartedAt, &finished, &run.afterStudy, &run.Studies, &run.Bytes, &run.Failed)
	if finished != nil {
		run.FinishedAt = *finished
	}
	return run, err
}

// Runs returns the latest runs, newest first.
func (r *Retention) Runs(ctx context.Context) ([]Run, error) {
	rows, err := r.pool.Query(ctx, `SELECT `+runColumns+` FROM retention_run ORDER BY started_at DESC, id DESC LIMIT 500`)
	if err != nil {
		return nil, failure(err)
	}
	list, err := pgx.CollectRows(rows, scanRun)
	return list, failure(err)
}

var (
	// ErrElsewhere: another node is at a pass.
	ErrElsewhere = errors.New("retention runs on another node")
	// ErrUnfinished: the time given to Pass was over before the work was.
	ErrUnfinished = errors.New("retention has more to do")

	errLimit = errors.New("the day's limit is reached")
)

const (
	// passLock is the advisory lock of whoever is at a pass: "retention".
	passLock = 0x726574656e74696f
	// runPage is how many candidates are looked up at once.
	runPage = 100
	// noted is how long storage says at least what was deleted: longer than
	// objects wait for being swept, and than a sweeper may be down.
	noted = 7 * 24 * time.Hour
	// maxFailures in a row end a pass: it is not the studies that are to blame.
	maxFailures = 10
)

// Pass works through the enabled policies, each once, until deadline. The name
// tells passes apart: called again with the same one, because it was
// ErrUnfinished or the process was killed, it goes on where it was.
//
//	ErrUnfinished  call again
//	ErrElsewhere   another node is at it
//	Unavailable    database or storage fail; call again later
func (r *Retention) Pass(ctx context.Context, name string, deadline time.Time) error {
	conn, err := r.pool.Acquire(ctx)
	if err != nil {
		return failure(err)
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		// Never back to the pool with the lock: its end ends that in any case.
		own := conn.Hijack()
		_, _ = own.Exec(closing, `SELECT pg_advisory_unlock_all()`)
		_ = own.Close(closing)
	}()
	var ours bool
	if err := conn.QueryRow(ctx, `SELECT pg_try_advisory_lock($1)`, int64(passLock)).Scan(&ours); err != nil {
		return failure(err)
	}
	if !ours {
		return ErrElsewhere
	}
	// Passes that nobody will go on with.
	if _, err := r.pool.Exec(ctx, `UPDATE retention_run SET finished_at = clock_timestamp() WHERE finished_at IS NULL AND pass <> $1`, name); err != nil {
		return failure(err)
	}
	list, err := policies(ctx, r.pool)
	if err != nil {
		return failure(err)
	}
	for _, p := range list {
		if !p.Enabled || p.Action == Keep {
			continue
		}
		if err := r.run(ctx, name, p, deadline); err != nil {
			return err
		}
	}
	if err := publish.ForgetDeletions(ctx, r.o.Store, r.now().Add(-noted), r.o.Log); err != nil {
		r.o.Log.Warn("what is said in storage of old deletions is not tidied away", "error", err)
	}
	return nil
}

// run works through one policy.
func (r *Retention) run(ctx context.Context, pass string, p Policy, deadline time.Time) error {
	run, begun, err := r.resume(ctx, pass, p)
	if err != nil || begun && !run.FinishedAt.IsZero() {
		return err
	}
	if !begun {
		run = Run{Policy: p.Name, Action: p.Action, policyID: p.ID, asOf: r.now().UTC().Truncate(time.Microsecond)}
	}
	failures := 0
	for {
		page, err := r.candidates(ctx, &run)
		if pacs.CodeOf(err) == pacs.NotFound {
			break // the policy is gone
		}
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		if run.ID == 0 {
			if err := r.begin(ctx, pass, &run); err != nil {
				return err
			}
		}
		for _, c := range page {
			if r.now().After(deadline) {
				return ErrUnfinished
			}
			err := r.touch(ctx, &run, c)
			switch {
			case errors.Is(err, errLimit):
				r.o.Log.Warn("retention has touched as many studies today as it may; it goes on tomorrow", "policy", p.ID, "limit", r.o.Limit)
				return r.finish(ctx, &run)
			case errors.Is(err, errDisabled):
				return r.finish(ctx, &run)
			case err == nil:
				failures = 0
				continue
			case ctx.Err() != nil:
				return ErrUnfinished
			}
			r.o.Log.Error("a retention policy can't be carried out on a study", "policy", p.ID, "action", p.Action, "study", c.UID, "error", err)
			if err := r.failed(ctx, &run, c); err != nil {
				return err
			}
			if failures++; failures >= maxFailures {
				return pacs.Wrap(pacs.Unavailable, err, "Retention fails on one study after the other; it is repeated later")
			}
		}
	}
	return r.finish(ctx, &run)
}

// resume finds the run of a policy in a pass.
func (r *Retention) resume(ctx context.Context, pass string, p Policy) (run Run, begun bool, err error) {
	rows, err := r.pool.Query(ctx, `SELECT `+runColumns+` FROM retention_run WHERE pass = $1 AND policy_row = $2`, pass, p.ID)
	if err != nil {
		return run, false, failure(err)
	}
	run, err = pgx.CollectExactlyOneRow(rows, scanRun)
	if errors.Is(err, pgx.ErrNoRows) {
		return run, false, nil
	}
	return run, err == nil, failure(err)
}

func (r *Retention) begin(ctx context.Context, pass string, run *Run) error {
	return failure(r.pool.QueryRow(ctx, `
		INSERT INTO retention_run (pass, policy_row, policy, action, as_of) VALUES ($1, $2, $3, $4, $5) RETURNING id`,
		pass, run.policyID, run.Policy, run.Action, run.asOf).Scan(&run.ID))
}

func (r *Retention) finish(ctx context.Context, run *Run) error {
	if run.ID == 0 {
		return nil // there was nothing to do
	}
	_, err := r.pool.Exec(ctx, `UPDATE retention_run SET finished_at = clock_timestamp() WHERE id = $1`, run.ID)
	return failure(err)
}

// candidates are the next studies of a run that nobody holds or works with. A
// page of others is passed over.
func (r *Retention) candidates(ctx context.Context, run *Run) (free []candidate, err error) {
	err = pgx.BeginTxFunc(ctx, r.pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		s, err := r.selectionOf(ctx, tx, run.policyID, run.asOf)
		if err != nil {
			return err
		}
		for len(free) == 0 {
			page, err := s.page(ctx, tx, run.afterStudy, 0, runPage)
			if err != nil || len(page) == 0 {
				return err
			}
			busy, err := r.busy(ctx, tx, page, false)
			if err != nil {
				return err
			}
			for _, c := range page {
				if !c.Held && !busy[c.ID] {
					free = append(free, c)
				}
			}
			if len(free) == 0 {
				run.afterStudy = page[len(page)-1].ID
			}
		}
		return nil
	})
	return free, failure(err)
}

func (r *Retention) failed(ctx context.Context, run *Run, c candidate) error {
	run.afterStudy = c.ID
	_, err := r.pool.Exec(ctx, `UPDATE retention_run SET failed = failed + 1, after_study = $2 WHERE id = $1`, run.ID, c.ID)
	return failure(err)
}

var (
	// errDisabled: the policy was changed or disabled while it ran.
	errDisabled = errors.New("the policy is not enabled any more")
	// errOther: the policy is not for this study any more.
	errOther = errors.New("the policy is not for this study any more")
)

// touch does what the policy says with one study. What takes long (writing
// objects) is done before; then one transaction looks again at policy, hold and
// everything else that the choice depends on, and changes the rows.
func (r *Retention) touch(ctx context.Context, run *Run, c candidate) error {
	w, err := r.prepare(ctx, run, c)
	if err != nil {
		return err
	}
	var bytes int64
	err = pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		// Changes of policies wait for us, and we for them.
		if _, err := tx.Exec(ctx, `LOCK TABLE retention_policy IN SHARE MODE`); err != nil {
			return err
		}
		s, err := r.selectionOf(ctx, tx, run.policyID, run.asOf)
		if pacs.CodeOf(err) == pacs.NotFound || err == nil && (!s.policy.Enabled || s.policy.Action != run.Action) {
			return errDisabled
		}
		if err != nil {
			return err
		}
		if err := index.LockUnheld(ctx, tx, c.ID); err != nil {
			return errors.Join(errOther, err)
		}
		again, err := s.page(ctx, tx, 0, c.ID, 1)
		if err != nil {
			return err
		}
		busy, err := r.busy(ctx, tx, again, true)
		if err != nil {
			return err
		}
		if len(again) == 0 || again[0].Held || busy[c.ID] {
			return errOther
		}
		if err := r.count(ctx, tx); err != nil {
			return err
		}
		if err := r.o.Touching(ctx, tx, c.ID, run.Action); err != nil {
			return err
		}
		if err := w.apply(ctx, tx); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, `SELECT $2 - bytes FROM study WHERE id = $1`, c.ID, again[0].Bytes).Scan(&bytes); err != nil {
			return err
		}
		if run.Action == MoveToCold {
			bytes = again[0].Bytes
		}
		who := access.System("retention")
		if err := access.Audit(ctx, tx, who.Event("retention."+string(run.Action), "study:"+c.UID, c.FacilityID).
			Because(fmt.Sprintf("policy %d, %s", s.policy.ID, s.policy.String()))); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE retention_run SET studies = studies + 1, bytes = bytes + $2, after_study = $3 WHERE id = $1`, run.ID, bytes, c.ID)
		return err
	})
	if err != nil {
		// Where the commit was done and its answer lost they are in use, and
		// this does nothing.
		err = errors.Join(err, r.packs.Abandon(ctx, w.prepared...))
	}
	switch {
	case errors.Is(err, errOther), errors.Is(err, index.ErrChanged):
		// Held, busy, deleted, received or merged meanwhile: another day.
		run.afterStudy = c.ID
		_, err := r.pool.Exec(ctx, `UPDATE retention_run SET after_study = $2 WHERE id = $1`, run.ID, c.ID)
		return failure(err)
	case errors.Is(err, errDisabled), errors.Is(err, errLimit):
		return err
	case err != nil:
		return failure(err)
	}
	run.afterStudy = c.ID
	if len(w.deleted) > 0 {
		d := publish.Deletion{Study: c.UID, At: r.now(), Action: string(run.Action), Policy: run.Policy, Packs: w.deleted}
		if err := d.Store(context.WithoutCancel(ctx), r.o.Store); err != nil {
			r.o.Log.Warn("what was deleted is not noted in storage; an index that is rebuilt within the next hour has it again", "study", c.UID, "error", err)
		}
	}
	r.o.Observe(run.Action, bytes)
	r.o.Log.Info("a retention policy was carried out", "policy", run.policyID, "action", run.Action, "study", c.UID, "run", strconv.FormatInt(run.ID, 10))
	return nil
}

// count counts a study against the day's limit.
func (r *Retention) count(ctx context.Context, tx pgx.Tx) error {
	var n int
	if err := tx.QueryRow(ctx, `
		INSERT INTO retention_day (day, studies) VALUES ($1, 1)
		ON CONFLICT (day) DO UPDATE SET studies = retention_day.studies + 1 RETURNING studies`, r.now().UTC().Format(time.DateOnly)).Scan(&n); err != nil {
		return err
	}
	if n > r.o.Limit {
		return errLimit
	}
	return nil
}
