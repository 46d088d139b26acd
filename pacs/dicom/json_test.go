package dicom

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"unicode/utf8"
)

func checkJSON(t *testing.T, b []byte) {
	t.Helper()
	if !json.Valid(b) || !utf8.Valid(b) {
		t.Fatalf("not JSON: %.400q", b)
	}
}

func TestJSONValues(t *testing.T) {
	for _, c := range []struct {
		vr   VR
		raw  string
		want string // what stands behind "vr", "" for nothing
	}{
		{DS, `1.50\-0.10\+2\.5\5.\007\1e3\-.5`, `"Value":[1.50,-0.10,2,0.5,5,7,1e3,-0.5]`},
		{DS, `1,5\NaN\0x10\--1\1e\`, `"Value":["1,5","NaN","0x10","--1","1e",null]`},
		{DS, ` 1 \ 2 `, `"Value":[1,2]`},
		{DS, `0.1234567890123456789`, `"Value":[0.1234567890123456789]`},
		{DS, `-\+`, `"Value":["-","+"]`},
		{IS, `12 `, `"Value":[12]`},
		{IS, `1A`, `"Value":["1A"]`},
		{DS, `  `, ``},
		{LO, ``, ``},
		{LO, `   `, ``},
		{CS, "CT\x00", `"Value":["CT"]`},
		{CS, `A\\B `, `"Value":["A",null,"B"]`},
		{LO, "a\"b\x01\n\t\x7f", `"Value":["a\"b\u0001\n\t` + "\x7f" + `"]`},
		{LT, "  a\\b\r\nc  ", `"Value":["  a\\b\r\nc"]`},
		{UT, "\u2028</script>", `"Value":["\u2028</script>"]`},
		{UR, `http://x/a\b `, `"Value":["http://x/a\\b"]`},
		{PN, `A^B^^^=C=`, `"Value":[{"Alphabetic":"A^B","Ideographic":"C"}]`},
		{PN, `==P\^^\A=B=C=D`, `"Value":[{"Phonetic":"P"},null,{"Alphabetic":"A","Ideographic":"B","Phonetic":"C=D"}]`},
		{PN, `^^=`, ``},
		{AT, "\x10\x00\x20\x00\xe0\x7f\x10\x00", `"Value":["00100020","7FE00010"]`},
		{US, "\xff\xff\x01\x00\x05", `"Value":[65535,1]`},
		{US, "\x05", ``},
		{SS, "\xff\xff", `"Value":[-1]`},
		{UL, "\xff\xff\xff\xff", `"Value":[4294967295]`},
		{SL, "\xff\xff\xff\xff", `"Value":[-1]`},
		{UV, "\x01\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff", `"Value":[1,"18446744073709551615"]`},
		{SV, "\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x80", `"Value":[-1,"-9223372036854775808"]`},
		{FL, "\x00\x00\xc0\x3f\xcd\xcc\xcc\x3d", `"Value":[1.5,0.1]`},
		{FL, "\x00\x00\xc0\x7f\x00\x00\x80\x7f\x00\x00\x80\xff", `"Value":["NaN","Infinity","-Infinity"]`},
		{OB, "\x01\x02\x03", `"InlineBinary":"AQID"`},
		{UN, "", ``},
		{SQ, "", ``},
	} {
		ds := (&Dataset{}).SetBytes(0x00090099, c.vr, []byte(c.raw))
		ds.utf8 = true
		want := `{"00090099":{"vr":"` + c.vr.String() + `"`
		if c.want != "" {
			want += "," + c.want
		}
		got := AppendJSON(nil, ds, JSONOptions{})
		checkJSON(t, got)
		if string(got) != want+"}}" {
			t.Errorf("%s %q:\n got %s\nwant %s", c.vr, c.raw, got, want+"}}")
		}
	}
	f := (&Dataset{}).SetFloats(0x00090099, FD, math.MaxFloat64, math.Copysign(0, -1), 1e21, 1e-7)
	checkJSON(t, AppendJSON(nil, f, JSONOptions{}))
}

// A path to bulk data names tags and item numbers.
func TestJSONBulkPath(t *testing.T) {
	icon := &Dataset{Elements: []Element{{Tag: TagPixelData, VR: OW, Bulk: &Range{5, 6}}}}
	inner := (&Dataset{}).SetSequence(TagIconImageSequence, &Dataset{}, icon)
	ds := (&Dataset{}).SetSequence(0x00091001, inner)
	ds.put(Element{Tag: TagPixelData, VR: OW, Bulk: &Range{1, 2}})
	var paths []string
	got := string(AppendJSON([]byte("x"), ds, JSONOptions{BulkURI: func(path string, r Range) string {
		paths = append(paths, path)
		return "../bulk/" + path
	}}))
	if strings.Join(paths, " ") != "00091001/0/00880200/1/7FE00010 7FE00010" {
		t.Errorf("paths %q", paths)
	}
	want := `x{"00091001":{"vr":"SQ","Value":[{"00880200":{"vr":"SQ","Value":[{},{"7FE00010":{"vr":"OW","BulkDataURI":"../bulk/00091001/0/00880200/1/7FE00010"}}]}}]},` +
		`"7FE00010":{"vr":"OW","BulkDataURI":"../bulk/7FE00010"}}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
