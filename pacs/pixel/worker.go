package pixel

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// Worker runs the codecs that are written in C, in processes of their own: they
// read bytes from outside. Safe for concurrent use; each process works on one
// frame at a time, and who waits for one gets it in the order of asking. A
// process is started when it is needed, and ended when it has not been for a
// while. One that dies, hangs or takes too much memory costs the frame it was
// at, nothing else.
type Worker struct {
	// Command is what is executed; it must call ServeCodecs with its standard
	// input and output.
	Command []string
	// Env is what a process gets beside what it needs to find its libraries,
	// as KEY=VALUE. It reads hostile bytes: no secrets.
	Env []string
	// Processes is how many there are at most. Default GOMAXPROCS.
	Processes int
	// Queue is how many frames may wait for a process; more are turned away.
	// Default 1024.
	Queue int
	// Timeout bounds one frame, from when a process begins with it. Default one
	// minute, and two seconds more for each MiB of samples.
	Timeout time.Duration
	// Idle is after what time without work a process ends. Default one minute.
	Idle time.Duration

	mu      sync.Mutex
	idle    []*codecProcess        // the last was used last
	working map[*codecProcess]bool // what has a frame
	places  int                    // processes that there are or that are being started
	waiting []chan<- *codecProcess // oldest first; nil tells one to start its own
	reaper  *time.Timer            // ends what has been idle for long
	closed  bool
	empty   *sync.Cond // places became 0
}

// Close ends the processes. What was being worked on fails with Unavailable, and
// so does everything asked later.
func (w *Worker) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	if w.reaper != nil {
		w.reaper.Stop()
	}
	for p := range w.working {
		p.kill()
	}
	for _, p := range w.idle {
		p.end()
		w.places--
	}
	w.idle = nil
	for _, c := range w.waiting {
		close(c)
	}
	w.waiting = nil
	if w.empty == nil {
		w.empty = sync.NewCond(&w.mu)
	}
	for w.places > 0 {
		w.empty.Wait()
	}
}

// do has a request answered by some process.
//
//	Unsupported  the codec does not take it, or there is none
//	Invalid      the codec says that the bytes are damaged, or dies of them
//	Unavailable  there is no process for it, or it took too long
func (w *Worker) do(ctx context.Context, request message) (samples, error) {
	timeout := w.Timeout
	if timeout == 0 {
		mebibytes := request.Columns * request.Rows * request.Components * request.sampleBytes() >> 20
		timeout = time.Minute + time.Duration(mebibytes)*2*time.Second
	}
	for first := true; ; first = false {
		p, err := w.acquire(ctx)
		if err != nil {
			return samples{}, err
		}
		if !first && !p.fresh {
			if p, err = w.renew(p); err != nil {
				return samples{}, err
			}
		}
		frame, cancel := context.WithTimeoutCause(ctx, timeout, errTooLong)
		answer, err := p.exchange(frame, request)
		cause := context.Cause(frame)
		cancel()
		killed := w.release(p, err != nil)
		switch {
		case err == nil && answer.operation == opDone:
			return answer.samples, nil
		case err == nil && answer.operation == opUnsupported:
			return samples{}, pacs.Errorf(pacs.Unsupported, "The codec does not take this image: %s", answer.Pixels)
		case err == nil && answer.operation == opInvalid:
			return samples{}, pacs.Errorf(pacs.Invalid, "The codec can't read this image: %s", answer.Pixels)
		case err == nil:
			return samples{}, pacs.Errorf(pacs.Unavailable, "The codecs' process answers in another language")
		case errors.Is(cause, errTooLong):
			return samples{}, pacs.Wrap(pacs.Unavailable, err, "The codec took more than "+timeout.String()+" for an image")
		case cause != nil:
			return samples{}, pacs.Wrap(pacs.Unavailable, cause, "The codec was not waited for")
		case w.isClosed():
			return samples{}, errWorkerClosed
		case first:
			continue // it may have died of what it had before
		case killed:
			return samples{}, pacs.Wrap(pacs.Unavailable, err, "The codecs' process died")
		}
		return samples{}, pacs.Wrap(pacs.Invalid, err, "The codec dies of this image")
	}
}

var (
	errTooLong            = errors.New("the codec took too long")
	errWorkerClosed error = pacs.Errorf(pacs.Unavailable, "The codecs have been shut down")
)

func (w *Worker) isClosed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closed
}

