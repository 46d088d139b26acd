package forward

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// Occasion is when a rule is looked at.
type Occasion string

const (
	OnComplete Occasion = "complete" // nothing has arrived for the study for a while
	OnArrival  Occasion = "arrival"  // images were published; the study may be incomplete
	OnOrder    Occasion = "order"    // an order was entered; for priors only
)

// Level is what a rule sends as one.
type Level string

const (
	StudyLevel  Level = "study"
	SeriesLevel Level = "series" // the condition is asked of each series
)

// Priority is the order in which a target's items are sent.
type Priority string

const (
	High   Priority = "high"
	Normal Priority = "normal"
	Low    Priority = "low"
)

// priorities are those of the database, from 1.
var priorities = []Priority{High, Normal, Low}

// Priors says which earlier studies of the patient are sent.
type Priors struct {
	Count        int  // the newest so many
	Years        int  // not older than that; 0: of any age
	SameModality bool // with one of the study's modalities
	SameBodyPart bool // with one of its body parts, as far as they are known
}

// Rule says what is sent where.
type Rule struct {
	ID       int64
	Name     string
	Enabled  bool
	Paused   bool // goes on queuing and sends nothing
	Occasion Occasion
	Level    Level
	// Facilities are codes of those whose studies it is for; empty: all.
	Facilities []string
	// Condition is CEL over study.* and series.*, see Conditions; empty: always.
	Condition string
	// Target is a device's AE title, or a DICOMweb node. On reading, all is set.
	Target   Target
	Priority Priority
	// Retries is for how long an item that fails is tried again, whole hours, from
	// its first attempt. 0: not again.
	Retries time.Duration
	// TransferSyntaxes are the only ones it is sent in (and implicit VR little
	// endian, which everybody takes); empty: what the device takes.
	TransferSyntaxes []string
	Window           *Window // nil: at any time
	Priors           *Priors // nil: the study itself is sent
}

const (
	maxRetries = 30 * 24 * time.Hour
	maxPriors  = 50
)

func (r *Rule) check() (err error) {
	if r.Name, err = words("what the rule is called", r.Name, 200); err != nil {
		return err
	}
	switch {
	case r.Occasion != OnComplete && r.Occasion != OnArrival && r.Occasion != OnOrder:
		return invalid("The occasion is complete, arrival or order")
	case r.Level != StudyLevel && r.Level != SeriesLevel:
		return invalid("The level is study or series")
	case !slices.Contains(priorities, r.Priority):
		return invalid("The priority is high, normal or low")
	case r.Retries < 0 || r.Retries > maxRetries || r.Retries%time.Hour != 0:
		return invalid("An item is tried again for 0 to %d hours", maxRetries/time.Hour)
	case r.Occasion == OnOrder && r.Priors == nil:
		return invalid("An order has no images yet: only earlier studies of its patient can be sent then")
	case r.Priors != nil && r.Level != StudyLevel:
		return invalid("Earlier studies are sent whole: the level is study")
	case len(r.TransferSyntaxes) > 0 && r.Target.AETitle == "":
		return invalid("A DICOMweb node gets images as they are kept: transfer syntaxes can be chosen for devices only")
	case len(r.Facilities) > 1000 || len(r.TransferSyntaxes) > 64:
		return invalid("The list is too long")
	}
	if p := r.Priors; p != nil && (p.Count < 1 || p.Count > maxPriors || p.Years < 0 || p.Years > 150) {
		return invalid("Send the newest 1 to %d earlier studies, not older than 0 (any age) to 150 years", maxPriors)
	}
	for _, ts := range r.TransferSyntaxes {
		if _, ok := dicom.LookupTransferSyntax(ts); !ok {
			return invalid("%q is not the UID of a transfer syntax", ts)
		}
	}
	if r.Window != nil {
		if err := r.Window.check(); err != nil {
			return err
		}
	}
	_, err = Conditions.Compile(r.Condition)
	return err
}

// rulesSQL reads rules; conditions and order follow it.
const rulesSQL = `SELECT r.id, r.name, r.enabled, r.paused, r.occasion, r.level, r.facilities, r.condition, r.priority, r.retry_hours,
	r.transfer_syntaxes, r.window_from, r.window_until, r.window_days, r.window_zone, r.prior_count, r.prior_years, r.prior_modality, r.prior_body_part,
	` + targetColumns + ` FROM forward_rule r JOIN forward_target t ON t.id = r.target_row `

