package publish

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"testing"

	"pgregory.net/rapid"
)

// TestPackFormat: whatever members there are, the ZIP has the length and the
// places that layout says, archive/zip and our own reader find in it what went
// in, and no flipped bit of the directory passes unseen.
func TestPackFormat(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var members []member
		var contents [][]byte
		for i, n := range rapid.SliceOfN(rapid.IntRange(0, 300), 1, 12).Draw(t, "sizes") {
			name := fmt.Sprintf("%s.%d.dcm", rapid.StringMatching(`[0-9.]{1,60}`).Draw(t, "name"), i)
			content := rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "content")
			members, contents = append(members, inMemory(name, content)), append(contents, content)
		}
		size := layout(members)
		whole, err := io.ReadAll(zipReader(members))
		if err != nil || int64(len(whole)) != size {
			t.Fatalf("%d bytes, layout says %d: %v", len(whole), size, err)
		}
		theirs, err := zip.NewReader(bytes.NewReader(whole), size)
		if err != nil {
			t.Fatal(err)
		}
		object := packObject{store: inMemoryStore(whole), key: "packs/1/2/3.zip", size: size}
		ours, start, err := object.directory(t.Context())
		if err != nil || len(ours) != len(members) || len(theirs.File) != len(members) {
			t.Fatalf("%d and %d members, want %d: %v", len(ours), len(theirs.File), len(members), err)
		}
		for i, m := range members {
			body, err := theirs.File[i].Open()
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(body)
			if err != nil || !bytes.Equal(got, contents[i]) || theirs.File[i].Name != m.name {
				t.Fatalf("%s: %d bytes, %v", theirs.File[i].Name, len(got), err)
			}
			if at := ours[i]; at.name != m.name || at.crc32 != m.crc32 || !bytes.Equal(whole[at.offset:at.offset+at.size], contents[i]) {
				t.Fatalf("%+v", at)
			}
		}
		// A flipped bit of the directory is seen at once, or leads to a name that
		// is not the manifest's or to a CRC that is not the content's.
		bit := rapid.IntRange(int(start)*8, len(whole)*8-1).Draw(t, "bit")
		whole[bit/8] ^= 1 << (bit % 8)
		changed, _, err := object.directory(t.Context())
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		differ := 0
		for i, m := range changed {
			if m.name != members[i].name || m.crc32 != crc32.ChecksumIEEE(whole[m.offset:m.offset+m.size]) {
				differ++
			}
		}
		if differ != 1 {
			t.Fatalf("a flipped bit at %d of %d passes unseen", bit/8, len(whole))
		}
	})
}

// FuzzReadPack: no bytes make ReadPack allocate without bound or fail with
// anything but ErrDamaged, and what it finds lies in the object.
func FuzzReadPack(f *testing.F) {
	manifest := Manifest{Format: 1, Instances: []ManifestEntry{
		{SOPInstanceUID: "1.2", Version: 2},
		{SOPInstanceUID: "1.2", Version: 1, Member: "1.2.v1.dcm", Superseded: true},
	}}
	last, _, err := manifest.encode()
	if err != nil {
		f.Fatal(err)
	}
	members := []member{inMemory("1.2.dcm", []byte("one")), inMemory("1.2.v1.dcm", []byte("two")), inMemory(metadataName, nil), last}
	layout(members)
	sound, err := io.ReadAll(zipReader(members))
	if err != nil {
		f.Fatal(err)
	}
	pack, err := ReadPack(f.Context(), inMemoryStore(sound), "packs/1/2/3.zip", int64(len(sound)))
	if err != nil || len(pack.Instances) != 2 || pack.Instances[1].Name != "1.2.v1.dcm" || !pack.Manifest.Instances[1].Superseded {
		f.Fatalf("%+v, %v", pack, err)
	}
	f.Add(sound)
	f.Add(sound[:len(sound)-1])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		pack, err := ReadPack(t.Context(), inMemoryStore(b), "packs/1/2/3.zip", int64(len(b)))
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		for _, m := range append(pack.Instances, pack.Metadata) {
			if m.Offset < 0 || m.Length < 0 || m.Offset+m.Length > int64(len(b)) {
				t.Errorf("%+v in %d bytes", m, len(b))
			}
		}
	})
}

// TestReadPackBeyond4GB reads back the directories that TestZIP64 lays out.
func TestReadPackBeyond4GB(t *testing.T) {
	t.Parallel()
	const gib = 1 << 30
	for _, sizes := range [][]int64{{max32}, {max32 - 1, 3}, {5 * gib, 7, 6 * gib, 0}, {3 * gib, 3 * gib, 3 * gib}, make([]int64, 65534), make([]int64, 65535), make([]int64, 70000)} {
		members := make([]member, len(sizes))
		for i, size := range sizes {
			members[i] = member{name: fmt.Sprintf("1.2.%d.dcm", i), size: size, crc32: uint32(i)}
		}
		total := layout(members)
		last := members[len(members)-1]
		start := last.offset + last.size
		found, count, err := directoryPlace(directory(members, start)[max(0, int(total-start)-98):], total)
		if err != nil || found != start || count != int64(len(members)) {
			t.Errorf("%d members: the directory is at %d of %d members, want %d: %v", len(sizes), found, count, start, err)
			continue
		}
		got, err := recoverDirectory(directory(members, start), count, start)
		if err != nil {
			t.Error(err)
			continue
		}
		for i := range got {
			if got[i].offset != members[i].offset || got[i].size != members[i].size || got[i].name != members[i].name || got[i].crc32 != uint32(i) {
				t.Fatalf("%+v, want %+v", got[i], members[i])
			}
		}
	}
}
