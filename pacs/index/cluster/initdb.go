package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// initialise creates the cluster. It appears as "data" only when it is
// complete, so that being killed half way does no harm.
func initialise(ctx context.Context, p programs, a account, dir string, unsafe bool) error {
	unfinished := filepath.Join(dir, "data.new")
	if err := os.RemoveAll(unfinished); err != nil {
		return err
	}
	args := []string{
		"--pgdata=" + unfinished,
		"--username=" + superuser,
		"--encoding=UTF8",
		// Text is compared byte by byte: the same order everywhere, and no
		// index breaks when the system's C library changes its collations.
		"--locale=" + bytewiseLocale(),
		// Nobody reaches the socket but the account itself, see settings.
		"--auth-local=trust", "--auth-host=reject",
		"--no-instructions",
	}
	if unsafe {
		args = append(args, "--no-sync")
	} else {
		args = append(args, "--data-checksums")
	}
	cmd := exec.CommandContext(ctx, p.path("initdb"), args...)
	cmd.Dir, cmd.Env = dir, environment(dir)
	cmd.SysProcAttr = a.sysProcAttr(syscall.SIGKILL)
	if out, err := runBound(cmd); err != nil {
		return pacs.Wrap(pacs.Unavailable, err, fmt.Sprintf("the database can't be created in %s: %s", dir, lastLines(out, 3)))
	}
	return os.Rename(unfinished, filepath.Join(dir, "data"))
}

// bytewiseLocale is C.UTF-8, which Debian always has, or else plain C.
func bytewiseLocale() string {
	out, err := exec.Command("locale", "-a").Output()
	if err != nil {
		return "C"
	}
	for name := range strings.FieldsSeq(string(out)) {
		if name == "C.utf8" || name == "C.UTF-8" {
			return "C.UTF-8"
		}
	}
	return "C"
}

// environment is all that PostgreSQL's programs get to see: PG* variables of
// ours would change what they do.
func environment(dir string) []string {
	return []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
}

func lastLines(out []byte, n int) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "; ")
}
