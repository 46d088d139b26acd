package ul

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"strconv"
)

// User information sub-item types. PS3.8 Annex D.1 and PS3.7 Annex D.3.3.
const (
	subMaximumLength          = 0x51
	subImplementationClassUID = 0x52
	subAsyncWindow            = 0x53
	subRoleSelection          = 0x54
	subImplementationVersion  = 0x55
	subSOPClassExtended       = 0x56
	subSOPClassCommonExtended = 0x57
	subUserIdentity           = 0x58
	subUserIdentityResponse   = 0x59
)

// UserInformation is the user information item. Pointers are nil and slices
// empty for what the peer did not send.
type UserInformation struct {
	// MaxPDU is the longest P-DATA-TF body the sender of this item receives;
	// 0 is no limit. PS3.8 Annex D.1.
	MaxPDU                 uint32
	ImplementationClassUID string
	ImplementationVersion  string // at most 16 characters
	AsyncWindow            *AsyncWindow
	Roles                  []Role
	Extended               []ExtendedNegotiation
	CommonExtended         []CommonExtendedNegotiation
	Identity               *UserIdentity
	// IdentityResponse is not nil when an acceptance answers a UserIdentity
	// that asked for a response.
	IdentityResponse *UserIdentityResponse
	Unknown          []Item
}

// AsyncWindow is the asynchronous operations window; 0 is no limit.
// PS3.7 Annex D.3.3.3.
type AsyncWindow struct{ Invoked, Performed uint16 }

// Role proposes or answers the requestor's roles for a SOP class.
// PS3.7 Annex D.3.3.4.
type Role struct {
	SOPClassUID string
	SCU, SCP    bool
}

// ExtendedNegotiation carries service class application information.
// PS3.7 Annex D.3.3.5.
type ExtendedNegotiation struct {
	SOPClassUID string
	Info        []byte
}

// CommonExtendedNegotiation names the service class and the general classes of
// a SOP class, which lets an acceptor treat an unknown one. PS3.7 Annex D.3.3.6.
type CommonExtendedNegotiation struct {
	SOPClassUID     string
	ServiceClassUID string
	RelatedGeneral  []string
}

// IdentityType says what the fields of a UserIdentity hold. PS3.7 Table D.3-14.
type IdentityType byte

const (
	IdentityUsername         IdentityType = 1
	IdentityUsernamePasscode IdentityType = 2
	IdentityKerberos         IdentityType = 3
	IdentitySAML             IdentityType = 4
	IdentityJWT              IdentityType = 5
)

// UserIdentity is who the requestor says is behind it. It holds secrets, of at
// most 64 KiB together: never log them.
type UserIdentity struct {
	Type              IdentityType
	ResponseRequested bool
	Primary           []byte
	Secondary         []byte // the passcode, for IdentityUsernamePasscode only
}

// String and LogValue keep the secrets out of messages and logs.
func (id UserIdentity) String() string {
	return fmt.Sprintf("%s of %d bytes", id.Type, len(id.Primary))
}

func (id UserIdentity) LogValue() slog.Value { return slog.StringValue(id.String()) }

var identityTypes = map[IdentityType]string{
	IdentityUsername: "user name", IdentityUsernamePasscode: "user name and passcode",
	IdentityKerberos: "Kerberos ticket", IdentitySAML: "SAML assertion", IdentityJWT: "JSON web token",
}

func (t IdentityType) String() string {
	if name, ok := identityTypes[t]; ok {
		return name
	}
	return "identity type " + strconv.Itoa(int(t))
}

// UserIdentityResponse is the acceptor's answer; empty for user names.
// PS3.7 Table D.3-15.
type UserIdentityResponse struct{ Response []byte }

func (u *UserInformation) append(b []byte) []byte {
	b, start := beginItem(b, itemUserInformation)
	b = appendItem(b, subMaximumLength, binary.BigEndian.AppendUint32(nil, u.MaxPDU))
	if u.ImplementationClassUID != "" {
		b = appendItem(b, subImplementationClassUID, []byte(u.ImplementationClassUID))
	}
	if w := u.AsyncWindow; w != nil {
		data := binary.BigEndian.AppendUint16(nil, w.Invoked)
		b = appendItem(b, subAsyncWindow, binary.BigEndian.AppendUint16(data, w.Performed))
	}
	for _, r := range u.Roles {
		data := appendShort(nil, []byte(r.SOPClassUID))
		b = appendItem(b, subRoleSelection, append(data, flag(r.SCU), flag(r.SCP)))
	}
	if u.ImplementationVersion != "" {
		v := u.ImplementationVersion
		b = appendItem(b, subImplementationVersion, []byte(v[:min(len(v), 16)]))
	}
	for _, x := range u.Extended {
		b = appendItem(b, subSOPClassExtended, append(appendShort(nil, []byte(x.SOPClassUID)), x.Info...))
	}
	for _, x := range u.CommonExtended {
		data := appendShort(nil, []byte(x.SOPClassUID))
		data = appendShort(data, []byte(x.ServiceClassUID))
		var related []byte
		for _, uid := range x.RelatedGeneral {
			related = appendShort(related, []byte(uid))
		}
		b = appendItem(b, subSOPClassCommonExtended, appendShort(data, related))
	}
	if id := u.Identity; id != nil {
		data := appendShort([]byte{byte(id.Type), flag(id.ResponseRequested)}, id.Primary)
		b = appendItem(b, subUserIdentity, appendShort(data, id.Secondary))
	}
	if r := u.IdentityResponse; r != nil {
		b = appendItem(b, subUserIdentityResponse, appendShort(nil, r.Response))
	}
	for _, it := range u.Unknown {
		b = appendItem(b, it.Type, it.Data)
	}
	return endItem(b, start)
}

