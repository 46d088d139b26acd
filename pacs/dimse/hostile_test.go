package dimse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// hostilePeer is a party on a bare socket: it has no buffers of its own that
// would count as ours.
type hostilePeer struct {
	*net.TCPConn
	err error
}

// connect comes from one of many addresses, as a country's hospitals do.
func connect(addr string, n int) hostilePeer {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, byte(1+n/200), byte(1+n%200))}}
	nc, err := d.Dial("tcp", addr)
	if err != nil {
		return hostilePeer{err: err}
	}
	_ = nc.SetDeadline(time.Now().Add(2 * time.Minute)) // a hanging test should end
	return hostilePeer{TCPConn: nc.(*net.TCPConn)}
}

func (p hostilePeer) send(pdus ...ul.PDU) error {
	var b []byte
	for _, pdu := range pdus {
		b = pdu.Append(b)
	}
	_, err := p.Write(b)
	return err
}

func (p hostilePeer) associate(calling string) error {
	if p.err != nil {
		return p.err
	}
	err := p.send(&ul.AssociateRequest{CalledAE: "TASVIR", CallingAE: calling, Contexts: []ul.ProposedContext{
		{ID: 1, AbstractSyntax: ctKind.SOPClassUID, TransferSyntaxes: []string{ctKind.TransferSyntaxUID}},
	}})
	if err != nil {
		return err
	}
	pdu, err := ul.ReadPDU(p, 1<<20)
	if rj, ok := pdu.(*ul.Reject); ok {
		return rj
	}
	if _, ok := pdu.(*ul.AssociateAccept); !ok && err == nil {
		err = fmt.Errorf("answered %s", pdu.Type())
	}
	return err
}

// storeCommand is a C-STORE-RQ.
func storeCommand(uid string) ul.Data {
	var c Command
	c.SetUID(AffectedSOPClassUID, ctKind.SOPClassUID)
	c.SetUint16(CommandField, uint16(CStoreRQ))
	c.SetUint16(MessageID, 1)
	c.SetUint16(Priority, 0)
	c.SetUint16(CommandDataSetType, hasDataSet)
	c.SetUID(AffectedSOPInstanceUID, uid)
	return ul.Data{{ContextID: 1, Command: true, Last: true, Fragment: c.Encode()}}
}

func fragment(last bool, n int) ul.Data {
	return ul.Data{{ContextID: 1, Last: last, Fragment: make([]byte, n)}}
}

// dataSet is one of 200 KiB in two PDUs, the same for everybody.
var dataSet = sync.OnceValue(func() []byte {
	return fragment(true, 100<<10).Append(fragment(false, 100<<10).Append(nil))
})

func (p hostilePeer) store(uid string) error {
	if err := p.send(storeCommand(uid)); err != nil {
		return err
	}
	if _, err := p.Write(dataSet()); err != nil {
		return err
	}
	return p.wantSuccess()
}

func (p hostilePeer) wantSuccess() error {
	pdu, err := ul.ReadPDU(p, 1<<20)
	if err != nil {
		return err
	}
	data, ok := pdu.(ul.Data)
	if !ok {
		return fmt.Errorf("answered %s", pdu.Type())
	}
	rsp, err := ParseCommand(data[0].Fragment)
	if err != nil {
		return err
	}
	if status, ok := statusOf(rsp); !ok || status.Code != Success {
		return fmt.Errorf("answered %s", status)
	}
	return nil
}

func (p hostilePeer) release() error {
	if err := p.send(ul.ReleaseRequest{}); err != nil {
		return err
	}
	pdu, err := ul.ReadPDU(p, 1<<20)
	if err == nil && pdu.Type() != ul.TypeReleaseRP {
		err = fmt.Errorf("answered %s", pdu.Type())
	}
	return errors.Join(err, p.Close())
}

// reset ends the connection as a crash does: RST, not FIN.
func (p hostilePeer) reset() { _ = p.SetLinger(0); _ = p.Close() }

// settledMB is the memory in use after everything free was given back.
func settledMB() int {
	runtime.GC() // what sync.Pool gives up is free after the second
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapInuse+m.StackInuse) >> 20
}

// residentMB is the memory that this process has of the system.
func residentMB(t *testing.T) int {
	t.Helper()
	raw, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("no /proc")
	}
	_, rest, _ := strings.Cut(string(raw), "VmRSS:")
	var kb int
	if _, err := fmt.Sscanf(rest, "%d kB", &kb); err != nil {
		t.Fatal(err)
	}
	return kb >> 10
}

