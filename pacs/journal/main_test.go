package journal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ctImageStorage = "1.2.840.10008.5.1.4.1.1.2"

// dataset is a small data set (explicit VR little endian) of study 1.2.3 and
// series 1.2.3.4, with padding bytes in a private attribute.
func dataset(sop string, padding int) []byte {
	var ds dicom.Dataset
	ds.SetString(dicom.TagSOPClassUID, dicom.UI, ctImageStorage)
	ds.SetString(dicom.TagSOPInstanceUID, dicom.UI, sop)
	ds.SetString(dicom.TagPatientID, dicom.LO, "P1")
	ds.SetString(dicom.TagStudyInstanceUID, dicom.UI, "1.2.3")
	ds.SetString(dicom.TagSeriesInstanceUID, dicom.UI, "1.2.3.4")
	if padding > 0 {
		ds.SetBytes(dicom.NewTag(0x0029, 0x1010), dicom.OB, bytes.Repeat([]byte{0xA5}, padding))
	}
	b, err := dicom.AppendDataset(nil, &ds, dicom.ExplicitVRLittleEndian)
	if err != nil {
		panic(err)
	}
	return b
}

func incoming(sop string, padding int) pacs.Incoming {
	return pacs.Incoming{
		Data: bytes.NewReader(dataset(sop, padding)), TransferSyntaxUID: dicom.ExplicitVRLittleEndian,
		SOPClassUID: ctImageStorage, SOPInstanceUID: sop,
		Channel: pacs.ChannelDIMSE, Facility: "TMA", Sender: "CT1", Remote: "192.0.2.1:4711", Charset: "windows-1251",
	}
}

func open(t testing.TB, o Options) *Journal {
	t.Helper()
	if o.MinFree == 0 {
		o.MinFree = 1
	}
	j, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	<-j.recovered
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	return j
}

func receiveAll(t testing.TB, j *Journal, sops ...string) {
	t.Helper()
	for _, sop := range sops {
		if _, err := j.Receive(t.Context(), incoming(sop, 0)); err != nil {
			t.Fatalf("%s: %v", sop, err)
		}
	}
}

// take takes n records.
func take(t testing.TB, j *Journal, n int) []*Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var all []*Record
	for len(all) < n {
		records, err := j.Take(ctx)
		if err != nil {
			t.Fatalf("%d of %d records: %v", len(all), n, err)
		}
		all = append(all, records...)
	}
	if len(all) != n {
		t.Fatalf("%d records, want %d", len(all), n)
	}
	return all
}

// checkRecord compares a record with what incoming has sent.
func checkRecord(t testing.TB, r *Record, sop string, padding int) {
	t.Helper()
	if r.SOPInstanceUID != sop {
		t.Fatalf("record of %s, want %s", r.SOPInstanceUID, sop)
	}
	body, err := io.ReadAll(r.Body())
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(body)) != r.Length || !bytes.Equal(body[r.DatasetOffset:], dataset(sop, padding)) {
		t.Errorf("%s: %d bytes are not those that were sent", sop, len(body))
	}
	if sum := sha256.Sum256(body[r.DatasetOffset:]); r.SHA256 != nil && !bytes.Equal(r.SHA256, sum[:]) {
		t.Errorf("%s: the sum %x is not that of what was sent", sop, r.SHA256)
	}
	if again, err := io.ReadAll(r.Checked()); err != nil || !bytes.Equal(again, body) {
		t.Errorf("%s: read with its check: %d bytes, %v", sop, len(again), err)
	}
}

func files(t testing.TB, dir, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func wantCode(t testing.TB, err error, want pacs.Code) {
	t.Helper()
	if pacs.CodeOf(err) != want {
		t.Errorf("error %q (%v), want %q", pacs.CodeOf(err), err, want)
	}
}

// copyDir copies the segments of a journal as a crash would leave them.
func copyDir(t testing.TB, from string) string {
	t.Helper()
	to := t.TempDir()
	for _, name := range files(t, from, "*.segment") {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, filepath.Base(name)), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// places returns the offsets of the records in a segment and where they end.
// Behind that may be space for more, without any record in it.
func places(t testing.TB, path string) []int64 {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, id, err := parseSegmentName(path)
	if err != nil {
		t.Fatal(err)
	}
	offsets := []int64{0}
	for at := int64(0); at < int64(len(content)); {
		_, _, next, err := readRecord(bytes.NewReader(content), id, int64(len(content)), at)
		if errors.Is(err, errTorn) {
			if more, err := findRecord(bytes.NewReader(content), id, int64(len(content)), at); more >= 0 || err != nil {
				t.Fatalf("a record at %d behind the end at %d, %v", more, at, err)
			}
			break
		}
		if err != nil {
			t.Fatalf("record at %d: %v", at, err)
		}
		offsets = append(offsets, next)
		at = next
	}
	return offsets
}

// endless is a data set whose pixels are made while they are read.
func endless(sop string, pixels int64) io.Reader {
	head := dataset(sop, 0)
	head = binary.LittleEndian.AppendUint32(head, 0x0010_7FE0)
	head = append(head, 'O', 'W', 0, 0)
	head = binary.LittleEndian.AppendUint32(head, uint32(pixels))
	return io.MultiReader(bytes.NewReader(head), io.LimitReader(pattern{}, pixels))
}

type pattern struct{}

func (pattern) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(i)
	}
	return len(p), nil
}

// brokenOff gives some bytes and then fails as a lost connection does.
type brokenOff struct{ io.Reader }

var errConnection = errors.New("connection reset by peer")

func (b brokenOff) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = errConnection
	}
	return n, err
}

func sopUIDs(n int) []string {
	uids := make([]string, n)
	for i := range uids {
		uids[i] = fmt.Sprintf("1.2.3.4.%d", i+1)
	}
	return uids
}

// dropAll drops all that was taken.
func (j *Journal) dropAll() {
	j.mu.Lock()
	var all []*Record
	for r := range j.taken {
		all = append(all, r)
	}
	j.mu.Unlock()
	j.Drop(all...)
}

// recovered opens a journal and closes it again; it returns the SOP Instance
// UIDs in it.
func recovered(t testing.TB, dir string) []string {
	t.Helper()
	j, err := Open(Options{Dir: dir, MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	<-j.recovered
	var uids []string
	for _, r := range j.queue {
		uids = append(uids, r.SOPInstanceUID)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return uids
}
