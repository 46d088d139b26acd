package dicomweb

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/pixel"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/pixeltest"
)

// sample puts a sample file into an archive and returns its address.
func sample(t *testing.T, a *archive, name string) (address string, h *dicom.Header) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "shared", "dicom", name))
	if err != nil {
		t.Skipf("sample files are absent: %v", err)
	}
	a.put(t, data)
	if h, err = dicom.Scan(bytes.NewReader(data), dicom.ScanOptions{}); err != nil {
		t.Fatal(err)
	}
	return "/studies/" + h.Dataset.String(dicom.TagStudyInstanceUID) + "/series/" + h.Dataset.String(dicom.TagSeriesInstanceUID) +
		"/instances/" + h.Dataset.String(dicom.TagSOPInstanceUID), h
}

// Compressed instances and frames are sent in what the client names, with the
// same samples; as stored to who names nothing.
func TestRecoded(t *testing.T) {
	codecs := pixeltest.Codecs(t)
	a := newArchive()
	path, stored := sample(t, a, "pydicom-data/emri_small_jpeg_2k_lossless.dcm")
	h := serve(a, func(o *Options) { o.Codecs = codecs })
	format, err := pixel.FormatOf(stored.Dataset)
	if err != nil {
		t.Fatal(err)
	}
	const frames = 10
	// Uncompressed; package pixel compares these with what gdcm decodes.
	plain := get(t, h, path+"/frames/1,10", "Accept", `multipart/related; type="application/octet-stream"; transfer-syntax=1.2.840.10008.1.2.1`)
	want(t, plain, 200)
	parts := split(t, plain)
	if len(parts) != 2 || int64(len(parts[0].body)) != format.FrameSize() || parts[0].contentType != "application/octet-stream;transfer-syntax=1.2.840.10008.1.2.1" {
		t.Fatalf("%d parts, %s", len(parts), parts[0].contentType)
	}
	first, last := parts[0].body, parts[1].body

	for _, ts := range []string{dicom.ExplicitVRLittleEndian, dicom.ImplicitVRLittleEndian, dicom.JPEGLSLossless, dicom.RLELossless, dicom.JPEG2000} {
		for _, accept := range []string{`multipart/related; type="application/dicom"; transfer-syntax=` + ts, "application/dicom; transfer-syntax=" + ts} {
			w := get(t, h, path, "Accept", accept)
			want(t, w, 200)
			file := w.Body.Bytes()
			if strings.HasPrefix(accept, "multipart") {
				file = split(t, w)[0].body
			} else if w.Header().Get("Content-Type") != "application/dicom;transfer-syntax="+ts {
				t.Errorf("%s for %s", w.Header().Get("Content-Type"), accept)
			}
			got, err := dicom.Scan(bytes.NewReader(file), dicom.ScanOptions{})
			if err != nil || got.Declared != ts || got.Dataset.String(dicom.TagSOPInstanceUID) != stored.Dataset.String(dicom.TagSOPInstanceUID) {
				t.Errorf("%s: %v", ts, err)
				continue
			}
			cuts, err := got.Frames()
			if err != nil || len(cuts) != frames {
				t.Errorf("%s: %d frames, %v", ts, len(cuts), err)
				continue
			}
			if spooled := !strings.HasPrefix(accept, "multipart") || ts == dicom.JPEG2000; got.PixelData.Encapsulated && spooled != (len(got.PixelData.BasicOffsetTable) == frames) {
				t.Errorf("%s: an offset table of %d", accept, len(got.PixelData.BasicOffsetTable))
			}
			if n := w.Header().Get("Content-Length"); (n == "") != strings.HasPrefix(accept, "multipart") {
				t.Errorf("%s: Content-Length %q", accept, n)
			}
			if lossy := got.Dataset.String(dicom.TagLossyImageCompression) == "01"; lossy != (ts == dicom.JPEG2000) {
				t.Errorf("%s: lossy is %v", ts, lossy)
			}
			if ts == dicom.JPEG2000 {
				continue
			}
			for n, r := range map[int][]byte{0: first, frames - 1: last} {
				frame, err := codecs.Decode(t.Context(), ts, format, file[cuts[n][0].Offset:cuts[n][0].Offset+cuts[n][0].Length])
				if err != nil || !bytes.Equal(frame.Pixels, r) {
					t.Errorf("%s, frame %d has other samples (%v)", ts, n+1, err)
				}
			}
			etag := w.Header().Get("ETag")
			want(t, get(t, h, path, "Accept", accept, "If-None-Match", etag), 304)
			head := call(t, h, "HEAD", path, nil, "Accept", accept)
			want(t, head, 200)
			if head.Body.Len() != 0 || head.Header().Get("ETag") != etag || etag == get(t, h, path).Header().Get("ETag") {
				t.Errorf("HEAD: %d bytes, %s", head.Body.Len(), head.Header().Get("ETag"))
			}
		}
	}
	// Who names none, or any, gets what is stored.
	for _, accept := range []string{"", "*/*", "application/dicom", `multipart/related; type="application/dicom"; transfer-syntax=*`} {
		w := get(t, h, path, "Accept", accept)
		want(t, w, 200)
		if !bytes.Contains(w.Body.Bytes(), []byte(dicom.JPEG2000Lossless)) {
			t.Errorf("%q does not get what is stored", accept)
		}
	}
	// By quality what is stored may be the second choice.
	w := get(t, h, path, "Accept", "application/dicom; transfer-syntax=*; q=0.2, application/dicom; transfer-syntax="+dicom.JPEGLSLossless)
	if w.Header().Get("Content-Type") != "application/dicom;transfer-syntax="+dicom.JPEGLSLossless {
		t.Error(w.Header().Get("Content-Type"))
	}
	// A frame in another compression, under its own media type.
	w = get(t, h, path+"/frames/10", "Accept", "image/jls")
	want(t, w, 200)
	if frame, err := codecs.Decode(t.Context(), dicom.JPEGLSLossless, format, w.Body.Bytes()); err != nil || !bytes.Equal(frame.Pixels, last) || w.Header().Get("Content-Type") != "image/jls;transfer-syntax="+dicom.JPEGLSLossless {
		t.Errorf("%s, %v", w.Header().Get("Content-Type"), err)
	}
	w = get(t, h, path+"/frames/1", "Accept", "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1")
	want(t, w, 200)
	if !bytes.Equal(w.Body.Bytes(), first) {
		t.Error("a single frame has other samples")
	}
	// What can't be made is 406, and says what could be.
	for _, target := range []string{path, path + "/frames/1"} {
		w = get(t, h, target, "Accept", "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.202, application/octet-stream; transfer-syntax=1.2.840.10008.1.2.4.202")
		want(t, w, 406)
		if d := detail(t, w); !strings.Contains(d, dicom.JPEGLSLossless) || !strings.Contains(d, "transfer-syntax=*") {
			t.Errorf("406 says %q", d)
		}
	}
	if a.opened != 0 {
		t.Errorf("%d readers left open", a.opened)
	}
}

