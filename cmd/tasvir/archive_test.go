package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/phantom"
)

// A clinician sees the studies of their own facility and no other, by every
// door that reads.
func TestFacilityScope(t *testing.T) {
	a := startArchive(t, nil)
	h := furnish(a)
	study := phantom.Small(phantom.HeadCT, 2)
	h.send("URGUT_CT1", study)
	h.expect(study, 2)
	uid := study.StudyInstanceUID()
	instance := ""
	for i, err := range study.Instances() {
		if err != nil {
			t.Fatal(err)
		}
		instance = "/series/" + i.SeriesInstanceUID + "/instances/" + i.SOPInstanceUID
	}
	for _, path := range []string{
		"/api/studies/" + uid,
		"/dicom-web/studies/" + uid + "/metadata",
		"/dicom-web/studies/" + uid + instance,
		"/dicom-web/studies/" + uid + instance + "/frames/1",
	} {
		h.clinician.must(http.StatusOK, h.clinician.call("GET", path, nil, new([]byte)))
		h.elsewhere.must(http.StatusNotFound, h.elsewhere.call("GET", path, nil, nil))
	}
	for _, list := range []string{"/dicom-web/studies", "/dicom-web/series", "/dicom-web/instances"} {
		var mine, theirs []any
		h.clinician.must(http.StatusOK, h.clinician.call("GET", list, nil, &mine))
		h.elsewhere.must(http.StatusOK, h.elsewhere.call("GET", list, nil, &theirs))
		if len(mine) == 0 || len(theirs) != 0 {
			t.Errorf("%s shows %d to a clinician of the facility and %d to one of another", list, len(mine), len(theirs))
		}
	}
	h.clinician.must(http.StatusForbidden, h.clinician.call("GET", "/api/tasks", nil, nil))

	// Without a session or token there is nothing at all.
	nobody := &person{t: t, base: a.web}
	for _, path := range []string{"/api/studies", "/api/session", "/dicom-web/studies", "/api/admin/users"} {
		nobody.must(http.StatusUnauthorized, nobody.call("GET", path, nil, nil))
	}
	// A cookie alone must not change anything.
	h.admin.csrf = ""
	h.admin.must(http.StatusForbidden, h.admin.call("POST", "/api/admin/facilities", map[string]string{"code": "EVIL", "name": "Evil"}, nil))
}

// tasvir import goes through the same door and publishes before it returns;
// what is not DICOM is passed over, what is broken is named.
func TestImport(t *testing.T) {
	a := startArchive(t, nil)
	h := furnish(a)
	study := phantom.Small(phantom.BrainMR, 4)
	dir := filepath.Join(a.dir, "files", "deep")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	count := len(writeFiles(t, dir, study))
	if err := os.WriteFile(filepath.Join(dir, "readme.txt"), []byte("not an image"), 0o644); err != nil {
		t.Fatal(err)
	}
	out := a.tasvir("", "import", filepath.Join(a.dir, "files"), "--facility", "NUKUS", "--quiet", "1s")
	if !strings.Contains(out, "passed over 1 files") {
		t.Errorf("import said: %s", out)
	}
	h.expect(study, count)
	h.onlyTask(h.radiologist)
	// Again: the same bytes are stored once.
	a.tasvir("", "import", filepath.Join(a.dir, "files"), "--facility", "NUKUS", "--quiet", "1s")
	h.expect(study, count)
}

// With --unknown-ae park a stranger's study is kept for an administrator to
// find, and shown to no facility.
func TestUnknownSenderParked(t *testing.T) {
	a := startArchive(t, nil, "--unknown-ae", "park")
	h := furnish(a)
	study := phantom.Small(phantom.HeadCT, 2)
	h.send("STRANGER", study)
	h.expect(study, 2)
	var found struct {
		Facility struct{ Code string }
	}
	h.admin.must(http.StatusOK, h.admin.call("GET", "/api/studies/"+study.StudyInstanceUID(), nil, &found))
	if found.Facility.Code != "UNASSIGNED" {
		t.Errorf("the stranger's study belongs to %q", found.Facility.Code)
	}
	h.clinician.must(http.StatusNotFound, h.clinician.call("GET", "/api/studies/"+study.StudyInstanceUID(), nil, nil))
}

// What a monitoring system asks, and a log without patients in it.
func TestOperating(t *testing.T) {
	a := startArchive(t, nil)
	h := furnish(a)
	study := phantom.Small(phantom.HeadCT, 2)
	study.Family, study.Given, study.Patient.ID = "SECRETFAMILY", "SECRETGIVEN", "SECRET-ID-77"
	h.send("URGUT_CT1", study)
	h.expect(study, 2)
	h.radiologist.must(http.StatusOK, h.radiologist.call("GET", "/api/studies?q=SECRETFAMILY", nil, nil))
	for path, want := range map[string]string{
		"/healthz": "", "/readyz": "", "/metrics": "tasvir_published_instances_total 2", "/api/openapi.yaml": "openapi: 3.1.0",
	} {
		answer, err := http.Get(a.web + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("%s: %d %v, without %q", path, answer.StatusCode, err, want)
		}
	}
	a.stop()
	for _, secret := range []string{"SECRETFAMILY", "SECRETGIVEN", "SECRET-ID-77"} {
		if strings.Contains(a.log.String(), secret) {
			t.Errorf("the log names the patient: %s", secret)
		}
	}
}
