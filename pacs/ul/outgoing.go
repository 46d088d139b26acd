package ul

import "fmt"

// Lengths that the PDUs can express, for what this side sends. What peers send
// is measured where it is parsed.
const (
	maxItemLen = 0xFFFF
	maxAELen   = 16
	maxUIDLen  = 64
	maxContext = 128 // the odd IDs of a byte
)

// checkOutgoing refuses a request that can't be encoded as it is: it would
// arrive cut, as another request. It is the caller's mistake.
func (rq *AssociateRequest) checkOutgoing() error {
	for _, ae := range []string{rq.CalledAE, rq.CallingAE} {
		if ae == "" || len(ae) > maxAELen {
			return fmt.Errorf("AE title %q must have 1 to %d characters", ae, maxAELen)
		}
	}
	if len(rq.Contexts) == 0 || len(rq.Contexts) > maxContext {
		return fmt.Errorf("%d presentation contexts; an association has 1 to %d", len(rq.Contexts), maxContext)
	}
	var seen [256]bool
	for _, c := range rq.Contexts {
		if c.ID%2 == 0 || seen[c.ID] {
			return fmt.Errorf("presentation context ID %d is even or used twice", c.ID)
		}
		seen[c.ID] = true
		if len(c.AbstractSyntax) > maxUIDLen || len(c.append(nil))-4 > maxItemLen {
			return fmt.Errorf("presentation context %d is too long to be expressed", c.ID)
		}
	}
	return rq.User.checkOutgoing()
}

// checkOutgoing refuses user information whose parts or whole pass the 16-bit
// lengths they are sent with.
func (u *UserInformation) checkOutgoing() error {
	if id := u.Identity; id != nil && len(id.Primary)+len(id.Secondary)+6 > maxItemLen {
		return fmt.Errorf("user identity of %d bytes is too long to be expressed", len(id.Primary)+len(id.Secondary))
	}
	if r := u.IdentityResponse; r != nil && len(r.Response)+2 > maxItemLen {
		return fmt.Errorf("user identity response of %d bytes is too long to be expressed", len(r.Response))
	}
	for _, x := range u.Extended {
		if len(x.SOPClassUID)+len(x.Info)+2 > maxItemLen {
			return fmt.Errorf("extended negotiation of %s is too long to be expressed", x.SOPClassUID)
		}
	}
	if n := len(u.append(nil)) - 4; n > maxItemLen {
		return fmt.Errorf("user information of %d bytes is too long to be expressed", n)
	}
	return nil
}
