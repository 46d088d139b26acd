package queryretrieve

import (
	"context"
	"slices"
	"sync"
)

// Places counts the associations that are open to destinations, so that those who
// send to one at the same time (several C-MOVEs, forwarding) stay together within
// what it takes. The zero value has counted none. Safe for concurrent use.
type Places struct {
	mu      sync.Mutex
	taken   map[string]int
	waiting map[string][]*applicant // in the order they came
}

// applicant waits for a place.
type applicant struct {
	limit   int
	granted chan struct{}
}

// enter takes a place at a destination that takes limit associations, 0 for any
// number. Who waits is served in the order of coming, until ctx is done; who does
// not is told at once. leave, which is not nil when ok, gives the place back.
func (p *Places) enter(ctx context.Context, aeTitle string, limit int, wait bool) (leave func(), ok bool) {
	if p == nil || limit <= 0 {
		return func() {}, true
	}
	leave = sync.OnceFunc(func() { p.leave(aeTitle) })
	p.mu.Lock()
	if p.taken == nil {
		p.taken, p.waiting = map[string]int{}, map[string][]*applicant{}
	}
	if p.taken[aeTitle] < limit && len(p.waiting[aeTitle]) == 0 {
		p.taken[aeTitle]++
		p.mu.Unlock()
		return leave, true
	}
	if !wait {
		p.mu.Unlock()
		return nil, false
	}
	a := &applicant{limit: limit, granted: make(chan struct{})}
	p.waiting[aeTitle] = append(p.waiting[aeTitle], a)
	p.mu.Unlock()
	select {
	case <-a.granted:
		return leave, true
	case <-ctx.Done():
	}
	p.mu.Lock()
	at := slices.Index(p.waiting[aeTitle], a)
	if at >= 0 {
		p.waiting[aeTitle] = slices.Delete(p.waiting[aeTitle], at, at+1)
		p.grant(aeTitle) // to whom this one stood in the way of
	}
	p.mu.Unlock()
	if at < 0 {
		leave() // it was granted meanwhile
	}
	return nil, false
}

func (p *Places) leave(aeTitle string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken[aeTitle]--
	p.grant(aeTitle)
}

// grant gives free places to who waits first.
func (p *Places) grant(aeTitle string) {
	queue := p.waiting[aeTitle]
	for len(queue) > 0 && p.taken[aeTitle] < queue[0].limit {
		p.taken[aeTitle]++
		close(queue[0].granted)
		queue = queue[1:]
	}
	if p.waiting[aeTitle] = queue; len(queue) == 0 {
		delete(p.waiting, aeTitle)
	}
	if p.taken[aeTitle] == 0 {
		delete(p.taken, aeTitle)
	}
}
