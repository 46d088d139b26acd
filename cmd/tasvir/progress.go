package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// importProgress shows how far an import is: a bar on a terminal, a line every
// few seconds elsewhere.
type importProgress struct {
	out   io.Writer
	tty   bool
	total int

	mu    sync.Mutex
	done  int
	bytes int64
	left  int // received and not published
	shown time.Time
	began time.Time
}

func newImportProgress(out *os.File, total int) *importProgress {
	return &importProgress{out: out, tty: term.IsTerminal(int(out.Fd())), total: total, began: time.Now()}
}

func (p *importProgress) received(bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
	p.bytes += bytes
	p.show(false)
}

func (p *importProgress) publishing(left int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = left
	p.show(false)
}

func (p *importProgress) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.show(true)
	if p.tty {
		fmt.Fprintln(p.out)
	}
}

func (p *importProgress) show(last bool) {
	pause := 5 * time.Second
	if p.tty {
		pause = 100 * time.Millisecond
	}
	if !last && time.Since(p.shown) < pause {
		return
	}
	p.shown = time.Now()
	line := fmt.Sprintf("%d/%d files, %d MB, %d to publish, %.0f s", p.done, p.total, p.bytes>>20, p.left, time.Since(p.began).Seconds())
	if !p.tty {
		fmt.Fprintln(p.out, line)
		return
	}
	const width = 30
	full := width
	if p.total > 0 {
		full = width * p.done / p.total
	}
	fmt.Fprintf(p.out, "\r[%s%s] %s   ", strings.Repeat("#", full), strings.Repeat("-", width-full), line)
}
