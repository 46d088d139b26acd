package dimse

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// An object of any size costs buffers, not its size, on both sides.
func TestLargeObjectIsStreamed(t *testing.T) {
	const size = 512 << 20
	addr, _ := start(t, &Server{Store: StoreHandlerFunc(func(_ context.Context, req *StoreRequest) Status {
		if n, err := io.Copy(io.Discard, req.Data); err != nil || n != size {
			return Statusf(ProcessingFailure, "%d bytes, %v", n, err)
		}
		return Status{}
	})})
	c := dial(t, addr, ctKind)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	it := item("1.2.3", nil)
	it.Data = io.LimitReader(zeroReader{}, size)
	if status, err := c.Store(context.Background(), it); err != nil || status.Code != Success {
		t.Errorf("C-STORE: %s, %v", status, err)
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 8<<20 {
		t.Errorf("%d MB were allocated for an object of %d MB", grown>>20, size>>20)
	}
	if err := c.Release(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestOverTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)

	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	s := &Server{Timeouts: ul.Timeouts{ARTIM: 5 * time.Second}, Store: StoreHandlerFunc(func(_ context.Context, req *StoreRequest) Status {
		if n, err := io.Copy(io.Discard, req.Data); err != nil || n != 3<<20 {
			return Statusf(ProcessingFailure, "%d bytes, %v", n, err)
		}
		return Status{}
	})}
	go func() { served <- s.Serve(ctx, ln) }()
	defer func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()

	d := Dialer{
		CallingAE: "CT01", CalledAE: "TASVIR", Contexts: GroupContexts([]Kind{ctKind})[0].Contexts,
		DialContext: (&tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}}).DialContext,
	}
	c, err := Dial(ctx, ln.Addr().String(), d)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		it := item("1.2.3", nil)
		it.Data = io.LimitReader(zeroReader{}, 3<<20)
		if status, err := c.Store(ctx, it); err != nil || status.Code != Success {
			t.Errorf("C-STORE: %s, %v", status, err)
		}
	}
	if err := c.Release(ctx); err != nil {
		t.Error(err)
	}
	// Plain DICOM on a TLS port gets no association and does no harm.
	plain, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ul.Request(ctx, plain, &ul.AssociateRequest{
		CalledAE: "TASVIR", CallingAE: "CT01",
		Contexts: []ul.ProposedContext{VerificationContext(1)},
	}, ul.Config{Timeouts: ul.Timeouts{ARTIM: 5 * time.Second}}); err == nil {
		t.Error("associated in the clear")
	}
}
