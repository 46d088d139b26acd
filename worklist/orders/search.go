package orders

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/worklist"
)

// Filter asks for orders. Empty fields match everything.
type Filter struct {
	// From and To are the first and the last day, YYYYMMDD.
	From, To string
	Modality string
	Station  string // AE title
	State    State
	Priority worklist.Priority
	Facility string // code
	// Text is part of a name in any script, the beginning of a patient ID or an
	// accession number, a PINFL, or a placer's order number.
	Text  string
	Limit int
	After string
}

// cursor is the sort key of an order.
type cursor struct {
	At time.Time `json:"a"`
	ID string    `json:"i"`
}

const (
	defaultPage = 100
	maxPage     = 200
	maxWords    = 16
)

type conditions struct {
	clauses []string
	args    []any
}

func (c *conditions) arg(v any) string {
	c.args = append(c.args, v)
	return fmt.Sprintf("$%d", len(c.args))
}

func (c *conditions) and(clause string) { c.clauses = append(c.clauses, clause) }

func (c *conditions) where() string {
	return strings.Join(append([]string{"true"}, c.clauses...), " AND ")
}

func (c *conditions) scope(s pacs.Scope, column string) {
	switch {
	case s.All:
	case len(s.FacilityIDs) == 1: // whose index then gives the order, too
		c.and(column + " = " + c.arg(s.FacilityIDs[0]))
	default:
		c.and(column + " = ANY(" + c.arg(append([]int64{}, s.FacilityIDs...)) + "::bigint[])")
	}
}

var escapeLike = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// text adds what a typed text says of an order o.
func (c *conditions) text(text string) {
	text = strings.TrimSpace(strings.NewReplacer("*", " ", "?", " ").Replace(text))
	if text == "" {
		return
	}
	named := "false"
	if words := strings.Fields(pacs.Fold(text)); len(words) > 0 && len(words) <= maxWords {
		parts := make([]string, len(words))
		for i, word := range words {
			parts[i] = "name_fold LIKE " + c.arg("%"+escapeLike.Replace(word)+"%")
		}
		named = strings.Join(parts, " AND ")
	}
	begins, is := c.arg(escapeLike.Replace(text)+"%"), c.arg(text)
	c.and(fmt.Sprintf(`o.id IN (
		SELECT id FROM imaging_order WHERE %s
		UNION ALL SELECT id FROM imaging_order WHERE patient_id LIKE %s
		UNION ALL SELECT id FROM imaging_order WHERE accession LIKE %[2]s
		UNION ALL SELECT id FROM imaging_order WHERE pinfl = %[3]s AND pinfl <> ''
		UNION ALL SELECT id FROM imaging_order WHERE placer = %[3]s AND placer <> '')`, named, begins, is))
}

// day adds the days of the first step.
func (f Filter) days(c *conditions) error {
	for _, end := range []struct {
		date, clause string
		add          int
	}{{f.From, "o.starts_at >= ", 0}, {f.To, "o.starts_at < ", 1}} {
		if end.date == "" {
			continue
		}
		day, err := time.Parse("20060102", end.date)
		if err != nil {
			return pacs.Errorf(pacs.Invalid, "%q is no day; write YYYYMMDD", end.date)
		}
		c.and(end.clause + c.arg(day.AddDate(0, 0, end.add)))
	}
	return nil
}

