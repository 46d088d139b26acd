//go:build !charls || !cgo

package charls

// Available says whether this build has the codec.
const Available = false

// Encode fails: there is no codec.
func Encode(Image, int) ([]byte, error) { return nil, ErrAbsent }

// Decode fails: there is no codec.
func Decode([]byte, Image) (Image, error) { return Image{}, ErrAbsent }
