package dicomtls

import (
	"crypto/x509"
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/dicomtls/tlstest"
)

func TestCheckName(t *testing.T) {
	a := tlstest.New(t, "Hospital")
	cert := leaf(t, a.Issue("CT01", nil, func(c *x509.Certificate) {
		c.DNSNames = []string{"MR02", "ct.urgut.example.uz"}
		c.URIs = []*url.URL{uri(t, "urn:dicom:ae:US03"), uri(t, "https://urgut.example.uz/ae/XA04")}
	}))
	for ae, want := range map[string]string{
		"CT01": "", "MR02": "", "mr02": "", "US03": "", "XA04": "",
		"ct01":             `the AE title "ct01" is not proven: the certificate is for "CT01", "MR02", "ct.urgut.example.uz"`, // case matters
		"us03":             "is for",
		"CT02":             "is for",
		"T01":              "is for",
		"urgut.example.uz": "is for",
		"":                 "is for",
	} {
		err := CheckName(ae, cert)
		var wrong *NameError
		if (err == nil) != (want == "") || err != nil && (!errors.As(err, &wrong) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: got %v, want %q", ae, err, want)
		}
	}
	if err := CheckName("CT01", nil); err == nil || !strings.Contains(err.Error(), "no certificate") {
		t.Errorf("without a certificate: %v", err)
	}
	nobody := leaf(t, a.Issue("", nil, func(c *x509.Certificate) { c.Subject.Organization = nil }))
	if err := CheckName("", nobody); err == nil || !strings.Contains(err.Error(), "for nobody") {
		t.Errorf("a certificate without names: %v", err)
	}
}

// signals is a log that a test waits for.
type signals struct {
	mu   sync.Mutex
	text strings.Builder
	more chan struct{}
}

func (s *signals) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(p)
	if s.more != nil {
		close(s.more)
		s.more = nil
	}
	return len(p), nil
}

func (s *signals) await(t *testing.T, want string) {
	t.Helper()
	for {
		s.mu.Lock()
		if strings.Contains(s.text.String(), want) {
			s.mu.Unlock()
			return
		}
		if s.more == nil {
			s.more = make(chan struct{})
		}
		more := s.more
		s.mu.Unlock()
		<-more
	}
}
