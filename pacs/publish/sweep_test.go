package publish

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tasvir-pacs/tasvir/pacs"
)

func (m *merging) sweep() int {
	m.t.Helper()
	n, err := m.sweeper.Retired(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	return n
}

func (m *merging) exec(sql string, args ...any) {
	m.t.Helper()
	if _, err := m.index.Pool().Exec(m.t.Context(), sql, args...); err != nil {
		m.t.Fatal(err)
	}
}

// TestRetiredPacksStayForReaders: an object goes when the grace time is over,
// and who found it before that can read it until then.
func TestRetiredPacksStayForReaders(t *testing.T) {
	t.Parallel()
	m := newMerging(t)
	m.pack(image{number: 1})
	m.pack(image{number: 2})
	before := m.instances(pacs.InstanceFilter{})
	m.merge()
	if n := m.sweep(); n != 0 {
		t.Fatalf("%d objects deleted at once", n)
	}
	for _, in := range before {
		if len(m.read(in)) == 0 {
			t.Error("nothing to read")
		}
	}
	m.exec(`UPDATE pack SET retired_at = retired_at - interval '61 minutes' WHERE key = $1`, before[0].Location.PackKey)
	if n := m.sweep(); n != 1 {
		t.Fatalf("%d objects deleted, want 1", n)
	}
	if keys := m.keys(); len(keys) != 2 || slices.Contains(keys, before[0].Location.PackKey) {
		t.Errorf("objects %v", keys)
	}
	if n := m.sweep(); n != 0 {
		t.Errorf("%d objects deleted again", n)
	}
	// The row goes much later.
	if err := m.sweeper.Forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.wantCount(3, `SELECT count(*) FROM pack`)
	m.exec(`UPDATE pack SET swept_at = swept_at - interval '8 days'`)
	if err := m.sweeper.Forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.wantCount(2, `SELECT count(*) FROM pack`)
}

// TestNothingInUseIsSwept, not even when its pack is wrongly retired.
func TestNothingInUseIsSwept(t *testing.T) {
	t.Parallel()
	m := newMerging(t)
	m.pack(image{number: 1})
	m.exec(`UPDATE pack SET retired_at = now() - interval '1 year'`)
	if n := m.sweep(); n != 0 || len(m.keys()) != 1 {
		t.Errorf("%d objects deleted", n)
	}
	// The series may be gone when its packs are swept.
	m.exec(`DELETE FROM instance`)
	m.exec(`DELETE FROM series`)
	if n := m.sweep(); n != 1 || len(m.keys()) != 0 {
		t.Errorf("%d objects deleted", n)
	}
}

// TestKeyOfARetiredPack: an object that was found without a pack is retired
// between being stored again and being indexed.
func TestKeyOfARetiredPack(t *testing.T) {
	t.Parallel()
	m := newMerging(t)
	var retired []string
	m.store.set(nil, func(key string) error {
		if len(retired) < 2 {
			retired = append(retired, key)
			return m.index.RetireObject(t.Context(), key, 1)
		}
		return nil
	})
	m.start()
	m.receive(image{number: 1})
	m.settled(1)
	var key string
	m.row(`SELECT k.key FROM instance i JOIN pack k ON k.id = i.pack_row`, nil, &key)
	if len(retired) != 2 || retired[0] == retired[1] || slices.Contains(retired, key) {
		t.Errorf("the instance is in %s; retired %v", key, retired)
	}
	m.exec(`UPDATE pack SET retired_at = now() - interval '1 day' WHERE retired_at IS NOT NULL`)
	if n := m.sweep(); n != 2 {
		t.Errorf("%d objects deleted", n)
	}
	if versions := m.versions(); len(versions) != 1 || len(m.failures) > 0 {
		t.Errorf("%d instances, failures %v", len(versions), m.failures)
	}
}

func TestOrphans(t *testing.T) {
	t.Parallel()
	m := newMerging(t)
	type orphan struct {
		key string
		bad bool
	}
	var found []orphan
	m.sweeper.Orphan = func(_ context.Context, key string, _ int64, err error) error {
		found = append(found, orphan{key[strings.LastIndexByte(key, '/')+1:], err != nil})
		return nil
	}
	m.pack(image{number: 1})
	m.pack(image{number: 2})
	var first, second string
	m.row(`SELECT k.key FROM instance i JOIN pack k ON k.id = i.pack_row WHERE sop_uid = '1.2.3.1.1'`, nil, &first)
	m.row(`SELECT k.key FROM instance i JOIN pack k ON k.id = i.pack_row WHERE sop_uid = '1.2.3.1.2'`, nil, &second)
	day := time.Now().Add(-25 * time.Hour)
	put := func(name, like string, change func([]byte) []byte, at time.Time) {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(m.dir, "store", like))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(m.dir, "store", filepath.Dir(like), name)
		if err := os.WriteFile(path, change(b), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	same := func(b []byte) []byte { return b }
	put("a-elsewhere.zip", first, same, day)
	put("b-young.zip", first, same, time.Now())
	put("c-broken.zip", second, func(b []byte) []byte { return b[:len(b)/2] }, day)
	put("d-only-here.zip", second, same, day)
	// What d holds the index does not have.
	m.exec(`DELETE FROM instance WHERE sop_uid = '1.2.3.1.2'`)
	m.exec(`UPDATE pack SET retired_at = now() WHERE key = $1`, second)
	if err := os.Chtimes(filepath.Join(m.dir, "store", second), day, day); err != nil {
		t.Fatal(err)
	}
	if err := m.sweeper.Orphans(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]orphan{{"c-broken.zip", true}, {"d-only-here.zip", false}}, found, cmp.AllowUnexported(orphan{})); diff != "" {
		t.Error(diff)
	}
	// What has been found goes the way of all retired packs.
	m.wantCount(1, `SELECT count(*) FROM pack WHERE retired_at IS NOT NULL AND key LIKE '%a-elsewhere.zip'`)
	if len(m.keys()) != 6 {
		t.Errorf("%v", m.keys())
	}
	m.exec(`UPDATE pack SET retired_at = now() - interval '2 hours' WHERE retired_at IS NOT NULL`)
	m.sweep()
	for _, key := range m.keys() {
		if strings.HasSuffix(key, "a-elsewhere.zip") {
			t.Error("it is still there")
		}
	}
	if len(m.keys()) != 4 { // b, c, d and what is in use
		t.Errorf("%v", m.keys())
	}
}

// TestColdOrphans: what a move to the cold store has left there goes the way of
// other orphans, and not before it is old enough.
func TestColdOrphans(t *testing.T) {
	t.Parallel()
	m := newMerging(t)
	m.sweeper.Orphan = func(_ context.Context, key string, _ int64, err error) error {
		t.Errorf("%s was reported (%v)", key, err)
		return nil
	}
	m.pack(image{number: 1})
	hot := m.keys()[0]
	b, err := os.ReadFile(filepath.Join(m.dir, "store", hot))
	if err != nil {
		t.Fatal(err)
	}
	cold := filepath.Join(m.dir, "store", "cold", hot)
	if err := errors.Join(os.MkdirAll(filepath.Dir(cold), 0o700), os.WriteFile(cold, b, 0o600)); err != nil {
		t.Fatal(err)
	}
	retired := func(want int) {
		t.Helper()
		if err := m.sweeper.Orphans(t.Context()); err != nil {
			t.Fatal(err)
		}
		m.wantCount(want, `SELECT count(*) FROM pack WHERE key = $1 AND retired_at IS NOT NULL`, "cold/"+hot)
	}
	retired(0)
	old := time.Now().Add(-25 * time.Hour)
	if err := os.Chtimes(cold, old, old); err != nil {
		t.Fatal(err)
	}
	retired(1)
	if n := m.sweep(); n != 0 {
		t.Fatalf("%d objects deleted within the grace time", n)
	}
	m.exec(`UPDATE pack SET retired_at = now() - interval '2 hours' WHERE retired_at IS NOT NULL`)
	if n := m.sweep(); n != 1 {
		t.Fatalf("%d objects deleted, want 1", n)
	}
	if _, err := os.Stat(cold); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
	if len(m.instances(pacs.InstanceFilter{})) != 1 {
		t.Error("the archive lacks what it had")
	}
}
