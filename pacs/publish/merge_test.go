package publish

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/storage/s3"
	"github.com/tasvir-pacs/tasvir/storage/s3/miniotest"
)

// merging is an archive with a Merger and a Sweeper.
type merging struct {
	*archive
	merger  *Merger
	sweeper *Sweeper
	merged  int
	damaged []string
	total   int // received
}

func newMerging(t testing.TB) *merging {
	m := &merging{archive: newArchive(t)}
	m.merger = &Merger{Index: m.index, Store: m.store, Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler), Observer: MergeObserver{
		Merged:  func(int, int, int64, time.Duration) { m.note(func() { m.merged++ }) },
		Damaged: func(key string, _ error) { m.note(func() { m.damaged = append(m.damaged, key) }) },
	}}
	m.sweeper = &Sweeper{Index: m.index, Store: m.store, Log: m.merger.Log}
	return m
}

// pack publishes images as a pack of their own; on a slow machine it may be
// more than one, but for the first.
func (m *merging) pack(images ...image) {
	m.t.Helper()
	before := m.count(`SELECT count(*) FROM pack`)
	m.receive(images...)
	if m.total == 0 {
		m.start()
	}
	m.total += len(images)
	m.settled(m.total)
	if after := m.count(`SELECT count(*) FROM pack`); after == before {
		m.t.Fatalf("%d packs after publishing, %d before", after, before)
	}
}

func (m *merging) study() (id int64) {
	m.t.Helper()
	m.row(`SELECT id FROM study WHERE study_uid = '1.2.3'`, nil, &id)
	return id
}

func (m *merging) merge() {
	m.t.Helper()
	if err := m.merger.Study(m.t.Context(), m.study()); err != nil {
		m.t.Fatal(err)
	}
	if len(m.damaged) > 0 {
		m.t.Fatalf("damaged: %v", m.damaged)
	}
}

// inUse is the one pack in use.
func (m *merging) inUse() (p index.Pack) {
	m.t.Helper()
	m.wantCount(1, `SELECT count(*) FROM pack WHERE retired_at IS NULL`)
	m.row(`SELECT id, key, bytes, meta_offset, meta_length, described FROM pack WHERE retired_at IS NULL`, nil,
		&p.ID, &p.Key, &p.Bytes, &p.MetaOffset, &p.MetaLength, &p.Described)
	return p
}

// versions reads all versions of all instances, as files.
func (m *merging) versions() map[string]string {
	m.t.Helper()
	rows, err := m.index.Pool().Query(m.t.Context(), `
		SELECT i.sop_uid, i.version, k.key, i.pack_offset, i.length, i.dataset_offset, i.sha256 FROM instance i JOIN pack k ON k.id = i.pack_row`)
	if err != nil {
		m.t.Fatal(err)
	}
	defer rows.Close()
	all := map[string]string{}
	for rows.Next() {
		var sop string
		var version int
		var loc pacs.Location
		var sum []byte
		if err := rows.Scan(&sop, &version, &loc.PackKey, &loc.Offset, &loc.Length, &loc.DatasetOffset, &sum); err != nil {
			m.t.Fatal(err)
		}
		content := m.file(loc)
		if got := sha256.Sum256(content[loc.DatasetOffset:]); !bytes.Equal(got[:], sum) {
			m.t.Errorf("%s version %d has the hash %x", sop, version, got)
		}
		all[fmt.Sprint(sop, " ", version)] = string(content)
	}
	if err := rows.Err(); err != nil {
		m.t.Fatal(err)
	}
	return all
}

func (m *merging) file(loc pacs.Location) []byte {
	m.t.Helper()
	body, err := m.packs.Open(m.t.Context(), loc, 0, -1)
	if err != nil {
		m.t.Fatal(err)
	}
	defer body.Close()
	content, err := io.ReadAll(body)
	if err != nil {
		m.t.Fatal(err)
	}
	return content
}

