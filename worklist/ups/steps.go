package ups

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/worklist"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Options are what Steps needs.
type Options struct {
	Worklist *worklist.Worklist
	// AETitle is where the instances of studies can be retrieved, and who
	// performs what people do here.
	AETitle string
	// Dial opens an association to a device at its registered address.
	//
	//	NotFound  the device is not known, or has no address
	Dial func(ctx context.Context, aeTitle string, how dimse.Dialer) (*dimse.Client, error)
	// Alone says that no other node serves the same database: then its start is
	// the restart of the service, of which subscribers are told.
	Alone bool
	Log   *slog.Logger
}

// Steps keeps unified procedure steps. Safe for concurrent use.
type Steps struct {
	o    Options
	work *worklist.Worklist
	pool *pgxpool.Pool
	log  *slog.Logger

	here associations // through which subscribers may be told
	wake signal       // there may be events to bring
}

// New brings the tables up to date, of which those of package worklist must be
// there, and has the worklist tell of its tasks.
func New(ctx context.Context, o Options) (*Steps, error) {
	pool := o.Worklist.Index().Pool()
	if err := index.Migrate(ctx, pool, "ups", migrations); err != nil {
		return nil, err
	}
	s := &Steps{o: o, work: o.Worklist, pool: pool, log: o.Log}
	o.Worklist.Moved = s.moved
	return s, nil
}

// Caller is who asks for something.
type Caller struct {
	// Scope is what the caller sees; Scope.Who names it as the holder of a step
	// and in the audit trail.
	Scope pacs.Scope
	// FacilityID is the facility of the steps that the caller creates; 0 for one
	// that may create none.
	FacilityID int64
	// AETitle is the caller's, "" for one without.
	AETitle string
	// UserID is the person who asks, and takes readings in their own name; 0 for
	// a machine.
	UserID int64
	// Remote is the network address, for the audit trail.
	Remote string
}

// step is a row.
type step struct {
	row         int64
	uid         string
	facility    int64
	task        string // id of the reading task, "" for none
	state       State
	transaction string
	performer   string
	calledOff   bool
	attributes  *dicom.Dataset // in UTF-8
}

const stepColumns = `u.id, u.sop_uid, u.facility_row, coalesce(u.task_id::text, ''), u.state, u.transaction_uid, u.performer, u.called_off, u.attributes`

