package publish

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/pixel"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/pixeltest"
	"github.com/tasvir-pacs/tasvir/storage/tiered"
)

func (m *merging) compressing() *merging {
	m.merger.Compressor = pixeltest.Compressor(m.t)
	return m
}

// noisy pixels can't be compressed.
func noisy(i image) image {
	more := i.more
	i.more = func(ds *dicom.Dataset) {
		if more != nil {
			more(ds)
		}
		r := rand.New(rand.NewPCG(7, uint64(i.number)))
		noise := make([]byte, 64*64*2)
		for k := range noise {
			noise[k] = byte(r.Uint32())
		}
		ds.SetInts(dicom.TagBitsStored, dicom.US, 16)
		ds.SetInts(dicom.TagHighBit, dicom.US, 15)
		ds.SetBytes(dicom.TagPixelData, dicom.OW, noise)
	}
	return i
}

// withBulk has a value before the pixel data and one behind that metadata leave
// out.
func withBulk(ds *dicom.Dataset) {
	ds.SetBytes(0x00420011, dicom.OB, bytes.Repeat([]byte("before"), 2000))
	ds.SetBytes(0xFFFCFFFC, dicom.OB, bytes.Repeat([]byte("behind"), 2000))
}

// objects are the metadata of a series without pixel data, by SOP Instance UID.
func (m *merging) objects() map[string]string {
	m.t.Helper()
	text, _ := m.metadata("1.2.3", "1.2.3.1")
	var list []map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		m.t.Fatal(err)
	}
	all := map[string]string{}
	for _, object := range list {
		pixels := string(object["7FE00010"])
		delete(object, "7FE00010")
		b, err := json.Marshal(object)
		if err != nil {
			m.t.Fatal(err)
		}
		all[string(object["00080018"])] = string(b)
		all["pixels of "+string(object["00080018"])] = fmt.Sprint(strings.Contains(pixels, "BulkDataURI"))
	}
	return all
}

