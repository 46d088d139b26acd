package pixel

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// What was compressed comes back in every bit, in both syntaxes that everybody
// takes.
func TestDecompressSamples(t *testing.T) {
	root := filepath.Join("..", "..", "..", "shared", "dicom")
	if _, err := os.Stat(root); err != nil {
		t.Skipf("sample files are absent: %v", err)
	}
	c := &Compressor{Codecs: newCodecs(t)}
	d := &Decompressor{Codecs: c.Codecs}
	const enough = 12 // Compressor's test has them all
	done := 0
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, ".tsv") || done == enough {
			return err
		}
		if info, err := entry.Info(); err != nil || info.Size() > 4<<20 {
			return err
		}
		copied, err := compress(t, c, path)
		if errors.Is(err, ErrKeep) {
			return nil
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		done++
		before, original := scan(t, path)
		after, data := scan(t, copied)
		open := func(offset, length int64) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(data[offset : offset+length])), nil
		}
		for _, ts := range []string{dicom.ExplicitVRLittleEndian, dicom.ImplicitVRLittleEndian} {
			pixels, err := d.Decode(t.Context(), after, open)
			if err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			w, err := after.Rewrite(ts, pixels)
			if err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			body := w.Open(t.Context(), open)
			plain, err := io.ReadAll(body)
			if err := errors.Join(err, body.Close()); err != nil {
				t.Errorf("%s in %s: %v", path, ts, err)
				continue
			}
			h, err := dicom.Scan(bytes.NewReader(plain), dicom.ScanOptions{TransferSyntax: ts})
			if err != nil {
				t.Errorf("%s in %s: %v", path, ts, err)
				continue
			}
			want := original[before.PixelData.Offset : before.PixelData.Offset+before.PixelData.Length]
			got := plain[h.PixelData.Offset : h.PixelData.Offset+h.PixelData.Length]
			if !bytes.Equal(got, want) {
				t.Errorf("%s in %s: %d bytes of pixel data differ from %d", path, ts, len(got), len(want))
			}
			if ts == dicom.ExplicitVRLittleEndian && len(h.Dataset.Elements) != len(withoutGroupLengths(before.Dataset)) {
				t.Errorf("%s: %d elements of %d", path, len(h.Dataset.Elements), len(before.Dataset.Elements))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if done < enough {
		t.Errorf("only %d samples were compressed", done)
	}
}

func withoutGroupLengths(ds *dicom.Dataset) (elements []dicom.Element) {
	for _, e := range ds.Elements {
		if !e.Tag.IsGroupLength() {
			elements = append(elements, e)
		}
	}
	return elements
}

// What the codec is not for is refused before anything is sent.
func TestDecompressRefuses(t *testing.T) {
	d := &Decompressor{}
	attributes := new(dicom.Dataset).SetInts(dicom.TagRows, dicom.US, 4).SetInts(dicom.TagColumns, dicom.US, 4).SetInts(dicom.TagSamplesPerPixel, dicom.US, 1).
		SetInts(dicom.TagBitsAllocated, dicom.US, 32).SetInts(dicom.TagBitsStored, dicom.US, 32)
	pixels := &dicom.PixelData{Tag: dicom.TagPixelData, Encapsulated: true, Length: -1}
	for name, h := range map[string]*dicom.Header{
		"another compression": {TransferSyntax: dicom.JPEG2000Lossless, Dataset: attributes, PixelData: pixels},
		"no pixel data":       {TransferSyntax: dicom.JPEGLSLossless, Dataset: attributes},
		"32 bits":             {TransferSyntax: dicom.JPEGLSLossless, Dataset: attributes, PixelData: pixels},
	} {
		if _, err := d.Decode(t.Context(), h, nil); pacs.CodeOf(err) != pacs.Unsupported {
			t.Errorf("%s: %v", name, err)
		}
	}
}
