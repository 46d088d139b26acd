package dimse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs s until the test ends, or stop is called.
func start(t *testing.T, s *Server) (addr string, stop func() error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Serve returned %v", err)
		}
	})
	return ln.Addr().String(), stop
}

// shelf is a StoreHandler that keeps what it gets.
type shelf struct {
	mu    sync.Mutex
	items map[string]shelved // by SOP Instance UID
	count int
}

type shelved struct {
	transferSyntax string
	data           []byte
	info           *AssociationInfo
}

func (s *shelf) Store(_ context.Context, req *StoreRequest) Status {
	data, err := io.ReadAll(req.Data)
	if err != nil {
		return Statusf(CannotUnderstand, "%v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.items == nil {
		s.items = map[string]shelved{}
	}
	s.items[req.SOPInstanceUID] = shelved{req.TransferSyntaxUID, data, req.Association}
	s.count++
	return Status{}
}

func dial(t *testing.T, addr string, kinds ...Kind) *Client {
	t.Helper()
	d := Dialer{CallingAE: "CT01", CalledAE: "TASVIR"}
	if len(kinds) > 0 {
		d.Contexts = append(GroupContexts(kinds)[0].Contexts, VerificationContext(255))
	}
	c, err := Dial(context.Background(), addr, d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

var ctKind = Kind{dicom.CTImageStorage, dicom.ExplicitVRLittleEndian}

func item(uid string, data []byte) StoreItem {
	return StoreItem{
		SOPClassUID: ctKind.SOPClassUID, TransferSyntaxUID: ctKind.TransferSyntaxUID, SOPInstanceUID: uid,
		Data: bytes.NewReader(data),
	}
}

func TestEchoAndStore(t *testing.T) {
	var handler shelf
	type seen struct{ opened, closed, echoed, stored int }
	var mu sync.Mutex
	var got seen
	var bytesStored int64
	count := func(n *int) func() { return func() { mu.Lock(); *n++; mu.Unlock() } }
	addr, stop := start(t, &Server{
		AETitle: "TASVIR", Store: &handler,
		Admit: func(_ context.Context, caller Caller) (Admission, error) {
			if caller.Request.CallingAE != "CT01" || !caller.RemoteAddr.(*net.TCPAddr).IP.IsLoopback() || caller.TLS != nil {
				return Admission{}, &ul.RejectCallingAE
			}
			return Admission{Value: "facility 7"}, nil
		},
		Observer: Observer{
			AssociationOpened: func(*AssociationInfo) { count(&got.opened)() },
			AssociationClosed: func(*AssociationInfo, time.Duration) { count(&got.closed)() },
			Echoed:            func(*AssociationInfo) { count(&got.echoed)() },
			InstanceStored: func(_ *StoreRequest, n int64, _ time.Duration, status Status) {
				count(&got.stored)()
				mu.Lock()
				bytesStored += n
				mu.Unlock()
				if !status.OK() {
					t.Errorf("observed %s", status)
				}
			},
		},
	})
	c := dial(t, addr, ctKind)
	ctx := context.Background()
	for range 2 {
		if status, err := c.Echo(ctx); err != nil || status.Code != Success {
			t.Errorf("C-ECHO: %s, %v", status, err)
		}
	}
	big := bytes.Repeat([]byte("0123456789abcdef"), 100_000)
	for i, data := range [][]byte{[]byte("data"), big, nil} {
		status, err := c.Store(ctx, item(fmt.Sprintf("1.2.%d", i), data))
		if err != nil || status.Code != Success {
			t.Errorf("C-STORE of %d bytes: %s, %v", len(data), status, err)
		}
		if got := handler.items[fmt.Sprintf("1.2.%d", i)]; !bytes.Equal(got.data, data) || got.transferSyntax != ctKind.TransferSyntaxUID ||
			got.info.Value != "facility 7" || got.info.CallingAE != "CT01" || got.info.ID == "" ||
			got.info.ImplementationString != dicom.ImplementationVersionName {
			t.Errorf("stored %d bytes of %d in %s by %+v", len(got.data), len(data), got.transferSyntax, got.info)
		}
	}
	if _, err := c.Store(ctx, StoreItem{SOPClassUID: dicom.MRImageStorage, TransferSyntaxUID: dicom.ImplicitVRLittleEndian}); !errors.Is(err, ErrNotAccepted) {
		t.Errorf("a class that was not negotiated: %v", err)
	}
	if err := c.Release(ctx); err != nil {
		t.Error(err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if want := (seen{1, 1, 2, 3}); got != want || bytesStored != int64(len(big)+4) {
		t.Errorf("observed %+v and %d bytes, want %+v and %d", got, bytesStored, want, len(big)+4)
	}
}

func TestServerRejects(t *testing.T) {
	admit := func(_ context.Context, caller Caller) (Admission, error) {
		switch caller.Request.CallingAE {
		case "CT01":
			return Admission{}, nil
		case "DOWN":
			return Admission{}, errors.New("no such table")
		}
		return Admission{}, fmt.Errorf("looking up: %w", &ul.RejectCallingAE)
	}
	tests := []struct {
		name, called, calling string
		want                  *ul.Reject
	}{
		{"known", "TASVIR", "CT01", nil},
		{"unknown calling AE", "TASVIR", "CT99", &ul.RejectCallingAE},
		{"wrong called AE", "tasvir", "CT01", &ul.RejectCalledAE},
		{"both wrong", "X", "CT99", &ul.RejectCalledAE},
		{"can't tell", "TASVIR", "DOWN", &ul.RejectCongestion},
	}
	var rejected sync.WaitGroup
	addr, _ := start(t, &Server{AETitle: "TASVIR", Admit: admit, Observer: Observer{
		AssociationRejected: func(req *ul.AssociateRequest, _ net.Addr, err error) {
			if req == nil || err == nil {
				t.Errorf("observed %v, %v", req, err)
			}
			rejected.Done()
		},
	}})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.want != nil {
				rejected.Add(1)
			}
			c, err := Dial(context.Background(), addr, Dialer{CallingAE: tt.calling, CalledAE: tt.called})
			if tt.want == nil {
				if err != nil {
					t.Fatal(err)
				}
				c.Close()
				return
			}
			var rj *ul.Reject
			if !errors.As(err, &rj) || *rj != *tt.want {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	rejected.Wait()
}

func TestHandlersThatMisbehave(t *testing.T) {
	data := bytes.Repeat([]byte("x"), 1<<20)
	addr, _ := start(t, &Server{Store: StoreHandlerFunc(func(_ context.Context, req *StoreRequest) Status {
		switch req.SOPInstanceUID {
		case "1.1": // reads nothing
			return Statusf(OutOfResources, "disk full")
		case "1.2": // reads a little
			_, _ = io.ReadFull(req.Data, make([]byte, 100))
			return Status{Code: CoercionOfDataElements}
		case "1.3":
			panic("handler defect")
		}
		_, _ = io.Copy(io.Discard, req.Data)
		return Status{}
	})})
	c := dial(t, addr, ctKind)
	ctx := context.Background()
	for _, tt := range []struct {
		uid  string
		want Status
	}{{"1.1", Status{Code: OutOfResources, Comment: "disk full"}}, {"1.2", Status{Code: CoercionOfDataElements}}, {"1.4", Status{}}} {
		status, err := c.Store(ctx, item(tt.uid, data))
		if err != nil || status.Code != tt.want.Code || status.Comment != tt.want.Comment {
			t.Errorf("%s: got %s, %v, want %s", tt.uid, status, err, tt.want)
		}
	}
	if status, err := c.Store(ctx, item("1.3", data)); err == nil {
		t.Errorf("a panic was answered with %s", status)
	}
	again := dial(t, addr, ctKind)
	if status, err := again.Store(ctx, item("1.4", data)); err != nil || !status.OK() {
		t.Errorf("after a panic: %s, %v", status, err)
	}
}

// rawAssociation is an association on which a test can say anything.
func rawAssociation(t *testing.T, addr string) *ul.Association {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	a, err := ul.Request(context.Background(), nc, &ul.AssociateRequest{CalledAE: "TASVIR", CallingAE: "CT01", Contexts: []ul.ProposedContext{
		VerificationContext(1), {ID: 3, AbstractSyntax: ctKind.SOPClassUID, TransferSyntaxes: []string{ctKind.TransferSyntaxUID}},
	}}, ul.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

func TestRequestsThatAreWrong(t *testing.T) {
	var handler shelf
	addr, _ := start(t, &Server{Store: &handler})
	long := strings.Repeat("1.", 34) + "12" // 70 characters
	request := func(f Field, edit func(*Command)) Command {
		var c Command
		c.SetUint16(CommandField, uint16(f))
		c.SetUint16(MessageID, 77)
		c.SetUint16(CommandDataSetType, hasDataSet)
		c.SetUID(AffectedSOPClassUID, ctKind.SOPClassUID)
		c.SetUID(AffectedSOPInstanceUID, "1.2.3")
		edit(&c)
		return c
	}
	drop := func(tags ...Tag) func(*Command) {
		return func(c *Command) {
			var kept []element
			for _, e := range c.elements {
				if e.tag != tags[0] {
					kept = append(kept, e)
				}
			}
			c.elements = kept
		}
	}
	tests := []struct {
		name    string
		context byte
		command Command
		want    Code // or, when abort is set, the end of the association
		abort   bool
	}{
		{"C-STORE", 3, request(CStoreRQ, func(*Command) {}), Success, false},
		{"UID of 70 characters", 3, request(CStoreRQ, func(c *Command) { c.SetUID(AffectedSOPInstanceUID, long) }), Success, false},
		{"path in a UID", 3, request(CStoreRQ, func(c *Command) { c.SetUID(AffectedSOPInstanceUID, "../../etc/passwd") }), Success, false},
		{"UID of 30,000 characters", 3, request(CStoreRQ, func(c *Command) { c.SetUID(AffectedSOPInstanceUID, strings.Repeat("1", 30000)) }), Success, false},
		{"UID of no value", 3, request(CStoreRQ, func(c *Command) { c.SetUID(AffectedSOPInstanceUID, "") }), MissingAttribute, false},
		{"no instance UID", 3, request(CStoreRQ, drop(AffectedSOPInstanceUID)), MissingAttribute, false},
		{"no class UID", 3, request(CStoreRQ, drop(AffectedSOPClassUID)), MissingAttribute, false},
		{"no data set", 3, request(CStoreRQ, func(c *Command) { c.SetUint16(CommandDataSetType, noDataSet) }), CannotUnderstand, false},
		{"another storage class than negotiated", 3, request(CStoreRQ, func(c *Command) { c.SetUID(AffectedSOPClassUID, dicom.MRImageStorage) }), Success, false},
		{"no storage class", 3, request(CStoreRQ, func(c *Command) { c.SetUID(AffectedSOPClassUID, dicom.StudyRootFindSOPClass) }), SOPClassNotSupported, false},
		{"C-STORE in the verification context", 1, request(CStoreRQ, func(*Command) {}), SOPClassNotSupported, false},
		{"C-ECHO in a storage context", 3, request(CEchoRQ, func(*Command) {}), SOPClassNotSupported, false},
		{"C-FIND", 3, request(CFindRQ, func(*Command) {}), UnrecognizedOperation, false},
		{"N-CREATE", 3, request(0x0140, func(*Command) {}), UnrecognizedOperation, false},
		{"unknown operation", 3, request(0x0666, func(*Command) {}), UnrecognizedOperation, false},
		{"response to nothing", 3, request(CStoreRSP, func(*Command) {}), 0, true},
		{"no command field", 3, request(CStoreRQ, drop(CommandField)), 0, true},
		{"no message ID", 3, request(CStoreRQ, drop(MessageID)), 0, true},
		{"elements of another group", 3, request(CStoreRQ, func(c *Command) { c.SetUID(0x0008_0018, "1.2") }), 0, true},
		{"empty command set", 3, Command{}, 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := rawAssociation(t, addr)
			var data io.Reader
			if tt.command.HasDataSet() {
				data = bytes.NewReader(make([]byte, 500<<10))
			}
			_ = a.Send(tt.context, tt.command.Encode(), data)
			id, raw, err := a.ReadCommand()
			if tt.abort {
				var ab *ul.AbortError
				if !errors.As(err, &ab) || !ab.Remote {
					t.Errorf("got %v, %v, want an abort", raw, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			rsp, err := ParseCommand(raw)
			if err != nil {
				t.Fatal(err)
			}
			status, _ := statusOf(rsp)
			answered, _ := rsp.Uint16(MessageIDBeingRespondedTo)
			if status.Code != tt.want || id != tt.context || answered != 77 || rsp.Field() != tt.command.Field()|responseBit {
				t.Errorf("%s to message %d in context %d with %s, want %s", rsp.Field(), answered, id, status, tt.want)
			}
			// The stream is in step: another message works.
			var echo Command
			echo.SetUint16(CommandField, uint16(CEchoRQ))
			echo.SetUint16(MessageID, 78)
			echo.SetUint16(CommandDataSetType, noDataSet)
			if err := a.Send(1, echo.Encode(), nil); err != nil {
				t.Fatal(err)
			}
			if _, _, err := a.ReadCommand(); err != nil {
				t.Errorf("next message: %v", err)
			}
		})
	}
	// A C-CANCEL-RQ, which has no response, is read over.
	a := rawAssociation(t, addr)
	var c Command
	c.SetUint16(CommandField, uint16(CCancelRQ))
	c.SetUint16(MessageIDBeingRespondedTo, 1)
	c.SetUint16(CommandDataSetType, noDataSet)
	_ = a.Send(1, c.Encode(), nil)
	if err := a.Release(context.Background()); err != nil {
		t.Errorf("after C-CANCEL: %v", err)
	}
}

// An association that ends inside a data set gives the handler an
// io.ErrUnexpectedEOF and nobody a success.
func TestAbortInsideADataSet(t *testing.T) {
	type outcome struct {
		n   int64
		err error
	}
	read := make(chan outcome, 1)
	aborted := make(chan error, 1)
	addr, _ := start(t, &Server{
		Store: StoreHandlerFunc(func(_ context.Context, req *StoreRequest) Status {
			n, err := io.Copy(io.Discard, req.Data)
			read <- outcome{n, err}
			return Status{} // not even a handler that says success can make it one
		}),
		Observer: Observer{
			AssociationAborted: func(_ *AssociationInfo, _ time.Duration, err error) { aborted <- err },
			InstanceStored:     func(*StoreRequest, int64, time.Duration, Status) { t.Error("an instance was stored") },
		},
	})
	broken := errors.New("unplugged")
	c := dial(t, addr, ctKind)
	_, err := c.Store(context.Background(), StoreItem{
		SOPClassUID: ctKind.SOPClassUID, TransferSyntaxUID: ctKind.TransferSyntaxUID,
		SOPInstanceUID: "1.2", Data: io.MultiReader(bytes.NewReader(make([]byte, 1<<20)), &failingReader{broken}),
	})
	if !errors.Is(err, broken) {
		t.Errorf("Store returned %v", err)
	}
	c.Close()
	if got := <-read; !errors.Is(got.err, io.ErrUnexpectedEOF) {
		t.Errorf("the handler read %d bytes to %v", got.n, got.err)
	}
	var ab *ul.AbortError
	if err := <-aborted; !errors.As(err, &ab) || !ab.Remote {
		t.Errorf("observed %v", err)
	}
}

type failingReader struct{ err error }

func (r *failingReader) Read([]byte) (int, error) { return 0, r.err }
