package dimse

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// dcmqrscp runs dcmtk's archive, empty. It may send to the AE title WS01 at
// storage.
func dcmqrscp(t *testing.T, storage string) (addr string) {
	t.Helper()
	for range 3 { // the port may be taken before it is there
		addr, said := tryDcmqrscp(t, storage)
		if said == "" {
			return addr
		}
		t.Logf("dcmqrscp ended: %s", said)
	}
	t.Fatal("dcmqrscp does not start")
	return ""
}

// tryDcmqrscp returns what it said if it ended at once.
func tryDcmqrscp(t *testing.T, storage string) (addr, said string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = ln.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	_ = ln.Close()
	dir := t.TempDir()
	kept := filepath.Join(dir, "images")
	if err := os.Mkdir(kept, 0o700); err != nil {
		t.Fatal(err)
	}
	_, storagePort, _ := net.SplitHostPort(storage)
	config := fmt.Sprintf(`NetworkTCPPort = %s
MaxPDUSize = 131072
MaxAssociations = 16
HostTable BEGIN
ws01 = (WS01, 127.0.0.1, %s)
HostTable END
VendorTable BEGIN
VendorTable END
AETable BEGIN
QRSCP %s RW (200, 1024mb) ANY
AETable END
`, port, storagePort, kept)
	file := filepath.Join(dir, "dcmqrscp.cfg")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(needTool(t, "dcmqrscp"), "-c", file)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &output, &output, time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	for deadline := time.Now().Add(time.Minute); ; {
		nc, err := net.Dial("tcp", addr)
		if err == nil {
			_ = nc.Close()
			return addr, ""
		}
		select {
		case <-ended:
			return addr, output.String() + "and went"
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("dcmqrscp does not answer: %v", err)
		}
	}
}

// Our user against dcmtk's archive: stores, finds, cancels, gets and moves.
func TestInteropQueryRetrieveAsUser(t *testing.T) {
	var moved shelf
	storage, _ := start(t, &Server{Store: &moved})
	addr := dcmqrscp(t, storage)
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
