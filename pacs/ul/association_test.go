package ul

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// peer is a scripted party on a raw socket.
type peer struct {
	t *testing.T
	net.Conn
}

func (p peer) send(hexes ...string) {
	p.t.Helper()
	for _, h := range hexes {
		if _, err := p.Write(unhex(p.t, h)); err != nil {
			p.t.Fatalf("sending: %v", err)
		}
	}
}

func (p peer) sendPDU(pdus ...PDU) {
	p.t.Helper()
	var b []byte
	for _, pdu := range pdus {
		b = pdu.Append(b)
	}
	// The other side may refuse in the middle; what it answers is what counts.
	_, _ = p.Write(b)
}

func (p peer) read() PDU {
	p.t.Helper()
	pdu, err := ReadPDU(p.Conn, 1<<30)
	if err != nil {
		p.t.Fatalf("reading a PDU: %v", err)
	}
	return pdu
}

func (p peer) wantAbort(source AbortSource, reason AbortReason) {
	p.t.Helper()
	pdu := p.read()
	if ab, ok := pdu.(*Abort); !ok || *ab != (Abort{source, reason}) {
		p.t.Errorf("got %#v, want an abort from %d with reason %d", pdu, source, reason)
	}
}

func (p peer) wantClosed() {
	p.t.Helper()
	if n, err := io.Copy(io.Discard, p.Conn); err != nil || n != 0 {
		p.t.Errorf("want the connection closed, got %d bytes and %v", n, err)
	}
}

// pipe returns both ends of a TCP connection.
func pipe(t *testing.T) (ours, theirs net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	theirs, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ours, err = ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	// A hanging test should fail with a message.
	for _, c := range []net.Conn{ours, theirs} {
		_ = c.SetDeadline(time.Now().Add(time.Minute))
	}
	t.Cleanup(func() { _ = theirs.Close(); _ = ours.Close() })
	return ours, theirs
}

func acceptorConfig() AcceptorConfig {
	return AcceptorConfig{
		Config: Config{ImplementationClassUID: "1.2.3", ImplementationVersion: "TEST"},
		Decide: func(*AssociateRequest) (AcceptorPolicy, error) { return testPolicy(), nil },
	}
}

// serve accepts an association on one end of a connection, runs use on it and
// closes it. It returns the other end and a channel with the outcome.
func serve(t *testing.T, cfg AcceptorConfig, use func(*Association) error) (peer, <-chan error) {
	t.Helper()
	ours, theirs := pipe(t)
	done := make(chan error, 1)
	go func() {
		a, err := Accept(context.Background(), ours, cfg)
		if err == nil {
			err = use(a)
			a.Close()
		}
		done <- err
	}()
	t.Cleanup(func() { _ = theirs.Close() })
	return peer{t, theirs}, done
}

// readAll serves messages until the association ends: it counts their data.
func readAll(a *Association) error {
	for {
		id, command, err := a.ReadCommand()
		if err != nil {
			return err
		}
		if len(command) > 0 && command[0] == 'D' {
			if _, err := io.Copy(io.Discard, a.DataReader(id)); err != nil {
				return a.Err()
			}
		}
	}
}

func testRequest() *AssociateRequest {
	return &AssociateRequest{CalledAE: "TASVIR", CallingAE: "CT01", Contexts: []ProposedContext{
		{1, ctStorage, []string{explicitLE}}, {3, echoClass, []string{implicitLE}}, {5, otherClass, []string{implicitLE}},
	}}
}

func (p peer) associate() *AssociateAccept {
	p.t.Helper()
	p.sendPDU(testRequest())
	ac, ok := p.read().(*AssociateAccept)
	if !ok {
		p.t.Fatal("association not accepted")
	}
	return ac
}

func command(s string) Data {
	return Data{{ContextID: 1, Command: true, Last: true, Fragment: []byte(s)}}
}

func TestAcceptAndRelease(t *testing.T) {
	p, done := serve(t, acceptorConfig(), readAll)
	ac := p.associate()
	if ac.CalledAE != "TASVIR" || ac.CallingAE != "CT01" || ac.User.MaxPDU != DefaultMaxPDU || ac.User.ImplementationVersion != "TEST" {
		t.Errorf("acceptance: %+v", ac)
	}
	p.sendPDU(command("hello"), ReleaseRequest{})
	if _, ok := p.read().(ReleaseResponse); !ok {
		t.Error("no release response")
	}
	_ = p.Close()
	if err := <-done; !errors.Is(err, ErrReleased) {
		t.Errorf("ended with %v", err)
	}
}

