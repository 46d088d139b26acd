package retention

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/index/indextest"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
	"github.com/tasvir-pacs/tasvir/storage"
)

// kept is what an index says of the studies that are there, where they are, and
// what is held.
func keptIn(t testing.TB, ix *index.Index) (lines []string) {
	t.Helper()
	for _, sql := range []string{
		`SELECT concat_ws('|', 'study', study_uid, series_count, instance_count, bytes) FROM study WHERE deleted_at IS NULL ORDER BY 1`,
		`SELECT concat_ws('|', 'series', e.series_uid, e.modality, e.instance_count, e.has_pixels) FROM series e ORDER BY 1`,
		`SELECT concat_ws('|', 'instance', i.sop_uid, i.version, i.current, i.frames, encode(i.sha256, 'hex'), k.key, i.pack_offset, i.length, i.dataset_offset, i.pixels, i.pixels_deleted)
			FROM instance i JOIN pack k ON k.id = i.pack_row ORDER BY 1`,
		`SELECT concat_ws('|', 'pack', k.key, k.bytes, k.meta_offset, k.meta_length, k.described) FROM pack k WHERE k.retired_at IS NULL ORDER BY 1`,
		`SELECT concat_ws('|', 'hold', study_uid, who, why, held_at) FROM legal_hold ORDER BY 1`,
	} {
		rows, err := ix.Pool().Query(t.Context(), sql)
		if err != nil {
			t.Fatal(err)
		}
		list, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, list...)
	}
	return lines
}

// restoring is what brings holds back.
type restoring func(context.Context) (int, error)

func (f restoring) Restore(ctx context.Context) (int, error) { return f(ctx) }

// rebuilt is a new index made of a store alone.
func rebuilt(t testing.TB, store storage.Store) (*index.Index, *publish.ReindexReport) {
	t.Helper()
	ix, err := index.Open(t.Context(), indextest.New(t, migrate))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ix.Close)
	report, err := (&publish.Reindex{Index: ix, Store: store, Restorers: []publish.Restorer{
		restoring(func(ctx context.Context) (int, error) { return RestoreHolds(ctx, ix, store) }),
	}}).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Bad) > 0 {
		t.Errorf("bad packs: %+v", report.Bad)
	}
	return ix, report
}

// afterAPass is an archive in which policies have just done all that they can
// do. Its studies, by what became of them:
var became = map[string]string{
	"CT": "its pixel data deleted", "DX": "its pixel data deleted, and sent again",
	"MR": "deleted", "XA": "deleted, and sent again",
	"US": "moved to the cold store", "PT": "moved there, and its pixel data deleted", "CR": "held",
}

func studyOf(modality string) string {
	return fmt.Sprintf("1.2.826.0.1.3680043.10.80.%d", slices.Index([]string{"CT", "DX", "MR", "XA", "US", "PT", "CR"}, modality))
}

func imagesOf(modality string) (list []image) {
	study := studyOf(modality)
	for n := range 3 {
		list = append(list, image{
			study: study, series: study + ".1", sop: fmt.Sprint(study, ".1.", n), modality: modality, number: n,
			pixels: bytes.Repeat([]byte{byte(n), 1}, 1024),
		})
	}
	return append(list, image{study: study, series: study + ".2", sop: study + ".2.1", modality: modality, number: 1})
}

func afterAPass(t *testing.T, change ...func(*Options)) *site {
	s := openSite(t, change...)
	for modality := range became {
		s.receive(imagesOf(modality)...)
		s.age(studyOf(modality), 400)
	}
	if _, err := s.Hold(t.Context(), s.admin, studyOf("CR"), "a lawsuit"); err != nil {
		t.Fatal(err)
	}
	for modality, action := range map[string]Action{
		"CT": DeletePixels, "DX": DeletePixels, "MR": DeleteAll, "XA": DeleteAll, "US": MoveToCold, "PT": MoveToCold, "CR": DeleteAll,
	} {
		s.enabled(Policy{Name: modality, Modality: modality, Action: action, Days: 365})
	}
	s.pass()
	s.enabled(Policy{Name: "PT pixels", Position: -1, Modality: "PT", Action: DeletePixels, Days: 365})
	s.pass()
	for _, modality := range []string{"DX", "XA"} {
		s.receive(imagesOf(modality)...)
	}
	return s
}

