package index

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// What retention does to rows. Everything here works in the caller's
// transaction, which has looked at the policy, and begins by locking the study:
// receiving, a legal hold and another deletion of the same study wait for its
// end. None of it is done to a study under legal hold, whoever asks.

// ErrHeld is the cause of a Conflict: the study is under legal hold.
var ErrHeld = errors.New("under legal hold")

// LockUnheld locks a study until the transaction ends and makes sure that it
// is there and not under legal hold.
//
//	NotFound  there is no such study, or it is deleted
//	Conflict  ErrHeld
func LockUnheld(ctx context.Context, tx pgx.Tx, studyID int64) error {
	var deleted, held bool
	var uid string
	err := tx.QueryRow(ctx, `SELECT study_uid, deleted_at IS NOT NULL FROM study WHERE id = $1 FOR NO KEY UPDATE`, studyID).Scan(&uid, &deleted)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && deleted {
		return pacs.Errorf(pacs.NotFound, "There is no such study")
	}
	if err != nil {
		return fail(err)
	}
	// A statement of its own: it sees the hold for which the lock has waited.
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM legal_hold WHERE study_uid = $1)`, uid).Scan(&held); err != nil {
		return fail(err)
	}
	if held {
		return pacs.Wrap(pacs.Conflict, ErrHeld, "The study is under legal hold; nothing of it can be deleted or moved until that is lifted").WithReason("held", "")
	}
	return nil
}

// DeleteStudy deletes a study: its instances and series are gone from the
// index, its packs are retired (their objects go when nobody can be reading
// them any more), and its row stays hidden, for reports and tasks. Errors as of
// LockUnheld.
func DeleteStudy(ctx context.Context, tx pgx.Tx, studyID int64) error {
	if err := LockUnheld(ctx, tx, studyID); err != nil {
		return err
	}
	for _, statement := range []string{
		`UPDATE pack SET retired_at = clock_timestamp() WHERE retired_at IS NULL AND series_row IN (SELECT id FROM series WHERE study_row = $1)`,
		`DELETE FROM instance WHERE study_row = $1`,
		`DELETE FROM rejection WHERE study_row = $1`,
		`DELETE FROM series WHERE study_row = $1`,
	} {
		if _, err := tx.Exec(ctx, statement, studyID); err != nil {
			return fail(err)
		}
	}
	var change Change
	err := tx.QueryRow(ctx, `
		WITH before AS (SELECT instance_count FROM study WHERE id = $1)
		UPDATE study SET deleted_at = clock_timestamp(), updated_at = clock_timestamp(), series_count = 0, instance_count = 0, bytes = 0
		WHERE id = $1 RETURNING study_uid, facility_row, (SELECT instance_count FROM before)`, studyID).
		Scan(&change.StudyUID, &change.FacilityID, &change.Instances)
	if err != nil {
		return fail(err)
	}
	change.Kind = StudyDeleted
	return fail(RecordChange(ctx, tx, change))
}

// UnsweptPacks are the keys of a study's packs whose objects may be there; with
// retired only of those that are not in use.
func UnsweptPacks(ctx context.Context, q querier, studyID int64, retired bool) ([]string, error) {
	return collect(ctx, q, `
		SELECT k.key FROM pack k JOIN series e ON e.id = k.series_row
		WHERE e.study_row = $1 AND k.swept_at IS NULL AND (k.retired_at IS NOT NULL OR NOT $2) ORDER BY k.key`, []any{studyID, retired}, pgx.RowTo[string])
}

// StudyPack is a pack in use and the instances in it.
type StudyPack struct {
	Pack
	SeriesID  int64
	Instances []PackedInstance // in the order of their places
}

// PackedInstance is an instance of a pack, of any version.
type PackedInstance struct {
	SOPInstanceUID string
	Version        int
	SHA256         []byte
	Location       pacs.Location
	PixelsDeleted  *pacs.PixelDeletion
	Compressed     *pacs.Compression
}

// HasPixels says whether there is pixel data in it.
func (i *PackedInstance) HasPixels() bool { return i.Location.PixelData != nil }

// PacksOfStudy returns all packs in use that hold instances of a study, of any
// version, oldest first. It is for those who move and rewrite packs, and
// therefore takes no scope.
func PacksOfStudy(ctx context.Context, q querier, studyID int64) ([]StudyPack, error) {
	var packs []StudyPack
	rows, err := q.Query(ctx, `
		SELECT k.id, k.key, k.bytes, k.meta_offset, k.meta_length, k.described, i.series_row,
			i.sop_uid, i.version, i.sha256, i.pack_offset, i.length, i.dataset_offset, i.pixels, i.pixels_deleted, i.compressed
		FROM instance i JOIN pack k ON k.id = i.pack_row
		WHERE i.study_row = $1
		ORDER BY k.id, i.pack_offset`, studyID)
	if err != nil {
		return nil, fail(err)
	}
	defer rows.Close()
	for rows.Next() {
		var p StudyPack
		var i PackedInstance
		var pixels, deleted, compressed []byte
		if err := rows.Scan(&p.ID, &p.Key, &p.Bytes, &p.MetaOffset, &p.MetaLength, &p.Described, &p.SeriesID,
			&i.SOPInstanceUID, &i.Version, &i.SHA256, &i.Location.Offset, &i.Location.Length, &i.Location.DatasetOffset, &pixels, &deleted, &compressed); err != nil {
			return nil, fail(err)
		}
		if err := errors.Join(optional(pixels, &i.Location.PixelData), optional(deleted, &i.PixelsDeleted), optional(compressed, &i.Compressed)); err != nil {
			return nil, pacs.Wrap(pacs.Internal, err, "A row of the index can't be read")
		}
		i.Location.PackID, i.Location.PackKey = p.ID, p.Key
		if n := len(packs); n == 0 || packs[n-1].ID != p.ID {
			packs = append(packs, p)
		}
		last := &packs[len(packs)-1]
		last.Instances = append(last.Instances, i)
	}
	return packs, fail(rows.Err())
}

func optional[T any](column []byte, into **T) error {
	if column == nil {
		return nil
	}
	*into = new(T)
	return json.Unmarshal(column, *into)
}

// PackSwap puts a pack without pixel data in the place of another.
type PackSwap struct {
	Old       int64            // row
	New       Pack             // prepared
	Instances []PackedInstance // all that the old one holds, at their places in the new one
}

// ErrChanged means that a pack is not as the caller knew it; look again.
var ErrChanged = errors.New("the pack was changed meanwhile")

// DeletePixels makes packs without pixel data take the place of those that a
// study had, and retires those. Errors as of LockUnheld, and ErrChanged.
func DeletePixels(ctx context.Context, tx pgx.Tx, studyID int64, swaps []PackSwap) error {
	if err := LockUnheld(ctx, tx, studyID); err != nil {
		return err
	}
	deleted := 0
	for _, swap := range swaps {
		n, err := swapPack(ctx, tx, studyID, swap)
		if err != nil {
			return err
		}
		deleted += n
	}
	var left bool
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM instance WHERE study_row = $1 AND pixels IS NOT NULL)`, studyID).Scan(&left); err != nil {
		return fail(err)
	}
	if left {
		return ErrChanged
	}
	if _, err := tx.Exec(ctx, `UPDATE series SET has_pixels = false WHERE study_row = $1 AND has_pixels`, studyID); err != nil {
		return fail(err)
	}
	change := Change{Kind: PixelsDeleted, Instances: deleted}
	err := tx.QueryRow(ctx, `
		UPDATE study SET updated_at = clock_timestamp(), bytes = (SELECT coalesce(sum(length), 0) FROM instance WHERE study_row = $1)
		WHERE id = $1 RETURNING study_uid, facility_row`, studyID).Scan(&change.StudyUID, &change.FacilityID)
	if err != nil {
		return fail(err)
	}
	return fail(RecordChange(ctx, tx, change))
}

