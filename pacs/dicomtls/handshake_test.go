package dicomtls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicomtls/tlstest"
)

// listen accepts TLS connections until the test ends. Each handshake's outcome
// goes to the channel; the connection is answered with one byte.
func listen(t *testing.T, server Server) (addr string, outcomes <-chan error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	secure := server.Listener(ln)
	out := make(chan error, 16)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			nc, err := secure.Accept()
			if err != nil {
				return
			}
			err = nc.(*conn).HandshakeContext(context.Background())
			if err == nil {
				_, err = nc.Write([]byte{'.'})
			}
			_ = nc.Close()
			out <- err
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	return ln.Addr().String(), out
}

// connect dials and reads the answer: with TLS 1.3 a client learns only then
// that the server refused it.
func connect(cfg *tls.Config, addr string) (tls.ConnectionState, error) {
	nc, err := Dialer{Config: cfg}.DialContext(context.Background(), "tcp", addr)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(time.Minute))
	_, err = io.ReadFull(nc, make([]byte, 1))
	return nc.(*conn).ConnectionState(), err
}

func TestAcceptance14MutualAuthentication(t *testing.T) {
	ours, others := tlstest.New(t, "Hospital"), tlstest.New(t, "Somebody")
	own := ours.Issue("TASVIR", nil, tlstest.Local)
	past := func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	}
	future := func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)
	}
	serverOnly := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }
	both := func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	wrongCA := others.Issue("CT01", nil, nil)
	wrongCA.CA = ours.File
	mistrusting := ours.Issue("CT01", nil, nil)
	mistrusting.CA = others.File
	tests := []struct {
		name           string
		client         tlstest.Files
		server, caller string // what each side says, "" is success
	}{
		{"good", ours.Issue("CT01", nil, nil), "", ""},
		{"good RSA", ours.Issue("CT01", tlstest.RSAKey(t, 2048), both), "", ""},
		{"expired", ours.Issue("CT01", nil, past), "the peer's certificate expired on", "expired"},
		{"not yet valid", ours.Issue("CT01", nil, future), "the peer's certificate is not valid before", "expired"},
		{"of another authority", wrongCA, "of an authority that is not trusted here", "does not trust the authority of our certificate"},
		{"none", tlstest.Files{CA: ours.File}, "the peer showed no certificate", "wants a certificate of us"},
		{"for servers alone", ours.Issue("CT01", nil, serverOnly), "not issued for this use", "does not take our certificate"},
		{"client that trusts others", mistrusting, "does not take our certificate", "of an authority that is not trusted here"},
	}
	for _, profile := range []Profile{BCP195, NonDowngrading, Modified} {
		addr, outcomes := listen(t, Server{Credentials: load(t, own), Profile: profile})
		for _, tt := range tests {
			t.Run(string(profile)+"/"+tt.name, func(t *testing.T) {
				state, err := connect(load(t, tt.client).ClientConfig(profile), addr)
				if got := Explain(err); (got == "") != (tt.caller == "") || !strings.Contains(got, tt.caller) {
					t.Errorf("the client says %q, want %q", got, tt.caller)
				}
				if got := Explain(<-outcomes); (got == "") != (tt.server == "") || !strings.Contains(got, tt.server) {
					t.Errorf("the server says %q, want %q", got, tt.server)
				}
				if tt.caller == "" && state.Version != tls.VersionTLS13 {
					t.Errorf("version %s", tls.VersionName(state.Version))
				}
			})
		}
	}
}

