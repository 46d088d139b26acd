package dimse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

const (
	findClass   = dicom.StudyRootFindSOPClass
	moveClass   = dicom.StudyRootMoveSOPClass
	getClass    = dicom.StudyRootGetSOPClass
	mppsClass   = dicom.ModalityPerformedProcedureStepSOPClass
	commitClass = dicom.StorageCommitmentPushModelSOPClass
)

func dialServices(t *testing.T, addr string, d Dialer, classes ...string) *Client {
	t.Helper()
	d.CallingAE, d.CalledAE = "WS01", "TASVIR"
	for _, class := range classes {
		d.Contexts = append(d.Contexts, ServiceContext(byte(2*len(d.Contexts)+1), class))
	}
	c, err := Dial(t.Context(), addr, d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func patient(name string) *dicom.Dataset {
	return new(dicom.Dataset).SetString(dicom.TagPatientName, dicom.PN, name)
}

func TestFind(t *testing.T) {
	var operated []*Operated
	addr, stop := start(t, &Server{
		Observer: Observer{Operated: func(o *Operated) { operated = append(operated, o) }},
		Services: []Service{{SOPClasses: []string{findClass}, Extended: func(_ *AssociationInfo, _ string, info []byte) []byte {
			return info[:1]
		}, Find: func(_ context.Context, rq *Request, out *Matches) Status {
			out.OptionalKeysIgnored = rq.DataSet.Has(dicom.TagStudyDescription)
			switch name := rq.DataSet.String(dicom.TagPatientName); name {
			case "nobody":
			case "error":
				return Statusf(DataSetMismatch, "no such level")
			default:
				for i := range 3 {
					if err := out.Send(patient(fmt.Sprintf("%s^%d %x", name, i, rq.Extended))); err != nil {
						return Statusf(UnableToProcess, "%v", err)
					}
				}
			}
			return Status{}
		}}},
	})
	c := dialServices(t, addr, Dialer{Extended: []ul.ExtendedNegotiation{{SOPClassUID: findClass, Info: []byte{1, 1}}}}, findClass)
	if got := c.Extended(findClass); !bytes.Equal(got, []byte{1}) {
		t.Errorf("extended negotiation answered with %v", got)
	}
	tests := []struct {
		name    string
		query   *dicom.Dataset
		want    []string
		ignored bool
		status  Code
	}{
		{"three", patient("Каримов"), []string{"Каримов^0 01", "Каримов^1 01", "Каримов^2 01"}, false, Success},
		{"keys ignored", patient("A").SetString(dicom.TagStudyDescription, dicom.LO, "x"), []string{"A^0 01", "A^1 01", "A^2 01"}, true, Success},
		{"none", patient("nobody"), nil, false, Success},
		{"refused", patient("error"), nil, false, DataSetMismatch},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			status, err := c.Find(t.Context(), findClass, tt.query, func(match *dicom.Dataset, ignored bool) error {
				got = append(got, match.String(dicom.TagPatientName))
				if ignored != tt.ignored {
					t.Errorf("optional keys ignored: %t", ignored)
				}
				return nil
			})
			if err != nil || status.Code != tt.status || !slices.Equal(got, tt.want) {
				t.Errorf("%s, %v, %q", status, err, got)
			}
		})
	}
	if _, err := c.Find(t.Context(), moveClass, patient("x"), nil); !errors.Is(err, ErrNotAccepted) {
		t.Errorf("a class that was not negotiated: %v", err)
	}
	if err := errors.Join(c.Release(t.Context()), stop()); err != nil {
		t.Error(err)
	}
	if len(operated) != 4 || operated[0].Responses != 3 || operated[3].Status.Code != DataSetMismatch || operated[0].Request.Field != CFindRQ {
		t.Errorf("observed %+v", operated)
	}
}

