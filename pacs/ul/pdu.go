package ul

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// PDUType is the first byte of a protocol data unit. PS3.8 section 9.3.1.
type PDUType byte

const (
	TypeAssociateRQ PDUType = 0x01
	TypeAssociateAC PDUType = 0x02
	TypeAssociateRJ PDUType = 0x03
	TypeData        PDUType = 0x04
	TypeReleaseRQ   PDUType = 0x05
	TypeReleaseRP   PDUType = 0x06
	TypeAbort       PDUType = 0x07
)

func (t PDUType) String() string {
	switch t {
	case TypeAssociateRQ:
		return "A-ASSOCIATE-RQ"
	case TypeAssociateAC:
		return "A-ASSOCIATE-AC"
	case TypeAssociateRJ:
		return "A-ASSOCIATE-RJ"
	case TypeData:
		return "P-DATA-TF"
	case TypeReleaseRQ:
		return "A-RELEASE-RQ"
	case TypeReleaseRP:
		return "A-RELEASE-RP"
	case TypeAbort:
		return "A-ABORT"
	}
	return fmt.Sprintf("PDU type %02XH", byte(t))
}

const (
	// pduHeaderLen is type, reserved byte and 32-bit length.
	pduHeaderLen = 6
	// pdvHeaderLen is the 32-bit length, the context ID and the message
	// control header that stand before each fragment. PS3.8 section 9.3.5.1.
	pdvHeaderLen = 6
	// MaxAssociateLen bounds the body of A-ASSOCIATE-RQ and -AC. 128 contexts
	// with 60 transfer syntaxes of 64 characters each need half of it.
	MaxAssociateLen = 1 << 20
	// DefaultMaxPDU is the P-DATA-TF body length we offer to receive. dcmtk
	// sends twice as fast with it as with its own default of 16 KiB.
	DefaultMaxPDU = 256 << 10
	// minMaxPDU is the smallest maximum length that still carries a fragment
	// in reasonable pieces; PS3.8 sets none, dcmtk refuses below 4096.
	minMaxPDU = 4096
	// maxSendPDU caps the P-DATA-TF bodies we send, whatever the peer allows.
	maxSendPDU = 256 << 10
	// MaxCommandLen bounds a command set. The longest real one holds an
	// Attribute Identifier List of a few hundred tags.
	MaxCommandLen = 64 << 10
)

// ApplicationContextName is the only DICOM application context. PS3.7 Annex A.
const ApplicationContextName = "1.2.840.10008.3.1.1.1"

// A PDU is any protocol data unit except P-DATA-TF, which is streamed.
type PDU interface {
	// Append encodes the PDU, header included, to dst.
	Append(dst []byte) []byte
	// Type returns the PDU type.
	Type() PDUType
}

// AssociateRequest is an A-ASSOCIATE-RQ. PS3.8 Table 9-11.
type AssociateRequest struct {
	// ProtocolVersion has bit 0 set for version 1; 0 is encoded as 1.
	ProtocolVersion uint16
	// CalledAE and CallingAE are without the padding spaces.
	CalledAE, CallingAE string
	// ApplicationContext is normally ApplicationContextName; "" is encoded so.
	ApplicationContext string
	Contexts           []ProposedContext
	User               UserInformation
	// Unknown holds items of types this package does not know, in order.
	Unknown []Item
}

// ProposedContext is a presentation context as proposed. PS3.8 Table 9-13.
type ProposedContext struct {
	ID               byte // odd, 1 to 255
	AbstractSyntax   string
	TransferSyntaxes []string
}

// AssociateAccept is an A-ASSOCIATE-AC. PS3.8 Table 9-17.
type AssociateAccept struct {
	ProtocolVersion uint16
	// CalledAE and CallingAE repeat the request's fields and must not be
	// tested by the requestor.
	CalledAE, CallingAE string
	ApplicationContext  string
	Contexts            []ContextResult
	User                UserInformation
	Unknown             []Item
}

// ContextResult answers one proposed context. PS3.8 Table 9-18.
type ContextResult struct {
	ID     byte
	Result Result
	// TransferSyntax is significant only when Result is Acceptance.
	TransferSyntax string
}

// Result is the outcome for one presentation context. PS3.8 Table 9-18.
type Result byte

const (
	Acceptance                   Result = 0
	UserRejection                Result = 1
	NoReason                     Result = 2 // provider rejection
	AbstractSyntaxNotSupported   Result = 3 // provider rejection
	TransferSyntaxesNotSupported Result = 4 // provider rejection
	resultLast                          = TransferSyntaxesNotSupported
)

func (r Result) String() string {
	switch r {
	case Acceptance:
		return "accepted"
	case UserRejection:
		return "user rejection"
	case NoReason:
		return "no reason given"
	case AbstractSyntaxNotSupported:
		return "abstract syntax not supported"
	case TransferSyntaxesNotSupported:
		return "transfer syntaxes not supported"
	}
	return fmt.Sprintf("result %d", byte(r))
}

// ReleaseRequest is an A-RELEASE-RQ. PS3.8 Table 9-24.
type ReleaseRequest struct{}

