package dicomtls

import (
	"crypto/x509"
	"fmt"
	"strings"
)

// CheckName returns nil if a certificate names the AE title that its owner
// claims: as its common name, as one of its DNS names, or as a URI that ends
// with it ("urn:dicom:ae:CT01"). It is what binds an AE title that is not
// registered with a certificate of its own; without it every device of an
// authority could call itself by the name of every other. The error says what
// was expected and what was shown. cert was verified before; nil is none.
func CheckName(aeTitle string, cert *x509.Certificate) error {
	if cert == nil {
		return &NameError{AETitle: aeTitle, Message: "no certificate was shown"}
	}
	if aeTitle != "" && names(cert, aeTitle) {
		return nil
	}
	return &NameError{AETitle: aeTitle, Message: "the certificate is for " + describe(cert)}
}

// NameError says that an AE title came with somebody else's certificate.
type NameError struct{ AETitle, Message string }

func (e *NameError) Error() string {
	return fmt.Sprintf("the AE title %q is not proven: %s", e.AETitle, e.Message)
}

func names(cert *x509.Certificate, aeTitle string) bool {
	if strings.TrimSpace(cert.Subject.CommonName) == aeTitle {
		return true
	}
	for _, d := range cert.DNSNames {
		if strings.EqualFold(d, aeTitle) { // case does not count in DNS names
			return true
		}
	}
	for _, u := range cert.URIs {
		text := u.String()
		if i := strings.LastIndexAny(text, ":/"); i >= 0 && text[i+1:] == aeTitle {
			return true
		}
	}
	return false
}

// describe names a certificate for a message. It may have hundreds of names.
func describe(cert *x509.Certificate) string {
	all := []string{cert.Subject.CommonName}
	all = append(all, cert.DNSNames...)
	for _, ip := range cert.IPAddresses {
		all = append(all, ip.String())
	}
	for _, u := range cert.URIs {
		all = append(all, u.String())
	}
	var quoted []string
	for _, text := range all {
		if text == "" {
			continue
		}
		if len(quoted) == 5 {
			quoted = append(quoted, "…")
			break
		}
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
