package ups

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/events"
)

// Event types. PS3.4 Table CC.2.4-1.
const (
	stateReport     = 1
	cancelRequested = 2
	progressReport  = 3
	statusChange    = 4
	assigned        = 5
)

// visible is the SQL condition that a subscriber (s) may hear of a step of
// facility $2: what the AE's registration allows, or what its owner saw when
// subscribing.
const visible = `(s.owner = '' AND EXISTS (SELECT FROM device d WHERE d.ae_title = s.ae_title AND 'ups' = ANY(d.services) AND (d.all_facilities OR d.facility_row = $2))
	OR s.owner <> '' AND (s.facility_rows IS NULL OR $2 = ANY(s.facility_rows)))`

// emit queues an event for who is subscribed to a step, in the transaction in
// which it happens.
func (s *Steps) emit(ctx context.Context, tx pgx.Tx, of *step, kind int, information *dicom.Dataset) error {
	raw, err := encode(information.UTF8())
	if err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, `INSERT INTO ups_event (subscriber_row, sop_uid, event_type, information)
		SELECT s.id, $3, $4, $5 FROM ups_subscription x JOIN ups_subscriber s ON s.id = x.subscriber_row WHERE x.ups_row = $1 AND `+visible+` ORDER BY s.id`,
		of.row, of.facility, of.uid, kind, raw)
	if err != nil || tag.RowsAffected() == 0 {
		return err
	}
	return notify(ctx, tx, of)
}

// notify wakes who brings events, on all nodes.
func notify(ctx context.Context, tx pgx.Tx, of *step) error {
	return events.Notify(ctx, tx, events.Event{Type: events.Workitem, Data: map[string]string{"uid": of.uid}, Facility: of.facility})
}

// report queues a UPS State Report.
func (s *Steps) report(ctx context.Context, tx pgx.Tx, of *step) error {
	return s.emit(ctx, tx, of, stateReport, of.stateInformation())
}

func (s *step) stateInformation() *dicom.Dataset {
	ds := new(dicom.Dataset).SetString(dicom.TagProcedureStepState, dicom.CS, string(s.state)).
		SetString(dicom.TagInputReadinessState, dicom.CS, s.attributes.String(dicom.TagInputReadinessState))
	if s.state == Canceled {
		item := s.attributes.Item(dicom.TagProcedureStepProgressInformationSequence)
		ds = ds.UTF8()
		for _, tag := range []dicom.Tag{dicom.TagReasonForCancellation, dicom.TagProcedureStepDiscontinuationReasonCodeSequence} {
			if e, ok := item.Get(tag); ok && !empty(e) {
				put(ds, e)
			}
		}
	}
	return ds
}

// assignment is the information of a UPS Assigned event; nil when nobody is.
func (s *step) assignment() *dicom.Dataset {
	ds := new(dicom.Dataset).UTF8()
	if e, ok := s.attributes.Get(dicom.TagScheduledStationNameCodeSequence); ok && !empty(e) {
		put(ds, e)
	}
	if human := s.attributes.Item(dicom.TagScheduledHumanPerformersSequence); human != nil {
		for _, tag := range []dicom.Tag{dicom.TagHumanPerformerCodeSequence, dicom.TagHumanPerformerOrganization} {
			if e, ok := human.Get(tag); ok && !empty(e) {
				put(ds, e)
			}
		}
	}
	if len(ds.Elements) == 0 {
		return nil
	}
	return ds
}

// created subscribes to a new step who is subscribed globally, and tells them.
// PS3.4 Table CC.2.3-2 and CC.2.4.3.
func (s *Steps) created(ctx context.Context, tx pgx.Tx, of *step) error {
	if err := s.join(ctx, tx, of); err != nil {
		return err
	}
	if err := s.report(ctx, tx, of); err != nil {
		return err
	}
	if of.assignment() == nil {
		return nil
	}
	return s.emit(ctx, tx, of, assigned, of.assignment())
}

// subscribing keeps steps from being created while somebody subscribes to all
// there are: neither would see the other.
const subscribing = 0x7570735375627363

