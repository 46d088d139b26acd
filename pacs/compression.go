package pacs

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// Compression says how an instance was received whose pixel data the archive
// has compressed without loss. Its attributes are the same, byte for byte, and
// so are the pixels once they are decoded.
type Compression struct {
	At time.Time `json:"at"`
	// SHA256 of the data set as it was received, hexadecimal, by which it is
	// known again when it is sent anew.
	SHA256            string `json:"sha256"`
	TransferSyntaxUID string `json:"transfer_syntax"`
	Length            int64  `json:"length"`         // of the PS3.10 file
	DatasetOffset     int64  `json:"dataset_offset"` // in it
}

// An attribute's place in the file that was received and in the one that is
// kept differ: the meta information grows with the name of the transfer syntax,
// and what follows the pixel data moves with the end of the file. Addresses of
// bulk data count in the file that was received, so that those that somebody has
// got before the compression stay good.

// Kept is the place in the file at loc of what was at offset in the file that
// was received. The place of the pixel data is where their value begins.
func (c *Compression) Kept(loc Location, offset int64) int64 {
	moved := loc.DatasetOffset - c.DatasetOffset
	if px := loc.PixelData; px != nil && offset > px.Offset-moved {
		moved = loc.Length - c.Length
	}
	return offset + moved
}

// Received is the place in the file that was received of what is at offset in
// the file at loc.
func (c *Compression) Received(loc Location, offset int64) int64 {
	moved := loc.DatasetOffset - c.DatasetOffset
	if px := loc.PixelData; px != nil && offset > px.Offset {
		moved = loc.Length - c.Length
	}
	return offset - moved
}

// ReceivedSHA256 is the hash of the data set as it was received: what the
// instance is known by, whatever has become of it since.
func (i *Instance) ReceivedSHA256() []byte {
	return ReceivedSHA256(i.SHA256, i.PixelsDeleted, i.Compressed)
}

// ReceivedSHA256 is the hash of the data set as it was received, of an instance
// that is kept with the hash kept. Nil when what was noted of it is no hash.
func ReceivedSHA256(kept []byte, deleted *PixelDeletion, compressed *Compression) []byte {
	text := ""
	switch {
	case deleted != nil:
		text = deleted.SHA256
	case compressed != nil:
		text = compressed.SHA256
	default:
		return kept
	}
	sum, err := hex.DecodeString(text)
	if err != nil || len(sum) != sha256.Size {
		return nil
	}
	return sum
}
