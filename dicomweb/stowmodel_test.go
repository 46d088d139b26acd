package dicomweb

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

const (
	stowJSON = `multipart/related; type="application/dicom+json"; boundary=XX`
	stowXML  = `multipart/related; type="application/dicom+xml"; boundary=XX`
)

func bulkPart(media, location string, b []byte) partOf {
	return partOf{media + "\r\nContent-Location: " + location, b}
}

const tinyModel = `{"00080005":{"vr":"CS","Value":["ISO_IR 100"]},"00080016":{"vr":"UI","Value":["1.2.840.10008.5.1.4.1.1.7"]},
	"00080018":{"vr":"UI","Value":["1.2.3.4.5"]},"00083002":{"vr":"UI","Value":["%s"]},"00100010":{"vr":"PN","Value":[{"Alphabetic":"Каримов"}]},
	"0020000D":{"vr":"UI","Value":["1.2.3"]},"0020000E":{"vr":"UI","Value":["1.2.3.4"]},"00280100":{"vr":"US","Value":[16]},
	"00880200":{"vr":"SQ","Value":[{"7FE00010":{"vr":"OB","BulkDataURI":"icon"}}]},
	"7FE00010":{"vr":"OB","BulkDataURI":"https://x/pixels"}}`

// The bytes that are made of metadata and bulk data, by hand.
func TestStoreComposesTheFile(t *testing.T) {
	a := newArchive()
	w := call(t, serve(a), "POST", "/studies", body(
		partOf{"application/dicom+json", []byte("[" + fmt.Sprintf(tinyModel, dicom.ExplicitVRLittleEndian) + "]")},
		bulkPart("application/octet-stream", "https://x/pixels", []byte{1, 2, 3}),
		bulkPart("application/octet-stream", "icon", []byte{9}),
	), "Content-Type", stowJSON)
	want(t, w, 200)
	const golden = "" +
		"\x08\x00\x05\x00CS\x0a\x00ISO_IR 192" + // UTF-8, whatever the metadata say
		"\x08\x00\x16\x00UI\x1a\x001.2.840.10008.5.1.4.1.1.7\x00" +
		"\x08\x00\x18\x00UI\x0a\x001.2.3.4.5\x00" + // (0008,3002) is left out
		"\x10\x00\x10\x00PN\x0e\x00Каримов" +
		"\x20\x00\x0d\x00UI\x06\x001.2.3\x00" +
		"\x20\x00\x0e\x00UI\x08\x001.2.3.4\x00" +
		"\x28\x00\x00\x01US\x02\x00\x10\x00" +
		"\x88\x00\x00\x02SQ\x00\x00\x16\x00\x00\x00" + "\xfe\xff\x00\xe0\x0e\x00\x00\x00" + "\xe0\x7f\x10\x00OB\x00\x00\x02\x00\x00\x00\x09\x00" +
		"\xe0\x7f\x10\x00OW\x00\x00\x04\x00\x00\x00\x01\x02\x03\x00" // words, padded
	file := string(a.bytes["1.2.3.4.5"])
	if !strings.HasSuffix(file, golden) {
		t.Errorf("got\n%q\nwant\n%q", file[min(300, len(file)):], golden)
	}
	h, err := dicom.Scan(strings.NewReader(file), dicom.ScanOptions{})
	if err != nil || h.TransferSyntax != dicom.ExplicitVRLittleEndian {
		t.Errorf("%v, %v", h, err)
	}
}

