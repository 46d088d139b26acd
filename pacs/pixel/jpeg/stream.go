package jpeg

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Markers, T.81 table B.1.
const (
	markerSOF0  = 0xC0
	markerSOF3  = 0xC3
	markerDHT   = 0xC4
	markerJPG   = 0xC8
	markerSOF15 = 0xCF
	markerDAC   = 0xCC
	markerRST0  = 0xD0
	markerRST7  = 0xD7
	markerSOI   = 0xD8
	markerEOI   = 0xD9
	markerSOS   = 0xDA
	markerDQT   = 0xDB
	markerDNL   = 0xDC
	markerDRI   = 0xDD
	markerAPP0  = 0xE0
	markerAPP14 = 0xEE
	markerTEM   = 0x01
)

// maxScans bounds the work that a small stream can ask for. Progressive streams
// in the field have some ten to twenty.
const maxScans = 128

// component is one of the frame's, T.81 B.2.2.
type component struct {
	id    byte
	h, v  int // sampling factors
	quant int // table
}

// stream goes through the markers of an image and keeps what they set.
type stream struct {
	data []byte
	at   int

	header     Header
	framed     bool // there was a frame header
	components []component
	maxH, maxV int
	jfif       bool
	adobe      int // colour transform, -1 for none

	quant   [4]*[64]int32 // in natural order
	dc, ac  [4]huffmanTable
	restart int // interval in MCUs, 0 for none

	bits  bitReader
	scans int
}

// DecodeHeader reads up to the frame header. Tables are not looked at.
//
//	ErrDamaged      there is no frame header, or it makes no sense
//	ErrUnsupported  it is of a process that is not decoded
func DecodeHeader(data []byte) (Header, error) {
	s, err := open(data)
	for err == nil && !s.framed {
		var marker byte
		var body []byte
		if marker, body, err = s.next(); err != nil {
			break
		}
		switch marker {
		case markerDHT, markerDQT, markerDRI:
		case markerEOI, markerSOS:
			err = fmt.Errorf("%w: no frame header in front of the image", ErrDamaged)
		default:
			err = s.set(marker, body)
		}
	}
	if err != nil {
		return Header{}, err
	}
	return s.header, nil
}

// Decode decodes the first image in data.
//
//	ErrDamaged      the stream contradicts itself, or samples are missing
//	ErrUnsupported  it is of a process that is not decoded
//	ErrTooLarge     it declares an image larger than limits
func Decode(data []byte, limits Limits) (Image, error) {
	s, err := open(data)
	if err != nil {
		return Image{}, err
	}
	var f frame
	for {
		marker, body, err := s.next()
		if err != nil {
			// Where nothing else is missing the end marker may be.
			if f != nil && s.at >= len(s.data) && s.header.Process != Progressive && f.complete() {
				return f.image()
			}
			return Image{}, err
		}
		switch marker {
		case markerEOI:
			if f == nil || !f.complete() {
				return Image{}, fmt.Errorf("%w: it ends before its image is complete", ErrDamaged)
			}
			return f.image()
		case markerSOS:
			if f == nil {
				return Image{}, fmt.Errorf("%w: no frame header in front of the image", ErrDamaged)
			}
			if s.scans++; s.scans > maxScans {
				return Image{}, fmt.Errorf("%w: it has more than %d scans", ErrUnsupported, maxScans)
			}
			sc, err := s.scan(body)
			if err != nil {
				return Image{}, err
			}
			if err := f.scan(sc); err != nil {
				return Image{}, err
			}
		default:
			framed := s.framed
			if err := s.set(marker, body); err != nil {
				return Image{}, err
			}
			if s.framed && !framed {
				if f, err = s.newFrame(limits); err != nil {
					return Image{}, err
				}
			}
		}
	}
}

// frame collects the samples of an image from its scans.
type frame interface {
	scan(scan) error
	complete() bool // all components have been in a scan
	image() (Image, error)
}

// newFrame allocates for an image after everything that can be known has been
// checked.
func (s *stream) newFrame(limits Limits) (frame, error) {
	h := s.header
	if h.Size() > limits.Size {
		return nil, fmt.Errorf("%w: %d × %d with %d components", ErrTooLarge, h.Columns, h.Rows, h.Components)
	}
	// The fewest bits an image can have: one for each sample, or each block.
	least := int64(h.Columns) * int64(h.Rows)
	if h.Process != Lossless {
		least /= 64
	}
	if least > int64(len(s.data))*8 {
		return nil, fmt.Errorf("%w: %d bytes can't hold %d × %d pixels", ErrDamaged, len(s.data), h.Columns, h.Rows)
	}
	switch {
	case h.Process == Lossless:
		return newLosslessFrame(s)
	case h.Precision == 8:
		return newDCTFrame[uint8](s), nil
	default:
		return newDCTFrame[uint16](s), nil
	}
}

