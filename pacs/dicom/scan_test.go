package dicom

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// unhex turns annotated golden bytes into bytes: everything behind // is a
// comment, text in 'quotes' is ASCII.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	var out []byte
	for _, line := range strings.Split(s, "\n") {
		line, _, _ = strings.Cut(line, "//")
		for i, part := range strings.Split(line, "'") {
			if i%2 == 1 {
				out = append(out, part...)
				continue
			}
			b, err := hex.DecodeString(strings.Join(strings.Fields(part), ""))
			if err != nil {
				t.Fatalf("golden bytes %q: %v", line, err)
			}
			out = append(out, b...)
		}
	}
	return out
}

// An explicit little endian data set with everything the encoding has.
const goldenExplicit = `
0800 0500 'CS' 0A00 'ISO_IR 144'                 // (0008,0005)
0800 1800 'UI' 0400 '1.2' 00                     // (0008,0018), padded with NUL
0800 4011 'SQ' 0000 FFFFFFFF                     // (0008,1140), undefined length
  FEFF 00E0 FFFFFFFF                             //   item of undefined length
    0800 5011 'UI' 0400 '1.2' 00
  FEFF 0DE0 00000000                             //   item delimitation
  FEFF 00E0 0C000000                             //   item of 12 bytes
    0800 5011 'UI' 0400 '9.9' 00
FEFF DDE0 00000000                               // sequence delimitation
0900 1000 'LO' 0400 'ACME'                       // private creator
0900 0110 'UN' 0000 FFFFFFFF                     // UN, undefined length: an implicit sequence
  FEFF 00E0 FFFFFFFF
    0800 6000 02000000 'CT'                      //   implicit
  FEFF 0DE0 00000000
FEFF DDE0 00000000
1000 1000 'PN' 0800 BAD0E0D8DCDEd220             // (0010,0010) Каримов in ISO 8859-5
2800 0200 'US' 0200 0100                         // samples per pixel 1
2800 0800 'IS' 0200 '2 '                         // two frames
2800 1000 'US' 0200 0200                         // 2 rows
2800 1100 'US' 0200 0300                         // 3 columns
2800 0001 'US' 0200 0800                         // 8 bits allocated
2800 0301 'US' 0200 0000
E07F 1000 'OB' 0000 0C000000                     // pixel data, 12 bytes
010203040506 0708090A0B0C
`

func TestScanGolden(t *testing.T) {
	b := unhex(t, goldenExplicit)
	// iotest.OneByteReader: elements come in any pieces.
	for _, r := range []io.Reader{bytes.NewReader(b), iotest.OneByteReader(bytes.NewReader(b)), iotest.DataErrReader(bytes.NewReader(b))} {
		h, err := Scan(r, ScanOptions{TransferSyntax: ExplicitVRLittleEndian})
		if err != nil {
			t.Fatal(err)
		}
		want := `{"00080005":{"vr":"CS","Value":["ISO_IR 192"]},` +
			`"00080018":{"vr":"UI","Value":["1.2"]},` +
			`"00081140":{"vr":"SQ","Value":[{"00081150":{"vr":"UI","Value":["1.2"]}},{"00081150":{"vr":"UI","Value":["9.9"]}}]},` +
			`"00090010":{"vr":"LO","Value":["ACME"]},` +
			`"00091001":{"vr":"SQ","Value":[{"00080060":{"vr":"CS","Value":["CT"]}}]},` +
			`"00100010":{"vr":"PN","Value":[{"Alphabetic":"Каримов"}]},` +
			`"00280002":{"vr":"US","Value":[1]},"00280008":{"vr":"IS","Value":[2]},` +
			`"00280010":{"vr":"US","Value":[2]},"00280011":{"vr":"US","Value":[3]},"00280100":{"vr":"US","Value":[8]},` +
			`"00280103":{"vr":"US","Value":[0]},"7FE00010":{"vr":"OB","BulkDataURI":"x7FE00010"}}`
		got := string(AppendJSON(nil, h.Dataset, JSONOptions{BulkURI: func(path string, r Range) string { return "x" + path }}))
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if h.Meta != nil || h.Length != int64(len(b)) || h.DatasetOffset != 0 || h.TransferSyntax != ExplicitVRLittleEndian {
			t.Errorf("header %+v", h)
		}
		frames, err := h.Frames()
		if err != nil {
			t.Fatal(err)
		}
		if len(frames) != 2 || !bytes.Equal(pick(b, frames[0]), []byte{1, 2, 3, 4, 5, 6}) || !bytes.Equal(pick(b, frames[1]), []byte{7, 8, 9, 10, 11, 12}) {
			t.Errorf("frames %v", frames)
		}
	}
}

