package index

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// How studies are found.
//
// A page of studies is a page of one ordered list, so most searches walk an
// index in the list's order and stop when the page is full. The indexes of
// lists hold what studies are mostly picked by (date, modalities, facility, the
// patient's name), so that one passed by costs a look at its entry, some
// 0.3 µs; rows are fetched for the page only.
//
// That is slow for what is rare. So a search for a name takes a glance first:
// at the first few thousand entries of the list (glance.go). What is common is
// found there, and a short list is gone through. What isn't tells how rare it
// is: too rare to go on walking, and the patients are looked up by indexes of
// their own, and from them their studies: all of them when the patients are
// few, to be sorted; else the walk passes by the studies of others. Other keys
// about patients begin with that.
//
// The database's planner could choose between these only with statistics it
// does not have (how many patients have "rim" in their names, and since when),
// and when it guesses wrong a search takes seconds. Conditions that it must not
// turn round are written as subqueries that it can't.

// wanted is who and what a search asks for, as far as it has been looked up.
type wanted struct {
	// all: no key is about patients. many: too many match to name them, or it
	// is better not to try.
	all, many bool
	patients  []int64 // when neither
	studies   []int64 // found by their own number; with a typed text only
	// numbered are the patients that a typed text gives the number of;
	// unnumbered says that those, or the studies, are too many to name.
	numbered   []int64
	unnumbered bool
	// facilities are those with the code asked for; nil for any.
	facilities []int64
	of         float64 // about how many patients there are
	walk       float64 // what walking the list until the page is full may cost, in µs, after a glance; else 0
}

// page is the SQL that finds the row numbers (id) of a page of studies; "" when
// there are none. c has where it begins.
func (ix *Index) page(ctx context.Context, scope pacs.Scope, f pacs.StudyFilter, c *conditions) (string, error) {
	w, nobody, err := ix.begin(ctx, f)
	if err != nil || nobody {
		return "", err
	}
	if w.glances(f) {
		found, done, err := ix.glance(ctx, scope, f, &w)
		switch {
		case err != nil || done && len(found) == 0:
			return "", err
		case done:
			*c = conditions{}
			return "SELECT unnest(" + c.arg(found) + "::bigint[]) AS id", nil
		}
	}
	if nobody, err := ix.lookUp(ctx, f, &w); err != nil || nobody {
		return "", err
	}
	return studySearch(c, scope, f, &w), nil
}

// nameable is how many patients are named to the database at most. Finding
// them costs up to 4 µs each where names are looked for by parts, asking the
// studies of a list one by one some 7 µs each until a page is full: at a
// hundredth of all patients the two are about the same.
func nameable(patients float64) int {
	return int(min(max(patients/100, 1000), 50_000))
}

// few is the number of patients up to which it is quicker to fetch all their
// studies (some 2 µs a patient) than to walk the list past those of others
// (some 0.3 µs a study) until a page is full.
func few(patients float64, page int) int {
	return int(math.Sqrt(0.15 * max(patients, 1000) * float64(page)))
}

// begin finds out what is known without a look at patients or the list: which
// facilities, and whose number a typed text is. Nobody says that nothing can
// match.
func (ix *Index) begin(ctx context.Context, f pacs.StudyFilter) (w wanted, nobody bool, err error) {
	var c conditions
	c.text("code", f.Facility)
	if len(c.clauses) > 0 {
		w.facilities, err = collect(ctx, ix.pool, `SELECT id FROM facility WHERE `+c.where(), c.args, pgx.RowTo[int64])
		if err != nil || len(w.facilities) == 0 {
			return w, true, err
		}
	}
	c = conditions{}
	c.patient(f)
	text := words(f.Text)
	if len(c.clauses) == 0 && text == "" {
		w.all = true
		return w, false, nil
	}
	if w.of, err = ix.countPatients(ctx); err != nil {
		return w, false, err
	}
	// A study's own number says enough.
	w.many = len(f.StudyInstanceUIDs) > 0 || f.AccessionNumber != "" && !strings.ContainsAny(f.AccessionNumber, "*?")
	if text == "" {
		return w, false, nil
	}
	if !matchable(text) {
		return w, true, nil
	}
	most := nameable(w.of)
	find := func(sql string, c conditions) ([]int64, error) {
		return collect(ctx, ix.pool, sql+c.where()+` LIMIT `+c.arg(most+1), c.args, pgx.RowTo[int64])
	}
	c = conditions{}
	c.clauses = []string{c.textNumber(text)}
	if w.numbered, err = find(`SELECT p.id FROM patient p WHERE `, c); err != nil {
		return w, false, err
	}
	if len(w.numbered) <= most {
		c = conditions{}
		c.textStudy(text)
		if w.studies, err = find(`SELECT s.id FROM study s WHERE `, c); err != nil {
			return w, false, err
		}
	}
	if len(w.numbered) > most || len(w.studies) > most {
		w.unnumbered, w.many, w.numbered, w.studies = true, true, nil, nil
	}
	return w, false, nil
}

