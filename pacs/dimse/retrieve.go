package dimse

import (
	"context"
	"errors"
	"math"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// Suboperations counts the C-STORE sub-operations of a C-MOVE or C-GET.
// PS3.7 section 9.1.3.1.
type Suboperations struct{ Remaining, Completed, Failed, Warning int }

// Retrieved is the outcome of a C-MOVE or C-GET.
type Retrieved struct {
	Status
	Suboperations
	// FailedInstances are the SOP Instance UIDs that could not be sent. They go
	// out as Failed SOP Instance UID List (0008,0058), as many as fit.
	FailedInstances []string
}

// MoveHandler answers a C-MOVE: it sends instances to rq.MoveDestination over
// associations of its own and reports to out meanwhile. PS3.7 section 9.1.4,
// PS3.4 section C.4.2. Cancelled, it sends what is begun and returns what is
// left as Remaining.
type MoveHandler func(ctx context.Context, rq *Request, out *Progress) Retrieved

// GetHandler answers a C-GET: it sends instances back through out. PS3.7 section
// 9.1.3, PS3.4 section C.4.3.
type GetHandler func(ctx context.Context, rq *Request, out *Getter) Retrieved

// Progress sends the pending responses of a C-MOVE or C-GET.
type Progress struct{ op *operation }

// Report tells the peer how far the sub-operations are. An error means that it
// wants no more; it is ErrCancelled when the peer said so.
func (p *Progress) Report(n Suboperations) error {
	return p.op.pending(Pending, func(c *Command) (*dicom.Dataset, error) {
		c.setSuboperations(n, true)
		return nil, nil
	})
}

// Getter sends instances over the association of a C-GET.
type Getter struct{ Progress }

// Contexts returns the presentation contexts in which the peer takes instances.
func (g *Getter) Contexts() []ul.Context {
	var list []ul.Context
	for _, pc := range g.op.s.assoc.Contexts() {
		if pc.SCU {
			list = append(list, pc)
		}
	}
	return list
}

// Store sends one instance and waits for the answer, also when the operation is
// cancelled meanwhile: a sub-operation that has begun is completed. Errors are
// those of Client.Store.
func (g *Getter) Store(item StoreItem) (Status, error) {
	for _, pc := range g.op.s.assoc.Contexts() {
		if pc.SCU && pc.AbstractSyntax == item.SOPClassUID && pc.TransferSyntax == item.TransferSyntaxUID {
			rsp, err := g.op.s.call(g.op.s.ctx, pc, storeRequest(item), item.data())
			if err != nil {
				return Status{}, err
			}
			status, ok := statusOf(rsp.command)
			if !ok {
				err := errors.New("C-STORE-RSP without status")
				g.op.s.assoc.Abort(err)
				return Status{}, err
			}
			return status, nil
		}
	}
	return Status{}, ErrNotAccepted
}

// retrieved sends the final response of a C-MOVE or C-GET.
func (op *operation) retrieved(r Retrieved) error {
	op.suboperations = r.Suboperations
	status := op.ifCancelled(r.Status)
	return op.finish(status, func(c *Command) (*dicom.Dataset, error) {
		c.setSuboperations(r.Suboperations, status.Code.Category() == CategoryCancel)
		if len(r.FailedInstances) == 0 {
			return nil, nil
		}
		return new(dicom.Dataset).SetString(dicom.TagFailedSOPInstanceUIDList, dicom.UI, fitting(r.FailedInstances)...), nil
	})
}

// fitting returns as many UIDs as a value of VR UI can list.
func fitting(uids []string) []string {
	total := 0
	for i, uid := range uids {
		if total += len(uid) + 1; total > math.MaxUint16-1 {
			return uids[:i]
		}
	}
	return uids
}

// setSuboperations sets the counters; remaining is only there while there may be
// some. PS3.4 Tables C.4-2 and C.4-3.
func (c *Command) setSuboperations(n Suboperations, remaining bool) {
	count := func(n int) uint16 { return uint16(min(max(n, 0), math.MaxUint16)) }
	if remaining {
		c.SetUint16(NumberOfRemainingSuboperations, count(n.Remaining))
	}
	c.SetUint16(NumberOfCompletedSuboperations, count(n.Completed))
	c.SetUint16(NumberOfFailedSuboperations, count(n.Failed))
	c.SetUint16(NumberOfWarningSuboperations, count(n.Warning))
}

// suboperations reads the counters.
func (c Command) suboperations() Suboperations {
	count := func(t Tag) int {
		n, _ := c.Uint16(t)
		return int(n)
	}
	return Suboperations{
		Remaining: count(NumberOfRemainingSuboperations), Completed: count(NumberOfCompletedSuboperations),
		Failed: count(NumberOfFailedSuboperations), Warning: count(NumberOfWarningSuboperations),
	}
}
