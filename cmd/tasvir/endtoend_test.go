package main

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/phantom"
	"github.com/tasvir-pacs/tasvir/storage/s3/miniotest"
	"github.com/tasvir-pacs/tasvir/worklist/fhir/sandboxtest"
)

// The main job, end to end: a study leaves a modality, is archived, read, and
// its signed report arrives at the FHIR platform; on files and on MinIO.
func TestStudyToPlatform(t *testing.T) {
	t.Run("files", func(t *testing.T) { studyToPlatform(t, nil) })
	t.Run("minio", func(t *testing.T) {
		minio := miniotest.Start(t)
		studyToPlatform(t, minio.Env(), "--store", minio.URL("tasvir-end-to-end"))
	})
}

func studyToPlatform(t *testing.T, env []string, flags ...string) {
	platform := sandboxtest.Start(t)
	a := startArchive(t, env, append(flags, "--fhir", platform.URL)...)
	h := furnish(a)

	files := realSeries(t)
	h.storescu("URGUT_CT1", files...)
	task := h.onlyTask(h.radiologist)
	if task.Study.InstanceCount != len(files) {
		t.Errorf("the task's study has %d images, sent were %d", task.Study.InstanceCount, len(files))
	}

	// Two radiologists can't read the same study.
	h.radiologist.must(http.StatusOK, h.radiologist.call("POST", "/api/tasks/"+task.ID+"/claim", nil, nil))
	var problem struct{ Reason, Who string }
	h.second.must(http.StatusConflict, h.second.call("POST", "/api/tasks/"+task.ID+"/claim", nil, &problem))
	if problem.Reason != "claimed_by_other" || problem.Who != "Karimova Nilufar Rustamovna" {
		t.Errorf("the second claim's problem is %+v", problem)
	}

	signed := h.sign(task.ID, "Oʻng yarim sharda oʻchoq yoʻq", "Қон қуйилиши белгилари йўқ")
	report := h.delivered(signed.ID, 1)

	// Exactly one valid DiagnosticReport (the platform refuses invalid ones),
	// and its PDF is the one the archive keeps.
	found := platform.Search("DiagnosticReport?identifier=" + signed.ID)
	if len(found) != 1 {
		t.Fatalf("the platform has %d reports, want 1", len(found))
	}
	if found[0]["id"] != report.FHIRID || found[0]["status"] != "final" {
		t.Errorf("the platform's report is %v %v, the archive says %s", found[0]["id"], found[0]["status"], report.FHIRID)
	}
	form := found[0]["presentedForm"].([]any)[0].(map[string]any)
	sent, err := base64.StdEncoding.DecodeString(form["data"].(string))
	if err != nil {
		t.Fatal(err)
	}
	var kept []byte
	h.radiologist.must(http.StatusOK, h.radiologist.call("GET", "/api/reports/"+signed.ID+"/versions/1/pdf", nil, &kept))
	if !bytes.HasPrefix(kept, []byte("%PDF-")) || !bytes.Equal(sent, kept) {
		t.Errorf("the platform's PDF has %d bytes, the archive's %d", len(sent), len(kept))
	}
	if n := len(platform.Search("ImagingStudy")); n != 1 {
		t.Errorf("the platform has %d imaging studies, want 1", n)
	}

	h.sameBytes(files)
	h.correct(platform, task.ID, signed.ID)
	h.platformDown(platform)
}

// platformDown signs while the platform is down and starts it later.
func (h *hospital) platformDown(platform *sandboxtest.Sandbox) {
	t := h.a.t
	platform.Stop()
	study := phantom.Small(phantom.BrainMR, 4)
	h.send("NUKUS_MR1", study)
	task := h.onlyTask(h.radiologist)
	h.radiologist.must(http.StatusOK, h.radiologist.call("POST", "/api/tasks/"+task.ID+"/claim", nil, nil))
	signed := h.sign(task.ID, "Norma", "Patologiya aniqlanmadi")
	eventually(t, "the client shows that delivery is being retried", func() bool {
		d := h.delivery(signed.ID, 1)
		return d.State == "retrying" && d.LastError != "" && d.Attempts > 0
	})
	platform.Restart()
	h.delivered(signed.ID, 1)
	if found := platform.Search("DiagnosticReport?identifier=" + signed.ID); len(found) != 1 {
		t.Errorf("the platform has %d reports of the study signed while it was down, want 1", len(found))
	}
}

