package dicomtls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"
)

// Client is the connecting side.
type Client struct {
	// Credentials hold the authorities to trust and the certificate to show if
	// the peer asks; nil trusts those of the system and shows none.
	Credentials *Credentials
	Profile     Profile // "" is BCP195
	// ServerName is the DNS name or address that the peer's certificate must be
	// for; "" is the host that is dialed.
	ServerName string
	// Fingerprint, when set, is the SHA-256 fingerprint that the peer's
	// certificate must have, in place of the name. The certificate must still be
	// valid and of a trusted authority, unless it is its own.
	Fingerprint string
	// Timeout bounds connecting and the handshake together. Default 30 s.
	Timeout time.Duration
}

// DialContext connects to addr, host:port, and completes the handshake.
func (c Client) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = 30 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cfg, err := c.config(addr)
	if err != nil {
		return nil, err
	}
	nc, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	tc := tls.Client(nc, cfg)
	if err := tc.HandshakeContext(ctx); err != nil {
		_ = nc.Close()
		return nil, &HandshakeError{Err: err}
	}
	return tc, nil
}

func (c Client) config(addr string) (*tls.Config, error) {
	l := &loaded{}
	if c.Credentials != nil {
		l = c.Credentials.current.Load()
	}
	name := c.ServerName
	if name == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, fmt.Errorf("%q is no address: %w", addr, err)
		}
		name = host
	}
	cfg := &tls.Config{RootCAs: l.roots, ServerName: name}
	if len(l.certs) > 0 {
		// Shown even to a server that does not name its authority: then it says
		// what is wrong, in place of missing a certificate.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &l.certs[0], nil }
	}
	c.Profile.apply(cfg)
	cfg.VerifyConnection = func(state tls.ConnectionState) error { return checkKeys(state.PeerCertificates) }
	if c.Fingerprint != "" {
		// The library can't verify a chain without a name: both are done here.
		cfg.InsecureSkipVerify = true
		cfg.VerifyConnection = func(state tls.ConnectionState) error {
			return verifyPinned(state.PeerCertificates, c.Fingerprint, l.roots, time.Now())
		}
	}
	return cfg, nil
}

// verifyPinned accepts the one certificate with this fingerprint, if it is valid
// now and of a trusted authority or its own.
func verifyPinned(certs []*x509.Certificate, fingerprint string, roots *x509.CertPool, now time.Time) error {
	if len(certs) == 0 {
		return errors.New("the peer showed no certificate")
	}
	leaf := certs[0]
	if err := (Binding{Fingerprint: fingerprint}).Check("", leaf); err != nil {
		return err
	}
	if err := checkKeys(certs); err != nil {
		return err
	}
	if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return x509.CertificateInvalidError{Cert: leaf, Reason: x509.Expired}
	}
	if leaf.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature) == nil {
		return nil // its own authority, and pinned
	}
	between := x509.NewCertPool()
	for _, c := range certs[1:] {
		between.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now})
	return err
}
