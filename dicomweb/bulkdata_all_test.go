package dicomweb

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// bulkAnswered are the parts of an answer by Content-Location, and their types.
func bulkAnswered(t *testing.T, contentType string, body []byte) (values map[string][]byte, types map[string]string) {
	t.Helper()
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil || media != "multipart/related" {
		t.Fatalf("Content-Type %q: %v", contentType, err)
	}
	values, types = map[string][]byte{}, map[string]string{}
	parts := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for n := 0; ; n++ {
		p, err := parts.NextRawPart()
		if err == io.EOF {
			return values, types
		}
		if err != nil {
			t.Fatal(err)
		}
		at := p.Header.Get("Content-Location")
		if _, twice := values[at]; twice || at == "" {
			t.Errorf("a part at %q, once more or without an address", at)
		}
		if types[at] = p.Header.Get("Content-Type"); n == 0 && mediaOf(types[at]) != params["type"] {
			t.Errorf("the first part is %s, the answer of type %s", types[at], params["type"])
		}
		if values[at], err = io.ReadAll(p); err != nil {
			t.Fatal(err)
		}
	}
}

// manyValues is a study with two series: an image and one with private values in
// front of, within a sequence of and behind its pixels, and two compressed frames.
func manyValues(t *testing.T) *archive {
	a := twoImages(t)
	ds := image(ctStudy, "1.2.3.2", "1.2.3.2.1", 1, 1)
	large := func(word string) []byte { return bytes.Repeat([]byte(word), 70_000/len(word)) }
	ds.SetBytes(dicom.NewTag(0x0029, 0x1010), dicom.OB, large("front "))
	ds.SetSequence(dicom.NewTag(0x0029, 0x1020), (&dicom.Dataset{}).SetBytes(dicom.NewTag(0x0029, 0x1030), dicom.OB, large("within")))
	ds.SetBytes(dicom.NewTag(0x7FE3, 0x1010), dicom.OB, large("behind"))
	a.put(t, partFile(t, ds, dicom.ExplicitVRLittleEndian))
	frames := image(ctStudy, "1.2.3.2", "1.2.3.2.2", 2, 2).Delete(dicom.TagPixelData)
	b := append(partFile(t, frames, dicom.JPEGLSLossless), 0xE0, 0x7F, 0x10, 0x00, 'O', 'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF)
	a.put(t, append(b, encapsulated([][]byte{[]byte("first-"), []byte("frame."), []byte("second")}, []int{0, 2})...))
	return a
}

// urisOf are all BulkDataURIs in a text.
func urisOf(t *testing.T, model []byte) (list []string) {
	t.Helper()
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, name := range slices.Sorted(maps.Keys(v)) {
				if s, ok := v[name].(string); ok && name == "BulkDataURI" {
					list = append(list, s)
				}
				walk(v[name])
			}
		case []any:
			for _, e := range v {
				walk(e)
			}
		}
	}
	var v any
	if err := json.Unmarshal(model, &v); err != nil {
		t.Fatal(err)
	}
	walk(v)
	return list
}

// Every BulkDataURI of the metadata is the Content-Location of a part, whose bytes
// are what that address gives by itself.
func TestAllBulkdata(t *testing.T) {
	a := manyValues(t)
	h := serve(a)
	const second = "/studies/1.2.3/series/1.2.3.2"
	for target, count := range map[string]int{
		"/studies/1.2.3": 7, ctPath: 2, second: 5, second + "/instances/1.2.3.2.1": 4, second + "/instances/1.2.3.2.2": 1, ctPath1: 1,
	} {
		w := get(t, h, target+"/bulkdata", "Accept", `multipart/related; type="application/octet-stream"; transfer-syntax=*`)
		want(t, w, 200)
		values, types := bulkAnswered(t, w.Header().Get("Content-Type"), w.Body.Bytes())
		uris := urisOf(t, get(t, h, target+"/metadata").Body.Bytes())
		if len(uris) != count {
			t.Fatalf("%s: %d BulkDataURIs", target, len(uris))
		}
		for _, uri := range uris {
			if strings.HasSuffix(uri, "length=-1") { // compressed frames: each at its own address
				for n, frame := range []string{"first-frame.", "second"} {
					at := fmt.Sprintf("/dicom-web%s/instances/1.2.3.2.2/frames/%d", second, n+1)
					if string(values[at]) != frame || types[at] != "application/octet-stream;transfer-syntax="+dicom.JPEGLSLossless {
						t.Errorf("%s is %q, %s", at, values[at], types[at])
					}
					delete(values, at)
				}
				continue
			}
			alone := get(t, h, strings.TrimPrefix(uri, "/dicom-web"), "Accept", "application/octet-stream")
			want(t, alone, 200)
			got, ok := values[uri]
			if !ok || !bytes.Equal(got, alone.Body.Bytes()) {
				t.Errorf("%s: %s has %d bytes, alone %d", target, uri, len(got), alone.Body.Len())
			}
			if types[uri] != alone.Header().Get("Content-Type") {
				t.Errorf("%s is %s, alone %s", uri, types[uri], alone.Header().Get("Content-Type"))
			}
			delete(values, uri)
		}
		if len(values) > 0 {
			t.Errorf("%s: parts that no metadata name: %q", target, slices.Collect(maps.Keys(values)))
		}

		etag := w.Header().Get("ETag")
		want(t, get(t, h, target+"/bulkdata", "If-None-Match", etag, "Accept", `multipart/related; type="application/octet-stream"; transfer-syntax=*`), 304)
		head := call(t, h, "HEAD", target+"/bulkdata", nil)
		want(t, head, 200)
		if head.Body.Len() > 0 || len(etag) < 10 || head.Header().Get("ETag") != etag || head.Header().Get("Content-Type") != w.Header().Get("Content-Type") {
			t.Errorf("HEAD: %d bytes, %v", head.Body.Len(), head.Header())
		}
	}
	if a.opened != 0 {
		t.Errorf("%d readers left open", a.opened)
	}
}

