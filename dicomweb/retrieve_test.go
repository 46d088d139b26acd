package dicomweb

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

const (
	ctPath  = "/studies/1.2.3/series/1.2.3.1"
	ctPath1 = ctPath + "/instances/1.2.3.1.1"
	ctPath3 = ctPath + "/instances/1.2.3.1.2" // three frames
)

// partOf is a part of a multipart answer.
type partOf struct {
	contentType string
	body        []byte
}

// split takes a multipart answer apart and checks what clients rely on.
func split(t *testing.T, w *httptest.ResponseRecorder) []partOf {
	t.Helper()
	media, params, err := mime.ParseMediaType(w.Header().Get("Content-Type"))
	if err != nil || media != "multipart/related" {
		t.Fatalf("Content-Type %q: %v", w.Header().Get("Content-Type"), err)
	}
	// Cornerstone3D and dicomweb-client take the first line as the boundary.
	if !bytes.HasPrefix(w.Body.Bytes(), []byte("--"+params["boundary"]+"\r\nContent-Type: ")) {
		t.Errorf("the body begins with %q", w.Body.Bytes()[:min(80, w.Body.Len())])
	}
	if got := w.Header().Get("Content-Length"); got != fmt.Sprint(w.Body.Len()) && w.Header().Get("Accept-Ranges") != "" { // else it is made while it is sent
		t.Errorf("Content-Length %s, %d bytes", got, w.Body.Len())
	}
	var parts []partOf
	mr := multipart.NewReader(bytes.NewReader(w.Body.Bytes()), params["boundary"])
	for {
		p, err := mr.NextRawPart()
		if err == io.EOF {
			return parts
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		ct := p.Header.Get("Content-Type")
		if m, _, err := mime.ParseMediaType(ct); err != nil || m != params["type"] {
			t.Errorf("a part is %q in an answer of type %q", ct, params["type"])
		}
		parts = append(parts, partOf{ct, b})
	}
}

func TestRetrieveGivesTheFilesAsTheyAreKept(t *testing.T) {
	a := twoImages(t)
	h := serve(a)
	one, two := a.bytes["1.2.3.1.1"], a.bytes["1.2.3.1.2"]
	for _, c := range []struct {
		target string
		want   [][]byte
	}{
		{"/studies/1.2.3", [][]byte{one, two}}, {ctPath, [][]byte{one, two}}, {ctPath1, [][]byte{one}},
	} {
		for _, accept := range []string{"", "*/*", `multipart/related; type="application/dicom"`, "multipart/related;type=application/dicom;transfer-syntax=*"} {
			w := get(t, h, c.target, "Accept", accept)
			want(t, w, 200)
			parts := split(t, w)
			if len(parts) != len(c.want) {
				t.Fatalf("%s: %d parts", c.target, len(parts))
			}
			for i := range parts {
				if !bytes.Equal(parts[i].body, c.want[i]) {
					t.Errorf("%s: part %d is not what was stored", c.target, i)
				}
			}
			if got, want := parts[0].contentType, "application/dicom;transfer-syntax=1.2.840.10008.1.2"; got != want {
				t.Errorf("%s: %s, want %s", c.target, got, want)
			}
		}
	}
	w := get(t, h, ctPath1, "Accept", "application/dicom")
	want(t, w, 200)
	if !bytes.Equal(w.Body.Bytes(), one) || !strings.HasPrefix(w.Header().Get("Content-Type"), "application/dicom;") {
		t.Errorf("single part: %s, %d bytes", w.Header().Get("Content-Type"), w.Body.Len())
	}
	// A series can't be one part.
	want(t, get(t, h, ctPath, "Accept", "application/dicom"), 406)
	// One instance is Implicit, one Explicit: one of them is written anew.
	w = get(t, h, ctPath, "Accept", `multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.1`)
	want(t, w, 200)
	parts := split(t, w)
	if len(parts) != 2 || bytes.Equal(parts[0].body, one) || !bytes.Equal(parts[1].body, two) {
		t.Errorf("%d parts", len(parts))
	}
	for _, p := range parts {
		if f, err := dicom.Scan(bytes.NewReader(p.body), dicom.ScanOptions{}); err != nil || f.Declared != dicom.ExplicitVRLittleEndian || p.contentType != "application/dicom;transfer-syntax=1.2.840.10008.1.2.1" {
			t.Errorf("%s: %v", p.contentType, err)
		}
	}
	w = get(t, h, ctPath, "Accept", `multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.102`)
	want(t, w, 406)
	if d := detail(t, w); !strings.Contains(d, "1.2.840.10008.1.2 (Implicit VR Little Endian)") || !strings.Contains(d, "transfer-syntax=*") {
		t.Errorf("406 says %q", d)
	}
	want(t, get(t, h, ctPath3, "Accept", `multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.1`), 200)
	if a.opened != 0 {
		t.Errorf("%d readers left open", a.opened)
	}
}

func TestOutsideTheScopeIsNotFound(t *testing.T) {
	h := serve(twoImages(t))
	other := "/studies/" + otherUID
	for _, target := range []string{
		other, other + "/metadata", other + "/series/" + otherUID + ".1", other + "/series/" + otherUID + ".1/metadata",
		other + "/series/" + otherUID + ".1/instances/" + otherUID + ".1.1",
		other + "/series/" + otherUID + ".1/instances/" + otherUID + ".1.1/metadata",
		other + "/series/" + otherUID + ".1/instances/" + otherUID + ".1.1/frames/1",
		other + "/series/" + otherUID + ".1/instances/" + otherUID + ".1.1/bulkdata/7FE00010",
		// Nor may an instance be had through another study's address.
		"/studies/1.2.3/series/1.2.3.1/instances/" + otherUID + ".1.1",
		"/studies/1.2.3/series/1.2.3.1/instances/" + otherUID + ".1.1/frames/1",
		"/studies/1.2.3/series/1.2.3.1/instances/" + otherUID + ".1.1/metadata",
		"/studies/1.2.3/series/1.2.3.9/instances/1.2.3.1.1",
		"/studies/1.2.3.4/metadata",
	} {
		if w := get(t, h, target); w.Code != 404 {
			t.Errorf("%s: %d", target, w.Code)
		}
	}
}

func TestETagRangeAndHead(t *testing.T) {
	h := serve(twoImages(t))
	for _, target := range []string{ctPath1, ctPath, ctPath3 + "/frames/2", ctPath3 + "/frames/1,3", ctPath3 + "/bulkdata/7FE00010"} {
		for _, accept := range []string{"*/*", "application/octet-stream", "application/dicom"} {
			whole := get(t, h, target, "Accept", accept)
			if whole.Code == 406 {
				continue
			}
			want(t, whole, 200)
			etag := whole.Header().Get("ETag")
			if len(etag) < 10 {
				t.Fatalf("%s: ETag %s", target, etag)
			}
			want(t, get(t, h, target, "Accept", accept, "If-None-Match", `"x", W/`+etag), 304)
			head := call(t, h, "HEAD", target, nil, "Accept", accept)
			want(t, head, 200)
			if head.Body.Len() != 0 || head.Header().Get("Content-Length") != whole.Header().Get("Content-Length") {
				t.Errorf("%s: HEAD gives %d bytes, Content-Length %s", target, head.Body.Len(), head.Header().Get("Content-Length"))
			}
			// Every cut of the answer is the same bytes.
			body := whole.Body.Bytes()
			for from := 0; from < len(body); from += max(1, len(body)/17) {
				to := min(from+len(body)/5, len(body)-1)
				w := get(t, h, target, "Accept", accept, "Range", fmt.Sprintf("bytes=%d-%d", from, to), "If-Range", etag)
				want(t, w, 206)
				if !bytes.Equal(w.Body.Bytes(), body[from:to+1]) {
					t.Fatalf("%s: bytes %d to %d differ", target, from, to)
				}
				if got, want := w.Header().Get("Content-Range"), fmt.Sprintf("bytes %d-%d/%d", from, to, len(body)); got != want {
					t.Errorf("Content-Range %q, want %q", got, want)
				}
			}
			w := get(t, h, target, "Accept", accept, "Range", fmt.Sprintf("bytes=%d-", len(body)), "If-Range", etag)
			want(t, w, 416)
			if got := w.Header().Get("Content-Range"); got != fmt.Sprintf("bytes */%d", len(body)) {
				t.Errorf("416 with Content-Range %q", got)
			}
			want(t, get(t, h, target, "Accept", accept, "Range", "bytes=0-1", "If-Range", `"old"`), 200)
		}
	}
	// Without If-Range it is the frame's own bytes that are meant.
	w := get(t, h, ctPath3+"/frames/2", "Accept", "multipart/related; type=application/octet-stream; transfer-syntax=*", "Range", "bytes=2-3")
	want(t, w, 206)
	if !bytes.Equal(w.Body.Bytes(), []byte{42, 43}) || w.Header().Get("Content-Range") != "bytes 2-3/8" {
		t.Errorf("range of a frame: %v %s", w.Body.Bytes(), w.Header().Get("Content-Range"))
	}
	frame := get(t, h, ctPath1+"/frames/1")
	if got := frame.Header().Get("Cache-Control"); got != "private, max-age=31536000, immutable" {
		t.Errorf("Cache-Control of a frame: %s", got)
	}
	for _, a := range []struct {
		age  time.Duration
		want string
	}{
		{-time.Minute, "private, max-age=0"}, // another node's clock is ahead
		{90 * time.Second, "private, max-age=90"},
		{23 * time.Hour, "private, max-age=82800"},
		{25 * time.Hour, "private, max-age=31536000, immutable"},
	} {
		if got := cacheControl(a.age); got != a.want {
			t.Errorf("received %s ago: %s, want %s", a.age, got, a.want)
		}
	}
	// Two forms of one resource must not be taken for each other.
	if a, b := get(t, h, ctPath1, "Accept", "application/dicom").Header().Get("ETag"), get(t, h, ctPath1).Header().Get("ETag"); a == b {
		t.Error("one ETag for two forms")
	}
}

func TestFramesOfNativePixels(t *testing.T) {
	h := serve(twoImages(t))
	all := make([]byte, 24)
	for i := range all {
		all[i] = byte(i + 32)
	}
	w := get(t, h, ctPath3+"/frames/1,3", "Accept", "multipart/related; type=application/octet-stream; transfer-syntax=*")
	want(t, w, 200)
	parts := split(t, w)
	if len(parts) != 2 || !bytes.Equal(parts[0].body, all[:8]) || !bytes.Equal(parts[1].body, all[16:]) {
		t.Errorf("frames 1 and 3: %v", parts)
	}
	if parts[0].contentType != "application/octet-stream;transfer-syntax=1.2.840.10008.1.2.1" {
		t.Errorf("part is %s", parts[0].contentType)
	}
	// Pixels of an Implicit Little Endian instance are those of an Explicit one.
	for accept, ts := range map[string]string{
		"application/octet-stream":                                      "1.2.840.10008.1.2.1",
		"application/octet-stream; transfer-syntax=1.2.840.10008.1.2":   "1.2.840.10008.1.2",
		"application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1": "1.2.840.10008.1.2.1",
	} {
		w := get(t, h, ctPath1+"/frames/1", "Accept", accept)
		want(t, w, 200)
		if got := w.Header().Get("Content-Type"); got != "application/octet-stream;transfer-syntax="+ts {
			t.Errorf("%s: %s", accept, got)
		}
		if w.Body.Len() != 8 {
			t.Errorf("%d bytes", w.Body.Len())
		}
	}
	for target, c := range map[string]struct {
		status int
		says   string
	}{
		"/frames/4":          {404, "3 frames"},
		"/frames/1,4":        {404, "frame 4"},
		"/frames/0":          {400, "count from 1"},
		"/frames/-1":         {400, "frame number"},
		"/frames/1,,2":       {400, "frame number"},
		"/frames/one":        {400, `"one"`},
		"/frames/1,2,":       {400, "frame number"},
		"/frames/5000000000": {400, "frame number"},
	} {
		w := get(t, h, ctPath3+target)
		want(t, w, c.status)
		if d := detail(t, w); !strings.Contains(d, c.says) {
			t.Errorf("%s: %q does not say %q", target, d, c.says)
		}
	}
	want(t, get(t, h, ctPath3+"/frames/1,2", "Accept", "application/octet-stream"), 406) // two frames are no single part
	w = get(t, h, ctPath3+"/frames/1", "Accept", "multipart/related; type=image/jls")
	want(t, w, 406)
	if d := detail(t, w); !strings.Contains(d, "Explicit VR Little Endian") {
		t.Errorf("406 says %q", d)
	}
}

// encapsulated is pixel data in fragments with a basic offset table, PS3.5 A.4.
func encapsulated(fragments [][]byte, frameStarts []int) []byte {
	item := func(b []byte, value []byte) []byte {
		n := len(value)
		b = append(b, 0xFE, 0xFF, 0x00, 0xE0, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
		return append(b, value...)
	}
	var table []byte
	offset, next := 0, 0
	for i, f := range fragments {
		if next < len(frameStarts) && frameStarts[next] == i {
			table = append(table, byte(offset), byte(offset>>8), 0, 0)
			next++
		}
		offset += 8 + len(f)
	}
	b := item(nil, table)
	for _, f := range fragments {
		b = item(b, f)
	}
	return append(b, 0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0)
}

func TestFramesOfFragments(t *testing.T) {
	ds := image(ctStudy, ctSeries, "1.2.3.1.5", 5, 2)
	ds.Delete(dicom.TagPixelData)
	b := partFile(t, ds, dicom.JPEGLSLossless)
	// (7FE0,0010) OB with undefined length
	b = append(b, 0xE0, 0x7F, 0x10, 0x00, 'O', 'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF)
	b = append(b, encapsulated([][]byte{[]byte("first-"), []byte("frame."), []byte("second")}, []int{0, 2})...)
	a := newArchive()
	a.put(t, b)
	h := serve(a)
	path := ctPath + "/instances/1.2.3.1.5"

	w := get(t, h, path+"/frames/2,1", "Accept", "multipart/related; type=application/octet-stream; transfer-syntax=*")
	want(t, w, 200)
	parts := split(t, w)
	if len(parts) != 2 || string(parts[0].body) != "second" || string(parts[1].body) != "first-frame." {
		t.Errorf("%q", parts)
	}
	if parts[0].contentType != "application/octet-stream;transfer-syntax="+dicom.JPEGLSLossless {
		t.Errorf("part is %s", parts[0].contentType)
	}
	w = get(t, h, path+"/frames/1", "Accept", `multipart/related; type="image/jls"`)
	want(t, w, 200)
	if parts := split(t, w); parts[0].contentType != "image/jls;transfer-syntax="+dicom.JPEGLSLossless {
		t.Errorf("part is %s", parts[0].contentType)
	}
	w = get(t, h, path+"/frames/1", "Accept", "image/jls", "Range", "bytes=4-7")
	want(t, w, 206)
	if w.Body.String() != "t-fr" { // over the border of the fragments
		t.Errorf("range is %q", w.Body)
	}
	want(t, get(t, h, path+"/frames/1", "Accept", "multipart/related; type=application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"), 406)

	// The metadata's BulkDataURI leads to all frames.
	w = get(t, h, path+"/metadata")
	want(t, w, 200)
	var meta []map[string]struct{ BulkDataURI string }
	if err := json.Unmarshal(w.Body.Bytes(), &meta); err != nil {
		t.Fatal(err)
	}
	uri, ok := strings.CutPrefix(meta[0]["7FE00010"].BulkDataURI, "/dicom-web")
	if !ok {
		t.Fatalf("%s", w.Body)
	}
	w = get(t, h, uri)
	want(t, w, 200)
	if parts := split(t, w); len(parts) != 2 || string(parts[1].body) != "second" {
		t.Errorf("bulk data: %q", parts)
	}
}

// Frame 9,000 of 10,000 is asked of the store as frame 1 is: one read of the
// bytes of the frame.
func TestAFarFrameIsOneRead(t *testing.T) {
	const frames = 10_000
	ds := image(ctStudy, ctSeries, "1.2.3.1.5", 5, frames).Delete(dicom.TagPixelData)
	b := partFile(t, ds, dicom.JPEGLSLossless)
	b = append(b, 0xE0, 0x7F, 0x10, 0x00, 'O', 'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF)
	each := make([][]byte, frames)
	for n := range each {
		each[n] = fmt.Appendf(nil, "frame %-20d", n+1)
	}
	b = append(b, encapsulated(each, nil)...)
	a := newArchive()
	a.put(t, b)
	if px := a.instances[0].Location.PixelData; px.Mapped != frames || px.Fragments != nil {
		t.Fatalf("%d frames are mapped", px.Mapped)
	}
	h := serve(a)
	for _, n := range []int{1, 9_000} {
		a.asked = nil
		w := get(t, h, fmt.Sprintf("%s/instances/1.2.3.1.5/frames/%d", ctPath, n), "Accept", "image/jls")
		want(t, w, 200)
		if got := w.Body.String(); got != string(each[n-1]) {
			t.Errorf("frame %d is %q", n, got)
		}
		if len(a.asked) != 1 || a.asked[0] != int64(len(each[n-1])) {
			t.Errorf("frame %d: the store was asked for %d bytes", n, a.asked)
		}
	}
	want(t, get(t, h, ctPath+"/instances/1.2.3.1.5/frames/10001", "Accept", "image/jls"), 404)
}

func TestAVideoIsOneStream(t *testing.T) {
	const mpeg4 = "1.2.840.10008.1.2.4.102"
	ds := image(ctStudy, ctSeries, "1.2.3.1.5", 5, 200).Delete(dicom.TagPixelData)
	b := partFile(t, ds, mpeg4)
	b = append(b, 0xE0, 0x7F, 0x10, 0x00, 'O', 'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF)
	b = append(b, encapsulated([][]byte{[]byte("a video "), []byte("in two!!")}, nil)...)
	a := newArchive()
	a.put(t, b)
	a.instances[0].Location.PixelData.Fragments = nil
	h := serve(a)
	path := ctPath + "/instances/1.2.3.1.5"
	w := get(t, h, path+"/bulkdata/7FE00010", "Accept", "video/mp4")
	want(t, w, 200)
	if w.Body.String() != "a video in two!!" || w.Header().Get("Content-Type") != "video/mp4;transfer-syntax="+mpeg4 {
		t.Errorf("%q as %s", w.Body, w.Header().Get("Content-Type"))
	}
	w = get(t, h, path+"/bulkdata/7FE00010?offset=1&length=2", "Accept", "video/mp4", "Range", "bytes=6-9")
	want(t, w, 206)
	if w.Body.String() != "o in" {
		t.Errorf("range %q", w.Body)
	}
	w = get(t, h, path+"/frames/1")
	want(t, w, 406)
	if d := detail(t, w); !strings.Contains(d, "whole instance") {
		t.Error(d)
	}
}

func TestBulkdataIsARangeOfTheInstance(t *testing.T) {
	a := twoImages(t)
	h := serve(a)
	stored := a.bytes["1.2.3.1.1"]
	single := []string{"Accept", "application/octet-stream"}
	w := get(t, h, ctPath1+"/bulkdata/00420011?offset=128&length=4", single...)
	want(t, w, 200)
	if w.Body.String() != "DICM" {
		t.Errorf("%q", w.Body)
	}
	w = get(t, h, ctPath1+"/bulkdata/00420011?offset=128&length=4")
	want(t, w, 200)
	if parts := split(t, w); string(parts[0].body) != "DICM" {
		t.Errorf("%q", parts)
	}
	// Clamped to the instance.
	w = get(t, h, fmt.Sprintf("%s/bulkdata/00420011?offset=%d&length=9000000000000000000", ctPath1, len(stored)-2), single...)
	want(t, w, 200)
	if !bytes.Equal(w.Body.Bytes(), stored[len(stored)-2:]) {
		t.Errorf("%q", w.Body)
	}
	// Pixel data are where the index says, without an offset too.
	px := a.instances[0].Location.PixelData
	for _, query := range []string{"", fmt.Sprintf("?offset=%d&length=%d", px.Offset, px.Length)} {
		w = get(t, h, ctPath1+"/bulkdata/7FE00010"+query, single...)
		want(t, w, 200)
		if !bytes.Equal(w.Body.Bytes(), stored[px.Offset:]) {
			t.Errorf("pixel data%s: %d bytes", query, w.Body.Len())
		}
	}
	for query, status := range map[string]int{
		"00420011?offset=-1&length=4":                           400,
		"00420011?offset=0&length=-2":                           400,
		"00420011?offset=x&length=4":                            400,
		"00420011?offset=4":                                     400,
		"00420011?offset=0&length=-1":                           404,
		"00420011":                                              404,
		fmt.Sprintf("00420011?offset=%d&length=1", len(stored)): 404,
	} {
		if w := get(t, h, ctPath1+"/bulkdata/"+query, single...); w.Code != status {
			t.Errorf("%s: %d, want %d", query, w.Code, status)
		}
	}
}

func TestFramesOfADeflatedInstance(t *testing.T) {
	ds := image(ctStudy, ctSeries, "1.2.3.1.6", 6, 3)
	plain := partFile(t, ds, dicom.ExplicitVRLittleEndian)
	h0, err := dicom.Scan(bytes.NewReader(plain), dicom.ScanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b := dicom.AppendFileMeta(nil, dicom.FileMeta{SOPClassUID: ctClass, SOPInstanceUID: "1.2.3.1.6", TransferSyntaxUID: dicom.DeflatedExplicitVRLittleEndian})
	var deflated bytes.Buffer
	z, _ := flate.NewWriter(&deflated, 6)
	z.Write(plain[h0.DatasetOffset:])
	z.Close()
	a := newArchive()
	a.put(t, append(b, deflated.Bytes()...))
	h := serve(a)
	path := ctPath + "/instances/1.2.3.1.6"
	w := get(t, h, path+"/frames/2", "Accept", "application/octet-stream")
	want(t, w, 200)
	if got, want := w.Body.Bytes(), []byte{104, 105, 106, 107, 108, 109, 110, 111}; !bytes.Equal(got, want) {
		t.Errorf("frame 2 is %v, want %v", got, want)
	}
	if got := w.Header().Get("Content-Type"); got != "application/octet-stream;transfer-syntax=1.2.840.10008.1.2.1" {
		t.Errorf("inflated pixels are called %s", got)
	}
	want(t, get(t, h, path+"/frames/4"), 404)
}

func TestFramesOfSingleBits(t *testing.T) {
	// 3 frames of 3 x 3 pixels: frame n begins at bit 9(n-1), PS3.5 8.1.1.
	//  frame 1: 111 000 101   frame 2: 010 101 010   frame 3: 000 011 111
	// lowest bit first: 01000111 1010101|1 ... byte by byte below.
	bits := "111000101" + "010101010" + "000011111"
	packed := make([]byte, 4)
	for i, b := range bits {
		if b == '1' {
			packed[i/8] |= 1 << (i % 8)
		}
	}
	ds := image(ctStudy, ctSeries, "1.2.3.1.7", 7, 3)
	ds.SetInts(dicom.TagRows, dicom.US, 3)
	ds.SetInts(dicom.TagColumns, dicom.US, 3)
	ds.SetInts(dicom.TagBitsAllocated, dicom.US, 1)
	ds.SetBytes(dicom.TagPixelData, dicom.OB, packed)
	a := newArchive()
	a.put(t, partFile(t, ds, dicom.ExplicitVRLittleEndian))
	h := serve(a)
	for n := 1; n <= 3; n++ {
		w := get(t, h, fmt.Sprintf("%s/instances/1.2.3.1.7/frames/%d", ctPath, n), "Accept", "application/octet-stream")
		want(t, w, 200)
		got := ""
		for i := range 9 {
			got += string('0' + w.Body.Bytes()[i/8]>>(i%8)&1)
		}
		if want := bits[9*(n-1) : 9*n]; got != want || w.Body.Len() != 2 || w.Body.Bytes()[1]&0xFE != 0 {
			t.Errorf("frame %d is %s in %x, want %s", n, got, w.Body.Bytes(), want)
		}
	}
	w := get(t, h, ctPath+"/instances/1.2.3.1.7/frames/2", "Accept", "application/octet-stream", "Range", "bytes=1-1")
	want(t, w, 206)
	if w.Body.Len() != 1 || w.Body.Bytes()[0] != 0 {
		t.Errorf("second byte of frame 2 is %x", w.Body.Bytes())
	}
}

func TestNoFrames(t *testing.T) {
	ds := image(ctStudy, ctSeries, "1.2.3.1.8", 8, 1).Delete(dicom.TagPixelData)
	a := newArchive()
	a.put(t, partFile(t, ds, dicom.ExplicitVRLittleEndian))
	w := get(t, serve(a), ctPath+"/instances/1.2.3.1.8/frames/1")
	want(t, w, 404)
	if d := detail(t, w); !strings.Contains(d, "no pixel data") {
		t.Error(d)
	}
	// An index that promises more than the pixel data hold must not make us
	// read beside them.
	a = twoImages(t)
	a.instances[1].FrameCount = 5
	w = get(t, serve(a), ctPath3+"/frames/5")
	want(t, w, 404)
	a.instances[1].Location.PixelData.Offset = a.instances[1].Location.Length
	want(t, get(t, serve(a), ctPath3+"/frames/1"), 404)
}

func TestMetadata(t *testing.T) {
	a := twoImages(t)
	ds := image(ctStudy, "1.2.3.2", "1.2.3.2.1", 1, 1)
	a.put(t, partFile(t, ds, dicom.ExplicitVRLittleEndian))
	h := serve(a)
	for target, want1 := range map[string][]string{
		"/studies/1.2.3/metadata": {"1.2.3.1.1", "1.2.3.1.2", "1.2.3.2.1"},
		ctPath + "/metadata":      {"1.2.3.1.1", "1.2.3.1.2"},
		ctPath3 + "/metadata":     {"1.2.3.1.2"},
	} {
		for _, gzipped := range []bool{false, true} {
			headers := []string{"Accept", "application/dicom+json"}
			if gzipped {
				headers = append(headers, "Accept-Encoding", "gzip")
			}
			w := get(t, h, target, headers...)
			want(t, w, 200)
			etag := w.Header().Get("ETag")
			var body io.Reader = w.Body
			if gzipped && target != ctPath3+"/metadata" { // that one is small
				if w.Header().Get("Content-Encoding") != "gzip" {
					t.Fatalf("%s: not gzipped", target)
				}
				z, err := gzip.NewReader(body)
				if err != nil {
					t.Fatal(err)
				}
				body = z
			}
			raw, err := io.ReadAll(body)
			if err != nil {
				t.Fatal(err)
			}
			var list []map[string]attribute
			if err := json.Unmarshal(raw, &list); err != nil {
				t.Fatalf("%s: %v: %s", target, err, raw)
			}
			var got []string
			for _, m := range list {
				got = append(got, m["00080018"].Value[0].(string))
			}
			if !slices.Equal(got, want1) {
				t.Errorf("%s: %v, want %v", target, got, want1)
			}
			want(t, get(t, h, target, append(headers, "If-None-Match", etag)...), 304)
			head := call(t, h, "HEAD", target, nil, headers...)
			want(t, head, 200)
			if head.Body.Len() > 0 {
				t.Errorf("HEAD %s has a body", target)
			}
		}
		plain, zipped := get(t, h, target).Header().Get("ETag"), get(t, h, target, "Accept-Encoding", "gzip").Header().Get("ETag")
		if plain == zipped || plain == "" {
			t.Errorf("%s: ETag %s, gzipped %s", target, plain, zipped)
		}
	}
	want(t, get(t, h, ctPath+"/metadata", "Accept", "image/png"), 406)
	want(t, get(t, h, ctPath+"/instances/1.2.3.1.99/metadata"), 404)
}

func TestAppendArray(t *testing.T) {
	zipped := func(s string) io.Reader {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		io.WriteString(z, s)
		z.Close()
		return &b
	}
	long := `[{"a":"` + strings.Repeat("]", 200_000) + `"}` + strings.Repeat(" ", 100) + "]\n"
	for _, c := range []struct {
		arrays []string
		want   string
		fails  bool
	}{
		{[]string{`[1]`, `[2,3]`}, `[1,2,3`, false},
		{[]string{` [ ]`, `[2]`, `[]`, "[3]\r\n"}, `[2,3`, false},
		{[]string{`[]`}, ``, false},
		{[]string{long, `[1]`}, strings.TrimRight(long, "]\n ") + strings.Repeat(" ", 100) + ",1", false},
		{[]string{`{}`}, "", true},
		{[]string{`[1`}, "", true},
		{[]string{``}, "", true},
	} {
		var b bytes.Buffer
		var err error
		begun := false
		for _, a := range c.arrays {
			if begun, err = appendArray(&b, zipped(a), begun); err != nil {
				break
			}
		}
		if (err != nil) != c.fails {
			t.Errorf("%.40q: %v", c.arrays, err)
		}
		if !c.fails && b.String() != c.want {
			t.Errorf("%.40q: %.60q", c.arrays, b.String())
		}
	}
}

func TestAStoreThatFailsIsAnErrorNotAShortAnswer(t *testing.T) {
	a := twoImages(t)
	h := serve(a)
	a.openErr = pacs.Wrap(pacs.Unavailable, errTest, "The object store does not answer.")
	w := get(t, h, ctPath1)
	want(t, w, 503)
	for _, name := range []string{"ETag", "Content-Range", "Accept-Ranges"} {
		if v := w.Header().Get(name); v != "" {
			t.Errorf("the problem has %s: %s", name, v)
		}
	}
	// Later than the head: the connection breaks.
	a.openErr = nil
	for range 20 {
		a.put(t, partFile(t, image(ctStudy, ctSeries, fmt.Sprintf("1.2.3.1.%d", 10+len(a.instances)), 3, 1), dicom.ExplicitVRLittleEndian))
	}
	a.bytes[a.instances[15].SOPInstanceUID] = a.bytes[a.instances[15].SOPInstanceUID][:300]
	server := httptest.NewServer(h)
	defer server.Close()
	resp, err := http.Get(server.URL + "/dicom-web" + ctPath)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Error("the answer looks complete")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.opened != 0 {
		t.Errorf("%d readers left open", a.opened)
	}
}

// samples are real files whose frames the scanner can tell apart.
func TestFramesOfRealFilesAreTheirPixelData(t *testing.T) {
	root := filepath.Join("..", "..", "shared", "dicom", "pydicom-data")
	files, _ := filepath.Glob(filepath.Join(root, "*.dcm"))
	if len(files) == 0 {
		t.Skipf("no sample files in %s", root)
	}
	if len(files) > 60 {
		files = files[:60]
	}
	seen := map[string]bool{}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		a := newArchive()
		if _, err := a.Receive(t.Context(), pacs.Incoming{Data: bytes.NewReader(b)}); err != nil {
			continue
		}
		i := a.instances[0]
		header, _ := dicom.Scan(bytes.NewReader(b), dicom.ScanOptions{})
		frames, err := header.Frames()
		if err != nil {
			continue
		}
		seen[i.TransferSyntaxUID] = true
		h := serve(a)
		base := "/studies/" + i.StudyInstanceUID + "/series/" + i.SeriesInstanceUID + "/instances/" + i.SOPInstanceUID
		w := get(t, h, base, "Accept", "application/dicom")
		want(t, w, 200)
		if !bytes.Equal(w.Body.Bytes(), b) {
			t.Errorf("%s: the instance differs", filepath.Base(name))
		}
		for n, ranges := range frames[:min(3, len(frames))] {
			w := get(t, h, fmt.Sprintf("%s/frames/%d", base, n+1), "Accept", "multipart/related; type=application/octet-stream; transfer-syntax=*")
			want(t, w, 200)
			parts := split(t, w)
			if header.Deflated || i.TransferSyntaxUID == dicom.ExplicitVRBigEndian {
				continue // its ranges are not in the file, or turned round: TestBigEndianPixels
			}
			var pixels []byte
			for _, r := range ranges {
				pixels = append(pixels, b[r.Offset:r.Offset+r.Length]...)
			}
			if !bytes.Equal(parts[0].body, pixels) {
				t.Errorf("%s: frame %d differs", filepath.Base(name), n+1)
			}
		}
	}
	if len(seen) < 5 {
		t.Errorf("only %d transfer syntaxes were seen: %v", len(seen), seen)
	}
}
