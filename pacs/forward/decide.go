package forward

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// Args is the job that asks the rules what is to be sent.
type Args struct {
	Occasion Occasion `json:"occasion"`
	StudyID  int64    `json:"study,omitempty"`
	Order    string   `json:"order,omitempty"` // ID
}

// Kind implements river.JobArgs.
func (Args) Kind() string { return "forward" }

// Enqueue adds the job, in the transaction that is the occasion: what is committed
// will be asked about, whatever happens to this node. It adds none while no rule
// waits for such an occasion.
func Enqueue(ctx context.Context, jobs *river.Client[pgx.Tx], tx pgx.Tx, a Args) error {
	var waited bool
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM forward_rule WHERE enabled AND occasion = $1)`, a.Occasion).Scan(&waited); err != nil || !waited {
		return err
	}
	_, err := jobs.InsertTx(ctx, tx, a, nil)
	return err
}

// Worker runs Args.
type Worker struct {
	river.WorkerDefaults[Args]
	Forwarding *Forwarding
}

// Work implements river.Worker.
func (w *Worker) Work(ctx context.Context, job *river.Job[Args]) error {
	return w.Forwarding.Decide(ctx, job.Args)
}

// Decide asks the rules of an occasion and queues what they want sent. To repeat it
// does no harm: what was sent is not sent again.
func (f *Forwarding) Decide(ctx context.Context, a Args) error {
	rules, err := rulesWhere(ctx, f.pool, `WHERE r.enabled AND r.occasion = $1 ORDER BY r.id`, a.Occasion)
	if err != nil || len(rules) == 0 {
		return failure(err)
	}
	about, patients, err := f.about(ctx, a)
	switch {
	case pacs.CodeOf(err) == pacs.NotFound:
		return nil // deleted meanwhile
	case err != nil:
		return failure(err)
	}
	for _, r := range rules {
		wanted, err := r.matches(about, f.o.Now())
		if err != nil {
			// A rule that fails on one study must not stop the others. The error
			// may quote what the study says of the patient.
			f.o.Log.Warn("a forwarding rule failed and was passed over", "rule", r.ID, "study", about.study.StudyInstanceUID)
			f.o.Log.Debug("why a forwarding rule failed", "rule", r.ID, "error", err)
			continue
		}
		if len(wanted) == 0 {
			continue
		}
		if r.Priors != nil {
			err = f.queuePriors(ctx, r, about.study, patients)
		} else {
			err = f.queue(ctx, r, about.study, wanted)
		}
		if err != nil {
			return failure(err)
		}
	}
	f.Nudge()
	return nil
}

// about is the study of an occasion, or what an order expects of one, and whose it
// is: rows of the patient.
func (f *Forwarding) about(ctx context.Context, a Args) (described, []int64, error) {
	if a.Order != "" {
		if f.o.Order == nil {
			return described{}, nil, pacs.Errorf(pacs.NotFound, "This archive has no orders")
		}
		expected, err := f.o.Order(ctx, a.Order)
		if err != nil {
			return described{}, nil, err
		}
		patients, err := f.patientsOf(ctx, expected)
		return described{study: pacs.Study{
			Facility: expected.Facility, Patient: expected.Patient, Modalities: append([]string{}, expected.Modalities...),
			Description: expected.Description, Question: expected.Question, BodyParts: []string{},
		}, senders: []string{}}, patients, err
	}
	list, err := f.describe(ctx, []int64{a.StudyID})
	if err == nil && len(list) == 0 {
		err = pacs.Errorf(pacs.NotFound, "There is no such study")
	}
	if err != nil {
		return described{}, nil, err
	}
	return list[0], []int64{list[0].study.Patient.ID}, nil
}

// queue puts a study, or series of it, into the queue. What waits there already
// stays where it is; what has ended is looked at again, for what is new.
func (f *Forwarding) queue(ctx context.Context, r Rule, study pacs.Study, series []string) error {
	now := f.o.Now()
	state, at := Waiting, now
	if open, opens := r.Window.At(now); !open {
		state, at = Scheduled, opens
	}
	return pgx.BeginFunc(ctx, f.pool, func(tx pgx.Tx) error {
		for _, uid := range series {
			if _, err := tx.Exec(ctx, `
				INSERT INTO forward_item AS known (rule_row, target_row, study_row, study_uid, series_uid, facility_row, occasion, state, priority, queued_at, next_attempt_at)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
				ON CONFLICT (rule_row, target_row, study_row, series_uid) DO UPDATE SET
					asked = known.asked + 1, occasion = EXCLUDED.occasion, priority = EXCLUDED.priority,
					queued_at       = CASE WHEN known.ended_at IS NULL THEN known.queued_at ELSE EXCLUDED.queued_at END,
					next_attempt_at = CASE WHEN known.ended_at IS NULL THEN known.next_attempt_at ELSE EXCLUDED.next_attempt_at END,
					give_up_at      = CASE WHEN known.ended_at IS NULL THEN known.give_up_at END,
					attempts        = CASE WHEN known.ended_at IS NULL THEN known.attempts ELSE 0 END,
					state           = CASE WHEN known.ended_at IS NULL THEN known.state ELSE EXCLUDED.state END,
					ended_at        = NULL
				WHERE known.state <> 'cancelled'`,
				r.ID, r.Target.ID, study.ID, study.StudyInstanceUID, uid, study.Facility.ID, r.Occasion, state, slot(r.Priority), now, at); err != nil {
				return err
			}
		}
		return nil
	})
}

// slot is a priority in the database.
func slot(p Priority) int {
	for i, known := range priorities {
		if known == p {
			return i + 1
		}
	}
	return len(priorities)
}
