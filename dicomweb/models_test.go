package dicomweb

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"net/http/httptest"
	"reflect"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

const acceptXML = `multipart/related; type="application/dicom+xml"`

// documents reads an answer in XML as data sets in the JSON model.
func documents(t *testing.T, w *httptest.ResponseRecorder) []map[string]any {
	t.Helper()
	media, params, err := mime.ParseMediaType(w.Header().Get("Content-Type"))
	if err != nil || media != "multipart/related" || params["type"] != mediaDICOMXML {
		t.Fatalf("Content-Type %q", w.Header().Get("Content-Type"))
	}
	var body io.Reader = w.Body
	if w.Header().Get("Content-Encoding") == "gzip" {
		if body, err = gzip.NewReader(body); err != nil {
			t.Fatal(err)
		}
	}
	var out []map[string]any
	mr := multipart.NewReader(body, params["boundary"])
	for {
		p, err := mr.NextPart()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if media, _, _ := mime.ParseMediaType(p.Header.Get("Content-Type")); media != mediaDICOMXML {
			t.Errorf("a part is %s", media)
		}
		parsed, err := dicom.ParseXML(p, dicom.ParseOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(dicom.AppendJSON(nil, parsed.Dataset, dicom.JSONOptions{BulkURI: parsed.BulkURI}), &m); err != nil {
			t.Fatal(err)
		}
		out = append(out, m)
	}
}

// Searches and metadata say the same in XML as in JSON.
func TestXMLSaysWhatJSONSays(t *testing.T) {
	h := serve(twoImages(t))
	for target, n := range map[string]int{
		"/studies":                               1,
		"/studies?includefield=all":              1,
		"/studies/1.2.3/series":                  1,
		"/studies/1.2.3/instances":               2,
		"/instances?limit=1":                     1,
		"/studies/1.2.3/metadata":                2,
		"/studies/1.2.3/series/1.2.3.1/metadata": 2,
		"/studies/1.2.3/series/1.2.3.1/instances/1.2.3.1.2/metadata": 1,
	} {
		asJSON := get(t, h, target)
		want(t, asJSON, 200)
		var list []map[string]any
		if err := json.Unmarshal(asJSON.Body.Bytes(), &list); err != nil {
			t.Fatal(err)
		}
		for _, accept := range []string{acceptXML, "application/dicom+xml", "multipart/related"} {
			for _, encoding := range []string{"identity", "gzip"} {
				w := get(t, h, target, "Accept", accept, "Accept-Encoding", encoding)
				want(t, w, 200)
				got := documents(t, w)
				if len(got) != n || !reflect.DeepEqual(got, list) {
					t.Errorf("%s as %s, %s:\n%v\nJSON:\n%v", target, accept, encoding, got, list)
				}
				if link := asJSON.Header().Get("Link"); w.Header().Get("Link") != link {
					t.Errorf("%s: Link %q", target, w.Header().Get("Link"))
				}
				if e := w.Header().Get("ETag"); e != "" {
					if e == asJSON.Header().Get("ETag") {
						t.Errorf("%s: XML has the entity tag of JSON", target)
					}
					want(t, get(t, h, target, "Accept", accept, "Accept-Encoding", encoding, "If-None-Match", e), 304)
				}
			}
		}
		if w := call(t, h, "HEAD", target, nil, "Accept", acceptXML); w.Code != 200 || w.Body.Len() != 0 {
			t.Errorf("HEAD %s: %d with %d bytes", target, w.Code, w.Body.Len())
		}
	}
	want(t, get(t, h, "/studies?StudyInstanceUID=9.9", "Accept", acceptXML), 204)
	want(t, get(t, h, "/studies/9.9/metadata", "Accept", acceptXML), 404)
}

func TestStoreAnswersInXML(t *testing.T) {
	h := serve(newArchive())
	w := call(t, h, "POST", "/studies", bytes.NewReader(partFile(t, image(ctStudy, ctSeries, "1.2.3.1.1", 1, 1), dicom.ExplicitVRLittleEndian)),
		"Content-Type", "application/dicom", "Accept", "application/dicom+xml")
	want(t, w, 200)
	if ct := w.Header().Get("Content-Type"); ct != mediaDICOMXML {
		t.Errorf("Content-Type %q", ct)
	}
	p, err := dicom.ParseXML(w.Body, dicom.ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if uid := p.Item(dicom.TagReferencedSOPSequence).String(dicom.TagReferencedSOPInstanceUID); uid != "1.2.3.1.1" {
		t.Errorf("stored %q", uid)
	}
}

// What programs in the field send to searches and metadata, and what they get.
func TestClientsGetAFormTheyCanRead(t *testing.T) {
	h := serve(twoImages(t))
	const js, xml = mediaDICOMJSON, "multipart/related"
	for _, c := range []struct{ client, accept, want string }{
		{"OHIF, dicomweb-client (js)", "application/dicom+json", js},
		{"OHIF before 3.8, issue 3726", "application/dicom+json, multipart/related; type=application/octet-stream", js},
		{"OHIF with a static Accept", `multipart/related; type=application/octet-stream; transfer-syntax=*`, js},
		{"dicomweb-client (Python)", "application/dicom+json, application/json", js},
		{"Weasis", "application/dicom+xml", xml},
		{"Weasis, weasis-dicom-tools", `multipart/related; type="application/dicom+xml"`, xml},
		{"Slicer DICOMweb browser", "application/json", mediaJSON},
		{"fo-dicom, .NET HttpClient", "application/dicom+json; charset=utf-8", js},
		{"MicroDicom", `multipart/related; type="application/dicom+json"`, js},
		{"curl, Go, Python requests", "*/*", js},
		{"OHIF microscopy", "application/json, text/plain, */*", mediaJSON},
		{"Java HttpURLConnection", "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", js},
		{"Safari", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", js},
		{"quoted twice", `"application/dicom+json"`, js},
		{"quotes in quotes", `multipart/related; type='application/dicom+xml'`, xml},
		{"dicom+xml preferred", `multipart/related; type="application/dicom+xml"; q=1, application/dicom+json; q=0.5`, xml},
		{"a semicolon at the end", "application/dicom+json;", js},
		{"spaces everywhere", " application/dicom+json ; q = 0.9 , */* ; q=0.1", js},
		{"application/*", "application/*", js},
	} {
		for _, target := range []string{"/studies", "/studies/1.2.3/metadata"} {
			w := get(t, h, target, "Accept", c.accept)
			if w.Code != 200 {
				t.Errorf("%s: %s: status %d: %s", c.client, c.accept, w.Code, w.Body)
				continue
			}
			media, _, _ := mime.ParseMediaType(w.Header().Get("Content-Type"))
			if media != c.want {
				t.Errorf("%s: %s: got %s, want %s", c.client, c.accept, media, c.want)
			}
		}
	}
	w := get(t, h, "/studies", "Accept", "image/png")
	want(t, w, 406)
	if d := detail(t, w); !bytes.Contains([]byte(d), []byte(mediaDICOMJSON)) || !bytes.Contains([]byte(d), []byte(mediaDICOMXML)) {
		t.Errorf("406 does not say what there is: %s", d)
	}
}
