package publish

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"

	"github.com/tasvir-pacs/tasvir/storage"
)

// Reading a ZIP that zip.go has written, and what damage has left of one.
//
// A pack says everything twice: each member's name, size and CRC stand before
// the member and in the directory at the end. Since there is only one way in
// which zip.go writes a ZIP, a sound one can be recognised byte by byte: the
// directory is what its members lead to, each local header is what the
// directory leads to, and each content has its CRC. No flipped bit passes.

// ErrDamaged is the cause of what is wrong with the bytes of a pack, as
// opposed to a store that does not give them.
var ErrDamaged = errors.New("damaged")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

const (
	zipLocalLength   = 30 // of a local header without name and extra field
	zipCentralLength = 46
	zipEndLength     = 22
	zip64EndLength   = 56
	zip64LocLength   = 20

	// longestDirectory bounds what is allocated for a directory: some 150 bytes a
	// member.
	longestDirectory = 64 << 20
	// maxName is the longest name of a member. UIDs have 64 characters.
	maxName = 255
)

// packObject is a pack in storage.
type packObject struct {
	store storage.Store
	key   string
	size  int64
}

// open streams a range. What the store says about a range that is not there
// means that the object has become shorter since its size was asked.
func (o *packObject) open(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
	body, err := o.store.Get(ctx, o.key, offset, length)
	if errors.Is(err, storage.ErrRange) {
		return nil, damaged("the object is shorter than the store says")
	}
	return body, err
}

// bytes reads a short range whole. Its caller has bounded length.
func (o *packObject) bytes(ctx context.Context, offset, length int64) ([]byte, error) {
	body, err := o.open(ctx, offset, length)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	b := make([]byte, length)
	if _, err := io.ReadFull(body, b); err != nil {
		return nil, fmt.Errorf("reading %s: %w", o.key, err)
	}
	return b, nil
}

// directory reads the central directory. The members are placed as layout
// would place them, and the directory is the one they lead to; anything else
// is ErrDamaged.
func (o *packObject) directory(ctx context.Context) (members []member, start int64, err error) {
	if o.size < zipEndLength {
		return nil, 0, damaged("%d bytes are no pack", o.size)
	}
	length := min(o.size, zipEndLength+zip64LocLength+zip64EndLength)
	tail, err := o.bytes(ctx, o.size-length, length)
	if err != nil {
		return nil, 0, err
	}
	start, count, err := directoryPlace(tail, o.size)
	if err != nil {
		return nil, 0, err
	}
	if o.size-start > longestDirectory {
		return nil, 0, damaged("the directory has %d bytes", o.size-start)
	}
	all, err := o.bytes(ctx, start, o.size-start)
	if err != nil {
		return nil, 0, err
	}
	if members, err = recoverDirectory(all, count, start); err != nil {
		return nil, 0, err
	}
	if !bytes.Equal(directory(members, start), all) {
		return nil, 0, damaged("the directory is not as it was written")
	}
	return members, start, nil
}

// directoryPlace reads the end records: where the directory begins and how
// many members it has.
func directoryPlace(tail []byte, size int64) (start, count int64, err error) {
	end := tail[len(tail)-zipEndLength:]
	if binary.LittleEndian.Uint32(end) != zipEndSignature {
		return 0, 0, damaged("there is no end of a directory")
	}
	count = int64(binary.LittleEndian.Uint16(end[10:]))
	start = int64(binary.LittleEndian.Uint32(end[16:]))
	if before := tail[:len(tail)-zipEndLength]; len(before) == zip64EndLength+zip64LocLength &&
		binary.LittleEndian.Uint32(before[zip64EndLength:]) == zip64LocatorSignature && binary.LittleEndian.Uint32(before) == zip64EndSignature {
		count = int64(binary.LittleEndian.Uint64(before[32:]))
		start = int64(binary.LittleEndian.Uint64(before[48:]))
	}
	if start < 0 || start > size-zipEndLength || count < 0 || count > (size-start)/zipCentralLength {
		return 0, 0, damaged("the directory is said to begin at %d of %d bytes and to have %d members", start, size, count)
	}
	return start, count, nil
}

// recoverDirectory reads count entries and places the members.
func recoverDirectory(b []byte, count, start int64) ([]member, error) {
	members := make([]member, 0, count)
	at := int64(0)
	for range count {
		if len(b) < zipCentralLength || binary.LittleEndian.Uint32(b) != zipCentralSignature {
			return nil, damaged("an entry of the directory is missing")
		}
		nameLength, extraLength := int(binary.LittleEndian.Uint16(b[28:])), int(binary.LittleEndian.Uint16(b[30:]))
		if nameLength > maxName || len(b) < zipCentralLength+nameLength+extraLength {
			return nil, damaged("an entry of the directory is broken off")
		}
		m := member{
			name:     string(b[zipCentralLength : zipCentralLength+nameLength]),
			size:     int64(binary.LittleEndian.Uint32(b[24:])),
			crc32:    binary.LittleEndian.Uint32(b[16:]),
			headerAt: at,
		}
		if extra := b[zipCentralLength+nameLength : zipCentralLength+nameLength+extraLength]; m.size == max32 {
			if len(extra) < 12 || binary.LittleEndian.Uint16(extra) != 1 {
				return nil, damaged("%q has no size", m.name)
			}
			m.size = int64(binary.LittleEndian.Uint64(extra[4:]))
		}
		if m.size < 0 || m.size > start-at {
			return nil, damaged("%q has %d bytes", m.name, m.size)
		}
		m.offset = at + int64(len(m.localHeader()))
		at = m.offset + m.size
		if at > start {
			return nil, damaged("%q reaches into the directory", m.name)
		}
		members = append(members, m)
		b = b[zipCentralLength+nameLength+extraLength:]
	}
	if at != start {
		return nil, damaged("there are %d bytes before the directory that no member has", start-at)
	}
	return members, nil
}