// A C-CANCEL reaches a handler that sends without end, and one that only waits.
func TestAcceptance09Cancel(t *testing.T) {
	waiting := make(chan struct{}, 1)
	addr, _ := start(t, &Server{Services: []Service{{SOPClasses: []string{findClass}, Find: func(ctx context.Context, rq *Request, out *Matches) Status {
		if rq.DataSet.String(dicom.TagPatientName) == "wait" {
			waiting <- struct{}{}
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), ErrCancelled) {
				return Statusf(ProcessingFailure, "%v", context.Cause(ctx))
			}
			return Status{Code: Cancelled}
		}
		for {
			if err := out.Send(patient("x")); errors.Is(err, ErrCancelled) {
				return Status{Code: UnableToProcess, Comment: "made a cancel by the server"}
			} else if err != nil {
				return Statusf(ProcessingFailure, "%v", err)
			}
		}
	}}}})
	c := dialServices(t, addr, Dialer{}, findClass, dicom.VerificationSOPClass)
	enough := errors.New("enough")
	n := 0
	status, err := c.Find(t.Context(), findClass, patient("endless"), func(*dicom.Dataset, bool) error {
		if n++; n == 100 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || status.Code != Cancelled || n != 100 {
		t.Errorf("%s, %v after %d matches", status, err, n)
	}
	go func() {
		<-waiting
		_ = c.Cancel()
	}()
	if status, err := c.Find(t.Context(), findClass, patient("wait"), nil); err != nil || status.Code != Cancelled {
		t.Errorf("%s, %v", status, err)
	}
	// Nothing is left of it: the association is in step.
	if err := c.Cancel(); err != nil {
		t.Error(err)
	}
	if status, err := c.Echo(t.Context()); err != nil || status.Code != Success {
		t.Errorf("afterwards: %s, %v", status, err)
	}
}

// An association that ends takes its operation with it, however it ends.
func TestOperationsEndWithTheirAssociation(t *testing.T) {
	running, ended := make(chan struct{}), make(chan error, 1)
	s := &Server{DrainTimeout: time.Millisecond, Services: []Service{{SOPClasses: []string{findClass}, Find: func(ctx context.Context, _ *Request, out *Matches) Status {
		running <- struct{}{}
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return Status{}
	}}}}
	addr, stop := start(t, s)
	tests := []struct {
		name string
		end  func(c *Client)
		want error
	}{
		{"released", func(c *Client) { _ = c.Release(t.Context()) }, ul.ErrReleased},
		{"aborted", func(c *Client) { c.assoc.Abort(nil) }, nil},
		{"connection lost", func(c *Client) { c.Close() }, nil},
		{"server stopped", func(*Client) { go func() { _ = stop() }() }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := dialServices(t, addr, Dialer{}, findClass)
			rq := c.newRequest(CFindRQ, findClass)
			rq.SetUint16(CommandDataSetType, hasDataSet)
			data, _ := encodeDataSet(patient("x"), dicom.ExplicitVRLittleEndian)
			if err := c.assoc.Send(1, rq.Encode(), bytes.NewReader(data)); err != nil {
				t.Fatal(err)
			}
			<-running
			tt.end(c)
			if err := <-ended; err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("the handler's context ended with %v", err)
			}
			c.Close()
		})
	}
}

// The peer's silence while it waits for us is no idleness.
func TestLongOperationIsNotIdle(t *testing.T) {
	const idle = 30 * time.Millisecond
	addr, _ := start(t, &Server{Timeouts: ul.Timeouts{Idle: idle}, Services: []Service{{SOPClasses: []string{findClass}, Find: func(ctx context.Context, _ *Request, out *Matches) Status {
		select {
		case <-ctx.Done():
			return Statusf(ProcessingFailure, "%v", context.Cause(ctx))
		case <-time.After(5 * idle):
			return Status{}
		}
	}}}})
	c := dialServices(t, addr, Dialer{}, findClass)
	if status, err := c.Find(t.Context(), findClass, patient("x"), nil); err != nil || status.Code != Success {
		t.Errorf("%s, %v", status, err)
	}
	// Once it is answered, idleness ends the association.
	if _, _, err := c.assoc.ReadCommand(); err == nil {
		t.Error("an idle association lives on")
	}
}

