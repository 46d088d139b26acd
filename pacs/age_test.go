package pacs_test

import (
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
)

func TestAgeAt(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		born, day string
		age       int
		known     bool
	}{
		{"19580512", "20261121", 68, true},
		{"19581121", "20261121", 68, true},
		{"19581122", "20261121", 67, true},
		{"20261121", "20261121", 0, true},
		{"20251122", "20261121", 0, true},
		{"20240229", "20250228", 0, true},
		{"20240229", "20250301", 1, true},
		{"19580512", "", 68, true},         // today
		{"19580512", "garbage", 68, true},  // today
		{"19580512", "20261399", 68, true}, // today
		{"20261122", "20261121", 0, false}, // not born yet
		{"", "20261121", 0, false},
		{"1958", "20261121", 0, false},
		{"00000000", "20261121", 0, false},
		{"19581350", "20261121", 0, false},
		{"-9999999", "20261121", 0, false},
		{"1958051２", "20261121", 0, false},
	} {
		if age, known := pacs.AgeAt(c.born, c.day, now); age != c.age || known != c.known {
			t.Errorf("born %q, study %q: %d %v, want %d %v", c.born, c.day, age, known, c.age, c.known)
		}
	}
}