// correct amends a delivered report: the same DiagnosticReport gets a new
// version, and the signed text stays as it was.
func (h *hospital) correct(platform *sandboxtest.Sandbox, taskID, reportID string) {
	t := h.a.t
	p := h.radiologist
	base := "/api/tasks/" + taskID + "/report"
	var report reportAnswer
	p.must(http.StatusOK, p.call("POST", base+"/amend", map[string]string{"kind": "correction"}, &report))
	sections := report.Draft.Sections
	if sections["impression"] != "Қон қуйилиши белгилари йўқ" {
		t.Errorf("a correction starts from %q", sections["impression"])
	}
	sections["impression"] = "Chap yarim sharda ishemiya"
	var draft struct{ Revision int }
	p.must(http.StatusOK, p.call("PUT", base+"/draft", map[string]any{"sections": sections, "language": "uz-Latn", "revision": report.Draft.Revision}, &draft))
	p.must(http.StatusConflict, p.call("POST", base+"/sign", map[string]int{"revision": draft.Revision - 1}, nil))
	p.must(http.StatusOK, p.call("POST", base+"/sign", map[string]int{"revision": draft.Revision}, &report))
	h.delivered(reportID, 2)
	found := platform.Search("DiagnosticReport?identifier=" + reportID)
	if len(found) != 1 || found[0]["status"] != "corrected" {
		t.Errorf("after the correction the platform has %d reports: %v", len(found), found[0]["status"])
	}
	p.must(http.StatusOK, p.call("GET", base, nil, &report))
	if len(report.Versions) != 2 || report.Versions[0].Sections["impression"] != "Қон қуйилиши белгилари йўқ" {
		t.Errorf("the versions after the correction are %+v", report.Versions)
	}
}

// sameBytes retrieves every instance and compares data sets byte for byte.
func (h *hospital) sameBytes(files []string) {
	t := h.a.t
	for _, name := range files {
		sent, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		header, err := dicom.Scan(bytes.NewReader(sent), dicom.ScanOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got := h.retrieve(header.Dataset.String(dicom.TagStudyInstanceUID), header.Dataset.String(dicom.TagSeriesInstanceUID), header.Dataset.String(dicom.TagSOPInstanceUID))
		kept, err := dicom.Scan(bytes.NewReader(got), dicom.ScanOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if kept.TransferSyntax != header.TransferSyntax || !bytes.Equal(sent[header.DatasetOffset:], got[kept.DatasetOffset:]) {
			t.Errorf("%s: the data set is not the one that was sent", filepath.Base(name))
		}
	}
}

// retrieve gets one instance by WADO-RS with a bearer token.
func (h *hospital) retrieve(study, series, instance string) []byte {
	t := h.a.t
	t.Helper()
	rq, err := http.NewRequest("GET", h.a.web+"/dicom-web/studies/"+study+"/series/"+series+"/instances/"+instance, nil)
	if err != nil {
		t.Fatal(err)
	}
	rq.Header.Set("Accept", "application/dicom; transfer-syntax=*")
	rq.Header.Set("Authorization", "Bearer "+h.token)
	answer, err := http.DefaultClient.Do(rq)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	got, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("WADO-RS of %s: %d %v %.200s", instance, answer.StatusCode, err, got)
	}
	return got
}

// realSeries is a real CT series, a generated one where the shared files are
// absent.
func realSeries(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../../../shared/dicom/dcm_qa_ct/In/Philips/S21610/S2010/I*")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) > 0 {
		return files
	}
	t.Log("../shared/dicom is absent; a generated series stands in for the real one")
	return writeFiles(t, t.TempDir(), phantom.Small(phantom.HeadCT, 20))
}

