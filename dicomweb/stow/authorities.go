package stow

import (
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// Authorities are certificates of a file that are trusted beside those of the
// system: a hospital's own authority, or the self-signed certificate of a node. A
// file that has changed is read anew; while it can't be, what was read before is
// trusted. Safe for concurrent use.
type Authorities struct {
	file string
	log  *slog.Logger

	mu       sync.Mutex
	modified time.Time
	size     int64
	roots    *x509.CertPool
}

// LoadAuthorities reads a file of certificates, PEM.
//
//	Invalid  it can't be read, or has no certificate
func LoadAuthorities(file string, log *slog.Logger) (*Authorities, error) {
	a := &Authorities{file: file, log: log}
	if err := a.load(); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *Authorities) load() error {
	info, err := os.Stat(a.file)
	if err != nil {
		return pacs.Errorf(pacs.Invalid, "The authorities of DICOMweb nodes can't be read: %v", err)
	}
	if info.ModTime().Equal(a.modified) && info.Size() == a.size {
		return nil
	}
	raw, err := os.ReadFile(a.file)
	if err != nil {
		return pacs.Errorf(pacs.Invalid, "The authorities of DICOMweb nodes can't be read: %v", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		return fmt.Errorf("the certificates that the system trusts: %w", err)
	}
	if !roots.AppendCertsFromPEM(raw) {
		return pacs.Errorf(pacs.Invalid, "%s has no certificate in PEM: it begins with -----BEGIN CERTIFICATE-----", a.file)
	}
	a.modified, a.size, a.roots = info.ModTime(), info.Size(), roots
	return nil
}

// pool is whom to trust now; nil is the system's choice.
func (a *Authorities) pool() *x509.CertPool {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.load(); err != nil {
		a.log.Warn("the authorities of DICOMweb nodes could not be read again", "error", err)
	}
	return a.roots
}
