package access

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tasvir-pacs/tasvir/pacs"
)

const fingerprintPrefix = "sha256:"

var fingerprintDigits = regexp.MustCompile(`^[0-9a-f]{64}$`)

func (d *Device) checkTLS() error {
	d.TLSServerName = strings.TrimSpace(d.TLSServerName)
	if !validHost(d.TLSServerName) {
		return pacs.Errorf(pacs.Invalid, "%q can't be the name in a certificate", d.TLSServerName).WithReason("tls_server_name", "")
	}
	certificate, ok := normalCertificate(d.Certificate)
	if !ok {
		return pacs.Errorf(pacs.Invalid, "A certificate is named by its SHA-256 fingerprint (64 hexadecimal digits) or its subject, such as CN=CT1,O=Hospital").WithReason("certificate", "")
	}
	d.Certificate = certificate
	if d.Certificate != "" && !d.TLS {
		return pacs.Errorf(pacs.Invalid, "A certificate can be bound only to an AE that must use TLS").WithReason("certificate", "")
	}
	return nil
}

// normalCertificate makes one spelling of the many in which tools print a
// fingerprint or a subject.
func normalCertificate(text string) (string, bool) {
	text = strings.TrimSpace(text)
	if text == "" {
		return "", true
	}
	digits := strings.ToLower(text)
	if _, after, ok := strings.Cut(digits, "="); ok && strings.HasPrefix(digits, "sha256 fingerprint") { // openssl x509 -fingerprint
		digits = after
	}
	digits = strings.NewReplacer(":", "", " ", "").Replace(strings.TrimPrefix(digits, fingerprintPrefix))
	if fingerprintDigits.MatchString(digits) {
		return fingerprintPrefix + digits, true
	}
	parts := subjectParts(text)
	if len(parts) == 0 || utf8.RuneCountInString(text) > 300 || !printable(text) || strings.HasPrefix(strings.ToLower(text), fingerprintPrefix) {
		return "", false
	}
	return strings.Join(parts, ","), true
}

// subjectParts splits a subject as RFC 2253 or openssl writes it into
// TYPE=value, unescaped commas kept out; nil when it is none.
func subjectParts(text string) []string {
	text = strings.TrimPrefix(strings.TrimSpace(text), "subject=")
	var parts []string
	var now strings.Builder
	flush := func() bool {
		kind, value, ok := strings.Cut(now.String(), "=")
		now.Reset()
		kind, value = strings.ToUpper(strings.TrimSpace(kind)), strings.TrimSpace(value)
		if !ok || kind == "" || value == "" {
			return false
		}
		parts = append(parts, kind+"="+value)
		return true
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text):
			now.WriteByte(c)
			i++
			now.WriteByte(text[i])
		case c == ',' || c == '+':
			if !flush() {
				return nil
			}
		default:
			now.WriteByte(c)
		}
	}
	if !flush() {
		return nil
	}
	return parts
}

// matchesSubject compares without regard to the order of the parts, which
// tools print in either.
func matchesSubject(want string, have pkix.Name) bool {
	a, b := subjectParts(want), subjectParts(have.String())
	slices.Sort(a)
	slices.Sort(b)
	return len(a) > 0 && slices.Equal(a, b)
}

// Fingerprint is how a certificate is named in Device.Certificate.
func Fingerprint(certificate *x509.Certificate) string {
	sum := sha256.Sum256(certificate.Raw)
	return fingerprintPrefix + hex.EncodeToString(sum[:])
}

// ErrCertificate: the peer's certificate is not the one its AE title is bound
// to.
var ErrCertificate = errors.New("the certificate is not the one this AE title is bound to")

// CheckCertificate says whether a connection may speak for the device: nil is
// a connection without TLS. Verifying the chain of the certificate, unless it
// is bound by its fingerprint, is the TLS configuration's matter.
//
//	Forbidden  the device must use TLS, or has another certificate
func (d Device) CheckCertificate(state *tls.ConnectionState) error {
	if state == nil {
		if d.TLS {
			return pacs.Errorf(pacs.Forbidden, "%q must use TLS", d.AETitle).WithReason("tls_required", "")
		}
		return nil
	}
	if d.Certificate == "" {
		return nil
	}
	if len(state.PeerCertificates) == 0 || !d.bound(state.PeerCertificates[0]) {
		return pacs.Wrap(pacs.Forbidden, ErrCertificate, fmt.Sprintf("%q came with another certificate than it is bound to", d.AETitle)).WithReason("certificate", "")
	}
	return nil
}

func (d Device) bound(leaf *x509.Certificate) bool {
	if strings.HasPrefix(d.Certificate, fingerprintPrefix) {
		return Fingerprint(leaf) == d.Certificate
	}
	return matchesSubject(d.Certificate, leaf.Subject)
}

// ClientTLS is how the archive calls the device: nil for a plain connection,
// else base, which has the authorities we trust and our own certificate (nil
// for the system's and none), made to expect the device's name and
// certificate. A certificate bound by its fingerprint needs neither authority
// nor name.
func (d Device) ClientTLS(base *tls.Config) *tls.Config {
	if !d.TLS {
		return nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if base != nil {
		config = base.Clone()
	}
	config.ServerName = d.TLSServerName
	if config.ServerName == "" {
		config.ServerName = d.Host
	}
	config.InsecureSkipVerify = strings.HasPrefix(d.Certificate, fingerprintPrefix) // VerifyConnection compares all of it
	verify := config.VerifyConnection                                               // of base
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if verify != nil {
			if err := verify(state); err != nil {
				return err
			}
		}
		if err := d.CheckCertificate(&state); err != nil {
			return ErrCertificate
		}
		return nil
	}
	return config
}
