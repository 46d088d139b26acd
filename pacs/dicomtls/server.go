package dicomtls

import (
	"crypto/tls"
	"crypto/x509"
)

// Server is the accepting side.
type Server struct {
	// Credentials must have a certificate and, unless Anonymous, authorities.
	Credentials *Credentials
	Profile     Profile // "" is BCP195
	// Anonymous also takes peers without a certificate. One that is shown is
	// verified all the same.
	Anonymous bool
}

// Config returns the configuration for tls.NewListener. Each connection uses the
// credentials that were read last.
func (s Server) Config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return s.config(s.Credentials.current.Load()), nil
		},
	}
}

func (s Server) config(l *loaded) *tls.Config {
	c := &tls.Config{Certificates: l.certs, ClientCAs: l.roots, ClientAuth: tls.RequireAndVerifyClientCert}
	switch {
	case s.Anonymous && l.roots == nil:
		c.ClientAuth = tls.NoClientCert // nothing to verify one with
	case s.Anonymous:
		c.ClientAuth = tls.VerifyClientCertIfGiven
	case l.roots == nil:
		// No list would be taken for the system's, whose certificates anybody
		// can buy. An empty one trusts nobody.
		c.ClientCAs = x509.NewCertPool()
	}
	s.Profile.apply(c)
	c.VerifyConnection = func(state tls.ConnectionState) error { return checkKeys(state.PeerCertificates) }
	return c
}