func TestAllBulkdataInWhatIsAccepted(t *testing.T) {
	a := manyValues(t)
	a.put(t, partFile(t, image(ctStudy, "1.2.3.3", "1.2.3.3.1", 1, 1).Delete(dicom.TagPixelData), dicom.ExplicitVRLittleEndian))
	h := serve(a)
	const compressed, private = "/studies/1.2.3/series/1.2.3.2/instances/1.2.3.2.2/bulkdata", "/studies/1.2.3/series/1.2.3.2/instances/1.2.3.2.1/bulkdata"

	w := get(t, h, compressed, "Accept", `multipart/related; type="image/jls"`)
	want(t, w, 200)
	if _, types := bulkAnswered(t, w.Header().Get("Content-Type"), w.Body.Bytes()); len(types) != 2 {
		t.Errorf("parts %v", types)
	}
	w = get(t, h, "/studies/1.2.3/bulkdata", "Accept", `multipart/related; type="image/jls", multipart/related; type="application/octet-stream"; q=0.5`)
	want(t, w, 200)
	if _, types := bulkAnswered(t, w.Header().Get("Content-Type"), w.Body.Bytes()); len(types) != 8 ||
		types["/dicom-web/studies/1.2.3/series/1.2.3.2/instances/1.2.3.2.2/frames/2"] != "image/jls;transfer-syntax="+dicom.JPEGLSLossless {
		t.Errorf("parts %v", types)
	}
	// What is left out would pass for what isn't there.
	for target, says := range map[string]string{
		private:                          `multipart/related; type="application/octet-stream"`,
		"/studies/1.2.3/bulkdata":        `multipart/related; type="application/octet-stream"`,
		"/studies/1.2.3/bulkdata?accept": `multipart/related; type="application/octet-stream"`,
	} {
		w := get(t, h, target, "Accept", `multipart/related; type="image/jls"`)
		want(t, w, 406)
		if d := detail(t, w); !strings.Contains(d, says) || w.Header().Get("ETag") != "" {
			t.Errorf("%s: %s, %v", target, d, w.Header())
		}
	}
	w = get(t, h, "/studies/1.2.3/series/1.2.3.3/bulkdata")
	want(t, w, 404)
	if d := detail(t, w); !strings.Contains(d, "no bulk data") || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("%s, %v", d, w.Header())
	}
	for _, target := range []string{"/studies/1.2.4/bulkdata", "/studies/" + otherUID + "/bulkdata", ctPath + "/instances/1.2.3.2.1/bulkdata"} {
		want(t, get(t, h, target), 404)
	}
	// The store fails: before the answer begins with a reason, later by breaking off.
	a.openErr = errTest
	want(t, get(t, h, "/studies/1.2.3/bulkdata"), 500)
	a.openErr = nil
	for n := range 20 {
		a.put(t, partFile(t, image(ctStudy, "1.2.3.4", fmt.Sprintf("1.2.3.4.%d", n+1), n, 1), dicom.ExplicitVRLittleEndian))
	}
	a.bytes["1.2.3.4.15"] = a.bytes["1.2.3.4.15"][:300]
	server := httptest.NewServer(h)
	defer server.Close()
	resp, err := http.Get(server.URL + "/dicom-web/studies/1.2.3/series/1.2.3.4/bulkdata")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Error("the answer looks complete")
	}
}
