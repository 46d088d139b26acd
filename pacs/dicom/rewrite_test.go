package dicom

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// rewrite scans a data set and gives it back in another syntax.
func rewrite(t *testing.T, raw []byte, from, to string, maxValue int, pixels *PixelValue) ([]byte, error) {
	t.Helper()
	h, err := Scan(bytes.NewReader(raw), ScanOptions{TransferSyntax: from, MaxValue: maxValue})
	if err != nil {
		t.Fatal(err)
	}
	r, err := h.Rewrite(to, pixels)
	if err != nil {
		return nil, err
	}
	body := r.Open(t.Context(), func(offset, length int64) (io.ReadCloser, error) {
		return io.NopCloser(iotest.HalfReader(bytes.NewReader(raw[offset : offset+length]))), nil
	})
	defer body.Close()
	return io.ReadAll(body)
}

// A data set with values of every size, in and out of sequences, comes back from
// every syntax as it was.
func TestRewrite(t *testing.T) {
	words := make([]byte, 100_002)
	for i := range words {
		words[i] = byte(i * 31)
	}
	ds := new(Dataset)
	ds.SetString(TagSOPClassUID, UI, CTImageStorage).SetString(TagPatientName, PN, "Каримов^Али").SetInts(TagRows, US, 512)
	ds.SetInts(TagColumns, US, 512).SetInts(TagBitsAllocated, US, 16).SetInts(TagPixelRepresentation, US, 0)
	ds.SetFloats(TagRecommendedDisplayFrameRateInFloat, FL, 1.5)
	inner := new(Dataset).SetString(TagCodeValue, SH, "x").SetBytes(TagPixelData, OW, words[:7000])
	ds.SetSequence(TagIconImageSequence, inner, new(Dataset)).SetSequence(TagProcedureCodeSequence, new(Dataset).SetString(TagCodeValue, SH, "y"))
	ds.SetBytes(TagPixelData, OW, words)
	explicit, err := AppendDataset(nil, ds, ExplicitVRLittleEndian)
	if err != nil {
		t.Fatal(err)
	}
	implicit, err := AppendDataset(nil, ds, ImplicitVRLittleEndian)
	if err != nil {
		t.Fatal(err)
	}
	big := bigEndian(t, ds)
	encoded := map[string][]byte{ExplicitVRLittleEndian: explicit, ImplicitVRLittleEndian: implicit, ExplicitVRBigEndian: big}
	canonical := func(raw []byte, ts string) []byte {
		h, err := Scan(bytes.NewReader(raw), ScanOptions{TransferSyntax: ts, MaxValue: 1 << 20})
		if err != nil {
			t.Fatalf("%s: %v", ts, err)
		}
		for i := range h.Dataset.Elements {
			if e := &h.Dataset.Elements[i]; e.Bulk != nil { // pixel data always stay
				e.Value, e.Bulk = raw[e.Bulk.Offset:e.Bulk.Offset+e.Bulk.Length], nil
			}
			for _, item := range h.Dataset.Elements[i].Items {
				for j := range item.Elements {
					if e := &item.Elements[j]; e.Bulk != nil {
						e.Value, e.Bulk = raw[e.Bulk.Offset:e.Bulk.Offset+e.Bulk.Length], nil
					}
				}
			}
		}
		b, err := AppendDataset(nil, h.Dataset, ExplicitVRLittleEndian)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for from, raw := range encoded {
		for _, to := range []string{ExplicitVRLittleEndian, ImplicitVRLittleEndian} {
			for _, maxValue := range []int{100, 1 << 20} {
				got, err := rewrite(t, raw, from, to, maxValue, nil)
				if err != nil {
					t.Errorf("%s to %s: %v", from, to, err)
					continue
				}
				if diff := cmp.Diff(canonical(explicit, ExplicitVRLittleEndian), canonical(got, to)); diff != "" {
					t.Errorf("%s to %s, values to %d (-want +got):\n%.2000s", from, to, maxValue, diff)
				}
			}
		}
	}
	if _, err := rewrite(t, explicit, ExplicitVRLittleEndian, JPEG2000, 100, nil); err == nil {
		t.Error("written in JPEG 2000")
	}
}

// bigEndian encodes a data set in Explicit VR Big Endian.
func bigEndian(t *testing.T, ds *Dataset) []byte {
	t.Helper()
	var out []byte
	var write func(ds *Dataset) []byte
	write = func(ds *Dataset) []byte {
		var out []byte
		for i := range ds.Elements {
			e := &ds.Elements[i]
			value := e.Value
			for _, item := range e.Items {
				b := write(item)
				value = append(value, 0xFF, 0xFE, 0xE0, 0x00, byte(len(b)>>24), byte(len(b)>>16), byte(len(b)>>8), byte(len(b)))
				value = append(value, b...)
			}
			if e.VR != SQ {
				value = swapped(bytes.Clone(value), e.VR.Unit())
			}
			if len(value)%2 != 0 {
				value = append(value, e.VR.padding())
			}
			g, n := e.Tag.Group(), e.Tag.Element()
			out = append(out, byte(g>>8), byte(g), byte(n>>8), byte(n), byte(e.VR>>8), byte(e.VR))
			if e.VR.is(vrLong) {
				out = append(out, 0, 0, byte(len(value)>>24), byte(len(value)>>16))
			}
			out = append(out, byte(len(value)>>8), byte(len(value)))
			out = append(out, value...)
		}
		return out
	}
	return append(out, write(ds)...)
}

// Compressed pixel data are written only when somebody has decoded them.
func TestRewriteCompressed(t *testing.T) {
	head, err := AppendDataset(nil, new(Dataset).SetString(TagPatientName, PN, "A^B").SetInts(TagRows, US, 1).SetInts(TagColumns, US, 3), ExplicitVRLittleEndian)
	if err != nil {
		t.Fatal(err)
	}
	raw := append(head, "\xE0\x7F\x10\x00OB\x00\x00\xFF\xFF\xFF\xFF\xFE\xFF\x00\xE0\x00\x00\x00\x00\xFE\xFF\x00\xE0\x04\x00\x00\x00codeXXXX"...)
	raw = append(raw[:len(raw)-4], "\xFE\xFF\xDD\xE0\x00\x00\x00\x00"...)
	if _, err := rewrite(t, raw, JPEGLSLossless, ExplicitVRLittleEndian, 0, nil); err == nil {
		t.Error("written without its pixels")
	}
	pixels := &PixelValue{VR: OB, Length: 3, Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader("abc")), nil
	}}
	got, err := rewrite(t, raw, JPEGLSLossless, ExplicitVRLittleEndian, 0, pixels)
	if want := string(head) + "\xE0\x7F\x10\x00OB\x00\x00\x04\x00\x00\x00abc\x00"; err != nil || string(got) != want {
		t.Errorf("%v, %q, want %q", err, got, want)
	}
	pixels.Length = 5 // fewer come than were promised
	if got, err := rewrite(t, raw, JPEGLSLossless, ImplicitVRLittleEndian, 0, pixels); err == nil {
		t.Errorf("%q passed for whole", got)
	}
}

