package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// child is a server that this run has started. It dies with us, even if we are
// killed.
type child struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
	log  string
}

// startChild starts a program whose output goes to a file.
func startChild(cmd *exec.Cmd, log string) (*child, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }()
	cmd.Stdout, cmd.Stderr = out, out
	// A group of its own: Ctrl-C is for us, who end the servers in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	c := &child{cmd: cmd, done: make(chan struct{}), log: log}
	started := make(chan error)
	go func() {
		// Pdeathsig means the thread that started the child, not the process:
		// this one is kept until the child has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			c.err = cmd.Wait()
			close(c.done)
		}
	}()
	return c, <-started
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// stop asks the server to end, and after a minute makes it.
func (c *child) stop() error {
	if c == nil {
		return nil
	}
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.done:
		return nil
	case <-time.After(time.Minute):
		_ = c.cmd.Process.Kill()
		<-c.done
		return fmt.Errorf("%s did not end within a minute and was killed", c.cmd.Path)
	}
}

// failure is err with what the server wrote last.
func (c *child) failure(err error) error {
	text, _ := os.ReadFile(c.log)
	if len(text) > 2000 {
		text = text[len(text)-2000:]
	}
	return fmt.Errorf("%s: %w\n%s", c.cmd.Path, err, text)
}

// await waits until ready says nil, the server ends or patience is over.
func (c *child) await(ready func() error) error {
	deadline := time.Now().Add(startPatience)
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-c.done:
			return c.failure(errors.New("it ended while it started"))
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return c.failure(fmt.Errorf("it is not ready after %s: %w", startPatience, err))
		}
	}
}

const startPatience = 2 * time.Minute
