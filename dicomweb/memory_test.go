package dicomweb

import (
	"bytes"
	"context"
	"hash"
	"hash/crc32"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// A 200 MB instance: a real header and 100 frames of made-up pixels.
const (
	bigFrame  = 2 << 20
	bigFrames = 100
	bigPixels = bigFrame * bigFrames
)

func bigHead(t testing.TB) []byte {
	ds := image(ctStudy, ctSeries, "1.2.3.1.1", 1, bigFrames).Delete(dicom.TagPixelData)
	ds.SetInts(dicom.TagRows, dicom.US, 1024)
	ds.SetInts(dicom.TagColumns, dicom.US, 1024)
	b := partFile(t, ds, dicom.ExplicitVRLittleEndian)
	// (7FE0,0010) OW, 4 bytes of length
	n := uint32(bigPixels)
	return append(b, 0xE0, 0x7F, 0x10, 0x00, 'O', 'W', 0, 0, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
}

// pixels are bytes made on the fly, with a line break and two hyphens, as a
// boundary begins, every 4 KB.
func pixels(n int64) *endless {
	pattern := make([]byte, 0, 1<<20)
	for i := 0; len(pattern) < cap(pattern)-4096; i++ {
		pattern = append(pattern, "\r\n--"...)
		for k := range 4093 {
			pattern = append(pattern, byte(k*(i+3)))
		}
	}
	return &endless{pattern: pattern, left: n}
}

// bigArchive hashes what it receives and serves one big instance.
type bigArchive struct {
	*archive
	head []byte
	sum  hash.Hash
}

func (a *bigArchive) Receive(_ context.Context, in pacs.Incoming) (pacs.Receipt, error) {
	a.sum = crc32.NewIEEE()
	h, err := dicom.Scan(io.TeeReader(in.Data, a.sum), dicom.ScanOptions{})
	if err != nil {
		return pacs.Receipt{}, pacs.Wrap(pacs.Invalid, err, "Not a data set.")
	}
	return pacs.Receipt{SOPInstanceUID: h.Dataset.String(dicom.TagSOPInstanceUID), StudyInstanceUID: ctStudy, SeriesInstanceUID: ctSeries, Bytes: h.Length}, nil
}

func (a *bigArchive) Open(_ context.Context, _ pacs.Location, offset, length int64) (io.ReadCloser, error) {
	r := io.MultiReader(bytes.NewReader(a.head), pixels(bigPixels))
	if offset > 0 {
		if _, err := io.CopyN(io.Discard, r, offset); err != nil {
			return nil, err
		}
	}
	return io.NopCloser(io.LimitReader(r, length)), nil
}

func (a *bigArchive) Instance(_ context.Context, i pacs.Instance) (pacs.File, error) {
	return pacs.File{Length: i.Location.Length, Open: func(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
		return a.Open(ctx, i.Location, offset, length)
	}}, nil
}

// allocated is how many bytes f allocates altogether, freed ones included.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// flat is far below the 200 MB that go through, and above what client, server
// and buffers need.
const flat = 8 << 20

func TestMemoryStaysFlat(t *testing.T) {
	a := &bigArchive{archive: newArchive(), head: bigHead(t)}
	server := httptest.NewServer(serve(a.archive, func(o *Options) { o.Packs, o.Receiver = a, a }))
	defer server.Close()
	want := crc32.NewIEEE()
	io.Copy(want, io.MultiReader(bytes.NewReader(a.head), pixels(bigPixels)))
	size := int64(len(a.head)) + bigPixels

	used := allocated(func() {
		body := io.MultiReader(bytes.NewReader([]byte("--XX\r\nContent-Type: application/dicom\r\n\r\n")), bytes.NewReader(a.head), pixels(bigPixels), bytes.NewReader([]byte("\r\n--XX--")))
		resp, err := http.Post(server.URL+"/dicom-web/studies", stowType, body)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != 200 {
			b, _ := io.ReadAll(resp.Body)
			t.Fatalf("%d %s", resp.StatusCode, b)
		}
	})
	if used > flat {
		t.Errorf("storing %d MB allocated %d KB", size>>20, used>>10)
	}
	if !bytes.Equal(a.sum.Sum(nil), want.Sum(nil)) {
		t.Error("other bytes were received")
	}
	t.Logf("STOW-RS: %d MB stored, %d KB allocated", size>>20, used>>10)

	scanned, err := dicom.Scan(io.MultiReader(bytes.NewReader(a.head), pixels(bigPixels)), dicom.ScanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.add(scanned, nil, pacs.Incoming{}); err != nil {
		t.Fatal(err)
	}
	a.instances[0].Location.Length = size
	got := crc32.NewIEEE()
	used = allocated(func() {
		r, _ := http.NewRequest("GET", server.URL+"/dicom-web"+ctPath1, nil)
		r.Header.Set("Accept", "application/dicom")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.ContentLength != size {
			t.Errorf("Content-Length %d, want %d", resp.ContentLength, size)
		}
		if n, err := io.Copy(got, resp.Body); err != nil || n != size {
			t.Fatalf("%d bytes, %v", n, err)
		}
	})
	if used > flat {
		t.Errorf("retrieving %d MB allocated %d KB", size>>20, used>>10)
	}
	if !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
		t.Error("other bytes were sent")
	}
	t.Logf("WADO-RS: %d MB retrieved, %d KB allocated", size>>20, used>>10)

	got.Reset()
	used = allocated(func() {
		resp, err := http.Get(server.URL + "/dicom-web/studies/" + ctStudy + "/bulkdata")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		_, params, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("%d, %v", resp.StatusCode, err)
		}
		part, err := multipart.NewReader(resp.Body, params["boundary"]).NextRawPart()
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(got, part); err != nil || n != bigPixels {
			t.Fatalf("%d bytes, %v", n, err)
		}
	})
	want.Reset()
	io.Copy(want, pixels(bigPixels))
	if used > flat || !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
		t.Errorf("retrieving %d MB of bulk data allocated %d KB, or other bytes were sent", bigPixels>>20, used>>10)
	}
}
