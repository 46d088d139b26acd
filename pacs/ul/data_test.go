package ul

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"
)

// pair associates a requestor and an acceptor that are both ours.
func pair(t interface {
	Fatal(...any)
}, requestorMax, acceptorMax uint32,
) (requestor, acceptor *Association) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	done := make(chan error, 1)
	go func() {
		nc, err := ln.Accept()
		if err == nil {
			cfg := acceptorConfig()
			cfg.MaxPDU = acceptorMax
			acceptor, err = Accept(context.Background(), nc, cfg)
		}
		done <- err
	}()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	requestor, err = Request(context.Background(), nc, testRequest(), Config{MaxPDU: requestorMax})
	if e := <-done; err != nil || e != nil {
		t.Fatal(err, e)
	}
	return requestor, acceptor
}

func closeBoth(a, b *Association) {
	closed := make(chan struct{})
	go func() { a.Close(); close(closed) }()
	b.Close()
	<-closed
}

// Whatever is sent arrives, whatever the maximum lengths, in one piece.
func TestSendAndReceiveAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		maxPDU := uint32(rapid.OneOf(rapid.IntRange(minMaxPDU, minMaxPDU+20), rapid.IntRange(minMaxPDU, DefaultMaxPDU)).Draw(t, "maxPDU"))
		fragment := int(maxPDU-pdvHeaderLen) &^ 1
		size := rapid.OneOf(rapid.IntRange(0, 3), rapid.IntRange(fragment-2, fragment+2), rapid.IntRange(2*fragment-1, 2*fragment+1),
			rapid.IntRange(0, 600<<10)).Draw(t, "size")
		commandSize := rapid.OneOf(rapid.IntRange(0, 200), rapid.IntRange(0, MaxCommandLen)).Draw(t, "commandSize")
		chunked := rapid.Bool().Draw(t, "chunked")
		writeTo := rapid.Bool().Draw(t, "writeTo")
		random := rand.NewChaCha8([32]byte{byte(size)})
		data, cmd := make([]byte, size), make([]byte, commandSize)
		_, _ = random.Read(data)
		_, _ = random.Read(cmd)

		scu, scp := pair(t, 0, maxPDU)
		defer closeBoth(scu, scp)
		sent := make(chan error, 1)
		go func() {
			var source io.Reader = bytes.NewReader(data)
			if chunked {
				source = iotest.HalfReader(iotest.DataErrReader(source))
			}
			err := scu.Send(1, cmd, source)
			if err == nil {
				err = scu.Send(3, []byte("after"), nil)
			}
			sent <- err
		}()
		id, gotCmd, err := scp.ReadCommand()
		if err != nil || id != 1 || !bytes.Equal(gotCmd, cmd) {
			t.Fatalf("command of %d bytes arrived as %d in context %d: %v", len(cmd), len(gotCmd), id, err)
		}
		r := scp.DataReader(id)
		var got bytes.Buffer
		if writeTo {
			_, err = r.WriteTo(&got)
		} else {
			_, err = io.Copy(&got, struct{ io.Reader }{r})
		}
		if err != nil || !bytes.Equal(got.Bytes(), data) || r.Len() != int64(size) {
			t.Fatalf("data of %d bytes arrived as %d: %v", size, got.Len(), err)
		}
		if _, err := r.Read(make([]byte, 1)); err != io.EOF {
			t.Fatalf("after the end: %v", err)
		}
		if id, after, err := scp.ReadCommand(); err != nil || id != 3 || string(after) != "after" {
			t.Fatalf("next command %q in %d: %v", after, id, err)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
	})
}

