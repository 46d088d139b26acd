package availability

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/big"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
)

// Values of Instance Availability (0008,0056). PS3.3 C.4.23.1.1.
const (
	online      = pacs.Online
	nearline    = pacs.Nearline
	unavailable = pacs.Gone
)

// MaxInstances is how many instances one N-CREATE names: some 3 MB.
const MaxInstances = 10_000

// instance is one that a device is told of.
type instance struct {
	series, class, uid string
	availability       pacs.Availability
}

// instances are all of a study, in the order of series and numbers, as they are
// now; none when the study is out of the device's sight.
func (n *Notices) instances(ctx context.Context, d access.Device, studyID int64) (studyUID string, list []instance, err error) {
	scope := d.Scope()
	err = pgx.BeginTxFunc(ctx, n.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		var facility int64
		if err := tx.QueryRow(ctx, `SELECT study_uid, facility_row FROM study WHERE id = $1`, studyID).Scan(&studyUID, &facility); err != nil {
			return err
		}
		if !scope.Sees(facility) {
			return nil
		}
		rows, err := tx.Query(ctx, `
			SELECT e.series_uid, i.sop_class, i.sop_uid, k.key, i.pixels_deleted IS NOT NULL OR i.rejected IS NOT NULL
			FROM instance i JOIN series e ON e.id = i.series_row JOIN pack k ON k.id = i.pack_row
			WHERE i.study_row = $1 AND i.current ORDER BY e.number NULLS LAST, e.series_uid, i.number NULLS LAST, i.sop_uid`, studyID)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (i instance, err error) {
			var key string
			var gone bool
			err = row.Scan(&i.series, &i.class, &i.uid, &key, &gone)
			i.availability = pacs.AvailabilityOf(key, gone) // deleted, or rejected by a note (IHE IOCM)
			return i, err
		})
		if err != nil {
			return err
		}
		rows, err = tx.Query(ctx, `
			SELECT g.series_uid, g.sop_class, g.sop_uid FROM availability_deleted g WHERE g.study_row = $1
				AND NOT EXISTS (SELECT FROM instance i WHERE i.study_row = $1 AND i.sop_uid = g.sop_uid AND i.current)
			ORDER BY g.series_uid, g.sop_uid`, studyID)
		if err != nil {
			return err
		}
		gone, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (instance, error) {
			i := instance{availability: unavailable}
			return i, row.Scan(&i.series, &i.class, &i.uid)
		})
		list = append(list, gone...)
		return err
	})
	return studyUID, list, err
}

// notifications are the N-CREATE requests that tell of instances: of each
// performed procedure step its own, then of what belongs to none.
func (n *Notices) notifications(studyUID string, list []instance, steps []Step) ([]dimse.NRequest, error) {
	of := map[string]int{} // index in steps by SOP Instance UID
	for i, s := range steps {
		for _, uid := range s.Instances {
			if _, taken := of[uid]; !taken {
				of[uid] = i
			}
		}
	}
	parts := make([][]instance, len(steps)+1)
	for _, i := range list {
		part, ok := of[i.uid]
		if !ok {
			part = len(steps)
		}
		parts[part] = append(parts[part], i)
	}
	var requests []dimse.NRequest
	for at, part := range parts {
		var step *Step
		if at < len(steps) {
			step = &steps[at]
		}
		for len(part) > 0 {
			some := part[:min(len(part), MaxInstances)]
			part = part[len(some):]
			rq, err := n.notification(studyUID, some, step)
			if err != nil {
				return nil, err
			}
			requests = append(requests, rq)
		}
	}
	return requests, nil
}

// notification is one N-CREATE. PS3.4 Table R.3.2-1, which forbids everything
// else.
func (n *Notices) notification(studyUID string, list []instance, step *Step) (rq dimse.NRequest, err error) {
	var performed []*dicom.Dataset
	if step != nil {
		performed = append(performed, new(dicom.Dataset).
			SetString(dicom.TagReferencedSOPClassUID, dicom.UI, step.SOPClassUID).
			SetString(dicom.TagReferencedSOPInstanceUID, dicom.UI, step.SOPInstanceUID).
			SetSequence(dicom.TagPerformedWorkitemCodeSequence))
	}
	var series, items []*dicom.Dataset
	for i, one := range list {
		items = append(items, new(dicom.Dataset).
			SetString(dicom.TagReferencedSOPClassUID, dicom.UI, one.class).
			SetString(dicom.TagReferencedSOPInstanceUID, dicom.UI, one.uid).
			SetString(dicom.TagInstanceAvailability, dicom.CS, one.availability.String()).
			SetString(dicom.TagRetrieveAETitle, dicom.AE, n.o.AETitle))
		if i+1 == len(list) || list[i+1].series != one.series {
			series = append(series, new(dicom.Dataset).
				SetSequence(dicom.TagReferencedSOPSequence, items...).
				SetString(dicom.TagSeriesInstanceUID, dicom.UI, one.series))
			items = nil
		}
	}
	ds := new(dicom.Dataset).
		SetSequence(dicom.TagReferencedPerformedProcedureStepSequence, performed...).
		SetSequence(dicom.TagReferencedSeriesSequence, series...).
		SetString(dicom.TagStudyInstanceUID, dicom.UI, studyUID)
	raw, err := dicom.AppendDataset(nil, ds, dicom.ExplicitVRLittleEndian)
	if err != nil {
		return rq, fmt.Errorf("a notification can't be written: %w", err)
	}
	return dimse.NRequest{SOPClassUID: dicom.InstanceAvailabilityNotificationSOPClass, SOPInstanceUID: contentUID(raw), DataSet: ds}, nil
}

// contentUID is a UID that follows from content: "2.25." and a UUID of version 8,
// RFC 9562, from its hash.
func contentUID(content []byte) string {
	sum := sha256.Sum256(content)
	b := sum[:16]
	b[6] = b[6]&0x0F | 0x80
	b[8] = b[8]&0x3F | 0x80
	return "2.25." + new(big.Int).SetBytes(b).String()
}
