package dicomtls

import "crypto/tls"

// Profiles lists the profiles, the default one first.
func Profiles() []Profile { return []Profile{BCP195, NonDowngrading, Modified} }

// CipherSuites names the profile's cipher suites for TLS 1.2.
func (p Profile) CipherSuites() []string {
	var names []string
	for _, id := range tls12Suites[p] {
		names = append(names, tls.CipherSuiteName(id))
	}
	return names
}

// KeySizes are the least sizes of keys in bits: of RSA and of elliptic curves.
func KeySizes() (rsa, curve int) { return minRSABits, minCurveBits }
