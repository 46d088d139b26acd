package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/phantom"
)

// ohifDist is the folder that deploy/ohif.sh fetches OHIF into; a test without
// it is skipped, or fails where everything is required.
func ohifDist(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("../../deploy/ohif.sh", "--where").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := strings.TrimSpace(string(out))
	if !exists(filepath.Join(dir, "index.html")) {
		if os.Getenv("TASVIR_TEST_REQUIRE") == "1" {
			t.Fatal("OHIF is not there: deploy/ohif.sh fetches it")
		}
		t.Skip("OHIF is not there: deploy/ohif.sh fetches it")
	}
	return dir
}

// shownStudy is a study that OHIF must show.
type shownStudy struct {
	What   string `json:"what"`
	UID    string `json:"uid"`
	Name   string `json:"name"`   // of the patient, or a part of it, as OHIF's list has it
	Frames int    `json:"frames"` // of its one multi-frame instance; 0 without
	Colour bool   `json:"colour"`
}

// ohifStudies sends what OHIF is to show: a generated CT whose patient has a
// name in Cyrillic, and real files where there are any.
func ohifStudies(h *hospital) []shownStudy {
	t := h.a.t
	t.Helper()
	study := phantom.Small(phantom.HeadCT, 6)
	study.Family, study.Given, study.CharacterSet = "Ғаниев", "Ўткир", "ISO_IR 192"
	h.send("URGUT_CT1", study)
	h.published(study.StudyInstanceUID(), study.Count())
	shown := []shownStudy{{What: "phantom", UID: study.StudyInstanceUID(), Name: "Ғаниев"}}

	const samples = "../../../shared/dicom"
	if !exists(samples) {
		t.Log("../shared/dicom is absent: OHIF is tried with a generated study only")
		return shown
	}
	for _, real := range []struct {
		shownStudy
		glob string
	}{
		{shownStudy{What: "ct", UID: "1.3.46.670589.33.1.15053592413351079234.27718218421047494460"}, "dcm_qa_ct/In/Philips/S21610/S2010/I[1-9]0"},
		{shownStudy{What: "mr-jpeg2000", UID: "1.3.6.1.4.1.5962.1.2.5.20040826185059.5457", Name: "CompressedSamples"}, "pydicom-data/MR2_J2KR.dcm"},
		{shownStudy{What: "us-multiframe", UID: "1.2.840.114340.3.8251017118051.1.20160503.120850.2171", Name: "PLA", Frames: 30, Colour: true}, "pydicom/test_files/examples_ybr_color.dcm"},
		{shownStudy{What: "mr-enhanced", UID: "1.2.826.0.1.3680043.2.1143.3365540476747857567072393009509418480", Frames: 10}, "pydicom-data/emri_small_jpeg_2k_lossless.dcm"},
	} {
		files, err := filepath.Glob(filepath.Join(samples, real.glob))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s is not in ../shared/dicom: %v", real.glob, err)
		}
		h.a.tasvir("", append([]string{"store", h.a.dicom, "--aet", "URGUT_CT1", "--called", "TASVIR"}, files...)...)
		h.published(real.UID, len(files))
		shown = append(shown, real.shownStudy)
	}
	return shown
}

// published waits until a study has so many instances.
func (h *hospital) published(study string, n int) {
	h.a.t.Helper()
	eventually(h.a.t, "the study is published", func() bool {
		var found []map[string]any
		h.qido("/studies/"+study+"/instances", &found)
		return len(found) == n
	})
}

var ohifAddress = regexp.MustCompile(`msg=ready .* ohif=(\S+)`)

