package dimse

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

func TestServiceNegotiation(t *testing.T) {
	get := func(context.Context, *Request, *Getter) Retrieved { return Retrieved{} }
	full := &Server{Store: &shelf{}, Services: []Service{{SOPClasses: []string{getClass}, Get: get}, {SOPClasses: []string{commitClass}, PeerSCP: true}}}
	noStore := &Server{Services: []Service{{SOPClasses: []string{getClass}, Get: get}}}
	plain := &Server{Store: &shelf{}}
	all := []string{dicom.JPEG2000Lossless, dicom.ImplicitVRLittleEndian, dicom.ExplicitVRLittleEndian}
	none := ul.Role{}
	taker := ul.Role{SOPClassUID: dicom.CTImageStorage, SCP: true}
	both := ul.Role{SOPClassUID: dicom.CTImageStorage, SCU: true, SCP: true}
	tests := []struct {
		name     string
		server   *Server
		abstract string
		proposed []string
		role     ul.Role
		ts       string // "" when refused
		scu, scp bool
	}{
		{"identifiers", full, getClass, all, none, dicom.ExplicitVRLittleEndian, true, false},
		{"identifiers, implicit only", full, getClass, []string{dicom.ImplicitVRLittleEndian}, none, dicom.ImplicitVRLittleEndian, true, false},
		{"identifiers in big endian", full, getClass, []string{dicom.ExplicitVRBigEndian}, none, "", false, false},
		{"a service that is not there", full, findClass, all, none, "", false, false},
		{"to store", full, dicom.CTImageStorage, all, none, dicom.JPEG2000Lossless, true, false},
		{"to take", full, dicom.CTImageStorage, all, taker, dicom.ExplicitVRLittleEndian, false, true},
		{"to take compressed", full, dicom.CTImageStorage, all[:1], taker, dicom.JPEG2000Lossless, false, true},
		{"both", full, dicom.CTImageStorage, all, both, dicom.JPEG2000Lossless, true, true},
		{"to take, nothing is stored here", noStore, dicom.CTImageStorage, all, taker, dicom.ExplicitVRLittleEndian, false, true},
		{"to store, nothing is stored here", noStore, dicom.CTImageStorage, all, none, "", false, false},
		{"to take, without C-GET", plain, dicom.CTImageStorage, all, both, dicom.JPEG2000Lossless, true, false},
		{"to report events", full, commitClass, all, ul.Role{SOPClassUID: commitClass, SCU: true, SCP: true}, dicom.ExplicitVRLittleEndian, true, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rq := &ul.AssociateRequest{Contexts: []ul.ProposedContext{{ID: 1, AbstractSyntax: tt.abstract, TransferSyntaxes: tt.proposed}}}
			if tt.role != none {
				rq.User.Roles = []ul.Role{tt.role}
			}
			_, accepted := ul.NegotiateAsAcceptor(rq, tt.server.policy(rq, &AssociationInfo{}, Admission{}))
			var got ul.Context
			if len(accepted) > 0 {
				got = accepted[0]
			}
			if got.TransferSyntax != tt.ts || got.SCP != tt.scu || got.SCU != tt.scp {
				t.Errorf("%+v", got)
			}
		})
	}
}

