package dimse

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// session serves the messages of one association, one after the other, as the
// asynchronous operations window of 1 asks for. PS3.7 Annex D.3.3.3.
type session struct {
	server *Server
	assoc  *ul.Association
	info   *AssociationInfo
	log    *slog.Logger

	messages, stored int
}

// run returns how the association ended: ul.ErrReleased in good order.
func (s *session) run(ctx context.Context) error {
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
		if err := s.handle(ctx, *s.assoc.Context(contextID), rq); err != nil {
			s.assoc.Abort(err)
			return s.assoc.Err()
		}
	}
}

// handle serves one message. An error ends the association.
func (s *session) handle(ctx context.Context, pc ul.Context, rq Command) error {
	field := rq.Field()
	switch {
	case field == CCancelRQ:
		return nil // nothing runs that it could cancel, and it has no response
	case field&responseBit != 0 || field == 0:
		return fmt.Errorf("%s where a request is due", field)
	case !rq.Has(MessageID):
		return fmt.Errorf("%s without Message ID", field)
	}
	if !pc.SCP {
		return s.refuse(pc, rq, Statusf(SOPClassNotSupported, "%s in a presentation context where this side is not SCP", field))
	}
	switch field {
	case CEchoRQ:
		return s.echo(pc, rq)
	case CStoreRQ:
		return s.store(ctx, pc, rq)
	}
	return s.refuse(pc, rq, Statusf(UnrecognizedOperation, "%s is not supported here", field))
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
