package openjpeg

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// Header is what a codestream declares of its picture.
type Header struct {
	Columns, Rows, Components int
	Bits                      int // per sample, of the component with most
	Signed                    bool
	// Transformed says that components are kept as YBR_RCT or YBR_ICT, which
	// decoding turns back.
	Transformed bool
	// HighThroughput says that it is coded by ISO/IEC 15444-15.
	HighThroughput bool
}

// maxTiles bounds tiles times components: the library keeps several kilobytes
// for each, whatever their size.
const maxTiles = 1 << 14

// ReadHeader reads the main header of a codestream, bare as PS3.5 A.4.4 wants it
// or in a JP2 file as some write it: the segments SIZ and COD of ISO/IEC 15444-1
// A.5.1 and A.6.1. The error is errors.ErrUnsupported for what Decode doesn't
// take: subsampled components or ones that differ, more than 4, too many tiles.
func ReadHeader(data []byte) (Header, error) {
	data = codestream(data)
	// SOC, then SIZ: Lsiz Rsiz Xsiz Ysiz XOsiz YOsiz XTsiz YTsiz XTOsiz YTOsiz Csiz.
	if len(data) < 42 || !bytes.HasPrefix(data, []byte{0xFF, 0x4F, 0xFF, 0x51}) {
		return Header{}, errors.New("this is no JPEG 2000 codestream")
	}
	length := int(binary.BigEndian.Uint16(data[4:]))
	number := func(at int) int64 { return int64(binary.BigEndian.Uint32(data[at:])) }
	x1, y1, x0, y0 := number(8), number(12), number(16), number(20)
	tileX, tileY, tileX0, tileY0 := number(24), number(28), number(32), number(36)
	components := int(binary.BigEndian.Uint16(data[40:]))
	switch {
	case components < 1 || length != 38+3*components || len(data) < 4+length:
		return Header{}, errors.New("its SIZ segment is damaged")
	case x1 <= x0 || y1 <= y0 || tileX == 0 || tileY == 0 || tileX0 > x0 || tileY0 > y0 || tileX0+tileX <= x0 || tileY0+tileY <= y0:
		return Header{}, errors.New("its SIZ segment declares no picture")
	case components > 4:
		return Header{}, fmt.Errorf("%w: %d components", errors.ErrUnsupported, components)
	}
	h := Header{Columns: int(x1 - x0), Rows: int(y1 - y0), Components: components}
	for i := range components {
		c := data[42+3*i:]
		bits, signed := int(c[0]&0x7F)+1, c[0]&0x80 != 0
		switch {
		case c[1] != 1 || c[2] != 1:
			return Header{}, fmt.Errorf("%w: components with fewer samples than pixels", errors.ErrUnsupported)
		case bits > maxBits:
			return Header{}, fmt.Errorf("%w: %d bits per sample", errors.ErrUnsupported, bits)
		case i > 0 && (signed != h.Signed || bits != h.Bits):
			return Header{}, fmt.Errorf("%w: components of different kinds", errors.ErrUnsupported)
		}
		h.Bits, h.Signed = bits, signed
	}
	tiles := ((x1 - tileX0 + tileX - 1) / tileX) * ((y1 - tileY0 + tileY - 1) / tileY)
	if tiles > maxTiles/int64(components) {
		return Header{}, fmt.Errorf("%w: %d tiles", errors.ErrUnsupported, tiles)
	}
	return h, h.readSegments(data[4+length:])
}

// readSegments reads the main header behind SIZ, up to the first tile-part.
func (h *Header) readSegments(data []byte) error {
	for len(data) >= 4 && data[0] == 0xFF {
		marker, length := data[1], int(binary.BigEndian.Uint16(data[2:]))
		if marker == 0x90 { // SOT
			return nil
		}
		if length < 2 || len(data) < 2+length {
			break
		}
		switch {
		case marker == 0x50: // CAP, ISO/IEC 15444-15 A.3
			h.HighThroughput = true
		case marker == 0x52 && length >= 7: // COD: Lcod Scod SGcod (progression, layers, transformation)
			h.Transformed = data[8] != 0 && h.Components >= 3
		}
		data = data[2+length:]
	}
	return errors.New("its main header is cut short")
}

// codestream finds the codestream in a JP2 file: the box jp2c, ISO/IEC 15444-1
// I.5.4. Anything else is returned as it is.
func codestream(data []byte) []byte {
	if !isJP2(data) {
		return data
	}
	for rest := data; len(rest) >= 8; {
		header, length := int64(8), int64(binary.BigEndian.Uint32(rest))
		if length == 1 && len(rest) >= 16 {
			header, length = 16, int64(binary.BigEndian.Uint64(rest[8:]))
		} else if length == 0 {
			length = int64(len(rest))
		}
		if length < header || length > int64(len(rest)) {
			break
		}
		if string(rest[4:8]) == "jp2c" {
			return rest[header:length]
		}
		rest = rest[length:]
	}
	return nil
}

// isJP2 says whether data begin with the signature box of a JP2 file.
func isJP2(data []byte) bool {
	return bytes.HasPrefix(data, []byte{0, 0, 0, 12, 'j', 'P', ' ', ' '})
}
