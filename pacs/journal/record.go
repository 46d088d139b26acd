package journal

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"
	"unique"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// Record header, 64 bytes, little endian:
//
//	 0  8  magic "TASVIRJ" and format version 1
//	 8  8  body length
//	16  4  trailer length
//	20  4  CRC-32C of the trailer
//	24  4  CRC-32 (IEEE, as ZIP uses it) of the body
//	28  8  the segment's number by chance, which its file name has too
//	36  8  offset of this header in the segment
//	44 16  reserved, zero
//	60  4  CRC-32C of bytes 0 to 59
//
// A header says where it belongs, so that what looks like a record inside an
// image (or is one, of another segment) is never taken for one of this segment.
const headerLength = 64

// maxTrailer bounds what recovery allocates for a trailer. Entries are a few
// hundred bytes.
const maxTrailer = 64 << 10

var (
	magic      = [8]byte{'T', 'A', 'S', 'V', 'I', 'R', 'J', 1}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)

	errTorn    = errors.New("record is not sealed")
	errDamaged = errors.New("record does not match its checksums")
)

// Entry is what the journal knows of a record beside its bytes.
type Entry struct {
	StudyInstanceUID  string       `json:"study"`
	SeriesInstanceUID string       `json:"series"`
	SOPInstanceUID    string       `json:"sop"`
	SOPClassUID       string       `json:"class"`
	TransferSyntaxUID string       `json:"ts"`
	DatasetOffset     int64        `json:"dataset"` // of the data set in the body
	Channel           pacs.Channel `json:"channel"`
	Facility          string       `json:"facility"`
	Sender            string       `json:"sender,omitempty"`
	Remote            string       `json:"remote,omitempty"`
	Charset           string       `json:"charset,omitempty"`
	ReceivedAt        time.Time    `json:"at"`
	// Unfit is set on a data set that can't be published as it is. The UIDs
	// are then those that could be read and are UIDs, "" otherwise.
	Unfit *Unfit `json:"unfit,omitempty"`
	// Correction is an administrator's, with what comes from quarantine.
	Correction *pacs.Correction `json:"correction,omitempty"`
}

// Unfit says what is wrong with a data set that was acknowledged and is kept.
type Unfit struct {
	Reason  pacs.QuarantineReason `json:"reason"`
	Message string                `json:"message"` // in English, for whoever looks at it
}

type header struct {
	bodyLength    int64
	trailerLength uint32
	trailerCRC    uint32
	bodyCRC       uint32
	segment       uint64
	offset        int64
}

func (h header) encode() []byte {
	b := make([]byte, headerLength)
	copy(b, magic[:])
	binary.LittleEndian.PutUint64(b[8:], uint64(h.bodyLength))
	binary.LittleEndian.PutUint32(b[16:], h.trailerLength)
	binary.LittleEndian.PutUint32(b[20:], h.trailerCRC)
	binary.LittleEndian.PutUint32(b[24:], h.bodyCRC)
	binary.LittleEndian.PutUint64(b[28:], h.segment)
	binary.LittleEndian.PutUint64(b[36:], uint64(h.offset))
	binary.LittleEndian.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	return b
}

func decodeHeader(b []byte) (header, error) {
	if [8]byte(b[:8]) != magic || crc32.Checksum(b[:60], castagnoli) != binary.LittleEndian.Uint32(b[60:]) {
		return header{}, errTorn
	}
	h := header{
		bodyLength:    int64(binary.LittleEndian.Uint64(b[8:])),
		trailerLength: binary.LittleEndian.Uint32(b[16:]),
		trailerCRC:    binary.LittleEndian.Uint32(b[20:]),
		bodyCRC:       binary.LittleEndian.Uint32(b[24:]),
		segment:       binary.LittleEndian.Uint64(b[28:]),
		offset:        int64(binary.LittleEndian.Uint64(b[36:])),
	}
	if h.bodyLength < 0 || h.trailerLength > maxTrailer {
		return header{}, errTorn
	}
	return h, nil
}