// lookUp finds out who is asked for.
func (ix *Index) lookUp(ctx context.Context, f pacs.StudyFilter, w *wanted) (nobody bool, err error) {
	if w.all || w.many {
		return false, nil
	}
	var c conditions
	c.patient(f)
	if text := words(f.Text); text != "" {
		c.textPatient(text)
	}
	most := nameable(w.of)
	w.patients, err = collect(ctx, ix.pool, `SELECT p.id FROM patient p WHERE `+c.where()+` LIMIT `+c.arg(most+1), c.args, pgx.RowTo[int64])
	if err != nil {
		return false, err
	}
	if len(w.patients) > most {
		w.many, w.patients = true, nil
	}
	return !w.many && len(w.patients) == 0 && len(w.studies) == 0, nil
}

// order is how a list of studies is sorted.
type order struct {
	by     string // ORDER BY over the aliases s and p
	key    string // what comes first in it, and how that is sorted
	sorted string
	named  bool // by something of the patient
	cursor func(pacs.Study) cursor
}

var orders = map[pacs.StudyOrder]order{
	pacs.ByDate: {
		by: "s.study_date DESC, s.id DESC", key: "s.study_date", sorted: "DESC",
		cursor: func(s pacs.Study) cursor { return cursor{Text: s.Date, ID: s.ID} },
	},
	pacs.ByReceived: {
		by:     "s.id DESC", // rows are numbered as they come
		cursor: func(s pacs.Study) cursor { return cursor{ID: s.ID} },
	},
	pacs.ByName: {
		by: "p.name COLLATE person_name, s.id DESC", key: "p.name", sorted: "COLLATE person_name", named: true,
		cursor: func(s pacs.Study) cursor { return cursor{Text: s.Patient.Name, ID: s.ID} },
	},
}

// manyFacilities is how many lists, one of each facility, are merged; above it
// one list of all facilities is walked, past those out of sight.
const manyFacilities = 64

// after adds where the page begins.
func (c *conditions) after(o pacs.StudyOrder, at cursor) {
	switch o {
	case pacs.ByReceived:
		c.add("s.id < %s", at.ID)
	case pacs.ByName:
		name := c.arg(at.Text)
		c.clauses = append(c.clauses, fmt.Sprintf("p.name COLLATE person_name >= %s AND (p.name COLLATE person_name > %[1]s OR s.id < %[2]s)", name, c.arg(at.ID)))
	default:
		c.add("(s.study_date, s.id) < (%s, %s)", at.Text, at.ID)
	}
}

// inSight is the facilities that are looked at; nil for all.
func inSight(scope pacs.Scope, w *wanted) []int64 {
	switch {
	case w.facilities != nil:
		return slices.DeleteFunc(slices.Clone(w.facilities), func(id int64) bool { return !scope.Sees(id) })
	case scope.All:
		return nil
	}
	return append([]int64{}, distinct(scope.FacilityIDs)...)
}

// studySearch is the SQL that finds a page of studies: their row numbers and
// sort keys, in order.
func studySearch(c *conditions, scope pacs.Scope, f pacs.StudyFilter, w *wanted) string {
	o := orders[f.Sort]
	from := "study s"
	if o.named {
		from = "study s JOIN patient p ON p.id = s.patient_row"
	}
	// What is found by a number of its own is found by that number.
	direct := len(f.StudyInstanceUIDs) > 0 || strings.Trim(f.AccessionNumber, "*") != ""
	facilities := inSight(scope, w)
	fetched := w.isFew(f)
	perFacility := false
	switch {
	case facilities == nil:
	case len(facilities) == 1:
		c.facility(o, c.arg(facilities[0]))
	case len(facilities) == 0:
		c.nothing()
	case !direct && f.Sort != pacs.ByReceived && offset(f.Page) == 0 && len(facilities) <= manyFacilities && !fetched:
		perFacility = true
		c.facility(o, "scope.facility")
	default:
		c.add("s.facility_row = ANY(%s)", facilities)
	}
	c.listed(f)
	from = c.whose(from, f, w)
	c.rest(f, direct || fetched || w.all || o.named)
	rows := c.arg(limit(f.Page))
	key := o.key
	if key != "" {
		key = ", " + key + " AS key"
	}
	list := fmt.Sprintf(`SELECT s.id%s FROM %s WHERE %s ORDER BY %s LIMIT %s OFFSET %s`,
		key, from, c.where(), o.by, rows, c.arg(offset(f.Page)))
	if !perFacility {
		return list
	}
	return fmt.Sprintf(`SELECT id FROM unnest(%s::bigint[]) AS scope(facility) CROSS JOIN LATERAL (%s) AS list ORDER BY key %s, id DESC LIMIT %s`,
		c.arg(facilities), list, o.sorted, rows)
}

