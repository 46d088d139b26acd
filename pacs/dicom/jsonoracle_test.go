package dicom

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"testing"
)

type jsonAttribute struct {
	VR           string `json:"vr"`
	Value        []any
	InlineBinary string
	BulkDataURI  string
}

// parseJSONModel decodes the DICOM JSON model; items become nested maps.
func parseJSONModel(t *testing.T, b []byte) map[string]jsonAttribute {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var m map[string]jsonAttribute
	if err := d.Decode(&m); err != nil {
		t.Fatalf("not the DICOM JSON model: %v\n%.300s", err, b)
	}
	return m
}

// TestJSONAgreesWithDcm2json compares AppendJSON with dcmtk's dcm2json on the
// sample files, attribute by attribute. DICOM_JSON_ALL=1 takes all files.
func TestJSONAgreesWithDcm2json(t *testing.T) {
	tool, err := exec.LookPath("dcm2json")
	if err != nil {
		t.Skip("dcm2json (Debian package dcmtk) is not installed")
	}
	var names []string
	for name, readable := range corpus(t) {
		if _, exception := scanExceptions[name]; readable && !exception {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	compared := 0
	for i, name := range names {
		info, err := os.Stat(filepath.Join(corpusDir, name))
		if err != nil || info.Size() > 600<<10 || os.Getenv("DICOM_JSON_ALL") == "" && i%25 != 0 {
			continue
		}
		if strings.HasSuffix(name, "chrSQEncoding.dcm") {
			continue // dcm2json emits the raw ISO 2022 bytes of an item
		}
		want, err := exec.Command(tool, "-q", "-ee", "-fc", filepath.Join(corpusDir, name)).Output()
		if err != nil {
			continue // it can't do some character sets and value errors
		}
		h, err := Scan(bytes.NewReader(readSample(t, name)), ScanOptions{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := AppendJSON(nil, h.Dataset, JSONOptions{BulkURI: func(path string, r Range) string { return "bulk:" + path }})
		compareJSON(t, name, "", parseJSONModel(t, want), parseJSONModel(t, got))
		compared++
	}
	t.Logf("%d files compared", compared)
	if compared < 10 {
		t.Errorf("only %d files could be compared", compared)
	}
}

func compareJSON(t *testing.T, name, path string, want, got map[string]jsonAttribute) {
	t.Helper()
	for tag, w := range want {
		g, ok := got[tag]
		at := name + " " + path + tag
		switch {
		case !ok:
			if !strings.HasSuffix(tag, "0000") {
				t.Errorf("%s: missing; dcm2json has %v", at, w)
			}
			continue
		case g.BulkDataURI != "" || tag == "7FE00010" || tag == "00080005":
			continue
		case g.VR == "UN" && w.VR != "UN" && tag[3]&1 == 1:
			continue // implicit, private: dcmtk has a private dictionary
		case w.VR != g.VR:
			t.Errorf("%s: VR %s, dcm2json has %s", at, g.VR, w.VR)
			continue
		case w.VR == "SQ":
			if len(w.Value) != len(g.Value) {
				t.Errorf("%s: %d items, dcm2json has %d", at, len(g.Value), len(w.Value))
				continue
			}
			for i := range w.Value {
				wi, _ := json.Marshal(w.Value[i])
				gi, _ := json.Marshal(g.Value[i])
				compareJSON(t, name, fmt.Sprintf("%s%s/%d/", path, tag, i), parseJSONModel(t, wi), parseJSONModel(t, gi))
			}
			continue
		}
		if w.InlineBinary != g.InlineBinary && !oddPadded(w.InlineBinary, g.InlineBinary) {
			t.Errorf("%s: InlineBinary %.40s, dcm2json has %.40s", at, g.InlineBinary, w.InlineBinary)
		}
		if len(w.Value) != len(g.Value) {
			t.Errorf("%s: %q, dcm2json has %q", at, g.Value, w.Value)
			continue
		}
		for i := range w.Value {
			if !sameJSONValue(w.Value[i], g.Value[i]) {
				t.Errorf("%s: %#v, dcm2json has %#v", at, g.Value[i], w.Value[i])
			}
		}
	}
	for tag, g := range got {
		if _, ok := want[tag]; !ok {
			t.Errorf("%s %s%s: %v, dcm2json has nothing", name, path, tag, g)
		}
	}
}

// oddPadded tells whether dcm2json made a value of odd length even.
func oddPadded(want, got string) bool {
	w, err1 := base64.StdEncoding.DecodeString(want)
	g, err2 := base64.StdEncoding.DecodeString(got)
	return err1 == nil && err2 == nil && len(g)%2 == 1 && bytes.Equal(w, append(g, 0))
}

// sameJSONValue takes numbers for equal when they mean the same.
func sameJSONValue(a, b any) bool {
	if reflect.DeepEqual(a, b) {
		return true
	}
	x, err1 := strconv.ParseFloat(fmt.Sprint(a), 64)
	y, err2 := strconv.ParseFloat(fmt.Sprint(b), 64)
	return err1 == nil && err2 == nil && (x == y || float32(x) == float32(y))
}
