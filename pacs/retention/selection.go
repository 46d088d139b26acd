package retention

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs/index"
)

// calm is for how long nothing of a study must have arrived or been changed.
const calm = 30 * 24 * time.Hour

// candidate is a study that a policy is for, as far as the database can tell
// by itself.
type candidate struct {
	ID         int64
	UID        string
	Facility   string // code
	FacilityID int64
	Date       string
	Modalities []string
	Patient    string // name
	Instances  int
	Bytes      int64
	Held       bool
}

// selection is the one query that says which studies a policy is for.
type selection struct {
	policy Policy
	before []Policy  // those enabled that are tried before it
	asOf   time.Time // from which ages count
}

// arguments gathers the values of a query.
type arguments []any

func (a *arguments) add(v any) string {
	*a = append(*a, v)
	return fmt.Sprintf("$%d", len(*a))
}

// fits is the condition that a policy's conditions hold for study s of
// facility f. It is never null.
func (p *Policy) fits(a *arguments, asOf time.Time) string {
	latest := asOf.UTC().AddDate(0, 0, -p.Days)
	// As text, dates that are none sort somewhere and do no harm: the time of
	// receiving must be old, too.
	all := []string{
		"s.study_date <= " + a.add(latest.Format("20060102")),
		"s.received_at <= " + a.add(latest),
	}
	if p.Facility != "" {
		all = append(all, "f.code = "+a.add(p.Facility))
	}
	if p.Modality != "" {
		modality := a.add(p.Modality)
		all = append(all, fmt.Sprintf(`s.modalities = ARRAY[%s]::text[] AND NOT EXISTS (SELECT FROM series e WHERE e.study_row = s.id AND e.modality <> %[1]s)`, modality))
	}
	return strings.Join(all, " AND ")
}

// undone is the condition that the action would change something.
func (a Action) undone() string {
	switch a {
	case DeletePixels:
		return `EXISTS (SELECT FROM series e WHERE e.study_row = s.id AND e.has_pixels)`
	case MoveToCold:
		return `EXISTS (SELECT FROM series e JOIN pack k ON k.series_row = e.id
			WHERE e.study_row = s.id AND k.retired_at IS NULL AND k.key NOT LIKE 'cold/%')`
	}
	return "true"
}

// notSynthetic is the condition that a study has something in storage: those
// generated for measuring have not.
const notSynthetic = `NOT EXISTS (SELECT FROM series e JOIN pack k ON k.series_row = e.id
	WHERE e.study_row = s.id AND k.key LIKE '` + index.SyntheticPrefix + `%')`

// page returns up to limit candidates behind a study; with only, that study if
// it is one. Held studies are among them.
func (s *selection) page(ctx context.Context, q querier, after, only int64, limit int) ([]candidate, error) {
	var a arguments
	quiet := a.add(s.asOf.Add(-calm))
	all := []string{
		"s.deleted_at IS NULL AND s.completed_at IS NOT NULL",
		fmt.Sprintf("s.received_at <= %s AND s.updated_at <= %[1]s", quiet),
		s.policy.fits(&a, s.asOf),
		s.policy.Action.undone(),
		notSynthetic,
	}
	for i := range s.before {
		all = append(all, "NOT ("+s.before[i].fits(&a, s.asOf)+")")
	}
	if only != 0 {
		all = append(all, "s.id = "+a.add(only))
	} else {
		all = append(all, "s.id > "+a.add(after))
	}
	rows, err := q.Query(ctx, `
		SELECT s.id, s.study_uid, f.code, f.id, s.study_date, s.modalities, p.name, s.instance_count, s.bytes,
			EXISTS (SELECT FROM legal_hold h WHERE h.study_uid = s.study_uid)
		FROM study s JOIN facility f ON f.id = s.facility_row JOIN patient p ON p.id = s.patient_row
		WHERE `+strings.Join(all, " AND ")+` ORDER BY s.id LIMIT `+a.add(limit), a...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (c candidate, err error) {
		err = row.Scan(&c.ID, &c.UID, &c.Facility, &c.FacilityID, &c.Date, &c.Modalities, &c.Patient, &c.Instances, &c.Bytes, &c.Held)
		return c, err
	})
}

// busy asks about candidates; with lock, those that aren't stay so until tx
// ends.
func (r *Retention) busy(ctx context.Context, tx pgx.Tx, list []candidate, lock bool) (map[int64]bool, error) {
	if len(list) == 0 {
		return nil, nil
	}
	ids := make([]int64, len(list))
	for i, c := range list {
		ids[i] = c.ID
	}
	return r.o.Busy(ctx, tx, ids, lock)
}
