package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// TestQuota: an outage of what comes behind does not take the whole disk, and
// receiving goes on by itself when something is published.
func TestQuota(t *testing.T) {
	const instance = 100_000
	j := open(t, Options{Dir: t.TempDir(), Quota: 10 * instance})
	received := 0
	for ; ; received++ {
		if _, err := j.Receive(t.Context(), incoming(fmt.Sprint("1.", received+1), instance)); err != nil {
			wantCode(t, err, pacs.OutOfResources)
			break
		}
		if received == 7 && j.Stats().Fill < 0.8 {
			t.Errorf("with 8 of 10 the journal is %v full", j.Stats().Fill)
		}
	}
	if received != 10 {
		t.Errorf("%d instances were taken, want 10", received)
	}
	wantCode(t, j.Ready(), pacs.OutOfResources)
	if st := j.Stats(); st.Fill != 1 {
		t.Errorf("the full journal is %v full", st.Fill)
	}
	records := take(t, j, 10)
	j.Drop(records[:5]...)
	if err := j.Ready(); err != nil {
		t.Error(err)
	}
	receiveAll(t, j, "1.9")

	// What is longer than the rest of the quota is refused on its way.
	in := incoming("1.5", 0)
	in.Data = endless("1.5", 1<<40)
	_, err := j.Receive(t.Context(), in)
	wantCode(t, err, pacs.OutOfResources)
	if err := j.Ready(); err != nil {
		t.Errorf("what was refused still counts: %v", err)
	}
	receiveAll(t, j, "1.8")
}

// TestFailingSync: the disk refuses to make a record durable. Its sender is
// told, what was acknowledged before is unharmed, and nothing is ever appended
// to that segment again: the kernel reports lost pages only once.
func TestFailingSync(t *testing.T) {
	dir := t.TempDir()
	j := open(t, Options{Dir: dir})
	var fail atomic.Bool
	var mu sync.Mutex
	broken := map[string]bool{} // inodes of segments whose sync has failed
	inode := func(f *os.File) string {
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(info.Sys().(*syscall.Stat_t).Ino)
	}
	j.disk.write = func(f *os.File, p []byte, at int64) error {
		mu.Lock()
		defer mu.Unlock()
		// abandon takes the header away, which is no record.
		if broken[inode(f)] && len(p) != headerLength {
			t.Error("a segment is written to whose sync has failed")
		}
		return realDisk.write(f, p, at)
	}
	j.disk.sync = func(f *os.File) error {
		if fail.Load() {
			mu.Lock()
			defer mu.Unlock()
			broken[inode(f)] = true
			return syscall.EIO
		}
		return realDisk.sync(f)
	}
	acknowledged := map[string]bool{}
	for i := range 60 {
		sop := fmt.Sprintf("1.2.%d", i+1)
		fail.Store(i%7 == 3)
		_, err := j.Receive(t.Context(), incoming(sop, i*100))
		switch {
		case i%7 == 3:
			wantCode(t, err, pacs.OutOfResources)
			if !errors.Is(err, syscall.EIO) {
				t.Errorf("the cause is lost: %v", err)
			}
		case err != nil:
			t.Fatalf("%s: %v", sop, err)
		default:
			acknowledged[sop] = true
		}
	}
	if len(broken) != 9 {
		t.Errorf("%d segments have failed, want 9", len(broken))
	}
	for _, from := range []*Journal{j, open(t, Options{Dir: copyDir(t, dir)})} {
		for _, r := range take(t, from, len(acknowledged)) {
			var i int
			if _, err := fmt.Sscanf(r.SOPInstanceUID, "1.2.%d", &i); err != nil || !acknowledged[r.SOPInstanceUID] {
				t.Errorf("%s is there and was not acknowledged", r.SOPInstanceUID)
			}
			checkRecord(t, r, r.SOPInstanceUID, (i-1)*100)
		}
	}
	j.dropAll()
	if left := files(t, dir, "*.segment"); len(left) > 1 {
		t.Errorf("left: %v", left)
	}
}

// TestFailingWrite: the disk takes half a record and then fails. No trace of it
// may be found later.
func TestFailingWrite(t *testing.T) {
	for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
		for _, size := range []int{0, 100_000, 3 * bufferLength} {
			dir := t.TempDir()
			j := open(t, Options{Dir: dir})
			receiveAll(t, j, "1.1")
			writes := 0
			j.disk.write = func(f *os.File, p []byte, at int64) error {
				if writes++; writes == 1 && size < bufferLength || writes == 2 && size > bufferLength {
					_ = realDisk.write(f, p[:len(p)-1], at)
					return cause
				}
				return realDisk.write(f, p, at)
			}
			_, err := j.Receive(t.Context(), incoming("1.2", size))
			wantCode(t, err, pacs.OutOfResources)
			j.disk.write = realDisk.write
			receiveAll(t, j, "1.3")
			if n := len(files(t, dir, "*.segment")); n > 1 != errors.Is(cause, syscall.EIO) {
				t.Errorf("%v: %d segments", cause, n)
			}
			for _, from := range []*Journal{j, open(t, Options{Dir: copyDir(t, dir)})} {
				for i, r := range take(t, from, 2) {
					checkRecord(t, r, []string{"1.1", "1.3"}[i], 0)
				}
				if damaged := files(t, from.options.Dir, "*.damaged"); len(damaged) != 0 {
					t.Errorf("%v, %d bytes: kept as damaged", cause, size)
				}
			}
		}
	}
}

// TestAbandonedGiantGivesItsSpaceBack: what a sender began and did not finish
// must not stay on the disk.
func TestAbandonedGiantGivesItsSpaceBack(t *testing.T) {
	dir := t.TempDir()
	j := open(t, Options{Dir: dir, SegmentSize: 4 << 20})
	receiveAll(t, j, "1.1")
	in := incoming("1.2", 0)
	in.Data = brokenOff{io.LimitReader(endless("1.2", 1<<40), 60<<20)}
	_, err := j.Receive(t.Context(), in)
	wantCode(t, err, pacs.Invalid)
	for _, name := range files(t, dir, "*.segment") {
		if info, err := os.Stat(name); err != nil || info.Size() > 4<<20 {
			t.Errorf("%d bytes are left, %v", info.Size(), err)
		}
	}
	receiveAll(t, j, "1.3")
	for i, r := range take(t, j, 2) {
		checkRecord(t, r, []string{"1.1", "1.3"}[i], 0)
	}
}
