package associations

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
)

// Filter selects entries; empty fields select all.
type Filter struct {
	AETitle   string // of the other side, or a part of its beginning
	Facility  string // code
	Direction Direction
	Outcome   Outcome
	From, To  time.Time // when it began: from From, before To
	Limit     int       // of a page; 1 to 200, default 50
	After     string    // where the page before ended
}

const (
	defaultLimit = 50
	maxLimit     = 200
)

// List gives a page of entries, those that ended last first, and where the next
// page begins; "" at the end. by needs access.AdminDevices and sees the entries
// of the devices of its facilities, those of strangers only with every facility
// in sight. The contexts and messages are left to Entry.
//
//	Invalid    the filter can't be understood
//	Forbidden  by may not
func (l *Log) List(ctx context.Context, by *access.Identity, f Filter) ([]Entry, string, error) {
	where, args, err := conditions(by, f)
	if err != nil {
		return nil, "", err
	}
	limit := f.Limit
	if limit <= 0 {
		limit = defaultLimit
	}
	limit = min(limit, maxLimit)
	list, err := l.read(ctx, where+fmt.Sprintf(` ORDER BY a.id DESC LIMIT %d`, limit+1), args...)
	if err != nil {
		return nil, "", err
	}
	next := ""
	if len(list) > limit {
		list = list[:limit]
		next = list[limit-1].ID
	}
	return list, next, nil
}

// Entry gives one entry in sight; NotFound otherwise.
func (l *Log) Entry(ctx context.Context, by *access.Identity, id string) (Entry, error) {
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return Entry{}, noEntry()
	}
	where, args, err := conditions(by, Filter{})
	if err != nil {
		return Entry{}, err
	}
	args = append(args, n)
	list, err := l.read(ctx, where+fmt.Sprintf(` AND a.id = $%d`, len(args)), args...)
	if err != nil {
		return Entry{}, err
	}
	if len(list) == 0 {
		return Entry{}, noEntry()
	}
	return list[0], nil
}

func noEntry() error {
	return pacs.Errorf(pacs.NotFound, "There is no such association in the log. Old ones are removed")
}

func conditions(by *access.Identity, f Filter) (string, []any, error) {
	if !by.Can(access.AdminDevices) {
		return "", nil, pacs.Errorf(pacs.Forbidden, "Your roles don't allow this (%s). Ask an administrator", access.AdminDevices)
	}
	args := []any{by.Scope.All, by.Scope.FacilityIDs}
	where := `WHERE ($1 OR a.facility_row = ANY($2))`
	add := func(term string, arg any) {
		args = append(args, arg)
		where += fmt.Sprintf(" AND "+term, len(args))
	}
	if f.AETitle != "" {
		add(`a.peer LIKE $%d`, strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(clip(f.AETitle))+"%")
	}
	if f.Facility != "" {
		add(`f.code = $%d`, f.Facility)
	}
	switch {
	case f.Direction == "":
	case f.Direction != In && f.Direction != Out:
		return "", nil, pacs.Errorf(pacs.Invalid, "The direction is in or out")
	default:
		add(`a.direction = $%d`, string(f.Direction))
	}
	switch {
	case f.Outcome == "":
	case !slices.Contains(Outcomes, f.Outcome):
		return "", nil, pacs.Errorf(pacs.Invalid, "An outcome is one of %v", Outcomes)
	default:
		add(`a.outcome = $%d`, string(f.Outcome))
	}
	if !f.From.IsZero() {
		add(`a.began >= $%d`, f.From)
	}
	if !f.To.IsZero() {
		add(`a.began < $%d`, f.To)
	}
	if f.After != "" {
		id, err := strconv.ParseInt(f.After, 10, 64)
		if err != nil {
			return "", nil, pacs.Errorf(pacs.Invalid, "after is what the page before gave as next")
		}
		add(`a.id < $%d`, id)
	}
	return where, args, nil
}

func (l *Log) read(ctx context.Context, rest string, args ...any) ([]Entry, error) {
	rows, err := l.pool.Query(ctx, `SELECT a.id, a.began, a.seconds, a.direction, a.calling, a.called, a.address, coalesce(f.code, ''), a.outcome, a.code,
			a.reason, a.times, a.instances, a.failed, a.bytes, a.detail
		FROM association a LEFT JOIN facility f ON f.id = a.facility_row `+rest, args...)
	var list []Entry
	if err == nil {
		list, err = pgx.CollectRows(rows, scan)
	}
	var known *pacs.Error
	var network net.Error
	switch {
	case err == nil, errors.As(err, &known):
		return list, err
	case errors.As(err, &network):
		return nil, pacs.Wrap(pacs.Unavailable, err, "The database does not answer. Try again in a moment")
	}
	return nil, pacs.Wrap(pacs.Internal, err, "The association log can't be read")
}

func scan(row pgx.CollectableRow) (e Entry, err error) {
	var id int64
	var seconds float64
	var detail []byte
	err = row.Scan(&id, &e.Began, &seconds, &e.Direction, &e.Calling, &e.Called, &e.Address, &e.Facility, &e.Outcome, &e.Code,
		&e.Reason, &e.Times, &e.Instances, &e.Failed, &e.Bytes, &detail)
	if err != nil {
		return e, err
	}
	e.ID, e.Duration = strconv.FormatInt(id, 10), time.Duration(seconds*float64(time.Second))
	return e, json.Unmarshal(detail, &e.Detail)
}
