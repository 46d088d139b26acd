package report

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/events"
	"github.com/tasvir-pacs/tasvir/worklist"
)

// DeliveryState is where a version is on its way to the platform.
type DeliveryState string

const (
	Queued    DeliveryState = "queued"    // not tried yet
	Retrying  DeliveryState = "retrying"  // failed for a reason that may pass
	Delivered DeliveryState = "delivered" // the platform has it
	Failed    DeliveryState = "failed"    // refused; a person must act
)

// Delivery says what became of a version.
type Delivery struct {
	State         DeliveryState
	Attempts      int
	LastError     string // in the platform's words
	NextAttemptAt time.Time
	DeliveredAt   time.Time
	Receipt       json.RawMessage // what the platform gave back; nil before
}

const deliveryColumns = `d.state, d.attempts, d.last_error, d.next_attempt_at, d.delivered_at, d.receipt`

// deliveryRow scans the columns of an outer join.
type deliveryRow struct {
	state           *DeliveryState
	attempts        *int
	lastError       *string
	next, delivered *time.Time
	receipt         []byte
}

func (d *deliveryRow) fields() []any {
	return []any{&d.state, &d.attempts, &d.lastError, &d.next, &d.delivered, &d.receipt}
}

func (d *deliveryRow) delivery() *Delivery {
	if d.state == nil {
		return nil
	}
	out := &Delivery{State: *d.state, Attempts: *d.attempts, LastError: *d.lastError, Receipt: d.receipt}
	if d.next != nil {
		out.NextAttemptAt = *d.next
	}
	if d.delivered != nil {
		out.DeliveredAt = *d.delivered
	}
	return out
}

// Signed is a signed version with what is needed to deliver or list it.
type Signed struct {
	Version
	TaskID  string
	StudyID int64
	// Before is the version before this one, nil for the first.
	Before *Version
	PDF    []byte // only from Get
}

// Get returns one signed version for its delivery. It is the outbox's own
// read, so it takes no scope.
func (r *Reports) Get(ctx context.Context, reportID string, version int) (Signed, error) {
	if !valid(reportID, version) {
		return Signed{}, noSuchReport()
	}
	all, err := versions(ctx, r.pool, "v.report_id = $1 AND v.version <= $2", reportID, version)
	if err != nil {
		return Signed{}, err
	}
	if len(all) == 0 || all[len(all)-1].Version != version {
		return Signed{}, noSuchReport()
	}
	s := Signed{Version: all[len(all)-1]}
	if len(all) > 1 {
		s.Before = &all[len(all)-2]
	}
	err = r.pool.QueryRow(ctx, `
		SELECT t.id::text, t.study_row, v.pdf FROM report r JOIN reading_task t ON t.id = r.task_id JOIN report_version v ON v.report_id = r.id
		WHERE r.id = $1 AND v.version = $2`, reportID, version).Scan(&s.TaskID, &s.StudyID, &s.PDF)
	return s, worklist.Failure(err)
}

// DeliveryFilter asks for deliveries. Empty fields match everything.
type DeliveryFilter struct {
	State DeliveryState
	Text  string // part of a name in any script, patient ID or accession number
	Limit int
	After string // the cursor that the page before gave
}

// deliveryCursor is the sort key of the last row of a page.
type deliveryCursor struct {
	SignedAt time.Time `json:"s"`
	ReportID string    `json:"r"`
	Version  int       `json:"v"`
}

func parseDeliveryCursor(s string) (deliveryCursor, error) {
	var at deliveryCursor
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(raw, &at)
	}
	if err != nil || !valid(at.ReportID, at.Version) {
		return at, pacs.Errorf(pacs.Invalid, "The page marker is not one of ours; begin at the first page")
	}
	return at, nil
}

// valid tells whether there can be such a version of such a report.
func valid(reportID string, version int) bool {
	return worklist.IsID(reportID) && version >= 1 && version <= math.MaxInt32
}

// deliveryStates lists all states.
var deliveryStates = []DeliveryState{Queued, Retrying, Delivered, Failed}

