package web

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Certificate gives the certificate that a connection is answered with: always
// the one that was read last, so that a renewed one needs no restart.
type Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// hinting accepts connections of which some come without TLS: who typed http
// for https is sent there, and who sends what shall not be seen is told.
type hinting struct{ net.Listener }

func (l hinting) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &hintingConn{Conn: conn}, nil
}

// hintingConn looks at the first bytes of a connection.
type hintingConn struct {
	net.Conn
	begun bool
}

// tlsHandshake is the type of the record that TLS begins with.
const tlsHandshake = 22

var errPlain = errors.New("web: plain HTTP came to the port for HTTPS")

func (c *hintingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.begun || n == 0 {
		return n, err
	}
	c.begun = true
	if p[0] == tlsHandshake {
		return n, err
	}
	c.hint(bytes.Clone(p[:n]))
	return 0, errPlain
}

// hint answers a request that came without TLS.
func (c *hintingConn) hint(begun []byte) {
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	limited := io.LimitReader(io.MultiReader(bytes.NewReader(begun), c.Conn), 16<<10)
	r, err := http.ReadRequest(bufio.NewReader(limited))
	if err != nil || r.Host == "" {
		return // something else
	}
	const explained = "This port speaks HTTPS. Use https:// in the address.\n"
	status, location := http.StatusBadRequest, ""
	// A request with credentials has shown them to everybody on the way. It must
	// not seem to work.
	if (r.Method == http.MethodGet || r.Method == http.MethodHead) && r.Header.Get("Authorization") == "" && r.Header.Get("Cookie") == "" {
		status, location = http.StatusPermanentRedirect, "Location: https://"+r.Host+r.URL.RequestURI()+"\r\n"
	}
	_, _ = fmt.Fprintf(c.Conn, "HTTP/1.1 %d %s\r\n%sContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n",
		status, http.StatusText(status), location, len(explained))
	if r.Method != http.MethodHead {
		_, _ = io.WriteString(c.Conn, explained)
	}
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		// What the peer goes on sending must not reset the answer away.
		_ = tcp.CloseWrite()
		_, _ = io.Copy(io.Discard, limited)
	}
}
