package forward

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
)

// Trial says what a rule would have matched.
type Trial struct {
	Looked  int  // studies of the last seven days that were looked at
	More    bool // there were more than are looked at
	Studies int  // that matched, or of which series did
	Series  int  // that matched, of a rule of series
	Failed  int  // for which the condition failed
	Samples []pacs.Study
}

const (
	trialDays    = 7
	trialLimit   = 5_000
	trialBatch   = 200
	trialSamples = 10
)

// Try asks a rule, which need not be saved, about the studies of the last seven
// days in by's sight, newest first. Nothing is queued. by needs AdminForwarding.
func (f *Forwarding) Try(ctx context.Context, by *access.Identity, r Rule) (Trial, error) {
	var t Trial
	if err := must(by); err != nil {
		return t, err
	}
	if err := r.check(); err != nil {
		return t, err
	}
	now := f.o.Now()
	rows, err := f.pool.Query(ctx, `SELECT id FROM study WHERE received_at > $1 AND deleted_at IS NULL AND ($2 OR facility_row = ANY($3))
		ORDER BY received_at DESC, id DESC LIMIT $4`, now.Add(-trialDays*24*time.Hour), by.Scope.All, append([]int64{}, by.Scope.FacilityIDs...), trialLimit+1)
	if err != nil {
		return t, failure(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return t, failure(err)
	}
	if t.More = len(ids) > trialLimit; t.More {
		ids = ids[:trialLimit]
	}
	for len(ids) > 0 {
		batch := ids[:min(len(ids), trialBatch)]
		ids = ids[len(batch):]
		list, err := f.describe(ctx, batch)
		if err != nil {
			return t, failure(err)
		}
		for _, d := range list {
			t.Looked++
			wanted, err := r.matches(d, now)
			switch {
			case err != nil:
				t.Failed++
			case len(wanted) > 0:
				t.Studies++
				if r.Level == SeriesLevel {
					t.Series += len(wanted)
				}
				if len(t.Samples) < trialSamples {
					t.Samples = append(t.Samples, d.study)
				}
			}
		}
	}
	return t, nil
}
