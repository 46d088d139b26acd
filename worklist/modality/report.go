package modality

import (
	"bytes"
	"cmp"
	"context"
	"embed"
	"errors"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/worklist"
	"github.com/tasvir-pacs/tasvir/worklist/charset"
	"github.com/tasvir-pacs/tasvir/worklist/orders"
)

//go:embed migrations/*.sql
var migrations embed.FS

// RetrieveSOPClass is Modality Performed Procedure Step Retrieve, PS3.4 F.8.
const RetrieveSOPClass = "1.2.840.10008.3.1.2.3.4"

// Steps keeps modality performed procedure steps. Safe for concurrent use.
type Steps struct {
	// Ended, when set, is called in the transaction in which a step has ended,
	// for each study it made images of: to look whether the study is complete.
	Ended func(ctx context.Context, tx pgx.Tx, studyUID string) error

	index *index.Index
	pool  *pgxpool.Pool
	log   *slog.Logger
}

// New brings the tables up to date. Those of package orders must be there.
func New(ctx context.Context, ix *index.Index, log *slog.Logger) (*Steps, error) {
	if err := index.Migrate(ctx, ix.Pool(), "modality", migrations); err != nil {
		return nil, err
	}
	return &Steps{index: ix, pool: ix.Pool(), log: log}, nil
}

// maxDataSet is the longest attribute list: a step of 20,000 images.
const maxDataSet = 4 << 20

// Service is what a dimse.Server registers.
func (s *Steps) Service() dimse.Service {
	return dimse.Service{
		SOPClasses: []string{dicom.ModalityPerformedProcedureStepSOPClass, RetrieveSOPClass}, MaxDataSet: maxDataSet,
		NCreate: s.guarded(operationClass[dimse.NCreateRQ], s.create),
		NSet:    s.guarded(operationClass[dimse.NSetRQ], s.set),
		NGet:    s.guarded(operationClass[dimse.NGetRQ], s.get),
	}
}

// guarded lets devices use an operation that may, with the SOP class it is of.
func (s *Steps) guarded(sopClass string, handle func(context.Context, access.Device, *dimse.Request) (dimse.NResponse, error)) dimse.NHandler {
	return func(ctx context.Context, rq *dimse.Request) dimse.NResponse {
		device, refusal, ok := caller(rq.Association, access.MPPS)
		if !ok {
			return dimse.NResponse{Status: refusal}
		}
		if rq.SOPClassUID != sopClass {
			return dimse.NResponse{Status: dimse.Statusf(dimse.UnrecognizedOperation, "not an operation of this SOP class")}
		}
		if rq.DataSet == nil {
			rq.DataSet = new(dicom.Dataset)
		}
		rq.DataSet.SetFallbackCharset(cmp.Or(device.Charset, dicom.FallbackCyrillic))
		answer, err := handle(ctx, device, rq)
		if err != nil {
			s.log.Error("a performed procedure step could not be kept", "calling", device.AETitle, "operation", rq.Field.String(), "sop", rq.SOPInstanceUID, "error", err)
			return dimse.NResponse{Status: dimse.Statusf(dimse.ProcessingFailure, "%s", pacs.MessageOf(worklist.Failure(err)))}
		}
		return answer
	}
}

func answer(status dimse.Status) (dimse.NResponse, error) {
	return dimse.NResponse{Status: status}, nil
}

func who(device access.Device) string { return device.Scope().Who }

// create answers N-CREATE: the step is begun. PS3.4 F.7.2.1.
func (s *Steps) create(ctx context.Context, device access.Device, rq *dimse.Request) (dimse.NResponse, error) {
	uid := rq.SOPInstanceUID
	if uid == "" {
		uid = dicom.NewUID()
	} else if err := dicom.ValidUID(uid); err != nil {
		return answer(dimse.Statusf(dimse.InvalidInstance, "the SOP Instance UID is none"))
	}
	if status, ok := checkCreate(rq.DataSet); !ok {
		return answer(status)
	}
	if device.FacilityID == 0 {
		return answer(dimse.Statusf(dimse.NotAuthorized, "the device belongs to no facility"))
	}
	step := rq.DataSet.UTF8()
	raw, err := dicom.AppendDataset(nil, step, dicom.ExplicitVRLittleEndian)
	if err != nil {
		return dimse.NResponse{}, err
	}
	duplicate := false
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `INSERT INTO performed_step (sop_uid, facility_row, ae_title, state, attributes) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
			uid, device.FacilityID, device.AETitle, orders.InProgress, raw)
		if err != nil || tag.RowsAffected() == 0 {
			duplicate = err == nil
			return err
		}
		return begin(ctx, tx, device, uid, step)
	})
	switch {
	case err != nil:
		return dimse.NResponse{}, err
	case duplicate:
		return answer(dimse.Statusf(dimse.DuplicateInstance, "there is such a step already"))
	}
	return dimse.NResponse{SOPInstanceUID: uid}, nil
}

// begin links a step that has begun to its studies and to what was ordered.
func begin(ctx context.Context, tx pgx.Tx, device access.Device, uid string, step *dicom.Dataset) error {
	refs, studies := scheduled(step)
	for _, study := range studies {
		if _, err := tx.Exec(ctx, `INSERT INTO performed_study (sop_uid, study_uid) VALUES ($1, $2)`, uid, study); err != nil {
			return err
		}
	}
	for _, ref := range refs {
		found, ok, err := orders.FindStep(ctx, tx, device.FacilityID, ref, step.String(dicom.TagModality))
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if _, err := tx.Exec(ctx, `INSERT INTO performed_order_step (sop_uid, order_id, position) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, uid, found.Order, found.Position); err != nil {
			return err
		}
	}
	return tell(ctx, tx, uid, who(device))
}

