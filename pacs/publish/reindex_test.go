package publish

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/index/indextest"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/pixeltest"
	"github.com/tasvir-pacs/tasvir/storage"
)

// numbered tells people apart who share an ID. Those without one are numbered
// as they are published, which several workers do at once: what counts is that
// the same studies are of the same person.
const numbered = `CASE WHEN p.patient_id = '' THEN (SELECT min(o.study_uid) FROM study o WHERE o.patient_row = p.id) ELSE p.variant::text END`

// contents is everything an index says, without its own row numbers and the
// times at which rows were written.
func contents(t testing.TB, ix *index.Index) string {
	t.Helper()
	var out strings.Builder
	for _, sql := range []string{
		`SELECT 'facility ' || code FROM facility ORDER BY code`,
		`SELECT concat_ws('|', 'patient', f.code, p.issuer, p.patient_id, ` + numbered + `, p.name, p.name_fold, p.sex, p.birth_date, p.pinfl)
			FROM patient p JOIN facility f ON f.id = p.facility_row ORDER BY 1`,
		`SELECT concat_ws('|', 'study', s.study_uid, f.code, p.issuer, p.patient_id, ` + numbered + `, s.study_date, s.study_time, s.accession_number, s.study_id,
			s.description, s.referring_physician, s.question, s.modalities, s.body_parts, s.series_count, s.instance_count, s.bytes, s.received_at, s.attributes)
			FROM study s JOIN facility f ON f.id = s.facility_row JOIN patient p ON p.id = s.patient_row ORDER BY 1`,
		`SELECT concat_ws('|', 'series', s.study_uid, e.series_uid, e.modality, e.number, e.description, e.body_part, e.instance_count, e.has_pixels, e.attributes)
			FROM series e JOIN study s ON s.id = e.study_row ORDER BY 1`,
		`SELECT concat_ws('|', 'instance', s.study_uid, e.series_uid, i.sop_uid, i.version, i.current, i.sop_class, i.transfer_syntax, i.number, i.rows, i.columns, i.frames,
			encode(i.sha256, 'hex'), k.key, i.pack_offset, i.length, i.dataset_offset, i.pixels, i.compressed, i.pixels_deleted, i.sender, i.channel, i.charset, i.received_at, i.attributes)
			FROM instance i JOIN study s ON s.id = i.study_row JOIN series e ON e.id = i.series_row JOIN pack k ON k.id = i.pack_row ORDER BY 1`,
		`SELECT concat_ws('|', 'pack', k.key, e.series_uid, k.bytes, k.meta_offset, k.meta_length, k.described) FROM pack k JOIN series e ON e.id = k.series_row WHERE k.retired_at IS NULL ORDER BY 1`,
	} {
		rows, err := ix.Pool().Query(t.Context(), sql)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		out.WriteString(strings.Join(lines, "\n") + "\n")
	}
	return out.String()
}

// shuffled lists a store in any order.
type shuffled struct {
	storage.Store
	by func(n int, swap func(i, j int))
}

func (s shuffled) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	var all []storage.Info
	for info, err := range s.Store.List(ctx, prefix) {
		if err != nil {
			panic(err)
		}
		all = append(all, info)
	}
	s.by(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return func(yield func(storage.Info, error) bool) {
		for _, info := range all {
			if !yield(info, nil) {
				return
			}
		}
	}
}

// emptyIndex is the index of a new database.
func emptyIndex(t testing.TB) *index.Index {
	t.Helper()
	ix, err := index.Open(t.Context(), indextest.New(t, migrate))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ix.Close)
	return ix
}

