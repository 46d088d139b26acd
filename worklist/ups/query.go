package ups

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/worklist"
)

// pageSize is how many steps are fetched at a time.
const pageSize = 200

// Get returns a step as it is shown, without the Transaction UID. NotFound when
// there is none that the caller sees.
func (s *Steps) Get(ctx context.Context, by Caller, uid string) (*dicom.Dataset, error) {
	if dicom.ValidUID(uid) != nil {
		return nil, noStep()
	}
	found, err := find(ctx, s.pool, `u.sop_uid = $1`, uid)
	if err != nil {
		return nil, worklist.Failure(err)
	}
	if found == nil || !by.Scope.Sees(found.facility) {
		return nil, noStep()
	}
	list, err := s.shown(ctx, s.pool, []*step{found}, true)
	if err != nil {
		return nil, worklist.Failure(err)
	}
	return list[0], nil
}

func noStep() error { return pacs.Errorf(pacs.NotFound, "There is no such unified procedure step") }

// Find calls each with every step that the keys match, oldest first, page by page, so
// that nothing is gathered. An error of each ends it and is returned.
//
//	Invalid  the keys can't be understood
func (s *Steps) Find(ctx context.Context, by Caller, keys *dicom.Dataset, each func(*dicom.Dataset) error) error {
	keys = keys.UTF8()
	if err := checkKeys(keys); err != nil {
		return pacs.Errorf(pacs.Invalid, "The query can't be understood: %v", err)
	}
	references := keys.Has(dicom.TagInputInformationSequence)
	for after := int64(0); ; {
		list, last, err := s.page(ctx, by.Scope, keys, after, references)
		if err != nil {
			return worklist.Failure(err)
		}
		for _, ds := range list {
			if err := each(ds); err != nil {
				return err
			}
		}
		if last == 0 {
			return nil
		}
		after = last
	}
}

// page reads a page of steps and returns what matches of them. last is 0 at the
// end.
func (s *Steps) page(ctx context.Context, scope pacs.Scope, keys *dicom.Dataset, after int64, references bool) (found []*dicom.Dataset, last int64, err error) {
	steps, err := candidates(ctx, s.pool, scope, keys, after)
	if err != nil {
		return nil, 0, err
	}
	shown, err := s.shown(ctx, s.pool, steps, references)
	if err != nil {
		return nil, 0, err
	}
	for _, ds := range shown {
		if matches(keys, ds) {
			found = append(found, ds)
		}
	}
	if len(steps) == pageSize {
		last = steps[len(steps)-1].row
	}
	return found, last, nil
}

// candidates are the steps that the database can tell may match.
func candidates(ctx context.Context, q querier, scope pacs.Scope, keys *dicom.Dataset, after int64) ([]*step, error) {
	where, args := []string{"u.id > $1"}, []any{after}
	and := func(condition string, arg any) {
		args = append(args, arg)
		where = append(where, fmt.Sprintf(condition, len(args)))
	}
	if !scope.All {
		and("u.facility_row = ANY($%d)", append([]int64{}, scope.FacilityIDs...))
	}
	if uids := literals(keys, dicom.TagSOPInstanceUID); uids != nil {
		and("u.sop_uid = ANY($%d)", uids)
	}
	if list := literals(keys, dicom.TagProcedureStepState); list != nil {
		// What is to be done is what is asked for, and has an index of its own.
		if !slices.Contains(list, string(Completed)) && !slices.Contains(list, string(Canceled)) {
			where = append(where, "u.state IN ('SCHEDULED', 'IN PROGRESS')")
		}
		and("u.state = ANY($%d)", list)
	}
	if uid := literal(keys, dicom.TagStudyInstanceUID); uid != "" {
		and("u.study_uid = $%d", uid)
	}
	if window, ok := span(keys.String(dicom.TagScheduledProcedureStepStartDateTime), dicom.DT); ok {
		if at, err := time.Parse(dateTimeForm, window.to); err == nil {
			and("u.start_at <= $%d", at.Add(time.Second))
		}
	}
	rows, err := q.Query(ctx, `SELECT `+stepColumns+` FROM ups u WHERE `+strings.Join(where, " AND ")+fmt.Sprintf(" ORDER BY u.id LIMIT %d", pageSize), args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanStep)
}