// Compressed pixel data: one part is one frame, and the media type says which
// transfer syntax.
func TestStoreComposesCompressedPixels(t *testing.T) {
	jpeg := func(sof, predictor byte) []byte {
		return []byte{0xFF, 0xD8, 0xFF, 0xE0, 0, 4, 0, 0, 0xFF, sof, 0, 3, 0, 0xFF, 0xDA, 0, 8, 1, 1, 0, predictor, 0, 0, 0xFF, 0xD9}
	}
	for _, c := range []struct {
		name, declared, media string
		frames                [][]byte
		want                  string // transfer syntax, or what the error says
	}{
		{"declared by the part", "", "image/jpeg; transfer-syntax=" + dicom.JPEGBaseline8Bit, [][]byte{{1, 2}}, dicom.JPEGBaseline8Bit},
		{"JPEG baseline by its header", "", "image/jpeg", [][]byte{jpeg(0xC0, 0)}, dicom.JPEGBaseline8Bit},
		{"JPEG extended", "", "image/jpeg", [][]byte{jpeg(0xC1, 0)}, dicom.JPEGExtended12Bit},
		{"JPEG lossless, first order", "", "image/jpeg", [][]byte{jpeg(0xC3, 1)}, dicom.JPEGLosslessSV1},
		{"JPEG lossless, another predictor", "", "image/jpeg", [][]byte{jpeg(0xC3, 6)}, dicom.JPEGLossless},
		{"two frames", "", "image/jls", [][]byte{{1, 2, 3}, {4, 5}}, dicom.JPEGLSLossless},
		{"declared by the metadata", dicom.JPEGLSNearLossless, "image/jls", [][]byte{{1}}, dicom.JPEGLSNearLossless},
		{"metadata that contradict the part", dicom.JPEG2000, "image/jls", [][]byte{{1}}, dicom.JPEGLSLossless},
		{"HTJ2K by its old name", "", "image/jhc", [][]byte{{1}}, dicom.HTJ2KLossless},
		{"octets with a transfer syntax", "", "application/octet-stream; transfer-syntax=" + dicom.RLELossless, [][]byte{{1}}, dicom.RLELossless},
		{"big endian", "", "application/octet-stream; transfer-syntax=" + dicom.ExplicitVRBigEndian, [][]byte{{1}}, "Pixel data in Explicit VR Big Endian can't"},
		{"no transfer syntax", "", "application/octet-stream; transfer-syntax=1.2.3", [][]byte{{1}}, "is not known"},
	} {
		a := newArchive()
		parts := []partOf{{"application/dicom+json", []byte("[" + fmt.Sprintf(tinyModel, c.declared) + "]")}, bulkPart("application/octet-stream", "icon", nil)}
		for _, f := range c.frames {
			parts = append(parts, bulkPart(c.media, "https://x/pixels", f))
		}
		w := call(t, serve(a), "POST", "/studies", body(parts...), "Content-Type", stowJSON)
		if !strings.HasPrefix(c.want, "1.2") {
			if w.Code != 409 || outcomeOf(t, w).Failed["1.2.3.4.5"] != 0xC122 || !strings.Contains(w.Body.String(), c.want) {
				t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
			}
			continue
		}
		if w.Code != 200 {
			t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
			continue
		}
		file := a.bytes["1.2.3.4.5"]
		h, err := dicom.Scan(bytes.NewReader(file), dicom.ScanOptions{})
		if err != nil || h.Declared != c.want || len(h.PixelData.Fragments) != len(c.frames) {
			t.Errorf("%s: %v %+v", c.name, err, h.PixelData)
			continue
		}
		for i, r := range h.PixelData.Fragments {
			if got := file[r.Offset : r.Offset+r.Length]; !bytes.Equal(got[:len(c.frames[i])], c.frames[i]) || len(got)%2 != 0 {
				t.Errorf("%s: frame %d is %x", c.name, i+1, got)
			}
		}
		if n := len(h.PixelData.BasicOffsetTable); n != len(c.frames) && len(c.frames) > 1 {
			t.Errorf("%s: %d offsets", c.name, n)
		}
	}
}