func flag(set bool) byte {
	if set {
		return 1
	}
	return 0
}

// appendShort writes a 16-bit length and data.
func appendShort(b, data []byte) []byte {
	data = data[:min(len(data), 0xFFFF)]
	return append(binary.BigEndian.AppendUint16(b, uint16(len(data))), data...)
}

// cutShort splits a field with a 16-bit length off b.
func cutShort(b []byte) (field, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	n := int(binary.BigEndian.Uint16(b))
	if n > len(b)-2 {
		return nil, nil, false
	}
	return b[2 : 2+n : 2+n], b[2+n:], true
}

func (u *UserInformation) parse(t PDUType, data []byte) (err error) {
	for len(data) > 0 {
		var it Item
		if it, data, err = nextItem(t, data); err != nil {
			return err
		}
		if !u.parseSubItem(it) {
			return invalid(t, "user information sub-item %02XH of %d bytes is malformed", it.Type, len(it.Data))
		}
	}
	return nil
}

// parseSubItem returns false for a known sub-item that can't be understood.
func (u *UserInformation) parseSubItem(it Item) bool {
	d := it.Data
	switch it.Type {
	case subMaximumLength:
		if len(d) != 4 {
			return false
		}
		u.MaxPDU = binary.BigEndian.Uint32(d)
	case subImplementationClassUID:
		u.ImplementationClassUID = parseUID(d)
	case subImplementationVersion:
		u.ImplementationVersion = parseUID(d)
	case subAsyncWindow:
		if len(d) != 4 {
			return false
		}
		u.AsyncWindow = &AsyncWindow{Invoked: binary.BigEndian.Uint16(d), Performed: binary.BigEndian.Uint16(d[2:])}
	case subRoleSelection:
		uid, roles, ok := cutShort(d)
		if !ok || len(roles) != 2 {
			return false
		}
		u.Roles = append(u.Roles, Role{SOPClassUID: parseUID(uid), SCU: roles[0] == 1, SCP: roles[1] == 1})
	case subSOPClassExtended:
		uid, info, ok := cutShort(d)
		if !ok {
			return false
		}
		u.Extended = append(u.Extended, ExtendedNegotiation{SOPClassUID: parseUID(uid), Info: append([]byte(nil), info...)})
	case subSOPClassCommonExtended:
		x, ok := parseCommonExtended(d)
		if !ok {
			return false
		}
		u.CommonExtended = append(u.CommonExtended, x)
	case subUserIdentity:
		if len(d) < 2 || u.Identity != nil {
			return false
		}
		primary, rest, ok := cutShort(d[2:])
		if !ok {
			return false
		}
		secondary, _, ok := cutShort(rest)
		if !ok {
			return false
		}
		u.Identity = &UserIdentity{
			Type: IdentityType(d[0]), ResponseRequested: d[1] == 1,
			Primary: append([]byte(nil), primary...), Secondary: append([]byte(nil), secondary...),
		}
	case subUserIdentityResponse:
		response, _, ok := cutShort(d)
		if !ok {
			return false
		}
		u.IdentityResponse = &UserIdentityResponse{Response: append([]byte(nil), response...)}
	default:
		u.Unknown = append(u.Unknown, Item{it.Type, append([]byte(nil), d...)})
	}
	return true
}

func parseCommonExtended(d []byte) (x CommonExtendedNegotiation, ok bool) {
	uid, d, ok := cutShort(d)
	if !ok {
		return x, false
	}
	service, d, ok := cutShort(d)
	if !ok {
		return x, false
	}
	// Later versions of the sub-item may append fields. PS3.7 Table D.3-12.
	related, _, ok := cutShort(d)
	if !ok {
		return x, false
	}
	x.SOPClassUID, x.ServiceClassUID = parseUID(uid), parseUID(service)
	for len(related) > 0 {
		var general []byte
		if general, related, ok = cutShort(related); !ok {
			return x, false
		}
		x.RelatedGeneral = append(x.RelatedGeneral, parseUID(general))
	}
	return x, true
}
