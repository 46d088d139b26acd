package dicom

import (
	"crypto/rand"
	"fmt"
	"math/big"
)

// Who wrote a file, PS3.10 7.1 (0002,0012) and (0002,0013). The class UID is
// derived from a UUID (PS3.5 B.2), which needs no registered root.
const (
	ImplementationClassUID    = "2.25.227282696781014164313805822488697630660"
	ImplementationVersionName = "TASVIR_0_1"
)

// ValidUID checks s against PS3.5 9.1: 1 to 64 characters, components of
// digits separated by dots, no empty component, no leading zero except in the
// component "0".
func ValidUID(s string) error {
	if s == "" {
		return fmt.Errorf("dicom: UID is empty")
	}
	if len(s) > 64 {
		return fmt.Errorf("dicom: UID has %d characters, at most 64 are allowed", len(s))
	}
	start := 0
	for i := 0; i <= len(s); i++ {
		if i < len(s) && s[i] != '.' {
			if s[i] < '0' || s[i] > '9' {
				return fmt.Errorf("dicom: UID %q has a character other than digits and dots", s)
			}
			continue
		}
		switch {
		case i == start:
			return fmt.Errorf("dicom: UID %q has an empty component", s)
		case s[start] == '0' && i > start+1:
			return fmt.Errorf("dicom: UID %q has a component with a leading zero", s)
		}
		start = i + 1
	}
	return nil
}

// NewUID makes a unique UID from a random UUID, "2.25." and its decimal value
// (PS3.5 B.2).
func NewUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the program if it can't
	b[6] = b[6]&0x0F | 0x40
	b[8] = b[8]&0x3F | 0x80
	return "2.25." + new(big.Int).SetBytes(b[:]).String()
}
