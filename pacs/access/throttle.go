package access

import (
	"container/list"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// Throttle says how failed sign-ins slow down. Failures are counted for a
// login from one address, for an address over all logins, and for a login over
// all addresses. Past the free number, each further failure doubles the wait.
type Throttle struct {
	FreePair    int           // failures of one login from one address
	FreeAddress int           // failures from one address
	FreeLogin   int           // failures of one login from anywhere
	FirstWait   time.Duration // after the first failure past the free ones
	MaxWait     time.Duration // for the login from that address, and for the address
	// MaxLoginWait is what the count over all addresses can cost at most. It
	// does not count where the person has signed in from before: strangers
	// can't lock anybody out of their usual place.
	MaxLoginWait time.Duration
	Forget       time.Duration // a count is forgotten after so long without a failure
	Entries      int           // counts kept of each kind; the oldest go first
}

// DefaultThrottle lets people mistype a few times and a hospital behind one
// address sign in on Monday morning.
var DefaultThrottle = Throttle{
	FreePair: 5, FreeAddress: 50, FreeLogin: 50,
	FirstWait: 2 * time.Second, MaxWait: 15 * time.Minute, MaxLoginWait: 30 * time.Second,
	Forget: time.Hour, Entries: 20000,
}

// TooManyAttempts is the cause inside the error that a throttled sign-in gets.
type TooManyAttempts struct{ Wait time.Duration }

func (e *TooManyAttempts) Error() string { return fmt.Sprintf("wait %s", e.Wait) }

// RetryAfter is how long the caller should wait.
func (e *TooManyAttempts) RetryAfter() time.Duration { return e.Wait }

// throttle counts failures in memory, bounded, on this node. An attempt is
// counted before the password is checked and taken back when it was right, so
// that many attempts at once don't slip through together.
type throttle struct {
	settings Throttle
	now      func() time.Time

	mu                     sync.Mutex
	pairs, address, logins failures
	usual                  failures // pairs that signed in; only their presence counts
}

func newThrottle(settings Throttle) *throttle {
	return &throttle{
		settings: settings, now: time.Now,
		pairs: newFailures(), address: newFailures(), logins: newFailures(), usual: newFailures(),
	}
}

// begin counts an attempt, or returns an error with the time to wait. done
// must be called with the outcome: true takes the attempt back and forgives
// the earlier failures of this login from this address; undo is for attempts
// that could not be judged.
func (t *throttle) begin(login, remote string) (done func(ok bool), undo func(), err error) {
	address := network(remote)
	pair := login + "\x00" + address
	s := t.settings

	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	wait := max(t.pairs.wait(pair, now, s.Forget), t.address.wait(address, now, s.Forget))
	if _, usual := t.usual.entries[pair]; !usual {
		wait = max(wait, t.logins.wait(login, now, s.Forget))
	}
	if wait > 0 {
		// Whole seconds, upwards: a client that waits so long may try again.
		wait = wait.Truncate(time.Second) + time.Second
		return nil, nil, (&pacs.Error{
			Code:    pacs.Unauthenticated,
			Message: fmt.Sprintf("Too many failed attempts. Try again in %d seconds", int(wait.Seconds())),
			Err:     &TooManyAttempts{Wait: wait},
		}).WithReason("too_many_attempts", "")
	}
	t.pairs.add(pair, now, s.FreePair, s.FirstWait, s.MaxWait, s.Entries)
	t.address.add(address, now, s.FreeAddress, s.FirstWait, s.MaxWait, s.Entries)
	t.logins.add(login, now, s.FreeLogin, s.FirstWait, s.MaxLoginWait, s.Entries)

	takeBack := func(forgive bool) {
		t.mu.Lock()
		defer t.mu.Unlock()
		if forgive {
			t.pairs.drop(pair)
			t.usual.add(pair, now, 0, 0, 0, s.Entries)
		} else {
			t.pairs.remove(pair)
		}
		t.address.remove(address)
		t.logins.remove(login)
	}
	done = func(ok bool) {
		if ok {
			takeBack(true)
		}
	}
	return done, func() { takeBack(false) }, nil
}

// network is what counts as one address: an IPv4 address, or the /64 that one
// IPv6 subscriber has to choose from.
func network(remote string) string {
	address, err := netip.ParseAddr(remote)
	if err != nil {
		return remote
	}
	address = address.Unmap().WithZone("")
	if address.Is4() {
		return address.String()
	}
	prefix, err := address.Prefix(64)
	if err != nil {
		return remote
	}
	return prefix.String()
}

// failures is a bounded map from a key to a count of failures, the least
// recently failed first in line to go.
type failures struct {
	entries map[string]*list.Element
	order   *list.List // of *failure, oldest first
}

type failed struct {
	key   string
	count int
	last  time.Time
	until time.Time // no attempt before
}

func newFailures() failures {
	return failures{entries: map[string]*list.Element{}, order: list.New()}
}

func (f *failures) wait(key string, now time.Time, forget time.Duration) time.Duration {
	element, ok := f.entries[key]
	if !ok {
		return 0
	}
	entry := element.Value.(*failed)
	if now.Sub(entry.last) > forget {
		f.drop(key)
		return 0
	}
	return entry.until.Sub(now)
}

func (f *failures) add(key string, now time.Time, free int, first, most time.Duration, limit int) {
	element, ok := f.entries[key]
	if !ok {
		for len(f.entries) >= limit {
			f.drop(f.order.Front().Value.(*failed).key)
		}
		element = f.order.PushBack(&failed{key: key})
		f.entries[key] = element
	}
	f.order.MoveToBack(element)
	entry := element.Value.(*failed)
	entry.count++
	entry.last = now
	if over := entry.count - free; over > 0 {
		entry.until = now.Add(min(first<<min(over-1, 20), most))
	}
}

// remove takes one attempt back.
func (f *failures) remove(key string) {
	element, ok := f.entries[key]
	if !ok {
		return
	}
	entry := element.Value.(*failed)
	entry.until = time.Time{}
	if entry.count--; entry.count <= 0 {
		f.drop(key)
	}
}

func (f *failures) drop(key string) {
	if element, ok := f.entries[key]; ok {
		f.order.Remove(element)
		delete(f.entries, key)
	}
}
