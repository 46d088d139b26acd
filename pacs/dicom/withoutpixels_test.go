package dicom

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// withoutPixels returns the whole file without pictures.
func withoutPixels(t testing.TB, b []byte, ts string) (out []byte, moved bool) {
	t.Helper()
	a, moved, err := WithoutPixels(bytes.NewReader(b), int64(len(b)), ScanOptions{TransferSyntax: ts})
	if err != nil {
		t.Fatal(err)
	}
	n, err := a.Length(stored(b))
	if err != nil {
		t.Fatal(err)
	}
	r, err := a.Open(0, n, stored(b))
	if err != nil {
		t.Fatal(err)
	}
	if out, err = io.ReadAll(r); err != nil || int64(len(out)) != n {
		t.Fatalf("%d of %d bytes: %v", len(out), n, err)
	}
	return out, moved
}

// TestWithoutPixelsGolden: what is left of a data set, byte by byte.
func TestWithoutPixelsGolden(t *testing.T) {
	for _, c := range []struct {
		name, ts, in, want string
		moved              bool
	}{
		{"nothing but the pixel data goes", ExplicitVRLittleEndian, `
			0800 1800 5549 0400 312e3200                     // (0008,0018) UI "1.2"
			1000 0000 554c 0400 0c000000                     // (0010,0000) UL group length
			1000 1000 504e 0400 4f6c6420                     // (0010,0010) PN "Old "
			e07f 0000 554c 0400 0e000000                     // (7FE0,0000) UL group length
			e07f 1000 4f57 0000 02000000 abcd                // (7FE0,0010) OW
			fcff fcff 4f42 0000 02000000 0000                // (FFFC,FFFC) OB padding`, `
			0800 1800 5549 0400 312e3200
			1000 0000 554c 0400 0c000000
			1000 1000 504e 0400 4f6c6420`, false},
		{"an icon of defined length, and its group length", ExplicitVRLittleEndian, `
			0800 1800 5549 0400 312e3200
			8800 0000 554c 0400 38000000                     // (0088,0000) UL group length, wrong from now on
			8800 0002 5351 0000 16000000                     // (0088,0200) SQ, 22 bytes
			  feff 00e0 0e000000                             //   item, 14 bytes
			  e07f 1000 4f57 0000 02000000 1234              //     (7FE0,0010) OW
			8800 0609 4c4f 0200 3120                         // (0088,0906) what follows
			e07f 1000 4f57 0000 02000000 abcd`, `
			0800 1800 5549 0400 312e3200
			8800 0609 4c4f 0200 3120`, true},
		{"pixel data in a box, lengths of all kinds around", ExplicitVRLittleEndian, `
			0800 1800 5549 0400 312e3200
			2020 1001 5351 0000 34000000                     // (2020,0110) SQ, 52 bytes
			  feff 00e0 2c000000                             //   item, 44 bytes
			  2800 1000 5553 0200 0100                       //     (0028,0010) US 1
			  8800 0002 5351 0000 16000000                   //     (0088,0200) SQ, 22 bytes
			    feff 00e0 0e000000
			    e07f 1000 4f57 0000 02000000 1234
			2020 1101 5351 0000 ffffffff                     // (2020,0111) SQ, undefined length
			  feff 00e0 ffffffff                             //   item, undefined length
			  e07f 0000 554c 0400 0e000000                   //     (7FE0,0000) UL
			  e07f 1000 4f42 0000 ffffffff                   //     (7FE0,0010) OB in fragments
			    feff 00e0 00000000
			    feff 00e0 02000000 ffd8
			    feff dde0 00000000
			  feff 0de0 00000000
			  feff dde0 00000000
			e07f 1000 4f57 0000 02000000 abcd`, `
			0800 1800 5549 0400 312e3200
			2020 1001 5351 0000 12000000                     // 34 bytes less
			  feff 00e0 0a000000
			  2800 1000 5553 0200 0100
			2020 1101 5351 0000 ffffffff
			  feff 00e0 ffffffff
			  feff 0de0 00000000
			  feff dde0 00000000`, true},
		{"implicit, and a UN sequence would be no different", ImplicitVRLittleEndian, `
			0800 1800 04000000 312e3200
			2020 1001 12000000                               // (2020,0110), 18 bytes
			  feff 00e0 0a000000
			  e07f 1000 02000000 1234
			e07f 1000 02000000 abcd`, `
			0800 1800 04000000 312e3200
			2020 1001 08000000
			  feff 00e0 00000000`, true},
		{"big endian", ExplicitVRBigEndian, `
			0008 0018 5549 0004 312e3200
			2020 0110 5351 0000 00000016
			  fffe e000 0000000e
			  7fe0 0010 4f57 0000 00000002 1234
			7fe0 0010 4f57 0000 00000002 abcd`, `
			0008 0018 5549 0004 312e3200
			2020 0110 5351 0000 00000008
			  fffe e000 00000000`, true},
		{"a length that does not cover what is in it: all of the sequence goes", ExplicitVRLittleEndian, `
			0800 1800 5549 0400 312e3200
			2020 1001 5351 0000 10000000                     // 16 bytes: its item ends behind it
			  feff 00e0 1c000000
			  e07f 0000 554c 0400 0e000000
			  e07f 1000 4f57 0000 04000000 12341234
			2020 1001 4353 0200 4142                         // something else
			e07f 1000 4f57 0000 02000000 abcd`, `
			0800 1800 5549 0400 312e3200
			2020 1001 4353 0200 4142`, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, moved := withoutPixels(t, unhex(t, c.in), c.ts)
			if diff := cmp.Diff(unhex(t, c.want), got); diff != "" || moved != c.moved {
				t.Errorf("moved is %v: %s", moved, diff)
			}
		})
	}
	var broken *ScanError
	in := unhex(t, `0800 1800 5549 0400 312e3200`)
	if _, _, err := WithoutPixels(bytes.NewReader(in), int64(len(in)), ScanOptions{TransferSyntax: ExplicitVRLittleEndian}); !errors.As(err, &broken) || broken.Kind != Malformed {
		t.Errorf("a data set without pixel data: %v", err)
	}
}

