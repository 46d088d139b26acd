package dicomtls

import (
	"crypto/x509"
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
)

func TestBinding(t *testing.T) {
	a := newAuthority(t, "Hospital")
	cert := leaf(t, a.issue("CT01", nil, func(c *x509.Certificate) {
		c.DNSNames = []string{"CT.Urgut.example.uz"}
		c.URIs = []*url.URL{uri(t, "urn:dicom:ae:CT01")}
	}))
	print := Fingerprint(cert)
	colons := strings.ToUpper(strings.Trim(strings.Join(chunks(print, 2), ":"), ":"))
	tests := []struct {
		name, ae string
		binding  Binding
		want     string
	}{
		{"the AE title is its common name", "CT01", Binding{}, ""},
		{"case matters in AE titles", "ct01", Binding{}, `is for "CT01"`},
		{"another AE", "CT02", Binding{}, `the AE title "CT02" is not proven: its certificate is for "CT01", "CT.Urgut.example.uz", "urn:dicom:ae:CT01"`},
		{"DNS name", "CT02", Binding{Subject: "ct.urgut.EXAMPLE.uz"}, ""},
		{"another DNS name", "CT01", Binding{Subject: "mr.urgut.example.uz"}, `not "mr.urgut.example.uz"`},
		{"part of a DNS name", "CT01", Binding{Subject: "urgut.example.uz"}, "is for"},
		{"URI", "CT02", Binding{Subject: "urn:dicom:ae:CT01"}, ""},
		{"whole subject", "CT02", Binding{Subject: "CN=CT01,O=Urgut hospital"}, ""},
		{"any of the authority", "CT02", Binding{Subject: AnySubject}, ""},
		{"fingerprint", "CT02", Binding{Fingerprint: print}, ""},
		{"fingerprint as printed", "CT02", Binding{Fingerprint: "sha256 Fingerprint=" + colons}, ""},
		{"fingerprint of another", "CT01", Binding{Fingerprint: strings.Repeat("ab", 32)}, "has the fingerprint " + print},
		{"fingerprint counts alone", "CT01", Binding{Fingerprint: strings.Repeat("ab", 32), Subject: "CT01"}, "has the fingerprint"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.binding.Check(tt.ae, cert)
			var bound *BindingError
			if (err == nil) != (tt.want == "") || err != nil && (!errors.As(err, &bound) || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	for _, b := range []Binding{{}, {Subject: AnySubject}, {Fingerprint: print}} {
		if err := b.Check("CT01", nil); err == nil || !strings.Contains(err.Error(), "showed no certificate") {
			t.Errorf("%+v without a certificate: %v", b, err)
		}
	}
	nobody := leaf(t, a.issue("", nil, func(c *x509.Certificate) { c.Subject.Organization = nil; c.DNSNames = nil }))
	if err := (Binding{}).Check("", nobody); err == nil || !strings.Contains(err.Error(), "for nobody") {
		t.Errorf("a certificate without names: %v", err)
	}
}

func chunks(s string, n int) (out []string) {
	for ; len(s) > n; s = s[n:] {
		out = append(out, s[:n])
	}
	return append(out, s)
}

func TestParseFingerprint(t *testing.T) {
	for _, bad := range []string{"", "00", strings.Repeat("0", 63), strings.Repeat("g", 64), strings.Repeat("0", 66), "SHA1 Fingerprint=" + strings.Repeat("00", 20)} {
		if _, err := ParseFingerprint(bad); pacs.CodeOf(err) != pacs.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
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