// usePack brings a prepared pack into use. ErrChanged when that took too long.
func usePack(ctx context.Context, tx pgx.Tx, id int64) error {
	tag, err := tx.Exec(ctx, `UPDATE pack SET retired_at = NULL WHERE id = $1 AND retired_at > clock_timestamp()`, id)
	if err == nil && tag.RowsAffected() != 1 {
		return ErrChanged
	}
	return fail(err)
}

// retirePack retires a pack in use. ErrChanged when it isn't, or an instance is
// in it still.
func retirePack(ctx context.Context, tx pgx.Tx, studyID, id int64) error {
	tag, err := tx.Exec(ctx, `
		UPDATE pack SET retired_at = clock_timestamp() WHERE id = $2 AND retired_at IS NULL
			AND NOT EXISTS (SELECT FROM instance WHERE study_row = $1 AND pack_row = $2)`, studyID, id)
	if err == nil && tag.RowsAffected() != 1 {
		return ErrChanged
	}
	return fail(err)
}

// swapPack returns how many instances have lost their pixel data.
func swapPack(ctx context.Context, tx pgx.Tx, studyID int64, swap PackSwap) (deleted int, err error) {
	if err := usePack(ctx, tx, swap.New.ID); err != nil {
		return 0, err
	}
	var batch pgx.Batch
	for _, i := range swap.Instances {
		var gone []byte
		if i.PixelsDeleted != nil {
			if gone, err = json.Marshal(i.PixelsDeleted); err != nil {
				return 0, err
			}
			deleted++
		}
		batch.Queue(`
			UPDATE instance SET pack_row = $5, pack_offset = $6, length = $7, dataset_offset = $8, sha256 = $9, pixels = NULL,
				frame_map = NULL, frames = 0, pixels_deleted = $10
			WHERE study_row = $1 AND sop_uid = $2 AND version = $3 AND pack_row = $4`,
			studyID, i.SOPInstanceUID, i.Version, swap.Old, swap.New.ID, i.Location.Offset, i.Location.Length, i.Location.DatasetOffset, i.SHA256, gone)
	}
	results := tx.SendBatch(ctx, &batch)
	for range swap.Instances {
		tag, err := results.Exec()
		if err == nil && tag.RowsAffected() != 1 {
			err = ErrChanged
		}
		if err != nil {
			return 0, failChanged(errors.Join(err, results.Close()))
		}
	}
	if err := results.Close(); err != nil {
		return 0, fail(err)
	}
	return deleted, retirePack(ctx, tx, studyID, swap.Old)
}

