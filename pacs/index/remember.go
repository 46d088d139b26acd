package index

import (
	"context"
	"sync"
	"time"
)

// Remembered keeps answers that take long to find out. While one is being
// found out, others who ask the same wait for it. The zero value is ready.
type Remembered[T any] struct {
	mu      sync.Mutex
	answers map[string]*answer[T]
}

type answer[T any] struct {
	busy  chan struct{} // holds one while somebody asks the database
	value T
	until time.Time
}

// KeepFor is how long an answer that took so long is worth keeping: asking
// takes a hundredth of the time at most, and what is quick is never old.
func KeepFor(took time.Duration) time.Duration {
	if took < 20*time.Millisecond {
		return 0
	}
	return min(100*took, 10*time.Minute)
}

// most is how many different questions are remembered.
const mostRemembered = 1000

// get returns the answer to a question; find finds it out and says how long it
// may be kept.
func (r *Remembered[T]) get(ctx context.Context, question string, find func(context.Context) (T, time.Duration, error)) (T, error) {
	r.mu.Lock()
	if r.answers == nil || len(r.answers) > mostRemembered {
		r.answers = map[string]*answer[T]{}
	}
	a := r.answers[question]
	if a == nil {
		a = &answer[T]{busy: make(chan struct{}, 1)}
		r.answers[question] = a
	}
	r.mu.Unlock()
	select {
	case a.busy <- struct{}{}:
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
	defer func() { <-a.busy }()
	if time.Now().Before(a.until) {
		return a.value, nil
	}
	value, keep, err := find(ctx)
	if err == nil {
		a.value, a.until = value, time.Now().Add(keep)
	}
	return value, err
}

// Get returns the answer to a question, from find or from memory (KeepFor).
func (r *Remembered[T]) Get(ctx context.Context, question string, find func(context.Context) (T, error)) (T, error) {
	return r.get(ctx, question, func(ctx context.Context) (T, time.Duration, error) {
		began := time.Now()
		value, err := find(ctx)
		return value, KeepFor(time.Since(began)), err
	})
}
