package pixel

import (
	"encoding/binary"
	"fmt"
	"io"
)

// operation is what a message asks or answers.
type operation uint32

const (
	opEncodeJPEGLS operation = iota + 1
	opDecodeJPEGLS
	opEncodeJPEG2000
	opDecodeJPEG2000
	opDone
	opUnsupported // the codec does not take it; the payload says why, as text
	opInvalid     // the bytes are damaged; likewise
)

// samples is a picture as the codecs in C take and give it: samples by pixel,
// each in one, two or four bytes, little endian.
type samples struct {
	Columns, Rows, Components int
	Bits                      int // per sample
	Signed                    bool
	Pixels                    []byte
}

// sampleBytes is how many bytes a sample has.
func (s samples) sampleBytes() int {
	switch {
	case s.Bits <= 8:
		return 1
	case s.Bits <= 16:
		return 2
	}
	return 4
}

// message is what goes between a Worker and ServeCodecs: seven numbers of 32
// bits, little endian (operation, columns, rows, components, bits, parameter,
// length), and so many bytes. A request to decode says what picture is expected;
// its bits are the most that a sample may have. The highest bit of bits says
// that samples are signed.
type message struct {
	operation operation
	samples
	// parameter is NEAR for JPEG-LS; for JPEG 2000 a thousand times the ratio, to
	// which transformed is added.
	parameter uint32
}

const (
	messageHeader = 28
	signedBit     = 1 << 31
	// transformed asks for the multiple component transformation.
	transformed = 1 << 31
	// maxPayload bounds the bytes of a message: the largest frame, or what it
	// becomes when it can't be compressed.
	maxPayload = 2*maxFrame + 1<<20
)

func (m message) write(w io.Writer) error {
	bits := uint32(m.Bits)
	if m.Signed {
		bits |= signedBit
	}
	header := make([]byte, 0, messageHeader)
	for _, n := range []uint32{uint32(m.operation), uint32(m.Columns), uint32(m.Rows), uint32(m.Components), bits, m.parameter, uint32(len(m.Pixels))} {
		header = binary.LittleEndian.AppendUint32(header, n)
	}
	if _, err := w.Write(header); err != nil {
		return err
	}
	_, err := w.Write(m.Pixels)
	return err
}

func readMessage(r io.Reader) (message, error) {
	var header [messageHeader]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return message{}, err
	}
	number := func(i int) uint32 { return binary.LittleEndian.Uint32(header[4*i:]) }
	bits, length := number(4), number(6)
	m := message{operation: operation(number(0)), parameter: number(5), samples: samples{
		Columns: int(number(1)), Rows: int(number(2)), Components: int(number(3)), Bits: int(bits &^ signedBit), Signed: bits&signedBit != 0,
	}}
	if length > maxPayload {
		return message{}, fmt.Errorf("a message of %d bytes", length)
	}
	m.Pixels = make([]byte, length)
	_, err := io.ReadFull(r, m.Pixels)
	return m, err
}
