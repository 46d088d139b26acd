package dimse

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
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
	// Value is what Server.Admit returned.
	Value any
}

// Server is a DICOM provider: it answers C-ECHO and hands C-STORE to Store.
// The fields must not change once Serve was called.
type Server struct {
	// AETitle is the called AE title we answer to; "" answers to any.
	AETitle string
	// Admit is asked about each association before it is accepted, by then
	// with the right called AE title. It returns nil to accept and *ul.Reject to
	// refuse; any other error refuses with "temporary congestion". The value is
	// kept as AssociationInfo.Value. Nil admits everybody.
	Admit func(ctx context.Context, req *ul.AssociateRequest, remote net.Addr) (value any, err error)
	// Store takes the instances. Nil leaves only verification.
	Store      StoreHandler
	SOPClasses SOPClasses

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

// serveConn runs one connection to its end. ctx is done when no new association
// should begin, hard when running ones must end. associated is called when the
// connection became an association.
func (s *Server) serveConn(ctx, hard context.Context, nc net.Conn, associated func()) {
	info := &AssociationInfo{ID: newAssociationID(), RemoteAddr: nc.RemoteAddr()}
	log := s.logger().With("association", info.ID, "remote", nc.RemoteAddr().String())
	// Only established associations may outlive ctx.
	establishing, established := context.WithCancelCause(hard)
	defer established(nil)
	stop := context.AfterFunc(ctx, func() { established(errShutdown) })
	defer stop()

	holdsSlot := false
	release := func() {
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
			policy, err := s.admit(establishing, req, info)
			if err != nil {
				release() // the peer may take its time to close
			}
			return policy, err
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
	log = log.With("calling", info.CallingAE)
	s.serveAssociation(hard, assoc, info, log, release)
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

func (s *Server) admit(ctx context.Context, rq *ul.AssociateRequest, info *AssociationInfo) (ul.AcceptorPolicy, error) {
	if s.AETitle != "" && rq.CalledAE != s.AETitle {
		return ul.AcceptorPolicy{}, &ul.RejectCalledAE
	}
	info.CallingAE, info.CalledAE = rq.CallingAE, rq.CalledAE
	info.ImplementationClass, info.ImplementationString = rq.User.ImplementationClassUID, rq.User.ImplementationVersion
	if s.Admit != nil {
		value, err := s.Admit(ctx, rq, info.RemoteAddr)
		if err != nil {
			return ul.AcceptorPolicy{}, err
		}
		info.Value = value
	}
	return ul.AcceptorPolicy{Choose: s.choose, Extended: s.SOPClasses.storageExtended}, nil
}

func (s *Server) choose(abstract string, transferSyntaxes []string) (string, ul.Result) {
	if s.Store == nil && abstract != dicom.VerificationSOPClass {
		return "", ul.AbstractSyntaxNotSupported
	}
	return s.SOPClasses.choose(abstract, transferSyntaxes)
}

func (s *Server) serveAssociation(ctx context.Context, assoc *ul.Association, info *AssociationInfo, log *slog.Logger, release func()) {
	start := time.Now()
	log.Info("association opened", "contexts", len(assoc.Contexts()), "implementation", info.ImplementationString)
	if f := s.Observer.AssociationOpened; f != nil {
		f(info)
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := assoc.AbortOn(ctx)
	ses := &session{server: s, assoc: assoc, info: info, log: log}
	err := ses.run(ctx)
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
