package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dicomtls/tlstest"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/dimse/peertest"
)

// dcmjs runs dcmjs-dimse, another implementation of DICOM.
type dcmjs struct{ t *testing.T }

var dcmjsFolder = filepath.Join("pacs", "dimse", "clienttest")

func needDcmjs(t *testing.T) dcmjs {
	t.Helper()
	peertest.Path(t, "node")
	installed := func() bool {
		_, err := os.Stat(filepath.Join("..", "..", dcmjsFolder, "node_modules", "dcmjs-dimse"))
		return err == nil
	}
	if !installed() && os.Getenv("TASVIR_TEST_REQUIRE") == "1" {
		if out, err := exec.CommandContext(t.Context(), filepath.Join("..", "..", "deploy", "npm-ci.sh"), dcmjsFolder).CombinedOutput(); err != nil {
			t.Fatalf("npm packages of %s: %v\n%s", dcmjsFolder, err, out)
		}
	}
	if !installed() {
		t.Skipf("dcmjs-dimse is not there: run npm ci in %s", dcmjsFolder)
	}
	return dcmjs{t}
}

func (d dcmjs) script() string { return filepath.Join("..", "..", dcmjsFolder, "dcmjs-dimse.mjs") }

type (
	js = map[string]any
	// jsAnswer is what came of one request.
	jsAnswer struct {
		Status                      *int
		Comment                     string
		Pending                     int
		Matches                     []js
		Elements                    js // of an N-GET
		Completed, Failed, Warnings int
	}
	// jsReceived is one request that was received.
	jsReceived struct {
		Operation, SOPInstance, TransferSyntax string
		Event                                  int
		Elements                               js
	}
	jsResult struct {
		Answers  []jsAnswer
		Received []jsReceived
		Error    string
	}
)

func tlsOf(f tlstest.Files) js { return js{"ca": f.CA, "cert": f.Cert, "key": f.Key} }

// request sends requests over one association, with TLS when there are files.
func (d dcmjs) request(address, calling string, tls *tlstest.Files, linger time.Duration, requests ...js) jsResult {
	d.t.Helper()
	return d.converse(address, calling, tls, linger, nil, requests)
}

// converse is request over an association that also has contexts of SOP classes
// which it takes event reports of.
func (d dcmjs) converse(address, calling string, tls *tlstest.Files, linger time.Duration, listens []string, requests []js) (r jsResult) {
	d.t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		d.t.Fatal(err)
	}
	in := js{"host": host, "port": json.Number(port), "calling": calling, "requests": requests, "listens": listens, "linger": linger.Milliseconds()}
	if tls != nil {
		in["host"], in["tls"] = "localhost", tlsOf(*tls)
	}
	raw, err := json.Marshal(in)
	if err != nil {
		d.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(d.t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", d.script(), "scu")
	cmd.Stdin = bytes.NewReader(raw)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		d.t.Fatalf("dcmjs-dimse: %v\n%s", err, complaints.String())
	}
	if err := json.Unmarshal(out, &r); err != nil {
		d.t.Fatalf("%v in %.500s", err, out)
	}
	return r
}

// one is request for a single request that must be answered with status.
func (d dcmjs) one(address, calling string, status dimse.Code, request js) (jsAnswer, []jsReceived) {
	d.t.Helper()
	r := d.request(address, calling, nil, 0, request)
	if r.Error != "" || len(r.Answers) != 1 || r.Answers[0].Status == nil || *r.Answers[0].Status != int(status) {
		d.t.Fatalf("%s is answered with %+v, want status %s", request["operation"], r, status)
	}
	return r.Answers[0], r.Received
}

