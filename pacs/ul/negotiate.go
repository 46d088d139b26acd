package ul

import "fmt"

// Context is an accepted presentation context.
type Context struct {
	ID             byte
	AbstractSyntax string
	TransferSyntax string
	// RequestorSCU and RequestorSCP are the requestor's roles as negotiated:
	// without role selection the requestor is SCU and the acceptor SCP.
	RequestorSCU, RequestorSCP bool
}

// AcceptorPolicy is what an acceptor is willing to do.
type AcceptorPolicy struct {
	// Choose picks one of the transfer syntaxes of a proposed context and
	// returns Acceptance, or refuses with another Result.
	Choose func(abstractSyntax string, transferSyntaxes []string) (string, Result)
	// Role answers a role selection item; it may only take away from what is
	// proposed. Nil grants the SCU role alone.
	Role func(sopClass string, scu, scp bool) (bool, bool)
	// Extended answers SOP class extended negotiation; nil, or a nil answer,
	// leaves the item unanswered, which means not supported.
	Extended func(sopClass string, info []byte) []byte
	// IdentityResponse answers a user identity that asks for a response. Nil
	// is the empty answer that user names get. PS3.7 Annex D.3.3.7.
	IdentityResponse []byte
}

// CheckRequest refuses what no acceptor takes: protocols other than version 1
// and application contexts other than DICOM's. PS3.8 section 9.3.2 and Table
// 9-21. It returns nil or the rejection to send.
func CheckRequest(rq *AssociateRequest) *Reject {
	if rq.ProtocolVersion&1 == 0 {
		rj := RejectProtocolVersion
		return &rj
	}
	if rq.ApplicationContext != ApplicationContextName {
		rj := RejectApplicationContext
		return &rj
	}
	return nil
}

// NegotiateAsAcceptor answers every proposed context in the order proposed,
// and returns the accepted ones. An abstract syntax may stand in any number of
// contexts; each is decided alone.
func NegotiateAsAcceptor(rq *AssociateRequest, policy AcceptorPolicy) ([]ContextResult, []Context) {
	roles := make(map[string]Role)
	for _, r := range negotiateRoles(rq.User.Roles, policy) {
		roles[r.SOPClassUID] = r
	}
	results := make([]ContextResult, 0, len(rq.Contexts))
	var accepted []Context
	for _, c := range rq.Contexts {
		ts, result := "", AbstractSyntaxNotSupported
		switch {
		case c.AbstractSyntax == "":
		case len(c.TransferSyntaxes) == 0:
			result = TransferSyntaxesNotSupported
		default:
			ts, result = policy.Choose(c.AbstractSyntax, c.TransferSyntaxes)
			if result != Acceptance {
				// The value is insignificant but some requestors want a UID there.
				ts = c.TransferSyntaxes[0]
			}
		}
		results = append(results, ContextResult{ID: c.ID, Result: result, TransferSyntax: ts})
		if result == Acceptance {
			accepted = append(accepted, newContext(c.ID, c.AbstractSyntax, ts, roles))
		}
	}
	return results, accepted
}

func newContext(id byte, abstract, ts string, roles map[string]Role) Context {
	c := Context{ID: id, AbstractSyntax: abstract, TransferSyntax: ts, RequestorSCU: true}
	if r, ok := roles[abstract]; ok {
		c.RequestorSCU, c.RequestorSCP = r.SCU, r.SCP
	}
	return c
}

// negotiateRoles answers role selection: never more than was proposed.
// PS3.7 Annex D.3.3.4.
func negotiateRoles(proposed []Role, policy AcceptorPolicy) []Role {
	var answer []Role
	for _, r := range proposed {
		scu, scp := r.SCU, false
		if policy.Role != nil {
			scu, scp = policy.Role(r.SOPClassUID, r.SCU, r.SCP)
		}
		answer = append(answer, Role{SOPClassUID: r.SOPClassUID, SCU: r.SCU && scu, SCP: r.SCP && scp})
	}
	return answer
}