func (r Reindex) mustRun(t testing.TB) *ReindexReport {
	t.Helper()
	report, err := r.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// hospital is a day in two hospitals: shared patient IDs, no IDs, versions,
// several series and packs each.
func hospital(rng *rand.Rand) (batches [][]image) {
	type person struct{ id, name, birth, sex string }
	people := []person{
		{"12345", "Karimov^Ali", "19700101", "M"},
		{"12345", "Каримов^Али", "", ""},
		{"12345", "Umarova^Zilola", "19880505", "F"},
		{"", "Nobody^Knows", "", ""},
		{"77", "", "", ""},
		{"77", "Olimov^Bek", "19600606", "M"},
	}
	study := 0
	for range 3 + rng.IntN(4) {
		study++
		facility := []string{"TMA", "NUKUS"}[rng.IntN(2)]
		who := people[rng.IntN(len(people))]
		uid := fmt.Sprint("1.2.", study)
		for series := range 1 + rng.IntN(2) {
			for range 1 + rng.IntN(3) { // packs
				var batch []image
				for range 1 + rng.IntN(4) {
					change := rng.IntN(3)
					batch = append(batch, image{
						facility: facility, patient: who.id, study: uid, series: fmt.Sprint(uid, ".", series+1), number: 1 + rng.IntN(6),
						more: func(ds *dicom.Dataset) {
							ds.SetString(dicom.TagPatientID, dicom.LO, who.id)
							ds.SetString(dicom.TagPatientName, dicom.PN, who.name)
							ds.SetString(dicom.TagSpecificCharacterSet, dicom.CS, "ISO_IR 192")
							ds.SetString(dicom.TagPatientBirthDate, dicom.DA, who.birth)
							ds.SetString(dicom.TagPatientSex, dicom.CS, who.sex)
							ds.SetString(dicom.TagImageComments, dicom.LT, fmt.Sprint("change ", change))
						},
					})
				}
				batches = append(batches, batch)
			}
		}
	}
	rng.Shuffle(len(batches), func(i, j int) { batches[i], batches[j] = batches[j], batches[i] })
	return batches
}

// TestReindexGivesTheSameIndex: whatever was received, and in whatever order
// the objects are listed, the index that comes back is the one that was lost.
func TestReindexGivesTheSameIndex(t *testing.T) {
	for seed := range uint64(9) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 1))
			a := newArchive(t)
			a.start()
			n := 0
			for _, batch := range hospital(rng) {
				a.receive(batch...)
				n += len(batch)
				a.settled(n)
			}
			if len(a.held) > 0 {
				t.Fatal(a.held)
			}
			if seed%3 > 0 { // what was merged comes back merged, with and without what it was merged from
				var squeeze Compressor
				if seed >= 6 { // in another form than it was received in
					squeeze = pixeltest.Compressor(t)
				}
				a.mergeSome(rng, squeeze)
			}
			if seed%3 > 1 {
				if _, err := (&Sweeper{Index: a.index, Store: a.store, Grace: time.Nanosecond}).Retired(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			want := contents(t, a.index)
			for range 2 {
				ix := emptyIndex(t)
				report := Reindex{Store: shuffled{a.store, rng.Shuffle}, Index: ix, Parallel: 3}.mustRun(t)
				if len(report.Bad) > 0 {
					t.Errorf("%+v", report.Bad)
				}
				if diff := gocmp.Diff(want, contents(t, ix)); diff != "" {
					t.Fatal(diff)
				}
				var incomplete int
				if err := ix.Pool().QueryRow(t.Context(), `SELECT count(*) FROM study WHERE completed_at IS NULL OR completions <> 1`).Scan(&incomplete); err != nil || incomplete > 0 {
					t.Errorf("%d studies are incomplete, %v", incomplete, err)
				}
				// What is served comes from the same bytes.
				again := &Packs{Index: ix, Store: a.store}
				all, _, err := ix.Instances(t.Context(), pacs.System("test"), pacs.InstanceFilter{})
				if err != nil {
					t.Fatal(err)
				}
				for _, in := range all {
					body, err := again.Open(t.Context(), in.Location, 0, -1)
					if err != nil {
						t.Fatal(err)
					}
					b, err := io.ReadAll(body)
					body.Close()
					if err != nil || string(b[128:132]) != "DICM" {
						t.Errorf("%s: %v", in.SOPInstanceUID, err)
					}
				}
			}
		})
	}
}