func failChanged(err error) error {
	if errors.Is(err, ErrChanged) {
		return ErrChanged
	}
	return fail(err)
}

// MovePack makes a prepared copy of a pack take its place. The old object stays
// until nobody can be reading it any more. Errors as of LockUnheld, and
// ErrChanged.
func MovePack(ctx context.Context, tx pgx.Tx, studyID, from, to int64) error {
	if err := LockUnheld(ctx, tx, studyID); err != nil {
		return err
	}
	if err := usePack(ctx, tx, to); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `UPDATE instance SET pack_row = $3 WHERE study_row = $1 AND pack_row = $2`, studyID, from, to); err != nil {
		return fail(err)
	}
	return retirePack(ctx, tx, studyID, from)
}

// reconcile looks at an instance that can't be added because there is a row of
// this version. It is the same instance when what was received is: then nothing
// changes, unless a policy has deleted the pixel data, which the new one has;
// that is undone; or it was rejected because its retention had expired: then it
// is received anew. Anything else is ErrRaced. more is how many bytes the instance
// has more than before.
func reconcile(ctx context.Context, tx pgx.Tx, in *NewInstance, studyID, packID int64) (restored bool, more int64, err error) {
	var received, kept []byte
	var deleted, expired bool
	var length, old int64
	if err := tx.QueryRow(ctx, `SELECT `+ReceivedHash+`, sha256, pixels_deleted IS NOT NULL, coalesce(rejected = $4, false) AND received_at < $5, length, pack_row
		FROM instance i WHERE study_row = $1 AND sop_uid = $2 AND version = $3`,
		studyID, in.SOPInstanceUID, in.Version, string(pacs.RetentionExpired), in.ReceivedAt).Scan(&received, &kept, &deleted, &expired, &length, &old); err != nil {
		return false, 0, err
	}
	switch {
	case !expired && bytes.Equal(kept, in.SHA256):
		return false, 0, nil
	case !bytes.Equal(received, in.ReceivedSHA256()):
		return false, 0, ErrRaced
	case !expired && !deleted || in.PixelsDeleted != nil:
		return false, 0, nil
	}
	pixels, frameMap, err := pixelColumns(in.Location.PixelData)
	if err != nil {
		return false, 0, err
	}
	compressed, err := column(in.Compressed)
	if err != nil {
		return false, 0, err
	}
	_, err = tx.Exec(ctx, `
		UPDATE instance SET pack_row = $4, pack_offset = $5, length = $6, dataset_offset = $7, sha256 = $8, pixels = $9,
			frames = $10, transfer_syntax = $11, compressed = $12, charset = $13, frame_map = $14, pixels_deleted = NULL,
			received_at = CASE WHEN $15 THEN $16 ELSE received_at END
		WHERE study_row = $1 AND sop_uid = $2 AND version = $3`,
		studyID, in.SOPInstanceUID, in.Version, packID, in.Location.Offset, in.Location.Length, in.Location.DatasetOffset, in.SHA256, pixels, in.FrameCount,
		in.TransferSyntaxUID, compressed, text(in.Charset, maxCode), frameMap, expired, in.ReceivedAt)
	if err != nil {
		return false, 0, err
	}
	return true, in.Location.Length - length, retireUnused(ctx, tx, studyID, old)
}
