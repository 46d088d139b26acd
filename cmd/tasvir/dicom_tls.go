package main

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dicomtls"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
)

// DICOMTLSFlags secure DICOM connections: those to our port with TLS, and ours
// to nodes that are registered with TLS.
type DICOMTLSFlags struct {
	DICOMTLS          string `name:"dicom-tls" env:"TASVIR_DICOM_TLS" placeholder:"ADDR" help:"Address of a second DICOM port, with TLS, for instance :2762."`
	DICOMTLSCert      string `name:"dicom-tls-cert" env:"TASVIR_DICOM_TLS_CERT" placeholder:"FILE" help:"Our certificate for DICOM TLS, PEM, followed by intermediate ones. A new one in its place is taken without a restart."`
	DICOMTLSKey       string `name:"dicom-tls-key" env:"TASVIR_DICOM_TLS_KEY" placeholder:"FILE" help:"Its private key, PEM."`
	DICOMTLSCA        string `name:"dicom-tls-ca" env:"TASVIR_DICOM_TLS_CA" placeholder:"FILE" help:"The authorities whose certificates are trusted, PEM; a device's self-signed certificate can be among them."`
	DICOMTLSProfile   string `name:"dicom-tls-profile" enum:"bcp195,nondowngrading,modified" default:"bcp195" env:"TASVIR_DICOM_TLS_PROFILE" help:"Profile of PS3.15 Annex B: bcp195, nondowngrading or modified (${default})."`
	DICOMTLSAnonymous bool   `name:"dicom-tls-anonymous" env:"TASVIR_DICOM_TLS_ANONYMOUS" help:"Devices that are registered without a certificate may come to the port with TLS without one; then only their AE title says who they are."`
}

func (f DICOMTLSFlags) check() error {
	switch {
	case (f.DICOMTLSCert == "") != (f.DICOMTLSKey == ""):
		return pacs.Errorf(pacs.Invalid, "--dicom-tls-cert and --dicom-tls-key go together")
	case f.DICOMTLS != "" && f.DICOMTLSCert == "":
		return pacs.Errorf(pacs.Invalid, "--dicom-tls needs a certificate: name it with --dicom-tls-cert and its key with --dicom-tls-key")
	case f.DICOMTLS != "" && f.DICOMTLSCA == "" && !f.DICOMTLSAnonymous:
		return pacs.Errorf(pacs.Invalid, "--dicom-tls needs the authorities of the devices' certificates: name them with --dicom-tls-ca, or take devices without certificates with --dicom-tls-anonymous")
	}
	return nil
}

// tlsReread is how often the files of certificates are looked at.
const tlsReread = 10 * time.Second

// dicomSecurity is what a node's DICOM connections are secured with, those that
// come and those that it makes.
type dicomSecurity struct {
	credentials *dicomtls.Credentials // nil without files
	profile     dicomtls.Profile
}

// openDICOMSecurity reads the certificates and keeps them fresh: when the files
// change, and on SIGHUP.
func (n *Node) openDICOMSecurity(registry prometheus.Registerer, log *slog.Logger) (s dicomSecurity, err error) {
	f := n.flags.DICOMTLSFlags
	if err = f.check(); err != nil {
		return s, err
	}
	if s.profile, err = dicomtls.ParseProfile(f.DICOMTLSProfile); err != nil {
		return s, err
	}
	if f.DICOMTLSCert == "" && f.DICOMTLSCA == "" {
		return s, nil
	}
	s.credentials, err = dicomtls.Load(dicomtls.Files{Cert: f.DICOMTLSCert, Key: f.DICOMTLSKey, CA: f.DICOMTLSCA})
	if err != nil {
		return s, err
	}
	if f.DICOMTLSCert != "" {
		registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tasvir_dicom_tls_certificate_expires_timestamp_seconds", Help: "When the certificate for DICOM TLS expires, in Unix time.",
		}, func() float64 { return float64(s.credentials.NotAfter().Unix()) }))
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	n.spawn(&n.doors, "the watch on certificates", func(ctx context.Context) error {
		defer signal.Stop(hangup)
		s.credentials.Watch(ctx, tlsReread, hangup, log)
		return nil
	})
	return s, nil
}

// startDICOMTLS opens the DICOM port with TLS, if one is wanted. It shares the
// server, and so its limits, with the plain port.
func (n *Node) startDICOMTLS(server *dimse.Server) error {
	if n.flags.DICOMTLS == "" {
		return nil
	}
	listener, err := net.Listen("tcp", n.flags.DICOMTLS)
	if err != nil {
		return pacs.Wrap(pacs.Unavailable, err, "The DICOM port with TLS can't be opened; choose another with --dicom-tls")
	}
	n.DICOMTLSAddr = listener.Addr()
	secure := dicomtls.Server{Credentials: n.security.credentials, Profile: n.security.profile, Anonymous: n.flags.DICOMTLSAnonymous}.Listener(listener)
	n.spawn(&n.doors, "the DICOM server with TLS", func(ctx context.Context) error { return server.Serve(ctx, secure) })
	return nil
}

// proven says whether a connection may speak for a device: by the certificate
// that the device is registered with or, without one, by a certificate that
// names its AE title. Whether a connection with TLS may come without any was
// decided in its handshake.
func proven(device access.Device, state *tls.ConnectionState) error {
	if err := device.CheckCertificate(state); err != nil {
		return err
	}
	if state == nil || device.Certificate != "" || len(state.PeerCertificates) == 0 {
		return nil
	}
	return dicomtls.CheckName(device.AETitle, state.PeerCertificates[0])
}

// connect is how the archive connects to a device that is registered with TLS;
// nil for a plain connection. timeout bounds it with the handshake.
func (s dicomSecurity) connect(device access.Device, timeout time.Duration) func(ctx context.Context, network, addr string) (net.Conn, error) {
	config := device.ClientTLS(s.credentials.ClientConfig(s.profile))
	if config == nil {
		return nil
	}
	return dicomtls.Dialer{Config: config, Timeout: timeout}.DialContext
}
