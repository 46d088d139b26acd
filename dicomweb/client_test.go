package dicomweb

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/pixel"
)

// expectation is what the scripts in clienttest are told of a study.
type expectation struct {
	URL          string             `json:"url"`
	Token        string             `json:"token,omitempty"`
	Store        []string           `json:"store"` // files to send first
	WaitForStudy bool               `json:"waitForStudy,omitempty"`
	Study        string             `json:"study"`
	Series       string             `json:"series"`
	Count        int                `json:"count"` // instances of the study
	PatientName  string             `json:"patientName"`
	Instances    []expectedInstance `json:"instances"` // of the series
}

type expectedInstance struct {
	UID            string   `json:"uid"`
	File           string   `json:"file"`
	TransferSyntax string   `json:"transferSyntax"` // of the frames as they are sent
	MediaType      string   `json:"mediaType,omitempty"`
	Encapsulated   bool     `json:"encapsulated"`
	Rows           int      `json:"rows"`
	Columns        int      `json:"columns"`
	Frames         []string `json:"frames"` // SHA-256
}

// expect describes a file, by means of the scanner.
func expect(t *testing.T, path string) (expectedInstance, *dicom.Header) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	h, err := dicom.Scan(bytes.NewReader(b), dicom.ScanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	frames, err := h.Frames()
	if err != nil {
		t.Fatal(err)
	}
	e := expectedInstance{
		UID: h.Dataset.String(dicom.TagSOPInstanceUID), File: path,
		TransferSyntax: pixelSyntaxes(h.TransferSyntax)[0], Encapsulated: h.PixelData.Encapsulated,
	}
	if media := frameMedia[h.TransferSyntax]; len(media) > 0 {
		e.MediaType = media[0]
		// The names that dicomweb-client knows.
		switch e.MediaType {
		case "image/dicom-rle":
			e.MediaType = "image/x-dicom-rle"
		case "image/jphc":
			e.MediaType = ""
		}
	}
	if h.Deflated {
		if b, err = io.ReadAll(flate.NewReader(bytes.NewReader(b[h.DatasetOffset:]))); err != nil {
			t.Fatal(err)
		}
	}
	e.Rows, _ = h.Dataset.Int(dicom.TagRows)
	e.Columns, _ = h.Dataset.Int(dicom.TagColumns)
	for _, ranges := range frames {
		sum := sha256.New()
		for _, r := range ranges {
			coded := b[r.Offset : r.Offset+r.Length]
			if isBigEndian(h.TransferSyntax) { // sent in little endian
				e.TransferSyntax = dicom.ExplicitVRLittleEndian
				format, err := pixel.FormatOf(h.Dataset)
				if err != nil {
					t.Fatal(err)
				}
				frame, err := (&pixel.Codecs{}).Decode(t.Context(), h.TransferSyntax, format, coded)
				if err != nil {
					t.Fatal(err)
				}
				coded = frame.Pixels
			}
			sum.Write(coded)
		}
		e.Frames = append(e.Frames, hex.EncodeToString(sum.Sum(nil)))
	}
	return e, h
}