// Deliveries returns a page of signed versions with their delivery, newest
// first, and the cursor of the next page.
func (r *Reports) Deliveries(ctx context.Context, scope pacs.Scope, f DeliveryFilter) ([]Signed, string, error) {
	var args []any
	arg := func(v any) string {
		args = append(args, v)
		return fmt.Sprintf("$%d", len(args))
	}
	conditions := []string{"true"}
	if !scope.All {
		conditions = append(conditions, "t.facility_row = ANY("+arg(append([]int64{}, scope.FacilityIDs...))+"::bigint[])")
	}
	if f.State != "" {
		if !slices.Contains(deliveryStates, f.State) {
			return nil, "", pacs.Errorf(pacs.Invalid, "The state is queued, retrying, delivered or failed")
		}
		conditions = append(conditions, "d.state = "+arg(f.State))
	}
	if text := strings.TrimSpace(f.Text); text != "" {
		conditions = append(conditions, worklist.StudyText(text, arg))
	}
	if f.After != "" {
		at, err := parseDeliveryCursor(f.After)
		if err != nil {
			return nil, "", err
		}
		conditions = append(conditions, fmt.Sprintf("(v.signed_at, v.report_id, v.version) < (%s, %s, %s)", arg(at.SignedAt), arg(at.ReportID), arg(at.Version)))
	}
	limit := f.Limit
	if limit <= 0 || limit > 200 {
		limit = 100
	}
	rows, err := r.pool.Query(ctx, `
		SELECT v.report_id::text, v.version, v.kind, v.language, v.signer, v.signed_by, v.signed_at, t.id::text, t.study_row, `+deliveryColumns+`
		FROM report_version v JOIN report_delivery d ON d.report_id = v.report_id AND d.version = v.version
			JOIN report r ON r.id = v.report_id JOIN reading_task t ON t.id = r.task_id
			JOIN study s ON s.id = t.study_row
		WHERE `+strings.Join(conditions, " AND ")+`
		ORDER BY v.signed_at DESC, v.report_id DESC, v.version DESC LIMIT `+arg(limit+1), args...)
	if err != nil {
		return nil, "", worklist.Failure(err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Signed, error) {
		var s Signed
		var d deliveryRow
		err := row.Scan(append([]any{&s.ReportID, &s.Version.Version, &s.Kind, &s.Language, &s.SignerID, &s.SignedBy, &s.SignedAt, &s.TaskID, &s.StudyID}, d.fields()...)...)
		s.Delivery = d.delivery()
		return s, err
	})
	if err != nil || len(out) <= limit {
		return out, "", worklist.Failure(err)
	}
	out = out[:limit]
	last := out[limit-1]
	raw, err := json.Marshal(deliveryCursor{SignedAt: last.SignedAt, ReportID: last.ReportID, Version: last.Version.Version})
	return out, base64.RawURLEncoding.EncodeToString(raw), err
}

// DeliveryCounts counts deliveries in scope by state. Those on their way are
// counted as they are now. Those that have arrived are all reports of all
// years: where counting them takes long the number may be some seconds old
// (index.KeepFor).
func (r *Reports) DeliveryCounts(ctx context.Context, scope pacs.Scope) (map[DeliveryState]int, error) {
	from, args := `report_delivery d WHERE `, []any{}
	if !scope.All {
		from = `report_delivery d JOIN report r ON r.id = d.report_id JOIN reading_task t ON t.id = r.task_id
			WHERE t.facility_row = ANY($1::bigint[]) AND `
		args = []any{append([]int64{}, scope.FacilityIDs...)}
	}
	sql := `SELECT d.state, count(*) FROM ` + from + `d.state IN ('queued', 'retrying', 'failed') GROUP BY d.state`
	rows, err := r.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, worklist.Failure(err)
	}
	counts := map[DeliveryState]int{Queued: 0, Retrying: 0, Delivered: 0, Failed: 0}
	var state DeliveryState
	var n int
	_, err = pgx.ForEachRow(rows, []any{&state, &n}, func() error { counts[state] = n; return nil })
	if err != nil {
		return nil, worklist.Failure(err)
	}
	counts[Delivered], err = r.delivered.Get(ctx, fmt.Sprint(scope.All, scope.FacilityIDs), func(ctx context.Context) (n int, err error) {
		err = r.pool.QueryRow(ctx, `SELECT count(*) FROM `+from+`d.state = 'delivered'`, args...).Scan(&n)
		return n, err
	})
	return counts, worklist.Failure(err)
}

