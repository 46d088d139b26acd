package dicomtls

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// Profile is a TLS Secure Transport Connection Profile of PS3.15 Annex B. All
// of them take TLS 1.2 and 1.3, prefer 1.3, and want forward secrecy,
// authenticated encryption and keys of at least 2048 (RSA) or 256 bits
// (elliptic curves). With TLS 1.3 all of its cipher suites are on; the tables
// below are for TLS 1.2. Of the suites that the profiles name, those with DHE,
// CCM and Camellia are not there: Go's TLS has none. It also has its own order
// of preference, by which authenticated AES comes first where the hardware has
// it, so that BCP195 and Modified end up with the same choices.
type Profile string

const (
	// BCP195 is the BCP 195 RFC 8996, 9325 profile, PS3.15 B.12: the suites
	// that RFC 9325 section 4.2 recommends, and ChaCha20-Poly1305 for devices
	// without AES in hardware.
	BCP195 Profile = "bcp195"
	// NonDowngrading is the Non-Downgrading BCP 195 profile, PS3.15 B.10 until
	// 2022: the ECDHE suites that it lists and nothing else.
	NonDowngrading Profile = "nondowngrading"
	// Modified is the Modified BCP 195 RFC 8996, 9325 profile, PS3.15 B.13, which
	// names the algorithms that are permitted and the sizes of keys.
	Modified Profile = "modified"
)

// tls12Suites are the cipher suites of each profile for TLS 1.2.
var tls12Suites = map[Profile][]uint16{
	BCP195: {
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	},
	NonDowngrading: {
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	},
	Modified: {
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	},
}

// ParseProfile returns the profile of this name; "" is BCP195.
func ParseProfile(name string) (Profile, error) {
	if name == "" {
		return BCP195, nil
	}
	if _, ok := tls12Suites[Profile(name)]; !ok {
		return "", pacs.Errorf(pacs.Invalid, "%q is no TLS profile; choose %s, %s or %s", name, BCP195, NonDowngrading, Modified)
	}
	return Profile(name), nil
}

// apply sets what the profile asks for, which both sides have in common.
func (p Profile) apply(c *tls.Config) {
	if p == "" {
		p = BCP195
	}
	c.MinVersion = tls.VersionTLS12
	c.CipherSuites = tls12Suites[p]
	// A resumed session would carry on with a certificate that meanwhile lost
	// its trust. Associations are few and long; a handshake is cheap.
	c.SessionTicketsDisabled = true
}

// Least key sizes. RFC 9325 section 4.5 and PS3.15 B.13.
const (
	minRSABits   = 2048
	minCurveBits = 256
)

// checkKeys refuses a chain with a key that is too weak.
func checkKeys(certs []*x509.Certificate) error {
	for _, c := range certs {
		var weak bool
		switch key := c.PublicKey.(type) {
		case *rsa.PublicKey:
			weak = key.N.BitLen() < minRSABits
		case *ecdsa.PublicKey:
			weak = key.Curve.Params().BitSize < minCurveBits
		case ed25519.PublicKey:
		default:
			weak = true
		}
		if weak {
			return &weakKeyError{fmt.Sprintf("the key of certificate %q is too weak: at least RSA of %d bits or a curve of %d bits is needed",
				c.Subject, minRSABits, minCurveBits)}
		}
	}
	return nil
}

type weakKeyError struct{ message string }

func (e *weakKeyError) Error() string { return e.message }
