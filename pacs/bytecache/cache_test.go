package bytecache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func bytesOf(n int) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) { return make([]byte, n), nil }
}

func TestTheLastOnesAreKeptWithinTheBound(t *testing.T) {
	c := New(10_000)
	for i := range 20 {
		if _, err := c.Get(t.Context(), fmt.Sprint(i), bytesOf(1000-overhead)); err != nil {
			t.Fatal(err)
		}
	}
	s := c.Stats()
	if s.Bytes != 10_000 || s.Entries != 10 || s.Evictions != 10 || s.Misses != 20 {
		t.Errorf("%+v", s)
	}
	_, _ = c.Get(t.Context(), "10", nil) // kept, and now the last one asked for
	_, _ = c.Get(t.Context(), "20", bytesOf(1000-overhead))
	if _, err := c.Get(t.Context(), "10", nil); err != nil {
		t.Error(err)
	}
	fetched := false
	_, _ = c.Get(t.Context(), "11", func(context.Context) ([]byte, error) { fetched = true; return nil, nil })
	if !fetched {
		t.Error("the oldest was kept")
	}
	// What is large for the cache goes through it.
	if b, err := c.Get(t.Context(), "large", bytesOf(9000)); len(b) != 9000 || err != nil {
		t.Error(len(b), err)
	}
	if s := c.Stats(); s.Bytes > 10_000 || s.Entries < 9 {
		t.Errorf("%+v", s)
	}
}

func TestOneFetchServesAllWhoAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(10_000)
		var fetches atomic.Int32
		release := make(chan struct{})
		var asking sync.WaitGroup
		for range 20 {
			asking.Go(func() {
				b, err := c.Get(t.Context(), "k", func(context.Context) ([]byte, error) {
					fetches.Add(1)
					<-release
					return []byte("value"), nil
				})
				if string(b) != "value" || err != nil {
					t.Errorf("%q %v", b, err)
				}
			})
		}
		synctest.Wait()
		close(release)
		asking.Wait()
		if n := fetches.Load(); n != 1 {
			t.Errorf("%d fetches", n)
		}
		if s := c.Stats(); s.Hits != 19 || s.Misses != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// Who goes away takes nobody else's answer along, and an error isn't kept.
func TestAFetchThatIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(10_000)
		first, leave := context.WithCancel(t.Context())
		var asking sync.WaitGroup
		asking.Go(func() {
			_, err := c.Get(first, "k", func(ctx context.Context) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() })
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		synctest.Wait()
		asking.Go(func() {
			b, err := c.Get(t.Context(), "k", func(context.Context) ([]byte, error) { return []byte("x"), nil })
			if string(b) != "x" || err != nil {
				t.Errorf("%q %v", b, err)
			}
		})
		synctest.Wait()
		leave()
		asking.Wait()

		broken := errors.New("broken")
		if _, err := c.Get(t.Context(), "e", func(context.Context) ([]byte, error) { return nil, broken }); !errors.Is(err, broken) {
			t.Error(err)
		}
		if b, err := c.Get(t.Context(), "e", func(context.Context) ([]byte, error) { return []byte("now"), nil }); string(b) != "now" || err != nil {
			t.Errorf("%q %v", b, err)
		}
	})
}

func TestWithoutACache(t *testing.T) {
	c := New(0)
	if b, err := c.Get(t.Context(), "k", bytesOf(3)); len(b) != 3 || err != nil {
		t.Error(b, err)
	}
	if c.Stats() != (Stats{}) {
		t.Error(c.Stats())
	}
}
