package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// lock says who owns the cluster. The kernel releases it when the owner dies.
type lock struct{ f *os.File }

func (c *Cluster) lockFile() string { return filepath.Join(c.dir, "tasvir.lock") }

// acquire takes the lock. It waits a little for an owner that is on its way out.
func (c *Cluster) acquire(ctx context.Context) (*lock, error) {
	f, err := os.OpenFile(c.lockFile(), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, forbidden(err, c.dir)
	}
	deadline := time.Now().Add(lockPatience)
	for told := false; ; told = true {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		owner := readOwner(f)
		if !errors.Is(err, syscall.EWOULDBLOCK) || time.Now().After(deadline) || ctx.Err() != nil {
			_ = f.Close()
			return nil, pacs.Wrap(pacs.Conflict, err, fmt.Sprintf("another Tasvir (process %s) is using %s: stop it, or give this one another --data", owner, c.dir))
		}
		if !told {
			c.log.Info("waiting for another Tasvir to let go of the database", "pid", owner)
		}
		time.Sleep(pollPause)
	}
	if err := errors.Join(f.Truncate(0), writeOwner(f)); err != nil {
		_ = f.Close()
		return nil, err
	}
	return &lock{f: f}, nil
}

// ownerless reports whether nobody holds the lock.
func (c *Cluster) ownerless() (bool, error) {
	f, err := os.OpenFile(c.lockFile(), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, forbidden(err, c.dir)
	}
	defer func() { _ = f.Close() }()
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return true, err
}

func (l *lock) release() { _ = l.f.Close() }

func writeOwner(f *os.File) error {
	_, err := fmt.Fprintf(io.NewOffsetWriter(f, 0), "%d\n", os.Getpid())
	return err
}

func readOwner(f *os.File) string {
	data := make([]byte, 32)
	n, _ := f.ReadAt(data, 0)
	if owner := strings.TrimSpace(string(data[:n])); owner != "" {
		return owner
	}
	return "unknown"
}
