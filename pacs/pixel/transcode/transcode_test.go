package transcode

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/pixel"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/pixeltest"
)

func TestMain(m *testing.M) {
	if !pixeltest.Serve() {
		os.Exit(m.Run())
	}
}

// inMemory is a file in memory.
func inMemory(data []byte) pacs.File {
	return pacs.File{Length: int64(len(data)), Open: func(_ context.Context, offset, length int64) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(data[offset : offset+length])), nil
	}}
}

// sourceOf scans a PS3.10 file.
func sourceOf(t testing.TB, data []byte) (Source, error) {
	t.Helper()
	h, err := dicom.Scan(bytes.NewReader(data), dicom.ScanOptions{})
	if err != nil {
		return Source{}, err
	}
	return Scan(t.Context(), inMemory(data), h.DatasetOffset, h.TransferSyntax)
}

// made is a PS3.10 file in another transfer syntax.
func made(t testing.TB, c *Transcoder, data []byte, transferSyntax string) ([]byte, error) {
	t.Helper()
	s, err := sourceOf(t, data)
	if err != nil {
		return nil, err
	}
	i, err := c.Instance(t.Context(), s, transferSyntax)
	if err != nil {
		return nil, err
	}
	file, err := i.File(t.Context())
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(file)
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	head, err := i.Head()
	if n := i.Length(); err == nil && n >= 0 && n != int64(len(out)-len(head)) {
		t.Errorf("%d bytes were promised and %d came", n, len(out)-len(head))
	}
	return out, err
}