// A key that is too weak is refused even of a trusted authority, and is no
// certificate of ours.
func TestWeakKeys(t *testing.T) {
	ours := tlstest.New(t, "Hospital")
	weak := ours.Issue("CT01", tlstest.RSAKey(t, 1024), nil)
	if _, err := Load(Files(weak)); pacs.CodeOf(err) != pacs.Invalid || !strings.Contains(err.Error(), "too weak") {
		t.Errorf("Load: %v", err)
	}
	pair, err := tls.LoadX509KeyPair(weak.Cert, weak.Key)
	if err != nil {
		t.Fatal(err)
	}
	addr, outcomes := listen(t, Server{Credentials: load(t, ours.Issue("TASVIR", nil, tlstest.Local))})
	nc, err := tls.Dial("tcp", addr, &tls.Config{Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true})
	if err == nil {
		nc.Close()
	}
	if got := Explain(<-outcomes); !strings.Contains(got, "too weak") {
		t.Errorf("the server says %q", got)
	}
}

func TestVersionsAndCiphers(t *testing.T) {
	ours := tlstest.New(t, "Hospital")
	mine := ours.Issue("CT01", nil, nil)
	pair, err := tls.LoadX509KeyPair(mine.Cert, mine.Key)
	if err != nil {
		t.Fatal(err)
	}
	const chacha = tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
	tests := []struct {
		profile  Profile
		min, max uint16
		suite    uint16
		ok       bool
	}{
		{BCP195, tls.VersionTLS13, tls.VersionTLS13, 0, true},
		{BCP195, tls.VersionTLS12, tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, true},
		{BCP195, tls.VersionTLS12, tls.VersionTLS12, chacha, true},
		{NonDowngrading, tls.VersionTLS12, tls.VersionTLS12, chacha, false},
		{NonDowngrading, tls.VersionTLS12, tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, true},
		{Modified, tls.VersionTLS12, tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, true},
		{BCP195, tls.VersionTLS12, tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, false},
		{BCP195, tls.VersionTLS10, tls.VersionTLS11, 0, false},
	}
	for _, tt := range tests {
		addr, outcomes := listen(t, Server{Credentials: load(t, ours.Issue("TASVIR", nil, tlstest.Local)), Profile: tt.profile})
		cfg := &tls.Config{Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true, MinVersion: tt.min, MaxVersion: tt.max}
		if tt.suite != 0 {
			cfg.CipherSuites = []uint16{tt.suite}
		}
		nc, err := tls.Dial("tcp", addr, cfg)
		if (err == nil) != tt.ok {
			t.Errorf("%s with %s and %s: %v", tt.profile, tls.VersionName(tt.max), tls.CipherSuiteName(tt.suite), err)
		}
		if err == nil {
			if state := nc.ConnectionState(); tt.suite != 0 && state.CipherSuite != tt.suite {
				t.Errorf("%s", tls.CipherSuiteName(state.CipherSuite))
			}
			_, _ = io.ReadAll(nc)
			nc.Close()
		}
		if err := <-outcomes; (err == nil) != tt.ok {
			t.Errorf("%s: the server says %v", tt.profile, err)
		}
	}
}

func TestServerWithoutAuthoritiesTrustsNobody(t *testing.T) {
	ours := tlstest.New(t, "Hospital")
	own, mine := ours.Issue("TASVIR", nil, tlstest.Local), ours.Issue("CT01", nil, nil)
	bare := own
	bare.CA = ""
	for _, tt := range []struct {
		name   string
		server Server
		client tlstest.Files
		ok     bool
	}{
		{"no authorities", Server{Credentials: load(t, bare)}, mine, false},
		{"no authorities, anonymous", Server{Credentials: load(t, bare), Anonymous: true}, mine, true},
		{"anonymous, none shown", Server{Credentials: load(t, own), Anonymous: true}, tlstest.Files{CA: ours.File}, true},
		{"anonymous, a good one shown", Server{Credentials: load(t, own), Anonymous: true}, mine, true},
		{"anonymous, a bad one shown", Server{Credentials: load(t, own), Anonymous: true}, func() tlstest.Files {
			f := tlstest.New(t, "Somebody").Issue("CT01", nil, nil)
			f.CA = ours.File
			return f
		}(), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// OpenSSL and Go show a certificate only if the server names its
			// authority; a hostile client shows what it likes.
			addr, outcomes := listen(t, tt.server)
			pair := load(t, tt.client).current.Load()
			nc, err := tls.Dial("tcp", addr, &tls.Config{
				InsecureSkipVerify: true,
				GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
					if len(pair.certs) == 0 {
						return &tls.Certificate{}, nil
					}
					return &pair.certs[0], nil
				},
			})
			if err == nil {
				_, _ = io.ReadAll(nc)
				nc.Close()
			}
			if err := <-outcomes; (err == nil) != tt.ok {
				t.Errorf("the server says %v", err)
			}
		})
	}
}

