package dimse

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// AssociationInfo is what a handler may know about the association a message
// came over.
type AssociationInfo struct {
	// ID is unique in this process and meant for logs.
	ID                   string
	CallingAE, CalledAE  string
	RemoteAddr           net.Addr
	ImplementationClass  string // the peer's
	ImplementationString string // the peer's implementation version name
	// User is what the peer said about itself. Its Identity holds secrets.
	User ul.UserInformation
	// TLS is the state of the connection, nil without TLS.
	TLS *tls.ConnectionState
	// Proposed are the presentation contexts as the peer proposed them and
	// Results the answers, in the same order. Results is nil until the
	// association is established.
	Proposed []ul.ProposedContext
	Results  []ul.ContextResult
	// Value is Admission.Value.
	Value any

	extended map[string][]byte // how extended negotiation was answered, by SOP class
	session  *session
}

// Caller is who asks for an association.
type Caller struct {
	Request    *ul.AssociateRequest
	RemoteAddr net.Addr
	// TLS is the state of the connection after its handshake, nil without TLS.
	TLS *tls.ConnectionState
}

// Admission is the leave to associate.
type Admission struct {
	// Value is kept as AssociationInfo.Value.
	Value any
	// MaxAssociations bounds the associations of this calling AE title at a time;
	// the next one is rejected as "local limit exceeded". 0 leaves it to the
	// Server's bound.
	MaxAssociations int
	// May says whether this caller may use the service of a SOP class; else its
	// presentation contexts are refused as "user rejection" (PS3.8 Table 9-18). Nil
	// leaves that to who answers the operations, as it does for verification and
	// storage.
	May func(sopClass string) bool
	// Identity answers the request's user identity, if it asks for an answer. It
	// says that the identity was verified; nil leaves it unanswered, which says
	// that it was not looked at.
	Identity *ul.UserIdentityResponse
}

// Server is a DICOM provider: it answers C-ECHO, hands C-STORE to Store and all
// other operations to Services.
// The fields must not change once Serve was called.
type Server struct {
	// AETitle is the called AE title we answer to; "" answers to any.
	AETitle string
	// Admit is asked about each association before it is accepted, by then
	// with the right called AE title. It returns nil to accept and *ul.Reject to
	// refuse; any other error refuses with "temporary congestion". Nil admits
	// everybody.
	Admit func(ctx context.Context, caller Caller) (Admission, error)
	// Store takes the instances. Nil takes none.
	Store      StoreHandler
	SOPClasses SOPClasses
	// Services answer the other operations. Which presentation contexts are
	// accepted follows from Store and from them.
	Services []Service
	// AsyncWindow is the most outstanding operations to agree to, in the
	// requestor's words. Zero is one each way. C-STORE and C-ECHO are answered in
	// the order they come, of the operations of Services one may run at a time.
	// PS3.7 Annex D.3.3.3.
	AsyncWindow ul.AsyncWindow

	// MaxAssociations bounds the associations served at a time; the next one is
	// rejected as "local limit exceeded". Default 100.
	MaxAssociations int
	// MaxPDU is the longest P-DATA-TF body we offer to receive. Default
	// ul.DefaultMaxPDU.
	MaxPDU   uint32
	Timeouts ul.Timeouts
	// DrainTimeout is how long running associations may go on after Serve's
	// context is done, before they are aborted. Default 10 s.
	DrainTimeout time.Duration

	Logger   *slog.Logger
	Observer Observer

	init        sync.Once
	slots       chan struct{} // one per association
	connections chan struct{} // one per connection
	waiting     waiting
	callers     census       // associations by calling AE title
	dropLogged  atomic.Int64 // when, in Unix seconds
}

// Observer is told what happens, for metrics and audit. Any function may be
// nil; they are called from the associations' goroutines and must be quick.
type Observer struct {
	AssociationOpened func(*AssociationInfo)
	// AssociationClosed ends every opened association that was released.
	AssociationClosed func(info *AssociationInfo, d time.Duration)
	// AssociationAborted ends every other one; err says why.
	AssociationAborted func(info *AssociationInfo, d time.Duration, err error)
	// AssociationRejected reports a connection that became no association. The
	// error is a *ul.Reject if it was refused. req is nil if none came.
	AssociationRejected func(req *ul.AssociateRequest, remote net.Addr, err error)
	// InstanceStored reports every C-STORE answered, whatever the status.
	InstanceStored func(req *StoreRequest, bytes int64, d time.Duration, status Status)
	// Echoed reports a C-ECHO answered.
	Echoed func(*AssociationInfo)
	// Operated reports every operation of a service that was answered.
	Operated func(*Operated)
}