// TestAnIndexThatIsRebuilt, while the objects of what was deleted and moved are
// still there: it is the index that was lost. Nothing that was deleted is back,
// and nothing is in two places or versions.
func TestAnIndexThatIsRebuilt(t *testing.T) {
	s := afterAPass(t)
	want := keptIn(t, s.ix)
	if n := len(keys(t, s.o.Store, "deleted/")); n != 5 {
		t.Errorf("%d deletions are noted in storage", n)
	}
	ix, report := rebuilt(t, s.o.Store)
	if diff := cmp.Diff(want, keptIn(t, ix)); diff != "" {
		t.Error(diff)
	}
	if report.Deleted == 0 {
		t.Error("there was nothing to leave out")
	}
	if got := s.study(studyOf("XA")); got.InstanceCount != 4 {
		t.Fatalf("the test is no good: %+v", got)
	}
	// Nothing of it is an orphan to anybody, and the sweeper deletes it.
	sweeper := &publish.Sweeper{Index: ix, Store: s.o.Store, SafeAge: time.Nanosecond, Orphan: func(_ context.Context, key string, _ int64, err error) error {
		t.Errorf("%s is taken for an orphan: %v", key, err)
		return nil
	}}
	sweep := func() {
		t.Helper()
		if err := sweeper.Orphans(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := ix.Pool().Exec(t.Context(), `UPDATE pack SET retired_at = now() - interval '2 hours' WHERE retired_at IS NOT NULL`); err != nil {
			t.Fatal(err)
		}
		if _, err := sweeper.Retired(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	sweep()
	var used []string
	for _, line := range want {
		if rest, ok := strings.CutPrefix(line, "pack|"); ok {
			key, _, _ := strings.Cut(rest, "|")
			used = append(used, key)
		}
	}
	if got := slices.Concat(keys(t, s.o.Store, "cold/packs/"), keys(t, s.o.Store, "packs/")); !slices.Equal(got, used) {
		t.Errorf("the store has %q, used are %q", got, used)
	}
	again, _ := rebuilt(t, s.o.Store)
	if diff := cmp.Diff(want, keptIn(t, again)); diff != "" {
		t.Errorf("after the sweep: %s", diff)
	}
	// What is said of deletions goes when nothing is left of them and some time
	// has passed.
	s.now = func() time.Time { return noon.Add(noted - time.Hour) }
	s.pass()
	if n := len(keys(t, s.o.Store, "deleted/")); n != 5 {
		t.Errorf("%d deletions are noted, too early", n)
	}
	s.now = func() time.Time { return noon.Add(noted + time.Hour) }
	s.exec(`DELETE FROM retention_policy`)
	s.pass()
	if left := keys(t, s.o.Store, "deleted/"); len(left) != 0 {
		t.Errorf("%q are left", left)
	}
}

// undone is a store that does not take what is said of deletions: as if the
// process had been killed before that.
type undone struct{ storage.Store }

func (u undone) Put(ctx context.Context, key string, size int64, body io.Reader) error {
	if strings.HasPrefix(key, "deleted/") {
		return errors.New("the store is down")
	}
	return u.Store.Put(ctx, key, size, body)
}

// TestADeletionThatIsNotNoted: what was deleted is back when the index is
// rebuilt within the hour, whole and once; nothing else is other than it was.
func TestADeletionThatIsNotNoted(t *testing.T) {
	s := afterAPass(t, func(o *Options) { o.Store = undone{o.Store} })
	want := map[string]int{}
	for modality := range became {
		want[studyOf(modality)] = 4
	}
	ix, _ := rebuilt(t, s.o.Store)
	got := map[string]int{}
	rows, err := ix.Pool().Query(t.Context(), `SELECT s.study_uid, count(*)::int FROM instance i JOIN study s ON s.id = i.study_row WHERE i.version = 1 AND i.current AND i.pixels_deleted IS NULL GROUP BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	var uid string
	var n int
	if _, err := pgx.ForEachRow(rows, []any{&uid, &n}, func() error { got[uid] = n; return nil }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	var all int
	if err := ix.Pool().QueryRow(t.Context(), `SELECT count(*) FROM instance`).Scan(&all); err != nil || all != 4*len(became) {
		t.Errorf("%d instances, %v", all, err)
	}
}

// TestAStrangeDeletion: what can't be read deletes nothing.
func TestAStrangeDeletion(t *testing.T) {
	s := openSite(t)
	s.receive(imagesOf("CT")...)
	for key, content := range map[string]string{
		"deleted/1.2/1-delete_all.json": `{"packs": ["`, "deleted/1.2/2-delete_all.json": "", "deleted/1.2/3-delete_all.json": `{"packs": ["../../etc/passwd", "packs/x.zip", ""]}`,
	} {
		if err := s.o.Store.Put(t.Context(), key, int64(len(content)), strings.NewReader(content)); err != nil {
			t.Fatal(err)
		}
	}
	ix, _ := rebuilt(t, s.o.Store)
	if diff := cmp.Diff(keptIn(t, s.ix), keptIn(t, ix)); diff != "" {
		t.Error(diff)
	}
	s.pass()
}
