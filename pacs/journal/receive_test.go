package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

func TestReceiveBareDataset(t *testing.T) {
	j := open(t, Options{Dir: t.TempDir()})
	receipt, err := j.Receive(t.Context(), incoming("1.2.3.4.5", 1000))
	if err != nil {
		t.Fatal(err)
	}
	r := take(t, j, 1)[0]
	checkRecord(t, r, "1.2.3.4.5", 1000)
	want := pacs.Receipt{
		StudyInstanceUID: "1.2.3", SeriesInstanceUID: "1.2.3.4", SOPInstanceUID: "1.2.3.4.5", SOPClassUID: ctImageStorage,
		TransferSyntaxUID: dicom.ExplicitVRLittleEndian, Bytes: r.Length, ReceivedAt: r.ReceivedAt,
	}
	if diff := cmp.Diff(want, receipt); diff != "" {
		t.Error(diff)
	}
	h, err := r.Header()
	if err != nil {
		t.Fatal(err)
	}
	for tag, want := range map[dicom.Tag]string{
		dicom.TagMediaStorageSOPInstanceUID: "1.2.3.4.5", dicom.TagMediaStorageSOPClassUID: ctImageStorage,
		dicom.TagTransferSyntaxUID: dicom.ExplicitVRLittleEndian, dicom.TagSourceApplicationEntityTitle: "CT1",
	} {
		if got := h.Meta.String(tag); got != want {
			t.Errorf("%v is %q, want %q", tag, got, want)
		}
	}
	entry := r.Entry
	if entry.Facility != "TMA" || entry.Sender != "CT1" || entry.Remote != "192.0.2.1:4711" || entry.Charset != "windows-1251" || entry.Channel != pacs.ChannelDIMSE {
		t.Errorf("%+v", entry)
	}
}

func TestReceiveFileAsItIs(t *testing.T) {
	file := dicom.AppendFileMeta(nil, dicom.FileMeta{SOPClassUID: ctImageStorage, SOPInstanceUID: "1.5", TransferSyntaxUID: dicom.ExplicitVRLittleEndian})
	copy(file, "a preamble is free for any use") // PS3.10 7.1
	offset := len(file)
	file = append(file, dataset("1.5", 99)...)
	j := open(t, Options{Dir: t.TempDir()})
	if _, err := j.Receive(t.Context(), pacs.Incoming{Data: bytes.NewReader(file), Channel: pacs.ChannelSTOW, Facility: "TMA"}); err != nil {
		t.Fatal(err)
	}
	r := take(t, j, 1)[0]
	got, err := io.ReadAll(r.Body())
	if err != nil || !bytes.Equal(got, file) || r.DatasetOffset != int64(offset) {
		t.Errorf("%d bytes, data set at %d, %v", len(got), r.DatasetOffset, err)
	}
}

