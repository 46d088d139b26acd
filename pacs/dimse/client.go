package dimse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// Dialer is how a Client associates.
type Dialer struct {
	CallingAE, CalledAE string
	// Contexts are the presentation contexts to propose, see GroupContexts. None
	// proposes verification.
	Contexts []ul.ProposedContext
	MaxPDU   uint32
	Timeouts ul.Timeouts
	// DialTimeout bounds the TCP connection. Default 30 s.
	DialTimeout time.Duration
	// Identity, when set, is the user identity to present. Whether a peer that
	// was asked to confirm it did so is in Client.Peer's IdentityResponse.
	Identity *ul.UserIdentity
	// Roles proposes roles other than the default, SCU; for C-GET, to be the SCP
	// of the storage classes. Client.Contexts has what came of it.
	Roles []ul.Role
	// Extended and CommonExtended are sent as they are; Client.Peer has the
	// answers to Extended.
	Extended       []ul.ExtendedNegotiation
	CommonExtended []ul.CommonExtendedNegotiation
	// AsyncWindow, when set, proposes more than one outstanding operation.
	AsyncWindow *ul.AsyncWindow
	// DialContext, when set, makes the connection, for instance over TLS.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	// Observe, when set, is told of the association once: when it ended, or did
	// not come about. It must be quick.
	Observe func(*Outgoing)
}

// Client is a DICOM user (SCU) with one association. Its methods are called one
// at a time, but for Cancel.
type Client struct {
	assoc     *ul.Association
	messageID uint16
	store     StoreHandler // takes the sub-operations of a C-GET that runs
	event     func(context.Context, NRequest) Status
	outgoing  *outgoing

	mu        sync.Mutex
	contextID byte // of the operation that runs; 0 when none does
	current   uint16
}

// Dial connects to addr, host:port, and associates. The error is a *ul.Reject
// when the peer refused.
func Dial(ctx context.Context, addr string, d Dialer) (*Client, error) {
	dial := d.DialContext
	if dial == nil {
		dial = (&net.Dialer{Timeout: cmp.Or(d.DialTimeout, 30*time.Second)}).DialContext
	}
	contexts := d.Contexts
	if len(contexts) == 0 {
		contexts = []ul.ProposedContext{VerificationContext(1)}
	}
	out := newOutgoing(addr, &d, contexts)
	nc, err := dial(ctx, "tcp", addr)
	if err != nil {
		err = fmt.Errorf("can't connect to %s: %w", addr, err)
		out.end(err)
		return nil, err
	}
	out.connected(nc)
	rq := &ul.AssociateRequest{
		CalledAE: d.CalledAE, CallingAE: d.CallingAE, Contexts: contexts,
		User: ul.UserInformation{
			Identity: d.Identity, Roles: d.Roles, Extended: d.Extended, CommonExtended: d.CommonExtended,
			AsyncWindow: d.AsyncWindow,
		},
	}
	assoc, err := ul.Request(ctx, nc, rq, ul.Config{
		MaxPDU: d.MaxPDU, Timeouts: d.Timeouts,
		ImplementationClassUID: dicom.ImplementationClassUID, ImplementationVersion: dicom.ImplementationVersionName,
	})
	if err != nil {
		err = fmt.Errorf("%s (%s): %w", d.CalledAE, addr, err)
		out.end(err)
		return nil, err
	}
	out.associated(assoc)
	return &Client{assoc: assoc, outgoing: out}, nil
}

// VerificationContext proposes C-ECHO.
func VerificationContext(id byte) ul.ProposedContext {
	return ul.ProposedContext{
		ID: id, AbstractSyntax: dicom.VerificationSOPClass,
		TransferSyntaxes: []string{dicom.ImplicitVRLittleEndian},
	}
}

// Contexts returns the presentation contexts that the peer accepted.
func (c *Client) Contexts() []ul.Context { return c.assoc.Contexts() }

// Peer returns what the peer said about its implementation.
func (c *Client) Peer() ul.UserInformation { return c.assoc.Peer() }

// Window returns how many operations may be outstanding at a time: Invoked by
// this side and Performed by it; 0 is no limit.
func (c *Client) Window() ul.AsyncWindow { return c.assoc.Window() }

// Extended returns how the peer answered extended negotiation of a SOP class;
// nil means that it supports none.
func (c *Client) Extended(sopClass string) []byte {
	for _, x := range c.assoc.Peer().Extended {
		if x.SOPClassUID == sopClass {
			return x.Info
		}
	}
	return nil
}

// Echo verifies that the peer answers: C-ECHO, PS3.7 section 9.1.5.
func (c *Client) Echo(ctx context.Context) (Status, error) {
	pc, ok := c.contextFor(dicom.VerificationSOPClass, "")
	if !ok {
		return Status{}, errors.New("the peer does not accept verification (C-ECHO)")
	}
	rq := c.newRequest(CEchoRQ, dicom.VerificationSOPClass)
	rq.SetUint16(CommandDataSetType, noDataSet)
	a, err := c.exchange(ctx, pc, rq, nil, nil)
	status, _ := statusOf(a.command)
	return status, err
}

// StoreItem is one instance to send.
type StoreItem struct {
	SOPClassUID, SOPInstanceUID, TransferSyntaxUID string
	// Data is the data set in TransferSyntaxUID, without preamble and file meta
	// information. It is sent verbatim, to its end; only a deflated one of odd
	// length gets the padding it lacks.
	Data io.Reader
	// MoveOriginatorAE and MoveOriginatorMessageID go with instances sent on
	// behalf of a C-MOVE.
	MoveOriginatorAE        string
	MoveOriginatorMessageID uint16
}