func TestOneOperationAtATime(t *testing.T) {
	leave := make(chan struct{})
	addr, _ := start(t, &Server{Services: []Service{{SOPClasses: []string{findClass}, Find: func(context.Context, *Request, *Matches) Status {
		<-leave
		return Status{}
	}}}})
	c := dialServices(t, addr, Dialer{}, findClass, dicom.VerificationSOPClass)
	data, _ := encodeDataSet(patient("x"), dicom.ExplicitVRLittleEndian)
	send := func(f Field, class string) {
		rq := c.newRequest(f, class)
		pc, _ := c.contextFor(class, "")
		rq.SetUint16(CommandDataSetType, noDataSet)
		var body io.Reader
		if f == CFindRQ {
			rq.SetUint16(CommandDataSetType, hasDataSet)
			body = bytes.NewReader(data)
		}
		if err := c.assoc.Send(pc.ID, rq.Encode(), body); err != nil {
			t.Fatal(err)
		}
	}
	send(CFindRQ, findClass)
	send(CFindRQ, findClass)
	send(CEchoRQ, dicom.VerificationSOPClass) // is answered all the same
	want := []struct {
		id     uint16
		status Code
	}{{2, ResourceLimitation}, {3, Success}, {1, Success}}
	for i, w := range want {
		_, raw, err := c.assoc.ReadCommand()
		if err != nil {
			t.Fatal(err)
		}
		rsp, _ := ParseCommand(raw)
		status, _ := statusOf(rsp)
		if id, _ := rsp.Uint16(MessageIDBeingRespondedTo); id != w.id || status.Code != w.status {
			t.Errorf("message %d: %s, want %d: %s", id, status, w.id, w.status)
		}
		if i == 1 {
			close(leave)
		}
	}
}

