package patients

import (
	"context"
	"embed"
	"errors"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/storage"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Patients does what administrators do to patients. Safe for concurrent use.
type Patients struct {
	index *index.Index
	pool  *pgxpool.Pool
	store storage.Store
	log   *slog.Logger
}

// New brings the package's tables up to date. The tables of package access
// must be there.
func New(ctx context.Context, ix *index.Index, store storage.Store, log *slog.Logger) (*Patients, error) {
	if err := index.Migrate(ctx, ix.Pool(), "patients", migrations); err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Patients{index: ix, pool: ix.Pool(), store: store, log: log}, nil
}

// failure is index.Failure, with what there is to say of patients; whoever ends
// a request learns that it ended.
func failure(err error) error {
	var own *pacs.Error
	var refused *pgconn.PgError
	switch {
	case errors.As(err, &own), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, pgx.ErrNoRows):
		return pacs.Errorf(pacs.NotFound, "There is no such thing here")
	case errors.As(err, &refused) && (refused.Code == "22021" || refused.Code == "22P05"):
		return pacs.Wrap(pacs.Invalid, err, "The text has characters that can't be kept")
	}
	return index.Failure("patients", err)
}
