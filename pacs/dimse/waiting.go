package dimse

import (
	"net"
	"sync"
)

// maxWaiting is how many connections of one host may be without an association
// at a time. Associating takes milliseconds, so that a hospital behind one
// address stays far below; a host that opens connections and says nothing must
// not keep the others out.
const maxWaiting = 64

// waiting counts connections that have not associated yet, by host.
type waiting struct{ hosts census }

// enter counts a connection, unless its host has too many. leave, which may be
// called more than once, uncounts it.
func (w *waiting) enter(addr net.Addr) (leave func(), ok bool) {
	host, _, err := net.SplitHostPort(addr.String())
	if err != nil {
		host = addr.String()
	}
	return w.hosts.enter(host, maxWaiting)
}

// census counts by name.
type census struct {
	mu     sync.Mutex
	byName map[string]int
}

// enter counts one more of the name, unless there are limit of them already; 0
// is no limit. leave, which may be called more than once, uncounts it.
func (c *census) enter(name string, limit int) (leave func(), ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if limit > 0 && c.byName[name] >= limit {
		return nil, false
	}
	if c.byName == nil {
		c.byName = make(map[string]int)
	}
	c.byName[name]++
	return sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.byName[name]--; c.byName[name] == 0 {
			delete(c.byName, name)
		}
	}), true
}