// Undelivered counts the versions of a report before version that are still on
// their way to the platform, and says when the last of them is tried next (the
// zero time: now). One the platform refused does not count.
func (r *Reports) Undelivered(ctx context.Context, reportID string, version int) (n int, next time.Time, err error) {
	var at *time.Time
	err = r.pool.QueryRow(ctx, `SELECT count(*), max(next_attempt_at) FROM report_delivery WHERE report_id = $1 AND version < $2 AND state IN ('queued', 'retrying')`,
		reportID, version).Scan(&n, &at)
	if at != nil {
		next = *at
	}
	return n, next, worklist.Failure(err)
}

// LastReceipt returns the receipt of the newest delivered version before
// version, nil when there is none.
func (r *Reports) LastReceipt(ctx context.Context, reportID string, version int) (json.RawMessage, error) {
	var receipt []byte
	err := r.pool.QueryRow(ctx, `
		SELECT receipt FROM report_delivery WHERE report_id = $1 AND version < $2 AND state = 'delivered' ORDER BY version DESC LIMIT 1`,
		reportID, version).Scan(&receipt)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return receipt, worklist.Failure(err)
}

// RecordDelivery writes what became of an attempt. Nothing leaves "delivered".
func (r *Reports) RecordDelivery(ctx context.Context, reportID string, version int, d Delivery) error {
	err := pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		var receipt any
		if d.Receipt != nil {
			receipt = d.Receipt
		}
		tag, err := tx.Exec(ctx, `
			UPDATE report_delivery SET state = $3, attempts = $4, last_error = $5, next_attempt_at = $6, delivered_at = $7, receipt = $8, updated_at = clock_timestamp()
			WHERE report_id = $1 AND version = $2 AND state <> 'delivered'`,
			reportID, version, d.State, d.Attempts, d.LastError, orNull(d.NextAttemptAt), orNull(d.DeliveredAt), receipt)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		return notifyDelivery(ctx, tx, reportID, version)
	})
	return worklist.Failure(err)
}

// Requeue marks a version to be sent again now and enqueues it. from is the
// network address of who asks, for the audit trail. Conflict when it has
// arrived already; NotFound outside the scope.
func (r *Reports) Requeue(ctx context.Context, scope pacs.Scope, from, reportID string, version int) error {
	if !valid(reportID, version) {
		return noSuchReport()
	}
	err := pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		var state DeliveryState
		var facility int64
		err := tx.QueryRow(ctx, `
			SELECT d.state, t.facility_row FROM report_delivery d JOIN report r ON r.id = d.report_id JOIN reading_task t ON t.id = r.task_id
			WHERE d.report_id = $1 AND d.version = $2 FOR UPDATE OF d`, reportID, version).Scan(&state, &facility)
		if errors.Is(err, pgx.ErrNoRows) || err == nil && !scope.Sees(facility) {
			return noSuchReport()
		}
		if err != nil {
			return err
		}
		if state == Delivered {
			return pacs.Errorf(pacs.Conflict, "The platform has this report already")
		}
		if r.Deliver == nil {
			return pacs.Errorf(pacs.Conflict, "No platform is configured; start the server with --fhir")
		}
		if _, err := tx.Exec(ctx, `UPDATE report_delivery SET state = 'queued', next_attempt_at = NULL, updated_at = clock_timestamp()
			WHERE report_id = $1 AND version = $2`, reportID, version); err != nil {
			return err
		}
		if err := r.Deliver(ctx, tx, reportID, version); err != nil {
			return err
		}
		event := access.AuditEvent{
			Who: scope.Who, Action: "delivery.retry", Object: "report:" + reference(reportID, version), Facility: facility, Remote: from,
		}
		if err := access.Audit(ctx, tx, event); err != nil {
			return err
		}
		return notifyDelivery(ctx, tx, reportID, version)
	})
	return worklist.Failure(err)
}

func notifyDelivery(ctx context.Context, tx pgx.Tx, reportID string, version int) error {
	var facility int64
	if err := tx.QueryRow(ctx, `SELECT t.facility_row FROM report r JOIN reading_task t ON t.id = r.task_id WHERE r.id = $1`, reportID).Scan(&facility); err != nil {
		return err
	}
	return events.Notify(ctx, tx, events.Event{Type: events.Delivery, Data: map[string]any{"report": reportID, "version": version}, Facility: facility})
}

func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
