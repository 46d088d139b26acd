package main

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dicomtls"
)

// peerTLSFlags say how a connection to a DICOM node is secured.
type peerTLSFlags struct {
	TLS     bool   `name:"tls" help:"Connect with TLS."`
	TLSCA   string `name:"tls-ca" placeholder:"FILE" help:"The authorities to trust, PEM; without it those of the system."`
	TLSCert string `name:"tls-cert" placeholder:"FILE" help:"Our certificate, PEM, which many nodes ask for."`
	TLSKey  string `name:"tls-key" placeholder:"FILE" help:"Its private key, PEM."`
	TLSName string `name:"tls-name" placeholder:"NAME" help:"The name in the node's certificate; without it the host of its address."`

	credentials *dicomtls.Credentials
}

// check reads the files.
func (f *peerTLSFlags) check() (err error) {
	if !f.TLS {
		if f.TLSCA != "" || f.TLSCert != "" || f.TLSKey != "" || f.TLSName != "" {
			return errors.New("--tls-ca, --tls-cert, --tls-key and --tls-name need --tls")
		}
		return nil
	}
	f.credentials, err = dicomtls.Load(dicomtls.Files{Cert: f.TLSCert, Key: f.TLSKey, CA: f.TLSCA})
	return err
}

// dialTLS is what a dimse.Dialer connects with; nil without TLS.
func (f *peerTLSFlags) dialTLS(timeout time.Duration) func(ctx context.Context, network, addr string) (net.Conn, error) {
	if !f.TLS {
		return nil
	}
	cfg := f.credentials.ClientConfig(dicomtls.BCP195)
	cfg.ServerName = f.TLSName
	return dicomtls.Dialer{Config: cfg, Timeout: timeout}.DialContext
}
