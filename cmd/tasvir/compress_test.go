package main

import (
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/phantom"
	"github.com/tasvir-pacs/tasvir/pacs/pixel"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/pixeltest"
)

// TestCompressNeedsTheCodec: what this binary can't do is refused before
// anything is started.
func TestCompressNeedsTheCodec(t *testing.T) {
	if err := (CompressFlags{Compress: "none"}).check(); err != nil {
		t.Error(err)
	}
	err := CompressFlags{Compress: jpegLS}.check()
	if pixel.Available {
		if err != nil {
			t.Error(err)
		}
	} else if pacs.CodeOf(err) != pacs.Invalid || !strings.Contains(oneLine(err), "-tags charls") {
		t.Errorf("without the codec: %v", err)
	}
}

// needCodec skips a test of a build without the JPEG-LS codec.
func needCodec(t *testing.T) {
	t.Helper()
	if !pixel.Available {
		if os.Getenv("TASVIR_TEST_REQUIRE") != "" {
			t.Fatal("the tests must be built with -tags charls")
		}
		t.Skip("built without -tags charls: there is no JPEG-LS codec")
	}
}

// metric is the value of a counter on /metrics.
func (a *archive) metric(name string) int {
	a.t.Helper()
	answer, err := http.Get(a.web + "/metrics")
	if err != nil {
		a.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindSubmatch(body)
	if found == nil {
		a.t.Fatalf("/metrics has no %s", name)
	}
	value, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		a.t.Fatal(err)
	}
	return int(value)
}

// compressed says how many of files are kept compressed, and checks that all
// are there with the attributes and pixels that were sent.
func (h *hospital) compressed(files []string) (count int) {
	t := h.a.t
	t.Helper()
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
		switch {
		case err != nil:
			t.Fatal(err)
		case kept.TransferSyntax == dicom.JPEGLSLossless:
			pixeltest.Check(t, filepath.Base(name), sent, got)
			count++
		case kept.TransferSyntax != header.TransferSyntax || !bytes.Equal(sent[header.DatasetOffset:], got[kept.DatasetOffset:]):
			t.Errorf("%s: the data set is not the one that was sent", filepath.Base(name))
		}
	}
	return count
}

// allCompressed waits until files, and nothing else, are in the archive and
// compressed, and compares them.
func (h *hospital) allCompressed(files []string) {
	t := h.a.t
	t.Helper()
	eventually(t, "all is compressed", func() bool { return h.indexedAsJPEGLS("") == len(files) })
	if n := h.compressed(files); n != len(files) {
		t.Errorf("%d of %d files are compressed", n, len(files))
	}
}

// indexedAsJPEGLS counts the instances of a study, or of all, that the index has
// as JPEG-LS.
func (h *hospital) indexedAsJPEGLS(study string) (count int) {
	h.a.t.Helper()
	for _, object := range h.indexed() {
		text, err := json.Marshal(object)
		if err != nil {
			h.a.t.Fatal(err)
		}
		if strings.Contains(string(text), dicom.JPEGLSLossless) && strings.Contains(string(text), study) { // Available Transfer Syntax UID
			count++
		}
	}
	return count
}

// indexed is what QIDO-RS says of every instance.
func (h *hospital) indexed() (answer []map[string]any) {
	h.a.t.Helper()
	h.admin.must(http.StatusOK, h.admin.call("GET", "/dicom-web/instances?includefield=all&limit=10000", nil, &answer))
	for _, object := range answer {
		delete(object, "00081190") // retrieve URL: the port is another
	}
	return answer
}

