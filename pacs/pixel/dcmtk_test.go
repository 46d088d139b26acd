package pixel

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/jpeg"
)

// Every JPEG and RLE file among the samples gives the pixels that DCMTK gives, in
// every bit, lossy ones and their colours included.
func TestSamplesAgainstDCMTK(t *testing.T) {
	root := filepath.Join("..", "..", "..", "shared", "dicom")
	if _, err := os.Stat(root); err != nil {
		t.Skipf("sample files are absent: %v", err)
	}
	compared := map[string]int{}
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		h, err := dicom.Scan(file, dicom.ScanOptions{})
		file.Close()
		tool, ok := toolOf(h)
		if err != nil || !ok || h.PixelData == nil {
			return nil
		}
		t.Run(entry.Name(), func(t *testing.T) {
			if sameAsDCMTK(t, tool, path) {
				compared[tool]++
			}
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if compared["dcmdjpeg"] < 20 || compared["dcmdrle"] < 10 {
		t.Errorf("only %v files were compared", compared)
	}
}

// What is encoded is read by DCMTK and gives the same pixels there.
func TestEncodedForDCMTK(t *testing.T) {
	path := filepath.Join("..", "..", "..", "shared", "dicom", "pydicom", "test_files")
	if _, err := os.Stat(path); err != nil {
		t.Skipf("sample files are absent: %v", err)
	}
	for _, name := range []string{"MR_small.dcm", "examples_rgb_color.dcm", "SC_rgb_small_odd.dcm", "CT_small.dcm"} {
		h, data := scan(t, filepath.Join(path, name))
		plain := frameBytes(t, h, data)
		f, err := FormatOf(h.Dataset)
		if err != nil {
			t.Fatal(err)
		}
		frame := Frame{f, plain[:f.FrameSize()]}
		for _, ts := range []string{dicom.RLELossless, dicom.JPEGLosslessSV1, dicom.JPEGBaseline8Bit} {
			coded, as, err := (&Codecs{}).Encode(t.Context(), ts, frame, EncodeOptions{})
			if ts == dicom.JPEGBaseline8Bit && f.BitsAllocated > 8 {
				if pacs.CodeOf(err) != pacs.Unsupported {
					t.Errorf("%s as baseline: %v", name, err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			made := filepath.Join(t.TempDir(), "made.dcm")
			if err := os.WriteFile(made, encapsulated(t, h, ts, as, coded), 0o600); err != nil {
				t.Fatal(err)
			}
			h, _ := scan(t, made)
			tool, _ := toolOf(h)
			if !sameAsDCMTK(t, tool, made) {
				t.Errorf("%s in %s is not read", name, ts)
			}
			if ts != dicom.JPEGBaseline8Bit && !bytes.Equal(byGDCM(t, made)[:f.FrameSize()], frame.byPixel().Pixels) {
				t.Errorf("%s in %s has other pixels in GDCM", name, ts)
			}
		}
	}
}

// byGDCM is the pixel data of a file without compression.
func byGDCM(t *testing.T, path string) []byte {
	t.Helper()
	if _, err := exec.LookPath("gdcmconv"); err != nil {
		t.Skip("gdcm is not installed")
	}
	plain := filepath.Join(t.TempDir(), "plain.dcm")
	if text, err := exec.CommandContext(t.Context(), "gdcmconv", "--raw", path, plain).CombinedOutput(); err != nil {
		t.Fatalf("gdcmconv: %v: %s", err, text)
	}
	h, data := scan(t, plain)
	return frameBytes(t, h, data)
}

// encapsulated is a file with one frame.
func encapsulated(t *testing.T, h *dicom.Header, ts string, as Format, coded []byte) []byte {
	t.Helper()
	meta, ds := &dicom.Dataset{}, &dicom.Dataset{}
	for _, e := range h.Dataset.Elements {
		if e.Tag < dicom.TagPixelData && e.Tag&0xFFFF != 0 {
			ds.Elements = append(ds.Elements, e)
		}
	}
	ds.SetString(dicom.TagPhotometricInterpretation, dicom.CS, as.Photometric)
	meta.SetString(dicom.TagTransferSyntaxUID, dicom.UI, ts)
	group, err := dicom.AppendDataset(nil, meta, dicom.ExplicitVRLittleEndian)
	if err != nil {
		t.Fatal(err)
	}
	out := append(make([]byte, 128), "DICM"...)
	out = append(out, 2, 0, 0, 0, 'U', 'L', 4, 0, byte(len(group)), 0, 0, 0)
	if out, err = dicom.AppendDataset(append(out, group...), ds, dicom.ExplicitVRLittleEndian); err != nil {
		t.Fatal(err)
	}
	n := len(coded)
	out = append(out, 0xE0, 0x7F, 0x10, 0, 'O', 'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE, 0xFF, 0, 0xE0, 0, 0, 0, 0)
	out = append(out, 0xFE, 0xFF, 0, 0xE0, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
	return append(append(out, coded...), 0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0)
}

func toolOf(h *dicom.Header) (string, bool) {
	switch {
	case h == nil:
		return "", false
	case h.TransferSyntax == dicom.RLELossless:
		return "dcmdrle", true
	case h.TransferSyntax == dicom.JPEGLosslessSV1, strings.HasPrefix(h.TransferSyntax, "1.2.840.10008.1.2.4.5"):
		return "dcmdjpeg", true
	}
	return "", false
}

// sameAsDCMTK compares all frames of a file. It is false when DCMTK can't read it.
func sameAsDCMTK(t *testing.T, tool, path string) bool {
	t.Helper()
	if _, err := exec.LookPath(tool); err != nil {
		t.Skip("dcmtk is not installed")
	}
	h, data := scan(t, path)
	plain := filepath.Join(t.TempDir(), "plain.dcm")
	text, refused := exec.CommandContext(t.Context(), tool, path, plain).CombinedOutput()
	frames, err := h.Frames()
	if err != nil {
		t.Fatal(err)
	}
	f, err := FormatOf(h.Dataset)
	if err != nil {
		t.Fatal(err)
	}
	var theirs []byte
	var as Format
	if refused == nil {
		p, content := scan(t, plain)
		theirs = content[p.PixelData.Offset:][:p.PixelData.Length]
		if as, err = FormatOf(p.Dataset); err != nil {
			t.Fatal(err)
		}
	}
	c := &Codecs{}
	for i, fragments := range frames {
		var coded []byte
		for _, r := range fragments {
			coded = append(coded, data[r.Offset:r.Offset+r.Length]...)
		}
		ours, err := c.Decode(t.Context(), h.TransferSyntax, f, coded)
		if err != nil {
			t.Errorf("frame %d: %v", i+1, err)
			return false
		}
		if refused != nil {
			t.Logf("%s does not read it: %s", tool, text)
			return false
		}
		size := as.FrameSize()
		if int64(len(theirs)) < size {
			t.Fatalf("frame %d: only %d bytes from %s", i+1, len(theirs), tool)
		}
		if want := (Frame{as, theirs[:size]}).byPixel(); !bytes.Equal(ours.Pixels, want.Pixels) || ours.Photometric != as.Photometric {
			t.Errorf("frame %d of %+v: other pixels than those of %s, %+v", i+1, ours.Format, tool, as)
		}
		theirs = theirs[size:]
	}
	return true
}

// What stream and attributes say of colour, and who is believed.
func TestColourOfJPEG(t *testing.T) {
	plain := picture(16, 16, 3, 8)
	plain.Photometric = RGB
	coded, as, err := (&Codecs{}).Encode(t.Context(), dicom.JPEGBaseline8Bit, plain, EncodeOptions{Quality: 100})
	if err != nil || as.Photometric != YBRFull422 {
		t.Fatal(err, as)
	}
	jfif := bytes.Join([][]byte{coded[:2], {0xFF, 0xE0, 0, 16}, []byte("JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"), coded[2:]}, nil)
	lossless, _, err := (&Codecs{}).Encode(t.Context(), dicom.JPEGLosslessSV1, plain, EncodeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	stored, err := jpeg.Decode(coded, jpeg.Limits{Size: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	converted := jpeg.Image{Header: stored.Header, Pixels: bytes.Clone(stored.Pixels)}
	converted.ToRGB()
	// No subsampling and no segment that says anything.
	silent, err := jpeg.Decode(lossless, jpeg.Limits{Size: 1 << 20})
	if err != nil || silent.Colour != jpeg.Unspecified {
		t.Fatal(err, silent.Colour)
	}
	for name, c := range map[string]struct {
		coded       []byte
		photometric string
		want        []byte
		as          string
	}{
		"subsampled, as it says":             {coded, YBRFull422, converted.Pixels, RGB},
		"subsampled, RGB says the attribute": {coded, RGB, converted.Pixels, RGB},
		"JFIF, RGB says the attribute":       {jfif, RGB, converted.Pixels, RGB},
		"lossless stays RGB":                 {lossless, RGB, plain.Pixels, RGB},
		"lossless stays YBR_FULL":            {lossless, YBRFull, plain.Pixels, YBRFull},
		"lossless has all its chroma":        {lossless, YBRFull422, plain.Pixels, YBRFull},
	} {
		f := plain.Format
		f.Photometric = c.photometric
		got, err := (&Codecs{}).Decode(t.Context(), dicom.JPEGBaseline8Bit, f, c.coded)
		if err != nil || !bytes.Equal(got.Pixels, c.want) || got.Photometric != c.as {
			t.Errorf("%s: %s (%v)", name, got.Photometric, err)
		}
	}
}

// A stream of another size than the attributes say is refused before anything
// is allocated for it.
func TestJPEGOfAnotherSize(t *testing.T) {
	f := picture(16, 16, 1, 8)
	for _, ts := range []string{dicom.JPEGBaseline8Bit, dicom.JPEGLosslessSV1, dicom.RLELossless} {
		coded, as, err := (&Codecs{}).Encode(t.Context(), ts, f, EncodeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		as.Rows = 2000
		if _, err := (&Codecs{}).Decode(t.Context(), ts, as, coded); pacs.CodeOf(err) != pacs.Invalid {
			t.Errorf("%s: %v", ts, err)
		}
		if _, err := (&Codecs{}).Decode(t.Context(), ts, f.Format, coded[:len(coded)/2]); pacs.CodeOf(err) != pacs.Invalid {
			t.Errorf("half of %s: %v", ts, err)
		}
	}
}
