package cluster

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// pidFile is PostgreSQL's postmaster.pid: a line each for the process id, the
// data folder, the start time, the port, the socket folder, the listen address,
// the shared memory, and the state.
type pidFile struct {
	pid     int
	sockets string
	ready   bool
}

func pidFileName(dataDir string) string { return filepath.Join(dataDir, "postmaster.pid") }

func readPIDFile(dataDir string) pidFile {
	data, err := os.ReadFile(pidFileName(dataDir))
	if err != nil {
		return pidFile{}
	}
	lines := strings.Split(string(data), "\n")
	f := pidFile{pid: atoi(lines[0])}
	if len(lines) > 4 {
		f.sockets = lines[4]
	}
	if len(lines) > 7 {
		f.ready = strings.TrimSpace(lines[7]) == "ready"
	}
	return f
}

// stopOrphans stops what an owner that died has left running, and waits for
// what is ending. We hold the lock: nobody else needs it.
func (c *Cluster) stopOrphans(ctx context.Context) error {
	signals := []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL}
	var escalate <-chan time.Time
	for {
		left, err := processesIn(c.dataDir())
		if err != nil {
			return nil //nolint:nilerr // no /proc: PostgreSQL's own interlock has to do
		}
		if len(left) == 0 {
			break
		}
		if escalate == nil {
			if len(signals) == 0 {
				return pacs.Errorf(pacs.Unavailable, "a PostgreSQL server was left behind in %s and can't be stopped: processes %v", c.dir, left)
			}
			c.log.Warn("stopping a database server that was left behind", "pids", left, "signal", signals[0].String())
			postmaster := readPIDFile(c.dataDir()).pid
			for _, pid := range left {
				// The postmaster tells its children; without one each is told.
				if signals[0] != syscall.SIGINT || pid == postmaster || !slices.Contains(left, postmaster) {
					_ = syscall.Kill(pid, signals[0])
				}
			}
			signals = signals[1:]
			escalate = time.After(orphanPatience)
		}
		select {
		case <-ctx.Done():
			return pacs.Wrap(pacs.Unavailable, ctx.Err(), "the database server that was left behind has not ended in time")
		case <-escalate:
			escalate = nil
		case <-time.After(pollPause):
		}
	}
	// Nobody is there, so the file is stale. Left alone it would stop the start
	// if its process id belongs to some other program by now, as it easily does
	// after a restart of a container.
	if err := os.Remove(pidFileName(c.dataDir())); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// processesIn returns the PostgreSQL processes that work in a data folder: each
// has it as its working directory.
func processesIn(dataDir string) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		dir := filepath.Join("/proc", entry.Name())
		cwd, err := os.Readlink(filepath.Join(dir, "cwd"))
		if err != nil || cwd != dataDir {
			continue
		}
		name, err := os.ReadFile(filepath.Join(dir, "comm"))
		if err == nil && strings.HasPrefix(string(name), "postgres") {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