func TestAcceptance10MoveCounts(t *testing.T) {
	addr, _ := start(t, &Server{Services: []Service{{SOPClasses: []string{moveClass}, Move: func(_ context.Context, rq *Request, out *Progress) Retrieved {
		if rq.MoveDestination != "WS02" {
			return Retrieved{Status: Statusf(MoveDestinationUnknown, "%s is not known here", rq.MoveDestination)}
		}
		for i := range 3 {
			if err := out.Report(Suboperations{Remaining: 3 - i, Completed: i}); err != nil {
				return Retrieved{Status: Status{Code: Cancelled}, Suboperations: Suboperations{Remaining: 3 - i, Completed: i}}
			}
		}
		return Retrieved{
			Status: Status{Code: SomeSuboperationsFailed}, Suboperations: Suboperations{Completed: 70000, Failed: 2, Warning: 1},
			FailedInstances: []string{"1.2.3", "1.2.4"},
		}
	}}}})
	c := dialServices(t, addr, Dialer{}, moveClass)
	var seen []Suboperations
	got, err := c.Move(t.Context(), moveClass, "WS02", patient("x"), func(n Suboperations) error { seen = append(seen, n); return nil })
	want := Retrieved{
		Status: Status{Code: SomeSuboperationsFailed}, Suboperations: Suboperations{Completed: 65535, Failed: 2, Warning: 1},
		FailedInstances: []string{"1.2.3", "1.2.4"},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if diff := cmp.Diff([]Suboperations{{Remaining: 3}, {Remaining: 2, Completed: 1}, {Remaining: 1, Completed: 2}}, seen); diff != "" {
		t.Errorf("pending (-want +got):\n%s", diff)
	}
	if got, err := c.Move(t.Context(), moveClass, "NOWHERE", patient("x"), nil); err != nil || got.Code != MoveDestinationUnknown {
		t.Errorf("unknown destination: %s, %v", got.Status, err)
	}
	if got, err := c.Move(t.Context(), moveClass, "", patient("x"), nil); err != nil || got.Code != MissingAttribute {
		t.Errorf("no destination: %s, %v", got.Status, err)
	}
}

// Instances come over the association that asked for them, in the contexts that
// were proposed with the SCP role, and a cancel in the midst of one completes it.
func TestAcceptance11GetSendsVerbatim(t *testing.T) {
	big := bytes.Repeat([]byte("pixels"), 1<<20)
	addr, _ := start(t, &Server{Services: []Service{{SOPClasses: []string{getClass}, Get: func(ctx context.Context, rq *Request, out *Getter) Retrieved {
		var r Retrieved
		if n := len(out.Contexts()); n != 1 {
			return Retrieved{Status: Statusf(NoSuboperations, "%d contexts to send in", n)}
		}
		for i, size := range []int{0, 10, len(big)} {
			it := item(fmt.Sprintf("1.2.%d", i), big[:size])
			if i == 1 && rq.DataSet.String(dicom.TagPatientName) == "foreign" {
				it.SOPClassUID = dicom.MRImageStorage
			}
			status, err := out.Store(it)
			switch {
			case errors.Is(err, ErrNotAccepted) || err == nil && !status.OK():
				r.Failed++
				r.FailedInstances = append(r.FailedInstances, it.SOPInstanceUID)
			case err != nil:
				return Retrieved{Status: Statusf(ProcessingFailure, "%v", err)}
			default:
				r.Completed++
			}
			if err := out.Report(Suboperations{Remaining: 2 - i, Completed: r.Completed, Failed: r.Failed}); errors.Is(err, ErrCancelled) {
				r.Status, r.Remaining = Status{Code: Cancelled}, 2-i
				return r
			}
		}
		if r.Failed > 0 {
			r.Status.Code = SomeSuboperationsFailed
		}
		return r
	}}}})
	d := Dialer{
		Contexts: GroupContexts([]Kind{ctKind})[0].Contexts,
		Roles:    []ul.Role{{SOPClassUID: ctKind.SOPClassUID, SCP: true}},
	}
	c := dialServices(t, addr, d, getClass)
	var handler shelf
	got, err := c.Get(t.Context(), getClass, patient("x"), &handler, nil)
	if err != nil || got.Code != Success || got.Completed != 3 || !bytes.Equal(handler.items["1.2.2"].data, big) || handler.items["1.2.0"].info.CalledAE != "TASVIR" {
		t.Errorf("%+v, %v, %d stored", got, err, len(handler.items))
	}
	got, err = c.Get(t.Context(), getClass, patient("foreign"), &handler, nil)
	if err != nil || got.Code != SomeSuboperationsFailed || got.Completed != 2 || got.Failed != 1 || !slices.Equal(got.FailedInstances, []string{"1.2.1"}) {
		t.Errorf("%+v, %v", got, err)
	}
	refuses := StoreHandlerFunc(func(_ context.Context, rq *StoreRequest) Status { return Statusf(OutOfResources, "full") })
	if got, err := c.Get(t.Context(), getClass, patient("x"), refuses, nil); err != nil || got.Failed != 3 {
		t.Errorf("%+v, %v", got, err)
	}
	// The cancel is sent from inside the sub-operation, so that it is certain to
	// arrive before the instance's answer does.
	cancels := StoreHandlerFunc(func(_ context.Context, rq *StoreRequest) Status {
		_ = c.Cancel()
		return Status{}
	})
	if got, err := c.Get(t.Context(), getClass, patient("x"), cancels, nil); err != nil || got.Code != Cancelled || got.Completed != 1 || got.Remaining != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	// An instance that nobody asked for is not taken.
	if _, err := c.Store(t.Context(), item("1.2.9", nil)); !errors.Is(err, ErrNotAccepted) {
		t.Errorf("storing in a context for retrieval: %v", err)
	}
}

func TestNormalizedServices(t *testing.T) {
	echo := func(_ context.Context, rq *Request) NResponse {
		ds := new(dicom.Dataset).SetString(dicom.TagStudyDescription, dicom.LO, fmt.Sprintf("%s %s %s %d %d %v %q", rq.Field, rq.SOPClassUID, rq.SOPInstanceUID,
			rq.EventTypeID, rq.ActionTypeID, rq.Attributes, rq.DataSet.String(dicom.TagPatientName)))
		rsp := NResponse{DataSet: ds}
		if rq.SOPInstanceUID == "" {
			rsp.SOPInstanceUID = "1.2.99"
		}
		if rq.SOPInstanceUID == "1.2.404" {
			return NResponse{Status: Statusf(NoSuchInstance, "nobody knows it")}
		}
		return rsp
	}
	addr, _ := start(t, &Server{Services: []Service{
		{SOPClasses: []string{mppsClass, "1.2.840.10008.3.1.2.3.4"}, NCreate: echo, NSet: echo, NGet: echo, NAction: echo, NDelete: echo, NEventReport: echo, PeerSCP: true},
		{SOPClasses: []string{findClass}, NGet: echo},
	}})
	c := dialServices(t, addr, Dialer{}, mppsClass, findClass)
	base := NRequest{SOPClassUID: mppsClass, SOPInstanceUID: "1.2.3", EventTypeID: 7, ActionTypeID: 8, DataSet: patient("A^B")}
	with := func(edit func(*NRequest)) NRequest {
		n := base
		edit(&n)
		return n
	}
	type method func(context.Context, NRequest) (NResponse, error)
	tests := []struct {
		name   string
		call   method
		rq     NRequest
		status Code
		want   string
		made   string
	}{
		{"N-CREATE", c.NCreate, base, Success, "N-CREATE-RQ " + mppsClass + ` 1.2.3 0 0 [] "A^B"`, "1.2.3"},
		{"N-CREATE, the UID is ours", c.NCreate, with(func(n *NRequest) { n.SOPInstanceUID = "" }), Success, "N-CREATE-RQ " + mppsClass + `  0 0 [] "A^B"`, "1.2.99"},
		{"N-SET", c.NSet, base, Success, "N-SET-RQ " + mppsClass + ` 1.2.3 0 0 [] "A^B"`, "1.2.3"},
		{"N-GET", c.NGet, with(func(n *NRequest) {
			n.Attributes, n.DataSet = []dicom.Tag{dicom.TagPatientName, dicom.TagStudyDescription}, nil
		}), Success, "N-GET-RQ " + mppsClass + ` 1.2.3 0 0 [00100010 00081030] ""`, "1.2.3"},
		{"N-ACTION", c.NAction, base, Success, "N-ACTION-RQ " + mppsClass + ` 1.2.3 0 8 [] "A^B"`, "1.2.3"},
		{"N-DELETE", c.NDelete, with(func(n *NRequest) { n.DataSet = nil }), Success, "N-DELETE-RQ " + mppsClass + ` 1.2.3 0 0 [] ""`, "1.2.3"},
		{"N-EVENT-REPORT", c.NEventReport, base, Success, "N-EVENT-REPORT-RQ " + mppsClass + ` 1.2.3 7 0 [] "A^B"`, "1.2.3"},
		{"class of the same service", c.NSet, with(func(n *NRequest) { n.SOPClassUID, n.AbstractSyntax = "1.2.840.10008.3.1.2.3.4", mppsClass }), Success, `N-SET-RQ 1.2.840.10008.3.1.2.3.4 1.2.3 0 0 [] "A^B"`, "1.2.3"},
		{"foreign class", c.NSet, with(func(n *NRequest) { n.SOPClassUID, n.AbstractSyntax = commitClass, mppsClass }), SOPClassNotSupported, "", ""},
		{"no such instance", c.NSet, with(func(n *NRequest) { n.SOPInstanceUID = "1.2.404" }), NoSuchInstance, "", "1.2.404"},
		{"no instance named", c.NSet, with(func(n *NRequest) { n.SOPInstanceUID = "" }), MissingAttribute, "", ""},
		{"no handler", c.NSet, with(func(n *NRequest) { n.SOPClassUID = findClass }), UnrecognizedOperation, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.call(t.Context(), tt.rq)
			if err != nil || got.Code != tt.status || got.DataSet.String(dicom.TagStudyDescription) != tt.want || got.SOPInstanceUID != tt.made {
				t.Errorf("%s, %q, %q, %v", got.Status, got.SOPInstanceUID, got.DataSet.String(dicom.TagStudyDescription), err)
			}
		})
	}
}