// writeFiles writes a generated study into a folder, a PS3.10 file per
// instance.
func writeFiles(t *testing.T, dir string, study *phantom.Study) (files []string) {
	t.Helper()
	for instance, err := range study.Instances() {
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(filepath.Join(dir, instance.SOPInstanceUID))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := instance.WriteTo(f); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		files = append(files, f.Name())
	}
	return files
}

// storescu sends files with dcmtk's own program.
func (h *hospital) storescu(calling string, files ...string) {
	t := h.a.t
	t.Helper()
	program, err := exec.LookPath("storescu")
	if err != nil {
		if os.Getenv("TASVIR_TEST_REQUIRE") == "1" {
			t.Fatal("dcmtk's storescu is not installed")
		}
		t.Skip("dcmtk's storescu is not installed")
	}
	host, port, _ := strings.Cut(h.a.dicom, ":")
	args := append([]string{"-aet", calling, "-aec", "TASVIR", "-R", host, port}, files...)
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("storescu: %v\n%s", err, out)
	}
}

// send sends a generated study with our own SCU.
func (h *hospital) send(calling string, study *phantom.Study) {
	h.a.t.Helper()
	study.CallingAE = calling
	if err := sendStudy(h.a.t.Context(), h.a.dicom, study); err != nil {
		h.a.t.Fatal(err)
	}
}

// hospital is an archive with facilities, devices, people and a rule in it.
type hospital struct {
	a                          *archive
	admin, radiologist, second *person
	clinician, elsewhere       *person
	token                      string
}

const password = "a long enough one"

// furnish makes what a hospital needs, with the commands an administrator
// would use.
func furnish(a *archive) *hospital {
	a.t.Helper()
	for _, f := range [][2]string{{"URGUT", "Urgut tuman shifoxonasi"}, {"NUKUS", "Nukus shahar shifoxonasi"}} {
		a.tasvir("", "facility", "add", f[0], f[1])
	}
	a.tasvir("", "device", "add", "URGUT_CT1", "URGUT")
	a.tasvir("", "device", "add", "NUKUS_MR1", "NUKUS")
	a.tasvir(password, "user", "add", "radiolog", "--name", "Karimova Nilufar Rustamovna", "--role", "radiologist", "--all-facilities", "--pinfl", "30101800000011", "--argos", "DEMO-0001")
	a.tasvir(password, "user", "add", "radiolog2", "--name", "Ғаниев Ўткир Ҳамидович", "--role", "radiologist", "--all-facilities", "--pinfl", "30202750000022", "--argos", "DEMO-0002")
	a.tasvir(password, "user", "add", "shifokor", "--name", "Ergashev Jasur", "--role", "clinician", "--facility", "URGUT")
	a.tasvir(password, "user", "add", "nukuslik", "--name", "Allambergenov Rustam", "--role", "clinician", "--facility", "NUKUS")
	h := &hospital{a: a, token: a.tasvir("", "token", "create", "test", "--scope", "dicomweb:read", "--scope", "dicomweb:write")}
	h.admin = a.signIn("admin", adminPassword)
	h.radiologist = a.signIn("radiolog", password)
	h.second = a.signIn("radiolog2", password)
	h.clinician = a.signIn("shifokor", password)
	h.elsewhere = a.signIn("nukuslik", password)
	var group struct{ ID string }
	h.admin.must(http.StatusCreated, h.admin.call("POST", "/api/admin/groups", map[string]any{"name": "Neyro", "members": []string{h.radiologist.id, h.second.id}}, &group))
	h.admin.must(http.StatusCreated, h.admin.call("POST", "/api/admin/rules", map[string]any{
		"name": "KT va MRT", "condition": `study.modalities.exists(m, m in ["CT", "MR"])`, "group": group.ID, "priority": "urgent", "deadline_minutes": 60,
	}, nil))
	// The DICOM port learns of new devices within seconds.
	eventually(a.t, "the archive knows its devices", func() bool {
		return a.echo("URGUT_CT1") == nil && a.echo("NUKUS_MR1") == nil
	})
	return h
}

