package index

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tasvir-pacs/tasvir/pacs"
)

func TestByUIDOnly(t *testing.T) {
	study := func(f pacs.InstanceFilter) pacs.InstanceFilter {
		f.Series.Study.StudyInstanceUIDs = []string{"1.2"}
		return f
	}
	number := 1
	for name, test := range map[string]struct {
		filter pacs.InstanceFilter
		want   bool
	}{
		"a study":            {study(pacs.InstanceFilter{}), true},
		"a page of it":       {study(pacs.InstanceFilter{Page: pacs.Page{Limit: 10, After: "x"}}), true},
		"an instance":        {study(pacs.InstanceFilter{SOPInstanceUIDs: []string{"1.2.1.1"}}), true},
		"instances anywhere": {pacs.InstanceFilter{SOPInstanceUIDs: []string{"1.2.1.1"}}, false},
		"a class":            {study(pacs.InstanceFilter{SOPClassUIDs: []string{"1.2.3"}}), false},
		"a number":           {study(pacs.InstanceFilter{Number: &number}), false},
		"nothing":            {pacs.InstanceFilter{}, false},
	} {
		if got := byUIDOnly(test.filter); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A query by UID is planned once on a connection, and leaves the connection as
// it was for the others, also when it fails.
func TestCollectByUID(t *testing.T) {
	ix := open(t)
	fill(t, ix, addition("1.2", "1.2.1", 3))
	ctx := t.Context()
	config := ix.pool.Config()
	config.MaxConns = 1
	config.AfterConnect = plainPlans
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	one := &Index{pool: pool}

	f := pacs.InstanceFilter{}
	f.Series.Study.StudyInstanceUIDs = []string{"1.2"}
	for range 3 {
		rows, _, err := one.Instances(ctx, system, f)
		if err != nil || len(rows) != 3 {
			t.Fatal(len(rows), err)
		}
	}
	var generic, custom int
	if err := one.pool.QueryRow(ctx, `SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement LIKE '%JOIN pack k%' AND statement NOT LIKE '%pg_prepared%'`).Scan(&generic, &custom); err != nil {
		t.Fatal(err)
	}
	if generic != 3 || custom != 0 {
		t.Errorf("%d executions with one plan, %d with a plan of their own", generic, custom)
	}
	mode := func() (mode string) {
		if err := one.pool.QueryRow(ctx, `SHOW plan_cache_mode`).Scan(&mode); err != nil {
			t.Fatal(err)
		}
		return mode
	}
	if m := mode(); m != "force_custom_plan" {
		t.Errorf("the connection is left with %s", m)
	}
	scan := func(row pgx.CollectableRow) (n int, err error) { return n, row.Scan(&n) }
	if _, err := collectByUID(ctx, one.pool, `SELECT 1/(2-2*$1::int)`, []any{1}, scan); pacs.CodeOf(err) == "" {
		t.Errorf("a division by zero was no error: %v", err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := collectByUID(cancelled, one.pool, `SELECT $1::int`, []any{1}, scan); err == nil {
		t.Error("a cancelled query was no error")
	}
	if m := mode(); m != "force_custom_plan" {
		t.Errorf("after failures the connection is left with %s", m)
	}
}
