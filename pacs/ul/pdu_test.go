package ul

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// unhex reads hexadecimal bytes; text in quotes stands for its ASCII bytes and
// ';' begins a comment.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	var out []byte
	for line := range strings.Lines(s) {
		line, _, _ = strings.Cut(line, ";")
		for i, part := range strings.Split(line, "'") {
			if i%2 == 1 {
				out = append(out, part...)
				continue
			}
			b, err := hex.DecodeString(strings.Join(strings.Fields(part), ""))
			if err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			out = append(out, b...)
		}
	}
	return out
}

// echoRequest is what dcmtk 3.6.7's echoscu sends first, but for the 0xFF it
// has in a reserved byte of the presentation context. PS3.8 Table 9-11.
const echoRequest = `
	01 00 000000CD        ; A-ASSOCIATE-RQ, reserved, length 205
	0001 0000             ; protocol version 1, reserved
	'STORESCP        '    ; called AE title
	'ECHOSCU         '    ; calling AE title
	0000000000000000000000000000000000000000000000000000000000000000
	10 00 0015 '1.2.840.10008.3.1.1.1'              ; application context
	20 00 002E            ; presentation context
	  01 00 00 00         ; ID 1, reserved
	  30 00 0011 '1.2.840.10008.1.1'                ; abstract syntax: verification
	  40 00 0011 '1.2.840.10008.1.2'                ; transfer syntax: Implicit VR LE
	50 00 003A            ; user information
	  51 00 0004 00004000                           ; maximum length 16384
	  52 00 001B '1.2.276.0.7230010.3.0.3.6.7'      ; implementation class UID
	  55 00 000F 'OFFIS_DCMTK_367'                  ; implementation version name`

// echoAccept is dcmtk's storescp answering it. PS3.8 Table 9-17.
const echoAccept = `
	02 00 000000B8        ; A-ASSOCIATE-AC, reserved, length 184
	0001 0000 'STORESCP        ' 'ECHOSCU         '
	0000000000000000000000000000000000000000000000000000000000000000
	10 00 0015 '1.2.840.10008.3.1.1.1'
	21 00 0019            ; presentation context
	  01 00 00 00         ; ID 1, reserved, result 0: acceptance, reserved
	  40 00 0011 '1.2.840.10008.1.2'
	50 00 003A
	  51 00 0004 00004000
	  52 00 001B '1.2.276.0.7230010.3.0.3.6.7'
	  55 00 000F 'OFFIS_DCMTK_367'`

// everyItem has every sub-item of PS3.7 Annex D.3.3 and two unknown items.
const everyItem = `
	01 00 0000019E
	0001 0000 'TASVIR          ' 'CT01            '
	0000000000000000000000000000000000000000000000000000000000000000
	10 00 0015 '1.2.840.10008.3.1.1.1'
	20 00 004D
	  03 00 00 00
	  30 00 0019 '1.2.840.10008.5.1.4.1.1.2'          ; CT Image Storage
	  40 00 0013 '1.2.840.10008.1.2.1'                ; Explicit VR LE
	  40 00 0011 '1.2.840.10008.1.2'
	61 00 0002 ABCD                                 ; unknown item
	50 00 00E6
	  51 00 0004 00000000                             ; no limit
	  52 00 0004 '1.22'
	  53 00 0004 0005 0002                            ; window: invoked 5, performed 2
	  54 00 001D 0019 '1.2.840.10008.5.1.4.1.1.2' 00 01 ; role: SCU no, SCP yes
	  55 00 0003 'CT9'
	  56 00 0021 0019 '1.2.840.10008.5.1.4.1.1.2' 02 00 03 00 01 00 ; extended: level 2, signature 3, coercion
	  57 00 0059                                      ; common extended
	    0019 '1.2.840.10008.5.1.4.1.1.2'
	    0011 '1.2.840.10008.4.2'                      ; storage service class
	    0029 0013 '1.2.840.10008.5.1.4'               ; two related general SOP classes
	         0012 '1.2.840.10008.5.1.'
	  58 00 0013 02 01 0005 'karim' 0008 'passcode'   ; user identity: name and passcode, response wanted
	  59 00 0004 0002 'ok'
	  7F 00 0001 EE                                   ; unknown sub-item`

