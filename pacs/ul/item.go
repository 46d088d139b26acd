package ul

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// Item types inside A-ASSOCIATE PDUs. PS3.8 section 9.3.2 and 9.3.3.
const (
	itemApplicationContext = 0x10
	itemProposedContext    = 0x20
	itemContextResult      = 0x21
	itemAbstractSyntax     = 0x30
	itemTransferSyntax     = 0x40
	itemUserInformation    = 0x50
)

// Item is an item or sub-item that is kept as it came.
type Item struct {
	Type byte
	Data []byte
}

// appendItem writes type, reserved byte, 16-bit length and data. Data over
// 65,535 bytes can't be expressed and is cut.
func appendItem(b []byte, itemType byte, data []byte) []byte {
	if len(data) > 0xFFFF {
		data = data[:0xFFFF]
	}
	b = append(b, itemType, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}

// beginItem and endItem frame an item whose length is known only afterwards.
func beginItem(b []byte, itemType byte) ([]byte, int) {
	start := len(b)
	return append(b, itemType, 0, 0, 0), start
}

func endItem(b []byte, start int) []byte {
	binary.BigEndian.PutUint16(b[start+2:], uint16(len(b)-start-4))
	return b
}

// nextItem splits the first item off b.
func nextItem(t PDUType, b []byte) (it Item, rest []byte, err error) {
	if len(b) < 4 {
		return it, nil, invalid(t, "%d stray bytes where an item should start", len(b))
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if n > len(b)-4 {
		return it, nil, invalid(t, "item %02XH claims %d bytes, %d are left", b[0], n, len(b)-4)
	}
	return Item{Type: b[0], Data: b[4 : 4+n : 4+n]}, b[4+n:], nil
}

// parseUID drops the padding that the standard forbids here and devices send.
func parseUID(b []byte) string { return strings.TrimRight(string(b), " \x00") }

func (c ProposedContext) append(b []byte) []byte {
	b, start := beginItem(b, itemProposedContext)
	b = append(b, c.ID, 0, 0, 0)
	b = appendItem(b, itemAbstractSyntax, []byte(c.AbstractSyntax))
	for _, ts := range c.TransferSyntaxes {
		b = appendItem(b, itemTransferSyntax, []byte(ts))
	}
	return endItem(b, start)
}

func (c ContextResult) append(b []byte) []byte {
	b, start := beginItem(b, itemContextResult)
	b = append(b, c.ID, 0, byte(c.Result), 0)
	// The sub-item is there in a refusal as well, with an insignificant value.
	// PS3.8 Table 9-18.
	b = appendItem(b, itemTransferSyntax, []byte(c.TransferSyntax))
	return endItem(b, start)
}

func parseProposedContext(data []byte) (c ProposedContext, err error) {
	const t = TypeAssociateRQ
	if len(data) < 4 {
		return c, invalid(t, "presentation context of %d bytes", len(data))
	}
	c.ID = data[0]
	if c.ID%2 == 0 {
		return c, invalid(t, "presentation context ID %d, must be odd", c.ID)
	}
	for rest := data[4:]; len(rest) > 0; {
		var it Item
		if it, rest, err = nextItem(t, rest); err != nil {
			return c, err
		}
		switch it.Type {
		case itemAbstractSyntax:
			if c.AbstractSyntax != "" {
				return c, invalid(t, "presentation context %d has two abstract syntaxes", c.ID)
			}
			c.AbstractSyntax = parseUID(it.Data)
		case itemTransferSyntax:
			c.TransferSyntaxes = append(c.TransferSyntaxes, parseUID(it.Data))
		}
	}
	// One without syntaxes is refused by itself, not with the association.
	return c, nil
}

func parseContextResult(data []byte) (c ContextResult, err error) {
	const t = TypeAssociateAC
	if len(data) < 4 {
		return c, invalid(t, "presentation context of %d bytes", len(data))
	}
	c.ID, c.Result = data[0], Result(data[2])
	if c.Result > resultLast {
		return c, invalid(t, "presentation context %d has result %d", c.ID, data[2])
	}
	for rest := data[4:]; len(rest) > 0; {
		var it Item
		if it, rest, err = nextItem(t, rest); err != nil {
			return c, err
		}
		if it.Type == itemTransferSyntax {
			c.TransferSyntax = parseUID(it.Data)
		}
	}
	if c.Result == Acceptance && c.TransferSyntax == "" {
		return c, invalid(t, "presentation context %d accepted without a transfer syntax", c.ID)
	}
	return c, nil
}

// associateFields are what A-ASSOCIATE-RQ and -AC have in common.
type associateFields struct {
	version             uint16
	called, calling     string
	applicationContexts []string
	contexts            [][]byte
	user                *UserInformation
	unknown             []Item
}

func parseAssociate(t PDUType, contextItem byte, body []byte) (f associateFields, err error) {
	if len(body) < 68 {
		return f, invalid(t, "%d bytes is too short", len(body))
	}
	f.version = binary.BigEndian.Uint16(body)
	f.called, f.calling = parseAETitle(body[4:20]), parseAETitle(body[20:36])
	for rest := body[68:]; len(rest) > 0; {
		var it Item
		if it, rest, err = nextItem(t, rest); err != nil {
			return f, err
		}
		switch it.Type {
		case itemApplicationContext:
			f.applicationContexts = append(f.applicationContexts, parseUID(it.Data))
		case contextItem:
			if len(f.contexts) == 128 {
				return f, invalid(t, "more than 128 presentation contexts")
			}
			f.contexts = append(f.contexts, it.Data)
		case itemUserInformation:
			if f.user != nil {
				return f, invalid(t, "two user information items")
			}
			f.user = &UserInformation{}
			if err := f.user.parse(t, it.Data); err != nil {
				return f, err
			}
		default:
			f.unknown = append(f.unknown, Item{it.Type, append([]byte(nil), it.Data...)})
		}
	}
	if len(f.applicationContexts) != 1 {
		return f, invalid(t, "%d application contexts, must be one", len(f.applicationContexts))
	}
	if f.user == nil {
		return f, invalid(t, "no user information item")
	}
	return f, nil
}

func parseAssociateRequest(body []byte) (*AssociateRequest, error) {
	f, err := parseAssociate(TypeAssociateRQ, itemProposedContext, body)
	if err != nil {
		return nil, err
	}
	rq := &AssociateRequest{
		ProtocolVersion: f.version, CalledAE: f.called, CallingAE: f.calling,
		ApplicationContext: f.applicationContexts[0], User: *f.user, Unknown: f.unknown,
	}
	var seen [256]bool
	for _, data := range f.contexts {
		c, err := parseProposedContext(data)
		if err != nil {
			return nil, err
		}
		if seen[c.ID] {
			return nil, invalid(TypeAssociateRQ, "presentation context ID %d used twice", c.ID)
		}
		seen[c.ID] = true
		rq.Contexts = append(rq.Contexts, c)
	}
	if len(rq.Contexts) == 0 {
		return nil, invalid(TypeAssociateRQ, "no presentation contexts")
	}
	return rq, nil
}

func parseAssociateAccept(body []byte) (*AssociateAccept, error) {
	f, err := parseAssociate(TypeAssociateAC, itemContextResult, body)
	if err != nil {
		return nil, err
	}
	ac := &AssociateAccept{
		ProtocolVersion: f.version, CalledAE: f.called, CallingAE: f.calling,
		ApplicationContext: f.applicationContexts[0], User: *f.user, Unknown: f.unknown,
	}
	for _, data := range f.contexts {
		c, err := parseContextResult(data)
		if err != nil {
			return nil, err
		}
		ac.Contexts = append(ac.Contexts, c)
	}
	return ac, nil
}

// String names the context for logs.
func (c ProposedContext) String() string {
	return fmt.Sprintf("%d: %s %v", c.ID, c.AbstractSyntax, c.TransferSyntaxes)
}
