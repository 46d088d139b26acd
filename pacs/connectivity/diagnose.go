package connectivity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

func isTimeout(err error) bool {
	var network net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout()
}

// cause is the words of an error without the address that was asked for.
func cause(err error) string {
	if err == nil {
		return ""
	}
	var rj *ul.Reject
	if errors.As(err, &rj) {
		return rj.Error()
	}
	var ab *ul.AbortError
	if errors.As(err, &ab) {
		return ab.Error()
	}
	return err.Error()
}

func resolveCode(err error) Code {
	var dns *net.DNSError
	if err == nil || errors.As(err, &dns) && dns.IsNotFound {
		return NoSuchHost
	}
	return NameService
}

func connectCode(ctx context.Context, err error) Code {
	switch {
	case ctx.Err() != nil:
		return Cancelled
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTDOWN), errors.Is(err, syscall.ENETDOWN):
		return NoRoute
	case isTimeout(err), errors.Is(err, syscall.ETIMEDOUT):
		return Timeout
	}
	return ConnectFailed
}

// ExplainDial says in plain words why no connection came about; false for an error
// of what comes after that.
func ExplainDial(err error) (string, bool) {
	var dns *net.DNSError
	var dial *net.OpError
	switch {
	case errors.As(err, &dns):
		return Step{Code: resolveCode(err), Detail: dns.Name}.Explain(), true
	case errors.As(err, &dial) && dial.Op == "dial":
		return Step{Code: connectCode(context.Background(), err), Detail: dial.Error()}.Explain(), true
	}
	return "", false
}

// tlsCode tells apart why a handshake failed.
func (r *run) tlsCode(ctx context.Context, err error) Code {
	var (
		record    tls.RecordHeaderError
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
		verify    *tls.CertificateVerificationError
	)
	switch {
	case ctx.Err() != nil:
		return Cancelled
	case errors.Is(err, access.ErrCertificate):
		return CertificateOther
	case errors.As(err, &name):
		return CertificateName
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return CertificateExpired
	case errors.As(err, &authority), errors.As(err, &invalid), errors.As(err, &verify):
		return CertificateNotTrusted
	case remoteAlert(err):
		if r.asked.Load() && refusesOurs(err) {
			return OurCertificateRefused
		}
		return TLSFailed
	case isTimeout(err):
		return Silent
	// A DICOM node without TLS answers the greeting with an A-ABORT or closes.
	case errors.As(err, &record), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return PeerNotTLS
	}
	return TLSFailed
}

// remoteAlert says whether the peer ended TLS with an alert.
func remoteAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

// refusesOurs says whether the alert is about our certificate. RFC 8446 6.2.
func refusesOurs(err error) bool {
	for _, words := range []string{"bad certificate", "unknown certificate", "certificate required", "unsupported certificate", "certificate revoked", "expired certificate", "unknown authority", "access denied", "handshake failure"} {
		if strings.Contains(err.Error(), "tls: "+words) {
			return true
		}
	}
	return false
}

// associateCode tells apart why there was no association, or why it ended.
func (r *run) associateCode(ctx context.Context, err error, address string) Code {
	var rj *ul.Reject
	var parse *ul.ParseError
	var ab *ul.AbortError
	var heard []byte
	var failed *associateError
	if errors.As(err, &failed) {
		heard = failed.heard
	}
	switch {
	case ctx.Err() != nil:
		return Cancelled
	case errors.As(err, &rj):
		switch *rj {
		case ul.RejectCalledAE:
			return CalledAETitle
		case ul.RejectCallingAE:
			return CallingAETitle
		case ul.RejectLocalLimit, ul.RejectCongestion:
			return Limit
		}
		return Rejected
	case remoteAlert(err):
		if r.asked.Load() && refusesOurs(err) {
			return OurCertificateRefused
		}
		return TLSFailed
	case r.asked.Load() && len(heard) == 0 && (errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)):
		return OurCertificateRefused // the reset overtook the alert
	case errors.As(err, &ab) && ab.Remote:
		return Aborted
	case r.config == nil && (alert(heard) || len(heard) == 0 && r.speaksTLS(ctx, address)):
		return PeerWantsTLS
	case isTimeout(err):
		return Silent
	case errors.As(err, &parse):
		return NotDICOM
	case errors.Is(err, ul.ErrClosed):
		return Closed
	}
	return NotDICOM
}

// alert says whether bytes begin a TLS alert record.
func alert(heard []byte) bool { return len(heard) >= 2 && heard[0] == 0x15 && heard[1] == 3 }

// speaksTLS tries whether a peer that said nothing to DICOM says something to
// TLS. Nothing is sent over the connection, so whose it is doesn't matter.
func (r *run) speaksTLS(ctx context.Context, address string) bool {
	nc, err := r.dial(ctx, address, r.patience)
	if err != nil {
		return false
	}
	defer func() { _ = nc.Close() }()
	ctx, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	err = tls.Client(nc, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}).HandshakeContext(ctx)
	return err == nil || remoteAlert(err)
}
