package index

import (
	"errors"
	"testing"
	"time"
)

func key(k string) func(*Addition) { return func(a *Addition) { a.Pack.Key = k } }

// TestUnusedPackIsRetired: a pack that brought nothing new, as when an index is
// rebuilt from a store that still has packs from before a merge.
func TestUnusedPackIsRetired(t *testing.T) {
	ix := open(t)
	for _, k := range []string{"packs/used", "packs/unused", "packs/used", "packs/unused"} {
		fill(t, ix, addition("1.1", "1.1.1", 3, key(k)))
	}
	count(t, ix, 1, `SELECT count(*) FROM pack WHERE key = 'packs/used' AND retired_at IS NULL AND described = 3`)
	count(t, ix, 1, `SELECT count(*) FROM pack WHERE key = 'packs/unused' AND retired_at IS NOT NULL`)
	// Nothing new goes into a retired pack.
	err := ix.Add(t.Context(), addition("1.1", "1.1.1", 4, key("packs/unused")), nil)
	if !errors.Is(err, ErrRetired) {
		t.Errorf("%v", err)
	}
	count(t, ix, 3, `SELECT count(*) FROM instance`)
	// Half of it in use is in use.
	fill(t, ix, addition("1.1", "1.1.1", 5, key("packs/half")), addition("1.1", "1.1.1", 5, key("packs/half")))
	count(t, ix, 1, `SELECT count(*) FROM pack WHERE key = 'packs/half' AND retired_at IS NULL`)
}

func TestSwapPacks(t *testing.T) {
	ix := open(t)
	fill(t, ix, addition("1.1", "1.1.1", 2, key("packs/1")), addition("1.1", "1.1.1", 3, key("packs/2")), addition("2.2", "2.2.1", 1))
	var id int64
	if err := ix.pool.QueryRow(t.Context(), `SELECT id FROM series WHERE series_uid = '1.1.1'`).Scan(&id); err != nil {
		t.Fatal(err)
	}
	series, err := ix.StoredSeries(t.Context(), id)
	if err != nil || len(series.Instances) != 3 || len(series.Packs) != 2 || series.StudyUID != "1.1" || series.Facility != "TMA" {
		t.Fatalf("%+v, %v", series, err)
	}
	prepare := func(k string, within time.Duration) Swap {
		t.Helper()
		pack, err := ix.PreparePack(t.Context(), id, Pack{Key: k, Bytes: 7, Described: 3}, within)
		if err != nil {
			t.Fatal(err)
		}
		return Swap{Series: series, PackID: pack, Offsets: []int64{10, 20, 30}}
	}
	unchanged := func() {
		t.Helper()
		count(t, ix, 2, `SELECT count(DISTINCT k.key) FROM instance i JOIN pack k ON k.id = i.pack_row WHERE k.key IN ('packs/1', 'packs/2') AND k.retired_at IS NULL`)
		count(t, ix, 0, `SELECT count(*) FROM change WHERE kind = 'series.merged'`)
	}
	if _, err := ix.PreparePack(t.Context(), id, Pack{Key: "packs/1"}, time.Hour); !errors.Is(err, ErrRetired) {
		t.Errorf("a key that is taken: %v", err)
	}
	// Too late, and given up.
	if err := ix.SwapPacks(t.Context(), prepare("packs/late", -time.Second)); !errors.Is(err, ErrRaced) {
		t.Errorf("%v", err)
	}
	abandoned := prepare("packs/abandoned", time.Hour)
	if err := ix.AbandonPack(t.Context(), abandoned.PackID); err != nil {
		t.Fatal(err)
	}
	if err := ix.SwapPacks(t.Context(), abandoned); !errors.Is(err, ErrRaced) {
		t.Errorf("%v", err)
	}
	unchanged()
	swap := prepare("packs/merged", time.Hour)
	if err := ix.SwapPacks(t.Context(), swap); err != nil {
		t.Fatal(err)
	}
	count(t, ix, 3, `SELECT count(*) FROM instance i JOIN pack k ON k.id = i.pack_row WHERE k.key = 'packs/merged' AND k.retired_at IS NULL AND i.pack_offset = 10 * i.number`)
	count(t, ix, 2, `SELECT count(*) FROM pack WHERE key IN ('packs/1', 'packs/2') AND retired_at <= clock_timestamp()`)
	count(t, ix, 1, `SELECT count(*) FROM change WHERE kind = 'series.merged' AND instances = 3`)
	// What was read before the swap is not what there is now.
	if err := ix.SwapPacks(t.Context(), prepare("packs/second", time.Hour)); !errors.Is(err, ErrRaced) {
		t.Errorf("%v", err)
	}
	// In use, it can't be abandoned.
	if err := ix.AbandonPack(t.Context(), swap.PackID); err != nil {
		t.Fatal(err)
	}
	count(t, ix, 1, `SELECT count(*) FROM pack WHERE key = 'packs/merged' AND retired_at IS NULL`)
	// One of them is deleted: the study itself may be, too.
	for _, sql := range []string{`DELETE FROM instance WHERE sop_uid = '1.1.1.2'`, `DELETE FROM study WHERE study_uid = '1.1'`} {
		if series, err = ix.StoredSeries(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		swap := prepare("packs/"+sql, time.Hour)
		if _, err := ix.pool.Exec(t.Context(), `ALTER TABLE series DROP CONSTRAINT IF EXISTS series_study_row_fkey`); err != nil {
			t.Fatal(err)
		}
		if _, err := ix.pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
		if err := ix.SwapPacks(t.Context(), swap); !errors.Is(err, ErrRaced) {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

func TestUnmerged(t *testing.T) {
	ix := open(t)
	fill(t, ix, addition("1.1", "1.1.1", 1), addition("2.2", "2.2.1", 1), addition("3.3", "3.3.1", 1))
	var id int64
	for _, uid := range []string{"1.1", "2.2"} {
		if err := ix.pool.QueryRow(t.Context(), `SELECT id FROM study WHERE study_uid = $1`, uid).Scan(&id); err != nil {
			t.Fatal(err)
		}
		if _, err := ix.Complete(t.Context(), id, 0, nil); err != nil {
			t.Fatal(err)
		}
	}
	unmerged := func(since time.Duration) []CompletedStudy {
		t.Helper()
		list, err := ix.Unmerged(t.Context(), since, 10)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	if list := unmerged(0); len(list) != 2 || list[1] != (CompletedStudy{id, 1}) {
		t.Errorf("%+v", list)
	}
	if list := unmerged(time.Hour); len(list) != 0 {
		t.Errorf("%+v", list)
	}
	if err := ix.SetMerged(t.Context(), id, 1); err != nil {
		t.Fatal(err)
	}
	if list := unmerged(0); len(list) != 1 || list[0].StudyID == id {
		t.Errorf("%+v", list)
	}
	series, completions, err := ix.SeriesOf(t.Context(), id)
	if len(series) != 1 || completions != 1 || err != nil {
		t.Error(series, completions, err)
	}
	if series, _, err := ix.SeriesOf(t.Context(), 1e9); len(series) != 0 || err != nil {
		t.Error(series, err)
	}
}