// pictureTags are the paths of what WithoutPixels must not leave.
func pictureTags(ds *Dataset, path string) (found []string) {
	for i := range ds.Elements {
		e := &ds.Elements[i]
		here := path + e.Tag.String()
		if e.Tag == TagIconImageSequence || e.Tag.Group() == pixelGroup {
			found = append(found, here)
			continue
		}
		for _, item := range e.Items {
			found = append(found, pictureTags(item, here+"/")...)
		}
	}
	return found
}

// checkWithoutPixels compares a file with what is left of it.
func checkWithoutPixels(t *testing.T, name string, b []byte, ts string) (moved bool) {
	t.Helper()
	before, err := Scan(bytes.NewReader(b), ScanOptions{TransferSyntax: ts})
	if err != nil {
		t.Fatal(err)
	}
	out, moved := withoutPixels(t, b, ts)
	after, err := Scan(bytes.NewReader(out), ScanOptions{TransferSyntax: ts})
	if err != nil {
		t.Errorf("%s can't be read any more: %v", name, err)
		return moved
	}
	if left := pictureTags(after.Dataset, ""); len(left) > 0 || after.PixelData != nil {
		t.Errorf("%s still has %q", name, left)
	}
	if want := len(pictureTags(before.Dataset, "")) > len(pictureTags(&Dataset{Elements: slices.DeleteFunc(slices.Clone(before.Dataset.Elements), func(e Element) bool {
		return e.Tag.Group() < pixelGroup
	})}, "")); moved != want {
		t.Errorf("%s: moved is %v", name, moved)
	}
	if !moved && !after.Deflated && !bytes.HasPrefix(b, out) {
		t.Errorf("%s is not what it was up to the pixel data", name)
	}
	// Every attribute that holds no picture is as it was.
	rest := func(ds *Dataset) string {
		keep := &Dataset{BigEndian: ds.BigEndian, charset: ds.charset}
		for _, e := range ds.Elements {
			if e.Tag.Group() < pixelGroup && !e.Tag.IsGroupLength() && len(pictureTags(&Dataset{Elements: []Element{e}}, "")) == 0 {
				keep.Elements = append(keep.Elements, e)
			}
		}
		return string(AppendJSON(nil, keep, JSONOptions{}))
	}
	if diff := cmp.Diff(rest(before.Dataset), rest(after.Dataset)); diff != "" {
		t.Errorf("%s: %s", name, diff)
	}
	return moved
}

// TestWithoutPixelsCorpus: of every sample with pixel data.
func TestWithoutPixelsCorpus(t *testing.T) {
	files, moved := 0, 0
	for name, readable := range corpus(t) {
		b := readSample(t, name)
		h, err := Scan(bytes.NewReader(b), ScanOptions{})
		if !readable || err != nil || h.PixelGroup == 0 {
			continue
		}
		files++
		if checkWithoutPixels(t, name, b, "") {
			moved++
		}
	}
	if files < 200 || moved == 0 {
		t.Errorf("%d samples, %d with an icon", files, moved)
	}
}

