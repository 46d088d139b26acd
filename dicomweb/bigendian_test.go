package dicomweb

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/pixeltest"
)

// Pixel data that are kept in big endian are sent in little endian, as bulk data,
// frames, files and pictures: the same bytes as those of dcmtk's copy in little
// endian.
func TestBigEndianPixels(t *testing.T) {
	if _, err := exec.LookPath("dcmconv"); err != nil {
		t.Skip("dcmtk is not installed")
	}
	root := filepath.Join("..", "..", "shared", "dicom")
	type sample struct{ name, file string }
	var samples []sample
	for _, name := range []string{
		"pydicom-data/SC_rgb_expb.dcm", "pydicom-data/SC_rgb_expb_2frame.dcm", "pydicom-data/SC_rgb_expb_16bit_2frame.dcm", "pydicom-data/emri_small_big_endian.dcm",
		"pydicom/test_files/SC_rgb_small_odd_big_endian.dcm", "pydicom/test_files/ExplVR_BigEnd.dcm", "cornerstoneWADOImageLoader/testImages/CTImage.dcm_BigEndianExplicitTransferSyntax_1.2.840.10008.1.2.2.dcm",
	} {
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			t.Skipf("sample files are absent: %v", err)
		}
		samples = append(samples, sample{name, filepath.Join(root, name)})
	}
	folder := t.TempDir()
	convert := func(option, from, name string) string {
		t.Helper()
		to := filepath.Join(folder, name)
		if out, err := exec.CommandContext(t.Context(), "dcmconv", option, from, to).CombinedOutput(); err != nil {
			t.Fatalf("dcmconv %s %s: %v %s", option, from, err, out)
		}
		return to
	}
	// Samples of 8 bits in words, of which some frames begin within a pair.
	for name, size := range map[string][3]int{"words of 8 bits": {4, 6, 3}, "an odd picture in words": {3, 5, 1}} {
		ds := image("2.25.9", "2.25.9.1", "2.25.9.1."+fmt.Sprint(size[0]), 1, size[2])
		ds.SetInts(dicom.TagRows, dicom.US, size[0]).SetInts(dicom.TagColumns, dicom.US, size[1]).SetInts(dicom.TagBitsAllocated, dicom.US, 8)
		ds.SetInts(dicom.TagBitsStored, dicom.US, 8).SetInts(dicom.TagHighBit, dicom.US, 7).SetInts(dicom.TagPixelRepresentation, dicom.US, 0)
		pixels := make([]byte, (size[0]*size[1]*size[2]+1)/2*2)
		for i := range size[0] * size[1] * size[2] { // a byte of padding is 0
			pixels[i] = byte(3*i + 1)
		}
		ds.SetBytes(dicom.TagPixelData, dicom.OW, pixels)
		plain := filepath.Join(folder, name+".plain")
		if err := os.WriteFile(plain, partFile(t, ds, dicom.ExplicitVRLittleEndian), 0o600); err != nil {
			t.Fatal(err)
		}
		samples = append(samples, sample{name, convert("+tb", plain, name)})
	}

	const octets = "application/octet-stream"
	for n, s := range samples {
		t.Run(s.name, func(t *testing.T) {
			big, err := os.ReadFile(s.file)
			if err != nil {
				t.Fatal(err)
			}
			little, err := os.ReadFile(convert("+te", s.file, fmt.Sprint(n, ".dcm")))
			if err != nil {
				t.Fatal(err)
			}
			h, err := dicom.Scan(bytes.NewReader(little), dicom.ScanOptions{})
			if err != nil {
				t.Fatal(err)
			}
			frames, err := h.Frames()
			if err != nil {
				t.Fatal(err)
			}
			kept, turned := newArchive(), newArchive()
			kept.put(t, big)
			turned.put(t, little)
			options := func(o *Options) { o.Codecs = pixeltest.Codecs(t) }
			hb, hl := serve(kept, options), serve(turned, options)
			i := kept.instances[0]
			if i.TransferSyntaxUID != dicom.ExplicitVRBigEndian {
				t.Fatal(i.TransferSyntaxUID)
			}
			path := "/studies/" + i.StudyInstanceUID + "/series/" + i.SeriesInstanceUID + "/instances/" + i.SOPInstanceUID
			value := little[h.PixelData.Offset : h.PixelData.Offset+h.PixelData.Length]
			for _, accept := range []string{octets, octets + ";transfer-syntax=*", octets + ";transfer-syntax=1.2.840.10008.1.2.1"} {
				w := get(t, hb, path+"/bulkdata/7FE00010", "Accept", accept)
				want(t, w, 200)
				if !bytes.Equal(w.Body.Bytes(), value) || w.Header().Get("Content-Type") != octets+";transfer-syntax=1.2.840.10008.1.2.1" {
					t.Errorf("%s: bulk data of %d bytes differ from %d, %s", accept, w.Body.Len(), len(value), w.Header().Get("Content-Type"))
				}
				part := get(t, hb, path+"/bulkdata/7FE00010", "Accept", accept, "Range", "bytes=5-10")
				want(t, part, 206)
				if !bytes.Equal(part.Body.Bytes(), value[5:11]) {
					t.Errorf("%s: a range is % x, want % x", accept, part.Body.Bytes(), value[5:11])
				}
				for n := range min(len(frames), 3) {
					w := get(t, hb, fmt.Sprintf("%s/frames/%d", path, n+1), "Accept", accept)
					want(t, w, 200)
					r := frames[n][0]
					if !bytes.Equal(w.Body.Bytes(), little[r.Offset:r.Offset+r.Length]) && !bytes.Equal(w.Body.Bytes(), little[r.Offset:r.Offset+r.Length-1]) {
						t.Errorf("%s: frame %d differs", accept, n+1)
					}
				}
			}
			w := get(t, hb, path+"/bulkdata")
			want(t, w, 200)
			if values, _ := bulkAnswered(t, w.Header().Get("Content-Type"), w.Body.Bytes()); !containsValue(values, value) {
				t.Errorf("all bulk data: %d parts, none is the pixel data", len(values))
			}
			// Who asks for what is kept gets that.
			w = get(t, hb, path+"/bulkdata/7FE00010", "Accept", octets+";transfer-syntax=1.2.840.10008.1.2.2")
			want(t, w, 200)
			if px := i.Location.PixelData; !bytes.Equal(w.Body.Bytes(), big[px.Offset:px.Offset+px.Length]) {
				t.Error("what is kept differs")
			}
			w = get(t, hb, path, "Accept", "application/dicom;transfer-syntax=1.2.840.10008.1.2.1")
			want(t, w, 200)
			if file, err := dicom.Scan(bytes.NewReader(w.Body.Bytes()), dicom.ScanOptions{}); err != nil || !bytes.Equal(w.Body.Bytes()[file.PixelData.Offset:file.PixelData.Offset+file.PixelData.Length], value) {
				t.Errorf("the pixels of the file differ (%v)", err)
			}
			a, b := get(t, hb, path+"/rendered", "Accept", "image/png"), get(t, hl, path+"/rendered", "Accept", "image/png")
			want(t, a, 200)
			want(t, b, 200)
			if !bytes.Equal(a.Body.Bytes(), b.Body.Bytes()) {
				t.Error("the pictures differ")
			}
			if kept.opened != 0 {
				t.Errorf("%d readers left open", kept.opened)
			}
		})
	}
}

