package retention

import (
	"bytes"
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// TestDeletePixelsTakesIcons: the icon of a picture goes with it, and what the
// metadata say of other values is where they say.
func TestDeletePixelsTakesIcons(t *testing.T) {
	s := openSite(t)
	private, value := dicom.NewTag(0x0099, 0x1010), bytes.Repeat([]byte("value"), 100<<10)
	images := pictures()[:1]
	images[0].more = func(ds *dicom.Dataset) {
		icon := (&dicom.Dataset{}).SetInts(dicom.TagRows, dicom.US, 64).SetBytes(dicom.TagPixelData, dicom.OW, make([]byte, 4096))
		ds.SetSequence(dicom.TagIconImageSequence, icon)
		ds.SetString(dicom.NewTag(0x0099, 0x0010), dicom.LO, "OURS")
		ds.SetBytes(private, dicom.OB, value)
	}
	s.receive(images...)
	s.age(one, 400)
	before := s.instances(one)[one+".1.1"].Location.Length
	s.enabled(Policy{Action: DeletePixels, Days: 365})
	s.pass()

	i := s.instances(one)[one+".1.1"]
	file := s.file(i)
	h, err := dicom.Scan(bytes.NewReader(file), dicom.ScanOptions{MaxValue: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if _, has := h.Dataset.Get(dicom.TagIconImageSequence); has || i.Location.Length > before-4096 {
		t.Errorf("the icon is still there: %d bytes of %d", i.Location.Length, before)
	}
	if e, _ := h.Dataset.Get(private); !bytes.Equal(e.Value, value) {
		t.Error("another value has changed")
	}
	m, err := s.packs.Metadata(t.Context(), pacs.System("test"), one, one+".1")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Body.Close()
	objects := unzipJSON(t, m.Body)
	if _, has := objects[0]["00880200"]; has || len(objects) != 1 {
		t.Errorf("the metadata speak of the icon: %v", has)
	}
	var bulk struct{ BulkDataURI string }
	if err := json.Unmarshal(objects[0]["00991010"], &bulk); err != nil {
		t.Fatal(err)
	}
	uri, err := url.Parse(bulk.BulkDataURI)
	if err != nil {
		t.Fatal(err)
	}
	offset, _ := strconv.Atoi(uri.Query().Get("offset"))
	length, _ := strconv.Atoi(uri.Query().Get("length"))
	if offset <= 0 || offset+length > len(file) || !bytes.Equal(file[offset:offset+length], value) {
		t.Errorf("the value is not at %s", bulk.BulkDataURI)
	}
	s.wantSoundPacks()
}

// TestDeletePixelsOfRealFiles: encapsulated and plain ones, one with an icon;
// dcmdump reads what is left, and finds all that is not pixel data.
func TestDeletePixelsOfRealFiles(t *testing.T) {
	dcmdump, err := exec.LookPath("dcmdump")
	if err != nil {
		t.Skip("dcmdump is not installed")
	}
	const samples, loader = "../../../shared/dicom", "cornerstoneWADOImageLoader/testImages/"
	s := openSite(t)
	for _, name := range []string{
		"debian-nibabel/slicethickness_empty_string.dcm", // JPEG 2000, with an icon
		loader + "CTImage.dcm_JPEGLSLosslessTransferSyntax_1.2.840.10008.1.2.4.80.dcm",
		loader + "CTImage.dcm_BigEndianExplicitTransferSyntax_1.2.840.10008.1.2.2.dcm",
		loader + "CTImage.dcm_DeflatedExplicitVRLittleEndianTransferSyntax_1.2.840.10008.1.2.1.99.dcm",
		loader + "CTImage.dcm_LittleEndianImplicitTransferSyntax_1.2.840.10008.1.2.dcm",
	} {
		original, err := os.ReadFile(filepath.Join(samples, name))
		if err != nil {
			t.Skipf("sample files are absent: %v", err)
		}
		h, err := dicom.Scan(bytes.NewReader(original), dicom.ScanOptions{})
		if err != nil {
			t.Fatal(err)
		}
		study, sop := h.Dataset.String(dicom.TagStudyInstanceUID), h.Dataset.String(dicom.TagSOPInstanceUID)
		s.exec(`DELETE FROM retention_policy`)
		s.receiveAll(pacs.Incoming{Data: bytes.NewReader(original), Channel: pacs.ChannelDIMSE, Facility: "A", Sender: "CT1"})
		s.age(study, 400)
		s.enabled(Policy{Action: DeletePixels, Days: 365})
		s.pass()
		i := s.instances(study)[sop]
		if i.PixelsDeleted == nil {
			t.Errorf("%s: %+v", name, i)
			continue
		}
		dump := func(what string, file []byte) string {
			t.Helper()
			path := filepath.Join(t.TempDir(), "it.dcm")
			if err := os.WriteFile(path, file, 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.CommandContext(t.Context(), dcmdump, path).CombinedOutput()
			if err != nil || bytes.Contains(out, []byte("E: ")) || bytes.Contains(out, []byte("W: ")) {
				t.Errorf("%s of %s: %v\n%s", what, name, err, out)
			}
			return string(out)
		}
		// Line by line, what dcmdump says of the original up to the pixel data,
		// but for the icon, is what it says of the rest.
		var want []string
		icon := false
		for line := range strings.Lines(dump("the original", original)) {
			switch {
			case strings.HasPrefix(line, "(7fe0,"):
				line = ""
				icon = true // to the end
			case strings.HasPrefix(line, "(0088,0200)"):
				icon = true
			case strings.HasPrefix(line, "(") && !strings.HasPrefix(line, "(fffe,") && !strings.HasPrefix(line, "(7fe0,"):
				icon = false
			}
			if !icon {
				want = append(want, line)
			}
		}
		if got := dump("what is left", s.file(i)); got != strings.Join(want, "") {
			t.Errorf("%s: dcmdump reads\n%s\nwant\n%s", name, got, strings.Join(want, ""))
		}
	}
}
