package publish

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/index"
)

// Between reading the packs and adding them to the index they are in tables of
// their own, so that a run can go on where an earlier one was killed and all
// packs of a study can be looked at together.
const stagingSchema = `
CREATE TABLE IF NOT EXISTS reindex_pack (
    key        text PRIMARY KEY,
    size       bigint NOT NULL,
    study_uid  text NOT NULL,
    facility   text NOT NULL,        -- '' when the manifest is lost
    issuer     text NOT NULL,
    patient_id text NOT NULL,
    rank       int NOT NULL,         -- whom to believe: see stagedPack
    received   timestamptz NOT NULL, -- the first instance
    sops       text[] NOT NULL,      -- of the sound instances, in their order
    hashes     bytea[] NOT NULL,     -- as received
    versions   int[] NOT NULL,       -- as the manifest says; 0 when it is lost
    arrivals   timestamptz[] NOT NULL,
    body       bytea NOT NULL,       -- what the rows need, gzipped JSON
    problems   text[] NOT NULL,
    lane       int,                  -- set when it is resolved
    plan       int[],                -- the version of each instance, 0: it is in another pack
    contained  boolean NOT NULL DEFAULT false,
    state      text NOT NULL DEFAULT 'read'
);
-- The hashes of what is in the pack. A run that began before there was
-- compression has none.
ALTER TABLE reindex_pack ADD COLUMN IF NOT EXISTS kept bytea[] NOT NULL DEFAULT '{}';
ALTER TABLE reindex_pack ADD COLUMN IF NOT EXISTS stripped boolean[] NOT NULL DEFAULT '{}';
CREATE INDEX IF NOT EXISTS reindex_pack_study ON reindex_pack (study_uid, key);
CREATE INDEX IF NOT EXISTS reindex_pack_lane ON reindex_pack (lane, received, key) WHERE state = 'resolved'`

const (
	stateResolved    = "resolved"
	stateDone        = "done"
	stateContradicts = "contradicts"
)

// lanes is how many packs of different patients are added side by side.
const lanes = 4

// stagedPack is a row of reindex_pack.
type stagedPack struct {
	Key               string
	Size              int64
	Study             string
	Facility          string
	Issuer, PatientID string
	// Rank orders packs that hold the same instances: one whose manifest is
	// there over one that lost it, a sound one over a damaged one.
	Rank     int
	Received time.Time
	SOPs     []string
	Hashes   [][]byte // as received
	Kept     [][]byte // as it is in the pack
	Stripped []bool   // without the pixel data that were received
	Versions []int32
	Arrivals []time.Time
	Body     []byte
	Problems []string
	Plan     []int32
	Existing bool // it is in the index already (Reindex.Add)
}

// stagedHead is the first value in a body; index.NewInstance follow.
type stagedHead struct {
	Patient pacs.Patient
	Study   pacs.Study
	Series  pacs.Series
	Pack    index.Pack
	Amended bool // an administrator's word stands in for what an instance says of its patient
}

// staging gathers what a pack's rows need while it is read. Only a gzipped
// form of it is held.
type staging struct {
	pack      stagedPack
	head      stagedHead
	describes int // version of the instance that head is of
	buffer    bytes.Buffer
	zip       *gzip.Writer
	out       *json.Encoder
	strange   []string
}

func newStaging() *staging {
	s := &staging{}
	s.zip, _ = gzip.NewWriterLevel(&s.buffer, gzip.BestSpeed)
	s.out = json.NewEncoder(s.zip)
	return s
}

// channelRecovered is the channel of an instance whose manifest is lost.
const channelRecovered pacs.Channel = "recovered"

