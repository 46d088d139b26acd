package patrol

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/tasvir-pacs/tasvir/storage"
)

// paced is a store that is read no faster than some bytes a second, by all its
// readers together.
type paced struct {
	storage.Store
	rate int64

	mu   sync.Mutex
	next time.Time // when what was read so far may have been read
}

func withPace(s storage.Store, rate int64) storage.Store {
	if rate <= 0 {
		return s
	}
	return &paced{Store: s, rate: rate}
}

// burst is how much may be read ahead of the pace.
const burst = 250 * time.Millisecond

func (p *paced) pay(ctx context.Context, n int) error {
	p.mu.Lock()
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	p.next = p.next.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	wait := p.next.Sub(now) - burst
	p.mu.Unlock()
	if wait <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func (p *paced) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	body, err := p.Store.Get(ctx, key, offset, length)
	if err != nil {
		return nil, err
	}
	return &pacedBody{body, p, ctx}, nil
}

type pacedBody struct {
	io.ReadCloser
	store *paced
	ctx   context.Context
}

func (b *pacedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if pause := b.store.pay(b.ctx, n); pause != nil && err == nil {
		err = pause
	}
	return n, err
}
