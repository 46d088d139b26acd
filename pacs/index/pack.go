package index

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// What is here is for the archive's own work on its packs and shows nobody
// anything, so it takes no scope.
//
// A pack's row goes one way: prepared (retired_at lies in the future), in use
// (none), retired (in the past), swept (its object is deleted), gone. Only a
// prepared pack can come into use; a retired one never does again, which is
// why its object can be deleted without asking anybody.

// StoredSeries is what the index knows of where a series is kept.
type StoredSeries struct {
	SeriesID, StudyID   int64
	StudyUID, SeriesUID string
	FacilityID          int64
	Facility            string // code
	Held                bool   // under legal hold
	Packs               map[int64]Pack
	// Instances are all versions: the current ones by instance number and UID,
	// then those they have superseded.
	Instances []StoredInstance
}

// StoredInstance is one version of an instance.
type StoredInstance struct {
	SOPInstanceUID string
	Version        int
	Current        bool
	SHA256         []byte // of the data set without file meta
	PackID         int64
	Offset         int64 // of the PS3.10 file in the pack
	Length         int64
	DatasetOffset  int64 // of the data set in the file
	// What is kept: its transfer syntax, whether there is pixel data in it, and
	// what has become of it since it was received.
	TransferSyntaxUID string
	HasPixels         bool
	PixelsDeleted     *pacs.PixelDeletion
	Compressed        *pacs.Compression
}

// SeriesOf returns the series of a study by row, and how often the study has
// been completed. Empty when there is no such study.
func (ix *Index) SeriesOf(ctx context.Context, studyID int64) (series []int64, completions int, err error) {
	err = ix.pool.QueryRow(ctx, `
		SELECT completions, ARRAY(SELECT id FROM series WHERE study_row = $1 ORDER BY id) FROM study WHERE id = $1`, studyID).Scan(&completions, &series)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, 0, nil
	}
	return series, completions, fail(err)
}

// StoredSeries returns where a series is kept. NotFound when it is gone.
func (ix *Index) StoredSeries(ctx context.Context, seriesID int64) (*StoredSeries, error) {
	s := &StoredSeries{SeriesID: seriesID, Packs: map[int64]Pack{}}
	// One snapshot of both tables.
	err := pgx.BeginTxFunc(ctx, ix.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `
			SELECT s.id, s.study_uid, e.series_uid, f.id, f.code, EXISTS (SELECT FROM legal_hold h WHERE h.study_uid = s.study_uid)
			FROM series e JOIN study s ON s.id = e.study_row JOIN facility f ON f.id = s.facility_row WHERE e.id = $1`, seriesID).
			Scan(&s.StudyID, &s.StudyUID, &s.SeriesUID, &s.FacilityID, &s.Facility, &s.Held)
		if errors.Is(err, pgx.ErrNoRows) {
			return pacs.Errorf(pacs.NotFound, "There is no such series")
		}
		if err != nil {
			return err
		}
		s.Instances, err = collect(ctx, tx, `
			SELECT sop_uid, version, current, sha256, pack_row, pack_offset, length, dataset_offset,
				transfer_syntax, pixels IS NOT NULL, pixels_deleted, compressed FROM instance
			WHERE study_row = $1 AND series_row = $2
			ORDER BY NOT current, coalesce(number, 0), sop_uid COLLATE "C", version`, []any{s.StudyID, seriesID},
			func(row pgx.CollectableRow) (i StoredInstance, err error) {
				var deleted, compressed []byte
				err = row.Scan(&i.SOPInstanceUID, &i.Version, &i.Current, &i.SHA256, &i.PackID, &i.Offset, &i.Length, &i.DatasetOffset,
					&i.TransferSyntaxUID, &i.HasPixels, &deleted, &compressed)
				if err == nil {
					err = errors.Join(optional(deleted, &i.PixelsDeleted), optional(compressed, &i.Compressed))
				}
				return i, err
			})
		if err != nil {
			return err
		}
		ids := map[int64]bool{}
		for _, i := range s.Instances {
			ids[i.PackID] = true
		}
		var list []int64
		for id := range ids {
			list = append(list, id)
		}
		packs, err := collect(ctx, tx, `SELECT id, key, bytes, meta_offset, meta_length, described FROM pack WHERE id = ANY($1)`, []any{list}, scanPack)
		for _, p := range packs {
			s.Packs[p.ID] = p
		}
		return err
	})
	return s, fail(err)
}

