package ul

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	implicitLE  = "1.2.840.10008.1.2"
	explicitLE  = "1.2.840.10008.1.2.1"
	deflated    = "1.2.840.10008.1.2.1.99"
	explicitBE  = "1.2.840.10008.1.2.2"
	jpegLossy   = "1.2.840.10008.1.2.4.50"
	jpegSV1     = "1.2.840.10008.1.2.4.70"
	jpeg2000    = "1.2.840.10008.1.2.4.90"
	unknownTS   = "1.2.3.4.5"
	ctStorage   = "1.2.840.10008.5.1.4.1.1.2"
	mrStorage   = "1.2.840.10008.5.1.4.1.1.4"
	echoClass   = "1.2.840.10008.1.1"
	otherClass  = "1.2.840.10008.5.1.4.1.2.2.1"
	refuseByUse = "1.9.9"
)

func testEncoding(uid string) Encoding {
	return map[string]Encoding{
		implicitLE: ImplicitLittleEndian, explicitLE: ExplicitLittleEndian, deflated: Deflated,
		explicitBE: ExplicitBigEndian, jpegLossy: Lossy, jpegSV1: Lossless, jpeg2000: Lossless,
	}[uid]
}

func TestChooseTransferSyntax(t *testing.T) {
	tests := []struct {
		name     string
		proposed []string
		want     string
	}{
		{"only the default", []string{implicitLE}, implicitLE},
		{"explicit before implicit, whatever the order", []string{implicitLE, explicitLE}, explicitLE},
		{"dcmtk's second context", []string{explicitBE, implicitLE}, implicitLE},
		{"big endian when nothing else", []string{explicitBE}, explicitBE},
		{"uncompressed before deflated", []string{deflated, implicitLE}, implicitLE},
		{"lossless before uncompressed", []string{explicitLE, jpegSV1, implicitLE}, jpegSV1},
		{"the sender's first among lossless", []string{explicitLE, jpeg2000, jpegSV1}, jpeg2000},
		{"lossy listed first is what the sender has", []string{jpegLossy, explicitLE, implicitLE}, jpegLossy},
		{"lossy listed later would invite to lose", []string{explicitLE, implicitLE, jpegLossy}, explicitLE},
		{"lossless before lossy", []string{jpegLossy, jpegSV1}, jpegSV1},
		{"lossy alone", []string{jpegLossy}, jpegLossy},
		{"lossy after deflated only", []string{deflated, jpegLossy}, deflated},
		{"unknown skipped", []string{unknownTS, implicitLE}, implicitLE},
		{"unknown alone", []string{unknownTS}, ""},
		{"none", nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := ChooseTransferSyntax(tt.proposed, testEncoding)
			if got != tt.want || ok != (tt.want != "") {
				t.Errorf("got %q, %v, want %q", got, ok, tt.want)
			}
		})
	}
}

func testPolicy() AcceptorPolicy {
	return AcceptorPolicy{Choose: func(abstract string, ts []string) (string, Result) {
		switch abstract {
		case refuseByUse:
			return "", UserRejection
		case ctStorage, mrStorage, echoClass:
			if uid, ok := ChooseTransferSyntax(ts, testEncoding); ok {
				return uid, Acceptance
			}
			return "", TransferSyntaxesNotSupported
		}
		return "", AbstractSyntaxNotSupported
	}}
}

func TestNegotiateAsAcceptor(t *testing.T) {
	rq := &AssociateRequest{Contexts: []ProposedContext{
		{1, ctStorage, []string{jpegSV1}},
		{3, ctStorage, []string{implicitLE, explicitLE}}, // the same class again
		{5, otherClass, []string{implicitLE}},
		{7, mrStorage, []string{unknownTS}},
		{9, refuseByUse, []string{implicitLE}},
		{11, "", []string{implicitLE}},
		{13, ctStorage, nil},
		{255, echoClass, []string{implicitLE}},
	}, User: UserInformation{Roles: []Role{{ctStorage, true, true}, {mrStorage, false, true}}}}
	results, accepted := NegotiateAsAcceptor(rq, testPolicy())
	if diff := cmp.Diff([]ContextResult{
		{1, Acceptance, jpegSV1},
		{3, Acceptance, explicitLE},
		{5, AbstractSyntaxNotSupported, implicitLE},
		{7, TransferSyntaxesNotSupported, unknownTS},
		{9, UserRejection, implicitLE},
		{11, AbstractSyntaxNotSupported, ""},
		{13, TransferSyntaxesNotSupported, ""},
		{255, Acceptance, implicitLE},
	}, results); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]Context{
		{1, ctStorage, jpegSV1, true, false}, {3, ctStorage, explicitLE, true, false}, {255, echoClass, implicitLE, true, false},
	}, accepted); diff != "" {
		t.Errorf("accepted (-want +got):\n%s", diff)
	}
}

