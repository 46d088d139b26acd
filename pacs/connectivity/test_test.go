package connectivity

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/dimse/peertest"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// quick waits so long for peers that say nothing.
const quick = 700 * time.Millisecond

// at is a device at an address.
func at(address net.Addr) access.Device {
	tcp := address.(*net.TCPAddr)
	return access.Device{AETitle: "PEER", Host: "127.0.0.1", Port: tcp.Port}
}

// tested runs a test and returns its steps as "stage:code" words.
func tested(t *testing.T, tester *Tester, d access.Device) (*Report, string) {
	t.Helper()
	report, err := tester.Test(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	words := make([]string, len(report.Steps))
	for i, s := range report.Steps {
		words[i] = string(s.Stage) + ":" + string(s.Code)
		if s.Explain() == "" || s.Took < 0 || explanations[s.Code] == "" {
			t.Errorf("%+v", s)
		}
	}
	return report, strings.Join(words, " ")
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

// serving answers connections in its own way.
func serving(t *testing.T, ln net.Listener, answer func(net.Conn)) {
	t.Helper()
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				answer(nc)
			}()
		}
	}()
}

// archive is a DICOM server of our own.
func archive(t *testing.T, ln net.Listener, server *dimse.Server) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	server.DrainTimeout = time.Millisecond
	done := make(chan error)
	go func() { done <- server.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

var takesAll = dimse.StoreHandlerFunc(func(context.Context, *dimse.StoreRequest) dimse.Status { return dimse.Status{} })

func TestPlainWords(t *testing.T) {
	closed := bound(t)
	silent := listen(t) // the kernel connects; nobody answers
	hangsUp, speaks, aborts, good, verification, limited, picky := listen(t), listen(t), listen(t), listen(t), listen(t), listen(t), listen(t)
	serving(t, hangsUp, func(nc net.Conn) { _, _ = nc.Read(make([]byte, 1)) })
	serving(t, speaks, func(nc net.Conn) { _, _ = nc.Write([]byte("SSH-2.0-OpenSSH_9.2\r\n")); _, _ = io.Copy(io.Discard, nc) })
	serving(t, aborts, func(nc net.Conn) {
		_, _ = nc.Read(make([]byte, 100))
		_, _ = nc.Write([]byte{7, 0, 0, 0, 0, 4, 0, 0, 2, 1}) // A-ABORT by the provider
		_, _ = io.Copy(io.Discard, nc)
	})
	archive(t, good, &dimse.Server{AETitle: "PEER", Store: takesAll, Admit: func(_ context.Context, c dimse.Caller) (dimse.Admission, error) {
		if c.Request.CallingAE != "TASVIR" {
			return dimse.Admission{}, &ul.RejectCallingAE
		}
		return dimse.Admission{}, nil
	}})
	archive(t, verification, &dimse.Server{})
	archive(t, limited, &dimse.Server{Admit: func(context.Context, dimse.Caller) (dimse.Admission, error) {
		return dimse.Admission{}, &ul.RejectLocalLimit
	}})
	archive(t, picky, &dimse.Server{Store: takesAll, SOPClasses: dimse.SOPClasses{Only: []string{dicom.CTImageStorage}}})

	named := func(d access.Device, title string) access.Device { d.AETitle = title; return d }
	destination := func(d access.Device) access.Device { d.Destination = true; return d }
	for _, c := range []struct {
		name   string
		device access.Device
		tester *Tester
		want   string
		ok     bool
	}{
		{"all is well", at(good.Addr()), &Tester{}, "resolve:ok connect:ok associate:ok echo:ok trial:ok", true},
		{"echo alone", at(good.Addr()), &Tester{NoTrial: true}, "resolve:ok connect:ok associate:ok echo:ok", true},
		{"no address", access.Device{AETitle: "PEER"}, &Tester{}, "resolve:no_address", false},
		{"no such host", access.Device{AETitle: "PEER", Host: "nobody.invalid", Port: 104}, &Tester{}, "resolve:no_such_host", false},
		{"closed port", at(closed), &Tester{}, "resolve:ok connect:refused", false},
		{"silent port", at(silent.Addr()), &Tester{}, "resolve:ok connect:ok associate:silent", false},
		{"hangs up", at(hangsUp.Addr()), &Tester{}, "resolve:ok connect:ok associate:closed", false},
		{"another protocol", at(speaks.Addr()), &Tester{}, "resolve:ok connect:ok associate:not_dicom", false},
		{"aborts", at(aborts.Addr()), &Tester{}, "resolve:ok connect:ok associate:aborted", false},
		{"called title", named(at(good.Addr()), "peer"), &Tester{}, "resolve:ok connect:ok associate:called_ae_title", false},
		{"calling title", at(good.Addr()), &Tester{CallingAE: "STRANGER"}, "resolve:ok connect:ok associate:calling_ae_title", false},
		{"full", at(limited.Addr()), &Tester{}, "resolve:ok connect:ok associate:limit", false},
		{"takes no images, need not", at(verification.Addr()), &Tester{}, "resolve:ok connect:ok associate:ok echo:ok trial:storage_not_taken", true},
		{"takes no images, should", destination(at(verification.Addr())), &Tester{}, "resolve:ok connect:ok associate:ok echo:ok trial:storage_not_taken", false},
		{"takes one class", destination(at(picky.Addr())), &Tester{}, "resolve:ok connect:ok associate:ok echo:ok trial:ok", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.tester.Patience = quick
			if strings.Contains(c.want, "echo:ok") {
				c.tester.Patience = 0 // a busy machine is no failure
			}
			report, got := tested(t, c.tester, c.device)
			if got != c.want || report.OK != c.ok {
				t.Errorf("got %s (ok: %v), want %s; %s", got, report.OK, c.want, report.Steps[len(report.Steps)-1].Detail)
			}
		})
	}

	report, _ := tested(t, &Tester{}, at(good.Addr()))
	if report.RoundTrip <= 0 || report.Software != dicom.ImplementationVersionName || report.MaxPDU == 0 {
		t.Errorf("%+v", report)
	}
	if len(report.Classes) < 90 || slices.ContainsFunc(report.Classes, func(c Taken) bool { return !c.Taken || c.Name == "" }) {
		t.Errorf("of all standard classes: %+v", report.Classes)
	}
	report, _ = tested(t, &Tester{}, destination(at(picky.Addr())))
	for _, class := range report.Classes {
		if class.Taken != (class.UID == dicom.CTImageStorage) {
			t.Errorf("%+v", class)
		}
	}
}

