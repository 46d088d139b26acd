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
		{1, ctStorage, jpegSV1, false, true}, {3, ctStorage, explicitLE, false, true}, {255, echoClass, implicitLE, false, true},
	}, accepted); diff != "" {
		t.Errorf("accepted (-want +got):\n%s", diff)
	}
}

func TestRoleSelection(t *testing.T) {
	all := func(string, bool, bool) (bool, bool) { return true, true }
	receive := func(_ string, scu, scp bool) (bool, bool) { return false, scp }
	nothing := func(string, bool, bool) (bool, bool) { return false, false }
	const no = UserRejection
	tests := []struct {
		name             string
		proposed         *Role // of the requestor; nil is no item
		policy           func(string, bool, bool) (bool, bool)
		answer           *Role
		result           Result
		acceptor, caller Context // only the roles
	}{
		{"none proposed", nil, all, nil, 0, Context{SCP: true}, Context{SCU: true}},
		{"SCU alone", &Role{ctStorage, true, false}, all, &Role{ctStorage, true, false}, 0, Context{SCP: true}, Context{SCU: true}},
		{"SCP for C-GET", &Role{ctStorage, false, true}, all, &Role{ctStorage, false, true}, 0, Context{SCU: true}, Context{SCP: true}},
		{"both", &Role{ctStorage, true, true}, all, &Role{ctStorage, true, true}, 0, Context{SCU: true, SCP: true}, Context{SCU: true, SCP: true}},
		{"both, one granted", &Role{ctStorage, true, true}, receive, &Role{ctStorage, false, true}, 0, Context{SCU: true}, Context{SCP: true}},
		{"both, no policy", &Role{ctStorage, true, true}, nil, &Role{ctStorage, true, false}, 0, Context{SCP: true}, Context{SCU: true}},
		{"SCP, no policy", &Role{ctStorage, false, true}, nil, &Role{ctStorage, false, false}, no, Context{}, Context{}},
		{"nothing granted", &Role{ctStorage, true, true}, nothing, &Role{ctStorage, false, false}, no, Context{}, Context{}},
		{"neither proposed", &Role{ctStorage, false, false}, all, &Role{ctStorage, false, false}, no, Context{}, Context{}},
		{"of another class", &Role{mrStorage, false, true}, all, &Role{mrStorage, false, true}, 0, Context{SCP: true}, Context{SCU: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rq := &AssociateRequest{Contexts: []ProposedContext{{1, ctStorage, []string{implicitLE}}}}
			if tt.proposed != nil {
				rq.User.Roles = []Role{*tt.proposed, *tt.proposed} // the second is idle
			}
			policy := testPolicy()
			policy.Role = tt.policy
			results, accepted := NegotiateAsAcceptor(rq, policy)
			user := acceptUser(rq, policy, UserInformation{})
			var answer []Role
			if tt.answer != nil {
				answer = []Role{*tt.answer}
			}
			if diff := cmp.Diff(answer, user.Roles); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if results[0].Result != tt.result {
				t.Fatalf("result %s, want %s", results[0].Result, tt.result)
			}
			paired, err := NegotiateAsRequestor(rq, &AssociateAccept{Contexts: results, User: user})
			if err != nil || len(paired) != len(accepted) || (tt.result != 0) != (len(paired) == 0) {
				t.Fatalf("%v paired with %v: %v", paired, accepted, err)
			}
			if tt.result != 0 {
				return
			}
			if a, r := accepted[0], paired[0]; a.SCU != tt.acceptor.SCU || a.SCP != tt.acceptor.SCP || r.SCU != tt.caller.SCU || r.SCP != tt.caller.SCP {
				t.Errorf("acceptor %+v, requestor %+v", a, r)
			}
		})
	}
}