// readRecord reads and checks the record at offset of segment id, whose file
// has size bytes. It returns the offset behind it. errTorn means that no sealed
// record begins here; errDamaged that one does but its bytes have changed (next
// is valid then).
func readRecord(f io.ReaderAt, id uint64, size, offset int64) (h header, e Entry, next int64, err error) {
	if size-offset < headerLength {
		return h, e, 0, errTorn
	}
	buffer := buffers.Get().(*[bufferLength]byte)
	defer buffers.Put(buffer)
	// Small records come whole with the first read.
	start := buffer[:min(firstRead, size-offset)]
	if _, err := f.ReadAt(start, offset); err != nil {
		return h, e, 0, fmt.Errorf("reading the journal: %w", err)
	}
	if h, err = decodeHeader(start); err != nil {
		return h, e, 0, err
	}
	if h.segment != id || h.offset != offset {
		return h, e, 0, errTorn
	}
	room := size - offset - headerLength
	if h.bodyLength > room || int64(h.trailerLength) > room-h.bodyLength {
		return h, e, 0, errTorn
	}
	bodyAt := offset + headerLength
	next = bodyAt + h.bodyLength + int64(h.trailerLength)
	var trailer []byte
	if next-offset <= int64(len(start)) {
		trailer = start[headerLength+h.bodyLength:][:h.trailerLength]
	} else {
		trailer = make([]byte, h.trailerLength)
		if _, err := f.ReadAt(trailer, bodyAt+h.bodyLength); err != nil {
			return h, e, 0, fmt.Errorf("reading the journal: %w", err)
		}
	}
	if crc32.Checksum(trailer, castagnoli) != h.trailerCRC {
		return h, e, next, errDamaged
	}
	e, err = readEntry(trailer, h.bodyLength)
	sum := crc32.ChecksumIEEE(start[headerLength:][:min(h.bodyLength, int64(len(start)-headerLength))])
	for at := int64(len(start) - headerLength); at < h.bodyLength; at += bufferLength {
		more := buffer[:min(bufferLength, h.bodyLength-at)]
		if _, err := f.ReadAt(more, bodyAt+at); err != nil {
			return h, Entry{}, 0, fmt.Errorf("reading the journal: %w", err)
		}
		sum = crc32.Update(sum, crc32.IEEETable, more)
	}
	if err != nil || sum != h.bodyCRC {
		return h, Entry{}, next, errDamaged
	}
	return h, e, next, nil
}

// firstRead is how much of a record is read to learn how long it is.
const firstRead = 16 << 10

// readEntry decodes a trailer.
func readEntry(trailer []byte, bodyLength int64) (Entry, error) {
	var e Entry
	if json.Unmarshal(trailer, &e) != nil || !e.plausible(bodyLength) {
		return Entry{}, errDamaged
	}
	e.intern()
	return e, nil
}

// plausible is false for an entry that this program can't have written.
func (e *Entry) plausible(bodyLength int64) bool {
	return (e.SOPInstanceUID != "" || e.Unfit != nil) && e.DatasetOffset >= 0 && e.DatasetOffset <= bodyLength
}

// intern makes records share what they have in common: many wait in memory
// when the database is down for a day.
func (e *Entry) intern() {
	for _, s := range []*string{
		&e.StudyInstanceUID, &e.SeriesInstanceUID, &e.SOPClassUID, &e.TransferSyntaxUID,
		&e.Facility, &e.Sender, &e.Remote, &e.Charset, (*string)(&e.Channel),
	} {
		*s = unique.Make(*s).Value()
	}
}

// findRecord looks for an undamaged record at or behind offset: one whose
// header is broken is passed over, and must not take along what was sealed
// after it. It returns -1 when there is none.
func findRecord(f io.ReaderAt, id uint64, size, offset int64) (int64, error) {
	window := make([]byte, 64<<10)
	for offset <= size-headerLength {
		n, err := f.ReadAt(window[:min(int64(len(window)), size-offset)], offset)
		if err != nil && err != io.EOF {
			return 0, fmt.Errorf("reading the journal: %w", err)
		}
		if n < len(magic) {
			return -1, nil
		}
		at := bytes.Index(window[:n], magic[:])
		if at < 0 {
			offset += int64(n - len(magic) + 1)
			continue
		}
		offset += int64(at)
		switch _, _, _, err := readRecord(f, id, size, offset); {
		case err == nil:
			return offset, nil
		case !errors.Is(err, errTorn) && !errors.Is(err, errDamaged):
			return 0, err
		}
		offset++
	}
	return -1, nil
}
