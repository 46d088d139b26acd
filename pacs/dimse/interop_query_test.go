package dimse

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse/peertest"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// Our user against dcmtk's archive: stores, finds, cancels, gets and moves.
func TestInteropQueryRetrieveAsUser(t *testing.T) {
	var moved shelf
	storage, _ := start(t, &Server{Store: &moved})
	addr := peertest.Dcmqrscp(t, "QRSCP", map[string]string{"WS01": storage})
	const images = 20
	data := func(n int) []byte {
		ds := new(dicom.Dataset).SetString(dicom.TagSOPClassUID, dicom.UI, dicom.CTImageStorage).SetString(dicom.TagSOPInstanceUID, dicom.UI, fmt.Sprintf("1.2.3.1.%d", n))
		ds.SetString(dicom.TagStudyInstanceUID, dicom.UI, "1.2.3").SetString(dicom.TagSeriesInstanceUID, dicom.UI, "1.2.3.1").SetString(dicom.TagPatientID, dicom.LO, "P1")
		ds.SetString(dicom.TagPatientName, dicom.PN, "Karimov^Ali").SetString(dicom.TagInstanceNumber, dicom.IS, fmt.Sprint(n)).SetString(dicom.TagStudyDate, dicom.DA, "20260302")
		ds.SetString(dicom.TagModality, dicom.CS, "CT").SetString(dicom.TagStudyID, dicom.SH, "7").SetString(dicom.TagSeriesNumber, dicom.IS, "4").SetString(dicom.TagStudyTime, dicom.TM, "101530")
		b, err := dicom.AppendDataset(nil, ds, dicom.ExplicitVRLittleEndian)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	contexts := GroupContexts([]Kind{ctKind})[0].Contexts
	for i, class := range []string{findClass, moveClass, getClass} {
		contexts = append(contexts, ServiceContext(byte(11+2*i), class))
	}
	dialed := func(roles ...ul.Role) *Client {
		c, err := Dial(t.Context(), addr, Dialer{CallingAE: "WS01", CalledAE: "QRSCP", Contexts: contexts, Roles: roles})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	c := dialed()
	for n := range images {
		if status, err := c.Store(t.Context(), item(fmt.Sprintf("1.2.3.1.%d", n), data(n))); err != nil || !status.OK() {
			t.Fatalf("C-STORE: %s, %v", status, err)
		}
	}
	of := func(level string) *dicom.Dataset {
		return new(dicom.Dataset).SetString(dicom.TagQueryRetrieveLevel, dicom.CS, level).SetString(dicom.TagStudyInstanceUID, dicom.UI, "1.2.3")
	}
	query := of("IMAGE").SetString(dicom.TagSeriesInstanceUID, dicom.UI, "1.2.3.1").SetString(dicom.TagSOPInstanceUID, dicom.UI)
	var found []string
	status, err := c.Find(t.Context(), findClass, query, func(match *dicom.Dataset, _ bool) error {
		found = append(found, match.String(dicom.TagSOPInstanceUID))
		return nil
	})
	if slices.Sort(found); err != nil || status.Code != Success || len(slices.Compact(found)) != images {
		t.Errorf("C-FIND: %s, %v, %d found", status, err, len(found))
	}
	enough := errors.New("enough")
	status, err = c.Find(t.Context(), findClass, query, func(*dicom.Dataset, bool) error { return enough })
	if !errors.Is(err, enough) || status.Code != Cancelled && status.Code != Success {
		t.Errorf("C-FIND, cancelled: %s, %v", status, err)
	}
	var pendings int
	r, err := c.Move(t.Context(), moveClass, "WS01", of("STUDY"), func(Suboperations) error { pendings++; return nil })
	if err != nil || r.Code != Success || r.Completed != images || len(moved.items) != images || pendings == 0 {
		t.Errorf("C-MOVE: %+v, %v, %d arrived, %d pending", r, err, len(moved.items), pendings)
	}
	if r, err := c.Move(t.Context(), moveClass, "NOWHERE", of("STUDY"), nil); err != nil || r.Code != MoveDestinationUnknown {
		t.Errorf("C-MOVE to nowhere: %s, %v", r.Status, err)
	}
	if err := c.Release(t.Context()); err != nil {
		t.Error(err)
	}
	var got shelf
	taker := dialed(ul.Role{SOPClassUID: dicom.CTImageStorage, SCP: true})
	r, err = taker.Get(t.Context(), getClass, of("STUDY"), &got, nil)
	if err != nil || r.Code != Success || r.Completed != images || len(got.items) != images {
		t.Errorf("C-GET: %+v, %v, %d arrived", r, err, len(got.items))
	}
	for n := range images {
		uid := fmt.Sprintf("1.2.3.1.%d", n)
		h, err := dicom.Scan(bytes.NewReader(got.items[uid].data), dicom.ScanOptions{TransferSyntax: got.items[uid].transferSyntax})
		if err != nil || h.Dataset.String(dicom.TagPatientName) != "Karimov^Ali" {
			t.Errorf("%s: %v", uid, err)
		}
	}
	if err := taker.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

// dcmtk's worklist server, asked by our client: one of two items matches.
func TestWorklistOfWlmscpfs(t *testing.T) {
	client, err := Dial(t.Context(), peertest.Wlmscpfs(t, peertest.TwoWorklistItems(t)), Dialer{CallingAE: "CT1", CalledAE: "WLM", Contexts: []ul.ProposedContext{ServiceContext(1, dicom.ModalityWorklistFindSOPClass)}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var found []string
	status, err := client.Find(t.Context(), dicom.ModalityWorklistFindSOPClass,
		new(dicom.Dataset).SetString(dicom.TagPatientName, dicom.PN, "KAR*").SetString(dicom.TagStudyInstanceUID, dicom.UI).
			SetSequence(dicom.TagScheduledProcedureStepSequence, new(dicom.Dataset).SetString(dicom.TagScheduledStationAETitle, dicom.AE, "CT1").SetString(dicom.TagScheduledProcedureStepID, dicom.SH)),
		func(match *dicom.Dataset, _ bool) error {
			found = append(found, match.String(dicom.TagPatientName)+" "+match.String(dicom.TagStudyInstanceUID)+" "+match.Item(dicom.TagScheduledProcedureStepSequence).String(dicom.TagScheduledProcedureStepID))
			return nil
		})
	if err != nil || !status.OK() || len(found) != 1 || found[0] != "KARIMOV^ALI 1.2.3.1 S-P1" {
		t.Errorf("found %q: %s, %v", found, status, err)
	}
	if err := client.Release(t.Context()); err != nil {
		t.Error(err)
	}
}
