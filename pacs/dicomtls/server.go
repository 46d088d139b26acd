package dicomtls

import (
	"crypto/tls"
	"crypto/x509"
	"net"
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

// Listener secures the connections that ln accepts. Each uses the credentials
// that were read last. The handshake is left to who takes the connection, with
// HandshakeContext.
func (s Server) Listener(ln net.Listener) net.Listener { return &listener{ln, s.config()} }

type listener struct {
	net.Listener
	cfg *tls.Config
}

func (l *listener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: tls.Server(nc, l.cfg)}, nil
}

func (s Server) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return s.configOf(s.Credentials.current.Load()), nil
		},
	}
}

func (s Server) configOf(l *loaded) *tls.Config {
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
