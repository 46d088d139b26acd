package patients

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
)

// prefix of the objects that hold Documents.
const prefix = "amendments/"

// arrival is the kind of a Document that tells whose a study is that came for
// an amended patient, or was released to one from the quarantine.
const arrival = "arrival"

// Document is what is kept in object storage of an operation. Patients are
// named by Ref, studies by UID.
type Document struct {
	Format   int       `json:"format"` // 1
	Kind     string    `json:"kind"`
	At       time.Time `json:"at"`
	Who      string    `json:"who,omitempty"`
	Why      string    `json:"why,omitempty"`
	Facility string    `json:"facility"` // code
	Patient  ref       `json:"patient"`  // to whom it was done
	Other    ref       `json:"other,omitempty"`
	Undoes   string    `json:"undoes,omitempty"` // key of the operation
	Writes   []string  `json:"writes,omitempty"`
	Requires []string  `json:"requires,omitempty"`
	Before   State     `json:"before"`
	After    State     `json:"after"`
}

// enqueue puts the document into the outbox. Its key sorts by time and is no
// other document's.
func (d *Document) enqueue(ctx context.Context, tx pgx.Tx) (key string, err error) {
	content, err := d.marshal()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(content)
	key = prefix + d.At.UTC().Format("20060102T150405.000000") + "-" + hex.EncodeToString(sum[:8]) + ".json"
	_, err = tx.Exec(ctx, `INSERT INTO amendment (key, document) VALUES ($1, $2)`, key, content)
	return key, err
}

// pause is how often the outbox is looked at.
const pause = 2 * time.Second

// Run keeps object storage up to date until ctx ends.
func (p *Patients) Run(ctx context.Context) error {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	failed := false
	for {
		err := p.Record(ctx)
		if err != nil && ctx.Err() == nil && !failed {
			p.log.Warn("what was done to patients is not in object storage yet; this is repeated", "error", err)
		}
		failed = err != nil
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Record stores everything that is not in object storage yet.
func (p *Patients) Record(ctx context.Context) error {
	if err := p.recordArrivals(ctx); err != nil {
		return failure(err)
	}
	for {
		var key string
		var document []byte
		err := p.pool.QueryRow(ctx, `SELECT key, document FROM amendment WHERE stored_at IS NULL ORDER BY key LIMIT 1`).Scan(&key, &document)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return failure(err)
		}
		if err := p.store.Put(ctx, key, int64(len(document)), bytes.NewReader(document)); err != nil {
			return pacs.Wrap(pacs.Unavailable, err, "The object store does not take a record")
		}
		if _, err := p.pool.Exec(ctx, `UPDATE amendment SET stored_at = clock_timestamp() WHERE key = $1`, key); err != nil {
			return failure(err)
		}
	}
}

// arrivalsAtOnce bounds the studies of one transaction.
const arrivalsAtOnce = 100

// recordArrivals puts studies that no operation has recorded into the outbox.
func (p *Patients) recordArrivals(ctx context.Context) error {
	for {
		rows, err := p.pool.Query(ctx, `SELECT DISTINCT facility_row FROM (
			SELECT facility_row FROM study WHERE amended AND NOT recorded ORDER BY id LIMIT $1) waiting`, arrivalsAtOnce)
		if err != nil {
			return err
		}
		facilities, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err != nil || len(facilities) == 0 {
			return err
		}
		for _, facility := range facilities {
			if err := p.recordArrivalsOf(ctx, facility); err != nil {
				return err
			}
		}
	}
}

func (p *Patients) recordArrivalsOf(ctx context.Context, facility int64) error {
	return pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		// Alone, so that its place among the operations is certain.
		if err := index.LockPatients(ctx, tx, facility); err != nil {
			return err
		}
		s := session{Context: ctx, tx: tx, facility: facility}
		d := Document{Format: 1, Kind: arrival}
		if err := tx.QueryRow(ctx, `SELECT code, clock_timestamp() FROM facility WHERE id = $1`, facility).Scan(&d.Facility, &d.At); err != nil {
			return err
		}
		var err error
		if d.After.Studies, err = s.studies(`s.id IN (SELECT id FROM study WHERE amended AND NOT recorded AND facility_row = $1 ORDER BY id LIMIT $2)`, facility, arrivalsAtOnce); err != nil {
			return err
		}
		if len(d.After.Studies) == 0 {
			return nil // another node was faster
		}
		uids := make([]string, len(d.After.Studies))
		for i, study := range d.After.Studies {
			uids[i] = study.StudyUID
			for _, r := range []ref{study.Patient, study.Received} {
				if r == "" || d.After.patient(r) != nil {
					continue
				}
				state, err := s.read(s.rows[r])
				if err != nil {
					return err
				}
				d.After.Patients = append(d.After.Patients, state)
			}
		}
		if _, err := d.enqueue(ctx, tx); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE study SET recorded = true WHERE study_uid = ANY($1)`, uids)
		return err
	})
}
