package access

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
)

func TestPasswordHash(t *testing.T) {
	h := newHasher(cheap.Password)
	phc, err := h.hash(t.Context(), "Parol-ё")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(phc, "$argon2id$v=19$m=64,t=1,p=1$") {
		t.Errorf("not a PHC string: %s", phc)
	}
	if again, _ := h.hash(t.Context(), "Parol-ё"); again == phc {
		t.Error("two hashes of one password are equal: no salt")
	}
	for password, want := range map[string]bool{
		"Parol-ё":         true,
		"Parol-е\u0308":   true, // the same letter, typed as two code points
		"parol-ё":         false,
		"":                false,
		"Parol-ё ":        false,
		"Parol-ё\x00tail": false,
	} {
		if ok, _, err := h.verify(t.Context(), password, phc); err != nil || ok != want {
			t.Errorf("%q: got %v %v, want %v", password, ok, err, want)
		}
	}
	if _, outdated, _ := newHasher(DefaultArgon2).verify(t.Context(), "x", phc); !outdated {
		t.Error("a hash of another cost is not called outdated")
	}
}

// A reference value, so that a change of library or encoding can't lock
// everybody out: argon2id of "password" with salt "somesaltsomesalt".
func TestPasswordHashIsStable(t *testing.T) {
	// echo -n password | argon2 somesaltsomesalt -id -t 2 -k 64 -p 1 -l 32 -e
	h := newHasher(Argon2{MemoryKiB: 64, Passes: 2, Lanes: 1})
	phc := "$argon2id$v=19$m=64,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$Gpj7qOY5RCXJvcMzqcdQqvgR3wcPX7SleI4c9NtXk6E"
	if ok, outdated, err := h.verify(t.Context(), "password", phc); !ok || outdated || err != nil {
		t.Errorf("got %v, %v, %v", ok, outdated, err)
	}
}

func TestDamagedHashes(t *testing.T) {
	h := newHasher(cheap.Password)
	for _, phc := range []string{
		"", "$", "plain", "$argon2i$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
		"$argon2id$v=18$m=64,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
		"$argon2id$v=19$m=4294967295,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA", // 4 TiB
		"$argon2id$v=19$m=64,t=4000000000,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
		"$argon2id$v=19$m=64,t=0,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
		"$argon2id$v=19$m=64,t=1,p=0$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
		"$argon2id$v=19$m=64,t=1,p=1$!$aGFzaGhhc2hoYXNoaGFzaA",
		"$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$", // an empty hash equals nothing
	} {
		ok, _, err := h.verify(t.Context(), "", phc)
		if ok {
			t.Errorf("%q accepts a password", phc)
		}
		wantCode(t, err, pacs.Internal)
	}
}

func TestPasswordRules(t *testing.T) {
	for password, good := range map[string]bool{
		"1234567":                 false,
		"12345678":                true,
		"парол-ёў":                true,
		"aaaaaaaaaa":              false,
		"KARIMOV-ALI":             false, // the login
		"":                        false,
		"\xff\xfe12345678":        false,
		strings.Repeat("ab", 128): true,
		strings.Repeat("ab", 129): false,
	} {
		err := checkPassword("karimov-ali", password)
		if (err == nil) != good {
			t.Errorf("%q: %v", password, err)
		}
		if err != nil {
			wantReason(t, err, "weak_password")
		}
	}
}

// A hundred people who sign in at once wait for one another instead of taking
// a hundred times the memory.
func TestHashingIsBounded(t *testing.T) {
	h := newHasher(Argon2{MemoryKiB: 1024, Passes: 1, Lanes: 1})
	slots := min(max(runtime.GOMAXPROCS(0), 2), 8)
	for range slots {
		if !h.slots.TryAcquire(1) {
			t.Fatal("fewer slots than meant")
		}
	}
	if h.slots.TryAcquire(1) {
		t.Fatal("more slots than meant")
	}
	// With all slots taken, hashing waits, and gives up with its caller.
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err := h.hash(ctx, "x")
	wantCode(t, err, pacs.Unavailable)
	h.slots.Release(int64(slots))

	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if _, err := h.hash(t.Context(), "x"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestGeneratedPasswords(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		password := GeneratePassword()
		if len(password) != 20 || seen[password] || strings.ContainsAny(password, "01loiIO") || checkPassword("admin", password) != nil {
			t.Errorf("%q", password)
		}
		seen[password] = true
	}
}
