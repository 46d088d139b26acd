package ul

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// This file holds what an Association does on the wire against the same
// transcription of Table 9-10 that the machine is held against: each event that
// a peer can cause, in each state in which an association waits for its peer.
// The other states it only passes through, between two lines of code: 1 and 4
// are before it has a connection, 3 lasts as long as Decide, 8, 9 and 12 until
// the answer to a release is written.

// waiting is an association in a state, with its peer.
type waiting struct {
	peer
	done  <-chan error // how it ended
	abort func()       // Evt15
	assoc func() *Association
}

// setting is a way to bring an association into a state.
type setting struct {
	state     State
	requestor bool
	enter     func(t *testing.T, timeouts Timeouts) waiting
}

// run starts f on one end of a connection.
func run(t *testing.T, f func(ctx context.Context, nc net.Conn, got chan<- *Association) error) waiting {
	t.Helper()
	ours, theirs := pipe(t)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	done, got := make(chan error, 1), make(chan *Association, 1)
	go func() { done <- f(ctx, ours, got) }()
	return waiting{peer: peer{t, theirs}, done: done, abort: cancel, assoc: func() *Association { return <-got }}
}

func accepting(t *testing.T, timeouts Timeouts, use func(context.Context, *Association) error) waiting {
	t.Helper()
	return run(t, func(ctx context.Context, nc net.Conn, got chan<- *Association) error {
		cfg := acceptorConfig()
		cfg.Timeouts = timeouts
		a, err := Accept(ctx, nc, cfg)
		if err != nil {
			return err
		}
		got <- a
		err = use(ctx, a)
		a.Close()
		return err
	})
}

func requesting(t *testing.T, timeouts Timeouts, use func(context.Context, *Association) error) waiting {
	t.Helper()
	w := run(t, func(ctx context.Context, nc net.Conn, got chan<- *Association) error {
		a, err := Request(ctx, nc, testRequest(), Config{Timeouts: timeouts})
		if err != nil {
			return err
		}
		got <- a
		err = use(ctx, a)
		a.Close()
		return err
	})
	w.want(&AssociateRequest{})
	return w
}

func reading(ctx context.Context, a *Association) error {
	stop := a.AbortOn(ctx)
	defer stop()
	return readAll(a)
}

func releasing(ctx context.Context, a *Association) error { return a.Release(ctx) }

// want reads a PDU of the same type.
func (w waiting) want(like PDU) PDU {
	w.t.Helper()
	pdu, err := ReadPDU(w.Conn, 1<<20)
	if err != nil || pdu.Type() != like.Type() {
		w.t.Fatalf("got %v (%v), want %s", pdu, err, like.Type())
	}
	return pdu
}

// wantSilence closes our side and reads what is left: nothing.
func (w waiting) wantSilence() {
	w.t.Helper()
	_ = w.Conn.(*net.TCPConn).CloseWrite()
	if n, err := io.Copy(io.Discard, w.Conn); n != 0 || err != nil {
		w.t.Errorf("%d bytes came, %v", n, err)
	}
}