// join subscribes to a step who is subscribed globally and whose filter, if
// there is one, it matches.
func (s *Steps) join(ctx context.Context, tx pgx.Tx, of *step) error {
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock_shared($1)`, int64(subscribing)); err != nil {
		return err
	}
	rows, err := tx.Query(ctx, `SELECT s.id, s.every_lock, s.filter FROM ups_subscriber s WHERE s.every AND $1::bigint IS NOT NULL AND `+visible+` ORDER BY s.id`, of.row, of.facility)
	if err != nil {
		return err
	}
	type global struct {
		id     int64
		lock   bool
		filter []byte
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (g global, err error) {
		return g, row.Scan(&g.id, &g.lock, &g.filter)
	})
	if err != nil || len(list) == 0 {
		return err
	}
	var ds *dicom.Dataset
	for _, g := range list {
		if g.filter != nil {
			if ds == nil {
				shown, err := s.shown(ctx, tx, []*step{of}, false)
				if err != nil {
					return err
				}
				ds = shown[0]
			}
			keys, err := decode(g.filter)
			if err != nil {
				return err
			}
			if !matches(keys, ds) {
				continue
			}
		}
		if _, err := tx.Exec(ctx, `INSERT INTO ups_subscription (subscriber_row, ups_row, lock) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, g.id, of.row, g.lock); err != nil {
			return err
		}
	}
	return nil
}

// changed tells subscribers of what is different after an N-SET. PS3.4 CC.2.4.3.
func (s *Steps) changed(ctx context.Context, tx pgx.Tx, before, after *step) error {
	differ := func(tag dicom.Tag) bool {
		return !bytes.Equal(only(before.attributes, tag), only(after.attributes, tag))
	}
	if differ(dicom.TagInputReadinessState) {
		if err := s.report(ctx, tx, after); err != nil {
			return err
		}
	}
	if differ(dicom.TagScheduledStationNameCodeSequence) || differ(dicom.TagScheduledHumanPerformersSequence) {
		if err := s.emit(ctx, tx, after, assigned, cmp.Or(after.assignment(), new(dicom.Dataset))); err != nil {
			return err
		}
	}
	if !differ(dicom.TagProcedureStepProgressInformationSequence) {
		return nil
	}
	item := new(dicom.Dataset)
	if now := after.attributes.Item(dicom.TagProcedureStepProgressInformationSequence); now != nil {
		item = now.Select(dicom.TagProcedureStepProgress, dicom.TagProcedureStepProgressDescription, dicom.TagProcedureStepProgressParametersSequence,
			dicom.TagProcedureStepCommunicationsURISequence)
	}
	return s.emit(ctx, tx, after, progressReport, new(dicom.Dataset).SetSequence(dicom.TagProcedureStepProgressInformationSequence, item))
}

// only is one attribute, encoded, to compare it.
func only(ds *dicom.Dataset, tag dicom.Tag) []byte {
	raw, err := dicom.AppendDataset(nil, ds.Select(tag), dicom.ExplicitVRLittleEndian)
	if err != nil {
		return nil
	}
	return raw
}

// Event is something to tell a subscriber.
type Event struct {
	ID          int64
	StepUID     string
	Type        int
	HappenedAt  time.Time
	Information *dicom.Dataset
}

// waiting are the oldest events that a subscriber has not been told, at most n.
func (s *Steps) waiting(ctx context.Context, subscriber int64, n int) ([]Event, error) {
	rows, err := s.pool.Query(ctx, `SELECT id, sop_uid, event_type, happened_at, information FROM ups_event WHERE subscriber_row = $1 ORDER BY id LIMIT $2`, subscriber, n)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (e Event, err error) {
		var raw []byte
		if err := row.Scan(&e.ID, &e.StepUID, &e.Type, &e.HappenedAt, &raw); err != nil {
			return e, err
		}
		e.Information, err = decode(raw)
		return e, err
	})
}

// told drops events that a subscriber has been told.
func (s *Steps) told(ctx context.Context, list ...Event) error {
	ids := make([]int64, len(list))
	for i, e := range list {
		ids[i] = e.ID
	}
	_, err := s.pool.Exec(ctx, `DELETE FROM ups_event WHERE id = ANY($1)`, slices.Compact(ids))
	return err
}
