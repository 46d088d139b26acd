package journal

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"sync"
	"syscall"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// smallDisk is a folder on a disk of its own, of size bytes.
func smallDisk(t *testing.T, size int) string {
	dir := t.TempDir()
	err := syscall.Mount("tasvir-test", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size))
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		t.Skip("mounting a small disk needs root")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestFullDisk(t *testing.T) {
	const instance = 50_000
	dir := smallDisk(t, 2<<20)
	j := open(t, Options{Dir: dir, SegmentSize: 256 << 10})

	// Several senders fill the disk.
	var mu sync.Mutex
	acknowledged := map[string]bool{}
	var running sync.WaitGroup
	for n := range 4 {
		running.Go(func() {
			for i := 0; ; i++ {
				sop := fmt.Sprintf("1.2.%d.%d", n+1, i+1)
				if _, err := j.Receive(t.Context(), incoming(sop, instance)); err != nil {
					wantCode(t, err, pacs.OutOfResources)
					return
				}
				mu.Lock()
				acknowledged[sop] = true
				mu.Unlock()
			}
		})
	}
	running.Wait()
	if len(acknowledged) < 30 {
		t.Fatalf("the disk took only %d instances", len(acknowledged))
	}
	// Nothing that was acknowledged is harmed, also for one who opens what is
	// there now.
	copied := take(t, open(t, Options{Dir: copyDir(t, dir)}), len(acknowledged))
	records := take(t, j, len(acknowledged))
	for _, r := range append(copied, records...) {
		checkRecord(t, r, r.SOPInstanceUID, instance)
		if !acknowledged[r.SOPInstanceUID] {
			t.Errorf("%s was not acknowledged but is there", r.SOPInstanceUID)
		}
	}
	// When some are published, others fit again.
	j.Drop(records[:20]...)
	if _, err := j.Receive(t.Context(), incoming("1.9", instance)); err != nil {
		t.Fatalf("no room after publishing: %v", err)
	}
	checkRecord(t, take(t, j, 1)[0], "1.9", instance)
}

// TestFailingDisk: a segment that can't be written any more is given up, and
// what is in it is published.
func TestFailingDisk(t *testing.T) {
	j := open(t, Options{Dir: t.TempDir()})
	receiveAll(t, j, "1.1")
	s := j.idle[0]
	readOnly, err := os.Open(s.path)
	if err != nil {
		t.Fatal(err)
	}
	_ = s.file.Close()
	s.file = readOnly
	_, err = j.Receive(t.Context(), incoming("1.2", 0))
	wantCode(t, err, pacs.OutOfResources)
	if !s.closed || len(j.idle) != 0 {
		t.Error("the segment is used on")
	}
	receiveAll(t, j, "1.3")
	records := take(t, j, 2)
	checkRecord(t, records[0], "1.1", 0)
	checkRecord(t, records[1], "1.3", 0)
	j.Drop(records...)
	if _, err := os.Stat(s.path); !os.IsNotExist(err) {
		t.Errorf("the segment stays: %v", err)
	}
}

// TestEndlessInstance: one sender must not fill the disk to the brim.
func TestEndlessInstance(t *testing.T) {
	const minFree = 24 << 20
	dir := smallDisk(t, 64<<20)
	j := open(t, Options{Dir: dir, MinFree: minFree})
	receiveAll(t, j, "1.1")
	lowest := uint64(math.MaxUint64)
	in := incoming("1.5", 0)
	in.Data = watched{endless("1.5", 1<<31), func() {
		var st syscall.Statfs_t
		if err := syscall.Statfs(dir, &st); err != nil {
			t.Error(err)
		}
		lowest = min(lowest, st.Bavail*uint64(st.Bsize))
	}}
	_, err := j.Receive(t.Context(), in)
	wantCode(t, err, pacs.OutOfResources)
	if lowest < minFree-growth-4*roomEvery || lowest > minFree+8<<20 {
		t.Errorf("%d MiB were left, want about %d", lowest>>20, minFree>>20)
	}
	receiveAll(t, j, "1.2")
	for i, r := range take(t, j, 2) {
		checkRecord(t, r, []string{"1.1", "1.2"}[i], 0)
	}
}

// watched calls before each read.
type watched struct {
	io.Reader
	before func()
}

func (w watched) Read(p []byte) (int, error) {
	w.before()
	return w.Reader.Read(p)
}
