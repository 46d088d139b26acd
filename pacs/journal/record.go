package journal

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// Record header, 64 bytes, little endian:
//
//	 0  8  magic "TASVIRJ" and format version 1
//	 8  8  body length
//	16  4  trailer length
//	20  4  CRC-32C of the trailer
//	24  4  CRC-32 (IEEE, as ZIP uses it) of the body
//	28 32  reserved, zero
//	60  4  CRC-32C of bytes 0 to 59
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
}

type header struct {
	bodyLength    int64
	trailerLength uint32
	trailerCRC    uint32
	bodyCRC       uint32
}

func (h header) encode() []byte {
	b := make([]byte, headerLength)
	copy(b, magic[:])
	binary.LittleEndian.PutUint64(b[8:], uint64(h.bodyLength))
	binary.LittleEndian.PutUint32(b[16:], h.trailerLength)
	binary.LittleEndian.PutUint32(b[20:], h.trailerCRC)
	binary.LittleEndian.PutUint32(b[24:], h.bodyCRC)
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
	}
	if h.bodyLength < 0 || h.trailerLength > maxTrailer {
		return header{}, errTorn
	}
	return h, nil
}

// readRecord reads and checks the record at offset. It returns the offset
// behind it. errTorn means that no sealed record begins here; errDamaged that
// one does but its bytes have changed (next is valid then).
func readRecord(f io.ReaderAt, size, offset int64) (h header, e Entry, next int64, err error) {
	if size-offset < headerLength {
		return h, e, 0, errTorn
	}
	var raw [headerLength]byte
	if _, err := f.ReadAt(raw[:], offset); err != nil {
		return h, e, 0, fmt.Errorf("reading the journal: %w", err)
	}
	if h, err = decodeHeader(raw[:]); err != nil {
		return h, e, 0, err
	}
	room := size - offset - headerLength
	if h.bodyLength > room || int64(h.trailerLength) > room-h.bodyLength {
		return h, e, 0, errTorn
	}
	bodyAt := offset + headerLength
	next = bodyAt + h.bodyLength + int64(h.trailerLength)
	trailer := make([]byte, h.trailerLength)
	if _, err := f.ReadAt(trailer, bodyAt+h.bodyLength); err != nil {
		return h, e, 0, fmt.Errorf("reading the journal: %w", err)
	}
	if crc32.Checksum(trailer, castagnoli) != h.trailerCRC {
		return h, e, next, errDamaged
	}
	sum := crc32.NewIEEE()
	if _, err := io.Copy(sum, io.NewSectionReader(f, bodyAt, h.bodyLength)); err != nil {
		return h, e, 0, fmt.Errorf("reading the journal: %w", err)
	}
	if sum.Sum32() != h.bodyCRC || json.Unmarshal(trailer, &e) != nil {
		return h, e, next, errDamaged
	}
	return h, e, next, nil
}
