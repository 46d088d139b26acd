package index

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// Addition is what one pack brings to the index: instances of one series.
type Addition struct {
	Facility  string // code
	Patient   pacs.Patient
	Study     pacs.Study
	Series    pacs.Series
	Pack      Pack
	Instances []NewInstance
	// Amended says that the bytes may name another patient than Patient: the
	// study is served with Patient's demographics in place of theirs.
	Amended bool
}

// Pack is an object in storage.
type Pack struct {
	ID         int64
	Key        string
	Bytes      int64
	MetaOffset int64 // of the gzipped DICOM JSON
	MetaLength int64
	Described  int // instances in it; Add takes 0 for all that it adds
}

// NewInstance is an instance with where it came from. Its Version is set by
// the publisher from what Known said.
type NewInstance struct {
	pacs.Instance
	Sender  string
	Channel pacs.Channel
	Note    *Note // what a rejection note says; nil for any other instance
}

// Added is what an addition has led to.
type Added struct {
	StudyID     int64
	FacilityID  int64
	New         int // instances that were not there before
	Completions int // how often the study has been completed before

	rejects bool // there are rejection notes in the study
}

// ErrContradiction is the cause of a Conflict from Add: the study UID belongs
// to another patient or facility already.
var ErrContradiction = errors.New("contradicts the index")

// ErrRaced means that another addition indexed the same instance since Known
// was asked; ask again and build the pack anew.
var ErrRaced = errors.New("the instance was indexed meanwhile")

// ErrRetired means that the pack's key is that of a pack that was retired: its
// object is deleted or about to be. Store the pack under another key.
var ErrRetired = errors.New("the pack's key was retired")

// ReceivedHash is the SQL of the hash by which a row of instance i is known: of
// the data set as it was received (pacs.ReceivedSHA256).
const ReceivedHash = `coalesce(decode(i.pixels_deleted->>'sha256', 'hex'), decode(i.compressed->>'sha256', 'hex'), i.sha256)`

// KnownVersion is a version of an instance that the index has.
type KnownVersion struct {
	Version int
	SHA256  []byte // as it was received
	// PixelsDeleted: what was received is no longer whole. The same bytes, added
	// under the same version, restore it.
	PixelsDeleted bool
	// Expired: it was rejected because its retention had expired, and is shown
	// again when the same bytes are added under the same version.
	Expired bool
}

// KnownStudy is what the index has of a study already.
type KnownStudy struct {
	// Versions of the instances that were asked for, by SOP Instance UID.
	Versions map[string][]KnownVersion
	// Facility is the code of the study's owner; "" when there is no such study.
	Facility string

	identities []identityPair // under which its images may come
}

// Contradicts is the Conflict that Add would return for instances of this
// study from a facility and of a patient; nil when they belong together.
func (k *KnownStudy) Contradicts(facility string, p pacs.Patient) error {
	switch p = normalized(p); {
	case k.Facility == "":
		return nil
	case facility != k.Facility:
		return errOtherFacility
	case !slices.Contains(k.identities, identityOf(p)):
		return errOtherPatient
	}
	return nil
}

var (
	errOtherFacility = pacs.Wrap(pacs.Conflict, ErrContradiction, "The study belongs to another facility already").WithReason(string(pacs.OtherFacility), "")
	errOtherPatient  = pacs.Wrap(pacs.Conflict, ErrContradiction, "The study belongs to another patient already").WithReason(string(pacs.OtherPatient), "")
)

// Known returns what the index has of a study and the named instances. It is
// for the publisher's de-duplication and shows nothing of the instances, so it
// takes no scope.
func (ix *Index) Known(ctx context.Context, studyUID string, sopUIDs []string) (*KnownStudy, error) {
	known := &KnownStudy{Versions: map[string][]KnownVersion{}}
	var id int64
	err := ix.pool.QueryRow(ctx, `SELECT s.id, f.code FROM `+studyTables+` WHERE s.study_uid = $1`, studyUID).
		Scan(&id, &known.Facility)
	if errors.Is(err, pgx.ErrNoRows) {
		return known, nil
	}
	if err != nil {
		return nil, fail(err)
	}
	if known.identities, err = identitiesOf(ctx, ix.pool, studyUID); err != nil {
		return nil, fail(err)
	}
	type row struct {
		uid string
		KnownVersion
	}
	rows, err := collect(ctx, ix.pool, `
		SELECT sop_uid, version, `+ReceivedHash+`, pixels_deleted IS NOT NULL, coalesce(rejected = $3, false) FROM instance i
		WHERE study_row = $1 AND sop_uid = ANY($2) ORDER BY version`, []any{id, sopUIDs, string(pacs.RetentionExpired)},
		func(r pgx.CollectableRow) (row row, err error) {
			err = r.Scan(&row.uid, &row.Version, &row.SHA256, &row.PixelsDeleted, &row.Expired)
			return row, err
		})
	for _, r := range rows {
		known.Versions[r.uid] = append(known.Versions[r.uid], r.KnownVersion)
	}
	return known, err
}