// What doesn't fit together is told instance by instance; the others are stored.
func TestStoreOfModelsFailsInPart(t *testing.T) {
	model := func(uid, more string) string {
		return `{"00080016":{"vr":"UI","Value":["1.2.840.10008.5.1.4.1.1.7"]},"00080018":{"vr":"UI","Value":["` + uid + `"]},
			"0020000D":{"vr":"UI","Value":["1.2.3"]},"0020000E":{"vr":"UI","Value":["1.2.3.4"]}` + more + `}`
	}
	doc := func(uid string) partOf {
		p, err := dicom.ParseJSON([]byte(model(uid, "")), dicom.ParseOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return partOf{"application/dicom+xml; charset=utf-8", dicom.AppendXML(nil, p.Dataset, dicom.XMLOptions{})}
	}
	jsonPart := func(s string) partOf { return partOf{"application/dicom+json", []byte(s)} }
	missing := model("1.2.3.4.2", `,"7FE00010":{"vr":"OW","BulkDataURI":"gone"}`)
	for _, c := range []struct {
		name, contentType string
		body              io.Reader
		status            int
		want              outcome
	}{
		{
			"one of two lacks its pixels", stowJSON, body(jsonPart("[" + model("1.2.3.4.1", "") + "," + missing + "]")), 202,
			outcome{Stored: []string{"1.2.3.4.1"}, Failed: map[string]int{"1.2.3.4.2": 0xC000}},
		},
		{
			"bulk data nobody asks for", stowJSON, body(jsonPart(model("1.2.3.4.1", "")), bulkPart("application/octet-stream", "x", []byte{1})), 202,
			outcome{Stored: []string{"1.2.3.4.1"}, Other: []int{0xC000}},
		},
		{"no UIDs", stowJSON, body(jsonPart("[{}]")), 409, outcome{Other: []int{0xC000}}},
		{"XML, a part each", stowXML, body(doc("1.2.3.4.1"), doc("1.2.3.4.2")), 200, outcome{Stored: []string{"1.2.3.4.1", "1.2.3.4.2"}}},
		{"no type, JSON first", "multipart/related; boundary=XX", body(jsonPart(model("1.2.3.4.1", ""))), 200, outcome{Stored: []string{"1.2.3.4.1"}}},
		{"metadata alone", "application/dicom+json", strings.NewReader(model("1.2.3.4.1", "")), 200, outcome{Stored: []string{"1.2.3.4.1"}}},
		{"a document alone", "application/dicom+xml", bytes.NewReader(doc("1.2.3.4.1").body), 200, outcome{Stored: []string{"1.2.3.4.1"}}},
		{
			"cut off behind the metadata", stowJSON, strings.NewReader(strings.TrimSuffix(body(jsonPart(model("1.2.3.4.1", "")), bulkPart("image/jpeg", "x", nil)).String(), "\r\n--XX--")), 202,
			outcome{Stored: []string{"1.2.3.4.1"}, Other: []int{0xC000}},
		},
		{"not JSON", stowJSON, body(jsonPart("[{")), 400, outcome{}},
		{"not XML", stowXML, body(partOf{"application/dicom+xml", []byte("<x/>")}), 400, outcome{}},
		{"bulk data without an address", stowJSON, body(partOf{"image/jpeg", nil}), 400, outcome{}},
	} {
		w := call(t, serve(newArchive()), "POST", "/studies", c.body, "Content-Type", c.contentType)
		if w.Code != c.status {
			t.Errorf("%s: %d, want %d: %s", c.name, w.Code, c.status, w.Body)
			continue
		}
		if c.status == 400 {
			continue
		}
		if diff := cmp.Diff(c.want, outcomeOf(t, w)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	// Of another study than that of the address.
	w := call(t, serve(newArchive()), "POST", "/studies/9.9", body(jsonPart(model("1.2.3.4.1", ""))), "Content-Type", stowJSON)
	if w.Code != 409 || outcomeOf(t, w).Failed["1.2.3.4.1"] != 0xA900 {
		t.Errorf("to another study: %d %s", w.Code, w.Body)
	}
	// No more bulk data than is taken.
	w = call(t, serve(newArchive(), func(o *Options) { o.MaxPartSize = 10 }), "POST", "/studies",
		body(jsonPart(model("1.2.3.4.1", "")), bulkPart("image/jpeg", "x", make([]byte, 11))), "Content-Type", stowJSON)
	want(t, w, 413)
}

// Requests may be compressed.
func TestStoreTakesContentEncoding(t *testing.T) {
	var z bytes.Buffer
	g := gzip.NewWriter(&z)
	if _, err := g.Write(body(dicomPart(partFile(t, image(ctStudy, ctSeries, "1.2.3.1.1", 1, 1), dicom.ExplicitVRLittleEndian))).Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	want(t, call(t, serve(newArchive()), "POST", "/studies", bytes.NewReader(z.Bytes()), "Content-Type", stowType, "Content-Encoding", "gzip"), 200)
	cut := call(t, serve(newArchive()), "POST", "/studies", bytes.NewReader(z.Bytes()[:z.Len()-20]), "Content-Type", stowType, "Content-Encoding", "gzip")
	if cut.Code == 200 {
		t.Errorf("a body that is cut off: %d %s", cut.Code, cut.Body)
	}
	want(t, call(t, serve(newArchive()), "POST", "/studies", strings.NewReader("plain"), "Content-Type", stowType, "Content-Encoding", "gzip"), 400)
	want(t, call(t, serve(newArchive()), "POST", "/studies", strings.NewReader("plain"), "Content-Type", stowType, "Content-Encoding", "br"), 415)
}

// Sample files taken apart and stored again: same attributes, same pixels.
func TestSamplesStoredAsModels(t *testing.T) {
	const dir = "../../shared/dicom"
	f, err := os.Open(filepath.Join(dir, "ORACLE.tsv"))
	if err != nil {
		t.Skipf("sample files are absent: %v", err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comma, r.LazyQuotes = '\t', true
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	stored := 0
	for n, row := range rows[1:] {
		if n%6 != 0 {
			continue
		}
		file, err := os.ReadFile(filepath.Join(dir, row[0]))
		if err != nil || len(file) > 4<<20 {
			continue
		}
		h, err := dicom.Scan(bytes.NewReader(file), dicom.ScanOptions{MaxValue: 4 << 10})
		if err != nil || h.Deflated || h.Dataset.BigEndian || h.Dataset.String(dicom.TagSOPInstanceUID) == "" || h.Dataset.String(dicom.TagSOPClassUID) == "" {
			continue
		}
		var bulk []partOf
		uri := func(path string, r dicom.Range) string {
			location := "bulk/" + path
			if path == "7FE00010" && h.PixelData.Encapsulated {
				for _, f := range h.PixelData.Fragments {
					bulk = append(bulk, bulkPart("application/octet-stream; transfer-syntax="+h.TransferSyntax, location, file[f.Offset:f.Offset+f.Length]))
				}
			} else {
				bulk = append(bulk, bulkPart("application/octet-stream", location, file[r.Offset:r.Offset+r.Length]))
			}
			return location
		}
		h.Dataset.Delete(dicom.TagAvailableTransferSyntaxUID)
		for _, kind := range []string{stowJSON, stowXML} {
			bulk = nil
			model := partOf{"application/dicom+json", dicom.AppendJSON(nil, h.Dataset, dicom.JSONOptions{BulkURI: uri})}
			if kind == stowXML {
				bulk = nil
				model = partOf{"application/dicom+xml", dicom.AppendXML(nil, h.Dataset, dicom.XMLOptions{BulkURI: uri})}
			}
			a := newArchive()
			w := call(t, serve(a), "POST", "/studies", body(append([]partOf{model}, bulk...)...), "Content-Type", kind)
			if w.Code != 200 {
				t.Errorf("%s: %d %.300s", row[0], w.Code, w.Body)
				continue
			}
			got := a.bytes[h.Dataset.String(dicom.TagSOPInstanceUID)]
			again, err := dicom.Scan(bytes.NewReader(got), dicom.ScanOptions{MaxValue: 4 << 10})
			if err != nil {
				t.Errorf("%s: %v", row[0], err)
				continue
			}
			if x, y := modelOf(h.Dataset), modelOf(again.Dataset); x != y && kind == stowJSON {
				t.Errorf("%s: %s", row[0], cmp.Diff(strings.SplitAfter(x, "},"), strings.SplitAfter(y, "},")))
			}
			if px := h.PixelData; px != nil && !px.Encapsulated {
				if !bytes.Equal(file[px.Offset:px.Offset+px.Length], got[again.PixelData.Offset:][:px.Length]) {
					t.Errorf("%s: other pixels", row[0])
				}
			} else if px != nil {
				for i, r := range px.Fragments {
					f := again.PixelData.Fragments[i]
					if !bytes.Equal(file[r.Offset:r.Offset+r.Length], got[f.Offset:f.Offset+r.Length]) {
						t.Errorf("%s: fragment %d is another", row[0], i)
					}
				}
			}
			stored++
		}
	}
	t.Logf("%d stored", stored)
	if stored < 60 {
		t.Errorf("only %d sample files were stored", stored)
	}
}

// modelOf is a data set without what is not compared: where bulk data lie, and
// whether UTF-8 is declared.
func modelOf(ds *dicom.Dataset) string {
	ds.Delete(dicom.TagSpecificCharacterSet)
	if e, ok := ds.Get(dicom.TagPixelData); ok {
		e.VR = dicom.OB // which of the two follows from the transfer syntax
	}
	return string(dicom.AppendJSON(nil, ds, dicom.JSONOptions{BulkURI: func(path string, _ dicom.Range) string { return path }}))
}
