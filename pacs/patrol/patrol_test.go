package patrol

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
	"github.com/tasvir-pacs/tasvir/storage"
	"github.com/tasvir-pacs/tasvir/storage/s3"
	"github.com/tasvir-pacs/tasvir/storage/s3/miniotest"
)

func kinds(problems []Problem) (all []string) {
	for _, q := range problems {
		all = append(all, string(q.Kind))
	}
	slices.Sort(all)
	return all
}

// region says to what a byte of a pack belongs.
func region(t *testing.T, s storage.Store, key string, at int64) string {
	f, err := publish.ReadPack(t.Context(), s, key, int64(len(read(t, s, key))))
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range f.Instances {
		if at >= in.Offset && at < in.Offset+in.Length {
			return "instance"
		}
	}
	if at >= f.Metadata.Offset && at < f.Metadata.Offset+f.Metadata.Length {
		return "metadata"
	}
	return "structure" // headers, manifest, directory
}

// TestEveryFlippedBitIsFound: wherever a bit of a pack flips, a pass finds it;
// without a copy what is beside the instances is repaired, and an instance is
// not pretended to be; with a copy all is repaired. Sound instances are served
// all the time.
func TestEveryFlippedBitIsFound(t *testing.T) {
	k := newKept(t, folder(t), folder(t))
	k.pack("1.2", "1.2.1", "", 1, 2, 3)
	k.mirror()
	copied := k.copied
	rng := rand.New(rand.NewPCG(7, 7))
	seen := map[string]int{}
	for round := range 60 {
		key := ""
		for in := range k.keys() {
			key = in
		}
		whole := read(t, k.store, key)
		at := rng.Int64N(int64(len(whole)))
		if round%2 == 1 {
			at = int64(len(whole)) - 1 - rng.Int64N(int64(len(whole)/4)) // what is beside the instances is small
		}
		where := region(t, k.store, key, at)
		seen[where]++
		flipped := bytes.Clone(whole)
		flipped[at] ^= 1 << rng.IntN(8)
		write(t, k.store, key, flipped)

		found := k.pass(false)
		if len(found) == 0 {
			t.Fatalf("a bit of byte %d (%s) flipped and nothing was found", at, where)
		}
		if where == "instance" {
			if got := kinds(found); !slices.Equal(got, []string{"damaged_instance"}) || len(found[0].SOPs) != 1 {
				t.Fatalf("byte %d: %+v", at, found)
			}
			k.wantSound(found[0].SOPs...)
			k.copied = nil
			if left := k.pass(true); len(left) != 1 {
				t.Fatalf("repaired from nothing: %+v", left)
			}
			if !bytes.Equal(read(t, k.store, key), flipped) {
				t.Fatal("something was written over the damaged pack")
			}
			k.wantSound(found[0].SOPs...)
			k.copied = copied
		} else {
			k.copied = nil // it can be repaired from the instances themselves
			k.wantSound()
		}
		if left := k.pass(true); len(left) > 0 {
			t.Fatalf("byte %d (%s) could not be repaired: %+v", at, where, left)
		}
		k.copied = copied
		k.wantSound()
		if k.keys()[key] {
			t.Fatal("the damaged pack is still in use")
		}
		if aside := read(t, k.store, "damaged/"+key); !bytes.Equal(aside, flipped) {
			t.Fatal("the damaged object was not put aside")
		}
		if err := k.store.Delete(t.Context(), key); err != nil { // as the sweeper does
			t.Fatal(err)
		}
		if left := k.pass(false); len(left) > 0 {
			t.Fatalf("after the repair: %+v", left)
		}
	}
	if seen["instance"] < 5 || seen["metadata"] < 2 || seen["structure"] < 10 {
		t.Errorf("the flips were not everywhere: %v", seen)
	}
}

