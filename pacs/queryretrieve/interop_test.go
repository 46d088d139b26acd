package queryretrieve

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse/peertest"
)

// The tests in this file ask with other people's software: dcmtk, GDCM, Orthanc.
// Their tools may exit with 0 after a failure and otherwise after success, so what
// counts is what they found and what arrived.

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	return runIn(t, "", name, args...)
}

func runIn(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, peertest.Path(t, name), args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Logf("%s: %v", name, err)
	}
	return string(out)
}

// files reads what a tool has left in a folder: data sets by SOP Instance UID.
func files(t *testing.T, dir string) map[string]taken {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]taken{}
	for _, path := range list {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		h, err := dicom.Scan(bytes.NewReader(raw), dicom.ScanOptions{})
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		found[h.Dataset.String(dicom.TagSOPInstanceUID)] = taken{syntax: h.Declared, data: raw[h.DatasetOffset:]}
	}
	return found
}

// interop fills an archive with a CT of several slices and two other studies.
func interop(t *testing.T) (a *archive, slicesOfCT []image) {
	a = queried(t)
	for n := range 12 {
		slicesOfCT = append(slicesOfCT, image{study: "1.2.50", number: n + 1, pixels: 4096}.withDefaults())
	}
	a.receive(slicesOfCT...)
	return a, slicesOfCT
}

func checkFiles(t *testing.T, got map[string]taken, want []image, out string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d instances arrived of %d:\n%s", len(got), len(want), out)
	}
	for _, w := range want {
		g := got[w.sop()]
		if w.syntax = g.syntax; w.syntax == "" || !bytes.Equal(g.data, w.encoded(t)) {
			t.Errorf("%s: %d bytes in %q differ", w.sop(), len(g.data), g.syntax)
		}
	}
}

func TestInteropFindscu(t *testing.T) {
	a, _ := interop(t)
	host, port, _ := net.SplitHostPort(a.address)
	tests := []struct {
		name string
		args []string
		tag  dicom.Tag
		want string
	}{
		{"studies", []string{"-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID", "-k", "PatientName"}, dicom.TagStudyInstanceUID, "1.2.3 1.2.4 1.2.5 1.2.50"},
		{"by date", []string{"-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID", "-k", "StudyDate=20260303-"}, dicom.TagStudyInstanceUID, "1.2.4 1.2.5"},
		{"patients", []string{"-P", "-k", "QueryRetrieveLevel=PATIENT", "-k", "PatientID"}, dicom.TagPatientID, "P1 P9"},
		{"series, implicit", []string{"-S", "-xi", "-k", "QueryRetrieveLevel=SERIES", "-k", "StudyInstanceUID=1.2.3", "-k", "SeriesInstanceUID", "-k", "Modality"}, dicom.TagSeriesInstanceUID, "1.2.3.1 1.2.3.2"},
		{"images", []string{"-S", "-k", "QueryRetrieveLevel=IMAGE", "-k", "StudyInstanceUID=1.2.3", "-k", "SeriesInstanceUID=1.2.3.1", "-k", "SOPInstanceUID"}, dicom.TagSOPInstanceUID, "1.2.3.1.1 1.2.3.1.2"},
		{"patient/study only", []string{"-O", "-k", "QueryRetrieveLevel=STUDY", "-k", "PatientID=P9", "-k", "StudyInstanceUID"}, dicom.TagStudyInstanceUID, "1.2.5"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			out := run(t, "findscu", append(append([]string{"-v", "-X", "-od", dir, "-aet", "WS1", "-aec", "TASVIR"}, tt.args...), host, port)...)
			list, _ := filepath.Glob(filepath.Join(dir, "*"))
			var got []string
			for _, path := range list {
				raw, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				h, err := dicom.Scan(bytes.NewReader(raw), dicom.ScanOptions{})
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, h.Dataset.String(tt.tag))
			}
			slices.Sort(got)
			if strings.Join(got, " ") != tt.want {
				t.Errorf("found %q:\n%s", got, out)
			}
		})
	}
	out := run(t, "findscu", "-d", "-S", "-aet", "WS1", "-aec", "TASVIR", "-k", "QueryRetrieveLevel=SERIES", "-k", "Modality=CT", host, port)
	if !strings.Contains(out, "0xa900") || !strings.Contains(out, "needs StudyInstanceUID") {
		t.Errorf("a query that is not relational:\n%s", out)
	}
	out = run(t, "findscu", "-v", "-S", "--cancel", "1", "-aet", "WS1", "-aec", "TASVIR", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID", host, port)
	if !strings.Contains(out, "Cancel") || strings.Contains(out, "Abort") {
		t.Errorf("cancelled:\n%s", out)
	}
}

// termscu tells dcmtk's servers to end. It gets nowhere here.
func TestInteropTermscu(t *testing.T) {
	a := queried(t)
	host, port, _ := net.SplitHostPort(a.address)
	out := run(t, "termscu", "-v", host, port)
	c := a.dial("WS1", nil, studyFind)
	found := 0
	status, err := c.Find(t.Context(), studyFind, identifier("STUDY"), func(*dicom.Dataset, bool) error { found++; return nil })
	if err != nil || !status.OK() || found != 3 {
		t.Errorf("after termscu: %s, %v, %d found:\n%s", status, err, found, out)
	}
}

