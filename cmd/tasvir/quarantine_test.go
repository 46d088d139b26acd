package main

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/storage/s3/miniotest"
)

func TestByteSize(t *testing.T) {
	for text, want := range map[string]byteSize{"10GiB": 10 << 30, "500MB": 5e8, "1.5 gib": 3 << 29, "1048576": 1 << 20, "64b": 64, "2TB": 2e12} {
		var got byteSize
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%q is %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "GiB", "-1", "0", "ten", "1e99", "1 PB", "NaN"} {
		var got byteSize
		if err := got.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is %d", text, got)
		}
	}
}

type wardAnswer struct {
	Items []struct {
		ID, Reason, Message, Channel string
		SOPUID                       string `json:"sop_uid"`
		Facility                     struct{ Code string }
		Patient                      struct{ Name string }
		BelongsTo                    struct {
			PatientID string `json:"patient_id"`
		} `json:"belongs_to"`
	}
	Total, Bytes int
}

// ward waits until the quarantine has n items and returns them by reason.
func (h *hospital) ward(n int) (ids map[string]string, list wardAnswer) {
	h.a.t.Helper()
	eventually(h.a.t, "the quarantine has what was sent", func() bool {
		list = wardAnswer{}
		h.admin.must(http.StatusOK, h.admin.call("GET", "/api/admin/quarantine", nil, &list))
		return list.Total == n
	})
	ids = map[string]string{}
	for _, item := range list.Items {
		ids[item.Reason] = item.ID
	}
	return ids, list
}