// tell tells the orders how the steps stand that a performed step is of. One
// scheduled step may be performed in several: while one is in progress it is,
// and one that was completed has completed it.
func tell(ctx context.Context, tx pgx.Tx, uid, who string) error {
	rows, err := tx.Query(ctx, `
		SELECT mine.order_id::text, mine.position, array_agg(s.state)
		FROM performed_order_step mine JOIN performed_order_step o USING (order_id, position) JOIN performed_step s ON s.sop_uid = o.sop_uid
		WHERE mine.sop_uid = $1 GROUP BY 1, 2 ORDER BY 1, 2`, uid)
	if err != nil {
		return err
	}
	type told struct {
		orders.Performed
		states []orders.State
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (t told, err error) {
		err = row.Scan(&t.Order, &t.Position, &t.states)
		return t, err
	})
	if err != nil {
		return err
	}
	for _, t := range list {
		if err := orders.Report(ctx, tx, t.Performed, together(t.states), who); err != nil {
			return err
		}
	}
	return nil
}

// together is the state of a scheduled step that is performed in these.
func together(states []orders.State) orders.State {
	best := orders.Discontinued
	for _, s := range states {
		if s == orders.InProgress {
			return s
		}
		if s == orders.Completed {
			best = s
		}
	}
	return best
}

// kept reads a step of the device's facility; for is a locking clause.
func (s *Steps) kept(ctx context.Context, q interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}, device access.Device, uid, lock string,
) (step *dicom.Dataset, state orders.State, err error) {
	var raw []byte
	var facility int64
	err = q.QueryRow(ctx, `SELECT facility_row, state, attributes FROM performed_step WHERE sop_uid = $1 `+lock, uid).Scan(&facility, &state, &raw)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && !device.Scope().Sees(facility) {
		return nil, "", errNoStep
	}
	if err != nil {
		return nil, "", err
	}
	h, err := dicom.Scan(bytes.NewReader(raw), dicom.ScanOptions{TransferSyntax: dicom.ExplicitVRLittleEndian, MaxValue: len(raw) + 1, MaxElements: len(raw)/8 + 1024})
	if err != nil {
		return nil, "", err
	}
	return h.Dataset, state, nil
}

var errNoStep = errors.New("no such performed procedure step")

// set answers N-SET: the step goes on, or ends. PS3.4 F.7.2.2.
func (s *Steps) set(ctx context.Context, device access.Device, rq *dimse.Request) (dimse.NResponse, error) {
	if dicom.ValidUID(rq.SOPInstanceUID) != nil {
		return answer(dimse.Statusf(dimse.NoSuchInstance, "there is no such step"))
	}
	var status dimse.Status
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		step, state, err := s.kept(ctx, tx, device, rq.SOPInstanceUID, "FOR UPDATE")
		if err != nil {
			return err
		}
		if state != orders.InProgress {
			status = mayNoLongerChange
			return nil
		}
		merged, now, word, ok := merge(step, rq.DataSet)
		status = word
		if !ok {
			return nil
		}
		raw, err := dicom.AppendDataset(nil, merged, dicom.ExplicitVRLittleEndian)
		if err != nil {
			return err
		}
		if len(raw) > 2*maxDataSet {
			status = dimse.Statusf(dimse.ResourceLimitation, "the step has too many attributes")
			return nil
		}
		if _, err := tx.Exec(ctx, `UPDATE performed_step SET state = $2, attributes = $3, instances = $4, updated_at = now() WHERE sop_uid = $1`,
			rq.SOPInstanceUID, now, raw, instances(merged)); err != nil || now == state {
			return err
		}
		if err := tell(ctx, tx, rq.SOPInstanceUID, who(device)); err != nil {
			return err
		}
		return s.end(ctx, tx, rq.SOPInstanceUID)
	})
	if errors.Is(err, errNoStep) {
		return answer(dimse.Statusf(dimse.NoSuchInstance, "there is no such step"))
	}
	return dimse.NResponse{Status: status}, err
}

// get answers N-GET: the attributes asked for, all for none. PS3.4 F.8.2.
func (s *Steps) get(ctx context.Context, device access.Device, rq *dimse.Request) (dimse.NResponse, error) {
	step, _, err := s.kept(ctx, s.pool, device, rq.SOPInstanceUID, "")
	if errors.Is(err, errNoStep) || dicom.ValidUID(rq.SOPInstanceUID) != nil {
		return answer(dimse.Statusf(dimse.NoSuchInstance, "there is no such step"))
	}
	if err != nil {
		return dimse.NResponse{}, err
	}
	step = step.UTF8()
	if len(rq.Attributes) > 0 {
		step = step.Select(rq.Attributes...)
	}
	return dimse.NResponse{DataSet: charset.Convert(step, cmp.Or(device.AnswerCharset, charset.UTF8))}, nil
}
