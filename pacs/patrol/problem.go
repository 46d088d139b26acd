package patrol

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// Kind is what is wrong with an object.
type Kind string

const (
	Missing          Kind = "missing"           // the index names it and it is not there
	Unreadable       Kind = "unreadable"        // the store gives an error, or another pack's bytes
	DamagedInstance  Kind = "damaged_instance"  // instances have other bytes than were received
	DamagedMetadata  Kind = "damaged_metadata"  // the DICOM JSON for viewers
	DamagedDirectory Kind = "damaged_directory" // the ZIP's directory or headers, or the manifest
	NotIndexed       Kind = "not_indexed"       // sound instances that the index does not know
	Orphan           Kind = "orphan"            // an object that no pack is, and not a sound one
)

// Kinds are all of them.
var Kinds = []Kind{Missing, Unreadable, DamagedInstance, DamagedMetadata, DamagedDirectory, NotIndexed, Orphan}

// State is what has become of a problem.
type State string

const (
	Open     State = "open"
	Repaired State = "repaired"
	Gone     State = "gone" // the pack was merged or deleted since
)

// Where repaired instances came from.
const (
	FromCopy   = "copy"
	FromOlder  = "an older pack"
	FromItself = "the instances themselves"
	// FoundSound: somebody else has put the object right.
	FoundSound = "outside of the archive"
)

// Problem is something that is wrong with an object in storage.
type Problem struct {
	ID           int64
	Key          string
	Kind         Kind
	State        State
	Message      string
	Facility     string // code
	Study        string
	Series       string
	SOPs         []string // the instances affected
	FoundAt      time.Time
	RepairedAt   time.Time // zero while it is not
	RepairedFrom string

	holds string // the folder whose pack was found under the key
}

const problemColumns = `id, key, kind, state, message, facility, study_uid, series_uid, sop_uids, found_at, repaired_at, repaired_from`

func scanProblem(row pgx.CollectableRow) (q Problem, err error) {
	var repaired *time.Time
	err = row.Scan(&q.ID, &q.Key, &q.Kind, &q.State, &q.Message, &q.Facility, &q.Study, &q.Series, &q.SOPs, &q.FoundAt, &repaired, &q.RepairedFrom)
	if repaired != nil {
		q.RepairedAt = *repaired
	}
	return q, err
}

// record makes what is open about a key exactly these problems, and returns
// them with their rows.
func (p *Patrol) record(ctx context.Context, key string, problems []Problem) ([]Problem, error) {
	err := pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		kinds := []string{}
		for i := range problems {
			q := &problems[i]
			kinds = append(kinds, string(q.Kind))
			if q.SOPs == nil {
				q.SOPs = []string{}
			}
			if err := tx.QueryRow(ctx, `
				INSERT INTO patrol_problem (key, kind, message, facility, study_uid, series_uid, sop_uids, holds) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
				ON CONFLICT (key, kind) WHERE state = 'open' DO UPDATE SET message = EXCLUDED.message, sop_uids = EXCLUDED.sop_uids, holds = EXCLUDED.holds, checked_at = clock_timestamp()
				RETURNING id, state, found_at`,
				q.Key, q.Kind, clean(q.Message), q.Facility, q.Study, q.Series, q.SOPs, q.holds).Scan(&q.ID, &q.State, &q.FoundAt); err != nil {
				return err
			}
			p.o.Log.Error("damage in storage", "key", q.Key, "kind", q.Kind, "study", q.Study, "instances", len(q.SOPs), "what", q.Message)
		}
		_, err := tx.Exec(ctx, `
			UPDATE patrol_problem SET state = 'repaired', repaired_at = clock_timestamp(), checked_at = clock_timestamp(), repaired_from = $3
			WHERE key = $1 AND state = 'open' AND kind <> ALL($2)`, key, kinds, FoundSound)
		return err
	})
	return problems, failure(err)
}

// maxMessage bounds what is kept of a message.
const maxMessage = 2000

func clean(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	if len(s) > maxMessage {
		s = strings.ToValidUTF8(s[:maxMessage], "") + "…"
	}
	return s
}

// repaired ends the open problems of a key.
func (p *Patrol) repaired(ctx context.Context, key, from string, kinds ...Kind) error {
	_, err := p.pool.Exec(ctx, `
		UPDATE patrol_problem SET state = 'repaired', repaired_at = clock_timestamp(), checked_at = clock_timestamp(), repaired_from = $2
		WHERE key = $1 AND state = 'open' AND kind = ANY($3)`, key, from, kinds)
	if err == nil {
		p.o.Log.Info("damage in storage was repaired", "key", key, "from", from)
	}
	return failure(err)
}

