package forward

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/queryretrieve"
)

// Pauses grow from first to last, doubling: those of an item that failed, and
// those of a target that can't be reached.
const (
	firstPause, longestPause = 30 * time.Second, 30 * time.Minute
	firstRest, longestRest   = 5 * time.Second, 10 * time.Minute
)

func pause(first, longest time.Duration, failures int) time.Duration {
	d := min(first<<min(max(failures-1, 0), 16), longest)
	return d + time.Duration(rand.Int64N(int64(d)/4+1))
}

// endPatience bounds the writing down of how an attempt has ended, also when the
// node is about to end.
const endPatience = 10 * time.Second

// errClosed ends an attempt whose time window has closed.
var errClosed = errors.New("the time window has closed")

// attempt works on an item once, and writes down what came of it.
func (f *Forwarding) attempt(ctx context.Context, c claimed) {
	start := time.Now()
	sending, stop := context.WithCancelCause(ctx)
	var renewer sync.WaitGroup
	renewing, done := context.WithCancel(ctx)
	r := newRecord(f, c, stop)
	renewer.Go(func() { f.renew(renewing, c, func() { r.end(errTakenAway) }) })
	err := f.send(sending, c, r)
	done()
	renewer.Wait()
	stop(nil)

	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endPatience)
	defer cancel()
	err = cmp.Or(r.flush(ending), r.why(), err)
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	state, e := f.settle(ending, c, r, err)
	if e != nil {
		// Its claim runs out, and it is found where it was.
		f.o.Log.Warn("what came of a forwarding could not be written down", "item", c.id, "error", e)
		return
	}
	f.o.Log.Info("forwarded", "item", c.id, "rule", c.rule.ID, "to", c.rule.Target.Title(), "study", c.studyUID,
		"sent", r.sent, "failed", r.failed, "state", state, "error", err)
	if f.o.Observe != nil {
		f.o.Observe(Attempt{Target: c.rule.Target.Title(), Sent: r.sent, Failed: r.failed, State: state, Took: time.Since(start)})
	}
}

// send sends what was not sent yet.
func (f *Forwarding) send(ctx context.Context, c claimed, r *record) error {
	open, until := c.rule.Window.At(f.o.Now())
	if !open {
		return errClosed
	}
	r.closesAt = until
	left, err := f.survey(ctx, c, r)
	if err != nil || left.total == 0 {
		return err
	}
	if c.rule.Target.AETitle == "" {
		return f.sendToNode(ctx, c, left, r)
	}
	to, err := f.o.Destinations.Destination(ctx, c.rule.Target.AETitle)
	if err != nil {
		return &queryretrieve.UnreachedError{AETitle: c.rule.Target.AETitle, Err: err}
	}
	to.Associations = 1 // items go side by side
	if len(c.rule.TransferSyntaxes) > 0 {
		to.TransferSyntaxes = c.rule.TransferSyntaxes
	}
	t := &queryretrieve.Transfer{
		Files: f.o.Files, Transcoder: f.o.Transcoder, AETitle: f.o.AETitle, To: to, Log: f.o.Log,
		Total: left.total, Kinds: left.kinds, Pages: left.pages,
		Sent: func(i pacs.Instance, status dimse.Status, err error) { r.outcome(ctx, i, failureOf(status, err)) },
	}
	return t.Run(ctx)
}

// remainder is what of an item is not sent yet: counted, and read again page by
// page when it is sent.
type remainder struct {
	f     *Forwarding
	c     claimed
	total int
	kinds map[dimse.Kind]int
}

