package journal

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// TestSumOfWhatCame: the journal knows the SHA-256 of short data sets, in whatever
// pieces they come and whether or not with a header of their own. Others, nobody
// has computed yet.
func TestSumOfWhatCame(t *testing.T) {
	meta := dicom.AppendFileMeta(nil, dicom.FileMeta{SOPClassUID: ctImageStorage, SOPInstanceUID: "1.5", TransferSyntaxUID: dicom.ExplicitVRLittleEndian})
	j := open(t, Options{Dir: t.TempDir()})
	short := summed - len(dataset("1.5", 0))
	for _, padding := range []int{
		0, 1000, short - 2, short, short + 2, 3 * summed,
		// The trailer fits with the body or not, and the body ends with the buffer.
		bufferLength - 2000, bufferLength - 1000, bufferLength - 700, bufferLength - 600, bufferLength, 3*bufferLength + 1000,
	} {
		for way, reader := range map[string]func(io.Reader) io.Reader{
			"whole":  func(r io.Reader) io.Reader { return r },
			"halves": iotest.HalfReader,
		} {
			length := len(dataset("1.5", padding))
			check := func(what string) {
				r := take(t, j, 1)[0]
				if checkRecord(t, r, "1.5", padding); (r.SHA256 != nil) != (length <= summed) {
					t.Errorf("%d bytes, %s, %s: sum %x", length, way, what, r.SHA256)
				}
				j.Drop(r)
			}
			bare := incoming("1.5", padding)
			bare.Data = reader(bare.Data)
			if _, err := j.Receive(t.Context(), bare); err != nil {
				t.Fatal(err)
			}
			check("bare")
			file := append(bytes.Clone(meta), dataset("1.5", padding)...)
			if _, err := j.Receive(t.Context(), pacs.Incoming{Data: reader(bytes.NewReader(file)), Facility: "TMA"}); err != nil {
				t.Fatal(err)
			}
			check("a file")
		}
	}
}

// TestCheckedFindsEachChange: what is copied from the journal with its check is
// what was received, or the copy fails.
func TestCheckedFindsEachChange(t *testing.T) {
	j := open(t, Options{Dir: t.TempDir()})
	receiveAll(t, j, "1.5")
	r := take(t, j, 1)[0]
	whole, err := io.ReadAll(r.Body())
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		if _, err := r.segment.file.WriteAt([]byte{whole[i] ^ 1}, r.offset+int64(i)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, iotest.OneByteReader(r.Checked())); !errors.Is(err, ErrDamaged) {
			t.Fatalf("byte %d has changed: %v", i, err)
		}
		if _, err := r.segment.file.WriteAt(whole[i:i+1], r.offset+int64(i)); err != nil {
			t.Fatal(err)
		}
	}
	checkRecord(t, r, "1.5", 0)
	if err := r.segment.file.Truncate(r.offset + r.Length - 1); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, r.Checked()); err == nil {
		t.Error("a record that has lost its end was read to its end")
	}
}
