package worklist

import (
	"context"
	"embed"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Worklist keeps reading groups, routing rules and reading tasks. Safe for
// concurrent use.
type Worklist struct {
	// Requests, when set, tells what the orders of studies ask.
	Requests Requests
	// Moved, when set, is called in the transaction in which a task was made or
	// its state has changed, with its row locked.
	Moved func(ctx context.Context, tx pgx.Tx, task string) error

	index *index.Index
	pool  *pgxpool.Pool
}

// New brings the worklist's tables up to date. The tables of package access
// must be there.
func New(ctx context.Context, ix *index.Index) (*Worklist, error) {
	if err := index.Migrate(ctx, ix.Pool(), "worklist", migrations); err != nil {
		return nil, err
	}
	return &Worklist{index: ix, pool: ix.Pool()}, nil
}

// Index is the archive's index that the tasks' studies are in.
func (w *Worklist) Index() *index.Index { return w.index }

// IsID tells whether s is the id of a task or a report. Anything else is the id
// of nothing.
func IsID(s string) bool { return len(s) == 36 && uuid.Validate(s) == nil }

// Failure is index.Failure. Unique and foreign keys that a caller can violate
// become Conflict and NotFound with a message of the caller's kind.
func Failure(err error) error {
	var own *pacs.Error
	if errors.As(err, &own) {
		return err
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return pacs.Errorf(pacs.NotFound, "There is no such thing here")
	}
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		switch refused.Code {
		case "23505":
			return pacs.Wrap(pacs.Conflict, err, "There is one of that name already")
		case "23503":
			return pacs.Wrap(pacs.Conflict, err, "It is still in use, or refers to something that does not exist")
		case "22P02":
			return pacs.Wrap(pacs.NotFound, err, "There is no such thing here")
		case "22021":
			return pacs.Wrap(pacs.Invalid, err, "The text has characters that can't be kept (NUL, or bytes that are not UTF-8)")
		}
	}
	return index.Failure("worklist", err)
}
