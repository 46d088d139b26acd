package jpeg

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// samples is where other people's files are.
var samples = filepath.Join("..", "..", "..", "..", "shared", "dicom")

// Every JPEG file among the samples has the components that dcmdjpeg gives, or
// both refuse it.
func TestSamplesAgainstDCMTK(t *testing.T) {
	needTool(t, "dcmdjpeg")
	if _, err := os.Stat(samples); err != nil {
		t.Skipf("sample files are absent: %v", err)
	}
	compared := 0
	err := filepath.WalkDir(samples, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		h, file, err := scanFile(path)
		if err != nil || h.PixelData == nil || !h.PixelData.Encapsulated || !isJPEG(h.TransferSyntax) {
			return nil
		}
		t.Run(entry.Name(), func(t *testing.T) {
			if compare(t, path, h, file) {
				compared++
			}
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if compared < 20 {
		t.Errorf("only %d files were compared", compared)
	}
}

// What dcmcjpeg makes of pictures without compression, by every process it has,
// is decoded as dcmdjpeg does.
func TestProcessesAgainstDCMTK(t *testing.T) {
	needTool(t, "dcmcjpeg")
	needTool(t, "dcmdjpeg")
	if _, err := os.Stat(samples); err != nil {
		t.Skipf("sample files are absent: %v", err)
	}
	type job struct {
		file    string
		options [][]string
	}
	var lossless [][]string
	for predictor := 1; predictor <= 7; predictor++ {
		lossless = append(lossless, []string{"+el", "+sv", fmt.Sprint(predictor)})
	}
	lossless = append(lossless, []string{"+e1"}, []string{"+e1", "+pt", "2"}, []string{"+el", "+sv", "4", "+pt", "3"})
	lossy := [][]string{{"+eb"}, {"+eb", "+q", "20"}, {"+ee"}, {"+ee", "+q", "30"}, {"+ep"}, {"+es"}, {"+ep", "+be"}, {"+ee", "+bt"}, {"+ep", "+bt", "+q", "100"}}
	colour := [][]string{{"+eb", "+s2"}, {"+eb", "+s4"}, {"+eb", "+n1"}, {"+eb", "+np"}, {"+eb", "+cr"}, {"+ep", "+s2"}, {"+ep", "+n1"}, {"+ee", "+n1", "+be"}}
	jobs := []job{
		{"cornerstoneWADOImageLoader/testImages/CTImage.dcm_LittleEndianExplicitTransferSyntax_1.2.840.10008.1.2.1.dcm", slices.Concat(lossless, lossy)},
		{"pydicom/test_files/MR_small.dcm", slices.Concat(lossless, lossy)},
		{"pydicom/test_files/SC_rgb.dcm", slices.Concat(lossless, colour)},
		{"pydicom/test_files/SC_rgb_small_odd.dcm", slices.Concat(lossless, colour)},
		{"pydicom/test_files/examples_rgb_color.dcm", slices.Concat(lossless, colour)},
	}
	for _, j := range jobs {
		in := filepath.Join(samples, filepath.FromSlash(j.file))
		if _, err := os.Stat(in); err != nil {
			t.Logf("no %s", j.file)
			continue
		}
		for _, options := range j.options {
			t.Run(filepath.Base(j.file)+strings.Join(options, ""), func(t *testing.T) {
				coded := filepath.Join(t.TempDir(), "coded.dcm")
				if text, err := exec.CommandContext(t.Context(), "dcmcjpeg", append(slices.Clone(options), in, coded)...).CombinedOutput(); err != nil {
					t.Skipf("dcmcjpeg does not do this: %s", text)
				}
				h, file, err := scanFile(coded)
				if err != nil {
					t.Fatal(err)
				}
				if !compare(t, coded, h, file) {
					t.Error("neither side decodes it")
				}
			})
		}
	}
}

// compare decodes all frames and compares them with what dcmdjpeg makes of the
// file. It is false when both refuse.
func compare(t *testing.T, path string, h *dicom.Header, file []byte) bool {
	t.Helper()
	plain := filepath.Join(t.TempDir(), "plain.dcm")
	text, refused := exec.CommandContext(t.Context(), "dcmdjpeg", "+cn", "+px", path, plain).CombinedOutput()
	frames, err := h.Frames()
	if err != nil {
		t.Fatal(err)
	}
	var want []byte
	if refused == nil {
		p, content, err := scanFile(plain)
		if err != nil {
			t.Fatal(err)
		}
		want = content[p.PixelData.Offset:][:p.PixelData.Length]
	}
	for i, f := range frames {
		im, err := Decode(join(file, f), Limits{1 << 30})
		if err != nil {
			if refused == nil {
				t.Errorf("frame %d: %v; dcmdjpeg decodes it", i, err)
			} else {
				t.Logf("frame %d: %v; dcmdjpeg: %s", i, err, text)
			}
			return false
		}
		if refused != nil {
			t.Logf("%+v is decoded; dcmdjpeg: %s", im.Header, text)
			return false
		}
		if allocated, _ := h.Dataset.Int(dicom.TagBitsAllocated); allocated == 16 && im.Precision <= 8 {
			im.Pixels = widened(im.Pixels)
		}
		if len(want) < len(im.Pixels) {
			t.Fatalf("frame %d: %d bytes, dcmdjpeg has %d", i, len(im.Pixels), len(want))
		}
		if off := farthest(im.Pixels, want[:len(im.Pixels)], im.Precision > 8); off > 0 {
			t.Errorf("frame %d: %+v is off by %d", i, im.Header, off)
		}
		want = want[len(im.Pixels):]
	}
	return true
}

// farthest is the largest difference of two samples.
func farthest(a, b []byte, wide bool) (most int) {
	step := 1
	if wide {
		step = 2
	}
	for i := 0; i < len(a); i += step {
		x, y := int(a[i]), int(b[i])
		if wide {
			x, y = x|int(a[i+1])<<8, y|int(b[i+1])<<8
		}
		most = max(most, x-y, y-x)
	}
	return most
}

func widened(pixels []byte) []byte {
	out := make([]byte, 2*len(pixels))
	for i, b := range pixels {
		out[2*i] = b
	}
	return out
}

func join(file []byte, fragments []dicom.Range) []byte {
	var coded []byte
	for _, r := range fragments {
		coded = append(coded, file[r.Offset:r.Offset+r.Length]...)
	}
	return coded
}

func scanFile(path string) (*dicom.Header, []byte, error) {
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	h, err := dicom.Scan(bytes.NewReader(file), dicom.ScanOptions{})
	if err == nil && h.PixelData == nil {
		err = errors.New("no pixel data")
	}
	return h, file, err
}

func isJPEG(ts string) bool {
	const prefix = "1.2.840.10008.1.2.4."
	return strings.HasPrefix(ts, prefix) && len(ts) == len(prefix)+2 && (ts[len(prefix)] == '5' || ts[len(prefix)] == '6' || ts[len(prefix):] == "70")
}

func needTool(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skip("dcmtk is not installed")
	}
}
