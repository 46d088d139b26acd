package ul

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Timeouts bound the waits of an association. Zero takes the default.
type Timeouts struct {
	// ARTIM is the association request/reject/release timer of PS3.8 section
	// 9.1.5: the wait for the A-ASSOCIATE-RQ of a new connection, and for the
	// peer to close after a reject, release or abort. A requestor waits so long
	// for the answer to its request and its release. Default 30 s.
	ARTIM time.Duration
	// Progress is the longest silence inside a message, in either direction.
	// Default 60 s.
	Progress time.Duration
	// Idle is the longest wait for a next message. Default 10 minutes.
	Idle time.Duration
}

// WithDefaults returns t with the defaults in place of zeros.
func (t Timeouts) WithDefaults() Timeouts {
	set := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	set(&t.ARTIM, 30*time.Second)
	set(&t.Progress, 60*time.Second)
	set(&t.Idle, 10*time.Minute)
	return t
}

// Config is what both sides of an association need to know.
type Config struct {
	// MaxPDU is the longest P-DATA-TF body to receive. Default DefaultMaxPDU.
	MaxPDU uint32
	// ImplementationClassUID and ImplementationVersion identify this software
	// to the peer. PS3.7 Annex D.3.3.2.
	ImplementationClassUID string
	ImplementationVersion  string
	Timeouts               Timeouts
}

func (c Config) withDefaults() Config {
	if c.MaxPDU == 0 {
		c.MaxPDU = DefaultMaxPDU
	}
	c.MaxPDU = max(c.MaxPDU, minMaxPDU)
	c.Timeouts = c.Timeouts.WithDefaults()
	return c
}

func (c Config) user() UserInformation {
	return UserInformation{
		MaxPDU: c.MaxPDU, ImplementationClassUID: c.ImplementationClassUID,
		ImplementationVersion: c.ImplementationVersion,
	}
}

// Association is an association over one connection. Reading methods belong to
// one goroutine; Send and Abort may be called from any.
type Association struct {
	cfg       Config
	t         *transport
	requestor bool
	request   *AssociateRequest
	peer      UserInformation
	contexts  [256]*Context
	accepted  []Context
	results   []ContextResult
	window    AsyncWindow // in the requestor's words
	sendMax   int         // longest P-DATA-TF body to send

	mu      sync.Mutex
	machine Machine
	err     error // how the association ended

	wmu      sync.Mutex
	wbuf     []byte
	writeErr error // the first that a Send ran into

	// The reading side: what is left of the P-DATA-TF and the PDV in hand.
	pduLeft, pdvLeft int
	pdv              DataValue
	emptyPDVs        int
	astray           bool // where PDUs begin is not known any more
	closeOnce        sync.Once
	working          atomic.Int32 // see Working
}

// Working says that we are at work for the peer, so that the wait for its next
// message is no idleness, until done is called. Any goroutine may call both.
func (a *Association) Working() (done func()) {
	a.working.Add(1)
	return sync.OnceFunc(func() { a.working.Add(-1) })
}

// Contexts returns the accepted presentation contexts in the order proposed.
func (a *Association) Contexts() []Context { return a.accepted }

// Context returns the accepted context with this ID, or nil.
func (a *Association) Context(id byte) *Context { return a.contexts[id] }

// Results returns the answers to all proposed contexts, refused ones included.
func (a *Association) Results() []ContextResult { return a.results }

// Window returns how many operations may be outstanding at a time: Invoked by
// this side and Performed by it, which the peer invoked. 0 is no limit.
func (a *Association) Window() AsyncWindow {
	if a.requestor {
		return a.window
	}
	return AsyncWindow{Invoked: a.window.Performed, Performed: a.window.Invoked}
}

// AssociateRequest returns the request that began the association.
func (a *Association) AssociateRequest() *AssociateRequest { return a.request }

// Peer returns what the other side said about itself.
func (a *Association) Peer() UserInformation { return a.peer }

// RemoteAddr returns the peer's network address.
func (a *Association) RemoteAddr() net.Addr { return a.t.nc.RemoteAddr() }

// Err returns how the association ended, nil while it lasts.
func (a *Association) Err() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}

// end records the first reason for the end and returns it.
func (a *Association) end(err error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err == nil {
		a.err = err
	}
	return a.err
}

func (a *Association) step(ev Event) Action {
	a.mu.Lock()
	defer a.mu.Unlock()
	action, err := a.machine.Step(ev)
	if err != nil {
		return 0
	}
	return action
}

func (a *Association) state() State {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.machine.State
}

// sendControl steps the machine with a local event and sends the PDU that the
// resulting action calls for.
func (a *Association) sendControl(ev Event, pdu PDU) error {
	if a.step(ev) == 0 {
		return a.gone()
	}
	a.wmu.Lock()
	defer a.wmu.Unlock()
	if err := a.t.write(pdu.Append(nil), a.cfg.Timeouts.Progress); err != nil {
		return a.transportFailed(err)
	}
	return nil
}

// gone is the error for what can't be done any more.
func (a *Association) gone() error {
	if err := a.Err(); err != nil {
		return err
	}
	return fmt.Errorf("association is in %s", a.state())
}