// ReleaseResponse is an A-RELEASE-RP. PS3.8 Table 9-25.
type ReleaseResponse struct{}

func (*AssociateRequest) Type() PDUType { return TypeAssociateRQ }
func (*AssociateAccept) Type() PDUType  { return TypeAssociateAC }
func (*Reject) Type() PDUType           { return TypeAssociateRJ }
func (ReleaseRequest) Type() PDUType    { return TypeReleaseRQ }
func (ReleaseResponse) Type() PDUType   { return TypeReleaseRP }
func (*Abort) Type() PDUType            { return TypeAbort }

// Append encodes the request. AE titles are cut at 16 characters.
func (rq *AssociateRequest) Append(dst []byte) []byte {
	return appendAssociate(dst, TypeAssociateRQ, rq.ProtocolVersion, rq.CalledAE, rq.CallingAE, rq.ApplicationContext,
		func(b []byte) []byte {
			for _, c := range rq.Contexts {
				b = c.append(b)
			}
			return b
		}, &rq.User, rq.Unknown)
}

// Append encodes the acceptance.
func (ac *AssociateAccept) Append(dst []byte) []byte {
	return appendAssociate(dst, TypeAssociateAC, ac.ProtocolVersion, ac.CalledAE, ac.CallingAE, ac.ApplicationContext,
		func(b []byte) []byte {
			for _, c := range ac.Contexts {
				b = c.append(b)
			}
			return b
		}, &ac.User, ac.Unknown)
}

func appendAssociate(b []byte, t PDUType, version uint16, called, calling, appContext string,
	contexts func([]byte) []byte, user *UserInformation, unknown []Item,
) []byte {
	if version == 0 {
		version = 1
	}
	if appContext == "" {
		appContext = ApplicationContextName
	}
	b, start := beginPDU(b, t)
	b = binary.BigEndian.AppendUint16(b, version)
	b = append(b, 0, 0)
	b = appendAETitle(b, called)
	b = appendAETitle(b, calling)
	b = append(b, make([]byte, 32)...)
	b = appendItem(b, itemApplicationContext, []byte(appContext))
	b = contexts(b)
	for _, it := range unknown {
		b = appendItem(b, it.Type, it.Data)
	}
	b = user.append(b)
	return endPDU(b, start)
}

// Append encodes the rejection.
func (rj *Reject) Append(dst []byte) []byte {
	return append(dst, byte(TypeAssociateRJ), 0, 0, 0, 0, 4, 0, byte(rj.Result), byte(rj.Source), byte(rj.Reason))
}

func (ReleaseRequest) Append(dst []byte) []byte {
	return append(dst, byte(TypeReleaseRQ), 0, 0, 0, 0, 4, 0, 0, 0, 0)
}

func (ReleaseResponse) Append(dst []byte) []byte {
	return append(dst, byte(TypeReleaseRP), 0, 0, 0, 0, 4, 0, 0, 0, 0)
}

// Append encodes the abort.
func (ab *Abort) Append(dst []byte) []byte {
	return append(dst, byte(TypeAbort), 0, 0, 0, 0, 4, 0, 0, byte(ab.Source), byte(ab.Reason))
}

func beginPDU(b []byte, t PDUType) ([]byte, int) {
	start := len(b)
	return append(b, byte(t), 0, 0, 0, 0, 0), start
}

func endPDU(b []byte, start int) []byte {
	binary.BigEndian.PutUint32(b[start+2:], uint32(len(b)-start-pduHeaderLen))
	return b
}

// appendAETitle pads with spaces to 16 bytes. PS3.8 Table 9-11.
func appendAETitle(b []byte, ae string) []byte {
	const width = 16
	if len(ae) > width {
		ae = ae[:width]
	}
	b = append(b, ae...)
	for i := len(ae); i < width; i++ {
		b = append(b, ' ')
	}
	return b
}

// parseAETitle drops leading and trailing spaces, which are not significant,
// and the NUL padding that some devices use.
func parseAETitle(b []byte) string { return strings.Trim(string(b), " \x00") }

// ParseError says why a PDU can't be understood; Reason is what an A-ABORT
// reports about it.
type ParseError struct {
	PDU     PDUType
	Reason  AbortReason
	Message string
}

func (e *ParseError) Error() string { return fmt.Sprintf("%s: %s", e.PDU, e.Message) }

func invalid(t PDUType, format string, args ...any) *ParseError {
	return &ParseError{PDU: t, Reason: ReasonInvalidParameter, Message: fmt.Sprintf(format, args...)}
}

