// Package bytecache keeps byte strings that take long to come by, the ones
// asked for last, within a bound in bytes. Who asks for what somebody is
// fetching already waits for that instead of fetching it once more.
package bytecache

import (
	"container/list"
	"context"
	"errors"
	"sync"
)

// Cache is safe for concurrent use. A nil Cache keeps nothing.
type Cache struct {
	limit int64

	mu      sync.Mutex
	used    int64
	recent  *list.List // of *entry, the one asked for last in front
	entries map[string]*list.Element
	fetches map[string]*fetch
	stats   Stats
}

// Stats counts what a cache did since it was made, and what it holds.
type Stats struct {
	// Hits were answered from memory or by somebody else's fetch, Misses by a
	// fetch.
	Hits, Misses, Evictions int64
	Entries                 int
	Bytes                   int64
}

type entry struct {
	key   string
	value []byte
}

type fetch struct {
	done  chan struct{}
	value []byte
	err   error
}

// overhead is what an entry costs beside its bytes, about.
const overhead = 256

// New makes a cache that holds at most limit bytes; nil when limit is not above
// 0.
func New(limit int64) *Cache {
	if limit <= 0 {
		return nil
	}
	return &Cache{limit: limit, recent: list.New(), entries: map[string]*list.Element{}, fetches: map[string]*fetch{}}
}

// Get returns what is kept under key, or what get fetches, which is kept then
// unless it is larger than an eighth of the cache. Nobody may change the bytes.
// An error is returned to all who wait for the fetch, and not kept; when it is
// only that who began it has gone, another of them fetches.
func (c *Cache) Get(ctx context.Context, key string, get func(context.Context) ([]byte, error)) ([]byte, error) {
	if c == nil {
		return get(ctx)
	}
	for {
		c.mu.Lock()
		if at := c.entries[key]; at != nil {
			c.recent.MoveToFront(at)
			c.stats.Hits++
			value := at.Value.(*entry).value
			c.mu.Unlock()
			return value, nil
		}
		f := c.fetches[key]
		if f == nil {
			f = &fetch{done: make(chan struct{})}
			c.fetches[key] = f
			c.stats.Misses++
			c.mu.Unlock()
			c.run(ctx, key, f, get)
			return f.value, f.err
		}
		c.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-f.done:
		}
		if errors.Is(f.err, context.Canceled) || errors.Is(f.err, context.DeadlineExceeded) || errors.Is(f.err, errGone) {
			continue
		}
		c.mu.Lock()
		c.stats.Hits++
		c.mu.Unlock()
		return f.value, f.err
	}
}

// errGone is the outcome of a fetch that panicked.
var errGone = errors.New("bytecache: the fetch did not end")

func (c *Cache) run(ctx context.Context, key string, f *fetch, get func(context.Context) ([]byte, error)) {
	f.err = errGone
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.fetches, key)
		if f.err == nil {
			c.put(key, f.value)
		}
		close(f.done)
	}()
	f.value, f.err = get(ctx)
}

func (c *Cache) put(key string, value []byte) {
	size := int64(cap(value)) + overhead
	if size > c.limit/8 {
		return
	}
	c.entries[key] = c.recent.PushFront(&entry{key, value})
	c.used += size
	for c.used > c.limit {
		oldest := c.recent.Remove(c.recent.Back()).(*entry)
		delete(c.entries, oldest.key)
		c.used -= int64(cap(oldest.value)) + overhead
		c.stats.Evictions++
	}
}

// Stats returns what the cache has done and holds.
func (c *Cache) Stats() Stats {
	if c == nil {
		return Stats{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Entries, s.Bytes = len(c.entries), c.used
	return s
}
