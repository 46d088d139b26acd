package patrol

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/index/synthetic"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
	"github.com/tasvir-pacs/tasvir/storage/tiered"
)

// onlyKey is the key of the one pack in use.
func (k *kept) onlyKey() string {
	k.Helper()
	keys := k.keys()
	if len(keys) != 1 {
		k.Fatalf("packs in use: %v", keys)
	}
	for key := range keys {
		return key
	}
	return ""
}

// coldWithoutPixels makes what retention makes of the one study: a pack
// without pixel data, in the cold store.
func (k *kept) coldWithoutPixels() {
	k.Helper()
	packs := &publish.Packs{Index: k.index, Store: k.store}
	var study int64
	if err := k.index.Pool().QueryRow(k.Context(), `SELECT id FROM study`).Scan(&study); err != nil {
		k.Fatal(err)
	}
	each := func(f func(pgx.Tx, index.StudyPack) error) {
		k.Helper()
		list, err := index.PacksOfStudy(k.Context(), k.index.Pool(), study)
		if err != nil {
			k.Fatal(err)
		}
		for _, pack := range list {
			if err := pgx.BeginFunc(k.Context(), k.index.Pool(), func(tx pgx.Tx) error { return f(tx, pack) }); err != nil {
				k.Fatal(err)
			}
		}
	}
	each(func(tx pgx.Tx, pack index.StudyPack) error {
		swap, err := packs.WithoutPixels(k.Context(), pack, time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), "Pictures go")
		if err != nil {
			return err
		}
		return index.DeletePixels(k.Context(), tx, study, []index.PackSwap{swap})
	})
	each(func(tx pgx.Tx, pack index.StudyPack) error {
		moved, err := packs.CopyTo(k.Context(), tiered.Prefix, pack)
		if err != nil {
			return err
		}
		return index.MovePack(k.Context(), tx, study, pack.ID, moved.ID)
	})
}

// TestRepairKeepsTierAndDeletion: a repaired pack is where the damaged one was,
// and says of its pixel data what that said, also when its manifest is lost and
// when an instance comes from an older pack of the cold store.
func TestRepairKeepsTierAndDeletion(t *testing.T) {
	for _, c := range []struct {
		what   string
		damage func(k *kept, b []byte)
	}{
		{"metadata", func(_ *kept, b []byte) { b[bytes.Index(b, []byte("metadata.json.gz"))+30] ^= 1 }},
		{"manifest", func(_ *kept, b []byte) { b[bytes.Index(b, []byte("manifest.json.gz"))+30] ^= 1 }},
		{"instance", func(k *kept, b []byte) {
			write(k, k.store, strings.Replace(k.onlyKey(), ".zip", "-older.zip", 1), b)
			b[bytes.Index(b, []byte("Karimov"))] ^= 1
		}},
	} {
		t.Run(c.what, func(t *testing.T) {
			k := newKept(t, tiered.New(folder(t), folder(t)), nil)
			k.pack("1.2", "1.2.1", "", 1, 2)
			k.coldWithoutPixels()
			key := k.onlyKey()
			sound := read(t, k.store, key)
			before, err := publish.Examine(t.Context(), k.store, key, nil)
			if err != nil || !before.Sound() || before.Instances[0].Entry.PixelsDeleted == nil {
				t.Fatalf("%+v, %v", before, err)
			}
			damaged := bytes.Clone(sound)
			c.damage(k, damaged)
			write(t, k.store, key, damaged)
			if found := k.pass(false); len(found) != 1 {
				t.Fatalf("%+v", found)
			}
			if left := k.pass(true); len(left) > 0 {
				t.Fatalf("%+v", left)
			}
			again := k.onlyKey()
			if !strings.HasPrefix(again, "cold/packs/1.2/1.2.1/") || again == key {
				t.Errorf("the repaired pack is %s", again)
			}
			after, err := publish.Examine(t.Context(), k.store, again, nil)
			if err != nil || !after.Sound() {
				t.Fatalf("%+v, %v", after, err)
			}
			want, got := before.Manifest.Instances, after.Manifest.Instances
			for i := range want {
				want[i].Remote = "" // not in the index
				want[i].ReceivedAt = want[i].ReceivedAt.Truncate(time.Microsecond)
				got[i].ReceivedAt = got[i].ReceivedAt.Truncate(time.Microsecond)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestColdOrphans: an object in the cold store that no pack knows is found.
func TestColdOrphans(t *testing.T) {
	k := newKept(t, tiered.New(folder(t), folder(t)), nil)
	k.pack("1.2", "1.2.1", "", 1)
	key := k.onlyKey()
	write(t, k.store, "cold/"+key, read(t, k.store, key))
	write(t, k.store, "cold/packs/1.2/1.2.1/none.zip", []byte("no pack"))
	found, err := k.patrol(func(o *Options) { o.OldEnough = time.Nanosecond }).Pass(t.Context(), "", nil)
	if err != nil || len(found) != 1 || found[0].Key != "cold/packs/1.2/1.2.1/none.zip" || found[0].Kind != Orphan {
		t.Errorf("%+v, %v", found, err)
	}
}

// TestSyntheticStudies: those generated for measuring have nothing in storage,
// and that is no damage, neither to the walk nor to who verifies all now.
func TestSyntheticStudies(t *testing.T) {
	k := newKept(t, folder(t), nil)
	if err := synthetic.Fill(t.Context(), k.index.Pool(), synthetic.Options{Studies: 50, Facilities: 2}); err != nil {
		t.Fatal(err)
	}
	k.pack("1.2", "1.2.1", "", 1)
	var seen Progress
	found, err := k.patrol(func(o *Options) { o.Repair, o.AddOrphans = true, true }).Pass(t.Context(), "", func(p Progress) { seen = p })
	if err != nil || len(found) > 0 || seen.Packs != 1 || seen.TotalPacks != 1 {
		t.Errorf("%+v, %+v, %v", found, seen, err)
	}
	walk := k.patrol(nil)
	for range 3 {
		if _, err := walk.step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var problems int
	if err := k.index.Pool().QueryRow(t.Context(), `SELECT count(*) FROM patrol_problem`).Scan(&problems); err != nil || problems != 0 {
		t.Errorf("%d problems, %v", problems, err)
	}
	if _, made, err := synthetic.Count(t.Context(), k.index.Pool()); err != nil || made != 50 {
		t.Errorf("%d synthetic studies are left, %v", made, err)
	}
}