// What the test does is one association after the other, told of as they end.
func TestAssociationsOfATest(t *testing.T) {
	ln := listen(t)
	archive(t, ln, &dimse.Server{AETitle: "PEER", Store: takesAll})
	var told []*dimse.Outgoing
	tester := &Tester{CallingAE: "TASVIR", Observe: func(o *dimse.Outgoing) { told = append(told, o) }}
	tested(t, tester, at(ln.Addr()))
	if len(told) != 2 || told[0].Messages[dimse.CEchoRQ] != 1 || told[0].Err != nil || len(told[0].Accepted) != 1 || len(told[1].Accepted) < 90 || told[1].Err != nil {
		t.Errorf("%+v", told)
	}
	d := at(ln.Addr())
	d.AETitle = "OTHER"
	told = nil
	tested(t, tester, d)
	if len(told) != 1 || told[0].Err == nil || told[0].CalledAE != "OTHER" {
		t.Errorf("%+v", told)
	}
}

// One test of a device at a time, and few altogether; another AE is free.
func TestBounds(t *testing.T) {
	tester := &Tester{AtOnce: 2}
	one, err := tester.enter("a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tester.enter("a"); pacs.CodeOf(err) != pacs.Conflict {
		t.Error(err)
	}
	two, err := tester.enter("b")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tester.enter("c"); pacs.CodeOf(err) != pacs.Unavailable {
		t.Error(err)
	}
	one()
	two()
	if _, err := tester.enter("c"); err != nil {
		t.Error(err)
	}
}

// An archive that gives up asking doesn't wait for the peer.
func TestCancelled(t *testing.T) {
	silent := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	tester := &Tester{Patience: time.Minute}
	time.AfterFunc(20*time.Millisecond, cancel)
	report, err := tester.Test(ctx, at(silent.Addr()))
	if err != nil || report.OK || report.Steps[len(report.Steps)-1].Code != Cancelled {
		t.Errorf("%+v, %v", report, err)
	}
}

// authority issues certificates.
type authority struct {
	dir         string
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pool        *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir(), pool: x509.NewCertPool()}
	made := a.issue(t, "ca", time.Hour, func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	})
	a.certificate, a.key = made.Leaf, made.PrivateKey.(*ecdsa.PrivateKey)
	a.pool.AddCert(a.certificate)
	return a
}

