package render

import (
	"bytes"
	"compress/flate"
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
	"github.com/tasvir-pacs/tasvir/pacs/pixel/pixeltest"
)

// opened is a file with what Scan and Load find in it.
type opened struct {
	path   string
	header *dicom.Header
	frames [][]byte
}

// open reads a file; nil when it is none with pixels.
func open(t testing.TB, path string) *opened {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	h, err := dicom.Scan(bytes.NewReader(data), dicom.ScanOptions{})
	if h == nil || h.PixelData == nil {
		return nil
	}
	if err != nil {
		t.Logf("%s: %v", path, err)
	}
	if h.Deflated {
		if data, err = io.ReadAll(flate.NewReader(bytes.NewReader(data[h.DatasetOffset:]))); err != nil {
			t.Fatal(err)
		}
	}
	o := &opened{path: path, header: h}
	if err := Load(h.Dataset, func(r dicom.Range) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(data[r.Offset : r.Offset+r.Length])), nil
	}); err != nil {
		t.Fatal(err)
	}
	ds := h.Dataset
	if bits, _ := ds.Int(dicom.TagBitsAllocated); bits == 1 && !h.PixelData.Encapsulated {
		// Frames may begin within a byte.
		rows, _ := ds.Int(dicom.TagRows)
		columns, _ := ds.Int(dicom.TagColumns)
		count, ok := ds.Int(dicom.TagNumberOfFrames)
		if !ok {
			count = 1
		}
		raw := data[h.PixelData.Offset:]
		for n := range count {
			coded := make([]byte, (rows*columns+7)/8)
			for i := range rows * columns {
				at := n*rows*columns + i
				coded[i/8] |= raw[at/8] >> (at % 8) & 1 << (i % 8)
			}
			o.frames = append(o.frames, coded)
		}
		return o
	}
	frames, err := h.Frames()
	if err != nil {
		t.Logf("%s: %v", path, err)
		return o
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

// Files that dcmtk 3.6.7 has no, or a wrong, picture of, and another in which the
// same pixels are kept so that it has: that other is compared with dcmtk.
var sameAs = map[string]string{
	// 32-bit words in OW of Explicit Big Endian are swapped by halves.
	"pydicom/test_files/rtdose_expb.dcm":        "pydicom/test_files/rtdose.dcm",
	"pydicom/test_files/rtdose_expb_1frame.dcm": "pydicom/test_files/rtdose_1frame.dcm",
	// RLE and Deflated Image Frame of 1 bit are not read.
	"pydicom-data/liver_deflate.dcm":             "dcmqi/data/segmentations/liver.dcm",
	"pydicom-data/liver_rle.dcm":                 "dcmqi/data/segmentations/liver.dcm",
	"pydicom-data/liver_nonbyte_aligned_rle.dcm": "pydicom-data/liver_nonbyte_aligned.dcm",
	// Color of 32 bits is not read.
	"pydicom-data/SC_rgb_32bit.dcm":        "pydicom-data/SC_rgb_16bit.dcm",
	"pydicom-data/SC_rgb_32bit_2frame.dcm": "pydicom-data/SC_rgb_16bit_2frame.dcm",
}

// Files that no tool here has a picture of; they are rendered only.
var unseen = map[string]string{
	"pydicom-data/HTJ2KLossless_08_RGB.dcm": "no tool of Debian 12 reads HTJ2K",
	"pydicom-data/parametric_map_float.dcm": "floating point pixels",
	"pydicom/test_files/SC_rgb_jpeg.dcm":    "its implicit attributes behind an explicit group confuse dcmtk",
}

// Files that say they have pixels and can't have a picture.
var hopeless = map[string]string{
	"pydicom/test_files/JPEG2000-embedded-sequence-delimiter.dcm": "its stream claims 3,722,445,056 columns",
	"pydicom/test_files/SC_rgb_small_odd_big_endian.dcm":          "the words of its pixels end within the frame",
	"pydicom/test_files/MR_truncated.dcm":                         "it ends within its only frame",
	"pydicom/test_files/badVR.dcm":                                "1A is no number of frames",
	"pydicom/test_files/meta_missing_tsyntax.dcm":                 "no rows and columns",
	"pydicom/test_files/nested_priv_SQ.dcm":                       "no rows and columns",
}

// TestSamplesLikeDCMTK renders one frame of every sample file with pixels, and
// compares it with dcmtk's picture of it: what dcmtk does not decode (JPEG 2000)
// has been decoded by gdcm first.
//
// Gray levels differ by at most 1, because dcmtk cuts fractions off and we round;
// converted colors by at most 2, for the same in each of three sums. Lossy streams
// have no other tolerance: both decoders give the same samples.
func TestSamplesLikeDCMTK(t *testing.T) {
	codecs := pixeltest.Codecs(t)
	show := func(o *opened, p Parameters) (image.Image, pixel.Frame, int, error) {
		if len(o.frames) == 0 {
			return nil, pixel.Frame{}, 0, pacs.Errorf(pacs.Unsupported, "no frames")
		}
		n := Representative(o.header.Dataset, len(o.frames))
		frame, err := Decode(t.Context(), codecs, o.header.TransferSyntax, o.header.Dataset, o.frames[n-1])
		if err != nil {
			return nil, frame, n, err
		}
		im, err := Picture(t.Context(), frame, n, o.header.Dataset, p)
		return im, frame, n, err
	}
	compared, rendered := 0, 0
	for _, path := range samplePaths(t) {
		name := strings.TrimPrefix(path, samplesFolder+"/")
		o := open(t, path)
		if o == nil {
			continue
		}
		arguments, p := dcmtkArguments(o)
		im, frame, n, err := show(o, p)
		if why := hopeless[name]; why != "" {
			if err == nil {
				t.Errorf("%s has a picture although %s", name, why)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		rendered++
		if unseen[name] != "" {
			continue
		}
		var reference image.Image
		if other := sameAs[name]; other != "" {
			reference, _, _, err = show(open(t, filepath.Join(samplesFolder, other)), p)
		} else {
			reference, err = dcmtkPicture(t, o, n, arguments)
		}
		if err != nil {
			t.Errorf("%s: no reference: %v", name, err)
			continue
		}
		compared++
		tolerance := 1
		if strings.HasPrefix(frame.Photometric, "YBR") {
			tolerance = 2
		}
		if worst, off, total := compare(im, reference); worst > tolerance {
			t.Errorf("%s: frame %d: %d of %d differ, by %d at most (%s, %s, %d of %d bits)", name, n, off, total, worst, o.header.TransferSyntax, frame.Photometric, frame.BitsStored, frame.BitsAllocated)
		}
	}
	t.Logf("%d files rendered, %d compared", rendered, compared)
	if rendered != 415 || compared != rendered-len(unseen) {
		t.Errorf("%d files rendered and %d compared", rendered, compared)
	}
}

// A presentation state with scrambled modality, VOI and presentation tables, which
// show any step that is left out, doubled or one entry off.
func TestPresentationStateLikeDCMTK(t *testing.T) {
	const folder = samplesFolder + "/weasis-dicom-tools/org/dcm4che3/img/"
	samplePaths(t)
	o := open(t, folder+"imageForPrLUTs.dcm")
	data, err := os.ReadFile(folder + "prLUTs.dcm")
	if err != nil {
		t.Fatal(err)
	}
	presentation, err := dicom.Scan(bytes.NewReader(data), dicom.ScanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if r := References(presentation.Dataset); len(r) != 1 || r[0].SOPInstanceUID != o.header.Dataset.String(dicom.TagSOPInstanceUID) || r[0].Frames != nil {
		t.Errorf("it refers to %v", r)
	}
	frame, err := Decode(t.Context(), &pixel.Codecs{}, o.header.TransferSyntax, o.header.Dataset, o.frames[0])
	if err != nil {
		t.Fatal(err)
	}
	im, err := Picture(t.Context(), frame, 1, o.header.Dataset, Parameters{Presentation: presentation.Dataset})
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out.pgm")
	if b, err := exec.CommandContext(t.Context(), "dcmp2pgm", "-p", folder+"prLUTs.dcm", o.path, out).CombinedOutput(); err != nil {
		t.Fatalf("dcmp2pgm: %v: %s", err, b)
	}
	if data, err = os.ReadFile(out); err != nil {
		t.Fatal(err)
	}
	reference, err := readPNM(data)
	if err != nil {
		t.Fatal(err)
	}
	if worst, off, total := compare(im, reference); worst > 1 {
		t.Errorf("%d of %d pixels differ, by %d at most", off, total, worst)
	}
}

// dcmtkArguments asks dcmtk for the same contrast as p asks us for, or that of the
// instance.
func dcmtkArguments(o *opened) (arguments []string, p Parameters) {
	p = Parameters{NoAspect: true, NoShutters: true}
	n := Representative(o.header.Dataset, max(1, len(o.frames)))
	ds := o.header.Dataset
	voi := attributesOf(ds, n).group(dicom.TagFrameVOILUTSequence)
	if voi == nil {
		voi = ds
	}
	bits, _ := ds.Int(dicom.TagBitsStored)
	switch centers, widths := floats(voi, dicom.TagWindowCenter), floats(voi, dicom.TagWindowWidth); {
	case len(centers) > 0 && len(widths) > 0:
		return []string{"+Ww", fmt.Sprint(centers[0]), fmt.Sprint(widths[0])}, p
	case len(voi.Items(dicom.TagVOILUTSequence)) > 0:
		return []string{"+Wl", "1"}, p
	case bits == 8:
		return nil, p
	case ds.Has(dicom.TagPixelPaddingValue):
		// dcmtk takes padding for pixels when it looks for the range of a frame.
		p.Window = &Window{40, 400, Linear}
		return []string{"+Ww", "40", "400"}, p
	}
	return []string{"+Wm"}, p
}

// dcmtkPicture is dcmtk's picture of a frame.
func dcmtkPicture(t *testing.T, o *opened, n int, arguments []string) (image.Image, error) {
	t.Helper()
	scratch := t.TempDir()
	out := filepath.Join(scratch, "out.pnm")
	arguments = append([]string{"+F", strconv.Itoa(n), "+op"}, arguments...)
	tool, path := "dcmj2pnm", o.path
	switch ts := o.header.TransferSyntax; {
	case ts == dicom.JPEGLSNearLossless:
		tool = "dcml2pnm"
	case ts == dicom.JPEGLSLossless, strings.HasPrefix(ts, "1.2.840.10008.1.2.4.9"), strings.HasPrefix(ts, "1.2.840.10008.1.2.4.20"):
		path = filepath.Join(scratch, "raw.dcm")
		if b, err := exec.CommandContext(t.Context(), "gdcmconv", "--raw", o.path, path).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("gdcmconv: %w: %s", err, b)
		}
	}
	b, err := exec.CommandContext(t.Context(), tool, append(arguments, path, out)...).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%w: %s %v", err, b, arguments)
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
	note := func(d int) {
		worst = max(worst, d)
		if d > 1 {
			off++
		}
		total++
	}
	first, ok1 := a.(*image.Gray)
	second, ok2 := b.(*image.Gray)
	for y := range a.Bounds().Dy() {
		for x := range a.Bounds().Dx() {
			if ok1 && ok2 {
				v, w := int(first.Pix[first.PixOffset(x, y)]), int(second.Pix[second.PixOffset(x, y)])
				note(max(v-w, w-v))
				continue
			}
			r1, g1, b1, _ := a.At(x, y).RGBA()
			r2, g2, b2, _ := b.At(x, y).RGBA()
			d := 0
			for _, pair := range [][2]uint32{{r1, r2}, {g1, g2}, {b1, b2}} {
				d = max(d, int(pair[0]>>8)-int(pair[1]>>8), int(pair[1]>>8)-int(pair[0]>>8))
			}
			note(d)
		}
	}
	return worst, off, total
}
