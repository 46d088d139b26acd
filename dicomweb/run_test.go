package dicomweb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
)

// onePack is an object with pieces in it; it counts how often it is read.
type onePack struct {
	Packs
	bytes  []byte
	mu     sync.Mutex
	reads  []string // in any order: some are opened ahead
	open   int
	broken bool
}

func (p *onePack) OpenRange(_ context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reads = append(p.reads, fmt.Sprintf("%s %d+%d", key, offset, length))
	if p.broken {
		return nil, errors.New("gone")
	}
	p.open++
	return &openedPack{bytes.NewReader(p.bytes[offset : offset+length]), func() { p.mu.Lock(); p.open--; p.mu.Unlock() }}, nil
}

func (p *onePack) piece(pack string, at, length int64) piece {
	return piece{size: length, pack: pack, at: at, open: func(ctx context.Context, from, n int64) (io.ReadCloser, error) {
		return p.OpenRange(ctx, pack, at+from, n)
	}}
}

func TestNeighboursAreReadAtOnce(t *testing.T) {
	p := &onePack{bytes: make([]byte, 3*maxRun)}
	for i := range p.bytes {
		p.bytes[i] = byte(i * 31 >> 3)
	}
	for _, test := range []struct {
		name           string
		pieces         []piece
		offset, length int64 // of the content; 0: all
		reads          []string
	}{
		{"small gaps", []piece{p.piece("a", 100, 50), p.piece("a", 200, 50), p.piece("a", 250, 10)}, 0, 0, []string{"a 100+160"}},
		{"one alone", []piece{p.piece("a", 100, 50)}, 0, 0, []string{"a 100+50"}},
		{"other order", []piece{p.piece("a", 200, 50), p.piece("a", 100, 50)}, 0, 0, []string{"a 200+50", "a 100+50"}},
		{"twice the same", []piece{p.piece("a", 100, 50), p.piece("a", 100, 50)}, 0, 0, []string{"a 100+50", "a 100+50"}},
		{"two packs", []piece{p.piece("a", 0, 50), p.piece("a", 60, 50), p.piece("b", 110, 50), p.piece("b", 160, 9)}, 0, 0, []string{"a 0+110", "b 110+59"}},
		{"a large gap", []piece{p.piece("a", 0, 50), p.piece("a", 51+maxGap, 50)}, 0, 0, []string{"a 0+50", fmt.Sprintf("a %d+50", 51+maxGap)}},
		{
			"not more than a run holds",
			[]piece{p.piece("a", 0, maxRun/2), p.piece("a", maxRun/2, maxRun/2), p.piece("a", maxRun, 10), p.piece("a", maxRun+10, 10)},
			0, 0,
			[]string{fmt.Sprintf("a 0+%d", maxRun), fmt.Sprintf("a %d+20", maxRun)},
		},
		{"a range from within the first to within the last", []piece{p.piece("a", 100, 50), p.piece("a", 200, 50), p.piece("a", 300, 50)}, 25, 100, []string{"a 120+190"}},
		{"what is not kept like that stands alone", []piece{p.piece("", 100, 50), p.piece("", 150, 50)}, 0, 0, []string{" 100+50", " 150+50"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p.reads = nil
			c, want := &content{}, []byte{}
			for k, piece := range test.pieces {
				text := fmt.Sprintf("--%d--", k)
				c.addText(text)
				c.add(piece)
				want = append(append(want, text...), p.bytes[piece.at:piece.at+piece.size]...)
			}
			if test.length != 0 {
				want = want[test.offset : test.offset+test.length]
			}
			var got bytes.Buffer
			r := c.reader(t.Context(), p, test.offset, int64(len(want)))
			err := r.writeTo(&got, make([]byte, 1000))
			r.close()
			if err != nil || !bytes.Equal(got.Bytes(), want) {
				t.Fatalf("%d bytes came, %d were to come: %v", got.Len(), len(want), err)
			}
			slices.Sort(p.reads)
			slices.Sort(test.reads)
			if !slices.Equal(p.reads, test.reads) {
				t.Errorf("read were %v, want %v", p.reads, test.reads)
			}
			if p.open != 0 {
				t.Errorf("%d objects are left open", p.open)
			}
		})
	}
}

// stalled is a client that hangs up.
type stalled struct{ left int }

func (s *stalled) Write(b []byte) (int, error) {
	if s.left -= len(b); s.left < 0 {
		return 0, errors.New("connection reset by peer")
	}
	return len(b), nil
}

func TestARunThatIsNotReadToItsEndIsClosed(t *testing.T) {
	p := &onePack{bytes: make([]byte, 1000)}
	c := &content{}
	for k := range int64(10) {
		c.add(p.piece("a", 100*k, 90))
	}
	r := c.reader(t.Context(), p, 0, c.size)
	if err := r.writeTo(&stalled{250}, make([]byte, 50)); err == nil {
		t.Error("a client that hung up was no error")
	}
	r.close()
	if p.open != 0 || len(p.reads) != 1 {
		t.Errorf("%d objects are left open of %v", p.open, p.reads)
	}
	p.broken, p.reads = true, nil
	r = c.reader(t.Context(), p, 0, c.size)
	if err := r.prime(); err == nil {
		t.Error("a pack that can't be opened was no error before the answer began")
	}
	r.close()
}
