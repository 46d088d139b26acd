package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// fillJournal writes a segment with n records of a series as Receive would,
// without syncing each.
func fillJournal(t testing.TB, dir string, number uint64, n int) {
	t.Helper()
	names := segmentNames{next: number - 1}
	path, id := names.take(dir)
	once := disk{write: realDisk.write, sync: func(*os.File) error { return nil }}
	s, err := createSegment(path, id, &once, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	body := dataset("1.2.3.4.5", 0)
	for i := range n {
		w := s.begin()
		if _, err := w.Write(body); err != nil {
			t.Fatal(err)
		}
		entry := Entry{
			StudyInstanceUID: fmt.Sprintf("1.2.860.%d", number), SeriesInstanceUID: fmt.Sprintf("1.2.860.%d.1", number),
			SOPInstanceUID: fmt.Sprintf("1.2.860.113619.2.55.3.2831868886.%d.%d", number, i+1), SOPClassUID: ctImageStorage,
			TransferSyntaxUID: dicom.ExplicitVRLittleEndian, Channel: pacs.ChannelDIMSE, Facility: "TMA", Sender: "CT1",
			Remote: "192.0.2.1:4711", Charset: "windows-1251", ReceivedAt: time.Date(2026, 3, 2, 10, 0, 0, i, time.UTC),
		}
		entry.intern()
		if _, err := w.seal(entry); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.file.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestLargeBacklog: after days without a database very many records wait. What
// a record costs in memory is bounded, and receiving does not wait for them.
func TestLargeBacklog(t *testing.T) {
	segments, each := 20, 1000
	if testing.Short() {
		each = 100
	}
	dir := t.TempDir()
	for n := range segments {
		fillJournal(t, dir, uint64(n+1), each)
	}
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	started := time.Now()
	j, err := Open(Options{Dir: dir, MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	opened := time.Since(started)
	receiveAll(t, j, "1.9")
	records := take(t, j, segments*each+1)
	used := max(heap()-before, 0)
	t.Logf("open took %v, all were there after %v, %d bytes of memory a record", opened, time.Since(started), used/int64(len(records)))
	if perRecord := used / int64(len(records)); perRecord > 1000 {
		t.Errorf("a waiting record takes %d bytes of memory", perRecord)
	}
	seen := map[string]bool{}
	for _, r := range records {
		seen[r.SOPInstanceUID] = true
	}
	if len(seen) != segments*each+1 {
		t.Errorf("%d different records of %d", len(seen), len(records))
	}
	if st := j.Stats(); st.Records != len(records) || st.Unreadable != 0 {
		t.Errorf("%+v", st)
	}
	j.Drop(records...)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if left := files(t, dir, "*.segment*"); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// TestCloseWhileReadingTheBacklog: what has not been read is there at the next
// start, and nothing of it is removed because it seemed empty.
func TestCloseWhileReadingTheBacklog(t *testing.T) {
	const segments, each, rounds = 3, 200, 8
	dir := t.TempDir()
	for n := range segments {
		fillJournal(t, dir, uint64(n+1), each)
	}
	names := files(t, dir, "*.segment")
	ids := make([]uint64, len(names))
	for i, name := range names {
		_, id, err := parseSegmentName(name)
		if err != nil {
			t.Fatal(err)
		}
		ids[i] = id
	}
	for round := range rounds {
		j, err := Open(Options{Dir: t.TempDir(), MinFree: 1})
		if err != nil {
			t.Fatal(err)
		}
		if round == 0 {
			j.mu.Lock()
			j.closing = true // before the first record
			j.mu.Unlock()
		}
		j.writers.Go(func() { j.readBacklog(names, ids) })
		if round == 0 {
			j.writers.Wait()
			j.closing = false
		} else {
			<-j.wake
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
		t.Logf("closed after %d records", len(j.queue))
		if got := files(t, dir, "*"); len(got) != segments {
			t.Fatalf("left %v", got)
		}
	}
	if n := len(recovered(t, dir)); n != segments*each {
		t.Errorf("%d records, want %d", n, segments*each)
	}
}

// TestUnreadableSegment: a segment that can't be opened keeps nobody from
// working, is reported, and stays.
func TestUnreadableSegment(t *testing.T) {
	dir := t.TempDir()
	fillJournal(t, dir, 1, 3)
	name := filepath.Join(dir, fmt.Sprintf("%012d-%016x.segment", 2, 7))
	if err := os.Mkdir(name, 0o755); err != nil {
		t.Fatal(err)
	}
	j := open(t, Options{Dir: dir})
	take(t, j, 3)
	receiveAll(t, j, "1.9")
	j.Drop(take(t, j, 1)...)
	if st := j.Stats(); st.Unreadable != 1 || st.Recovering {
		t.Errorf("%+v", st)
	}
	if _, err := os.Stat(name); err != nil {
		t.Error(err)
	}
}