// receive reads the next PDU, steps the machine and performs its action. It
// returns for the actions that concern the caller: AE-3 and AE-6 with their
// PDU; DT-2 and AR-6 with the P-DATA-TF's body still to be read; AR-2, AR-3,
// AR-8 and AR-10. Any other ends the association with an error. The wait for
// the first byte is idle; 0 holds the whole PDU to ARTIM.
func (a *Association) receive(idle time.Duration) (Action, PDU, error) {
	if err := a.awaitPDU(idle); err != nil {
		return 0, nil, a.transportFailed(err)
	}
	h, err := a.t.take(pduHeaderLen)
	if err != nil {
		return 0, nil, a.transportFailed(err)
	}
	t, n := PDUType(h[0]), binary.BigEndian.Uint32(h[2:])
	if err := checkLength(t, n, a.cfg.MaxPDU); err != nil {
		// Where the next PDU begins is known if this one's length is believed,
		// which it is only as far as Close reads over it.
		a.pduLeft, a.pdvLeft = int(min(n, MaxAssociateLen)), 0
		a.astray = n > MaxAssociateLen
		return 0, nil, a.abort(Evt19, err)
	}
	var pdu PDU
	if t == TypeData {
		a.pduLeft, a.pdvLeft = int(n), 0
	} else if pdu, err = a.readControl(t, int(n)); err != nil {
		return 0, nil, err
	}
	action := a.step(pduEvents[t])
	switch action {
	case AE3, AE6, DT2, AR2, AR6, AR8, AR10:
		return action, pdu, nil
	case AR3:
		_ = a.end(ErrReleased)
		return action, nil, nil
	case AE4:
		return 0, nil, a.end(pdu.(*Reject))
	case AA2, AA3:
		return 0, nil, a.end(&AbortError{Abort: *pdu.(*Abort), Remote: true})
	case AA1, AA8:
		return 0, nil, a.sendAbort(action, ReasonUnexpectedPDU, fmt.Errorf("unexpected %s", t))
	}
	return 0, nil, a.gone()
}

func (a *Association) awaitPDU(idle time.Duration) error {
	if idle == 0 {
		return a.t.expectWithin(a.cfg.Timeouts.ARTIM)
	}
	for !a.t.buffered() {
		if err := a.t.expect(idle); err != nil {
			return err
		}
		if err := a.t.fill(1); isTimeout(err) && a.working.Load() > 0 {
			continue // it waits for us
		} else if err != nil {
			return err
		}
	}
	return a.t.expect(a.cfg.Timeouts.Progress)
}

func (a *Association) readControl(t PDUType, n int) (PDU, error) {
	body, err := readBody(a.t, n)
	if err != nil {
		return nil, a.transportFailed(err)
	}
	pdu, err := parsePDU(t, body)
	if err != nil {
		return nil, a.abort(Evt19, err)
	}
	return pdu, nil
}

// transportFailed ends the association after a failed read or write.
func (a *Association) transportFailed(err error) error {
	switch {
	case errors.Is(err, errWoken):
		return a.gone()
	case isTimeout(err):
		if st := a.state(); st == Sta2 || st == Sta13 {
			a.step(Evt18)
			return a.end(fmt.Errorf("ARTIM timer expired: %w", err))
		}
		return a.abort(Evt15, fmt.Errorf("peer was silent too long: %w", err))
	}
	a.step(Evt17)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return a.end(ErrClosed)
	}
	return a.end(fmt.Errorf("%w: %w", ErrClosed, err))
}

// Abort ends the association at once, as its user. cause, which may be nil, is
// what later calls report. It is safe from any goroutine, and does nothing
// when the association is over.
func (a *Association) Abort(cause error) { _ = a.abort(Evt15, cause) }

// AbortOn aborts the association when ctx is done, until stop is called.
func (a *Association) AbortOn(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		if a.state() == Sta2 { // nothing to abort yet, and no cell for it
			a.step(Evt17)
			_ = a.end(context.Cause(ctx))
			_ = a.t.nc.Close()
			return
		}
		a.Abort(context.Cause(ctx))
	})
}

// abort steps the machine with Evt15 (user) or Evt19 (invalid PDU) and sends
// the A-ABORT that the table calls for.
func (a *Association) abort(ev Event, cause error) error {
	action := a.step(ev)
	switch action {
	case AA1, AA8:
		reason := ReasonNotSpecified
		var pe *ParseError
		if errors.As(cause, &pe) {
			reason = pe.Reason
		}
		return a.sendAbort(action, reason, cause)
	case 0:
		return a.gone()
	}
	err := a.end(&AbortError{Err: cause})
	_ = a.t.nc.Close()
	return err
}

// abortWriteLimit bounds the farewell to a peer that may not be reading.
const abortWriteLimit = 5 * time.Second

// lockWriting takes the writing side, unless another goroutine is stuck there.
// One that has just handed its PDU to the kernel is not.
func (a *Association) lockWriting() bool {
	for range 20 {
		if a.wmu.TryLock() {
			return true
		}
		time.Sleep(5 * time.Millisecond)
	}
	return a.wmu.TryLock()
}

// sendAbort performs AA-1 and AA-8. The connection is closed by Close, which
// waits for the peer to do it first.
func (a *Association) sendAbort(action Action, reason AbortReason, cause error) error {
	ab := Abort{Source: AbortedByProvider, Reason: reason}
	if action == AA1 {
		ab = Abort{Source: AbortedByUser}
	}
	err := a.end(&AbortError{Abort: ab, Err: cause})
	if a.lockWriting() {
		if e := a.t.write(ab.Append(nil), abortWriteLimit); e != nil {
			_ = a.t.nc.Close()
		}
		a.wmu.Unlock()
	} else {
		// Another goroutine is inside a P-DATA-TF and maybe stuck there.
		_ = a.t.nc.Close()
	}
	a.t.wake()
	return err
}
