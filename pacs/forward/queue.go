package forward

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
)

// State is where an item of the queue is.
type State string

const (
	Waiting   State = "waiting"   // for its turn, or for another attempt
	Scheduled State = "scheduled" // for its rule's time window
	Sending   State = "sending"
	Sent      State = "sent"
	Failed    State = "failed" // given up: to repeat it does not help, or was tried for long enough
	Paused    State = "paused"
	Cancelled State = "cancelled"
)

// States lists all.
var States = []State{Waiting, Scheduled, Sending, Sent, Failed, Paused, Cancelled}

// Item is a study, or a series of it, on its way to a target.
type Item struct {
	ID         int64
	RuleID     int64  // 0: the rule was removed
	Rule       string // its name
	Target     Target
	Facility   pacs.Facility
	StudyUID   string
	SeriesUID  string // "": all of the study
	Occasion   Occasion
	State      State
	Held       bool // its rule or its target is paused
	Priority   Priority
	Total      int // instances, as far as they are counted
	Sent       int
	Failed     int
	Attempts   int
	QueuedAt   time.Time
	NextAt     time.Time // of a waiting or scheduled one
	EndedAt    time.Time // zero: it has not
	LastError  string
	Patient    string // DICOM PN form; "" when the study is gone
	Date       string // of the study, DICOM form
	Modalities []string
	Study      string // description
}

// ItemFilter asks for items; empty fields match everything.
type ItemFilter struct {
	States   []State
	RuleID   int64
	TargetID int64
	StudyUID string
	After    int64 // items older than this one
	Limit    int   // default and most: 100
}

const maxItems = 100

// where are the conditions of a filter, over item i, within a scope.
func (q ItemFilter) where(scope pacs.Scope) (string, pgx.NamedArgs) {
	states := make([]string, len(q.States))
	for i, s := range q.States {
		states[i] = string(s)
	}
	return `(cardinality(@states::text[]) = 0 OR i.state = ANY(@states)) AND (@rule::bigint = 0 OR i.rule_row = @rule)
		AND (@target::bigint = 0 OR i.target_row = @target) AND (@study::text = '' OR i.study_uid = @study) AND (@all OR i.facility_row = ANY(@facilities))`,
		pgx.NamedArgs{
			"states": states, "rule": q.RuleID, "target": q.TargetID, "study": q.StudyUID,
			"all": scope.All, "facilities": append([]int64{}, scope.FacilityIDs...),
		}
}

// Items returns the newest items that match, and where to go on; next is 0 at the
// end. by needs AdminForwarding.
func (f *Forwarding) Items(ctx context.Context, by *access.Identity, q ItemFilter) (list []Item, next int64, err error) {
	if err := must(by); err != nil {
		return nil, 0, err
	}
	if q.Limit <= 0 || q.Limit > maxItems {
		q.Limit = maxItems
	}
	where, args := q.where(by.Scope)
	args["after"], args["limit"] = q.After, q.Limit+1
	list, err = itemsWhere(ctx, f.pool, where+` AND (@after::bigint = 0 OR i.id < @after) ORDER BY i.id DESC LIMIT @limit`, args)
	if len(list) > q.Limit {
		list = list[:q.Limit]
		next = list[q.Limit-1].ID
	}
	return list, next, failure(err)
}

func itemsWhere(ctx context.Context, q querier, where string, args ...any) ([]Item, error) {
	rows, err := q.Query(ctx, `
		SELECT i.id, coalesce(i.rule_row, 0), coalesce(r.name, ''), coalesce(r.paused, false), f.id, f.code, f.name, i.study_uid, i.series_uid, i.occasion, i.state, i.priority,
			i.total, i.sent, i.failed, i.attempts, i.queued_at, i.next_attempt_at, i.ended_at, i.last_error,
			coalesce(p.name, ''), coalesce(s.study_date, ''), coalesce(s.modalities, '{}'), coalesce(s.description, ''), `+targetColumns+`
		FROM forward_item i JOIN forward_target t ON t.id = i.target_row JOIN facility f ON f.id = i.facility_row
			LEFT JOIN forward_rule r ON r.id = i.rule_row LEFT JOIN study s ON s.id = i.study_row AND s.study_uid = i.study_uid LEFT JOIN patient p ON p.id = s.patient_row
		WHERE `+where, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (i Item, err error) {
		var priority int
		var rulePaused bool
		var ended *time.Time
		err = row.Scan(append([]any{
			&i.ID, &i.RuleID, &i.Rule, &rulePaused, &i.Facility.ID, &i.Facility.Code, &i.Facility.Name, &i.StudyUID, &i.SeriesUID, &i.Occasion, &i.State, &priority,
			&i.Total, &i.Sent, &i.Failed, &i.Attempts, &i.QueuedAt, &i.NextAt, &ended, &i.LastError,
			&i.Patient, &i.Date, &i.Modalities, &i.Study,
		}, i.Target.columns()...)...)
		if err != nil {
			return i, err
		}
		i.Priority, i.Held = priorities[priority-1], rulePaused || i.Target.Paused
		if ended != nil {
			i.EndedAt = *ended
		}
		if i.State == Waiting && i.Target.RestingUntil.After(i.NextAt) {
			i.NextAt = i.Target.RestingUntil
		}
		return i, nil
	})
}

// FailedInstance is an instance that was not taken, and why.
type FailedInstance struct {
	SOPInstanceUID string
	Why            string
}

// maxFailed is how many failed instances of an item are shown.
const maxFailed = 100