// What is no data set, or too much of one, is refused, and the association goes
// on.
func TestIdentifiersThatAreWrong(t *testing.T) {
	addr, _ := start(t, &Server{Services: []Service{
		{SOPClasses: []string{findClass}, Find: func(context.Context, *Request, *Matches) Status { return Status{} }},
		{SOPClasses: []string{moveClass}, Move: func(context.Context, *Request, *Progress) Retrieved { return Retrieved{} }},
		{SOPClasses: []string{mppsClass}, MaxDataSet: 100, NCreate: func(context.Context, *Request) NResponse { return NResponse{} }},
	}})
	deep := bytes.Repeat(unhex(t, "0800 1111 'SQ' 0000 FFFFFFFF FEFF00E0 FFFFFFFF"), 100)
	many := bytes.Repeat(unhex(t, "FEFF00E0 00000000"), 100_000) // items
	many = append(unhex(t, "0800 1111 'SQ' 0000"), append([]byte{byte(len(many)), byte(len(many) >> 8), byte(len(many) >> 16), 0}, many...)...)
	pixels := unhex(t, "E07F 1000 'OW' 0000 02000000 0000")
	tests := []struct {
		name  string
		class string
		field Field
		data  []byte
		want  Code
	}{
		{"none", findClass, CFindRQ, nil, Success},
		{"cut short", findClass, CFindRQ, unhex(t, "1000 1000 'PN' 0800 'Kari'"), UnableToProcess},
		{"2 MiB", findClass, CFindRQ, bytes.Repeat([]byte{0}, 2<<20), FindOutOfResources},
		{"2 MiB to move", moveClass, CMoveRQ, bytes.Repeat([]byte{0}, 2<<20), NoMatchCount},
		{"100 sequences deep", findClass, CFindRQ, deep, UnableToProcess},
		{"100,000 items", findClass, CFindRQ, many, UnableToProcess},
		{"pixel data", findClass, CFindRQ, pixels, UnableToProcess},
		{"over the service's own limit", mppsClass, NCreateRQ, bytes.Repeat([]byte{0}, 102), ResourceLimitation},
		{"not a data set", mppsClass, NCreateRQ, unhex(t, "1000 1000 'PN' 0800 'Kari'"), ProcessingFailure},
	}
	c := dialServices(t, addr, Dialer{}, findClass, moveClass, mppsClass)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rq := c.newRequest(tt.field, tt.class)
			rq.SetUint16(CommandDataSetType, hasDataSet)
			rq.SetText(MoveDestination, "WS02")
			pc, _ := c.contextFor(tt.class, "")
			a, err := c.exchange(t.Context(), pc, rq, bytes.NewReader(tt.data), nil)
			status, _ := statusOf(a.command)
			if err != nil || status.Code != tt.want {
				t.Errorf("%s, %v, want %s", status, err, tt.want)
			}
		})
	}
	rq := c.newRequest(CFindRQ, findClass)
	rq.SetUint16(CommandDataSetType, noDataSet)
	a, err := c.exchange(t.Context(), c.Contexts()[0], rq, nil, nil)
	if status, _ := statusOf(a.command); err != nil || status.Code != UnableToProcess {
		t.Errorf("no identifier: %s, %v", status, err)
	}
}

// A handler's panic ends its association and nothing else.
func TestServicePanic(t *testing.T) {
	addr, _ := start(t, &Server{Services: []Service{{SOPClasses: []string{findClass}, Find: func(context.Context, *Request, *Matches) Status {
		panic("handler defect")
	}}}})
	for range 2 {
		c := dialServices(t, addr, Dialer{}, findClass)
		if status, err := c.Find(t.Context(), findClass, patient("x"), nil); err == nil {
			t.Errorf("a panic was answered with %s", status)
		}
	}
}

