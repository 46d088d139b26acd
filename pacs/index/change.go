package index

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// Kinds of changes.
const (
	StudyReceived      = "study.received"      // instances of a series became visible
	StudyCompleted     = "study.completed"     // nothing more came for a while
	SeriesMerged       = "series.merged"       // its packs became one; nothing else about it changed
	InstanceSuperseded = "instance.superseded" // other bytes came under known UIDs
	PatientCorrected   = "patient.corrected"
	PatientMerged      = "patient.merged"
	StudyMoved         = "study.moved"
	PatientSplit       = "patient.split"
	PatientUndone      = "patient.undone"
	StudyDeleted       = "study.deleted"
	PixelsDeleted      = "study.pixels_deleted"
	InstancesRejected  = "study.rejected" // some or all instances are not shown any more
	InstancesRestored  = "study.restored" // some that were not are shown again
	QuarantineReleased = "quarantine.released"
)

// Change is something that happened in the archive, for others to follow.
type Change struct {
	Position   string // in the feed; set by Changes
	Kind       string
	At         time.Time // set by the database
	FacilityID int64     // row of the facility it belongs to
	Facility   string    // its code; set by Changes
	StudyUID   string
	SeriesUID  string
	Instances  int   // how many instances it is about
	Patient    int64 // row of the patient, with the patient kinds
	Into       int64 // row of the patient that studies belong to now
}

// RecordChange appends to the feed, in the transaction that makes the changes:
// readers see them when it commits, in the order given here.
func RecordChange(ctx context.Context, tx pgx.Tx, changes ...Change) error {
	for _, c := range changes {
		if _, err := tx.Exec(ctx, `
			INSERT INTO change (era, kind, facility_row, study_uid, series_uid, instances, patient_row, into_row)
			SELECT era, $1, $2, $3, $4, $5, $6, $7 FROM change_feed`,
			c.Kind, c.FacilityID, c.StudyUID, c.SeriesUID, c.Instances, c.Patient, c.Into); err != nil {
			return fmt.Errorf("recording %s: %w", c.Kind, err)
		}
	}
	return nil
}

// position is a place in the feed: after the change with this key.
type position struct {
	era int64
	xid uint64
	id  int64
}

func (p position) String() string { return fmt.Sprintf("%d.%d.%d", p.era, p.xid, p.id) }

func (p position) after(other position) bool {
	switch {
	case p.era != other.era:
		return p.era > other.era
	case p.xid != other.xid:
		return p.xid > other.xid
	}
	return p.id > other.id
}

func parsePosition(s string) (p position, err error) {
	if s == "" {
		return p, nil
	}
	parts := strings.Split(s, ".")
	if len(parts) == 3 {
		if p.era, err = strconv.ParseInt(parts[0], 10, 64); err == nil {
			if p.xid, err = strconv.ParseUint(parts[1], 10, 64); err == nil {
				p.id, err = strconv.ParseInt(parts[2], 10, 64)
			}
		}
	}
	if len(parts) != 3 || err != nil || p.era < 0 || p.id < 0 {
		return p, pacs.Errorf(pacs.Invalid, "The place in the feed is not one of ours; repeat the `next` of an earlier answer, or leave it out to begin at the start")
	}
	return p, nil
}

// MaxChanges is the most changes that one call of Changes gives.
const MaxChanges = 1000

