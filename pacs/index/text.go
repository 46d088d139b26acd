package index

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// Longest texts in bytes that a row holds. What has an index must stay below
// the 2704 bytes that a B-tree takes per row; the rest is several times what
// the value representations allow (PS3.5 Table 6.2-1). The data set itself is
// kept whole in the pack.
const (
	maxIdentity    = 512 // issuer, patient ID, accession number
	maxName        = 1024
	maxCode        = 128 // modality, body part
	maxDescription = 4096
	maxQuestion    = 16 << 10
	maxAttributes  = 256 << 10
)

// text makes s fit for a column: PostgreSQL takes neither NUL nor anything
// but UTF-8. What is too long is cut.
func text(s string, limit int) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	if len(s) <= limit {
		return s
	}
	for !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

// identity is text for what tells rows apart: two that are too long and begin
// alike stay two.
func identity(s string) string {
	whole := text(s, 3*len(s)) // U+FFFD has three bytes
	if len(whole) <= maxIdentity {
		return whole
	}
	sum := sha256.Sum256([]byte(s))
	return text(whole, maxIdentity-17) + "~" + hex.EncodeToString(sum[:8])
}

// normalized is the patient as a row holds it.
func normalized(p pacs.Patient) pacs.Patient {
	p.Issuer, p.PatientID = identity(p.Issuer), identity(p.PatientID)
	p.Name = text(p.Name, maxName)
	p.Sex, p.BirthDate, p.PINFL = text(p.Sex, maxCode), text(p.BirthDate, maxCode), text(p.PINFL, maxCode)
	return p
}

// object makes attributes fit for a jsonb column: {} for none and for more
// than anybody will ask a list for.
func object(attributes json.RawMessage) json.RawMessage {
	if len(attributes) == 0 || len(attributes) > maxAttributes {
		return json.RawMessage("{}")
	}
	return withoutNUL(bytes.ToValidUTF8(attributes, []byte("\uFFFD")))
}

// withoutNUL replaces the escape \u0000, which is valid JSON that jsonb can't
// hold.
func withoutNUL(b []byte) []byte {
	nul := []byte(`\u0000`)
	if !bytes.Contains(b, nul) {
		return b
	}
	b = bytes.Clone(b)
	for i := 0; i < len(b)-1; i++ {
		if b[i] != '\\' {
			continue
		}
		if bytes.HasPrefix(b[i:], nul) {
			copy(b[i:], `\ufffd`)
		}
		i++ // what follows a backslash is no backslash of its own
	}
	return b
}