const (
	defaultMaxAssociations = 100
	defaultDrainTimeout    = 10 * time.Second
	// extraConnections may wait for their rejection, beyond MaxAssociations;
	// more are closed without a word.
	extraConnections = 100
)

// Serve answers connections from ln, which may be a TLS listener, until ctx is
// done. Then it closes ln, lets running associations go on for DrainTimeout,
// aborts the rest, and returns nil when all are gone. A failing listener ends
// it with an error. It may be called for several listeners; they share the
// limits.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	s.init.Do(func() {
		n := cmp.Or(max(s.MaxAssociations, 0), defaultMaxAssociations)
		s.slots = make(chan struct{}, n)
		s.connections = make(chan struct{}, n+extraConnections)
	})
	drain := cmp.Or(max(s.DrainTimeout, 0), defaultDrainTimeout)

	// Associations live on when ctx is done, until hard is.
	hard, abort := context.WithCancelCause(context.WithoutCancel(ctx))
	defer abort(nil)
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	defer ln.Close()

	var running sync.WaitGroup
	err := s.acceptLoop(ctx, ln, func(nc net.Conn) {
		leave, ok := s.waiting.enter(nc.RemoteAddr())
		if !ok {
			s.drop(nc, "its host has too many connections without association")
			return
		}
		select {
		case s.connections <- struct{}{}:
		default:
			leave()
			s.drop(nc, "too many connections")
			return
		}
		running.Go(func() {
			defer func() { <-s.connections }()
			defer leave()
			s.serveConn(ctx, hard, nc, leave)
		})
	})
	timer := time.AfterFunc(drain, func() { abort(errShutdown) })
	defer timer.Stop()
	running.Wait()
	return err
}

// drop closes a connection without a word. Who floods us does not flood the log:
// it gets a line a second.
func (s *Server) drop(nc net.Conn, why string) {
	_ = nc.Close()
	if now := time.Now().Unix(); s.dropLogged.Swap(now) != now {
		s.logger().Warn("connection dropped", "reason", why, "remote", nc.RemoteAddr().String())
	}
}

var errShutdown = errors.New("server is shutting down")

// acceptLoop calls handle for each connection until ctx is done or the listener
// fails for good. Running out of file descriptors and the like passes.
func (s *Server) acceptLoop(ctx context.Context, ln net.Listener, handle func(net.Conn)) error {
	pause := time.Duration(0)
	for {
		nc, err := ln.Accept()
		switch {
		case err == nil:
			pause = 0
			handle(nc)
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		default:
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.logger().Warn("accepting a connection failed", "error", err, "retry_in", pause)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return nil
			}
		}
	}
}

func (s *Server) logger() *slog.Logger {
	if s.Logger != nil {
		return s.Logger
	}
	return slog.New(slog.DiscardHandler)
}

// farewell is how long a peer that was aborted because the server has no more
// time may take to close the connection; ARTIM would be for a server that goes
// on.
const farewell = 2 * time.Second

// serveConn runs one connection to its end. ctx is done when no new association
// should begin, hard when running ones must end. associated is called when the
// connection became an association.
func (s *Server) serveConn(ctx, hard context.Context, nc net.Conn, associated func()) {
	info := &AssociationInfo{ID: newAssociationID(), RemoteAddr: nc.RemoteAddr()}
	log := s.logger().With("association", info.ID, "remote", nc.RemoteAddr().String())
	if tc, ok := nc.(secured); ok {
		if info.TLS, ok = s.handshake(ctx, tc, log); !ok {
			return
		}
	}
	// Only established associations may outlive ctx.
	establishing, established := context.WithCancelCause(hard)
	defer established(nil)
	stop := context.AfterFunc(ctx, func() { established(errShutdown) })
	defer stop()

	gone := make(chan struct{})
	defer close(gone)
	defer context.AfterFunc(hard, func() {
		select {
		case <-gone:
		case <-time.After(farewell):
			_ = nc.Close()
		}
	})()

	holdsSlot, leaveCaller := false, func() {}
	release := func() {
		leaveCaller()
		if holdsSlot {
			holdsSlot = false
			<-s.slots
		}
	}
	defer release()

	var rq *ul.AssociateRequest
	assoc, err := ul.Accept(establishing, nc, ul.AcceptorConfig{
		Config: ul.Config{
			MaxPDU: s.MaxPDU, ImplementationClassUID: dicom.ImplementationClassUID,
			ImplementationVersion: dicom.ImplementationVersionName, Timeouts: s.Timeouts,
		},
		Decide: func(req *ul.AssociateRequest) (ul.AcceptorPolicy, error) {
			rq = req
			select {
			case s.slots <- struct{}{}:
				holdsSlot = true
			default:
				return ul.AcceptorPolicy{}, &ul.RejectLocalLimit
			}
			policy, leave, err := s.admit(establishing, req, info)
			if err != nil {
				release() // the peer may take its time to close
				return policy, err
			}
			leaveCaller = leave
			return policy, nil
		},
	})
	if err != nil {
		logRejection(log, rq, err)
		if f := s.Observer.AssociationRejected; f != nil {
			f(rq, nc.RemoteAddr(), err)
		}
		return
	}
	associated()
	info.Results = assoc.Results()
	log = log.With("calling", info.CallingAE)
	s.serveAssociation(hard, assoc, info, log, release)
}

