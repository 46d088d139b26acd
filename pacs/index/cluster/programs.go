package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// programs is a folder with one version of PostgreSQL's server programs.
type programs struct {
	dir     string
	version string // major, "15"; empty until known
}

func (p programs) path(name string) string { return filepath.Join(p.dir, name) }

// findPrograms returns the newest PostgreSQL, or, for a cluster that exists,
// the version that made it: a cluster can't be opened by another.
func findPrograms(dataDir string) (programs, error) {
	installed, err := installedPrograms()
	if err != nil {
		return programs{}, err
	}
	data, err := os.ReadFile(filepath.Join(dataDir, "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		return installed[0], nil
	}
	if err != nil {
		return programs{}, err
	}
	needed := strings.TrimSpace(string(data))
	var have []string
	for _, p := range installed {
		if p.version == needed {
			return p, nil
		}
		have = append(have, p.version)
	}
	return programs{}, pacs.Errorf(pacs.Conflict,
		"the database in %s was made by PostgreSQL %s, but only %s is installed: install postgresql-%s, or upgrade the database with pg_upgrade",
		dataDir, needed, strings.Join(have, ", "), needed)
}

// installedPrograms lists what there is, newest first: the folder TASVIR_PG_BIN
// alone if that is set, else Debian's and Red Hat's folders and the PATH.
func installedPrograms() ([]programs, error) {
	var dirs []string
	if dir := os.Getenv("TASVIR_PG_BIN"); dir != "" {
		dirs = []string{dir}
	} else {
		for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin"} {
			found, _ := filepath.Glob(pattern)
			dirs = append(dirs, found...)
		}
		if path, err := exec.LookPath("postgres"); err == nil {
			dirs = append(dirs, filepath.Dir(path))
		}
	}
	var all []programs
	for _, dir := range dirs {
		if version := versionOf(filepath.Join(dir, "postgres")); version != "" && exists(filepath.Join(dir, "initdb")) {
			all = append(all, programs{dir: dir, version: version})
		}
	}
	if len(all) == 0 {
		if dir := os.Getenv("TASVIR_PG_BIN"); dir != "" {
			return nil, pacs.Errorf(pacs.Unavailable, "TASVIR_PG_BIN=%s holds no PostgreSQL server: it must name the folder of postgres and initdb", dir)
		}
		return nil, pacs.Errorf(pacs.Unavailable, "PostgreSQL is not installed: run \"apt-get install postgresql\", set TASVIR_PG_BIN to the folder of its server programs, or give --database the URL of a server")
	}
	slices.SortStableFunc(all, func(a, b programs) int { return atoi(b.version) - atoi(a.version) })
	return all, nil
}

// versionOf asks a postgres binary: "postgres (PostgreSQL) 15.18 (Debian ...)".
func versionOf(binary string) string {
	out, err := exec.Command(binary, "--version").Output()
	if err != nil {
		return ""
	}
	_, version, found := strings.Cut(string(out), "(PostgreSQL) ")
	if !found {
		return ""
	}
	digits := 0
	for digits < len(version) && '0' <= version[digits] && version[digits] <= '9' {
		digits++
	}
	return version[:digits]
}

// take says whether the server knows a value of a setting: some depend on how
// it was built.
func (p programs) take(a account, dir, setting, value string) bool {
	cmd := exec.Command(p.path("postgres"), "-D", filepath.Join(dir, "data"), "-C", setting, "-c", setting+"="+value)
	cmd.Dir, cmd.Env = dir, environment(dir)
	cmd.SysProcAttr = a.sysProcAttr(syscall.SIGKILL)
	out, err := runBound(cmd)
	return err == nil && strings.TrimSpace(string(out)) == value
}

func forbidden(err error, dir string) error {
	if errors.Is(err, fs.ErrPermission) {
		return pacs.Wrap(pacs.Forbidden, err, fmt.Sprintf("the database in %s belongs to another user: run this command as the user that runs tasvir serve, or with sudo", dir))
	}
	return err
}