// clientStudies are studies to try clients on: a generated series of native
// images with Cyrillic names, and real ones in compressed transfer syntaxes.
func clientStudies(t *testing.T) []expectation {
	t.Helper()
	folder := t.TempDir()
	generated := expectation{Study: "2.25.11", Series: "2.25.11.1", Count: 3, PatientName: "Каримов"}
	for n, ts := range []string{dicom.ImplicitVRLittleEndian, dicom.ExplicitVRLittleEndian, dicom.ExplicitVRLittleEndian} {
		ds := image("2.25.11", "2.25.11.1", "2.25.11.1."+string(rune('1'+n)), n+1, 1+2*(n%2))
		path := filepath.Join(folder, string(rune('a'+n))+".dcm")
		if err := os.WriteFile(path, partFile(t, ds, ts), 0o600); err != nil {
			t.Fatal(err)
		}
		e, _ := expect(t, path)
		generated.Instances = append(generated.Instances, e)
	}
	studies := []expectation{generated}
	for _, name := range []string{
		"pydicom-data/693_J2KR.dcm",
		"pydicom-data/OBXXXX1A_rle_2frame.dcm",
		"pydicom-data/emri_small_jpeg_ls_lossless.dcm",
		"pydicom/test_files/image_dfl.dcm",
		"pydicom-data/SC_rgb_expb.dcm",
		"pydicom/test_files/SC_jpeg_no_color_transform.dcm",
		"pydicom-data/JPEG-LL.dcm",
		"pydicom/test_files/MR_small_implicit.dcm",
		"pydicom-data/liver_deflate.dcm",
	} {
		path, err := filepath.Abs(filepath.Join("..", "..", "shared", "dicom", filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); err != nil {
			t.Logf("without %s, which is not there", name)
			continue
		}
		e, h := expect(t, path)
		study := h.Dataset.String(dicom.TagStudyInstanceUID)
		if slices.ContainsFunc(studies, func(e expectation) bool { return e.Study == study }) {
			t.Fatalf("%s belongs to a study that is there already", name)
		}
		studies = append(studies, expectation{
			Study: study, Series: h.Dataset.String(dicom.TagSeriesInstanceUID), Count: 1,
			Instances: []expectedInstance{e},
		})
	}
	for i := range studies {
		for _, e := range studies[i].Instances {
			studies[i].Store = append(studies[i].Store, e.File)
		}
	}
	return studies
}

// missing skips the test, or fails it where everything has to be there.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("TASVIR_TEST_REQUIRE") == "1" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// script runs one of the scripts in clienttest.
func script(t *testing.T, e []expectation, name string, args ...string) {
	t.Helper()
	input, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", append([]string{filepath.Join(clienttest, name)}, args...)...)
	cmd.Stdin = bytes.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", name, err, out)
	}
}

// needNode skips without node or the npm packages of a folder; where everything
// has to be there it installs the packages from the lock file.
func needNode(t *testing.T, folder, module string) {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		missing(t, "node is not installed")
	}
	installed := func() bool {
		_, err := os.Stat(filepath.Join(folder, "node_modules", module))
		return err == nil
	}
	if installed() {
		return
	}
	if os.Getenv("TASVIR_TEST_REQUIRE") == "1" {
		cmd := exec.CommandContext(t.Context(), filepath.Join("..", "deploy", "npm-ci.sh"), filepath.Join("dicomweb", folder))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("npm packages of %s: %v\n%s", folder, err, out)
		}
	}
	if !installed() {
		missing(t, "%s is not there: run npm ci in %s", module, folder)
	}
}

// The folders of the clients, and the loader that the viewer uses.
var (
	clienttest = "clienttest"
	viewer     = filepath.Join("..", "viewer")
	loader     = filepath.Join(viewer, "node_modules", "@cornerstonejs", "dicom-image-loader")
)

func TestDICOMwebClient(t *testing.T) {
	needNode(t, clienttest, "dicomweb-client")
	server := httptest.NewServer(serve(newArchive()))
	defer server.Close()
	studies := clientStudies(t)
	for i := range studies {
		studies[i].URL = server.URL + "/dicom-web"
	}
	script(t, studies, "dicomweb-client.mjs")
}

// servedStudies are the studies for clients, in an archive that is served until
// the test ends.
func servedStudies(t *testing.T) []expectation {
	t.Helper()
	a := newArchive()
	server := httptest.NewServer(serve(a))
	t.Cleanup(server.Close)
	studies := clientStudies(t)
	for i := range studies {
		for _, path := range studies[i].Store {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			a.put(t, b)
		}
		studies[i].URL = server.URL + "/dicom-web"
	}
	return studies
}

func TestCornerstoneLoader(t *testing.T) {
	needNode(t, viewer, filepath.Join("@cornerstonejs", "dicom-image-loader"))
	studies := servedStudies(t)
	script(t, studies, "cornerstone.mjs", loader)
}

// dcmjs and dicom-parser, which viewers read metadata and files with.
func TestDcmjsAndDicomParser(t *testing.T) {
	needNode(t, clienttest, "dcmjs")
	studies := servedStudies(t)
	script(t, studies, "dcmjs.mjs")
}
