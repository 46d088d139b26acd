package dicom

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	library "github.com/suyashkumar/dicom"
)

func TestDatasetAccess(t *testing.T) {
	ds := &Dataset{}
	ds.SetString(TagPatientName, PN, " A^B ", "C").SetString(TagImageType, CS, "ORIGINAL", "", "AXIAL")
	ds.SetString(TagTextValue, UT, "  a\\b  ").SetString(TagSliceThickness, DS, "2.5").SetString(TagSeriesNumber, IS, " 12 ")
	ds.SetString(TagInstanceNumber, IS, "x").SetInts(TagRows, US, 512, 7).SetInts(TagReferencePixelX0, SL, -3)
	ds.SetInts(TagFrameIncrementPointer, AT, 0x00181063).SetFloats(TagPixelSpacing, DS, 0.5, 0.25).SetString(TagAccessionNumber, SH)
	ds.SetBytes(TagEncapsulatedDocument, OB, []byte{1, 2}).SetBytes(TagColumns, US, []byte{1}).SetBytes(TagExtendedOffsetTable, OV, make([]byte, 8))
	ds.SetSequence(TagReferencedStudySequence, (&Dataset{}).SetString(TagReferencedSOPInstanceUID, UI, "1.2"))
	ds.SetString(0x00091001, UN, "as text")

	for got, want := range map[string]string{
		ds.String(TagPatientName):                                               "A^B",
		fmt.Sprintf("%q", ds.Strings(TagPatientName)):                           `["A^B" "C"]`,
		fmt.Sprintf("%q", ds.Strings(TagImageType)):                             `["ORIGINAL" "" "AXIAL"]`,
		ds.String(TagTextValue):                                                 `  a\b`,
		ds.Text(TagPatientName):                                                 ` A^B \C`,
		ds.String(TagRows):                                                      "512",
		fmt.Sprint(ds.Strings(TagRows)):                                         "[512 7]",
		ds.String(TagFrameIncrementPointer):                                     "00181063",
		fmt.Sprint(ds.Floats(TagPixelSpacing)):                                  "[0.5 0.25]",
		ds.Item(TagReferencedStudySequence).String(TagReferencedSOPInstanceUID): "1.2",
		ds.String(0x00091001):                                                   "as text",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for _, tag := range []Tag{TagAccessionNumber, TagStudyID, TagEncapsulatedDocument, TagReferencedStudySequence, TagColumns} {
		if s, v := ds.String(tag), ds.Strings(tag); s != "" || len(v) != 0 {
			t.Errorf("%s: %q %q", tag, s, v)
		}
	}
	for tag, want := range map[Tag]int{TagSeriesNumber: 12, TagRows: 512, TagReferencePixelX0: -3} {
		if n, ok := ds.Int(tag); !ok || n != want {
			t.Errorf("Int(%s) = %d, %v", tag, n, ok)
		}
	}
	for _, tag := range []Tag{TagInstanceNumber, TagSliceThickness, TagColumns, TagStudyID, TagPatientName} {
		if n, ok := ds.Int(tag); ok {
			t.Errorf("Int(%s) = %d", tag, n)
		}
	}
	if f, ok := ds.Float(TagSliceThickness); !ok || f != 2.5 {
		t.Errorf("Float %v", f)
	}
	if ds.Floats(TagInstanceNumber) != nil || !ds.Has(TagAccessionNumber) || ds.Has(TagStudyID) {
		t.Error("Floats, Has")
	}
	var none *Dataset
	if none.Item(TagReferencedStudySequence).String(TagPatientName) != "" || none.Items(1) != nil || none.CharacterSet() != nil {
		t.Error("a nil data set isn't empty")
	}
}

func TestSelect(t *testing.T) {
	h, err := Scan(bytes.NewReader(unhex(t, goldenExplicit)), ScanOptions{TransferSyntax: ExplicitVRLittleEndian})
	if err != nil {
		t.Fatal(err)
	}
	ds := h.Dataset.Select(TagRows, TagPatientName, TagStudyID)
	if got := string(AppendJSON(nil, ds, JSONOptions{})); got != `{"00100010":{"vr":"PN","Value":[{"Alphabetic":"Каримов"}]},"00280010":{"vr":"US","Value":[2]}}` {
		t.Error(got)
	}
	if len(h.Dataset.Elements) != 13 {
		t.Error("the original changed")
	}
}

// Where github.com/suyashkumar/dicom is right, we agree with it. The list of
// where it isn't is in the test's conditions.
func TestScanAgreesWithLibrary(t *testing.T) {
	compared := 0
	for name, readable := range corpus(t) {
		b := readSample(t, name)
		if !readable || len(b) > 300<<10 {
			continue
		}
		h, err := Scan(bytes.NewReader(b), ScanOptions{})
		if err != nil {
			continue // see scanExceptions
		}
		theirs, ok := parseWithLibrary(b)
		if !ok {
			continue
		}
		compared++
		for _, e := range theirs.Elements {
			ours, ok := h.Dataset.Get(NewTag(e.Tag.Group, e.Tag.Element))
			if e.Tag.Group == 2 {
				ours, ok = h.Meta.Get(NewTag(e.Tag.Group, e.Tag.Element))
			}
			if !ok {
				t.Errorf("%s: we lack %v", name, e.Tag)
				continue
			}
			var want []string
			switch v := e.Value.GetValue().(type) {
			case []string:
				want = v
			case []int:
				if ours.VR == AT || !ours.VR.is(vrNumeric) {
					continue
				}
				for _, n := range v {
					want = append(want, fmt.Sprint(n))
				}
			default:
				continue
			}
			// It reads OF, OL, OD and OV as text, splits free text at
			// backslashes, knows one character set per data set, and has
			// no sign for "US or SS".
			if ours.Bulk != nil || ours.VR.is(vrOpaque) || ours.VR.is(vrSingle) || ours.VR != VR(0) && e.RawValueRepresentation != ours.VR.String() ||
				!isASCII(ours.Value) || hasEscape(ours.Value) {
				continue
			}
			got := h.Dataset.Values(ours)
			if strings.Trim(strings.Join(got, `\`), ` \`) != strings.Trim(strings.ReplaceAll(strings.Join(want, `\`), "\x00", ""), ` \`) && !sameTrimmed(got, want) {
				t.Errorf("%s: %v is %q, the library has %q", name, e.Tag, got, want)
			}
		}
	}
	t.Logf("%d files compared", compared)
	if compared < 100 {
		t.Errorf("only %d files could be compared", compared)
	}
}

func sameTrimmed(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if trimSpace(a[i]) != trimSpace(b[i]) {
			return false
		}
	}
	return true
}

// parseWithLibrary survives the library's panics.
func parseWithLibrary(b []byte) (ds library.Dataset, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	ds, err := library.Parse(bytes.NewReader(b), int64(len(b)), nil, library.SkipPixelData(), library.AllowUnknownSpecificCharacterSet())
	return ds, err == nil
}

// BenchmarkScan reads a CT slice as it comes over the network, the bytes teed
// to a journal that keeps nothing.
func BenchmarkScan(b *testing.B) {
	raw := readSample(b, "cornerstoneWADOImageLoader/testImages/CTImage.dcm")
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		h, err := Scan(io.TeeReader(bytes.NewReader(raw), io.Discard), ScanOptions{})
		if err != nil || h.PixelData == nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkScanFile jumps over the pixels.
func BenchmarkScanFile(b *testing.B) {
	raw := readSample(b, "cornerstoneWADOImageLoader/testImages/CTImage.dcm")
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Scan(NewSkipReader(bytes.NewReader(raw), 0, int64(len(raw))), ScanOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	raw := readSample(b, "cornerstoneWADOImageLoader/testImages/CTImage.dcm")
	h, err := Scan(bytes.NewReader(raw), ScanOptions{})
	if err != nil {
		b.Fatal(err)
	}
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		out = AppendJSON(out[:0], h.Dataset, JSONOptions{})
	}
	b.SetBytes(int64(len(out)))
}
