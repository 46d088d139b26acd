package index

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// worst maps what is not online, by row number.
type worst map[int64]pacs.Availability

// Two of what is not online; each has a small index of its own.
const (
	stripped = `SELECT DISTINCT i.study_row, i.series_row FROM instance i
		WHERE i.study_row = ANY($1) AND i.pixels_deleted IS NOT NULL AND i.current AND i.rejected IS NULL`
	// The LIMIT keeps the database from beginning with the instances, which are many.
	cold = `SELECT DISTINCT e.study_row, e.id FROM series e JOIN pack k ON k.series_row = e.id
		WHERE e.study_row = ANY($1) AND k.key LIKE 'cold/%' AND (SELECT true FROM instance i
			WHERE i.study_row = e.study_row AND i.series_row = e.id AND i.pack_row = k.id AND i.current AND i.rejected IS NULL LIMIT 1)`
)

// availability finds what of these studies is not online, by study and by series.
// An archive that has nothing of the kind is asked no more than that. The order is
// that of the small indexes, which makes the database use them.
func (ix *Index) availability(ctx context.Context, studyIDs []int64) (byStudy, bySeries worst, err error) {
	byStudy, bySeries = worst{}, worst{}
	if len(studyIDs) == 0 {
		return byStudy, bySeries, nil
	}
	var anyStripped, anyCold bool
	if err := ix.pool.QueryRow(ctx, `SELECT
		coalesce((SELECT true FROM instance WHERE pixels_deleted IS NOT NULL ORDER BY study_row LIMIT 1), false),
		coalesce((SELECT true FROM pack WHERE key LIKE 'cold/%' ORDER BY series_row LIMIT 1), false)`).Scan(&anyStripped, &anyCold); err != nil {
		return nil, nil, fail(err)
	}
	find := func(sql string, is pacs.Availability) error {
		_, err := collect(ctx, ix.pool, sql, []any{distinct(studyIDs)}, func(r pgx.CollectableRow) (x struct{}, err error) {
			var study, series int64
			if err := r.Scan(&study, &series); err != nil {
				return x, err
			}
			byStudy[study], bySeries[series] = max(byStudy[study], is), max(bySeries[series], is)
			return x, nil
		})
		return err
	}
	if anyCold {
		err = find(cold, pacs.Nearline)
	}
	if anyStripped && err == nil {
		err = find(stripped, pacs.Gone)
	}
	return byStudy, bySeries, err
}

func (ix *Index) studyAvailability(ctx context.Context, studies []pacs.Study) error {
	ids := make([]int64, len(studies))
	for i := range studies {
		ids[i] = studies[i].ID
	}
	found, _, err := ix.availability(ctx, ids)
	for i := range studies {
		studies[i].Availability = found[studies[i].ID]
	}
	return err
}

func (ix *Index) seriesAvailability(ctx context.Context, series []pacs.Series) error {
	ids := make([]int64, len(series))
	for i := range series {
		ids[i] = series[i].StudyID
	}
	_, found, err := ix.availability(ctx, ids)
	for i := range series {
		series[i].Availability = found[series[i].ID]
	}
	return err
}

// patientAvailability looks at the studies in scope.
func (ix *Index) patientAvailability(ctx context.Context, scope pacs.Scope, patients []PatientMatch) error {
	ids := make([]int64, len(patients))
	for i := range patients {
		ids[i] = patients[i].ID
	}
	var c conditions
	c.scope(scope, "s.facility_row")
	c.add("s.patient_row = ANY(%s)", ids)
	c.clauses = append(c.clauses, undeleted)
	of := map[int64]int64{}
	studies, err := collect(ctx, ix.pool, `SELECT s.id, s.patient_row FROM study s WHERE `+c.where(), c.args, func(r pgx.CollectableRow) (id int64, err error) {
		var patient int64
		err = r.Scan(&id, &patient)
		of[id] = patient
		return id, err
	})
	if err != nil {
		return err
	}
	found, _, err := ix.availability(ctx, studies)
	by := worst{}
	for study, is := range found {
		by[of[study]] = max(by[of[study]], is)
	}
	for i := range patients {
		patients[i].Availability = by[patients[i].ID]
	}
	return err
}
