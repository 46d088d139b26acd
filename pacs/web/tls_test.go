package web

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dicomtls"
	"github.com/tasvir-pacs/tasvir/pacs/dicomtls/tlstest"
	"github.com/tasvir-pacs/tasvir/pacs/events"
)

// secure serves the site over TLS as well and returns it as its clients there
// see it, its certificate's files, and what has read them.
func (s *site) secure() (*site, tlstest.Files, *dicomtls.Credentials) {
	s.Helper()
	authority := tlstest.New(s.T, "Hospital")
	files := authority.Issue("localhost", nil, tlstest.Local)
	credentials, err := dicomtls.LoadFor("HTTPS", dicomtls.Files{Cert: files.Cert, Key: files.Key})
	if err != nil {
		s.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.server.ServeTLS(ctx, ln, credentials.Certificate) }()
	s.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			s.Error(err)
		}
	})
	roots := x509.NewCertPool()
	roots.AddCert(authority.Cert)
	protocols := &http.Protocols{}
	protocols.SetHTTP2(true)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, Protocols: protocols}
	s.Cleanup(transport.CloseIdleConnections)
	there := *s
	there.http = &httptest.Server{URL: "https://" + ln.Addr().String()}
	there.client = &http.Client{Transport: transport}
	return &there, files, credentials
}