// TestDamage: what else can become of objects.
func TestDamage(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(k *kept, a, b string)
		kinds  []string
		bare   bool // repaired without a copy
	}{
		"missing":        {func(k *kept, a, _ string) { _ = k.store.Delete(k.Context(), a) }, []string{"missing"}, false},
		"empty":          {func(k *kept, a, _ string) { write(k, k.store, a, nil) }, []string{"damaged_directory", "damaged_instance", "damaged_metadata"}, false},
		"cut at the end": {func(k *kept, a, _ string) { b := read(k, k.store, a); write(k, k.store, a, b[:len(b)-5]) }, []string{"damaged_directory"}, true},
		"cut in half": {
			func(k *kept, a, _ string) { b := read(k, k.store, a); write(k, k.store, a, b[:len(b)/2]) },
			[]string{"damaged_directory", "damaged_instance", "damaged_metadata"},
			false,
		},
		"longer": {func(k *kept, a, _ string) { write(k, k.store, a, append(read(k, k.store, a), 0)) }, []string{"damaged_directory"}, true},
		"swapped": {func(k *kept, a, b string) {
			one, two := read(k, k.store, a), read(k, k.store, b)
			write(k, k.store, a, two)
			write(k, k.store, b, one)
		}, []string{"unreadable", "unreadable"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, withCopy := range []bool{false, true} {
				k := newKept(t, folder(t), folder(t))
				a := k.pack("1.2", "1.2.1", "", 1, 2, 3)
				b := k.pack("1.3", "1.3.1", "", 1, 2)
				k.mirror()
				if !withCopy {
					k.copied = nil
				}
				c.damage(k, a, b)
				found := k.pass(false)
				if got := kinds(found); !slices.Equal(got, c.kinds) {
					t.Fatalf("found %v, want %v: %+v", got, c.kinds, found)
				}
				left := k.pass(true)
				if !withCopy && !c.bare {
					if !slices.Equal(kinds(left), c.kinds) || left[0].Study != "1.2" || left[0].Facility != "TMA" {
						t.Errorf("without a copy: %+v", left)
					}
					continue
				}
				if len(left) > 0 {
					t.Fatalf("with copy %v, left: %+v", withCopy, left)
				}
				k.wantSound()
				if again := k.pass(false); len(again) > 0 {
					t.Errorf("after the repair: %+v", again)
				}
				report, err := k.patrol(nil).Report(t.Context())
				if err != nil || report.Packs != 2 || len(report.Problems) < len(c.kinds) {
					t.Errorf("%+v, %v", report, err)
				}
				for _, q := range report.Problems {
					if q.State != Repaired || q.RepairedFrom == "" || q.RepairedAt.IsZero() {
						t.Errorf("%+v", q)
					}
				}
			}
		})
	}
}

// TestRepairFromAnOlderPack: what a merge has left over helps until it is swept.
func TestRepairFromAnOlderPack(t *testing.T) {
	k := newKept(t, folder(t), nil)
	k.pack("1.2", "1.2.1", "", 1, 2)
	k.pack("1.2", "1.2.1", "", 3)
	k.pack("1.2", "1.2.1", "changed", 2)
	merger := publish.Merger{Index: k.index, Store: k.store, Dir: t.TempDir()}
	var study int64
	if err := k.index.Pool().QueryRow(t.Context(), `SELECT id FROM study`).Scan(&study); err != nil {
		t.Fatal(err)
	}
	if err := merger.Study(t.Context(), study); err != nil {
		t.Fatal(err)
	}
	keys := k.keys()
	if len(keys) != 1 {
		t.Fatalf("packs in use: %v", keys)
	}
	if found := k.pass(false); len(found) > 0 {
		t.Fatalf("a merged pack: %+v", found)
	}
	for key := range keys {
		b := read(t, k.store, key)
		b[bytes.Index(b, []byte("changed"))] ^= 1
		b[200] ^= 1
		write(t, k.store, key, b)
	}
	if found := k.pass(false); len(found) != 1 || len(found[0].SOPs) != 2 {
		t.Fatalf("%+v", found)
	}
	if left := k.pass(true); len(left) > 0 {
		t.Fatalf("%+v", left)
	}
	k.wantSound()
	// The repaired pack tells the same as the merged: a rebuilt index agrees.
	for key := range k.keys() {
		f, err := publish.ReadPack(t.Context(), k.store, key, int64(len(read(t, k.store, key))))
		if err != nil {
			t.Fatal(err)
		}
		var told []string
		for _, e := range f.Manifest.Instances {
			told = append(told, fmt.Sprint(e.SOPInstanceUID, " ", e.Version, " ", e.Superseded, " ", e.Sender))
		}
		want := []string{"1.2.1.1 1 false CT1", "1.2.1.2 2 false CT1", "1.2.1.3 1 false CT1", "1.2.1.2 1 true CT1"}
		if !slices.Equal(told, want) {
			t.Errorf("%q, want %q", told, want)
		}
	}
}