// TestServeCompressing: with --compress a complete study becomes JPEG-LS, which
// is on /metrics; what is sent again is known, verify is content, and a rebuilt
// index is the one that was lost.
func TestServeCompressing(t *testing.T) {
	needCodec(t)
	a := startArchive(t, nil, "--compress", "jpeg-ls")
	h := furnish(a)
	study := phantom.Small(phantom.HeadCT, 4)
	files := writeFiles(t, t.TempDir(), study)
	feed := &follower{person: h.admin}
	h.send("URGUT_CT1", study)
	feed.until("study.completed")
	feed.until("series.merged")
	h.allCompressed(files)
	if n := a.metric("tasvir_compressed_instances_total"); n != len(files) {
		t.Errorf("%d instances on /metrics, %d were compressed", n, len(files))
	}
	var sent, failed int
	for _, name := range files {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		sent += int(info.Size())
	}
	saved, failed := a.metric("tasvir_compression_saved_bytes_total"), a.metric("tasvir_compression_failures_total")
	if saved < sent/4 || saved > sent || failed > 0 {
		t.Errorf("%d bytes of %d were saved, %d failures", saved, sent, failed)
	}
	want := h.indexed()
	h.send("URGUT_CT1", study) // again
	eventually(t, "it is known", func() bool { return a.metric("tasvir_published_instances_total") == 2*len(files) })
	if diff := cmp.Diff(want, h.indexed()); diff != "" {
		t.Error("sent again:", diff)
	}
	a.stop()
	if code, out := a.exitCode("verify"); code != 0 {
		t.Errorf("verify ended with %d: %s", code, out)
	}
	if err := os.Rename(filepath.Join(a.dir, "data", "postgres"), filepath.Join(a.dir, "lost")); err != nil {
		t.Fatal(err)
	}
	a.tasvir("", "reindex")
	a.flags = nil // and it is turned off
	a.start()
	h.admin = a.signIn("admin", adminPassword)
	h.token = a.tasvir("", "token", "create", "again", "--scope", "dicomweb:read")
	if diff := cmp.Diff(want, h.indexed()); diff != "" {
		t.Error("reindexed:", diff)
	}
	h.allCompressed(files)
}

// TestKilledWhileCompressing: kill -9 at random points while complete studies
// are compressed. Nothing is lost, and what comes later is compressed.
func TestKilledWhileCompressing(t *testing.T) {
	needCodec(t)
	const rounds = 6
	a := startArchive(t, nil, "--compress", "jpeg-ls")
	h := furnish(a)
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	var files []string
	for round := range rounds {
		study := phantom.Small(phantom.HeadCT, 20)
		study.Seed, study.Series[0].Matrix = uint64(100+round), 256
		files = append(files, writeFiles(t, t.TempDir(), study)...)
		h.send("URGUT_CT1", study)
		// It is complete after a second, and then merged.
		time.Sleep(time.Second + time.Duration(random.IntN(1500))*time.Millisecond)
		a.kill()
		a.start()
		h.admin.base = a.web
	}
	// A merge that was cut off is repeated hours later; one that was never begun,
	// at once.
	last := phantom.Small(phantom.BrainMR, 3)
	lastFiles := writeFiles(t, t.TempDir(), last)
	h.send("NUKUS_MR1", last)
	eventually(t, "the last study is compressed", func() bool { return h.indexedAsJPEGLS(last.StudyInstanceUID()) == len(lastFiles) })
	if n := h.compressed(lastFiles); n != len(lastFiles) {
		t.Errorf("%d of %d files of the last study are compressed", n, len(lastFiles))
	}
	eventually(t, "all is indexed", func() bool { return len(h.indexed()) >= len(files)+len(lastFiles) })
	t.Logf("%d of %d files are compressed", h.compressed(files), len(files))
	if n := len(h.indexed()); n != len(files)+len(lastFiles) {
		t.Errorf("%d instances are indexed, %d were sent", n, len(files)+len(lastFiles))
	}
	a.stop()
	if code, out := a.exitCode("verify"); code != 0 {
		t.Errorf("verify ended with %d: %s", code, out)
	}
	if left, err := os.ReadDir(filepath.Join(a.dir, "data", "scratch")); err != nil || len(left) > 0 {
		t.Errorf("scratch files are left over: %v %v", left, err)
	}
}