var settings = []setting{
	{Sta2, false, func(t *testing.T, timeouts Timeouts) waiting { return accepting(t, timeouts, reading) }},
	{Sta5, true, func(t *testing.T, timeouts Timeouts) waiting { return requesting(t, timeouts, reading) }},
	{Sta6, false, func(t *testing.T, timeouts Timeouts) waiting {
		w := accepting(t, timeouts, reading)
		w.associate()
		return w
	}},
	{Sta6, true, func(t *testing.T, timeouts Timeouts) waiting {
		w := requesting(t, timeouts, reading)
		w.sendPDU(accepted())
		w.assoc()
		return w
	}},
	{Sta7, false, func(t *testing.T, timeouts Timeouts) waiting {
		w := accepting(t, timeouts, releasing)
		w.associate()
		w.want(ReleaseRequest{})
		return w
	}},
	{Sta7, true, func(t *testing.T, timeouts Timeouts) waiting {
		w := requesting(t, timeouts, releasing)
		w.sendPDU(accepted())
		w.want(ReleaseRequest{})
		return w
	}},
	{Sta10, false, func(t *testing.T, timeouts Timeouts) waiting {
		w := accepting(t, timeouts, releasing)
		w.associate()
		w.want(ReleaseRequest{})
		w.sendPDU(ReleaseRequest{}) // the collision
		a := w.assoc()
		for a.state() != Sta10 {
			time.Sleep(time.Millisecond)
		}
		return w
	}},
	{Sta11, true, func(t *testing.T, timeouts Timeouts) waiting {
		w := requesting(t, timeouts, releasing)
		w.sendPDU(accepted())
		w.want(ReleaseRequest{})
		w.sendPDU(ReleaseRequest{}) // the collision
		w.want(ReleaseResponse{})
		return w
	}},
	{Sta13, false, func(t *testing.T, timeouts Timeouts) waiting { // after a rejection
		w := accepting(t, timeouts, reading)
		rq := testRequest()
		rq.ProtocolVersion = 2
		w.sendPDU(rq)
		w.want(&Reject{})
		return w
	}},
	{Sta13, true, func(t *testing.T, timeouts Timeouts) waiting { // after an abort
		w := requesting(t, timeouts, reading)
		w.send("09 00 00000004 00000000")
		w.want(&Abort{})
		return w
	}},
	{Sta13, false, func(t *testing.T, timeouts Timeouts) waiting { // after a release
		w := accepting(t, timeouts, reading)
		w.associate()
		w.sendPDU(ReleaseRequest{})
		w.want(ReleaseResponse{})
		return w
	}},
}

// peerEvents are what a peer does, by the event that it raises.
var peerEvents = []struct {
	event Event
	do    func(w waiting)
}{
	{Evt3, func(w waiting) { w.sendPDU(accepted()) }},
	{Evt4, func(w waiting) { w.sendPDU(&RejectCalledAE) }},
	{Evt6, func(w waiting) { w.sendPDU(testRequest()) }},
	{Evt10, func(w waiting) { w.sendPDU(command("x")) }},
	{Evt12, func(w waiting) { w.sendPDU(ReleaseRequest{}) }},
	{Evt13, func(w waiting) { w.sendPDU(ReleaseResponse{}) }},
	{Evt15, func(w waiting) { w.abort() }},
	{Evt16, func(w waiting) { w.sendPDU(&Abort{Source: AbortedByUser}) }},
	{Evt17, func(w waiting) { _ = w.Close() }},
	{Evt18, func(waiting) {}}, // silence
	{Evt19, func(w waiting) { w.send("09 00 00000004 00000000") }},
	{Evt19, func(w waiting) { w.send("04 00 00FFFFFF") }},
}

// cell returns the action of Table 9-10, "-" for none.
func cell(t *testing.T, ev Event, sta State) string {
	t.Helper()
	for line := range strings.Lines(strings.TrimSpace(table910)) {
		if fields := strings.Fields(line); fields[0] == ev.String() {
			return fields[sta]
		}
	}
	t.Fatalf("%s is not in the table", ev)
	return ""
}