// facility limits a list to one facility, by what its index begins with: the
// facility of a study is its patient's.
func (c *conditions) facility(o order, one string) {
	if o.named {
		c.clauses = append(c.clauses, "p.facility_row = "+one)
		return
	}
	c.clauses = append(c.clauses, "s.facility_row = "+one)
}

// rest adds the conditions on studies that no list's index holds. In a walk
// they are asked of those that fit otherwise, so that no row is fetched for the
// others.
func (c *conditions) rest(f pacs.StudyFilter, fetched bool) {
	if fetched {
		c.unlisted("s", f)
		return
	}
	var row conditions
	row.args = c.args
	row.unlisted("r", f)
	c.args = row.args
	if len(row.clauses) > 0 {
		c.clauses = append(c.clauses, "(SELECT "+row.where()+" FROM study r WHERE r.id = s.id)")
	}
}

func distinct(ids []int64) []int64 {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	return slices.Compact(ids)
}

// isFew says whether all studies of those wanted are fetched, and sorted. No
// list by name is walked past the studies of others: those wanted may all be at
// its end.
func (w *wanted) isFew(f pacs.StudyFilter) bool {
	n := len(w.patients) + len(w.studies)
	switch {
	case w.all || w.many:
		return false
	case f.Sort == pacs.ByName:
		return true
	case w.walk > 0:
		return costFetch*float64(n) <= w.walk
	}
	return n <= few(w.of, limit(f.Page)+offset(f.Page))
}

// whose adds whose studies are sought and returns the FROM clause.
func (c *conditions) whose(from string, f pacs.StudyFilter, w *wanted) string {
	switch {
	case w.all:
	case w.many:
		c.named(f, w)
		c.asked(f)
	case w.isFew(f):
		who := "unnest(" + c.arg(w.patients) + "::bigint[]) AS who(patient)"
		if len(w.studies) == 0 {
			return who + " JOIN " + strings.Replace(from, "study s", "study s ON s.patient_row = who.patient", 1)
		}
		return "(SELECT s.id FROM " + who + " JOIN study s ON s.patient_row = who.patient UNION SELECT unnest(" + c.arg(w.studies) + "::bigint[])) AS found JOIN " +
			strings.Replace(from, "study s", "study s ON s.id = found.id", 1)
	default:
		c.clauses = append(c.clauses, c.oneOfThese(w.patients, w.studies))
	}
	return from
}

// oneOfThese is a study of one of these patients, or one of these. IS TRUE
// keeps it a filter: made a join, the list's order is lost.
func (c *conditions) oneOfThese(patients, studies []int64) string {
	these := "s.patient_row IN (SELECT unnest(" + c.arg(patients) + "::bigint[]))"
	if len(studies) > 0 {
		these += " OR s.id IN (SELECT unnest(" + c.arg(studies) + "::bigint[]))"
	}
	return "((" + these + ") IS TRUE)"
}

// named adds what is known of the name and the typed text, beside each study.
func (c *conditions) named(f pacs.StudyFilter, w *wanted) {
	c.personName(ofStudy, f.PatientName, f.Fuzzy)
	text := words(f.Text)
	switch {
	case text == "":
	case w.unnumbered:
		// Asked study by study, of those whose name is another.
		var number, s conditions
		number.args = c.args
		by := number.textNumber(text)
		s.args = number.args
		s.textStudy(text)
		c.args = s.args
		c.clauses = append(c.clauses, "("+c.folded(ofStudy.fold, text)+" OR (SELECT "+by+" FROM patient p WHERE p.id = s.patient_row) OR "+s.where()+")")
	case len(w.numbered)+len(w.studies) == 0:
		c.clauses = append(c.clauses, c.folded(ofStudy.fold, text))
	default:
		c.clauses = append(c.clauses, "("+c.folded(ofStudy.fold, text)+" OR "+c.oneOfThese(w.numbered, w.studies)+")")
	}
}

// asked adds what else is asked of the patient: of each study's, one by one.
func (c *conditions) asked(f pacs.StudyFilter) {
	var p conditions
	p.args = c.args
	p.numbered(f)
	c.args = p.args
	if len(p.clauses) > 0 {
		// A subquery in the SELECT list of nothing: the planner can't make a
		// join of it.
		c.clauses = append(c.clauses, "(SELECT "+p.where()+" FROM patient p WHERE p.id = s.patient_row)")
	}
}

// countPatients is about how many patients there are: as many as the
// database's statistics say.
func (ix *Index) countPatients(ctx context.Context) (float64, error) {
	return ix.patients.get(ctx, "", func(ctx context.Context) (n float64, keep time.Duration, err error) {
		err = ix.pool.QueryRow(ctx, `SELECT greatest(reltuples, 0)::float8 FROM pg_class WHERE oid = 'patient'::regclass`).Scan(&n)
		return n, time.Minute, fail(err)
	})
}