// A message may be cut into PDVs and PDUs in any way. PS3.8 Annex E.
func TestAcceptance02DataReaderJoinsAnyFragments(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfN(rapid.Byte(), 0, 5000).Draw(t, "data")
		var pdus []byte
		pdu := Data{{ContextID: 1, Command: true, Last: true, Fragment: []byte("D")}}
		for rest, last := want, false; !last; {
			n := rapid.IntRange(0, len(rest)).Draw(t, "fragment")
			last = n == len(rest) && rapid.Bool().Draw(t, "last")
			pdu = append(pdu, DataValue{ContextID: 1, Last: last, Fragment: rest[:n]})
			if rest = rest[n:]; len(rest) == 0 && !last {
				pdu = append(pdu, DataValue{ContextID: 1, Last: true})
				last = true
			}
			if last || rapid.Bool().Draw(t, "flush") {
				pdus = pdu.Append(pdus)
				pdu = nil
			}
			if len(pdu) > 10 {
				pdus = pdu.Append(pdus)
				pdu = nil
			}
		}
		a := fedAssociation(pdus)
		defer a.t.dropBuffer()
		id, cmd, err := a.ReadCommand()
		if err != nil || string(cmd) != "D" {
			t.Fatal(err)
		}
		got, err := io.ReadAll(struct{ io.Reader }{a.DataReader(id)})
		if errors.Is(err, io.ErrUnexpectedEOF) && countsAsEndless(a) {
			return
		}
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes arrived as %d: %v, %v", len(want), len(got), err, a.Err())
		}
	})
}

func countsAsEndless(a *Association) bool { return a.emptyPDVs > maxEmptyPDVs }

func TestAcceptance03DataReaderWhenTheAssociationEnds(t *testing.T) {
	for _, writeTo := range []bool{false, true} {
		for _, end := range []PDU{nil, &Abort{}, ReleaseRequest{}} {
			var read error
			p, done := serve(t, acceptorConfig(), func(a *Association) error {
				id, _, err := a.ReadCommand()
				if err != nil {
					return err
				}
				r := a.DataReader(id)
				if writeTo {
					_, read = r.WriteTo(io.Discard)
				} else {
					_, read = io.Copy(io.Discard, struct{ io.Reader }{r})
				}
				if _, again := r.Read(make([]byte, 1)); !errors.Is(again, io.ErrUnexpectedEOF) {
					t.Errorf("reading on: %v", again)
				}
				return a.Err()
			})
			p.associate()
			p.sendPDU(command("D"), Data{{ContextID: 1, Fragment: []byte("half")}})
			if end != nil {
				p.sendPDU(end)
			}
			_ = p.Close()
			if err := <-done; err == nil {
				t.Error("the association lives on")
			}
			if read != io.ErrUnexpectedEOF { // the documented value
				t.Errorf("%T: read returned %v", end, read)
			}
		}
	}
}

// A consumer that stays away longer than the peer may be silent is not the
// peer's fault.
func TestSlowConsumer(t *testing.T) {
	cfg := acceptorConfig()
	cfg.Timeouts.Progress = 300 * time.Millisecond
	p, done := serve(t, cfg, func(a *Association) error {
		id, _, err := a.ReadCommand()
		if err != nil {
			return err
		}
		r := a.DataReader(id)
		for range 2 {
			if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
				return err
			}
			a.t.readEnd = a.t.readEnd.Add(-time.Second) // instead of sleeping
			if err := a.t.nc.SetReadDeadline(time.Unix(1, 0)); err != nil {
				return err
			}
		}
		_, err = r.WriteTo(io.Discard)
		return err
	})
	p.associate()
	value := Data{{ContextID: 1, Last: true, Fragment: make([]byte, 200<<10)}}.Append(nil)
	p.sendPDU(command("D"))
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for rest := value; len(rest) > 0; rest = rest[min(len(rest), 1500):] { // so that the receiver reads often
			_, _ = p.Write(rest[:min(len(rest), 1500)])
		}
		_, _ = ReadPDU(p, 0) // the abort that Close sends
		_ = p.Close()
	}()
	if err := <-done; err != nil {
		t.Error(err)
	}
	<-sent
}

