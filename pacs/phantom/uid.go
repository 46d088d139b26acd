package phantom

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/big"
	"strings"
)

// identity is everything that goes into the bytes of this study; UIDs and
// noise come from it, so that the same UID always means the same bytes.
func (s *Study) identity() string {
	p := &s.Patient
	return strings.Join([]string{
		"tasvir phantom 1",
		p.Family, p.Given, p.Patronymic, p.ID, p.Issuer, p.PINFL, p.Sex, p.BirthDate, p.CharacterSet, p.WrittenAs,
		s.Accession, s.Description, s.Reason, s.Institution, s.StationName, s.ReferringPhysician,
		s.Date.Format("20060102150405-0700"), s.Modality,
		fmt.Sprint(s.Kind, s.Seed, s.Series, s.Slices, s.Matrix, s.Finding, s.FindingSize, s.RightSided, s.ImplicitVR),
	}, "\x00")
}

// uid derives a UID from a name: a version 8 UUID under 2.25 (PS3.5 B.2).
func uid(name string) string {
	h := sha256.Sum256([]byte(name))
	u := h[:16]
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	return "2.25." + new(big.Int).SetBytes(u).String()
}

// seedOf derives the seed of a random sequence from a name.
func seedOf(name string) uint64 {
	h := sha256.Sum256([]byte("seed " + name))
	return binary.LittleEndian.Uint64(h[:8])
}

// StudyInstanceUID is the UID that all instances of the study will carry.
func (s *Study) StudyInstanceUID() string { return uid(s.identity()) }
