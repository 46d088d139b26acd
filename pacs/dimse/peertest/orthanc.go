package peertest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Orthanc is a running Orthanc, empty, with the AE title ORTHANC.
type Orthanc struct {
	DICOM string // host:port
	Web   string // http://host:port

	t    testing.TB
	http *http.Client
}

// DICOMweb is the plugin by which Orthanc speaks DICOMweb, below /dicom-web.
const DICOMweb = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"

// StartOrthanc runs Orthanc. It knows an archive with the AE title TASVIR at that
// address as its modality "tasvir". Without a plugin that is asked for, the test is
// skipped, or fails under TASVIR_TEST_REQUIRE=1.
func StartOrthanc(t testing.TB, archive string, plugins ...string) *Orthanc {
	t.Helper()
	for _, plugin := range plugins {
		if _, err := os.Stat(plugin); err != nil {
			Path(t, plugin)
		}
	}
	const elsewhere = "/usr/sbin/Orthanc" // not in an ordinary user's PATH
	binary := elsewhere
	if _, err := os.Stat(elsewhere); err != nil {
		binary = Path(t, "Orthanc")
	}
	host, port, err := net.SplitHostPort(archive)
	if err != nil {
		t.Fatal(err)
	}
	addresses, _ := Serve(t, 2, func(ports []string) *exec.Cmd {
		dir := t.TempDir()
		config, err := json.Marshal(map[string]any{
			"StorageDirectory": dir, "IndexDirectory": dir, "Plugins": append([]string{}, plugins...),
			"HttpPort": json.Number(ports[0]), "RemoteAccessAllowed": false, "AuthenticationEnabled": false,
			"DicomPort": json.Number(ports[1]), "DicomAet": "ORTHANC",
			"DicomModalities": map[string]any{"tasvir": []any{"TASVIR", host, json.Number(port)}},
			"DicomScuTimeout": 60, // the archive may be busy with other tests
		})
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "orthanc.json")
		if err := os.WriteFile(file, config, 0o600); err != nil {
			t.Fatal(err)
		}
		return exec.Command(binary, file)
	})
	o := &Orthanc{DICOM: addresses[1], t: t, Web: "http://" + addresses[0], http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	for deadline := time.Now().Add(startPatience); ; time.Sleep(20 * time.Millisecond) {
		_, err := o.call(http.MethodGet, "/system", nil)
		if err == nil {
			return o
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// Call sends JSON, nil for nothing, and reads the answer's into into, unless that
// is nil. Anything but success ends the test.
func (o *Orthanc) Call(method, path string, body, into any) {
	o.t.Helper()
	var raw []byte
	if body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			o.t.Fatal(err)
		}
	}
	answer, err := o.call(method, path, raw)
	if err == nil && into != nil {
		err = json.Unmarshal(answer, into)
	}
	if err != nil {
		o.t.Fatal(err)
	}
}

// Upload stores a PS3.10 file.
func (o *Orthanc) Upload(file []byte) {
	o.t.Helper()
	if _, err := o.call(http.MethodPost, "/instances", file); err != nil {
		o.t.Fatal(err)
	}
}

// Get returns what a path answers, as it is.
func (o *Orthanc) Get(path string) []byte {
	o.t.Helper()
	raw, err := o.call(http.MethodGet, path, nil)
	if err != nil {
		o.t.Fatal(err)
	}
	return raw
}

func (o *Orthanc) call(method, path string, body []byte) ([]byte, error) {
	rq, err := http.NewRequestWithContext(o.t.Context(), method, o.Web+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	answer, err := o.http.Do(rq)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("orthanc answers %s %s with %s: %.500s", method, path, answer.Status, raw)
	}
	return raw, err
}