func TestAcceptance05Table910OnTheWire(t *testing.T) {
	for _, s := range settings {
		for _, e := range peerEvents {
			action := cell(t, e.event, s.state)
			side := "acceptor"
			if s.requestor {
				side = "requestor"
			}
			t.Run(fmt.Sprintf("%s %s/%s/%s", s.state, side, e.event, action), func(t *testing.T) {
				t.Parallel()
				localAbort, remote, rejected := new(AbortError), new(AbortError), new(Reject)
				timeouts := Timeouts{}
				if e.event == Evt18 {
					timeouts.ARTIM = 100 * time.Millisecond
				}
				if action == "-" {
					// ARTIM does not run there, and only established associations
					// have a user who could abort; a canceled wait just ends.
					return
				}
				w := s.enter(t, timeouts)
				e.do(w)
				reason := ReasonUnexpectedPDU
				if e.event == Evt19 {
					reason = ReasonUnrecognizedPDU
				}
				ended := func() error {
					t.Helper()
					_ = w.Close()
					return <-w.done
				}
				switch action {
				case "AA-1": // A-ABORT of the service-user
					w.wantAbort(AbortedByUser, 0)
					if err := ended(); e.event != Evt15 && (!errors.As(err, &localAbort) || localAbort.Remote) {
						t.Errorf("ended with %v", err)
					} else if e.event == Evt15 && !errors.Is(err, context.Canceled) {
						t.Errorf("ended with %v", err)
					}
				case "AA-8": // A-ABORT of the service-provider
					pdu := w.want(&Abort{}).(*Abort)
					if pdu.Source != AbortedByProvider || pdu.Reason != reason && pdu.Reason != ReasonInvalidParameter {
						t.Errorf("aborted %s", pdu)
					}
					if err := ended(); !errors.As(err, &localAbort) || localAbort.Remote {
						t.Errorf("ended with %v", err)
					}
				case "AA-7": // A-ABORT once more
					if pdu := w.want(&Abort{}).(*Abort); pdu.Source != AbortedByProvider {
						t.Errorf("aborted %s", pdu)
					}
					_ = ended()
				case "AA-2", "AA-3": // the connection closes without a word
					w.wantClosed()
					err := ended()
					if e.event == Evt16 && s.state != Sta13 && (!errors.As(err, &remote) || !remote.Remote) {
						t.Errorf("ended with %v", err)
					}
					if e.event == Evt18 && s.state == Sta2 && !isTimeout(err) {
						t.Errorf("ended with %v", err)
					}
				case "AA-4", "AA-5", "AR-5": // the connection is gone
					if err := <-w.done; s.state != Sta13 && !errors.Is(err, ErrClosed) {
						t.Errorf("ended with %v", err)
					}
				case "AA-6": // nothing is said to it
					w.wantSilence()
					_ = ended()
				case "AE-3", "DT-2": // goes on
					w.sendPDU(ReleaseRequest{})
					w.want(ReleaseResponse{})
					if err := ended(); !errors.Is(err, ErrReleased) {
						t.Errorf("ended with %v", err)
					}
				case "AE-4":
					w.wantClosed()
					if err := ended(); !errors.As(err, &rejected) || *rejected != RejectCalledAE {
						t.Errorf("ended with %v", err)
					}
				case "AE-6":
					w.want(&AssociateAccept{})
					w.sendPDU(ReleaseRequest{})
					w.want(ReleaseResponse{})
					_ = ended()
				case "AR-2":
					w.want(ReleaseResponse{})
					if err := ended(); !errors.Is(err, ErrReleased) {
						t.Errorf("ended with %v", err)
					}
				case "AR-3":
					w.wantClosed()
					if err := ended(); err != nil {
						t.Errorf("Release returned %v", err)
					}
				case "AR-6": // data on the way is discarded
					w.sendPDU(ReleaseResponse{})
					if err := <-w.done; err != nil {
						t.Errorf("Release returned %v", err)
					}
				case "AR-8": // the collision; AR-9 or AR-10 and AR-4 end it
					if s.requestor {
						w.want(ReleaseResponse{})
						w.sendPDU(ReleaseResponse{})
						w.wantClosed()
					} else {
						w.sendPDU(ReleaseResponse{})
						w.want(ReleaseResponse{})
					}
					if err := ended(); err != nil {
						t.Errorf("Release returned %v", err)
					}
				case "AR-10":
					w.want(ReleaseResponse{})
					if err := ended(); err != nil {
						t.Errorf("Release returned %v", err)
					}
				default:
					t.Errorf("no test for %s", action)
				}
			})
		}
	}
}
