package ul

import (
	"fmt"
	"slices"
)

// Context is an accepted presentation context.
type Context struct {
	ID             byte
	AbstractSyntax string
	TransferSyntax string
	// SCU and SCP are the roles that this side has in the context: as SCU it
	// invokes operations, as SCP it performs them. Without role selection the
	// requestor is SCU and the acceptor SCP. PS3.7 Annex D.3.3.4.
	SCU, SCP bool
}

// AcceptorPolicy is what an acceptor is willing to do.
type AcceptorPolicy struct {
	// Choose picks one of the transfer syntaxes of a proposed context and
	// returns Acceptance, or refuses with another Result.
	Choose func(abstractSyntax string, transferSyntaxes []string) (string, Result)
	// Role answers a role selection item with the roles that the requestor gets;
	// it may only take away from what is proposed. Nil grants the SCU role alone.
	// A context whose requestor gets no role is refused.
	Role func(sopClass string, scu, scp bool) (bool, bool)
	// Extended answers SOP class extended negotiation; nil, or a nil answer,
	// leaves the item unanswered, which means not supported.
	Extended func(sopClass string, info []byte) []byte
	// AsyncWindow is the most outstanding operations to agree to, in the
	// requestor's words: Invoked by the requestor, Performed by it. Zero is one,
	// which is what a requestor gets that proposes no window.
	AsyncWindow AsyncWindow
	// Identity answers a user identity that asks for a response. It says that
	// the identity was verified; nil leaves it unanswered, which says that it was
	// not looked at. User names get an empty one. PS3.7 Annex D.3.3.7.
	Identity *UserIdentityResponse
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
	roles := rolesByClass(negotiateRoles(rq.User.Roles, policy))
	results := make([]ContextResult, 0, len(rq.Contexts))
	var accepted []Context
	for _, c := range rq.Contexts {
		scu, scp := roles.of(c.AbstractSyntax)
		ts, result := "", AbstractSyntaxNotSupported
		switch {
		case c.AbstractSyntax == "":
		case len(c.TransferSyntaxes) == 0:
			result = TransferSyntaxesNotSupported
		default:
			if ts, result = policy.Choose(c.AbstractSyntax, c.TransferSyntaxes); result == Acceptance && !scu && !scp {
				result = UserRejection
			}
			if result != Acceptance {
				// The value is insignificant but some requestors want a UID there.
				ts = c.TransferSyntaxes[0]
			}
		}
		results = append(results, ContextResult{ID: c.ID, Result: result, TransferSyntax: ts})
		if result == Acceptance {
			accepted = append(accepted, Context{ID: c.ID, AbstractSyntax: c.AbstractSyntax, TransferSyntax: ts, SCU: scp, SCP: scu})
		}
	}
	return results, accepted
}

// roleTable holds the requestor's roles for the SOP classes that have a role
// selection item.
type roleTable map[string]Role

func rolesByClass(roles []Role) roleTable {
	t := make(roleTable, len(roles))
	for _, r := range roles {
		t[r.SOPClassUID] = r
	}
	return t
}

// of returns the requestor's roles, which are the default ones without an item.
func (t roleTable) of(sopClass string) (scu, scp bool) {
	if r, ok := t[sopClass]; ok {
		return r.SCU, r.SCP
	}
	return true, false
}

// negotiateRoles answers role selection, one item for each SOP class: never
// more than was proposed. PS3.7 Annex D.3.3.4.
func negotiateRoles(proposed []Role, policy AcceptorPolicy) []Role {
	var answer []Role
	answered := make(map[string]bool, len(proposed))
	for _, r := range proposed {
		if answered[r.SOPClassUID] {
			continue
		}
		answered[r.SOPClassUID] = true
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
	if w := rq.User.AsyncWindow; w != nil {
		own.AsyncWindow = &AsyncWindow{
			Invoked:   atMost(w.Invoked, max(policy.AsyncWindow.Invoked, 1)),
			Performed: atMost(w.Performed, max(policy.AsyncWindow.Performed, 1)),
		}
	}
	if policy.Extended != nil {
		for _, x := range rq.User.Extended {
			if info := policy.Extended(x.SOPClassUID, x.Info); info != nil {
				own.Extended = append(own.Extended, ExtendedNegotiation{SOPClassUID: x.SOPClassUID, Info: info})
			}
		}
	}
	if id := rq.User.Identity; id != nil && id.ResponseRequested {
		own.IdentityResponse = policy.Identity
	}
	return own
}

// atMost bounds a number of operations, of which 0 is no limit.
func atMost(n, limit uint16) uint16 {
	if n == 0 || limit == 0 {
		return max(n, limit)
	}
	return min(n, limit)
}

// agreedWindow is the window in force after these two items, in the
// requestor's words: an acceptor that answers more than was proposed gets what
// was proposed, and one operation each way is what holds without both items.
// PS3.7 Annex D.3.3.3.
func agreedWindow(proposed, answered *AsyncWindow) AsyncWindow {
	if proposed == nil || answered == nil {
		return AsyncWindow{Invoked: 1, Performed: 1}
	}
	return AsyncWindow{
		Invoked:   atMost(answered.Invoked, proposed.Invoked),
		Performed: atMost(answered.Performed, proposed.Performed),
	}
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
	roles := agreedRoles(rq.User.Roles, ac.User.Roles)
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
		if !slices.Contains(p.TransferSyntaxes, r.TransferSyntax) {
			return nil, invalid(TypeAssociateAC, "accepts presentation context %d with transfer syntax %q, which was not proposed",
				r.ID, r.TransferSyntax)
		}
		scu, scp := roles.of(p.AbstractSyntax)
		accepted = append(accepted, Context{ID: r.ID, AbstractSyntax: p.AbstractSyntax, TransferSyntax: r.TransferSyntax, SCU: scu, SCP: scp})
	}
	return accepted, nil
}

// agreedRoles is what is left of the proposed roles after the acceptor's
// answer. What it leaves unanswered has the default roles, and what was not
// proposed can't be granted. PS3.7 Annex D.3.3.4.
func agreedRoles(proposed, answered []Role) roleTable {
	answers := rolesByClass(answered)
	agreed := make(roleTable, len(proposed))
	for _, p := range proposed {
		if r, ok := answers[p.SOPClassUID]; ok {
			agreed[p.SOPClassUID] = Role{SOPClassUID: p.SOPClassUID, SCU: p.SCU && r.SCU, SCP: p.SCP && r.SCP}
		}
	}
	return agreed
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

// ChooseToSend picks for a context in which the acceptor will be the one that
// sends, as in C-GET: every stored object can be given in an uncompressed
// transfer syntax, and only some in any other. The requestor's first among
// equals.
func ChooseToSend(proposed []string, encoding func(uid string) Encoding) (string, bool) {
	// The rank of each Encoding, from NotTaken to Lossless.
	ranks := [...]int{NotTaken: 0, Lossy: 1, Lossless: 2, ExplicitBigEndian: 3, Deflated: 4, ImplicitLittleEndian: 5, ExplicitLittleEndian: 6}
	best, bestRank := "", 0
	for _, uid := range proposed {
		if rank := ranks[encoding(uid)]; rank > bestRank {
			best, bestRank = uid, rank
		}
	}
	return best, bestRank > 0
}

// String names the context for logs and errors.
func (c Context) String() string {
	return fmt.Sprintf("%d: %s in %s", c.ID, c.AbstractSyntax, c.TransferSyntax)
}
