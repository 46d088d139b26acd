//go:build !openjpeg || !cgo

package openjpeg

// Available says whether this build has the codec.
const Available = false

// Encode fails: there is no codec.
func Encode(Image, Params) ([]byte, error) { return nil, ErrAbsent }

// Decode fails: there is no codec.
func Decode([]byte) (Image, error) { return Image{}, ErrAbsent }