func TestRolesAreNeverMoreThanProposed(t *testing.T) {
	rq := &AssociateRequest{
		Contexts: []ProposedContext{{1, ctStorage, []string{implicitLE}}, {3, mrStorage, []string{implicitLE}}},
		User:     UserInformation{Roles: []Role{{ctStorage, false, true}, {mrStorage, true, false}}},
	}
	policy := testPolicy()
	policy.Role = func(string, bool, bool) (bool, bool) { return true, true }
	_, accepted := NegotiateAsAcceptor(rq, policy)
	want := []Context{{1, ctStorage, implicitLE, false, true}, {3, mrStorage, implicitLE, true, false}}
	if diff := cmp.Diff(want, accepted); diff != "" {
		t.Error(diff)
	}
}

func TestAcceptUser(t *testing.T) {
	rq := &AssociateRequest{User: UserInformation{
		AsyncWindow: &AsyncWindow{Invoked: 0, Performed: 8},
		Roles:       []Role{{ctStorage, true, true}},
		Extended:    []ExtendedNegotiation{{ctStorage, []byte{1}}, {otherClass, []byte{1}}},
		Identity:    &UserIdentity{Type: IdentityUsername, ResponseRequested: true, Primary: []byte("k")},
	}}
	policy := testPolicy()
	policy.Extended = func(uid string, _ []byte) []byte {
		if uid == ctStorage {
			return []byte{2}
		}
		return nil
	}
	got := acceptUser(rq, policy, UserInformation{MaxPDU: 1})
	want := UserInformation{
		MaxPDU: 1, AsyncWindow: &AsyncWindow{1, 1}, Roles: []Role{{ctStorage, true, false}},
		Extended: []ExtendedNegotiation{{ctStorage, []byte{2}}}, IdentityResponse: &UserIdentityResponse{},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	rq.User.Identity.ResponseRequested = false
	if acceptUser(rq, policy, UserInformation{}).IdentityResponse != nil {
		t.Error("answered an identity that asks for no response")
	}
}

func TestNegotiateAsRequestor(t *testing.T) {
	rq := &AssociateRequest{Contexts: []ProposedContext{
		{1, ctStorage, []string{jpegSV1}}, {3, ctStorage, []string{implicitLE, explicitLE}}, {5, mrStorage, []string{implicitLE}},
	}}
	tests := []struct {
		name    string
		results []ContextResult
		want    []Context
		wantErr bool
	}{
		{
			"some",
			[]ContextResult{{1, TransferSyntaxesNotSupported, jpegSV1}, {3, Acceptance, explicitLE}},
			[]Context{{3, ctStorage, explicitLE, true, false}},
			false,
		},
		{"none", []ContextResult{{1, NoReason, ""}}, nil, false},
		{"context not proposed", []ContextResult{{9, Acceptance, implicitLE}}, nil, true},
		{"answered twice", []ContextResult{{5, NoReason, ""}, {5, Acceptance, implicitLE}}, nil, true},
		{"transfer syntax not proposed", []ContextResult{{5, Acceptance, explicitLE}}, nil, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := NegotiateAsRequestor(rq, &AssociateAccept{Contexts: tt.results})
			if (err != nil) != tt.wantErr {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCheckRequest(t *testing.T) {
	tests := []struct {
		version uint16
		context string
		want    *Reject
	}{
		{1, ApplicationContextName, nil},
		{3, ApplicationContextName, nil}, // later versions keep bit 0
		{2, ApplicationContextName, &RejectProtocolVersion},
		{0, ApplicationContextName, &RejectProtocolVersion},
		{1, "1.2.3", &RejectApplicationContext},
		{2, "1.2.3", &RejectProtocolVersion},
	}
	for _, tt := range tests {
		got := CheckRequest(&AssociateRequest{ProtocolVersion: tt.version, ApplicationContext: tt.context})
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("version %d, context %s:\n%s", tt.version, tt.context, diff)
		}
	}
}
