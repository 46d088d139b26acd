package journal

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"testing"
)

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