// parseLocal reads a local header at the beginning of b; ok is false when
// there is none that zip.go could have written.
func parseLocal(b []byte) (m member, length int, ok bool) {
	if len(b) < zipLocalLength || binary.LittleEndian.Uint32(b) != zipLocalSignature {
		return m, 0, false
	}
	nameLength, extraLength := int(binary.LittleEndian.Uint16(b[26:])), int(binary.LittleEndian.Uint16(b[28:]))
	length = zipLocalLength + nameLength + extraLength
	if nameLength == 0 || nameLength > maxName || extraLength > 64 || len(b) < length {
		return m, 0, false
	}
	m.name = string(b[zipLocalLength : zipLocalLength+nameLength])
	m.crc32 = binary.LittleEndian.Uint32(b[14:])
	m.size = int64(binary.LittleEndian.Uint32(b[22:]))
	if m.size == max32 && extraLength >= 12 {
		m.size = int64(binary.LittleEndian.Uint64(b[zipLocalLength+nameLength+4:]))
	}
	return m, length, m.size >= 0 && bytes.Equal(m.localHeader(), b[:length])
}

// maxLocal is the longest local header.
const maxLocal = zipLocalLength + maxName + 64

// search finds the members by their local headers, for a pack whose directory
// is damaged. Every byte that it takes for a member's it has checked against
// the CRC before the member; lost is where it had to search on.
func (o *packObject) search(ctx context.Context) (members []member, lost int, err error) {
	// A damaged member may be full of what looks like the beginning of others:
	// reading them all is bounded by a few times the pack.
	budget := 4 * o.size
	names := map[string]bool{}
	for at := int64(0); at < o.size-zipLocalLength && lost < maxLost; {
		head, err := o.bytes(ctx, at, min(maxLocal, o.size-at))
		if err != nil {
			return nil, 0, err
		}
		if s := binary.LittleEndian.Uint32(head); s == zipCentralSignature || s == zip64EndSignature {
			break
		}
		m, length, ok := parseLocal(head)
		m.headerAt, m.offset = at, at+int64(length)
		if ok && m.size <= o.size-m.offset && m.size <= budget && memberName(m.name) && !names[m.name] {
			budget -= m.size
			sum, err := o.crc(ctx, m.offset, m.size)
			if err != nil {
				return nil, 0, err
			}
			next := m.offset + m.size
			if sum == m.crc32 {
				names[m.name] = true
				members = append(members, m)
				at = next
				continue
			}
			// Where another begins behind it the size is right and the content
			// is not. Without that the size may be what is damaged.
			if follows, err := o.follows(ctx, next); err != nil {
				return nil, 0, err
			} else if follows {
				lost++
				at = next
				continue
			}
		}
		lost++
		if at, err = o.nextHeader(ctx, at+1); err != nil {
			return nil, 0, err
		}
	}
	return members, lost, nil
}

// maxLost bounds how often search begins anew.
const maxLost = 10_000

// memberName is false for what is no file of a pack.
func memberName(name string) bool {
	return name == metadataName || name == manifestName || strings.HasSuffix(name, instanceSuffix)
}

// instanceSuffix ends the names of the members that are instances.
const instanceSuffix = ".dcm"

func (o *packObject) crc(ctx context.Context, offset, length int64) (uint32, error) {
	body, err := o.open(ctx, offset, length)
	if err != nil {
		return 0, err
	}
	defer func() { _ = body.Close() }()
	sum := crc32.NewIEEE()
	if _, err := io.Copy(sum, body); err != nil {
		return 0, fmt.Errorf("reading %s: %w", o.key, err)
	}
	return sum.Sum32(), nil
}

// follows says whether a member or the directory begins at an offset.
func (o *packObject) follows(ctx context.Context, at int64) (bool, error) {
	if at > o.size-4 {
		return false, nil
	}
	b, err := o.bytes(ctx, at, 4)
	if err != nil {
		return false, err
	}
	s := binary.LittleEndian.Uint32(b)
	return s == zipLocalSignature || s == zipCentralSignature, nil
}

// nextHeader finds the next local header, or the end.
func (o *packObject) nextHeader(ctx context.Context, at int64) (int64, error) {
	if at >= o.size {
		return o.size, nil
	}
	body, err := o.open(ctx, at, o.size-at)
	if err != nil {
		return 0, err
	}
	defer func() { _ = body.Close() }()
	r := bufio.NewReaderSize(body, 256<<10)
	signature := binary.LittleEndian.AppendUint32(nil, zipLocalSignature)
	for {
		window, err := r.Peek(r.Size())
		if i := bytes.Index(window, signature); i >= 0 {
			return at + int64(i), nil
		}
		if err == io.EOF {
			return o.size, nil
		}
		if err != nil {
			return 0, fmt.Errorf("reading %s: %w", o.key, err)
		}
		n, _ := r.Discard(len(window) - len(signature) + 1)
		at += int64(n)
	}
}