// issue writes NAME.crt and NAME.key, signed by the authority or, before there
// is one, by itself.
func (a *authority) issue(t *testing.T, name string, life time.Duration, edit func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(life),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if edit != nil {
		edit(template)
	}
	parent, signer := a.certificate, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{
		name + ".crt": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: pkcs8},
	} {
		if err := os.WriteFile(filepath.Join(a.dir, path), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(a.dir, name+".crt"), filepath.Join(a.dir, name+".key"))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func TestPlainWordsOverTLS(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	secure := func(version uint16, certificate tls.Certificate, auth tls.ClientAuthType) net.Addr {
		ln := listen(t)
		archive(t, tls.NewListener(ln, &tls.Config{
			MinVersion: version, MaxVersion: version, Certificates: []tls.Certificate{certificate}, ClientAuth: auth, ClientCAs: ours.pool,
		}), &dimse.Server{Store: takesAll, Timeouts: ul.Timeouts{ARTIM: 2 * time.Second}})
		return ln.Addr()
	}
	good := ours.issue(t, "localhost", time.Hour, nil)
	expired := ours.issue(t, "expired", -time.Hour, func(c *x509.Certificate) { c.DNSNames = []string{"localhost"} })
	foreign := theirs.issue(t, "localhost", time.Hour, nil)
	client := ours.issue(t, "client", time.Hour, nil)
	stranger := theirs.issue(t, "client", time.Hour, nil)
	plain, silent := listen(t), listen(t)
	archive(t, plain, &dimse.Server{Store: takesAll})

	trust := &tls.Config{RootCAs: ours.pool, MinVersion: tls.VersionTLS12}
	with := func(c tls.Certificate) *tls.Config {
		config := trust.Clone()
		config.Certificates = []tls.Certificate{c}
		return config
	}
	device := func(address net.Addr, edit func(*access.Device)) access.Device {
		d := at(address)
		d.TLS, d.TLSServerName = true, "localhost"
		if edit != nil {
			edit(&d)
		}
		return d
	}
	const well = "resolve:ok connect:ok tls:ok associate:ok echo:ok trial:ok"
	const start = "resolve:ok connect:ok "
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		address := secure(version, good, tls.NoClientCert)
		mutual := secure(version, good, tls.RequireAndVerifyClientCert)
		for _, c := range []struct {
			name   string
			device access.Device
			config *tls.Config
			want   string
		}{
			{"all is well", device(address, nil), trust, well},
			{"not trusted", device(secure(version, foreign, tls.NoClientCert), nil), trust, start + "tls:certificate_not_trusted"},
			{"another name", device(address, func(d *access.Device) { d.TLSServerName = "ct1.lan" }), trust, start + "tls:certificate_name"},
			{"expired", device(secure(version, expired, tls.NoClientCert), nil), trust, start + "tls:certificate_expired"},
			{"bound by subject", device(address, func(d *access.Device) { d.Certificate = "CN=localhost" }), trust, well},
			{"bound to another subject", device(address, func(d *access.Device) { d.Certificate = "CN=CT1" }), trust, start + "tls:certificate_other"},
			{"bound by fingerprint, trusted by nobody", device(secure(version, foreign, tls.NoClientCert), func(d *access.Device) {
				d.Certificate = access.Fingerprint(foreign.Leaf)
			}), trust, well},
			{"bound by another fingerprint", device(address, func(d *access.Device) { d.Certificate = access.Fingerprint(foreign.Leaf) }), trust, start + "tls:certificate_other"},
			{"with our certificate", device(mutual, nil), with(client), well},
			{"without our certificate", device(mutual, nil), trust, start + "tls:our_certificate_refused"},
			{"with a certificate it doesn't trust", device(mutual, nil), with(stranger), start + "tls:our_certificate_refused"},
			{"plain to a TLS port", at(address), trust, start + "associate:peer_wants_tls"},
		} {
			t.Run(tls.VersionName(version)+" "+c.name, func(t *testing.T) {
				if report, got := tested(t, &Tester{TLS: always(c.config)}, c.device); got != c.want {
					t.Errorf("got %s, want %s; %s", got, c.want, report.Steps[len(report.Steps)-1].Detail)
				}
			})
		}
	}
	for name, c := range map[string]struct {
		device access.Device
		want   string
	}{
		"TLS to a plain port":  {device(plain.Addr(), nil), start + "tls:peer_not_tls"},
		"TLS to a silent port": {device(silent.Addr(), nil), start + "tls:silent"},
	} {
		if report, got := tested(t, &Tester{TLS: always(trust), Patience: quick}, c.device); got != c.want {
			t.Errorf("%s: %s, want %s; %s", name, got, c.want, report.Steps[len(report.Steps)-1].Detail)
		}
	}
}

