package publish

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

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

// ErrPack means that an object is not a pack, or a damaged one.
var ErrPack = errors.New("not a sound pack")

func packError(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrPack, fmt.Errorf(format, args...))
}

// Bounds of what is read into memory. A pack has up to 2,000 instances, a
// merged one those of its series.
const (
	tailSize     = 64 << 10
	maxDirectory = 256 << 20
	maxManifest  = 512 << 20
)

// ReadPack reads the directory and the manifest of a pack of size bytes. It
// takes two or three small reads, whatever the size. ErrPack when the object is
// not what the publisher or a merge has written; the contents of the members
// are not read.
func ReadPack(ctx context.Context, store storage.Store, key string, size int64) (*PackFile, error) {
	tail, err := readRange(ctx, store, key, max(0, size-tailSize), min(size, tailSize))
	if err != nil {
		return nil, err
	}
	start, length, err := findDirectory(tail, size)
	if err != nil {
		return nil, err
	}
	dir := tail
	if at := start - (size - int64(len(tail))); at >= 0 {
		dir = tail[at : at+length]
	} else if dir, err = readRange(ctx, store, key, start, length); err != nil {
		return nil, err
	}
	members, err := parseDirectory(dir, size)
	if err != nil {
		return nil, err
	}
	last := members[len(members)-1]
	if last.name != manifestName || last.size > maxManifest {
		return nil, packError("its last member is %.100q of %d bytes, not a manifest", last.name, last.size)
	}
	content, err := readRange(ctx, store, key, last.offset, last.size)
	if err != nil {
		return nil, err
	}
	return describePack(members, content)
}

// describePack brings members and manifest together.
func describePack(members []member, manifest []byte) (*PackFile, error) {
	if len(members) < 2 || members[len(members)-2].name != metadataName {
		return nil, packError("it has no metadata")
	}
	if crc := crcOf(manifest); crc != members[len(members)-1].crc32 {
		return nil, packError("the checksum of the manifest is %08x, its directory says %08x", crc, members[len(members)-1].crc32)
	}
	f := &PackFile{Metadata: members[len(members)-2].packMember()}
	if err := json.Unmarshal(manifest, &f.Manifest); err != nil {
		return nil, packError("manifest: %w", err)
	}
	if f.Manifest.Format != 1 {
		return nil, packError("its format is %d; this version knows 1", f.Manifest.Format)
	}
	if len(f.Manifest.Instances) != len(members)-2 {
		return nil, packError("it has %d instances, its manifest %d", len(members)-2, len(f.Manifest.Instances))
	}
	for i, entry := range f.Manifest.Instances {
		if entry.MemberName() != members[i].name {
			return nil, packError("member %d is %.100q, the manifest says %.100q", i, members[i].name, entry.MemberName())
		}
		f.Instances = append(f.Instances, members[i].packMember())
	}
	return f, nil
}

func (m *member) packMember() PackMember {
	return PackMember{Name: m.name, Offset: m.offset, Length: m.size, CRC32: m.crc32}
}

// readRange reads a bounded range into memory.
func readRange(ctx context.Context, store storage.Store, key string, offset, length int64) ([]byte, error) {
	body, err := store.Get(ctx, key, offset, length)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	b := make([]byte, length)
	_, err = io.ReadFull(body, b)
	return b, err
}

