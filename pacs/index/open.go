package index

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
	"github.com/pressly/goose/v3/lock"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/bytecache"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Index is a handle on the archive's database. Safe for concurrent use.
type Index struct {
	pool     *pgxpool.Pool
	patients Remembered[float64] // how many there are, about
	totals   Remembered[Totals]

	frameMaps *bytecache.Cache
}

// Open connects to the database at url (libpq form) and migrates the archive's
// tables. Unavailable when the server can't be reached.
func Open(ctx context.Context, url string) (*Index, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, pacs.Wrap(pacs.Invalid, err, "The database address can't be read; it looks like postgres://user@host/name")
	}
	if config.MaxConns < 16 {
		config.MaxConns = 16
	}
	config.AfterConnect = plainPlans
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, pacs.Wrap(pacs.Unavailable, err, "The database can't be reached")
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, pacs.Wrap(pacs.Unavailable, err, "The database does not answer")
	}
	ix := &Index{pool: pool, frameMaps: bytecache.New(frameMapsKept)}
	if err := Migrate(ctx, pool, "archive", migrations); err != nil {
		pool.Close()
		return nil, err
	}
	if err := ix.newEra(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	return ix, nil
}

// plainPlans has a connection plan each statement for its values: what is best
// for a rare name is a hundred times too slow for a common one, and one plan
// for both is what PostgreSQL would make of a statement that it has seen five
// times. Compiling plans takes longer than running ours.
func plainPlans(ctx context.Context, c *pgx.Conn) error {
	_, err := c.Exec(ctx, `SET plan_cache_mode = force_custom_plan; SET jit = off`)
	return err
}

// Pool is the connection pool, for the packages that keep their own tables in
// the same database.
func (ix *Index) Pool() *pgxpool.Pool { return ix.pool }

// Close waits for running queries and closes all connections.
func (ix *Index) Close() { ix.pool.Close() }

// Ping says whether the database answers.
func (ix *Index) Ping(ctx context.Context) error {
	if err := ix.pool.Ping(ctx); err != nil {
		return pacs.Wrap(pacs.Unavailable, err, "The database does not answer")
	}
	return nil
}

// Migrate applies the goose migrations in the folder "migrations" of files.
// owner names the package the tables belong to; each owner has a version table
// of its own (schema_version_OWNER). Concurrent nodes wait for one another.
func Migrate(ctx context.Context, pool *pgxpool.Pool, owner string, files fs.FS) error {
	sub, err := fs.Sub(files, "migrations")
	if err != nil {
		return fmt.Errorf("migrations of %s: %w", owner, err)
	}
	db := stdlib.OpenDBFromPool(pool)
	defer func(db *sql.DB) { _ = db.Close() }(db)
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return fmt.Errorf("migrations of %s: %w", owner, err)
	}
	store, err := database.NewStore(database.DialectPostgres, "schema_version_"+owner)
	if err != nil {
		return fmt.Errorf("migrations of %s: %w", owner, err)
	}
	provider, err := goose.NewProvider("", db, sub, goose.WithStore(store), goose.WithSessionLocker(locker))
	if err != nil {
		return fmt.Errorf("migrations of %s: %w", owner, err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return pacs.Wrap(pacs.Internal, err, "The database schema of "+owner+" can't be brought up to date")
	}
	return nil
}
