package dimse

import (
	"bytes"
	"cmp"
	"context"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// ServiceContext proposes the context of a service whose data sets are
// identifiers and the like.
func ServiceContext(id byte, sopClass string) ul.ProposedContext {
	return ul.ProposedContext{
		ID: id, AbstractSyntax: sopClass,
		TransferSyntaxes: []string{dicom.ExplicitVRLittleEndian, dicom.ImplicitVRLittleEndian},
	}
}

// Find queries: C-FIND, PS3.7 section 9.1.2. each is called with every match, and
// whether the peer said that it ignored optional keys of the identifier. When it
// returns an error, the query is cancelled and the error returned, with the
// peer's last word. The query is answered when the error is nil and Status.OK.
func (c *Client) Find(ctx context.Context, sopClass string, identifier *dicom.Dataset, each func(match *dicom.Dataset, ignored bool) error) (Status, error) {
	a, err := c.query(ctx, CFindRQ, sopClass, identifier, func(*Command) {}, func(a answer) error {
		status, _ := statusOf(a.command)
		if a.data == nil {
			a.data = new(dicom.Dataset)
		}
		return each(a.data, status.Code == PendingWarning)
	})
	status, _ := statusOf(a.command)
	return status, err
}

// Move asks the peer to send what the identifier names to destination, an AE
// title it knows: C-MOVE, PS3.7 section 9.1.4. progress, which may be nil, is
// called with each pending response; an error from it cancels.
func (c *Client) Move(ctx context.Context, sopClass, destination string, identifier *dicom.Dataset, progress func(Suboperations) error) (Retrieved, error) {
	a, err := c.query(ctx, CMoveRQ, sopClass, identifier, func(rq *Command) { rq.SetText(MoveDestination, destination) }, func(a answer) error {
		if progress == nil {
			return nil
		}
		return progress(a.command.suboperations())
	})
	return a.retrieved(), err
}

// Get asks the peer to send what the identifier names over this association:
// C-GET, PS3.7 section 9.1.3. store takes the instances. Their contexts must have
// been proposed with the SCP role (Dialer.Roles). progress is as for Move.
func (c *Client) Get(ctx context.Context, sopClass string, identifier *dicom.Dataset, store StoreHandler, progress func(Suboperations) error) (Retrieved, error) {
	c.store = store
	defer func() { c.store = nil }()
	a, err := c.query(ctx, CGetRQ, sopClass, identifier, func(*Command) {}, func(a answer) error {
		if progress == nil {
			return nil
		}
		return progress(a.command.suboperations())
	})
	return a.retrieved(), err
}

func (a answer) retrieved() Retrieved {
	r := Retrieved{Suboperations: a.command.suboperations()}
	r.Status, _ = statusOf(a.command)
	if a.data != nil {
		r.FailedInstances = a.data.Strings(dicom.TagFailedSOPInstanceUIDList)
	}
	return r
}

func (c *Client) query(ctx context.Context, field Field, sopClass string, identifier *dicom.Dataset, more func(*Command), pending func(answer) error) (answer, error) {
	pc, ok := c.contextFor(sopClass, "")
	if !ok {
		return answer{}, ErrNotAccepted
	}
	data, err := encodeDataSet(identifier, pc.TransferSyntax)
	if err != nil {
		return answer{}, err
	}
	rq := c.newRequest(field, sopClass)
	rq.SetUint16(Priority, 0) // medium
	rq.SetUint16(CommandDataSetType, hasDataSet)
	more(&rq)
	return c.exchange(ctx, pc, rq, bytes.NewReader(data), pending)
}

// Cancel asks the peer to end the Find, Move or Get that runs: C-CANCEL. It may
// be called from any goroutine, and does nothing when none runs. What is still on
// its way arrives; the operation's final status is mostly Cancelled.
func (c *Client) Cancel() error {
	c.mu.Lock()
	contextID, messageID := c.contextID, c.current
	c.mu.Unlock()
	if contextID == 0 {
		return nil
	}
	var rq Command
	rq.SetUint16(CommandField, uint16(CCancelRQ))
	rq.SetUint16(MessageIDBeingRespondedTo, messageID)
	rq.SetUint16(CommandDataSetType, noDataSet)
	return c.assoc.Send(contextID, rq.Encode(), nil)
}

func (c *Client) setCurrent(contextID byte, messageID uint16) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.contextID, c.current = contextID, messageID
}

// NCreate, NSet, NGet, NAction, NDelete and NEventReport send a DIMSE-N request
// and return the answer. PS3.7 section 10.1. ErrNotAccepted means that no context
// was accepted.
func (c *Client) NCreate(ctx context.Context, n NRequest) (NResponse, error) {
	return c.normalized(ctx, NCreateRQ, n)
}

// NSet changes attributes; see NCreate.
func (c *Client) NSet(ctx context.Context, n NRequest) (NResponse, error) {
	return c.normalized(ctx, NSetRQ, n)
}

// NGet asks for attributes; see NCreate.
func (c *Client) NGet(ctx context.Context, n NRequest) (NResponse, error) {
	return c.normalized(ctx, NGetRQ, n)
}

// NAction asks for an action; see NCreate.
func (c *Client) NAction(ctx context.Context, n NRequest) (NResponse, error) {
	return c.normalized(ctx, NActionRQ, n)
}

// NDelete deletes an instance; see NCreate.
func (c *Client) NDelete(ctx context.Context, n NRequest) (NResponse, error) {
	return c.normalized(ctx, NDeleteRQ, n)
}

// NEventReport reports an event to an SCU whose SCP we are, over an association
// of our own: its context was proposed with the SCP role (Dialer.Roles). See
// NCreate.
func (c *Client) NEventReport(ctx context.Context, n NRequest) (NResponse, error) {
	return c.normalized(ctx, NEventReportRQ, n)
}

func (c *Client) normalized(ctx context.Context, field Field, n NRequest) (NResponse, error) {
	abstract := cmp.Or(n.AbstractSyntax, n.SOPClassUID)
	for _, pc := range c.assoc.Contexts() {
		if pc.AbstractSyntax != abstract || !pc.SCU && field != NEventReportRQ {
			continue
		}
		data, err := n.encoded(pc.TransferSyntax)
		if err != nil {
			return NResponse{}, err
		}
		rq := n.command(field)
		c.messageID++
		rq.SetUint16(MessageID, c.messageID)
		a, err := c.exchange(ctx, pc, rq, data, nil)
		if err != nil {
			return NResponse{}, err
		}
		return a.response()
	}
	return NResponse{}, ErrNotAccepted
}
