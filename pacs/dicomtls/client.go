package dicomtls

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"
)

// ClientConfig returns the configuration for connecting: with the credentials
// as they were read last, so it is asked for anew for each connection. It lacks
// the name that the peer's certificate must have, which Dialer adds. A nil
// receiver trusts the system's authorities and shows no certificate.
func (c *Credentials) ClientConfig(profile Profile) *tls.Config {
	cfg := &tls.Config{
		VerifyConnection: func(state tls.ConnectionState) error { return checkKeys(state.PeerCertificates) },
	}
	profile.apply(cfg)
	if c == nil {
		return cfg
	}
	l := c.current.Load()
	cfg.RootCAs = l.roots
	if len(l.certs) > 0 {
		// Shown even to a server that does not name its authority: then it says
		// what is wrong, in place of missing a certificate.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &l.certs[0], nil }
	}
	return cfg
}

// Dialer connects with TLS. Its DialContext is what a dimse.Dialer takes.
type Dialer struct {
	// Config is normally of Credentials.ClientConfig. Without a ServerName the
	// certificate must be for the host that is dialed.
	Config *tls.Config
	// Timeout bounds connecting and the handshake together. Default 30 s.
	Timeout time.Duration
}

// DialContext connects to addr, host:port, and completes the handshake. The
// error is a *HandshakeError when there was a connection.
func (d Dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	timeout := d.Timeout
	if timeout <= 0 {
		timeout = 30 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cfg := d.Config.Clone()
	if cfg.ServerName == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, fmt.Errorf("%q is no address: %w", addr, err)
		}
		cfg.ServerName = host
	}
	nc, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	tc := &conn{Conn: tls.Client(nc, cfg)}
	if err := tc.HandshakeContext(ctx); err != nil {
		_ = nc.Close()
		return nil, err
	}
	return tc, nil
}

// conn is a TLS connection whose handshake fails in plain words.
type conn struct {
	*tls.Conn
	heard bool // of the peer, after the handshake
}

// Read tells a client what the server thinks of its certificate: with TLS 1.3
// that comes after the handshake, in place of the first answer.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	var alert *net.OpError
	if err != nil && !c.heard && errors.As(err, &alert) && alert.Op == "remote error" {
		err = &HandshakeError{Err: err}
	}
	c.heard = c.heard || n > 0
	return n, err
}

func (c *conn) HandshakeContext(ctx context.Context) error {
	if err := c.Conn.HandshakeContext(ctx); err != nil {
		return &HandshakeError{Err: err}
	}
	return nil
}
