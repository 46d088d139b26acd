package pacs

import (
	"context"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"io"
	"time"
)

// Amendment is whom a study's instances name when they are served, in place of
// whom their archived bytes name: an administrator has corrected, merged,
// moved or split patients.
type Amendment struct {
	Patient  Patient
	Facility string    // code of the study's facility: the issuer where data sets name none
	At       time.Time // of what the administrator did
}

// Tag identifies what the amendment says, for an ETag. "" for none.
func (a *Amendment) Tag() string {
	if a == nil {
		return ""
	}
	h := fnv.New64a()
	p := a.Patient
	fmt.Fprintf(h, "%d %q %q %q %q %q %s %d", p.ID, p.Issuer, p.PatientID, p.Name, p.Sex, p.BirthDate, a.Facility, a.At.UnixMicro())
	return hex.EncodeToString(h.Sum(nil))
}

// File is an instance as it is served: a PS3.10 file.
type File struct {
	Length int64
	// Open streams length bytes from offset; both lie within Length. Reading
	// ends with io.EOF only when every byte was delivered. The caller closes
	// the reader.
	Open func(ctx context.Context, offset, length int64) (io.ReadCloser, error)
}
