package ul

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// AcceptorConfig is how the accepting side behaves.
type AcceptorConfig struct {
	Config
	// Decide is called with the request, after its protocol version and
	// application context were found good. It returns the policy to negotiate
	// with, or a *Reject to refuse with. Any other error refuses with "temporary
	// congestion".
	Decide func(rq *AssociateRequest) (AcceptorPolicy, error)
}

// Accept waits for an A-ASSOCIATE-RQ on a new connection and answers it. On
// error the association is over and the connection closed; the error is a
// *Reject if it was refused. Canceling ctx aborts the association, now or
// later.
func Accept(ctx context.Context, nc net.Conn, cfg AcceptorConfig) (*Association, error) {
	a := &Association{cfg: cfg.Config.withDefaults(), t: newTransport(nc), machine: Machine{State: Sta1}}
	a.step(Evt5)
	stop := a.AbortOn(ctx)
	defer stop()
	rq, err := a.accept(cfg.Decide)
	if err != nil {
		a.Close()
		return nil, err
	}
	a.request, a.peer = rq, rq.User
	a.t.useLargeBuffer()
	return a, nil
}

func (a *Association) accept(decide func(*AssociateRequest) (AcceptorPolicy, error)) (*AssociateRequest, error) {
	_, pdu, err := a.receive(0)
	if err != nil {
		return nil, err
	}
	// Sta2 lets only AE-6 through.
	rq := pdu.(*AssociateRequest)
	if rj := CheckRequest(rq); rj != nil {
		return nil, a.reject(rj)
	}
	policy, err := decide(rq)
	if err != nil {
		rj := new(Reject)
		if !errors.As(err, &rj) {
			*rj = RejectCongestion
		}
		if e := a.reject(rj); !errors.Is(e, rj) {
			return nil, e
		}
		return nil, err
	}
	if rq.User.MaxPDU != 0 && rq.User.MaxPDU < 64 {
		rj := RejectNoReason
		return nil, a.reject(&rj)
	}
	results, accepted := NegotiateAsAcceptor(rq, policy)
	ac := &AssociateAccept{
		CalledAE: rq.CalledAE, CallingAE: rq.CallingAE, Contexts: results,
		User: acceptUser(rq, policy, a.cfg.user()),
	}
	if err := ac.User.checkOutgoing(); err != nil {
		rj := RejectCongestion
		if e := a.reject(&rj); !errors.Is(e, &rj) {
			return nil, e
		}
		return nil, fmt.Errorf("the acceptance can't be sent: %w", err)
	}
	a.window = agreedWindow(rq.User.AsyncWindow, ac.User.AsyncWindow)
	a.establish(accepted, results, rq.User.MaxPDU)
	if err := a.sendControl(Evt7, ac); err != nil {
		return nil, err
	}
	return rq, nil
}

// reject sends rj and returns it, or what prevented it.
func (a *Association) reject(rj *Reject) error {
	if err := a.sendControl(Evt8, rj); err != nil {
		return err
	}
	_ = a.end(rj)
	return rj
}

func (a *Association) establish(accepted []Context, results []ContextResult, peerMax uint32) {
	a.accepted, a.results = accepted, results
	for i := range accepted {
		a.contexts[accepted[i].ID] = &accepted[i]
	}
	a.sendMax = maxSendPDU
	if peerMax != 0 && peerMax < maxSendPDU {
		a.sendMax = int(peerMax)
	}
}

// Request sends rq over a new connection and waits for the answer. Fields of rq
// that cfg knows better, such as the maximum length, are filled in; those that
// negotiate more, such as roles, are sent as they are, see Association.Context,
// Window and Peer for what became of them. The error
// is a *Reject if the peer refused; then, as on any error, the connection is
// closed. Canceling ctx aborts.
func Request(ctx context.Context, nc net.Conn, rq *AssociateRequest, cfg Config) (*Association, error) {
	a := &Association{
		cfg: cfg.withDefaults(), t: newTransport(nc), machine: Machine{State: Sta1, Requestor: true},
		requestor: true,
	}
	own := a.cfg.user()
	rq.User.MaxPDU, rq.User.ImplementationClassUID = own.MaxPDU, own.ImplementationClassUID
	rq.User.ImplementationVersion = own.ImplementationVersion
	a.request = rq
	if err := rq.checkOutgoing(); err != nil {
		_ = nc.Close()
		return nil, err
	}
	a.step(Evt1)
	stop := a.AbortOn(ctx)
	defer stop()
	ac, err := a.associate(rq)
	if err != nil {
		a.Close()
		return nil, err
	}
	a.peer = ac.User
	a.t.useLargeBuffer()
	return a, nil
}

func (a *Association) associate(rq *AssociateRequest) (*AssociateAccept, error) {
	if err := a.sendControl(Evt2, rq); err != nil {
		return nil, err
	}
	_, pdu, err := a.receive(0)
	if err != nil {
		return nil, err
	}
	// Sta5 lets only AE-3 through.
	ac := pdu.(*AssociateAccept)
	accepted, err := NegotiateAsRequestor(rq, ac)
	if err != nil {
		return nil, a.abort(Evt19, err)
	}
	if ac.User.MaxPDU != 0 && ac.User.MaxPDU < 64 {
		return nil, a.abort(Evt19, invalid(TypeAssociateAC, "maximum length %d", ac.User.MaxPDU))
	}
	a.window = agreedWindow(rq.User.AsyncWindow, ac.User.AsyncWindow)
	a.establish(accepted, ac.Contexts, ac.User.MaxPDU)
	return ac, nil
}
