package ups

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/events"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// How events are brought to devices. What a node is at it has claimed for lease,
// and claims again with each event: one that was killed delays them, no more.
const (
	lookEvery   = 5 * time.Second // should a notification be missed
	lease       = time.Minute
	timeToDial  = 20 * time.Second
	timeToTell  = 20 * time.Second
	timeHere    = 10 * time.Second // over an association that the device opened
	atOnce      = 8                // devices at a time
	batch       = 64
	firstPause  = 2 * time.Second
	longestWait = 10 * time.Minute
)

// associations are those over which devices call, to tell them of events there.
type associations struct {
	mu   sync.Mutex
	open map[string]association
}

type association struct {
	info     *dimse.AssociationInfo
	answered <-chan struct{}
}

// note remembers the association of a request, and when it is answered: what
// follows the answer must not come before it.
func (a *associations) note(ae string, rq *dimse.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open == nil {
		a.open = map[string]association{}
	}
	a.open[ae] = association{rq.Association, rq.Answered()}
}

func (a *associations) of(ae string) (association, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	found, ok := a.open[ae]
	return found, ok
}

func (a *associations) forget(ae string, gone association) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open[ae].info == gone.info {
		delete(a.open, ae)
	}
}

// signal wakes all who wait for it.
type signal struct {
	mu   sync.Mutex
	next chan struct{}
}

// wait is closed when the signal is given next.
func (s *signal) wait() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == nil {
		s.next = make(chan struct{})
	}
	return s.next
}

func (s *signal) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next != nil {
		close(s.next)
		s.next = nil
	}
}

// Run brings events to devices, and does what is to be done now and then, until
// ctx ends.
func (s *Steps) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() {
		_ = events.Listen(ctx, s.pool, events.Listener{
			Event: func(e events.Received) {
				if e.Type == events.Workitem {
					s.wake.give()
				}
			},
			Gap: s.wake.give,
		})
	})
	var bringing sync.WaitGroup
	if s.o.Alone {
		s.announce(ctx, "RESTARTED")
		defer s.goingDown(ctx)
	}
	defer bringing.Wait()
	running.Go(func() { s.tidyUp(ctx) })
	room := make(chan struct{}, atOnce)
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		woken := s.wake.wait() // before looking: what comes meanwhile is seen next
		if err := s.deliver(ctx, room, &bringing); err != nil && ctx.Err() == nil {
			s.log.Error("events of unified procedure steps could not be looked for", "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-woken:
		case <-ticker.C:
		}
	}
}

// due is the SQL condition that a device (s) has events waiting and that it is
// time to bring them.
const due = `s.owner = '' AND s.claimed_until < clock_timestamp() AND s.next_attempt_at <= clock_timestamp()
	AND EXISTS (SELECT FROM ups_event e WHERE e.subscriber_row = s.id)`

// deliver begins to bring events to the devices that have some, as far as there
// is room.
func (s *Steps) deliver(ctx context.Context, room chan struct{}, running *sync.WaitGroup) error {
	rows, err := s.pool.Query(ctx, `SELECT s.id, s.ae_title FROM ups_subscriber s WHERE `+due+` ORDER BY s.next_attempt_at LIMIT $1`, 4*atOnce)
	if err != nil {
		return err
	}
	type target struct {
		ID int64
		AE string
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[target])
	if err != nil {
		return err
	}
	for _, to := range list {
		select {
		case room <- struct{}{}:
		default:
			return nil // each that ends looks again
		}
		running.Go(func() {
			defer func() { <-room; s.wake.give() }()
			s.bring(ctx, to.ID, to.AE)
		})
	}
	return nil
}

