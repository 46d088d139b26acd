package dimse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// ErrCancelled is why a handler's context is done when the peer sent C-CANCEL.
var ErrCancelled = errors.New("the peer has cancelled the operation")

// Operated is what Observer.Operated is told of an operation.
type Operated struct {
	Request *Request
	Status  Status
	// Responses counts the matches of a C-FIND; Suboperations are those of a
	// C-MOVE or C-GET.
	Responses     int
	Suboperations Suboperations
	Duration      time.Duration
}

// operation is a request of a service while its handler runs.
type operation struct {
	s       *session
	pc      ul.Context
	rq      Command
	request *Request
	service *Service
	start   time.Time
	ctx     context.Context
	cancel  context.CancelCauseFunc

	responses     int
	suboperations Suboperations
	answered      atomic.Bool   // the handler is through: the next request may come
	ended         chan struct{} // closed when the final response is out
}

// begin reads the request's data set and starts its operation. An error ends the
// association.
func (s *session) begin(pc ul.Context, rq Command, svc *Service) error {
	if op := s.running; op != nil {
		if !op.answered.Load() {
			return s.refuse(pc, rq, Statusf(ResourceLimitation, "one operation at a time on an association"))
		}
		<-op.ended
		s.running = nil
	}
	request := s.request(pc, rq)
	if rq.HasDataSet() {
		data := s.assoc.DataReader(pc.ID)
		var err error
		if request.DataSet, err = decodeDataSet(data, pc.TransferSyntax, svc.maxDataSet()); err != nil {
			if e := s.assoc.Err(); e != nil {
				return e
			}
			return s.finish(&operation{s: s, pc: pc, rq: rq, request: request, start: time.Now()}, badDataSet(request.Field, err))
		}
	}
	op := &operation{s: s, pc: pc, rq: rq, request: request, service: svc, start: time.Now(), ended: make(chan struct{})}
	request.ended = op.ended
	if status, ok := op.check(); !ok {
		return s.finish(op, status)
	}
	op.ctx, op.cancel = context.WithCancelCause(s.ctx)
	s.running = op
	done := s.assoc.Working()
	go func() {
		defer close(op.ended)
		defer done()
		defer op.cancel(nil)
		if err := op.run(); err != nil {
			s.assoc.Abort(err)
		}
	}()
	return nil
}

func (s *session) request(pc ul.Context, rq Command) *Request {
	r := &Request{
		Association: s.info, Field: rq.Field(),
		AbstractSyntax: pc.AbstractSyntax, TransferSyntaxUID: pc.TransferSyntax,
		SOPClassUID: rq.sopClass(), SOPInstanceUID: rq.sopInstance(),
		Extended:        s.info.extended[pc.AbstractSyntax],
		MoveDestination: rq.Text(MoveDestination),
	}
	r.MessageID, _ = rq.Uint16(MessageID)
	r.EventTypeID, _ = rq.Uint16(EventTypeID)
	r.ActionTypeID, _ = rq.Uint16(ActionTypeID)
	for _, t := range rq.Tags(AttributeIdentifierList) {
		r.Attributes = append(r.Attributes, dicom.Tag(t))
	}
	return r
}

// badDataSet is the status for a data set that could not be decoded.
func badDataSet(f Field, err error) Status {
	query := f == CFindRQ || f == CMoveRQ || f == CGetRQ
	switch tooLong := errors.Is(err, errDataSetTooLong); {
	case tooLong && f == CFindRQ:
		return Statusf(FindOutOfResources, "%v", err)
	case tooLong && query:
		return Statusf(NoMatchCount, "%v", err)
	case tooLong:
		return Statusf(ResourceLimitation, "%v", err)
	case query:
		return Statusf(UnableToProcess, "identifier: %v", err)
	}
	return Statusf(ProcessingFailure, "data set: %v", err)
}

// check refuses what no handler can serve.
func (op *operation) check() (Status, bool) {
	r := op.request
	missing := func(tag Tag) (Status, bool) {
		return Status{Code: MissingAttribute, Comment: fmt.Sprintf("%s lacks %s", r.Field, tag), Offending: []uint32{uint32(tag)}}, false
	}
	query := r.Field == CFindRQ || r.Field == CMoveRQ || r.Field == CGetRQ
	switch {
	case r.SOPClassUID == "":
		return missing(AffectedSOPClassUID)
	case r.SOPClassUID != op.pc.AbstractSyntax && !op.service.has(r.SOPClassUID):
		return Status{Code: SOPClassNotSupported, Comment: "SOP class was not negotiated", Offending: []uint32{uint32(AffectedSOPClassUID)}}, false
	case query && r.DataSet == nil:
		return Statusf(UnableToProcess, "%s without identifier", r.Field), false
	case r.Field == CMoveRQ && r.MoveDestination == "":
		return missing(MoveDestination)
	case !query && r.Field != NCreateRQ && r.SOPInstanceUID == "":
		return missing(RequestedSOPInstanceUID)
	case r.Field == NActionRQ && !op.rq.Has(ActionTypeID):
		return missing(ActionTypeID)
	case r.Field == NEventReportRQ && !op.rq.Has(EventTypeID):
		return missing(EventTypeID)
	}
	return Status{}, true
}