// open finds the beginning of the image.
func open(data []byte) (*stream, error) {
	if len(data) < 4 || data[0] != 0xFF || data[1] != markerSOI {
		return nil, fmt.Errorf("%w: it does not begin as an image", ErrDamaged)
	}
	return &stream{data: data, at: 2, adobe: -1}, nil
}

// next gives the next marker and what belongs to it. Bytes between markers that
// belong to none are passed over.
func (s *stream) next() (marker byte, body []byte, err error) {
	for {
		i := bytes.IndexByte(s.data[s.at:], 0xFF)
		if i < 0 || s.at+i+1 >= len(s.data) {
			s.at = len(s.data)
			return 0, nil, fmt.Errorf("%w: it has no end", ErrDamaged)
		}
		s.at += i + 1
		marker = s.data[s.at]
		if marker == 0xFF {
			continue // a fill byte; this one may begin a marker
		}
		s.at++
		switch {
		case marker == 0, marker == markerTEM, marker >= markerRST0 && marker <= markerRST7, marker == markerSOI:
			continue
		case marker == markerEOI:
			return marker, nil, nil
		}
		if len(s.data)-s.at < 2 {
			return 0, nil, fmt.Errorf("%w: it ends within a segment", ErrDamaged)
		}
		length := int(binary.BigEndian.Uint16(s.data[s.at:]))
		if length < 2 || length > len(s.data)-s.at {
			return 0, nil, fmt.Errorf("%w: segment %#x has a length of %d", ErrDamaged, marker, length)
		}
		body = s.data[s.at+2 : s.at+length]
		s.at += length
		return marker, body, nil
	}
}

// set takes over what a segment says.
func (s *stream) set(marker byte, body []byte) error {
	switch {
	case marker == markerDHT:
		return s.huffmanTables(body)
	case marker == markerDQT:
		return s.quantTables(body)
	case marker == markerDRI:
		if len(body) < 2 {
			return fmt.Errorf("%w: a restart interval without its value", ErrDamaged)
		}
		s.restart = int(binary.BigEndian.Uint16(body))
	case marker == markerAPP0:
		s.jfif = s.jfif || bytes.HasPrefix(body, []byte("JFIF\x00"))
	case marker == markerAPP14:
		if bytes.HasPrefix(body, []byte("Adobe")) && len(body) >= 12 {
			s.adobe = int(body[11])
		}
	case marker == markerDNL:
		if len(body) < 2 || int(binary.BigEndian.Uint16(body)) != s.header.Rows {
			return fmt.Errorf("%w: it says two different heights", ErrDamaged)
		}
	case marker == markerDAC:
		return fmt.Errorf("%w: arithmetic coding", ErrUnsupported)
	case marker >= markerSOF0 && marker <= markerSOF3:
		return s.frameHeader(Process(marker-markerSOF0), body)
	case marker > markerSOF3 && marker <= markerSOF15 && marker != markerJPG:
		return fmt.Errorf("%w: process SOF%d", ErrUnsupported, marker-markerSOF0)
	}
	return nil // application data, comments
}

// frameHeader reads T.81 B.2.2.
func (s *stream) frameHeader(p Process, body []byte) error {
	damaged := func(why string) error { return fmt.Errorf("%w: %s", ErrDamaged, why) }
	if s.framed {
		return damaged("it has two frame headers")
	}
	if len(body) < 6 || len(body) < 6+3*int(body[5]) {
		return damaged("its frame header is short")
	}
	h := Header{
		Precision: int(body[0]), Rows: int(binary.BigEndian.Uint16(body[1:])), Columns: int(binary.BigEndian.Uint16(body[3:])),
		Components: int(body[5]), Process: p,
	}
	switch {
	case h.Columns == 0:
		return damaged("it has no columns")
	case h.Rows == 0:
		return fmt.Errorf("%w: its height is not in its frame header", ErrUnsupported)
	case h.Components < 1 || h.Components > 4:
		return fmt.Errorf("%w: %d components", ErrUnsupported, h.Components)
	case p == Lossless && (h.Precision < 2 || h.Precision > 16), p != Lossless && h.Precision != 8 && h.Precision != 12, p == Baseline && h.Precision != 8:
		return fmt.Errorf("%w: %d bits in process SOF%d", ErrUnsupported, h.Precision, p)
	}
	for i := range h.Components {
		b := body[6+3*i:]
		c := component{id: b[0], h: int(b[1] >> 4), v: int(b[1] & 15), quant: int(b[2])}
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 || c.quant > 3 {
			return damaged("its frame header has a component that can't be")
		}
		for _, other := range s.components {
			if other.id == c.id {
				return damaged("two of its components have the same name")
			}
		}
		s.components = append(s.components, c)
		s.maxH, s.maxV = max(s.maxH, c.h), max(s.maxV, c.v)
	}
	for _, c := range s.components {
		h.Subsampled = h.Subsampled || c.h != s.maxH || c.v != s.maxV
	}
	s.header, s.framed = h, true
	s.header.Colour = s.colour()
	return nil
}

