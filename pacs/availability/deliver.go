package availability

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

const (
	// A node tells one device for longest in one go. What it has claimed it
	// keeps for lease, and claims again while it lives.
	longest = 2 * time.Minute
	lease   = 20 * time.Second

	timeToDial   = 30 * time.Second
	timeToAnswer = time.Minute

	// Pauses after a failure grow from firstPause to longestPause.
	firstPause   = 2 * time.Second
	longestPause = 10 * time.Minute
	// Patience is how long a device is tried, and maxRefusals how often it may
	// refuse one notice.
	Patience    = 3 * 24 * time.Hour
	maxRefusals = 20
)

// pause is the wait after so many failures in a row.
func pause(failures int) time.Duration {
	return min(firstPause<<min(max(failures-1, 0), 16), longestPause)
}

// process tells the device of a notice what waits for it. wait says when there is
// more to do; 0 that the notice is settled.
func (n *Notices) process(ctx context.Context, id int64) (wait time.Duration, err error) {
	ae, wait, err := n.due(ctx, id)
	if err != nil || ae == "" || wait > 0 {
		return wait, err
	}
	tag, err := n.pool.Exec(ctx, `
		INSERT INTO availability_device AS d (ae_title, claimed_until) VALUES ($1, clock_timestamp() + $2::interval)
		ON CONFLICT (ae_title) DO UPDATE SET claimed_until = excluded.claimed_until
		WHERE d.claimed_until < clock_timestamp() AND d.retry_at <= clock_timestamp()`, ae, lease)
	if err != nil {
		return 0, err
	}
	if tag.RowsAffected() == 0 {
		return time.Second, nil // another node, or another notice of the device
	}
	if err := n.claimed(ctx, ae); err != nil {
		return 0, err
	}
	ae, wait, err = n.due(ctx, id)
	if ae != "" {
		wait = max(wait, time.Second)
	}
	return wait, err
}

// due says whom a notice is for, "" when it is settled, and how long to wait
// until the device may be told.
func (n *Notices) due(ctx context.Context, id int64) (ae string, wait time.Duration, err error) {
	var seconds float64
	err = n.pool.QueryRow(ctx, `
		SELECT n.ae_title, greatest(0, extract(epoch FROM greatest(n.next_at, d.retry_at, least(coalesce(d.claimed_until, '-infinity'), clock_timestamp() + interval '1 s'), clock_timestamp()) - clock_timestamp()))::float8
		FROM availability_notice n LEFT JOIN availability_device d USING (ae_title) WHERE n.id = $1 AND n.state = 'waiting'`, id).Scan(&ae, &seconds)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", 0, nil
	}
	return ae, time.Duration(seconds * float64(time.Second)), err
}

// claimed tells a device that this node has claimed, and gives it back. err is one
// of the database; others are noted for the device.
func (n *Notices) claimed(ctx context.Context, ae string) (err error) {
	work, cancel := context.WithTimeout(ctx, longest)
	var renewer sync.WaitGroup
	renewer.Go(func() { n.renew(work, ae) })
	told := n.tell(work, ae)
	interrupted := work.Err() != nil
	cancel()
	renewer.Wait()
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	var unreachable *unreachableError
	switch {
	case interrupted && told != nil, told == nil:
		_, err = n.pool.Exec(ctx, `UPDATE availability_device SET claimed_until = '-infinity', failures = 0 WHERE ae_title = $1`, ae)
		return err
	case !errors.As(told, &unreachable):
		_, err = n.pool.Exec(ctx, `UPDATE availability_device SET claimed_until = '-infinity' WHERE ae_title = $1`, ae)
		return errors.Join(told, err)
	}
	return n.unreached(ctx, ae, unreachable.cause)
}

func (n *Notices) renew(ctx context.Context, ae string) {
	ticker := time.NewTicker(lease / 4)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			_, _ = n.pool.Exec(ctx, `UPDATE availability_device SET claimed_until = clock_timestamp() + $2::interval WHERE ae_title = $1`, ae, lease)
		}
	}
}

// unreachableError says that the device, and not one notice, is what fails.
type unreachableError struct{ cause error }

func (e *unreachableError) Error() string { return e.cause.Error() }

