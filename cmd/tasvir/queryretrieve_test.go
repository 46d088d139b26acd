package main

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/phantom"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// Workstations find and get what belongs to their facility and no other's, and
// images are moved to registered destinations only.
func TestQueryRetrieve(t *testing.T) {
	a := startArchive(t, nil)
	h := furnish(a)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var moved atomic.Int64
	takes := dimse.StoreHandlerFunc(func(_ context.Context, rq *dimse.StoreRequest) dimse.Status {
		if _, err := io.Copy(io.Discard, rq.Data); err != nil {
			return dimse.Statusf(dimse.ProcessingFailure, "%v", err)
		}
		moved.Add(1)
		return dimse.Status{}
	})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = (&dimse.Server{AETitle: "URGUT_WS2", Store: takes}).Serve(ctx, listener) })
	defer running.Wait()
	defer cancel()

	a.tasvir("", "device", "add", "URGUT_WS1", "URGUT", "--service", "query,retrieve")
	a.tasvir("", "device", "add", "NUKUS_WS1", "NUKUS", "--service", "query,retrieve")
	a.tasvir("", "device", "add", "URGUT_WS2", "URGUT", "--address", listener.Addr().String(), "--destination", "--service", "none")
	eventually(t, "the archive knows the workstations", func() bool {
		return a.echo("URGUT_WS1") == nil && a.echo("NUKUS_WS1") == nil && a.echo("URGUT_WS2") == nil
	})
	study := phantom.Small(phantom.HeadCT, 3)
	h.send("URGUT_CT1", study)
	h.expect(study, 3)

	dial := func(calling string) *dimse.Client {
		t.Helper()
		contexts := []ul.ProposedContext{
			dimse.ServiceContext(1, dicom.StudyRootFindSOPClass), dimse.ServiceContext(3, dicom.StudyRootMoveSOPClass), dimse.ServiceContext(5, dicom.StudyRootGetSOPClass),
			{ID: 7, AbstractSyntax: dicom.CTImageStorage, TransferSyntaxes: []string{dicom.ExplicitVRLittleEndian}},
		}
		c, err := dimse.Dial(t.Context(), a.dicom, dimse.Dialer{
			CallingAE: calling, CalledAE: "TASVIR", Contexts: contexts, Roles: []ul.Role{{SOPClassUID: dicom.CTImageStorage, SCP: true}},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	identifier := new(dicom.Dataset).SetString(dicom.TagQueryRetrieveLevel, dicom.CS, "STUDY").SetString(dicom.TagStudyInstanceUID, dicom.UI, study.StudyInstanceUID())
	for _, tt := range []struct {
		calling   string
		found     int
		status    dimse.Code
		retrieved int
	}{
		{"URGUT_WS1", 1, dimse.Success, 3},
		{"NUKUS_WS1", 0, dimse.Success, 0},
	} {
		c := dial(tt.calling)
		found := 0
		status, err := c.Find(t.Context(), dicom.StudyRootFindSOPClass, identifier, func(*dicom.Dataset, bool) error { found++; return nil })
		if err != nil || status.Code != tt.status || found != tt.found {
			t.Errorf("%s finds %d: %s, %v", tt.calling, found, status, err)
		}
		before := moved.Load()
		r, err := c.Get(t.Context(), dicom.StudyRootGetSOPClass, identifier, takes, nil)
		if err != nil || r.Code != tt.status || r.Completed != tt.retrieved || int(moved.Load()-before) != tt.retrieved {
			t.Errorf("%s gets %d: %+v, %v", tt.calling, moved.Load()-before, r, err)
		}
		before = moved.Load()
		r, err = c.Move(t.Context(), dicom.StudyRootMoveSOPClass, "URGUT_WS2", identifier, nil)
		if err != nil || r.Code != tt.status || r.Completed != tt.retrieved || int(moved.Load()-before) != tt.retrieved {
			t.Errorf("%s moves %d: %+v, %v", tt.calling, moved.Load()-before, r, err)
		}
	}
	// It may send, and no more: that is negotiated.
	if got := dial("URGUT_CT1").Contexts(); len(got) != 1 || got[0].AbstractSyntax != dicom.CTImageStorage {
		t.Errorf("URGUT_CT1 has %+v", got)
	}
	c := dial("URGUT_WS1")
	for _, nowhere := range []string{"STRANGER", "NUKUS_WS1"} { // the latter has no address
		if r, err := c.Move(t.Context(), dicom.StudyRootMoveSOPClass, nowhere, identifier, nil); err != nil || r.Code != dimse.MoveDestinationUnknown {
			t.Errorf("to %s: %s, %v", nowhere, r.Status, err)
		}
	}
}
