package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/viewer"
	"github.com/tasvir-pacs/tasvir/worklist/fhir/sandboxtest"
)

// The client in a real browser on a real archive: viewer/browser/real.test.mjs
// signs in as the radiologist, checks pixels of the right slice, changes the
// window, signs, reads the report as the clinician, and looks after the archive
// as its administrator.
func TestBrowser(t *testing.T) {
	needBrowser(t)
	platform := sandboxtest.Start(t)
	a := startArchive(t, nil, "--fhir", platform.URL)
	h := furnish(a)
	// A head CT and the one before it, of real size.
	studies := demoStudies(time.Now(), 2)
	for _, study := range studies {
		h.send("URGUT_CT1", study)
		h.expect(study, study.Count())
	}
	eventually(t, "both studies are on the worklist", func() bool {
		var list struct{ Tasks []taskAnswer }
		h.radiologist.call("GET", "/api/tasks?view=groups", nil, &list)
		return len(list.Tasks) == 2
	})

	cmd := exec.Command("node", "browser/run.mjs", "real")
	cmd.Dir = filepath.Join("..", "..", "viewer")
	cmd.Env = append(os.Environ(), "TASVIR_URL="+a.web, "TASVIR_RADIOLOGIST=radiolog:"+password, "TASVIR_CLINICIAN=shifokor:"+password, "TASVIR_ADMINISTRATOR=admin:"+adminPassword,
		"TASVIR_STUDY="+studies[1].StudyInstanceUID())
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil || !strings.Contains(string(out), "pass ") {
		t.Fatalf("the browser test failed: %v", err)
	}
	if found := platform.Search("DiagnosticReport"); len(found) != 1 {
		t.Errorf("the platform has %d reports of what was signed in the browser, want 1", len(found))
	}
}

// needBrowser skips a test that drives a browser where that can't be done; where
// everything is required, it fails.
func needBrowser(t *testing.T) {
	t.Helper()
	for what, missing := range map[string]bool{
		"Chromium is not installed":                       !installed("chromium") && os.Getenv("CHROMIUM") == "",
		"node is not installed":                           !installed("node"),
		"the client's packages are not installed: npm ci": !exists("../../viewer/node_modules"),
		"the client is not built: make build makes dist/": !viewer.Built(),
	} {
		if missing && os.Getenv("TASVIR_TEST_REQUIRE") == "1" {
			t.Fatal(what)
		}
		if missing {
			t.Skip(what)
		}
	}
}

func installed(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