// Add writes the rows of one pack, and whatever inTx adds, in one transaction.
// Adding what is there already changes nothing and is no error.
//
//	Conflict      ErrContradiction: the study belongs to another patient or facility
//	Invalid       ErrUnfit: repeating won't help
//	Unavailable   the database can't be reached; repeat
func (ix *Index) Add(ctx context.Context, a Addition, inTx func(context.Context, pgx.Tx, Added) error) error {
	err := pgx.BeginFunc(ctx, ix.pool, func(tx pgx.Tx) error {
		added, err := add(ctx, tx, a)
		if err != nil || inTx == nil {
			return err
		}
		return inTx(ctx, tx, added)
	})
	return fail(err)
}

func add(ctx context.Context, tx pgx.Tx, a Addition) (Added, error) {
	var out Added
	var err error
	if out.FacilityID, err = facilityID(ctx, tx, a.Facility); err != nil {
		return out, err
	}
	patient, err := addPatient(ctx, tx, out.FacilityID, a)
	if err != nil {
		return out, err
	}
	if err := addStudy(ctx, tx, a, patient, &out); err != nil {
		return out, err
	}
	seriesID, packID, retired, err := addPack(ctx, tx, a, out.StudyID)
	if err != nil {
		return out, err
	}
	c, err := addInstances(ctx, tx, a.Instances, out.StudyID, seriesID, packID)
	if err != nil {
		return out, err
	}
	out.New = c.added
	noted, err := addNotes(ctx, tx, out.StudyID, a.Instances)
	if err != nil {
		return out, err
	}
	switch {
	case c.added > 0 && retired:
		return out, ErrRetired
	case c.added == 0:
		if err := retireUnused(ctx, tx, out.StudyID, packID); err != nil {
			return out, err
		}
	}
	for _, other := range c.taken {
		// A later version came under another series than the one before.
		if _, err := tx.Exec(ctx, `UPDATE series SET instance_count = instance_count - 1 WHERE id = $1`, other); err != nil {
			return out, err
		}
	}
	if out.New == 0 {
		if noted {
			err = settleAdded(ctx, tx, a, out)
		}
		return out, err
	}
	_, err = tx.Exec(ctx, `
		WITH of AS (UPDATE series SET instance_count = instance_count + $4, has_pixels = has_pixels OR $5 WHERE id = $6)
		UPDATE study SET
			instance_count = instance_count + $2,
			bytes          = bytes + $3,
			series_count   = (SELECT count(*) FROM series WHERE study_row = $1),
			modalities     = (SELECT coalesce(array_agg(DISTINCT modality ORDER BY modality), '{}') FROM series WHERE study_row = $1 AND modality <> ''),
			body_parts     = (SELECT coalesce(array_agg(DISTINCT body_part ORDER BY body_part), '{}') FROM series WHERE study_row = $1 AND body_part <> ''),
			updated_at     = clock_timestamp(),
			completed_at   = NULL
		WHERE id = $1`, out.StudyID, c.fresh, c.bytes,
		c.fresh+len(c.taken), slices.ContainsFunc(a.Instances, func(i NewInstance) bool { return i.FrameCount > 0 }), seriesID)
	if err != nil {
		return out, err
	}
	received := Change{Kind: StudyReceived, FacilityID: out.FacilityID, StudyUID: a.Study.StudyInstanceUID, SeriesUID: a.Series.SeriesInstanceUID, Instances: c.added}
	changes := []Change{received}
	if c.added != c.fresh+c.restored {
		superseded := received
		superseded.Kind, superseded.Instances = InstanceSuperseded, c.added-c.fresh-c.restored
		changes = append(changes, superseded)
	}
	if err := RecordChange(ctx, tx, changes...); err != nil || !noted && !out.rejects {
		return out, err
	}
	return out, settleAdded(ctx, tx, a, out)
}

