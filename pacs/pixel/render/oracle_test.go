package render

import (
	"bytes"
	"fmt"
	"image"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/pixel"
)

// opened is a file with what Scan and Load find in it.
type opened struct {
	path   string
	data   []byte
	header *dicom.Header
	frames [][]byte
}

func open(t testing.TB, path string) *opened {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	o := &opened{path: path, data: data}
	h, err := dicom.Scan(bytes.NewReader(data), dicom.ScanOptions{})
	if err != nil && (h == nil || h.PixelData == nil) {
		return nil
	}
	o.header = h
	if h.PixelData == nil || h.Deflated {
		return nil
	}
	if err := Load(h.Dataset, func(r dicom.Range) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(data[r.Offset : r.Offset+r.Length])), nil
	}); err != nil {
		t.Fatal(err)
	}
	frames, err := h.Frames()
	if err != nil {
		t.Logf("%s: %v", path, err)
		return nil
	}
	for _, ranges := range frames {
		var coded []byte
		for _, r := range ranges {
			coded = append(coded, data[r.Offset:min(r.Offset+r.Length, int64(len(data)))]...)
		}
		o.frames = append(o.frames, coded)
	}
	return o
}

const samplesFolder = "../../../../shared/dicom"

// samplePaths are the files of the collection of samples.
func samplePaths(t testing.TB) (paths []string) {
	t.Helper()
	if _, err := os.Stat(samplesFolder); err != nil {
		t.Skipf("sample files are absent: %v", err)
	}
	err := filepath.WalkDir(samplesFolder, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && !strings.HasSuffix(path, ".tsv") {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func TestSamplesLikeDCMTK(t *testing.T) {
	codecs := &pixel.Codecs{}
	counts := map[string]int{}
	for _, path := range samplePaths(t) {
		name := strings.TrimPrefix(path, samplesFolder+"/")
		o := open(t, path)
		if o == nil {
			counts["nopixels"]++
			continue
		}
		n := Representative(o.header.Dataset, len(o.frames))
		frame, err := Decode(t.Context(), codecs, o.header.TransferSyntax, o.header.Dataset, o.frames[n-1])
		if err != nil {
			counts["decode "+string(pacs.CodeOf(err))]++
			if pacs.CodeOf(err) != pacs.Unsupported {
				t.Logf("%s: decode: %v", name, err)
			}
			continue
		}
		im, err := Picture(t.Context(), frame, n, o.header.Dataset, Parameters{NoAspect: true, NoShutters: true})
		if err != nil {
			t.Errorf("%s: picture: %v", name, err)
			continue
		}
		ref, err := dcmtkPicture(t, o, n)
		if err != nil {
			counts["dcmtk fails"]++
			t.Logf("%s: dcmtk: %v", name, err)
			continue
		}
		worst, off, total := compare(im, ref)
		tolerance := 1
		if strings.HasPrefix(frame.Photometric, "YBR") {
			tolerance = 2 // both round
		}
		if worst > tolerance {
			counts["differs"]++
			ds := o.header.Dataset
			t.Errorf("%s: frame %d: worst %d, %d of %d differ by more than 1; %s %d/%d/%d", name, n, worst, off, total, ds.String(dicom.TagPhotometricInterpretation), frame.BitsAllocated, frame.BitsStored, frame.HighBit)
			continue
		}
		counts["same"]++
	}
	t.Log(counts)
}

// dcmtkPicture is dcmtk's picture of a frame.
func dcmtkPicture(t *testing.T, o *opened, n int) (image.Image, error) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out.pnm")
	args := []string{"+F", strconv.Itoa(n), "+op"}
	ds := o.header.Dataset
	a := attributesOf(ds, n)
	voi := a.group(dicom.TagFrameVOILUTSequence)
	if voi == nil {
		voi = ds
	}
	switch {
	case len(floats(voi, dicom.TagWindowCenter)) > 0:
		w := floats(voi, dicom.TagWindowWidth)
		args = append(args, "+Ww", fmt.Sprint(floats(voi, dicom.TagWindowCenter)[0]), fmt.Sprint(w[0]))
	case len(voi.Items(dicom.TagVOILUTSequence)) > 0:
		args = append(args, "+Wl", "1")
	default:
		if bits, _ := ds.Int(dicom.TagBitsStored); bits != 8 {
			args = append(args, "+Wm")
		}
	}
	tool := "dcmj2pnm"
	b, err := exec.CommandContext(t.Context(), tool, append(args, o.path, out)...).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%w: %s %v", err, b, args)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		return nil, err
	}
	return readPNM(data)
}

// readPNM reads P5 and P6 with 8 bits.
func readPNM(data []byte) (image.Image, error) {
	var kind string
	var w, h, top int
	r := bytes.NewReader(data)
	if _, err := fmt.Fscan(r, &kind, &w, &h, &top); err != nil {
		return nil, err
	}
	r.ReadByte()
	rest := data[len(data)-r.Len():]
	switch {
	case kind == "P5" && top == 255 && len(rest) >= w*h:
		return &image.Gray{Pix: rest, Stride: w, Rect: image.Rect(0, 0, w, h)}, nil
	case kind == "P6" && top == 255 && len(rest) >= 3*w*h:
		im := image.NewRGBA(image.Rect(0, 0, w, h))
		for i := range w * h {
			copy(im.Pix[4*i:], []byte{rest[3*i], rest[3*i+1], rest[3*i+2], 255})
		}
		return im, nil
	}
	return nil, fmt.Errorf("%s %d %d %d", kind, w, h, top)
}

// compare returns the largest difference of two pictures and how many pixels
// differ by more than 1.
func compare(a, b image.Image) (worst, off, total int) {
	if a.Bounds().Size() != b.Bounds().Size() {
		return 999, -1, -1
	}
	for y := range a.Bounds().Dy() {
		for x := range a.Bounds().Dx() {
			r1, g1, b1, _ := a.At(x, y).RGBA()
			r2, g2, b2, _ := b.At(x, y).RGBA()
			d := 0
			for _, pair := range [][2]uint32{{r1, r2}, {g1, g2}, {b1, b2}} {
				d = max(d, int(pair[0]>>8)-int(pair[1]>>8), int(pair[1]>>8)-int(pair[0]>>8))
			}
			worst = max(worst, d)
			if d > 1 {
				off++
			}
			total++
		}
	}
	return worst, off, total
}
