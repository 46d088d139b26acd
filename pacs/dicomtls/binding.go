package dicomtls

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// Binding says which certificate an AE title may come with.
type Binding struct {
	// Fingerprint is the SHA-256 of the certificate, as Fingerprint gives it.
	// When set, it is the only certificate, whatever its names.
	Fingerprint string
	// Subject is a name that the certificate must have: its common name, one of
	// its DNS names or URIs, or its whole subject ("CN=CT 1,O=Hospital"). "" is
	// the AE title itself, and "*" leaves it to the authorities.
	Subject string
}

// AnySubject is the Subject of a Binding that takes every certificate of the
// trusted authorities.
const AnySubject = "*"

// Check returns nil if the certificate is the one that aeTitle may come with. The
// error says what was expected and what was shown. cert was verified against the
// authorities before; nil is none.
func (b Binding) Check(aeTitle string, cert *x509.Certificate) error {
	if cert == nil {
		return &BindingError{AETitle: aeTitle, Message: "it showed no certificate"}
	}
	if b.Fingerprint != "" {
		want, err := ParseFingerprint(b.Fingerprint)
		if err != nil {
			return err
		}
		got := Fingerprint(cert)
		if subtle.ConstantTimeCompare([]byte(want), []byte(got)) == 1 {
			return nil
		}
		return &BindingError{AETitle: aeTitle, Message: fmt.Sprintf("its certificate has the fingerprint %s, not %s", got, want)}
	}
	want := b.Subject
	switch want {
	case AnySubject:
		return nil
	case "":
		want = aeTitle
	}
	names := certificateNames(cert)
	for _, n := range names {
		if n.is(want) {
			return nil
		}
	}
	return &BindingError{AETitle: aeTitle, Message: fmt.Sprintf("its certificate is for %s, not %q", list(names), want)}
}

// BindingError says that an AE title came with somebody else's certificate.
type BindingError struct{ AETitle, Message string }

func (e *BindingError) Error() string {
	if e.AETitle == "" {
		return e.Message
	}
	return fmt.Sprintf("the AE title %q is not proven: %s", e.AETitle, e.Message)
}

// name is one of a certificate's names.
type name struct {
	text string
	dns  bool // where case does not count
}

func (n name) is(want string) bool {
	return want != "" && (n.text == want || n.dns && strings.EqualFold(n.text, want))
}

func certificateNames(cert *x509.Certificate) []name {
	var names []name
	if cn := strings.TrimSpace(cert.Subject.CommonName); cn != "" {
		names = append(names, name{text: cn})
	}
	for _, d := range cert.DNSNames {
		names = append(names, name{text: d, dns: true})
	}
	for _, u := range cert.URIs {
		names = append(names, name{text: u.String()})
	}
	if s := cert.Subject.String(); s != "" {
		names = append(names, name{text: s})
	}
	return names
}

// list names at most five for a message: a certificate may have hundreds.
func list(names []name) string {
	var quoted []string
	for i, n := range names {
		if i == 5 {
			quoted = append(quoted, "…")
			break
		}
		text := n.text
		if len(text) > 100 {
			text = text[:100] + "…"
		}
		quoted = append(quoted, fmt.Sprintf("%q", text))
	}
	if len(quoted) == 0 {
		return "nobody"
	}
	return strings.Join(quoted, ", ")
}

// Fingerprint returns the SHA-256 fingerprint of a certificate: 64 lower-case
// hexadecimal digits.
func Fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}

// ParseFingerprint takes a fingerprint as tools print it, for instance with
// colons and in capitals, and returns it as Fingerprint does; or Invalid.
func ParseFingerprint(s string) (string, error) {
	s = strings.TrimSpace(s)
	if i := strings.LastIndexByte(s, '='); i >= 0 { // openssl's "sha256 Fingerprint="
		s = s[i+1:]
	}
	s = strings.ToLower(strings.NewReplacer(":", "", " ", "").Replace(s))
	if b, err := hex.DecodeString(s); err != nil || len(b) != sha256.Size {
		return "", pacs.Errorf(pacs.Invalid, "A certificate's fingerprint is its SHA-256: 64 hexadecimal digits, as openssl x509 -noout -fingerprint -sha256 prints it")
	}
	return s, nil
}
