package journal

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// golden is a record as it lies on disk. The checksums were computed with
// another program.
var golden = []struct{ bytes, meaning string }{
	{"54 41 53 56 49 52 4a 01", "magic TASVIRJ, version 1"},
	{"0c 00 00 00 00 00 00 00", "body length 12"},
	{"b7 00 00 00", "trailer length 183"},
	{"dd 69 5e 88", "CRC-32C of the trailer"},
	{"cc 5e 50 89", "CRC-32 (IEEE) of the body"},
	{"08 07 06 05 04 03 02 01", "segment 0102030405060708"},
	{"00 00 00 00 00 00 00 00", "header at offset 0"},
	{"00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00", "reserved"},
	{"1d e7 fc f1", "CRC-32C of the 60 bytes above"},
	{"08 00 18 00 55 49 04 00 31 2e 32 00", "body"},
	{hex.EncodeToString([]byte(`{"study":"1.1","series":"1.2","sop":"1.3","class":"1.4","ts":"1.2.840.10008.1.2.1",` +
		`"dataset":0,"channel":"dimse","facility":"TMA","sender":"CT1","at":"2026-03-02T10:00:00.000000005Z"}`)), "trailer"},
}

var (
	goldenEntry = Entry{
		StudyInstanceUID: "1.1", SeriesInstanceUID: "1.2", SOPInstanceUID: "1.3", SOPClassUID: "1.4",
		TransferSyntaxUID: "1.2.840.10008.1.2.1", Channel: pacs.ChannelDIMSE, Facility: "TMA", Sender: "CT1",
		ReceivedAt: time.Date(2026, 3, 2, 10, 0, 0, 5, time.UTC),
	}
	goldenBody = []byte{8, 0, 0x18, 0, 'U', 'I', 4, 0, '1', '.', '2', 0}
)

const goldenSegment = 0x0102030405060708

func goldenBytes(t testing.TB) []byte {
	t.Helper()
	var all []byte
	for _, field := range golden {
		b, err := hex.DecodeString(strings.ReplaceAll(field.bytes, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	return all
}

func TestRecordIsWrittenAsDocumented(t *testing.T) {
	path := filepath.Join(t.TempDir(), "000000000001-0102030405060708.segment")
	s, err := createSegment(path, goldenSegment, &realDisk, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.file.Close()
	w := s.begin()
	if _, err := w.Write(goldenBody); err != nil {
		t.Fatal(err)
	}
	if _, err := w.seal(goldenEntry); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := 0
	for _, field := range golden {
		want, _ := hex.DecodeString(strings.ReplaceAll(field.bytes, " ", ""))
		if have := got[at:min(at+len(want), len(got))]; !bytes.Equal(have, want) {
			t.Errorf("%s at %d:\n% x, want\n% x", field.meaning, at, have, want)
		}
		at += len(want)
	}
	if at != len(got) {
		t.Errorf("the record has %d bytes, want %d", len(got), at)
	}
}

func TestRecordIsReadAsDocumented(t *testing.T) {
	b := goldenBytes(t)
	h, e, next, err := readRecord(bytes.NewReader(b), goldenSegment, int64(len(b)), 0)
	if err != nil || next != int64(len(b)) {
		t.Fatalf("next %d of %d, %v", next, len(b), err)
	}
	if diff := cmp.Diff(goldenEntry, e); diff != "" {
		t.Error(diff)
	}
	if h.bodyLength != int64(len(goldenBody)) {
		t.Errorf("body of %d bytes", h.bodyLength)
	}
}

// TestNoFlippedBitGoesUnnoticed: a damaged record must never be published.
func TestNoFlippedBitGoesUnnoticed(t *testing.T) {
	sound := goldenBytes(t)
	for i := range sound {
		b := bytes.Clone(sound)
		b[i] ^= 0x10
		_, _, _, err := readRecord(bytes.NewReader(b), goldenSegment, int64(len(b)), 0)
		switch {
		case i < headerLength && err != errTorn:
			t.Errorf("byte %d of the header flipped: %v", i, err)
		case i >= headerLength && err != errDamaged:
			t.Errorf("byte %d flipped: %v", i, err)
		}
	}
}

// TestRecordBelongsToItsPlace: a sender must not be able to plant a record in
// another by sending an image that has one inside.
func TestRecordBelongsToItsPlace(t *testing.T) {
	b := goldenBytes(t)
	if _, _, _, err := readRecord(bytes.NewReader(b), goldenSegment+1, int64(len(b)), 0); err != errTorn {
		t.Errorf("a record of another segment: %v", err)
	}
	moved := append(make([]byte, 128), b...)
	if _, _, _, err := readRecord(bytes.NewReader(moved), goldenSegment, int64(len(moved)), 128); err != errTorn {
		t.Errorf("a record at another offset: %v", err)
	}
	if at, err := findRecord(bytes.NewReader(moved), goldenSegment, int64(len(moved)), 1); at != -1 || err != nil {
		t.Errorf("found a record at %d, %v", at, err)
	}
}

// FuzzOpenSegment opens any bytes as a segment: no panic, no unbounded
// allocation, and what is found once is found again.
func FuzzOpenSegment(f *testing.F) {
	sound := goldenBytes(f)
	f.Add(sound)
	f.Add(sound[:len(sound)-1])
	f.Add(append(bytes.Clone(sound), sound...))
	f.Add(append(make([]byte, 64), sound...))
	f.Add([]byte("TASVIRJ\x01"))
	f.Add([]byte{})
	huge := header{bodyLength: 1 << 62, trailerLength: maxTrailer, segment: goldenSegment}
	f.Add(huge.encode())
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "000000000001-0102030405060708.segment")
		var found [2][]string
		for i := range found {
			if i == 0 {
				if err := os.WriteFile(path, content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s, err := openSegment(path, goldenSegment, func(r Record) error {
				found[i] = append(found[i], r.SOPInstanceUID)
				if r.offset+r.Length > int64(len(content)) || r.DatasetOffset > r.Length {
					t.Errorf("a record at %d of %d bytes, data set at %d, in a file of %d", r.offset, r.Length, r.DatasetOffset, len(content))
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			_ = s.file.Close()
		}
		if diff := cmp.Diff(found[0], found[1]); diff != "" {
			t.Errorf("opened again: %s", diff)
		}
	})
}
