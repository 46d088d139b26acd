package ul

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

const (
	// readBufferLen lets one system call fetch what the kernel has.
	readBufferLen = 256 << 10
	// firstBufferLen serves connections that have not associated yet.
	firstBufferLen = 4 << 10
	// progressBytes must arrive for a read deadline to be renewed, so that a
	// byte now and then doesn't count as progress.
	progressBytes = 1 << 10
	// directRead is how much a caller must want to get it without a copy. With
	// less it is better to fetch what comes behind it in the same call.
	directRead = 64 << 10
	// writeChunk is handed to the kernel under one write deadline.
	writeChunk = 64 << 10
)

var readBuffers = sync.Pool{New: func() any { return new([readBufferLen]byte) }}

// transport is one TCP or TLS connection with a read buffer and deadlines.
// Reading belongs to one goroutine, writing to the holder of Association.wmu.
type transport struct {
	nc       net.Conn
	quickAck func()

	buf    []byte // buf[r:w] is read but not consumed
	r, w   int
	pooled *[readBufferLen]byte

	limit    time.Duration // how long to wait for progress; 0 keeps the deadline as it is
	moved    int           // bytes since the deadline was set
	deadline time.Time
	readEnd  time.Time // when the last read returned

	mu    sync.Mutex
	woken bool // reading was ended by another goroutine
}

// errWoken is returned by reads after wake.
var errWoken = errors.New("reading ended")

func newTransport(nc net.Conn) *transport {
	t := &transport{nc: nc, buf: make([]byte, firstBufferLen), quickAck: func() {}}
	raw := nc
	if tc, ok := nc.(interface{ NetConn() net.Conn }); ok { // TLS
		raw = tc.NetConn()
	}
	if tcp, ok := raw.(*net.TCPConn); ok {
		// Responses are small and the peer waits for them. Go's default, said
		// here because throughput hangs on it.
		_ = tcp.SetNoDelay(true)
		t.quickAck = quickAck(tcp)
	}
	return t
}

// useLargeBuffer trades the first buffer for a large one.
func (t *transport) useLargeBuffer() {
	if t.pooled != nil {
		return
	}
	t.pooled = readBuffers.Get().(*[readBufferLen]byte)
	n := copy(t.pooled[:], t.buf[t.r:t.w])
	t.buf, t.r, t.w = t.pooled[:], 0, n
}

// dropBuffer gives the large buffer back; what was not consumed is lost.
func (t *transport) dropBuffer() {
	if t.pooled == nil {
		return
	}
	readBuffers.Put(t.pooled)
	t.pooled, t.buf, t.r, t.w = nil, make([]byte, 512), 0, 0
}

// expect sets how long the following reads may go without progress, from now.
// Zero waits for ever.
func (t *transport) expect(limit time.Duration) error {
	t.limit, t.moved, t.readEnd = limit, 0, time.Now()
	t.deadline = time.Time{}
	if limit > 0 {
		t.deadline = t.readEnd.Add(limit)
	}
	return t.arm()
}

// expectWithin sets how long all following reads together may take.
func (t *transport) expectWithin(limit time.Duration) error {
	t.limit, t.deadline = 0, time.Now().Add(limit)
	return t.arm()
}

// arm tells the connection the deadline, unless another goroutine ended reading.
func (t *transport) arm() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.woken {
		return errWoken
	}
	return t.nc.SetReadDeadline(t.deadline)
}

// notBlamed is how long the consumer may stay away before the peer is given the
// time back.
const notBlamed = 10 * time.Millisecond

// wake ends a read in progress and all later ones with errWoken. Any goroutine
// may call it.
func (t *transport) wake() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.woken = true
	_ = t.nc.SetReadDeadline(time.Unix(1, 0))
}

// unwake lets the owner of the reading side read on, to wait for the close.
func (t *transport) unwake() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.woken = false
}

// read does one system call and keeps the deadline.
func (t *transport) read(p []byte) (int, error) {
	if t.limit > 0 {
		if away := time.Since(t.readEnd); away > notBlamed {
			t.deadline = t.deadline.Add(away)
			if err := t.arm(); err != nil {
				return 0, err
			}
		}
	}
	n, err := t.nc.Read(p)
	t.readEnd = time.Now()
	if n > 0 {
		t.quickAck()
		if t.moved += n; t.limit > 0 && t.moved >= progressBytes {
			if e := t.expect(t.limit); e != nil && err == nil {
				err = e
			}
		}
		if err != nil && !errors.Is(err, errWoken) {
			err = nil // it will come again
		}
		return n, err
	}
	if err == nil {
		return 0, io.ErrNoProgress
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.woken {
		return 0, errWoken
	}
	return 0, err
}

// fill reads until at least n bytes are buffered; n must not exceed the buffer.
func (t *transport) fill(n int) error {
	if t.r > 0 && t.r+n > len(t.buf) || t.r == t.w {
		t.w = copy(t.buf, t.buf[t.r:t.w])
		t.r = 0
	}
	for t.w-t.r < n {
		m, err := t.read(t.buf[t.w:])
		t.w += m
		if err != nil {
			return err
		}
	}
	return nil
}

// take returns the next n bytes, valid until the next read. n is small.
func (t *transport) take(n int) ([]byte, error) {
	if err := t.fill(n); err != nil {
		return nil, err
	}
	b := t.buf[t.r : t.r+n]
	t.r += n
	return b, nil
}

// Read gives what is buffered, or reads straight into a large p.
func (t *transport) Read(p []byte) (int, error) {
	if t.r == t.w {
		if len(p) >= min(directRead, len(t.buf)) {
			return t.read(p)
		}
		if err := t.fill(1); err != nil {
			return 0, err
		}
	}
	n := copy(p, t.buf[t.r:t.w])
	t.r += n
	return n, nil
}

// peek returns up to limit buffered bytes without copying, at least one, valid
// until the next read; skip consumes them.
func (t *transport) peek(limit int) ([]byte, error) {
	if t.r == t.w {
		if err := t.fill(1); err != nil {
			return nil, err
		}
	}
	return t.buf[t.r:min(t.w, t.r+limit)], nil
}

func (t *transport) skip(n int) { t.r += n }

func (t *transport) buffered() bool { return t.r < t.w }

// write sends p; the deadline is renewed for each chunk the kernel takes.
func (t *transport) write(p []byte, limit time.Duration) error {
	for len(p) > 0 {
		if limit > 0 {
			if err := t.nc.SetWriteDeadline(time.Now().Add(limit)); err != nil {
				return err
			}
		}
		n, err := t.nc.Write(p[:min(len(p), writeChunk)])
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