// visit takes one instance. The head of the pack is what its first instance
// says, as it was when it was published; later versions don't change it.
func (s *staging) visit(in *ExaminedInstance, h *dicom.Header) error {
	if len(s.pack.SOPs) > 0 && (in.Study != s.head.Study.StudyInstanceUID || in.Series != s.head.Series.SeriesInstanceUID) {
		s.strange = append(s.strange, fmt.Sprintf("%s is of another series than the rest of the pack", in.Name))
		return nil
	}
	row := index.NewInstance{Channel: channelRecovered}
	version, charset := 0, ""
	if e := in.Entry; e != nil {
		version, charset = e.Version, e.Charset
		row.Sender, row.Channel, row.ReceivedAt = e.Sender, pacs.Channel(e.Channel), e.ReceivedAt
		row.PixelsDeleted, row.Compressed = e.PixelsDeleted, e.Compressed
	}
	h.Dataset.SetFallbackCharset(charset)
	patient := describePatient(h.Dataset, "")
	if e := in.Entry; e != nil && e.Correction != nil && e.Correction.Patient != nil {
		patient = e.Correction.Patient.Patient()
		s.head.Amended = true
	}
	if len(s.pack.SOPs) == 0 || version < s.describes {
		s.head.Patient = patient
		s.head.Study = describeStudy(h.Dataset)
		s.head.Series = describeSeries(h.Dataset)
		s.describes = version
	}
	told := row
	row = index.NewInstance{Instance: describeInstance(h), Sender: told.Sender, Channel: told.Channel, Note: describeNote(h.Dataset)}
	row.Charset = fallbackOf(charset)
	row.SHA256, row.ReceivedAt, row.PixelsDeleted, row.Compressed = in.SHA256, told.ReceivedAt, told.PixelsDeleted, told.Compressed
	row.Location.Offset, row.Location.Length = in.Offset, in.Length
	s.pack.SOPs = append(s.pack.SOPs, in.SOP)
	s.pack.Hashes = append(s.pack.Hashes, in.Received())
	s.pack.Kept = append(s.pack.Kept, in.SHA256)
	s.pack.Stripped = append(s.pack.Stripped, told.PixelsDeleted != nil)
	s.pack.Versions = append(s.pack.Versions, int32(version))
	s.pack.Arrivals = append(s.pack.Arrivals, told.ReceivedAt)
	return s.out.Encode(row)
}

// finish completes the pack with what is known at its end.
func (s *staging) finish(x *Examination) *stagedPack {
	p := &s.pack
	p.Key, p.Size, p.Study = x.Key, x.Size, s.head.Study.StudyInstanceUID
	if x.Manifest != nil && s.head.Patient.Issuer == x.Manifest.Facility {
		s.head.Patient.Issuer = "" // as with the data sets that name none
	}
	p.Issuer, p.PatientID = s.head.Patient.Issuer, s.head.Patient.PatientID
	s.head.Pack = index.Pack{Key: x.Key, Bytes: x.Size, MetaOffset: x.MetaOffset, MetaLength: x.MetaLength, Described: x.Described}
	if x.Manifest != nil {
		p.Facility = x.Manifest.Facility
		p.Rank += 2
	}
	if x.Sound() {
		p.Rank++
	}
	for i, at := range p.Arrivals {
		if at.IsZero() {
			p.Arrivals[i] = x.Modified
		} else if p.Received.IsZero() || at.Before(p.Received) {
			p.Received = at
		}
	}
	if p.Received.IsZero() {
		p.Received = x.Modified
	}
	for _, err := range x.Problems() {
		p.Problems = append(p.Problems, err.Error())
	}
	p.Problems = append(p.Problems, s.strange...)
	_ = s.zip.Close() // into memory
	p.Body = append(compress(s.head), s.buffer.Bytes()...)
	return p
}

// compress makes one gzip member, which others may follow.
func compress(v any) []byte {
	var b bytes.Buffer
	zip, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	_ = json.NewEncoder(zip).Encode(v) // plain values, into memory
	_ = zip.Close()
	return b.Bytes()
}

func (p *stagedPack) insert(ctx context.Context, pool *pgxpool.Pool) error {
	for i := range p.Problems {
		p.Problems[i] = clean(p.Problems[i])
	}
	_, err := pool.Exec(ctx, `
		INSERT INTO reindex_pack (key, size, study_uid, facility, issuer, patient_id, rank, received, sops, hashes, kept, versions, arrivals, body, problems, stripped)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
		ON CONFLICT (key) DO UPDATE SET size = EXCLUDED.size, study_uid = EXCLUDED.study_uid, facility = EXCLUDED.facility,
			issuer = EXCLUDED.issuer, patient_id = EXCLUDED.patient_id, rank = EXCLUDED.rank, received = EXCLUDED.received,
			sops = EXCLUDED.sops, hashes = EXCLUDED.hashes, kept = EXCLUDED.kept, stripped = EXCLUDED.stripped, versions = EXCLUDED.versions, arrivals = EXCLUDED.arrivals,
			body = EXCLUDED.body, problems = EXCLUDED.problems, lane = NULL, plan = NULL, contained = false, state = 'read'`,
		p.Key, p.Size, p.Study, p.Facility, clean(p.Issuer), clean(p.PatientID), p.Rank, p.Received,
		orEmpty(p.SOPs), orEmpty(p.Hashes), orEmpty(p.Kept), orEmpty(p.Versions), orEmpty(p.Arrivals), orEmpty(p.Body), orEmpty(p.Problems), orEmpty(p.Stripped))
	return failure(err)
}