// pick cuts ranges out of a stream.
func pick(b []byte, ranges []Range) []byte {
	var out []byte
	for _, r := range ranges {
		out = append(out, b[r.Offset:r.Offset+r.Length]...)
	}
	return out
}

// Wherever the stream is cut, that is an error, except between two elements of
// the data set itself, where nothing can tell.
func TestScanTruncated(t *testing.T) {
	bare := unhex(t, goldenExplicit)
	file := append(AppendFileMeta(nil, FileMeta{SOPClassUID: CTImageStorage, SOPInstanceUID: "1.2", TransferSyntaxUID: ExplicitVRLittleEndian}), bare...)
	encapsulated := append(AppendFileMeta(nil, FileMeta{TransferSyntaxUID: RLELossless}), unhex(t, goldenEncapsulated)...)
	for name, b := range map[string][]byte{"bare": bare, "file": file, "encapsulated": encapsulated} {
		opt := ScanOptions{}
		if name == "bare" {
			opt.TransferSyntax = ExplicitVRLittleEndian
		}
		complete := 0
		for n := range b {
			for _, r := range []io.Reader{bytes.NewReader(b[:n]), NewSkipReader(bytes.NewReader(b), 0, int64(n))} {
				_, err := Scan(r, opt)
				var e *ScanError
				switch {
				case err == nil:
					complete++
				case !errors.As(err, &e) || e.Kind != Truncated && !(e.Kind == NotDICOM && n < 140):
					t.Errorf("%s cut at %d of %d: %v", name, n, len(b), err)
				}
			}
		}
		// The golden data set has 13 root elements, the other 3. A cut behind
		// the last one is no cut. A bare data set may be empty, a file not.
		if want := map[string]int{"bare": 2 * 13, "file": 2 * 12, "encapsulated": 2 * 2}[name]; complete != want {
			t.Errorf("%s: %d cuts went unnoticed, want %d (those between root elements)", name, complete, want)
		}
	}
}

func TestScanTruncatedReader(t *testing.T) {
	b := unhex(t, goldenExplicit)
	broken := errors.New("connection reset")
	_, err := Scan(io.MultiReader(bytes.NewReader(b[:100]), iotest.ErrReader(broken)), ScanOptions{TransferSyntax: ExplicitVRLittleEndian})
	if !errors.Is(err, broken) {
		t.Errorf("the reader's error became %v", err)
	}
	// The same between two root elements, where EOF would be fine.
	_, err = Scan(io.MultiReader(bytes.NewReader(b[:18]), iotest.ErrReader(broken)), ScanOptions{TransferSyntax: ExplicitVRLittleEndian})
	if !errors.Is(err, broken) {
		t.Errorf("the reader's error became %v", err)
	}
	_, err = Scan(io.MultiReader(bytes.NewReader(b[:100]), iotest.ErrReader(io.ErrUnexpectedEOF)), ScanOptions{TransferSyntax: ExplicitVRLittleEndian})
	var e *ScanError
	if !errors.As(err, &e) || e.Kind != Truncated {
		t.Errorf("io.ErrUnexpectedEOF became %v", err)
	}
}

func TestScanReadsToTheEnd(t *testing.T) {
	b := append(unhex(t, goldenExplicit), make([]byte, 200<<10)...) // padding behind the data set
	var teed bytes.Buffer
	h, err := Scan(io.TeeReader(bytes.NewReader(b), &teed), ScanOptions{TransferSyntax: ExplicitVRLittleEndian})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(teed.Bytes(), b) {
		t.Errorf("%d of %d bytes were read", teed.Len(), len(b))
	}
	if h.Length != int64(len(b)) {
		t.Errorf("Length %d", h.Length)
	}
	b[len(b)-1] = 1
	var e *ScanError
	if _, err = Scan(bytes.NewReader(b), ScanOptions{TransferSyntax: ExplicitVRLittleEndian}); !errors.As(err, &e) || e.Kind != Malformed {
		t.Errorf("rubbish behind the padding: %v", err)
	}
}

// A big endian data set: words, a nested item, AT.
const goldenBigEndian = `
0008 0005 'CS' 000A 'ISO_IR 100'
0008 0060 'CS' 0002 'MR'
0028 0009 'AT' 0004 0018 1063                    // frame increment pointer
0028 0010 'US' 0002 0102                         // 258
0028 0102 'SQ' 0000 0000 0014                    // a sequence of 20 bytes, not one of the standard
  FFFE E000 0000000C
    0018 0080 'FL' 0004 3FC00000                 // 1.5
0028 3006 'OW' 0000 0000 0004 0102 0304          // words 0x0102, 0x0304
7FE0 0010 'OW' 0000 0000 0004 0102 0304
`

