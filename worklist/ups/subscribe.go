package ups

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
)

// Subscriber is who is told of changes.
type Subscriber struct {
	AETitle string
	// Owner is who may hear them over a WebSocket, as Scope.Who; "" for a
	// registered device, which is told by N-EVENT-REPORT.
	Owner string
}

// global says whether a UID is that of all steps, or of those that a filter
// chooses.
func global(uid string) bool { return uid == GlobalSubscription || uid == FilteredSubscription }

// subscriber finds or makes the row of a subscriber, and locks it. The status is
// a refusal when there is no such AE.
func (s *Steps) subscriber(ctx context.Context, tx pgx.Tx, by Caller, who Subscriber) (id int64, status dimse.Status, err error) {
	title, bad := access.CheckAETitle(who.AETitle)
	if bad != nil {
		return 0, offending(UnknownReceiver, "the AE title is none", dicom.TagReceivingAE), nil
	}
	var facilities []int64
	if who.Owner == "" {
		var facility int64
		err := tx.QueryRow(ctx, `SELECT facility_row FROM device WHERE ae_title = $1 AND 'ups' = ANY(services)`, title).Scan(&facility)
		if errors.Is(err, pgx.ErrNoRows) || err == nil && !by.Scope.Sees(facility) {
			return 0, offending(UnknownReceiver, meanings[UnknownReceiver], dicom.TagReceivingAE), nil
		}
		if err != nil {
			return 0, status, err
		}
	} else if !by.Scope.All {
		facilities = append([]int64{}, by.Scope.FacilityIDs...)
	}
	if full, err := tooMany(ctx, tx, title, who.Owner); err != nil || full {
		return 0, dimse.Statusf(dimse.ResourceLimitation, tooManyText, maxOwned), err
	}
	err = tx.QueryRow(ctx, `INSERT INTO ups_subscriber (ae_title, owner, facility_rows) VALUES ($1, $2, $3)
		ON CONFLICT (ae_title, owner) DO UPDATE SET facility_rows = EXCLUDED.facility_rows RETURNING id`, title, who.Owner, facilities).Scan(&id)
	return id, status, err
}

// maxOwned is how many AE titles one person or token can be told under: what
// happens is written down for each of them, whether somebody listens or not.
const maxOwned = 100

const tooManyText = "There are %d AE titles already under which you are told of work items; unsubscribe one of them"

// tooMany says whether an owner has no place for one more AE title.
func tooMany(ctx context.Context, q querier, title, owner string) (full bool, err error) {
	if owner == "" {
		return false, nil // a registered device has its own
	}
	rows, err := q.Query(ctx, `SELECT count(*) >= $3 AND NOT coalesce(bool_or(ae_title = $1), false) FROM ups_subscriber WHERE owner = $2`, title, owner, maxOwned)
	if err != nil {
		return false, err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowTo[bool])
}

