package publish

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// TestMergeStopsAtDamage: a pack that does not hold what it should keeps its
// series from being merged, and harms nothing else.
func TestMergeStopsAtDamage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		damage func(content []byte, f *PackFile) []byte
	}{
		{"a pixel", func(b []byte, f *PackFile) []byte { b[f.Instances[0].Offset+f.Instances[0].Length-1] ^= 1; return b }},
		{"a preamble", func(b []byte, f *PackFile) []byte { b[f.Instances[0].Offset] ^= 1; return b }},
		{"the metadata", func(b []byte, f *PackFile) []byte { b[f.Metadata.Offset+20] ^= 0xff; return b }},
		{"the end of the metadata", func(b []byte, f *PackFile) []byte { b[f.Metadata.Offset+f.Metadata.Length-6] ^= 1; return b }},
		{"the directory", func(b []byte, _ *PackFile) []byte { b[len(b)-30] ^= 1; return b }},
		{"the manifest", func(b []byte, f *PackFile) []byte {
			end := int(f.Metadata.Offset + f.Metadata.Length)
			b[end+bytes.Index(b[end:], []byte(manifestName))+len(manifestName)+20] ^= 1
			return b
		}},
		{"cut off", func(b []byte, _ *PackFile) []byte { return b[:len(b)-1] }},
		{"gone", func([]byte, *PackFile) []byte { return nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMerging(t)
			m.pack(image{number: 1})
			m.pack(image{number: 2})
			m.pack(image{number: 1, series: "1.2.3.9"})
			m.pack(image{number: 2, series: "1.2.3.9"})
			var key string
			m.row(`SELECT k.key FROM instance i JOIN pack k ON k.id = i.pack_row WHERE sop_uid = '1.2.3.1.1'`, nil, &key)
			path := filepath.Join(m.dir, "store", key)
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if broken := c.damage(bytes.Clone(whole), m.readPack(key)); broken == nil {
				err = os.Remove(path)
			} else {
				err = os.WriteFile(path, broken, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := m.merger.Study(t.Context(), m.study()); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(m.damaged, []string{key}) {
				t.Errorf("damaged %v, want %s", m.damaged, key)
			}
			m.wantCount(2, `SELECT count(DISTINCT pack_row) FROM instance i JOIN series e ON e.id = i.series_row WHERE e.series_uid = '1.2.3.1'`)
			m.wantCount(1, `SELECT count(DISTINCT pack_row) FROM instance i JOIN series e ON e.id = i.series_row WHERE e.series_uid = '1.2.3.9'`)
			m.wantCount(0, `SELECT count(*) FROM instance i JOIN pack k ON k.id = i.pack_row WHERE k.retired_at IS NOT NULL`)
			// When it has been repaired the series is merged.
			if err := os.WriteFile(path, whole, 0o600); err != nil {
				t.Fatal(err)
			}
			m.damaged = nil
			m.merge()
			m.wantCount(2, `SELECT count(*) FROM pack WHERE retired_at IS NULL`)
			m.versions()
		})
	}
}

// TestMergeRepeated: whatever a merge is cut off by, and wherever, the next one
// does the work and what is left over is swept.
func TestMergeRepeated(t *testing.T) {
	t.Parallel()
	broken := errors.New("cut off")
	for _, c := range []struct {
		name string
		cut  func(m *merging, cancel context.CancelFunc)
	}{
		{"before the object is stored", func(m *merging, _ context.CancelFunc) { m.store.set(once(broken), nil) }},
		{"after the object is stored", func(m *merging, _ context.CancelFunc) { m.store.set(nil, once(broken)) }},
		{"killed after the object is stored", func(m *merging, cancel context.CancelFunc) {
			m.store.set(nil, func(string) error { cancel(); return nil })
		}},
		{"reading fails", func(m *merging, _ context.CancelFunc) { m.store.setGet(5, broken) }},
		{"reading breaks off", func(m *merging, _ context.CancelFunc) { m.store.setCut(4) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMerging(t)
			for n := range 4 {
				m.pack(image{number: 4 - n})
			}
			want := m.versions()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			c.cut(m, cancel)
			err := m.merger.Study(ctx, m.study())
			if err == nil || len(m.damaged) > 0 {
				t.Fatalf("%v, damaged %v", err, m.damaged)
			}
			if ctx.Err() == nil && pacs.CodeOf(err) != pacs.Unavailable {
				t.Errorf("%v", err)
			}
			m.wantCount(4, `SELECT count(*) FROM pack WHERE retired_at IS NULL`)
			m.store.set(nil, nil)
			m.store.setGet(0, nil)
			m.merge()
			if diff := cmp.Diff(want, m.versions()); diff != "" {
				t.Error("before the old objects go:", diff)
			}
			m.ended(want)
		})
	}
}

// TestArrivalsDuringAMerge: what comes between reading and swapping.
func TestArrivalsDuringAMerge(t *testing.T) {
	t.Parallel()
	newer := image{number: 2, more: described("newer")}
	m := newMerging(t)
	m.pack(image{number: 2})
	m.pack(image{number: 1})
	var now sync.Once
	m.store.set(nil, func(string) error { // the merged pack is stored, and not in use yet
		now.Do(func() {
			m.store.set(nil, nil)
			m.pack(newer, image{number: 3})
		})
		return nil
	})
	m.merge()
	if n := m.count(`SELECT count(*) FROM pack WHERE retired_at IS NULL`); n < 2 {
		t.Errorf("%d packs in use", n)
	}
	want := wantJSON(t, image{number: 1}, newer, image{number: 3})
	if text, _ := m.metadata("1.2.3", "1.2.3.1"); text != want {
		t.Error(cmp.Diff(want, text))
	}
	versions := m.versions()
	if len(versions) != 4 {
		t.Errorf("%d versions", len(versions))
	}
	m.merge()
	m.inUse()
	if text, _ := m.metadata("1.2.3", "1.2.3.1"); text != want {
		t.Error(cmp.Diff(want, text))
	}
	if diff := cmp.Diff(versions, m.versions()); diff != "" {
		t.Error(diff)
	}
}

// TestTwoMergesAtOnce: of two nodes, one swaps; both are content.
func TestTwoMergesAtOnce(t *testing.T) {
	t.Parallel()
	m := newMerging(t)
	for n := range 5 {
		m.pack(image{number: n + 1})
	}
	want := m.versions()
	id := m.study()
	var both sync.WaitGroup
	for range 4 {
		both.Go(func() {
			if err := m.merger.Study(t.Context(), id); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	m.ended(want)
}

// TestDeletedDuringAMerge: what was deleted does not come back, and its bytes go.
func TestDeletedDuringAMerge(t *testing.T) {
	t.Parallel()
	m := newMerging(t)
	m.pack(image{number: 1})
	m.pack(image{number: 2})
	want := m.versions()
	delete(want, "1.2.3.1.2 1")
	m.store.set(nil, func(string) error {
		_, err := m.index.Pool().Exec(t.Context(), `
			WITH gone AS (DELETE FROM instance WHERE sop_uid = '1.2.3.1.2' RETURNING pack_row)
			UPDATE pack SET retired_at = clock_timestamp() FROM gone WHERE id = pack_row`)
		return err
	})
	m.merge()
	m.store.set(nil, nil)
	f := m.readPack(m.ended(want).Key)
	if len(f.Instances) != 1 || f.Manifest.Instances[0].SOPInstanceUID != "1.2.3.1.1" {
		t.Errorf("%+v", f.Manifest)
	}
}