// bring takes its events to one device, in order.
func (s *Steps) bring(ctx context.Context, id int64, ae string) {
	mine := uuid.New()
	tag, err := s.pool.Exec(ctx, `UPDATE ups_subscriber s SET claimed_by = $2, claimed_until = clock_timestamp() + $3::interval WHERE s.id = $1 AND `+due, id, mine, lease)
	if err != nil || tag.RowsAffected() == 0 {
		return
	}
	err = s.bringAll(ctx, id, ae, mine)
	if err != nil && ctx.Err() == nil {
		s.log.Info("events of unified procedure steps are brought later", "called", ae, "error", err)
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	message := ""
	if err != nil && ctx.Err() == nil {
		message = err.Error()
	}
	_, err = s.pool.Exec(end, `UPDATE ups_subscriber SET claimed_by = NULL, claimed_until = '-infinity', last_error = left($3, 500),
			attempts = CASE WHEN $3 = '' THEN 0 ELSE attempts + 1 END,
			next_attempt_at = CASE WHEN $3 = '' THEN '-infinity' ELSE clock_timestamp() + least($5::interval, $4::interval * pow(2, least(attempts, 12))) END
		WHERE id = $1 AND claimed_by = $2`, id, mine, message, firstPause, longestWait)
	if err != nil && ctx.Err() == nil {
		s.log.Error("a subscriber could not be updated", "called", ae, "error", err)
	}
}

// errTaken says that another connection brings a subscriber its events now.
var errTaken = errors.New("another connection has taken over")

// renew keeps a claim.
func (s *Steps) renew(ctx context.Context, id int64, mine uuid.UUID) error {
	tag, err := s.pool.Exec(ctx, `UPDATE ups_subscriber SET claimed_until = clock_timestamp() + $3::interval WHERE id = $1 AND claimed_by = $2`, id, mine, lease)
	if err == nil && tag.RowsAffected() == 0 {
		err = errTaken
	}
	return err
}

func (s *Steps) bringAll(ctx context.Context, id int64, ae string, mine uuid.UUID) error {
	if at, ok := s.here.of(ae); ok {
		err := s.tellAll(ctx, id, mine, func(n dimse.NRequest) (dimse.NResponse, error) {
			ctx, cancel := context.WithTimeout(ctx, timeHere)
			defer cancel()
			select {
			case <-at.answered:
			case <-ctx.Done():
				return dimse.NResponse{}, ctx.Err()
			}
			return at.info.EventReport(ctx, n)
		})
		if err == nil {
			return nil
		}
		// It has ended, or the device does not take events there: told twice
		// is better than not at all.
		s.here.forget(ae, at)
	}
	// On a new association we are the requestor and the SCP. PS3.7 D.3.3.4.
	client, err := s.o.Dial(ctx, ae, dimse.Dialer{
		Contexts: []ul.ProposedContext{dimse.ServiceContext(1, EventSOPClass)}, Roles: []ul.Role{{SOPClassUID: EventSOPClass, SCP: true}}, DialTimeout: timeToDial,
	})
	if err != nil {
		return err
	}
	defer client.Close()
	err = s.tellAll(ctx, id, mine, func(n dimse.NRequest) (dimse.NResponse, error) {
		ctx, cancel := context.WithTimeout(ctx, timeToTell)
		defer cancel()
		return client.NEventReport(ctx, n)
	})
	if err == nil {
		_ = client.Release(ctx) // all is told
	}
	return err
}

// tellAll tells a subscriber its events one after the other, until none is left.
// An answer that says that the device could not do anything with one is an
// answer all the same.
func (s *Steps) tellAll(ctx context.Context, id int64, mine uuid.UUID, tell func(dimse.NRequest) (dimse.NResponse, error)) error {
	for {
		list, err := s.waiting(ctx, id, batch)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, e := range list {
			rsp, err := tell(dimse.NRequest{
				SOPClassUID: PushSOPClass, AbstractSyntax: EventSOPClass, SOPInstanceUID: e.StepUID, EventTypeID: uint16(e.Type), DataSet: e.Information,
			})
			if err != nil {
				return err
			}
			if !rsp.OK() {
				s.log.Info("an event of a unified procedure step was taken as a failure", "event", e.Type, "status", fmt.Sprint(rsp.Status))
			}
			if err := s.told(ctx, e); err != nil {
				return err
			}
			if err := s.renew(ctx, id, mine); err != nil {
				return err
			}
		}
	}
}

// announce tells all who are subscribed to anything that the service was
// restarted or is going down. PS3.4 CC.2.4.3. What was said before of that kind
// and not heard is out of date.
func (s *Steps) announce(ctx context.Context, word string) {
	raw, err := encode(new(dicom.Dataset).SetString(dicom.TagSCPStatus, dicom.CS, word).
		SetString(dicom.TagSubscriptionListStatus, dicom.CS, "WARM START").SetString(dicom.TagUnifiedProcedureStepListStatus, dicom.CS, "WARM START").UTF8())
	if err == nil {
		err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `DELETE FROM ups_event WHERE event_type = $1`, statusChange); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `INSERT INTO ups_event (subscriber_row, sop_uid, event_type, information)
				SELECT s.id, $1, $2, $3 FROM ups_subscriber s WHERE s.every OR EXISTS (SELECT FROM ups_subscription x WHERE x.subscriber_row = s.id)`, GlobalSubscription, statusChange, raw)
			return err
		})
	}
	if err != nil && ctx.Err() == nil {
		s.log.Error("subscribers could not be told of the service", "status", word, "error", err)
	}
	s.wake.give()
}

// goingDown tells those of the subscribers that can be reached at once.
func (s *Steps) goingDown(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	s.announce(ctx, "GOING DOWN")
	var running sync.WaitGroup
	_ = s.deliver(ctx, make(chan struct{}, atOnce), &running)
	running.Wait()
}
