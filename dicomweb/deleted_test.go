package dicomweb

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
)

// TestPixelsDeletedByRetention: who asks for what is gone is told so, when and
// why (410); lists, metadata and what had no pixel data are served as before.
func TestPixelsDeletedByRetention(t *testing.T) {
	server, ix, store := openReal(t, heldBack(t))
	picture := image("2.25.7", "2.25.7.1", "2.25.7.1.1", 1, 2)
	private := dicom.NewTag(0x0029, 0x1010)
	picture.SetString(dicom.NewTag(0x0029, 0x0010), dicom.LO, "OURS")
	picture.SetBytes(private, dicom.OB, make([]byte, 1<<20)) // bulk data that is no pixel data
	report := image("2.25.7", "2.25.7.2", "2.25.7.2.1", 1, 1)
	report.Delete(dicom.TagPixelData)
	if w := post(t, server, body(dicomPart(encoded(t, picture)), dicomPart(encoded(t, report)))); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	const study, series, one = "/studies/2.25.7", "/studies/2.25.7/series/2.25.7.1", "/studies/2.25.7/series/2.25.7.1/instances/2.25.7.1.1"
	awaitPublished(t, server, study, 2)
	before := bulkURIs(t, server, series)
	if before["7FE00010"] == "" || before["00291010"] == "" {
		t.Fatalf("bulk data at %v", before)
	}

	s, err := ix.Study(t.Context(), pacs.System("test"), "2.25.7")
	if err != nil {
		t.Fatal(err)
	}
	packs, err := index.PacksOfStudy(t.Context(), ix.Pool(), s.ID)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 22, 2, 0, 0, 0, time.UTC)
	err = pgx.BeginFunc(t.Context(), ix.Pool(), func(tx pgx.Tx) error {
		var swaps []index.PackSwap
		for _, k := range packs {
			if !k.Instances[0].HasPixels() {
				continue
			}
			swap, err := (&publish.Packs{Index: ix, Store: store}).WithoutPixels(t.Context(), k, at, "Ten years")
			if err != nil {
				return err
			}
			swaps = append(swaps, swap)
		}
		return index.DeletePixels(t.Context(), tx, s.ID, swaps)
	})
	if err != nil {
		t.Fatal(err)
	}

	const octets, files = `multipart/related;type="application/octet-stream";transfer-syntax=*`, `multipart/related;type="application/dicom";transfer-syntax=*`
	for path, accept := range map[string]string{
		one:                           "application/dicom;transfer-syntax=*",
		series:                        files,
		study:                         files,
		one + "/frames/1":             octets,
		one + "/frames/1,2":           octets,
		before["7FE00010"]:            octets,
		one + "/bulkdata/PixelData":   octets,
		one + "/bulkdata/7FE00010/64": octets,
		one + "/bulkdata/00880200/1/7FE00010?offset=400&length=16": octets,
	} {
		got := fetch(t, server, path, "Accept", accept)
		var problem struct {
			Status                int
			Title, Detail, Reason string
		}
		if err := json.Unmarshal(got.body, &problem); err != nil || got.status != 410 || problem.Status != 410 || problem.Title != "Deleted" || problem.Reason != "pixels_deleted" ||
			!strings.HasPrefix(got.header.Get("Content-Type"), "application/problem+json") ||
			!strings.Contains(problem.Detail, "2026-11-22") || !strings.Contains(problem.Detail, "Ten years") {
			t.Errorf("%s is %d: %s", path, got.status, got.body)
		}
		if cached := got.header.Get("Cache-Control"); strings.Contains(cached, "immutable") {
			t.Errorf("%s: who has the originals again must not be told so for ever: %q", path, cached)
		}
	}
	after := bulkURIs(t, server, series)
	if after["7FE00010"] != "" || after["00291010"] != before["00291010"] {
		t.Errorf("bulk data at %v", after)
	}
	for path, accept := range map[string]string{
		study + "/metadata":                             "application/dicom+json",
		one + "/metadata":                               "application/dicom+json",
		study + "/instances":                            "application/dicom+json",
		after["00291010"]:                               octets,
		study + "/series/2.25.7.2":                      files,
		study + "/series/2.25.7.2/instances/2.25.7.2.1": "application/dicom;transfer-syntax=*",
		study + "/series/2.25.7.2/instances/2.25.7.2.1" + "/metadata": "application/dicom+json",
	} {
		if got := fetch(t, server, path, "Accept", accept); got.status != 200 {
			t.Errorf("%s is %d: %.300s", path, got.status, got.body)
		}
	}
	// Who may not see the study is not told of its pixel data either.
	if got := fetch(t, server, one, "Accept", "application/dicom", "X-Test-Caller", "elsewhere"); got.status != 404 {
		t.Errorf("from elsewhere: %d", got.status)
	}
}
