package publish

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/storage"
)

// Merger makes one pack of the packs of a series.
type Merger struct {
	Index *index.Index
	Store storage.Store
	// Dir is where the metadata of a series is put together; "" is the
	// system's folder for temporary files.
	Dir string
	// Compressor, when not nil, compresses what is merged (mergecompress.go).
	Compressor Compressor
	Log        *slog.Logger // slog.Default when nil
	Observer   MergeObserver
}

// MergeObserver is told what a Merger does. Nil functions are skipped.
type MergeObserver struct {
	Merged func(packs, instances int, bytes int64, took time.Duration)
	// Compressed is told of the instances of a merged series that were
	// compressed, and how many bytes they had and have.
	Compressed func(instances int, before, after int64)
	// NotCompressed is told that the codec failed at an instance, which stays as
	// it is.
	NotCompressed func(err error)
	// Damaged is told that a series can't be merged because of the bytes of a
	// pack. Nothing has changed.
	Damaged func(packKey string, err error)
}

// DamageError says that a pack does not hold what the index says it holds.
type DamageError struct {
	PackKey string
	Err     error
}

func (e *DamageError) Error() string { return "pack " + e.PackKey + ": " + e.Err.Error() }
func (e *DamageError) Unwrap() error { return e.Err }

// mergeTime bounds one merge. A prepared pack that is not in use by then won't
// come into use.
const mergeTime = 6 * time.Hour

// Study merges the packs of each series of a study, and notes that for its
// present completion. A series that a damaged pack keeps from being merged
// stays as it is and is reported; it is no error.
func (m *Merger) Study(ctx context.Context, studyID int64) error {
	series, completions, err := m.Index.SeriesOf(ctx, studyID)
	if err != nil {
		return err
	}
	for _, id := range series {
		var damage *DamageError
		switch err := m.Series(ctx, id); {
		case errors.As(err, &damage):
			m.log().Error("a series is not merged because a pack is damaged", "pack", damage.PackKey, "error", damage.Err)
			if m.Observer.Damaged != nil {
				m.Observer.Damaged(damage.PackKey, damage.Err)
			}
		case err != nil:
			return err
		}
	}
	return m.Index.SetMerged(ctx, studyID, completions)
}

func (m *Merger) log() *slog.Logger {
	if m.Log != nil {
		return m.Log
	}
	return slog.Default()
}

// raced is how often a merge that something else got in the way of begins
// anew before it leaves the matter to the next attempt of its job.
const raced = 3

// Series merges the packs of a series into one, unless they are one already and
// nothing in it can be compressed.
//
//	DamageError  a pack does not hold what it should; nothing has changed
//	Unavailable  the store or the database does not answer; repeat
//	ErrRaced     (index) something else moves the series; repeat
func (m *Merger) Series(ctx context.Context, seriesID int64) error {
	var err error
	for range raced {
		if err = m.once(ctx, seriesID); !errors.Is(err, index.ErrRaced) {
			break
		}
	}
	if pacs.CodeOf(err) == pacs.NotFound {
		return nil // deleted meanwhile
	}
	return err
}

func (m *Merger) once(ctx context.Context, seriesID int64) error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, mergeTime)
	defer cancel()
	series, err := m.Index.StoredSeries(ctx, seriesID)
	if err != nil || nothingToDo(series, m.compressibleBytes(series)) {
		return err
	}
	files, err := m.readPacks(ctx, series)
	if err != nil {
		return err
	}
	from := newSources(ctx, m.Store)
	defer from.close()
	members, manifest, err := m.instances(series, files, from)
	if err != nil {
		return err
	}
	copies, err := m.compress(ctx, series, members, manifest)
	if err != nil {
		return err
	}
	defer copies.close()
	if len(copies.of) == 0 && merged(series) {
		return nil // nothing has become smaller
	}
	joined, err := m.joinMetadata(ctx, series, copies)
	if err != nil {
		return err
	}
	defer joined.close()
	manifestMember, manifestText, err := manifest.encode()
	if err != nil {
		return err
	}
	members = append(members, joined.member(), manifestMember)
	pack := index.Pack{Bytes: layout(members), Described: joined.count}
	meta := members[len(members)-2]
	pack.MetaOffset, pack.MetaLength = meta.offset, meta.size
	// The key follows from the content; one that exists is not used again.
	var id int64
	for attempt, err := 0, index.ErrRetired; errors.Is(err, index.ErrRetired); attempt++ {
		pack.Key = packKey(*manifest, manifestText, attempt)
		if id, err = m.Index.PreparePack(ctx, seriesID, pack, mergeTime); err != nil && !errors.Is(err, index.ErrRetired) {
			return err
		}
	}
	if err := m.put(ctx, series, members, pack, id, copies.rows()); err != nil {
		// Also when ctx has ended; if this does not work either, time does it.
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		return errors.Join(err, m.Index.AbandonPack(undo, id))
	}
	m.log().Debug("series merged", "series", series.SeriesUID, "packs", len(series.Packs), "instances", len(series.Instances), "compressed", len(copies.of))
	if m.Observer.Compressed != nil && len(copies.of) > 0 {
		m.Observer.Compressed(len(copies.of), copies.before, copies.after)
	}
	if m.Observer.Merged != nil {
		m.Observer.Merged(len(series.Packs), len(series.Instances), pack.Bytes, time.Since(began))
	}
	return nil
}

