package main

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dicomtls/tlstest"
)

var tlsAddress = regexp.MustCompile(`dicom_tls=(\S+)`)

// Who may speak for an AE title on which port, by the real commands; and new
// certificates without a restart.
func TestDICOMTLS(t *testing.T) {
	hospital, stranger := tlstest.New(t, "Hospital"), tlstest.New(t, "Somebody")
	own := hospital.Issue("TASVIR", nil, tlstest.Local)
	ct, mr := hospital.Issue("CT01", nil, nil), hospital.Issue("MR", nil, nil)
	expired := hospital.Issue("CT01", nil, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	})
	foreign := stranger.Issue("CT01", nil, nil)
	foreign.CA = hospital.File
	a := startArchive(t, nil, "--dicom-tls", "127.0.0.1:0", "--dicom-tls-cert", own.Cert, "--dicom-tls-key", own.Key, "--dicom-tls-ca", own.CA)
	secure := tlsAddress.FindStringSubmatch(a.log.String())[1]
	a.tasvir("", "facility", "add", "URGUT", "Urgut hospital")
	add := func(ae string, flags ...string) {
		a.tasvir("", append([]string{"device", "add", ae, "URGUT"}, flags...)...)
	}
	add("CT01")
	add("CT02")
	add("MR01", "--tls", "--certificate", fingerprintOf(t, mr.Cert))
	add("MR02", "--tls", "--certificate", "CN=MR,O=Urgut hospital")

	echo := func(address, ae string, f tlstest.Files) (string, bool) {
		bin, err := builtBinary()
		if err != nil {
			t.Fatal(err)
		}
		args := []string{"echo", address, "--aet", ae, "--called", "TASVIR"}
		if f.CA != "" {
			args = append(args, "--tls", "--tls-ca", f.CA)
		}
		if f.Cert != "" {
			args = append(args, "--tls-cert", f.Cert, "--tls-key", f.Key)
		}
		out, err := exec.Command(bin, args...).CombinedOutput()
		return string(out), err == nil
	}
	eventually(t, "the devices are known", func() bool { _, ok := echo(secure, "MR02", mr); return ok }) // the last one
	const rejected = "does not know the calling AE title"
	tests := []struct {
		name, address, ae string
		files             tlstest.Files
		want              string // "" is success
	}{
		{"plain", a.dicom, "CT01", tlstest.Files{}, ""},
		{"with its certificate", secure, "CT01", ct, ""},
		{"with another's certificate", secure, "CT02", ct, rejected},
		{"without a certificate", secure, "CT01", tlstest.Files{CA: hospital.File}, "does not take the archive's certificate"},
		{"expired", secure, "CT01", expired, "does not take the archive's certificate"},
		{"of another authority", secure, "CT01", foreign, "does not take the archive's certificate"},
		{"that must use TLS, plain", a.dicom, "MR01", tlstest.Files{}, rejected},
		{"bound by fingerprint", secure, "MR01", mr, ""},
		{"bound by fingerprint, another's", secure, "MR01", ct, rejected},
		{"bound by subject", secure, "MR02", mr, ""},
		{"bound by subject, another's", secure, "MR02", ct, rejected},
		{"TLS to the plain port", a.dicom, "CT01", ct, "does not speak TLS at this port"},
		{"plain to the TLS port", secure, "CT01", tlstest.Files{}, "it speaks TLS only"},
	}
	for _, tt := range tests {
		out, ok := echo(tt.address, tt.ae, tt.files)
		if ok != (tt.want == "") || !strings.Contains(out, tt.want) {
			t.Errorf("%s: %s, want %q", tt.name, out, tt.want)
		}
	}

	// The hospital changes its authority. What the administrator does not want
	// to wait for is taken on SIGHUP.
	next := tlstest.New(t, "Hospital, renewed")
	fresh := next.Issue("TASVIR", nil, tlstest.Local)
	for from, to := range map[string]string{fresh.Cert: own.Cert, fresh.Key: own.Key, fresh.CA: own.CA} {
		raw, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	renewed := next.Issue("CT01", nil, nil)
	eventually(t, "the new certificates are in use", func() bool { _, ok := echo(secure, "CT01", renewed); return ok })
	ct.CA = next.File // it trusts the new one, but is of the old one
	if out, ok := echo(secure, "CT01", ct); ok || !strings.Contains(out, "does not take the archive's certificate") {
		t.Errorf("a certificate of the old authority: %s", out)
	}
	if !strings.Contains(a.log.String(), "new certificates for DICOM TLS are in use") || !strings.Contains(a.log.String(), "is not proven") {
		t.Error("the log does not say so")
	}
	a.stop()
}

func fingerprintOf(t *testing.T, file string) string {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(raw)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return access.Fingerprint(cert)
}

func TestDICOMTLSFlagsRefused(t *testing.T) {
	for _, tt := range []struct {
		flags DICOMTLSFlags
		want  string
	}{
		{DICOMTLSFlags{DICOMTLS: ":2762"}, "--dicom-tls needs a certificate"},
		{DICOMTLSFlags{DICOMTLS: ":2762", DICOMTLSCert: "x"}, "go together"},
		{DICOMTLSFlags{DICOMTLSKey: "x"}, "go together"},
		{DICOMTLSFlags{DICOMTLS: ":2762", DICOMTLSCert: "x", DICOMTLSKey: "x"}, "--dicom-tls-ca"},
		{DICOMTLSFlags{DICOMTLS: ":2762", DICOMTLSCert: "x", DICOMTLSKey: "x", DICOMTLSAnonymous: true}, ""},
		{DICOMTLSFlags{DICOMTLSCA: "x"}, ""},
		{DICOMTLSFlags{}, ""},
	} {
		err := tt.flags.check()
		if (err == nil) != (tt.want == "") || err != nil && (pacs.CodeOf(err) != pacs.Invalid || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%+v: %v, want %q", tt.flags, err, tt.want)
		}
	}
	if err := (&peerTLSFlags{TLSCA: "x"}).check(); err == nil {
		t.Error("--tls-ca without --tls was taken")
	}
}
