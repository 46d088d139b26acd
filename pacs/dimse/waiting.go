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
type waiting struct {
	mu     sync.Mutex
	byHost map[string]int
}

// enter counts a connection, unless its host has too many. leave, which may be
// called more than once, uncounts it.
func (w *waiting) enter(addr net.Addr) (leave func(), ok bool) {
	host, _, err := net.SplitHostPort(addr.String())
	if err != nil {
		host = addr.String()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byHost[host] >= maxWaiting {
		return nil, false
	}
	if w.byHost == nil {
		w.byHost = make(map[string]int)
	}
	w.byHost[host]++
	return sync.OnceFunc(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.byHost[host]--; w.byHost[host] == 0 {
			delete(w.byHost, host)
		}
	}), true
}