func TestHTTP2(t *testing.T) {
	plain := open(t, func(o *Options) { o.HSTS = 24 * time.Hour })
	payload := bytes.Repeat([]byte("slice "), 1<<20)
	plain.server.DICOMweb().GET("/large", func(c *gin.Context) { c.Data(200, "application/dicom", payload) })
	s, files, _ := plain.secure()
	b := s.browser("radiologist", pacs.Radiologist)
	answer := b.do("GET", "/dicom-web/large", nil).want(200)
	if answer.ProtoMajor != 2 || !bytes.Equal(answer.body, payload) {
		t.Errorf("%s, %d bytes", answer.Proto, len(answer.body))
	}
	if got := answer.Header.Get("Strict-Transport-Security"); got != "max-age=86400" {
		t.Errorf("Strict-Transport-Security: %q", got)
	}
	if b.cookie == nil || !b.cookie.Secure {
		t.Error("the session's cookie would go over plain HTTP")
	}

	// Events come one by one over the same connection as everything else.
	stream := b.stream()
	for n := range 3 {
		if err := s.server.Hub().Publish(events.Event{Type: "probe", Data: n}); err != nil {
			t.Fatal(err)
		}
		stream.want(fmt.Sprint("probe ", n))
		b.do("GET", "/api/session", nil).want(200)
	}

	// An upload, and 50 answers at once.
	b.do("POST", "/dicom-web/studies", nil, bearer(s.token("gateway", "A", access.ScopeDICOMwebWrite)), func(r *http.Request) {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(payload)), int64(len(payload))
	}).want(200)
	done := make(chan error, 50)
	for range cap(done) {
		go func() {
			r, _ := http.NewRequestWithContext(t.Context(), "GET", s.http.URL+"/dicom-web/large", nil)
			r.AddCookie(b.cookie)
			response, err := s.client.Do(r)
			if err != nil {
				done <- err
				return
			}
			defer response.Body.Close()
			n, err := io.Copy(io.Discard, response.Body)
			if err == nil && n != int64(len(payload)) {
				err = fmt.Errorf("%d bytes", n)
			}
			done <- err
		}()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}

	t.Run("curl", func(t *testing.T) {
		curl, err := exec.LookPath("curl")
		if err != nil {
			t.Skip("curl is not installed")
		}
		for option, want := range map[string]string{"--http2": "2 200", "--http1.1": "1.1 200"} {
			out, err := exec.Command(curl, "-s", "-o", os.DevNull, "-w", "%{http_version} %{http_code}", option, "--cacert", files.CA, s.http.URL+"/healthz").CombinedOutput()
			if err != nil || string(out) != want {
				t.Errorf("%s: %s %v, want %s", option, out, err, want)
			}
		}
		// HTTP/2 without TLS is not spoken.
		if out, err := exec.Command(curl, "-s", "--http2-prior-knowledge", plain.http.URL+"/healthz").CombinedOutput(); err == nil {
			t.Errorf("h2c: %s", out)
		}
	})
	t.Run("node", func(t *testing.T) {
		node, err := exec.LookPath("node")
		if err != nil {
			t.Skip("node is not installed")
		}
		script := `
const http2 = require("node:http2"), fs = require("node:fs");
const session = http2.connect(process.argv[1], { ca: fs.readFileSync(process.argv[2]) });
let left = 20;
for (let i = 0; i < 20; i++) {
	const stream = session.request({ ":path": "/dicom-web/large", cookie: process.argv[3] });
	let n = 0, status;
	stream.on("response", (h) => { status = h[":status"]; });
	stream.on("data", (d) => { n += d.length; });
	stream.on("end", () => { console.log(status, n); if (--left === 0) session.close(); });
}`
		out, err := exec.Command(node, "-e", script, s.http.URL, files.CA, b.cookie.Name+"="+b.cookie.Value).CombinedOutput()
		if want := strings.Repeat(fmt.Sprintf("200 %d\n", len(payload)), 20); err != nil || string(out) != want {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

// A renewed certificate is taken without a restart; one that can't be used
// leaves the old one.
func TestHTTPSCertificateReload(t *testing.T) {
	s, files, credentials := open(t, nil).secure()
	serial := func() string {
		t.Helper()
		conn, err := tls.Dial("tcp", strings.TrimPrefix(s.http.URL, "https://"), s.client.Transport.(*http.Transport).TLSClientConfig)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	before := serial()
	if err := os.WriteFile(files.Cert, []byte("not one"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := credentials.Reload(); pacs.CodeOf(err) != pacs.Invalid || !strings.Contains(err.Error(), files.Cert) {
		t.Errorf("%v", err)
	}
	if serial() != before {
		t.Error("another certificate")
	}
	authority := tlstest.New(t, "Hospital") // another one, and its clients
	renewed := authority.Issue("localhost", nil, tlstest.Local)
	for from, to := range map[string]string{renewed.Cert: files.Cert, renewed.Key: files.Key} {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if changed, err := credentials.Reload(); !changed || err != nil {
		t.Fatal(changed, err)
	}
	s.client.Transport.(*http.Transport).TLSClientConfig.RootCAs.AddCert(authority.Cert)
	if serial() == before {
		t.Error("the old certificate")
	}
}

// Who comes to the HTTPS port with plain HTTP is sent to the right address, or
// told, and never served.
func TestPlainHTTPOnTheSecurePort(t *testing.T) {
	s, _, _ := open(t, nil).secure()
	address := strings.TrimPrefix(s.http.URL, "https://")
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	for name, c := range map[string]struct {
		method, authorization string
		status                int
		location              string
	}{
		"a page":              {"GET", "", 308, "https://" + address + "/studies?x=1"},
		"an upload":           {"POST", "", 400, ""},
		"a token given away":  {"GET", "Bearer secret", 400, ""},
		"only the head of it": {"HEAD", "", 308, "https://" + address + "/studies?x=1"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), c.method, "http://"+address+"/studies?x=1", strings.NewReader(strings.Repeat("x", 100_000)))
		if err != nil {
			t.Fatal(err)
		}
		if c.method != "POST" {
			r.Body, r.ContentLength = nil, 0
		}
		if c.authorization != "" {
			r.Header.Set("Authorization", c.authorization)
		}
		response, err := client.Do(r)
		if err != nil {
			if c.method == "POST" {
				continue // the answer may be lost to a client that goes on sending
			}
			t.Errorf("%s: %v", name, err)
			continue
		}
		_ = response.Body.Close()
		if response.StatusCode != c.status || response.Header.Get("Location") != c.location {
			t.Errorf("%s: %s, Location %q", name, response.Status, response.Header.Get("Location"))
		}
	}
	// Something else altogether is dropped.
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = conn.Write([]byte("\x01\x00\x00\x00\r\n\r\n"))
	if b, _ := io.ReadAll(conn); len(b) > 0 && b[0] != 21 { // an alert at most
		t.Errorf("%q", b)
	}
}