// OHIF as its project publishes it, in a real browser on a real archive:
// viewer/browser/ohif.mjs opens each study from the client, checks that its
// picture is not black, and looks for the names in OHIF's list.
func TestOHIF(t *testing.T) {
	needBrowser(t)
	a := startArchive(t, nil, "--ohif", "127.0.0.1:0", "--ohif-dist", ohifDist(t))
	h := furnish(a)
	shown := ohifStudies(h)

	var session struct{ Viewers []string }
	h.clinician.must(http.StatusOK, h.clinician.call("GET", "/api/session", nil, &session))
	if len(session.Viewers) != 1 || session.Viewers[0] != "ohif" {
		t.Errorf("the viewers are %q", session.Viewers)
	}
	var opened struct{ URL string }
	ask := map[string]string{"study_uid": shown[0].UID}
	h.clinician.must(http.StatusNotFound, h.clinician.call("POST", "/api/weasis/launch", ask, nil))
	h.elsewhere.must(http.StatusNotFound, h.elsewhere.call("POST", "/api/ohif/launch", ask, nil))
	h.clinician.must(http.StatusOK, h.clinician.call("POST", "/api/ohif/launch", ask, &opened))
	address := ohifAddress.FindStringSubmatch(a.log.String())
	if address == nil || !strings.HasPrefix(opened.URL, "http://"+address[1]+"/launch?code=") {
		t.Fatalf("the study opens at %q, and OHIF is at %q", opened.URL, address)
	}
	h.onlyOwnInOHIF(opened.URL, len(shown))

	studies, err := json.Marshal(shown)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", "--test", "--test-reporter=spec", "browser/ohif.mjs")
	cmd.Dir = filepath.Join("..", "..", "viewer")
	cmd.Env = append(os.Environ(), "TASVIR_URL="+a.web, "TASVIR_CLINICIAN=shifokor:"+password, "TASVIR_STUDIES="+string(studies))
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if want := fmt.Sprintf("pass %d\n", len(shown)+1); err != nil || !strings.Contains(string(out), want) {
		t.Fatalf("the browser test failed: %v; want %q", err, want)
	}
}

// onlyOwnInOHIF opens OHIF's host with a clinician's launch address: it works
// once, and shows the n studies of the clinician's hospital only.
func (h *hospital) onlyOwnInOHIF(launch string, n int) {
	t := h.a.t
	t.Helper()
	other := phantom.Small(phantom.HeadCT, 1)
	other.Seed, other.ID, other.Accession = 99, "PH-ELSEWHERE", "PH9999"
	h.send("NUKUS_MR1", other)
	h.published(other.StudyInstanceUID(), 1)

	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	get := func(client *http.Client, address string) (int, []byte) {
		answer, err := client.Get(address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = answer.Body.Close() }()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, body
	}
	ohif := &http.Client{Jar: jar}
	if status, body := get(ohif, launch); status != http.StatusOK || !bytes.Contains(body, []byte("<title>OHIF Viewer")) {
		t.Fatalf("%s: %d %.200s", launch, status, body)
	}
	if status, _ := get(http.DefaultClient, launch); status != http.StatusUnauthorized {
		t.Errorf("the second time, the launch address gives %d", status)
	}
	root, _, _ := strings.Cut(launch, "/launch")
	var found []any
	status, body := get(ohif, root+"/dicom-web/studies")
	if err := json.Unmarshal(body, &found); err != nil || status != http.StatusOK || len(found) != n {
		t.Errorf("OHIF finds %d studies (%d, %v), want the hospital's %d", len(found), status, err, n)
	}
	for _, path := range []string{"/metadata", ""} {
		if status, _ := get(ohif, root+"/dicom-web/studies/"+other.StudyInstanceUID()+path); status != http.StatusNotFound {
			t.Errorf("OHIF gets %d of another hospital's study%s", status, path)
		}
	}
}

// What can't be served is told at the start, and what to do.
func TestViewersThatCannotBe(t *testing.T) {
	for _, try := range []struct {
		flags ViewerFlags
		want  string
	}{
		{ViewerFlags{OHIF: "127.0.0.1:0"}, "deploy/ohif.sh fetches OHIF"},
		{ViewerFlags{OHIFDist: "/srv/ohif"}, "deploy/ohif.sh fetches OHIF"},
		{ViewerFlags{OHIFOrigin: "https://ohif.example.uz"}, "--ohif"},
		{ViewerFlags{OHIF: "127.0.0.1:0", OHIFDist: t.TempDir(), OHIFOrigin: "https://x.uz/ohif"}, "without a path"},
		{ViewerFlags{OHIF: "127.0.0.1:0", OHIFDist: filepath.Join(t.TempDir(), "nothing")}, "deploy/ohif.sh fetches it"},
		{ViewerFlags{OHIF: "127.0.0.1:0", OHIFDist: t.TempDir()}, "deploy/ohif.sh fetches OHIF"},
	} {
		err := try.flags.check()
		if err == nil {
			_, _, err = (&Node{flags: ServerFlags{ViewerFlags: try.flags}}).openViewers()
		}
		if pacs.CodeOf(err) != pacs.Invalid || !strings.Contains(oneLine(err), try.want) {
			t.Errorf("%+v: %v, want %q", try.flags, err, try.want)
		}
	}
}

