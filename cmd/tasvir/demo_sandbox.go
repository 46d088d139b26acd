package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// sandbox is the demo's FHIR platform: deploy/fhir-sandbox, a Node program.
type sandbox struct {
	url     string
	process *exec.Cmd
	exited  chan struct{}
}

// sandboxPatience is how long the sandbox may take to load HL7's definitions.
const sandboxPatience = 60 * time.Second

func startSandbox(ctx context.Context, dir, data string) (*sandbox, error) {
	server := filepath.Join(dir, "server.mjs")
	if _, err := os.Stat(server); err != nil {
		return nil, fmt.Errorf("the FHIR sandbox is not in %s; start the demo in the project's folder, or give --sandbox", dir)
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); err != nil {
		return nil, fmt.Errorf("the FHIR sandbox is not installed: run npm ci --ignore-scripts in %s (make run does)", dir)
	}
	s := &sandbox{process: exec.Command("node", server, "--port", "0", "--data", data, "--seed"), exited: make(chan struct{})}
	// A group of its own, so that Ctrl-C reaches the archive first; and it
	// must not outlive us.
	s.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	s.process.Stderr = os.Stderr
	out, err := s.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.process.Start(); err != nil {
		return nil, fmt.Errorf("the FHIR sandbox can't be started; is Node installed? %w", err)
	}
	address := make(chan string, 1)
	go func() {
		defer close(s.exited)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if url, found := strings.CutPrefix(lines.Text(), "listening "); found {
				select {
				case address <- url:
				default:
				}
			}
		}
		_ = s.process.Wait()
	}()
	select {
	case s.url = <-address:
		return s, nil
	case <-s.exited:
		return nil, fmt.Errorf("the FHIR sandbox ended at once; its words are above")
	case <-time.After(sandboxPatience):
		s.stop()
		return nil, fmt.Errorf("the FHIR sandbox did not start within %s", sandboxPatience)
	case <-ctx.Done():
		s.stop()
		return nil, ctx.Err()
	}
}

// page is where a person sees what has arrived.
func (s *sandbox) page() string { return strings.TrimSuffix(s.url, "/fhir") + "/" }

func (s *sandbox) stop() {
	_ = s.process.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(5 * time.Second):
		_ = s.process.Process.Kill()
		<-s.exited
	}
}