func TestGoldenPDUs(t *testing.T) {
	dcmtk := UserInformation{MaxPDU: 16384, ImplementationClassUID: "1.2.276.0.7230010.3.0.3.6.7", ImplementationVersion: "OFFIS_DCMTK_367"}
	const ct = "1.2.840.10008.5.1.4.1.1.2"
	tests := []struct {
		name  string
		bytes string
		pdu   PDU
	}{
		{"echoscu's request", echoRequest, &AssociateRequest{
			ProtocolVersion: 1, CalledAE: "STORESCP", CallingAE: "ECHOSCU",
			ApplicationContext: ApplicationContextName,
			Contexts:           []ProposedContext{{ID: 1, AbstractSyntax: "1.2.840.10008.1.1", TransferSyntaxes: []string{"1.2.840.10008.1.2"}}},
			User:               dcmtk,
		}},
		{"storescp's acceptance", echoAccept, &AssociateAccept{
			ProtocolVersion: 1, CalledAE: "STORESCP", CallingAE: "ECHOSCU",
			ApplicationContext: ApplicationContextName,
			Contexts:           []ContextResult{{ID: 1, Result: Acceptance, TransferSyntax: "1.2.840.10008.1.2"}}, User: dcmtk,
		}},
		{"every item", everyItem, &AssociateRequest{
			ProtocolVersion: 1, CalledAE: "TASVIR", CallingAE: "CT01",
			ApplicationContext: ApplicationContextName,
			Contexts: []ProposedContext{{
				ID: 3, AbstractSyntax: ct,
				TransferSyntaxes: []string{"1.2.840.10008.1.2.1", "1.2.840.10008.1.2"},
			}},
			Unknown: []Item{{0x61, []byte{0xAB, 0xCD}}},
			User: UserInformation{
				ImplementationClassUID: "1.22", ImplementationVersion: "CT9",
				AsyncWindow: &AsyncWindow{Invoked: 5, Performed: 2},
				Roles:       []Role{{SOPClassUID: ct, SCP: true}},
				Extended:    []ExtendedNegotiation{{SOPClassUID: ct, Info: []byte{2, 0, 3, 0, 1, 0}}},
				CommonExtended: []CommonExtendedNegotiation{{
					SOPClassUID: ct, ServiceClassUID: "1.2.840.10008.4.2",
					RelatedGeneral: []string{"1.2.840.10008.5.1.4", "1.2.840.10008.5.1."},
				}},
				Identity: &UserIdentity{
					Type: IdentityUsernamePasscode, ResponseRequested: true, Primary: []byte("karim"),
					Secondary: []byte("passcode"),
				},
				IdentityResponse: &UserIdentityResponse{Response: []byte("ok")},
				Unknown:          []Item{{0x7F, []byte{0xEE}}},
			},
		}},
		{"rejection", "03 00 00000004 00 01 01 07 ; permanent, service-user, called AE title not recognized", &RejectCalledAE},
		{"local limit", "03 00 00000004 00 02 03 02", &RejectLocalLimit},
		{"release request", "05 00 00000004 00000000", ReleaseRequest{}},
		{"release response", "06 00 00000004 00000000", ReleaseResponse{}},
		{"abort", "07 00 00000004 0000 02 06 ; service-provider, invalid parameter value", &Abort{AbortedByProvider, ReasonInvalidParameter}},
		{
			"two values in one P-DATA-TF", `
			04 00 00000011
			00000004 01 03 BEEF   ; length, context, last fragment of a command
			00000005 01 00 000102 ; fragment of a data set, more follow`,
			Data{
				{ContextID: 1, Command: true, Last: true, Fragment: []byte{0xBE, 0xEF}},
				{ContextID: 1, Fragment: []byte{0, 1, 2}},
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := unhex(t, tt.bytes)
			pdu, err := ReadPDU(bytes.NewReader(want), DefaultMaxPDU)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.pdu, pdu); diff != "" {
				t.Errorf("decoded (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(want, tt.pdu.Append(nil)); diff != "" {
				t.Errorf("encoded (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadPDURefuses(t *testing.T) {
	rq := unhex(t, echoRequest)
	edit := func(at int, b ...byte) []byte {
		c := bytes.Clone(rq)
		copy(c[at:], b)
		return c
	}
	const (
		pcItem = 6 + 68 + 25 // where the presentation context item starts
		user   = pcItem + 4 + 46
	)
	tests := []struct {
		name   string
		bytes  []byte
		reason AbortReason
		text   string
	}{
		{"unknown type", []byte{0x08, 0, 0, 0, 0, 4, 0, 0, 0, 0}, ReasonUnrecognizedPDU, "not a DICOM PDU"},
		{"HTTP", []byte("GET / HTTP/1.1\r\n\r\n"), ReasonUnrecognizedPDU, "not a DICOM PDU"},
		{"associate of 4 GB", []byte{1, 0, 0xFF, 0xFF, 0xFF, 0xFF}, ReasonInvalidParameter, "over the limit"},
		{"associate too short", []byte{1, 0, 0, 0, 0, 67}, ReasonInvalidParameter, "too short"},
		{"data over the maximum", []byte{4, 0, 0, 4, 0, 1}, ReasonInvalidParameter, "over the maximum of 262144"},
		{"data without a value", []byte{4, 0, 0, 0, 0, 5}, ReasonInvalidParameter, "no room"},
		{"value longer than its PDU", []byte{4, 0, 0, 0, 0, 7, 0, 0, 0, 4, 1, 3, 9}, ReasonInvalidParameter, "value of 4 bytes"},
		{"value of length 1", []byte{4, 0, 0, 0, 0, 7, 0, 0, 0, 1, 1, 3, 9}, ReasonInvalidParameter, "value of 1 bytes"},
		{"value of length 4 GB", []byte{4, 0, 0, 0, 0, 7, 0xFF, 0xFF, 0xFF, 0xFF, 1, 3, 9}, ReasonInvalidParameter, "value of 4294967295"},
		{"stray bytes after a value", []byte{4, 0, 0, 0, 0, 7, 0, 0, 0, 2, 1, 3, 9}, ReasonInvalidParameter, "1 stray bytes"},
		{"release of length 5", []byte{5, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0}, ReasonInvalidParameter, "must be 4"},
		{"even context ID", edit(pcItem+4, 2), ReasonInvalidParameter, "must be odd"},
		{"item longer than its PDU", edit(pcItem+2, 0xFF, 0xFF), ReasonInvalidParameter, "claims 65535 bytes"},
		{"no context", edit(pcItem, 0x22), ReasonInvalidParameter, "no presentation contexts"},
		{"no user information", edit(user, 0x5F), ReasonInvalidParameter, "no user information"},
		{"no application context", edit(6+68, 0x11), ReasonInvalidParameter, "0 application contexts"},
		{"maximum length of 5 bytes", edit(user+4+3, 5), ReasonInvalidParameter, "malformed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ReadPDU(bytes.NewReader(tt.bytes), DefaultMaxPDU)
			var pe *ParseError
			if !errors.As(err, &pe) {
				// Of a maximum length item that swallows its neighbour, something
				// else than the item itself may be found wrong.
				t.Fatalf("got %v, want a ParseError", err)
			}
			if pe.Reason != tt.reason || !strings.Contains(pe.Message, tt.text) {
				t.Errorf("got %q with reason %d, want %q with %d", pe.Message, pe.Reason, tt.text, tt.reason)
			}
		})
	}
	for n := range rq {
		if _, err := ReadPDU(bytes.NewReader(rq[:n]), DefaultMaxPDU); err == nil {
			t.Errorf("a request cut at %d of %d bytes was taken", n, len(rq))
		}
	}
}

func TestDuplicateAndTooManyContexts(t *testing.T) {
	rq := &AssociateRequest{CalledAE: "A", CallingAE: "B"}
	for i := range 129 {
		rq.Contexts = append(rq.Contexts, ProposedContext{ID: byte(2*i + 1), AbstractSyntax: "1.2", TransferSyntaxes: []string{"1.2"}})
	}
	_, err := ReadPDU(bytes.NewReader(rq.Append(nil)), 0)
	if err == nil || !strings.Contains(err.Error(), "more than 128") {
		t.Errorf("129 contexts: %v", err)
	}
	rq.Contexts = rq.Contexts[:128]
	if _, err := ReadPDU(bytes.NewReader(rq.Append(nil)), 0); err != nil {
		t.Errorf("128 contexts: %v", err)
	}
	rq.Contexts[127].ID = 1
	_, err = ReadPDU(bytes.NewReader(rq.Append(nil)), 0)
	if err == nil || !strings.Contains(err.Error(), "used twice") {
		t.Errorf("duplicate context: %v", err)
	}
}

// A length is not believed before its bytes have come.
func TestReadBodyGrowsWithWhatArrives(t *testing.T) {
	allocated := testing.AllocsPerRun(1, func() {
		_, err := readBody(strings.NewReader("short"), MaxAssociateLen)
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("got %v", err)
		}
	})
	if allocated > 4 {
		t.Errorf("%v allocations for five bytes", allocated)
	}
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<12)
	got, err := readBody(io.MultiReader(bytes.NewReader(want[:1000]), bytes.NewReader(want[1000:])), len(want))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("body differs: %v", err)
	}
}
