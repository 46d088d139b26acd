package pixel

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// codecProcess is one process that runs ServeCodecs.
type codecProcess struct {
	command *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	fresh   bool        // it has not answered yet
	doomed  atomic.Bool // by us
	since   time.Time   // when it became idle
}

// niceness of the codecs' processes: what receives goes first.
const niceness = 5

func (w *Worker) start() (*codecProcess, error) {
	if len(w.Command) == 0 {
		return nil, errors.New("no command is set")
	}
	command := exec.Command(w.Command[0], w.Command[1:]...)
	command.Env = slices.Concat([]string{"GOMAXPROCS=2", "MALLOC_ARENA_MAX=2", "GOTRACEBACK=none"}, libraryPaths(), w.Env)
	command.Stderr = os.Stderr
	// In a group of its own: Ctrl-C is for us, who then ends it in order. It does
	// not outlive us either: its standard input ends.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, err
	}
	_ = unix.Setpriority(unix.PRIO_PGRP, command.Process.Pid, niceness)
	return &codecProcess{command: command, in: in, out: bufio.NewReaderSize(out, 64<<10), fresh: true}, nil
}

// libraryPaths is what a process needs to find its libraries.
func libraryPaths() []string {
	var out []string
	for _, name := range []string{"PATH", "LD_LIBRARY_PATH"} {
		if value, ok := os.LookupEnv(name); ok {
			out = append(out, name+"="+value)
		}
	}
	return out
}

// exchange asks and waits for the answer. A process that has not answered when
// ctx ends is killed. After an error the process is of no use.
func (p *codecProcess) exchange(ctx context.Context, request message) (message, error) {
	// Killing it is what wakes a reader of its pipe.
	stop := context.AfterFunc(ctx, p.kill)
	// The process reads a request whole before it answers: no deadlock.
	err := request.write(p.in)
	var answer message
	if err == nil {
		answer, err = readMessage(p.out)
	}
	if !stop() {
		return message{}, errors.Join(context.Cause(ctx), err)
	}
	p.fresh = p.fresh && err != nil
	return answer, err
}

func (p *codecProcess) kill() {
	p.doomed.Store(true)
	_ = p.command.Process.Kill()
}

// end ends the process. killed says that somebody else did, the system that has
// no memory left for example, and not what it was working on.
func (p *codecProcess) end() (killed bool) {
	_ = p.in.Close()
	// It ends when it reads on; one that does something else is killed.
	timer := time.AfterFunc(time.Second, p.kill)
	_ = p.command.Wait()
	timer.Stop()
	status, ok := p.command.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL && !p.doomed.Load()
}
