package cluster

import (
	"bytes"
	"context"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
)

const (
	logName    = "postgres.log"
	maxLogSize = 10 << 20

	pollPause = 20 * time.Millisecond
)

// server is a postmaster that we have started.
type server struct {
	cmd     *exec.Cmd
	done    chan struct{}
	err     error // how it ended, after done
	logName string
	logFrom int64 // where this run begins in the log
}

func startServer(p programs, a account, dir, sockets string, settings map[string]string, unsafe bool) (*server, error) {
	log, from, err := openLog(filepath.Join(dir, logName))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()

	args := []string{"-D", filepath.Join(dir, "data")}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", name+"="+settings[name])
	}

	// When we die it shuts down in an orderly way; a throw-away cluster just
	// vanishes.
	whenWeDie := syscall.SIGINT
	if unsafe {
		whenWeDie = syscall.SIGQUIT
	}
	cmd := exec.Command(p.path("postgres"), args...)
	cmd.Dir, cmd.Env = dir, environment(dir)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = a.sysProcAttr(whenWeDie)
	s := &server{cmd: cmd, done: make(chan struct{}), logName: log.Name(), logFrom: from}
	if err := startBound(cmd, func(err error) { s.err = err; close(s.done) }); err != nil {
		return nil, pacs.Wrap(pacs.Unavailable, err, "PostgreSQL can't be started")
	}
	return s, nil
}

// openLog opens the log for appending; a long one is put aside first.
func openLog(name string) (f *os.File, size int64, err error) {
	if info, err := os.Stat(name); err == nil && info.Size() > maxLogSize {
		if err := os.Rename(name, name+".1"); err != nil {
			return nil, 0, err
		}
	}
	f, err = os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

func (s *server) pid() int { return s.cmd.Process.Pid }

// waitReady waits until the server accepts connections. It recovers from a
// crash first, which has no time limit but ctx.
func (s *server) waitReady(ctx context.Context, dataDir string, log *slog.Logger) error {
	began := time.Now()
	poll, progress := time.NewTicker(pollPause), time.NewTicker(2*time.Second)
	defer poll.Stop()
	defer progress.Stop()
	for {
		if file := readPIDFile(dataDir); file.ready && file.pid == s.pid() {
			return nil
		}
		select {
		case <-s.done:
			return pacs.Wrap(pacs.Unavailable, s.err, "PostgreSQL does not start: "+s.complaint())
		case <-ctx.Done():
			return pacs.Wrap(pacs.Unavailable, ctx.Err(), "PostgreSQL was not ready in time; see "+s.logName)
		case <-progress.C:
			log.Info("the database is starting", "for", time.Since(began).Round(time.Second))
		case <-poll.C:
		}
	}
}

// complaint is what the server wrote to its log last.
func (s *server) complaint() string {
	data, err := os.ReadFile(s.logName)
	if err != nil || int64(len(data)) < s.logFrom {
		return "see " + s.logName
	}
	lines := strings.Split(strings.TrimSpace(string(data[s.logFrom:])), "\n")
	for _, line := range lines {
		if _, fatal, found := strings.Cut(line, "FATAL:"); found {
			return strings.TrimSpace(fatal) + " (see " + s.logName + ")"
		}
	}
	return lastLines([]byte(strings.Join(lines, "\n")), 2) + " (see " + s.logName + ")"
}

// stop shuts the server down; see Cluster.Stop.
func (s *server) stop(ctx context.Context) error {
	// "Fast": roll back, write everything, exit.
	if s.signalled(syscall.SIGINT, ctx.Done()) {
		return nil
	}
	for _, harder := range []syscall.Signal{syscall.SIGQUIT, syscall.SIGKILL} {
		patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		ended := s.signalled(harder, patience.Done())
		cancel()
		if ended {
			return nil
		}
	}
	return pacs.Errorf(pacs.Unavailable, "PostgreSQL (process %d) can't be stopped", s.pid())
}

// signalled sends a signal and reports whether the server ended before enough.
func (s *server) signalled(signal syscall.Signal, enough <-chan struct{}) bool {
	_ = s.cmd.Process.Signal(signal) // an error means that it has ended
	select {
	case <-s.done:
		return true
	case <-enough:
		return false
	}
}

// startBound starts cmd so that Pdeathsig means what it says: the signal comes
// when the thread that started the child ends, so a thread is kept for it until
// the child has ended. ended gets the child's fate.
func startBound(cmd *exec.Cmd, ended func(error)) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			ended(cmd.Wait())
		}
	}()
	return <-started
}

// runBound is cmd.CombinedOutput by way of startBound.
func runBound(cmd *exec.Cmd) ([]byte, error) {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	done := make(chan error, 1)
	if err := startBound(cmd, func(err error) { done <- err }); err != nil {
		return nil, err
	}
	err := <-done
	return out.Bytes(), err
}
