package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// storescp is dcmtk's receiver: it writes a file per instance and neither
// indexes nor waits for the disk. It runs with TCP_NODELAY=1, without which its
// answers wait for delayed acknowledgements and it takes 22 instances a second.
// fork lets it serve several associations at once, a process for each.
type storescp struct {
	run    *run
	fork   bool
	home   string
	server *child
	port   int
}

func (s *storescp) name() string { return "storescp" }

func (s *storescp) dicom() (address, aet string) { return loopback(s.port), "STORESCP" }

func (s *storescp) files() string { return filepath.Join(s.home, "files") }

func (s *storescp) start(ctx context.Context) (err error) {
	binary, err := exec.LookPath("storescp")
	if err != nil {
		return errors.New("dcmtk is not installed: run deploy/install-debian.sh bench")
	}
	if s.home, err = newHome(s.run.dir, "storescp"); err != nil {
		return err
	}
	if err := os.Mkdir(s.files(), 0o755); err != nil {
		return err
	}
	if s.port, err = freePort(); err != nil {
		return err
	}
	args := []string{"--output-directory", s.files(), "--aetitle", "STORESCP"}
	if s.fork {
		args = append(args, "--fork")
	}
	cmd := exec.Command(binary, append(args, strconv.Itoa(s.port))...)
	cmd.Env = withoutNagle(os.Environ(), false)
	if s.server, err = startChild(cmd, filepath.Join(s.home, "log")); err != nil {
		return err
	}
	return s.server.await(func() error { return echo(ctx, s) })
}

func (s *storescp) count(context.Context) (int, error) {
	entries, err := os.ReadDir(s.files())
	return len(entries), err
}

func (s *storescp) pids() []int { return []int{s.server.pid()} }

func (s *storescp) stop() error { return errors.Join(s.server.stop(), removeHome(s.home)) }
