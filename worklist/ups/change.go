package ups

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/worklist"
)

// ChangeState claims a step, or ends one that is held: N-ACTION type 1, PS3.4
// CC.2.1. transaction is the lock that the performer has chosen.
func (s *Steps) ChangeState(ctx context.Context, by Caller, uid string, to State, transaction string) (dimse.Status, error) {
	return s.inTx(ctx, func(tx pgx.Tx) (dimse.Status, error) {
		now, task, err := s.held(ctx, tx, by.Scope, uid)
		if err != nil {
			return dimse.Status{}, err
		}
		state, correct := none, dicom.ValidUID(transaction) == nil
		if now != nil {
			state, correct = now.state, correct && (now.state == Scheduled || now.transaction == transaction)
		}
		row, ok := change(to, correct)
		if !ok {
			return offending(dimse.InvalidAttributeValue, "there is no such Procedure Step State", dicom.TagProcedureStepState), nil
		}
		o := transition(row, state)
		if o.status != dimse.Success {
			return say(o.status), nil
		}
		if o.do == claim {
			if status, err := s.claim(ctx, tx, by, now, task, transaction); err != nil || !status.OK() {
				return status, err
			}
		} else if status, err := s.finish(ctx, tx, now, task, to); err != nil || !status.OK() {
			return status, err
		}
		return dimse.Status{}, s.audit(ctx, tx, by, "ups."+map[State]string{InProgress: "claim", Completed: "complete", Canceled: "discontinue"}[to], now)
	})
}

// claim gives a step to a performer, and the reading that it is. A person takes
// a reading as in the worklist: in their own name, if its group is theirs.
func (s *Steps) claim(ctx context.Context, tx pgx.Tx, by Caller, now *step, task worklist.Task, transaction string) (dimse.Status, error) {
	h := holder{who: by.Scope.Who}
	if by.UserID != 0 {
		if err := tx.QueryRow(ctx, `SELECT login, name FROM user_account WHERE id = $1`, by.UserID).Scan(&h.login, &h.name); err != nil {
			return dimse.Status{}, err
		}
	}
	if err := s.hold(ctx, tx, now, transaction, h); err != nil || now.task == "" {
		return dimse.Status{}, err
	}
	var err error
	if by.UserID != 0 {
		err = s.work.HoldFor(ctx, tx, task, by.UserID)
	} else {
		err = s.work.HoldOutside(ctx, tx, task, h.who)
	}
	switch pacs.CodeOf(err) {
	case pacs.Conflict:
		return say(AlreadyInProgress), nil
	case pacs.Forbidden:
		return dimse.Statusf(dimse.NotAuthorized, "the reading is of a group that %s is not in", h.login), nil
	}
	return dimse.Status{}, err
}

// finish puts a step into a final state. A reading that its performer gives up,
// and that nobody has called off, waits again for others: as another step.
func (s *Steps) finish(ctx context.Context, tx pgx.Tx, now *step, task worklist.Task, to State) (dimse.Status, error) {
	if to == Completed && now.task != "" && task.ClaimedBy != 0 {
		return dimse.Statusf(NotFinal, "sign the report of the study to complete its reading"), nil
	}
	if to == Canceled {
		now.discontinue(new(dicom.Dataset))
	}
	if tags := lacking(now.attributes, to); len(tags) > 0 {
		return offending(NotFinal, "lacks "+keywords(tags), tags...), nil
	}
	now.state = to
	now.touched()
	if err := now.write(ctx, tx); err != nil {
		return dimse.Status{}, err
	}
	if err := s.report(ctx, tx, now); err != nil || now.task == "" {
		return dimse.Status{}, err
	}
	end := worklist.Open
	switch {
	case to == Completed:
		end = worklist.Signed
	case now.calledOff:
		end = worklist.Cancelled
	}
	return dimse.Status{}, s.work.LetGo(ctx, tx, task, end)
}