// away is a store that fails.
type away struct {
	storage.Store
	fails func(key string) error
}

func (s *away) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if err := s.fails(key); err != nil {
		return nil, err
	}
	return s.Store.Get(ctx, key, offset, length)
}

func (s *away) Stat(ctx context.Context, key string) (storage.Info, error) {
	if err := s.fails(key); err != nil {
		return storage.Info{}, err
	}
	return s.Store.Stat(ctx, key)
}

// TestOutageIsNoDamage: a store that is down leaves no problem and no pack is
// taken for verified.
func TestOutageIsNoDamage(t *testing.T) {
	k := newKept(t, folder(t), nil)
	k.pack("1.2", "1.2.1", "", 1)
	if found := k.pass(false); len(found) > 0 {
		t.Fatal(found)
	}
	p := k.patrol(func(o *Options) {
		o.Store = &away{k.store, func(string) error { return errors.New("connection refused") }}
	})
	if _, err := p.Pass(t.Context(), "", nil); !errors.Is(err, errOutage) {
		t.Errorf("%v", err)
	}
	if report, err := p.Report(t.Context()); err != nil || len(report.Problems) > 0 {
		t.Errorf("%+v, %v", report, err)
	}
}

// TestWalk: packs are read in turn, each once per interval; a pass that is
// asked for reads all again; a pack that goes away is forgotten.
func TestWalk(t *testing.T) {
	k := newKept(t, folder(t), nil)
	for n := range 4 {
		k.pack(fmt.Sprint("1.", n), fmt.Sprint("1.", n, ".1"), "", 1)
	}
	p := k.patrol(nil)
	step := func() bool {
		t.Helper()
		worked, err := p.step(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return worked
	}
	if step() {
		t.Error("a pack was read that was stored just now")
	}
	if _, err := k.index.Pool().Exec(t.Context(), `UPDATE patrol_pack SET due_at = now() - interval '1 hour'`); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if !step() {
			t.Fatal("a pack that is due was not read")
		}
	}
	if step() {
		t.Error("a pack was read twice")
	}
	report, err := p.Report(t.Context())
	if err != nil || report.Verified != 4 || report.Oldest.IsZero() || report.Pass != nil {
		t.Errorf("%+v, %v", report, err)
	}
	if err := errors.Join(p.Begin(t.Context(), nil), p.Begin(t.Context(), nil)); err != nil {
		t.Fatal(err)
	}
	other := k.patrol(nil) // another node
	for i := range 4 {
		if report, err = p.Report(t.Context()); err != nil || report.Pass == nil || report.Pass.Done != i || report.Pass.Total != 4 {
			t.Fatalf("%+v, %v", report.Pass, err)
		}
		if worked, err := other.step(t.Context()); err != nil || !worked {
			t.Fatalf("%v, %v", worked, err)
		}
	}
	if step() {
		t.Error("a pass reads a pack twice")
	}
	if report, err = p.Report(t.Context()); err != nil || report.Pass != nil {
		t.Errorf("the pass does not end: %+v, %v", report.Pass, err)
	}
	if _, err := k.index.Pool().Exec(t.Context(), `UPDATE pack SET retired_at = now()`); err != nil {
		t.Fatal(err)
	}
	if err := p.fillAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	var left int
	if err := k.index.Pool().QueryRow(t.Context(), `SELECT count(*) FROM patrol_pack`).Scan(&left); err != nil || left != 0 {
		t.Errorf("%d packs are left in the walk, %v", left, err)
	}
}