func facilityID(ctx context.Context, tx pgx.Tx, code string) (id int64, err error) {
	const byCode = `SELECT id FROM facility WHERE code = $1`
	if err = tx.QueryRow(ctx, byCode, code).Scan(&id); !errors.Is(err, pgx.ErrNoRows) {
		return id, err
	}
	// The sender was admitted for a facility that has been removed since, or
	// the index was rebuilt: the archive must not lose it.
	if _, err = tx.Exec(ctx, `INSERT INTO facility (code, name) VALUES ($1, $1) ON CONFLICT (code) DO NOTHING`, code); err != nil {
		return 0, err
	}
	err = tx.QueryRow(ctx, byCode, code).Scan(&id)
	return id, err
}

func addStudy(ctx context.Context, tx pgx.Tx, a Addition, of owner, out *Added) error {
	s := a.Study
	var patient, facility int64
	// The modality is there from the first, as what follows would set it: lists'
	// indexes hold it, and changing it would write all indexes again.
	//
	// The no-op update locks the row, so that additions to one study and its
	// completion take turns. It is of no key column: that would lock out those
	// who refer to the row, and they may hold what comes next.
	err := tx.QueryRow(ctx, `
		INSERT INTO study (study_uid, patient_row, facility_row, study_date, study_time, accession_number, study_id,
			description, referring_physician, question, received_at, attributes, received_patient, amended, amended_at, modalities)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, nullif($13, 0), $14, CASE WHEN $14 THEN clock_timestamp() END, array_remove(ARRAY[$15], ''))
		ON CONFLICT (study_uid) DO UPDATE SET updated_at = study.updated_at,
			amended = study.amended OR EXCLUDED.amended, amended_at = coalesce(study.amended_at, EXCLUDED.amended_at),
			deleted_at = NULL, received_at = CASE WHEN study.deleted_at IS NULL THEN least(study.received_at, EXCLUDED.received_at) ELSE EXCLUDED.received_at END
		RETURNING id, patient_row, facility_row, completions, EXISTS (SELECT FROM rejection r WHERE r.study_row = study.id)`,
		s.StudyInstanceUID, of.patient, out.FacilityID, text(s.Date, maxCode), text(s.Time, maxCode), identity(s.AccessionNumber), identity(s.StudyID),
		text(s.Description, maxDescription), text(s.ReferringPhysician, maxName), text(s.Question, maxQuestion), s.ReceivedAt, object(s.Attributes),
		of.received, of.amended || a.Amended, text(a.Series.Modality, maxCode)).
		Scan(&out.StudyID, &patient, &facility, &out.Completions, &out.rejects)
	if err != nil {
		return err
	}
	if facility != out.FacilityID {
		return errOtherFacility
	}
	if patient != of.patient {
		return errOtherPatient
	}
	return nil
}

// addPack adds the series, when it is new, and the pack; retired says that the
// pack was there before and is not used any more.
func addPack(ctx context.Context, tx pgx.Tx, a Addition, studyID int64) (seriesID, packID int64, retired bool, err error) {
	e := &a.Series
	err = tx.QueryRow(ctx, `
		WITH of AS (
			INSERT INTO series AS known (study_row, series_uid, modality, number, description, body_part, attributes)
			VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (study_row, series_uid) DO UPDATE SET modality = known.modality
			RETURNING id)
		INSERT INTO pack (key, series_row, bytes, meta_offset, meta_length, described)
		SELECT $8, id, $9, $10, $11, $12 FROM of
		ON CONFLICT (key) DO UPDATE SET bytes = EXCLUDED.bytes
		RETURNING (SELECT id FROM of), id, retired_at IS NOT NULL`,
		studyID, e.SeriesInstanceUID, text(e.Modality, maxCode), e.Number, text(e.Description, maxDescription), text(e.BodyPart, maxCode), object(e.Attributes),
		a.Pack.Key, a.Pack.Bytes, a.Pack.MetaOffset, a.Pack.MetaLength, cmp.Or(a.Pack.Described, len(a.Instances))).Scan(&seriesID, &packID, &retired)
	return seriesID, packID, retired, err
}

