package commitment

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// Event types. PS3.4 Table J.3-2.
const (
	allSafe       = 1 // Storage Commitment Request Successful
	failuresExist = 2 // Storage Commitment Request Complete - Failures Exist
	timeToDial    = 30 * time.Second
	timeToAnswer  = 2 * time.Minute
)

// outcome is what is known of one instance.
type outcome struct {
	reference
	code int
}

// report tells the device, over the association that asked or a new one.
func (c *Commitments) report(ctx context.Context, r open, association *dimse.AssociationInfo) error {
	rows, err := c.pool.Query(ctx, `SELECT sop_class, sop_uid, outcome FROM commitment_instance WHERE commitment_row = $1 ORDER BY position`, r.id)
	if err != nil {
		return err
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (o outcome, err error) {
		return o, row.Scan(&o.class, &o.instance, &o.code)
	})
	if err != nil {
		return err
	}
	event, failed := c.event(r.transaction, list)
	if err := c.send(ctx, r.ae, event, association); err != nil {
		return err
	}
	if _, err := c.pool.Exec(ctx, `UPDATE commitment SET state = 'reported', ended_at = clock_timestamp() WHERE id = $1`, r.id); err != nil {
		return err // it is told again, which does no harm
	}
	if c.o.Reported != nil {
		c.o.Reported(len(list)-failed, failed, time.Since(r.requestedAt))
	}
	c.o.Log.Info("storage commitment reported", "calling", r.ae, "transaction", r.transaction, "safe", len(list)-failed, "failed", failed)
	return nil
}

// event is the N-EVENT-REPORT. PS3.4 Table J.3-2.
func (c *Commitments) event(transaction string, list []outcome) (n dimse.NRequest, failed int) {
	ds := new(dicom.Dataset).SetString(dicom.TagTransactionUID, dicom.UI, transaction)
	var kept, lost []*dicom.Dataset
	for _, o := range list {
		item := new(dicom.Dataset).SetString(dicom.TagReferencedSOPClassUID, dicom.UI, o.class).
			SetString(dicom.TagReferencedSOPInstanceUID, dicom.UI, o.instance)
		if o.code == safe {
			kept = append(kept, item)
		} else {
			lost = append(lost, item.SetInts(dicom.TagFailureReason, dicom.US, o.code))
		}
	}
	n = dimse.NRequest{
		SOPClassUID: dicom.StorageCommitmentPushModelSOPClass, SOPInstanceUID: dicom.StorageCommitmentPushModelSOPInstance,
		EventTypeID: allSafe, DataSet: ds,
	}
	if len(kept) > 0 {
		ds.SetString(dicom.TagRetrieveAETitle, dicom.AE, c.o.AETitle)
		ds.SetSequence(dicom.TagReferencedSOPSequence, kept...)
	}
	if len(lost) > 0 {
		n.EventTypeID = failuresExist
		ds.SetSequence(dicom.TagFailedSOPSequence, lost...)
	}
	return n, len(lost)
}

// send delivers an event. Nil means that the device has taken it.
func (c *Commitments) send(ctx context.Context, ae string, event dimse.NRequest, association *dimse.AssociationInfo) error {
	ctx, cancel := context.WithTimeout(ctx, timeToAnswer)
	defer cancel()
	if association != nil {
		if rsp, err := association.EventReport(ctx, event); err == nil {
			return taken(rsp)
		}
		// It has ended, or the device closed it before it answered: told twice
		// is better than not at all.
	}
	// On a new association we are the requestor and the SCP. PS3.7 D.3.3.4.
	sopClass := dicom.StorageCommitmentPushModelSOPClass
	client, err := c.o.Dial(ctx, ae, dimse.Dialer{
		Contexts: []ul.ProposedContext{dimse.ServiceContext(1, sopClass)}, Roles: []ul.Role{{SOPClassUID: sopClass, SCP: true}},
		DialTimeout: timeToDial,
	})
	if err != nil {
		return err
	}
	defer client.Close()
	rsp, err := client.NEventReport(ctx, event)
	if errors.Is(err, dimse.ErrNotAccepted) {
		return fmt.Errorf("%s takes no storage commitment reports from us: %w", ae, err)
	}
	if err != nil {
		return err
	}
	_ = client.Release(ctx) // the answer is in
	return taken(rsp)
}

func taken(rsp dimse.NResponse) error {
	if !rsp.OK() {
		return fmt.Errorf("the report was answered with %s", rsp.Status)
	}
	return nil
}
