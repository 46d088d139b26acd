package pixel

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// decodeFile decodes all frames of a PS3.10 file, colour by pixel.
func decodeFile(t *testing.T, c *Codecs, h *dicom.Header, data []byte) ([]Frame, error) {
	t.Helper()
	f, err := FormatOf(h.Dataset)
	if err != nil {
		return nil, err
	}
	if h.Deflated {
		if data, err = io.ReadAll(flate.NewReader(bytes.NewReader(data[h.DatasetOffset:]))); err != nil {
			return nil, err
		}
	}
	frames, err := h.Frames()
	if err != nil {
		return nil, err
	}
	var out []Frame
	for _, ranges := range frames {
		var coded []byte
		for _, r := range ranges {
			coded = append(coded, data[r.Offset:r.Offset+r.Length]...)
		}
		frame, err := c.Decode(t.Context(), h.TransferSyntax, f, coded)
		if err != nil {
			return nil, err
		}
		if frame.BitsAllocated == 1 { // as gdcm gives it
			var bits []byte
			for i := range frame.Columns * frame.Rows {
				bits = append(bits, frame.Pixels[i/8]>>(i%8)&1)
			}
			frame.BitsAllocated, frame.Pixels = 8, bits
		}
		out = append(out, frame.byPixel())
	}
	return out, nil
}

// apart is how far two frames are from one another at most, -1 when they are of
// different kinds.
func apart(a, b Frame) int {
	if a.Columns != b.Columns || a.Rows != b.Rows || a.Samples != b.Samples || a.BitsAllocated != b.BitsAllocated || len(a.Pixels) != len(b.Pixels) {
		return -1
	}
	most := 0
	width := a.BitsAllocated / 8
	for i := 0; i+width <= len(a.Pixels); i += width {
		d := a.value(i) - b.value(i)
		most = max(most, d, -d)
	}
	return most
}

// value is the sample at a byte: the bits that are stored.
func (f Frame) value(at int) int {
	var v uint64
	switch f.BitsAllocated {
	case 8:
		v = uint64(f.Pixels[at])
	case 16:
		v = uint64(binary.LittleEndian.Uint16(f.Pixels[at:]))
	default:
		v = uint64(binary.LittleEndian.Uint32(f.Pixels[at:]))
	}
	v = v << (63 - f.HighBit)
	if f.Signed {
		return int(int64(v) >> (64 - f.BitsStored))
	}
	return int(v >> (64 - f.BitsStored))
}

// alone are the files that no other program's picture stands for, and why.
var alone = map[string]string{
	"pydicom-data/HTJ2KLossless_08_RGB.dcm": "neither dcmtk 3.6.7 nor gdcm 3.0.21 decodes HTJ2K; TestOneImageInAllEncodings has OpenJPH",
	"pydicom-data/liver_deflate.dcm":        "neither dcmtk 3.6.7 nor gdcm 3.0.21 knows Deflated Image Frame Compression",
	// RLE of 1 bit is neither's; these are the same pictures.
	"pydicom-data/liver_rle.dcm":                 "liver_j2k.dcm",
	"pydicom-data/liver_nonbyte_aligned_rle.dcm": "liver_nonbyte_aligned_j2k.dcm",
	// Their 32-bit samples were written with the highest byte first, as the same
	// picture in little endian shows; dcmtk goes by OW and turns 16 bits round.
	"pydicom/test_files/rtdose_expb.dcm":        "rtdose.dcm",
	"pydicom/test_files/rtdose_expb_1frame.dcm": "rtdose_1frame.dcm",
}

// undecodable are the files that have no picture for us, and why.
var undecodable = map[string]string{
	"pydicom/test_files/JPEG2000-embedded-sequence-delimiter.dcm": "its codestream was overwritten with a delimiter: no other program decodes it either",
	"pydicom/test_files/SC_rgb_small_odd_big_endian.dcm":          "27 bytes in 16-bit words: the last is in the padding, outside of the frame",
}

// Every sample file with coded pixel data gives the samples that dcmtk or gdcm
// give.
func TestCorpusLikeOthers(t *testing.T) {
	root := filepath.Join("..", "..", "..", "shared", "dicom")
	if _, err := os.Stat(root); err != nil {
		t.Skipf("sample files are absent: %v", err)
	}
	c := newCodecs(t)
	compared := map[string]int{}
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, ".tsv") {
			return err
		}
		name, _ := filepath.Rel(root, path)
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		h, err := dicom.Scan(bytes.NewReader(data), dicom.ScanOptions{})
		if err != nil || h.PixelData == nil || h.PixelData.Tag != dicom.TagPixelData || h.TransferSyntax == dicom.ExplicitVRLittleEndian || h.TransferSyntax == dicom.ImplicitVRLittleEndian {
			return nil
		}
		if !c.Decodes(h.TransferSyntax) {
			t.Logf("%s: %s is not decoded", name, h.TransferSyntax)
			return nil
		}
		got, err := decodeFile(t, c, h, data)
		if _, known := undecodable[name]; known != (err != nil) {
			t.Errorf("%s (%s): %v", name, h.TransferSyntax, err)
		}
		if err != nil {
			return nil
		}
		plain, tool := []byte(nil), ""
		if why := alone[name]; strings.HasSuffix(why, ".dcm") {
			if plain, err = os.ReadFile(filepath.Join(filepath.Dir(path), why)); err != nil {
				return err
			}
			tool = why
		} else if plain, tool = uncompressed(t, path, h.TransferSyntax); plain == nil {
			if why == "" {
				t.Errorf("%s (%s): no other program decodes it", name, h.TransferSyntax)
			}
			return nil
		}
		theirs, err := dicom.Scan(bytes.NewReader(plain), dicom.ScanOptions{})
		if err != nil {
			t.Errorf("%s: %s: %v", name, tool, err)
			return nil
		}
		want, err := decodeFile(t, c, theirs, plain)
		if err != nil || len(want) != len(got) {
			t.Errorf("%s: %d frames, %s makes %d (%v)", name, len(got), tool, len(want), err)
			return nil
		}
		compared[h.TransferSyntax]++
		for i := range got {
			if d := apart(got[i], want[i]); d != 0 {
				t.Errorf("%s (%s), frame %d: %d from %s: %+v, %+v", name, h.TransferSyntax, i+1, d, tool, got[i].Format, want[i].Format)
				break
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(compared)
}

// uncompressed is a file as another program decodes it, nil when none can.
func uncompressed(t *testing.T, path, transferSyntax string) (file []byte, tool string) {
	t.Helper()
	tools := [][]string{{"gdcmconv", "--raw"}}
	switch {
	case strings.HasPrefix(transferSyntax, "1.2.840.10008.1.2.4.8"):
		tools = append([][]string{{"dcmdjpls", "--planar-auto"}}, tools...)
	case strings.HasPrefix(transferSyntax, "1.2.840.10008.1.2.4.5"), transferSyntax == dicom.JPEGLosslessSV1:
		tools = append([][]string{{"dcmdjpeg", "--planar-auto"}}, tools...)
	case transferSyntax == dicom.RLELossless:
		tools = append([][]string{{"dcmdrle"}}, tools...)
	case transferSyntax == dicom.ExplicitVRBigEndian:
		tools = append([][]string{{"dcmconv", "+te"}}, tools...)
	}
	for _, command := range tools {
		out := filepath.Join(t.TempDir(), "out.dcm")
		if err := exec.CommandContext(t.Context(), command[0], append(command[1:], path, out)...).Run(); err != nil {
			continue
		}
		if data, err := os.ReadFile(out); err == nil {
			return data, command[0]
		}
	}
	return nil, ""
}