// survey counts what is to be sent. What can't be, since its pixel data are
// deleted, has failed.
func (f *Forwarding) survey(ctx context.Context, c claimed, r *record) (*remainder, error) {
	left := &remainder{f: f, c: c, kinds: map[dimse.Kind]int{}}
	all, sent := 0, 0
	err := left.each(ctx, nil, func(rows []pacs.Instance, before map[string]int) error {
		for i := range rows {
			all++
			switch {
			case before[rows[i].SOPInstanceUID] == rows[i].Version:
				sent++
			case rows[i].PixelsDeleted != nil:
				r.outcome(ctx, rows[i], &failed{permanent: true, text: fmt.Sprintf("Its pixel data were deleted by the retention policy %s", rows[i].PixelsDeleted.Policy)})
			default:
				left.total++
				left.kinds[dimse.Kind{SOPClassUID: rows[i].SOPClassUID, TransferSyntaxUID: rows[i].TransferSyntaxUID}]++
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	r.begin(all, sent)
	_, err = f.pool.Exec(ctx, `UPDATE forward_item SET total = $3, sent = $4, failed = 0 WHERE id = $1 AND claims = $2`, c.id, c.claims, all, sent)
	return left, err
}

// pageSize is how many instances are read at once.
const pageSize = 500

// each reads the instances of the item page by page, with the versions of those
// that were sent, and the rejection notes behind them.
func (left *remainder) each(ctx context.Context, classes []string, page func(rows []pacs.Instance, sent map[string]int) error) error {
	filter := pacs.InstanceFilter{SOPClassUIDs: classes, Page: pacs.Page{Limit: pageSize}}
	filter.Series.Study.StudyInstanceUIDs = []string{left.c.studyUID}
	if left.c.series != "" {
		filter.Series.SeriesInstanceUIDs = []string{left.c.series}
	}
	for {
		rows, next, err := left.f.o.Index.Instances(ctx, system, filter)
		if err != nil {
			return err
		}
		sent, err := left.f.sent(ctx, left.c.id, rows)
		if err != nil {
			return err
		}
		if err := page(rows, sent); err != nil {
			return err
		}
		if filter.After = next; next == "" {
			return left.notes(ctx, classes, page)
		}
	}
}

// sent are the versions of those instances that were sent, by SOP Instance UID.
func (f *Forwarding) sent(ctx context.Context, item int64, rows []pacs.Instance) (map[string]int, error) {
	uids := make([]string, len(rows))
	for i := range rows {
		uids[i] = rows[i].SOPInstanceUID
	}
	found, err := f.pool.Query(ctx, `SELECT sop_uid, version FROM forward_instance WHERE item_row = $1 AND sop_uid = ANY($2) AND failure IS NULL`, item, uids)
	if err != nil {
		return nil, err
	}
	versions := make(map[string]int)
	var uid string
	var version int
	_, err = pgx.ForEachRow(found, []any{&uid, &version}, func() error {
		versions[uid] = version
		return nil
	})
	return versions, err
}

// pages are those of what is to be sent, for a queryretrieve.Transfer.
func (left *remainder) pages(ctx context.Context, classes []string, each func([]pacs.Instance) error) error {
	return left.each(ctx, classes, func(rows []pacs.Instance, sent map[string]int) error {
		var list []pacs.Instance
		for _, i := range rows {
			if sent[i.SOPInstanceUID] != i.Version && i.PixelsDeleted == nil {
				list = append(list, i)
			}
		}
		return each(list)
	})
}

// failed is why an instance was not taken.
type failed struct {
	permanent bool // to repeat it does not help
	refused   bool // by the target
	broken    bool // says nothing of the instance: the connection was lost, or refused
	text      string
}

// failureOf judges the answer to a C-STORE; nil means that it was taken.
func failureOf(status dimse.Status, err error) *failed {
	var unprepared *queryretrieve.UnpreparedError
	switch {
	case err == nil && status.OK():
		return nil
	case err == nil:
		return &failed{permanent: Lasting(status.Code), refused: true, text: "It was refused: " + status.String()}
	case errors.Is(err, dimse.ErrNotAccepted), errors.Is(err, queryretrieve.ErrNotTaken):
		return &failed{permanent: true, refused: true, text: "The peer takes it in no transfer syntax that it can be sent in"}
	case errors.As(err, &unprepared):
		return &failed{permanent: pacs.CodeOf(err) == pacs.Unsupported, text: "It could not be read: " + queryretrieve.Plain(err)}
	}
	return &failed{broken: true, text: queryretrieve.Plain(err)}
}

// Lasting tells whether a failure of C-STORE or STOW-RS is one that repeating does
// not help against. PS3.4 Table B.2-1, PS3.18 Table I.2-2.
func Lasting(c dimse.Code) bool {
	switch {
	case c&0xFF00 == dimse.DataSetMismatch, c&0xF000 == dimse.CannotUnderstand:
		return true
	}
	return c == dimse.SOPClassNotSupported || c == dimse.NoSuchSOPClass || c == dimse.InvalidInstance || c == dimse.ClassInstanceConflict
}

// settle writes down how an attempt has ended.
func (f *Forwarding) settle(ctx context.Context, c claimed, r *record, why error) (State, error) {
	now := f.o.Now()
	state, next, message := Waiting, now, ""
	attempts := c.attempts + 1
	giveUpAt := now.Add(c.rule.Retries)
	if c.giveUpAt != nil {
		giveUpAt = *c.giveUpAt
	}
	keep := false // the time at which it is given up: it counts from the first attempt
	var unreached *queryretrieve.UnreachedError
	switch {
	case errors.Is(why, context.Canceled), errors.Is(why, errTakenAway):
		attempts-- // nobody's fault
		keep = true
	case errors.Is(why, errClosed):
		attempts--
		if open, opens := c.rule.Window.At(now); !open {
			state, next = Scheduled, opens
		}
		keep = true
	case errors.As(why, &unreached):
		message = plain(why)
		rest, err := f.rest(ctx, c.rule.Target, now, message)
		if err != nil {
			return "", err
		}
		next = rest
	case why != nil:
		message = plain(why)
		next = now.Add(pause(firstPause, longestPause, attempts))
	case r.total == 0:
		state, message = Cancelled, "There is nothing to send: the study or series is not in the archive any more"
	case r.failed == 0 && r.before+r.sent >= r.total:
		state = Sent
	case r.failed == 0:
		message = "Not everything was sent"
		next = now.Add(pause(firstPause, longestPause, attempts))
	case r.lasting == r.failed:
		state, message = Failed, r.message()
	default:
		message = r.message()
		next = now.Add(pause(firstPause, longestPause, attempts))
	}
	if state == Waiting && message != "" && !next.Before(giveUpAt) {
		state = Failed
	}
	if r.reached && unreached == nil {
		if err := f.reached(ctx, c.rule.Target); err != nil {
			return "", err
		}
	}
	var ended *time.Time
	if state == Sent || state == Failed || state == Cancelled {
		ended = &now
	}
	giveUp := &giveUpAt
	if keep {
		giveUp = c.giveUpAt
	}
	// What was queued again meanwhile goes on; what was paused or cancelled
	// meanwhile stays so.
	err := f.pool.QueryRow(ctx, `
		UPDATE forward_item SET claimed_until = '-infinity', sent = $9, failed = $10,
			state           = CASE WHEN state <> 'sending' THEN state WHEN asked <> $4 AND $3 IN ('sent', 'failed') THEN 'waiting' ELSE $3 END,
			ended_at        = CASE WHEN state <> 'sending' THEN ended_at WHEN asked <> $4 THEN NULL ELSE $5::timestamptz END,
			next_attempt_at = $6, attempts = $7, give_up_at = $8, last_error = CASE WHEN state = 'cancelled' THEN last_error ELSE left($11, 500) END
		WHERE id = $1 AND claims = $2 RETURNING state`,
		c.id, c.claims, state, c.asked, ended, next, attempts, giveUp, r.before+r.sent, r.failed, message).Scan(&state)
	if errors.Is(err, pgx.ErrNoRows) {
		return Waiting, nil // another node's, or replayed
	}
	return state, err
}

// rest keeps a target that can't be reached from being tried for a while.
func (f *Forwarding) rest(ctx context.Context, t Target, now time.Time, why string) (until time.Time, err error) {
	until = now.Add(pause(firstRest, longestRest, t.Failures+1))
	_, err = f.pool.Exec(ctx, `UPDATE forward_target SET failures = $2, resting_until = $3, last_error = left($4, 500) WHERE id = $1`,
		t.ID, t.Failures+1, until, why)
	return until, err
}

func (f *Forwarding) reached(ctx context.Context, t Target) error {
	_, err := f.pool.Exec(ctx, `UPDATE forward_target SET failures = 0, resting_until = '-infinity', last_error = '' WHERE id = $1 AND (failures > 0 OR last_error <> '')`, t.ID)
	return err
}

// plain says what is wrong in plain words.
func plain(err error) string {
	var own *pacs.Error
	if errors.As(err, &own) {
		return own.Message
	}
	return err.Error()
}
