package dicomweb

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/patients"
)

// fetched is an answer that was read to its end.
type fetched struct {
	status int
	header http.Header
	body   []byte
}

func fetch(t *testing.T, server *httptest.Server, path string, headers ...string) fetched {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/dicom-web"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fetched{resp.StatusCode, resp.Header, b}
}

// deflated is a file of DeflatedExplicitVRLittleEndian.
func deflated(t *testing.T, ds *dicom.Dataset) []byte {
	t.Helper()
	plain, err := dicom.AppendDataset(nil, ds, dicom.ExplicitVRLittleEndian)
	if err != nil {
		t.Fatal(err)
	}
	b := bytes.NewBuffer(dicom.AppendFileMeta(nil, dicom.FileMeta{
		SOPClassUID: ctClass, SOPInstanceUID: ds.String(dicom.TagSOPInstanceUID), TransferSyntaxUID: dicom.DeflatedExplicitVRLittleEndian,
	}))
	z, _ := flate.NewWriter(b, 9)
	_, _ = z.Write(plain)
	_ = z.Close()
	return b.Bytes()
}

// TestAmendedStudy: a corrected patient is in everything that is served, and
// when the correction is undone everything is as before, byte for byte.
func TestAmendedStudy(t *testing.T) {
	server, ix, store := openReal(t, heldBack(t))
	if _, err := access.Open(t.Context(), ix, access.Settings{}); err != nil {
		t.Fatal(err)
	}
	people, err := patients.New(t.Context(), ix, store, nil)
	if err != nil {
		t.Fatal(err)
	}
	first := image("2.25.7", "2.25.7.1", "2.25.7.1.1", 1, 1)
	second := image("2.25.7", "2.25.7.1", "2.25.7.1.2", 2, 3)
	if w := post(t, server, body(dicomPart(encoded(t, first)), dicomPart(deflated(t, second)))); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	const (
		study  = "/studies/2.25.7"
		series = study + "/series/2.25.7.1"
		one    = series + "/instances/2.25.7.1.1"
		two    = series + "/instances/2.25.7.1.2"
	)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		var found []any
		if json.Unmarshal(fetch(t, server, study+"/instances").body, &found) == nil && len(found) == 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("not published")
		}
	}
	const anySyntax = `application/dicom;transfer-syntax=*`
	paths := []struct{ path, accept string }{
		{one, anySyntax},
		{two, anySyntax},
		{study, `multipart/related;type="application/dicom";transfer-syntax=*`},
		{series + "/metadata", "application/dicom+json"},
		{study + "/metadata", "application/dicom+json"},
		{two + "/metadata", "application/dicom+json"},
		{"/studies?StudyInstanceUID=2.25.7", "application/dicom+json"},
	}
	pixels := []string{one + "/frames/1", two + "/frames/2", two + "/bulkdata/7FE00010"}
	const anyPixels = `multipart/related;type="application/octet-stream";transfer-syntax=*`
	before, pixelsBefore := map[string]fetched{}, map[string]fetched{}
	for _, p := range paths {
		before[p.path] = fetch(t, server, p.path, "Accept", p.accept)
	}
	for _, p := range pixels {
		if pixelsBefore[p] = fetch(t, server, p, "Accept", anyPixels); pixelsBefore[p].status != 200 {
			t.Fatalf("%s: %d %s", p, pixelsBefore[p].status, pixelsBefore[p].body)
		}
	}
	// Pictures, with the patient's name on them and without.
	named, unnamed := map[string]fetched{}, map[string]fetched{}
	for _, p := range []string{one, two} {
		named[p] = fetch(t, server, p+"/rendered?viewport=400,400&annotation=patient")
		unnamed[p] = fetch(t, server, p+"/rendered?viewport=400,400")
		if named[p].status != 200 || unnamed[p].status != 200 || bytes.Equal(named[p].body, unnamed[p].body) {
			t.Fatalf("pictures of %s: %d %s", p, named[p].status, named[p].body)
		}
	}

	s, err := ix.Study(t.Context(), pacs.System("test"), "2.25.7")
	if err != nil {
		t.Fatal(err)
	}
	name, id, sex := "Қаҳҳорова^Ўғилой", "777", "F"
	corrected, err := people.Correct(t.Context(), access.System("test"), s.Patient.ID, 1, patients.Demographics{Name: &name, PatientID: &id, Sex: &sex}, "mixed up")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		got := fetch(t, server, p.path, "Accept", p.accept, "If-None-Match", before[p.path].header.Get("ETag"))
		if got.status != 200 || bytes.Equal(got.body, before[p.path].body) || !bytes.Contains(got.body, []byte("777")) && p.path != two && p.path != study {
			t.Errorf("%s is %d, and not amended: %.300s", p.path, got.status, got.body)
		}
		if again := fetch(t, server, p.path, "Accept", p.accept, "If-None-Match", got.header.Get("ETag")); got.header.Get("ETag") != "" && again.status != 304 {
			t.Errorf("%s is not kept by a client: %d", p.path, again.status)
		}
	}
	for _, p := range pixels {
		if got := fetch(t, server, p, "Accept", anyPixels); !bytes.Equal(got.body, pixelsBefore[p].body) || got.header.Get("ETag") != pixelsBefore[p].header.Get("ETag") {
			t.Errorf("%s has changed", p)
		}
	}
	for _, p := range []string{one, two} {
		got := fetch(t, server, p+"/rendered?viewport=400,400&annotation=patient", "If-None-Match", named[p].header.Get("ETag"))
		if got.status != 200 || bytes.Equal(got.body, named[p].body) {
			t.Errorf("the name on the picture of %s is not amended: %d", p, got.status)
		}
		if got := fetch(t, server, p+"/rendered?viewport=400,400"); !bytes.Equal(got.body, unnamed[p].body) {
			t.Errorf("the picture of %s has changed", p)
		}
	}
	var model []map[string]any
	if err := json.Unmarshal(fetch(t, server, series+"/metadata").body, &model); err != nil || len(model) != 2 {
		t.Fatal(len(model), err)
	}
	for n, path := range []string{one, two} {
		file := fetch(t, server, path, "Accept", anySyntax)
		if fmt.Sprint(len(file.body)) != file.header.Get("Content-Length") {
			t.Errorf("%s has %d bytes, announced were %s", path, len(file.body), file.header.Get("Content-Length"))
		}
		h, err := dicom.Scan(bytes.NewReader(file.body), dicom.ScanOptions{MaxValue: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		got := []string{
			h.Dataset.String(dicom.TagPatientName), h.Dataset.String(dicom.TagPatientID), h.Dataset.String(dicom.TagPatientSex), h.Dataset.String(dicom.TagPatientBirthDate),
			h.Dataset.Item(dicom.TagOriginalAttributesSequence).Item(dicom.TagModifiedAttributesSequence).String(dicom.TagPatientName),
		}
		if diff := cmp.Diff([]string{name, id, sex, "19700102", "Каримов^Алишер"}, got); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
		// The metadata say what the file says.
		var ofFile map[string]any
		if err := json.Unmarshal(dicom.AppendJSON(nil, h.Dataset, dicom.JSONOptions{}), &ofFile); err != nil {
			t.Fatal(err)
		}
		for _, list := range []map[string]any{ofFile, model[n]} {
			delete(list, dicom.TagPixelData.String())
		}
		if diff := cmp.Diff(ofFile, model[n]); diff != "" {
			t.Errorf("the file and the metadata of %s differ:\n%s", path, diff)
		}
		part := fetch(t, server, path, "Accept", anySyntax, "Range", "bytes=100-700")
		if part.status != 206 || !bytes.Equal(part.body, file.body[100:701]) {
			t.Errorf("%s: a range is not the file's: %d", path, part.status)
		}
	}

	operation := slices.MaxFunc(corrected.History, func(a, b patients.Operation) int { return int(a.ID - b.ID) }).ID
	if _, err := people.Undo(t.Context(), access.System("test"), operation, "it was right"); err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		got := fetch(t, server, p.path, "Accept", p.accept)
		if !bytes.Equal(got.body, before[p.path].body) || got.header.Get("ETag") != before[p.path].header.Get("ETag") {
			t.Errorf("%s is not as it was before", p.path)
		}
	}
}
