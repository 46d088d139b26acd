package index

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// Version is one of the contents that came under a SOP Instance UID.
type Version struct {
	SeriesUID      string
	SOPInstanceUID string
	FacilityID     int64
	Version        int // 1 came first
	Current        bool
	SHA256         []byte // of the data set without file meta, as it is kept
	Sender         string
	Channel        pacs.Channel
	ReceivedAt     time.Time
	Location       pacs.Location // without PixelData
	// How it is kept. SHA256 and Location are of that.
	TransferSyntaxUID string
	PixelsDeleted     *pacs.PixelDeletion
	Compressed        *pacs.Compression
}

const versionColumns = `
	e.series_uid, i.sop_uid, s.facility_row, i.version, i.current, i.sha256, i.sender, i.channel,
	i.received_at, k.id, k.key, i.pack_offset, i.length, i.dataset_offset,
	i.transfer_syntax, i.pixels_deleted, i.compressed`

const versionTables = `
	study s JOIN instance i ON i.study_row = s.id JOIN series e ON e.id = i.series_row JOIN pack k ON k.id = i.pack_row`

func scanVersion(row pgx.CollectableRow) (v Version, err error) {
	var deleted, compressed []byte
	err = row.Scan(&v.SeriesUID, &v.SOPInstanceUID, &v.FacilityID, &v.Version, &v.Current, &v.SHA256, &v.Sender, &v.Channel,
		&v.ReceivedAt, &v.Location.PackID, &v.Location.PackKey, &v.Location.Offset, &v.Location.Length, &v.Location.DatasetOffset,
		&v.TransferSyntaxUID, &deleted, &compressed)
	if err == nil {
		err = errors.Join(optional(deleted, &v.PixelsDeleted), optional(compressed, &v.Compressed))
	}
	return v, err
}

// Versions returns all versions of those instances of a study that came with
// different bytes, by UID and version. NotFound when the study is absent or out
// of scope.
func (ix *Index) Versions(ctx context.Context, scope pacs.Scope, studyUID string) ([]Version, error) {
	if _, err := ix.Study(ctx, scope, studyUID); err != nil {
		return nil, err
	}
	var c conditions
	c.scope(scope, "s.facility_row")
	c.oneOf("s.study_uid", []string{studyUID})
	return collect(ctx, ix.pool, `
		SELECT `+versionColumns+` FROM `+versionTables+`
		WHERE `+c.where()+` AND EXISTS (SELECT FROM instance o WHERE o.study_row = s.id AND o.sop_uid = i.sop_uid AND o.version <> i.version)
		ORDER BY i.sop_uid COLLATE "C", i.version`, c.args, scanVersion)
}

// Version returns one version of an instance. NotFound when it is absent or out
// of scope.
func (ix *Index) Version(ctx context.Context, scope pacs.Scope, studyUID, sopUID string, version int) (Version, error) {
	var c conditions
	c.scope(scope, "s.facility_row")
	c.oneOf("s.study_uid", []string{studyUID})
	c.oneOf("i.sop_uid", []string{sopUID})
	c.number("i.version", &version)
	found, err := collect(ctx, ix.pool, `SELECT `+versionColumns+` FROM `+versionTables+` WHERE `+c.where(), c.args, scanVersion)
	if err != nil {
		return Version{}, err
	}
	if len(found) == 0 {
		return Version{}, pacs.Errorf(pacs.NotFound, "There is no such version")
	}
	return found[0], nil
}