// Every uncompressed sample file says the same when it is written anew.
func TestRewriteSamples(t *testing.T) {
	root := filepath.Join("..", "..", "..", "shared", "dicom")
	if _, err := os.Stat(root); err != nil {
		t.Skipf("sample files are absent: %v", err)
	}
	rewritten := map[string]int{}
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, ".tsv") {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil || len(raw) > 8<<20 {
			return err
		}
		h, err := Scan(bytes.NewReader(raw), ScanOptions{})
		if err != nil || h.Meta == nil || h.PixelData != nil && h.PixelData.Encapsulated || h.TransferSyntax == gePrivateSyntax {
			return nil
		}
		body := raw
		if h.Deflated {
			if body, err = io.ReadAll(flate.NewReader(bytes.NewReader(raw[h.DatasetOffset:]))); err != nil {
				return nil
			}
		}
		stored := func(offset, length int64) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(body[offset : offset+length])), nil
		}
		for _, ts := range []string{ExplicitVRLittleEndian, ImplicitVRLittleEndian} {
			w, err := h.Rewrite(ts, nil)
			if err != nil {
				t.Errorf("%s in %s: %v", path, ts, err)
				continue
			}
			r := w.Open(t.Context(), stored)
			anew, err := io.ReadAll(r)
			if err := errors.Join(err, r.Close()); err != nil {
				t.Errorf("%s in %s: %v", path, ts, err)
				continue
			}
			back, err := Scan(bytes.NewReader(anew), ScanOptions{TransferSyntax: ts})
			if err != nil || back.TransferSyntax != ts {
				t.Errorf("%s in %s: %v", path, ts, err)
				continue
			}
			if want, got := summary(h.Dataset, body), summary(back.Dataset, anew); want != got {
				t.Errorf("%s in %s (-want +got):\n%.1500s", path, ts, cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")))
			}
		}
		rewritten[h.TransferSyntax]++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("rewritten: %v", rewritten)
	for _, ts := range []string{ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian} {
		if rewritten[ts] == 0 {
			t.Errorf("no sample in %s", ts)
		}
	}
}

// summary is what a data set says, whatever the byte order: tags and values.
func summary(ds *Dataset, stream []byte) string {
	var lines []string
	for i := range ds.Elements {
		e := &ds.Elements[i]
		value := e.Value
		if e.Bulk != nil {
			value = stream[e.Bulk.Offset : e.Bulk.Offset+e.Bulk.Length]
		}
		if ds.BigEndian {
			value = swapped(bytes.Clone(value), e.VR.Unit())
		}
		if !e.Tag.IsGroupLength() {
			lines = append(lines, fmt.Sprintf("%s %x %s", e.Tag, sha256.Sum256(bytes.TrimRight(value, "\x00 ")), bytes.TrimRight(value[:min(len(value), 16)], "\x00 ")))
		}
		for n, item := range e.Items {
			lines = append(lines, fmt.Sprintf("%s item %d {%s}", e.Tag, n, summary(item, stream)))
		}
	}
	slices.SortStableFunc(lines, func(a, b string) int { return strings.Compare(a[:8], b[:8]) })
	return strings.Join(lines, "\n")
}
