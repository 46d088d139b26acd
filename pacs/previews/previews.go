package previews

import (
	"context"
	"embed"
	"errors"
	"io"
	"log/slog"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/bytecache"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/pixel"
	"github.com/tasvir-pacs/tasvir/storage"
)

//go:embed migrations/*.sql
var migrations embed.FS

// The longer sides of the pictures, in pixels. A picture is never larger than
// what it shows.
const (
	Small = 160
	Large = 512
)

// Packs reads the archive's bytes.
type Packs interface {
	Open(ctx context.Context, loc pacs.Location, offset, length int64) (io.ReadCloser, error)
}

// Options of Previews. All but Made and Log are required.
type Options struct {
	Index  *index.Index
	Store  storage.Store
	Packs  Packs
	Codecs *pixel.Codecs
	// Made is told of each attempt; err says why there is no picture.
	Made func(err error)
	Log  *slog.Logger
}

// Previews makes and gives pictures. Safe for concurrent use.
type Previews struct {
	o     Options
	cache *bytecache.Cache
}

// keptInMemory bounds the pictures that are kept in memory.
const keptInMemory = 16 << 20

// New brings the tables up to date.
func New(ctx context.Context, o Options) (*Previews, error) {
	if o.Made == nil {
		o.Made = func(error) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := index.Migrate(ctx, o.Index.Pool(), "previews", migrations); err != nil {
		return nil, err
	}
	return &Previews{o: o, cache: bytecache.New(keptInMemory)}, nil
}

func fail(err error) error { return index.Failure("previews", err) }

// place is where the pictures of a series are.
type place struct {
	key          string
	small, large int64
}

// Thumbnail returns the larger of the pictures of a series whose longer side has
// at most size pixels, and at least half of that, as JPEG; and an ETag, without
// quotes, that changes with it. NotFound when there is none, or the series lies
// outside the scope.
func (p *Previews) Thumbnail(ctx context.Context, scope pacs.Scope, studyUID, seriesUID string, size int) (jpeg []byte, etag string, err error) {
	none := pacs.Errorf(pacs.NotFound, "There is no such picture")
	if size < Small || size > 2*Large || size >= 2*Small && size < Large {
		return nil, "", none
	}
	var at place
	// What a later version or a rejection has put out of sight is not shown,
	// though it was when the picture was made.
	err = p.o.Index.Pool().QueryRow(ctx, `
		SELECT p.key, p.small, p.large
		FROM study s JOIN series e ON e.study_row = s.id JOIN preview p ON p.series_row = e.id
		WHERE s.study_uid = $1 AND e.series_uid = $2 AND s.deleted_at IS NULL AND e.has_pixels AND p.key <> ''
			AND ($3 OR s.facility_row = ANY($4))
			AND EXISTS (SELECT FROM instance i WHERE i.study_row = s.id AND i.sop_uid = p.sop_uid AND i.series_row = e.id AND i.current AND i.rejected IS NULL AND i.frames > 0)`,
		studyUID, seriesUID, scope.All, scope.FacilityIDs).Scan(&at.key, &at.small, &at.large)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, "", none
	}
	if err != nil {
		return nil, "", fail(err)
	}
	offset, length, which := int64(0), at.small, "-s"
	if size >= Large {
		offset, length, which = at.small, at.large, "-l"
	}
	jpeg, err = p.cache.Get(ctx, at.key+which, func(ctx context.Context) ([]byte, error) {
		body, err := p.o.Store.Get(ctx, at.key, offset, length)
		if storage.IsNotExist(err) || errors.Is(err, storage.ErrRange) {
			return nil, none // replaced or deleted since
		}
		if err != nil {
			return nil, pacs.Wrap(pacs.Unavailable, err, "The object store does not give a picture at the moment")
		}
		defer func() { _ = body.Close() }()
		b := make([]byte, length)
		_, err = io.ReadFull(body, b)
		return b, err
	})
	return jpeg, tagOf(at.key) + which, err
}