// orEmpty is for columns that are not null.
func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// clean makes a text one that PostgreSQL takes.
func clean(s string) string {
	return string(bytes.ReplaceAll(bytes.ToValidUTF8([]byte(s), []byte("\uFFFD")), []byte{0}, []byte("\uFFFD")))
}

// begin prepares the tables and finds what an earlier run has left, and what
// is indexed.
func (r *reindexing) begin(ctx context.Context) error {
	pool := r.Index.Pool()
	var goesOn, filled bool
	if err := pool.QueryRow(ctx, `SELECT to_regclass('reindex_pack') IS NOT NULL, EXISTS (SELECT 1 FROM study)`).Scan(&goesOn, &filled); err != nil {
		return failure(err)
	}
	if filled && !goesOn && !r.Add {
		return pacs.Errorf(pacs.Conflict, "The index is not empty. To add what is missing in it, use --add; to rebuild it, give an empty database")
	}
	if _, err := pool.Exec(ctx, stagingSchema); err != nil {
		return failure(err)
	}
	r.staged = map[string]int64{}
	sql := `SELECT key, size FROM reindex_pack`
	if r.Add {
		sql += ` UNION ALL SELECT key, bytes FROM pack`
	}
	rows, err := pool.Query(ctx, sql)
	if err != nil {
		return failure(err)
	}
	var key string
	var size int64
	_, err = pgx.ForEachRow(rows, []any{&key, &size}, func() error {
		r.staged[key] = size
		return nil
	})
	return failure(err)
}

// nextStaged are the packs of a lane that come next.
func nextStaged(ctx context.Context, pool *pgxpool.Pool, lane int) ([]string, error) {
	rows, err := pool.Query(ctx, `SELECT key FROM reindex_pack WHERE lane = $1 AND state = 'resolved' ORDER BY received, key LIMIT 200`, lane)
	if err != nil {
		return nil, failure(err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return keys, failure(err)
}

func contradicting(ctx context.Context, pool *pgxpool.Pool) ([]string, error) {
	rows, err := pool.Query(ctx, `SELECT key FROM reindex_pack WHERE state = 'contradicts' ORDER BY received, key`)
	if err != nil {
		return nil, failure(err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return keys, failure(err)
}

func loadStaged(ctx context.Context, pool *pgxpool.Pool, key string) (*stagedPack, error) {
	p := &stagedPack{Key: key}
	err := pool.QueryRow(ctx, `SELECT facility, received, body, plan FROM reindex_pack WHERE key = $1`, key).
		Scan(&p.Facility, &p.Received, &p.Body, &p.Plan)
	return p, failure(err)
}

// mark ends a pack's way, with a problem if there is one.
func (p *stagedPack) mark(ctx context.Context, pool *pgxpool.Pool, state, problem string) error {
	_, err := pool.Exec(ctx, `
		UPDATE reindex_pack SET state = $2, problems = problems || CASE WHEN $3 = '' OR $3 = ANY(problems) THEN '{}'::text[] ELSE ARRAY[$3] END WHERE key = $1`,
		p.Key, state, clean(problem))
	return failure(err)
}

// rowsAtOnce bounds the instances that are held to add them.
const rowsAtOnce = 1000

// additions gives the pack's rows as it was planned, some at a time.
func (p *stagedPack) additions(add func(index.Addition) error) error {
	zip, err := gzip.NewReader(bytes.NewReader(p.Body))
	if err != nil {
		return err
	}
	in := json.NewDecoder(zip)
	var head stagedHead
	if err := in.Decode(&head); err != nil {
		return err
	}
	if head.Patient.Issuer == "" {
		head.Patient.Issuer = p.Facility
	}
	a := index.Addition{Facility: p.Facility, Patient: head.Patient, Study: head.Study, Series: head.Series, Pack: head.Pack, Amended: head.Amended}
	a.Study.ReceivedAt = p.Received
	for i := 0; ; i++ {
		var row index.NewInstance
		err := in.Decode(&row)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if i >= len(p.Plan) || p.Plan[i] == 0 {
			continue
		}
		row.Version = int(p.Plan[i])
		row.Location.PackKey = p.Key
		if row.ReceivedAt.IsZero() {
			row.ReceivedAt = p.Received
		}
		if a.Instances = append(a.Instances, row); len(a.Instances) == rowsAtOnce {
			if err := add(a); err != nil {
				return err
			}
			a.Instances = nil
		}
	}
	if len(a.Instances) == 0 {
		return nil
	}
	return add(a)
}

// entryKeyOf is how an instance is recognised in whatever pack it is.
func entryKeyOf(sop string, hash []byte) string { return entryKey(sop, hex.EncodeToString(hash)) }
