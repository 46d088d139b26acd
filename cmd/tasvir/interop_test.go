package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/dimse/peertest"
)

// Our commands and Orthanc: what store sends, plain and compressed, find finds, get
// fetches as it was sent and move has it send on.
func TestCommandsAgainstOrthanc(t *testing.T) {
	node := &storeNode{}
	o := peertest.StartOrthanc(t, "127.0.0.1:1")
	host, port, err := net.SplitHostPort(startNode(t, &dimse.Server{}, node))
	if err != nil {
		t.Fatal(err)
	}
	o.Call("PUT", "/modalities/node", []any{"NODE", host, json.Number(port)}, nil)
	peer := peerFlags{Address: o.DICOM, AET: "TASVIR", Called: "ORTHANC", Timeout: time.Minute}

	files := t.TempDir()
	const study = "1.2.826.0.1.3680043.10.99.7"
	bodies := writeStudy(t, files, study, "P-7", "KARIMOV^BAHODIR", 3)
	type compressed struct{ study, sop, syntax, body string }
	var others []compressed
	for _, name := range []string{"pydicom-data/693_J2KR.dcm", "pydicom-data/emri_small_jpeg_ls_lossless.dcm", "pydicom-data/JPEG-LL.dcm"} {
		raw, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "dicom", filepath.FromSlash(name)))
		if os.IsNotExist(err) {
			t.Logf("%s is not there", name)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		h, err := dicom.Scan(bytes.NewReader(raw), dicom.ScanOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(files, filepath.Base(name)), raw, 0o600); err != nil {
			t.Fatal(err)
		}
		others = append(others, compressed{
			h.Dataset.String(dicom.TagStudyInstanceUID), h.Dataset.String(dicom.TagSOPInstanceUID), h.TransferSyntax, string(raw[h.DatasetOffset:]),
		})
	}
	store := &StoreCmd{peerFlags: peer, Paths: []string{files}, Jobs: 2}
	if r, err := store.run(t.Context(), io.Discard, quietProgress()); err != nil || r.Stored != len(bodies)+len(others) {
		t.Fatalf("stored %d: %v", r.Stored, err)
	}
	echo := &EchoCmd{peerFlags: peer}
	if err := echo.run(t.Context(), io.Discard); err != nil {
		t.Error(err)
	}

	find := func(change func(*FindCmd)) (string, error) {
		c := &FindCmd{peerFlags: peer, Level: "study", Model: "study"}
		change(c)
		var out strings.Builder
		err := c.run(t.Context(), &out, io.Discard)
		return out.String(), err
	}
	out, err := find(func(c *FindCmd) { c.Key = []string{"PatientName=KARIM*"} })
	if lines := strings.Split(strings.TrimSpace(out), "\n"); err != nil || len(lines) != 2 || !strings.Contains(lines[1], "KARIMOV^BAHODIR") || !strings.HasSuffix(lines[1], study) {
		t.Errorf("%q, %v", out, err)
	}
	for _, model := range []string{"study", "patient"} {
		out, err = find(func(c *FindCmd) {
			c.Model, c.Level, c.JSON, c.Key = model, "image", true, []string{"PatientID=P-7", "StudyInstanceUID=" + study, "SeriesInstanceUID=" + study + ".2"}
		})
		var matches []map[string]struct{ Value []any }
		if e := json.Unmarshal([]byte(out), &matches); e != nil || err != nil || len(matches) != 3 {
			t.Errorf("%s root: %s, %v, %v", model, out, e, err)
		}
	}

	get := func(study string) (retrieveResult, string) {
		t.Helper()
		dir := t.TempDir()
		c := &GetCmd{peerFlags: peer, Dir: dir, JSON: true}
		c.Study = []string{study}
		var out bytes.Buffer
		var r retrieveResult
		err := c.run(t.Context(), &out, quietProgress())
		if e := json.Unmarshal(out.Bytes(), &r); e != nil || err != nil || r.Failed != 0 || r.Status != "0000" {
			t.Errorf("get %s: %s, %v, %v", study, out.String(), e, err)
		}
		return r, dir
	}
	r, dir := get(study)
	if r.Completed != len(bodies) {
		t.Errorf("%d of %d", r.Completed, len(bodies))
	}
	for uid, body := range bodies {
		series := uid[:strings.LastIndex(uid, ".")]
		if raw, err := os.ReadFile(filepath.Join(dir, study, series, uid+".dcm")); err != nil || !bytes.HasSuffix(raw, []byte(body)) {
			t.Errorf("%s: %d bytes, %v", uid, len(raw), err)
		}
	}
	for _, other := range others {
		_, dir := get(other.study)
		list, _ := filepath.Glob(filepath.Join(dir, "*", "*", other.sop+".dcm"))
		if len(list) != 1 {
			t.Errorf("%s did not come", other.syntax)
			continue
		}
		raw, err := os.ReadFile(list[0])
		if err != nil {
			t.Fatal(err)
		}
		if h, err := dicom.Scan(bytes.NewReader(raw), dicom.ScanOptions{}); err != nil || h.TransferSyntax != other.syntax || h.Dataset.String(dicom.TagSOPInstanceUID) != other.sop {
			t.Errorf("%s came as %s, %v", other.syntax, h.TransferSyntax, err)
		}
	}

	move := &MoveCmd{peerFlags: peer, To: "NODE"}
	move.Study = []string{study}
	var said strings.Builder
	if err := move.run(t.Context(), &said, quietProgress()); err != nil || len(node.got) != len(bodies) {
		t.Errorf("%d arrived: %q, %v", len(node.got), said.String(), err)
	}
	for uid, body := range bodies {
		if _, got, _ := strings.Cut(node.got[uid], "|"); got != body {
			t.Errorf("%s arrived with %d bytes", uid, len(got))
		}
	}
	move.To = "NOWHERE"
	if err := move.run(t.Context(), io.Discard, quietProgress()); err == nil {
		t.Error("Orthanc sends to nowhere")
	}
}