func TestClientVerifiesTheServer(t *testing.T) {
	ours, others := tlstest.New(t, "Hospital"), tlstest.New(t, "Somebody")
	mine := load(t, ours.Issue("TASVIR", nil, nil))
	past := func(c *x509.Certificate) {
		tlstest.Local(c)
		c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	}
	elsewhere := ours.Issue("PACS", nil, func(c *x509.Certificate) { c.DNSNames = []string{"pacs.example.uz"} })
	expired := ours.Issue("PACS", nil, past)
	foreign := others.Issue("PACS", nil, tlstest.Local)
	foreign.CA = ours.File // so that it takes our certificate
	tests := []struct {
		name   string
		server tlstest.Files
		nameIs string // the server name we are told
		want   string
	}{
		{"good", ours.Issue("PACS", nil, tlstest.Local), "", ""},
		{"named otherwise", elsewhere, "", `not for "127.0.0.1" but for "PACS", "pacs.example.uz"`},
		{"named otherwise, as told", elsewhere, "pacs.example.uz", ""},
		{"expired", expired, "", "expired on"},
		{"of another authority", foreign, "", "not trusted here"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			addr, outcomes := listen(t, Server{Credentials: load(t, tt.server)})
			cfg := mine.ClientConfig(BCP195)
			cfg.ServerName = tt.nameIs
			_, err := connect(cfg, addr)
			if got := Explain(err); (err == nil) != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if err := <-outcomes; (err == nil) != (tt.want == "") {
				t.Errorf("the server says %v", err)
			}
		})
	}
}

func TestPeersWithoutTLS(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	done := make(chan struct{})
	go func() { // a DICOM port without TLS aborts
		defer close(done)
		for _, answer := range []string{"\x07\x00\x00\x00\x00\x04\x00\x00\x00\x00", ""} {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = nc.Read(make([]byte, 1))
			_, _ = io.WriteString(nc, answer)
			_ = nc.Close()
		}
	}()
	for _, want := range []string{"does not speak TLS on this port", "may not speak TLS on this port"} {
		_, err := connect((*Credentials)(nil).ClientConfig(BCP195), ln.Addr().String())
		var failed *HandshakeError
		if !errors.As(err, &failed) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v", err)
		}
	}
	<-done
	if _, err := (Dialer{Config: &tls.Config{}}).DialContext(context.Background(), "tcp", ln.Addr().String()[:9]); err == nil {
		t.Error("an address without port was dialed")
	}
}