func TestReindexRefusesAFilledIndex(t *testing.T) {
	a := newArchive(t)
	a.start()
	a.receive(image{number: 1}, image{number: 2})
	a.settled(2)
	_, err := (&Reindex{Store: a.store, Index: a.index}).Run(t.Context())
	if pacs.CodeOf(err) != pacs.Conflict {
		t.Errorf("a filled index: %v", err)
	}
}

// TestReindexAdds: only what is missing comes in, and what is there stays.
func TestReindexAdds(t *testing.T) {
	a := newArchive(t)
	a.start()
	a.receive(image{number: 1}, image{number: 2})
	a.settled(2)
	a.receive(image{number: 3})
	a.settled(3)
	a.receive(image{number: 1, pixels: 2 * 64 * 64}, image{number: 1, series: "1.2.3.2"})
	a.settled(5)
	want := contents(t, a.index)
	var told []string
	for _, lose := range []string{
		`DELETE FROM instance WHERE number = 3`,
		`DELETE FROM instance WHERE series_row = (SELECT id FROM series WHERE series_uid = '1.2.3.2')`,
	} {
		if _, err := a.index.Pool().Exec(t.Context(), lose); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.index.Pool().Exec(t.Context(), `DELETE FROM pack k WHERE NOT EXISTS (SELECT 1 FROM instance WHERE pack_row = k.id)`); err != nil {
		t.Fatal(err)
	}
	Reindex{Store: a.store, Index: a.index, Add: true, InTransaction: func(_ context.Context, _ pgx.Tx, study string, added index.Added) error {
		told = append(told, study)
		return nil
	}}.mustRun(t)
	if diff := gocmp.Diff(want, contents(t, a.index)); diff != "" {
		t.Error(diff)
	}
	if len(told) != 2 {
		t.Errorf("follow-up for %v", told)
	}
	Reindex{Store: a.store, Index: a.index, Add: true, InTransaction: func(context.Context, pgx.Tx, string, index.Added) error {
		t.Error("something was added again")
		return nil
	}}.mustRun(t)
}

var errKilled = errors.New("killed")

// TestReindexGoesOn: a run that is killed anywhere goes on where it was.
func TestReindexGoesOn(t *testing.T) {
	a := newArchive(t)
	a.start()
	n := 0
	for _, batch := range hospital(rand.New(rand.NewPCG(99, 1))) {
		a.receive(batch...)
		n += len(batch)
		a.settled(n)
	}
	want := contents(t, a.index)
	ix := emptyIndex(t)
	for steps := 3; ; steps += 5 {
		ctx, cancel := context.WithCancelCause(t.Context())
		left := steps
		_, err := (&Reindex{Store: a.store, Index: ix, Parallel: 1, Progress: func(ReindexProgress) {
			if left--; left == 0 {
				cancel(errKilled)
			}
		}}).Run(ctx)
		cancel(nil)
		if err == nil {
			break
		}
		if context.Cause(ctx) != errKilled {
			t.Fatal(err)
		}
	}
	if diff := gocmp.Diff(want, contents(t, ix)); diff != "" {
		t.Error(diff)
	}
}

// object reads an object whole.
func (a *archive) object(key string) []byte {
	a.t.Helper()
	b, err := os.ReadFile(filepath.Join(a.dir, "store", key))
	if err != nil {
		a.t.Fatal(err)
	}
	return b
}

func (a *archive) overwrite(key string, b []byte) {
	a.t.Helper()
	if err := a.store.Store.Put(a.t.Context(), key, int64(len(b)), bytes.NewReader(b)); err != nil {
		a.t.Fatal(err)
	}
}

// TestReindexOfDamagedPacks: what is sound in a damaged pack is indexed, the
// damage is reported, and other packs are not concerned.
func TestReindexOfDamagedPacks(t *testing.T) {
	a := newArchive(t, func(o *Options) { o.Quiet, o.Patience = time.Second, time.Minute }) // one pack each
	a.start()
	a.receive(image{facility: "NUKUS", number: 1}, image{facility: "NUKUS", number: 2}, image{facility: "NUKUS", number: 3})
	a.settled(3)
	a.receive(image{facility: "NUKUS", study: "1.2.4", number: 1})
	a.settled(4)
	key := ""
	for _, k := range a.keys() {
		if strings.HasPrefix(k, "packs/1.2.3/") {
			key = k
		}
	}
	whole := a.object(key)
	members, start, err := (&packObject{store: a.store, key: key, size: int64(len(whole))}).directory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	flip := func(at int64) []byte {
		b := bytes.Clone(whole)
		b[at] ^= 0x10
		return b
	}
	for name, c := range map[string]struct {
		bytes     []byte
		instances int
		facility  string
	}{
		"an instance":        {flip(members[1].offset + 4000), 2, "NUKUS"},
		"a file meta":        {flip(members[1].offset + 140), 2, "NUKUS"},
		"a local header":     {flip(members[1].headerAt + 2), 3, "NUKUS"},
		"a CRC":              {flip(members[1].headerAt + 14), 3, "NUKUS"},
		"a name":             {flip(members[1].headerAt + 31), 3, "NUKUS"},
		"metadata":           {flip(members[3].offset + 9), 3, "NUKUS"},
		"manifest":           {flip(members[4].offset + 20), 3, "UNASSIGNED"},
		"directory":          {flip(start + 3), 3, "NUKUS"},
		"size in directory":  {flip(start + 24), 3, "NUKUS"},
		"CRC in directory":   {flip(start + 16), 3, "NUKUS"},
		"end":                {flip(int64(len(whole)) - 1), 3, "NUKUS"},
		"cut in directory":   {whole[:start+10], 3, "NUKUS"},
		"cut in manifest":    {whole[:members[4].offset+3], 3, "UNASSIGNED"},
		"cut in an instance": {whole[:members[2].offset+100], 2, "UNASSIGNED"},
		"nothing left":       {whole[:3], 0, ""},
		"empty":              {nil, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a.overwrite(key, c.bytes)
			ix := emptyIndex(t)
			report := Reindex{Store: a.store, Index: ix}.mustRun(t)
			if len(report.Bad) != 1 || report.Bad[0].Key != key || report.Bad[0].Indexed != c.instances {
				t.Errorf("bad packs: %+v", report.Bad)
			}
			all, _, err := ix.Instances(t.Context(), pacs.System("test"), pacs.InstanceFilter{Series: pacs.SeriesFilter{Study: pacs.StudyFilter{StudyInstanceUIDs: []string{"1.2.3"}}}})
			if err != nil || len(all) != c.instances {
				t.Fatalf("%d instances, want %d, %v", len(all), c.instances, err)
			}
			for _, in := range all {
				if got := a.read(in); !bytes.Equal(got, image{facility: "NUKUS", number: *in.Number}.encoded(t)) {
					t.Errorf("instance %d has other bytes", *in.Number)
				}
			}
			if c.instances > 0 {
				s, _, err := ix.Studies(t.Context(), pacs.System("test"), pacs.StudyFilter{StudyInstanceUIDs: []string{"1.2.3"}})
				if err != nil || len(s) != 1 || s[0].Facility.Code != c.facility || s[0].InstanceCount != c.instances {
					t.Errorf("%+v, %v", s, err)
				}
			}
			// A dry run says the same and needs no index.
			dry := Reindex{Store: a.store, DryRun: true}.mustRun(t)
			if len(dry.Bad) != 1 || dry.Instances != c.instances+1 {
				t.Errorf("dry run: %+v", dry)
			}
		})
	}
}

