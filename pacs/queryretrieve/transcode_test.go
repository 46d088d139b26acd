package queryretrieve

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse/peertest"
	"github.com/tasvir-pacs/tasvir/pacs/pixel"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/pixeltest"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/transcode"
)

// samplesOf decodes all frames of a PS3.10 file.
func samplesOf(t *testing.T, codecs *pixel.Codecs, file []byte) (samples []byte, h *dicom.Header) {
	t.Helper()
	h, err := dicom.Scan(bytes.NewReader(file), dicom.ScanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	format, err := pixel.FormatOf(h.Dataset)
	if err != nil {
		t.Fatal(err)
	}
	frames, err := h.Frames()
	if err != nil {
		t.Fatal(err)
	}
	for _, ranges := range frames {
		var coded []byte
		for _, r := range ranges {
			coded = append(coded, file[r.Offset:r.Offset+r.Length]...)
		}
		frame, err := codecs.Decode(t.Context(), h.TransferSyntax, format, coded)
		if err != nil {
			t.Fatal(err)
		}
		samples = append(samples, frame.Pixels...)
	}
	return samples, h
}

// Images that came as JPEG 2000 go to who takes other transfer syntaxes, with the
// same samples: dcmtk's getscu and storescp, and Orthanc.
func TestInteropTranscoded(t *testing.T) {
	codecs := pixeltest.Codecs(t)
	a := newArchive(t, func(p *Provider) { p.Transcoder = &transcode.Transcoder{Codecs: codecs} })
	want := map[string][]byte{}
	var studies []string
	for _, name := range []string{"pydicom-data/emri_small_jpeg_2k_lossless.dcm", "pydicom/test_files/MR_small_jp2klossless.dcm"} {
		file, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "dicom", name))
		if err != nil {
			t.Skipf("sample files are absent: %v", err)
		}
		samples, h := samplesOf(t, codecs, file)
		sop := h.Dataset.String(dicom.TagSOPInstanceUID)
		want[sop] = samples
		studies = append(studies, h.Dataset.String(dicom.TagStudyInstanceUID))
		a.take("URGUT", h.TransferSyntax, h.Dataset.String(dicom.TagSOPClassUID), sop, bytes.NewReader(file[h.DatasetOffset:]))
	}
	a.settled()
	check := func(who string, file []byte, syntaxes ...string) {
		t.Helper()
		samples, h := samplesOf(t, codecs, file)
		sop := h.Dataset.String(dicom.TagSOPInstanceUID)
		if !bytes.Equal(samples, want[sop]) || !slices.Contains(syntaxes, h.Declared) {
			t.Errorf("%s got %s in %s, %d bytes of samples for %d", who, sop, h.Declared, len(samples), len(want[sop]))
		}
	}
	inFolder := func(who, dir, out string, count int, syntaxes ...string) {
		t.Helper()
		list, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil || len(list) != count {
			t.Fatalf("%s got %d instances: %s", who, len(list), out)
		}
		for _, path := range list {
			file, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			check(who, file, syntaxes...)
		}
	}
	host, port, _ := net.SplitHostPort(a.address)
	for option, syntaxes := range map[string][]string{
		"+xe": {dicom.ExplicitVRLittleEndian}, "+xi": {dicom.ImplicitVRLittleEndian, dicom.ExplicitVRLittleEndian}, // which it offers all the same
		"+xt": {dicom.JPEGLSLossless, dicom.ExplicitVRLittleEndian}, // it offers both in one context
	} {
		for _, study := range studies {
			dir := t.TempDir()
			out := run(t, "getscu", "-v", "-S", "+B", option, "-aet", "WS1", "-aec", "TASVIR", "-od", dir, "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID="+study, host, port)
			inFolder("getscu "+option, dir, out, 1, syntaxes...)
		}
	}

	// A destination that is registered for JPEG-LS, and storescp takes all, gets it;
	// one that takes uncompressed images only gets these.
	dir, tool := t.TempDir(), peertest.Path(t, "storescp")
	addresses, stop := peertest.Serve(t, 1, func(ports []string) *exec.Cmd { return exec.Command(tool, "-od", dir, "+B", "+xa", ports[0]) })
	o := peertest.StartOrthanc(t, a.address)
	a.stations.set(directory{
		"STORESCP": {Address: addresses[0], TransferSyntaxes: []string{dicom.JPEGLSLossless, dicom.ExplicitVRLittleEndian}},
		"ORTHANC":  {Address: o.DICOM, TransferSyntaxes: []string{dicom.ExplicitVRLittleEndian}},
	})
	c := a.dial("WS1", nil, studyMove)
	for _, destination := range []string{"STORESCP", "ORTHANC"} {
		for _, study := range studies {
			r, err := c.Move(t.Context(), studyMove, destination, identifier("STUDY", dicom.TagStudyInstanceUID, study), nil)
			if err != nil || r.Completed != 1 {
				t.Errorf("%s: %+v, %v", destination, r, err)
			}
		}
	}
	stop()
	inFolder("storescp", dir, "", len(want), dicom.JPEGLSLossless)
	var instances []string
	o.Call("GET", "/instances", nil, &instances)
	if len(instances) != len(want) {
		t.Errorf("Orthanc has %d instances", len(instances))
	}
	for _, id := range instances {
		check("Orthanc", o.Get("/instances/"+id+"/file"), dicom.ExplicitVRLittleEndian)
	}
}
