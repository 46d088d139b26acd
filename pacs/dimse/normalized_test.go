package dimse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

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