// TestReindexTellsAnOutageFromDamage: a store that goes away ends the run, and
// nothing is taken for damaged.
func TestReindexTellsAnOutageFromDamage(t *testing.T) {
	a := newArchive(t)
	a.start()
	a.receive(image{number: 1}, image{number: 2})
	a.settled(2)
	down := &away{Store: a.store, err: errors.New("connection refused")}
	ix := emptyIndex(t)
	if _, err := (&Reindex{Store: down, Index: ix}).Run(t.Context()); pacs.CodeOf(err) != pacs.Unavailable {
		t.Fatalf("an outage: %v", err)
	}
	down.err = nil
	if report := (Reindex{Store: down, Index: ix}).mustRun(t); len(report.Bad) > 0 || report.Instances != 2 {
		t.Errorf("%+v", report)
	}
}

// away is a store whose objects can't be read for a while.
type away struct {
	storage.Store
	err error
}

func (s *away) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if s.err != nil {
		return nil, s.err
	}
	return s.Store.Get(ctx, key, offset, length)
}

func (s *away) Stat(ctx context.Context, key string) (storage.Info, error) {
	if s.err != nil {
		return storage.Info{}, s.err
	}
	return s.Store.Stat(ctx, key)
}

// FuzzPack: no bytes make Examine fail, and what it calls sound can be read.
func FuzzPack(f *testing.F) {
	var members []member
	manifest := Manifest{Format: 1, Facility: "TMA", Study: "1.2.3", Series: "1.2.3.1"}
	for n := range 2 {
		i := image{number: n + 1, pixels: 256}.withDefaults()
		meta := dicom.AppendFileMeta(nil, dicom.FileMeta{SOPClassUID: ctImageStorage, SOPInstanceUID: i.sop, TransferSyntaxUID: dicom.ExplicitVRLittleEndian})
		members = append(members, inMemory(i.sop+".dcm", append(meta, i.encoded(f)...)))
		manifest.Instances = append(manifest.Instances, ManifestEntry{SOPInstanceUID: i.sop, Version: 1, SHA256: hashOf(i.encoded(f))})
	}
	w := newMetadataWriter(-1)
	for _, e := range manifest.Instances {
		if err := w.add(fmt.Appendf(nil, `{"00080018":{"vr":"UI","Value":[%q]}}`, e.SOPInstanceUID)); err != nil {
			f.Fatal(err)
		}
	}
	meta, err := w.close()
	if err != nil {
		f.Fatal(err)
	}
	last, _, err := manifest.encode()
	if err != nil {
		f.Fatal(err)
	}
	members = append(members, inMemory(metadataName, meta), last)
	layout(members)
	sound, err := io.ReadAll(zipReader(members))
	if err != nil {
		f.Fatal(err)
	}
	const key = "packs/1.2.3/1.2.3.1/0123.zip"
	if x, err := Examine(f.Context(), inMemoryStore(sound), key, nil); err != nil || !x.Sound() || len(x.Instances) != 2 {
		f.Fatalf("the sound pack: %+v, %v", x, err)
	}
	f.Add(sound)
	f.Add(sound[:len(sound)/2])
	f.Add(append(bytes.Clone(sound[:100]), sound...))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := Examine(t.Context(), inMemoryStore(b), key, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, in := range x.Instances {
			h, err := dicom.Scan(bytes.NewReader(b[in.Offset:in.Offset+in.Length]), scanLimits)
			if err != nil || h.Dataset.String(dicom.TagSOPInstanceUID) != in.SOP {
				t.Errorf("%+v: %v", in, err)
			}
		}
	})
}

func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// inMemoryStore is a store with one object.
type inMemoryStore []byte

func (s inMemoryStore) Put(context.Context, string, int64, io.Reader) error {
	return errors.ErrUnsupported
}
func (s inMemoryStore) Delete(context.Context, string) error { return errors.ErrUnsupported }

func (s inMemoryStore) Get(_ context.Context, _ string, offset, length int64) (io.ReadCloser, error) {
	if length < 0 {
		length = int64(len(s)) - offset
	}
	if offset < 0 || length < 0 || offset > int64(len(s))-length {
		return nil, storage.ErrRange
	}
	return io.NopCloser(bytes.NewReader(s[offset : offset+length])), nil
}

func (s inMemoryStore) Stat(_ context.Context, key string) (storage.Info, error) {
	return storage.Info{Key: key, Size: int64(len(s))}, nil
}

func (s inMemoryStore) List(context.Context, string) iter.Seq2[storage.Info, error] {
	return func(func(storage.Info, error) bool) {}
}
