package pixel

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// compress compresses a file beside it and returns the copy's path.
func compress(t *testing.T, c *Compressor, path string) (string, error) {
	t.Helper()
	src, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		t.Fatal(err)
	}
	dst, err := os.Create(filepath.Join(t.TempDir(), "copy.dcm"))
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	n, err := c.Compress(t.Context(), src, info.Size(), dst)
	if err != nil {
		return "", err
	}
	if made, err := dst.Stat(); err != nil || made.Size() != n {
		t.Fatalf("the copy has %d bytes, Compress says %d (%v)", made.Size(), n, err)
	}
	return dst.Name(), nil
}

func scan(t *testing.T, path string) (*dicom.Header, []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	h, err := dicom.Scan(dicom.NewSkipReader(bytes.NewReader(data), 0, int64(len(data))), dicom.ScanOptions{})
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return h, data
}

// Every uncompressed sample is either kept or becomes a smaller file that dcmtk
// turns back into the same pixels, with all else unchanged.
func TestCompressSamples(t *testing.T) {
	root := filepath.Join("..", "..", "..", "shared", "dicom")
	if _, err := os.Stat(root); err != nil {
		t.Skipf("sample files are absent: %v", err)
	}
	c := &Compressor{Codecs: newCodecs(t)}
	compressed, kept := 0, 0
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, ".tsv") {
			return err
		}
		copied, err := compress(t, c, path)
		if errors.Is(err, ErrKeep) {
			kept++
			return nil
		}
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return nil
		}
		compressed++
		check(t, path, copied)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d compressed, %d kept", compressed, kept)
	if compressed < 20 {
		t.Errorf("only %d samples were compressed", compressed)
	}
}

func check(t *testing.T, path, copied string) {
	t.Helper()
	before, original := scan(t, path)
	after, data := scan(t, copied)
	if after.TransferSyntax != dicom.JPEGLSLossless || len(data) >= len(original) {
		t.Errorf("%s: %d bytes became %d in %s", path, len(original), len(data), after.TransferSyntax)
	}
	if pd := before.PixelData; !bytes.Equal(original[before.DatasetOffset:pd.Offset-pixelDataHeader], data[after.DatasetOffset:after.PixelData.Offset-pixelDataHeader]) {
		t.Errorf("%s: the data set has changed before the pixel data", path)
	}
	if len(after.PixelData.BasicOffsetTable) != len(after.PixelData.Fragments) {
		t.Errorf("%s: an offset table of %d for %d fragments", path, len(after.PixelData.BasicOffsetTable), len(after.PixelData.Fragments))
	}
	frames, err := after.Frames()
	if want, _ := before.Frames(); err != nil || len(frames) != len(want) {
		t.Fatalf("%s: %d frames, want %d (%v)", path, len(frames), len(want), err)
	}
	plain := filepath.Join(t.TempDir(), "plain.dcm")
	tool, err := exec.LookPath("dcmdjpls")
	if err != nil {
		t.Skip("dcmtk is not installed")
	}
	if out, err := exec.CommandContext(t.Context(), tool, "--planar-auto", copied, plain).CombinedOutput(); err != nil {
		t.Errorf("%s: dcmdjpls: %v: %s", path, err, out)
		return
	}
	back, decoded := scan(t, plain)
	if a, b := frameBytes(t, before, original), frameBytes(t, back, decoded); !bytes.Equal(a, b) {
		t.Errorf("%s: dcmtk decodes other pixels", path)
	}
}

// frameBytes is the frames of an uncompressed file, without a padding byte.
func frameBytes(t *testing.T, h *dicom.Header, data []byte) []byte {
	t.Helper()
	frames, err := h.Frames()
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	for _, ranges := range frames {
		for _, r := range ranges {
			out = append(out, data[r.Offset:r.Offset+r.Length]...)
		}
	}
	return out
}

func TestUsedBits(t *testing.T) {
	for _, c := range []struct {
		bits   int
		pixels []byte
		want   int
	}{
		{12, []byte{0xFF, 0x0F}, 12},
		{12, []byte{0x00, 0x00, 0xFF, 0x1F}, 16}, // an overlay in bit 12
		{12, []byte{0xFF, 0xFF}, 16},             // -1
		{16, []byte{0xFF, 0xFF}, 16},
		{8, []byte{0xFF}, 8},
		{7, []byte{0x7F}, 7},
		{7, []byte{0x80}, 8},
	} {
		if got := (Frame{Format{BitsAllocated: (c.bits + 7) / 8 * 8, BitsStored: c.bits}, c.pixels}).usedBits(); got != c.want {
			t.Errorf("%d bits of % x: %d, want %d", c.bits, c.pixels, got, c.want)
		}
	}
}