func scanRule(row pgx.CollectableRow) (r Rule, err error) {
	var priority, hours int
	var from, until *int
	var days []int
	var zone string
	var p Priors
	err = row.Scan(append([]any{
		&r.ID, &r.Name, &r.Enabled, &r.Paused, &r.Occasion, &r.Level, &r.Facilities, &r.Condition, &priority, &hours,
		&r.TransferSyntaxes, &from, &until, &days, &zone, &p.Count, &p.Years, &p.SameModality, &p.SameBodyPart,
	}, r.Target.columns()...)...)
	if err != nil {
		return r, err
	}
	r.Priority, r.Retries = priorities[priority-1], time.Duration(hours)*time.Hour
	if from != nil && until != nil {
		r.Window = &Window{From: time.Duration(*from) * time.Minute, Until: time.Duration(*until) * time.Minute, Zone: zone}
		for _, d := range days {
			r.Window.Days = append(r.Window.Days, time.Weekday(d))
		}
	}
	if p.Count > 0 {
		r.Priors = &p
	}
	return r, nil
}

func rulesWhere(ctx context.Context, q querier, where string, args ...any) ([]Rule, error) {
	rows, err := q.Query(ctx, rulesSQL+where, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanRule)
}

// values are the columns of a rule, without its ID, in the order of ruleColumns.
func (r *Rule) values(target int64) []any {
	var from, until *int
	days, zone := []int{}, ""
	if w := r.Window; w != nil {
		a, b := int(w.From/time.Minute), int(w.Until/time.Minute)
		from, until, zone = &a, &b, w.Zone
		for _, d := range w.Days {
			days = append(days, int(d))
		}
	}
	var p Priors
	if r.Priors != nil {
		p = *r.Priors
	}
	return []any{
		r.Name, r.Enabled, r.Paused, r.Occasion, r.Level, append([]string{}, r.Facilities...), r.Condition, target, slices.Index(priorities, r.Priority) + 1,
		int(r.Retries / time.Hour), append([]string{}, r.TransferSyntaxes...), from, until, days, zone, p.Count, p.Years, p.SameModality, p.SameBodyPart,
	}
}

const ruleColumns = `name, enabled, paused, occasion, level, facilities, condition, target_row, priority,
	retry_hours, transfer_syntaxes, window_from, window_until, window_days, window_zone, prior_count, prior_years, prior_modality, prior_body_part`

// Rules returns all rules by name. by needs AdminForwarding.
func (f *Forwarding) Rules(ctx context.Context, by *access.Identity) ([]Rule, error) {
	if err := must(by); err != nil {
		return nil, err
	}
	list, err := rulesWhere(ctx, f.pool, `ORDER BY r.name, r.id`)
	return list, failure(err)
}

// AddRule adds a rule. by needs AdminForwarding, as for all changes.
//
//	Invalid  something about the rule can't be accepted
func (f *Forwarding) AddRule(ctx context.Context, by *access.Identity, r Rule) (Rule, error) {
	return f.saveRule(ctx, by, r, func(tx pgx.Tx, r Rule, target int64) (id int64, err error) {
		err = tx.QueryRow(ctx, `INSERT INTO forward_rule (`+ruleColumns+`)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19) RETURNING id`, r.values(target)...).Scan(&id)
		return id, err
	}, "forwarding.rule_create")
}

// ChangeRule replaces a rule. What it has queued stays, and goes to the target for
// which it was queued; times, retries and transfer syntaxes are those of the rule
// as it is now.
//
//	NotFound  there is no such rule
func (f *Forwarding) ChangeRule(ctx context.Context, by *access.Identity, r Rule) (Rule, error) {
	return f.saveRule(ctx, by, r, func(tx pgx.Tx, r Rule, target int64) (int64, error) {
		tag, err := tx.Exec(ctx, `UPDATE forward_rule SET (`+ruleColumns+`) =
			($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20) WHERE id = $1`, append([]any{r.ID}, r.values(target)...)...)
		if err == nil && tag.RowsAffected() == 0 {
			err = noSuchRule()
		}
		return r.ID, err
	}, "forwarding.rule_change")
}

