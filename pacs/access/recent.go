package access

import (
	"sync"
	"time"
)

// recentFor is how long an identity is remembered. A study of a thousand
// slices is a thousand requests with the same cookie; asking the database for
// each would double its work. Changes made on this node are seen at once,
// changes made on another node after this time.
const recentFor = 3 * time.Second

// recentLimit bounds the memory.
const recentLimit = 20000

// recentIdentities remembers who was behind a session, or a token, a moment ago.
type recentIdentities struct {
	now func() time.Time

	mu      sync.Mutex
	epoch   uint64 // counts forgetAll
	entries map[[32]byte]recentIdentity
}

type recentIdentity struct {
	identity *Identity
	until    time.Time
}

func newRecentIdentities() *recentIdentities {
	return &recentIdentities{now: time.Now, entries: map[[32]byte]recentIdentity{}}
}

// get returns what is remembered, or what load finds. Errors are not
// remembered.
func (r *recentIdentities) get(key [32]byte, load func() (*Identity, error)) (*Identity, error) {
	r.mu.Lock()
	entry, ok := r.entries[key]
	epoch := r.epoch
	now := r.now()
	r.mu.Unlock()
	if ok && now.Before(entry.until) {
		return entry.identity, nil
	}
	identity, err := load()
	if err != nil {
		return nil, err
	}
	until := now.Add(recentFor)
	if s := identity.Session; s != nil && s.ExpiresAt.Before(until) {
		until = s.ExpiresAt
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.epoch == epoch { // else what was loaded may be what was just changed
		if len(r.entries) >= recentLimit {
			clear(r.entries)
		}
		r.entries[key] = recentIdentity{identity, until}
	}
	return identity, nil
}

func (r *recentIdentities) forgetAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.epoch++
	clear(r.entries)
}