// acceptUser builds the user information of an acceptance.
func acceptUser(rq *AssociateRequest, policy AcceptorPolicy, own UserInformation) UserInformation {
	own.Roles = negotiateRoles(rq.User.Roles, policy)
	if rq.User.AsyncWindow != nil {
		// One operation at a time, the default. PS3.7 Annex D.3.3.3.
		own.AsyncWindow = &AsyncWindow{Invoked: 1, Performed: 1}
	}
	if policy.Extended != nil {
		for _, x := range rq.User.Extended {
			if info := policy.Extended(x.SOPClassUID, x.Info); info != nil {
				own.Extended = append(own.Extended, ExtendedNegotiation{SOPClassUID: x.SOPClassUID, Info: info})
			}
		}
	}
	if id := rq.User.Identity; id != nil && id.ResponseRequested {
		own.IdentityResponse = &UserIdentityResponse{Response: policy.IdentityResponse}
	}
	return own
}

// NegotiateAsRequestor pairs the acceptor's results with what was proposed and
// returns the contexts that can be used. A result for a context that was not
// proposed, or a transfer syntax that was not, is an error: the acceptor can't
// be relied on.
func NegotiateAsRequestor(rq *AssociateRequest, ac *AssociateAccept) ([]Context, error) {
	proposed := make(map[byte]ProposedContext, len(rq.Contexts))
	for _, c := range rq.Contexts {
		proposed[c.ID] = c
	}
	roles := make(map[string]Role)
	for _, r := range ac.User.Roles {
		roles[r.SOPClassUID] = r
	}
	var accepted []Context
	for _, r := range ac.Contexts {
		p, ok := proposed[r.ID]
		if !ok {
			return nil, invalid(TypeAssociateAC, "answers presentation context %d, which was not proposed or is answered twice", r.ID)
		}
		delete(proposed, r.ID)
		if r.Result != Acceptance {
			continue
		}
		if !contains(p.TransferSyntaxes, r.TransferSyntax) {
			return nil, invalid(TypeAssociateAC, "accepts presentation context %d with transfer syntax %q, which was not proposed",
				r.ID, r.TransferSyntax)
		}
		accepted = append(accepted, newContext(r.ID, p.AbstractSyntax, r.TransferSyntax, roles))
	}
	return accepted, nil
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// Encoding is what a transfer syntax does to a data set, as far as choosing
// one goes.
type Encoding byte

const (
	// NotTaken: the acceptor can't keep data sets in this transfer syntax.
	NotTaken Encoding = iota
	ExplicitBigEndian
	Deflated
	ImplicitLittleEndian
	ExplicitLittleEndian
	// Lossy: pixel data in a compression that may lose information.
	Lossy
	// Lossless: pixel data in a compression that loses nothing.
	Lossless
)

// ChooseTransferSyntax picks what keeps an object as its sender has it:
// compressed before Explicit before Implicit VR Little Endian, the sender's
// first among equals. A lossy compression that the sender lists after an
// uncompressed syntax is the exception and comes last: choosing it could make
// the sender compress an original that it offered to send whole.
func ChooseTransferSyntax(proposed []string, encoding func(uid string) Encoding) (string, bool) {
	best, bestRank := "", -1
	uncompressedSeen := false
	for _, uid := range proposed {
		e := encoding(uid)
		rank := int(e)
		switch e {
		case NotTaken:
			continue
		case Lossy:
			if uncompressedSeen {
				rank = 0
			}
		case ExplicitBigEndian, Deflated, ImplicitLittleEndian, ExplicitLittleEndian:
			uncompressedSeen = true
		}
		if rank > bestRank {
			best, bestRank = uid, rank
		}
	}
	return best, bestRank >= 0
}

// String names the context for logs and errors.
func (c Context) String() string {
	return fmt.Sprintf("%d: %s in %s", c.ID, c.AbstractSyntax, c.TransferSyntax)
}