// picture decodes a file's frames: all samples, colour by pixel.
func picture(t testing.TB, codecs *pixel.Codecs, data []byte) (pixels []byte, photometric string) {
	t.Helper()
	s, err := sourceOf(t, data)
	if err != nil {
		t.Fatal(err)
	}
	f := &frames{t: &Transcoder{Codecs: codecs}, source: s, target: dicom.ExplicitVRLittleEndian}
	if f.format, err = pixel.FormatOf(s.Header.Dataset); err != nil {
		t.Fatal(err)
	}
	if f.ranges, err = s.Header.Frames(); err != nil {
		t.Fatal(err)
	}
	for n := range f.ranges {
		data, native, _, err := f.frame(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		if native.Planar {
			plane := len(data) / native.Samples
			width := native.BitsAllocated / 8
			for at := 0; at < plane; at += width {
				for c := range native.Samples {
					pixels = append(pixels, data[c*plane+at:c*plane+at+width]...)
				}
			}
		} else {
			pixels = append(pixels, data...)
		}
		photometric = native.Photometric
	}
	return pixels, photometric
}

// samples are the sample files of up to a size.
func samples(t *testing.T, each func(name string, data []byte)) {
	t.Helper()
	root := filepath.Join("..", "..", "..", "..", "shared", "dicom")
	if _, err := os.Stat(root); err != nil {
		t.Skipf("sample files are absent: %v", err)
	}
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, ".tsv") {
			return err
		}
		name, _ := filepath.Rel(root, path)
		if strings.Contains(name, "dcm_qa_") { // hundreds that are alike
			return nil
		}
		data, err := os.ReadFile(path)
		if err == nil && len(data) < 300<<10 {
			each(name, data)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Every sample file keeps its samples and its other attributes in every transfer
// syntax without loss that it can be given in.
func TestSamplesInAll(t *testing.T) {
	c := &Transcoder{Codecs: pixeltest.Codecs(t)}
	targets := append([]string{dicom.ExplicitVRLittleEndian, dicom.ImplicitVRLittleEndian, dicom.EncapsulatedUncompressed}, lossless...)
	count := map[string]int{}
	samples(t, func(name string, data []byte) {
		s, err := sourceOf(t, data)
		if err != nil || s.Header.Meta == nil || s.Header.PixelData == nil || s.Header.PixelData.Tag != dicom.TagPixelData || !c.codecs().Decodes(s.Header.TransferSyntax) {
			return
		}
		if _, err := made(t, c, data, dicom.EncapsulatedUncompressed); err != nil {
			if code := pacs.CodeOf(err); code != pacs.Unsupported && code != pacs.Invalid {
				t.Errorf("%s: %v", name, err)
			}
			return // its frames can't be told apart, or are damaged
		}
		want, photometric := picture(t, c.Codecs, data)
		for _, target := range targets {
			if !c.codecs().Encodes(target) {
				continue
			}
			out, err := made(t, c, data, target)
			if err != nil {
				if pacs.CodeOf(err) != pacs.Unsupported {
					t.Errorf("%s in %s: %v", name, target, err)
				}
				continue
			}
			count[target]++
			got, as := picture(t, c.Codecs, out)
			if !bytes.Equal(got, want) || as != photometric {
				t.Errorf("%s from %s in %s: other pixels (%s, %s), %d bytes, %d", name, s.Header.TransferSyntax, target, photometric, as, len(want), len(got))
			}
			sameAttributes(t, name+" in "+target, s.Header, out)
		}
	})
	t.Log(count)
	for _, target := range []string{dicom.ExplicitVRLittleEndian, dicom.JPEGLSLossless, dicom.JPEG2000Lossless} {
		if count[target] < 30 {
			t.Errorf("only %d files were given in %s", count[target], target)
		}
	}
}

// sameAttributes compares all but those that say how pixels are kept.
func sameAttributes(t *testing.T, name string, before *dicom.Header, file []byte) {
	t.Helper()
	after, err := dicom.Scan(bytes.NewReader(file), dicom.ScanOptions{})
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	tags := func(ds *dicom.Dataset) (list []dicom.Tag) {
		for _, e := range ds.Elements {
			switch e.Tag {
			case dicom.TagPlanarConfiguration, dicom.TagLossyImageCompression, dicom.TagExtendedOffsetTable, dicom.TagExtendedOffsetTableLengths:
			default:
				if !e.Tag.IsGroupLength() {
					list = append(list, e.Tag)
				}
			}
		}
		slices.Sort(list)
		return list
	}
	if a, b := tags(before.Dataset), tags(after.Dataset); !slices.Equal(a, b) {
		t.Errorf("%s: other attributes: %v, %v", name, a, b)
	}
	for _, tag := range []dicom.Tag{dicom.TagSOPInstanceUID, dicom.TagPatientName, dicom.TagRows, dicom.TagBitsStored, dicom.TagSpecificCharacterSet} {
		if a, b := before.Dataset.String(tag), after.Dataset.String(tag); a != b {
			t.Errorf("%s: %s was %q and is %q", name, tag, a, b)
		}
	}
	if after.Declared != after.TransferSyntax {
		t.Errorf("%s: declared as %s and written as %s", name, after.Declared, after.TransferSyntax)
	}
}

// What we make, others read: the same samples.
func TestOthersRead(t *testing.T) {
	c := &Transcoder{Codecs: pixeltest.Codecs(t)}
	root := filepath.Join("..", "..", "..", "..", "shared", "dicom")
	if _, err := os.Stat(root); err != nil {
		t.Skipf("sample files are absent: %v", err)
	}
	for _, name := range []string{"pydicom-data/emri_small_jpeg_2k_lossless.dcm", "pydicom/test_files/MR_small_jp2klossless.dcm", "pydicom/test_files/examples_jpeg2k.dcm", "pydicom-data/SC_rgb_expb_16bit_2frame.dcm", "pydicom/test_files/SC_rgb_small_odd.dcm"} {
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		want, _ := picture(t, c.Codecs, data)
		for target, tool := range map[string][]string{
			dicom.ExplicitVRLittleEndian: {"dcmconv"}, dicom.ImplicitVRLittleEndian: {"dcmconv"},
			dicom.JPEGLSLossless: {"dcmdjpls", "--planar-auto"}, dicom.JPEG2000Lossless: {"gdcmconv", "--raw"},
			dicom.RLELossless: {"dcmdrle"}, dicom.JPEGLosslessSV1: {"dcmdjpeg", "--planar-auto"},
		} {
			if !c.codecs().Encodes(target) || target == dicom.JPEG2000Lossless && strings.Contains(name, "rgb_expb_16bit") {
				continue // gdcm doesn't write RGB of 16 bits that was YBR_RCT
			}
			out, err := made(t, c, data, target)
			if err != nil {
				t.Errorf("%s in %s: %v", name, target, err)
				continue
			}
			in, back := filepath.Join(t.TempDir(), "in.dcm"), filepath.Join(t.TempDir(), "out.dcm")
			if err := os.WriteFile(in, out, 0o600); err != nil {
				t.Fatal(err)
			}
			if text, err := exec.CommandContext(t.Context(), tool[0], append(tool[1:], in, back)...).CombinedOutput(); err != nil {
				t.Errorf("%s in %s: %s: %v: %s", name, target, tool[0], err, text)
				continue
			}
			plain, err := os.ReadFile(back)
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := picture(t, c.Codecs, plain); !bytes.Equal(got, want) {
				t.Errorf("%s in %s: %s reads other pixels", name, target, tool[0])
			}
		}
	}
}

// build is a PS3.10 file of native frames: a slope in each.
func build(t testing.TB, side, frames int, more func(*dicom.Dataset)) []byte {
	t.Helper()
	pixels := make([]byte, 2*side*side*frames)
	for i := range pixels {
		if i%2 == 0 {
			pixels[i] = byte(i / side)
		}
	}
	ds := new(dicom.Dataset).SetString(dicom.TagSOPClassUID, dicom.UI, dicom.CTImageStorage).SetString(dicom.TagSOPInstanceUID, dicom.UI, "1.2.3").
		SetInts(dicom.TagRows, dicom.US, side).SetInts(dicom.TagColumns, dicom.US, side).SetInts(dicom.TagSamplesPerPixel, dicom.US, 1).
		SetString(dicom.TagPhotometricInterpretation, dicom.CS, pixel.Monochrome2).SetInts(dicom.TagNumberOfFrames, dicom.IS, frames).
		SetInts(dicom.TagBitsAllocated, dicom.US, 16).SetInts(dicom.TagBitsStored, dicom.US, 12).SetInts(dicom.TagHighBit, dicom.US, 11).SetInts(dicom.TagPixelRepresentation, dicom.US, 0).
		SetBytes(dicom.TagPixelData, dicom.OW, pixels)
	if more != nil {
		more(ds)
	}
	body, err := dicom.AppendDataset(nil, ds, dicom.ExplicitVRLittleEndian)
	if err != nil {
		t.Fatal(err)
	}
	head, err := (&Instance{TransferSyntax: dicom.ExplicitVRLittleEndian}).Head()
	if err != nil {
		t.Fatal(err)
	}
	return append(head, body...)
}

// Two thousand frames go through in the memory of a few.
func TestMemoryIsFlat(t *testing.T) {
	c := &Transcoder{Codecs: pixeltest.Codecs(t)}
	coded, err := made(t, c, build(t, 64, 2000, nil), dicom.JPEG2000Lossless)
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{dicom.ImplicitVRLittleEndian, dicom.JPEGLSLossless} {
		s, err := sourceOf(t, coded)
		if err != nil {
			t.Fatal(err)
		}
		i, err := c.Instance(t.Context(), s, target)
		if err != nil {
			t.Fatal(err)
		}
		body := i.Dataset(t.Context())
		var before, now runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		buf, peak, total := make([]byte, 64<<10), uint64(0), 0
		for n := 0; ; n++ {
			read, err := body.Read(buf)
			total += read
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if n%500 == 0 {
				runtime.GC()
				runtime.ReadMemStats(&now)
				peak = max(peak, now.HeapAlloc)
			}
		}
		if err := body.Close(); err != nil {
			t.Error(err)
		}
		if grown := int64(peak) - int64(before.HeapAlloc); grown > 4<<20 {
			t.Errorf("%s: %d bytes of an instance take %d of memory", target, total, grown)
		}
	}
}

// What loses says so, and how much.
func TestLossIsTold(t *testing.T) {
	c := &Transcoder{Codecs: pixeltest.Codecs(t), Options: pixel.EncodeOptions{Ratio: 10}}
	out, err := made(t, c, build(t, 128, 1, func(ds *dicom.Dataset) {
		ds.SetString(dicom.TagLossyImageCompression, dicom.CS, "01").SetString(dicom.TagLossyImageCompressionRatio, dicom.DS, "5").SetString(dicom.TagLossyImageCompressionMethod, dicom.CS, "ISO_10918_1")
	}), dicom.JPEG2000)
	if err != nil {
		t.Fatal(err)
	}
	h, err := dicom.Scan(bytes.NewReader(out), dicom.ScanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ratios := h.Dataset.Floats(dicom.TagLossyImageCompressionRatio)
	if h.Dataset.String(dicom.TagLossyImageCompression) != "01" || len(ratios) != 2 || ratios[0] != 5 || ratios[1] < 9 || !slices.Equal(h.Dataset.Strings(dicom.TagLossyImageCompressionMethod), []string{"ISO_10918_1", "ISO_15444_1"}) {
		t.Errorf("%v %v", ratios, h.Dataset.Strings(dicom.TagLossyImageCompressionMethod))
	}
	if h.Dataset.String(dicom.TagSOPInstanceUID) != "1.2.3" {
		t.Error("it has become another instance")
	}
	plain, err := made(t, c, build(t, 16, 1, nil), dicom.JPEGLSLossless)
	if err != nil {
		t.Fatal(err)
	}
	if h, err = dicom.Scan(bytes.NewReader(plain), dicom.ScanOptions{}); err != nil || h.Dataset.Has(dicom.TagLossyImageCompression) {
		t.Errorf("nothing was lost: %v", err)
	}
}

func TestTargets(t *testing.T) {
	c := &Transcoder{Codecs: pixeltest.Codecs(t)}
	for name, p := range map[string]struct {
		stored string
		taken  []string
		lossy  bool
		want   []string
	}{
		"as kept":                {dicom.JPEG2000, []string{dicom.ImplicitVRLittleEndian, dicom.JPEG2000}, false, []string{dicom.JPEG2000, dicom.ImplicitVRLittleEndian}},
		"compressed stays so":    {dicom.JPEG2000, []string{dicom.ImplicitVRLittleEndian, dicom.ExplicitVRLittleEndian, dicom.JPEGLSLossless}, false, []string{dicom.JPEGLSLossless, dicom.ExplicitVRLittleEndian, dicom.ImplicitVRLittleEndian}},
		"native stays so":        {dicom.ExplicitVRBigEndian, []string{dicom.JPEGLSLossless, dicom.ImplicitVRLittleEndian}, false, []string{dicom.ImplicitVRLittleEndian, dicom.JPEGLSLossless}},
		"no loss unasked":        {dicom.ExplicitVRLittleEndian, []string{dicom.JPEG2000}, false, nil},
		"loss where it is asked": {dicom.ExplicitVRLittleEndian, []string{dicom.JPEG2000}, true, []string{dicom.JPEG2000}},
		"a video":                {"1.2.840.10008.1.2.4.102", []string{dicom.ExplicitVRLittleEndian}, true, nil},
		"unknown":                {"1.2.3", []string{dicom.ExplicitVRLittleEndian, "1.2.3"}, true, []string{"1.2.3"}},
	} {
		if got := c.Targets(p.stored, p.taken, p.lossy); !slices.Equal(got, p.want) {
			t.Errorf("%s: %v, want %v", name, got, p.want)
		}
	}
}

// What has no pixel data is given uncompressed: there is nothing to compress.
func TestWithoutPixelData(t *testing.T) {
	c := &Transcoder{Codecs: pixeltest.Codecs(t)}
	for name, p := range map[string]struct {
		stored string
		taken  []string
		want   []string
	}{
		"native":               {dicom.ImplicitVRLittleEndian, []string{dicom.JPEGLSLossless, dicom.ExplicitVRLittleEndian, dicom.ImplicitVRLittleEndian}, []string{dicom.ImplicitVRLittleEndian, dicom.ExplicitVRLittleEndian}},
		"compressed only":      {dicom.ExplicitVRLittleEndian, []string{dicom.JPEGLSLossless, dicom.RLELossless, dicom.JPEGBaseline8Bit}, nil},
		"kept as compressed":   {dicom.JPEG2000Lossless, []string{dicom.JPEG2000Lossless, dicom.JPEGLSLossless, dicom.ExplicitVRLittleEndian}, []string{dicom.JPEG2000Lossless, dicom.ExplicitVRLittleEndian}},
		"a private one stays":  {"1.2.3", []string{"1.2.3", dicom.RLELossless}, []string{"1.2.3"}},
		"deflated is no other": {dicom.DeflatedExplicitVRLittleEndian, []string{dicom.ExplicitVRLittleEndian, dicom.RLELossless}, []string{dicom.ExplicitVRLittleEndian}},
	} {
		if got := Uncompressed(p.stored, c.Targets(p.stored, p.taken, true)); !slices.Equal(got, p.want) {
			t.Errorf("%s: %v, want %v", name, got, p.want)
		}
	}
	ds := new(dicom.Dataset).SetString(dicom.TagSOPClassUID, dicom.UI, "1.2.840.10008.5.1.4.1.1.88.11").SetString(dicom.TagSOPInstanceUID, dicom.UI, "1.2.3")
	data, err := dicom.AppendDataset(nil, ds, dicom.ExplicitVRLittleEndian)
	if err != nil {
		t.Fatal(err)
	}
	file := pacs.File{Length: int64(len(data)), Open: func(_ context.Context, offset, length int64) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(data[offset : offset+length])), nil
	}}
	i := pacs.Instance{TransferSyntaxUID: dicom.ExplicitVRLittleEndian}
	if _, _, err := c.Transcode(t.Context(), i, file, []string{dicom.JPEGLSLossless, dicom.RLELossless}); pacs.CodeOf(err) != pacs.Unsupported {
		t.Errorf("a document as a picture: %v", err)
	}
	given, body, err := c.Transcode(t.Context(), i, file, []string{dicom.JPEGLSLossless, dicom.ImplicitVRLittleEndian})
	if err != nil || given != dicom.ImplicitVRLittleEndian {
		t.Fatalf("%s, %v", given, err)
	}
	defer body.Close()
	if h, err := dicom.Scan(body, dicom.ScanOptions{TransferSyntax: given}); err != nil || h.Dataset.String(dicom.TagSOPInstanceUID) != "1.2.3" {
		t.Errorf("%v", err)
	}
}

// An icon that is encoded like the pixel data beside it is given native; one that
// can't be decoded is left out with its sequence.
func TestIcons(t *testing.T) {
	codecs := pixeltest.Codecs(t)
	c := &Transcoder{Codecs: codecs}
	icon := func(coded []byte) *dicom.Dataset {
		value := append(appendItem(nil, 0), appendItem(nil, len(coded))...)
		value = append(append(value, coded...), delimiter()...)
		return new(dicom.Dataset).SetInts(dicom.TagRows, dicom.US, 4).SetInts(dicom.TagColumns, dicom.US, 4).SetInts(dicom.TagSamplesPerPixel, dicom.US, 1).
			SetString(dicom.TagPhotometricInterpretation, dicom.CS, pixel.Monochrome2).SetInts(dicom.TagBitsAllocated, dicom.US, 8).SetInts(dicom.TagBitsStored, dicom.US, 8).
			SetInts(dicom.TagHighBit, dicom.US, 7).SetInts(dicom.TagPixelRepresentation, dicom.US, 0).SetBytes(dicom.TagPixelData, dicom.OB, value)
	}
	format, err := pixel.FormatOf(icon(nil))
	if err != nil {
		t.Fatal(err)
	}
	want := []byte("ABCDEFGHIJKLMNOP")
	coded, _, err := codecs.Encode(t.Context(), dicom.JPEG2000Lossless, pixel.Frame{Format: format, Pixels: want}, pixel.EncodeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := sourceOf(t, build(t, 16, 1, nil))
	if err != nil {
		t.Fatal(err)
	}
	for name, bytesOf := range map[string][]byte{"whole": coded, "damaged": []byte("nothing!")} {
		item := icon(bytesOf)
		element, _ := item.Get(dicom.TagPixelData)
		value := element.Value
		element.Value, element.Bulk = nil, &dicom.Range{Offset: 0, Length: int64(len(value))}
		h := *plain.Header
		h.TransferSyntax = dicom.JPEG2000Lossless
		h.Dataset = plain.Header.Dataset.Clone().SetSequence(dicom.TagIconImageSequence, item)
		out := c.withoutCodedIcons(t.Context(), Source{&h, func(offset, length int64) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(value[offset : offset+length])), nil
		}}, h.Dataset)
		got, ok := out.Item(dicom.TagIconImageSequence).Get(dicom.TagPixelData)
		if name == "damaged" {
			if out.Has(dicom.TagIconImageSequence) {
				t.Error("a damaged icon is kept")
			}
		} else if !ok || !bytes.Equal(got.Value, want) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// Frames made beforehand have an offset table, a length, and the ratio of all.
func TestSpool(t *testing.T) {
	c := &Transcoder{Codecs: pixeltest.Codecs(t)}
	plain := build(t, 32, 5, nil)
	want, _ := picture(t, c.Codecs, plain)
	s, err := sourceOf(t, plain)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, target := range []string{dicom.JPEGLSLossless, dicom.JPEG2000} {
		i, err := c.Spool(t.Context(), s, target, dir)
		if err != nil {
			t.Fatal(err)
		}
		file, err := i.File(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(file)
		if err := errors.Join(err, file.Close(), i.Close()); err != nil {
			t.Fatal(err)
		}
		head, _ := i.Head()
		h, err := dicom.Scan(bytes.NewReader(data), dicom.ScanOptions{})
		if err != nil || i.Length() != int64(len(data)-len(head)) {
			t.Fatalf("%d bytes, %d promised: %v", len(data)-len(head), i.Length(), err)
		}
		table := h.PixelData.BasicOffsetTable
		for n, f := range h.PixelData.Fragments {
			if len(table) != 5 || int64(table[n]) != f.Offset-h.PixelData.Fragments[0].Offset {
				t.Errorf("%s: frame %d is not where the table %v says", target, n+1, table)
			}
		}
		if got, _ := picture(t, c.Codecs, data); bytes.Equal(got, want) == (target == dicom.JPEG2000) {
			t.Errorf("%s: %d bytes of samples", target, len(got))
		}
		if ratios := h.Dataset.Floats(dicom.TagLossyImageCompressionRatio); (len(ratios) == 1) != (target == dicom.JPEG2000) {
			t.Errorf("%s: %v", target, ratios)
		}
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 0 {
		t.Errorf("%v is left, %v", list, err)
	}
	// More than 4 GiB of frames.
	ds := &dicom.Dataset{}
	item := (&frames{}).table(ds, []int64{0, 5 << 30}, []int64{5<<30 - 8, 100})
	e, ok := ds.Get(dicom.TagExtendedOffsetTable)
	if !ok || !bytes.Equal(item, appendItem(nil, 0)) || !bytes.Equal(e.Value, []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 1, 0, 0, 0}) || !ds.Has(dicom.TagExtendedOffsetTableLengths) {
		t.Errorf("% x", item)
	}
}