// New files are taken for new connections; what can't be used is not.
func TestReload(t *testing.T) {
	old, next := tlstest.New(t, "Old"), tlstest.New(t, "New")
	files := old.Issue("TASVIR", nil, tlstest.Local)
	credentials := load(t, files)
	addr, outcomes := listen(t, Server{Credentials: credentials})
	try := func(f tlstest.Files) error {
		_, err := connect(load(t, f).ClientConfig(BCP195), addr)
		<-outcomes
		return err
	}
	mine := old.Issue("CT01", nil, nil)
	if err := try(mine); err != nil {
		t.Fatal(err)
	}
	replace := func(from, to string) {
		t.Helper()
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if changed, err := credentials.Reload(); changed || err != nil {
		t.Errorf("without a change: %v, %v", changed, err)
	}
	fresh := next.Issue("TASVIR", nil, tlstest.Local)
	replace(fresh.Cert, files.Cert) // half of what belongs together
	if changed, err := credentials.Reload(); changed || pacs.CodeOf(err) != pacs.Invalid || !strings.Contains(err.Error(), "can't be used together") {
		t.Errorf("with half a change: %v, %v", changed, err)
	}
	if err := try(mine); err != nil {
		t.Errorf("the earlier certificates are gone: %v", err)
	}
	replace(fresh.Key, files.Key)
	replace(next.File, files.CA)
	if changed, err := credentials.Reload(); !changed || err != nil {
		t.Errorf("with a change: %v, %v", changed, err)
	}
	if err := try(next.Issue("CT01", nil, nil)); err != nil {
		t.Errorf("the new certificates are not in use: %v", err)
	}
	withdrawn := mine
	withdrawn.CA = next.File
	if err := try(withdrawn); err == nil || !strings.Contains(err.Error(), "does not trust") {
		t.Errorf("the old authority is still trusted: %v", err)
	}
	if end := credentials.NotAfter(); !end.Equal(leaf(t, fresh).NotAfter) {
		t.Errorf("expires %s", end)
	}
}

func TestWatch(t *testing.T) {
	a := tlstest.New(t, "Hospital")
	files := a.Issue("TASVIR", nil, tlstest.Local)
	credentials := load(t, files)
	var log signals
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		credentials.Watch(ctx, time.Millisecond, nil, slog.New(slog.NewTextHandler(&log, nil)))
	}()
	log.await(t, "expires; put a new one") // it has an hour to go
	fresh := a.Issue("TASVIR", nil, tlstest.Local)
	for _, f := range [][2]string{{fresh.Cert, files.Cert}, {fresh.Key, files.Key}} {
		b, err := os.ReadFile(f[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f[1], b, 0o600); err != nil {
			t.Fatal(err)
		}
		if f[1] == files.Cert {
			log.await(t, "the earlier ones stay")
		}
	}
	log.await(t, "are in use")
	cancel()
	<-done
	if got, want := credentials.NotAfter(), leaf(t, fresh).NotAfter; !got.Equal(want) {
		t.Errorf("expires %s, want %s", got, want)
	}
}

func TestLoadRefuses(t *testing.T) {
	a := tlstest.New(t, "Hospital")
	good := a.Issue("TASVIR", nil, nil)
	other := a.Issue("OTHER", nil, nil)
	huge := a.Dir + "/huge"
	if err := os.WriteFile(huge, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(huge, maxFileLen+1); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		files tlstest.Files
		want  string
	}{
		{tlstest.Files{Cert: good.Cert, CA: good.CA}, "private key for DICOM TLS is not named"},
		{tlstest.Files{Key: good.Key, CA: good.CA}, "certificate for DICOM TLS is not named"},
		{tlstest.Files{Cert: good.Cert, Key: other.Key}, "can't be used together"},
		{tlstest.Files{Cert: good.Cert, Key: good.Key, CA: good.Key}, "holds no certificate"},
		{tlstest.Files{Cert: a.Dir + "/absent", Key: good.Key}, "can't be read"},
		{tlstest.Files{CA: huge}, "is no PEM file"},
		{tlstest.Files{CA: a.Dir}, "can't be read"},
	} {
		if _, err := Load(Files(tt.files)); pacs.CodeOf(err) != pacs.Invalid || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.files, err, tt.want)
		}
	}
}

func TestParseProfile(t *testing.T) {
	for name, want := range map[string]Profile{"": BCP195, "bcp195": BCP195, "nondowngrading": NonDowngrading, "modified": Modified} {
		if got, err := ParseProfile(name); got != want || err != nil {
			t.Errorf("%q: %s, %v", name, got, err)
		}
	}
	if _, err := ParseProfile("aes"); pacs.CodeOf(err) != pacs.Invalid {
		t.Errorf("got %v", err)
	}
}
