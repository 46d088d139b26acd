// Package pixeltest gives tests the real codecs, and compares what these made
// with what other tools read. The test binary is its own codecs' process:
// TestMain begins with
//
//	if pixeltest.Serve() {
//		return
//	}
package pixeltest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/pixel"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/charls"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/openjpeg"
)

// codecVariable tells a test binary that it is the codecs' process.
const codecVariable = "TASVIR_TEST_CODECS"

// Serve is the whole life of the codecs' process, when this is one: it returns
// true when that is over, and false at once in a test.
func Serve() bool {
	if os.Getenv(codecVariable) == "" {
		return false
	}
	// No limit on memory: the race detector has reserved more already.
	if err := pixel.ServeCodecs(os.Stdin, os.Stdout, 0); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

// Compressor is the real one, which ends with the test. A test is skipped when
// the build has no codec.
func Compressor(t testing.TB) *pixel.Compressor {
	t.Helper()
	return &pixel.Compressor{Codecs: Codecs(t)}
}

// Available says whether this build has all codecs.
const Available = charls.Available && openjpeg.Available

// Codecs are the real ones, which end with the test. A test is skipped when the
// build has not all of them.
func Codecs(t testing.TB) *pixel.Codecs {
	t.Helper()
	if !Available {
		if os.Getenv("TASVIR_TEST_REQUIRE") != "" {
			t.Fatal("the tests must be built with -tags charls,openjpeg")
		}
		t.Skip("built without -tags charls,openjpeg: codecs are missing")
	}
	w := &pixel.Worker{Command: []string{os.Args[0]}, Env: []string{codecVariable + "=1"}}
	t.Cleanup(w.Close)
	return &pixel.Codecs{Worker: w}
}

// Check compares a compressed PS3.10 file with the one that was received: the
// same attributes in the same bytes, and, as dcmtk decodes them, the same
// pixels.
func Check(t testing.TB, name string, received, kept []byte) {
	t.Helper()
	before, after := scan(t, name, received), scan(t, name, kept)
	if after.TransferSyntax != dicom.JPEGLSLossless || after.Declared != dicom.JPEGLSLossless {
		t.Errorf("%s is %s and says %s", name, after.TransferSyntax, after.Declared)
		return
	}
	const header = 12 // of Pixel Data
	if !bytes.Equal(received[before.DatasetOffset:before.PixelData.Offset-header], kept[after.DatasetOffset:after.PixelData.Offset-header]) {
		t.Errorf("%s has other attributes", name)
	}
	tool, err := exec.LookPath("dcmdjpls")
	if err != nil {
		t.Skip("dcmtk is not installed")
	}
	in, out := filepath.Join(t.TempDir(), "in.dcm"), filepath.Join(t.TempDir(), "out.dcm")
	if err := os.WriteFile(in, kept, 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := exec.CommandContext(t.Context(), tool, "--planar-auto", in, out).CombinedOutput(); err != nil {
		t.Fatalf("%s: dcmdjpls: %v: %s", name, err, text)
	}
	plain, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(frames(t, before, received), frames(t, scan(t, name, plain), plain)) {
		t.Errorf("%s has other pixels", name)
	}
}

func scan(t testing.TB, name string, file []byte) *dicom.Header {
	t.Helper()
	h, err := dicom.Scan(bytes.NewReader(file), dicom.ScanOptions{})
	if err != nil || h.PixelData == nil {
		t.Fatalf("%s: %v", name, err)
	}
	return h
}

// frames are the bytes of the frames of an uncompressed file, without padding.
func frames(t testing.TB, h *dicom.Header, file []byte) (pixels []byte) {
	t.Helper()
	found, err := h.Frames()
	if err != nil || h.PixelData.Encapsulated {
		t.Fatalf("%s: %v", h.TransferSyntax, err)
	}
	for _, ranges := range found {
		for _, r := range ranges {
			pixels = append(pixels, file[r.Offset:r.Offset+r.Length]...)
		}
	}
	return pixels
}
