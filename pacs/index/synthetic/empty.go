package synthetic

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// filled are the tables that studies go to.
const filled = `patient, study, series, pack, instance`

// lockPatience is how long others may keep the tables from us.
var lockPatience = 20 * time.Second

// fillEmpty fills an index that is empty, in one transaction; empty says
// whether it was.
//
//	Unavailable   others are using the tables
func (f *filler) fillEmpty(ctx context.Context) (empty bool, err error) {
	err = pgx.BeginFunc(ctx, f.pool, func(tx pgx.Tx) error {
		const isEmpty = `SELECT NOT EXISTS (SELECT FROM patient) AND NOT EXISTS (SELECT FROM study)`
		if err := tx.QueryRow(ctx, isEmpty).Scan(&empty); err != nil || !empty {
			return err
		}
		if _, err := tx.Exec(ctx, fmt.Sprintf(`SET LOCAL lock_timeout = %d; LOCK TABLE %s IN ACCESS EXCLUSIVE MODE; SET LOCAL lock_timeout = 0`,
			lockPatience.Milliseconds(), filled)); err != nil {
			return occupied(err)
		}
		if err := tx.QueryRow(ctx, isEmpty).Scan(&empty); err != nil || !empty {
			return err
		}
		if _, err := hurry(ctx, tx.Conn(), "SET LOCAL", "maintenance_work_mem = '512MB'", "max_parallel_maintenance_workers = 2"); err != nil {
			return err
		}
		if err := f.prepare(ctx, tx); err != nil {
			return err
		}
		aside, err := putAside(ctx, tx)
		if err != nil {
			return err
		}
		if err := f.write(ctx, func(ctx context.Context, parts <-chan *part) error {
			for p := range parts {
				if err := p.send(ctx, tx.Conn()); err != nil {
					return err
				}
				f.written(p.things)
			}
			return ctx.Err()
		}); err != nil {
			return err
		}
		for n, a := range aside {
			f.Progress("indexes", n, len(aside))
			if _, err := tx.Exec(ctx, a.build); err != nil {
				return fmt.Errorf("%s: %w", a.name, err)
			}
		}
		f.Progress("indexes", len(aside), len(aside))
		return nil
	})
	return empty, err
}

func occupied(err error) error {
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == "55P03" {
		return pacs.Wrap(pacs.Unavailable, err, "others are using the index: stop them, or try again")
	}
	return err
}

// secondary is an index, or the unique constraint that it is for.
type secondary struct {
	name        string
	drop, build string
}

// putAside drops the indexes and unique constraints of the filled tables, but
// for primary keys and what foreign keys refer to.
func putAside(ctx context.Context, tx pgx.Tx) ([]secondary, error) {
	rows, err := tx.Query(ctx, `
		SELECT i.relname, t.relname, coalesce(c.conname, ''), coalesce(pg_get_constraintdef(c.oid), pg_get_indexdef(i.oid))
		FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
			LEFT JOIN pg_constraint c ON c.conindid = i.oid AND c.contype = 'u'
		WHERE x.indrelid = ANY(string_to_array($1, ', ')::regclass[]) AND NOT x.indisprimary
			AND NOT EXISTS (SELECT FROM pg_constraint r WHERE r.conindid = i.oid AND r.contype IN ('f', 'x'))
		ORDER BY t.relname, i.relname`, filled)
	if err != nil {
		return nil, err
	}
	aside, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (s secondary, err error) {
		var table, constraint, definition string
		err = row.Scan(&s.name, &table, &constraint, &definition)
		table = pgx.Identifier{table}.Sanitize()
		if constraint != "" {
			constraint = pgx.Identifier{constraint}.Sanitize()
			s.drop = `ALTER TABLE ` + table + ` DROP CONSTRAINT ` + constraint
			s.build = `ALTER TABLE ` + table + ` ADD CONSTRAINT ` + constraint + ` ` + definition
			return s, err
		}
		s.drop = `DROP INDEX ` + pgx.Identifier{s.name}.Sanitize()
		// Of a partitioned table, the definition is that of the parent alone.
		s.build = strings.Replace(definition, " ON ONLY ", " ON ", 1)
		return s, err
	})
	if err != nil {
		return nil, err
	}
	for _, s := range aside {
		if _, err := tx.Exec(ctx, s.drop); err != nil {
			return nil, err
		}
	}
	return aside, nil
}