func scanPack(row pgx.CollectableRow) (p Pack, err error) {
	err = row.Scan(&p.ID, &p.Key, &p.Bytes, &p.MetaOffset, &p.MetaLength, &p.Described)
	return p, err
}

// PreparePack makes the row of a pack that is about to be stored and that
// SwapPacks brings into use within a time; a pack that does not come into use
// is swept like one that was retired. ErrRetired when there is a row with this
// key already.
func (ix *Index) PreparePack(ctx context.Context, seriesID int64, p Pack, within time.Duration) (id int64, err error) {
	err = ix.pool.QueryRow(ctx, `
		INSERT INTO pack (key, series_row, bytes, meta_offset, meta_length, described, retired_at)
		VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp() + $7::interval)
		ON CONFLICT (key) DO NOTHING RETURNING id`,
		p.Key, seriesID, p.Bytes, p.MetaOffset, p.MetaLength, p.Described, within).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, ErrRetired
	}
	return id, fail(err)
}

// Swap moves instances of a series to a prepared pack.
type Swap struct {
	Series *StoredSeries // as it was read
	PackID int64         // prepared
	// Offsets are the places of Series.Instances in the new pack.
	Offsets []int64
	// Compressed are those of Series.Instances, by their place there, that are
	// compressed in the new pack. Of each it has what the compression changes:
	// SHA256, TransferSyntaxUID, Location (but for its place) and Compressed.
	Compressed map[int]*pacs.Instance
}

// SwapPacks brings a prepared pack into use and retires those that are not
// used any more, in one transaction. What came in the meantime stays where it
// is. ErrRaced when an instance is not where it was, or is compressed and under
// legal hold by now: nothing has changed then.
func (ix *Index) SwapPacks(ctx context.Context, s Swap) error {
	n := len(s.Series.Instances)
	sops, versions, from, offsets := make([]string, n), make([]int32, n), make([]int64, n), make([]int64, n)
	old := map[int64]bool{}
	for i, in := range s.Series.Instances {
		sops[i], versions[i], from[i], offsets[i] = in.SOPInstanceUID, int32(in.Version), in.PackID, in.Offset
		old[in.PackID] = true
	}
	var packs []int64
	for id := range old {
		packs = append(packs, id)
	}
	slices.Sort(packs) // locked in one order
	err := pgx.BeginFunc(ctx, ix.pool, func(tx pgx.Tx) error {
		// Additions to the study wait, as for one another.
		var facility int64
		err := tx.QueryRow(ctx, `SELECT facility_row FROM study WHERE id = $1 FOR NO KEY UPDATE`, s.Series.StudyID).Scan(&facility)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrRaced
		}
		if err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `
			UPDATE instance i SET pack_row = $3, pack_offset = m.to_offset
			FROM unnest($4::text[], $5::int[], $6::bigint[], $7::bigint[], $8::bigint[]) AS m (sop_uid, version, from_pack, from_offset, to_offset)
			WHERE i.study_row = $1 AND i.series_row = $2 AND i.sop_uid = m.sop_uid AND i.version = m.version
				AND i.pack_row = m.from_pack AND i.pack_offset = m.from_offset`,
			s.Series.StudyID, s.Series.SeriesID, s.PackID, sops, versions, from, offsets, s.Offsets)
		if err != nil {
			return err
		}
		if tag.RowsAffected() != int64(n) {
			return ErrRaced
		}
		if err := s.compress(ctx, tx); err != nil {
			return err
		}
		tag, err = tx.Exec(ctx, `UPDATE pack SET retired_at = NULL WHERE id = $1 AND retired_at > clock_timestamp()`, s.PackID)
		if err != nil {
			return err
		}
		if tag.RowsAffected() != 1 {
			return ErrRaced // it took too long
		}
		if _, err := tx.Exec(ctx, `
			UPDATE pack k SET retired_at = clock_timestamp()
			WHERE k.id = ANY($2) AND k.retired_at IS NULL
				AND NOT EXISTS (SELECT FROM instance i WHERE i.study_row = $1 AND i.pack_row = k.id)`, s.Series.StudyID, packs); err != nil {
			return err
		}
		return RecordChange(ctx, tx, Change{
			Kind: SeriesMerged, FacilityID: facility, StudyUID: s.Series.StudyUID, SeriesUID: s.Series.SeriesUID, Instances: n,
		})
	})
	return fail(err)
}

