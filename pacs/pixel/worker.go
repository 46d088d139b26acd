package pixel

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/charls"
)

// Worker runs the codecs in a process of its own. Safe for concurrent use; one
// frame is worked on at a time. The process is started when it is first needed,
// and again after it has died.
type Worker struct {
	// Command is what is executed; it must call ServeCodecs with its standard
	// input and output.
	Command []string
	// Env is what the process gets beside what it needs to find its libraries,
	// as KEY=VALUE. It reads hostile bytes: no secrets.
	Env []string
	// Timeout bounds one frame. Default one minute.
	Timeout time.Duration

	mu      sync.Mutex
	process *codecProcess
}

type codecProcess struct {
	command *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
}

// EncodeJPEGLS compresses a frame without loss.
//
//	Unsupported  the codec does not take it, or there is none
//	Unavailable  the process died or took too long
func (w *Worker) EncodeJPEGLS(ctx context.Context, im charls.Image) ([]byte, error) {
	answer, err := w.do(ctx, message{operation: opEncodeJPEGLS, image: im})
	return answer.image.Pixels, err
}

// DecodeJPEGLS decompresses a frame. Errors are those of EncodeJPEGLS.
func (w *Worker) DecodeJPEGLS(ctx context.Context, data []byte) (charls.Image, error) {
	answer, err := w.do(ctx, message{operation: opDecodeJPEGLS, image: charls.Image{Pixels: data}})
	return answer.image, err
}

// Close ends the process.
func (w *Worker) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end()
}

func (w *Worker) do(ctx context.Context, request message) (message, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return message{}, err
	}
	if w.process == nil {
		if err := w.start(); err != nil {
			return message{}, pacs.Wrap(pacs.Unavailable, err, "The codecs' process does not start")
		}
	}
	timeout := w.Timeout
	if timeout == 0 {
		timeout = time.Minute
	}
	process := w.process
	ctx, cancel := context.WithTimeout(ctx, timeout)
	// Killing it is what wakes a reader of its pipe.
	stop := context.AfterFunc(ctx, func() { _ = process.command.Process.Kill() })
	answer, err := process.exchange(request)
	stopped := stop()
	cancel()
	if err != nil || !stopped {
		w.end()
		return message{}, pacs.Wrap(pacs.Unavailable, errors.Join(err, context.Cause(ctx)), "The codec died of this image or took too long")
	}
	if answer.operation == opFailed {
		return message{}, pacs.Errorf(pacs.Unsupported, "The codec does not take this image: %s", answer.image.Pixels)
	}
	return answer, nil
}

func (w *Worker) start() error {
	if len(w.Command) == 0 {
		return errors.New("no command is set")
	}
	command := exec.Command(w.Command[0], w.Command[1:]...)
	command.Env = slices.Concat([]string{"GOMAXPROCS=2"}, libraryPaths(), w.Env)
	command.Stderr = os.Stderr
	// In a group of its own: Ctrl-C is for us, who then ends it in order.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := command.StdinPipe()
	if err != nil {
		return err
	}
	out, err := command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return err
	}
	// Nobody waits for it: what receives goes first. A failure costs only that.
	_ = unix.Setpriority(unix.PRIO_PGRP, command.Process.Pid, niceness)
	w.process = &codecProcess{command: command, in: in, out: bufio.NewReaderSize(out, 64<<10)}
	return nil
}

// niceness of the codecs' process.
const niceness = 10

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

func (w *Worker) end() {
	if w.process == nil {
		return
	}
	_ = w.process.in.Close()
	_ = w.process.command.Process.Kill()
	_ = w.process.command.Wait()
	w.process = nil
}

func (p *codecProcess) exchange(request message) (message, error) {
	// The process reads a request whole before it answers: no deadlock.
	if err := request.write(p.in); err != nil {
		return message{}, err
	}
	return readMessage(p.out)
}

// operation is what a message asks or answers.
type operation uint32

const (
	opEncodeJPEGLS operation = iota + 1
	opDecodeJPEGLS
	opDone
	opFailed // the pixels are the reason, as text
)

// message is what goes between Worker and ServeCodecs: six numbers of 32 bits,
// little endian (operation, columns, rows, components, bits, length), and so
// many bytes.
type message struct {
	operation operation
	image     charls.Image
}

const messageHeader = 24

func (m message) write(w io.Writer) error {
	header := make([]byte, 0, messageHeader)
	for _, n := range []int{int(m.operation), m.image.Columns, m.image.Rows, m.image.Components, m.image.Bits, len(m.image.Pixels)} {
		header = binary.LittleEndian.AppendUint32(header, uint32(n))
	}
	if _, err := w.Write(header); err != nil {
		return err
	}
	_, err := w.Write(m.image.Pixels)
	return err
}

func readMessage(r io.Reader) (message, error) {
	var header [messageHeader]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return message{}, err
	}
	number := func(i int) int { return int(binary.LittleEndian.Uint32(header[4*i:])) }
	m := message{operation: operation(number(0)), image: charls.Image{Columns: number(1), Rows: number(2), Components: number(3), Bits: number(4)}}
	length := number(5)
	if length > charls.MaxPixels+charls.MaxPixels/4 {
		return message{}, fmt.Errorf("a message of %d bytes", length)
	}
	m.image.Pixels = make([]byte, length)
	_, err := io.ReadFull(r, m.image.Pixels)
	return m, err
}
