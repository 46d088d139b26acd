package forward

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
)

// Authorization is how we say to a DICOMweb node who we are.
type Authorization string

const (
	NoAuthorization Authorization = "none"
	Basic           Authorization = "basic"  // login and password, RFC 7617
	Bearer          Authorization = "bearer" // token, RFC 6750
)

// Target is where things are sent to: a device, which has an AE title, or a
// DICOMweb node, which has a name.
type Target struct {
	ID      int64
	AETitle string
	Name    string

	// Of a DICOMweb node. URL is that of its service, below which there is
	// studies; its certificate must be of an authority that the system trusts, or
	// the Storer. Secret is the password or token, and never read back.
	URL           string
	Authorization Authorization
	Login         string
	Secret        string
	HasSecret     bool
	Parallel      int // how many items are sent to it at a time; a device has its own number

	Paused       bool
	Failures     int       // to reach it, in a row
	RestingUntil time.Time // not tried before; zero: it may be
	LastError    string
}

// Title is what it is called.
func (t Target) Title() string {
	if t.AETitle != "" {
		return t.AETitle
	}
	return t.Name
}

const targetColumns = `t.id, coalesce(t.ae_title, ''), coalesce(t.name, ''), t.url, t.authorization_kind, t.login, t.secret <> '', t.parallel, t.paused,
	t.failures, CASE WHEN t.resting_until = '-infinity' THEN '0001-01-01T00:00:00Z' ELSE t.resting_until END, t.last_error`

// columns are where targetColumns go.
func (t *Target) columns() []any {
	return []any{
		&t.ID, &t.AETitle, &t.Name, &t.URL, &t.Authorization, &t.Login, &t.HasSecret, &t.Parallel, &t.Paused,
		&t.Failures, &t.RestingUntil, &t.LastError,
	}
}

func noSuchTarget() error { return pacs.Errorf(pacs.NotFound, "There is no such target") }

func targetObject(id int64) string { return "forward_target:" + strconv.FormatInt(id, 10) }

// resolve finds the row of a rule's target; a device gets one when it is named for
// the first time.
func (f *Forwarding) resolve(ctx context.Context, tx pgx.Tx, t Target) (id int64, err error) {
	if t.AETitle != "" {
		device, err := f.o.Devices.Remote(ctx, t.AETitle)
		switch {
		case pacs.CodeOf(err) == pacs.NotFound:
			return 0, invalid("%s", pacs.MessageOf(err))
		case err != nil:
			return 0, err
		case !device.Destination:
			return 0, invalid("%q is not a destination for images. Make it one under Administration, Devices", t.AETitle)
		}
		// The no-op update has the row returned when it is there.
		err = tx.QueryRow(ctx, `INSERT INTO forward_target (ae_title) VALUES ($1)
			ON CONFLICT (ae_title) DO UPDATE SET ae_title = EXCLUDED.ae_title RETURNING id`, device.AETitle).Scan(&id)
		return id, err
	}
	err = tx.QueryRow(ctx, `SELECT id FROM forward_target WHERE name = $1`, t.Name).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, invalid("There is no DICOMweb node %q", t.Name)
	}
	return id, err
}

func targetsWhere(ctx context.Context, q querier, where string, args ...any) ([]Target, error) {
	rows, err := q.Query(ctx, `SELECT `+targetColumns+` FROM forward_target t `+where, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (t Target, err error) { return t, row.Scan(t.columns()...) })
}

// Targets returns the DICOMweb nodes, and the devices that rules have named, by
// name. by needs AdminForwarding.
func (f *Forwarding) Targets(ctx context.Context, by *access.Identity) ([]Target, error) {
	if err := must(by); err != nil {
		return nil, err
	}
	list, err := targetsWhere(ctx, f.pool, `ORDER BY coalesce(t.name, t.ae_title), t.id`)
	return list, failure(err)
}

func targetByID(ctx context.Context, q querier, id int64) (Target, error) {
	list, err := targetsWhere(ctx, q, `WHERE t.id = $1`, id)
	switch {
	case err != nil:
		return Target{}, err
	case len(list) == 0:
		return Target{}, noSuchTarget()
	}
	return list[0], nil
}

func (t *Target) check() (err error) {
	if t.Name, err = words("what the DICOMweb node is called", t.Name, 100); err != nil {
		return err
	}
	t.URL = strings.TrimRight(strings.TrimSpace(t.URL), "/")
	u, err := url.Parse(t.URL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || len(t.URL) > 2000:
		return invalid("The address is that of a DICOMweb service, such as https://pacs.example.uz/dicom-web")
	case u.User != nil:
		return invalid("Give login and password in their own fields, not in the address")
	case t.Parallel < 1 || t.Parallel > 16:
		return invalid("1 to 16 items can be sent to a node at a time")
	case t.Authorization != NoAuthorization && t.Authorization != Basic && t.Authorization != Bearer:
		return invalid("The authorization is none, basic or bearer")
	case t.Authorization == Basic && (t.Login == "" || strings.Contains(t.Login, ":")):
		return invalid("Basic authorization needs a login, without a colon")
	case len(t.Login) > 200 || len(t.Secret) > 8000 || strings.ContainsFunc(t.Login+t.Secret, func(r rune) bool { return r < ' ' || r == 0x7F }):
		return invalid("Login or secret are too long, or have characters that can't be sent")
	}
	if t.Authorization != Basic {
		t.Login = ""
	}
	return nil
}

