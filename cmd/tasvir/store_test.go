package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// storeNode is a DICOM node that counts the data sets it gets.
type storeNode struct {
	mu       sync.Mutex
	got      map[string]string // data set by SOP Instance UID
	calls    int
	hangUpOn int // abort the association of this call
}

func (n *storeNode) Store(_ context.Context, rq *dimse.StoreRequest) dimse.Status {
	data, err := io.ReadAll(rq.Data)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calls++
	switch {
	case err != nil:
		return dimse.Statusf(dimse.ProcessingFailure, "%v", err)
	case n.calls == n.hangUpOn:
		panic("hanging up") // which the server turns into an abort
	case strings.HasSuffix(rq.SOPInstanceUID, ".13"):
		return dimse.Statusf(dimse.OutOfResources, "disk full")
	case strings.HasSuffix(rq.SOPInstanceUID, ".14"):
		return dimse.Status{Code: dimse.CoercionOfDataElements}
	}
	n.got[rq.SOPInstanceUID] = rq.TransferSyntaxUID + "|" + string(data)
	return dimse.Status{}
}

// startNode serves n under the name NODE until the test ends.
func startNode(t *testing.T, s *dimse.Server, n *storeNode) string {
	t.Helper()
	n.got = map[string]string{}
	s.AETitle, s.Store = "NODE", n
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

// writeInstance writes a Part 10 file and returns the data set in it.
func writeInstance(t *testing.T, path, sopClass, instance, ts string) string {
	t.Helper()
	var ds dicom.Dataset
	ds.SetString(dicom.TagSOPClassUID, dicom.UI, sopClass)
	ds.SetString(dicom.TagSOPInstanceUID, dicom.UI, instance)
	ds.SetString(dicom.TagPatientID, dicom.LO, strings.Repeat("x", 64))
	body, err := dicom.AppendDataset(nil, &ds, ts)
	if err != nil {
		t.Fatal(err)
	}
	head := dicom.AppendFileMeta(nil, dicom.FileMeta{SOPClassUID: sopClass, SOPInstanceUID: instance, TransferSyntaxUID: ts})
	if err := os.WriteFile(path, append(head, body...), 0o600); err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func storeCommand(address string, paths ...string) *StoreCmd {
	c := &StoreCmd{Paths: paths, Jobs: 1, JSON: true}
	c.Address, c.AET, c.Called, c.Timeout = address, "TASVIR", "NODE", 60e9
	return c
}

// runStore runs the command and checks that its JSON is its result.
func runStore(t *testing.T, c *StoreCmd) (storeResult, error) {
	t.Helper()
	var out bytes.Buffer
	result, err := c.run(context.Background(), &out, &sendProgress{line: statusLine{w: io.Discard, terminal: true}})
	if out.Len() > 0 {
		var printed storeResult
		if e := json.Unmarshal(out.Bytes(), &printed); e != nil || printed.Stored != result.Stored || printed.Failed != len(printed.Failures) {
			t.Errorf("printed %s: %v", out.String(), e)
		}
	}
	return result, err
}

func TestStoreSendsAFolder(t *testing.T) {
	node := &storeNode{}
	address := startNode(t, &dimse.Server{}, node)
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "deep"), 0o700); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for i, f := range []struct{ path, class, ts string }{
		{"a.dcm", dicom.CTImageStorage, dicom.ExplicitVRLittleEndian},
		{"b", dicom.CTImageStorage, dicom.ImplicitVRLittleEndian},
		{"deep/c.IMA", dicom.MRImageStorage, dicom.ExplicitVRLittleEndian},
	} {
		uid := "1.2.3." + string(rune('1'+i))
		want[uid] = f.ts + "|" + writeInstance(t, filepath.Join(dir, f.path), f.class, uid, f.ts)
	}
	for name, text := range map[string]string{"README": "no DICOM", "empty": "", "deep/long.txt": strings.Repeat("no DICOM either ", 100)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, jobs := range []int{1, 3} {
		clear(node.got)
		c := storeCommand(address, dir)
		c.Jobs = jobs
		result, err := runStore(t, c)
		if err != nil || result.Instances != 3 || result.Stored != 3 || result.Failed != 0 || result.Skipped != 3 {
			t.Errorf("%d jobs: %+v, %v", jobs, result, err)
		}
		for uid, data := range want {
			if node.got[uid] != data {
				t.Errorf("%d jobs: %s arrived as %q, want %q", jobs, uid, node.got[uid], data)
			}
		}
	}
}

func TestStoreCountsWhatIsNotStored(t *testing.T) {
	node := &storeNode{}
	address := startNode(t, &dimse.Server{SOPClasses: dimse.SOPClasses{Only: []string{dicom.CTImageStorage}}}, node)
	dir := t.TempDir()
	ct, explicit := dicom.CTImageStorage, dicom.ExplicitVRLittleEndian
	writeInstance(t, filepath.Join(dir, "good"), ct, "1.2.12", explicit)
	writeInstance(t, filepath.Join(dir, "refused"), ct, "1.2.13", explicit)
	writeInstance(t, filepath.Join(dir, "warned"), ct, "1.2.14", explicit)
	writeInstance(t, filepath.Join(dir, "not taken"), dicom.MRImageStorage, "1.2.15", explicit)
	writeInstance(t, filepath.Join(dir, "nameless"), ct, "", explicit)
	writeInstance(t, filepath.Join(dir, "cut"), ct, "1.2.16", explicit)
	if err := os.Truncate(filepath.Join(dir, "cut"), int64(len(dicom.AppendFileMeta(nil, dicom.FileMeta{
		SOPClassUID: ct, SOPInstanceUID: "1.2.16",
		TransferSyntaxUID: explicit,
	})))+100); err != nil {
		t.Fatal(err)
	}
	result, err := runStore(t, storeCommand(address, dir))
	if err == nil || !strings.Contains(err.Error(), "4 of 6 instances were not stored") {
		t.Errorf("error %v", err)
	}
	if result.Instances != 6 || result.Stored != 2 || result.Warnings != 1 || result.Failed != 4 {
		t.Errorf("%+v", result)
	}
	reasons := map[string]string{"refused": "disk full", "not taken": "takes no MR Image Storage", "nameless": "no SOP Instance UID", "cut": "truncated"}
	for _, f := range result.Failures {
		name := filepath.Base(f.File)
		if reasons[name] == "" || !strings.Contains(f.Message, reasons[name]) {
			t.Errorf("%s: %s", name, f.Message)
		}
		if (name == "refused") != (f.Status == "A700") {
			t.Errorf("%s has status %q", name, f.Status)
		}
		delete(reasons, name)
	}
	if len(reasons) != 0 {
		t.Errorf("not reported: %v", reasons)
	}
}

func TestStoreOutlivesALostAssociation(t *testing.T) {
	node := &storeNode{hangUpOn: 3}
	address := startNode(t, &dimse.Server{}, node)
	dir := t.TempDir()
	for i := range 6 {
		name := string(rune('1' + i))
		writeInstance(t, filepath.Join(dir, name), dicom.CTImageStorage, "1.2."+name, dicom.ExplicitVRLittleEndian)
	}
	result, err := runStore(t, storeCommand(address, dir))
	if err != nil || result.Stored != 6 || len(node.got) != 6 {
		t.Errorf("%+v with %d at the node: %v", result, len(node.got), err)
	}
}

// More jobs than the node takes associations cost nothing but the refusals.
func TestStoreWithTooManyJobs(t *testing.T) {
	node := &storeNode{}
	address := startNode(t, &dimse.Server{MaxAssociations: 1}, node)
	dir := t.TempDir()
	for i := range 20 {
		name := string(rune('a' + i))
		writeInstance(t, filepath.Join(dir, name), dicom.CTImageStorage, "1.2."+string(rune('1'+i/10))+"."+string(rune('0'+i%10)), dicom.ExplicitVRLittleEndian)
	}
	c := storeCommand(address, dir)
	c.Jobs = 8
	result, err := runStore(t, c)
	if err != nil || result.Stored != 20 {
		t.Errorf("%+v: %v", result, err)
	}
}

func TestStoreAndEchoRefused(t *testing.T) {
	address := startNode(t, &dimse.Server{Admit: func(_ context.Context, caller dimse.Caller) (dimse.Admission, error) {
		if caller.Request.CallingAE == "STRANGER" {
			return dimse.Admission{}, &ul.RejectCallingAE
		}
		return dimse.Admission{}, nil
	}}, &storeNode{})
	dir := t.TempDir()
	writeInstance(t, filepath.Join(dir, "a"), dicom.CTImageStorage, "1.2", dicom.ExplicitVRLittleEndian)
	tests := []struct {
		name string
		edit func(*peerFlags)
		want string
	}{
		{"unknown to the node", func(p *peerFlags) { p.AET = "STRANGER" }, `register "STRANGER"`},
		{"wrong name", func(p *peerFlags) { p.Called = "OTHER" }, "--called"},
		{"no port", func(p *peerFlags) { p.Address = "127.0.0.1" }, "write host:port"},
		{"nobody there", func(p *peerFlags) { p.Address = "127.0.0.1:1" }, "can't connect to 127.0.0.1:1: nothing listens at this port"},
		{"no such host", func(p *peerFlags) { p.Address = "nobody.invalid:104" }, "can't connect to nobody.invalid:104: no machine has this name"},
		{"long name", func(p *peerFlags) { p.AET = "SEVENTEENLETTERSX" }, "1 to 16 characters"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := storeCommand(address, dir)
			tt.edit(&c.peerFlags)
			if _, err := runStore(t, c); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("store: %v, want %q", err, tt.want)
			}
			e := &EchoCmd{peerFlags: c.peerFlags}
			if err := e.Run(context.Background()); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("echo: %v, want %q", err, tt.want)
			}
			chosen := selectFlags{Study: []string{"1.2"}}
			for name, run := range map[string]func(out io.Writer) error{
				"find": func(out io.Writer) error {
					return (&FindCmd{peerFlags: c.peerFlags, Level: "study", Model: "study", JSON: true}).run(context.Background(), out, io.Discard)
				},
				"get": func(out io.Writer) error {
					return (&GetCmd{peerFlags: c.peerFlags, selectFlags: chosen, Dir: t.TempDir(), JSON: true}).run(context.Background(), out, quietProgress())
				},
				"move": func(out io.Writer) error {
					return (&MoveCmd{peerFlags: c.peerFlags, selectFlags: chosen, To: "X", JSON: true}).run(context.Background(), out, quietProgress())
				},
			} {
				var out bytes.Buffer
				if err := run(&out); err == nil || !strings.Contains(err.Error(), tt.want) || out.Len() != 0 {
					t.Errorf("%s: %v, want %q; printed %q", name, err, tt.want, out.String())
				}
			}
		})
	}
	c := storeCommand(address, dir)
	if err := (&EchoCmd{peerFlags: c.peerFlags}).Run(context.Background()); err != nil {
		t.Errorf("echo: %v", err)
	}
	if _, err := runStore(t, storeCommand(address, t.TempDir())); err == nil || !strings.Contains(err.Error(), "no DICOM files") {
		t.Errorf("an empty folder: %v", err)
	}
	if _, err := runStore(t, storeCommand(address, filepath.Join(dir, "absent"))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an absent folder: %v", err)
	}
}