// What can't be indexed comes in by C-STORE, STOW-RS and import, is
// acknowledged and seen; released, it is served; on MinIO, and with the server
// killed in between.
func TestQuarantine(t *testing.T) {
	minio := miniotest.Start(t)
	a := startArchive(t, minio.Env(), "--store", minio.URL("tasvir-quarantine"))
	h := furnish(a)
	dataset := func(sop, patient, study string) []byte {
		return join(
			element(0x0008, 0x0016, "UI", ctImageStorage), element(0x0008, 0x0018, "UI", sop), element(0x0008, 0x0060, "CS", "CT"),
			element(0x0010, 0x0010, "PN", "Karimov^Ali"), element(0x0010, 0x0020, "LO", patient),
			element(0x0020, 0x000D, "UI", study), element(0x0020, 0x000E, "UI", "1.2.7.1"), element(0x0020, 0x4000, "LT", "a comment"))
	}
	inFile := func(sop string, dataset []byte) []byte {
		return append(dicom.AppendFileMeta(nil, dicom.FileMeta{SOPClassUID: ctImageStorage, SOPInstanceUID: sop, TransferSyntaxUID: dicom.ExplicitVRLittleEndian}), dataset...)
	}
	send := func(sop string, dataset []byte) {
		t.Helper()
		if status := storeOne(t, a, sop, dataset); status.Code != dimse.Success {
			t.Fatalf("C-STORE answered %s", status)
		}
	}
	good, stranger := dataset("1.2.7.1.1", "P1", "1.2.7"), dataset("1.2.7.1.2", "P2", "1.2.7")
	send("1.2.7.1.1", good)
	var studies []map[string]any
	eventually(t, "the good one is archived", func() bool { h.qido("/studies", &studies); return len(studies) == 1 })
	send("1.2.7.1.2", stranger)                          // another patient in the same study
	send("1.2.7.1.3", dataset("1.2.7.1.3", "P3", "bad")) // no study to speak of
	broken := dataset("1.2.7.1.4", "P4", "1.2.8")
	// STOW-RS: a header that breaks off.
	if code, refused := h.stowOne(t, inFile("1.2.7.1.4", broken[:len(broken)-5])); code != http.StatusAccepted || refused != 0 {
		t.Errorf("STOW-RS answered %d, %04X", code, refused)
	}
	// Import: no Study Instance UID.
	file := filepath.Join(a.dir, "no-study.dcm")
	if err := os.WriteFile(file, inFile("1.2.7.1.5", dataset("1.2.7.1.5", "P5", "")), 0o644); err != nil {
		t.Fatal(err)
	}
	bin, err := builtBinary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "import", file, "--facility", "URGUT", "--quiet", "1s", "--store", minio.URL("tasvir-quarantine"))
	cmd.Env = append(append(os.Environ(), "TASVIR_DATA="+filepath.Join(a.dir, "data")), a.env...)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "in quarantine") {
		t.Errorf("import said %v: %s", err, out)
	}

	ids, list := h.ward(4)
	for _, reason := range []string{"other_patient", "bad_uid", "broken_header", "missing_uid"} {
		if ids[reason] == "" {
			t.Errorf("nothing is in quarantine for %s: %+v", reason, list)
		}
	}
	var kept []byte
	h.admin.must(http.StatusOK, h.admin.call("GET", "/api/admin/quarantine/"+ids["other_patient"]+"/file", nil, &kept))
	if !bytes.HasSuffix(kept, stranger) {
		t.Error("the file is not what was sent")
	}
	var metrics []byte
	h.admin.must(http.StatusOK, h.admin.call("GET", "/metrics", nil, &metrics))
	if !bytes.Contains(metrics, []byte("tasvir_quarantine_items 4\n")) && !bytes.Contains(metrics, []byte("tasvir_quarantine_items 3\n")) { // the import's is counted within seconds
		t.Errorf("the metrics don't have the quarantine:\n%s", metrics)
	}
	var status struct{ Quarantine struct{ Quota int64 } }
	h.admin.must(http.StatusOK, h.admin.call("GET", "/api/admin/status", nil, &status))
	if status.Quarantine.Quota != 10<<30 {
		t.Errorf("status says %+v", status)
	}
	h.admin.must(http.StatusOK, h.admin.call("GET", "/readyz", nil, nil))
	h.radiologist.must(http.StatusForbidden, h.radiologist.call("GET", "/api/admin/quarantine", nil, nil))

	var outcome struct {
		Released []string
		Refused  []struct{ ID, Message string }
	}
	release := func(body map[string]any) {
		t.Helper()
		outcome.Released, outcome.Refused = nil, nil
		h.admin.must(http.StatusOK, h.admin.call("POST", "/api/admin/quarantine/release", body, &outcome))
	}
	release(map[string]any{"ids": []string{ids["other_patient"], ids["broken_header"]}})
	if len(outcome.Released) != 0 || len(outcome.Refused) != 2 {
		t.Errorf("released what does not fit: %+v", outcome)
	}
	release(map[string]any{"ids": []string{ids["other_patient"]}, "patient": map[string]string{"patient_id": "P1"}})
	if len(outcome.Released) != 1 {
		t.Errorf("not released: %+v", outcome)
	}
	release(map[string]any{"ids": []string{ids["missing_uid"], ids["bad_uid"]}})
	if len(outcome.Released) != 2 {
		t.Errorf("not released: %+v", outcome)
	}
	a.kill()
	a.start()
	h.admin = a.signIn("admin", adminPassword)
	_, list = h.ward(1)
	eventually(t, "what was released is archived", func() bool { h.qido("/studies", &studies); return len(studies) == 3 })
	var instances []map[string]any
	eventually(t, "the study has both images", func() bool { h.qido("/studies/1.2.7/instances", &instances); return len(instances) == 2 })
	served, err := dicom.Scan(bytes.NewReader(h.retrieve("1.2.7", "1.2.7.1", "1.2.7.1.2")), dicom.ScanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if id := served.Dataset.String(dicom.TagPatientID); id != "P1" {
		t.Errorf("it is served as patient %q's", id)
	}
	h.admin.must(http.StatusOK, h.admin.call("GET", "/api/admin/quarantine/"+ids["missing_uid"]+"/file", nil, &kept))
	if !bytes.HasSuffix(kept, dataset("1.2.7.1.5", "P5", "")) {
		t.Error("the original of a data set that got UIDs is not what was sent")
	}
	var discarded struct{ Discarded int }
	h.admin.must(http.StatusOK, h.admin.call("POST", "/api/admin/quarantine/discard", map[string]any{"ids": []string{list.Items[0].ID}, "why": "Sent again whole"}, &discarded))
	if discarded.Discarded != 1 {
		t.Errorf("discarded %d", discarded.Discarded)
	}
	h.ward(0)
}
