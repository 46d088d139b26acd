package dicomtls

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// Files are PEM files. Links are followed at each reading.
type Files struct {
	// Cert is our certificate, followed by the intermediate ones; Key its
	// private key. A client may have neither.
	Cert, Key string
	// CA holds the authorities whose certificates we trust; "" are those of the
	// system, for clients only.
	CA string
}

// maxFileLen bounds each file: a system's whole list of authorities has 250 KB.
const maxFileLen = 4 << 20

// Credentials are what was last read from Files. They are safe for concurrent
// use.
type Credentials struct {
	files   Files
	purpose string // for messages
	current atomic.Pointer[loaded]
}

// loaded is one consistent reading of the files.
type loaded struct {
	sum   [sha256.Size]byte
	certs []tls.Certificate // none or one
	roots *x509.CertPool    // nil for the system's
}

// Load reads the files. Invalid says which of them can't be used and why.
func Load(files Files) (*Credentials, error) { return LoadFor("DICOM TLS", files) }

// LoadFor is Load for something else than DICOM; messages name it.
func LoadFor(purpose string, files Files) (*Credentials, error) {
	c := &Credentials{files: files, purpose: purpose}
	if _, err := c.Reload(); err != nil {
		return nil, err
	}
	return c, nil
}

// Reload reads the files again, if they changed. On an error the credentials
// stay as they are.
func (c *Credentials) Reload() (changed bool, err error) {
	l, err := c.files.read(c.purpose)
	if err != nil {
		return false, err
	}
	if old := c.current.Load(); old != nil && old.sum == l.sum {
		return false, nil
	}
	c.current.Store(l)
	return true, nil
}

// Certificate is our certificate as it was read last; nil without one. It suits
// tls.Config.GetCertificate.
func (c *Credentials) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	l := c.current.Load()
	if len(l.certs) == 0 {
		return nil, pacs.Errorf(pacs.Invalid, "There is no certificate for %s", c.purpose)
	}
	return &l.certs[0], nil
}

// NotAfter is when our certificate expires; zero without one.
func (c *Credentials) NotAfter() time.Time {
	l := c.current.Load()
	if len(l.certs) == 0 {
		return time.Time{}
	}
	return l.certs[0].Leaf.NotAfter
}

// expirySoon is how long before its end the log speaks of a certificate.
const expirySoon = 30 * 24 * time.Hour

// Watch reads the files again every interval, and when now says so, until ctx is
// done: new connections use what was read last. It logs what it takes and what it can't
// use, each once, and daily that our certificate is about to expire.
func (c *Credentials) Watch(ctx context.Context, interval time.Duration, now <-chan os.Signal, log *slog.Logger) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	var failed string
	var warned time.Time
	for {
		if end := c.NotAfter(); !end.IsZero() && time.Until(end) < expirySoon && time.Since(warned) > 24*time.Hour {
			warned = time.Now()
			log.Warn("the certificate for "+c.purpose+" expires; put a new one into its file, it is taken without a restart",
				"file", c.files.Cert, "expires", end)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-now:
			failed = "" // who asks is told again
		}
		changed, err := c.Reload()
		switch {
		case err != nil && err.Error() != failed:
			failed = err.Error()
			log.Error("the changed certificates for "+c.purpose+" can't be used; the earlier ones stay", "error", err)
		case err == nil:
			failed = ""
		}
		if changed {
			log.Info("new certificates for "+c.purpose+" are in use", "expires", c.NotAfter())
		}
	}
}

func (f Files) read(purpose string) (*loaded, error) {
	l := &loaded{}
	sum := sha256.New()
	if f.Cert != "" || f.Key != "" {
		cert, err := readFile(purpose, f.Cert, "certificate")
		if err != nil {
			return nil, err
		}
		key, err := readFile(purpose, f.Key, "private key")
		if err != nil {
			return nil, err
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, pacs.Wrap(pacs.Invalid, err, "The certificate in "+f.Cert+" and the key in "+f.Key+" can't be used together")
		}
		if err := checkKeys([]*x509.Certificate{pair.Leaf}); err != nil {
			return nil, pacs.Wrap(pacs.Invalid, err, "The certificate in "+f.Cert+" can't be used")
		}
		l.certs = []tls.Certificate{pair}
		sum.Write(cert)
		sum.Write(key)
	}
	if f.CA != "" {
		pem, err := readFile(purpose, f.CA, "authorities")
		if err != nil {
			return nil, err
		}
		l.roots = x509.NewCertPool()
		if !l.roots.AppendCertsFromPEM(pem) {
			return nil, pacs.Errorf(pacs.Invalid, "%s holds no certificate; it must be a PEM file with the authorities to trust", f.CA)
		}
		sum.Write(pem)
	}
	sum.Sum(l.sum[:0])
	return l, nil
}

func readFile(purpose, name, what string) ([]byte, error) {
	if name == "" {
		return nil, pacs.Errorf(pacs.Invalid, "The file of the %s for %s is not named; a certificate and its private key go together", what, purpose)
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, pacs.Wrap(pacs.Invalid, err, "The file of the "+what+" for "+purpose+" can't be read")
	}
	if info.Size() > maxFileLen {
		return nil, pacs.Errorf(pacs.Invalid, "%s has %d bytes and is no PEM file of the %s", name, info.Size(), what)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, pacs.Wrap(pacs.Invalid, err, "The file of the "+what+" for "+purpose+" can't be read")
	}
	return bytes.TrimSpace(b), nil
}
