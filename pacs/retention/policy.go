package retention

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
)

// Action is what a policy does with the studies that it is for.
type Action string

const (
	Keep         Action = "keep" // nothing, and no later policy does anything either
	MoveToCold   Action = "move_to_cold"
	DeletePixels Action = "delete_pixels"
	DeleteAll    Action = "delete_all"
)

// Policy says what becomes of some studies after some time.
type Policy struct {
	ID       int64
	Position int // policies are tried in this order, then in that of their IDs
	Name     string
	// Conditions. All must hold.
	Facility string // code; "": every facility
	Modality string // every series of the study has it; "": any
	Days     int    // since the study date, or since it was received when that is later or absent
	Action   Action

	Enabled   bool
	Previewed bool // there is a preview of it as it is

	previewed string
	behind    []string
}

// Unplaced is the Position of a policy that has none: a new one comes last, one
// that is changed stays where it is.
const Unplaced = -1 << 31

// maxDays is a hundred years.
const maxDays = 36_500

// check puts a policy's texts in order and refuses what can't be.
func (p *Policy) check(ctx context.Context, tx pgx.Tx) error {
	var err error
	if p.Name, err = words("what the policy is called", p.Name, 200); err != nil {
		return err
	}
	p.Facility, p.Modality = strings.TrimSpace(p.Facility), strings.ToUpper(strings.TrimSpace(p.Modality))
	switch {
	case p.Days < 1 || p.Days > maxDays:
		return invalid("The age is from 1 to %d days", maxDays)
	case !slices.Contains([]Action{Keep, MoveToCold, DeletePixels, DeleteAll}, p.Action):
		return invalid("The action is keep, move_to_cold, delete_pixels or delete_all")
	case len(p.Modality) > 16 || strings.Trim(p.Modality, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_ ") != "":
		return invalid("The modality is a code such as CT, MR or US (PS3.3 C.7.3.1.1.1)")
	case p.Position < Unplaced || p.Position > 1<<31-2:
		return invalid("The position is a small number")
	}
	if p.Facility == "" {
		return nil
	}
	var known bool
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM facility WHERE code = $1)`, strings.ToValidUTF8(strings.ReplaceAll(p.Facility, "\x00", "?"), "?")).Scan(&known); err != nil {
		return err
	}
	if !known {
		return invalid("There is no facility of this code")
	}
	return nil
}

// fingerprint stands for what a policy does: conditions and action.
func (p *Policy) fingerprint() string {
	sum := sha256.Sum256([]byte(strings.Join([]string{strconv.FormatInt(p.ID, 10), p.Facility, p.Modality, strconv.Itoa(p.Days), string(p.Action)}, "\n")))
	return hex.EncodeToString(sum[:])
}

// String is the policy in the audit trail.
func (p *Policy) String() string {
	where, what := p.Facility, p.Modality
	if where == "" {
		where = "every facility"
	}
	if what == "" {
		what = "any modality"
	}
	return fmt.Sprintf("%s: %s after %d days (%s, %s)", p.Name, p.Action, p.Days, where, what)
}

// Policies returns all policies in their order.
func (r *Retention) Policies(ctx context.Context) ([]Policy, error) {
	list, err := policies(ctx, r.pool)
	return list, failure(err)
}

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func policies(ctx context.Context, q querier) ([]Policy, error) {
	rows, err := q.Query(ctx, `
		SELECT id, position, name, facility, modality, days, action, enabled, previewed, previewed_behind
		FROM retention_policy ORDER BY position, id`)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p Policy, err error) {
		err = row.Scan(&p.ID, &p.Position, &p.Name, &p.Facility, &p.Modality, &p.Days, &p.Action, &p.Enabled, &p.previewed, &p.behind)
		return p, err
	})
	for i := range list {
		list[i].Previewed = list[i].isPreviewed(before(list, i))
	}
	return list, err
}

// before are the enabled policies that are tried before the one at place i.
func before(list []Policy, i int) []Policy {
	return slices.DeleteFunc(slices.Clone(list[:i]), func(p Policy) bool { return !p.Enabled })
}

// isPreviewed says whether a preview of the policy shows at least what it would
// do: it was made of this content, and all policies that came before it then do
// so still. Others that have come before it since only take studies away.
func (p *Policy) isPreviewed(before []Policy) bool {
	if p.previewed != p.fingerprint() {
		return false
	}
	return !slices.ContainsFunc(p.behind, func(needed string) bool {
		return !slices.ContainsFunc(before, func(b Policy) bool { return b.fingerprint() == needed })
	})
}

// change runs one operation on the policies and returns the policy id as it is
// afterwards. Operations take turns, and wait for the study that is being
// worked on. What is not covered by its preview any more is disabled.
func (r *Retention) change(ctx context.Context, who *access.Identity, f func(tx pgx.Tx, list []Policy) (id int64, err error)) (Policy, error) {
	var out Policy
	err := pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `LOCK TABLE retention_policy IN SHARE ROW EXCLUSIVE MODE`); err != nil {
			return err
		}
		list, err := policies(ctx, tx)
		if err != nil {
			return err
		}
		id, err := f(tx, list)
		if err != nil {
			return err
		}
		if list, err = policies(ctx, tx); err != nil {
			return err
		}
		for i := range list {
			p := &list[i]
			// In order: what is disabled here is not before the next.
			p.Previewed = p.isPreviewed(before(list, i))
			if p.Enabled && !p.Previewed {
				p.Enabled = false
				if _, err := tx.Exec(ctx, `UPDATE retention_policy SET enabled = false WHERE id = $1`, p.ID); err != nil {
					return err
				}
				if err := audit(ctx, tx, who, "retention.policy_disabled", p, "its preview no longer holds"); err != nil {
					return err
				}
			}
			if p.ID == id {
				out = *p
			}
		}
		return nil
	})
	return out, failure(err)
}

func audit(ctx context.Context, tx pgx.Tx, who *access.Identity, action string, p *Policy, why string) error {
	if why == "" {
		why = p.String()
	}
	return access.Audit(ctx, tx, who.Event(action, "retention_policy:"+strconv.FormatInt(p.ID, 10), 0).Because(why))
}

// AddPolicy adds a policy, disabled.
//
//	Invalid  what was given can't be
func (r *Retention) AddPolicy(ctx context.Context, who *access.Identity, p Policy) (Policy, error) {
	return r.change(ctx, who, func(tx pgx.Tx, list []Policy) (int64, error) {
		if err := p.check(ctx, tx); err != nil {
			return 0, err
		}
		if p.Position == Unplaced {
			p.Position = 1
			if n := len(list); n > 0 {
				p.Position = list[n-1].Position + 1
			}
		}
		if len(list) >= maxPolicies {
			return 0, invalid("There are %d policies already", len(list))
		}
		err := tx.QueryRow(ctx, `
			INSERT INTO retention_policy (position, name, facility, modality, days, action) VALUES ($1, $2, $3, $4, $5, $6) RETURNING id`,
			p.Position, p.Name, p.Facility, p.Modality, p.Days, p.Action).Scan(&p.ID)
		if err != nil {
			return 0, err
		}
		return p.ID, audit(ctx, tx, who, "retention.policy_added", &p, "")
	})
}

// maxPolicies bounds the conditions of one query.
const maxPolicies = 200

// ChangePolicy replaces what a policy says. A change of conditions or action
// disables it.
//
//	NotFound   there is no such policy
//	Invalid    what was given can't be; no_cold_store: there is nowhere to move to
//	Conflict   preview_needed: it can't be enabled without a preview of it as it is
func (r *Retention) ChangePolicy(ctx context.Context, who *access.Identity, p Policy) (Policy, error) {
	return r.change(ctx, who, func(tx pgx.Tx, list []Policy) (int64, error) {
		i := slices.IndexFunc(list, func(known Policy) bool { return known.ID == p.ID })
		if i < 0 {
			return 0, noPolicy()
		}
		was := list[i]
		if err := p.check(ctx, tx); err != nil {
			return 0, err
		}
		if p.Position == Unplaced {
			p.Position = was.Position
		}
		changed := p.fingerprint() != was.fingerprint()
		p.previewed, p.behind = was.previewed, was.behind
		if changed {
			p.previewed, p.behind = "", []string{}
		}
		if p.Enabled && !was.Enabled {
			if p.Action == MoveToCold && !r.o.Cold {
				return 0, pacs.Errorf(pacs.Invalid, "There is no cold store to move to. Start the archive with --cold-store").WithReason("no_cold_store", "")
			}
			others := slices.Delete(slices.Clone(list), i, i+1)
			at, _ := slices.BinarySearchFunc(others, p, func(a, b Policy) int { return compare(a, b) })
			if !p.isPreviewed(before(others, at)) {
				return 0, pacs.Errorf(pacs.Conflict, "Look at a preview of the policy as it is before you enable it").WithReason("preview_needed", "")
			}
		}
		p.Enabled = p.Enabled && !changed
		_, err := tx.Exec(ctx, `
			UPDATE retention_policy SET position = $2, name = $3, facility = $4, modality = $5, days = $6, action = $7, enabled = $8,
				previewed = $9, previewed_behind = $10 WHERE id = $1`,
			p.ID, p.Position, p.Name, p.Facility, p.Modality, p.Days, p.Action, p.Enabled, p.previewed, p.behind)
		if err != nil {
			return 0, err
		}
		action := "retention.policy_changed"
		switch {
		case p.Enabled && !was.Enabled:
			action = "retention.policy_enabled"
		case !p.Enabled && was.Enabled:
			action = "retention.policy_disabled"
		}
		return p.ID, audit(ctx, tx, who, action, &p, "")
	})
}

// compare orders policies as they are tried.
func compare(a, b Policy) int {
	if a.Position != b.Position {
		return a.Position - b.Position
	}
	return int(a.ID - b.ID)
}

func changedMeanwhile() error {
	return pacs.Errorf(pacs.Conflict, "The policy was changed meanwhile; look at it again")
}

func noPolicy() error { return pacs.Errorf(pacs.NotFound, "There is no such policy") }

// RemovePolicy removes a policy. What it has done stays on record.
//
//	NotFound  there is no such policy
func (r *Retention) RemovePolicy(ctx context.Context, who *access.Identity, id int64) error {
	_, err := r.change(ctx, who, func(tx pgx.Tx, list []Policy) (int64, error) {
		i := slices.IndexFunc(list, func(known Policy) bool { return known.ID == id })
		if i < 0 {
			return 0, noPolicy()
		}
		if _, err := tx.Exec(ctx, `DELETE FROM retention_policy WHERE id = $1`, id); err != nil {
			return 0, err
		}
		return id, audit(ctx, tx, who, "retention.policy_removed", &list[i], "")
	})
	return err
}