func TestSendKeepsToThePeersMaximum(t *testing.T) {
	p, got, _ := request(t, testRequest(), Config{})
	ac := accepted()
	ac.User.MaxPDU = 4099
	p.sendPDU(ac)
	a := <-got
	go func() {
		_ = a.Send(1, make([]byte, 5000), bytes.NewReader(make([]byte, 10000)))
		a.Abort(nil)
	}()
	var sizes [2]int
	for {
		pdu, err := ReadPDU(p, 4099) // fails on anything longer
		if err != nil {
			t.Fatal(err)
		}
		d, ok := pdu.(Data)
		if !ok {
			break
		}
		for _, v := range d {
			kind := 0
			if !v.Command {
				kind = 1
			}
			if sizes[kind] += len(v.Fragment); v.Last != (sizes[kind] == []int{5000, 10000}[kind]) {
				t.Errorf("last is %v after %d bytes", v.Last, sizes[kind])
			}
			if !v.Last && len(v.Fragment)%2 != 0 {
				t.Errorf("fragment of odd length %d", len(v.Fragment))
			}
		}
	}
	if sizes != [2]int{5000, 10000} {
		t.Errorf("got %v bytes", sizes)
	}
	_ = p.Close()
	a.Close()
}

func TestSendWithAFailingSource(t *testing.T) {
	broken := errors.New("disk gone")
	scu, scp := pair(t, 0, 0)
	defer closeBoth(scu, scp)
	received := make(chan error, 1)
	go func() {
		_, cmd, err := scp.ReadCommand()
		if string(cmd) != "fine" {
			t.Errorf("got command %q: a failing message was begun", cmd)
		}
		if err == nil {
			var id byte
			if id, _, err = scp.ReadCommand(); err == nil {
				_, err = io.Copy(io.Discard, scp.DataReader(id))
			}
		}
		received <- err
	}()
	var source *SourceError
	// Failing at once, nothing goes out and the association lives.
	for _, err := range []error{
		scu.Send(1, []byte("bad"), iotest.ErrReader(broken)),
		// A source's own io.ErrUnexpectedEOF is a loss, not its end.
		scu.Send(1, []byte("bad"), io.MultiReader(bytes.NewReader([]byte("cut")), iotest.ErrReader(io.ErrUnexpectedEOF))),
		scu.Send(5, []byte("bad"), nil),
	} {
		if !errors.As(err, &source) || source.Aborted {
			t.Errorf("got %v", err)
		}
	}
	if err := scu.Send(1, []byte("fine"), nil); err != nil {
		t.Fatal(err)
	}
	// Failing later, the message can't be completed.
	err := scu.Send(1, []byte("bad"), io.MultiReader(bytes.NewReader(make([]byte, 300<<10)), iotest.ErrReader(broken)))
	if !errors.As(err, &source) || !source.Aborted || !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if err := <-received; err != io.ErrUnexpectedEOF { // the documented value
		t.Errorf("the receiver read to %v", err)
	}
}

// A peer that stops reading must not hold a sender for ever.
func TestSendToAPeerThatDoesNotRead(t *testing.T) {
	p, got, _ := request(t, testRequest(), Config{Timeouts: Timeouts{Progress: 200e6, ARTIM: 200e6}})
	p.sendPDU(accepted())
	a := <-got
	err := a.Send(1, []byte("x"), io.LimitReader(zeroReader{}, 1<<30))
	if !isTimeout(err) || !isTimeout(a.Err()) {
		t.Errorf("got %v, association %v", err, a.Err())
	}
	if again := a.Send(1, []byte("x"), nil); again == nil {
		t.Error("sent after half a PDU")
	}
	a.Close()
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { return len(p), nil }

// fedAssociation is an established acceptor that reads from b.
func fedAssociation(b []byte) *Association {
	a := &Association{cfg: Config{}.withDefaults(), t: newTransport(&fedConn{r: bytes.NewReader(b)}), machine: Machine{State: Sta6}}
	a.establish([]Context{{ID: 1, AbstractSyntax: ctStorage}, {ID: 3, AbstractSyntax: echoClass}}, nil, 0)
	return a // with the small buffer, which more often ends inside something
}

// fedConn is a connection whose peer says what r holds and closes.
type fedConn struct {
	net.TCPConn // its methods below are never reached
	r           *bytes.Reader
	w           bytes.Buffer
}

func (c *fedConn) Read(p []byte) (int, error)       { return c.r.Read(p) }
func (c *fedConn) Write(p []byte) (int, error)      { return c.w.Write(p) }
func (c *fedConn) Close() error                     { return nil }
func (c *fedConn) SetReadDeadline(time.Time) error  { return nil }
func (c *fedConn) SetWriteDeadline(time.Time) error { return nil }