// unreached puts off everything that waits for a device, and gives up on what has
// waited too long.
func (n *Notices) unreached(ctx context.Context, ae string, cause error) error {
	n.o.Log.Info("a device can't be told what is available; it is tried again", "device", ae, "error", cause)
	return pgx.BeginFunc(ctx, n.pool, func(tx pgx.Tx) error {
		var failures int
		if err := tx.QueryRow(ctx, `UPDATE availability_device SET failures = failures + 1, claimed_until = '-infinity' WHERE ae_title = $1 RETURNING failures`, ae).Scan(&failures); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE availability_device SET retry_at = clock_timestamp() + $2::interval WHERE ae_title = $1`, ae, pause(failures)); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `UPDATE availability_notice SET state = 'failed', ended_at = clock_timestamp(), last_error = left($2, 500)
			WHERE ae_title = $1 AND state = 'waiting' AND asked_at < clock_timestamp() - $3::interval`, ae, cause.Error(), Patience)
		for range tag.RowsAffected() {
			n.o.Told(false)
		}
		if err != nil {
			return err
		}
		// The one that is next has the reason, for who looks.
		_, err = tx.Exec(ctx, `UPDATE availability_notice SET last_error = left($2, 500) WHERE id = (
			SELECT id FROM availability_notice WHERE ae_title = $1 AND state = 'waiting' ORDER BY asked_at LIMIT 1)`, ae, cause.Error())
		return err
	})
}

// notice is one that waits.
type notice struct {
	id, study  int64
	generation int
}

// tell tells a device everything that waits for it, over one association.
func (n *Notices) tell(ctx context.Context, ae string) error {
	device, err := n.o.Device(ctx, ae)
	switch {
	case pacs.CodeOf(err) == pacs.NotFound, err == nil && !device.Notify:
		_, err := n.pool.Exec(ctx, `DELETE FROM availability_notice WHERE ae_title = $1`, ae)
		return err
	case err != nil:
		return err
	}
	var client *dimse.Client
	defer func() {
		if client != nil {
			_ = client.Release(ctx)
			client.Close()
		}
	}()
	for {
		next, ok, err := n.next(ctx, ae)
		if err != nil || !ok {
			return err
		}
		requests, err := n.requests(ctx, device, next)
		if err != nil {
			return err
		}
		if client == nil && len(requests) > 0 {
			if client, err = n.o.Dial(ctx, ae, dimse.Dialer{
				Contexts: []ul.ProposedContext{dimse.ServiceContext(1, dicom.InstanceAvailabilityNotificationSOPClass)}, DialTimeout: timeToDial,
			}); err != nil {
				return &unreachableError{err}
			}
		}
		refusal, err := send(ctx, client, requests)
		if err != nil {
			if !errors.Is(err, dimse.ErrNotAccepted) { // what it stumbled over comes last the next time
				if _, err := n.pool.Exec(ctx, `UPDATE availability_notice SET next_at = clock_timestamp() + $2::interval WHERE id = $1`, next.id, pause(5)); err != nil {
					return err
				}
			}
			return &unreachableError{fmt.Errorf("%s takes no instance availability notifications: %w", ae, err)}
		}
		if err := n.settle(ctx, next, refusal); err != nil {
			return err
		}
	}
}

func (n *Notices) next(ctx context.Context, ae string) (next notice, ok bool, err error) {
	err = n.pool.QueryRow(ctx, `SELECT id, study_row, generation FROM availability_notice
		WHERE ae_title = $1 AND state = 'waiting' AND next_at <= clock_timestamp() ORDER BY asked_at LIMIT 1`, ae).Scan(&next.id, &next.study, &next.generation)
	if errors.Is(err, pgx.ErrNoRows) {
		return next, false, nil
	}
	return next, err == nil, err
}

// requests are what a notice comes to now.
func (n *Notices) requests(ctx context.Context, device access.Device, next notice) ([]dimse.NRequest, error) {
	study, list, err := n.instances(ctx, device, next.study)
	if err != nil {
		return nil, err
	}
	var steps []Step
	if n.o.Steps != nil && len(list) > 0 {
		if steps, err = n.o.Steps(ctx, study); err != nil {
			return nil, err
		}
	}
	return n.notifications(study, list, steps)
}

// send delivers requests. refusal is the status of one that was not taken; err
// says that the association failed.
func send(ctx context.Context, client *dimse.Client, requests []dimse.NRequest) (refusal *dimse.Status, err error) {
	for _, rq := range requests {
		ctx, cancel := context.WithTimeout(ctx, timeToAnswer)
		rsp, err := client.NCreate(ctx, rq)
		cancel()
		switch {
		case err != nil:
			return nil, err
		case !rsp.OK() && rsp.Code != dimse.DuplicateInstance: // that one it has had
			return &rsp.Status, nil
		}
	}
	return nil, nil
}

// settle notes that a notice was taken or refused. One that has grown meanwhile
// waits on.
func (n *Notices) settle(ctx context.Context, was notice, refusal *dimse.Status) error {
	if refusal == nil {
		tag, err := n.pool.Exec(ctx, `UPDATE availability_notice SET state = 'told', ended_at = clock_timestamp(), last_error = '' WHERE id = $1 AND generation = $2`, was.id, was.generation)
		if err == nil && tag.RowsAffected() > 0 {
			n.o.Told(true)
		}
		return err
	}
	var refusals int
	var failed bool
	err := n.pool.QueryRow(ctx, `UPDATE availability_notice SET refusals = refusals + 1, last_error = left($3, 500),
			state = CASE WHEN refusals + 1 >= $4 THEN 'failed' ELSE state END,
			ended_at = CASE WHEN refusals + 1 >= $4 THEN clock_timestamp() END
		WHERE id = $1 AND generation = $2 RETURNING refusals, state = 'failed'`, was.id, was.generation, refusal.String(), maxRefusals).Scan(&refusals, &failed)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if failed {
		n.o.Told(false)
	}
	_, err = n.pool.Exec(ctx, `UPDATE availability_notice SET next_at = clock_timestamp() + $3::interval WHERE id = $1 AND generation = $2`, was.id, was.generation, pause(refusals))
	return err
}
