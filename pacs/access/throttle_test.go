package access

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
)

func testThrottle() (*throttle, *clock) {
	c := &clock{now: time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)}
	th := newThrottle(Throttle{
		FreePair: 3, FreeAddress: 6, FreeLogin: 30, FirstWait: 2 * time.Second,
		MaxWait: time.Minute, MaxLoginWait: 10 * time.Second, Forget: time.Hour, Entries: 100,
	})
	th.now = c.Now
	return th, c
}

// fail makes one attempt that fails; it returns how long the next one must
// wait, or the error of an attempt not even tried.
func fail(th *throttle, login, remote string) error {
	done, _, err := th.begin(login, remote)
	if err == nil {
		done(false)
	}
	return err
}

func waitOf(t *testing.T, err error) time.Duration {
	t.Helper()
	wantCode(t, err, pacs.Unauthenticated)
	wantReason(t, err, "too_many_attempts")
	var many *TooManyAttempts
	if !errors.As(err, &many) {
		t.Fatalf("no time to wait in %v", err)
	}
	return many.RetryAfter()
}

func TestThrottleDoubles(t *testing.T) {
	th, c := testThrottle()
	for range 4 { // three free ones, and one more
		if err := fail(th, "ali", "192.0.2.1"); err != nil {
			t.Fatal(err)
		}
	}
	for want := 2 * time.Second; want <= 32*time.Second; want *= 2 {
		wait := waitOf(t, fail(th, "ali", "192.0.2.1"))
		if wait < want || wait > want+time.Second {
			t.Fatalf("got %s, want %s", wait, want)
		}
		// Knocking meanwhile neither helps nor harms.
		c.now = c.now.Add(want - time.Millisecond)
		waitOf(t, fail(th, "ali", "192.0.2.1"))
		c.now = c.now.Add(time.Second)
		if err := fail(th, "ali", "192.0.2.1"); err != nil {
			t.Fatalf("after the wait: %v", err)
		}
	}
	if wait := waitOf(t, fail(th, "ali", "192.0.2.1")); wait > 61*time.Second {
		t.Errorf("the wait has no upper end: %s", wait)
	}
	// From elsewhere the same person gets in.
	done, _, err := th.begin("ali", "192.0.2.77")
	if err != nil {
		t.Fatalf("a person is locked out by somebody else's attempts: %v", err)
	}
	done(true)
	// An hour without failures, and all is forgotten.
	c.now = c.now.Add(time.Hour + time.Minute)
	if err := fail(th, "ali", "192.0.2.1"); err != nil {
		t.Error(err)
	}
}

func TestThrottleByAddress(t *testing.T) {
	th, _ := testThrottle()
	for i := range 7 {
		if err := fail(th, fmt.Sprint("login", i), "2001:db8:1:2::"+fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	waitOf(t, fail(th, "another", "2001:db8:1:2:ffff::1")) // the same /64
	if err := fail(th, "another", "2001:db8:1:3::1"); err != nil {
		t.Error(err)
	}
}

func TestThrottleByLogin(t *testing.T) {
	th, c := testThrottle()
	for i := range 60 { // from a botnet
		c.now = c.now.Add(11 * time.Second)
		if err := fail(th, "ali", fmt.Sprintf("198.51.100.%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if wait := waitOf(t, fail(th, "ali", "203.0.113.9")); wait > 11*time.Second {
		t.Errorf("strangers can lock a person out for %s", wait)
	}
	// Where the person has signed in before, strangers don't matter.
	c.now = c.now.Add(11 * time.Second)
	done, _, err := th.begin("ali", "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	done(true)
	if err := fail(th, "ali", "203.0.113.10"); err != nil {
		t.Fatal(err)
	}
	waitOf(t, fail(th, "ali", "203.0.113.11"))
	if err := fail(th, "ali", "192.0.2.1"); err != nil {
		t.Errorf("locked out of the usual place: %v", err)
	}
}

func TestThrottleForgivesSuccess(t *testing.T) {
	th, _ := testThrottle()
	for range 50 {
		for range 3 {
			if err := fail(th, "ali", "192.0.2.1"); err != nil {
				t.Fatal(err)
			}
		}
		done, _, err := th.begin("ali", "192.0.2.1")
		if err != nil {
			t.Fatal(err)
		}
		done(true)
		th.address, th.logins = newFailures(), newFailures() // only the pair is looked at
	}
	// Success of one login doesn't hide failures of others from the address.
	th, _ = testThrottle()
	for i := range 7 {
		if err := fail(th, fmt.Sprint("victim", i), "192.0.2.1"); err != nil {
			t.Fatal(err)
		}
		if i < 6 {
			if done, _, err := th.begin("mallory", "192.0.2.1"); err == nil {
				done(true)
			}
		}
	}
	waitOf(t, fail(th, "victim8", "192.0.2.1"))
}

// Attempts that begin together count before any is judged.
func TestThrottleCountsAttemptsUnderWay(t *testing.T) {
	th, _ := testThrottle()
	begun := 0
	for range 20 {
		if _, _, err := th.begin("ali", "192.0.2.1"); err == nil {
			begun++
		}
	}
	if begun != 4 {
		t.Errorf("%d attempts at once slipped through, want 4", begun)
	}
}

func TestThrottleUndo(t *testing.T) {
	th, _ := testThrottle()
	for range 20 { // the database was down: nothing was judged
		_, undo, err := th.begin("ali", "192.0.2.1")
		if err != nil {
			t.Fatal(err)
		}
		undo()
	}
}

func TestThrottleMemory(t *testing.T) {
	th, _ := testThrottle()
	for i := range 1000 {
		_ = fail(th, fmt.Sprint("login", i), fmt.Sprintf("10.%d.%d.1", i/250, i%250))
	}
	for name, f := range map[string]failures{"pairs": th.pairs, "addresses": th.address, "logins": th.logins} {
		if len(f.entries) != 100 || f.order.Len() != 100 {
			t.Errorf("%s: %d and %d entries, want 100", name, len(f.entries), f.order.Len())
		}
	}
}