// Problem returns one by its number in text. NotFound when there is none.
func (p *Patrol) Problem(ctx context.Context, id string) (Problem, error) {
	number, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return Problem{}, errNoProblem
	}
	rows, err := p.pool.Query(ctx, `SELECT `+problemColumns+` FROM patrol_problem WHERE id = $1`, number)
	if err != nil {
		return Problem{}, failure(err)
	}
	q, err := pgx.CollectExactlyOneRow(rows, scanProblem)
	if errors.Is(err, pgx.ErrNoRows) {
		return q, errNoProblem
	}
	return q, failure(err)
}

var errNoProblem = pacs.Errorf(pacs.NotFound, "There is no such problem")

// shownProblems is how many problems Report shows: all open ones up to this,
// then the latest of the others.
const shownProblems = 1000

// Report is what the patrol has read and found.
type Report struct {
	Packs          int
	Bytes          int64
	Verified       int       // packs read and found sound within the interval
	Oldest         time.Time // of the pack that was read longest ago; zero when one was never read
	Pass           *PassState
	BytesPerSecond int64
	Interval       time.Duration
	Copy           bool
	Problems       []Problem
}

// PassState is how far a pass is.
type PassState struct {
	StartedAt   time.Time
	Done, Total int
}

// tally counts packs. Among millions that takes seconds.
type tally struct {
	packs       int
	bytes       int64
	verified    int
	oldest      time.Time
	done, total int // of the pass
}

func (p *Patrol) tally(ctx context.Context, pass *time.Time) (t tally, err error) {
	if err = p.pool.QueryRow(ctx, `SELECT count(*), coalesce(sum(bytes), 0)::bigint FROM pack WHERE retired_at IS NULL`).Scan(&t.packs, &t.bytes); err != nil {
		return t, failure(err)
	}
	var oldest *time.Time
	err = p.pool.QueryRow(ctx, `
		SELECT count(*) FILTER (WHERE sound AND verified_at > clock_timestamp() - $1::interval),
			CASE WHEN count(*) = count(verified_at) THEN min(verified_at) END,
			count(*) FILTER (WHERE verified_at >= $2), count(*)
		FROM patrol_pack`, p.o.Interval, pass).Scan(&t.verified, &oldest, &t.done, &t.total)
	if oldest != nil {
		t.oldest = *oldest
	}
	return t, failure(err)
}

// Report describes the state of the storage. What must be counted may be some
// seconds old in a large archive (index.KeepFor).
func (p *Patrol) Report(ctx context.Context) (*Report, error) {
	r := &Report{BytesPerSecond: p.o.Rate, Interval: p.o.Interval, Copy: p.o.Copy != nil}
	if err := p.fill(ctx); err != nil {
		return nil, err
	}
	var began *time.Time
	if err := p.pool.QueryRow(ctx, `SELECT max(started_at) FROM patrol_pass WHERE finished_at IS NULL`).Scan(&began); err != nil {
		return nil, failure(err)
	}
	// Pages that show it ask every few seconds.
	now, err := p.tallies.Get(ctx, fmt.Sprint(began), func(ctx context.Context) (tally, error) { return p.tally(ctx, began) })
	if err != nil {
		return nil, failure(err)
	}
	r.Packs, r.Bytes, r.Verified, r.Oldest = now.packs, now.bytes, now.verified, now.oldest
	if began != nil {
		r.Pass = &PassState{*began, now.done, now.total}
	}
	rows, err := p.pool.Query(ctx, `SELECT `+problemColumns+` FROM patrol_problem ORDER BY state <> 'open', found_at DESC, id DESC LIMIT $1`, shownProblems)
	if err != nil {
		return nil, failure(err)
	}
	r.Problems, err = pgx.CollectRows(rows, scanProblem)
	return r, failure(err)
}

// Counts are the open problems by kind, and the age of the oldest reading
// (since the pack was stored, for one that was never read).
func (p *Patrol) Counts(ctx context.Context) (open map[Kind]int, oldest time.Duration, err error) {
	open = map[Kind]int{}
	for _, kind := range Kinds {
		open[kind] = 0
	}
	rows, err := p.pool.Query(ctx, `SELECT kind, count(*) FROM patrol_problem WHERE state = 'open' GROUP BY kind`)
	if err != nil {
		return nil, 0, failure(err)
	}
	var kind Kind
	var n int
	if _, err := pgx.ForEachRow(rows, []any{&kind, &n}, func() error { open[kind] = n; return nil }); err != nil {
		return nil, 0, failure(err)
	}
	var seconds float64
	err = p.pool.QueryRow(ctx, `
		SELECT coalesce(extract(epoch FROM clock_timestamp() - least(
			(SELECT min(verified_at) FROM patrol_pack WHERE verified_at IS NOT NULL),
			(SELECT min(k.created_at) FROM patrol_pack v JOIN pack k ON k.id = v.pack_row WHERE v.verified_at IS NULL))), 0)::float8`).Scan(&seconds)
	return open, time.Duration(seconds * float64(time.Second)), failure(err)
}
