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
// index in the list's order and stop when the page is full; rows are fetched
// for the page only. That is slow for what is rare. So the patients that are
// asked for are looked up first: when they are few, their studies are taken
// and sorted; when they are more, the walk passes by studies of others; when
// they are too many to name, it asks each study's patient.
//
// The database's planner could choose between these only with statistics it
// does not have (how many patients have "rim" in their names), and when it
// guesses wrong a search takes seconds. Conditions that it must not turn round
// are written as subqueries that it can't.

// wanted is who and what a search asks for, as far as it has been looked up.
type wanted struct {
	// all: no key is about patients. many: too many match to name them.
	all, many bool
	patients  []int64 // when neither
	studies   []int64 // found by their own number; with a typed text only
	// facilities are those with the code asked for; nil for any.
	facilities []int64
	of         float64 // about how many patients there are
}

func (w *wanted) nobody() bool {
	return !w.all && !w.many && len(w.patients) == 0 && len(w.studies) == 0
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
// (some 0.2 µs a study) until a page is full.
func few(patients float64, page int) int {
	return int(math.Sqrt(0.1 * max(patients, 1000) * float64(page)))
}

// lookUp finds out who is asked for.
func (ix *Index) lookUp(ctx context.Context, f pacs.StudyFilter) (wanted, error) {
	var w wanted
	var c conditions
	c.text("code", f.Facility)
	if len(c.clauses) > 0 {
		var err error
		w.facilities, err = collect(ctx, ix.pool, `SELECT id FROM facility WHERE `+c.where(), c.args, pgx.RowTo[int64])
		if err != nil || len(w.facilities) == 0 {
			return w, err // nobody
		}
	}
	c = conditions{}
	c.patient(f)
	text := words(f.Text)
	if text != "" {
		c.textPatient(text)
	}
	if len(c.clauses) == 0 {
		w.all = true
		return w, nil
	}
	var err error
	if w.of, err = ix.countPatients(ctx); err != nil {
		return w, err
	}
	most := nameable(w.of)
	find := func(sql string, c conditions) ([]int64, error) {
		return collect(ctx, ix.pool, sql+` WHERE `+c.where()+` LIMIT `+c.arg(most+1), c.args, pgx.RowTo[int64])
	}
	if w.patients, err = find(`SELECT p.id FROM patient p`, c); err != nil {
		return w, err
	}
	if text != "" && len(w.patients) <= most {
		var s conditions
		s.textStudy(text)
		if w.studies, err = find(`SELECT s.id FROM study s`, s); err != nil {
			return w, err
		}
	}
	if len(w.patients) > most || len(w.studies) > most {
		w.many, w.patients, w.studies = true, nil, nil
	}
	return w, nil
}

// order is how a list of studies is sorted.
type order struct {
	by     string // ORDER BY over the aliases s and p
	named  bool   // by something of the patient
	cursor func(pacs.Study) cursor
}

var orders = map[pacs.StudyOrder]order{
	pacs.ByDate: {
		by:     "s.study_date DESC, s.id DESC",
		cursor: func(s pacs.Study) cursor { return cursor{Text: s.Date, ID: s.ID} },
	},
	pacs.ByReceived: {
		by:     "s.id DESC", // rows are numbered as they come
		cursor: func(s pacs.Study) cursor { return cursor{ID: s.ID} },
	},
	pacs.ByName: {
		by: "p.name COLLATE person_name, s.id DESC", named: true,
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

// studySearch is the SQL that finds a page of studies: their row numbers and
// sort keys, in order.
func studySearch(c *conditions, scope pacs.Scope, f pacs.StudyFilter, w wanted) string {
	o := orders[f.Sort]
	from := "study s"
	if o.named {
		from = "study s JOIN patient p ON p.id = s.patient_row"
	}
	c.study(f)
	everywhere, facilities := scope.All && w.facilities == nil, distinct(scope.FacilityIDs)
	if w.facilities != nil {
		facilities = slices.DeleteFunc(w.facilities, func(id int64) bool { return !scope.Sees(id) })
	}
	// What is found by a number of its own is found by that number.
	direct := len(f.StudyInstanceUIDs) > 0 || strings.Trim(f.AccessionNumber, "*") != ""
	perFacility := false
	switch {
	case everywhere:
	case len(facilities) == 1:
		c.add("s.facility_row = %s", facilities[0])
	case len(facilities) == 0:
		c.nothing()
	case !direct && f.Sort == pacs.ByDate && offset(f.Page) == 0 && len(facilities) <= manyFacilities && !w.isFew(f.Page):
		perFacility = true
		c.clauses = append(c.clauses, "s.facility_row = scope.facility")
	default:
		c.add("s.facility_row = ANY(%s)", facilities)
	}
	from = c.whose(from, f, w)
	rows := c.arg(limit(f.Page))
	list := fmt.Sprintf(`SELECT s.id, s.study_date FROM %s WHERE %s ORDER BY %s LIMIT %s OFFSET %s`,
		from, c.where(), o.by, rows, c.arg(offset(f.Page)))
	if !perFacility {
		return list
	}
	return fmt.Sprintf(`SELECT id FROM unnest(%s::bigint[]) AS scope(facility) CROSS JOIN LATERAL (%s) AS list ORDER BY study_date DESC, id DESC LIMIT %s`,
		c.arg(facilities), list, rows)
}

func distinct(ids []int64) []int64 {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	return slices.Compact(ids)
}

// isFew says whether all studies of those wanted are fetched.
func (w *wanted) isFew(p pacs.Page) bool {
	return !w.all && !w.many && len(w.patients)+len(w.studies) <= few(w.of, limit(p)+offset(p))
}

// whose adds whose studies are sought and returns the FROM clause.
func (c *conditions) whose(from string, f pacs.StudyFilter, w wanted) string {
	switch {
	case w.all:
	case w.many:
		var p conditions
		p.args = c.args
		p.patient(f)
		if text := words(f.Text); text != "" {
			p.textPatient(text)
		}
		c.args = p.args
		// A subquery in the SELECT list of nothing: asked study by study.
		asked := "(SELECT " + p.where() + " FROM patient p WHERE p.id = s.patient_row)"
		if text := words(f.Text); text != "" {
			var s conditions
			s.args = c.args
			s.textStudy(text)
			c.args = s.args
			asked = "(" + asked + " OR " + s.where() + ")"
		}
		c.clauses = append(c.clauses, asked)
	case w.isFew(f.Page):
		who := "unnest(" + c.arg(w.patients) + "::bigint[]) AS who(patient)"
		if len(w.studies) == 0 {
			return who + " JOIN " + strings.Replace(from, "study s", "study s ON s.patient_row = who.patient", 1)
		}
		return "(SELECT s.id FROM " + who + " JOIN study s ON s.patient_row = who.patient UNION SELECT unnest(" + c.arg(w.studies) + "::bigint[])) AS found JOIN " +
			strings.Replace(from, "study s", "study s ON s.id = found.id", 1)
	default:
		named := "s.patient_row IN (SELECT unnest(" + c.arg(w.patients) + "::bigint[]))"
		if len(w.studies) > 0 {
			named += " OR s.id IN (SELECT unnest(" + c.arg(w.studies) + "::bigint[]))"
		}
		// IS TRUE keeps it a filter: made a join, the list's order is lost.
		c.clauses = append(c.clauses, "("+named+") IS TRUE")
	}
	return from
}

// countPatients is about how many patients there are: as many as the
// database's statistics say.
func (ix *Index) countPatients(ctx context.Context) (float64, error) {
	return ix.patients.get(ctx, "", func(ctx context.Context) (n float64, keep time.Duration, err error) {
		err = ix.pool.QueryRow(ctx, `SELECT greatest(reltuples, 0)::float8 FROM pg_class WHERE oid = 'patient'::regclass`).Scan(&n)
		return n, time.Minute, fail(err)
	})
}
