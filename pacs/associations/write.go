package associations

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tasvir-pacs/tasvir/pacs/index"
)

//go:embed migrations/*.sql
var migrations embed.FS

// DefaultKeep is how long entries are kept.
const DefaultKeep = 90 * 24 * time.Hour

// Options of a Log.
type Options struct {
	Keep time.Duration // 0: DefaultKeep
	Log  *slog.Logger
}

// Log is the association log. Safe for concurrent use.
type Log struct {
	pool     *pgxpool.Pool
	keep     time.Duration
	log      *slog.Logger
	waiting  queue
	refusals refusals
	open     sync.Map // of *tally, by AssociationInfo.ID
}

// Open brings the table up to date. Those of package access must be there.
func Open(ctx context.Context, ix *index.Index, o Options) (*Log, error) {
	if err := index.Migrate(ctx, ix.Pool(), "associations", migrations); err != nil {
		return nil, err
	}
	if o.Keep <= 0 {
		o.Keep = DefaultKeep
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	l := &Log{pool: ix.Pool(), keep: o.Keep, log: o.Log, waiting: queue{rows: make(chan json.RawMessage, queueLength)}}
	l.refusals.drop = func(n int) { l.waiting.dropped.Add(int64(n)) }
	return l, nil
}

const (
	batchRows  = 200
	batchPause = time.Second // how long an entry waits for company
	retryPause = 5 * time.Second
	pruneEvery = time.Hour
	pruneRows  = 5000
	lastWords  = 3 * time.Second
)

// Run writes what is observed until ctx ends, and what is left then; and prunes
// what is too old.
func (l *Log) Run(ctx context.Context) error {
	tick := time.NewTicker(batchPause)
	defer tick.Stop()
	prune := time.NewTimer(0)
	defer prune.Stop()
	var batch []json.RawMessage
	failing := false
	var pausedUntil time.Time
	for {
		intake := l.waiting.rows
		if len(batch) >= batchRows {
			intake = nil
		}
		select {
		case r := <-intake:
			if batch = append(batch, r); len(batch) < batchRows {
				continue
			}
		case now := <-tick.C:
			l.refusals.flush(now, l.put)
		case <-prune.C:
			prune.Reset(pruneEvery)
			if err := l.prune(ctx); err != nil && ctx.Err() == nil {
				l.log.Warn("old associations could not be removed from the log", "error", err)
			}
			continue
		case <-ctx.Done():
			l.finish(ctx, batch)
			return nil
		}
		if len(batch) == 0 || time.Now().Before(pausedUntil) {
			if len(batch) >= batchRows { // nothing to do before the next tick
				<-tick.C
			}
			continue
		}
		err := l.write(ctx, batch)
		if ctx.Err() == nil && (err != nil) != failing {
			failing = err != nil
			if failing {
				l.log.Warn("the association log can't be written; it waits in memory", "error", err)
			} else {
				l.log.Info("the association log is written again", "dropped", l.Dropped())
			}
		}
		if err != nil && !unfit(err) {
			pausedUntil = time.Now().Add(retryPause)
			continue
		}
		if err != nil { // it would fail for ever, and hold up all that follow
			l.waiting.dropped.Add(int64(len(batch)))
		}
		batch = l.written(batch)
	}
}

// unfit says that the database will never take these rows.
func unfit(err error) bool {
	var server *pgconn.PgError
	return errors.As(err, &server) && (strings.HasPrefix(server.Code, "22") || strings.HasPrefix(server.Code, "23"))
}

// written frees the room of a batch.
func (l *Log) written(batch []json.RawMessage) []json.RawMessage {
	for _, r := range batch {
		l.waiting.bytes.Add(-int64(len(r)))
	}
	return nil
}

// finish writes what is left when the archive stops.
func (l *Log) finish(ctx context.Context, batch []json.RawMessage) {
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	l.refusals.flush(time.Now().Add(refusalWindow), l.put)
	for {
		select {
		case r := <-l.waiting.rows:
			if batch = append(batch, r); len(batch) < batchRows {
				continue
			}
		default:
			if len(batch) == 0 {
				return
			}
		}
		if err := l.write(last, batch); err != nil {
			l.log.Warn("the last associations are not in the log", "lost", len(batch)+len(l.waiting.rows), "error", err)
			return
		}
		batch = l.written(batch)
	}
}

// write inserts a batch. Whose facility an entry belongs to is decided by the
// AE title, now: later the device may be gone.
func (l *Log) write(ctx context.Context, batch []json.RawMessage) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	all, err := json.Marshal(batch)
	if err != nil {
		return err
	}
	_, err = l.pool.Exec(ctx, `INSERT INTO association (began, seconds, direction, calling, called, peer, address, facility_row, outcome, code,
			reason, times, instances, failed, bytes, detail)
		SELECT r.began, r.seconds, r.direction, r.calling, r.called, r.peer, r.address, d.facility_row, r.outcome, r.code,
			r.reason, r.times, r.instances, r.failed, r.bytes, r.detail
		FROM ROWS FROM (jsonb_to_recordset($1::jsonb) AS (began timestamptz, seconds double precision, direction text, calling text, called text,
			peer text, address text, outcome text, code text, reason text, times integer, instances integer, failed integer, bytes bigint, detail jsonb))
			WITH ORDINALITY AS r
		LEFT JOIN device d ON d.ae_title = btrim(r.peer) ORDER BY r.ordinality`, all)
	return err
}

func (l *Log) prune(ctx context.Context) error {
	for {
		tag, err := l.pool.Exec(ctx, `DELETE FROM association WHERE id IN (SELECT id FROM association WHERE began < $1 ORDER BY id LIMIT $2)`,
			time.Now().Add(-l.keep), pruneRows)
		if err != nil || tag.RowsAffected() < pruneRows {
			return err
		}
	}
}