// TestMergeCompresses: what can be is compressed, everything else about the
// archive stays as it was.
func TestMergeCompresses(t *testing.T) {
	t.Parallel()
	m := newMerging(t).compressing()
	var told []string
	m.merger.Observer.Compressed = func(n int, before, after int64) {
		told = append(told, fmt.Sprint(n, " ", after < before))
	}
	document := image{number: 8, pixels: -1}
	second := image{number: 5, more: withBulk}
	m.pack(image{number: 10, more: withBulk}, image{number: 5})
	m.pack(image{number: 1}, noisy(image{number: 2}), document)
	m.pack(second)
	received, objects := m.versions(), m.objects()
	m.merge()

	kept := m.versions()
	compressed := []string{"1.2.3.1.1 1", "1.2.3.1.10 1", "1.2.3.1.5 2"}
	for name, file := range received {
		if !slices.Contains(compressed, name) {
			if kept[name] != file {
				t.Errorf("%s is not as it was", name)
			}
			continue
		}
		pixeltest.Check(t, name, []byte(file), []byte(kept[name]))
		sop, version, _ := strings.Cut(name, " ")
		var sum, stored, syntax, was string
		var length int
		m.row(`SELECT compressed->>'sha256', encode(sha256, 'hex'), transfer_syntax, compressed->>'transfer_syntax', (compressed->>'length')::int
			FROM instance WHERE sop_uid = $1 AND version = $2::int`, []any{sop, version}, &sum, &stored, &syntax, &was, &length)
		h, err := dicom.Scan(strings.NewReader(file), dicom.ScanOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if sum != hashOf([]byte(file[h.DatasetOffset:])) || sum == stored || syntax != dicom.JPEGLSLossless || was != dicom.ExplicitVRLittleEndian || length != len(file) {
			t.Errorf("%s: received as %s %s of %d bytes, kept as %s %s", name, sum, was, length, stored, syntax)
		}
	}
	if !slices.Equal(told, []string{"3 true"}) {
		t.Errorf("the observer was told %v", told)
	}
	if diff := cmp.Diff(objects, m.objects()); diff != "" {
		t.Error("metadata:", diff)
	}
	m.wantCount(1, `SELECT count(*) FROM study s WHERE bytes = (SELECT sum(length) FROM instance i WHERE i.study_row = s.id)`)
	m.ended(kept)
	// Again: nothing to do, although the noisy one is tried again.
	puts := len(m.store.puts)
	m.merge()
	if len(m.store.puts) != puts {
		t.Error("a merge that could do nothing has written something")
	}

	// What is sent again is known; what is new is compressed, too.
	m.receive(image{number: 1}, second)
	m.total += 2
	m.settled(m.total)
	m.wantCount(len(received), `SELECT count(*) FROM instance`)
	m.pack(image{number: 1, more: described("other")}, image{number: 7})
	m.merge()
	m.wantCount(5, `SELECT count(*) FROM instance WHERE compressed IS NOT NULL`)
	m.wantCount(1, `SELECT count(*) FROM instance WHERE sop_uid = '1.2.3.1.1' AND version = 1 AND NOT current AND compressed IS NOT NULL`)
	later := m.versions()
	for name, file := range kept {
		if later[name] != file {
			t.Errorf("%s is not as it was", name)
		}
	}
	m.ended(later)
	m.checkPacks()
}

// TestOnePackIsCompressed: also what needs no merging.
func TestOnePackIsCompressed(t *testing.T) {
	t.Parallel()
	m := newMerging(t).compressing()
	m.pack(image{number: 1})
	m.merge()
	m.wantCount(1, `SELECT count(*) FROM instance WHERE compressed IS NOT NULL`)
	m.ended(m.versions())
}

// TestNothingIsCompressedUnasked: it is off unless somebody turns it on.
func TestNothingIsCompressedUnasked(t *testing.T) {
	t.Parallel()
	m := newMerging(t)
	m.pack(image{number: 1})
	m.pack(image{number: 2})
	want := m.versions()
	m.merge()
	m.wantCount(0, `SELECT count(*) FROM instance WHERE compressed IS NOT NULL`)
	m.ended(want)
}

// TestHeldAndColdAreNotCompressed: what is under legal hold stays as it came,
// also when the hold comes while it is compressed; what is in a cold store stays
// there.
func TestHeldAndColdAreNotCompressed(t *testing.T) {
	t.Parallel()
	const hold = `INSERT INTO legal_hold (study_uid, who, why) VALUES ('1.2.3', 'court', 'a case')`
	for name, come := range map[string]func(m *merging){
		"held": func(m *merging) { m.exec(hold) },
		"held meanwhile": func(m *merging) {
			m.store.set(nil, func(string) error { m.store.set(nil, nil); m.exec(hold); return nil })
		},
		"cold": func(m *merging) {
			packs, err := index.PacksOfStudy(t.Context(), m.index.Pool(), m.study())
			if err != nil || len(packs) != 1 {
				t.Fatal(len(packs), err)
			}
			moved, err := m.packs.CopyTo(t.Context(), tiered.Prefix, packs[0])
			if err != nil {
				t.Fatal(err)
			}
			if err := pgx.BeginFunc(t.Context(), m.index.Pool(), func(tx pgx.Tx) error {
				return index.MovePack(t.Context(), tx, m.study(), packs[0].ID, moved.ID)
			}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMerging(t).compressing()
			m.pack(image{number: 1})
			want := m.versions()
			come(m)
			m.merge()
			m.wantCount(0, `SELECT count(*) FROM instance WHERE compressed IS NOT NULL OR transfer_syntax <> '`+dicom.ExplicitVRLittleEndian+`'`)
			m.ended(want)
		})
	}
}

// compressorFunc is a Compressor of a test.
type compressorFunc func(ctx context.Context, src io.ReaderAt, size int64, dst io.WriterAt) (int64, error)

func (f compressorFunc) Compress(ctx context.Context, src io.ReaderAt, size int64, dst io.WriterAt) (int64, error) {
	return f(ctx, src, size, dst)
}

// TestCodecFails: whatever a codec does costs the compression and never the
// merge.
func TestCodecFails(t *testing.T) {
	t.Parallel()
	dead := pacs.Errorf(pacs.Unavailable, "The codec died")
	for _, c := range []struct {
		name     string
		codec    compressorFunc
		calls    int
		failures int
	}{
		{"dies", func(context.Context, io.ReaderAt, int64, io.WriterAt) (int64, error) { return 0, dead }, codecFailures, codecFailures},
		{"wants nothing", func(context.Context, io.ReaderAt, int64, io.WriterAt) (int64, error) { return 0, pixel.ErrKeep }, 5, 0},
		{"dies half way", func(_ context.Context, _ io.ReaderAt, _ int64, dst io.WriterAt) (int64, error) {
			_, _ = dst.WriteAt([]byte("half of it"), 0)
			return 0, dead
		}, codecFailures, codecFailures},
		{"writes what is no DICOM", func(_ context.Context, _ io.ReaderAt, _ int64, dst io.WriterAt) (int64, error) {
			n, err := dst.WriteAt([]byte("this is not an image"), 0)
			return int64(n), err
		}, codecFailures, codecFailures},
		{"copies", func(_ context.Context, src io.ReaderAt, size int64, dst io.WriterAt) (int64, error) {
			return io.Copy(io.NewOffsetWriter(dst, 0), io.NewSectionReader(src, 0, size))
		}, codecFailures, codecFailures},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := newMerging(t)
			for n := range 5 {
				m.pack(image{number: n + 1})
			}
			calls, failures := 0, 0
			m.merger.Observer.NotCompressed = func(error) { failures++ }
			m.merger.Compressor = compressorFunc(func(ctx context.Context, src io.ReaderAt, size int64, dst io.WriterAt) (int64, error) {
				calls++
				return c.codec(ctx, src, size, dst)
			})
			want := m.versions()
			m.merge()
			if calls != c.calls || failures != c.failures {
				t.Errorf("%d calls of which %d failed", calls, failures)
			}
			m.wantCount(0, `SELECT count(*) FROM instance WHERE compressed IS NOT NULL`)
			m.ended(want)
		})
	}
}

