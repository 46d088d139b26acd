package access

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// AuditEvent is one line of the record of who did what. Object is
// KIND:IDENTIFIER ("user:karimov", "study:1.2.3"); no patient's data goes in.
type AuditEvent struct {
	At       time.Time // set by the database
	Who      string
	Action   string
	Object   string
	Facility int64 // row of the facility concerned; 0 for none
	Remote   string
	Why      string // the reason given, for acts that ask for one
}

// Because returns the event with a reason.
func (e AuditEvent) Because(why string) AuditEvent {
	e.Why = why
	return e
}

// Executor is a pool, a connection or a transaction.
type Executor interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// Audit appends an event. Inside a transaction it stands or falls with what it
// records. The table refuses change and deletion.
func Audit(ctx context.Context, q Executor, event AuditEvent) error {
	_, err := q.Exec(ctx, `INSERT INTO audit_event (who, action, object, facility_row, remote, why) VALUES ($1, $2, $3, nullif($4, 0), $5, $6)`,
		event.Who, event.Action, event.Object, event.Facility, event.Remote, event.Why)
	return failure(err)
}

// Event fills in who and from where.
func (id *Identity) Event(action, object string, facility int64) AuditEvent {
	return AuditEvent{Who: id.Who(), Action: action, Object: object, Facility: facility, Remote: id.Remote}
}

func (id *Identity) event(action, object string) AuditEvent { return id.Event(action, object, 0) }

// Note records what changes nothing in the database and so has no transaction
// to stand or fall with.
func (a *Access) Note(ctx context.Context, event AuditEvent) error { return Audit(ctx, a.pool, event) }
