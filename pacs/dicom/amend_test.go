package dicom

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var amendedAt = time.Date(2026, 11, 22, 1, 2, 3, 4000, time.UTC)

func amendOptions(ts string, changes ...Change) AmendOptions {
	return AmendOptions{
		Scan:    ScanOptions{TransferSyntax: ts, FallbackCharset: "cyrillic"},
		Changes: func(*Dataset) []Change { return changes },
		System:  "T", At: amendedAt, Reason: "CORRECT",
	}
}

// stored serves ranges of b as a pack does.
func stored(b []byte) OpenRange {
	return func(offset, length int64) (io.ReadCloser, error) {
		if offset < 0 || length < 0 || offset+length > int64(len(b)) {
			return nil, fmt.Errorf("range %d+%d of %d", offset, length, len(b))
		}
		return io.NopCloser(iotest.OneByteReader(bytes.NewReader(b[offset : offset+length]))), nil
	}
}

// amendAll returns the whole amended file.
func amendAll(t testing.TB, b []byte, opt AmendOptions) []byte {
	t.Helper()
	a, err := Amend(bytes.NewReader(b), int64(len(b)), opt)
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
	out, err := io.ReadAll(r)
	if err != nil || int64(len(out)) != n {
		t.Fatalf("%d of %d bytes: %v", len(out), n, err)
	}
	return out
}

var newName = Change{Tag: TagPatientName, VR: PN, Value: "New^N", Plain: "New^N"}

