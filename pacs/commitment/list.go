package commitment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/index"
)

// State is how far a request is.
type State string

const (
	Checking  State = "checking"  // finding out what is safe
	Reporting State = "reporting" // known, and not told yet
	Reported  State = "reported"
	Failed    State = "failed" // the device could not be told
)

// States lists all states.
var States = []State{Checking, Reporting, Reported, Failed}

// Entry is a request as an administrator sees it.
type Entry struct {
	ID             string
	AETitle        string
	Facility       string // code of the device's; "" when the device is gone
	TransactionUID string
	State          State
	RequestedAt    time.Time
	EndedAt        time.Time // zero while it has no answer
	Instances      int
	Safe, Unsafe   int    // of Instances; of the others it is not known yet
	LastError      string // why it is not told yet, or never was
}

// Filter chooses requests.
type Filter struct {
	AETitle string // or its beginning
	State   State
	Limit   int    // at most MaxPage, which 0 stands for
	After   string // where the page before ended
}

// MaxPage is the longest page of a list.
const MaxPage = 200

// List gives a page of requests, the last first, and where the next page begins;
// "" at the end. by needs access.AdminDevices and sees those of the devices of its
// facilities.
//
//	Invalid    the filter can't be understood
//	Forbidden  by may not
func (c *Commitments) List(ctx context.Context, by *access.Identity, f Filter) ([]Entry, string, error) {
	if f.Limit <= 0 || f.Limit > MaxPage {
		f.Limit = MaxPage
	}
	if f.State != "" && !slices.Contains(States, f.State) {
		return nil, "", pacs.Errorf(pacs.Invalid, "A state is one of %v", States)
	}
	where, args := "true", []any{}
	add := func(term string, arg any) {
		args = append(args, arg)
		where += fmt.Sprintf(" AND "+term, len(args)+2)
	}
	if f.AETitle != "" {
		add(`starts_with(c.ae_title, $%d)`, strings.ToValidUTF8(strings.ReplaceAll(f.AETitle, "\x00", ""), ""))
	}
	if f.State != "" {
		add(`c.state = $%d`, string(f.State))
	}
	if f.After != "" {
		id, err := strconv.ParseInt(f.After, 10, 64)
		if err != nil {
			return nil, "", pacs.Errorf(pacs.Invalid, "after is what the page before gave as next")
		}
		add(`c.id < $%d`, id)
	}
	list, err := c.entries(ctx, by, where+fmt.Sprintf(` ORDER BY c.id DESC LIMIT %d`, f.Limit+1), args...)
	if err != nil || len(list) <= f.Limit {
		return list, "", err
	}
	list = list[:f.Limit]
	return list, list[f.Limit-1].ID, nil
}

func (c *Commitments) entries(ctx context.Context, by *access.Identity, rest string, args ...any) ([]Entry, error) {
	if !by.Can(access.AdminDevices) {
		return nil, pacs.Errorf(pacs.Forbidden, "Your roles don't allow this (%s). Ask an administrator", access.AdminDevices)
	}
	rows, err := c.pool.Query(ctx, `
		WITH page AS (
			SELECT c.*, coalesce(f.code, '') AS code FROM commitment c LEFT JOIN device d USING (ae_title) LEFT JOIN facility f ON f.id = d.facility_row
			WHERE ($1 OR d.facility_row = ANY($2)) AND `+rest+`)
		SELECT p.id::text, p.ae_title, p.code, p.transaction_uid, p.state, p.requested_at, p.ended_at, n.all, n.safe, n.unsafe, p.last_error
		FROM page p, LATERAL (
			SELECT count(*) AS all, count(*) FILTER (WHERE outcome = 0) AS safe, count(*) FILTER (WHERE outcome <> 0) AS unsafe
			FROM commitment_instance WHERE commitment_row = p.id) n
		ORDER BY p.id DESC`, append([]any{by.Scope.All, by.Scope.FacilityIDs}, args...)...)
	if err != nil {
		return nil, failure(err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e Entry, err error) {
		var ended *time.Time
		err = row.Scan(&e.ID, &e.AETitle, &e.Facility, &e.TransactionUID, &e.State, &e.RequestedAt, &ended, &e.Instances, &e.Safe, &e.Unsafe, &e.LastError)
		if ended != nil {
			e.EndedAt = *ended
		}
		return e, err
	})
	return list, failure(err)
}

func failure(err error) error { return index.Failure("Storage commitment", err) }

// Retry has a request answered again, as if the device had repeated it; one that
// has no answer yet goes on at once. by as for List.
//
//	NotFound  there is no such request in by's sight
func (c *Commitments) Retry(ctx context.Context, by *access.Identity, id string) error {
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return noRequest()
	}
	list, err := c.entries(ctx, by, `c.id = $3`, n)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return noRequest()
	}
	return failure(pgx.BeginFunc(ctx, c.pool, func(tx pgx.Tx) error {
		var state State
		var facility *int64
		err := tx.QueryRow(ctx, `SELECT c.state, d.facility_row FROM commitment c LEFT JOIN device d USING (ae_title) WHERE c.id = $1 FOR UPDATE OF c`, n).Scan(&state, &facility)
		if errors.Is(err, pgx.ErrNoRows) {
			return noRequest()
		}
		if err != nil {
			return err
		}
		if state == Reported || state == Failed {
			if err := reopen(ctx, tx, n); err != nil {
				return err
			}
		}
		event := by.Event("commitment.retry", "device:"+list[0].AETitle, 0).Because("transaction " + list[0].TransactionUID)
		if facility != nil {
			event = by.Event("commitment.retry", "device:"+list[0].AETitle, *facility).Because("transaction " + list[0].TransactionUID)
		}
		if err := access.Audit(ctx, tx, event); err != nil {
			return err
		}
		return c.o.Enqueue(ctx, tx, n)
	}))
}

func noRequest() error {
	return pacs.Errorf(pacs.NotFound, "There is no such request for storage commitment. Answered ones are forgotten after 30 days")
}