// compress notes what is compressed in the new pack, after the rows have moved
// there.
func (s *Swap) compress(ctx context.Context, tx pgx.Tx) error {
	n := len(s.Compressed)
	if n == 0 {
		return nil
	}
	var (
		sops, syntaxes, pixels, compressed = make([]string, 0, n), make([]string, 0, n), make([]*string, 0, n), make([]*string, 0, n)
		versions                           = make([]int32, 0, n)
		sums, frameMaps                    = make([][]byte, 0, n), make([][]byte, 0, n)
		lengths, datasets                  = make([]int64, 0, n), make([]int64, 0, n)
		saved                              int64
	)
	for at, to := range s.Compressed {
		from := s.Series.Instances[at]
		px, frameMap, err := pixelColumns(to.Location.PixelData)
		if err != nil {
			return err
		}
		how, err := column(to.Compressed)
		if err != nil {
			return err
		}
		sops, versions, sums = append(sops, from.SOPInstanceUID), append(versions, int32(from.Version)), append(sums, to.SHA256)
		syntaxes, pixels, compressed = append(syntaxes, to.TransferSyntaxUID), append(pixels, px), append(compressed, how)
		frameMaps = append(frameMaps, frameMap)
		lengths, datasets = append(lengths, to.Location.Length), append(datasets, to.Location.DatasetOffset)
		saved += from.Length - to.Location.Length
	}
	// The study is locked: a hold has come before, or waits.
	var held bool
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM legal_hold WHERE study_uid = $1)`, s.Series.StudyUID).Scan(&held); err != nil {
		return err
	}
	if held {
		return ErrRaced
	}
	tag, err := tx.Exec(ctx, `
		UPDATE instance i SET sha256 = c.sha256, transfer_syntax = c.transfer_syntax, length = c.length, dataset_offset = c.dataset_offset,
			pixels = c.pixels::jsonb, frame_map = c.frame_map, compressed = c.compressed::jsonb
		FROM unnest($3::text[], $4::int[], $5::bytea[], $6::text[], $7::bigint[], $8::bigint[], $9::text[], $10::text[], $11::bytea[])
			AS c (sop_uid, version, sha256, transfer_syntax, length, dataset_offset, pixels, compressed, frame_map)
		WHERE i.study_row = $1 AND i.pack_row = $2 AND i.sop_uid = c.sop_uid AND i.version = c.version`,
		s.Series.StudyID, s.PackID, sops, versions, sums, syntaxes, lengths, datasets, pixels, compressed, frameMaps)
	if err != nil {
		return err
	}
	if tag.RowsAffected() != int64(n) {
		return ErrRaced
	}
	_, err = tx.Exec(ctx, `UPDATE study SET bytes = bytes - $2 WHERE id = $1`, s.Series.StudyID, saved)
	return err
}

// AbandonPack retires a prepared pack that will not come into use.
func (ix *Index) AbandonPack(ctx context.Context, id int64) error {
	_, err := ix.pool.Exec(ctx, `UPDATE pack SET retired_at = clock_timestamp() WHERE id = $1 AND retired_at > clock_timestamp()`, id)
	return fail(err)
}

// SetMerged notes that a study's packs are merged as of one of its completions.
func (ix *Index) SetMerged(ctx context.Context, studyID int64, completions int) error {
	_, err := ix.pool.Exec(ctx, `UPDATE study SET merged = $2 WHERE id = $1 AND merged < $2`, studyID, completions)
	return fail(err)
}

// CompletedStudy names a completion of a study.
type CompletedStudy struct {
	StudyID     int64
	Completions int
}

// Unmerged returns studies that have been complete for longer than since and
// whose packs are not merged, those that wait the longest first.
func (ix *Index) Unmerged(ctx context.Context, since time.Duration, limit int) ([]CompletedStudy, error) {
	return collect(ctx, ix.pool, `
		SELECT id, completions FROM study
		WHERE merged < completions AND completed_at IS NOT NULL AND completed_at < clock_timestamp() - $1::interval
		ORDER BY completed_at LIMIT $2`, []any{since, limit}, func(row pgx.CollectableRow) (s CompletedStudy, err error) {
		err = row.Scan(&s.StudyID, &s.Completions)
		return s, err
	})
}

// retireUnused retires a pack that no instance is in: all that it brought was
// there already.
func retireUnused(ctx context.Context, tx pgx.Tx, studyID, packID int64) error {
	_, err := tx.Exec(ctx, `
		UPDATE pack k SET retired_at = clock_timestamp()
		WHERE k.id = $2 AND k.retired_at IS NULL
			AND NOT EXISTS (SELECT FROM instance i WHERE i.study_row = $1 AND i.pack_row = k.id)`, studyID, packID)
	return err
}

// RetiredPacks returns packs that were retired longer ago than grace, whose
// objects are still to be deleted and that no instance is in.
func (ix *Index) RetiredPacks(ctx context.Context, grace time.Duration, limit int) ([]Pack, error) {
	return collect(ctx, ix.pool, `
		SELECT k.id, k.key, k.bytes, k.meta_offset, k.meta_length, k.described FROM pack k
		WHERE k.retired_at < clock_timestamp() - $1::interval AND k.swept_at IS NULL
			AND NOT EXISTS (SELECT FROM series e JOIN instance i ON i.study_row = e.study_row WHERE e.id = k.series_row AND i.pack_row = k.id)
		ORDER BY k.retired_at LIMIT $2`, []any{grace, limit}, scanPack)
}

// SetSwept notes that the objects of retired packs are deleted.
func (ix *Index) SetSwept(ctx context.Context, ids []int64) error {
	_, err := ix.pool.Exec(ctx, `UPDATE pack SET swept_at = clock_timestamp() WHERE id = ANY($1)`, ids)
	return fail(err)
}

// ForgetSwept deletes the rows of packs whose objects were deleted longer ago
// than age. Until then they keep their keys from being used again: who has
// stored an object just before it was deleted must not index it just after.
func (ix *Index) ForgetSwept(ctx context.Context, age time.Duration) error {
	_, err := ix.pool.Exec(ctx, `DELETE FROM pack WHERE retired_at IS NOT NULL AND swept_at < clock_timestamp() - $1::interval`, age)
	return fail(err)
}

// UnknownPacks returns those of the keys that no pack has or had lately.
func (ix *Index) UnknownPacks(ctx context.Context, keys []string) ([]string, error) {
	return collect(ctx, ix.pool, `
		SELECT key FROM unnest($1::text[]) key WHERE NOT EXISTS (SELECT FROM pack k WHERE k.key = key.key)`, []any{keys}, pgx.RowTo[string])
}

// RetireObject makes the row of a retired pack for an object that belongs to
// none, so that it is deleted like one. It does nothing when there is a row by
// now.
func (ix *Index) RetireObject(ctx context.Context, key string, bytes int64) error {
	_, err := ix.pool.Exec(ctx, `
		INSERT INTO pack (key, bytes, meta_offset, meta_length, retired_at) VALUES ($1, $2, 0, 0, clock_timestamp())
		ON CONFLICT (key) DO NOTHING`, key, bytes)
	return fail(err)
}
