package dicomtls

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dicomtls/tlstest"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// Peers that never finish a handshake, or break off behind it, hold no
// association and leave nothing; those that behave are served beside them.
func TestHostilePeersOverTLS(t *testing.T) {
	ours := tlstest.New(t, "Hospital")
	credentials := load(t, ours.Issue("TASVIR", nil, tlstest.Local))
	mine := load(t, ours.Issue("CT01", nil, nil)).ClientConfig(BCP195)
	var rejected sync.WaitGroup
	server := &dimse.Server{
		MaxAssociations: 2, Timeouts: ul.Timeouts{ARTIM: 3 * time.Second},
		Observer: dimse.Observer{AssociationRejected: func(rq *ul.AssociateRequest, _ net.Addr, err error) {
			if rq != nil || err == nil {
				t.Errorf("%v: %v", rq, err)
			}
			rejected.Done()
		}},
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := server.Serve(ctx, Server{Credentials: credentials}.Listener(ln)); err != nil {
			t.Error(err)
		}
	})
	defer running.Wait()
	defer cancel()

	dial := func() *net.TCPConn {
		nc, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = nc.SetDeadline(time.Now().Add(time.Minute))
		return nc.(*net.TCPConn)
	}
	secured := func() net.Conn {
		nc, err := Dialer{Config: mine}.DialContext(ctx, "tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = nc.SetDeadline(time.Now().Add(time.Minute))
		return nc
	}
	var silent []net.Conn
	for range 10 {
		for _, begin := range []func() net.Conn{
			func() net.Conn { return dial() }, // says nothing
			func() net.Conn { // part of a ClientHello of 512 bytes
				nc := dial()
				_, _ = nc.Write([]byte{0x16, 3, 1, 2, 0, 1, 0})
				return nc
			},
			func() net.Conn { // no TLS
				nc := dial()
				_, _ = io.WriteString(nc, "GET / HTTP/1.1\r\n\r\n")
				return nc
			},
			func() net.Conn { // torn away inside the handshake
				nc := dial()
				_, _ = nc.Write([]byte{0x16, 3, 1, 2, 0, 1, 0})
				_ = nc.SetLinger(0)
				_ = nc.Close()
				return nil
			},
			secured, // and then nothing
			func() net.Conn { // torn away behind the handshake
				nc := secured()
				_ = nc.(*conn).NetConn().(*net.TCPConn).SetLinger(0)
				_ = nc.(*conn).NetConn().Close()
				return nil
			},
		} {
			rejected.Add(1)
			if nc := begin(); nc != nil {
				silent = append(silent, nc)
			}
		}
		// One that behaves.
		c, err := dimse.Dial(ctx, ln.Addr().String(), dimse.Dialer{CallingAE: "CT01", CalledAE: "TASVIR", DialContext: Dialer{Config: mine}.DialContext})
		if err != nil {
			t.Fatal(err)
		}
		if status, err := c.Echo(ctx); err != nil || status.Code != dimse.Success {
			t.Errorf("%s, %v", status, err)
		}
		if err := c.Release(ctx); err != nil {
			t.Error(err)
		}
	}
	for _, nc := range silent { // each is closed by the server
		if _, err := io.Copy(io.Discard, nc); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		_ = nc.Close()
	}
	rejected.Wait()
}