// run calls the handler and sends the final response. An error ends the
// association.
func (op *operation) run() (err error) {
	defer func() {
		if p := recover(); p != nil {
			op.s.log.Error("service handler panicked", "operation", op.request.Field.String(), "panic", fmt.Sprint(p), "stack", stack())
			err = fmt.Errorf("service handler panicked: %v", p)
		}
	}()
	switch op.request.Field {
	case CFindRQ:
		status := op.service.Find(op.ctx, op.request, &Matches{op: op})
		return op.finish(op.ifCancelled(status), nil)
	case CMoveRQ:
		return op.retrieved(op.service.Move(op.ctx, op.request, &Progress{op: op}))
	case CGetRQ:
		return op.retrieved(op.service.Get(op.ctx, op.request, &Getter{Progress: Progress{op: op}}))
	}
	return op.normalized(op.service.normalized(op.request.Field)(op.ctx, op.request))
}

// ifCancelled answers a failure that the cancel caused as what it is.
func (op *operation) ifCancelled(status Status) Status {
	if errors.Is(context.Cause(op.ctx), ErrCancelled) && status.Code.Category() == CategoryFailure {
		return Status{Code: Cancelled}
	}
	return status
}

// normalized answers a DIMSE-N request. PS3.7 section 10.3.
func (op *operation) normalized(rsp NResponse) error {
	return op.finish(rsp.Status, func(c *Command) (*dicom.Dataset, error) {
		instance := op.request.SOPInstanceUID
		if rsp.SOPInstanceUID != "" {
			instance = rsp.SOPInstanceUID
		}
		if instance != "" {
			c.SetUID(AffectedSOPInstanceUID, instance)
		}
		switch op.request.Field {
		case NEventReportRQ:
			c.SetUint16(EventTypeID, op.request.EventTypeID)
		case NActionRQ:
			c.SetUint16(ActionTypeID, op.request.ActionTypeID)
		}
		return rsp.DataSet, nil
	})
}

// finish sends the final response. more adds to it and returns the data set to
// go with it, if any.
func (op *operation) finish(status Status, more func(*Command) (*dicom.Dataset, error)) error {
	op.answered.Store(true)
	rsp := newResponse(op.rq, status)
	var data io.Reader
	if more != nil {
		ds, err := more(&rsp)
		if err == nil && ds != nil {
			data, err = op.encode(&rsp, ds)
		}
		if err != nil {
			return err
		}
	}
	if err := op.s.assoc.Send(op.pc.ID, rsp.Encode(), data); err != nil {
		return err
	}
	if status.Code.Category() == CategoryFailure {
		op.s.log.Warn("operation failed", "operation", op.request.Field.String(), "sop_class", op.request.SOPClassUID,
			"status", status.Code.Of(op.request.Field), "comment", status.Comment)
	}
	if f := op.s.server.Observer.Operated; f != nil {
		f(&Operated{
			Request: op.request, Status: status, Responses: op.responses, Suboperations: op.suboperations,
			Duration: time.Since(op.start),
		})
	}
	return nil
}

// finish answers a request whose handler is not called.
func (s *session) finish(op *operation, status Status) error { return op.finish(status, nil) }

// encode encodes the data set of a response and announces it in its command.
func (op *operation) encode(rsp *Command, ds *dicom.Dataset) (io.Reader, error) {
	b, err := encodeDataSet(ds, op.pc.TransferSyntax)
	if err != nil {
		return nil, err
	}
	rsp.SetUint16(CommandDataSetType, hasDataSet)
	return bytes.NewReader(b), nil
}

// pending sends a response that is not the last. It returns ErrCancelled when the
// peer has cancelled: it wants no more of them.
func (op *operation) pending(code Code, more func(*Command) (*dicom.Dataset, error)) error {
	if op.ctx.Err() != nil {
		return context.Cause(op.ctx)
	}
	rsp := newResponse(op.rq, Status{Code: code})
	ds, err := more(&rsp)
	if err != nil {
		return err
	}
	var data io.Reader
	if ds != nil {
		if data, err = op.encode(&rsp, ds); err != nil {
			return err
		}
	}
	if err := op.s.assoc.Send(op.pc.ID, rsp.Encode(), data); err != nil {
		return err
	}
	op.responses++
	return nil
}

// cancel takes a C-CANCEL-RQ. One for an operation that has ended, or never
// was, has no effect. PS3.7 section 9.3.2.3.
func (s *session) cancel(rq Command) {
	id, _ := rq.Uint16(MessageIDBeingRespondedTo)
	if op := s.running; op != nil && op.request.MessageID == id {
		op.cancel(ErrCancelled)
	}
}