func always(config *tls.Config) func() *tls.Config { return func() *tls.Config { return config } }

// storescp starts dcmtk's provider at a free port.
func storescp(t *testing.T, args ...string) net.Addr {
	t.Helper()
	binary, dir := peertest.Path(t, "storescp"), t.TempDir()
	addresses, _ := peertest.Serve(t, 1, func(ports []string) *exec.Cmd {
		cmd := exec.Command(binary, append(append([]string{"--ignore"}, args...), ports[0])...)
		cmd.Dir = dir
		return cmd
	})
	return address(t, addresses[0])
}

func address(t *testing.T, hostPort string) net.Addr {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp", hostPort)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestDcmtk(t *testing.T) {
	plain := storescp(t)
	report, got := tested(t, &Tester{}, at(plain))
	if got != "resolve:ok connect:ok associate:ok echo:ok trial:ok" || !report.OK || !strings.Contains(report.Software, "DCMTK") {
		t.Errorf("%s, %+v", got, report)
	}
	taken := func(list []Taken, uid string) bool {
		return slices.ContainsFunc(list, func(x Taken) bool { return x.UID == uid && x.Taken })
	}
	// Without more it takes uncompressed images only.
	if !taken(report.Classes, dicom.CTImageStorage) || !taken(report.TransferSyntaxes, dicom.ExplicitVRLittleEndian) || taken(report.TransferSyntaxes, dicom.JPEG2000) {
		t.Errorf("%+v", report.TransferSyntaxes)
	}
	d := at(plain)
	d.Destination, d.TransferSyntaxes = true, []string{dicom.ExplicitVRLittleEndian, dicom.JPEG2000}
	if report, got := tested(t, &Tester{}, d); !strings.HasSuffix(got, "trial:transfer_syntax_refused") || report.OK {
		t.Errorf("%s", got)
	}

	qrscp := address(t, peertest.Dcmqrscp(t, "PEER", nil))
	report, got = tested(t, &Tester{}, at(qrscp))
	if got != "resolve:ok connect:ok associate:ok echo:ok trial:ok" || report.MaxPDU != peertest.DcmqrscpMaxPDU {
		t.Errorf("%s, %+v", got, report)
	}
	other := at(qrscp)
	other.AETitle = "ELSE"
	if _, got = tested(t, &Tester{}, other); got != "resolve:ok connect:ok associate:called_ae_title" {
		t.Error(got)
	}
}

func TestDcmtkOverTLS(t *testing.T) {
	ours := newAuthority(t)
	ours.issue(t, "localhost", time.Hour, nil)
	client := ours.issue(t, "client", time.Hour, nil)
	file := func(name string) string { return filepath.Join(ours.dir, name) }
	secure := storescp(t, "+tls", file("localhost.key"), file("localhost.crt"), "+cf", file("ca.crt"))
	d := at(secure)
	d.TLS, d.TLSServerName = true, "localhost"
	config := &tls.Config{RootCAs: ours.pool, MinVersion: tls.VersionTLS12}
	mutual := config.Clone()
	mutual.Certificates = []tls.Certificate{client}
	if report, got := tested(t, &Tester{TLS: always(mutual)}, d); !report.OK || got != "resolve:ok connect:ok tls:ok associate:ok echo:ok trial:ok" {
		t.Errorf("%s: %+v", got, report.Steps)
	}
	if report, got := tested(t, &Tester{TLS: always(config)}, d); got != "resolve:ok connect:ok tls:our_certificate_refused" {
		t.Errorf("%s: %+v", got, report.Steps)
	}
	if report, got := tested(t, &Tester{}, at(secure)); got != "resolve:ok connect:ok associate:peer_wants_tls" {
		t.Errorf("%s: %+v", got, report.Steps)
	}
	plain := storescp(t)
	d.Port = plain.(*net.TCPAddr).Port
	if report, got := tested(t, &Tester{TLS: always(config), Patience: 3 * time.Second}, d); got != "resolve:ok connect:ok tls:peer_not_tls" {
		t.Errorf("%s: %+v", got, report.Steps)
	}
}

// bound is a port at which nobody listens, and that nobody else gets meanwhile.
func bound(t *testing.T) net.Addr {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*unix.SockaddrInet4).Port}
}
