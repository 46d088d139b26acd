package dimse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// maxReply is the longest data set of a response, or of an event, that is read.
const maxReply = 16 << 20

// exchange sends a request and reads until its final response. pending, when not
// nil, is called with each one before; when it returns an error, the operation is
// cancelled and read to its end. ctx aborts the association.
func (c *Client) exchange(ctx context.Context, pc ul.Context, rq Command, data io.Reader, pending func(answer) error) (answer, error) {
	stop := c.assoc.AbortOn(ctx)
	defer stop()
	c.setCurrent(pc.ID, c.messageID)
	defer c.setCurrent(0, 0)
	c.outgoing.asked(rq.Field())
	if err := c.assoc.Send(pc.ID, rq.Encode(), data); err != nil {
		return answer{}, c.sendFailed(err)
	}
	var stopped error
	for {
		a, err := c.next(ctx, rq)
		if err != nil {
			return answer{}, err
		}
		status, _ := statusOf(a.command)
		switch {
		case status.Code.Category() != CategoryPending:
			if stopped == nil {
				stopped = a.err
			}
			return a, stopped
		case pending == nil:
			return answer{}, c.abort(fmt.Errorf("%s answered as pending", rq.Field()))
		case stopped != nil: // still on its way when we cancelled
			continue
		}
		if stopped = a.err; stopped == nil {
			stopped = pending(a)
		}
		if stopped != nil {
			if err := c.Cancel(); err != nil {
				return answer{}, err
			}
		}
	}
}

func (c *Client) abort(err error) error {
	c.assoc.Abort(err)
	return c.assoc.Err()
}

// next reads the next response to rq, and serves what the peer asks meanwhile.
// The answer's err says that its data set could not be decoded.
func (c *Client) next(ctx context.Context, rq Command) (answer, error) {
	for {
		contextID, raw, err := c.assoc.ReadCommand()
		if err != nil {
			return answer{}, err
		}
		message, err := ParseCommand(raw)
		if err != nil {
			return answer{}, c.abort(err)
		}
		pc := *c.assoc.Context(contextID)
		if message.Field()&responseBit == 0 {
			if err := c.serve(ctx, pc, message); err != nil {
				return answer{}, c.abort(err)
			}
			if rq.elements == nil && message.Field() == NEventReportRQ {
				return answer{}, nil
			}
			continue
		}
		if err := checkResponse(rq, message); err != nil {
			return answer{}, c.abort(err)
		}
		a := answer{command: message}
		if message.HasDataSet() {
			a.data, a.err = decodeDataSet(c.assoc.DataReader(pc.ID), pc.TransferSyntax, maxReply)
			if e := c.assoc.Err(); a.err != nil && e != nil {
				return answer{}, e
			}
		}
		return a, nil
	}
}

func checkResponse(rq, rsp Command) error {
	if rsp.Field() != rq.Field()|responseBit || rq.elements == nil {
		return fmt.Errorf("%s answered with %s", rq.Field(), rsp.Field())
	}
	asked, _ := rq.Uint16(MessageID)
	if id, ok := rsp.Uint16(MessageIDBeingRespondedTo); !ok || id != asked {
		return fmt.Errorf("%s %d answered with a response to message %d", rq.Field(), asked, id)
	}
	if _, ok := statusOf(rsp); !ok {
		return fmt.Errorf("%s without status", rsp.Field())
	}
	if f := rq.Field(); (f == CEchoRQ || f == CStoreRQ) && rsp.HasDataSet() {
		return fmt.Errorf("%s with a data set", rsp.Field())
	}
	return nil
}

