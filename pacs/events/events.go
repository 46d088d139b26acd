package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// Channel is the name by which nodes listen.
const Channel = "tasvir_events"

// maxPayload is just under what PostgreSQL takes in a notification (8000
// bytes).
const maxPayload = 7900

// Types of events and the identifiers in their data, as the client API's
// document gives them.
const (
	Task     = "task"     // id, study_uid
	Report   = "report"   // task, report
	Delivery = "delivery" // report, version
	Study    = "study"    // study_uid
	Order    = "order"    // id
	Workitem = "workitem" // uid; subscribers of a unified procedure step are to be told something
)

// Event says that something changed.
type Event struct {
	Type string `json:"type"`
	// Data holds identifiers, never a patient's data; it becomes JSON.
	Data any `json:"data"`
	// Facility is the row of the facility the change belongs to: only who sees
	// it hears of it. 0 is for everyone who is signed in.
	Facility int64 `json:"facility,omitempty"`
}

// Executor is a pool, a connection or a transaction.
type Executor interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// Notify sends an event to all nodes. Within a transaction it leaves when the
// transaction commits. Invalid when the data is too long for identifiers.
func Notify(ctx context.Context, q Executor, event Event) error {
	payload, err := json.Marshal(event)
	if err != nil {
		return pacs.Wrap(pacs.Internal, err, "An event can't be written")
	}
	if len(payload) > maxPayload {
		return pacs.Errorf(pacs.Invalid, "An event of %d bytes is too long: it may carry identifiers only", len(payload))
	}
	if _, err := q.Exec(ctx, `SELECT pg_notify($1, $2)`, Channel, string(payload)); err != nil {
		return fmt.Errorf("notify %s: %w", event.Type, err)
	}
	return nil
}

// Received is an event as it arrived; Data is the JSON that was sent.
type Received struct {
	Type     string          `json:"type"`
	Data     json.RawMessage `json:"data"`
	Facility int64           `json:"facility"`
}

// Listener is told what Listen hears, one call at a time.
type Listener struct {
	// Event is called for each event. It must not block.
	Event func(Received)
	// Gap is called when events may have been missed: after each connection
	// but the first.
	Gap func()
	// Connected, when set, is called when the connection comes and goes; err
	// says why it went.
	Connected func(up bool, err error)
}

// Listen hears events on a connection of its own until ctx ends, and connects
// again when it is lost. It always returns ctx's error.
func Listen(ctx context.Context, pool *pgxpool.Pool, to Listener) error {
	const firstWait, maxWait = 100 * time.Millisecond, 5 * time.Second
	wait := firstWait
	first := true
	for {
		heard, err := listenOnce(ctx, pool, to, first)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if heard {
			wait, first = firstWait, false
		}
		if to.Connected != nil {
			to.Connected(false, err)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
		wait = min(2*wait, maxWait)
	}
}

// listenOnce reports whether it came as far as listening.
func listenOnce(ctx context.Context, pool *pgxpool.Pool, to Listener, first bool) (heard bool, err error) {
	connect, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := pgx.ConnectConfig(connect, pool.Config().ConnConfig)
	if err != nil {
		return false, err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(closing)
	}()
	if _, err := conn.Exec(connect, `LISTEN `+Channel); err != nil {
		return false, err
	}
	if to.Connected != nil {
		to.Connected(true, nil)
	}
	if !first {
		to.Gap()
	}
	for {
		// A dead peer (a failed-over server, a cut cable) says nothing: ask
		// now and then.
		waiting, cancel := context.WithTimeout(ctx, time.Minute)
		notification, err := conn.WaitForNotification(waiting)
		cancel()
		switch {
		case err == nil:
			var event Received
			if json.Unmarshal([]byte(notification.Payload), &event) == nil && event.Type != "" {
				to.Event(event)
			}
		case ctx.Err() != nil:
			return true, ctx.Err()
		case errors.Is(err, context.DeadlineExceeded) && !conn.IsClosed():
			ping, cancel := context.WithTimeout(ctx, 10*time.Second)
			err := conn.Ping(ping)
			cancel()
			if err != nil {
				return true, err
			}
		default:
			return true, err
		}
	}
}