// hostile are conversations that a peer spoils; the acceptor must answer with
// exactly the abort of PS3.8 Table 9-10 and 9-26, and survive.
func TestHostilePeers(t *testing.T) {
	zeros := func(n int) []byte { return make([]byte, n) }
	fragment := func(id byte, cmd, last bool, b []byte) Data {
		return Data{{ContextID: id, Command: cmd, Last: last, Fragment: b}}
	}
	var endless []PDU
	for range 100 {
		endless = append(endless, fragment(1, false, false, nil))
	}
	established := func(pdus ...PDU) func(peer) {
		return func(p peer) {
			p.associate()
			p.sendPDU(pdus...)
		}
	}
	raw := func(hex string) func(peer) {
		return func(p peer) {
			p.associate()
			p.send(hex)
		}
	}
	user, provider := AbortedByUser, AbortedByProvider
	tests := []struct {
		name   string
		script func(peer)
		source AbortSource
		reason AbortReason
	}{
		// Sta2 aborts as service-user (AA-1), where the reason is insignificant.
		{"P-DATA before association", func(p peer) { p.sendPDU(command("x")) }, user, 0},
		{"HTTP", func(p peer) { _, _ = io.WriteString(p, "GET / HTTP/1.1\r\nHost: x\r\n\r\n") }, user, 0},
		{"request of 4 GB", func(p peer) { p.send("01 00 FFFFFFFF") }, user, 0},
		{"malformed request", func(p peer) { p.send("01 00 00000044", strings.Repeat("41", 68)) }, user, 0},
		{"release before association", func(p peer) { p.sendPDU(ReleaseRequest{}) }, user, 0},

		{"second request", established(testRequest()), provider, ReasonUnexpectedPDU},
		{"acceptance from the requestor", established(&AssociateAccept{User: UserInformation{MaxPDU: 1}}), provider, ReasonUnexpectedPDU},
		{"release response never asked for", established(ReleaseResponse{}), provider, ReasonUnexpectedPDU},
		{"unknown PDU", raw("09 00 00000004 00000000"), provider, ReasonUnrecognizedPDU},
		{"PDU longer than allowed", raw("04 00 00040001"), provider, ReasonInvalidParameter},
		{"PDU of 4 GB", raw("04 00 FFFFFFFF"), provider, ReasonInvalidParameter},
		{"P-DATA-TF without a value", raw("04 00 00000000"), provider, ReasonInvalidParameter},
		{"value longer than its PDU", raw("04 00 00000008 00000005 01 03 0000"), provider, ReasonInvalidParameter},
		{"value without a header", raw("04 00 00000006 00000001 01 03"), provider, ReasonInvalidParameter},
		{"stray bytes after a value", raw("04 00 00000008 00000002 01 01 0000"), provider, ReasonInvalidParameter},
		{"context refused", established(fragment(5, true, true, []byte("x"))), provider, ReasonInvalidParameter},
		{"context never proposed", established(fragment(7, true, true, []byte("x"))), provider, ReasonInvalidParameter},
		{"context 0", established(fragment(0, true, true, []byte("x"))), provider, ReasonInvalidParameter},
		{"data set before a command", established(fragment(1, false, true, []byte("x"))), provider, ReasonUnexpectedParameter},
		{
			"data set inside a command", established(fragment(1, true, false, []byte("x")), fragment(1, false, true, []byte("x"))),
			provider, ReasonUnexpectedParameter,
		},
		{
			"two contexts in a command", established(fragment(1, true, false, []byte("x")), fragment(3, true, true, []byte("x"))),
			provider, ReasonUnexpectedParameter,
		},
		{
			"command inside a data set", established(command("D"), fragment(1, false, false, []byte("x")), command("x")),
			provider, ReasonUnexpectedParameter,
		},
		{
			"two contexts in a data set", established(command("D"), fragment(1, false, false, []byte("x")), fragment(3, false, true, []byte("x"))),
			provider, ReasonUnexpectedParameter,
		},
		{
			"endless command", established(fragment(1, true, false, zeros(40<<10)), fragment(1, true, false, zeros(40<<10))),
			provider, ReasonInvalidParameter,
		},
		{"empty fragments for ever", established(append([]PDU{command("D")}, endless...)...), provider, ReasonInvalidParameter},
		{"release inside a data set", established(command("D"), fragment(1, false, false, []byte("x")), ReleaseRequest{}), user, 0},
		{"release inside a command", established(fragment(1, true, false, []byte("x")), ReleaseRequest{}), user, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, done := serve(t, acceptorConfig(), readAll)
			tt.script(p)
			p.wantAbort(tt.source, tt.reason)
			_ = p.Close()
			err := <-done
			var ab *AbortError
			if !errors.As(err, &ab) || ab.Remote || ab.Abort != (Abort{tt.source, tt.reason}) {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

func TestAcceptance07RejectedBeforeAccepted(t *testing.T) {
	notKnown := errors.New("the database of AE titles is down")
	tests := []struct {
		name   string
		edit   func(*AssociateRequest)
		decide error
		want   Reject
	}{
		{"protocol version 2", func(rq *AssociateRequest) { rq.ProtocolVersion = 2 }, nil, RejectProtocolVersion},
		{"application context", func(rq *AssociateRequest) { rq.ApplicationContext = "1.2.3" }, nil, RejectApplicationContext},
		{"calling AE", nil, &RejectCallingAE, RejectCallingAE},
		{"called AE", nil, &RejectCalledAE, RejectCalledAE},
		{"local limit", nil, &RejectLocalLimit, RejectLocalLimit},
		{"a failure inside", nil, notKnown, RejectCongestion},
		{"maximum length without room", func(rq *AssociateRequest) { rq.User.MaxPDU = 12 }, nil, RejectNoReason},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := acceptorConfig()
			cfg.Decide = func(*AssociateRequest) (AcceptorPolicy, error) { return testPolicy(), tt.decide }
			p, done := serve(t, cfg, readAll)
			rq := testRequest()
			if tt.edit != nil {
				tt.edit(rq)
			}
			p.sendPDU(rq)
			if rj, ok := p.read().(*Reject); !ok || *rj != tt.want {
				t.Errorf("got %v, want %v", rj, &tt.want)
			}
			// Whatever the peer still sends, nothing comes back.
			p.sendPDU(command("x"))
			_ = p.Close()
			if err := <-done; tt.decide != nil && !errors.Is(err, tt.decide) {
				t.Errorf("Accept returned %v", err)
			}
		})
	}
}

func TestNothingAcceptableIsStillAnAssociation(t *testing.T) {
	p, done := serve(t, acceptorConfig(), readAll)
	rq := testRequest()
	rq.Contexts = rq.Contexts[2:]
	p.sendPDU(rq)
	ac := p.read().(*AssociateAccept)
	if len(ac.Contexts) != 1 || ac.Contexts[0].Result != AbstractSyntaxNotSupported {
		t.Errorf("results %v", ac.Contexts)
	}
	p.sendPDU(ReleaseRequest{})
	if _, ok := p.read().(ReleaseResponse); !ok {
		t.Error("no release response")
	}
	_ = p.Close()
	if err := <-done; !errors.Is(err, ErrReleased) {
		t.Error(err)
	}
}

func TestAcceptance04SilentPeers(t *testing.T) {
	short := 30 * time.Millisecond
	half := unhex(t, echoRequest)[:100]
	tests := []struct {
		name     string
		timeouts Timeouts
		script   func(peer)
		abort    bool
	}{
		{"nothing at all", Timeouts{ARTIM: short}, func(peer) {}, false},
		{"half a request", Timeouts{ARTIM: short}, func(p peer) { _, _ = p.Write(half) }, false},
		{"no message", Timeouts{ARTIM: time.Second, Idle: short}, func(p peer) { p.associate() }, true},
		{"half a header", Timeouts{ARTIM: time.Second, Progress: short}, func(p peer) { p.associate(); p.send("04 00") }, true},
		{
			"half a value",
			Timeouts{ARTIM: time.Second, Progress: short},
			func(p peer) { p.associate(); p.send("04 00 00000100 000000FC 01 03 00") }, true,
		},
		{"no data set", Timeouts{ARTIM: time.Second, Progress: short}, func(p peer) { p.associate(); p.sendPDU(command("D")) }, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := acceptorConfig()
			cfg.Timeouts = tt.timeouts
			p, done := serve(t, cfg, readAll)
			tt.script(p)
			if tt.abort {
				p.wantAbort(AbortedByUser, 0)
			}
			p.wantClosed()
			if err := <-done; !isTimeout(err) {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

// A byte now and then is no progress.
func TestDrip(t *testing.T) {
	for _, established := range []bool{false, true} {
		cfg := acceptorConfig()
		cfg.Timeouts = Timeouts{ARTIM: 100 * time.Millisecond, Progress: 100 * time.Millisecond}
		p, done := serve(t, cfg, readAll)
		bytesToSend := bytes.Repeat(unhex(t, echoRequest)[:80], 100)
		if established {
			p.associate()
			p.sendPDU(command("D"))
			p.send("04 00 00010000 0000FFFC 01 00")
		}
		for i := 0; ; i = (i + 1) % len(bytesToSend) {
			select {
			case err := <-done:
				if !isTimeout(err) {
					t.Errorf("ended with %v", err)
				}
				return
			case <-time.After(10 * time.Millisecond):
				_, _ = p.Write(bytesToSend[i : i+1])
			}
		}
	}
}

func TestEndsOfAPeer(t *testing.T) {
	tests := []struct {
		name   string
		script func(peer)
		check  func(error) bool
	}{
		{"closes before associating", func(p peer) { _ = p.Close() }, func(err error) bool { return errors.Is(err, ErrClosed) }},
		{"closes between messages", func(p peer) { p.associate(); _ = p.Close() }, func(err error) bool { return errors.Is(err, ErrClosed) }},
		{
			"half-closes", func(p peer) { p.associate(); _ = p.Conn.(*net.TCPConn).CloseWrite(); p.wantClosed() },
			func(err error) bool { return errors.Is(err, ErrClosed) },
		},
		{
			"closes inside a data set", func(p peer) { p.associate(); p.sendPDU(command("D"), Data{{ContextID: 1}}); _ = p.Close() },
			func(err error) bool { return errors.Is(err, ErrClosed) },
		},
		{
			"resets", func(p peer) { p.associate(); _ = p.Conn.(*net.TCPConn).SetLinger(0); _ = p.Close() },
			func(err error) bool { return errors.Is(err, ErrClosed) },
		},
		{"aborts before associating", func(p peer) { p.sendPDU(&Abort{}) }, remoteAbort},
		{"aborts", func(p peer) { p.associate(); p.sendPDU(&Abort{}) }, remoteAbort},
		{"aborts inside a data set", func(p peer) { p.associate(); p.sendPDU(command("D"), Data{{ContextID: 1}}, &Abort{}) }, remoteAbort},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, done := serve(t, acceptorConfig(), readAll)
			tt.script(p)
			if err := <-done; !tt.check(err) {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

func remoteAbort(err error) bool {
	var ab *AbortError
	return errors.As(err, &ab) && ab.Remote
}

func TestAbortFromAnotherGoroutine(t *testing.T) {
	cause := errors.New("shutting down")
	ready := make(chan *Association, 1)
	p, done := serve(t, acceptorConfig(), func(a *Association) error {
		ready <- a
		_, _, err := a.ReadCommand()
		return err
	})
	p.associate()
	a := <-ready
	a.Abort(cause)
	a.Abort(errors.New("again"))
	p.wantAbort(AbortedByUser, 0)
	_ = p.Close()
	if err := <-done; !errors.Is(err, cause) {
		t.Errorf("ended with %v", err)
	}
	if err := a.Send(1, []byte("x"), nil); !errors.Is(err, cause) {
		t.Errorf("sending afterwards: %v", err)
	}
}

func TestContextAborts(t *testing.T) {
	for _, associated := range []bool{false, true} {
		ours, theirs := pipe(t)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() {
			a, err := Accept(ctx, ours, acceptorConfig())
			if err == nil {
				stop := a.AbortOn(ctx)
				_, _, err = a.ReadCommand()
				stop()
				a.Close()
			}
			done <- err
		}()
		p := peer{t, theirs}
		if associated {
			p.associate()
			cancel()
			p.wantAbort(AbortedByUser, 0)
			_ = p.Close()
		} else {
			cancel()
		}
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("associated %v: %v", associated, err)
		}
		cancel()
	}
}

// The peer gets our last PDU even when it sent more than we read.
func TestCloseWaitsForThePeer(t *testing.T) {
	p, done := serve(t, acceptorConfig(), func(a *Association) error {
		_, _, err := a.ReadCommand()
		return err
	})
	p.associate()
	p.sendPDU(command("D"))
	rest := Data{{ContextID: 1, Fragment: make([]byte, 200<<10)}}.Append(nil)
	go func() {
		for range 20 {
			if _, err := p.Write(rest); err != nil {
				return
			}
		}
	}()
	p.wantAbort(AbortedByUser, 0)
	_ = p.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// patience is short only where a test is about silence.
func patience(test string) Timeouts {
	if test == "silence" {
		return Timeouts{ARTIM: 500 * time.Millisecond}
	}
	return Timeouts{}
}

// The acceptor's side of a release collision: Sta10, then Sta12.
func TestAcceptorReleases(t *testing.T) {
	p, done := serve(t, acceptorConfig(), func(a *Association) error { return a.Release(context.Background()) })
	p.associate()
	if _, ok := p.read().(ReleaseRequest); !ok {
		t.Error("no release request")
	}
	p.sendPDU(ReleaseRequest{}, ReleaseResponse{})
	if _, ok := p.read().(ReleaseResponse); !ok {
		t.Error("no release response")
	}
	_ = p.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
