// Package tlstest issues certificates for tests.
package tlstest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Files are a certificate, its key and the authority that issued it, PEM. A
// dicomtls.Files is made of them.
type Files struct{ Cert, Key, CA string }

// Authority issues certificates.
type Authority struct {
	Dir  string // of all it issues, gone with the test
	Cert *x509.Certificate
	Key  crypto.Signer
	File string // its certificate

	t *testing.T
}

// New makes an authority that is valid for a day.
func New(t *testing.T, name string) *Authority {
	t.Helper()
	a := &Authority{t: t, Dir: t.TempDir()}
	key := ECKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name, Organization: []string{"Test authority"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if a.Cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.Key, a.File = key, filepath.Join(a.Dir, "ca.pem")
	WritePEM(t, a.File, "CERTIFICATE", der)
	return a
}

// ECKey makes a key on P-256.
func ECKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// RSAKey makes a key of that many bits.
func RSAKey(t *testing.T, bits int) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// WritePEM writes one block.
func WritePEM(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Issue makes a certificate for cn, valid for an hour, and writes it and its key
// to files. edit may change it before, and key is made when nil.
func (a *Authority) Issue(cn string, key crypto.Signer, edit func(*x509.Certificate)) Files {
	a.t.Helper()
	if key == nil {
		key = ECKey(a.t)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: cn, Organization: []string{"Urgut hospital"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
	}
	if edit != nil {
		edit(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.Cert, key.Public(), a.Key)
	if err != nil {
		a.t.Fatal(err)
	}
	dir, err := os.MkdirTemp(a.Dir, "cert")
	if err != nil {
		a.t.Fatal(err)
	}
	f := Files{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), CA: a.File}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	WritePEM(a.t, f.Cert, "CERTIFICATE", der)
	WritePEM(a.t, f.Key, "PRIVATE KEY", pkcs8)
	return f
}

// Local names the machine that tests connect to.
func Local(c *x509.Certificate) {
	c.DNSNames = []string{"localhost"}
	c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
}
