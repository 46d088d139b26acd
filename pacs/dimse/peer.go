package dimse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// defaultAnswerTimeout is the longest wait for the answer to a request of ours.
// The peer may have to store an instance first.
const defaultAnswerTimeout = 10 * time.Minute

// calls are the requests that we, the acceptor, have sent over an association and
// that are not answered yet: C-STORE sub-operations of a C-GET, N-EVENT-REPORT.
type calls struct {
	mu      sync.Mutex
	waiting map[uint16]call
	last    uint16 // message ID
	err     error  // the association has ended
}

type call struct {
	field  Field
	answer chan answer // has room for one
}

type answer struct {
	command Command
	data    *dicom.Dataset
	err     error
}

// add counts a request and gives it a message ID.
func (c *calls) add(field Field) (uint16, call, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, call{}, c.err
	}
	if len(c.waiting) == 0xFFFF {
		return 0, call{}, errors.New("too many requests without answer")
	}
	for c.last++; ; c.last++ {
		if _, taken := c.waiting[c.last]; !taken {
			break
		}
	}
	if c.waiting == nil {
		c.waiting = make(map[uint16]call)
	}
	w := call{field, make(chan answer, 1)}
	c.waiting[c.last] = w
	return c.last, w, nil
}

// take returns the request that was answered.
func (c *calls) take(id uint16, response Field) (call, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w, ok := c.waiting[id]
	if ok = ok && w.field|responseBit == response; ok {
		delete(c.waiting, id)
	}
	return w, ok
}

func (c *calls) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
	for _, w := range c.waiting {
		w.answer <- answer{err: err}
	}
	c.waiting = nil
}

// call sends a request over the association and waits for its answer, which run
// reads. When ctx ends the wait, the answer is read over.
func (s *session) call(ctx context.Context, pc ul.Context, rq Command, data io.Reader) (answer, error) {
	id, w, err := s.calls.add(rq.Field())
	if err != nil {
		return answer{}, err
	}
	rq.SetUint16(MessageID, id)
	if err := s.assoc.Send(pc.ID, rq.Encode(), data); err != nil {
		s.calls.take(id, rq.Field()|responseBit)
		return answer{}, err
	}
	timeout := cmp.Or(max(s.server.Timeouts.Idle, 0), defaultAnswerTimeout)
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case a := <-w.answer:
		return a, a.err
	case <-ctx.Done():
		return answer{}, context.Cause(ctx)
	case <-timer.C:
		err := fmt.Errorf("%s was not answered within %s", rq.Field(), timeout)
		s.assoc.Abort(err)
		return answer{}, err
	}
}

// answered takes the response to a request of ours. An error ends the
// association.
func (s *session) answered(pc ul.Context, rsp Command) error {
	id, _ := rsp.Uint16(MessageIDBeingRespondedTo)
	w, ok := s.calls.take(id, rsp.Field())
	if !ok {
		return fmt.Errorf("%s to message %d where a request is due", rsp.Field(), id)
	}
	a := answer{command: rsp}
	if rsp.HasDataSet() {
		data := s.assoc.DataReader(pc.ID)
		if a.data, a.err = decodeDataSet(data, pc.TransferSyntax, maxReply); a.err != nil {
			if e := s.assoc.Err(); e != nil {
				a.err = e
			}
		}
	}
	w.answer <- a
	return nil
}

// NRequest is a DIMSE-N request to send. PS3.7 section 10.3.
type NRequest struct {
	// SOPClassUID is that of the message. AbstractSyntax is that of the
	// presentation context, where it is another; default SOPClassUID.
	SOPClassUID, AbstractSyntax string
	SOPInstanceUID              string
	EventTypeID, ActionTypeID   uint16
	Attributes                  []dicom.Tag    // N-GET; none asks for all
	DataSet                     *dicom.Dataset // nil for none
}

// command builds the request, but for its message ID.
func (n *NRequest) command(f Field) Command {
	var c Command
	c.SetUint16(CommandField, uint16(f))
	class, instance := RequestedSOPClassUID, RequestedSOPInstanceUID
	if f == NEventReportRQ || f == NCreateRQ {
		class, instance = AffectedSOPClassUID, AffectedSOPInstanceUID
	}
	c.SetUID(class, n.SOPClassUID)
	if n.SOPInstanceUID != "" {
		c.SetUID(instance, n.SOPInstanceUID)
	}
	switch f {
	case NEventReportRQ:
		c.SetUint16(EventTypeID, n.EventTypeID)
	case NActionRQ:
		c.SetUint16(ActionTypeID, n.ActionTypeID)
	case NGetRQ:
		if len(n.Attributes) > 0 {
			tags := make([]uint32, len(n.Attributes))
			for i, t := range n.Attributes {
				tags[i] = uint32(t)
			}
			c.SetTags(AttributeIdentifierList, tags)
		}
	}
	c.SetUint16(CommandDataSetType, noDataSet)
	if n.DataSet != nil {
		c.SetUint16(CommandDataSetType, hasDataSet)
	}
	return c
}

// EventReport sends N-EVENT-REPORT to the peer over this association, which it
// has opened and which still lasts. ErrNotAccepted means that no context of the
// class was accepted. Any other error means that the peer may not have the
// report. It must not be called from a StoreHandler, who keeps the answer from
// being read.
func (i *AssociationInfo) EventReport(ctx context.Context, n NRequest) (NResponse, error) {
	if i.session == nil {
		return NResponse{}, ErrNotAccepted
	}
	s := i.session
	for _, pc := range s.assoc.Contexts() {
		if pc.AbstractSyntax != cmp.Or(n.AbstractSyntax, n.SOPClassUID) || !pc.SCP {
			continue
		}
		data, err := n.encoded(pc.TransferSyntax)
		if err != nil {
			return NResponse{}, err
		}
		a, err := s.call(ctx, pc, n.command(NEventReportRQ), data)
		if err != nil {
			return NResponse{}, err
		}
		return a.response()
	}
	return NResponse{}, ErrNotAccepted
}