// Changes returns up to limit changes in scope that come after a place in the
// feed ("" is its beginning), and the place from which to go on: always given,
// also when there is nothing new. Whoever goes on from there misses nothing
// and gets nothing twice.
//
// A change appears when no transaction older than its own is at work any more
// in the whole PostgreSQL server: a backup that takes long does no harm, but a
// transaction that writes and is left open holds the feed back until it ends.
//
//	Invalid   after is not a place in this feed
//	Conflict  what follows it is gone: trimmed because of its age, or the
//	          database was restored from a backup that is older. Take stock
//	          anew and begin at the start.
func (ix *Index) Changes(ctx context.Context, scope pacs.Scope, after string, limit int) ([]Change, string, error) {
	from, err := parsePosition(after)
	if err != nil {
		return nil, "", err
	}
	if limit <= 0 || limit > MaxChanges {
		limit = MaxChanges
	}
	var c conditions
	c.add("(c.era, c.xid, c.id) > (%s, %s::xid8, %s)", from.era, from.xid, from.id)
	c.clauses = append(c.clauses, "(c.era, c.xid) < (feed.era, feed.horizon)")
	c.scope(scope, "c.facility_row")
	// One statement, one snapshot: the horizon and what lies below it.
	rows, err := ix.pool.Query(ctx, `
		SELECT feed.era, feed.horizon, feed.ahead, feed.trimmed_era, feed.trimmed_xid, feed.trimmed_id,
			c.era, c.xid, c.id, c.kind, c.at, c.facility_row, c.code, c.study_uid, c.series_uid, c.instances, c.patient_row, c.into_row
		FROM (
			SELECT era, trimmed_era, trimmed_xid, trimmed_id,
				pg_snapshot_xmin(pg_current_snapshot()) AS horizon, pg_snapshot_xmax(pg_current_snapshot()) AS ahead
			FROM change_feed) feed
		LEFT JOIN LATERAL (
			SELECT c.*, f.code FROM change c JOIN facility f ON f.id = c.facility_row
			WHERE `+c.where()+`
			ORDER BY c.era, c.xid, c.id LIMIT `+c.arg(limit)+`) c ON true
		ORDER BY c.era, c.xid, c.id`, c.args...)
	if err != nil {
		return nil, "", fail(err)
	}
	defer rows.Close()
	var changes []Change
	var horizon, ahead, trimmed, last position
	for rows.Next() {
		// Nothing new is one row without a change.
		var era, id, facility, patient, into pgtype.Int8
		var xid pgtype.Uint64
		var kind, code, study, series pgtype.Text
		var instances pgtype.Int4
		var at pgtype.Timestamptz
		if err := rows.Scan(&horizon.era, &horizon.xid, &ahead.xid, &trimmed.era, &trimmed.xid, &trimmed.id,
			&era, &xid, &id, &kind, &at, &facility, &code, &study, &series, &instances, &patient, &into); err != nil {
			return nil, "", fail(err)
		}
		if era.Valid {
			last = position{era.Int64, xid.Uint64, id.Int64}
			changes = append(changes, Change{
				Position: last.String(), Kind: kind.String, At: at.Time, FacilityID: facility.Int64, Facility: code.String,
				StudyUID: study.String, SeriesUID: series.String, Instances: int(instances.Int32), Patient: patient.Int64, Into: into.Int64,
			})
		}
	}
	if err := rows.Err(); err != nil {
		return nil, "", fail(err)
	}
	ahead.era = horizon.era
	const anew = "Take stock anew and begin at the start, without `after`"
	switch {
	case from.after(ahead):
		return nil, "", pacs.Errorf(pacs.Conflict, "This place lies ahead of the feed: the archive was restored from a backup. "+anew).WithReason("ahead", "")
	case from != position{} && trimmed.after(from):
		return nil, "", pacs.Errorf(pacs.Conflict, "What followed this place was deleted from the feed because of its age. "+anew).WithReason("trimmed", "")
	case len(changes) == limit:
		return changes, last.String(), nil
	case from.after(horizon):
		return changes, after, nil
	}
	return changes, horizon.String(), nil
}

// TrimChanges deletes changes that are older than age from the beginning of
// the feed and returns how many. Who has not read them yet is told (Changes).
func (ix *Index) TrimChanges(ctx context.Context, age time.Duration) (trimmed int64, err error) {
	const atOnce = 10_000
	for {
		// The oldest by place, as long as they are old by time as well.
		var n int64
		err := ix.pool.QueryRow(ctx, `
			WITH oldest AS (
				SELECT c.era, c.xid, c.id, c.at FROM change c, change_feed feed
				WHERE (c.era, c.xid) < (feed.era, pg_snapshot_xmin(pg_current_snapshot()))
				ORDER BY c.era, c.xid, c.id LIMIT $1),
			first_kept AS (
				SELECT era, xid, id FROM oldest WHERE at >= clock_timestamp() - $2::interval ORDER BY era, xid, id LIMIT 1),
			gone AS (
				DELETE FROM change c USING oldest o
				WHERE (c.era, c.xid, c.id) = (o.era, o.xid, o.id)
					AND NOT EXISTS (SELECT FROM first_kept k WHERE (o.era, o.xid, o.id) >= (k.era, k.xid, k.id))
				RETURNING c.era, c.xid, c.id),
			latest AS (SELECT era, xid, id, count(*) OVER () AS n FROM gone ORDER BY era DESC, xid DESC, id DESC LIMIT 1)
			UPDATE change_feed f SET trimmed_era = l.era, trimmed_xid = l.xid, trimmed_id = l.id FROM latest l RETURNING l.n`, atOnce, age).Scan(&n)
		if errors.Is(err, pgx.ErrNoRows) {
			return trimmed, nil
		}
		if err != nil {
			return trimmed, fail(err)
		}
		trimmed += n
	}
}

// newEra keeps the feed in order in a database that was restored from a dump
// into a server whose transaction numbers are lower than those in the feed.
func (ix *Index) newEra(ctx context.Context) error {
	_, err := ix.pool.Exec(ctx, `
		UPDATE change_feed f SET era = greatest(f.era + 1, floor(extract(epoch FROM clock_timestamp())))
		WHERE EXISTS (SELECT FROM change c WHERE c.era = f.era AND c.xid >= pg_snapshot_xmax(pg_current_snapshot()))`)
	return fail(err)
}
