package dimse

import (
	"context"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// FindHandler answers a C-FIND: it sends each match to out as it is found and
// returns the final status, which is success also when there was none. When out
// or ctx say ErrCancelled it returns Cancelled. PS3.7 section 9.1.2, PS3.4
// section C.4.1.
type FindHandler func(ctx context.Context, rq *Request, out *Matches) Status

// Matches takes what a C-FIND finds.
type Matches struct {
	// OptionalKeysIgnored is set by the handler when some of the identifier's
	// optional keys were not matched by: pending responses then say FF01H.
	OptionalKeysIgnored bool

	op *operation
}

// Send sends one match as a pending response. It returns when the match is on
// its way, at the speed of the peer: nothing is gathered. An error means that
// no more matches are wanted; it is ErrCancelled when the peer said so.
func (m *Matches) Send(match *dicom.Dataset) error {
	code := Pending
	if m.OptionalKeysIgnored {
		code = PendingWarning
	}
	return m.op.pending(code, func(*Command) (*dicom.Dataset, error) { return match, nil })
}
