package dicomtls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// HandshakeError is why a connection that came about could not be secured.
type HandshakeError struct{ Err error }

func (e *HandshakeError) Error() string { return "TLS handshake failed: " + Explain(e.Err) }
func (e *HandshakeError) Unwrap() error { return e.Err }

// alerts are what a peer says about us. RFC 8446 section 6.
var alerts = []struct{ text, means string }{
	{"bad certificate", "the peer does not take our certificate"},
	{"certificate required", "the peer wants a certificate of us, and none is configured"},
	{"unknown certificate authority", "the peer does not trust the authority of our certificate"},
	{"expired certificate", "the peer says that our certificate has expired"},
	{"revoked certificate", "the peer says that our certificate was revoked"},
	{"unsupported certificate", "the peer can't use the kind of our certificate"},
	{"unknown certificate", "the peer does not take our certificate"},
	{"handshake failure", "the peer and we have no cipher suite in common, or it wants a certificate of us"},
	{"protocol version not supported", "the peer has neither TLS 1.2 nor 1.3"},
	{"access denied", "the peer takes our certificate for one without access"},
	{"insufficient security level", "the peer wants stronger ciphers or keys"},
}

// Explain says in plain words why a TLS handshake, of either side, failed.
func Explain(err error) string {
	var (
		unknown  x509.UnknownAuthorityError
		invalid  x509.CertificateInvalidError
		hostname x509.HostnameError
		record   tls.RecordHeaderError
		alert    tls.AlertError
		weak     *weakKeyError
		misnamed *NameError
	)
	switch {
	case err == nil:
		return ""
	case errors.As(err, &misnamed):
		return misnamed.Error()
	case errors.As(err, &weak):
		return weak.Error()
	case errors.As(err, &hostname):
		return fmt.Sprintf("the peer's certificate is not for %q but for %s; connect by that name or name it as the TLS server name",
			hostname.Host, describe(hostname.Certificate))
	case errors.As(err, &unknown):
		return "the peer's certificate is of an authority that is not trusted here; add the authority's certificate to the trusted ones"
	case errors.As(err, &invalid):
		return explainInvalid(invalid)
	case errors.As(err, &record):
		return "the peer does not speak TLS on this port"
	case errors.As(err, &alert):
		return explainAlert(alert.Error(), err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "the peer was silent; it may not speak TLS on this port"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, net.ErrClosed):
		return "the peer closed the connection; it may not speak TLS on this port"
	}
	var op *net.OpError // a peer's alert of TLS 1.3 comes as one
	if errors.As(err, &op) {
		return explainAlert(op.Err.Error(), err)
	}
	if strings.Contains(err.Error(), "didn't provide a certificate") {
		return "the peer showed no certificate, and one is required"
	}
	return strings.TrimPrefix(err.Error(), "tls: ")
}

func explainAlert(text string, err error) string {
	for _, a := range alerts {
		if strings.Contains(text, a.text) {
			return a.means
		}
	}
	return strings.TrimPrefix(err.Error(), "tls: ")
}

func explainInvalid(e x509.CertificateInvalidError) string {
	switch e.Reason {
	case x509.Expired:
		if time.Now().Before(e.Cert.NotBefore) {
			return "the peer's certificate is not valid before " + e.Cert.NotBefore.UTC().Format("2006-01-02 15:04") + " UTC"
		}
		return "the peer's certificate expired on " + e.Cert.NotAfter.UTC().Format("2006-01-02 15:04") + " UTC"
	case x509.IncompatibleUsage:
		return "the peer's certificate was not issued for this use (its extended key usage names the other side)"
	}
	return e.Error()
}
