package publish

import (
	"context"
	"hash/crc32"

	"github.com/tasvir-pacs/tasvir/storage"
)

// PackFile is what a pack says of itself: its directory and its manifest.
type PackFile struct {
	Manifest Manifest
	// Metadata is the member with the DICOM JSON.
	Metadata PackMember
	// Instances are the members of Manifest.Instances, in its order.
	Instances []PackMember
}

// PackMember is a stored member: a byte range of the pack.
type PackMember struct {
	Name   string
	Offset int64 // of the content
	Length int64
	CRC32  uint32 // of the content
}

// ReadPack reads the directory and the manifest of a pack of size bytes: three
// small reads, whatever its size. ErrDamaged when they are not what the
// publisher or a merge has written; the contents of the members are not read,
// which is what Examine does.
func ReadPack(ctx context.Context, store storage.Store, key string, size int64) (*PackFile, error) {
	object := packObject{store: store, key: key, size: size}
	members, _, err := object.directory(ctx)
	if err != nil {
		return nil, err
	}
	n := len(members) - 2
	if n < 0 || members[n].name != metadataName || members[n+1].name != manifestName || members[n+1].size > longestManifest {
		return nil, damaged("%s and %s are not its last members", metadataName, manifestName)
	}
	content, err := object.bytes(ctx, members[n+1].offset, members[n+1].size)
	if err != nil {
		return nil, err
	}
	if crc32.ChecksumIEEE(content) != members[n+1].crc32 {
		return nil, damaged("%s does not have its CRC", manifestName)
	}
	manifest, err := decodeManifest(content)
	if err != nil {
		return nil, damaged("%s can't be read: %v", manifestName, err)
	}
	f := &PackFile{Metadata: members[n].packMember(), Manifest: *manifest}
	if f.Manifest.Format != 1 {
		return nil, damaged("its format is %d; this version knows 1", f.Manifest.Format)
	}
	if len(f.Manifest.Instances) != n {
		return nil, damaged("it has %d instances, its manifest %d", n, len(f.Manifest.Instances))
	}
	for i, entry := range f.Manifest.Instances {
		if entry.MemberName() != members[i].name {
			return nil, damaged("member %d is %q, its manifest says %q", i, members[i].name, entry.MemberName())
		}
		f.Instances = append(f.Instances, members[i].packMember())
	}
	return f, nil
}

func (m *member) packMember() PackMember {
	return PackMember{Name: m.name, Offset: m.offset, Length: m.size, CRC32: m.crc32}
}