func (a *archive) echo(calling string) error {
	return (&EchoCmd{peerFlags: peerFlags{Address: a.dicom, AET: calling, Called: "TASVIR", Timeout: 10 * time.Second}}).Run(a.t.Context())
}

type taskAnswer struct {
	ID    string
	State string
	Study struct {
		StudyUID      string `json:"study_uid"`
		InstanceCount int    `json:"instance_count"`
	}
}

// onlyTask waits for the one open task on a person's worklist.
func (h *hospital) onlyTask(p *person) taskAnswer {
	h.a.t.Helper()
	var list struct{ Tasks []taskAnswer }
	eventually(h.a.t, "a task is on the worklist", func() bool {
		p.must(http.StatusOK, p.call("GET", "/api/tasks?view=groups", nil, &list))
		return len(list.Tasks) > 0
	})
	if len(list.Tasks) != 1 {
		h.a.t.Fatalf("the worklist has %d tasks, want 1", len(list.Tasks))
	}
	return list.Tasks[0]
}

type versionAnswer struct {
	Version  int
	Sections map[string]string
	Delivery deliveryAnswer
}

type reportAnswer struct {
	ID       string
	Versions []versionAnswer
	Draft    *struct {
		Revision int
		Sections map[string]string
	}
}

// sign writes and signs a report as the first radiologist.
func (h *hospital) sign(taskID, findings, impression string) reportAnswer {
	h.a.t.Helper()
	p, base := h.radiologist, "/api/tasks/"+taskID+"/report"
	sections := map[string]string{"indication": "Bosh ogʻrigʻi", "technique": "KT", "findings": "", "impression": ""}
	var draft struct{ Revision int }
	p.must(http.StatusOK, p.call("PUT", base+"/draft", map[string]any{"sections": sections, "language": "uz-Latn", "revision": 0}, &draft))
	p.must(http.StatusUnprocessableEntity, p.call("POST", base+"/sign", map[string]int{"revision": draft.Revision}, nil))
	sections["findings"], sections["impression"] = findings, impression
	p.must(http.StatusConflict, p.call("PUT", base+"/draft", map[string]any{"sections": sections, "language": "uz-Latn", "revision": 0}, nil))
	p.must(http.StatusOK, p.call("PUT", base+"/draft", map[string]any{"sections": sections, "language": "uz-Latn", "revision": draft.Revision}, &draft))
	var report reportAnswer
	p.must(http.StatusOK, p.call("POST", base+"/sign", map[string]int{"revision": draft.Revision}, &report))
	return report
}

type deliveryAnswer struct {
	State     string
	Attempts  int
	LastError string `json:"last_error"`
	FHIRID    string `json:"fhir_id"`
}

// delivery is what the client shows of a version's way to the platform.
func (h *hospital) delivery(reportID string, version int) deliveryAnswer {
	h.a.t.Helper()
	var list struct {
		Deliveries []struct {
			ReportID string `json:"report_id"`
			Version  int
			Delivery deliveryAnswer
		}
	}
	h.radiologist.must(http.StatusOK, h.radiologist.call("GET", "/api/deliveries", nil, &list))
	for _, d := range list.Deliveries {
		if d.ReportID == reportID && d.Version == version {
			return d.Delivery
		}
	}
	h.a.t.Fatalf("report %s version %d is not among the deliveries", reportID, version)
	return deliveryAnswer{}
}

// delivered waits until a version has arrived.
func (h *hospital) delivered(reportID string, version int) deliveryAnswer {
	h.a.t.Helper()
	var d deliveryAnswer
	eventually(h.a.t, "the report is delivered", func() bool {
		d = h.delivery(reportID, version)
		if d.State == "failed" {
			h.a.t.Fatalf("the platform refused the report: %s", d.LastError)
		}
		return d.State == "delivered"
	})
	return d
}
