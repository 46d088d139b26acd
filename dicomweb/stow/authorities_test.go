package stow

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicomtls/tlstest"
	"github.com/tasvir-pacs/tasvir/pacs/forward"
)

// A node whose certificate is of a hospital's own authority is sent to when that
// authority is trusted, from when its certificate is put into the file; before, and
// when the certificate is another's, nothing is sent, the secret neither, and plain
// words say why.
func TestPrivateAuthority(t *testing.T) {
	hospital, stranger := tlstest.New(t, "Hospital"), tlstest.New(t, "Somebody")
	start := func(f tlstest.Files) (url string, requests *int) {
		t.Helper()
		pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			t.Fatal(err)
		}
		requests = new(int)
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			*requests++
			_, _ = io.Copy(io.Discard, r.Body)
			listed(w, http.StatusOK, reference1("1.1", 0), "")
		}))
		server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
		server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
		server.StartTLS()
		t.Cleanup(server.Close)
		return server.URL, requests
	}
	ours, served := start(hospital.Issue("pacs", nil, tlstest.Local))
	theirs, misled := start(stranger.Issue("pacs", nil, tlstest.Local))

	trusted := filepath.Join(t.TempDir(), "trusted.pem")
	write := func(file string) {
		t.Helper()
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(trusted, append(raw, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for what, text := range map[string]*string{"no file": nil, "no certificate": new(string)} {
		file := filepath.Join(t.TempDir(), "file")
		if text != nil {
			if err := os.WriteFile(file, []byte(*text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := LoadAuthorities(file, slog.New(slog.DiscardHandler)); pacs.CodeOf(err) != pacs.Invalid {
			t.Errorf("%s: %v", what, err)
		}
	}
	other := tlstest.New(t, "Another")
	write(other.File)
	authorities, err := LoadAuthorities(trusted, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	send := func(c *Client, url string) error {
		refusals, err := c.Store(t.Context(), forward.Target{Name: "N", URL: url + "/dicom-web", Authorization: forward.Bearer, Secret: "t0ken"}, instances("1.1"))
		if err == nil && refusals[0] != nil {
			err = errors.New(refusals[0].Text)
		}
		return err
	}
	untrusted := func(err error) bool {
		var node *forward.NodeError
		return errors.As(err, &node) && node.Down && strings.Contains(err.Error(), "authority that is not trusted here")
	}
	system := &Client{Files: kept}
	defer system.Close()
	c := &Client{Files: kept, Authorities: authorities}
	defer c.Close()
	for what, err := range map[string]error{"the system's only": send(system, ours), "before it is trusted": send(c, ours)} {
		if !untrusted(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	write(hospital.File)
	if err := send(c, ours); err != nil || *served != 1 {
		t.Errorf("%v after %d requests", err, *served)
	}
	if err := send(c, theirs); !untrusted(err) || *misled != 0 {
		t.Errorf("%v after %d requests", err, *misled)
	}
	// A file that is gone for a moment changes nothing.
	if err := os.Remove(trusted); err != nil {
		t.Fatal(err)
	}
	if err := send(c, ours); err != nil {
		t.Error(err)
	}
}