// weasis does over HTTP what Weasis 4 does with an address weasis://…, as its
// sources have it (RsQueryResult, SeriesDownloadManager, ThumbnailManager).
// The program itself is not run here.
type weasis struct {
	t       *testing.T
	options map[string]string
}

// newWeasis reads the command: it is what follows the first $ of the decoded
// address; arguments in quotes.
func newWeasis(t *testing.T, address string) *weasis {
	t.Helper()
	decoded, err := url.QueryUnescape(address)
	command := strings.Split(decoded, "$")
	if err != nil || len(command) != 2 || !strings.HasPrefix(decoded, "weasis://") {
		t.Fatalf("%q has %d commands: %v", address, len(command)-1, err)
	}
	w := &weasis{t: t, options: map[string]string{}}
	words := regexp.MustCompile(`"[^"]*"|\S+`).FindAllString(command[1], -1)
	if words[0] != "dicom:rs" || len(words)%2 != 1 {
		t.Fatalf("the command is %q", words)
	}
	for i := 1; i < len(words); i += 2 {
		w.options[words[i]] = strings.Trim(words[i+1], `"`)
	}
	return w
}

// ask sends a request with the header of the command.
func (w *weasis) ask(method, address, accept string) (*http.Response, []byte) {
	w.t.Helper()
	rq, err := http.NewRequest(method, address, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	name, value, _ := strings.Cut(w.options["-H"], ":")
	rq.Header.Set(name, strings.TrimSpace(value))
	rq.Header.Set("Accept", accept)
	answer, err := http.DefaultClient.Do(rq)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer, body
}

// query is a QIDO-RS query; Weasis says nothing about the form it wants, and
// Java says this.
func (w *weasis) query(address string) (found []map[string]struct{ Value []any }) {
	w.t.Helper()
	answer, body := w.ask("GET", address, "text/html, image/gif, image/jpeg, */*; q=0.2")
	if answer.StatusCode != http.StatusOK {
		w.t.Fatalf("%s: %s %.200s", address, answer.Status, body)
	}
	if err := json.Unmarshal(body, &found); err != nil {
		w.t.Fatalf("%s: %v in %.200s", address, err, body)
	}
	return found
}

// open fetches the study of the command: the files by SOP Instance UID.
func (w *weasis) open() map[string][]byte {
	w.t.Helper()
	root, study := w.options["--url"], strings.TrimPrefix(w.options["-r"], "studyUID=")
	text := func(of map[string]struct{ Value []any }, tag string) string {
		if len(of[tag].Value) == 0 {
			w.t.Fatalf("an answer has no %s: %v", tag, of)
		}
		return fmt.Sprint(of[tag].Value[0])
	}
	files := map[string][]byte{}
	for _, found := range w.query(root + "/studies?0020000D=" + study +
		"&includefield=00080020,00080030,00080050,00080061,00080090,00081030,00100010,00100020,00100021,00100030,00100040,0020000D,00200010") {
		for _, series := range w.query(root + "/studies/" + text(found, "0020000D") + "/series?includefield=0008103E,00080060,0020000E,00200011,00081190") {
			address := text(series, "00081190") // Retrieve URL
			if thumbnail, picture := w.ask("GET", address+"/thumbnail?viewport=256%2C256", "image/jpeg"); thumbnail.StatusCode != http.StatusOK || !bytes.HasPrefix(picture, []byte("\xff\xd8\xff")) {
				w.t.Errorf("the picture of a series: %s, %d bytes", thumbnail.Status, len(picture))
			}
			for _, instance := range w.query(address + "/instances?includefield=00080018,00200013,00081190") {
				answer, body := w.ask("GET", text(instance, "00081190"), `multipart/related;type="application/dicom";transfer-syntax=*`)
				if answer.StatusCode != http.StatusOK {
					w.t.Fatalf("%s: %s %.200s", address, answer.Status, body)
				}
				files[text(instance, "00080018")] = onlyPart(w.t, answer, body)
			}
		}
	}
	return files
}

// onlyPart is the file in an answer that has one.
func onlyPart(t *testing.T, answer *http.Response, body []byte) []byte {
	t.Helper()
	kind, parameters, err := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/related" {
		t.Fatalf("Content-Type %q: %v", answer.Header.Get("Content-Type"), err)
	}
	parts := multipart.NewReader(bytes.NewReader(body), parameters["boundary"])
	part, err := parts.NextRawPart()
	if err != nil {
		t.Fatal(err)
	}
	file, err := io.ReadAll(part)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parts.NextRawPart(); err != io.EOF {
		t.Errorf("there is more than one part: %v", err)
	}
	return file
}