// Item returns one item with what of it has failed.
//
//	NotFound  there is no such item in by's sight
func (f *Forwarding) Item(ctx context.Context, by *access.Identity, id int64) (Item, []FailedInstance, error) {
	if err := must(by); err != nil {
		return Item{}, nil, err
	}
	list, err := itemsWhere(ctx, f.pool, `i.id = $1 AND ($2 OR i.facility_row = ANY($3))`, id, by.Scope.All, append([]int64{}, by.Scope.FacilityIDs...))
	if err != nil {
		return Item{}, nil, failure(err)
	}
	if len(list) == 0 {
		return Item{}, nil, pacs.Errorf(pacs.NotFound, "There is no such item in the queue")
	}
	rows, err := f.pool.Query(ctx, `SELECT sop_uid, failure FROM forward_instance WHERE item_row = $1 AND failure IS NOT NULL ORDER BY sop_uid LIMIT $2`, id, maxFailed)
	if err != nil {
		return Item{}, nil, failure(err)
	}
	bad, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (i FailedInstance, err error) {
		return i, row.Scan(&i.SOPInstanceUID, &i.Why)
	})
	return list[0], bad, failure(err)
}

// Act is what an administrator does with items.
type Act string

const (
	Pause  Act = "pause"
	Resume Act = "resume"
	Cancel Act = "cancel"
	Replay Act = "replay" // send everything again, whatever was sent
	Retry  Act = "retry"  // send what was not sent, now
)

// acts say in which states something can be done, and what it does.
var acts = map[Act]struct {
	from []State
	set  string
}{
	Pause:  {[]State{Waiting, Scheduled, Sending}, `state = 'paused'`},
	Resume: {[]State{Paused}, `state = 'waiting', next_attempt_at = @now, attempts = 0, give_up_at = NULL`},
	Cancel: {[]State{Waiting, Scheduled, Sending, Paused, Failed}, `state = 'cancelled', ended_at = @now`},
	Retry:  {[]State{Waiting, Failed, Cancelled}, again},
	Replay: {[]State{Sent, Failed, Cancelled}, again + `, sent = 0, failed = 0`},
}

const again = `state = 'waiting', next_attempt_at = @now, attempts = 0, give_up_at = NULL, ended_at = NULL, asked = asked + 1, last_error = ''`

// Do does something with the items of a filter, or with those that are named, as
// far as it can be done in their state, and says with how many. by needs
// AdminForwarding.
//
//	Invalid  that can't be done with items
func (f *Forwarding) Do(ctx context.Context, by *access.Identity, act Act, ids []int64, q ItemFilter) (count int64, err error) {
	if err := must(by); err != nil {
		return 0, err
	}
	how, ok := acts[act]
	if !ok {
		return 0, invalid("Items can be paused (pause), resumed (resume), cancelled (cancel), retried (retry) and replayed (replay)")
	}
	if len(ids) > 10_000 {
		return 0, invalid("At most 10000 items can be named at once")
	}
	from := make([]string, len(how.from))
	for i, s := range how.from {
		from[i] = string(s)
	}
	where, args := q.where(by.Scope)
	where += ` AND i.state = ANY(@from)`
	args["from"], args["now"] = from, f.o.Now()
	if ids != nil {
		where += ` AND i.id = ANY(@ids)`
		args["ids"] = ids
	}
	err = f.inTx(ctx, func(tx pgx.Tx) error {
		if act == Replay {
			if _, err := tx.Exec(ctx, `DELETE FROM forward_instance x USING forward_item i WHERE x.item_row = i.id AND `+where, args); err != nil {
				return err
			}
		}
		tag, err := tx.Exec(ctx, `UPDATE forward_item i SET `+how.set+` WHERE `+where, args)
		if err != nil {
			return err
		}
		if count = tag.RowsAffected(); count == 0 {
			return nil
		}
		if err := wake(ctx, tx, act); err != nil {
			return err
		}
		object, why := "forward_queue:many", strconv.FormatInt(count, 10)+" items"
		if len(ids) == 1 {
			object = "forward_item:" + strconv.FormatInt(ids[0], 10)
		}
		return access.Audit(ctx, tx, by.Event("forwarding."+string(act), object, 0).Because(why+q.String()))
	})
	f.Nudge()
	return count, err
}

// wake has the targets tried at once to which somebody wants something sent.
func wake(ctx context.Context, tx pgx.Tx, act Act) error {
	if act != Resume && act != Retry && act != Replay {
		return nil
	}
	_, err := tx.Exec(ctx, `UPDATE forward_target SET resting_until = '-infinity' WHERE resting_until > '-infinity'`)
	return err
}

// String is a filter in the audit trail.
func (q ItemFilter) String() string {
	var parts []string
	for _, s := range q.States {
		parts = append(parts, string(s))
	}
	if q.RuleID != 0 {
		parts = append(parts, ruleObject(q.RuleID))
	}
	if q.TargetID != 0 {
		parts = append(parts, targetObject(q.TargetID))
	}
	if q.StudyUID != "" {
		parts = append(parts, "study:"+q.StudyUID)
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// Count is how many items of a target are in a state.
type Count struct {
	Target string
	State  State
	Items  int64
}

// Counts are the lengths of the queue, without what is sent or cancelled.
func (f *Forwarding) Counts(ctx context.Context) ([]Count, error) {
	rows, err := f.pool.Query(ctx, `
		SELECT coalesce(t.ae_title, t.name), i.state, count(*) FROM forward_item i JOIN forward_target t ON t.id = i.target_row
		WHERE i.state IN ('waiting', 'scheduled', 'sending', 'paused', 'failed') GROUP BY 1, 2`)
	if err != nil {
		return nil, failure(err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c Count, err error) { return c, row.Scan(&c.Target, &c.State, &c.Items) })
	return list, failure(err)
}