func TestInteropGdcmFind(t *testing.T) {
	a, _ := interop(t)
	host, port, _ := net.SplitHostPort(a.address)
	// It says what it found when it debugs only, and then dies of itself at the
	// release of its association.
	out := run(t, "gdcmscu", "-V", "-D", "--find", "--patientroot", "--study", "--aetitle", "WS1", "--call", "TASVIR", "--key", "10,20,P9", "--key", "20,d", host, port)
	if !strings.Contains(out, "C-Find was successful.") || strings.Count(out, "(US) 65280") == 0 {
		t.Errorf("not found:\n%s", out)
	}
}

// gdcmscu has a study moved to itself. It accepts Explicit VR and then reads Implicit,
// so that is what is registered for it.
func TestInteropGdcmMove(t *testing.T) {
	a, want := interop(t)
	host, port, _ := net.SplitHostPort(a.address)
	dir, storage := t.TempDir(), peertest.FreePorts(t, 1)[0]
	a.stations.set(directory{"GDCM": {Address: net.JoinHostPort("127.0.0.1", storage), TransferSyntaxes: []string{dicom.ImplicitVRLittleEndian}}})
	out := run(t, "gdcmscu", "--move", "--studyroot", "--study", "--aetitle", "GDCM", "--call", "TASVIR", "--port-scp", storage, "--key", "20,d,1.2.50", "-o", dir, host, port)
	if got := files(t, dir); len(got) != len(want) {
		t.Errorf("%d instances arrived of %d:\n%s", len(got), len(want), out)
	}
}

func TestInteropMovescu(t *testing.T) {
	a, want := interop(t)
	host, port, _ := net.SplitHostPort(a.address)
	for _, syntax := range []struct{ option, uid string }{{"+xe", dicom.ExplicitVRLittleEndian}, {"+xi", dicom.ImplicitVRLittleEndian}} {
		t.Run(syntax.uid, func(t *testing.T) {
			dir, storage := t.TempDir(), peertest.FreePorts(t, 1)[0]
			a.stations.set(directory{"MOVESCU": {Address: net.JoinHostPort("127.0.0.1", storage)}})
			// With +B movescu writes to its own folder, whatever -od says.
			out := runIn(t, dir, "movescu", "-v", "-S", "+B", syntax.option, "-aet", "MOVESCU", "-aec", "TASVIR", "+P", storage,
				"-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.50", host, port)
			got := files(t, dir)
			checkFiles(t, got, want, out)
			for uid, item := range got {
				if item.syntax != syntax.uid {
					t.Errorf("%s arrived in %s", uid, item.syntax)
				}
			}
		})
	}
	out := run(t, "movescu", "-d", "-S", "-aet", "WS1", "-aec", "TASVIR", "-aem", "NOWHERE", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.50", host, port)
	if !strings.Contains(out, "0xa801") {
		t.Errorf("an unknown destination:\n%s", out)
	}
}

// storescp takes what we move to it.
func TestInteropMoveToStorescp(t *testing.T) {
	a, want := interop(t)
	dir, tool := t.TempDir(), peertest.Path(t, "storescp")
	addresses, stop := peertest.Serve(t, 1, func(ports []string) *exec.Cmd {
		return exec.Command(tool, "-od", dir, "+B", "+xa", ports[0])
	})
	address := addresses[0]
	a.stations.set(directory{"STORESCP": {Address: address}})
	c := a.dial("WS1", nil, studyMove)
	r, err := c.Move(t.Context(), studyMove, "STORESCP", identifier("STUDY", dicom.TagStudyInstanceUID, "1.2.50"), nil)
	if err != nil || r.Completed != len(want) {
		t.Errorf("%+v, %v", r, err)
	}
	stop()
	checkFiles(t, files(t, dir), want, "")
}

func TestInteropGetscu(t *testing.T) {
	a, want := interop(t)
	host, port, _ := net.SplitHostPort(a.address)
	for _, option := range []string{"+xe", "+xi"} {
		dir := t.TempDir()
		out := run(t, "getscu", "-v", "-S", "+B", option, "-aet", "WS1", "-aec", "TASVIR", "-od", dir,
			"-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.50", host, port)
		checkFiles(t, files(t, dir), want, out)
	}
}

// Orthanc queries us and has us send to it.
func TestInteropOrthanc(t *testing.T) {
	a, want := interop(t)
	o := peertest.StartOrthanc(t, a.address)
	a.stations.set(directory{"ORTHANC": {Address: o.DICOM}})
	o.Call("POST", "/modalities/tasvir/echo", struct{}{}, nil)
	var query struct{ ID, Path string }
	o.Call("POST", "/modalities/tasvir/query", map[string]any{
		"Level": "Study", "Query": map[string]string{"PatientID": "P1", "StudyDate": "20260302-20260302"},
	}, &query)
	var answers []string
	o.Call("GET", query.Path+"/answers", nil, &answers)
	found := ""
	for _, n := range answers {
		var content map[string]string
		o.Call("GET", query.Path+"/answers/"+n+"/content?simplify", nil, &content)
		if content["StudyInstanceUID"] == "1.2.50" {
			found = n
		}
	}
	if len(answers) != 2 || found == "" {
		t.Fatalf("%d answers", len(answers))
	}
	o.Call("POST", query.Path+"/answers/"+found+"/retrieve", map[string]any{"TargetAet": "ORTHANC", "Synchronous": true}, nil)
	var instances []string
	o.Call("GET", "/instances", nil, &instances)
	if len(instances) != len(want) {
		t.Errorf("Orthanc has %d instances of %d", len(instances), len(want))
	}
}