// What an acceptor grants beyond what was proposed is not there.
func TestRequestorIsGrantedNoMoreThanItProposed(t *testing.T) {
	rq := &AssociateRequest{
		Contexts: []ProposedContext{{1, ctStorage, []string{implicitLE}}, {3, mrStorage, []string{implicitLE}}},
		User:     UserInformation{Roles: []Role{{ctStorage, false, true}}, AsyncWindow: &AsyncWindow{Invoked: 3, Performed: 2}},
	}
	ac := &AssociateAccept{
		Contexts: []ContextResult{{1, Acceptance, implicitLE}, {3, Acceptance, implicitLE}},
		User:     UserInformation{Roles: []Role{{ctStorage, true, true}, {mrStorage, false, true}}},
	}
	got, err := NegotiateAsRequestor(rq, ac)
	want := []Context{{1, ctStorage, implicitLE, false, true}, {3, mrStorage, implicitLE, true, false}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestAsyncWindow(t *testing.T) {
	tests := []struct {
		name             string
		proposed         *AsyncWindow
		limit            AsyncWindow
		answered, agreed AsyncWindow // answered only if proposed
	}{
		{"not proposed", nil, AsyncWindow{8, 8}, AsyncWindow{}, AsyncWindow{1, 1}},
		{"no limit proposed, no policy", &AsyncWindow{0, 0}, AsyncWindow{}, AsyncWindow{1, 1}, AsyncWindow{1, 1}},
		{"no limit proposed", &AsyncWindow{0, 0}, AsyncWindow{8, 2}, AsyncWindow{8, 2}, AsyncWindow{8, 2}},
		{"less proposed", &AsyncWindow{4, 1}, AsyncWindow{8, 2}, AsyncWindow{4, 1}, AsyncWindow{4, 1}},
		{"more proposed", &AsyncWindow{100, 65535}, AsyncWindow{8, 2}, AsyncWindow{8, 2}, AsyncWindow{8, 2}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			policy := testPolicy()
			policy.AsyncWindow = tt.limit
			answer := acceptUser(&AssociateRequest{User: UserInformation{AsyncWindow: tt.proposed}}, policy, UserInformation{}).AsyncWindow
			if (answer != nil) != (tt.proposed != nil) || answer != nil && *answer != tt.answered {
				t.Errorf("answered %v, want %v", answer, tt.answered)
			}
			if got := agreedWindow(tt.proposed, answer); got != tt.agreed {
				t.Errorf("agreed %v, want %v", got, tt.agreed)
			}
		})
	}
	for _, tt := range []struct{ proposed, answered, agreed AsyncWindow }{
		{AsyncWindow{3, 2}, AsyncWindow{0, 9}, AsyncWindow{3, 2}}, // an answer of more than was proposed
		{AsyncWindow{0, 0}, AsyncWindow{0, 0}, AsyncWindow{0, 0}},
	} {
		if got := agreedWindow(&tt.proposed, &tt.answered); got != tt.agreed {
			t.Errorf("%v answered %v: %v", tt.proposed, tt.answered, got)
		}
	}
	if got := agreedWindow(&AsyncWindow{3, 2}, nil); got != (AsyncWindow{1, 1}) {
		t.Errorf("without an answer: %v", got)
	}
}

func TestAcceptUser(t *testing.T) {
	rq := &AssociateRequest{User: UserInformation{
		Extended: []ExtendedNegotiation{{ctStorage, []byte{1}}, {otherClass, []byte{1}}},
		Identity: &UserIdentity{Type: IdentityUsername, ResponseRequested: true, Primary: []byte("k")},
	}}
	policy := testPolicy()
	policy.Extended = func(uid string, info []byte) []byte {
		if uid == ctStorage {
			return append(info, 2)
		}
		return nil
	}
	policy.Identity = &UserIdentityResponse{Response: []byte("ticket")}
	got := acceptUser(rq, policy, UserInformation{MaxPDU: 1})
	want := UserInformation{
		MaxPDU: 1, Extended: []ExtendedNegotiation{{ctStorage, []byte{1, 2}}}, IdentityResponse: policy.Identity,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	rq.User.Identity.ResponseRequested = false
	if acceptUser(rq, policy, UserInformation{}).IdentityResponse != nil {
		t.Error("answered an identity that asks for no response")
	}
	rq.User.Identity.ResponseRequested, policy.Identity = true, nil
	if acceptUser(rq, policy, UserInformation{}).IdentityResponse != nil {
		t.Error("confirmed an identity that nobody looked at")
	}
}

func TestChooseToSend(t *testing.T) {
	for _, tt := range []struct {
		proposed []string
		want     string
	}{
		{[]string{jpegSV1, implicitLE, explicitLE}, explicitLE},
		{[]string{jpeg2000, implicitLE, deflated}, implicitLE},
		{[]string{jpegLossy, jpegSV1, jpeg2000}, jpegSV1},
		{[]string{jpegSV1, explicitBE}, explicitBE},
		{[]string{jpegLossy}, jpegLossy},
		{[]string{unknownTS}, ""},
		{nil, ""},
	} {
		if got, ok := ChooseToSend(tt.proposed, testEncoding); got != tt.want || ok != (tt.want != "") {
			t.Errorf("%v: %q, %v, want %q", tt.proposed, got, ok, tt.want)
		}
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