// Peers that answer what was not asked, or in the wrong way, are left.
func TestServersThatMisbehave(t *testing.T) {
	tests := []struct {
		name   string
		answer func(a *ul.Association, rq Command)
	}{
		{"another message's response", func(a *ul.Association, rq Command) {
			rsp := newResponse(rq, Status{})
			rsp.SetUint16(MessageIDBeingRespondedTo, 99)
			_ = a.Send(1, rsp.Encode(), nil)
		}},
		{"another operation's response", func(a *ul.Association, rq Command) {
			rq.SetUint16(CommandField, uint16(CMoveRQ))
			_ = a.Send(1, newResponse(rq, Status{}).Encode(), nil)
		}},
		{"no status", func(a *ul.Association, rq Command) {
			var rsp Command
			rsp.SetUint16(CommandField, uint16(CFindRQ|responseBit))
			rsp.SetUint16(MessageIDBeingRespondedTo, 1)
			_ = a.Send(1, rsp.Encode(), nil)
		}},
		{"a cancel", func(a *ul.Association, rq Command) {
			var c Command
			c.SetUint16(CommandField, uint16(CCancelRQ))
			_ = a.Send(1, c.Encode(), nil)
		}},
		{"no command", func(a *ul.Association, rq Command) { _ = a.Send(1, []byte{1, 2, 3}, nil) }},
		{"abort", func(a *ul.Association, rq Command) { a.Abort(nil) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			var wg sync.WaitGroup
			defer wg.Wait()
			wg.Go(func() {
				nc, err := ln.Accept()
				if err != nil {
					return
				}
				a, err := ul.Accept(context.Background(), nc, ul.AcceptorConfig{Decide: func(*ul.AssociateRequest) (ul.AcceptorPolicy, error) {
					return ul.AcceptorPolicy{Choose: func(_ string, ts []string) (string, ul.Result) { return ts[0], ul.Acceptance }}, nil
				}})
				if err != nil {
					t.Error(err)
					return
				}
				defer a.Close()
				_, raw, err := a.ReadCommand()
				if err != nil {
					t.Error(err)
					return
				}
				rq, _ := ParseCommand(raw)
				_, _ = io.Copy(io.Discard, a.DataReader(1))
				tt.answer(a, rq)
				if _, _, err := a.ReadCommand(); err == nil {
					t.Error("the association goes on")
				}
			})
			c := dialServices(t, ln.Addr().String(), Dialer{}, findClass)
			if status, err := c.Find(t.Context(), findClass, patient("x"), func(*dicom.Dataset, bool) error { return nil }); err == nil {
				t.Errorf("took it for %s", status)
			}
			c.Close()
		})
	}
}

func TestStatusesOfServices(t *testing.T) {
	tests := []struct {
		code     Code
		field    Field
		text     string
		category Category
	}{
		{0xA700, CFindRQ, "refused: out of resources", CategoryFailure},
		{0xA900, CFindRQ | responseBit, "identifier does not match SOP class", CategoryFailure},
		{0xA900, CStoreRQ, "data set does not match SOP class", CategoryFailure},
		{0xA801, CMoveRQ, "refused: move destination unknown", CategoryFailure},
		{0xB000, CGetRQ, "sub-operations complete, one or more failures or warnings", CategoryWarning},
		{0xB000, CStoreRQ, "coercion of data elements", CategoryWarning},
		{0xFF01, CFindRQ, "matches are continuing; optional keys were not supported", CategoryPending},
		{0xFE00, CMoveRQ, "sub-operations ended by a cancel request", CategoryCancel},
		{0x0112, NSetRQ, "no such SOP instance", CategoryFailure},
	}
	for _, tt := range tests {
		if got := tt.code.Of(tt.field); !strings.HasSuffix(got, tt.text) || tt.code.Category() != tt.category {
			t.Errorf("%04X of %s: %s, %s", uint16(tt.code), tt.field, got, tt.code.Category())
		}
	}
}

func FuzzIdentifier(f *testing.F) {
	for _, ts := range []string{dicom.ImplicitVRLittleEndian, dicom.ExplicitVRLittleEndian} {
		b, err := encodeDataSet(patient("Каримов^Али").SetSequence(dicom.TagProcedureCodeSequence, patient("x")), ts)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, ts == dicom.ImplicitVRLittleEndian)
	}
	f.Add(unhex(f, "0800 1111 'SQ' 0000 FFFFFFFF FEFF00E0 FFFFFFFF"), false)
	f.Fuzz(func(t *testing.T, b []byte, implicit bool) {
		ts := dicom.ExplicitVRLittleEndian
		if implicit {
			ts = dicom.ImplicitVRLittleEndian
		}
		ds, err := decodeDataSet(bytes.NewReader(b), ts, 4096)
		if err != nil {
			return
		}
		if len(b) > 4096 {
			t.Error("too long and decoded")
		}
		// What was decoded can be sent again.
		if _, err := encodeDataSet(ds.UTF8(), ts); err != nil {
			t.Error(err)
		}
	})
}