// colour is what the stream says of its components: as the Independent JPEG
// Group's library reads it, but that what this library assumes stays unspecified.
// JFIF says nothing about lossless streams.
func (s *stream) colour() Colour {
	lossy := s.header.Process != Lossless
	switch s.header.Components {
	case 1:
		return Gray
	case 3:
		ids := [3]byte{s.components[0].id, s.components[1].id, s.components[2].id}
		switch {
		case s.jfif && lossy:
			return YCbCr
		case s.adobe == 0:
			return RGB
		case s.adobe == 1:
			return YCbCr
		case ids == [3]byte{'R', 'G', 'B'}:
			return RGB
		case s.header.Subsampled:
			return YCbCr
		}
	case 4:
		switch s.adobe {
		case 0:
			return CMYK
		case 2:
			return YCCK
		}
	}
	return Unspecified
}

// huffmanTables reads T.81 B.2.4.2.
func (s *stream) huffmanTables(body []byte) error {
	for len(body) > 0 {
		if len(body) < 17 {
			return fmt.Errorf("%w: a Huffman table is short", ErrDamaged)
		}
		class, to := body[0]>>4, body[0]&15
		counts := [16]byte(body[1:17])
		n := 0
		for _, c := range counts {
			n += int(c)
		}
		body = body[17:]
		if class > 1 || to > 3 || n > 256 || n > len(body) {
			return fmt.Errorf("%w: a Huffman table is wrong", ErrDamaged)
		}
		if class == 1 {
			s.ac[to] = huffmanTable{counts: counts, values: body[:n], ac: true}
		} else {
			s.dc[to] = huffmanTable{counts: counts, values: body[:n]}
		}
		body = body[n:]
	}
	return nil
}

// quantTables reads T.81 B.2.4.1.
func (s *stream) quantTables(body []byte) error {
	for len(body) > 0 {
		precision, to := int(body[0]>>4), body[0]&15
		body = body[1:]
		if precision > 1 || to > 3 || len(body) < 64*(1+precision) {
			return fmt.Errorf("%w: a quantisation table is wrong", ErrDamaged)
		}
		var q [64]int32
		for i := range 64 {
			if precision == 0 {
				q[natural[i]] = int32(body[i])
			} else {
				q[natural[i]] = int32(binary.BigEndian.Uint16(body[2*i:]))
			}
		}
		s.quant[to] = &q
		body = body[64*(1+precision):]
	}
	return nil
}

// scan is a scan header, T.81 B.2.3.
type scan struct {
	components []scanComponent
	// For lossless: start is the predictor, low the point transform.
	start, end, high, low int
}

type scanComponent struct {
	index  int // among the frame's
	dc, ac int // tables
}

func (s *stream) scan(body []byte) (sc scan, err error) {
	if len(body) < 1 || body[0] < 1 || body[0] > 4 || len(body) < 4+2*int(body[0]) {
		return sc, fmt.Errorf("%w: a scan header is wrong", ErrDamaged)
	}
	n := int(body[0])
	for i := range n {
		id, tables := body[1+2*i], body[2+2*i]
		found := -1
		for j, c := range s.components {
			if c.id == id {
				found = j
			}
		}
		for _, before := range sc.components {
			if before.index == found {
				found = -1
			}
		}
		if found < 0 || tables>>4 > 3 || tables&15 > 3 {
			return sc, fmt.Errorf("%w: a scan header has a component that can't be", ErrDamaged)
		}
		sc.components = append(sc.components, scanComponent{found, int(tables >> 4), int(tables & 15)})
	}
	rest := body[1+2*n:]
	sc.start, sc.end, sc.high, sc.low = int(rest[0]), int(rest[1]), int(rest[2]>>4), int(rest[2]&15)
	return sc, nil
}

// segment gives the bit reader the entropy-coded segment that is next.
func (s *stream) segment() { s.at = s.bits.segment(s.data, s.at) }

// afterRestart passes over a restart marker and goes to the segment behind it.
// Its number is not looked at: where one is lost, samples are missing at the end.
func (s *stream) afterRestart() error {
	if s.at+1 >= len(s.data) || s.data[s.at+1] < markerRST0 || s.data[s.at+1] > markerRST7 {
		return fmt.Errorf("%w: a restart marker is missing", ErrDamaged)
	}
	s.at += 2
	s.segment()
	return nil
}

// errShort is returned when bits are missing at the end of a segment.
func errShort() error { return fmt.Errorf("%w: samples are missing", ErrDamaged) }

// errCode is returned for bits that are no Huffman code.
func errCode() error { return fmt.Errorf("%w: a Huffman code does not exist", ErrDamaged) }
