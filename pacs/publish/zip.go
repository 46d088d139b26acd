package publish

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// The subset of ZIP (APPNOTE.TXT 6.3.10) that packs use: stored members, sizes
// and CRC known beforehand, ZIP64 only where a number needs it, no timestamps,
// so that equal content gives equal bytes.

const (
	zipLocalSignature     = 0x04034b50
	zipCentralSignature   = 0x02014b50
	zipEndSignature       = 0x06054b50
	zip64EndSignature     = 0x06064b50
	zip64LocatorSignature = 0x07064b50

	zipVersion20 = 20 // stored members
	zipVersion45 = 45 // ZIP64
	zipUTF8      = 1 << 11
	zipEpoch     = 0x21 // 1 January 1980, the earliest date ZIP can say

	max16 = 1<<16 - 1
	max32 = 1<<32 - 1
)

// member is one file of a ZIP. open gives its content, size bytes long.
type member struct {
	name  string
	size  int64
	crc32 uint32
	open  func() io.Reader

	headerAt int64 // set by layout
	offset   int64 // of the content, set by layout
}

// layout places the members and returns the length of the whole ZIP.
func layout(members []member) int64 {
	at := int64(0)
	for i := range members {
		m := &members[i]
		m.headerAt = at
		m.offset = at + int64(len(m.localHeader()))
		at = m.offset + m.size
	}
	return at + int64(len(directory(members, at)))
}

func (m *member) localHeader() []byte {
	var b bytes.Buffer
	size, version, extra := uint32(m.size), uint16(zipVersion20), []byte(nil)
	if m.size >= max32 {
		size, version = max32, zipVersion45
		extra = binary.LittleEndian.AppendUint16(extra, 1) // ZIP64 extended information
		extra = binary.LittleEndian.AppendUint16(extra, 16)
		extra = binary.LittleEndian.AppendUint64(extra, uint64(m.size))
		extra = binary.LittleEndian.AppendUint64(extra, uint64(m.size))
	}
	put(&b, uint32(zipLocalSignature), version, uint16(zipUTF8), uint16(0), uint16(0), uint16(zipEpoch),
		m.crc32, size, size, uint16(len(m.name)), uint16(len(extra)))
	b.WriteString(m.name)
	b.Write(extra)
	return b.Bytes()
}

// directory is the central directory and the end records of a ZIP whose
// members end at start.
func directory(members []member, start int64) []byte {
	var b bytes.Buffer
	for i := range members {
		m := &members[i]
		size, offset, version := uint32(m.size), uint32(m.headerAt), uint16(zipVersion20)
		var extra []byte
		if m.size >= max32 || m.headerAt >= max32 {
			version = zipVersion45
			var fields []byte
			if m.size >= max32 {
				size = max32
				fields = binary.LittleEndian.AppendUint64(fields, uint64(m.size))
				fields = binary.LittleEndian.AppendUint64(fields, uint64(m.size))
			}
			if m.headerAt >= max32 {
				offset = max32
				fields = binary.LittleEndian.AppendUint64(fields, uint64(m.headerAt))
			}
			extra = binary.LittleEndian.AppendUint16(extra, 1)
			extra = binary.LittleEndian.AppendUint16(extra, uint16(len(fields)))
			extra = append(extra, fields...)
		}
		put(&b, uint32(zipCentralSignature), uint16(zipVersion45), version, uint16(zipUTF8), uint16(0), uint16(0), uint16(zipEpoch),
			m.crc32, size, size, uint16(len(m.name)), uint16(len(extra)), uint16(0), uint16(0), uint16(0), uint32(0), offset)
		b.WriteString(m.name)
		b.Write(extra)
	}
	length := int64(b.Len())
	count := len(members)
	if count >= max16 || start >= max32 || length >= max32 {
		end := start + length
		put(&b, uint32(zip64EndSignature), uint64(44), uint16(zipVersion45), uint16(zipVersion45), uint32(0), uint32(0),
			uint64(count), uint64(count), uint64(length), uint64(start))
		put(&b, uint32(zip64LocatorSignature), uint32(0), uint64(end), uint32(1))
	}
	put(&b, uint32(zipEndSignature), uint16(0), uint16(0), uint16(min(count, max16)), uint16(min(count, max16)),
		uint32(min(length, max32)), uint32(min(start, max32)), uint16(0))
	return b.Bytes()
}

func put(b *bytes.Buffer, fields ...any) {
	for _, f := range fields {
		switch v := f.(type) {
		case uint16:
			b.Write(binary.LittleEndian.AppendUint16(nil, v))
		case uint32:
			b.Write(binary.LittleEndian.AppendUint32(nil, v))
		case uint64:
			b.Write(binary.LittleEndian.AppendUint64(nil, v))
		default:
			panic(fmt.Sprintf("zip field of type %T", f))
		}
	}
}

// zipReader streams the ZIP that layout has placed. It opens one member at a
// time and fails when a member is shorter than it said.
func zipReader(members []member) io.Reader {
	readers := make([]io.Reader, 0, 2*len(members)+1)
	end := int64(0)
	for i := range members {
		m := &members[i]
		readers = append(readers, bytes.NewReader(m.localHeader()), &content{member: m, left: m.size})
		end = m.offset + m.size
	}
	return io.MultiReader(append(readers, bytes.NewReader(directory(members, end)))...)
}

// content reads exactly one member.
type content struct {
	member *member
	reader io.Reader
	left   int64
}

func (c *content) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	if c.reader == nil {
		c.reader = c.member.open()
	}
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.reader.Read(p)
	c.left -= int64(n)
	if err == io.EOF && c.left > 0 {
		return n, fmt.Errorf("%s ends %d bytes early: %w", c.member.name, c.left, io.ErrUnexpectedEOF)
	}
	if err == io.EOF {
		err = nil
	}
	return n, err
}