// What Weasis would fetch with the address it is started with comes
// whole; nothing else does, and nothing after the person has signed out.
func TestWeasis(t *testing.T) {
	a := startArchive(t, nil, "--weasis")
	h := furnish(a)
	study, other := phantom.Small(phantom.HeadCT, 4), phantom.Small(phantom.HeadCT, 2)
	other.Seed, other.ID, other.Accession = 99, "PH-ELSEWHERE", "PH9999"
	h.send("URGUT_CT1", study)
	h.send("NUKUS_MR1", other)
	h.expect(study, study.Count())
	h.expect(other, other.Count())

	var session struct{ Viewers []string }
	h.radiologist.must(http.StatusOK, h.radiologist.call("GET", "/api/session", nil, &session))
	if len(session.Viewers) != 1 || session.Viewers[0] != "weasis" {
		t.Errorf("the viewers are %q", session.Viewers)
	}
	h.radiologist.must(http.StatusNotFound, h.radiologist.call("POST", "/api/ohif/launch", map[string]string{"study_uid": study.StudyInstanceUID()}, nil))
	h.elsewhere.must(http.StatusNotFound, h.elsewhere.call("POST", "/api/weasis/launch", map[string]string{"study_uid": study.StudyInstanceUID()}, nil))

	// The radiologist reads for every hospital; Weasis, for the study's.
	var opened struct{ URL string }
	h.radiologist.must(http.StatusOK, h.radiologist.call("POST", "/api/weasis/launch", map[string]string{"study_uid": study.StudyInstanceUID()}, &opened))
	w := newWeasis(t, opened.URL)
	files := w.open()
	for instance, err := range study.Instances() {
		if err != nil {
			t.Fatal(err)
		}
		if want := h.retrieve(study.StudyInstanceUID(), instance.SeriesInstanceUID, instance.SOPInstanceUID); !bytes.Equal(files[instance.SOPInstanceUID], want) {
			t.Errorf("Weasis has %d bytes of %s, want the %d that are kept", len(files[instance.SOPInstanceUID]), instance.SOPInstanceUID, len(want))
		}
		delete(files, instance.SOPInstanceUID)
	}
	if len(files) != 0 {
		t.Errorf("and %d others", len(files))
	}

	const any = "*/*"
	root := w.options["--url"]
	if found := w.query(root + "/studies"); len(found) != 1 {
		t.Errorf("Weasis finds %d studies, want that of the hospital", len(found))
	}
	if found := w.query(root + "/studies?0020000D=" + other.StudyInstanceUID()); len(found) != 0 {
		t.Error("Weasis finds a study of another hospital")
	}
	for _, try := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/dicom-web/studies/" + other.StudyInstanceUID(), 404},
		{"GET", "/dicom-web/studies/" + other.StudyInstanceUID() + "/metadata", 404},
		{"POST", "/dicom-web/studies", 403},
		{"DELETE", "/dicom-web/studies/" + study.StudyInstanceUID(), 403},
		{"GET", "/dicom-web/workitems", 403},
		{"GET", "/api/tasks", 403},
		{"GET", "/api/studies/" + study.StudyInstanceUID(), 403},
		{"POST", "/api/weasis/launch", 403},
	} {
		if answer, body := w.ask(try.method, a.web+try.path, any); answer.StatusCode != try.status {
			t.Errorf("Weasis: %s %s: %s %.200s, want %d", try.method, try.path, answer.Status, body, try.status)
		}
	}
	h.radiologist.must(http.StatusNoContent, h.radiologist.call("DELETE", "/api/session", nil, nil))
	if answer, _ := w.ask("GET", root+"/studies", any); answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("after the person has signed out: %s", answer.Status)
	}
}