// Subscribe subscribes to a step, to all steps, or to those that keys match:
// N-ACTION type 3, PS3.4 CC.2.3. lock is the deletion lock.
func (s *Steps) Subscribe(ctx context.Context, by Caller, who Subscriber, uid string, lock bool, keys *dicom.Dataset) (dimse.Status, error) {
	if global(uid) {
		return s.subscribeAll(ctx, by, who, uid == FilteredSubscription, lock, keys)
	}
	return s.inTx(ctx, func(tx pgx.Tx) (dimse.Status, error) {
		of, status, err := s.watched(ctx, tx, by, uid)
		if err != nil || of == nil {
			return status, err
		}
		id, status, err := s.subscriber(ctx, tx, by, who)
		if err != nil || !status.OK() {
			return status, err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO ups_subscription (subscriber_row, ups_row, lock) VALUES ($1, $2, $3)
			ON CONFLICT (subscriber_row, ups_row) DO UPDATE SET lock = EXCLUDED.lock`, id, of.row, lock); err != nil {
			return status, err
		}
		return status, s.introduce(ctx, tx, id, of)
	})
}

// watched locks a step whose subscriptions change.
func (s *Steps) watched(ctx context.Context, tx pgx.Tx, by Caller, uid string) (*step, dimse.Status, error) {
	if dicom.ValidUID(uid) != nil {
		return nil, say(NoSuchStep), nil
	}
	of, err := find(ctx, tx, `u.sop_uid = $1 FOR NO KEY UPDATE`, uid)
	if err != nil || of == nil || !by.Scope.Sees(of.facility) {
		return nil, say(NoSuchStep), err
	}
	return of, dimse.Status{}, nil
}

// introduce queues the state of a step for one subscriber.
func (s *Steps) introduce(ctx context.Context, tx pgx.Tx, subscriber int64, of *step) error {
	raw, err := encode(of.stateInformation().UTF8())
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `INSERT INTO ups_event (subscriber_row, sop_uid, event_type, information)
		SELECT s.id, $3, $4, $5 FROM ups_subscriber s WHERE s.id = $1 AND `+visible, subscriber, of.facility, of.uid, stateReport, raw); err != nil {
		return err
	}
	return notify(ctx, tx, of)
}

// subscribeAll subscribes globally. Steps that are subscribed to already keep
// what they have; of others, initial events are sent only when they get a lock.
// PS3.4 Table CC.2.3-2.
func (s *Steps) subscribeAll(ctx context.Context, by Caller, who Subscriber, filtered, lock bool, given *dicom.Dataset) (dimse.Status, error) {
	keys := new(dicom.Dataset)
	var filter []byte
	if filtered {
		keys = given.UTF8().Delete(dicom.TagReceivingAE).Delete(dicom.TagDeletionLock)
		if err := checkKeys(keys); err != nil {
			return dimse.Statusf(dimse.InvalidAttributeValue, "%v", err), nil
		}
		if universal(keys) {
			return dimse.Statusf(dimse.MissingAttribute, "a filtered subscription has matching keys"), nil
		}
		var err error
		if filter, err = encode(keys); err != nil {
			return dimse.Status{}, err
		}
	}
	return s.inTx(ctx, func(tx pgx.Tx) (dimse.Status, error) {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(subscribing)); err != nil {
			return dimse.Status{}, err
		}
		id, status, err := s.subscriber(ctx, tx, by, who)
		if err != nil || !status.OK() {
			return status, err
		}
		if _, err := tx.Exec(ctx, `UPDATE ups_subscriber SET every = true, every_lock = $2, filter = $3 WHERE id = $1`, id, lock, filter); err != nil {
			return status, err
		}
		for after := int64(0); ; {
			steps, err := candidates(ctx, tx, pacs.Scope{All: true}, keys, after)
			if err != nil {
				return status, err
			}
			if err := s.subscribeTo(ctx, tx, id, steps, keys, lock); err != nil {
				return status, err
			}
			if len(steps) < pageSize {
				return status, nil
			}
			after = steps[len(steps)-1].row
		}
	})
}

// subscribeTo subscribes to those of a page of steps that match and that the
// subscriber sees.
func (s *Steps) subscribeTo(ctx context.Context, tx pgx.Tx, subscriber int64, steps []*step, keys *dicom.Dataset, lock bool) error {
	shown, err := s.shown(ctx, tx, steps, false)
	if err != nil {
		return err
	}
	for i, of := range steps {
		if !matches(keys, shown[i]) {
			continue
		}
		tag, err := tx.Exec(ctx, `INSERT INTO ups_subscription (subscriber_row, ups_row, lock) SELECT s.id, $3, $4 FROM ups_subscriber s WHERE s.id = $1 AND `+visible+`
			ON CONFLICT DO NOTHING`, subscriber, of.facility, of.row, lock)
		if err != nil {
			return err
		}
		if tag.RowsAffected() > 0 && lock {
			if err := s.introduce(ctx, tx, subscriber, of); err != nil {
				return err
			}
		}
	}
	return nil
}

// Unsubscribe ends the subscription to a step, or all that there are: N-ACTION
// type 4. What has not been told of it yet never is.
func (s *Steps) Unsubscribe(ctx context.Context, by Caller, who Subscriber, uid string) (dimse.Status, error) {
	return s.inTx(ctx, func(tx pgx.Tx) (dimse.Status, error) {
		var of *step
		if !global(uid) {
			var status dimse.Status
			var err error
			if of, status, err = s.watched(ctx, tx, by, uid); err != nil || of == nil {
				return status, err
			}
		}
		id, status, err := s.subscriber(ctx, tx, by, who)
		if err != nil || !status.OK() {
			return status, err
		}
		if of != nil {
			if _, err := tx.Exec(ctx, `DELETE FROM ups_event WHERE subscriber_row = $1 AND sop_uid = $2`, id, uid); err != nil {
				return status, err
			}
			_, err = tx.Exec(ctx, `DELETE FROM ups_subscription WHERE subscriber_row = $1 AND ups_row = $2`, id, of.row)
			return status, err
		}
		_, err = tx.Exec(ctx, `DELETE FROM ups_subscriber WHERE id = $1`, id) // with all it has
		return status, err
	})
}

// Suspend ends a global subscription; subscriptions to steps stay: N-ACTION type 5.
func (s *Steps) Suspend(ctx context.Context, by Caller, who Subscriber, uid string) (dimse.Status, error) {
	if !global(uid) {
		return say(NotAppropriate), nil
	}
	return s.inTx(ctx, func(tx pgx.Tx) (dimse.Status, error) {
		id, status, err := s.subscriber(ctx, tx, by, who)
		if err != nil || !status.OK() {
			return status, err
		}
		_, err = tx.Exec(ctx, `UPDATE ups_subscriber SET every = false, every_lock = false, filter = NULL WHERE id = $1`, id)
		return status, err
	})
}
