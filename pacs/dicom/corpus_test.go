package dicom

import (
	"bytes"
	"encoding/csv"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

const corpusDir = "../../../shared/dicom"

// corpus returns the names of the sample files with what dcmdump said of them.
func corpus(t testing.TB) map[string]bool {
	f, err := os.Open(filepath.Join(corpusDir, "ORACLE.tsv"))
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
	files := map[string]bool{}
	for _, row := range rows[1:] {
		files[row[0]] = row[1] == "0"
	}
	return files
}

// corpusForFuzz is corpus, or nothing where the samples are absent.
func corpusForFuzz(f *testing.F) map[string]bool {
	if _, err := os.Stat(filepath.Join(corpusDir, "ORACLE.tsv")); err != nil {
		return nil
	}
	return corpus(f)
}

func readSample(t testing.TB, name string) []byte {
	b, err := os.ReadFile(filepath.Join(corpusDir, name))
	if err != nil {
		t.Skipf("sample file is absent: %v", err)
	}
	return b
}

// scanExceptions are the files where we disagree with dcmdump, and what we do.
var scanExceptions = map[string]error{
	// Declared explicit, but the data set is implicit. dcmdump gives up;
	// nothing in the file is lost or in doubt.
	"pydicom/test_files/SC_rgb_jpeg.dcm": nil,
	// A directory whose last record claims 24 bytes more than the file has.
	// Truncation is an error here, even where an element ends.
	"pydicom/test_files/dicomdirtests/DICOMDIR-nooffset": &ScanError{Kind: Truncated},
}

// What dcmdump reads we read, and what it refuses we refuse.
func TestScanAgreesWithDcmdump(t *testing.T) {
	for name, readable := range corpus(t) {
		b := readSample(t, name)
		h, err := Scan(bytes.NewReader(b), ScanOptions{})
		if exception, ok := scanExceptions[name]; ok {
			readable = exception == nil
		}
		if (err == nil) != readable {
			t.Errorf("%s: dcmdump reads it: %v; Scan: %v", name, readable, err)
			continue
		}
		var known *ScanError
		if err != nil {
			if !errors.As(err, &known) {
				t.Errorf("%s: %v is no ScanError", name, err)
			}
			continue
		}
		if h.Length != int64(len(b)) {
			t.Errorf("%s: Length %d of %d", name, h.Length, len(b))
		}
		if h.PixelData != nil {
			if _, err := h.Frames(); err != nil {
				t.Logf("%s: %v", name, err)
			}
		}
		// A reader that can skip gives the same answer.
		again, err := Scan(NewSkipReader(bytes.NewReader(b), 0, int64(len(b))), ScanOptions{})
		if err != nil {
			t.Errorf("%s: with a Skipper: %v", name, err)
			continue
		}
		if !bytes.Equal(AppendJSON(nil, h.Dataset, JSONOptions{}), AppendJSON(nil, again.Dataset, JSONOptions{})) {
			t.Errorf("%s: a Skipper changes the data set", name)
		}
	}
}
