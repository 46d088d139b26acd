package worklist

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// Request is what the order of a study asks of whoever reads it.
type Request struct {
	Order      string // id
	Accession  string
	Placer     string // the placer's order number, "" for none
	Priority   Priority
	Reason     string
	Question   string
	Department string
	Physician  string // DICOM PN form
}

// Querier is a pool or a transaction.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// Requests returns what the orders of studies (rows) ask, for those that have
// an order. Package orders knows; the worklist only asks.
type Requests func(ctx context.Context, q Querier, studies []int64) (map[int64]Request, error)

// RequestsOf returns what the orders of studies (rows) ask, for those that have
// one.
func (w *Worklist) RequestsOf(ctx context.Context, studies []int64) (map[int64]Request, error) {
	if w.Requests == nil || len(studies) == 0 {
		return nil, nil
	}
	return w.Requests(ctx, w.pool, studies)
}

// asked is what the order of one study asks; the zero Request when it has none.
func (w *Worklist) asked(ctx context.Context, tx pgx.Tx, study pacs.Study) (Request, error) {
	if w.Requests == nil {
		return Request{}, nil
	}
	found, err := w.Requests(ctx, tx, []int64{study.ID})
	return found[study.ID], err
}

// Text is reason and question as one text, as a reader wants it.
func (r Request) Text() string {
	parts := slices.DeleteFunc([]string{r.Reason, r.Question}, func(s string) bool { return strings.TrimSpace(s) == "" })
	return strings.Join(slices.Compact(parts), "\n")
}

// orderDeadlines are what an order that is more urgent than its rule gives at
// most.
var orderDeadlines = map[Priority]time.Duration{Stat: time.Hour, Urgent: 4 * time.Hour}

// raise gives a task the priority of its study's order when that is the higher
// one, and a deadline that fits it.
func (r Request) raise(rule Rule) Rule {
	if r.Priority == "" || rank(r.Priority) >= rank(rule.Priority) {
		return rule
	}
	rule.Priority = r.Priority
	rule.Deadline = min(rule.Deadline, cmp.Or(orderDeadlines[r.Priority], rule.Deadline))
	return rule
}