// TestMergedMeanwhile: a pack that is retired while it is read is no problem.
func TestMergedMeanwhile(t *testing.T) {
	k := newKept(t, folder(t), nil)
	key := k.pack("1.2", "1.2.1", "", 1)
	p := k.patrol(func(o *Options) {
		o.Store = &away{k.store, func(asked string) error {
			if asked != key {
				return nil
			}
			if _, err := k.index.Pool().Exec(t.Context(), `UPDATE pack SET retired_at = now()`); err != nil {
				t.Error(err)
			}
			return storage.ErrNotFound
		}}
	})
	if found, err := p.Pass(t.Context(), "", nil); err != nil || len(found) > 0 {
		t.Errorf("%+v, %v", found, err)
	}
}

// TestNotIndexed: rows and packs that an index has lost come back.
func TestNotIndexed(t *testing.T) {
	k := newKept(t, folder(t), nil)
	k.pack("1.2", "1.2.1", "", 1, 2)
	k.pack("1.2", "1.2.2", "", 1)
	for _, sql := range []string{
		`DELETE FROM instance WHERE sop_uid IN ('1.2.1.2', '1.2.2.1')`,
		`DELETE FROM pack WHERE key LIKE '%/1.2.2/%'`,
	} {
		if _, err := k.index.Pool().Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	pass := func(repair bool) []Problem {
		p := k.patrol(func(o *Options) { o.Repair, o.AddOrphans, o.OldEnough = repair, repair, time.Nanosecond })
		found, err := p.Pass(t.Context(), "", nil)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if found := pass(false); !slices.Equal(kinds(found), []string{"not_indexed", "not_indexed"}) {
		t.Fatalf("%+v", found)
	}
	if left := pass(true); len(left) > 0 {
		t.Fatalf("%+v", left)
	}
	k.wantSound()
	studies, _, err := k.index.Studies(t.Context(), pacs.System("test"), pacs.StudyFilter{})
	if err != nil || len(studies) != 1 || studies[0].InstanceCount != 3 || studies[0].SeriesCount != 2 {
		t.Errorf("%+v, %v", studies, err)
	}
	// Rubbish is named and left alone.
	write(t, k.store, "packs/1.2/1.2.1/rubbish.zip", []byte("rubbish"))
	if found := pass(true); len(found) != 1 || found[0].Kind != Orphan || !strings.HasSuffix(found[0].Key, "rubbish.zip") {
		t.Errorf("%+v", found)
	}
}

// TestRepairOnMinIO: the same on an object store, the copy in a folder.
func TestRepairOnMinIO(t *testing.T) {
	server := miniotest.Start(t)
	store, err := s3.Open(t.Context(), server.Config("images"))
	if err != nil {
		t.Fatal(err)
	}
	k := newKept(t, store, folder(t))
	a := k.pack("1.2", "1.2.1", "", 1, 2, 3)
	b := k.pack("1.3", "1.3.1", "", 1, 2)
	k.mirror()
	whole := read(t, store, a)
	whole[400] ^= 4
	write(t, store, a, whole)
	if err := store.Delete(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if found := k.pass(false); !slices.Equal(kinds(found), []string{"damaged_instance", "missing"}) {
		t.Fatalf("%+v", found)
	}
	if left := k.pass(true); len(left) > 0 {
		t.Fatalf("%+v", left)
	}
	k.wantSound()
	if !k.keys()[b] {
		t.Error("the object that was missing was not put back under its key")
	}
	server.Stop()
	if _, err := k.patrol(nil).Pass(t.Context(), "", nil); err == nil {
		t.Error("a pass without a store succeeds")
	}
	report, err := k.patrol(nil).Report(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range report.Problems {
		if q.State == Open {
			t.Errorf("an outage is taken for damage: %+v", q)
		}
	}
}