// serve answers a request of the peer: the sub-operations of our C-GET, and
// N-EVENT-REPORT. An error ends the association.
func (c *Client) serve(ctx context.Context, pc ul.Context, rq Command) error {
	field := rq.Field()
	if field == 0 || field == CCancelRQ || !rq.Has(MessageID) {
		return fmt.Errorf("%s where a response is due", field)
	}
	switch {
	case field == CStoreRQ && c.store != nil && pc.SCP:
		return c.takeInstance(ctx, pc, rq)
	case field == NEventReportRQ && c.event != nil:
		return c.takeEvent(ctx, pc, rq)
	}
	if rq.HasDataSet() {
		if _, err := c.assoc.DataReader(pc.ID).WriteTo(io.Discard); err != nil {
			return err
		}
	}
	return c.assoc.Send(pc.ID, newResponse(rq, Statusf(UnrecognizedOperation, "%s is not expected here", field)).Encode(), nil)
}

// takeInstance serves a C-STORE sub-operation.
func (c *Client) takeInstance(ctx context.Context, pc ul.Context, rq Command) error {
	req := storeRequestOf(pc, rq)
	req.Association = &AssociationInfo{
		CallingAE: c.assoc.AssociateRequest().CallingAE, CalledAE: c.assoc.AssociateRequest().CalledAE, RemoteAddr: c.assoc.RemoteAddr(),
		ImplementationClass: c.Peer().ImplementationClassUID, ImplementationString: c.Peer().ImplementationVersion,
	}
	var status Status
	if rq.HasDataSet() {
		data := c.assoc.DataReader(pc.ID)
		req.Data = data
		status = c.store.Store(ctx, req)
		if _, err := data.WriteTo(io.Discard); err != nil {
			return err
		}
	} else {
		status = Statusf(CannotUnderstand, "C-STORE-RQ announces no data set")
	}
	rsp := newResponse(rq, status)
	rsp.SetUID(AffectedSOPInstanceUID, req.SOPInstanceUID)
	return c.assoc.Send(pc.ID, rsp.Encode(), nil)
}

// takeEvent serves an N-EVENT-REPORT.
func (c *Client) takeEvent(ctx context.Context, pc ul.Context, rq Command) error {
	n := NRequest{
		SOPClassUID: rq.sopClass(), AbstractSyntax: pc.AbstractSyntax, SOPInstanceUID: rq.sopInstance(),
	}
	n.EventTypeID, _ = rq.Uint16(EventTypeID)
	status := Status{}
	if rq.HasDataSet() {
		var err error
		if n.DataSet, err = decodeDataSet(c.assoc.DataReader(pc.ID), pc.TransferSyntax, maxReply); err != nil {
			if e := c.assoc.Err(); e != nil {
				return e
			}
			status = badDataSet(NEventReportRQ, err)
		}
	}
	if status.OK() {
		status = c.event(ctx, n)
	}
	rsp := newResponse(rq, status)
	rsp.SetUID(AffectedSOPInstanceUID, n.SOPInstanceUID)
	rsp.SetUint16(EventTypeID, n.EventTypeID)
	return c.assoc.Send(pc.ID, rsp.Encode(), nil)
}

// OnEvent sets what takes N-EVENT-REPORT that the peer sends over this
// association: while another operation is waited for, or AwaitEvent. Without it
// they are refused.
func (c *Client) OnEvent(f func(ctx context.Context, n NRequest) Status) { c.event = f }

// AwaitEvent waits until one N-EVENT-REPORT was taken. ctx aborts the
// association.
func (c *Client) AwaitEvent(ctx context.Context) error {
	stop := c.assoc.AbortOn(ctx)
	defer stop()
	_, err := c.next(ctx, Command{})
	return err
}

// encoded is the request's data set, nil for none.
func (n *NRequest) encoded(transferSyntax string) (io.Reader, error) {
	if n.DataSet == nil {
		return nil, nil
	}
	b, err := encodeDataSet(n.DataSet, transferSyntax)
	return bytes.NewReader(b), err
}

// response makes the answer to a DIMSE-N request of it.
func (a answer) response() (NResponse, error) {
	status, ok := statusOf(a.command)
	if !ok {
		return NResponse{}, errors.New("a response without status")
	}
	return NResponse{Status: status, SOPInstanceUID: a.command.sopInstance(), DataSet: a.data}, nil
}