// Five hundred associations at once beside peers that are silent, stuck, half
// closed and torn away: all who behave are served, and nothing is left of the
// others. That no goroutine is, TestMain sees to.
func TestAcceptance15StormLeavesNothing(t *testing.T) {
	const good, bad = 500, 50
	var stored, ended atomic.Int64
	addr, stop := start(t, &Server{
		MaxAssociations: 1000, DrainTimeout: time.Millisecond,
		Store: StoreHandlerFunc(func(_ context.Context, rq *StoreRequest) Status {
			if n, err := io.Copy(io.Discard, rq.Data); err != nil || n != 200<<10 {
				return Statusf(CannotUnderstand, "%d bytes, %v", n, err)
			}
			stored.Add(1)
			return Status{}
		}),
		Observer: Observer{
			AssociationClosed:  func(*AssociationInfo, time.Duration) { ended.Add(1) },
			AssociationAborted: func(*AssociationInfo, time.Duration, error) { ended.Add(1) },
		},
	})
	warm := connect(addr, 0)
	if err := errors.Join(warm.associate("CT01"), warm.store("1.2"), warm.release()); err != nil {
		t.Fatal(err)
	}
	before, residentBefore := settledMB(), residentMB(t)

	var stuck []hostilePeer
	for n := range bad {
		silent := connect(addr, n)
		stuck = append(stuck, silent)
		for i, f := range []func(hostilePeer) error{
			func(p hostilePeer) error { return nil }, // says nothing more
			func(p hostilePeer) error { return p.send(storeCommand("1.3")) },
			func(p hostilePeer) error { return p.send(storeCommand("1.3"), fragment(false, 50<<10)) },
			func(p hostilePeer) error { _, err := p.Write([]byte{4, 0, 0, 0, 0xFF}); return err }, // part of a header
			func(p hostilePeer) error { p.reset(); return nil },
			func(p hostilePeer) error {
				_ = p.send(storeCommand("1.3"), fragment(false, 50<<10))
				p.reset()
				return nil
			},
			func(p hostilePeer) error { return p.CloseWrite() },
		} {
			p := connect(addr, n)
			if err := p.associate("CT01"); err != nil {
				t.Fatalf("hostile peer %d: %v", i, err)
			}
			if err := f(p); err != nil {
				t.Fatalf("hostile peer %d: %v", i, err)
			}
			stuck = append(stuck, p)
		}
	}

	// All are associated before the first sends, and all send at once.
	var associated, finished sync.WaitGroup
	associated.Add(good)
	for n := range good {
		finished.Go(func() {
			p := connect(addr, n)
			err := p.associate("CT01")
			associated.Done()
			associated.Wait()
			if err == nil {
				err = errors.Join(p.store(fmt.Sprintf("1.2.%d", n)), p.store(fmt.Sprintf("1.3.%d", n)), p.release())
			}
			if err != nil {
				t.Errorf("peer %d: %v", n, err)
			}
		})
	}
	associated.Wait()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("%d MB in use with %d associations", m.HeapInuse>>20, good+bad*5)
	// Each has a buffer of 256 KiB; what they send is not held.
	if limit := uint64(300); m.HeapInuse>>20 > limit {
		t.Errorf("%d MB in use, want at most %d", m.HeapInuse>>20, limit)
	}
	finished.Wait()
	if n := stored.Load(); n != 2*good+1 {
		t.Errorf("%d instances stored, want %d", n, 2*good+1)
	}
	if err := stop(); err != nil { // aborts those that are stuck
		t.Error(err)
	}
	for _, p := range stuck {
		_ = p.Close()
	}
	if n := ended.Load(); n != good+1+bad*7 {
		t.Errorf("%d associations ended, want %d", n, good+1+bad*7)
	}
	after, resident := settledMB(), residentMB(t)
	t.Logf("%d MB in use and %d resident, %d and %d before", after, resident, before, residentBefore)
	if after > before+16 {
		t.Errorf("%d MB in use, %d before", after, before)
	}
	if !raceEnabled && resident > residentBefore+32 { // the detector keeps what it took
		t.Errorf("%d MB resident, %d before", resident, residentBefore)
	}
}

// Silence ends an association at each point where it may fall, and the place it
// took is free again.
func TestSilenceFreesItsPlace(t *testing.T) {
	const places = 4
	short := 100 * time.Millisecond
	for name, silence := range map[string]func(hostilePeer) error{
		"without a request":    func(hostilePeer) error { return nil },
		"after half a request": func(p hostilePeer) error { _, err := p.Write([]byte{1, 0, 0, 0, 1, 0, 0, 1}); return err },
		"after associating":    func(p hostilePeer) error { return p.associate("CT01") },
		"after a command":      func(p hostilePeer) error { return errors.Join(p.associate("CT01"), p.send(storeCommand("1.2"))) },
		"inside a data set": func(p hostilePeer) error {
			return errors.Join(p.associate("CT01"), p.send(storeCommand("1.2"), fragment(false, 9)))
		},
		"after its end of file": func(p hostilePeer) error { return errors.Join(p.associate("CT01"), p.CloseWrite()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, _ := start(t, &Server{
				MaxAssociations: places, Timeouts: ul.Timeouts{ARTIM: short, Progress: short, Idle: short},
				Store: StoreHandlerFunc(func(_ context.Context, rq *StoreRequest) Status {
					_, _ = io.Copy(io.Discard, rq.Data)
					return Status{}
				}),
			})
			for range places {
				p := connect(addr, 0)
				if p.err != nil {
					t.Fatal(p.err)
				}
				defer p.Close()
				if err := silence(p); err != nil {
					t.Fatal(err)
				}
				defer func() { // the server says goodbye at most
					b, err := io.ReadAll(p)
					if err != nil || !(len(b) == 0 || bytes.HasPrefix(b, []byte{7})) {
						t.Errorf("% X, %v", b, err)
					}
				}()
			}
			for { // until there is a place again
				p := connect(addr, 1)
				err := p.associate("MR01")
				if err == nil {
					err = p.store("1.2")
					p.reset()
					if err != nil {
						t.Error(err)
					}
					return
				}
				var rj *ul.Reject
				if !errors.As(err, &rj) || *rj != ul.RejectLocalLimit {
					t.Fatal(err)
				}
				_ = p.Close()
			}
		})
	}
}