// findDirectory finds the central directory of a ZIP of size bytes whose end
// is tail. Packs have no comment, so the end record is at the very end.
func findDirectory(tail []byte, size int64) (start, length int64, err error) {
	const endLength, locatorLength, end64Length = 22, 20, 56
	if len(tail) < endLength {
		return 0, 0, packError("it has only %d bytes", size)
	}
	end := tail[len(tail)-endLength:]
	if binary.LittleEndian.Uint32(end) != zipEndSignature {
		return 0, 0, packError("it does not end like a ZIP")
	}
	length, start = int64(binary.LittleEndian.Uint32(end[12:])), int64(binary.LittleEndian.Uint32(end[16:]))
	after := size - endLength
	if at := len(tail) - endLength - locatorLength - end64Length; at >= 0 && binary.LittleEndian.Uint32(tail[at+end64Length:]) == zip64LocatorSignature {
		if binary.LittleEndian.Uint32(tail[at:]) != zip64EndSignature {
			return 0, 0, packError("its ZIP64 end record is not where it belongs")
		}
		length, start = int64(binary.LittleEndian.Uint64(tail[at+40:])), int64(binary.LittleEndian.Uint64(tail[at+48:]))
		after -= locatorLength + end64Length
	}
	if start < 0 || length < 0 || length > maxDirectory || start > size || start+length != after {
		return 0, 0, packError("its directory of %d bytes at %d does not fit its size %d", length, start, size)
	}
	return start, length, nil
}

// parseDirectory reads the central directory of a pack of size bytes. It takes
// only what layout and zipReader write: members one behind the other.
func parseDirectory(b []byte, size int64) ([]member, error) {
	const fixed = 46
	var members []member
	for len(b) > 0 {
		if len(b) < fixed || binary.LittleEndian.Uint32(b) != zipCentralSignature {
			return nil, packError("its directory breaks off after %d members", len(members))
		}
		if method := binary.LittleEndian.Uint16(b[10:]); method != 0 {
			return nil, packError("a member is compressed (method %d)", method)
		}
		m := member{
			crc32: binary.LittleEndian.Uint32(b[16:]),
			size:  int64(binary.LittleEndian.Uint32(b[24:])), headerAt: int64(binary.LittleEndian.Uint32(b[42:])),
		}
		nameEnd := fixed + int(binary.LittleEndian.Uint16(b[28:]))
		extraEnd := nameEnd + int(binary.LittleEndian.Uint16(b[30:]))
		if len(b) < extraEnd {
			return nil, packError("its directory breaks off after %d members", len(members))
		}
		m.name = string(b[fixed:nameEnd])
		if err := m.readZIP64(b[nameEnd:extraEnd]); err != nil {
			return nil, err
		}
		members = append(members, m)
		b = b[extraEnd:]
	}
	if len(members) == 0 {
		return nil, packError("it is empty")
	}
	said := make([]int64, len(members))
	left := size
	for i, m := range members {
		said[i] = m.headerAt
		if m.size < 0 || m.size > left {
			return nil, packError("member %.100q has %d bytes, the pack %d", m.name, m.size, size)
		}
		left -= m.size
	}
	if whole := layout(members); whole != size {
		return nil, packError("its members make %d bytes, it has %d", whole, size)
	}
	for i, m := range members {
		if m.headerAt != said[i] {
			return nil, packError("member %.100q is said to be at %d, but follows at %d", m.name, said[i], m.headerAt)
		}
	}
	return members, nil
}

// readZIP64 reads the extra field of an entry whose numbers are too large for
// the entry itself.
func (m *member) readZIP64(extra []byte) error {
	if m.size != max32 && m.headerAt != max32 {
		return nil
	}
	if len(extra) < 4 || binary.LittleEndian.Uint16(extra) != 1 || int(binary.LittleEndian.Uint16(extra[2:])) != len(extra)-4 {
		return packError("member %.100q has no ZIP64 sizes", m.name)
	}
	values := bytes.NewReader(extra[4:])
	for _, field := range []struct {
		into *int64
		skip bool // the field comes twice: uncompressed and compressed size
	}{{&m.size, true}, {&m.headerAt, false}} {
		if *field.into != max32 {
			continue
		}
		var value, again uint64
		err := binary.Read(values, binary.LittleEndian, &value)
		if again = value; err == nil && field.skip {
			err = binary.Read(values, binary.LittleEndian, &again)
		}
		if err != nil || value != again || value > 1<<62 {
			return packError("member %.100q has no sound ZIP64 sizes", m.name)
		}
		*field.into = int64(value)
	}
	return nil
}
