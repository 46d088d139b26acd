package index

import (
	"context"
	"fmt"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// glanced is how many entries of a list a glance takes in: about a
// millisecond's worth.
var glanced = 3000

// What finding costs, in µs.
const (
	costEntry  = 0.35 // an entry of a list that is walked
	costPrefix = 0.4  // a patient by the beginning of the name
	costParts  = 3    // a patient by parts of the name
	costFetch  = 2    // a patient's studies
)

// glances says whether a search is for a name, in a list by date or arrival.
func (w *wanted) glances(f pacs.StudyFilter) bool {
	return !w.all && !w.many && f.Sort != pacs.ByName && (!universal(f.PatientName) || words(f.Text) != "") &&
		f.PatientID == "" && f.PINFL == "" && f.PatientRowID == 0 && f.AccessionNumber == "" && offset(f.Page) < glanced
}

// glance looks at the first entries of a list. It returns the row numbers of
// the studies found when they fill the page or the list ends there; else it
// says (w.many) whether walking on is better than looking patients up.
func (ix *Index) glance(ctx context.Context, scope pacs.Scope, f pacs.StudyFilter, w *wanted) (page []int64, done bool, err error) {
	var list conditions
	if f.After != "" {
		at, err := parseCursor(f.After)
		if err != nil {
			return nil, false, err
		}
		list.after(f.Sort, at)
	}
	o, facilities := orders[f.Sort], inSight(scope, w)
	if len(facilities) == 1 {
		list.facility(o, list.arg(facilities[0]))
	}
	list.clauses = append(list.clauses, undeleted)
	list.dates(f)
	most := list.arg(glanced)

	named := conditions{args: list.args}
	named.named(f, w)
	picked := conditions{args: named.args}
	picked.clauses = []string{"named"}
	if len(facilities) != 1 && facilities != nil {
		picked.add("s.facility_row = ANY(%s)", facilities)
	}
	picked.modalities(f)
	picked.asked(f)
	picked.rest(f, false)
	rows, skip := picked.arg(limit(f.Page)), picked.arg(offset(f.Page))

	var seen, those int
	err = ix.pool.QueryRow(ctx, fmt.Sprintf(`
		WITH list AS MATERIALIZED (
			SELECT s.id, s.study_date, s.patient_row, s.facility_row, s.modalities, %s AS named
			FROM study s WHERE %s ORDER BY %s LIMIT %s)
		SELECT count(*), count(*) FILTER (WHERE named),
			(SELECT coalesce(array_agg(id), '{}') FROM (SELECT s.id FROM list s WHERE %s ORDER BY %s LIMIT %s OFFSET %s) found)
		FROM list`, named.where(), list.where(), o.by, most, picked.where(), o.by, rows, skip), picked.args...).Scan(&seen, &those, &page)
	if err != nil {
		return nil, false, fail(err)
	}
	need := limit(f.Page)
	if len(page) == need || seen < glanced {
		return page, true, nil
	}
	found := float64(len(page))
	if found > 0 {
		found += float64(offset(f.Page))
	}
	// As if there had been half a study more: what is not in sight may be there.
	w.walk = costEntry * float64(need+offset(f.Page)) * float64(glanced) / (found + 0.5)
	patients := w.of * (float64(those) + 0.5) / float64(glanced)
	each := float64(costParts)
	if !f.Fuzzy && f.PatientName != "" && f.PatientName[0] != '*' && f.PatientName[0] != '?' {
		each = costPrefix
	}
	w.many = patients > float64(nameable(w.of)) || w.walk < patients*(each+costFetch)
	return nil, false, nil
}
