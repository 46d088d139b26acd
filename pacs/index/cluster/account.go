package cluster

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"syscall"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// account is who PostgreSQL runs as. It refuses to run as root.
type account struct {
	name     string
	uid, gid int
	change   bool // we are root and become this account for PostgreSQL
}

// accountFor is ourselves, unless we are root: then the owner of a cluster that
// exists, else the user postgres, else nobody.
func accountFor(dir string) (account, error) {
	if os.Geteuid() != 0 {
		return account{uid: os.Geteuid(), gid: os.Getegid(), name: "this user"}, nil
	}
	if info, err := os.Stat(filepath.Join(dir, "data")); err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 {
			a := account{uid: int(st.Uid), gid: int(st.Gid), change: true, name: fmt.Sprint(st.Uid)}
			if u, err := user.LookupId(a.name); err == nil {
				a.name = u.Username
			}
			return a, nil
		}
	}
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			return account{uid: atoi(u.Uid), gid: atoi(u.Gid), change: true, name: name}, nil
		}
	}
	return account{}, pacs.Errorf(pacs.Unavailable, "PostgreSQL can't run as root and there is neither a user postgres nor nobody: run tasvir as an ordinary user")
}

func (a account) sysProcAttr(whenWeDie syscall.Signal) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{
		Pdeathsig: whenWeDie,
		Setpgid:   true, // a Ctrl-C in the terminal is for us; we stop it in our turn
	}
	if a.change {
		attr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	}
	return attr
}

// makeDir makes the cluster's folder and gives it to the account.
func (a account) makeDir(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return forbidden(err, dir)
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return forbidden(err, dir)
	}
	if !a.change {
		return nil
	}
	if blocked := a.blockedBy(filepath.Dir(dir)); blocked != "" {
		return pacs.Errorf(pacs.Forbidden,
			"PostgreSQL runs as user %s, which may not pass through %s: use a --data folder outside it (such as /var/lib/tasvir), or run chmod o+x %s",
			a.name, blocked, blocked)
	}
	return a.own(dir)
}

// own gives dir, and a cluster in it that belongs to root (a restored backup),
// to the account.
func (a account) own(dir string) error {
	info, err := os.Lstat(filepath.Join(dir, "data"))
	if err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != a.uid {
			err := filepath.WalkDir(filepath.Join(dir, "data"), func(path string, _ fs.DirEntry, err error) error {
				return errors.Join(err, os.Lchown(path, a.uid, a.gid))
			})
			if err != nil {
				return err
			}
		}
	}
	return os.Chown(dir, a.uid, a.gid)
}

// blockedBy returns the first folder from the top down to dir that the account
// may not pass through, or "".
func (a account) blockedBy(dir string) string {
	if parent := filepath.Dir(dir); parent != dir {
		if blocked := a.blockedBy(parent); blocked != "" {
			return blocked
		}
	}
	info, err := os.Stat(dir)
	if err != nil {
		return ""
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	bit := fs.FileMode(0o001)
	switch {
	case int(st.Uid) == a.uid:
		bit = 0o100
	case int(st.Gid) == a.gid:
		bit = 0o010
	}
	if info.Mode()&bit == 0 {
		return dir
	}
	return ""
}

// maxSocketPath is what surely fits into a socket's address (108 bytes in Linux,
// with a lock file's suffix and some room).
const maxSocketPath = 100

// socketDir is where the server puts its socket: the cluster's folder, or, when
// that path is too long for a socket, a short one made from its hash.
func socketDir(dir string, a account) (string, error) {
	if len(filepath.Join(dir, ".s.PGSQL."+port)) < maxSocketPath {
		return dir, nil
	}
	sum := sha256.Sum256([]byte(dir))
	short := fmt.Sprintf("/tmp/tasvir-pg-%x", sum[:8])
	err := os.Mkdir(short, 0o700)
	switch {
	case err == nil && a.change:
		err = os.Chown(short, a.uid, a.gid)
	case errors.Is(err, fs.ErrExist):
		err = nil
	}
	if err != nil {
		return "", err
	}
	// The name can be guessed: somebody else may have made it before us.
	info, err := os.Lstat(short)
	if err != nil {
		return "", err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || !info.IsDir() || int(st.Uid) != a.uid || info.Mode().Perm() != 0o700 {
		return "", pacs.Errorf(pacs.Forbidden, "%s, where the database's socket must go, belongs to someone else: remove it, or use a shorter --data path than %s", short, dir)
	}
	return short, nil
}