// List returns a page of orders by the time of their first step, and the
// cursor of the next page: the earliest first when a day is asked for, else the
// latest first. The caller's permission is OrderRead.
func (o *Orders) List(ctx context.Context, scope pacs.Scope, f Filter) ([]Order, string, error) {
	var c conditions
	c.scope(scope, "o.facility_row")
	if err := f.days(&c); err != nil {
		return nil, "", err
	}
	if f.Modality != "" {
		c.and(c.arg(f.Modality) + " = ANY(o.modalities)")
	}
	if f.Station != "" {
		// A step without stations may be performed on any.
		c.and(fmt.Sprintf(`EXISTS (SELECT FROM order_step s WHERE s.order_id = o.id AND (s.stations = '{}' OR %s = ANY(s.stations)))`, c.arg(f.Station)))
	}
	if f.State != "" {
		if !slices.Contains(States, f.State) {
			return nil, "", pacs.Errorf(pacs.Invalid, "There is no state %q", string(f.State))
		}
		c.and("o.state = " + c.arg(f.State))
	}
	if f.Priority != "" {
		c.and("o.priority = " + c.arg(f.Priority))
	}
	if f.Facility != "" {
		c.and("f.code = " + c.arg(f.Facility))
	}
	c.text(f.Text)
	sort, beyond := "o.starts_at, o.id", ">"
	if f.From == "" && f.To == "" {
		sort, beyond = "o.starts_at DESC, o.id DESC", "<"
	}
	if f.After != "" {
		at, err := parseCursor(f.After)
		if err != nil {
			return nil, "", err
		}
		c.and(fmt.Sprintf("(o.starts_at, o.id) %s (%s, %s)", beyond, c.arg(at.At), c.arg(at.ID)))
	}
	limit := f.Limit
	if limit <= 0 || limit > maxPage {
		limit = defaultPage
	}
	rows, err := o.pool.Query(ctx, `SELECT `+columns+` FROM `+tables+` WHERE `+c.where()+` ORDER BY `+sort+` LIMIT `+c.arg(limit+1), c.args...)
	if err != nil {
		return nil, "", worklist.Failure(err)
	}
	list, err := pgx.CollectRows(rows, scanOrder)
	if err != nil {
		return nil, "", worklist.Failure(err)
	}
	next := len(list) > limit
	if next {
		list = list[:limit]
	}
	if err := fill(ctx, o.pool, list); err != nil || !next {
		return list, "", worklist.Failure(err)
	}
	last := list[limit-1]
	raw, err := json.Marshal(cursor{wall(last.start()), last.ID})
	return list, base64.RawURLEncoding.EncodeToString(raw), err
}

func parseCursor(text string) (at cursor, err error) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		err = json.Unmarshal(raw, &at)
	}
	if err != nil || !worklist.IsID(at.ID) {
		return at, pacs.Errorf(pacs.Invalid, "The page marker is not one of ours; begin at the first page")
	}
	return at, nil
}

// maxKnown is how many patients a receptionist is offered.
const maxKnown = 20

// Known is a patient that an order can be entered for.
type Known struct {
	pacs.Patient
	Facility pacs.Facility
}

// Patients returns patients in scope whose name in any script, ID or PINFL
// matches text: those of the index, and those of orders whose images are still
// to come. Invalid without a text.
func (o *Orders) Patients(ctx context.Context, scope pacs.Scope, text, facility string) ([]Known, error) {
	if strings.Trim(text, "*? ") == "" {
		return nil, pacs.Errorf(pacs.Invalid, "Give part of a name, an ID, or a PINFL")
	}
	records, _, err := o.index.Patients(ctx, scope, index.PatientFilter{Text: text, Facility: facility, Page: pacs.Page{Limit: maxKnown}})
	if err != nil {
		return nil, err
	}
	type identity struct {
		facility   int64
		issuer, id string
	}
	seen := map[identity]bool{}
	found := make([]Known, 0, len(records))
	for _, r := range records {
		seen[identity{r.Facility.ID, r.Issuer, r.PatientID}] = true
		found = append(found, Known{r.Patient, r.Facility})
	}
	// An order of somebody who has images would only repeat them.
	ordered, _, err := o.List(ctx, scope, Filter{Text: text, Facility: facility, Limit: 5 * maxKnown})
	if err != nil {
		return nil, err
	}
	for _, order := range ordered {
		key := identity{order.Facility.ID, order.Patient.Issuer, order.Patient.PatientID}
		if len(found) < 2*maxKnown && !seen[key] {
			seen[key] = true
			found = append(found, Known{order.Patient, order.Facility})
		}
	}
	return found, nil
}

// Stations lists the devices of facilities in scope, which a step can be
// scheduled on.
func (o *Orders) Stations(ctx context.Context, scope pacs.Scope, facility string) ([]access.Device, error) {
	var c conditions
	c.scope(scope, "d.facility_row")
	if facility != "" {
		c.and("f.code = " + c.arg(facility))
	}
	rows, err := o.pool.Query(ctx, `SELECT d.ae_title, f.code, d.description FROM device d JOIN facility f ON f.id = d.facility_row
		WHERE `+c.where()+` ORDER BY d.ae_title LIMIT 1000`, c.args...)
	if err != nil {
		return nil, worklist.Failure(err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (d access.Device, err error) {
		err = row.Scan(&d.AETitle, &d.FacilityCode, &d.Description)
		return d, err
	})
	return list, worklist.Failure(err)
}
