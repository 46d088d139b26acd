package pixel

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// netpbm writes a picture as PGM or PPM: samples of more than 8 bits with the
// highest byte first.
func netpbm(t *testing.T, f Frame) string {
	t.Helper()
	kind, name := "P5", "in.pgm"
	if f.Samples == 3 {
		kind, name = "P6", "in.ppm"
	}
	out := fmt.Appendf(nil, "%s\n%d %d\n%d\n", kind, f.Columns, f.Rows, 1<<f.BitsStored-1)
	if f.BitsAllocated == 16 {
		for i := 0; i < len(f.Pixels); i += 2 {
			out = append(out, f.Pixels[i+1], f.Pixels[i])
		}
	} else {
		out = append(out, f.Pixels...)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, out, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// tool finds a program of others.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("TASVIR_TEST_REQUIRE") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return path
}

// One image in all the encodings that others make of it gives the same samples:
// OpenJPEG's and OpenJPH's own programs with their options.
func TestOneImageInAllEncodings(t *testing.T) {
	c := newCodecs(t)
	opj, ojph := tool(t, "opj_compress"), tool(t, "ojph_compress")
	for name, f := range map[string]Frame{"8 bits": picture(150, 70, 1, 8), "12 bits": picture(150, 70, 1, 12), "16 bits": picture(150, 70, 1, 16), "colour": picture(150, 70, 3, 8)} {
		in := netpbm(t, f)
		for _, e := range []struct {
			ts, suffix, program string
			options             []string
		}{
			{dicom.JPEG2000Lossless, "j2k", opj, nil},
			{dicom.JPEG2000Lossless, "j2k", opj, []string{"-t", "64,64", "-p", "RPCL", "-n", "3"}},
			{dicom.JPEG2000Lossless, "j2k", opj, []string{"-r", "20,5,1", "-SOP", "-EPH", "-b", "32,32"}},
			{dicom.JPEG2000Lossless, "jp2", opj, nil}, // a file, which PS3.5 A.4.4 forbids and some write
			{dicom.HTJ2KLossless, "j2c", ojph, []string{"-reversible", "true"}},
			{dicom.HTJ2KLosslessRPCL, "j2c", ojph, []string{"-reversible", "true", "-prog_order", "RPCL", "-block_size", "{32,32}"}},
		} {
			out := filepath.Join(t.TempDir(), "out."+e.suffix)
			if text, err := exec.CommandContext(t.Context(), e.program, append([]string{"-i", in, "-o", out}, e.options...)...).CombinedOutput(); err != nil {
				t.Fatalf("%s %v: %v: %s", e.program, e.options, err, text)
			}
			coded, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			if back, err := c.Decode(t.Context(), e.ts, f.Format, coded); err != nil || !bytes.Equal(back.Pixels, f.Pixels) || back.Photometric != f.Photometric {
				t.Errorf("%s by %s %v: other samples (%v)", name, filepath.Base(e.program), e.options, err)
			}
		}
	}
}

// One instance in the encodings that dcmtk and gdcm make of it.
func TestOneInstanceInAllEncodings(t *testing.T) {
	c := newCodecs(t)
	root := filepath.Join("..", "..", "..", "shared", "dicom")
	if _, err := os.Stat(root); err != nil {
		t.Skipf("sample files are absent: %v", err)
	}
	decode := func(path string) []Frame {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		h, err := dicom.Scan(bytes.NewReader(data), dicom.ScanOptions{})
		if err != nil {
			t.Fatal(err)
		}
		frames, err := decodeFile(t, c, h, data)
		if err != nil {
			t.Fatalf("%s: %v", h.TransferSyntax, err)
		}
		return frames
	}
	for _, name := range []string{"pydicom/test_files/MR_small.dcm", "pydicom/test_files/CT_small.dcm", "pydicom-data/SC_rgb.dcm"} {
		want := decode(filepath.Join(root, name))
		for _, command := range [][]string{
			{"dcmconv", "+ti"},
			{"dcmconv", "+tb"},
			{"dcmconv", "+td"},
			{"dcmcrle"},
			{"dcmcjpls"},
			{"dcmcjpls", "+il"},
			{"dcmcjpls", "+is"},
			{"dcmcjpeg"},
			{"gdcmconv", "--j2k"},
			{"gdcmconv", "--jpegls"},
			{"gdcmconv", "--jpeg"},
			{"gdcmconv", "--rle"},
		} {
			out := filepath.Join(t.TempDir(), "out.dcm")
			if text, err := exec.CommandContext(t.Context(), tool(t, command[0]), append(command[1:], filepath.Join(root, name), out)...).CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %v: %s", name, command, err, text)
				continue
			}
			got := decode(out)
			if len(got) != len(want) || apart(got[0], want[0]) != 0 || got[0].Photometric != want[0].Photometric {
				t.Errorf("%s by %v has other samples: %+v", name, command, got[0].Format)
			}
		}
	}
}
