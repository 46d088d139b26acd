package ul

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const ctHex = "0019 '1.2.840.10008.5.1.4.1.1.2'"

// Each sub-item of the user information alone, with the table that lays it
// down. Every one but the maximum length may be absent.
func TestGoldenUserInformation(t *testing.T) {
	const maximum = "51 00 0004 00040000 ; maximum length 262144. PS3.8 Table D.1-1\n"
	long := strings.Repeat("s", 300)
	tests := []struct {
		name, bytes string
		user        UserInformation
	}{
		{"maximum length alone", "", UserInformation{}},
		{"implementation class", "52 00 0005 '1.2.3' ; PS3.7 Table D.3-1", UserInformation{ImplementationClassUID: "1.2.3"}},
		{"implementation version", "55 00 000A 'TASVIR_0_1' ; PS3.7 Table D.3-3", UserInformation{ImplementationVersion: "TASVIR_0_1"}},
		{
			"asynchronous operations window", `53 00 0004 ; PS3.7 Table D.3-7
			0000       ; invoked: no limit
			FFFF       ; performed: 65535`,
			UserInformation{AsyncWindow: &AsyncWindow{Invoked: 0, Performed: 65535}},
		},
		{
			"roles", `54 00 001D ` + ctHex + ` 01 00 ; SCU. PS3.7 Table D.3-9
			54 00 0015 0011 '1.2.840.10008.1.1' 00 01 ; SCP
			54 00 0009 0005 '1.2.3' 01 01 ; both
			54 00 0009 0005 '1.2.4' 00 00 ; neither`,
			UserInformation{Roles: []Role{{ctStorage, true, false}, {echoClass, false, true}, {"1.2.3", true, true}, {"1.2.4", false, false}}},
		},
		{
			"extended negotiation of a query", `56 00 0022 001B '1.2.840.10008.5.1.4.1.2.2.1' ; PS3.7 Table D.3-11, PS3.4 Table C.5.1-1
			01 ; relational queries
			01 ; date and time matched together
			01 ; names matched fuzzily
			00 ; no time zone adjustment
			01 ; enhanced multi-frame conversion`,
			UserInformation{Extended: []ExtendedNegotiation{{otherClass, []byte{1, 1, 1, 0, 1}}}},
		},
		{"extended negotiation without information", "56 00 0007 0005 '1.2.3'", UserInformation{Extended: []ExtendedNegotiation{{"1.2.3", nil}}}},
		{
			"common extended negotiation", `57 00 0035 ` + ctHex + ` ; PS3.7 Table D.3-12
			0011 '1.2.840.10008.4.2' ; the storage service class
			0005 0003 '1.2' ; one related general SOP class`,
			UserInformation{CommonExtended: []CommonExtendedNegotiation{{ctStorage, "1.2.840.10008.4.2", []string{"1.2"}}}},
		},
		{
			"user name", "58 00 000B 01 00 0005 'karim' 0000 ; no answer wanted. PS3.7 Table D.3-14",
			UserInformation{Identity: &UserIdentity{Type: IdentityUsername, Primary: []byte("karim")}},
		},
		{
			"user name in UTF-8", "58 00 0010 01 01 000A D09AD0B0D180D0B8D0BC 0000 ; Карим",
			UserInformation{Identity: &UserIdentity{Type: IdentityUsername, ResponseRequested: true, Primary: []byte("Карим")}},
		},
		{
			"user name and passcode", "58 00 0011 02 01 0005 'karim' 0006 's3cret'",
			UserInformation{Identity: &UserIdentity{
				Type: IdentityUsernamePasscode, ResponseRequested: true, Primary: []byte("karim"), Secondary: []byte("s3cret"),
			}},
		},
		{
			"Kerberos ticket", "58 00 000A 03 01 0004 6E820100 0000",
			UserInformation{Identity: &UserIdentity{Type: IdentityKerberos, ResponseRequested: true, Primary: []byte{0x6E, 0x82, 1, 0}}},
		},
		{
			"SAML assertion", "58 00 0132 04 00 012C '" + long + "' 0000",
			UserInformation{Identity: &UserIdentity{Type: IdentitySAML, Primary: []byte(long)}},
		},
		{
			"JSON web token", "58 00 0011 05 01 000B 'eyJh.eyJz.s' 0000",
			UserInformation{Identity: &UserIdentity{Type: IdentityJWT, ResponseRequested: true, Primary: []byte("eyJh.eyJz.s")}},
		},
		{"answer to a user name", "59 00 0002 0000 ; PS3.7 Table D.3-15", UserInformation{IdentityResponse: &UserIdentityResponse{}}},
		{"Kerberos server ticket", "59 00 0006 0004 6F820100", UserInformation{IdentityResponse: &UserIdentityResponse{Response: []byte{0x6F, 0x82, 1, 0}}}},
		{"of a later edition", "5A 00 0003 010203", UserInformation{Unknown: []Item{{0x5A, []byte{1, 2, 3}}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body := unhex(t, maximum+tt.bytes)
			tt.user.MaxPDU = 262144
			var got UserInformation
			if err := got.parse(TypeAssociateRQ, body); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.user, got); diff != "" {
				t.Errorf("decoded (-want +got):\n%s", diff)
			}
			encoded := tt.user.append(nil)
			if !bytes.Equal(encoded[4:], body) || encoded[0] != itemUserInformation || int(encoded[2])<<8|int(encoded[3]) != len(body) {
				t.Errorf("encoded as\n% X, want\n% X", encoded[4:], body)
			}
		})
	}
}