// counted is what adding the instances of a pack has changed.
type counted struct {
	added    int     // rows
	bytes    int64   // of those
	fresh    int     // rows of instances that had no version before
	taken    []int64 // series rows from which a later version took an instance away
	restored int     // rows of instances that had lost their pixel data
}

// instancesPerTrip bounds the rows of one statement.
const instancesPerTrip = 1000

func addInstances(ctx context.Context, tx pgx.Tx, instances []NewInstance, studyID, seriesID, packID int64) (counted, error) {
	var c counted
	var there []*NewInstance
	for len(instances) > 0 {
		n := trip(instances)
		part := instances[:n]
		instances = instances[n:]
		before, err := supersede(ctx, tx, part, studyID)
		if err != nil {
			return c, err
		}
		added, err := insertInstances(ctx, tx, part, studyID, seriesID, packID)
		if err != nil {
			return c, err
		}
		for i := range part {
			in := &part[i]
			if !added[in.SOPInstanceUID] {
				there = append(there, in)
				continue
			}
			from, had := before[in.SOPInstanceUID]
			switch {
			case !had:
				c.fresh++
			case from != seriesID:
				c.taken = append(c.taken, from)
			}
			c.added++
			c.bytes += in.Location.Length
		}
	}
	for _, in := range there {
		restored, more, err := reconcile(ctx, tx, in, studyID, packID)
		if err != nil {
			return c, err
		}
		if restored {
			c.restored++
			c.added++
			c.bytes += more
		}
	}
	return c, nil
}

// trip is how many instances go in the next statement: two versions of one
// instance come one after the other.
func trip(instances []NewInstance) int {
	seen := make(map[string]bool, min(len(instances), instancesPerTrip))
	for i := range instances {
		if uid := instances[i].SOPInstanceUID; i < instancesPerTrip && !seen[uid] {
			seen[uid] = true
			continue
		}
		return i
	}
	return len(instances)
}

// supersede marks earlier versions as no longer current and returns the series
// in which they were, by SOP Instance UID.
func supersede(ctx context.Context, tx pgx.Tx, instances []NewInstance, studyID int64) (map[string]int64, error) {
	var uids []string
	var versions []int
	for i := range instances {
		if in := &instances[i]; in.Version > 1 {
			uids, versions = append(uids, in.SOPInstanceUID), append(versions, in.Version)
		}
	}
	if len(uids) == 0 {
		return nil, nil
	}
	rows, err := tx.Query(ctx, `
		UPDATE instance i SET current = false
		FROM unnest($2::text[], $3::int[]) AS later(sop_uid, version)
		WHERE i.study_row = $1 AND i.sop_uid = later.sop_uid AND i.version < later.version AND i.current
		RETURNING i.sop_uid, i.series_row`, studyID, uids, versions)
	if err != nil {
		return nil, err
	}
	before := make(map[string]int64, len(uids))
	var uid string
	var series int64
	_, err = pgx.ForEachRow(rows, []any{&uid, &series}, func() error { before[uid] = series; return nil })
	return before, err
}

