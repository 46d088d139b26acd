package journal

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// spaceGauge knows the free space of a disk: asked at most twice a second, and
// reckoned from what was written in between.
type spaceGauge struct {
	dir string

	mu    sync.Mutex
	asked time.Time
	free  int64
	total int64
}

// check is OutOfResources when less than minFree is left. written is what the
// caller has written since it checked before.
func (g *spaceGauge) check(minFree, written int64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.free -= written
	if now := time.Now(); now.Sub(g.asked) > 500*time.Millisecond {
		var st unix.Statfs_t
		if err := unix.Statfs(g.dir, &st); err != nil {
			return pacs.Wrap(pacs.OutOfResources, err, "The journal's disk does not answer")
		}
		g.free, g.total, g.asked = int64(st.Bavail)*st.Bsize, int64(st.Blocks)*st.Bsize, now
	}
	if g.free < minFree {
		return pacs.Errorf(pacs.OutOfResources, "The archive's disk is nearly full (%d MiB free); free space on it, then send again", g.free>>20)
	}
	return nil
}

// fill is how much of the disk is taken, of what may be: 1 when only minFree is
// left.
func (g *spaceGauge) fill(minFree int64) float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.total <= minFree {
		return 0 // not asked yet, or a disk on which nothing may be written
	}
	return max(0, 1-float64(g.free-minFree)/float64(g.total-minFree))
}

// forget makes the next check ask the disk: space has come back.
func (g *spaceGauge) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = time.Time{}
}
