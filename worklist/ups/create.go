package ups

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/worklist"
)

// refusal ends a transaction with a status.
type refusal struct{ status dimse.Status }

func (r refusal) Error() string { return r.status.String() }

// inTx runs an operation. What it refuses is a status, whatever it has written
// is undone then; an error is one of the database.
func (s *Steps) inTx(ctx context.Context, f func(tx pgx.Tx) (dimse.Status, error)) (status dimse.Status, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var err error
		if status, err = f(tx); err == nil && !status.OK() {
			err = refusal{status}
		}
		return err
	})
	var no refusal
	if errors.As(err, &no) {
		return no.status, nil
	}
	if errors.Is(err, errTooLong) {
		return dimse.Statusf(dimse.ResourceLimitation, "the step has too many attributes"), nil
	}
	return status, worklist.Failure(err)
}

func (s *Steps) audit(ctx context.Context, tx pgx.Tx, by Caller, action string, of *step) error {
	return access.Audit(ctx, tx, access.AuditEvent{Who: by.Scope.Who, Action: action, Object: "ups:" + of.uid, Facility: of.facility, Remote: by.Remote})
}

// Create makes a step of what somebody asks for: N-CREATE, PS3.4 CC.2.5. uid may
// be "". It returns the UID that the step has.
//
// A step that asks for a study to be read, which is here and waits to be read,
// takes the place of the archive's own step of that reading: it is its reading
// task. Any other is kept for whoever pulls it.
func (s *Steps) Create(ctx context.Context, by Caller, uid string, given *dicom.Dataset) (string, dimse.Status, error) {
	if uid == "" {
		uid = dicom.NewUID()
	} else if dicom.ValidUID(uid) != nil {
		return uid, dimse.Statusf(dimse.InvalidInstance, "the SOP Instance UID is none"), nil
	}
	if by.FacilityID == 0 {
		return uid, dimse.Statusf(dimse.NotAuthorized, "the caller belongs to no facility"), nil
	}
	kept, status := checkCreate(given.UTF8())
	if !status.OK() {
		return uid, status, nil
	}
	if uid == GlobalSubscription || uid == FilteredSubscription {
		return uid, dimse.Statusf(dimse.InvalidInstance, "the SOP Instance UID is that of the subscriptions"), nil
	}
	made := &step{uid: uid, facility: by.FacilityID, state: Scheduled, attributes: kept}
	if kept.String(dicom.TagStudyInstanceUID) == "" {
		if study := studyOf(kept); study != "" {
			kept.SetString(dicom.TagStudyInstanceUID, dicom.UI, study)
		}
	}
	if !valued(kept, dicom.TagWorklistLabel) {
		kept.SetString(dicom.TagWorklistLabel, dicom.LO, "Worklist")
	}
	kept.SetString(dicom.TagScheduledProcedureStepModificationDateTime, dicom.DT, wall(time.Now()))
	final, err := s.inTx(ctx, func(tx pgx.Tx) (dimse.Status, error) {
		if err := s.place(ctx, tx, by, made); err != nil {
			return dimse.Status{}, err
		}
		if duplicate, err := made.insert(ctx, tx, by.Scope.Who); err != nil || duplicate {
			return dimse.Statusf(dimse.DuplicateInstance, "there is such a step already"), err
		}
		if err := s.created(ctx, tx, made); err != nil {
			return dimse.Status{}, err
		}
		return status, s.audit(ctx, tx, by, "ups.create", made)
	})
	return uid, final, err
}

// studyOf is the study that a step is about, where it does not say so itself.
func studyOf(ds *dicom.Dataset) string {
	for _, tag := range []dicom.Tag{dicom.TagInputInformationSequence, dicom.TagReferencedRequestSequence} {
		if uid := ds.Item(tag).String(dicom.TagStudyInstanceUID); uid != "" {
			return uid
		}
	}
	return ""
}

// place puts a step where its study is, if that is here and the caller sees it,
// and has it take the place of the archive's own step of the reading.
func (s *Steps) place(ctx context.Context, tx pgx.Tx, by Caller, made *step) error {
	uid := made.attributes.String(dicom.TagStudyInstanceUID)
	if uid == "" {
		return nil
	}
	var study, facility int64
	err := tx.QueryRow(ctx, `SELECT id, facility_row FROM study WHERE study_uid = $1 AND deleted_at IS NULL`, uid).Scan(&study, &facility)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && !by.Scope.Sees(facility) {
		return nil
	}
	if err != nil {
		return err
	}
	made.facility = facility
	if !isReading(made.attributes) {
		return nil
	}
	var id string
	err = tx.QueryRow(ctx, `SELECT id::text FROM reading_task WHERE study_row = $1 FOR UPDATE`, study).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil // it becomes one when the study is complete, see begin
	}
	if err != nil {
		return err
	}
	task, err := taskOf(ctx, tx, id)
	if err != nil || task.State != worklist.Open {
		return err // somebody reads it, or has: this is a second reading
	}
	own, err := find(ctx, tx, `u.task_id = $1 AND u.state = 'SCHEDULED' AND u.asked_by = 'system' FOR NO KEY UPDATE`, id)
	if err != nil || own == nil {
		return err
	}
	why := because("Replaced by "+made.uid, rescheduled)
	if err := s.passThrough(ctx, tx, own, "system", why); err != nil {
		return err
	}
	made.task = id
	made.attributes.SetSequence(dicom.TagReplacedProcedureStepSequence,
		append(made.attributes.Items(dicom.TagReplacedProcedureStepSequence), reference(own.uid))...)
	return s.work.Ask(ctx, tx, task, priorityOf(made.attributes))
}
