package publish

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/index"
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

// mergeSome merges about half of the studies, and compresses them when it is
// given a codec.
func (a *archive) mergeSome(rng *rand.Rand, codec Compressor) {
	a.t.Helper()
	var studies []int64
	a.row(`SELECT array_agg(id ORDER BY id) FROM study`, nil, &studies)
	merger := &Merger{Index: a.index, Store: a.store, Dir: a.t.TempDir(), Compressor: codec, Observer: MergeObserver{
		NotCompressed: func(err error) { a.t.Error(err) },
		Damaged:       func(key string, err error) { a.t.Errorf("%s: %v", key, err) },
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

// ended is how every merge ends: whatever is left over is retired and swept,
// the one object left is the pack in use, and all versions are as they were.
func (m *merging) ended(want map[string]string) index.Pack {
	m.t.Helper()
	p := m.inUse()
	// What a killed merge has prepared is retired when its time is over.
	m.exec(`UPDATE pack SET retired_at = retired_at - interval '1 day'`)
	m.sweeper.Grace = time.Nanosecond
	m.sweep()
	if keys := m.keys(); !slices.Equal(keys, []string{p.Key}) {
		m.t.Errorf("objects %v, want %s", keys, p.Key)
	}
	if diff := cmp.Diff(want, m.versions()); diff != "" {
		m.t.Error("the instances are not as they were:", diff)
	}
	m.checkSound()
	return p
}
