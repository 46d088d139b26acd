package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/phantom"
	"github.com/tasvir-pacs/tasvir/viewer"
)

// ohifDist is the folder that deploy/ohif.sh fetches OHIF into; a test without
// it is skipped, or fails where everything is required.
func ohifDist(t *testing.T) string {
	t.Helper()
	cache := os.Getenv("TASVIR_CACHE")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(home, ".cache", "tasvir")
	}
	script, err := os.ReadFile("../../deploy/ohif.sh")
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^version=(\S+)$`).FindSubmatch(script)
	form := regexp.MustCompile(`(?m)^form=(\d+)`).FindSubmatch(script)
	if version == nil || form == nil {
		t.Fatal("deploy/ohif.sh names no version")
	}
	dir := filepath.Join(cache, "ohif", string(version[1])+"-"+string(form[1]))
	if !exists(filepath.Join(dir, "index.html")) {
		if os.Getenv("TASVIR_TEST_REQUIRE") == "1" {
			t.Fatal("OHIF is not there: deploy/ohif.sh fetches it")
		}
		t.Skip("OHIF is not there: deploy/ohif.sh fetches it")
	}
	return dir
}

var ohifAddress = regexp.MustCompile(`msg=ready .* ohif=(\S+)`)

// OHIF as its project publishes it, in a real browser on a real archive:
// viewer/browser/ohif.mjs opens a study from the client, checks that its
// picture is not black, and looks for the name in OHIF's list.
func TestOHIF(t *testing.T) {
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
	a := startArchive(t, nil, "--ohif", "127.0.0.1:0", "--ohif-dist", ohifDist(t))
	h := furnish(a)
	study := phantom.Small(phantom.HeadCT, 6)
	study.Family, study.Given, study.CharacterSet = "Ғаниев", "Ўткир", "ISO_IR 192"
	h.send("URGUT_CT1", study)
	h.expect(study, study.Count())

	var opened struct{ URL string }
	ask := map[string]string{"study_uid": study.StudyInstanceUID()}
	h.elsewhere.must(http.StatusNotFound, h.elsewhere.call("POST", "/api/ohif/launch", ask, nil))
	h.clinician.must(http.StatusOK, h.clinician.call("POST", "/api/ohif/launch", ask, &opened))
	address := ohifAddress.FindStringSubmatch(a.log.String())
	if address == nil || !strings.HasPrefix(opened.URL, "http://"+address[1]+"/launch?code=") {
		t.Fatalf("the study opens at %q, and OHIF is at %q", opened.URL, address)
	}
	cmd := exec.Command("node", "--test", "--test-reporter=spec", "browser/ohif.mjs")
	cmd.Dir = filepath.Join("..", "..", "viewer")
	cmd.Env = append(os.Environ(), "TASVIR_URL="+a.web, "TASVIR_STUDY="+study.StudyInstanceUID(), "TASVIR_CLINICIAN=shifokor:"+password, "OHIF_NAME=Ғаниев")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil || !strings.Contains(string(out), "pass 1") {
		t.Fatalf("the browser test failed: %v", err)
	}
}