// ErrNotAccepted means that no presentation context was accepted for an
// instance's SOP class and transfer syntax. The association can be used on.
var ErrNotAccepted = errors.New("the peer accepts no presentation context for this SOP class and transfer syntax")

// Store sends one instance: C-STORE, PS3.7 section 9.1.1. The instance is stored
// when the error is nil and Status.OK. After an error other than ErrNotAccepted
// or a *ul.SourceError that did not abort, the association is over.
func (c *Client) Store(ctx context.Context, item StoreItem) (Status, error) {
	pc, ok := c.contextFor(item.SOPClassUID, item.TransferSyntaxUID)
	if !ok {
		return Status{}, ErrNotAccepted
	}
	rq := storeRequest(item)
	c.messageID++
	rq.SetUint16(MessageID, c.messageID)
	data := &counted{r: item.data()}
	a, err := c.exchange(ctx, pc, rq, data, nil)
	status, _ := statusOf(a.command)
	c.outgoing.stored(data.n, err == nil && status.OK())
	return status, err
}

// storeRequest is the C-STORE-RQ of an instance, but for its message ID.
func storeRequest(item StoreItem) Command {
	var rq Command
	rq.SetUID(AffectedSOPClassUID, item.SOPClassUID)
	rq.SetUint16(CommandField, uint16(CStoreRQ))
	rq.SetUint16(Priority, 0) // medium
	rq.SetUint16(CommandDataSetType, hasDataSet)
	rq.SetUID(AffectedSOPInstanceUID, item.SOPInstanceUID)
	if item.MoveOriginatorAE != "" {
		rq.SetText(MoveOriginatorApplicationEntity, item.MoveOriginatorAE)
		rq.SetUint16(MoveOriginatorMessageID, item.MoveOriginatorMessageID)
	}
	return rq
}

// data is the data set to send.
func (i *StoreItem) data() io.Reader {
	if ts, ok := dicom.LookupTransferSyntax(i.TransferSyntaxUID); ok && ts.Deflated {
		return &evenReader{r: i.Data}
	}
	return i.Data
}

// evenReader adds a NUL byte to a deflated stream of odd length, as PS3.5 Annex
// A.5 demands and some files lack: dcmtk aborts over an odd fragment.
type evenReader struct {
	r   io.Reader
	odd bool
}

func (e *evenReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := e.r.Read(p)
	e.odd = e.odd != (n%2 == 1)
	if err == io.EOF && e.odd && n == len(p) { // only the bare value means the end
		return n, nil // the NUL goes with the next call
	}
	if err == io.EOF && e.odd { // only the bare value means the end
		p[n] = 0
		e.odd = false
		n++
	}
	return n, err
}

// Release ends the association in good order and closes the connection.
func (c *Client) Release(ctx context.Context) error {
	err := c.assoc.Release(ctx)
	c.outgoing.end(err)
	return err
}

// Close closes the connection; an association that was not released is aborted.
func (c *Client) Close() {
	c.assoc.Close()
	c.outgoing.end(cmp.Or(c.assoc.Err(), errClosedByUs))
}

// Accepts says whether instances of this SOP class can be sent in this transfer
// syntax.
func (c *Client) Accepts(sopClass, transferSyntax string) bool {
	_, ok := c.contextFor(sopClass, transferSyntax)
	return ok
}

// contextFor finds an accepted context in which we are SCU. An empty transfer
// syntax means any.
func (c *Client) contextFor(abstract, ts string) (ul.Context, bool) {
	for _, pc := range c.assoc.Contexts() {
		if pc.SCU && pc.AbstractSyntax == abstract && (ts == "" || pc.TransferSyntax == ts) {
			return pc, true
		}
	}
	return ul.Context{}, false
}

func (c *Client) newRequest(field Field, sopClass string) Command {
	c.messageID++
	var rq Command
	rq.SetUID(AffectedSOPClassUID, sopClass)
	rq.SetUint16(CommandField, uint16(field))
	rq.SetUint16(MessageID, c.messageID)
	return rq
}

// sendFailed asks the reading side for the peer's reason, which comes before the
// close that the sending ran into.
func (c *Client) sendFailed(err error) error {
	var source *ul.SourceError
	if errors.As(err, &source) {
		return err
	}
	if _, _, e := c.assoc.ReadCommand(); e != nil {
		return e
	}
	return err
}

// MaxContexts is how many presentation contexts one association can have.
const MaxContexts = 128

// Kind is what a presentation context is for: instances of one SOP class in one
// transfer syntax.
type Kind struct{ SOPClassUID, TransferSyntaxUID string }

// GroupContexts plans the associations that carry instances of these kinds: for
// each the contexts to propose and the kinds it serves. Each kind has a context
// of its own with its transfer syntax alone, so that the acceptor can't choose
// one that the instance is not in; an association takes MaxContexts.
func GroupContexts(kinds []Kind) []ContextGroup {
	kinds = slices.Clone(kinds)
	slices.SortFunc(kinds, func(a, b Kind) int {
		return cmp.Or(cmp.Compare(a.SOPClassUID, b.SOPClassUID), cmp.Compare(a.TransferSyntaxUID, b.TransferSyntaxUID))
	})
	kinds = slices.Compact(kinds)
	var groups []ContextGroup
	for chunk := range slices.Chunk(kinds, MaxContexts) {
		g := ContextGroup{Kinds: chunk}
		for i, k := range chunk {
			g.Contexts = append(g.Contexts, ul.ProposedContext{
				ID: byte(2*i + 1), AbstractSyntax: k.SOPClassUID,
				TransferSyntaxes: []string{k.TransferSyntaxUID},
			})
		}
		groups = append(groups, g)
	}
	return groups
}

// ContextGroup is one association's share of what there is to send.
type ContextGroup struct {
	Kinds    []Kind
	Contexts []ul.ProposedContext
}
