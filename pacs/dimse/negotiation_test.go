package dimse

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

const studyRootGet = "1.2.840.10008.5.1.4.1.2.2.3"

// Everything that PS3.7 Annex D negotiates, between our two sides.
func TestAcceptance08NegotiationOfBothSides(t *testing.T) {
	const future = "1.2.840.10008.5.1.4.1.1.999.1"
	var admitted Caller
	var asked []byte
	infos := make(chan *AssociationInfo, 1)
	addr, _ := start(t, &Server{
		Store: &shelf{}, AsyncWindow: ul.AsyncWindow{Invoked: 4, Performed: 2},
		Admit: func(_ context.Context, caller Caller) (Admission, error) {
			admitted = caller
			return Admission{Identity: &ul.UserIdentityResponse{}}, nil
		},
		Services: []Service{{
			SOPClasses: []string{studyRootGet}, Get: func(context.Context, *Request, *Getter) Retrieved { return Retrieved{} },
			Extended: func(info *AssociationInfo, sopClass string, proposed []byte) []byte {
				if sopClass != studyRootGet || info.CallingAE != "WS1" {
					t.Errorf("extended negotiation of %s from %q", sopClass, info.CallingAE)
				}
				asked = proposed
				return []byte{1}
			},
		}},
		Observer: Observer{AssociationOpened: func(info *AssociationInfo) { infos <- info }},
	})
	transfer := []string{dicom.JPEGLosslessSV1, dicom.ImplicitVRLittleEndian, dicom.ExplicitVRLittleEndian}
	proposed := []ul.ProposedContext{
		{ID: 1, AbstractSyntax: dicom.CTImageStorage, TransferSyntaxes: transfer},
		{ID: 3, AbstractSyntax: dicom.MRImageStorage, TransferSyntaxes: transfer},
		{ID: 5, AbstractSyntax: future, TransferSyntaxes: transfer[1:]},
		{ID: 7, AbstractSyntax: "1.2.3.4", TransferSyntaxes: transfer[1:]},
	}
	c, err := Dial(context.Background(), addr, Dialer{
		CallingAE: "WS1", CalledAE: "TASVIR", Contexts: proposed,
		Roles:       []ul.Role{{SOPClassUID: dicom.CTImageStorage, SCP: true}, {SOPClassUID: dicom.VerificationSOPClass, SCU: true, SCP: true}},
		AsyncWindow: &ul.AsyncWindow{Invoked: 16, Performed: 1},
		Identity:    &ul.UserIdentity{Type: ul.IdentityUsernamePasscode, ResponseRequested: true, Primary: []byte("karim"), Secondary: []byte("passcode")},
		Extended:    []ul.ExtendedNegotiation{{SOPClassUID: studyRootGet, Info: []byte{1, 1}}},
		CommonExtended: []ul.CommonExtendedNegotiation{
			{SOPClassUID: future, ServiceClassUID: "1.2.840.10008.4.2", RelatedGeneral: []string{"1.2.3", dicom.CTImageStorage}},
			{SOPClassUID: "1.2.3.4", ServiceClassUID: "1.2.840.10008.4.2", RelatedGeneral: []string{"1.2.3"}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	want := []ul.Context{
		// Who is to receive gets what everything can be sent in.
		{ID: 1, AbstractSyntax: dicom.CTImageStorage, TransferSyntax: dicom.ExplicitVRLittleEndian, SCP: true},
		{ID: 3, AbstractSyntax: dicom.MRImageStorage, TransferSyntax: dicom.JPEGLosslessSV1, SCU: true},
		{ID: 5, AbstractSyntax: future, TransferSyntax: dicom.ExplicitVRLittleEndian, SCU: true},
	}
	if diff := cmp.Diff(want, c.Contexts()); diff != "" {
		t.Errorf("contexts (-want +got):\n%s", diff)
	}
	user := c.Peer()
	if diff := cmp.Diff([]ul.Role{
		{SOPClassUID: dicom.CTImageStorage, SCP: true}, {SOPClassUID: dicom.VerificationSOPClass, SCU: true},
	}, user.Roles); diff != "" {
		t.Errorf("roles (-want +got):\n%s", diff)
	}
	if w := c.Window(); w != (ul.AsyncWindow{Invoked: 4, Performed: 1}) {
		t.Errorf("window %+v", w)
	}
	if diff := cmp.Diff([]ul.ExtendedNegotiation{{SOPClassUID: studyRootGet, Info: []byte{1}}}, user.Extended); diff != "" || string(asked) != "\x01\x01" {
		t.Errorf("extended negotiation, asked % X (-want +got):\n%s", asked, diff)
	}
	if user.IdentityResponse == nil {
		t.Error("the identity was not confirmed")
	}
	if id := admitted.Request.User.Identity; id == nil || string(id.Primary) != "karim" || string(id.Secondary) != "passcode" {
		t.Errorf("admitted with the identity %v", id)
	}
	if _, err := c.Store(context.Background(), item("1.2", nil)); !errors.Is(err, ErrNotAccepted) {
		t.Errorf("C-STORE as SCP: %v", err)
	}
	info := <-infos
	if diff := cmp.Diff(proposed, info.Proposed); diff != "" {
		t.Error(diff)
	}
	if len(info.Results) != 4 || info.Results[3].Result != ul.AbstractSyntaxNotSupported {
		t.Errorf("results %v", info.Results)
	}
}

// A request in a context in which we are not SCP is refused, not served.
func TestRequestInTheWrongRole(t *testing.T) {
	var handler shelf
	addr, _ := start(t, &Server{Store: &handler, Services: []Service{{
		SOPClasses: []string{studyRootGet}, Get: func(context.Context, *Request, *Getter) Retrieved { return Retrieved{} },
	}}})
	c, err := Dial(context.Background(), addr, Dialer{
		CallingAE: "WS1", CalledAE: "TASVIR", Contexts: GroupContexts([]Kind{ctKind})[0].Contexts,
		Roles: []ul.Role{{SOPClassUID: dicom.CTImageStorage, SCP: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	it := item("1.2", []byte("data"))
	rq := storeRequest(it)
	rq.SetUint16(MessageID, 1)
	a, err := c.exchange(context.Background(), c.Contexts()[0], rq, it.Data, nil)
	status, _ := statusOf(a.command)
	if err != nil || status.Code != SOPClassNotSupported || handler.count != 0 {
		t.Errorf("got %s, %v, %d stored", status, err, handler.count)
	}
}

// Each calling AE title has its own bound, and gets its places back.
func TestAcceptance13LimitPerAE(t *testing.T) {
	addr, _ := start(t, &Server{Admit: func(_ context.Context, caller Caller) (Admission, error) {
		if caller.Request.CallingAE == "GREEDY" {
			return Admission{MaxAssociations: 2}, nil
		}
		return Admission{}, nil
	}})
	open := func(ae string) (*Client, error) {
		return Dial(context.Background(), addr, Dialer{CallingAE: ae, CalledAE: "TASVIR"})
	}
	must := func(ae string) *Client {
		for {
			c, err := open(ae)
			var rj *ul.Reject
			if errors.As(err, &rj) && *rj == ul.RejectLocalLimit {
				continue // a place is about to come back
			}
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
	}
	for range 3 {
		a, b := must("GREEDY"), must("GREEDY")
		var rj *ul.Reject
		if _, err := open("GREEDY"); !errors.As(err, &rj) || *rj != ul.RejectLocalLimit {
			t.Errorf("the third: %v", err)
		}
		for range 3 {
			c, err := open("MODEST")
			if err != nil {
				t.Fatalf("another AE: %v", err)
			}
			defer c.Close()
		}
		if err := a.Release(context.Background()); err != nil {
			t.Error(err)
		}
		b.Close() // aborts
	}
}

// Contexts of services that a caller may not use are refused as "user rejection"
// (1, PS3.8 Table 9-18); verification, storage and unknown classes are none of it.
func TestContextsOfServicesThatAreNotAllowed(t *testing.T) {
	get := func(context.Context, *Request, *Getter) Retrieved { return Retrieved{} }
	addr, _ := start(t, &Server{
		Store: &shelf{},
		Admit: func(_ context.Context, caller Caller) (Admission, error) {
			if caller.Request.CallingAE == "TRUSTED" {
				return Admission{}, nil
			}
			return Admission{May: func(sopClass string) bool { return sopClass != studyRootGet }}, nil
		},
		Services: []Service{{SOPClasses: []string{studyRootGet}, Get: get}, {SOPClasses: []string{dicom.PatientRootGetSOPClass}, Get: get}},
	})
	for calling, want := range map[string][]ul.Result{
		"OTHER":   {ul.Acceptance, ul.UserRejection, ul.Acceptance, ul.Acceptance, ul.AbstractSyntaxNotSupported},
		"TRUSTED": {ul.Acceptance, ul.Acceptance, ul.Acceptance, ul.Acceptance, ul.AbstractSyntaxNotSupported},
	} {
		rq := &ul.AssociateRequest{CalledAE: "TASVIR", CallingAE: calling}
		for i, class := range []string{dicom.VerificationSOPClass, studyRootGet, dicom.PatientRootGetSOPClass, dicom.CTImageStorage, "1.2.3.4"} {
			rq.Contexts = append(rq.Contexts, ServiceContext(byte(2*i+1), class))
		}
		p := connect(addr, 0)
		if err := errors.Join(p.err, p.send(rq)); err != nil {
			t.Fatal(err)
		}
		pdu, err := ul.ReadPDU(p, 1<<20)
		_ = p.Close()
		ac, ok := pdu.(*ul.AssociateAccept)
		if err != nil || !ok {
			t.Fatalf("answered %T, %v", pdu, err)
		}
		var got []ul.Result
		for _, pc := range ac.Contexts {
			got = append(got, pc.Result)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: results %v, want %v", calling, got, want)
		}
	}
	if ul.UserRejection != 1 {
		t.Errorf("user rejection is %d", ul.UserRejection)
	}
}
