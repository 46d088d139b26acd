package pixel

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// picture is a slope with noise: neither flat nor incompressible.
func picture(columns, rows, components, bits int) Frame {
	f := Frame{Format: Format{Columns: columns, Rows: rows, Samples: components, BitsAllocated: (bits + 7) / 8 * 8, BitsStored: bits, HighBit: bits - 1, Photometric: Monochrome2}}
	if components == 3 {
		f.Photometric = RGB
	}
	r := rand.New(rand.NewPCG(1, 2))
	f.Pixels = make([]byte, f.FrameSize())
	for i := range columns * rows * components {
		sample := uint16((i/components + r.IntN(5)) & (1<<bits - 1))
		if bits <= 8 {
			f.Pixels[i] = byte(sample)
		} else {
			f.Pixels[2*i], f.Pixels[2*i+1] = byte(sample), byte(sample>>8)
		}
	}
	return f
}

// processesOf are the processes of a worker that has nothing to do.
func processesOf(w *Worker) []*codecProcess {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.idle)
}

// A process that died while nobody looked costs nothing: the frame goes to a
// fresh one.
func TestProcessDies(t *testing.T) {
	c := newCodecs(t)
	f := picture(64, 64, 1, 12)
	for range 3 {
		if _, _, err := c.Encode(t.Context(), dicom.JPEGLSLossless, f, EncodeOptions{}); err != nil {
			t.Fatal(err)
		}
		idle := processesOf(c.Worker)
		if len(idle) != 1 {
			t.Fatalf("one frame after another keeps %d processes", len(idle))
		}
		if err := idle[0].command.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
}

// A frame that every process dies of is damaged, and costs itself only.
func TestFrameKills(t *testing.T) {
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no sh here")
	}
	for signal, want := range map[string]pacs.Code{
		"SEGV": pacs.Invalid,     // its own fault
		"KILL": pacs.Unavailable, // the system's, which has no memory left
	} {
		w := &Worker{Command: []string{shell, "-c", "head -c 1 >/dev/null; kill -" + signal + " $$"}}
		_, err := w.do(t.Context(), message{operation: opDecodeJPEG2000, samples: samples{Pixels: make([]byte, 10)}})
		if pacs.CodeOf(err) != want {
			t.Errorf("a process that ends by SIG%s: %v", signal, err)
		}
		if w.String() != "0 processes, 0 of them idle, 0 images wait" {
			t.Error(w)
		}
		w.Close()
	}
}

func TestProcessHangs(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip("no sleep here")
	}
	w := &Worker{Command: []string{sleep, "600"}, Timeout: 50 * time.Millisecond}
	defer w.Close()
	c := &Codecs{Worker: w}
	request := message{operation: opEncodeJPEGLS, samples: samples{Pixels: make([]byte, 1<<20)}} // more than a pipe holds
	if _, err := w.do(t.Context(), request); pacs.CodeOf(err) != pacs.Unavailable {
		t.Errorf("a process that hangs: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := c.Encode(ctx, dicom.JPEGLSLossless, picture(8, 8, 1, 8), EncodeOptions{}); err == nil {
		t.Error("a call that was given up succeeds")
	}
}

// Who waits gets a process in the order of asking, or an error once the queue is
// full or the caller gives up; Close ends all.
func TestQueue(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip("no sleep here")
	}
	w := &Worker{Command: []string{sleep, "600"}, Processes: 1, Queue: 2}
	var running sync.WaitGroup
	ask := func(ctx context.Context, want pacs.Code) {
		running.Go(func() {
			if _, err := w.do(ctx, message{operation: opEncodeJPEGLS}); pacs.CodeOf(err) != want {
				t.Errorf("%v", err)
			}
		})
	}
	until := func(state string) {
		t.Helper()
		for w.String() != state {
			if t.Context().Err() != nil {
				t.Fatalf("%s, never %s", w, state)
			}
			time.Sleep(time.Millisecond)
		}
	}
	ask(t.Context(), pacs.Unavailable)
	until("1 processes, 0 of them idle, 0 images wait")
	leaves, leave := context.WithCancel(t.Context())
	ask(leaves, pacs.Unavailable)
	until("1 processes, 0 of them idle, 1 images wait")
	ask(t.Context(), pacs.Unavailable)
	until("1 processes, 0 of them idle, 2 images wait")
	if _, err := w.do(t.Context(), message{}); pacs.CodeOf(err) != pacs.Unavailable {
		t.Errorf("a queue that is full: %v", err)
	}
	leave()
	until("1 processes, 0 of them idle, 1 images wait")
	w.Close()
	running.Wait()
	until("0 processes, 0 of them idle, 0 images wait")
	if _, err := w.do(t.Context(), message{}); pacs.CodeOf(err) != pacs.Unavailable {
		t.Errorf("after the end: %v", err)
	}
}

// Many frames at once are worked on by as many processes as are allowed, which
// end when there is nothing to do.
func TestPool(t *testing.T) {
	c := newCodecs(t)
	c.Worker.Processes, c.Worker.Idle = 2, time.Millisecond
	f := picture(128, 128, 1, 12)
	var running sync.WaitGroup
	for range 20 {
		running.Go(func() {
			coded, as, err := c.Encode(t.Context(), dicom.JPEG2000Lossless, f, EncodeOptions{})
			if err != nil {
				t.Error(err)
				return
			}
			back, err := c.Decode(t.Context(), dicom.JPEG2000Lossless, as, coded)
			if err != nil || !bytes.Equal(back.Pixels, f.Pixels) {
				t.Errorf("other pixels come back (%v)", err)
			}
		})
	}
	running.Wait()
	for c.Worker.String() != "0 processes, 0 of them idle, 0 images wait" {
		if t.Context().Err() != nil {
			t.Fatal(c.Worker)
		}
		time.Sleep(time.Millisecond)
	}
}
