package ul

import (
	"context"
	"errors"
	"testing"
)

// request associates as requestor against a scripted acceptor.
func request(t *testing.T, rq *AssociateRequest, cfg Config) (peer, <-chan *Association, <-chan error) {
	t.Helper()
	ours, theirs := pipe(t)
	got, failed := make(chan *Association, 1), make(chan error, 1)
	go func() {
		a, err := Request(context.Background(), ours, rq, cfg)
		if err != nil {
			failed <- err
		} else {
			got <- a
		}
	}()
	p := peer{t, theirs}
	if pdu, ok := p.read().(*AssociateRequest); !ok || pdu.CalledAE != rq.CalledAE {
		t.Errorf("got %#v", pdu)
	}
	return p, got, failed
}

func accepted() *AssociateAccept {
	return &AssociateAccept{
		Contexts: []ContextResult{{1, Acceptance, explicitLE}, {3, Acceptance, implicitLE}},
		User:     UserInformation{MaxPDU: 16384},
	}
}

func TestRequestorRefused(t *testing.T) {
	wrong := accepted()
	wrong.Contexts[0].TransferSyntax = jpegSV1
	tests := []struct {
		name   string
		answer func(peer)
		check  func(error) bool
		abort  *Abort
	}{
		{
			"rejection", func(p peer) { p.sendPDU(&RejectCallingAE) },
			func(err error) bool { var rj *Reject; return errors.As(err, &rj) && *rj == RejectCallingAE }, nil,
		},
		{"abort", func(p peer) { p.sendPDU(&Abort{AbortedByProvider, ReasonNotSpecified}) }, remoteAbort, nil},
		{"close", func(p peer) { _ = p.Close() }, func(err error) bool { return errors.Is(err, ErrClosed) }, nil},
		{
			"garbage", func(p peer) { p.send("99 00 00000001 00") }, func(err error) bool { return !remoteAbort(err) },
			&Abort{AbortedByProvider, ReasonUnrecognizedPDU},
		},
		{
			"a request instead of an answer", func(p peer) { p.sendPDU(testRequest()) }, func(err error) bool { return !remoteAbort(err) },
			&Abort{AbortedByProvider, ReasonUnexpectedPDU},
		},
		{
			"transfer syntax that was not proposed", func(p peer) { p.sendPDU(wrong) }, func(err error) bool { return !remoteAbort(err) },
			&Abort{AbortedByProvider, ReasonInvalidParameter},
		},
		{"silence", func(peer) {}, isTimeout, &Abort{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, _, failed := request(t, testRequest(), Config{Timeouts: patience(tt.name)})
			tt.answer(p)
			if tt.abort != nil {
				p.wantAbort(tt.abort.Source, tt.abort.Reason)
			}
			_ = p.Close()
			if err := <-failed; !tt.check(err) {
				t.Errorf("Request returned %v", err)
			}
		})
	}
}

func TestRequestorReleases(t *testing.T) {
	tests := []struct {
		name   string
		answer func(peer)
		ok     bool
	}{
		{"answered", func(p peer) { p.sendPDU(ReleaseResponse{}) }, true},
		{"data still arriving", func(p peer) { p.sendPDU(command("late"), command("later"), ReleaseResponse{}) }, true},
		{"collision", func(p peer) { // PS3.8 section 9.2.3: the acceptor asks as well
			p.sendPDU(ReleaseRequest{})
			if _, ok := p.read().(ReleaseResponse); !ok {
				p.t.Error("the requestor did not answer the colliding request")
			}
			p.sendPDU(ReleaseResponse{})
		}, true},
		{"aborted", func(p peer) { p.sendPDU(&Abort{}) }, false},
		{"closed", func(p peer) { _ = p.Close() }, false},
		{"silence", func(p peer) { p.wantAbort(AbortedByUser, 0); _ = p.Close() }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, got, _ := request(t, testRequest(), Config{Timeouts: patience(tt.name)})
			p.sendPDU(accepted())
			a := <-got
			released := make(chan error, 1)
			go func() { released <- a.Release(context.Background()) }()
			if _, ok := p.read().(ReleaseRequest); !ok {
				t.Error("no release request")
			}
			tt.answer(p)
			if err := <-released; (err == nil) != tt.ok {
				t.Errorf("Release returned %v", err)
			}
		})
	}
}
