package dicomtls

import (
	"crypto/x509"
	"net/url"
	"testing"

	"go.uber.org/goleak"

	"github.com/tasvir-pacs/tasvir/pacs/dicomtls/tlstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func load(t *testing.T, f tlstest.Files) *Credentials {
	t.Helper()
	c, err := Load(Files(f))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func leaf(t *testing.T, f tlstest.Files) *x509.Certificate {
	t.Helper()
	return load(t, f).current.Load().certs[0].Leaf
}

func uri(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
