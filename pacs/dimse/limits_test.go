package dimse

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// Hundreds of associations at once: as many as allowed are served, the others
// are told, and all slots come back.
func TestAcceptance13AssociationLimit(t *testing.T) {
	const limit, callers = 5, 300
	inside := make(chan struct{}, callers)
	leave := make(chan struct{})
	addr, _ := start(t, &Server{MaxAssociations: limit, Store: StoreHandlerFunc(func(_ context.Context, req *StoreRequest) Status {
		inside <- struct{}{}
		<-leave
		return Status{}
	})})
	open := func() (*Client, error) {
		return Dial(context.Background(), addr, Dialer{CallingAE: "CT01", CalledAE: "TASVIR", Contexts: GroupContexts([]Kind{ctKind})[0].Contexts})
	}
	var clients []*Client
	var wg sync.WaitGroup
	for range limit {
		c, err := open()
		if err != nil {
			t.Fatal(err)
		}
		clients = append(clients, c)
		wg.Go(func() {
			if status, err := c.Store(context.Background(), item("1.2", []byte("x"))); err != nil || !status.OK() {
				t.Errorf("C-STORE: %s, %v", status, err)
			}
		})
	}
	for range limit {
		<-inside
	}
	var others sync.WaitGroup
	for range callers {
		others.Go(func() {
			c, err := open()
			var rj *ul.Reject
			switch {
			case err == nil:
				t.Error("one association too many")
				c.Close()
			case errors.As(err, &rj) && *rj != ul.RejectLocalLimit:
				t.Errorf("rejected with %v", rj)
			}
		})
	}
	others.Wait()
	close(leave)
	wg.Wait()
	for _, c := range clients {
		if err := c.Release(context.Background()); err != nil {
			t.Error(err)
		}
	}
	for range 2 * limit { // one after the other, each needs a free slot
		for {
			c, err := open()
			var rj *ul.Reject
			if errors.As(err, &rj) {
				continue // the last one's slot is about to come back
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Release(context.Background()); err != nil {
				t.Error(err)
			}
			break
		}
	}
}

func TestAcceptance13GracefulDrain(t *testing.T) {
	inside, leave := make(chan struct{}), make(chan struct{})
	addr, stop := start(t, &Server{DrainTimeout: time.Minute, Store: StoreHandlerFunc(func(ctx context.Context, req *StoreRequest) Status {
		_, _ = io.Copy(io.Discard, req.Data)
		close(inside)
		<-leave
		if ctx.Err() != nil {
			t.Error("the handler's context is done before the drain is over")
		}
		return Status{}
	})})
	c := dial(t, addr, ctKind)
	stored := make(chan error, 1)
	go func() {
		status, err := c.Store(context.Background(), item("1.2", []byte("x")))
		if err == nil && !status.OK() {
			err = errors.New(status.String())
		}
		stored <- err
	}()
	<-inside
	served := make(chan error, 1)
	go func() { served <- stop() }()
	for { // until nothing new is taken
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			break
		}
		_ = nc.Close()
	}
	close(leave)
	if err := <-stored; err != nil {
		t.Errorf("the running C-STORE: %v", err)
	}
	if _, err := c.Echo(context.Background()); err != nil {
		t.Errorf("C-ECHO while draining: %v", err)
	}
	if err := c.Release(context.Background()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve returned %v", err)
	}
}

func TestDrainTimeout(t *testing.T) {
	canceled := make(chan struct{})
	inside := make(chan struct{})
	addr, stop := start(t, &Server{
		DrainTimeout: 50 * time.Millisecond, Timeouts: ul.Timeouts{ARTIM: time.Second},
		Store: StoreHandlerFunc(func(ctx context.Context, req *StoreRequest) Status {
			close(inside)
			<-ctx.Done()
			close(canceled)
			return Statusf(ProcessingFailure, "shutting down")
		}),
	})
	idle, busy := dial(t, addr), dial(t, addr, ctKind)
	var wg sync.WaitGroup
	wg.Go(func() {
		// The handler's answer may still go out before the abort.
		if status, err := busy.Store(context.Background(), item("1.2", []byte("x"))); err == nil && status.OK() {
			t.Errorf("answered with %s", status)
		}
		busy.Close()
	})
	<-inside
	wg.Go(func() {
		<-canceled
		for { // until the abort comes
			if _, err := idle.Echo(context.Background()); err != nil {
				break
			}
		}
		idle.Close()
	})
	if err := stop(); err != nil {
		t.Errorf("Serve returned %v", err)
	}
	wg.Wait()
}

func TestSilentConnectionsDoNotHoldAssociations(t *testing.T) {
	addr, _ := start(t, &Server{MaxAssociations: 1, Timeouts: ul.Timeouts{ARTIM: 200 * time.Millisecond}})
	for range maxWaiting - 1 {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
	}
	c := dial(t, addr)
	if _, err := c.Echo(context.Background()); err != nil {
		t.Errorf("behind silent connections: %v", err)
	}
	if err := c.Release(context.Background()); err != nil {
		t.Error(err)
	}
}

// One host that opens connections and says nothing is cut off before the
// others are.
func TestOneHostCantTakeAllConnections(t *testing.T) {
	var w waiting
	a, b := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1)}, &net.TCPAddr{IP: net.IPv4(10, 0, 0, 2)}
	var leave []func()
	for i := range maxWaiting {
		l, ok := w.enter(&net.TCPAddr{IP: a.IP, Port: i})
		if !ok {
			t.Fatalf("connection %d refused", i)
		}
		leave = append(leave, l)
	}
	if _, ok := w.enter(a); ok {
		t.Error("one too many")
	}
	if l, ok := w.enter(b); !ok {
		t.Error("another host refused")
	} else {
		l()
	}
	leave[0]()
	leave[0]() // counts once
	if l, ok := w.enter(a); !ok {
		t.Error("refused though one left")
	} else {
		l()
	}
	for _, l := range leave {
		l()
	}
	if len(w.hosts.byName) != 0 {
		t.Errorf("left behind: %v", w.hosts.byName)
	}

	addr, _ := start(t, &Server{Timeouts: ul.Timeouts{ARTIM: time.Minute}})
	var silent []net.Conn
	for range maxWaiting {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, nc)
	}
	_, err := Dial(context.Background(), addr, Dialer{CallingAE: "CT01", CalledAE: "TASVIR"})
	if !errors.Is(err, ul.ErrClosed) {
		t.Errorf("one too many: %v", err)
	}
	for _, nc := range silent {
		_ = nc.Close()
	}
	for { // as soon as the server saw them go
		c, err := Dial(context.Background(), addr, Dialer{CallingAE: "CT01", CalledAE: "TASVIR"})
		if err != nil {
			continue
		}
		if err := c.Release(context.Background()); err != nil {
			t.Error(err)
		}
		break
	}
}

func TestServeEndsWithItsListener(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	if err := (&Server{}).Serve(context.Background(), ln); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve returned %v", err)
	}
}