// checkLength says whether a PDU of this type may have a body of n bytes.
// maxData is the P-DATA-TF limit in force.
func checkLength(t PDUType, n, maxData uint32) error {
	switch t {
	case TypeAssociateRQ, TypeAssociateAC:
		if n < 68 {
			return invalid(t, "%d bytes is too short", n)
		}
		if n > MaxAssociateLen {
			return invalid(t, "length %d is over the limit of %d", n, MaxAssociateLen)
		}
	case TypeAssociateRJ, TypeReleaseRQ, TypeReleaseRP, TypeAbort:
		if n != 4 {
			return invalid(t, "length %d, must be 4", n)
		}
	case TypeData:
		if n < pdvHeaderLen {
			return invalid(t, "length %d leaves no room for a presentation data value", n)
		}
		if n > maxData {
			return invalid(t, "length %d is over the maximum of %d in force", n, maxData)
		}
	default:
		return &ParseError{PDU: t, Reason: ReasonUnrecognizedPDU, Message: "not a DICOM PDU"}
	}
	return nil
}

// ReadPDU reads one PDU from r: the form for tools and tests. A P-DATA-TF comes
// as [Data], held in memory, with a body of at most maxData bytes. It returns
// io.EOF when r is at its end, io.ErrUnexpectedEOF inside a PDU and a
// *ParseError for what is not a valid PDU.
func ReadPDU(r io.Reader, maxData uint32) (PDU, error) {
	var h [pduHeaderLen]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return nil, err
	}
	t, n := PDUType(h[0]), binary.BigEndian.Uint32(h[2:])
	if err := checkLength(t, n, maxData); err != nil {
		return nil, err
	}
	body, err := readBody(r, int(n))
	if err != nil {
		return nil, err
	}
	return parsePDU(t, body)
}

// readBody reads n bytes without trusting n: memory grows with what arrives.
func readBody(r io.Reader, n int) ([]byte, error) {
	body := make([]byte, 0, min(n, 16<<10))
	for len(body) < n {
		if len(body) == cap(body) {
			body = append(make([]byte, 0, min(n, 2*cap(body))), body...)
		}
		m, err := r.Read(body[len(body):min(n, cap(body))])
		body = body[:len(body)+m]
		if err != nil && len(body) < n {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return body, nil
}

// parsePDU decodes the body of a PDU whose length was checked.
func parsePDU(t PDUType, body []byte) (PDU, error) {
	switch t {
	case TypeAssociateRQ:
		return parseAssociateRequest(body)
	case TypeAssociateAC:
		return parseAssociateAccept(body)
	case TypeAssociateRJ:
		return &Reject{Result: RejectResult(body[1]), Source: RejectSource(body[2]), Reason: RejectReason(body[3])}, nil
	case TypeReleaseRQ:
		return ReleaseRequest{}, nil
	case TypeReleaseRP:
		return ReleaseResponse{}, nil
	case TypeAbort:
		return &Abort{Source: AbortSource(body[2]), Reason: AbortReason(body[3])}, nil
	case TypeData:
		return parseData(body)
	}
	return nil, &ParseError{PDU: t, Reason: ReasonUnrecognizedPDU, Message: "not a DICOM PDU"}
}

// Data is a P-DATA-TF held in memory. Associations stream instead.
type Data []DataValue

// DataValue is a presentation data value (PDV): one fragment of one message.
// PS3.8 section 9.3.5.1 and Annex E.
type DataValue struct {
	ContextID byte
	Command   bool // message control header bit 0: command or data set
	Last      bool // message control header bit 1
	Fragment  []byte
}

func (Data) Type() PDUType { return TypeData }

// Append encodes the values as one P-DATA-TF.
func (d Data) Append(dst []byte) []byte {
	b, start := beginPDU(dst, TypeData)
	for _, v := range d {
		b = appendPDVHeader(b, v.ContextID, controlHeader(v.Command, v.Last), len(v.Fragment))
		b = append(b, v.Fragment...)
	}
	return endPDU(b, start)
}

// Message control header bits. PS3.8 Annex E.2.
const (
	controlCommand = 0x01
	controlLast    = 0x02
)

func controlHeader(command, last bool) (h byte) {
	if command {
		h |= controlCommand
	}
	if last {
		h |= controlLast
	}
	return h
}

func appendPDVHeader(b []byte, contextID, control byte, fragment int) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(fragment)+2)
	return append(b, contextID, control)
}

func parseData(body []byte) (Data, error) {
	var d Data
	for len(body) > 0 {
		v, n, err := parsePDVHeader(body, len(body))
		if err != nil {
			return nil, err
		}
		body = body[pdvHeaderLen:]
		v.Fragment = body[:n:n]
		body = body[n:]
		d = append(d, v)
	}
	return d, nil
}

// parsePDVHeader reads the header at the start of b; left is what remains of
// the PDU's body, header included. n is the length of the fragment.
func parsePDVHeader(b []byte, left int) (v DataValue, n int, err error) {
	if left < pdvHeaderLen {
		return v, 0, invalid(TypeData, "%d stray bytes after the last presentation data value", left)
	}
	l := binary.BigEndian.Uint32(b)
	if l < 2 || int64(l) > int64(left)-4 {
		return v, 0, invalid(TypeData, "presentation data value of %d bytes in a PDU with %d left", l, left-4)
	}
	v.ContextID, v.Command, v.Last = b[4], b[5]&controlCommand != 0, b[5]&controlLast != 0
	return v, int(l) - 2, nil
}
