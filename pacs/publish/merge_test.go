package publish

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/storage/s3"
	"github.com/tasvir-pacs/tasvir/storage/s3/miniotest"
)

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
	want := m.versions()
	m.merge()
	p := m.ended(want)
	var data int64
	m.row(`SELECT sum(length) FROM instance`, nil, &data)
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

func TestSeriesThatGrowsByALittle(t *testing.T) {
	const gib = 1 << 30
	for _, c := range []struct {
		bytes        []int64
		compressible int64
		skip         bool
	}{
		{[]int64{gib, 1}, 0, false},
		{[]int64{gib + 1, 1}, 0, true},
		{[]int64{gib + 1, 1}, gib, false},
		{[]int64{2 * gib}, 0, true},
		{[]int64{2 * gib}, 2*gib - 1000, false},
		{[]int64{32 * gib, gib, gib/2 - 1, gib / 4}, 0, true},
		{[]int64{32 * gib, gib, gib/2 - 1, gib / 4}, 2*gib - 1, true},
		{[]int64{32 * gib, gib, gib}, 0, false},
		{[]int64{32 * gib, 1, 1, 1, 1, 1, 1}, 0, true},
		{[]int64{32 * gib, 1, 1, 1, 1, 1, 1, 1}, 0, false},
	} {
		s := &index.StoredSeries{Packs: map[int64]index.Pack{}}
		for i, n := range c.bytes {
			s.Packs[int64(i)] = index.Pack{Bytes: n}
		}
		if got := notWorthIt(s, c.compressible); got != c.skip {
			t.Errorf("%v, %d: %v", c.bytes, c.compressible, got)
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
	m.ended(want)
	if err := m.sweeper.Orphans(t.Context()); err != nil {
		t.Error(err)
	}
}
