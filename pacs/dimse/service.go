package dimse

import (
	"cmp"
	"context"
	"slices"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// Service is what a Server does for some abstract syntaxes besides verification
// and storage. An operation without a handler is answered "unrecognized
// operation".
//
// Handlers are called from a goroutine of their own, one at a time for an
// association, while the association is read on: ctx is done when the peer
// cancels (then its cause is ErrCancelled), when the association ends, and when
// the server has no more time. A handler that panics ends its association.
type Service struct {
	// SOPClasses are the abstract syntaxes whose presentation contexts are
	// accepted. A message may name any of them in the context of any other, as
	// those of the unified procedure step do.
	SOPClasses []string
	// Extended answers SOP class extended negotiation; nil, or a nil answer, is
	// "not supported". PS3.7 Annex D.3.3.5.
	Extended func(info *AssociationInfo, sopClass string, proposed []byte) []byte
	// PeerSCP lets the requestor of an association be the SCP, who sends
	// N-EVENT-REPORT or answers our requests. PS3.7 Annex D.3.3.4.
	PeerSCP bool
	// MaxDataSet is the longest data set of a request in bytes. Default 1 MiB.
	MaxDataSet int64

	Find FindHandler
	Move MoveHandler
	Get  GetHandler

	NEventReport, NGet, NSet, NAction, NCreate, NDelete NHandler
}

// Request is one request of a service.
type Request struct {
	Association *AssociationInfo
	Field       Field
	MessageID   uint16
	// AbstractSyntax is that of the presentation context, TransferSyntaxUID the
	// one in which data sets are exchanged.
	AbstractSyntax, TransferSyntaxUID string
	// SOPClassUID and SOPInstanceUID are those affected or requested; C-FIND,
	// C-MOVE and C-GET have no instance.
	SOPClassUID, SOPInstanceUID string
	// DataSet is the identifier, attribute list, action or event information.
	// Nil when none came, which C-FIND, C-MOVE and C-GET are refused for.
	DataSet *dicom.Dataset
	// Extended is how extended negotiation for the context's abstract syntax was
	// answered, nil when it was not.
	Extended []byte

	MoveDestination string      // C-MOVE
	EventTypeID     uint16      // N-EVENT-REPORT
	ActionTypeID    uint16      // N-ACTION
	Attributes      []dicom.Tag // N-GET; empty for all

	ended chan struct{}
}

// Answered is closed when the final response is out, or never will be: what must
// follow it, such as an N-EVENT-REPORT over the same association, waits for that.
func (r *Request) Answered() <-chan struct{} { return r.ended }

// NHandler answers a DIMSE-N request. PS3.7 section 10.
type NHandler func(ctx context.Context, rq *Request) NResponse

// NResponse is the answer to a DIMSE-N request.
type NResponse struct {
	Status
	// SOPInstanceUID is the instance that N-CREATE made, where the request named
	// none. Default the request's.
	SOPInstanceUID string
	// DataSet is the attribute list, action reply or event reply; nil for none.
	DataSet *dicom.Dataset
}

func (s *Service) has(sopClass string) bool { return slices.Contains(s.SOPClasses, sopClass) }

func (s *Service) normalized(f Field) NHandler {
	switch f {
	case NEventReportRQ:
		return s.NEventReport
	case NGetRQ:
		return s.NGet
	case NSetRQ:
		return s.NSet
	case NActionRQ:
		return s.NAction
	case NCreateRQ:
		return s.NCreate
	case NDeleteRQ:
		return s.NDelete
	}
	return nil
}

// handles says whether the service has a handler for the operation.
func (s *Service) handles(f Field) bool {
	switch f {
	case CFindRQ:
		return s.Find != nil
	case CMoveRQ:
		return s.Move != nil
	case CGetRQ:
		return s.Get != nil
	}
	return s.normalized(f) != nil
}

func (s *Service) maxDataSet() int64 { return cmp.Or(max(s.MaxDataSet, 0), 1<<20) }

// negotiate answers extended negotiation and keeps the answer for the requests.
func (s *Service) negotiate(info *AssociationInfo, sopClass string, proposed []byte) []byte {
	if s.Extended == nil {
		return nil
	}
	answer := s.Extended(info, sopClass, proposed)
	if answer != nil {
		if info.extended == nil {
			info.extended = make(map[string][]byte)
		}
		info.extended[sopClass] = answer
	}
	return answer
}

// service returns the service of an abstract syntax, nil when there is none.
func (s *Server) service(abstract string) *Service {
	for i := range s.Services {
		if s.Services[i].has(abstract) {
			return &s.Services[i]
		}
	}
	return nil
}

// gets says whether a service of ours sends instances over the association that
// asks for them.
func (s *Server) gets() bool {
	return slices.ContainsFunc(s.Services, func(s Service) bool { return s.Get != nil })
}
