package dicom

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Golden bytes: one attribute of every kind that the model writes in its own way.
func TestXMLGolden(t *testing.T) {
	ds := (&Dataset{}).
		SetString(TagSpecificCharacterSet, CS, "ISO_IR 192").
		SetString(TagImageType, CS, "ORIGINAL", "", "AXIAL").
		SetString(TagPatientName, PN, "Қодиров^Алишер^^Dr.=小林^太郎").
		SetString(TagPatientComments, LT, " a<b & \"c\"\r\n\x1b").
		SetInts(TagRows, US, 512).
		SetInts(TagFrameIncrementPointer, AT, 0x00181063).
		SetString(0x00090010, LO, "MAKER").
		SetBytes(0x00091001, OB, []byte{1, 2, 3}).
		SetSequence(TagReferencedSeriesSequence, (&Dataset{}).SetString(TagModality, CS, "CT"), &Dataset{})
	ds.put(Element{Tag: TagPixelData, VR: OW, Bulk: &Range{Offset: 7, Length: 8}})
	const want = `<?xml version="1.0" encoding="UTF-8"?>
<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM" xml:space="preserve">
<DicomAttribute tag="00080005" vr="CS" keyword="SpecificCharacterSet">
<Value number="1">ISO_IR 192</Value>
</DicomAttribute>
<DicomAttribute tag="00080008" vr="CS" keyword="ImageType">
<Value number="1">ORIGINAL</Value>
<Value number="2"></Value>
<Value number="3">AXIAL</Value>
</DicomAttribute>
<DicomAttribute tag="00081115" vr="SQ" keyword="ReferencedSeriesSequence">
<Item number="1">
<DicomAttribute tag="00080060" vr="CS" keyword="Modality">
<Value number="1">CT</Value>
</DicomAttribute>
</Item>
<Item number="2">
</Item>
</DicomAttribute>
<DicomAttribute tag="00090010" vr="LO" keyword="">
<Value number="1">MAKER</Value>
</DicomAttribute>
<DicomAttribute tag="00090001" vr="OB" privateCreator="MAKER">
<InlineBinary>AQID</InlineBinary>
</DicomAttribute>
<DicomAttribute tag="00100010" vr="PN" keyword="PatientName">
<PersonName number="1">
<Alphabetic><FamilyName>Қодиров</FamilyName><GivenName>Алишер</GivenName><NamePrefix>Dr.</NamePrefix></Alphabetic>
<Ideographic><FamilyName>小林</FamilyName><GivenName>太郎</GivenName></Ideographic>
</PersonName>
</DicomAttribute>
<DicomAttribute tag="00104000" vr="LT" keyword="PatientComments">
<Value number="1"> a&lt;b &amp; &quot;c&quot;&#13;&#10;` + "\uFFFD" + `</Value>
</DicomAttribute>
<DicomAttribute tag="00280009" vr="AT" keyword="FrameIncrementPointer">
<Value number="1">00181063</Value>
</DicomAttribute>
<DicomAttribute tag="00280010" vr="US" keyword="Rows">
<Value number="1">512</Value>
</DicomAttribute>
<DicomAttribute tag="7FE00010" vr="OW" keyword="PixelData">
<BulkData uri="bulk:7FE00010:7+8"/>
</DicomAttribute>
</NativeDicomModel>
`
	got := string(AppendXML(nil, ds, XMLOptions{BulkURI: func(path string, r Range) string {
		return fmt.Sprintf("bulk:%s:%d+%d", path, r.Offset, r.Length)
	}}))
	if want := strings.Replace(want, ` keyword=""`, "", 1); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// What the samples hold is the same after a way through XML, and through JSON.
func TestModelsKeepTheSamples(t *testing.T) {
	for _, name := range someSamples(t, 5) {
		h, err := Scan(bytes.NewReader(readSample(t, name)), ScanOptions{})
		if err != nil {
			continue // TestScanAgreesWithDcmdump
		}
		uri := func(path string, r Range) string { return fmt.Sprintf("b?%s&%d+%d", path, r.Offset, r.Length) }
		want := AppendJSON(nil, h.Dataset, JSONOptions{BulkURI: uri})
		parsed, err := ParseJSON(want, ParseOptions{})
		if err != nil {
			t.Errorf("%s: JSON: %v", name, err)
			continue
		}
		if !h.Dataset.Has(TagSpecificCharacterSet) {
			parsed.Delete(TagSpecificCharacterSet)
		}
		if got := AppendJSON(nil, parsed.Dataset, JSONOptions{BulkURI: parsed.BulkURI}); !bytes.Equal(got, want) {
			t.Errorf("%s: JSON differs:\n%.2000s\n%.2000s", name, got, want)
		}
		text := AppendXML(nil, h.Dataset, XMLOptions{BulkURI: uri})
		if parsed, err = ParseXML(bytes.NewReader(text), ParseOptions{}); err != nil {
			t.Errorf("%s: XML: %v", name, err)
			continue
		}
		if !h.Dataset.Has(TagSpecificCharacterSet) {
			parsed.Delete(TagSpecificCharacterSet)
		}
		compareJSON(t, name, "", parseJSONModel(t, want), parseJSONModel(t, AppendJSON(nil, parsed.Dataset, JSONOptions{BulkURI: parsed.BulkURI})))
	}
}

// someSamples is every nth readable sample file, all of them with
// DICOM_XML_ALL=1.
func someSamples(t *testing.T, nth int) []string {
	var all, some []string
	for name, readable := range corpus(t) {
		if readable {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	for i, name := range all {
		if i%nth == 0 || os.Getenv("DICOM_XML_ALL") != "" {
			some = append(some, name)
		}
	}
	return some
}

// xmlExceptions are files of which dcmtk's XML means something else, with why.
var xmlExceptions = map[string]string{
	"dcmqi/data/paramaps/pm-example-slice.dcm": "loses the block of private elements without a creator",
	"debian-nibabel/decimal_rescale.dcm":       "loses which of two blocks of one creator an element is in",
	"pydicom/test_files/UN_sequence.dcm":       "loses the block of private elements without a creator",
	"pydicom/test_files/waveform_ecg.dcm":      "loses the block of private elements without a creator",
	"pydicom/charset_files/chrX1.dcm":          "has an empty phonetic group",
	"pydicom/charset_files/chrX2.dcm":          "has an empty phonetic group",
}

// dcmtk writes the same model. DICOM_XML_ALL=1 compares all files.
func TestXMLAgreesWithDcm2xml(t *testing.T) {
	tool, err := exec.LookPath("dcm2xml")
	if err != nil {
		t.Skip("dcm2xml (dcmtk) is not installed")
	}
	compared := 0
	for _, name := range someSamples(t, 10) {
		if xmlExceptions[name] != "" {
			continue
		}
		h, err := Scan(bytes.NewReader(readSample(t, name)), ScanOptions{})
		if err != nil {
			continue
		}
		out, err := exec.Command(tool, "-q", "--native-format", "+U8", "+Eb", filepath.Join(corpusDir, name)).Output()
		if err != nil {
			continue // it can't do some character sets
		}
		want, err := ParseXML(bytes.NewReader(out), ParseOptions{})
		if err != nil {
			continue // it writes what is not XML for some bytes
		}
		got, err := ParseXML(bytes.NewReader(AppendXML(nil, h.Dataset, XMLOptions{BulkURI: func(path string, r Range) string { return "bulk:" + path }})), ParseOptions{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want.Delete(TagSpecificCharacterSet) // not declared in every file
		got.Delete(TagSpecificCharacterSet)
		sameByteOrder(want.Dataset)
		compareJSON(t, name, "", parseJSONModel(t, AppendJSON(nil, want.Dataset, JSONOptions{BulkURI: want.BulkURI})),
			parseJSONModel(t, AppendJSON(nil, got.Dataset, JSONOptions{BulkURI: got.BulkURI})))
		compared++
	}
	t.Logf("%d files compared", compared)
	if compared < 15 {
		t.Errorf("only %d files could be compared", compared)
	}
}

// sameByteOrder turns round the words that dcm2xml writes in big endian byte
// order, unlike its own dcm2json and the standard.
func sameByteOrder(ds *Dataset) {
	for i := range ds.Elements {
		e := &ds.Elements[i]
		if e.VR.is(vrOpaque) {
			e.Value = swapped(e.Value, e.VR.Unit())
		}
		for _, item := range e.Items {
			sameByteOrder(item)
		}
	}
}

func TestParseModelsRefuse(t *testing.T) {
	deep := strings.Repeat(`{"00081115":{"vr":"SQ","Value":[`, 40) + strings.Repeat(`]}}`, 40)
	const head = `<NativeDicomModel><DicomAttribute tag="00100010" vr="LO">`
	deepXML := "<NativeDicomModel>" + strings.Repeat(`<DicomAttribute tag="00081115" vr="SQ"><Item number="1">`, 40) +
		strings.Repeat(`</Item></DicomAttribute>`, 40) + "</NativeDicomModel>"
	for _, c := range []struct{ text, want string }{
		{deep, "nested deeper"},
		{`{"00100010":{"vr":"XX"}}`, "no VR"},
		{`{"001":{"vr":"LO"}}`, "neither a tag"},
		{`{"00280010":{"vr":"US","Value":[70000]}}`, "VR US can hold"},
		{`{"00280010":{"vr":"US","Value":[-1]}}`, "VR US can hold"},
		{`{"00280010":{"vr":"OB","Value":["AQ"]}}`, "InlineBinary"},
		{`{"00280010":{"vr":"OB","InlineBinary":"%%"}}`, "base64"},
		{`{"00081115":{"vr":"SQ","Value":["x"]}}`, "sequence has items"},
		{`{"00100010":{"vr":"LO","Value":[{"00100020":{}}]}}`, "items stand"},
		{`{"00100010":{"vr":"LO","Value":["a"]},"00100010":{"vr":"LO"}}`, "twice"},
		{`{"00100010":{"vr":"LO","Value":["a"]}`, "breaks off"},
		{`{"00100010"`, "breaks off"},
		{`[]`, "no data set"},
		{`[{},{}]`, "behind"},
		{`5`, "JSON object"},
		{`{"00100010":{"x":` + strings.Repeat("[", 50) + strings.Repeat("]", 50) + `}}`, "nested deeper"},

		{deepXML, "nested deeper"},
		{`<!DOCTYPE x [<!ENTITY a "aaaa">]>` + head + `<Value>&a;</Value></DicomAttribute></NativeDicomModel>`, "document type"},
		{head + `<Value>&a;</Value></DicomAttribute></NativeDicomModel>`, "not XML"},
		{head + `<Value number="999999999">x</Value></DicomAttribute></NativeDicomModel>`, "out of place"},
		{head + `<Value number="0">x</Value></DicomAttribute></NativeDicomModel>`, "out of place"},
		{head + `<Value number="1"><b/></Value></DicomAttribute></NativeDicomModel>`, "within a value"},
		{head + `<Value number="1">`, "not XML"},
		{`<html/>`, "not NativeDicomModel"},
		{`<NativeDicomModel/><x/>`, "behind"},
		{`<?xml version="1.0" encoding="koi8-r"?><NativeDicomModel/>`, "send UTF-8"},
		{``, "no data set"},
	} {
		var err error
		if strings.HasPrefix(c.text, "<") {
			_, err = ParseXML(strings.NewReader(c.text), ParseOptions{})
		} else {
			_, err = ParseJSON([]byte(c.text), ParseOptions{})
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.80s: %v, want %s", c.text, err, c.want)
		}
	}
	// Bounds hold for what costs little text and much memory.
	gaps := head + strings.Repeat(`<Value number="1000"/>`, 1) + `</DicomAttribute></NativeDicomModel>`
	if _, err := ParseXML(strings.NewReader(gaps), ParseOptions{MaxElements: 500}); err == nil {
		t.Error("a gap of 999 values is counted as one")
	}
	long := `{"00100010":{"vr":"LO","Value":["` + strings.Repeat("x", 5000) + `"]}}`
	if _, err := ParseJSON([]byte(long), ParseOptions{MaxBytes: 1000}); !errors.Is(err, errTextTooLong) {
		t.Errorf("a text over the limit: %v", err)
	}
	// What the decoder would look at again and again.
	blank := `[` + strings.Repeat(" ", maxBlank+1) + `{}]`
	if _, err := NewJSONReader(strings.NewReader(blank), ParseOptions{}).Next(); !errors.Is(err, errTextTooLong) {
		t.Errorf("more than %d blanks: %v", maxBlank, err)
	}
	if _, err := ParseJSON([]byte(`{"00100010":{"vr":"PN","Value":["A"],"Value":["B"]}}`), ParseOptions{}); err == nil {
		t.Error("one of two values is taken")
	}
}

// What clients write otherwise than the standard has it.
func TestParseJSONIsLenient(t *testing.T) {
	const src = `{"PatientName":{"vr":"PN","Value":["Doe^J"]},"00280010":{"vr":"US","Value":["512"]},"00280011":{"Value":[5.12e2]},
		"00200013":{"vr":"IS","Value":[7.0]},"00281053":{"vr":"DS","Value":[0.33333333333333331]},"00081115":{"vr":"SQ","Value":null},
		"00090010":{"vr":"LO","Value":["M"]},"00091001":{"vr":"UN","InlineBinary":["AQI="]},"00080005":{"vr":"CS","Value":["ISO_IR 100"]},
		"00100040":{"vr":"CS","Value":[null]},"00100020":{"vr":"LO","Value":["é"],"note":{"a":[1]}}}`
	p, err := ParseJSON([]byte(src), ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"00080005":{"vr":"CS","Value":["ISO_IR 192"]},"00081115":{"vr":"SQ"},"00090010":{"vr":"LO","Value":["M"]},` +
		`"00091001":{"vr":"UN","InlineBinary":"AQI="},"00100010":{"vr":"PN","Value":[{"Alphabetic":"Doe^J"}]},"00100020":{"vr":"LO","Value":["é"]},` +
		`"00100040":{"vr":"CS"},"00200013":{"vr":"IS","Value":[7]},"00280010":{"vr":"US","Value":[512]},"00280011":{"vr":"US","Value":[512]},` +
		`"00281053":{"vr":"DS","Value":[0.33333333333333]}}`
	if got := string(AppendJSON(nil, p.Dataset, JSONOptions{})); !strings.HasPrefix(got, want[:len(want)-20]) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if v := p.String(TagRescaleSlope); len(v) > 16 {
		t.Errorf("DS of %d characters: %s", len(v), v)
	}
	b, err := AppendDataset(nil, p.Dataset, ExplicitVRLittleEndian)
	if err != nil {
		t.Fatal(err)
	}
	if h, err := Scan(bytes.NewReader(b), ScanOptions{TransferSyntax: ExplicitVRLittleEndian}); err != nil || h.Dataset.String(TagPatientID) != "é" {
		t.Errorf("what was encoded can't be read: %v", err)
	}
}

func FuzzParseModels(f *testing.F) {
	n := 0
	for name := range corpusForFuzz(f) {
		if n++; n > 20 {
			break
		}
		if h, err := Scan(bytes.NewReader(readSample(f, name)), ScanOptions{}); err == nil {
			f.Add(AppendXML(nil, h.Dataset, XMLOptions{}))
			f.Add(AppendJSON(nil, h.Dataset, JSONOptions{}))
		}
	}
	f.Add([]byte(`<NativeDicomModel><DicomAttribute tag="00081115" vr="SQ"><Item number="3"/></DicomAttribute></NativeDicomModel>`))
	f.Fuzz(func(t *testing.T, text []byte) {
		opt := ParseOptions{MaxElements: 10_000}
		p, err := ParseXML(bytes.NewReader(text), opt)
		if err != nil {
			if p, err = ParseJSON(text, opt); err != nil {
				return
			}
		}
		// What was taken is written and read again alike.
		first := AppendJSON(nil, p.Dataset, JSONOptions{BulkURI: p.BulkURI})
		checkJSON(t, first)
		again, err := ParseJSON(first, ParseOptions{})
		if err != nil {
			t.Fatalf("%v\n%s", err, first)
		}
		if second := AppendJSON(nil, again.Dataset, JSONOptions{BulkURI: again.BulkURI}); !bytes.Equal(first, second) {
			t.Errorf("\n%s\n%s", first, second)
		}
		if _, err := ParseXML(bytes.NewReader(AppendXML(nil, p.Dataset, XMLOptions{BulkURI: p.BulkURI})), ParseOptions{}); err != nil {
			t.Errorf("its own XML: %v", err)
		}
	})
}