// put stores the pack and brings it into use.
func (m *Merger) put(ctx context.Context, series *index.StoredSeries, members []member, pack index.Pack, id int64, compressed map[int]*pacs.Instance) error {
	if err := m.Store.Put(ctx, pack.Key, pack.Bytes, zipReader(members)); err != nil {
		var damage *DamageError
		if errors.As(err, &damage) {
			return damage
		}
		return pacs.Wrap(pacs.Unavailable, err, "The object store does not take a merged pack")
	}
	swap := index.Swap{Series: series, PackID: id, Compressed: compressed}
	for i := range series.Instances {
		swap.Offsets = append(swap.Offsets, members[i].offset)
	}
	return m.Index.SwapPacks(ctx, swap)
}

// merged says whether a series is one pack already, in instance order and with
// the metadata of exactly its current instances.
func merged(s *index.StoredSeries) bool {
	current, at := 0, int64(-1)
	for _, in := range s.Instances {
		if in.Offset <= at {
			return false
		}
		at = in.Offset
		if in.Current {
			current++
		}
	}
	if len(s.Packs) > 1 {
		return false
	}
	for _, p := range s.Packs {
		return p.Described == current
	}
	return true // nothing is left of it
}

// A merge copies the whole series. Where a long series grows by a little again
// and again, as clips of an operation do, copying it each time would be
// quadratic: above worthIt bytes what is new must be a sixteenth of what is
// there, or be in so many packs that reading suffers.
const (
	worthIt      = 1 << 30
	worthItPacks = 8
)

// maxMerged is the most instances of a merged pack: what a pack says of itself
// is read into memory.
const maxMerged = 100_000

// notWorthIt: compressible bytes of the series are not yet as they should be.
func notWorthIt(s *index.StoredSeries, compressible int64) bool {
	var largest, all int64
	for _, p := range s.Packs {
		largest, all = max(largest, p.Bytes), all+p.Bytes
	}
	return largest > worthIt && max(all-largest, compressible) < largest/16 && len(s.Packs) < worthItPacks || len(s.Instances) > maxMerged
}

// nothingToDo says whether a series is as it should be, or as good as that.
func nothingToDo(s *index.StoredSeries, compressible int64) bool {
	return merged(s) && compressible == 0 || notWorthIt(s, compressible)
}

// readPacks reads the manifests of the packs of a series.
func (m *Merger) readPacks(ctx context.Context, s *index.StoredSeries) (map[int64]*PackFile, error) {
	files := make(map[int64]*PackFile, len(s.Packs))
	for id, p := range s.Packs {
		f, err := ReadPack(ctx, m.Store, p.Key, p.Bytes)
		if err != nil {
			return nil, storeFailure(p.Key, err)
		}
		files[id] = f
	}
	return files, nil
}

// storeFailure tells what is wrong with a pack from what is wrong with the
// store.
func storeFailure(key string, err error) error {
	if errors.Is(err, ErrDamaged) || storage.IsPermanent(err) {
		return &DamageError{key, err}
	}
	return pacs.Wrap(pacs.Unavailable, fmt.Errorf("pack %s: %w", key, err), "The object store does not give a pack at the moment")
}

// instances lays out the members and the manifest of the merged pack: current
// versions first, in instance order, then the superseded ones.
func (m *Merger) instances(s *index.StoredSeries, files map[int64]*PackFile, from *sources) ([]member, *Manifest, error) {
	type place struct{ pack, offset int64 }
	known := map[place]int{}
	for id, f := range files {
		for i, held := range f.Instances {
			known[place{id, held.Offset}] = i
		}
	}
	manifest := &Manifest{Format: 1, Facility: s.Facility, Study: s.StudyUID, Series: s.SeriesUID}
	members := make([]member, 0, len(s.Instances)+2)
	for _, in := range s.Instances {
		pack := s.Packs[in.PackID]
		i, ok := known[place{in.PackID, in.Offset}]
		if !ok {
			return nil, nil, &DamageError{pack.Key, fmt.Errorf("there is no member at %d, where %s version %d should be", in.Offset, in.SOPInstanceUID, in.Version)}
		}
		file := files[in.PackID]
		held, entry := file.Instances[i], file.Manifest.Instances[i]
		if entry.SOPInstanceUID != in.SOPInstanceUID || held.Length != in.Length || !strings.EqualFold(entry.SHA256, hex.EncodeToString(in.SHA256)) {
			return nil, nil, &DamageError{pack.Key, fmt.Errorf("%s version %d is not what the index knows it as", in.SOPInstanceUID, in.Version)}
		}
		// The index numbers versions anew when it is rebuilt.
		entry.Version, entry.Superseded, entry.Member = in.Version, !in.Current, ""
		if !in.Current {
			entry.Member = fmt.Sprintf("%s.v%d.dcm", in.SOPInstanceUID, in.Version)
		}
		manifest.Instances = append(manifest.Instances, entry)
		members = append(members, member{
			name: entry.MemberName(), size: held.Length, crc32: held.CRC32,
			open: from.instance(pack.Key, in, held.CRC32),
		})
	}
	return members, manifest, nil
}
