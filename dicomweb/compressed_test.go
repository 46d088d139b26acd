package dicomweb

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/pixeltest"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
)

// awaitPublished waits until a study has so many instances.
func awaitPublished(t *testing.T, server *httptest.Server, study string, count int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		var found []any
		if json.Unmarshal(fetch(t, server, study+"/instances").body, &found) == nil && len(found) == count {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("not published")
		}
	}
}

// bulkURIs are where the one instance of a series has its bulk data, by tag.
func bulkURIs(t *testing.T, server *httptest.Server, series string) map[string]string {
	t.Helper()
	var model []map[string]struct{ BulkDataURI string }
	if got := fetch(t, server, series+"/metadata"); got.status != 200 || json.Unmarshal(got.body, &model) != nil || len(model) != 1 {
		t.Fatalf("metadata are %d: %.300s", got.status, got.body)
	}
	uris := map[string]string{}
	for tag, attribute := range model[0] {
		if attribute.BulkDataURI != "" {
			_, path, _ := strings.Cut(attribute.BulkDataURI, "/dicom-web")
			uris[tag] = path
		}
	}
	return uris
}

// TestCompressedInstance: what a merge has compressed is served as JPEG-LS to
// who takes it, decompressed to who does not, and its bulk data are where they
// were.
func TestCompressedInstance(t *testing.T) {
	server, ix, store := openReal(t, heldBack(t))
	picture := image("2.25.7", "2.25.7.1", "2.25.7.1.1", 1, 1)
	values := map[string][]byte{
		"00291010": bytes.Repeat([]byte("in front of the pixels "), 5000),
		"7FE31010": bytes.Repeat([]byte("behind the pixels "), 5000),
	}
	picture.SetString(dicom.NewTag(0x0029, 0x0010), dicom.LO, "OURS")
	picture.SetString(dicom.NewTag(0x7FE3, 0x0010), dicom.LO, "OURS")
	picture.SetBytes(dicom.NewTag(0x0029, 0x1010), dicom.OB, values["00291010"])
	picture.SetBytes(dicom.NewTag(0x7FE3, 0x1010), dicom.OB, values["7FE31010"])
	picture.SetInts(dicom.TagRows, dicom.US, 64)
	picture.SetInts(dicom.TagColumns, dicom.US, 64)
	picture.SetInts(dicom.TagBitsStored, dicom.US, 12)
	picture.SetInts(dicom.TagHighBit, dicom.US, 11)
	picture.SetInts(dicom.TagPixelRepresentation, dicom.US, 0)
	picture.SetBytes(dicom.TagPixelData, dicom.OW, bytes.Repeat([]byte{1, 2, 3, 4}, 64*64/2))
	received := encoded(t, picture)
	if w := post(t, server, body(dicomPart(received))); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	const study, series, one = "/studies/2.25.7", "/studies/2.25.7/series/2.25.7.1", "/studies/2.25.7/series/2.25.7.1/instances/2.25.7.1.1"
	awaitPublished(t, server, study, 1)
	before := bulkURIs(t, server, series)
	if before["7FE00010"] == "" || before["00291010"] == "" {
		t.Fatalf("bulk data at %v", before)
	}
	const octets = "application/octet-stream"
	for tag, value := range values {
		if got := fetch(t, server, before[tag], "Accept", octets); !bytes.Equal(got.body, value) {
			t.Fatalf("%s: %d", before[tag], got.status)
		}
	}

	s, err := ix.Study(t.Context(), pacs.System("test"), "2.25.7")
	if err != nil {
		t.Fatal(err)
	}
	merger := publish.Merger{Index: ix, Store: store, Dir: t.TempDir(), Compressor: pixeltest.Compressor(t)}
	if err := merger.Study(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}

	file := fetch(t, server, one, "Accept", "application/dicom;transfer-syntax=*")
	if file.status != 200 {
		t.Fatalf("%d %s", file.status, file.body)
	}
	pixeltest.Check(t, "the instance", received, file.body)
	after := bulkURIs(t, server, series)
	for tag, value := range values {
		for _, uri := range []string{before[tag], after[tag]} { // of clients that read the metadata earlier, too
			if got := fetch(t, server, uri, "Accept", octets); got.status != 200 || !bytes.Equal(got.body, value) {
				t.Errorf("%s is %d with %d bytes", uri, got.status, len(got.body))
			}
		}
	}
	coded := ""
	for path, accept := range map[string]string{
		one + "/frames/1":   `multipart/related;type="image/jls"`,
		before["7FE00010"]:  `multipart/related;type="image/jls"`,
		after["7FE00010"]:   `multipart/related;type="application/octet-stream";transfer-syntax=*`,
		one + "/frames/1?x": `*/*`,
	} {
		got := fetch(t, server, path, "Accept", accept)
		_, stream, ok := bytes.Cut(got.body, []byte("\xFF\xD8\xFF"))
		if stream, _, _ = bytes.Cut(stream, []byte("\r\n--")); got.status != 200 || !ok || coded != "" && coded != string(stream) {
			t.Errorf("%s: %d %.200s", path, got.status, got.body)
		}
		coded = string(stream)
	}
	// Who does not take it gets the pixels that came.
	pixels := bytes.Repeat([]byte{1, 2, 3, 4}, 64*64/2)
	for path, accept := range map[string]string{
		one:                `application/dicom;transfer-syntax=1.2.840.10008.1.2.1`,
		one + "/frames/1":  `multipart/related;type="application/octet-stream";transfer-syntax=1.2.840.10008.1.2.1`,
		before["7FE00010"]: octets + ";transfer-syntax=1.2.840.10008.1.2.1",
	} {
		if got := fetch(t, server, path, "Accept", accept); got.status != 200 || !bytes.Contains(got.body, pixels) {
			t.Errorf("%s: %d %.300s", path, got.status, got.body)
		}
	}
	// All of it in one answer, too.
	for accept, want := range map[string][]byte{"*/*": []byte(coded), `multipart/related;type="application/octet-stream";transfer-syntax=1.2.840.10008.1.2.1`: pixels} {
		got := fetch(t, server, study+"/bulkdata", "Accept", accept)
		if got.status != 200 {
			t.Fatalf("%s: %d %s", accept, got.status, got.body)
		}
		all, _ := bulkAnswered(t, got.header.Get("Content-Type"), got.body)
		if len(all) != 3 || !bytes.Contains(all["/dicom-web"+after["7FE00010"]], want) {
			t.Errorf("%s: %d parts, pixel data of %d bytes", accept, len(all), len(all["/dicom-web"+after["7FE00010"]]))
		}
		for tag, value := range values {
			if !bytes.Equal(all["/dicom-web"+after[tag]], value) {
				t.Errorf("%s: %s differs", accept, tag)
			}
		}
	}
	if got := fetch(t, server, one, "Accept", `application/dicom;transfer-syntax=1.2.840.10008.1.2.4.102`); got.status != 406 || !strings.Contains(string(got.body), dicom.JPEGLSLossless) {
		t.Errorf("%d %s", got.status, got.body)
	}
	var found []map[string]struct{ Value []any }
	if got := fetch(t, server, study+"/instances?includefield=AvailableTransferSyntaxUID"); json.Unmarshal(got.body, &found) != nil || len(found) != 1 || len(found[0]["00083002"].Value) != 1 || found[0]["00083002"].Value[0] != dicom.JPEGLSLossless {
		t.Errorf("found %s", got.body)
	}
}
