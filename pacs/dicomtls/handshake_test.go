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
)

// listen accepts TLS connections until the test ends. Each handshake's outcome
// goes to the channel; the connection is answered with one byte.
func listen(t *testing.T, cfg *tls.Config) (addr string, outcomes <-chan error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	out := make(chan error, 16)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			tc := tls.Server(nc, cfg)
			err = tc.Handshake()
			if err == nil {
				_, err = tc.Write([]byte{'.'})
			}
			_ = tc.Close()
			out <- err
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	return ln.Addr().String(), out
}

// connect dials and reads the answer: with TLS 1.3 a client learns only then
// that the server refused it.
func connect(c Client, addr string) (tls.ConnectionState, error) {
	nc, err := c.DialContext(context.Background(), "tcp", addr)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(time.Minute))
	_, err = io.ReadFull(nc, make([]byte, 1))
	if err != nil {
		err = &HandshakeError{Err: err}
	}
	return nc.(*tls.Conn).ConnectionState(), err
}

func TestMutualAuthentication(t *testing.T) {
	ours, others := newAuthority(t, "Hospital"), newAuthority(t, "Somebody")
	own := ours.issue("TASVIR", nil, local)
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
	wrongCA := others.issue("CT01", nil, nil)
	wrongCA.CA = ours.file
	mistrusting := ours.issue("CT01", nil, nil)
	mistrusting.CA = others.file
	tests := []struct {
		name           string
		client         Files
		server, caller string // what each side says, "" is success
	}{
		{"good", ours.issue("CT01", nil, nil), "", ""},
		{"good RSA", ours.issue("CT01", rsaKey(t, 2048), both), "", ""},
		{"expired", ours.issue("CT01", nil, past), "the peer's certificate expired on", "expired"},
		{"not yet valid", ours.issue("CT01", nil, future), "the peer's certificate is not valid before", "expired"},
		{"of another authority", wrongCA, "of an authority that is not trusted here", "does not trust the authority of our certificate"},
		{"none", Files{CA: ours.file}, "the peer showed no certificate", "wants a certificate of us"},
		{"for servers alone", ours.issue("CT01", nil, serverOnly), "not issued for this use", "does not take our certificate"},
		{"client that trusts others", mistrusting, "does not take our certificate", "of an authority that is not trusted here"},
	}
	for _, profile := range []Profile{BCP195, NonDowngrading, Modified} {
		addr, outcomes := listen(t, Server{Credentials: load(t, own), Profile: profile}.Config())
		for _, tt := range tests {
			t.Run(string(profile)+"/"+tt.name, func(t *testing.T) {
				state, err := connect(Client{Credentials: load(t, tt.client), Profile: profile}, addr)
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
	ours := newAuthority(t, "Hospital")
	weak := ours.issue("CT01", rsaKey(t, 1024), nil)
	if _, err := Load(weak); pacs.CodeOf(err) != pacs.Invalid || !strings.Contains(err.Error(), "too weak") {
		t.Errorf("Load: %v", err)
	}
	pair, err := tls.LoadX509KeyPair(weak.Cert, weak.Key)
	if err != nil {
		t.Fatal(err)
	}
	addr, outcomes := listen(t, Server{Credentials: load(t, ours.issue("TASVIR", nil, local))}.Config())
	nc, err := tls.Dial("tcp", addr, &tls.Config{Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true})
	if err == nil {
		nc.Close()
	}
	if got := Explain(<-outcomes); !strings.Contains(got, "too weak") {
		t.Errorf("the server says %q", got)
	}
}

func TestVersionsAndCiphers(t *testing.T) {
	ours := newAuthority(t, "Hospital")
	mine := ours.issue("CT01", nil, nil)
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
		addr, outcomes := listen(t, Server{Credentials: load(t, ours.issue("TASVIR", nil, local)), Profile: tt.profile}.Config())
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
	ours := newAuthority(t, "Hospital")
	own, mine := ours.issue("TASVIR", nil, local), ours.issue("CT01", nil, nil)
	bare := own
	bare.CA = ""
	for _, tt := range []struct {
		name   string
		server Server
		client Files
		ok     bool
	}{
		{"no authorities", Server{Credentials: load(t, bare)}, mine, false},
		{"no authorities, anonymous", Server{Credentials: load(t, bare), Anonymous: true}, mine, true},
		{"anonymous, none shown", Server{Credentials: load(t, own), Anonymous: true}, Files{CA: ours.file}, true},
		{"anonymous, a good one shown", Server{Credentials: load(t, own), Anonymous: true}, mine, true},
		{"anonymous, a bad one shown", Server{Credentials: load(t, own), Anonymous: true}, func() Files {
			f := newAuthority(t, "Somebody").issue("CT01", nil, nil)
			f.CA = ours.file
			return f
		}(), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// OpenSSL and Go show a certificate only if the server names its
			// authority; a hostile client shows what it likes.
			addr, outcomes := listen(t, tt.server.Config())
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
	ours, others := newAuthority(t, "Hospital"), newAuthority(t, "Somebody")
	mine := load(t, ours.issue("TASVIR", nil, nil))
	past := func(c *x509.Certificate) {
		local(c)
		c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	}
	elsewhere := ours.issue("PACS", nil, func(c *x509.Certificate) { c.DNSNames = []string{"pacs.example.uz"} })
	expired := ours.issue("PACS", nil, past)
	foreign := others.issue("PACS", nil, local)
	foreign.CA = ours.file // so that it takes our certificate
	tests := []struct {
		name   string
		server Files
		client Client
		want   string
	}{
		{"good", ours.issue("PACS", nil, local), Client{}, ""},
		{"named otherwise", elsewhere, Client{}, `not for "127.0.0.1" but for "PACS", "pacs.example.uz"`},
		{"named otherwise, as told", elsewhere, Client{ServerName: "pacs.example.uz"}, ""},
		{"named otherwise, fingerprint known", elsewhere, Client{Fingerprint: Fingerprint(leaf(t, elsewhere))}, ""},
		{"another fingerprint", elsewhere, Client{Fingerprint: strings.Repeat("00", 32)}, "has the fingerprint"},
		{"no fingerprint at all", elsewhere, Client{Fingerprint: "CN=x"}, "64 hexadecimal digits"},
		{"expired", expired, Client{}, "expired on"},
		{"expired, fingerprint known", expired, Client{Fingerprint: Fingerprint(leaf(t, expired))}, "expired on"},
		{"of another authority", foreign, Client{}, "not trusted here"},
		{"of another authority, fingerprint known", foreign, Client{Fingerprint: Fingerprint(leaf(t, foreign))}, "not trusted here"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			addr, outcomes := listen(t, Server{Credentials: load(t, tt.server)}.Config())
			tt.client.Credentials = mine
			_, err := connect(tt.client, addr)
			if got := Explain(err); (err == nil) != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if err := <-outcomes; (err == nil) != (tt.want == "") {
				t.Errorf("the server says %v", err)
			}
		})
	}
}

// A self-signed certificate is fine once it is pinned.
func TestPinnedSelfSigned(t *testing.T) {
	self := newAuthority(t, "PACS")
	pkcs8, err := x509.MarshalPKCS8PrivateKey(self.key)
	if err != nil {
		t.Fatal(err)
	}
	ours := newAuthority(t, "Hospital")
	f := Files{Cert: self.file, Key: self.dir + "/key.pem", CA: ours.file}
	writePEM(t, f.Key, "PRIVATE KEY", pkcs8)
	addr, outcomes := listen(t, Server{Credentials: load(t, f)}.Config())
	_, err = connect(Client{Credentials: load(t, ours.issue("TASVIR", nil, nil)), Fingerprint: Fingerprint(self.cert)}, addr)
	if err != nil {
		t.Error(err)
	}
	<-outcomes
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
		_, err := connect(Client{}, ln.Addr().String())
		var failed *HandshakeError
		if !errors.As(err, &failed) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v", err)
		}
	}
	<-done
	if _, err := (Client{}).DialContext(context.Background(), "tcp", ln.Addr().String()[:9]); err == nil {
		t.Error("an address without port was dialed")
	}
}

// New files are taken for new connections; what can't be used is not.
func TestReload(t *testing.T) {
	old, next := newAuthority(t, "Old"), newAuthority(t, "New")
	files := old.issue("TASVIR", nil, local)
	credentials := load(t, files)
	addr, outcomes := listen(t, Server{Credentials: credentials}.Config())
	try := func(f Files) error {
		_, err := connect(Client{Credentials: load(t, f)}, addr)
		<-outcomes
		return err
	}
	mine := old.issue("CT01", nil, nil)
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
	fresh := next.issue("TASVIR", nil, local)
	replace(fresh.Cert, files.Cert) // half of what belongs together
	if changed, err := credentials.Reload(); changed || pacs.CodeOf(err) != pacs.Invalid || !strings.Contains(err.Error(), "can't be used together") {
		t.Errorf("with half a change: %v, %v", changed, err)
	}
	if err := try(mine); err != nil {
		t.Errorf("the earlier certificates are gone: %v", err)
	}
	replace(fresh.Key, files.Key)
	replace(next.file, files.CA)
	if changed, err := credentials.Reload(); !changed || err != nil {
		t.Errorf("with a change: %v, %v", changed, err)
	}
	if err := try(next.issue("CT01", nil, nil)); err != nil {
		t.Errorf("the new certificates are not in use: %v", err)
	}
	withdrawn := mine
	withdrawn.CA = next.file
	if err := try(withdrawn); err == nil || !strings.Contains(err.Error(), "does not trust") {
		t.Errorf("the old authority is still trusted: %v", err)
	}
	if end := credentials.NotAfter(); !end.Equal(leaf(t, fresh).NotAfter) {
		t.Errorf("expires %s", end)
	}
}

func TestWatch(t *testing.T) {
	a := newAuthority(t, "Hospital")
	files := a.issue("TASVIR", nil, local)
	credentials := load(t, files)
	var log signals
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		credentials.Watch(ctx, time.Millisecond, slog.New(slog.NewTextHandler(&log, nil)))
	}()
	log.await(t, "expires; put a new one") // it has an hour to go
	fresh := a.issue("TASVIR", nil, local)
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
	a := newAuthority(t, "Hospital")
	good := a.issue("TASVIR", nil, nil)
	other := a.issue("OTHER", nil, nil)
	huge := a.dir + "/huge"
	if err := os.WriteFile(huge, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(huge, maxFileLen+1); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		files Files
		want  string
	}{
		{Files{Cert: good.Cert, CA: good.CA}, "private key for DICOM TLS is not named"},
		{Files{Key: good.Key, CA: good.CA}, "certificate for DICOM TLS is not named"},
		{Files{Cert: good.Cert, Key: other.Key}, "can't be used together"},
		{Files{Cert: good.Cert, Key: good.Key, CA: good.Key}, "holds no certificate"},
		{Files{Cert: a.dir + "/absent", Key: good.Key}, "can't be read"},
		{Files{CA: huge}, "is no PEM file"},
		{Files{CA: a.dir}, "can't be read"},
	} {
		if _, err := Load(tt.files); pacs.CodeOf(err) != pacs.Invalid || !strings.Contains(err.Error(), tt.want) {
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