func TestScanBigEndian(t *testing.T) {
	h, err := Scan(bytes.NewReader(unhex(t, goldenBigEndian)), ScanOptions{TransferSyntax: ExplicitVRBigEndian})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"00080005":{"vr":"CS","Value":["ISO_IR 192"]},"00080060":{"vr":"CS","Value":["MR"]},` +
		`"00280009":{"vr":"AT","Value":["00181063"]},"00280010":{"vr":"US","Value":[258]},` +
		`"00280102":{"vr":"SQ","Value":[{"00180080":{"vr":"FL","Value":[1.5]}}]},` +
		`"00283006":{"vr":"OW","InlineBinary":"AgEEAw=="},"7FE00010":{"vr":"OW"}}`
	if got := string(AppendJSON(nil, h.Dataset, JSONOptions{})); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestScanImplicit(t *testing.T) {
	b := unhex(t, `
0800 0500 0A000000 'ISO_IR 100'
0800 1800 04000000 '1.2' 00
0900 1000 04000000 'ACME'
0900 0110 02000000 0102                          // private: UN
1000 1000 04000000 'A^B '
2800 0301 02000000 0100                          // pixel representation 1: signed
2800 0601 02000000 FFFF                          // smallest pixel value: US or SS, so SS
2800 0630 02000000 FFFF                          // LUT data: US or OW
0060 1000 02000000 0200                          // (6000,0010) US, repeating group
0060 0030 02000000 AAAA                          // (6000,3000) OW
`)
	h, err := Scan(bytes.NewReader(b), ScanOptions{TransferSyntax: ImplicitVRLittleEndian})
	if err != nil {
		t.Fatal(err)
	}
	for tag, vr := range map[Tag]VR{
		TagSOPInstanceUID: UI, 0x00090010: LO, 0x00091001: UN, TagPatientName: PN,
		TagSmallestImagePixelValue: SS, TagLUTData: OW, 0x60000010: US, 0x60003000: OW,
	} {
		if e, ok := h.Dataset.Get(tag); !ok || e.VR != vr {
			t.Errorf("%s: %v, want %s", tag, e, vr)
		}
	}
	if n, _ := h.Dataset.Int(TagSmallestImagePixelValue); n != -1 {
		t.Errorf("signed value %d", n)
	}
}

func TestScanQuirks(t *testing.T) {
	const name = "1000 1000 'PN' 0400 'A^B '\n"
	for what, c := range map[string]struct{ syntax, bytes, want string }{
		"odd lengths":                            {ExplicitVRLittleEndian, "0800 6000 'CS' 0300 'CTX'" + name, `{"00080060":{"vr":"CS","Value":["CTX"]},`},
		"VR ??":                                  {ExplicitVRLittleEndian, "0800 6000 'CS' 0200 'CT' 0900 0110 '??' 0200 0102" + name, `"00091001":{"vr":"UN","InlineBinary":"AQI="},`},
		"VR of zeros":                            {ExplicitVRLittleEndian, "0800 6000 'CS' 0200 'CT' 0800 8000 0000 0400 'HOSP'" + name, `"00080080":{"vr":"LO","Value":["HOSP"]},`},
		"VR in small letters":                    {ExplicitVRLittleEndian, "0800 6000 'CS' 0200 'CT' 0800 8000 'lo' 0400 'HOSP'" + name, `"00080080":{"vr":"LO","Value":["HOSP"]},`},
		"one implicit element":                   {ExplicitVRLittleEndian, "0800 6000 'CS' 0200 'CT' 0800 8000 0400 0000 'HOSP'" + name, `"00080080":{"vr":"LO","Value":["HOSP"]},`},
		"a VR of the future":                     {ExplicitVRLittleEndian, "0800 6000 'CS' 0200 'CT' 0900 0110 'ZZ' 0000 02000000 0102" + name, `"00091001":{"vr":"UN","InlineBinary":"AQI="},`},
		"implicit, declared explicit":            {ExplicitVRLittleEndian, "0800 6000 02000000 'CT' 1000 1000 04000000 'A^B '", `{"00080060":{"vr":"CS","Value":["CT"]},`},
		"explicit, declared implicit":            {ImplicitVRLittleEndian, "0800 6000 'CS' 0200 'CT'" + name, `{"00080060":{"vr":"CS","Value":["CT"]},`},
		"big endian, declared little":            {ExplicitVRLittleEndian, "0008 0060 'CS' 0002 'CT' 0010 0010 'PN' 0004 'A^B '", `{"00080060":{"vr":"CS","Value":["CT"]},`},
		"not deflated, declared so":              {DeflatedExplicitVRLittleEndian, "0800 6000 'CS' 0200 'CT'" + name, `{"00080060":{"vr":"CS","Value":["CT"]},`},
		"a private syntax":                       {"1.2.3.4", "0800 6000 'CS' 0200 'CT'" + name, `{"00080060":{"vr":"CS","Value":["CT"]},`},
		"a delimiter too many":                   {ExplicitVRLittleEndian, "0800 6000 'CS' 0200 'CT' FEFF DDE0 00000000" + name, `{"00080060":{"vr":"CS","Value":["CT"]},`},
		"no item delimiter":                      {ExplicitVRLittleEndian, "0800 4011 'SQ' 0000 FFFFFFFF FEFF 00E0 FFFFFFFF 0800 5011 'UI' 0200 '12' FEFF DDE0 00000000" + name, `"Value":[{"00081150":{"vr":"UI","Value":["12"]}}]`},
		"a sequence that is none":                {ExplicitVRLittleEndian, "0800 4011 'SQ' 0000 04000000 01020304" + name, `{"00081140":{"vr":"UN","InlineBinary":"AQIDBA=="}`},
		"explicit items in a UN sequence":        {ExplicitVRLittleEndian, "0900 0110 'UN' 0000 FFFFFFFF FEFF 00E0 FFFFFFFF 0800 5011 'UI' 0200 '12' FEFF 0DE0 00000000 FEFF DDE0 00000000" + name, `"Value":[{"00081150":{"vr":"UI","Value":["12"]}}]`},
		"OB of undefined length that's no image": {ExplicitVRLittleEndian, "0900 0110 'OB' 0000 FFFFFFFF FEFF 00E0 02000000 0102 FEFF DDE0 00000000" + name, `"00091001":{"vr":"OB","BulkDataURI":"00091001"}`},
		"duplicates":                             {ExplicitVRLittleEndian, "0800 6000 'CS' 0200 'CT' 0800 6000 'CS' 0200 'MR'" + name, `{"00080060":{"vr":"CS","Value":["CT"]},"00100010"`},
		"out of order":                           {ExplicitVRLittleEndian, name + "0800 6000 'CS' 0200 'CT'", `{"00080060":{"vr":"CS","Value":["CT"]},"00100010"`},
	} {
		h, err := Scan(bytes.NewReader(unhex(t, c.bytes)), ScanOptions{TransferSyntax: c.syntax})
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		got := string(AppendJSON(nil, h.Dataset, JSONOptions{BulkURI: func(path string, _ Range) string { return path }}))
		if !strings.Contains(got, c.want) || !strings.Contains(got, `"00100010":{"vr":"PN","Value":[{"Alphabetic":"A^B"}]}`) {
			t.Errorf("%s: %s", what, got)
		}
	}
}

func TestScanRefuses(t *testing.T) {
	implicit := ImplicitVRLittleEndian
	for what, c := range map[string]struct {
		syntax, bytes string
		kind          ErrorKind
	}{
		"text":                        {"", "'" + strings.Repeat("Dear colleague, ", 20) + "'", NotDICOM},
		"JPEG":                        {"", "FFD8FFE0 0010 'JFIF' 00" + strings.Repeat("00", 200), NotDICOM},
		"nothing":                     {"", "", NotDICOM},
		"XML":                         {"1.2.840.10008.1.2.6.2", "0800 6000 02000000 'CT'", UnsupportedSyntax},
		"not a UID":                   {"Implicit VR", "0800 6000 02000000 'CT'", UnsupportedSyntax},
		"4 GB in a few bytes":         {implicit, "0800 6000 02000000 'CT' 0900 0110 FEFFFFFF 00", Truncated},
		"4 GB of pixels":              {implicit, "0800 6000 02000000 'CT' E07F 1000 FEFFFFFF 00", Truncated},
		"an item without sequence":    {implicit, "0800 6000 02000000 'CT' FEFF 00E0 00000000", Malformed},
		"no item in a sequence":       {implicit, "0800 4011 FFFFFFFF 0800 6000 02000000 'CT'", Malformed},
		"value beyond its item":       {implicit, "0800 4011 FFFFFFFF FEFF 00E0 0A000000 0800 6000 04000000 'CTCT' FEFF DDE0 00000000", Malformed},
		"fragments without delimiter": {ExplicitVRLittleEndian, "E07F 1000 'OB' 0000 FFFFFFFF FEFF 00E0 00000000 FEFF 00E0 02000000 0102", Truncated},
		"element between fragments":   {ExplicitVRLittleEndian, "E07F 1000 'OB' 0000 FFFFFFFF FEFF 00E0 00000000 0800 6000 'CS' 0200 'CT'", Malformed},
		"offset table of 3 bytes":     {ExplicitVRLittleEndian, "E07F 1000 'OB' 0000 FFFFFFFF FEFF 00E0 03000000 010203 FEFF DDE0 00000000", Malformed},
	} {
		_, err := Scan(bytes.NewReader(unhex(t, c.bytes)), ScanOptions{TransferSyntax: c.syntax})
		var e *ScanError
		if !errors.As(err, &e) || e.Kind != c.kind {
			t.Errorf("%s: %v, want %s", what, err, c.kind)
		}
	}
}

func TestScanDeflated(t *testing.T) {
	plain := unhex(t, goldenExplicit)
	deflated := AppendFileMeta(nil, FileMeta{TransferSyntaxUID: DeflatedExplicitVRLittleEndian})
	head := len(deflated)
	var z bytes.Buffer
	w, _ := flate.NewWriter(&z, 9)
	w.Write(plain)
	w.Close()
	deflated = append(append(deflated, z.Bytes()...), 0) // padded
	var teed bytes.Buffer
	h, err := Scan(io.TeeReader(iotest.HalfReader(bytes.NewReader(deflated)), &teed), ScanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !h.Deflated || h.DatasetOffset != int64(head) || h.Length != int64(len(deflated)) || teed.Len() != len(deflated) {
		t.Errorf("deflated %v, offset %d of %d, length %d of %d, %d read", h.Deflated, h.DatasetOffset, head, h.Length, len(deflated), teed.Len())
	}
	frames, err := h.Frames()
	if err != nil || !bytes.Equal(pick(plain, frames[1]), []byte{7, 8, 9, 10, 11, 12}) {
		t.Errorf("ranges don't count in the inflated data set: %v %v", frames, err)
	}
	var e *ScanError
	if _, err = Scan(bytes.NewReader(deflated[:len(deflated)-20]), ScanOptions{}); !errors.As(err, &e) || e.Kind != Truncated {
		t.Errorf("cut: %v", err)
	}
	if _, err = Scan(bytes.NewReader(deflated), ScanOptions{MaxInflated: 100}); !errors.As(err, &e) || e.Kind != TooLarge {
		t.Errorf("over MaxInflated: %v", err)
	}
	deflated[head+1] ^= 0xFF
	if _, err = Scan(bytes.NewReader(deflated), ScanOptions{}); !errors.As(err, &e) {
		t.Errorf("corrupt: %v", err)
	}
}

func TestScanLimits(t *testing.T) {
	le := binary.LittleEndian
	element := func(b []byte, n int) []byte { // (0009,1001) UN of n bytes
		b = append(b, 9, 0, 1, 0x10, 'U', 'N', 0, 0)
		return append(le.AppendUint32(b, uint32(n)), make([]byte, n)...)
	}
	var many []byte
	for range 50 {
		many = element(many, 100)
	}
	long := element(nil, 300)
	for what, c := range map[string]struct {
		b    []byte
		opt  ScanOptions
		kind ErrorKind
	}{
		"MaxHeader":   {many, ScanOptions{MaxHeader: 4900}, TooLarge},
		"MaxElements": {many, ScanOptions{MaxElements: 49}, TooLarge},
		"within":      {many, ScanOptions{MaxHeader: 5000, MaxElements: 50}, 0},
		"MaxValue":    {long, ScanOptions{MaxValue: 299, MaxHeader: 10}, 0},
	} {
		c.opt.TransferSyntax = ExplicitVRLittleEndian
		h, err := Scan(bytes.NewReader(c.b), c.opt)
		var e *ScanError
		if c.kind == 0 && err != nil || c.kind != 0 && (!errors.As(err, &e) || e.Kind != c.kind) {
			t.Errorf("%s: %v", what, err)
		}
		if what == "MaxValue" && (h.Dataset.Elements[0].Bulk == nil || *h.Dataset.Elements[0].Bulk != Range{12, 300}) {
			t.Errorf("%s: %+v", what, h.Dataset.Elements[0])
		}
	}
}
