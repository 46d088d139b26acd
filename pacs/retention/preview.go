package retention

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs/access"
)

// Preview is what a policy would do.
type Preview struct {
	At                 time.Time
	Studies, Instances int
	Bytes              int64 // of those studies, whatever the action leaves of them
	Held               int   // studies that fit and are under legal hold; not among Studies
	Samples            []Sample
}

// Sample is one of a preview's studies.
type Sample struct {
	StudyUID, Facility, Date, Patient string
	Modalities                        []string
	Bytes                             int64
}

const (
	samples     = 20
	previewPage = 2000
)

// Preview counts what a policy would do now were it enabled, changes nothing,
// and remembers that it was looked at as it is.
//
//	NotFound  there is no such policy
//	Conflict  it was changed meanwhile
func (r *Retention) Preview(ctx context.Context, who *access.Identity, id int64) (Preview, error) {
	var p Preview
	var s selection
	err := pgx.BeginTxFunc(ctx, r.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		var err error
		if s, err = r.selectionOf(ctx, tx, id, r.now()); err != nil {
			return err
		}
		p = Preview{At: s.asOf}
		return r.each(ctx, tx, &s, func(c candidate) {
			if c.Held {
				p.Held++
				return
			}
			p.Studies++
			p.Instances += c.Instances
			p.Bytes += c.Bytes
			if len(p.Samples) < samples {
				p.Samples = append(p.Samples, Sample{c.UID, c.Facility, c.Date, c.Patient, c.Modalities, c.Bytes})
			}
		})
	})
	if err != nil {
		return Preview{}, failure(err)
	}
	_, err = r.change(ctx, who, func(tx pgx.Tx, list []Policy) (int64, error) {
		i := slices.IndexFunc(list, func(known Policy) bool { return known.ID == id })
		if i < 0 {
			return 0, noPolicy()
		}
		if list[i].fingerprint() != s.policy.fingerprint() {
			return 0, changedMeanwhile()
		}
		behind := []string{}
		for _, b := range s.before {
			behind = append(behind, b.fingerprint())
		}
		if _, err := tx.Exec(ctx, `
			UPDATE retention_policy SET previewed = $2, previewed_behind = $3, previewed_at = $4 WHERE id = $1`,
			id, s.policy.fingerprint(), behind, p.At); err != nil {
			return 0, err
		}
		return id, audit(ctx, tx, who, "retention.policy_previewed", &list[i], "")
	})
	return p, err
}

// selectionOf is the selection of a policy among those that there are.
func (r *Retention) selectionOf(ctx context.Context, q querier, id int64, asOf time.Time) (selection, error) {
	list, err := policies(ctx, q)
	if err != nil {
		return selection{}, err
	}
	i := slices.IndexFunc(list, func(p Policy) bool { return p.ID == id })
	if i < 0 {
		return selection{}, noPolicy()
	}
	return selection{policy: list[i], before: before(list, i), asOf: asOf}, nil
}

// each calls f for the candidates that nobody works with; held ones are among
// them.
func (r *Retention) each(ctx context.Context, tx pgx.Tx, s *selection, f func(candidate)) error {
	for after := int64(0); ; {
		page, err := s.page(ctx, tx, after, 0, previewPage)
		if err != nil {
			return err
		}
		busy, err := r.busy(ctx, tx, page, false)
		if err != nil {
			return err
		}
		for _, c := range page {
			if !busy[c.ID] {
				f(c)
			}
		}
		if len(page) < previewPage {
			return nil
		}
		after = page[len(page)-1].ID
	}
}