// N-EVENT-REPORT goes to the peer over the association it has opened: before the
// answer to its N-ACTION, after it, and with another operation in between.
func TestEventReport(t *testing.T) {
	reported := make(chan error, 10)
	proceed := make(chan struct{})
	var wg sync.WaitGroup
	report := func(rq *Request, event uint16) {
		rsp, err := rq.Association.EventReport(context.Background(), NRequest{
			SOPClassUID: commitClass, SOPInstanceUID: dicom.StorageCommitmentPushModelSOPInstance, EventTypeID: event, DataSet: patient("done"),
		})
		if err == nil && rsp.Code != Success {
			err = errors.New(rsp.Status.String())
		}
		reported <- err
	}
	addr, _ := start(t, &Server{Services: []Service{{SOPClasses: []string{commitClass}, NAction: func(_ context.Context, rq *Request) NResponse {
		switch rq.ActionTypeID {
		case 1:
			report(rq, 1)
		case 2:
			wg.Go(func() {
				<-proceed
				report(rq, 2)
			})
		}
		return NResponse{}
	}}}})
	defer wg.Wait()
	c := dialServices(t, addr, Dialer{}, commitClass, dicom.VerificationSOPClass)
	action := func(kind uint16) {
		rsp, err := c.NAction(t.Context(), NRequest{SOPClassUID: commitClass, SOPInstanceUID: dicom.StorageCommitmentPushModelSOPInstance, ActionTypeID: kind, DataSet: patient("x")})
		if err != nil || rsp.Code != Success {
			t.Fatalf("N-ACTION: %s, %v", rsp.Status, err)
		}
	}
	action(1)
	if err := <-reported; err == nil || !strings.Contains(err.Error(), "0211H") {
		t.Errorf("nobody takes events, and the report was answered with %v", err)
	}
	var events []string
	c.OnEvent(func(_ context.Context, n NRequest) Status {
		events = append(events, fmt.Sprint(n.EventTypeID, n.SOPInstanceUID, n.DataSet.String(dicom.TagPatientName)))
		return Status{}
	})
	action(1)
	action(2)
	if status, err := c.Echo(t.Context()); err != nil || !status.OK() {
		t.Errorf("C-ECHO: %s, %v", status, err)
	}
	close(proceed)
	if err := c.AwaitEvent(t.Context()); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := <-reported; err != nil {
			t.Error(err)
		}
	}
	want := []string{"1 " + dicom.StorageCommitmentPushModelSOPInstance + " done", "2 " + dicom.StorageCommitmentPushModelSOPInstance + " done"}
	for i := range want {
		want[i] = strings.ReplaceAll(want[i], " ", "")
	}
	for i := range events {
		events[i] = strings.ReplaceAll(events[i], " ", "")
	}
	if !slices.Equal(events, want) {
		t.Errorf("%q", events)
	}
	// After the end nothing is reported.
	action(2)
	c.Close()
	if err := <-reported; err == nil {
		t.Error("an event was reported to nobody")
	}
}

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