// TestCompressingMergeRepeated: a merge that compresses may be cut off anywhere,
// too. Nothing has changed then, and the next one does the work.
func TestCompressingMergeRepeated(t *testing.T) {
	t.Parallel()
	broken := errors.New("cut off")
	for name, cut := range map[string]func(m *merging, cancel context.CancelFunc){
		"before the object is stored": func(m *merging, _ context.CancelFunc) { m.store.set(once(broken), nil) },
		"after the object is stored":  func(m *merging, _ context.CancelFunc) { m.store.set(nil, once(broken)) },
		"killed after the object is stored": func(m *merging, cancel context.CancelFunc) {
			m.store.set(nil, func(string) error { cancel(); return nil })
		},
		"reading an original fails":      func(m *merging, _ context.CancelFunc) { m.store.setGet(10, broken) },
		"reading an original breaks off": func(m *merging, _ context.CancelFunc) { m.store.setCut(10) },
		"killed while the codec is at work": func(m *merging, cancel context.CancelFunc) {
			real := m.merger.Compressor
			m.merger.Compressor = compressorFunc(func(ctx context.Context, src io.ReaderAt, size int64, dst io.WriterAt) (int64, error) {
				cancel()
				return real.Compress(ctx, src, size, dst)
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMerging(t).compressing()
			real := m.merger.Compressor
			for n := range 4 {
				m.pack(image{number: 4 - n})
			}
			want := m.versions()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			cut(m, cancel)
			if err := m.merger.Study(ctx, m.study()); err == nil || len(m.damaged) > 0 {
				t.Fatalf("%v, damaged %v", err, m.damaged)
			}
			if diff := cmp.Diff(want, m.versions()); diff != "" {
				t.Error("something has changed:", diff)
			}
			m.wantCount(0, `SELECT count(*) FROM instance WHERE compressed IS NOT NULL`)
			m.store.set(nil, nil)
			m.store.setGet(0, nil)
			m.merger.Compressor = real
			m.merge()
			kept := m.versions()
			for name, file := range want {
				pixeltest.Check(t, name, []byte(file), []byte(kept[name]))
			}
			m.ended(kept)
		})
	}
}

// TestDamageIsNotCompressed: an original is checked before it is compressed.
func TestDamageIsNotCompressed(t *testing.T) {
	t.Parallel()
	m := newMerging(t).compressing()
	m.pack(image{number: 1})
	key := m.inUse().Key
	b := m.object(key)
	f := m.readPack(key)
	b[f.Instances[0].Offset+f.Instances[0].Length-1] ^= 1
	m.overwrite(key, b)
	if err := m.merger.Study(t.Context(), m.study()); err != nil || !slices.Equal(m.damaged, []string{key}) {
		t.Errorf("%v, damaged %v", err, m.damaged)
	}
	m.wantCount(0, `SELECT count(*) FROM instance WHERE compressed IS NOT NULL`)
	if now := m.inUse().Key; now != key {
		t.Errorf("%s is in use", now)
	}
}

// TestPixelsDeletedAfterCompression: what was received is known again, and
// comes back whole.
func TestPixelsDeletedAfterCompression(t *testing.T) {
	t.Parallel()
	m := newMerging(t).compressing()
	m.pack(image{number: 1}, image{number: 2, pixels: -1})
	received := m.versions()
	m.merge()
	studyID := m.study()
	packs, err := index.PacksOfStudy(t.Context(), m.index.Pool(), studyID)
	if err != nil || len(packs) != 1 {
		t.Fatal(len(packs), err)
	}
	swap, err := m.packs.WithoutPixels(t.Context(), packs[0], time.Now().UTC(), "test")
	if err != nil {
		t.Fatal(err)
	}
	if err := pgx.BeginFunc(t.Context(), m.index.Pool(), func(tx pgx.Tx) error {
		return index.DeletePixels(t.Context(), tx, studyID, []index.PackSwap{swap})
	}); err != nil {
		t.Fatal(err)
	}
	m.ended(m.versions())
	want := contents(t, m.index)
	ix := emptyIndex(t)
	if report := (Reindex{Store: m.store, Index: ix}).mustRun(t); len(report.Bad) > 0 {
		t.Errorf("%+v", report.Bad)
	}
	if diff := cmp.Diff(want, contents(t, ix)); diff != "" {
		t.Error("reindexed:", diff)
	}
	m.pack(image{number: 1}) // sent again
	m.wantCount(1, `SELECT count(*) FROM instance WHERE sop_uid = '1.2.3.1.1' AND version = 1 AND pixels_deleted IS NULL AND compressed IS NULL
		AND transfer_syntax = '`+dicom.ExplicitVRLittleEndian+`'`)
	if diff := cmp.Diff(received, m.versions()); diff != "" {
		t.Error("sent again:", diff)
	}
}

// TestReindexOfTheCompressed: with and without what was compressed, with a
// compressed pack that nobody knows, and when it is added to.
func TestReindexOfTheCompressed(t *testing.T) {
	t.Parallel()
	m := newMerging(t).compressing()
	m.pack(image{number: 1}, image{number: 2}, noisy(image{number: 3}))
	loose := contents(t, m.index)
	one := m.inUse().Key
	original := m.object(one)
	m.merge()
	m.pack(image{number: 1, more: described("newer")}, image{number: 4})
	want := contents(t, m.index)
	again := func(what string) {
		t.Helper()
		ix := emptyIndex(t)
		if report := (Reindex{Store: m.store, Index: ix}).mustRun(t); len(report.Bad) > 0 {
			t.Errorf("%s: %+v", what, report.Bad)
		}
		if diff := cmp.Diff(want, contents(t, ix)); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	again("before the original is swept")
	m.sweeper.Grace = time.Nanosecond
	m.sweep()
	again("after the original is swept")

	// The original comes back, as from a backup: it holds nothing new.
	m.overwrite(one, original)
	m.exec(`DELETE FROM pack WHERE key = $1`, one)
	added, err := AddPack(t.Context(), m.index, m.store, one, nil)
	if err != nil || added != 0 {
		t.Errorf("%d instances were added, %v", added, err)
	}
	x, err := Examine(t.Context(), m.store, one, nil)
	if err != nil {
		t.Fatal(err)
	}
	if contained, err := Contained(t.Context(), m.index, x); err != nil || !contained {
		t.Errorf("the original is contained: %v, %v", contained, err)
	}
	if elsewhere, err := m.sweeper.elsewhere(t.Context(), *x.Manifest); err != nil || !elsewhere {
		t.Errorf("the original is elsewhere: %v, %v", elsewhere, err)
	}
	(&Reindex{Store: m.store, Index: m.index, Add: true}).mustRun(t)
	if diff := cmp.Diff(want, contents(t, m.index)); diff != "" {
		t.Error("added to:", diff)
	}

	// The other way round: an index of the original finds the compressed pack.
	var key string
	m.row(`SELECT k.key FROM pack k JOIN instance i ON i.pack_row = k.id WHERE i.compressed IS NOT NULL LIMIT 1`, nil, &key)
	ix := emptyIndex(t)
	if _, err := AddPack(t.Context(), ix, m.store, one, nil); err != nil {
		t.Fatal(err)
	}
	settled := contents(t, ix)
	if diff := cmp.Diff(loose, settled); diff != "" {
		t.Error("the original alone:", diff)
	}
	if added, err := AddPack(t.Context(), ix, m.store, key, nil); err != nil || added != 0 {
		t.Errorf("%d instances were added, %v", added, err)
	}
	if diff := cmp.Diff(settled, contents(t, ix)); diff != "" {
		t.Error("the compressed added:", diff)
	}
}