// Our command and dcmtk's worklist server: one of two items matches.
func TestFindInTheWorklistOfWlmscpfs(t *testing.T) {
	c := &FindCmd{
		peerFlags: peerFlags{Address: peertest.Wlmscpfs(t, peertest.TwoWorklistItems(t)), AET: "CT1", Called: "WLM", Timeout: time.Minute}, Level: "worklist", JSON: true,
		Key: []string{"PatientName=KAR*", "ScheduledProcedureStepSequence.ScheduledStationAETitle=CT1", "ScheduledProcedureStepSequence.ScheduledProcedureStepID"},
	}
	var out strings.Builder
	err := c.run(t.Context(), &out, io.Discard)
	var matches []map[string]struct{ Value []any }
	if e := json.Unmarshal([]byte(out.String()), &matches); e != nil || err != nil || len(matches) != 1 || !strings.Contains(out.String(), "KARIMOV^ALI") || !strings.Contains(out.String(), "S-P1") {
		t.Errorf("%s, %v, %v", out.String(), e, err)
	}
}

// A series of 800 images through dcmtk's tools, both ways: storescu brings it,
// findscu breaks a query for its images off, getscu and movescu have all of it.
func TestBigSeriesThroughDcmtk(t *testing.T) {
	for _, tool := range []string{"storescu", "findscu", "getscu", "movescu"} {
		peertest.Path(t, tool)
	}
	a := startArchive(t, nil)
	a.tasvir("", "facility", "add", "URGUT", "Urgut hospital")
	port := peertest.FreePorts(t, 1)[0]
	a.tasvir("", "device", "add", "DCMTK", "URGUT", "--service", "store,query,retrieve", "--destination", "--address", "127.0.0.1:"+port)
	const study, images = "1.2.826.0.1.3680043.10.99.8", 800
	folder := t.TempDir()
	bodies := writeStudy(t, folder, study, "P-8", "KARIMOV^BAHODIR", images/2)
	host, dicomPort, err := net.SplitHostPort(a.dicom)
	if err != nil {
		t.Fatal(err)
	}
	got, moved := t.TempDir(), t.TempDir()
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
		cmd.Dir = moved // with +B movescu writes to its own folder, whatever -od says
		out, err := cmd.CombinedOutput()
		t.Logf("%s: %v", args[0], err) // which says little: they may exit with 0 after a failure, and otherwise after success
		return string(out)
	}
	eventually(t, "the device is known", func() bool {
		return strings.Contains(run("echoscu", "-v", "-aet", "DCMTK", "-aec", "TASVIR", host, dicomPort), "Success")
	})
	if out := run("storescu", "-v", "-aet", "DCMTK", "-aec", "TASVIR", "+sd", host, dicomPort, folder); strings.Count(out, "Received Store Response (Success)") != images {
		t.Fatalf("storescu:\n%.2000s", out)
	}
	query := func(level string, more ...string) []string {
		return append(append([]string{"-S", "-aet", "DCMTK", "-aec", "TASVIR", "-k", "QueryRetrieveLevel=" + level, "-k", "StudyInstanceUID=" + study}, more...), host, dicomPort)
	}
	eventually(t, "all of it is found", func() bool {
		return strings.Contains(run(append([]string{"findscu", "-v"}, query("STUDY", "-k", "NumberOfStudyRelatedInstances")...)...), fmt.Sprintf("[%d ]", images)) ||
			strings.Contains(run(append([]string{"findscu", "-v"}, query("STUDY", "-k", "NumberOfStudyRelatedInstances")...)...), fmt.Sprintf("[%d]", images))
	})

	// Cancelled after three of the images of a series, it gets few more of the 400.
	out := run(append([]string{"findscu", "-v", "--cancel", "3"}, query("IMAGE", "-k", "SeriesInstanceUID="+study+".1", "-k", "SOPInstanceUID")...)...)
	if n := strings.Count(out, "Pending"); n < 3 || n > images/4 || !strings.Contains(out, "Cancel") {
		t.Errorf("%d answers to a cancelled query:\n%.2000s", n, out)
	}

	came := func(dir string) map[string]bool {
		t.Helper()
		list, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		uids := map[string]bool{}
		for _, path := range list {
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			h, err := dicom.Scan(bytes.NewReader(raw), dicom.ScanOptions{})
			if err != nil {
				t.Fatal(err)
			}
			uid := h.Dataset.String(dicom.TagSOPInstanceUID)
			if h.TransferSyntax == dicom.ExplicitVRLittleEndian && string(raw[h.DatasetOffset:]) != bodies[uid] {
				t.Errorf("%s has changed on its way", uid)
			}
			uids[uid] = true
		}
		return uids
	}
	want := slices.Sorted(maps.Keys(bodies))
	out = run(append([]string{"getscu", "-v", "+B", "-od", got}, query("STUDY")...)...)
	if uids := came(got); !slices.Equal(slices.Sorted(maps.Keys(uids)), want) {
		t.Errorf("getscu has %d:\n%.2000s", len(uids), out)
	}
	out = run(append([]string{"movescu", "-v", "+B", "+xe", "--port", port, "-aem", "DCMTK"}, query("STUDY")...)...)
	if uids := came(moved); !slices.Equal(slices.Sorted(maps.Keys(uids)), want) {
		t.Errorf("movescu has %d:\n%.2000s", len(uids), out)
	}
}