// without is the data set of 1.5 without one of its mandatory attributes.
func without(t *testing.T, tag dicom.Tag) []byte {
	t.Helper()
	var ds dicom.Dataset
	for _, e := range []struct {
		tag   dicom.Tag
		value string
	}{
		{dicom.TagSOPClassUID, ctImageStorage},
		{dicom.TagSOPInstanceUID, "1.5"},
		{dicom.TagStudyInstanceUID, "1.2.3"},
		{dicom.TagSeriesInstanceUID, "1.2.3.4"},
	} {
		if e.tag != tag {
			ds.SetString(e.tag, dicom.UI, e.value)
		}
	}
	b, err := dicom.AppendDataset(nil, &ds, dicom.ExplicitVRLittleEndian)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRefused: what is refused leaves nothing, and the next is not harmed.
func TestRefused(t *testing.T) {
	sound := dataset("1.5", 0)
	letter := strings.Repeat("this is a letter, not an image. ", 40)
	for _, c := range []struct {
		name   string
		change func(*pacs.Incoming)
		reason string
	}{
		{"another study than the address", func(in *pacs.Incoming) { in.StudyInstanceUID = "1.2.4" }, pacs.ReasonOtherStudy},
		{"a transfer syntax that is no UID", func(in *pacs.Incoming) { in.TransferSyntaxUID = "JPEG" }, ""},
		{"empty", func(in *pacs.Incoming) { in.Data = strings.NewReader("") }, pacs.ReasonNotDICOM},
		{"zeros", func(in *pacs.Incoming) { in.Data = bytes.NewReader(make([]byte, 5000)) }, pacs.ReasonNotDICOM},
		{"a letter", func(in *pacs.Incoming) { in.Data = strings.NewReader(letter) }, pacs.ReasonNotDICOM},
		{"a letter, deflated as it is said", func(in *pacs.Incoming) {
			in.Data, in.TransferSyntaxUID = strings.NewReader(letter), dicom.DeflatedExplicitVRLittleEndian
		}, pacs.ReasonNotDICOM},
		{"a PDF file", func(in *pacs.Incoming) {
			*in = pacs.Incoming{Data: strings.NewReader(strings.Repeat("%PDF-1.7 ", 100)), Channel: pacs.ChannelImport}
		}, pacs.ReasonNotDICOM},
		{"a file with the prefix and nothing else", func(in *pacs.Incoming) {
			*in = pacs.Incoming{Data: strings.NewReader(strings.Repeat("\x00", 128) + "DICM" + letter), Channel: pacs.ChannelImport}
		}, pacs.ReasonNotDICOM},
		{"connection lost", func(in *pacs.Incoming) { in.Data = brokenOff{bytes.NewReader(sound[:len(sound)-3])} }, ""},
		{"connection lost behind the last element", func(in *pacs.Incoming) { in.Data = brokenOff{bytes.NewReader(sound)} }, ""},
		{"connection lost behind a header that breaks off", func(in *pacs.Incoming) {
			in.Data = brokenOff{bytes.NewReader(append(bytes.Clone(sound), 0xFE, 0xFF, 0, 0xE0, 9, 9, 9, 9, 9, 9, 9, 9))}
		}, ""},
		{"association lost", func(in *pacs.Incoming) {
			in.Data = io.MultiReader(bytes.NewReader(sound), iotest.ErrReader(io.ErrUnexpectedEOF))
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			j := open(t, Options{Dir: dir})
			receiveAll(t, j, "1.1")
			in := incoming("1.5", 0)
			c.change(&in)
			receipt, err := j.Receive(t.Context(), in)
			wantCode(t, err, pacs.Invalid)
			if reason, _ := pacs.ReasonOf(err); reason != c.reason {
				t.Errorf("reason %q, want %q: %v", reason, c.reason, err)
			}
			if receipt != (pacs.Receipt{}) {
				t.Errorf("a receipt for what was refused: %+v", receipt)
			}
			if st := j.Stats(); st.Records != 1 {
				t.Errorf("%+v", st)
			}
			receiveAll(t, j, "1.2")
			j2 := open(t, Options{Dir: copyDir(t, dir)})
			records := take(t, j2, 2)
			checkRecord(t, records[0], "1.1", 0)
			checkRecord(t, records[1], "1.2", 0)
			name := files(t, dir, "*.segment")[0]
			if at := places(t, name); len(at) != 3 {
				t.Errorf("the segment has %d records and no rest, want 2", len(at)-1)
			}
		})
	}
}

// TestPublishingAcceptsWhatReceivingDid: the file meta information that
// Receive adds must not push a record over the limits.
func TestPublishingAcceptsWhatReceivingDid(t *testing.T) {
	base := dataset("1.5", 0)
	h, err := dicom.Scan(bytes.NewReader(base), dicom.ScanOptions{TransferSyntax: dicom.ExplicitVRLittleEndian})
	if err != nil {
		t.Fatal(err)
	}
	left := limits.MaxElements - len(h.Dataset.Elements)
	for _, more := range []int{left, left + 1} {
		in := incoming("1.5", 0)
		in.Data = io.MultiReader(bytes.NewReader(base), bytes.NewReader(bytes.Repeat([]byte{0x0B, 0, 0x10, 0x10, 'L', 'O', 0, 0}, more)))
		j := open(t, Options{Dir: t.TempDir()})
		receipt, err := j.Receive(t.Context(), in)
		if more > left {
			if receipt.Unfit != pacs.TooManyElements {
				t.Errorf("one more than the limit: unfit for %q, %v", receipt.Unfit, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%d elements: %v", limits.MaxElements, err)
		}
		r := take(t, j, 1)[0]
		if _, err := r.Header(); err != nil {
			t.Error(err)
		}
	}
}

func TestManyReceivers(t *testing.T) {
	const receivers, each = 16, 25
	dir := t.TempDir()
	j := open(t, Options{Dir: dir, SegmentSize: 64 << 10})
	var running sync.WaitGroup
	for n := range receivers {
		running.Go(func() {
			for i := range each {
				sop := fmt.Sprintf("1.2.%d.%d", n+1, i+1)
				in := incoming(sop, 100*n)
				if i%5 == 4 { // some senders fail midway
					in.Data = brokenOff{io.LimitReader(in.Data, 200)}
				}
				_, err := j.Receive(t.Context(), in)
				if (err != nil) != (i%5 == 4) {
					t.Errorf("%s: %v", sop, err)
				}
			}
		})
	}
	// Meanwhile records are taken, and some are dropped.
	const total = receivers * each * 4 / 5
	seen := map[string]bool{}
	dropped := map[string]bool{}
	for len(seen) < total {
		records, err := j.Take(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			var n, i int
			if _, err := fmt.Sscanf(r.SOPInstanceUID, "1.2.%d.%d", &n, &i); err != nil || seen[r.SOPInstanceUID] {
				t.Fatalf("%s, seen %v, %v", r.SOPInstanceUID, seen[r.SOPInstanceUID], err)
			}
			checkRecord(t, r, r.SOPInstanceUID, 100*(n-1))
			seen[r.SOPInstanceUID] = true
			if i%2 == 0 {
				dropped[r.SOPInstanceUID] = true
				j.Drop(r)
			}
		}
	}
	running.Wait()
	if st := j.Stats(); st.Records != total-len(dropped) || st.Held != 0 {
		t.Errorf("%+v, want %d records", st, total-len(dropped))
	}
	// None that was not dropped may be missing after a restart.
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, Options{Dir: dir})
	for len(seen) > len(dropped) {
		records, err := j.Take(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			if !dropped[r.SOPInstanceUID] {
				delete(seen, r.SOPInstanceUID)
			}
			j.Drop(r)
		}
	}
	if left := files(t, dir, "*.segment*"); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// TestGigabyteInstance: memory must not grow with the instance.
func TestGigabyteInstance(t *testing.T) {
	const pixels = 1 << 30
	if testing.Short() {
		t.Skip("writes 1 GiB")
	}
	j := open(t, Options{Dir: t.TempDir()})
	in := incoming("1.5", 0)
	in.Data = endless("1.5", pixels)
	grown := heapGrowth(func() {
		if _, err := j.Receive(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	})
	if grown > 16<<20 {
		t.Errorf("receiving 1 GiB allocated %d MiB", grown>>20)
	}
	r := take(t, j, 1)[0]
	if r.Length < pixels {
		t.Errorf("%d bytes kept", r.Length)
	}
	grown = heapGrowth(func() {
		if _, err := r.Header(); err != nil {
			t.Fatal(err)
		}
	})
	if grown > 16<<20 {
		t.Errorf("scanning 1 GiB allocated %d MiB", grown>>20)
	}
	j.Drop(r)
}

// heapGrowth is how much f allocated, freed or not.
func heapGrowth(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestMinFree(t *testing.T) {
	dir := t.TempDir()
	j := open(t, Options{Dir: dir, MinFree: 1 << 60})
	_, err := j.Receive(t.Context(), incoming("1.5", 0))
	wantCode(t, err, pacs.OutOfResources)
	wantCode(t, j.Ready(), pacs.OutOfResources)
	if left := files(t, dir, "*.segment"); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if err := open(t, Options{Dir: t.TempDir(), MinFree: 1}).Ready(); err != nil {
		t.Error(err)
	}
}

func TestNoReceiveAfterClose(t *testing.T) {
	j := open(t, Options{Dir: t.TempDir()})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := j.Receive(t.Context(), incoming("1.5", 0))
	wantCode(t, err, pacs.Unavailable)
}

// TestCloseWaitsForReceivers: what is on its way when the archive shuts down
// is received.
func TestCloseWaitsForReceivers(t *testing.T) {
	dir := t.TempDir()
	j := open(t, Options{Dir: dir})
	data, sender := io.Pipe()
	in := incoming("1.5", 0)
	content, err := io.ReadAll(in.Data)
	if err != nil {
		t.Fatal(err)
	}
	in.Data = data
	received := make(chan error)
	go func() {
		_, err := j.Receive(t.Context(), in)
		received <- err
	}()
	if _, err := sender.Write(content[:10]); err != nil { // the receiver is at it
		t.Fatal(err)
	}
	closed := make(chan error)
	go func() { closed <- j.Close() }()
	<-j.closed
	if _, err := sender.Write(content[10:]); err != nil {
		t.Fatal(err)
	}
	_ = sender.Close()
	if err := errors.Join(<-received, <-closed); err != nil {
		t.Fatal(err)
	}
	checkRecord(t, take(t, open(t, Options{Dir: dir}), 1)[0], "1.5", 0)
}
