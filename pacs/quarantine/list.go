package quarantine

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/storage"
)

// Filter selects items; empty fields select all.
type Filter struct {
	Facility string // code
	Reason   pacs.QuarantineReason
	Limit    int    // of a page; 1 to 200, default 100
	After    string // where the page before ended
}

// Listed is an item as an administrator sees it.
type Listed struct {
	Item
	FacilityName string
	// BelongsTo is whom the study belongs to in the index, for OtherPatient;
	// nil for other reasons, and when the caller may not see it.
	BelongsTo *Demographics
}

const (
	defaultLimit = 100
	maxLimit     = 200
)

// overdue is how long a release may be under way before the item shows again:
// the node that had it has lost its journal, or is down. Releasing it once
// more does no harm.
const overdue = 10 * time.Minute

// waiting is the condition that an item is in quarantine as far as people see.
var waiting = fmt.Sprintf(`(i.state = 'kept' OR i.state = 'releasing' AND i.releasing_at < clock_timestamp() - interval '%d seconds')`, int(overdue.Seconds()))

// conditions builds a WHERE clause.
type conditions struct {
	terms []string
	args  []any
}

func (c *conditions) add(term string, args ...any) {
	for _, a := range args {
		c.args = append(c.args, a)
		term = strings.Replace(term, "?", fmt.Sprintf("$%d", len(c.args)), 1)
	}
	c.terms = append(c.terms, term)
}

func (c *conditions) where() string { return strings.Join(c.terms, " AND ") }

// scope limits to the caller's facilities. What nobody is known to have sent
// is for those who see all.
func (c *conditions) scope(s pacs.Scope) {
	if !s.All {
		c.add(`i.facility_row = ANY(?) AND f.code <> ?`, s.FacilityIDs, pacs.Unassigned)
	}
}

const itemColumns = `i.id, i.reason, i.message, f.code, i.sender, i.remote, i.channel, i.charset, i.received_at, i.bytes,
	i.study_uid, i.series_uid, i.sop_uid, i.sop_class, i.transfer_syntax, i.modality, i.study_date, i.description,
	i.issuer, i.patient_id, i.patient_name, i.sex, i.birth_date, i.pinfl`

func (i *Item) columns() []any {
	return []any{
		&i.ID, &i.Reason, &i.Message, &i.Facility, &i.Sender, &i.Remote, &i.Channel, &i.Charset, &i.ReceivedAt, &i.Bytes,
		&i.StudyInstanceUID, &i.SeriesInstanceUID, &i.SOPInstanceUID, &i.SOPClassUID, &i.TransferSyntaxUID, &i.Modality, &i.StudyDate, &i.Description,
		&i.Patient.Issuer, &i.Patient.PatientID, &i.Patient.Name, &i.Patient.Sex, &i.Patient.BirthDate, &i.Patient.PINFL,
	}
}

// cursor is the sort key of a page's last item.
type cursor struct {
	At time.Time `json:"t"`
	ID string    `json:"i"`
}

func (c cursor) String() string {
	b, _ := json.Marshal(c) // a time and a string
	return base64.RawURLEncoding.EncodeToString(b)
}

func parseCursor(s string) (c cursor, err error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil || !validID(c.ID) {
		return c, pacs.Errorf(pacs.Invalid, "The page marker is not one of ours; begin at the first page")
	}
	return c, nil
}

// List returns a page of the items in scope that match, newest first, where
// the next page begins ("" when there is none), and how many match in all.
func (q *Quarantine) List(ctx context.Context, scope pacs.Scope, f Filter) (items []Listed, next string, total int64, err error) {
	var c conditions
	c.add(waiting)
	c.scope(scope)
	if f.Facility != "" {
		c.add(`f.code = ?`, fit(f.Facility, maxCode))
	}
	if f.Reason != "" {
		c.add(`i.reason = ?`, fit(string(f.Reason), maxCode))
	}
	from := ` FROM quarantine_item i JOIN facility f ON f.id = i.facility_row`
	counted, countArgs := `SELECT count(*)`+from+` WHERE `+c.where(), slices.Clone(c.args)
	if f.After != "" {
		at, err := parseCursor(f.After)
		if err != nil {
			return nil, "", 0, err
		}
		c.add(`(i.received_at, i.id) < (?, ?)`, at.At, at.ID)
	}
	limit := f.Limit
	if limit <= 0 {
		limit = defaultLimit
	}
	limit = min(limit, maxLimit)
	c.args = append(c.args, pacs.OtherPatient, scope.All, scope.FacilityIDs, limit+1)
	n := len(c.args)
	listed := `
		SELECT ` + itemColumns + `, f.name,
			p.id IS NOT NULL, coalesce(p.name, ''), coalesce(p.patient_id, ''), coalesce(p.issuer, ''), coalesce(p.birth_date, ''), coalesce(p.sex, ''), coalesce(p.pinfl, '')` +
		from + fmt.Sprintf(`
			LEFT JOIN study s ON s.study_uid = i.study_uid AND i.reason = $%d AND ($%d OR s.facility_row = ANY($%d))
			LEFT JOIN patient p ON p.id = s.patient_row
		WHERE %s ORDER BY i.received_at DESC, i.id DESC LIMIT $%d`, n-3, n-2, n-1, c.where(), n)
	scan := func(row pgx.CollectableRow) (Listed, error) {
		var l Listed
		var known bool
		var b Demographics
		err := row.Scan(append(l.columns(), &l.FacilityName, &known, &b.Name, &b.PatientID, &b.Issuer, &b.BirthDate, &b.Sex, &b.PINFL)...)
		if known {
			l.BelongsTo = &b
		}
		return l, err
	}
	// The total and the page are of the same moment.
	err = pgx.BeginTxFunc(ctx, q.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, counted, countArgs...).Scan(&total); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, listed, c.args...)
		if err != nil {
			return err
		}
		items, err = pgx.CollectRows(rows, scan)
		return err
	})
	if err != nil {
		return nil, "", 0, failure(err)
	}
	if len(items) > limit {
		items = items[:limit]
		last := items[limit-1]
		next = cursor{last.ReceivedAt, last.ID}.String()
	}
	return items, next, total, nil
}

// Bytes opens the file of an item as it was received, also after it has been
// released with other UIDs. The act is audited. The caller closes it.
//
//	NotFound  there is none in scope
func (q *Quarantine) Bytes(ctx context.Context, who *access.Identity, id string) (body io.ReadCloser, size int64, err error) {
	if !validID(id) {
		return nil, 0, errNoItem
	}
	var c conditions
	c.add(`i.id = ? AND i.state IN ('kept', 'releasing', 'released')`, id)
	c.scope(who.Scope)
	var state string
	var facility int64
	err = q.pool.QueryRow(ctx, `SELECT i.state, i.bytes, i.facility_row FROM quarantine_item i JOIN facility f ON f.id = i.facility_row WHERE `+c.where(), c.args...).
		Scan(&state, &size, &facility)
	if err != nil {
		return nil, 0, failure(err)
	}
	if err := access.Audit(ctx, q.pool, who.Event("quarantine.download", "quarantine:"+id, facility)); err != nil {
		return nil, 0, err
	}
	prefix := keptPrefix
	if state == "released" {
		prefix = releasedPrefix
	}
	body, err = q.o.Store.Get(ctx, bytesKey(prefix, id), 0, -1)
	switch {
	case storage.IsNotExist(err):
		return nil, 0, pacs.Wrap(pacs.NotFound, err, "The file is not in the object store any more")
	case err != nil:
		return nil, 0, pacs.Wrap(pacs.Unavailable, err, "The object store does not answer")
	}
	return body, size, nil
}
