package dimse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// session serves the messages of one association. One goroutine reads them all:
// it stores instances itself, as they arrive, and starts the operation of any
// other request, which then runs beside it (operation.go), so that a C-CANCEL
// and the answers to our own requests (peer.go) are read meanwhile.
type session struct {
	server *Server
	assoc  *ul.Association
	info   *AssociationInfo
	log    *slog.Logger
	ctx    context.Context // ends when the server has no more time

	messages, stored int
	running          *operation // the last one started; it may have ended
	calls            calls      // our own requests
}

// run returns how the association ended: ul.ErrReleased in good order.
func (s *session) run() error {
	err := s.read()
	s.calls.end(err)
	if s.running != nil {
		s.running.cancel(err)
		<-s.running.ended
	}
	return err
}

func (s *session) read() error {
	for {
		contextID, raw, err := s.assoc.ReadCommand()
		if err != nil {
			return err
		}
		s.messages++
		rq, err := ParseCommand(raw)
		if err != nil {
			s.assoc.Abort(err)
			return s.assoc.Err()
		}
		if err := s.handle(*s.assoc.Context(contextID), rq); err != nil {
			s.assoc.Abort(err)
			return s.assoc.Err()
		}
	}
}

// handle serves one message. An error ends the association.
func (s *session) handle(pc ul.Context, rq Command) error {
	field := rq.Field()
	switch {
	case field == CCancelRQ:
		s.cancel(rq)
		return nil // it has no response
	case field == 0:
		return errors.New("a command set without command field")
	case field&responseBit != 0:
		return s.answered(pc, rq)
	case !rq.Has(MessageID):
		return fmt.Errorf("%s without Message ID", field)
	}
	if !pc.SCP && field != NEventReportRQ { // which comes from an SCP
		return s.refuse(pc, rq, Statusf(SOPClassNotSupported, "%s in a presentation context where this side is not SCP", field))
	}
	switch field {
	case CEchoRQ:
		return s.echo(pc, rq)
	case CStoreRQ:
		return s.store(s.ctx, pc, rq)
	}
	svc := s.server.service(pc.AbstractSyntax)
	if svc == nil || !svc.handles(field) {
		return s.refuse(pc, rq, Statusf(UnrecognizedOperation, "%s is not supported here", field))
	}
	return s.begin(pc, rq, svc)
}

// echo answers C-ECHO. PS3.7 section 9.1.5.
func (s *session) echo(pc ul.Context, rq Command) error {
	if pc.AbstractSyntax != dicom.VerificationSOPClass {
		return s.refuse(pc, rq, Statusf(SOPClassNotSupported, "not the verification SOP class"))
	}
	if err := s.refuse(pc, rq, Status{Code: Success}); err != nil {
		return err
	}
	if f := s.server.Observer.Echoed; f != nil {
		f(s.info)
	}
	return nil
}

// refuse reads over the request's data set, if any, and answers.
func (s *session) refuse(pc ul.Context, rq Command, status Status) error {
	if rq.HasDataSet() {
		if err := s.drain(s.assoc.DataReader(pc.ID)); err != nil {
			return err
		}
	}
	return s.respond(pc, newResponse(rq, status))
}

func (s *session) respond(pc ul.Context, rsp Command) error {
	return s.assoc.Send(pc.ID, rsp.Encode(), nil)
}

// drain reads a data set to its end. It returns how the association ended, if
// it did.
func (s *session) drain(data *ul.DataReader) error {
	if _, err := data.WriteTo(io.Discard); err != nil {
		if e := s.assoc.Err(); e != nil {
			return e
		}
		return err
	}
	return nil
}

func stack() string { return string(debug.Stack()) }
