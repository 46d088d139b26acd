package index

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// PatientMatch is a patient with what the scope sees of them.
type PatientMatch struct {
	pacs.Patient
	Studies, Series, Instances int
	// Availability is the worst of their instances, when the filter asked for it.
	Availability pacs.Availability
}

// PatientsWithStudies returns the patients of whom the scope sees studies and who
// match the filter's keys that are about patients (the others don't count), and
// the cursor of the next page.
func (ix *Index) PatientsWithStudies(ctx context.Context, scope pacs.Scope, f pacs.StudyFilter) ([]PatientMatch, string, error) {
	var c conditions
	c.patient(f)
	if f.After != "" {
		at, err := parseCursor(f.After)
		if err != nil {
			return nil, "", err
		}
		c.add("p.id > %s", at.ID)
	}
	seen := conditions{args: c.args}
	seen.scope(scope, "s.facility_row")
	seen.clauses = append(seen.clauses, undeleted)
	c.args = seen.args
	sql := fmt.Sprintf(`
		SELECT p.id, p.issuer, p.patient_id, p.name, p.sex, p.birth_date, p.pinfl, p.variant, n.studies, n.series, n.instances
		FROM patient p CROSS JOIN LATERAL (
			SELECT count(*) AS studies, sum(s.series_count) AS series, sum(s.instance_count) AS instances
			FROM study s WHERE s.patient_row = p.id AND %s) n
		WHERE n.studies > 0 AND %s ORDER BY p.id LIMIT %s OFFSET %s`, seen.where(), c.where(), c.arg(limit(f.Page)), c.arg(offset(f.Page)))
	rows, err := collect(ctx, ix.pool, sql, c.args, func(r pgx.CollectableRow) (m PatientMatch, err error) {
		err = r.Scan(&m.ID, &m.Issuer, &m.PatientID, &m.Name, &m.Sex, &m.BirthDate, &m.PINFL, &m.Variant, &m.Studies, &m.Series, &m.Instances)
		return m, err
	})
	if err != nil {
		return nil, "", err
	}
	rows, next := cut(rows, f.Page, func(m PatientMatch) cursor { return cursor{ID: m.ID} })
	if f.Availability {
		err = ix.patientAvailability(ctx, scope, rows)
	}
	return rows, next, err
}