// serve runs it as a server.
func (d dcmjs) serve(tls *tlstest.Files) (address string, received func(operation string) []jsReceived) {
	d.t.Helper()
	var file string
	addresses, _ := peertest.Serve(d.t, 1, func(ports []string) *exec.Cmd {
		file = filepath.Join(d.t.TempDir(), "received")
		options := js{"port": json.Number(ports[0]), "file": file}
		if tls != nil {
			options["tls"] = tlsOf(*tls)
		}
		raw, err := json.Marshal(options)
		if err != nil {
			d.t.Fatal(err)
		}
		return exec.Command("node", d.script(), "scp", string(raw))
	})
	return addresses[0], func(operation string) (list []jsReceived) {
		d.t.Helper()
		raw, err := os.ReadFile(file)
		if err != nil && !os.IsNotExist(err) {
			d.t.Fatal(err)
		}
		for line := range strings.Lines(string(raw)) {
			var r jsReceived
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				continue // is being written
			}
			if r.Operation == operation {
				list = append(list, r)
			}
		}
		return list
	}
}

func text(v any) string {
	raw, _ := json.Marshal(v)
	return string(raw)
}

// dcmjs-dimse does what a modality and a workstation do with the archive, and is
// what the archive sends to: every service, plain and over TLS.
func TestDcmjsDimse(t *testing.T) {
	d := needDcmjs(t)
	hospital, stranger := tlstest.New(t, "Hospital"), tlstest.New(t, "Somebody")
	own, ws := hospital.Issue("TASVIR", nil, tlstest.Local), hospital.Issue("JSTLS", nil, tlstest.Local)
	foreign := stranger.Issue("JSTLS", nil, tlstest.Local)
	foreign.CA = hospital.File
	a := startArchive(t, nil, "--dicom-tls", "127.0.0.1:0", "--dicom-tls-cert", own.Cert, "--dicom-tls-key", own.Key, "--dicom-tls-ca", own.CA)
	secure := tlsAddress.FindStringSubmatch(a.log.String())[1]
	plainStation, plain := d.serve(nil)
	tlsStation, overTLS := d.serve(&ws)
	_, tlsPort, _ := net.SplitHostPort(tlsStation)
	a.tasvir("", "facility", "add", "URGUT", "Urgut hospital")
	a.tasvir("", "device", "add", "JS", "URGUT", "--address", plainStation, "--service", "store,query,retrieve,worklist,mpps,commitment", "--destination", "--notify")
	a.tasvir("", "device", "add", "JSTLS", "URGUT", "--address", "localhost:"+tlsPort, "--service", "query,retrieve", "--destination", "--tls")
	a.tasvir(password, "user", "add", "qabul", "--name", "Saidova Lola", "--role", "registrar", "--facility", "URGUT")
	echo := js{"operation": "echo"}
	eventually(t, "the devices are known", func() bool {
		r := d.request(secure, "JSTLS", &ws, 0, echo)
		return r.Error == "" && len(r.Answers) == 1 && r.Answers[0].Status != nil
	})

	// C-ECHO.
	d.one(a.dicom, "JS", dimse.Success, echo)
	if r := d.request(a.dicom, "NOBODY", nil, 0, echo); !strings.HasPrefix(r.Error, "rejected") {
		t.Errorf("a stranger: %+v", r)
	}
	if r := d.request(secure, "JSTLS", &foreign, 0, echo); r.Error == "" || r.Answers[0].Status != nil {
		t.Errorf("a certificate of another authority: %+v", r)
	}

	// The worklist.
	clerk := a.signIn("qabul", password)
	var order struct {
		Accession string
		StudyUID  string `json:"study_uid"`
		Steps     []struct{ ID string }
	}
	clerk.must(http.StatusCreated, clerk.call("POST", "/api/orders", js{
		"facility": "URGUT", "priority": "stat", "reason": "Insult", "patient": js{"name": "Каримов^Али", "patient_id": "K-1", "sex": "M"},
		"steps": []any{js{"modality": "CT", "stations": []string{"JS"}, "start": "2026-11-22T09:30", "description": "Bosh miya KT"}},
	}, &order))
	item, _ := d.one(a.dicom, "JS", dimse.Success, js{"operation": "worklist", "elements": js{
		"PatientName": "", "PatientID": "", "AccessionNumber": "", "StudyInstanceUID": "", "SpecificCharacterSet": "ISO_IR 192",
		"ScheduledProcedureStepSequence": []js{{"ScheduledStationAETitle": "JS", "Modality": "CT", "ScheduledProcedureStepID": ""}},
	}})
	if len(item.Matches) != 1 || item.Matches[0]["StudyInstanceUID"] != order.StudyUID || !strings.Contains(text(item.Matches[0]["PatientName"]), "Каримов^Али") ||
		!strings.Contains(text(item.Matches[0]["ScheduledProcedureStepSequence"]), order.Steps[0].ID) {
		t.Fatalf("the worklist: %+v, want study %s, step %s", item, order.StudyUID, order.Steps[0].ID)
	}

	// It begins, sends three plain images and compressed ones, and ends.
	const mpps = dicom.ModalityPerformedProcedureStepSOPClass
	step := js{
		"operation": "create", "sopClass": mpps, "sopInstance": "1.2.826.0.1.3680043.10.95.9", "elements": js{
			"Modality": "CT", "PerformedProcedureStepID": "PPS1", "PerformedStationAETitle": "JS", "PerformedProcedureStepStatus": "IN PROGRESS",
			"PerformedProcedureStepStartDate": "20261122", "PerformedProcedureStepStartTime": "093500",
			"ScheduledStepAttributesSequence": []js{{"StudyInstanceUID": order.StudyUID, "AccessionNumber": order.Accession, "ScheduledProcedureStepID": order.Steps[0].ID}},
		},
	}
	d.one(a.dicom, "JS", dimse.Success, step)
	d.one(a.dicom, "JS", dimse.DuplicateInstance, step)

	folder := t.TempDir()
	writeStudy(t, folder, order.StudyUID, "K-1", "KARIMOV^ALI", 2)
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil || len(files) != 4 {
		t.Fatal(files, err)
	}
	var stores, references []js
	for _, file := range files {
		stores = append(stores, js{"operation": "store", "file": file})
		references = append(references, js{"ReferencedSOPClassUID": ctClass, "ReferencedSOPInstanceUID": filepath.Base(file)})
	}
	type compressed struct{ study, sop, syntax string }
	var others []compressed
	for _, name := range []string{"pydicom-data/693_J2KR.dcm", "pydicom-data/emri_small_jpeg_ls_lossless.dcm", "pydicom-data/OBXXXX1A_rle_2frame.dcm", "pydicom-data/JPEG-LL.dcm"} {
		path, err := filepath.Abs(filepath.Join("..", "..", "..", "shared", "dicom", filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			t.Logf("%s is not there", path)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		h, err := dicom.Scan(bytes.NewReader(raw), dicom.ScanOptions{})
		if err != nil {
			t.Fatal(err)
		}
		others = append(others, compressed{h.Dataset.String(dicom.TagStudyInstanceUID), h.Dataset.String(dicom.TagSOPInstanceUID), h.TransferSyntax})
		stores = append(stores, js{"operation": "store", "file": path, "transferSyntax": []string{h.TransferSyntax}})
	}
	// One association for each: dcmjs-dimse sends everything of a class in the
	// first transfer syntax that was accepted for it.
	for _, store := range stores {
		d.one(a.dicom, "JS", dimse.Success, store)
	}
	d.one(a.dicom, "JS", dimse.Success, js{"operation": "set", "sopClass": mpps, "sopInstance": step["sopInstance"], "elements": js{
		"PerformedProcedureStepStatus": "COMPLETED", "PerformedProcedureStepEndDate": "20261122", "PerformedProcedureStepEndTime": "094500",
		"PerformedSeriesSequence": []js{{"SeriesInstanceUID": order.StudyUID + ".1", "ReferencedImageSequence": references}},
	}})

	// What it has sent is found, moved to it plain and over TLS, and got.
	find := js{"operation": "find", "elements": js{"StudyInstanceUID": order.StudyUID, "PatientName": "", "NumberOfStudyRelatedInstances": ""}}
	var found jsAnswer
	eventually(t, "the study is found", func() bool {
		found, _ = d.one(a.dicom, "JS", dimse.Success, find)
		return len(found.Matches) == 1 && strings.Contains(text(found.Matches[0]["NumberOfStudyRelatedInstances"]), "4")
	})
	if name := text(found.Matches[0]["PatientName"]); found.Pending != 1 || !strings.Contains(name, "KARIMOV^ALI") {
		t.Errorf("found %d, of %s", found.Pending, name)
	}
	for destination, received := range map[string]func(string) []jsReceived{"JS": plain, "JSTLS": overTLS} {
		moved, _ := d.one(a.dicom, "JS", dimse.Success, js{"operation": "move", "destination": destination, "study": order.StudyUID})
		if moved.Completed != 4 || moved.Failed != 0 || moved.Warnings != 0 {
			t.Errorf("C-MOVE to %s: %+v", destination, moved)
		}
		var got []string
		for _, r := range received("CStore") {
			got = append(got, r.SOPInstance)
		}
		want := []string{}
		for _, file := range files {
			want = append(want, filepath.Base(file))
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%s has received %q, want %q", destination, got, want)
		}
	}
	d.one(a.dicom, "JS", dimse.MoveDestinationUnknown, js{"operation": "move", "destination": "NOWHERE", "study": order.StudyUID})
	got, instances := d.one(a.dicom, "JS", dimse.Success, js{"operation": "get", "study": order.StudyUID})
	if got.Completed != 4 || got.Failed != 0 || len(instances) != 4 {
		t.Errorf("C-GET: %+v with %d instances", got, len(instances))
	}
	r := d.request(secure, "JSTLS", &ws, 0, js{"operation": "get", "study": order.StudyUID})
	if len(r.Answers) != 1 || r.Answers[0].Completed != 4 || len(r.Received) != 4 {
		t.Errorf("C-GET over TLS: %+v", r)
	}

	// The compressed ones come back as they are kept.
	for _, o := range others {
		eventually(t, "the study is found", func() bool {
			answer, _ := d.one(a.dicom, "JS", dimse.Success, js{"operation": "find", "elements": js{"StudyInstanceUID": o.study}})
			return answer.Pending == 1
		})
		moved, _ := d.one(a.dicom, "JS", dimse.Success, js{"operation": "move", "destination": "JS", "study": o.study})
		list := plain("CStore")
		if last := list[len(list)-1]; moved.Completed != 1 || last.SOPInstance != o.sop || last.TransferSyntax != o.syntax || last.Elements["PixelData"] == nil {
			t.Errorf("%s came as %s of %s: %+v", o.syntax, last.TransferSyntax, last.SOPInstance, moved)
		}
	}

	// It is told that they are safe, and that the study is available.
	r = d.request(a.dicom, "JS", nil, 0, js{
		"operation": "action", "action": 1, "sopClass": dicom.StorageCommitmentPushModelSOPClass, "sopInstance": dicom.StorageCommitmentPushModelSOPInstance,
		"elements": js{"TransactionUID": "1.2.826.0.1.3680043.10.95.8", "ReferencedSOPSequence": references},
	})
	if len(r.Answers) != 1 || r.Answers[0].Status == nil || *r.Answers[0].Status != 0 {
		t.Fatalf("storage commitment: %+v", r)
	}
	var reports []jsReceived
	eventually(t, "storage commitment is reported", func() bool {
		reports = append(plain("NEventReport"), r.Received...)
		return len(reports) > 0
	})
	if safe, _ := reports[0].Elements["ReferencedSOPSequence"].([]any); reports[0].Event != 1 || len(safe) != 4 || text(reports[0].Elements["TransactionUID"]) != `"1.2.826.0.1.3680043.10.95.8"` {
		t.Errorf("reported: %+v", reports[0])
	}
	eventually(t, "its step's instances are available", func() bool {
		for _, r := range plain("NCreate") {
			if text(r.Elements["StudyInstanceUID"]) == fmt.Sprintf("%q", order.StudyUID) && strings.Contains(text(r.Elements["ReferencedPerformedProcedureStepSequence"]), step["sopInstance"].(string)) &&
				strings.Count(text(r.Elements["ReferencedSeriesSequence"]), `"InstanceAvailability":"ONLINE"`) == 4 { // told before, too, of the first ones
				return true
			}
		}
		return false
	})
}
