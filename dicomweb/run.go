package dicomweb

import (
	"context"
	"errors"
	"io"
	"sync"
)

// The instances of a merged series lie behind one another in one pack. They are
// read in runs, because each read of an object store costs a round trip: maxRun
// bounds the bytes of one, so that no object stays open for long while a slow
// client takes them, and maxGap what is read between two pieces and thrown away
// (the header of a member is some hundred bytes).
const (
	maxRun = 16 << 20
	maxGap = 4 << 10
)

// run is a range of a pack from which several pieces are read, in order.
type run struct {
	packs      Packs
	pack       string
	begin, end int64
	pieces     int

	once sync.Once
	body io.ReadCloser
	err  error
	at   int64 // where body stands in the pack
}

// joinRuns finds the pieces that are read together; what stands between them in
// the answer alone doesn't matter.
func joinRuns(packs Packs, cuts []cut) (runs []*run) {
	var last *run
	var member []int // cuts of last
	end := func() {
		if last != nil && len(member) > 1 {
			for _, k := range member {
				cuts[k].run = last
			}
			last.pieces = len(member)
			runs = append(runs, last)
		}
		last, member = nil, nil
	}
	for k, c := range cuts {
		if c.open == nil {
			continue
		}
		begin := c.at + c.offset
		if last != nil && (c.pack != last.pack || begin < last.end || begin-last.end > maxGap || begin+c.length-last.begin > maxRun) {
			end()
		}
		if c.pack == "" {
			continue
		}
		if last == nil {
			last = &run{packs: packs, pack: c.pack, begin: begin, at: begin}
		}
		last.end = begin + c.length
		member = append(member, k)
	}
	end()
	return runs
}

// read opens the bytes of a cut.
func (c *cut) read(ctx context.Context) (io.ReadCloser, error) {
	if c.run == nil {
		return c.open(ctx, c.offset, c.length)
	}
	c.run.once.Do(func() {
		c.run.body, c.run.err = c.run.packs.OpenRange(ctx, c.run.pack, c.run.begin, c.run.end-c.run.begin)
	})
	if c.run.err != nil {
		return nil, c.run.err
	}
	return &runPart{run: c.run, begin: c.at + c.offset, left: c.length}, nil
}

// close is called when nobody reads any more.
func (r *run) close() {
	r.once.Do(func() { r.err = errors.New("it was not read") })
	if r.body != nil {
		r.body.Close()
	}
}

// runPart is one piece of a run. Parts are read one after the other.
type runPart struct {
	run   *run
	begin int64
	left  int64
}

// skip moves to the beginning of the part.
func (p *runPart) skip() error {
	if gap := p.begin - p.run.at; gap > 0 {
		n, err := io.CopyN(io.Discard, p.run.body, gap)
		p.run.at += n
		return short(err)
	}
	return nil
}

func (p *runPart) took(n int64) {
	p.run.at, p.begin, p.left = p.run.at+n, p.begin+n, p.left-n
}

func (p *runPart) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	if err := p.skip(); err != nil {
		return 0, err
	}
	n, err := p.run.body.Read(b[:min(int64(len(b)), p.left)])
	p.took(int64(n))
	if err == io.EOF && p.left == 0 {
		err = nil
	}
	return n, short(err)
}

// CopyN is directReader.
func (p *runPart) CopyN(w io.Writer, n int64) (int64, error) {
	if err := p.skip(); err != nil {
		return 0, err
	}
	n = min(n, p.left)
	var err error
	if direct, ok := p.run.body.(directReader); ok {
		n, err = direct.CopyN(w, n)
	} else {
		buf := copyBuffers.Get().(*[]byte)
		defer copyBuffers.Put(buf)
		n, err = io.CopyBuffer(onlyWriter{w}, io.LimitReader(p.run.body, n), *buf)
	}
	p.took(n)
	return n, err
}

// Close does nothing: the others of the run are still to be read.
func (p *runPart) Close() error { return nil }