func (m *merging) readPack(key string) *PackFile {
	m.t.Helper()
	info, err := m.store.Stat(m.t.Context(), key)
	if err != nil {
		m.t.Fatal(err)
	}
	f, err := ReadPack(m.t.Context(), m.store, key, info.Size)
	if err != nil {
		m.t.Fatal(err)
	}
	return f
}

// gets are the ranges read since the last call.
func (m *merging) gets() []string {
	m.store.mu.Lock()
	defer m.store.mu.Unlock()
	gets := m.store.gets
	m.store.gets = nil
	return gets
}

// mergeSome merges about half of the studies.
func (a *archive) mergeSome(rng *rand.Rand) {
	a.t.Helper()
	var studies []int64
	a.row(`SELECT array_agg(id ORDER BY id) FROM study`, nil, &studies)
	merger := &Merger{Index: a.index, Store: a.store, Dir: a.t.TempDir(), Observer: MergeObserver{
		Damaged: func(key string, err error) { a.t.Errorf("%s: %v", key, err) },
	}}
	for _, id := range studies {
		if rng.IntN(2) == 0 {
			continue
		}
		if err := merger.Study(a.t.Context(), id); err != nil {
			a.t.Fatal(err)
		}
	}
}

// checkSound examines the packs in use, byte for byte.
func (m *merging) checkSound() {
	m.t.Helper()
	var keys []string
	m.row(`SELECT array_agg(key) FROM pack WHERE retired_at IS NULL`, nil, &keys)
	for _, key := range keys {
		if x, err := Examine(m.t.Context(), m.store, key, nil); err != nil || !x.Sound() {
			m.t.Errorf("%s: %v, %v", key, err, x.Problems())
		}
	}
}

func described(text string) func(*dicom.Dataset) {
	return func(ds *dicom.Dataset) { ds.SetString(dicom.TagSeriesDescription, dicom.LO, text) }
}

func TestMerge(t *testing.T) {
	t.Parallel()
	m := newMerging(t)
	second := image{number: 5, more: described("Қайта")}
	m.pack(image{number: 10}, image{number: 2})
	m.pack(image{number: 11}, image{number: 1}, image{number: 5})
	m.pack(second)
	m.pack(image{number: 3})
	want := m.versions()
	packs := m.count(`SELECT count(*) FROM pack`)
	m.merge()

	p := m.inUse()
	if diff := cmp.Diff(want, m.versions()); diff != "" {
		t.Error("the instances are not as they were:", diff)
	}
	// In instance order; the superseded version last.
	var names []string
	f := m.readPack(p.Key)
	for i, entry := range f.Manifest.Instances {
		names = append(names, f.Instances[i].Name)
		if entry.Channel != string(pacs.ChannelDIMSE) || entry.Sender != "CT1" || entry.ReceivedAt.IsZero() {
			t.Errorf("%+v", entry)
		}
		if last := i == len(f.Instances)-1; entry.Superseded != last || last != (entry.SOPInstanceUID == "1.2.3.1.5" && entry.Version == 1) {
			t.Errorf("%+v", entry)
		}
	}
	wantNames := []string{"1.2.3.1.1.dcm", "1.2.3.1.2.dcm", "1.2.3.1.3.dcm", "1.2.3.1.5.dcm", "1.2.3.1.10.dcm", "1.2.3.1.11.dcm", "1.2.3.1.5.v1.dcm"}
	if !slices.Equal(names, wantNames) {
		t.Errorf("members %v", names)
	}
	if f.Manifest.Facility != "TMA" || f.Manifest.Study != "1.2.3" || f.Manifest.Series != "1.2.3.1" {
		t.Errorf("%+v", f.Manifest)
	}
	m.checkPacks()
	// The metadata is that of the current instances, and one range of the pack.
	m.gets()
	text, tag := m.metadata("1.2.3", "1.2.3.1")
	if diff := cmp.Diff(wantJSON(t, image{number: 1}, image{number: 2}, image{number: 3}, second, image{number: 10}, image{number: 11}), text); diff != "" {
		t.Error(diff)
	}
	if gets := m.gets(); len(gets) != 1 || gets[0] != fmt.Sprintf("%s %d+%d", p.Key, p.MetaOffset, p.MetaLength) {
		t.Errorf("the metadata took %v", gets)
	}
	m.wantCount(1, `SELECT count(*) FROM change WHERE kind = 'series.merged' AND study_uid = '1.2.3' AND series_uid = '1.2.3.1' AND instances = 7`)
	m.wantCount(packs, `SELECT count(*) FROM pack WHERE retired_at < now()`)

	// Again: nothing to do.
	puts := len(m.store.puts)
	m.merge()
	if len(m.store.puts) != puts || m.merged != 1 {
		t.Errorf("%d merges, %d objects written by the second", m.merged, len(m.store.puts)-puts)
	}
	// A late image, and one that replaces what was merged.
	m.pack(image{number: 4}, image{number: 1, more: described("late")})
	late, lateTag := m.metadata("1.2.3", "1.2.3.1")
	wantLate := wantJSON(t, image{number: 1, more: described("late")}, image{number: 2}, image{number: 3}, image{number: 4}, second, image{number: 10}, image{number: 11})
	if diff := cmp.Diff(wantLate, late); diff != "" || lateTag == tag {
		t.Error("before the second merge:", lateTag, diff)
	}
	want = m.versions()
	m.merge()
	m.inUse()
	if diff := cmp.Diff(want, m.versions()); diff != "" || len(want) != 9 {
		t.Error(len(want), diff)
	}
	m.gets()
	late, _ = m.metadata("1.2.3", "1.2.3.1")
	if diff := cmp.Diff(wantLate, late); diff != "" || len(m.gets()) != 1 {
		t.Error("after the second merge:", diff)
	}
	m.checkPacks()
	m.checkSound()
}