// A frame that is damaged ends in an error for who wants it decoded, before the
// answer begins; who takes it as it is gets it.
func TestRecodedDamaged(t *testing.T) {
	a := newArchive()
	ds := image(ctStudy, ctSeries, "1.2.3.1.5", 5, 1)
	ds.Delete(dicom.TagPixelData)
	b := partFile(t, ds, dicom.JPEG2000Lossless)
	b = append(b, 0xE0, 0x7F, 0x10, 0x00, 'O', 'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF)
	a.put(t, append(b, encapsulated([][]byte{[]byte("no picture")}, []int{0})...))
	h := serve(a, func(o *Options) { o.Codecs = pixeltest.Codecs(t) })
	path := ctPath + "/instances/1.2.3.1.5"
	for _, target := range []string{path, path + "/frames/1"} {
		w := get(t, h, target, "Accept", "application/dicom; transfer-syntax=1.2.840.10008.1.2.1, application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1")
		want(t, w, 406)
		if d := detail(t, w); !strings.Contains(d, "transfer-syntax=*") || !strings.Contains(d, "codestream") && !strings.Contains(d, "JPEG 2000") {
			t.Errorf("406 says %q", d)
		}
		want(t, get(t, h, target), 200)
	}
	if a.opened != 0 {
		t.Errorf("%d readers left open", a.opened)
	}
}