func containsValue(values map[string][]byte, value []byte) bool {
	for _, v := range values {
		if bytes.Equal(v, value) {
			return true
		}
	}
	return false
}

// A report is offered uncompressed only: there is nothing to compress in it.
func TestDocumentsAreNotCompressed(t *testing.T) {
	a := twoImages(t)
	a.put(t, partFile(t, image(ctStudy, "1.2.3.3", "1.2.3.3.1", 1, 1).Delete(dicom.TagPixelData), dicom.ExplicitVRLittleEndian))
	h := serve(a, func(o *Options) { o.Codecs = pixeltest.Codecs(t) })
	const path = "/studies/1.2.3/series/1.2.3.3/instances/1.2.3.3.1"
	for ts, status := range map[string]int{
		dicom.ExplicitVRLittleEndian: 200, dicom.ImplicitVRLittleEndian: 200, "*": 200, dicom.JPEGLSLossless: 406, dicom.RLELossless: 406, dicom.JPEGBaseline8Bit: 406,
	} {
		w := get(t, h, path, "Accept", "application/dicom;transfer-syntax="+ts)
		want(t, w, status)
		if status == 406 {
			if d := detail(t, w); !strings.Contains(d, dicom.ImplicitVRLittleEndian) || strings.Contains(d, "1.2.840.10008.1.2.4.") {
				t.Errorf("406 says %q", d)
			}
		}
	}
	if got := keptOf(pacs.Instance{}); got.pixels {
		t.Error("an instance without pixel data has some")
	}
}