func (f *Forwarding) saveRule(ctx context.Context, by *access.Identity, r Rule, save func(tx pgx.Tx, r Rule, target int64) (int64, error), action string) (out Rule, err error) {
	if err := must(by); err != nil {
		return r, err
	}
	if err := r.check(); err != nil {
		return r, err
	}
	if r.Occasion == OnOrder && f.o.Order == nil {
		return r, pacs.Errorf(pacs.Unsupported, "This archive has no orders")
	}
	err = f.inTx(ctx, func(tx pgx.Tx) error {
		if err := knownFacilities(ctx, tx, r.Facilities); err != nil {
			return err
		}
		target, err := f.resolve(ctx, tx, r.Target)
		if err != nil {
			return err
		}
		id, err := save(tx, r, target)
		if err != nil {
			return err
		}
		if err := access.Audit(ctx, tx, by.Event(action, ruleObject(id), 0).Because(r.String())); err != nil {
			return err
		}
		out, err = ruleByID(ctx, tx, id)
		return err
	})
	if err == nil {
		f.Nudge()
	}
	return out, err
}

// String is the rule in the audit trail.
func (r *Rule) String() string {
	where, what := strings.Join(r.Facilities, ", "), "studies"
	if where == "" {
		where = "every facility"
	}
	if r.Level == SeriesLevel {
		what = "series"
	}
	if r.Priors != nil {
		what = strconv.Itoa(r.Priors.Count) + " earlier studies"
	}
	when := "always"
	if strings.TrimSpace(r.Condition) != "" {
		when = "if " + r.Condition
	}
	return r.Name + ": " + what + " of " + where + " to " + r.Target.Title() + " on " + string(r.Occasion) + ", " + when
}

func ruleObject(id int64) string { return "forward_rule:" + strconv.FormatInt(id, 10) }

func noSuchRule() error { return pacs.Errorf(pacs.NotFound, "There is no such rule") }

func ruleByID(ctx context.Context, q querier, id int64) (Rule, error) {
	list, err := rulesWhere(ctx, q, `WHERE r.id = $1`, id)
	switch {
	case err != nil:
		return Rule{}, err
	case len(list) == 0:
		return Rule{}, noSuchRule()
	}
	return list[0], nil
}

func knownFacilities(ctx context.Context, tx pgx.Tx, codes []string) error {
	var unknown string
	err := tx.QueryRow(ctx, `SELECT named.code FROM unnest($1::text[]) AS named(code) WHERE NOT EXISTS (SELECT FROM facility f WHERE f.code = named.code) LIMIT 1`, codes).Scan(&unknown)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return err
	}
	return invalid("There is no facility %q", unknown)
}

// RemoveRule removes a rule; what it has queued and is not sent yet is cancelled.
func (f *Forwarding) RemoveRule(ctx context.Context, by *access.Identity, id int64) error {
	if err := must(by); err != nil {
		return err
	}
	return f.inTx(ctx, func(tx pgx.Tx) error {
		r, err := ruleByID(ctx, tx, id)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE forward_item SET state = 'cancelled', ended_at = $2, last_error = 'The rule was removed'
			WHERE rule_row = $1 AND state IN ('waiting', 'scheduled', 'sending', 'paused')`, id, f.o.Now()); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM forward_rule WHERE id = $1`, id); err != nil {
			return err
		}
		return access.Audit(ctx, tx, by.Event("forwarding.rule_remove", ruleObject(id), 0).Because(r.String()))
	})
}

// PauseRule stops sending what a rule has queued, or has it go on.
func (f *Forwarding) PauseRule(ctx context.Context, by *access.Identity, id int64, paused bool) (r Rule, err error) {
	if err := must(by); err != nil {
		return Rule{}, err
	}
	err = f.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `UPDATE forward_rule SET paused = $2 WHERE id = $1`, id, paused); err != nil {
			return err
		}
		if err := patience(ctx, tx, `rule_row = $1`, id); err != nil {
			return err
		}
		if r, err = ruleByID(ctx, tx, id); err != nil {
			return err
		}
		return access.Audit(ctx, tx, by.Event(pausing("forwarding.rule", paused), ruleObject(id), 0).Because(r.Name))
	})
	f.Nudge()
	return r, err
}

// patience has the time anew in which items are tried again: that of a pause does
// not count.
func patience(ctx context.Context, tx pgx.Tx, where string, id int64) error {
	_, err := tx.Exec(ctx, `UPDATE forward_item SET give_up_at = NULL WHERE `+where+` AND ended_at IS NULL AND give_up_at IS NOT NULL`, id)
	return err
}

func pausing(what string, paused bool) string {
	if paused {
		return what + "_pause"
	}
	return what + "_resume"
}
