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

// statusLine shows how far something is: a line that changes in place on a
// terminal, a new line every few seconds elsewhere.
type statusLine struct {
	w        io.Writer
	terminal bool
	last     time.Time
}

const (
	barEvery  = 100 * time.Millisecond
	lineEvery = 5 * time.Second
)

func newStatusLine(f *os.File) statusLine {
	return statusLine{w: f, terminal: term.IsTerminal(int(f.Fd())), last: time.Now()}
}

// due says whether it is time to show something, at most once per interval.
func (l *statusLine) due() bool {
	every := lineEvery
	if l.terminal {
		every = barEvery
	}
	if time.Since(l.last) < every {
		return false
	}
	l.last = time.Now()
	return true
}

func (l *statusLine) show(format string, args ...any) {
	if l.terminal {
		fmt.Fprintf(l.w, "\r"+format+"\x1b[K", args...)
	} else {
		fmt.Fprintf(l.w, format+"\n", args...)
	}
}

// importProgress shows how far an import is.
type importProgress struct {
	mu    sync.Mutex
	line  statusLine
	total int
	done  int
	bytes int64
	left  int // received and not published
	began time.Time
}

func newImportProgress(out *os.File, total int) *importProgress {
	return &importProgress{line: newStatusLine(out), total: total, began: time.Now()}
}

func (p *importProgress) received(bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
	p.bytes += bytes
	if p.line.due() {
		p.show()
	}
}

func (p *importProgress) publishing(left int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = left
	if p.line.due() {
		p.show()
	}
}

func (p *importProgress) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.show()
	if p.line.terminal {
		fmt.Fprintln(p.line.w)
	}
}

func (p *importProgress) show() {
	bar := ""
	if p.line.terminal {
		const width = 30
		full := width
		if p.total > 0 {
			full = width * p.done / p.total
		}
		bar = "[" + strings.Repeat("#", full) + strings.Repeat("-", width-full) + "] "
	}
	p.line.show("%s%d/%d files, %d MB, %d to publish, %.0f s", bar, p.done, p.total, p.bytes>>20, p.left, time.Since(p.began).Seconds())
}