// Parameters whose value can't be: the association is aborted with "invalid
// parameter", PS3.8 Table 9-26.
func TestUserInformationRefuses(t *testing.T) {
	for name, hex := range map[string]string{
		"maximum length of 2 bytes":       "51 00 0002 4000",
		"maximum length of 5 bytes":       "51 00 0005 0000400000",
		"window of 3 bytes":               "53 00 0003 000100",
		"role without roles":              "54 00 001B " + ctHex,
		"role with one role":              "54 00 001C " + ctHex + " 01",
		"role with three":                 "54 00 001E " + ctHex + " 01 01 01",
		"role whose UID overruns":         "54 00 0006 00FF 312E 01 01",
		"role without UID":                "54 00 0001 00",
		"extended whose UID overruns":     "56 00 0004 0019 312E",
		"common without service class":    "57 00 001B " + ctHex,
		"common without related classes":  "57 00 0020 " + ctHex + " 0003 '1.2'",
		"common whose related overrun":    "57 00 0023 " + ctHex + " 0003 '1.2' 0009 31",
		"common whose related is cut":     "57 00 0024 " + ctHex + " 0003 '1.2' 0002 0009",
		"identity of 1 byte":              "58 00 0001 01",
		"identity whose primary overruns": "58 00 0006 01 00 FFFF 6B61",
		"identity without secondary":      "58 00 0009 01 00 0005 'karim'",
		"identity whose secondary is cut": "58 00 000C 02 01 0005 'karim' 0006 's'",
		"two identities":                  "58 00 0007 01 00 0001 'k' 0000 58 00 0007 01 00 0001 'l' 0000",
		"answer that overruns":            "59 00 0002 0001",
		"sub-item that overruns":          "52 00 0009 '1.2'",
		"stray bytes":                     "52 00 0003 '1.2' 000000",
	} {
		t.Run(name, func(t *testing.T) {
			var got UserInformation
			err := got.parse(TypeAssociateRQ, unhex(t, hex))
			var pe *ParseError
			if !errors.As(err, &pe) || pe.Reason != ReasonInvalidParameter {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Every refusal of PS3.8 Table 9-21 and every abort of Table 9-26, as bytes.
func TestGoldenRejectionsAndAborts(t *testing.T) {
	for hex, want := range map[string]PDU{
		"03 00 00000004 00 01 01 01 ; permanent, service-user: no reason":                               &RejectNoReason,
		"03 00 00000004 00 01 01 02 ; permanent, service-user: application context":                     &RejectApplicationContext,
		"03 00 00000004 00 01 01 03 ; permanent, service-user: calling AE title":                        &RejectCallingAE,
		"03 00 00000004 00 01 01 07 ; permanent, service-user: called AE title":                         &RejectCalledAE,
		"03 00 00000004 00 01 02 02 ; permanent, service-provider (ACSE): protocol version":             &RejectProtocolVersion,
		"03 00 00000004 00 02 03 01 ; transient, service-provider (presentation): temporary congestion": &RejectCongestion,
		"03 00 00000004 00 02 03 02 ; transient, service-provider (presentation): local limit":          &RejectLocalLimit,
		"07 00 00000004 0000 00 00 ; service-user":                                                      &Abort{AbortedByUser, 0},
		"07 00 00000004 0000 02 00 ; service-provider: not specified":                                   &Abort{AbortedByProvider, ReasonNotSpecified},
		"07 00 00000004 0000 02 01 ; unrecognized PDU":                                                  &Abort{AbortedByProvider, ReasonUnrecognizedPDU},
		"07 00 00000004 0000 02 02 ; unexpected PDU":                                                    &Abort{AbortedByProvider, ReasonUnexpectedPDU},
		"07 00 00000004 0000 02 04 ; unrecognized PDU parameter":                                        &Abort{AbortedByProvider, ReasonUnrecognizedParameter},
		"07 00 00000004 0000 02 05 ; unexpected PDU parameter":                                          &Abort{AbortedByProvider, ReasonUnexpectedParameter},
		"07 00 00000004 0000 02 06 ; invalid PDU parameter value":                                       &Abort{AbortedByProvider, ReasonInvalidParameter},
	} {
		bytesWanted := unhex(t, hex)
		if got := want.Append(nil); !bytes.Equal(got, bytesWanted) {
			t.Errorf("% X, want % X", got, bytesWanted)
		}
		pdu, err := ReadPDU(bytes.NewReader(bytesWanted), 0)
		if diff := cmp.Diff(want, pdu); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", hex, err, diff)
		}
		text := ""
		switch p := pdu.(type) {
		case *Reject:
			text = p.Error()
		case *Abort:
			text = p.String()
		}
		if text == "" || strings.Contains(text, "unknown") {
			t.Errorf("%s is called %q", hex, text)
		}
	}
}

// An acceptance that answers each proposed context with another result.
func TestGoldenContextResults(t *testing.T) {
	hex := `02 00 000000EB
		0001 0000 'TASVIR          ' 'CT01            '
		0000000000000000000000000000000000000000000000000000000000000000
		10 00 0015 '1.2.840.10008.3.1.1.1'
		21 00 001B 01 00 00 00 40 00 0013 '1.2.840.10008.1.2.1' ; acceptance: Explicit VR LE. PS3.8 Table 9-18
		21 00 0019 03 00 01 00 40 00 0011 '1.2.840.10008.1.2'   ; user rejection
		21 00 0019 05 00 02 00 40 00 0011 '1.2.840.10008.1.2'   ; no reason
		21 00 0008 07 00 03 00 40 00 0000                       ; abstract syntax not supported
		21 00 0019 FF 00 04 00 40 00 0011 '1.2.840.10008.1.2'   ; transfer syntaxes not supported
		50 00 0008 51 00 0004 00000000`
	want := &AssociateAccept{
		ProtocolVersion: 1, CalledAE: "TASVIR", CallingAE: "CT01", ApplicationContext: ApplicationContextName,
		Contexts: []ContextResult{
			{1, Acceptance, explicitLE},
			{3, UserRejection, implicitLE},
			{5, NoReason, implicitLE},
			{7, AbstractSyntaxNotSupported, ""},
			{255, TransferSyntaxesNotSupported, implicitLE},
		},
	}
	raw := unhex(t, hex)
	pdu, err := ReadPDU(bytes.NewReader(raw), 0)
	if diff := cmp.Diff(want, pdu); err != nil || diff != "" {
		t.Errorf("decoded: %v (-want +got):\n%s", err, diff)
	}
	if got := want.Append(nil); !bytes.Equal(got, raw) {
		t.Errorf("encoded as\n% X, want\n% X", got, raw)
	}
}

// FuzzUserInformation: what is taken is encoded to what is taken again, the
// same.
func FuzzUserInformation(f *testing.F) {
	for _, s := range []string{
		"51 00 0004 00040000 52 00 0005 '1.2.3' 55 00 0003 'CT9'", "53 00 0004 00050002",
		"54 00 001D " + ctHex + " 00 01", "56 00 0021 " + ctHex + " 020003000100",
		"57 00 0035 " + ctHex + " 0011 '1.2.840.10008.4.2' 0005 0003 '1.2'",
		"58 00 0011 02 01 0005 'karim' 0006 's3cret'", "59 00 0004 0002 'ok'", "58 00 0006 01 00 FFFF 6B61", "7F 00 0000",
	} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var first, second UserInformation
		if len(b) > maxItemLen {
			return // longer than the item can be
		}
		if err := first.parse(TypeAssociateRQ, b); err != nil {
			return
		}
		if err := first.checkOutgoing(); err != nil {
			return // the maximum length that was missing makes it too long
		}
		it, rest, err := nextItem(TypeAssociateRQ, first.append(nil))
		if err != nil || len(rest) > 0 {
			t.Fatalf("own encoding: %v", err)
		}
		if err := second.parse(TypeAssociateRQ, it.Data); err != nil {
			t.Fatalf("own encoding: %v", err)
		}
		if diff := cmp.Diff(normalUser(first), normalUser(second)); diff != "" {
			t.Fatal(diff)
		}
	})
}

// FuzzItem: the items of a request, one by one.
func FuzzItem(f *testing.F) {
	f.Add(unhex(f, "20 00 002E 01 00 00 00 30 00 0011 '1.2.840.10008.1.1' 40 00 0011 '1.2.840.10008.1.2'"))
	f.Add(unhex(f, "21 00 0019 03 00 01 00 40 00 0011 '1.2.840.10008.1.2'"))
	f.Add(unhex(f, "20 00 0004 01000000 21 00 0004 01000000"))
	f.Add(unhex(f, "10 00 FFFF 31"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			it, rest, err := nextItem(TypeAssociateRQ, b)
			if err != nil {
				return
			}
			if len(it.Data)+4+len(rest) != len(b) {
				t.Fatalf("%d bytes of %d in an item, %d left", len(it.Data), len(b), len(rest))
			}
			if c, err := parseProposedContext(it.Data); err == nil {
				again, _, err := nextItem(TypeAssociateRQ, c.append(nil))
				if err != nil {
					t.Fatal(err)
				}
				if d, err := parseProposedContext(again.Data); err != nil || !cmp.Equal(c, d) {
					t.Fatalf("%v became %v: %v", c, d, err)
				}
			}
			if c, err := parseContextResult(it.Data); err == nil {
				again, _, err := nextItem(TypeAssociateAC, c.append(nil))
				if err != nil {
					t.Fatal(err)
				}
				if d, err := parseContextResult(again.Data); err != nil || c != d {
					t.Fatalf("%v became %v: %v", c, d, err)
				}
			}
			b = rest
		}
	})
}