// insertInstances adds the rows that are not there and returns their SOP
// Instance UIDs.
func insertInstances(ctx context.Context, tx pgx.Tx, instances []NewInstance, studyID, seriesID, packID int64) (map[string]bool, error) {
	n := len(instances)
	var (
		uids, classes, syntaxes, senders, channels, attributes = make([]string, n), make([]string, n), make([]string, n), make([]string, n), make([]string, n), make([]string, n)
		charsets                                               = make([]string, n)
		versions, rows, columns, frames                        = make([]int, n), make([]int, n), make([]int, n), make([]int, n)
		numbers                                                = make([]*int, n)
		sums                                                   = make([][]byte, n)
		offsets, lengths, datasets                             = make([]int64, n), make([]int64, n), make([]int64, n)
		pixels, deleted, compressed                            = make([]*string, n), make([]*string, n), make([]*string, n)
		frameMaps                                              = make([][]byte, n)
		received                                               = make([]time.Time, n)
	)
	for i := range instances {
		in := &instances[i]
		uids[i], classes[i], syntaxes[i], senders[i], channels[i] = in.SOPInstanceUID, in.SOPClassUID, in.TransferSyntaxUID, text(in.Sender, maxCode), string(in.Channel)
		attributes[i], charsets[i] = string(object(in.Attributes)), text(in.Charset, maxCode)
		versions[i], rows[i], columns[i], frames[i], numbers[i] = in.Version, in.Rows, in.Columns, in.FrameCount, in.Number
		sums[i], received[i] = in.SHA256, in.ReceivedAt
		offsets[i], lengths[i], datasets[i] = in.Location.Offset, in.Location.Length, in.Location.DatasetOffset
		var err error
		if pixels[i], frameMaps[i], err = pixelColumns(in.Location.PixelData); err == nil {
			deleted[i], err = column(in.PixelsDeleted)
		}
		if err == nil {
			compressed[i], err = column(in.Compressed)
		}
		if err != nil {
			return nil, err
		}
	}
	inserted, err := tx.Query(ctx, `
		INSERT INTO instance (study_row, series_row, pack_row, sop_uid, version, sop_class, transfer_syntax, number, rows, columns, frames,
			sha256, pack_offset, length, dataset_offset, pixels, sender, channel, received_at, attributes, pixels_deleted, compressed, charset, frame_map)
		SELECT $1, $2, $3, sop_uid, version, sop_class, transfer_syntax, number, rows, columns, frames,
			sha256, pack_offset, length, dataset_offset, pixels::jsonb, sender, channel, received_at, attributes::jsonb, pixels_deleted::jsonb, compressed::jsonb, charset, frame_map
		FROM unnest($4::text[], $5::int[], $6::text[], $7::text[], $8::int[], $9::int[], $10::int[], $11::int[],
			$12::bytea[], $13::bigint[], $14::bigint[], $15::bigint[], $16::text[], $17::text[], $18::text[], $19::timestamptz[], $20::text[], $21::text[], $22::text[], $23::text[], $24::bytea[])
			AS new(sop_uid, version, sop_class, transfer_syntax, number, rows, columns, frames,
				sha256, pack_offset, length, dataset_offset, pixels, sender, channel, received_at, attributes, pixels_deleted, compressed, charset, frame_map)
		ON CONFLICT (study_row, sop_uid, version) DO NOTHING
		RETURNING sop_uid`,
		studyID, seriesID, packID, uids, versions, classes, syntaxes, numbers, rows, columns, frames,
		sums, offsets, lengths, datasets, pixels, senders, channels, received, attributes, deleted, compressed, charsets, frameMaps)
	if err != nil {
		return nil, err
	}
	added := make(map[string]bool, n)
	var uid string
	_, err = pgx.ForEachRow(inserted, []any{&uid}, func() error { added[uid] = true; return nil })
	return added, err
}

// column is the JSON of what may be absent.
func column[T any](value *T) (*string, error) {
	if value == nil {
		return nil, nil
	}
	b, err := json.Marshal(value)
	text := string(b)
	return &text, err
}

// Complete marks a study complete unless something arrived within quiet. inTx
// runs in the same transaction when it does; left is how long to wait when
// it does not.
func (ix *Index) Complete(ctx context.Context, studyID int64, quiet time.Duration, inTx func(context.Context, pgx.Tx, pacs.Study) error) (left time.Duration, err error) {
	err = pgx.BeginFunc(ctx, ix.pool, func(tx pgx.Tx) error {
		var since float64
		var done bool
		err := tx.QueryRow(ctx, `
			SELECT extract(epoch FROM clock_timestamp() - updated_at)::float8, completed_at IS NOT NULL
			FROM study WHERE id = $1 FOR NO KEY UPDATE`, studyID).Scan(&since, &done)
		if errors.Is(err, pgx.ErrNoRows) || err == nil && done {
			return nil
		}
		if err != nil {
			return err
		}
		if passed := time.Duration(since * float64(time.Second)); passed < quiet {
			left = quiet - passed
			return nil
		}
		if _, err := tx.Exec(ctx, `UPDATE study SET completed_at = clock_timestamp(), completions = completions + 1 WHERE id = $1`, studyID); err != nil {
			return err
		}
		study, err := studyByID(ctx, tx, studyID)
		if err != nil {
			return err
		}
		if err := RecordChange(ctx, tx, Change{Kind: StudyCompleted, FacilityID: study.Facility.ID, StudyUID: study.StudyInstanceUID, Instances: study.InstanceCount}); err != nil {
			return err
		}
		if inTx == nil {
			return nil
		}
		return inTx(ctx, tx, study)
	})
	return left, fail(err)
}