// RequestCancel asks that a step be canceled, by who does not hold it: N-ACTION
// type 2, PS3.4 CC.2.2. One that nobody has begun is; who performs one is told.
// ae is the requester's, for the event.
func (s *Steps) RequestCancel(ctx context.Context, by Caller, uid, ae string, why *dicom.Dataset) (dimse.Status, error) {
	if status := checkValues(why, 0); !status.OK() {
		return status, nil
	}
	return s.inTx(ctx, func(tx pgx.Tx) (dimse.Status, error) {
		now, task, err := s.held(ctx, tx, by.Scope, uid)
		if err != nil {
			return dimse.Status{}, err
		}
		state := none
		if now != nil {
			state = now.state
		}
		o := transition(askCancel, state)
		switch o.do {
		case passThrough:
			err = s.passThrough(ctx, tx, now, ae, why)
			if err == nil && now.task != "" {
				err = s.work.LetGo(ctx, tx, task, worklist.Cancelled)
			}
		case reportRequested:
			var reached bool
			if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM ups_subscription WHERE ups_row = $1)`, now.row).Scan(&reached); err != nil {
				return dimse.Status{}, err
			}
			if !reached || now.task != "" && task.ClaimedBy != 0 {
				return say(NoContact), nil // a person reads, or nobody listens
			}
			now.calledOff = true
			if err := now.write(ctx, tx); err != nil {
				return dimse.Status{}, err
			}
			err = s.emit(ctx, tx, now, cancelRequested, requested(ae, why))
		default:
			return say(o.status), nil
		}
		if err != nil {
			return dimse.Status{}, err
		}
		return dimse.Status{}, s.audit(ctx, tx, by, "ups.cancel", now)
	})
}

// passThrough cancels a step that nobody has begun: it is IN PROGRESS on the way.
func (s *Steps) passThrough(ctx context.Context, tx pgx.Tx, now *step, ae string, why *dicom.Dataset) error {
	if err := s.emit(ctx, tx, now, cancelRequested, requested(ae, why)); err != nil {
		return err
	}
	if err := s.hold(ctx, tx, now, dicom.NewUID(), holder{who: "system"}); err != nil {
		return err
	}
	now.discontinue(why)
	now.state = Canceled
	now.touched()
	if err := now.write(ctx, tx); err != nil {
		return err
	}
	return s.report(ctx, tx, now)
}

// requested is the information of a UPS Cancel Requested event.
func requested(ae string, why *dicom.Dataset) *dicom.Dataset {
	ds := why.Select(dicom.TagReasonForCancellation, dicom.TagProcedureStepDiscontinuationReasonCodeSequence, dicom.TagContactURI, dicom.TagContactDisplayName).UTF8()
	return ds.SetString(dicom.TagRequestingAE, dicom.AE, cut(ae, 16))
}

// Update sets attributes: N-SET, PS3.4 CC.2.6. transaction is that of the
// performer, "" for a step that nobody has begun.
func (s *Steps) Update(ctx context.Context, by Caller, uid, transaction string, changes *dicom.Dataset) (dimse.Status, error) {
	changes = changes.UTF8()
	return s.inTx(ctx, func(tx pgx.Tx) (dimse.Status, error) {
		now, task, err := s.held(ctx, tx, by.Scope, uid)
		switch {
		case err != nil:
			return dimse.Status{}, err
		case now == nil:
			return say(NoSuchStep), nil
		case now.state.final():
			return say(NoLongerUpdated), nil
		case now.state == Scheduled && transaction != "":
			return say(NotInProgress), nil
		case now.state == InProgress && transaction != now.transaction:
			return say(WrongTransaction), nil
		}
		for _, tag := range []dicom.Tag{dicom.TagProcedureStepProgressInformationSequence, dicom.TagUnifiedProcedureStepPerformedProcedureSequence} {
			if now.state == Scheduled && changes.Has(tag) {
				return offending(NotInProgress, meanings[NotInProgress], tag), nil
			}
		}
		if status := checkSet(changes); !status.OK() {
			return status, nil
		}
		if study := dicom.TagStudyInstanceUID; now.task != "" && changes.Has(study) && changes.String(study) != now.attributes.String(study) {
			return offending(dimse.InvalidAttributeValue, "a reading is of one study", study), nil
		}
		before := *now
		now.attributes = before.attributes.UTF8()
		for i := range changes.Elements {
			e := &changes.Elements[i]
			if !ours(e.Tag) && e.Tag != dicom.TagTransactionUID {
				put(now.attributes, e)
			}
		}
		status := dimse.Status{}
		if now.task != "" && changes.Has(dicom.TagScheduledProcedureStepPriority) && priorityOf(changes) != task.Priority {
			if err := s.work.Ask(ctx, tx, task, priorityOf(changes)); err != nil {
				return status, err
			}
			if after, err := taskOf(ctx, tx, task.ID); err != nil {
				return status, err
			} else if after.Priority != priorityOf(changes) {
				status = offending(Coerced, "a reading is not made less urgent than it is", dicom.TagScheduledProcedureStepPriority)
			}
		}
		now.touched()
		if err := now.write(ctx, tx); err != nil {
			return status, err
		}
		return status, s.changed(ctx, tx, &before, now)
	})
}