// TestAmendGolden: what becomes of a data set with a name, byte by byte. Tags,
// VR and lengths are those of the encoding; the item of the Original
// Attributes Sequence has the previous name and when it was changed.
func TestAmendGolden(t *testing.T) {
	for _, c := range []struct{ name, ts, in, want string }{
		{"explicit little endian", ExplicitVRLittleEndian, `
			0800 1800 5549 0400 312e3200                     // (0008,0018) UI "1.2"
			1000 0000 554c 0400 0c000000                     // (0010,0000) UL group length
			1000 1000 504e 0400 4f6c6420                     // (0010,0010) PN "Old "
			e07f 1000 4f57 0000 02000000 abcd                // (7FE0,0010) OW`, `
			0800 1800 5549 0400 312e3200
			1000 1000 504e 0600 4e65775e4e20                 // "New^N "; the group length is gone
			0004 6105 5351 0000 6c000000                     // (0400,0561) SQ, 108 bytes
			  feff 00e0 64000000                             //   item, 100 bytes
			  0004 5005 5351 0000 14000000                   //   (0400,0550) SQ Modified Attributes, 20 bytes
			    feff 00e0 0c000000                           //     item, 12 bytes
			    1000 1000 504e 0400 4f6c6420                 //     the name as it was
			  0004 6205 4454 1a00 32303236313132323031303230332e3030303030342b30303030 // DT 20261122010203.000004+0000
			  0004 6305 4c4f 0200 5420                       //   (0400,0563) LO "T "
			  0004 6405 4c4f 0000                            //   (0400,0564) LO, nothing
			  0004 6505 4353 0800 434f525245435420           //   (0400,0565) CS "CORRECT "
			e07f 1000 4f57 0000 02000000 abcd`},
		{"implicit little endian", ImplicitVRLittleEndian, `
			0800 1800 04000000 312e3200
			1000 1000 04000000 4f6c6420
			e07f 1000 02000000 abcd`, `
			0800 1800 04000000 312e3200
			1000 1000 06000000 4e65775e4e20
			0004 6105 68000000                               // 104 bytes
			  feff 00e0 60000000                             // 96
			  0004 5005 14000000
			    feff 00e0 0c000000
			    1000 1000 04000000 4f6c6420
			  0004 6205 1a000000 32303236313132323031303230332e3030303030342b30303030
			  0004 6305 02000000 5420
			  0004 6405 00000000
			  0004 6505 08000000 434f525245435420
			e07f 1000 02000000 abcd`},
		{"explicit big endian", ExplicitVRBigEndian, `
			0008 0018 5549 0004 312e3200
			0010 0010 504e 0004 4f6c6420
			7fe0 0010 4f57 0000 00000002 abcd`, `
			0008 0018 5549 0004 312e3200
			0010 0010 504e 0006 4e65775e4e20
			0400 0561 5351 0000 0000006c
			  fffe e000 00000064
			  0400 0550 5351 0000 00000014
			    fffe e000 0000000c
			    0010 0010 504e 0004 4f6c6420
			  0400 0562 4454 001a 32303236313132323031303230332e3030303030342b30303030
			  0400 0563 4c4f 0002 5420
			  0400 0564 4c4f 0000
			  0400 0565 4353 0008 434f525245435420
			7fe0 0010 4f57 0000 00000002 abcd`},
		{"a sequence of undefined length is there already", ImplicitVRLittleEndian, `
			0800 1800 04000000 312e3200
			1000 1000 04000000 4f6c6420
			0004 6105 ffffffff
			  feff 00e0 0a000000 0004 6305 02000000 5820     // an item of somebody else
			  feff dde0 00000000`, `
			0800 1800 04000000 312e3200
			1000 1000 06000000 4e65775e4e20
			0004 6105 ffffffff
			  feff 00e0 0a000000 0004 6305 02000000 5820
			  feff 00e0 60000000
			  0004 5005 14000000
			    feff 00e0 0c000000
			    1000 1000 04000000 4f6c6420
			  0004 6205 1a000000 32303236313132323031303230332e3030303030342b30303030
			  0004 6305 02000000 5420
			  0004 6405 00000000
			  0004 6505 08000000 434f525245435420
			  feff dde0 00000000`},
	} {
		t.Run(c.name, func(t *testing.T) {
			in, want := unhex(t, c.in), unhex(t, c.want)
			if diff := cmp.Diff(want, amendAll(t, in, amendOptions(c.ts, newName))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestAmendDeflated: the data set inside is what explicit little endian gives,
// and the file has an even length.
func TestAmendDeflated(t *testing.T) {
	plain := unhex(t, `
		0800 1800 5549 0400 312e3200
		1000 1000 504e 0400 4f6c6420
		e07f 1000 4f57 0000 02000000 abcd`)
	meta := AppendFileMeta(nil, FileMeta{TransferSyntaxUID: DeflatedExplicitVRLittleEndian})
	var z bytes.Buffer
	w, _ := flate.NewWriter(&z, 9)
	_, _ = w.Write(plain)
	_ = w.Close()
	out := amendAll(t, slices.Concat(meta, z.Bytes()), amendOptions("", newName))
	if !bytes.HasPrefix(out, meta) || len(out)%2 != 0 {
		t.Errorf("%d bytes, or another file meta", len(out))
	}
	got, err := io.ReadAll(flate.NewReader(bytes.NewReader(out[len(meta):])))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(amendAll(t, plain, amendOptions(ExplicitVRLittleEndian, newName)), got); diff != "" {
		t.Error(diff)
	}
}

// TestAmendParts: any part of an amended file is that part of the whole.
func TestAmendParts(t *testing.T) {
	for _, name := range []string{
		"cornerstoneWADOImageLoader/testImages/no-pixel-data.dcm",
		"cornerstoneWADOImageLoader/testImages/CTImage.dcm_DeflatedExplicitVRLittleEndianTransferSyntax_1.2.840.10008.1.2.1.99.dcm",
	} {
		b := readSample(t, name)
		a, err := Amend(bytes.NewReader(b), int64(len(b)), amendOptions("", newName))
		if err != nil {
			t.Fatal(err)
		}
		whole := amendAll(t, b, amendOptions("", newName))
		n := int64(len(whole))
		for _, cut := range [][2]int64{{0, 0}, {0, 1}, {n, 0}, {n - 1, 1}, {130, 900}, {n / 2, n / 4}, {1, n - 1}} {
			r, err := a.Open(cut[0], cut[1], stored(b))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(got, whole[cut[0]:cut[0]+cut[1]]) {
				t.Errorf("%s: %v: %d bytes differ: %v", name, cut, len(got), err)
			}
		}
	}
}

// TestAmendCharsets: the name is in the data set's character set where that
// has it; else all text becomes UTF-8, if it can; else the name is ASCII.
func TestAmendCharsets(t *testing.T) {
	const name, ascii = "Қаҳҳоров^Али", "Qahhorov^Ali"
	put := func(charset, institution string) *Dataset {
		ds := &Dataset{}
		ds.SetBytes(TagSpecificCharacterSet, CS, []byte(charset)).SetBytes(TagInstitutionName, LO, []byte(institution))
		return ds
	}
	private := put("ISO_IR 144", "\xba\xdb\xd8\xdd\xd8\xda\xd0")
	private.SetBytes(0x00191001, UN, []byte("\xba\xdb"))
	binary := put("ISO_IR 144", "\xba\xdb\xd8\xdd\xd8\xda\xd0")
	binary.SetBytes(0x00191001, UN, []byte("\xba\xdb\x01\x00"))
	for _, c := range []struct {
		what                     string
		ds                       *Dataset
		value                    string
		charset, name, institute string
	}{
		{"ASCII needs nothing", put("ISO_IR 100", "Caf\xe9"), "Karimov^Ali", "ISO_IR 100", "Karimov^Ali", "Café"},
		{"the set has it", put("ISO_IR 144", "\xba\xdb\xd8\xdd\xd8\xda\xd0"), "Каримов^Али", "ISO_IR 144", "Каримов^Али", "Клиника"},
		{"UTF-8 has it", put("ISO_IR 192", "Клиника"), name, "ISO_IR 192", name, "Клиника"},
		{"GB18030 has it", put("GB18030", "K\xc4\x85"), name, "GB18030", name, "K膮"},
		{"the set lacks it: all becomes UTF-8", put("ISO_IR 144", "\xba\xdb\xd8\xdd\xd8\xda\xd0"), name, "ISO_IR 192", name, "Клиника"},
		{"nothing declared, all ASCII", put("", "Clinic"), name, "ISO_IR 192", name, "Clinic"},
		{"nothing declared, cp1251 recognised", put("", "\xca\xeb\xe8\xed\xe8\xea\xe0 \xd2\xe0\xf8\xea\xe5\xed\xf2"), name, "ISO_IR 192", name, "Клиника Ташкент"},
		{"nothing declared, not recognised: ASCII", put("", "\xe9"), name, "", ascii, "é"},
		{"code extensions", put(`\ISO 2022 IR 87`, "\x1b$B;3ED\x1b(B"), name, "ISO_IR 192", name, "山田"},
		{"a private text of unknown VR: ASCII", private, name, "ISO_IR 144", ascii, "Клиника"},
		{"binary values are no text", binary, name, "ISO_IR 192", name, "Клиника"},
	} {
		t.Run(c.what, func(t *testing.T) {
			b, err := AppendDataset(nil, c.ds, ExplicitVRLittleEndian)
			if err != nil {
				t.Fatal(err)
			}
			change := Change{Tag: TagPatientName, VR: PN, Value: c.value, Plain: ascii}
			out := amendAll(t, b, amendOptions(ExplicitVRLittleEndian, change))
			h, err := Scan(bytes.NewReader(out), ScanOptions{TransferSyntax: ExplicitVRLittleEndian, FallbackCharset: "cyrillic"})
			if err != nil {
				t.Fatal(err)
			}
			got := []string{h.Dataset.String(TagSpecificCharacterSet), h.Dataset.String(TagPatientName), h.Dataset.String(TagInstitutionName)}
			if diff := cmp.Diff([]string{c.charset, c.name, c.institute}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestAmendNestedText: with UTF-8, text in sequences follows, lengths around
// it fit, items with a character set of their own stay, and the previous name
// keeps its bytes and what they are in.
func TestAmendNestedText(t *testing.T) {
	own := (&Dataset{}).SetBytes(TagSpecificCharacterSet, CS, []byte("ISO_IR 100")).SetBytes(TagCodeMeaning, LO, []byte("Caf\xe9"))
	inherits := (&Dataset{}).SetBytes(TagCodeMeaning, LO, []byte("\xba\xdb\xd8\xdd\xd8\xda\xd0"))
	step := (&Dataset{}).SetSequence(TagRequestedProcedureCodeSequence, inherits, own)
	ds := (&Dataset{}).SetBytes(TagSpecificCharacterSet, CS, []byte("ISO_IR 144")).
		SetBytes(TagPatientName, PN, []byte("\xba\xd0\xe0\xd8\xdc\xde\xd2")).SetSequence(TagRequestAttributesSequence, step)
	for _, ts := range []string{ExplicitVRLittleEndian, ImplicitVRLittleEndian} {
		b, err := AppendDataset(nil, ds, ts)
		if err != nil {
			t.Fatal(err)
		}
		out := amendAll(t, b, amendOptions(ts, Change{Tag: TagPatientName, VR: PN, Value: "Қаҳҳоров"}))
		h, err := Scan(bytes.NewReader(out), ScanOptions{TransferSyntax: ts})
		if err != nil {
			t.Fatal(err)
		}
		items := h.Dataset.Item(TagRequestAttributesSequence).Items(TagRequestedProcedureCodeSequence)
		before := h.Dataset.Item(TagOriginalAttributesSequence).Item(TagModifiedAttributesSequence)
		raw, _ := items[1].Get(TagCodeMeaning)
		old, _ := before.Get(TagPatientName)
		got := []string{
			h.Dataset.String(TagPatientName), items[0].String(TagCodeMeaning), items[1].String(TagCodeMeaning), string(raw.Value[:4]),
			before.String(TagSpecificCharacterSet), before.String(TagPatientName), string(old.Value[:3]),
		}
		want := []string{"Қаҳҳоров", "Клиника", "Café", "Caf\xe9", "ISO_IR 144", "Каримов", "\xba\xd0\xe0"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

// manyChanges replaces, inserts and removes.
var manyChanges = []Change{
	{Tag: TagPatientName, VR: PN, Value: "Ғуломова^Ўғилой", Plain: "Gulomova^Ogiloy"},
	{Tag: TagPatientID, VR: LO, Value: "77001"},
	{Tag: TagIssuerOfPatientID, VR: LO, Remove: true},
	{Tag: TagPatientBirthDate, VR: DA, Value: "19800229"},
	{Tag: TagPatientSex, VR: CS, Value: ""},
}

// sameButFor checks that nothing but the changes has changed.
func sameButFor(before, after []byte, ts string, changes []Change) error {
	opt := ScanOptions{TransferSyntax: ts, FallbackCharset: "cyrillic", MaxInflated: 64 << 20}
	old, err := Scan(bytes.NewReader(before), opt)
	if err != nil {
		return nil // Amend reads only as far as the pixel data
	}
	h, err := Scan(bytes.NewReader(after), opt)
	if err != nil {
		return fmt.Errorf("the amended file can't be read: %w", err)
	}
	if !bytes.Equal(before[:old.DatasetOffset], after[:h.DatasetOffset]) {
		return errors.New("the file meta information has changed")
	}
	if h.TransferSyntax != old.TransferSyntax {
		return fmt.Errorf("%s has become %s", old.TransferSyntax, h.TransferSyntax)
	}
	for _, c := range changes {
		got := h.Dataset.String(c.Tag)
		if c.Remove && h.Dataset.Has(c.Tag) || !c.Remove && (!h.Dataset.Has(c.Tag) || got != c.Value && got != c.Plain) {
			return fmt.Errorf("%s is %q", c.Tag, got)
		}
	}
	was := old.Dataset.Items(TagOriginalAttributesSequence)
	originals := h.Dataset.Items(TagOriginalAttributesSequence)
	if e, ok := old.Dataset.Get(TagOriginalAttributesSequence); !ok || e.VR == SQ && len(originals) != len(was) {
		if len(originals) != len(was)+1 {
			return fmt.Errorf("%d original attributes, %d before", len(originals), len(was))
		}
		previous := originals[len(was)].Item(TagModifiedAttributesSequence)
		for _, c := range changes {
			e, ok := old.Dataset.Get(c.Tag)
			if ok && e.Bulk == nil && e.VR != SQ && e.VR != UN && strings.TrimRight(previous.String(c.Tag), " ") != strings.TrimRight(old.Dataset.String(c.Tag), " ") {
				return fmt.Errorf("the previous %s is %q, was %q", c.Tag, previous.String(c.Tag), old.Dataset.String(c.Tag))
			}
		}
	}
	left, err := rest(before, old, changes, len(was))
	if err != nil {
		return err
	}
	right, err := rest(after, h, changes, len(was))
	if err != nil {
		return err
	}
	if left != right {
		return fmt.Errorf("something else has changed:\n%s", cmp.Diff(left, right))
	}
	return nil
}

// rest describes everything that an amendment leaves alone.
func rest(b []byte, h *Header, changes []Change, originals int) (string, error) {
	data := b
	if h.Deflated {
		var err error
		if data, err = io.ReadAll(flate.NewReader(bytes.NewReader(b[h.DatasetOffset:]))); err != nil {
			return "", err
		}
	}
	ds := *h.Dataset
	ds.Elements = slices.DeleteFunc(slices.Clone(ds.Elements), func(e Element) bool {
		return e.Tag == TagSpecificCharacterSet || e.Tag == tagLengthToEnd || e.Tag == TagOriginalAttributesSequence ||
			slices.ContainsFunc(changes, func(c Change) bool { return c.Tag == e.Tag })
	})
	if items := h.Dataset.Items(TagOriginalAttributesSequence); originals > 0 {
		ds.SetSequence(TagOriginalAttributesSequence, items[:originals]...)
	}
	out := AppendJSON(nil, &ds, JSONOptions{BulkURI: func(path string, r Range) string {
		return fmt.Sprintf("%s %x", path, sha256.Sum256(data[r.Offset:r.Offset+r.Length]))
	}})
	if p := h.PixelData; p != nil && p.Encapsulated {
		for _, f := range p.Fragments {
			out = fmt.Appendf(out, "\n%x", sha256.Sum256(data[f.Offset:f.Offset+f.Length]))
		}
	} else if p != nil {
		out = fmt.Appendf(out, "\n%x", sha256.Sum256(data[p.Offset:p.Offset+p.Length]))
	}
	return string(out), nil
}

// TestAmendCorpus amends all sample files.
func TestAmendCorpus(t *testing.T) {
	amended := 0
	for name, readable := range corpus(t) {
		if !readable {
			continue
		}
		b := readSample(t, name)
		a, err := Amend(bytes.NewReader(b), int64(len(b)), amendOptions("", manyChanges...))
		if err != nil {
			if _, known := scanExceptions[name]; !known {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		_ = a
		if err := sameButFor(b, amendAll(t, b, amendOptions("", manyChanges...)), "", manyChanges); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		amended++
	}
	t.Logf("%d files amended", amended)
}

// TestAmendedIsReadByDcmdump: another implementation reads what we write.
func TestAmendedIsReadByDcmdump(t *testing.T) {
	dcmdump, err := exec.LookPath("dcmdump")
	if err != nil {
		t.Skip("dcmdump is not installed")
	}
	const loader = "cornerstoneWADOImageLoader/testImages/"
	for _, name := range []string{
		loader + "CTImage.dcm_BigEndianExplicitTransferSyntax_1.2.840.10008.1.2.2.dcm",
		loader + "CTImage.dcm_DeflatedExplicitVRLittleEndianTransferSyntax_1.2.840.10008.1.2.1.99.dcm",
		loader + "CTImage.dcm_LittleEndianImplicitTransferSyntax_1.2.840.10008.1.2.dcm",
		loader + "CTImage.dcm_JPEGLSLosslessTransferSyntax_1.2.840.10008.1.2.4.80.dcm",
		loader + "US-YBR_FULL_422-EVRLE.dcm",
		"pydicom/charset_files/chrRuss.dcm", "pydicom/charset_files/chrH31.dcm", "pydicom/charset_files/chrSQEncoding.dcm",
	} {
		if _, err := os.Stat(filepath.Join(corpusDir, name)); err != nil {
			t.Logf("%s is not among the samples", name)
			continue
		}
		file := filepath.Join(t.TempDir(), "amended.dcm")
		if err := os.WriteFile(file, amendAll(t, readSample(t, name), amendOptions("", manyChanges...)), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), dcmdump, "+P", "0010,0020", "+P", "0400,0561", "+L", file).CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("[77001]")) || bytes.Contains(out, []byte("E: ")) || bytes.Contains(out, []byte("W: ")) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

func FuzzAmend(f *testing.F) {
	for _, golden := range []string{goldenExplicit, goldenBigEndian, goldenEncapsulated} {
		b := unhex(f, golden)
		for _, ts := range []string{ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian} {
			f.Add(ts, b, "Ғуломова^Ўғилой", "7")
		}
		var z bytes.Buffer
		w, _ := flate.NewWriter(&z, 9)
		_, _ = w.Write(b)
		_ = w.Close()
		f.Add(DeflatedExplicitVRLittleEndian, z.Bytes(), "A", "")
	}
	for name := range corpusForFuzz(f) {
		if b := readSample(f, name); len(b) < 20<<10 {
			f.Add("", b, "Каримов", "ISO")
		}
	}
	f.Fuzz(func(t *testing.T, ts string, b []byte, name, id string) {
		if len(name) > 200 || len(id) > 200 || clean(name) != strings.Trim(name, " ") || clean(id) != strings.Trim(id, " ") {
			return
		}
		changes := []Change{
			{Tag: TagPatientName, VR: PN, Value: name, Plain: plain(name)},
			{Tag: TagPatientID, VR: LO, Value: id, Plain: plain(id)},
			{Tag: TagIssuerOfPatientID, VR: LO, Remove: true},
			{Tag: TagPatientSex, VR: CS, Value: "F"},
		}
		opt := amendOptions(ts, changes...)
		opt.Scan.MaxInflated = 1 << 20
		a, err := Amend(bytes.NewReader(b), int64(len(b)), opt)
		if err != nil {
			return
		}
		length, err := a.Length(stored(b))
		if err != nil {
			return // behind the header it is broken, as it was
		}
		r, err := a.Open(0, length, stored(b))
		if err != nil {
			t.Fatal(err)
		}
		out, err := io.ReadAll(r)
		if err != nil || int64(len(out)) != length {
			t.Fatalf("%d bytes of %d: %v", len(out), length, err)
		}
		if err := sameButFor(b, out, ts, changes); err != nil {
			t.Fatal(err)
		}
	})
}