// secured is a TLS connection: a *tls.Conn or one that is more than that.
type secured interface {
	net.Conn
	HandshakeContext(ctx context.Context) error
	ConnectionState() tls.ConnectionState
}

// handshake completes a TLS handshake within the time that a peer has for its
// A-ASSOCIATE-RQ, or closes the connection.
func (s *Server) handshake(ctx context.Context, tc secured, log *slog.Logger) (*tls.ConnectionState, bool) {
	ctx, cancel := context.WithTimeout(ctx, s.Timeouts.WithDefaults().ARTIM)
	defer cancel()
	if err := tc.HandshakeContext(ctx); err != nil {
		_ = tc.Close()
		if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
			if errors.Is(err, io.EOF) { // a port check
				log.Debug("connection not secured", "error", err)
			} else {
				log.Warn("connection not secured", "error", err)
			}
			if f := s.Observer.AssociationRejected; f != nil {
				f(nil, tc.RemoteAddr(), err)
			}
		}
		return nil, false
	}
	state := tc.ConnectionState()
	return &state, true
}

func logRejection(log *slog.Logger, rq *ul.AssociateRequest, err error) {
	switch {
	case rq == nil && errors.Is(err, ul.ErrClosed): // a port check
		log.Debug("connection without association", "error", err)
		return
	case rq == nil:
		log.Info("connection without association", "error", err)
		return
	}
	log.Warn("association not accepted", "calling", rq.CallingAE, "called", rq.CalledAE, "error", err)
}

// admit decides on an association. leave must be called when it is over.
func (s *Server) admit(ctx context.Context, rq *ul.AssociateRequest, info *AssociationInfo) (policy ul.AcceptorPolicy, leave func(), err error) {
	if s.AETitle != "" && rq.CalledAE != s.AETitle {
		return policy, nil, &ul.RejectCalledAE
	}
	info.CallingAE, info.CalledAE = rq.CallingAE, rq.CalledAE
	info.ImplementationClass, info.ImplementationString = rq.User.ImplementationClassUID, rq.User.ImplementationVersion
	info.Proposed, info.User = rq.Contexts, rq.User
	var admission Admission
	if s.Admit != nil {
		if admission, err = s.Admit(ctx, Caller{Request: rq, RemoteAddr: info.RemoteAddr, TLS: info.TLS}); err != nil {
			return policy, nil, err
		}
		info.Value = admission.Value
	}
	leave, ok := s.callers.enter(rq.CallingAE, admission.MaxAssociations)
	if !ok {
		return policy, nil, &ul.RejectLocalLimit
	}
	return s.policy(rq, info, admission), leave, nil
}

func (s *Server) serveAssociation(ctx context.Context, assoc *ul.Association, info *AssociationInfo, log *slog.Logger, release func()) {
	start := time.Now()
	log.Info("association opened", "contexts", len(assoc.Contexts()), "implementation", info.ImplementationString)
	if f := s.Observer.AssociationOpened; f != nil {
		f(info)
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := assoc.AbortOn(ctx)
	ses := &session{server: s, assoc: assoc, info: info, log: log, ctx: ctx}
	info.session = ses
	err := ses.run()
	stop()
	cancel()
	d := time.Since(start)
	if errors.Is(err, ul.ErrReleased) {
		log.Info("association released", "duration", d, "messages", ses.messages, "stored", ses.stored)
		if f := s.Observer.AssociationClosed; f != nil {
			f(info, d)
		}
	} else {
		log.Warn("association ended without release", "duration", d, "messages", ses.messages, "stored", ses.stored, "error", err)
		if f := s.Observer.AssociationAborted; f != nil {
			f(info, d, err)
		}
	}
	release()
	assoc.Close()
}

func newAssociationID() string {
	var b [6]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