// TestMergeLongSeries: the number of the issue.
func TestMergeLongSeries(t *testing.T) {
	t.Parallel()
	const slices, size = 500, 128 * 128 * 2
	m := newMerging(t)
	for n := range 10 {
		var images []image
		for k := range slices / 10 {
			images = append(images, image{number: 10*k + n + 1, pixels: size})
		}
		m.pack(images...)
	}
	m.merge()
	p := m.inUse()
	m.sweeper.Grace = time.Nanosecond
	if n, err := m.sweeper.Retired(t.Context()); n < 10 || err != nil {
		t.Fatal(n, err)
	}
	var data int64
	m.row(`SELECT sum(length) FROM instance`, nil, &data)
	if keys := m.keys(); len(keys) != 1 || keys[0] != p.Key {
		t.Errorf("objects %v", keys)
	}
	if p.Bytes > data*101/100 {
		t.Errorf("%d bytes for %d", p.Bytes, data)
	}
	t.Logf("%d slices of %d bytes: %d bytes in the pack, %.4f of the data", slices, size, p.Bytes, float64(p.Bytes)/float64(data))
	m.checkPacks()
}

// TestMergeOfOnePack: what is one pack in order already is left alone; what is
// one pack with metadata of more than the series is made anew.
func TestMergeOfOnePack(t *testing.T) {
	t.Parallel()
	m := newMerging(t)
	m.pack(image{number: 2}, image{number: 1}, image{number: 3})
	m.merge()
	if m.merged != 0 {
		t.Error("one pack was merged")
	}
	m.wantCount(1, `SELECT count(*) FROM study WHERE merged = completions`)
	// A later version of number 2 comes in another series.
	m.pack(image{number: 2, series: "1.2.3.2", sop: "1.2.3.1.2", more: described("moved")})
	want := m.versions()
	m.merge()
	if m.merged != 1 {
		t.Errorf("%d merges", m.merged)
	}
	if diff := cmp.Diff(want, m.versions()); diff != "" {
		t.Error(diff)
	}
	m.gets()
	text, _ := m.metadata("1.2.3", "1.2.3.1")
	if diff := cmp.Diff(wantJSON(t, image{number: 1}, image{number: 3}), text); diff != "" || len(m.gets()) != 1 {
		t.Error(diff)
	}
	m.checkSound()
}

