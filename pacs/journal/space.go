package journal

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// spaceGauge knows the free space of a disk, asked at most twice a second.
type spaceGauge struct {
	dir string

	mu    sync.Mutex
	asked time.Time
	free  int64
}

func (g *spaceGauge) check(minFree int64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := time.Now(); now.Sub(g.asked) > 500*time.Millisecond {
		var st unix.Statfs_t
		if err := unix.Statfs(g.dir, &st); err != nil {
			return pacs.Wrap(pacs.OutOfResources, err, "The journal's disk does not answer")
		}
		g.free, g.asked = int64(st.Bavail)*st.Bsize, now
	}
	if g.free < minFree {
		return pacs.Errorf(pacs.OutOfResources, "The archive's disk is nearly full (%d MiB free); free space on it, then send again", g.free>>20)
	}
	return nil
}
