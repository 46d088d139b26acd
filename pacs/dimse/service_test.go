package dimse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

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
