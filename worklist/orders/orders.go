package orders

import (
	"context"
	"embed"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/events"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/worklist"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Orders keeps imaging orders. Safe for concurrent use.
type Orders struct {
	// Entered, when set, is called in the transaction that enters an order.
	Entered func(ctx context.Context, tx pgx.Tx, id string) error

	index *index.Index
	pool  *pgxpool.Pool
}

// New brings the tables up to date. Those of the index must be there.
func New(ctx context.Context, ix *index.Index) (*Orders, error) {
	if err := index.Migrate(ctx, ix.Pool(), "orders", migrations); err != nil {
		return nil, err
	}
	return &Orders{index: ix, pool: ix.Pool()}, nil
}

func noSuchOrder() error { return pacs.Errorf(pacs.NotFound, "There is no such order") }

// Object is how the audit trail names an order.
func Object(id string) string { return "order:" + id }

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// inTx runs work in a transaction; its error, or the database's, is in the
// archive's words.
func (o *Orders) inTx(ctx context.Context, work func(tx pgx.Tx) error) error {
	return worklist.Failure(pgx.BeginFunc(ctx, o.pool, work))
}

// must returns Forbidden unless the caller may do action.
func must(by *access.Identity, action access.Action) error {
	if by.Can(action) {
		return nil
	}
	return pacs.Errorf(pacs.Forbidden, "Your roles don't allow this (%s). Ask an administrator", action)
}

// record writes a line of an order's history and tells the clients.
func record(ctx context.Context, tx pgx.Tx, id string, facility int64, who, what, why string) error {
	if _, err := tx.Exec(ctx, `INSERT INTO order_event (order_id, who, what, why) VALUES ($1, $2, $3, $4)`, id, who, what, why); err != nil {
		return err
	}
	return events.Notify(ctx, tx, events.Event{Type: events.Order, Data: map[string]string{"id": id}, Facility: facility})
}
