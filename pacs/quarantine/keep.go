package quarantine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
)

// Keep implements publish.Quarantine. When it returns nil the bytes and what
// is known of them are durable in object storage and the item is in the list;
// what is kept already is kept once. Each step can be killed and repeated: the
// row comes last, and says that the objects are there.
//
//	OutOfResources  the quota does not allow it
//	Unavailable     storage or database is down; repeat
func (q *Quarantine) Keep(ctx context.Context, u publish.Unfit, body *io.SectionReader) error {
	if u.Correction != nil {
		done, err := q.comeBack(ctx, u)
		if done || err != nil {
			return err
		}
		// Somebody has discarded the item meanwhile; its bytes arrive anew.
	}
	id, err := identify(u.Facility, io.NewSectionReader(body, 0, body.Size()))
	if err != nil {
		return pacs.Wrap(pacs.Internal, err, "The journal can't be read")
	}
	switch state, last, err := q.state(ctx, id); {
	case err != nil:
		return err
	case !u.ReceivedAt.Truncate(time.Microsecond).After(last):
		return nil // it is kept, or was until somebody decided; the journal offers it again after a crash
	case state == "kept", state == "releasing":
		_, err := q.pool.Exec(ctx, `UPDATE quarantine_item SET last_received = greatest(last_received, $2) WHERE id = $1`, id, u.ReceivedAt)
		return failure(err)
	case state == "discarding":
		return pacs.Errorf(pacs.Unavailable, "The same data set is just being discarded")
	}
	if err := q.reserve(body.Size()); err != nil {
		return err
	}
	item := describe(u, body)
	item.ID = id
	kept, err := q.keep(ctx, item, body)
	q.settle(body.Size(), kept)
	return err
}

// keep writes objects and row. It is false when the row was there.
func (q *Quarantine) keep(ctx context.Context, item Item, body *io.SectionReader) (bool, error) {
	if err := q.o.Store.Put(ctx, bytesKey(keptPrefix, item.ID), item.Bytes, io.NewSectionReader(body, 0, item.Bytes)); err != nil {
		return false, storeFailure(err)
	}
	if err := q.putEntry(ctx, keptPrefix, item); err != nil {
		return false, err
	}
	added := false
	err := pgx.BeginFunc(ctx, q.pool, func(tx pgx.Tx) (err error) {
		added, err = insert(ctx, tx, item, "kept")
		return err
	})
	return added && err == nil, failure(err)
}

// putEntry stores what is known of an item.
func (q *Quarantine) putEntry(ctx context.Context, prefix string, item Item) error {
	entry, err := json.MarshalIndent(item, "", " ")
	if err != nil {
		return pacs.Wrap(pacs.Internal, err, "The item can't be written down")
	}
	return storeFailure(q.o.Store.Put(ctx, entryKey(prefix, item.ID), int64(len(entry)), bytes.NewReader(entry)))
}

// insert adds the row of an item whose objects are in storage. It is false
// when the item was there already; one that is gone and arrives anew is kept
// again.
func insert(ctx context.Context, tx pgx.Tx, item Item, state string) (bool, error) {
	const facility = `SELECT id FROM facility WHERE code = $1`
	var row int64
	err := tx.QueryRow(ctx, facility, item.Facility).Scan(&row)
	if errors.Is(err, pgx.ErrNoRows) {
		// The facility has been removed since, or the database is being
		// rebuilt: the archive must not lose what it sent.
		if _, err := tx.Exec(ctx, `INSERT INTO facility (code, name) VALUES ($1, $1) ON CONFLICT (code) DO NOTHING`, item.Facility); err != nil {
			return false, err
		}
		err = tx.QueryRow(ctx, facility, item.Facility).Scan(&row)
	}
	if err != nil {
		return false, err
	}
	p := item.Patient
	tag, err := tx.Exec(ctx, `
		INSERT INTO quarantine_item (id, state, reason, message, facility_row, sender, remote, channel, charset, received_at, last_received, bytes,
			study_uid, series_uid, sop_uid, sop_class, transfer_syntax, modality, study_date, description,
			issuer, patient_id, patient_name, sex, birth_date, pinfl)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25)
		ON CONFLICT (id) DO UPDATE SET state = EXCLUDED.state, reason = EXCLUDED.reason, message = EXCLUDED.message,
			received_at = EXCLUDED.received_at, last_received = EXCLUDED.last_received,
			releasing_at = NULL, rewritten = false, gone_at = NULL
		WHERE quarantine_item.state IN ('released', 'gone') AND EXCLUDED.state = 'kept'`,
		item.ID, state, item.Reason, item.Message, row, item.Sender, item.Remote, item.Channel, item.Charset, item.ReceivedAt, item.Bytes,
		item.StudyInstanceUID, item.SeriesInstanceUID, item.SOPInstanceUID, item.SOPClassUID, item.TransferSyntaxUID,
		item.Modality, item.StudyDate, item.Description,
		p.Issuer, p.PatientID, p.Name, p.Sex, p.BirthDate, p.PINFL)
	return tag.RowsAffected() == 1, err
}

// state is that of an item, "" when there is none, and when it arrived last.
func (q *Quarantine) state(ctx context.Context, id string) (state string, last time.Time, err error) {
	err = q.pool.QueryRow(ctx, `SELECT state, last_received FROM quarantine_item WHERE id = $1`, id).Scan(&state, &last)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", last, nil
	}
	return state, last, failure(err)
}

// storeFailure turns an error of the object store into the archive's. Whatever
// it is, the data set is not to blame, and the same call may succeed later.
func storeFailure(err error) error {
	if err == nil {
		return nil
	}
	return pacs.Wrap(pacs.Unavailable, err, "The object store does not take what goes to quarantine")
}