func scanStep(row pgx.CollectableRow) (*step, error) {
	var s step
	var raw []byte
	if err := row.Scan(&s.row, &s.uid, &s.facility, &s.task, &s.state, &s.transaction, &s.performer, &s.calledOff, &raw); err != nil {
		return nil, err
	}
	var err error
	s.attributes, err = decode(raw)
	return &s, err
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// find reads a step; condition speaks of u and may end with a lock. Nil when
// there is none.
func find(ctx context.Context, q querier, condition string, args ...any) (*step, error) {
	rows, err := q.Query(ctx, `SELECT `+stepColumns+` FROM ups u WHERE `+condition, args...)
	if err != nil {
		return nil, err
	}
	s, err := pgx.CollectOneRow(rows, scanStep)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return s, err
}

// held locks a step that the caller sees, and before it the task that it is of,
// in the order in which the worklist does. Nil when there is none.
func (s *Steps) held(ctx context.Context, tx pgx.Tx, scope pacs.Scope, uid string) (*step, worklist.Task, error) {
	var task worklist.Task
	if dicom.ValidUID(uid) != nil {
		return nil, task, nil
	}
	seen, err := find(ctx, tx, `u.sop_uid = $1`, uid)
	if err != nil || seen == nil || !scope.Sees(seen.facility) {
		return nil, task, err
	}
	if seen.task != "" {
		if task, err = taskOf(ctx, tx, seen.task); err != nil {
			return nil, task, err
		}
	}
	locked, err := find(ctx, tx, `u.sop_uid = $1 FOR NO KEY UPDATE`, uid)
	if err == nil && locked != nil && locked.task != seen.task {
		err = errMoved
	}
	return locked, task, err
}

// errMoved says that a step became that of another task while it was waited for.
var errMoved = pacs.Errorf(pacs.Unavailable, "The step was changed at the same time. Repeat the request")

// taskOf locks a task.
func taskOf(ctx context.Context, tx pgx.Tx, id string) (worklist.Task, error) {
	t := worklist.Task{ID: id}
	err := tx.QueryRow(ctx, `SELECT study_row, facility_row, priority FROM reading_task WHERE id = $1 FOR UPDATE`, id).
		Scan(&t.StudyID, &t.FacilityID, &t.Priority)
	if err != nil {
		return t, err
	}
	return t, worklist.Lock(ctx, tx, &t)
}

// write keeps what has changed of a step.
func (s *step) write(ctx context.Context, tx pgx.Tx) error {
	raw, err := encode(s.attributes)
	if err != nil {
		return err
	}
	var task *string
	if s.task != "" {
		task = &s.task
	}
	_, err = tx.Exec(ctx, `UPDATE ups SET state = $2, transaction_uid = $3, performer = $4, called_off = $5, attributes = $6, task_id = $7,
			start_at = $8, study_uid = $9, updated_at = clock_timestamp(),
			ended_at = CASE WHEN $2 IN ('COMPLETED', 'CANCELED') THEN coalesce(ended_at, clock_timestamp()) END
		WHERE id = $1`, s.row, s.state, s.transaction, s.performer, s.calledOff, raw, task, start(s.attributes), s.attributes.String(dicom.TagStudyInstanceUID))
	return err
}

// insert makes a row. duplicate says that there is one of the UID.
func (s *step) insert(ctx context.Context, tx pgx.Tx, by string) (duplicate bool, err error) {
	raw, err := encode(s.attributes)
	if err != nil {
		return false, err
	}
	var task *string
	if s.task != "" {
		task = &s.task
	}
	err = tx.QueryRow(ctx, `INSERT INTO ups (sop_uid, facility_row, task_id, state, asked_by, study_uid, start_at, attributes) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (sop_uid) DO NOTHING RETURNING id`,
		s.uid, s.facility, task, s.state, by, s.attributes.String(dicom.TagStudyInstanceUID), start(s.attributes), raw).Scan(&s.row)
	if errors.Is(err, pgx.ErrNoRows) {
		return true, nil
	}
	return false, err
}

// start is when a step is to start, on the wall; nil when it does not say.
func start(ds *dicom.Dataset) *time.Time {
	first, _, ok := dateTime(ds.String(dicom.TagScheduledProcedureStepStartDateTime))
	if !ok {
		return nil
	}
	first = first.Local()
	t := time.Date(first.Year(), first.Month(), first.Day(), first.Hour(), first.Minute(), first.Second(), 0, time.UTC)
	return &t
}

// maxAttributes is the longest attribute list that is kept.
const maxAttributes = 4 << 20

var errTooLong = pacs.Errorf(pacs.TooLarge, "The step would have more than %d bytes of attributes", maxAttributes)

func encode(ds *dicom.Dataset) ([]byte, error) {
	ds.SetBytes(dicom.TagSpecificCharacterSet, dicom.CS, []byte("ISO_IR 192"))
	raw, err := dicom.AppendDataset(nil, ds, dicom.ExplicitVRLittleEndian)
	if len(raw) > maxAttributes {
		return nil, errTooLong
	}
	return raw, err
}

func decode(raw []byte) (*dicom.Dataset, error) {
	h, err := dicom.Scan(bytes.NewReader(raw), dicom.ScanOptions{TransferSyntax: dicom.ExplicitVRLittleEndian, MaxValue: len(raw) + 1, MaxElements: len(raw)/8 + 1024})
	if err != nil {
		return nil, fmt.Errorf("a kept step can't be read: %w", err)
	}
	return h.Dataset.UTF8(), nil
}
