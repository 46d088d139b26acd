package dimse

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// StoreHandler takes the instances that a Server receives.
type StoreHandler interface {
	// Store is called once per C-STORE-RQ, from one goroutine per association.
	// req.Data is the data set as the peer sends it, in TransferSyntaxUID,
	// without preamble or file meta information; it must be read to io.EOF and
	// not be used after Store returned. io.ErrUnexpectedEOF from it means that
	// the association ended first: there is no instance then and nobody to
	// answer. What Store leaves unread is read over.
	//
	// The returned status is sent only after Store returned. Success or a
	// warning tells the sender that it may delete its copy: return it only for
	// what is safe. The UIDs are as the peer sent them; nothing was checked.
	// ctx is done when the server has no more time; the association is aborted
	// with it.
	Store(ctx context.Context, req *StoreRequest) Status
}

// StoreHandlerFunc is a StoreHandler that is a function.
type StoreHandlerFunc func(ctx context.Context, req *StoreRequest) Status

func (f StoreHandlerFunc) Store(ctx context.Context, req *StoreRequest) Status { return f(ctx, req) }

// StoreRequest is one C-STORE-RQ. PS3.7 section 9.1.1.
type StoreRequest struct {
	Association *AssociationInfo
	// SOPClassUID and SOPInstanceUID are the Affected SOP Class and Instance UID
	// of the command; the data set may disagree.
	SOPClassUID, SOPInstanceUID string
	// TransferSyntaxUID is the one negotiated for the presentation context.
	TransferSyntaxUID string
	MessageID         uint16
	// MoveOriginatorAE is the AE title whose C-MOVE caused this, if any.
	MoveOriginatorAE        string
	MoveOriginatorMessageID uint16
	Data                    io.Reader
}

// store serves one C-STORE-RQ.
func (s *session) store(ctx context.Context, pc ul.Context, rq Command) error {
	req := storeRequestOf(pc, rq)
	req.Association = s.info

	start := time.Now()
	var data *ul.DataReader
	status, ok := s.checkStore(pc, rq, req)
	if rq.HasDataSet() {
		data = s.assoc.DataReader(pc.ID)
		req.Data = data
	}
	if ok {
		var err error
		if status, err = s.callStore(ctx, req); err != nil {
			return err
		}
	}
	var size int64
	if data != nil {
		if err := s.drain(data); err != nil {
			return err
		}
		size = data.Len()
	}
	rsp := newResponse(rq, status)
	if req.SOPInstanceUID != "" {
		rsp.SetUID(AffectedSOPInstanceUID, req.SOPInstanceUID)
	}
	if err := s.respond(pc, rsp); err != nil {
		return err
	}
	if status.OK() {
		s.stored++
	} else {
		s.log.Warn("instance refused", "status", status.Code.String(), "comment", status.Comment,
			"sop_class", req.SOPClassUID, "transfer_syntax", req.TransferSyntaxUID, "bytes", size)
	}
	if f := s.server.Observer.InstanceStored; f != nil {
		f(req, size, time.Since(start), status)
	}
	return nil
}

func storeRequestOf(pc ul.Context, rq Command) *StoreRequest {
	req := &StoreRequest{
		SOPClassUID:       rq.Text(AffectedSOPClassUID),
		SOPInstanceUID:    rq.Text(AffectedSOPInstanceUID),
		TransferSyntaxUID: pc.TransferSyntax,
		MoveOriginatorAE:  rq.Text(MoveOriginatorApplicationEntity),
	}
	req.MessageID, _ = rq.Uint16(MessageID)
	req.MoveOriginatorMessageID, _ = rq.Uint16(MoveOriginatorMessageID)
	return req
}

// checkStore refuses what can't be handed to the handler.
func (s *session) checkStore(pc ul.Context, rq Command, req *StoreRequest) (Status, bool) {
	missing := func(tag Tag) (Status, bool) {
		return Status{Code: MissingAttribute, Comment: fmt.Sprintf("C-STORE-RQ lacks %s", tag), Offending: []uint32{uint32(tag)}}, false
	}
	switch {
	case s.server.Store == nil || pc.AbstractSyntax == dicom.VerificationSOPClass || s.server.service(pc.AbstractSyntax) != nil:
		return Statusf(SOPClassNotSupported, "not a storage presentation context"), false
	case req.SOPClassUID == "":
		return missing(AffectedSOPClassUID)
	case req.SOPInstanceUID == "":
		return missing(AffectedSOPInstanceUID)
	case !rq.HasDataSet():
		return Statusf(CannotUnderstand, "C-STORE-RQ announces no data set"), false
	case req.SOPClassUID != pc.AbstractSyntax && !s.server.SOPClasses.accepts(req.SOPClassUID):
		return Status{
			Code: SOPClassNotSupported, Comment: "SOP class was not negotiated",
			Offending: []uint32{uint32(AffectedSOPClassUID)},
		}, false
	}
	return Status{}, true
}

// callStore turns a panic of the handler into a processing failure and the end
// of the association: the process and the other associations live on.
func (s *session) callStore(ctx context.Context, req *StoreRequest) (status Status, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("store handler panicked", "panic", fmt.Sprint(p), "stack", stack())
			err = fmt.Errorf("store handler panicked: %v", p)
		}
	}()
	return s.server.Store.Store(ctx, req), nil
}