// AddNode adds a DICOMweb node.
//
//	Invalid   something about it can't be accepted
//	Conflict  the name is taken
func (f *Forwarding) AddNode(ctx context.Context, by *access.Identity, t Target) (Target, error) {
	return f.saveNode(ctx, by, t, "forwarding.node_create", func(tx pgx.Tx, t Target) (id int64, err error) {
		err = tx.QueryRow(ctx, `INSERT INTO forward_target (name, url, authorization_kind, login, secret, parallel) VALUES ($1, $2, $3, $4, $5, $6) RETURNING id`,
			t.Name, t.URL, t.Authorization, t.Login, t.Secret, t.Parallel).Scan(&id)
		return id, err
	})
}

// ChangeNode changes a DICOMweb node. An empty Secret leaves the one that it has,
// unless the address is another: a secret goes nowhere but where it was given for.
func (f *Forwarding) ChangeNode(ctx context.Context, by *access.Identity, t Target) (Target, error) {
	return f.saveNode(ctx, by, t, "forwarding.node_change", func(tx pgx.Tx, t Target) (int64, error) {
		var before string
		var had bool
		err := tx.QueryRow(ctx, `SELECT url, secret <> '' FROM forward_target WHERE id = $1 AND name IS NOT NULL FOR UPDATE`, t.ID).Scan(&before, &had)
		if errors.Is(err, pgx.ErrNoRows) {
			return 0, noSuchTarget()
		}
		if err != nil {
			return 0, err
		}
		if t.Authorization != NoAuthorization && t.Secret == "" && (before != t.URL || !had) {
			return 0, invalid("The address is another: give the password or token again")
		}
		_, err = tx.Exec(ctx, `UPDATE forward_target SET name = $2, url = $3, authorization_kind = $4, login = $5,
				secret = CASE WHEN $4 = 'none' THEN '' WHEN $6 <> '' THEN $6 ELSE secret END, parallel = $7, failures = 0, resting_until = '-infinity'
			WHERE id = $1`, t.ID, t.Name, t.URL, t.Authorization, t.Login, t.Secret, t.Parallel)
		return t.ID, err
	})
}

func (f *Forwarding) saveNode(ctx context.Context, by *access.Identity, t Target, action string, save func(tx pgx.Tx, t Target) (int64, error)) (out Target, err error) {
	if err := must(by); err != nil {
		return t, err
	}
	if t.Parallel == 0 {
		t.Parallel = 2
	}
	if err := t.check(); err != nil {
		return t, err
	}
	if action == "forwarding.node_create" && t.Authorization != NoAuthorization && t.Secret == "" {
		return t, invalid("Give the password or token")
	}
	err = f.inTx(ctx, func(tx pgx.Tx) error {
		id, err := save(tx, t)
		var refused *pgconn.PgError
		if errors.As(err, &refused) && refused.Code == "23505" {
			return pacs.Errorf(pacs.Conflict, "There is a DICOMweb node %q already", t.Name)
		}
		if err != nil {
			return err
		}
		if err := access.Audit(ctx, tx, by.Event(action, targetObject(id), 0).Because(t.Name+" "+t.URL)); err != nil {
			return err
		}
		out, err = targetByID(ctx, tx, id)
		return err
	})
	f.Nudge()
	return out, err
}

// RemoveNode removes a DICOMweb node with the items that went there. Conflict
// while a rule names it.
func (f *Forwarding) RemoveNode(ctx context.Context, by *access.Identity, id int64) error {
	if err := must(by); err != nil {
		return err
	}
	return f.inTx(ctx, func(tx pgx.Tx) error {
		t, err := targetByID(ctx, tx, id)
		if err != nil {
			return err
		}
		if t.Name == "" {
			return noSuchTarget()
		}
		var used bool
		if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM forward_rule WHERE target_row = $1)`, id).Scan(&used); err != nil {
			return err
		}
		if used {
			return pacs.Errorf(pacs.Conflict, "Rules send to %q. Remove or change them first", t.Name)
		}
		if _, err := tx.Exec(ctx, `DELETE FROM forward_item WHERE target_row = $1`, id); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM forward_target WHERE id = $1`, id); err != nil {
			return err
		}
		return access.Audit(ctx, tx, by.Event("forwarding.node_remove", targetObject(id), 0).Because(t.Name+" "+t.URL))
	})
}

// PauseTarget stops sending to a target, or has it go on, which tries it at once.
func (f *Forwarding) PauseTarget(ctx context.Context, by *access.Identity, id int64, paused bool) (t Target, err error) {
	if err := must(by); err != nil {
		return Target{}, err
	}
	err = f.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `UPDATE forward_target SET paused = $2, resting_until = '-infinity' WHERE id = $1`, id, paused); err != nil {
			return err
		}
		if err := patience(ctx, tx, `target_row = $1`, id); err != nil {
			return err
		}
		if t, err = targetByID(ctx, tx, id); err != nil {
			return err
		}
		return access.Audit(ctx, tx, by.Event(pausing("forwarding.target", paused), targetObject(id), 0).Because(t.Title()))
	})
	f.Nudge()
	return t, err
}
