package commitment

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
)

const (
	// maxDataSet is the longest request: 100,000 references of some 130 bytes.
	maxDataSet   = 16 << 20
	maxInstances = 100_000
	// maxOpen bounds the requests of one device that have no answer yet.
	maxOpen = 1000
	// requestStorageCommitment is the action type. PS3.4 Table J.3-1.
	requestStorageCommitment = 1
)

// reference names one instance. PS3.4 Table J.3-1.
type reference struct{ class, instance string }

// Service is what a dimse.Server registers. The value of its associations is the
// access.Device that calls.
func (c *Commitments) Service() dimse.Service {
	return dimse.Service{
		SOPClasses: []string{dicom.StorageCommitmentPushModelSOPClass}, MaxDataSet: maxDataSet, NAction: c.action,
	}
}

// action answers N-ACTION. Success means that the request is kept and will be
// answered by an event.
func (c *Commitments) action(ctx context.Context, rq *dimse.Request) dimse.NResponse {
	device, _ := rq.Association.Value.(access.Device)
	answer := func(status dimse.Status) dimse.NResponse { return dimse.NResponse{Status: status} }
	transaction, list, status := parseRequest(rq)
	switch {
	case !device.Allows(access.Commitment):
		return answer(dimse.Statusf(dimse.NotAuthorized, "%s may not ask for storage commitment", device.AETitle))
	case !status.OK():
		return answer(status)
	}
	id, status, err := c.keep(ctx, device, transaction, list)
	if err != nil {
		c.o.Log.Error("a storage commitment request could not be kept", "calling", device.AETitle, "transaction", transaction, "error", err)
		return answer(dimse.Statusf(dimse.ResourceLimitation, "the request can't be kept now; repeat it later"))
	}
	if status.OK() {
		c.soon(id, rq)
	}
	return answer(status)
}

// parseRequest reads the action information. PS3.4 Table J.3-1.
func parseRequest(rq *dimse.Request) (transaction string, list []reference, status dimse.Status) {
	refuse := func(code dimse.Code, tag dicom.Tag, text string) (string, []reference, dimse.Status) {
		s := dimse.Statusf(code, "%s", text)
		if tag != 0 {
			s.Offending = []uint32{uint32(tag)}
		}
		return "", nil, s
	}
	switch {
	case rq.SOPInstanceUID != dicom.StorageCommitmentPushModelSOPInstance:
		return refuse(dimse.NoSuchInstance, 0, "storage commitment has one well-known SOP instance")
	case rq.ActionTypeID != requestStorageCommitment:
		return refuse(dimse.NoSuchAction, 0, "the only action type is 1")
	case rq.DataSet == nil:
		return refuse(dimse.MissingAttribute, dicom.TagTransactionUID, "no action information")
	}
	transaction = rq.DataSet.String(dicom.TagTransactionUID)
	if dicom.ValidUID(transaction) != nil {
		return refuse(dimse.InvalidAttributeValue, dicom.TagTransactionUID, "the Transaction UID is none")
	}
	items := rq.DataSet.Items(dicom.TagReferencedSOPSequence)
	switch {
	case len(items) == 0:
		return refuse(dimse.MissingAttribute, dicom.TagReferencedSOPSequence, "no instances are named")
	case len(items) > maxInstances:
		return refuse(dimse.ResourceLimitation, dicom.TagReferencedSOPSequence, "more than 100000 instances at once")
	}
	for _, item := range items {
		r := reference{item.String(dicom.TagReferencedSOPClassUID), item.String(dicom.TagReferencedSOPInstanceUID)}
		if dicom.ValidUID(r.class) != nil || dicom.ValidUID(r.instance) != nil {
			return refuse(dimse.InvalidAttributeValue, dicom.TagReferencedSOPSequence, "a reference lacks a valid SOP class or instance UID")
		}
		list = append(list, r)
	}
	return transaction, list, dimse.Status{}
}

var errOtherList = errors.New("the transaction has another list")

// keep makes a request durable, with the job that answers it. One that is
// repeated is answered again.
func (c *Commitments) keep(ctx context.Context, device access.Device, transaction string, list []reference) (id int64, status dimse.Status, err error) {
	scope := device.Scope()
	var facilities []int64
	switch {
	case scope.All:
	case len(scope.FacilityIDs) == 0:
		return 0, dimse.Statusf(dimse.NotAuthorized, "the device belongs to no facility"), nil
	default:
		facilities = scope.FacilityIDs
	}
	err = pgx.BeginFunc(ctx, c.pool, func(tx pgx.Tx) error {
		var open int
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM commitment WHERE ae_title = $1 AND state IN ('checking', 'reporting')`, device.AETitle).Scan(&open); err != nil {
			return err
		}
		if open >= maxOpen {
			status = dimse.Statusf(dimse.ResourceLimitation, "%d requests have no answer yet", open)
			return nil
		}
		err := tx.QueryRow(ctx, `INSERT INTO commitment (ae_title, transaction_uid, facility_rows) VALUES ($1, $2, $3)
			ON CONFLICT (ae_title, transaction_uid) DO NOTHING RETURNING id`, device.AETitle, transaction, facilities).Scan(&id)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			if id, err = repeat(ctx, tx, device.AETitle, transaction, list); err != nil {
				return err
			}
		case err != nil:
			return err
		default:
			_, err := tx.CopyFrom(ctx, pgx.Identifier{"commitment_instance"}, []string{"commitment_row", "position", "sop_class", "sop_uid"},
				pgx.CopyFromSlice(len(list), func(i int) ([]any, error) { return []any{id, i, list[i].class, list[i].instance}, nil }))
			if err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, `DELETE FROM commitment WHERE ended_at < now() - $1::interval`, remembered); err != nil {
			return err
		}
		return c.o.Enqueue(ctx, tx, id)
	})
	if errors.Is(err, errOtherList) {
		return 0, dimse.Statusf(dimse.ProcessingFailure, "this Transaction UID is in use for other instances"), nil
	}
	return id, status, err
}

// remembered is how long an answered request is known, should it be repeated.
const remembered = 30 * 24 * time.Hour

// repeat opens a request again whose list is the same: who asks again has not
// had the answer, or wants to know how it is now.
func repeat(ctx context.Context, tx pgx.Tx, ae, transaction string, list []reference) (id int64, err error) {
	if err := tx.QueryRow(ctx, `SELECT id FROM commitment WHERE ae_title = $1 AND transaction_uid = $2 FOR UPDATE`, ae, transaction).Scan(&id); err != nil {
		return 0, err
	}
	rows, err := tx.Query(ctx, `SELECT sop_class, sop_uid FROM commitment_instance WHERE commitment_row = $1 ORDER BY position`, id)
	if err != nil {
		return 0, err
	}
	had, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r reference, err error) { return r, row.Scan(&r.class, &r.instance) })
	switch {
	case err != nil:
		return 0, err
	case !slices.Equal(had, list):
		return 0, errOtherList
	}
	return id, reopen(ctx, tx, id)
}

// reopen has a request answered anew: what was found out is forgotten.
func reopen(ctx context.Context, tx pgx.Tx, id int64) error {
	if _, err := tx.Exec(ctx, `UPDATE commitment_instance SET outcome = NULL WHERE commitment_row = $1`, id); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `UPDATE commitment SET state = 'checking', requested_at = now(), ended_at = NULL, last_error = '' WHERE id = $1`, id)
	return err
}
