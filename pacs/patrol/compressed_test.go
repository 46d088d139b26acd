package patrol

import (
	"slices"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/pixel/pixeltest"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
)

// compressed is an archive with one pack of three compressed images, and its
// key; what it was made of is still in the store.
func compressed(t *testing.T) (*kept, string) {
	t.Helper()
	k := newKept(t, folder(t), nil)
	k.pack("1.2", "1.2.1", "", 1, 2)
	k.pack("1.2", "1.2.1", "", 3)
	merger := publish.Merger{Index: k.index, Store: k.store, Dir: t.TempDir(), Compressor: pixeltest.Compressor(t)}
	var study int64
	if err := k.index.Pool().QueryRow(t.Context(), `SELECT id FROM study`).Scan(&study); err != nil {
		t.Fatal(err)
	}
	if err := merger.Study(t.Context(), study); err != nil {
		t.Fatal(err)
	}
	return k, k.onlyKey()
}

func (k *kept) manifest(key string) *publish.PackFile {
	k.Helper()
	f, err := publish.ReadPack(k.Context(), k.store, key, int64(len(read(k, k.store, key))))
	if err != nil {
		k.Fatal(err)
	}
	return f
}

// TestDamagedCompressedInstance: it is found, and repaired by nothing but the
// same compressed bytes.
func TestDamagedCompressedInstance(t *testing.T) {
	k, key := compressed(t)
	if found := k.pass(false); len(found) > 0 {
		t.Fatalf("a compressed pack: %+v", found)
	}
	whole := read(t, k.store, key)
	second := k.manifest(key).Instances[1]
	broken := slices.Clone(whole)
	broken[second.Offset+second.Length-20] ^= 1
	write(t, k.store, key, broken)
	for _, repair := range []bool{false, true} {
		// What was received is in the store, and is not what is kept.
		if left := k.pass(repair); len(left) != 1 || left[0].Kind != DamagedInstance || !slices.Equal(left[0].SOPs, []string{"1.2.1.2"}) {
			t.Fatalf("repairing %v: %+v", repair, left)
		}
	}
	if k.onlyKey() != key {
		t.Fatal("the damaged pack is not in use any more")
	}
	k.copied = folder(t)
	write(t, k.copied, key, whole)
	if left := k.pass(true); len(left) > 0 {
		t.Fatalf("with a copy: %+v", left)
	}
	repaired := k.onlyKey()
	if repaired == key {
		t.Fatal("the damaged pack is still in use")
	}
	for i, entry := range k.manifest(repaired).Manifest.Instances {
		was := k.manifest(key).Manifest.Instances[i]
		if entry.Compressed == nil || *entry.Compressed != *was.Compressed || entry.SHA256 != was.SHA256 {
			t.Errorf("%+v is now %+v", was, entry)
		}
	}
	if again := k.pass(false); len(again) > 0 {
		t.Errorf("after the repair: %+v", again)
	}
}

// TestManifestOfTheCompressed: when it is lost the index knows how the
// instances were received.
func TestManifestOfTheCompressed(t *testing.T) {
	k, key := compressed(t)
	before := k.manifest(key)
	b := read(t, k.store, key)
	b[before.Metadata.Offset+before.Metadata.Length+60] ^= 1 // in the member behind it
	write(t, k.store, key, b)
	if left := k.pass(true); len(left) > 0 {
		t.Fatalf("%+v", left)
	}
	after := k.manifest(k.onlyKey())
	for i, entry := range after.Manifest.Instances {
		was := before.Manifest.Instances[i]
		if entry.Compressed == nil || *entry.Compressed != *was.Compressed || entry.SHA256 != was.SHA256 {
			t.Errorf("%+v is now %+v", was, entry)
		}
	}
	if again := k.pass(false); len(again) > 0 {
		t.Errorf("after the repair: %+v", again)
	}
}