// TestReadersDuringMerges: readers never see a gap, an error or other bytes.
func TestReadersDuringMerges(t *testing.T) {
	t.Parallel()
	const rounds = 15
	m := newMerging(t)
	var images []image
	content := map[string]string{}
	add := func() {
		i := image{number: 100 - len(images)}
		images = append(images, i)
		content[i.withDefaults().sop] = string(i.encoded(t))
		m.pack(i)
	}
	add()
	add()
	ctx, stop := context.WithCancel(t.Context())
	var mu sync.Mutex
	least := len(images)
	var readers sync.WaitGroup
	reads := 0
	read := func() error {
		mu.Lock()
		want := least
		mu.Unlock()
		list, _, err := m.index.Instances(ctx, pacs.System("test"), pacs.InstanceFilter{})
		if err != nil {
			return err
		}
		if len(list) < want {
			return fmt.Errorf("%d instances, there were %d already", len(list), want)
		}
		for _, in := range list {
			// A range within, as frames are, from a place found before.
			from := in.Location.DatasetOffset
			body, err := m.packs.Open(ctx, in.Location, from, -1)
			if err != nil {
				return err
			}
			got, err := io.ReadAll(body)
			_ = body.Close()
			if err != nil {
				return err
			}
			mu.Lock()
			same := content[in.SOPInstanceUID] == string(got)
			mu.Unlock()
			if !same {
				return fmt.Errorf("%s: other bytes", in.SOPInstanceUID)
			}
		}
		meta, err := m.packs.Metadata(ctx, pacs.System("test"), "1.2.3", "1.2.3.1")
		if err != nil {
			return err
		}
		packed, err := io.ReadAll(meta.Body)
		_ = meta.Body.Close()
		if err != nil {
			return err
		}
		text, err := gunzip(packed)
		if n := strings.Count(text, `"00080018"`); err != nil || n < want {
			return fmt.Errorf("metadata of %d instances, there were %d already: %w", n, want, err)
		}
		mu.Lock()
		reads++
		mu.Unlock()
		return nil
	}
	for range 3 {
		readers.Go(func() {
			for ctx.Err() == nil {
				if err := read(); err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range rounds {
		m.merge()
		mu.Lock()
		next := image{number: 100 - len(images)}
		content[next.withDefaults().sop] = string(next.encoded(t))
		mu.Unlock()
		images = append(images, next)
		m.pack(next)
		mu.Lock()
		least = len(images)
		mu.Unlock()
	}
	m.merge()
	stop()
	readers.Wait()
	if m.merged != rounds+1 || reads == 0 {
		t.Errorf("%d merges, %d reads", m.merged, reads)
	}
}

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
				t.Error(diff)
			}
			p := m.inUse()
			m.sweeper.Grace = time.Nanosecond
			if _, err := m.sweeper.Retired(t.Context()); err != nil {
				t.Fatal(err)
			}
			// What a killed merge has prepared is swept when its time is over.
			if _, err := m.index.Pool().Exec(t.Context(), `UPDATE pack SET retired_at = retired_at - interval '1 day'`); err != nil {
				t.Fatal(err)
			}
			if _, err := m.sweeper.Retired(t.Context()); err != nil {
				t.Fatal(err)
			}
			if keys := m.keys(); !slices.Equal(keys, []string{p.Key}) {
				t.Errorf("objects %v, want %s", keys, p.Key)
			}
			if diff := cmp.Diff(want, m.versions()); diff != "" {
				t.Error(diff)
			}
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
	p := m.inUse()
	m.sweeper.Grace = time.Nanosecond
	if _, err := m.sweeper.Retired(t.Context()); err != nil {
		t.Fatal(err)
	}
	if keys := m.keys(); !slices.Equal(keys, []string{p.Key}) {
		t.Errorf("objects %v, want %s", keys, p.Key)
	}
	if diff := cmp.Diff(want, m.versions()); diff != "" {
		t.Error(diff)
	}
}

// TestDeletedDuringAMerge: what was deleted does not come back, and its bytes go.
func TestDeletedDuringAMerge(t *testing.T) {
	t.Parallel()
	m := newMerging(t)
	m.pack(image{number: 1})
	m.pack(image{number: 2})
	m.store.set(nil, func(string) error {
		_, err := m.index.Pool().Exec(t.Context(), `
			WITH gone AS (DELETE FROM instance WHERE sop_uid = '1.2.3.1.2' RETURNING pack_row)
			UPDATE pack SET retired_at = clock_timestamp() FROM gone WHERE id = pack_row`)
		return err
	})
	m.merge()
	m.store.set(nil, nil)
	p := m.inUse()
	f := m.readPack(p.Key)
	if len(f.Instances) != 1 || f.Manifest.Instances[0].SOPInstanceUID != "1.2.3.1.1" {
		t.Errorf("%+v", f.Manifest)
	}
	m.sweeper.Grace = time.Nanosecond
	if _, err := m.sweeper.Retired(t.Context()); err != nil {
		t.Fatal(err)
	}
	if keys := m.keys(); !slices.Equal(keys, []string{p.Key}) {
		t.Errorf("objects %v, want %s", keys, p.Key)
	}
}

func TestSeriesThatGrowsByALittle(t *testing.T) {
	const gib = 1 << 30
	for _, c := range []struct {
		bytes []int64
		skip  bool
	}{
		{[]int64{gib, 1}, false},
		{[]int64{gib + 1, 1}, true},
		{[]int64{32 * gib, gib, gib/2 - 1, gib / 4}, true},
		{[]int64{32 * gib, gib, gib}, false},
		{[]int64{32 * gib, 1, 1, 1, 1, 1, 1}, true},
		{[]int64{32 * gib, 1, 1, 1, 1, 1, 1, 1}, false},
	} {
		s := &index.StoredSeries{Packs: map[int64]index.Pack{}}
		for i, n := range c.bytes {
			s.Packs[int64(i)] = index.Pack{Bytes: n}
		}
		if got := notWorthIt(s); got != c.skip {
			t.Errorf("%v: %v", c.bytes, got)
		}
	}
}

// TestMergeInMinIO merges in a real object store, through an outage of it.
func TestMergeInMinIO(t *testing.T) {
	t.Parallel()
	server := miniotest.Start(t)
	store, err := s3.Open(t.Context(), server.Config("tasvir-merge"))
	if err != nil {
		t.Fatal(err)
	}
	m := newMerging(t)
	m.store.Store = store
	for n := range 6 {
		m.pack(image{number: 10 - n, pixels: 512 * 512 * 2}, image{number: 20 + n})
	}
	m.pack(image{number: 7, more: described("newer")})
	want := m.versions()
	server.Stop()
	short, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	err = m.merger.Study(short, m.study())
	cancel()
	if err == nil || len(m.damaged) > 0 {
		t.Fatalf("during the outage: %v, damaged %v", err, m.damaged)
	}
	server.Restart()
	m.merge()
	p := m.inUse()
	m.sweeper.Grace = time.Nanosecond
	m.exec(`UPDATE pack SET retired_at = retired_at - interval '1 day'`)
	m.sweep()
	if keys := m.keys(); !slices.Equal(keys, []string{p.Key}) {
		t.Errorf("objects %v, want %s", keys, p.Key)
	}
	if diff := cmp.Diff(want, m.versions()); diff != "" {
		t.Error(diff)
	}
	m.checkSound()
	if err := m.sweeper.Orphans(t.Context()); err != nil {
		t.Error(err)
	}
}