// acquire waits for a process that has nothing to do.
func (w *Worker) acquire(ctx context.Context) (*codecProcess, error) {
	if err := ctx.Err(); err != nil {
		return nil, pacs.Wrap(pacs.Unavailable, err, "The codec was not waited for")
	}
	w.mu.Lock()
	most, queue := w.Processes, w.Queue
	if most == 0 {
		most = runtime.GOMAXPROCS(0)
	}
	if queue == 0 {
		queue = 1024
	}
	switch {
	case w.closed:
		w.mu.Unlock()
		return nil, errWorkerClosed
	case len(w.idle) > 0: // then nobody waits
		p := w.idle[len(w.idle)-1]
		w.idle = w.idle[:len(w.idle)-1]
		w.work(p)
		w.mu.Unlock()
		return p, nil
	case w.places < most:
		w.places++
		w.mu.Unlock()
		return w.fill()
	case len(w.waiting) >= queue:
		w.mu.Unlock()
		return nil, pacs.Errorf(pacs.Unavailable, "%d images wait for the codecs already; try again later", queue)
	}
	turn := make(chan *codecProcess, 1)
	w.waiting = append(w.waiting, turn)
	w.mu.Unlock()
	select {
	case p, open := <-turn:
		return w.take(p, open)
	case <-ctx.Done():
	}
	w.mu.Lock()
	for i, c := range w.waiting {
		if c == turn {
			w.waiting = append(w.waiting[:i:i], w.waiting[i+1:]...)
			w.mu.Unlock()
			return nil, pacs.Wrap(pacs.Unavailable, ctx.Err(), "The codec was not waited for")
		}
	}
	w.mu.Unlock()
	// Its turn has come all the same: what it was given is for the next.
	p, open := <-turn
	switch {
	case open && p != nil:
		w.release(p, false)
	case open:
		w.vacate()
	}
	return nil, pacs.Wrap(pacs.Unavailable, ctx.Err(), "The codec was not waited for")
}

// take is what somebody does whose turn has come.
func (w *Worker) take(p *codecProcess, open bool) (*codecProcess, error) {
	switch {
	case !open:
		return nil, errWorkerClosed
	case p != nil:
		return p, nil
	}
	return w.fill()
}

// renew puts a process in the place of one that has worked before.
func (w *Worker) renew(p *codecProcess) (*codecProcess, error) {
	p.end()
	w.mu.Lock()
	delete(w.working, p)
	w.mu.Unlock()
	return w.fill()
}

// fill starts a process in a place that the caller has.
func (w *Worker) fill() (*codecProcess, error) {
	p, err := w.start()
	if err != nil {
		w.vacate()
		return nil, pacs.Wrap(pacs.Unavailable, err, "The codecs' process does not start")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.work(p)
	if w.closed {
		p.kill()
	}
	return p, nil
}

func (w *Worker) work(p *codecProcess) {
	if w.working == nil {
		w.working = map[*codecProcess]bool{}
	}
	w.working[p] = true
}

// release gives a process to who has waited longest, or lets it rest. One that
// has failed is ended; killed says that it did not end by itself.
func (w *Worker) release(p *codecProcess, failed bool) (killed bool) {
	if failed {
		killed = p.end()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.working, p)
	switch {
	case failed:
		w.pass()
	case w.closed:
		p.end()
		w.pass()
	case len(w.waiting) > 0:
		w.work(p)
		w.waiting[0] <- p
		w.waiting = w.waiting[1:]
	default:
		p.since = time.Now()
		w.idle = append(w.idle, p)
		if w.reaper == nil {
			w.reaper = time.AfterFunc(w.idleTime(), w.reap)
		}
	}
	return killed
}

// vacate gives up a place in which there is no process.
func (w *Worker) vacate() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pass()
}

// pass hands an empty place on to who has waited longest.
func (w *Worker) pass() {
	if len(w.waiting) > 0 {
		w.waiting[0] <- nil
		w.waiting = w.waiting[1:]
		return
	}
	w.places--
	if w.places == 0 && w.empty != nil {
		w.empty.Broadcast()
	}
}

func (w *Worker) idleTime() time.Duration {
	if w.Idle == 0 {
		return time.Minute
	}
	return w.Idle
}

// reap ends the processes that have been idle for long.
func (w *Worker) reap() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reaper = nil
	if w.closed {
		return
	}
	old := 0
	for old < len(w.idle) && time.Since(w.idle[old].since) >= w.idleTime() {
		w.idle[old].end()
		w.places--
		old++
	}
	w.idle = append(w.idle[:0:0], w.idle[old:]...)
	if len(w.idle) > 0 {
		w.reaper = time.AfterFunc(w.idleTime()-time.Since(w.idle[0].since), w.reap)
	}
}

// String says how many processes there are and how many images wait for one.
func (w *Worker) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return fmt.Sprintf("%d processes, %d of them idle, %d images wait", w.places, len(w.idle), len(w.waiting))
}
