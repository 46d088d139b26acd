package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
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

// TestUnfitIsKept: what is DICOM but can't be indexed is acknowledged and kept
// to its last byte, also behind the place where the scan gave up.
func TestUnfitIsKept(t *testing.T) {
	sound := dataset("1.5", 0)
	many := bytes.Repeat([]byte{0x0B, 0, 0x10, 0x10, 'L', 'O', 0, 0}, limits.MaxElements+1)
	many = append(many, "and what the scan has not seen any more"...)
	deep := bytes.Clone(sound)
	for range 100 {
		deep = append(deep, 0x40, 0, 0x30, 0xA7, 'S', 'Q', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE, 0xFF, 0, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF)
	}
	long := "1." + strings.Repeat("2", 70)
	file := dicom.AppendFileMeta(nil, dicom.FileMeta{SOPClassUID: ctImageStorage, SOPInstanceUID: "1.5", TransferSyntaxUID: "1.2.840.10008.1.2.6.2"})
	whole := Entry{StudyInstanceUID: "1.2.3", SeriesInstanceUID: "1.2.3.4", SOPInstanceUID: "1.5", SOPClassUID: ctImageStorage}
	missing := func(e Entry, field func(*Entry) *string) Entry { *field(&e) = ""; return e }
	for _, c := range []struct {
		name   string
		data   []byte
		change func(*pacs.Incoming)
		reason pacs.QuarantineReason
		uids   Entry
	}{
		{"no study UID", without(t, dicom.TagStudyInstanceUID), nil, pacs.MissingUID, missing(whole, func(e *Entry) *string { return &e.StudyInstanceUID })},
		{"no series UID", without(t, dicom.TagSeriesInstanceUID), nil, pacs.MissingUID, missing(whole, func(e *Entry) *string { return &e.SeriesInstanceUID })},
		{"no SOP class", without(t, dicom.TagSOPClassUID), nil, pacs.MissingUID, missing(whole, func(e *Entry) *string { return &e.SOPClassUID })},
		{"no SOP instance", without(t, dicom.TagSOPInstanceUID), nil, pacs.MissingUID, missing(whole, func(e *Entry) *string { return &e.SOPInstanceUID })},
		{"no study UID, to a study's address", without(t, dicom.TagStudyInstanceUID), func(in *pacs.Incoming) { in.StudyInstanceUID = "1.2.3" }, pacs.MissingUID, missing(whole, func(e *Entry) *string { return &e.StudyInstanceUID })},
		{"a UID that is none", bytes.Replace(sound, []byte("1.2.3.4"), []byte("1.2/../"), 1), nil, pacs.BadUID, missing(whole, func(e *Entry) *string { return &e.SeriesInstanceUID })},
		{"a UID that is too long", dataset(long, 0), func(in *pacs.Incoming) { in.SOPInstanceUID = long }, pacs.BadUID, missing(whole, func(e *Entry) *string { return &e.SOPInstanceUID })},
		{"another instance than announced", sound, func(in *pacs.Incoming) { in.SOPInstanceUID = "1.6" }, pacs.Mismatch, whole},
		{"another class than announced", sound, func(in *pacs.Incoming) { in.SOPClassUID = "1.6" }, pacs.Mismatch, whole},
		{"announced under what is no UID", sound, func(in *pacs.Incoming) { in.SOPInstanceUID = "../../etc/passwd" }, pacs.Mismatch, whole},
		{"truncated", sound[:len(sound)-3], nil, pacs.BrokenHeader, missing(whole, func(e *Entry) *string { return &e.SeriesInstanceUID })},
		{"rubbish in the middle", slices.Concat(sound, []byte{0xFE, 0xFF, 0, 0xE0, 9, 9, 9, 9}, bytes.Repeat([]byte("rest"), 100_000)), nil, pacs.BrokenHeader, whole},
		{"too many elements", append(bytes.Clone(sound), many...), nil, pacs.TooManyElements, whole},
		{"nested too deep", deep, nil, pacs.TooManyElements, whole},
		{"a transfer syntax of XML", sound, func(in *pacs.Incoming) { in.TransferSyntaxUID = "1.2.840.10008.1.2.6.2" }, pacs.Unfit, Entry{}},
		{"a file in a transfer syntax of XML", append(file, sound...), func(in *pacs.Incoming) {
			in.TransferSyntaxUID, in.SOPClassUID, in.SOPInstanceUID = "", "", ""
		}, pacs.Unfit, Entry{}},
		{"a file without a data set", file, func(in *pacs.Incoming) {
			in.TransferSyntaxUID, in.SOPClassUID, in.SOPInstanceUID = "", "", ""
		}, pacs.BrokenHeader, Entry{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			j := open(t, Options{Dir: dir})
			receiveAll(t, j, "1.1")
			in := incoming("1.5", 0)
			in.Data = bytes.NewReader(c.data)
			if c.change != nil {
				c.change(&in)
			}
			receipt, err := j.Receive(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			if receipt.Unfit != c.reason || receipt.Problem == "" || len(receipt.Problem) > maxUnfitMessage+3 {
				t.Errorf("unfit for %q (%s), want %q", receipt.Unfit, receipt.Problem, c.reason)
			}
			receiveAll(t, j, "1.2")
			// Also for one who opens what is there now.
			for _, opened := range []*Journal{j, open(t, Options{Dir: copyDir(t, dir)})} {
				records := take(t, opened, 3)
				checkRecord(t, records[0], "1.1", 0)
				checkRecord(t, records[2], "1.2", 0)
				r := records[1]
				body, err := io.ReadAll(r.Body())
				if err != nil || !bytes.HasSuffix(body, c.data) {
					t.Fatalf("%d bytes are kept of %d, %v", len(body), len(c.data), err)
				}
				if in.TransferSyntaxUID != "" && !bytes.Equal(body[r.DatasetOffset:], c.data) {
					t.Errorf("the data set is said to begin at %d", r.DatasetOffset)
				}
				if r.Unfit == nil || r.Unfit.Reason != c.reason || r.Unfit.Message != receipt.Problem {
					t.Errorf("%+v", r.Unfit)
				}
				got := Entry{StudyInstanceUID: r.StudyInstanceUID, SeriesInstanceUID: r.SeriesInstanceUID, SOPInstanceUID: r.SOPInstanceUID, SOPClassUID: r.SOPClassUID}
				if diff := cmp.Diff(c.uids, got); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// TestUnfitHasItsOwnRoom: nobody fills the disk with what can't be published.
func TestUnfitHasItsOwnRoom(t *testing.T) {
	j := open(t, Options{Dir: t.TempDir()})
	broken := func() error {
		in := incoming("1.5", 0)
		in.Data = io.MultiReader(in.Data, strings.NewReader("\xFE\xFF\x00\xE0rubbish"), io.LimitReader(pattern{}, 100_000))
		_, err := j.Receive(t.Context(), in)
		return err
	}
	room := int64(250_000)
	j.QuarantineRoom(func() int64 { return room })
	for range 2 {
		if err := broken(); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, broken(), pacs.OutOfResources) // 200,000 are in the journal
	receiveAll(t, j, "1.1")                    // sound ones are none the worse
	// Quarantine takes one over and has the less room; it still counts once.
	records := take(t, j, 3)
	j.Hold(records[0], errors.New("held"))
	wantCode(t, broken(), pacs.OutOfResources)
	room -= records[1].Length
	j.Drop(records[1])
	wantCode(t, broken(), pacs.OutOfResources)
	room = 250_000 // somebody has looked through it
	if err := broken(); err != nil {
		t.Error(err)
	}
}

// TestStudyThatContradicts: a device that sends for ever what contradicts the
// index is told so once its quarantine is full.
func TestStudyThatContradicts(t *testing.T) {
	dir := t.TempDir()
	j := open(t, Options{Dir: dir})
	receiveAll(t, j, "1.1")
	j.RefuseStudy("TMA", "1.2.3")
	_, err := j.Receive(t.Context(), incoming("1.2", 0))
	wantCode(t, err, pacs.OutOfResources)
	other := incoming("1.3", 0)
	other.Facility = "NUKUS"
	if _, err := j.Receive(t.Context(), other); err != nil {
		t.Error(err)
	}
	j.AdmitStudies()
	receiveAll(t, j, "1.4")
	for i, r := range take(t, j, 3) {
		checkRecord(t, r, []string{"1.1", "1.3", "1.4"}[i], 0)
	}
	for n := range maxOverQuota + 10 {
		j.RefuseStudy("TMA", fmt.Sprint("1.9.", n))
	}
	if n := len(j.quarantine.full); n > maxOverQuota {
		t.Errorf("%d studies are remembered", n)
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

func TestAckPublished(t *testing.T) {
	j := open(t, Options{Dir: t.TempDir(), AckPublished: true})
	receive := func(ctx context.Context, sop string) chan error {
		done := make(chan error, 1)
		go func() {
			_, err := j.Receive(ctx, incoming(sop, 0))
			done <- err
		}()
		return done
	}
	published := receive(t.Context(), "1.1")
	r := take(t, j, 1)
	select {
	case err := <-published:
		t.Fatalf("acknowledged before it was published: %v", err)
	default:
	}
	j.GiveBack(r...)
	r = take(t, j, 1)
	j.Drop(r...)
	if err := <-published; err != nil {
		t.Error(err)
	}

	held := receive(t.Context(), "1.2")
	j.Hold(take(t, j, 1)[0], errors.New("contradiction"))
	wantCode(t, <-held, pacs.Conflict)

	ctx, cancel := context.WithCancel(t.Context())
	cancelled := receive(ctx, "1.3")
	r = take(t, j, 1)
	cancel()
	wantCode(t, <-cancelled, pacs.Unavailable)
	// The record is published all the same.
	checkRecord(t, r[0], "1.3", 0)
	j.Drop(r...)

	closing := receive(t.Context(), "1.4")
	take(t, j, 1)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	wantCode(t, <-closing, pacs.Unavailable)
}

func TestHold(t *testing.T) {
	dir := t.TempDir()
	j := open(t, Options{Dir: dir, SegmentSize: 1})
	receiveAll(t, j, "1.1", "1.2")
	records := take(t, j, 2)
	if st := j.Stats(); !st.Oldest.Equal(records[0].ReceivedAt) {
		t.Errorf("the oldest that waits is of %v, want %v", st.Oldest, records[0].ReceivedAt)
	}
	j.Hold(records[0], errors.New("contradiction"))
	if st := j.Stats(); st.Records != 1 || st.Held != 1 || st.Bytes != records[0].Length+records[1].Length {
		t.Errorf("%+v", st)
	}
	j.Drop(records[1])
	if st := j.Stats(); st.Records != 0 || st.Held != 1 || st.Bytes != records[0].Length || !st.Oldest.IsZero() {
		t.Errorf("%+v", st)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	// It is offered again at the next start.
	j = open(t, Options{Dir: dir})
	r := take(t, j, 1)
	checkRecord(t, r[0], "1.1", 0)
	j.Drop(r...)
	if left := files(t, dir, "*.segment*"); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestGiveBackComesFirst(t *testing.T) {
	j := open(t, Options{Dir: t.TempDir()})
	receiveAll(t, j, "1.1", "1.2")
	records := take(t, j, 2)
	receiveAll(t, j, "1.3")
	j.GiveBack(records...)
	var order []string
	for _, r := range take(t, j, 3) {
		order = append(order, r.SOPInstanceUID)
	}
	if diff := cmp.Diff([]string{"1.1", "1.2", "1.3"}, order); diff != "" {
		t.Error(diff)
	}
}

func TestTakeEndsWithItsContext(t *testing.T) {
	j := open(t, Options{Dir: t.TempDir()})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := j.Take(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestSegmentsAreReused: a lone sender needs one file, which becomes a new
// segment when its records are published, and nothing of before is found in it.
func TestSegmentsAreReused(t *testing.T) {
	const size = 1 << 20
	dir := t.TempDir()
	j := open(t, Options{Dir: dir, SegmentSize: size})
	inodes, names := map[uint64]bool{}, map[string]bool{}
	for i := range 200 {
		sop := fmt.Sprintf("1.%d", i+1)
		if _, err := j.Receive(t.Context(), incoming(sop, 20<<10)); err != nil {
			t.Fatal(err)
		}
		found := files(t, dir, "*.segment")
		if len(found) != 1 {
			t.Fatalf("%d segments for one sender", len(found))
		}
		info, err := os.Stat(found[0])
		if err != nil || info.Size() > size+30<<10 {
			t.Fatalf("a segment of %d bytes, %v", info.Size(), err)
		}
		names[found[0]] = true
		inodes[info.Sys().(*syscall.Stat_t).Ino] = true
		if i%10 == 9 { // one who opens what is there now
			records := recovered(t, copyDir(t, dir))
			if n := len(records); n == 0 || n > 10 || records[n-1] != sop {
				t.Fatalf("recovered %d records, the last is not %s", n, sop)
			}
			checkRecord(t, take(t, j, 1+i%10)[9], sop, 20<<10)
			j.dropAll()
		}
	}
	if len(inodes) != 1 || len(names) < 10 {
		t.Errorf("%d files under %d names, want one file that is often renamed", len(inodes), len(names))
	}
}

// TestIdleSegmentsAreFew: after many receivers at once the space comes back.
func TestIdleSegmentsAreFew(t *testing.T) {
	const receivers = 12
	dir := t.TempDir()
	j := open(t, Options{Dir: dir, SegmentSize: 100_000})
	var begun, running sync.WaitGroup
	begun.Add(receivers)
	for n := range receivers {
		running.Go(func() {
			in := incoming(fmt.Sprintf("1.%d", n+1), 30_000)
			once := sync.OnceFunc(func() { begun.Done(); begun.Wait() })
			in.Data = watched{in.Data, once}
			if _, err := j.Receive(t.Context(), in); err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
	if n := len(files(t, dir, "*.segment")); n != receivers {
		t.Fatalf("%d segments for %d receivers at once", n, receivers)
	}
	j.Drop(take(t, j, receivers)...)
	if n := len(files(t, dir, "*.segment")); n > maxIdle {
		t.Errorf("%d segments stay", n)
	}
}
