package dimse

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// Offer is what a Server answers to whoever is admitted and proposes an abstract
// syntax. It comes from the same decisions that negotiation makes.
type Offer struct {
	SOPClassUID string
	// Operations are the requests that are carried out. None means that the
	// presentation context is refused.
	Operations []Field
	// TransferSyntaxes are those that are accepted when one is proposed alone, in
	// the order of dicom.TransferSyntaxes.
	TransferSyntaxes []string
	// SCU and SCP are the roles that the requestor is given if it asks for both.
	SCU, SCP bool
	// Sends are the transfer syntaxes that are accepted from a requestor that is
	// SCP alone, as C-GET has it.
	Sends []string
	// Extended is the answer to extended negotiation that asks for everything;
	// nil when there is none.
	Extended []byte
}

// Offer says how the server answers to an abstract syntax. It must not be called
// before the fields are set, and needs no Serve.
func (s *Server) Offer(sopClass string) Offer {
	o := Offer{SOPClassUID: sopClass}
	ask := func(roles ...ul.Role) ul.AcceptorPolicy {
		rq := &ul.AssociateRequest{User: ul.UserInformation{Roles: roles}}
		return s.policy(rq, &AssociationInfo{User: rq.User}, Admission{})
	}
	taken := func(p ul.AcceptorPolicy) (list []string) {
		for _, ts := range dicom.TransferSyntaxes {
			if _, result := p.Choose(sopClass, []string{ts.UID}); result == ul.Acceptance {
				list = append(list, ts.UID)
			}
		}
		return list
	}
	policy := ask()
	if o.TransferSyntaxes = taken(policy); len(o.TransferSyntaxes) == 0 {
		return o
	}
	o.Operations = s.operations(sopClass)
	o.SCU, o.SCP = policy.Role(sopClass, true, true)
	if o.SCP {
		o.Sends = taken(ask(ul.Role{SOPClassUID: sopClass, SCP: true}))
	}
	o.Extended = policy.Extended(sopClass, bytes.Repeat([]byte{1}, 7))
	return o
}

// operations are the requests that are carried out in contexts of a class.
func (s *Server) operations(sopClass string) (list []Field) {
	svc := s.service(sopClass)
	switch {
	case sopClass == dicom.VerificationSOPClass:
		return []Field{CEchoRQ}
	case svc == nil:
		return []Field{CStoreRQ}
	}
	for _, f := range []Field{CFindRQ, CMoveRQ, CGetRQ, NEventReportRQ, NGetRQ, NSetRQ, NActionRQ, NCreateRQ, NDeleteRQ} {
		if svc.handles(f) {
			list = append(list, f)
		}
	}
	return list
}

// Limits are the bounds of a Server.
type Limits struct {
	Associations int // at a time; the next one is rejected as "local limit exceeded"
	// Connections is how many TCP connections are held at a time, associations
	// and those that wait for their rejection.
	Connections  int
	Contexts     int    // presentation contexts of an association
	MaxPDU       uint32 // bytes of a P-DATA-TF body that we offer to receive
	Timeouts     ul.Timeouts
	DrainTimeout time.Duration
	AsyncWindow  ul.AsyncWindow // zero is one operation each way
}

// Limits returns the bounds that are in force.
func (s *Server) Limits() Limits {
	n := cmp.Or(max(s.MaxAssociations, 0), defaultMaxAssociations)
	return Limits{
		Associations: n, Connections: n + extraConnections, Contexts: MaxContexts, MaxPDU: cmp.Or(s.MaxPDU, ul.DefaultMaxPDU),
		Timeouts: s.Timeouts.WithDefaults(), DrainTimeout: cmp.Or(max(s.DrainTimeout, 0), defaultDrainTimeout), AsyncWindow: s.AsyncWindow,
	}
}

// LongestDataSet is the longest data set of a request of the service, in bytes.
func (s *Service) LongestDataSet() int64 { return s.maxDataSet() }

// StatusMeaning is a range of status codes and what they mean.
type StatusMeaning struct {
	First, Last Code
	Category    Category
	Text        string
}

func meanings(table []statusRange) []StatusMeaning {
	var list []StatusMeaning
	for _, r := range table {
		list = append(list, StatusMeaning{r.first, r.last, r.category, r.text})
	}
	slices.SortFunc(list, func(a, b StatusMeaning) int { return cmp.Compare(a.First, b.First) })
	return list
}

// Statuses is the table of the codes that an operation has of its own, PS3.4;
// nil where PS3.7 has all there is, GeneralStatuses.
func Statuses(f Field) []StatusMeaning {
	if f == CStoreRQ {
		return meanings(storageStatuses)
	}
	return meanings(serviceStatuses[f])
}

// GeneralStatuses is the table of the codes of all operations, PS3.7 Annex C.
func GeneralStatuses() []StatusMeaning { return meanings(generalStatuses) }