// TestWithoutPixelsIsReadByDcmdump: a real image with an icon, in all
// encodings that dcmtk writes, and one whose pixel data are in fragments.
func TestWithoutPixelsIsReadByDcmdump(t *testing.T) {
	dcmdump, err := exec.LookPath("dcmdump")
	if err != nil {
		t.Skip("dcmdump is not installed")
	}
	const iconed = "debian-nibabel/slicethickness_empty_string.dcm"
	icon := readSample(t, iconed)
	h, err := Scan(bytes.NewReader(icon), ScanOptions{})
	if err != nil || !h.PixelData.Encapsulated {
		t.Fatal(h, err)
	}
	dir := t.TempDir()
	run := func(tool string, args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), tool, args...).CombinedOutput()
		if err != nil || bytes.Contains(out, []byte("E: ")) || bytes.Contains(out, []byte("W: ")) {
			t.Errorf("%s %q: %v\n%s", tool, args, err, out)
		}
		return string(out)
	}
	samples := map[string][]byte{"as it is": icon}
	// The other encodings need pixel data that are not compressed: the icon's
	// will do. dcmtk does the encoding of all that is around.
	plain := filepath.Join(dir, "plain.dcm")
	ds := h.Dataset.Select(TagSOPClassUID, TagSOPInstanceUID, TagPatientName, TagPatientID, TagIconImageSequence, TagStudyInstanceUID)
	item := ds.Item(TagIconImageSequence)
	pixels, ok := item.Get(TagPixelData)
	if !ok || pixels.Bulk == nil {
		t.Fatal("the icon has no pixel data")
	}
	item.SetBytes(TagPixelData, OW, icon[pixels.Bulk.Offset:pixels.Bulk.Offset+pixels.Bulk.Length])
	ds.SetInts(TagRows, US, 2)
	ds.SetInts(TagColumns, US, 2)
	ds.SetBytes(TagPixelData, OW, []byte{1, 2, 3, 4, 5, 6, 7, 8})
	encoded, err := AppendDataset(AppendFileMeta(nil, FileMeta{TransferSyntaxUID: ExplicitVRLittleEndian, SOPInstanceUID: h.Dataset.String(TagSOPInstanceUID), SOPClassUID: h.Dataset.String(TagSOPClassUID)}), ds, ExplicitVRLittleEndian)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(plain, encoded, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, flags := range map[string][]string{
		"implicit, lengths": {"+ti", "+e"}, "implicit, delimiters": {"+ti", "-e"}, "big endian": {"+tb", "+e"},
		"deflated": {"+td", "-e"}, "group lengths": {"+te", "+e", "+g"},
	} {
		file := filepath.Join(dir, "converted.dcm")
		run("dcmconv", append(flags, plain, file)...)
		if samples[name], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	for name, b := range samples {
		if !checkWithoutPixels(t, name, b, "") {
			t.Errorf("%s: the icon has not gone", name)
		}
		out, _ := withoutPixels(t, b, "")
		file := filepath.Join(dir, "without.dcm")
		if err := os.WriteFile(file, out, 0o600); err != nil {
			t.Fatal(err)
		}
		if dump := run(dcmdump, file); strings.Contains(dump, "7fe0,") || strings.Contains(dump, "(0088,0200)") || !strings.Contains(dump, h.Dataset.String(TagSOPInstanceUID)) {
			t.Errorf("%s: dcmdump reads\n%s", name, dump)
		}
	}
}

func FuzzWithoutPixels(f *testing.F) {
	for _, golden := range []string{goldenExplicit, goldenBigEndian, goldenEncapsulated} {
		f.Add(unhex(f, golden))
	}
	f.Add(readSampleForFuzz("debian-nibabel/slicethickness_empty_string.dcm"))
	f.Fuzz(func(t *testing.T, b []byte) {
		opt := ScanOptions{MaxInflated: 1 << 20}
		a, _, err := WithoutPixels(bytes.NewReader(b), int64(len(b)), opt)
		if err != nil {
			return
		}
		n, err := a.Length(stored(b))
		if err != nil {
			return // deflated rubbish behind the header
		}
		r, err := a.Open(0, n, stored(b))
		if err != nil {
			t.Fatal(err)
		}
		out, err := io.ReadAll(r)
		if err != nil || int64(len(out)) != n {
			t.Fatalf("%d of %d bytes: %v", len(out), n, err)
		}
		after, err := Scan(bytes.NewReader(out), opt)
		if err != nil {
			return // what was on the edge of being readable may be beyond it
		}
		if left := pictureTags(after.Dataset, ""); len(left) > 0 {
			t.Errorf("%q are left", left)
		}
	})
}

func readSampleForFuzz(name string) []byte {
	b, err := os.ReadFile(filepath.Join(corpusDir, name))
	if err != nil {
		return nil // the samples are absent
	}
	return b
}
