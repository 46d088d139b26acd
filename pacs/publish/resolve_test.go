package publish

import (
	"cmp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// plannedContent is an instance in a pack, for TestPlan.
type plannedContent struct {
	sop, hash string
	version   int32
	minute    int
	kept      string // hash, "" when it is kept as received
}

// as is the same instance, kept compressed.
func (c plannedContent) as(kept string) plannedContent {
	c.kept = kept
	return c
}

// TestPlan: whose instance is taken, and under which version, is the same in
// whatever order the packs come, and sensible.
func TestPlan(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 3, 2, 10, minute, 0, 0, time.UTC) }
	pack := func(key string, rank int, contents ...plannedContent) *stagedPack {
		p := &stagedPack{Key: key, Rank: rank, Received: at(contents[0].minute), Facility: "TMA"}
		for _, c := range contents {
			p.SOPs, p.Hashes = append(p.SOPs, c.sop), append(p.Hashes, []byte(c.hash))
			p.Versions, p.Arrivals = append(p.Versions, c.version), append(p.Arrivals, at(c.minute))
			p.Kept = append(p.Kept, []byte(cmp.Or(c.kept, c.hash)))
			p.Stripped = append(p.Stripped, strings.HasSuffix(c.kept, " without pixels"))
		}
		return p
	}
	one, two, three := plannedContent{sop: "1", hash: "x", version: 1, minute: 1}, plannedContent{sop: "2", hash: "y", version: 1, minute: 2}, plannedContent{sop: "3", hash: "z", version: 1, minute: 3}
	for name, c := range map[string]struct {
		packs []*stagedPack
		want  map[string][]int32
	}{
		"merged and its sources": {
			[]*stagedPack{pack("a", 3, one), pack("b", 3, two), pack("c", 3, one, two)},
			map[string][]int32{"a": {0}, "b": {0}, "c": {1, 1}},
		},
		"late after a merge": {
			[]*stagedPack{pack("a", 3, one, two), pack("b", 3, three)},
			map[string][]int32{"a": {1, 1}, "b": {1}},
		},
		"the merged is damaged": {
			[]*stagedPack{pack("a", 3, one), pack("b", 3, two), pack("c", 2, two, three)},
			map[string][]int32{"a": {1}, "b": {1}, "c": {0, 1}},
		},
		"versions": {
			[]*stagedPack{pack("a", 3, one), pack("b", 3, plannedContent{sop: "1", hash: "w", version: 2, minute: 5})},
			map[string][]int32{"a": {1}, "b": {2}},
		},
		"versions merged": {
			[]*stagedPack{pack("a", 3, one, two), pack("b", 3, plannedContent{sop: "1", hash: "w", version: 2, minute: 5}), pack("c", 3, plannedContent{sop: "1", hash: "w", version: 2, minute: 5}, two, one)},
			map[string][]int32{"a": {0, 0}, "b": {0}, "c": {2, 1, 1}},
		},
		"a race that one publisher lost and repeated": {
			[]*stagedPack{pack("a", 3, plannedContent{sop: "1", hash: "x", version: 1, minute: 1}), pack("b", 3, plannedContent{sop: "1", hash: "w", version: 1, minute: 2}), pack("c", 3, plannedContent{sop: "1", hash: "x", version: 2, minute: 1})},
			map[string][]int32{"a": {2}, "b": {1}, "c": {0}},
		},
		"a race that one publisher lost and did not repeat": {
			[]*stagedPack{pack("a", 3, plannedContent{sop: "1", hash: "x", version: 1, minute: 5}), pack("b", 3, plannedContent{sop: "1", hash: "w", version: 1, minute: 2})},
			map[string][]int32{"a": {2}, "b": {1}},
		},
		"a manifest is lost": {
			[]*stagedPack{pack("a", 0, plannedContent{sop: "1", hash: "x", version: 0, minute: 9}), pack("b", 3, plannedContent{sop: "1", hash: "w", version: 1, minute: 2})},
			map[string][]int32{"a": {2}, "b": {1}},
		},
		"compressed and what it was made of": {
			[]*stagedPack{pack("a", 3, one, two), pack("b", 3, one.as("X"), two)},
			map[string][]int32{"a": {0, 0}, "b": {1, 1}},
		},
		"the compressed is damaged": {
			[]*stagedPack{pack("a", 3, one, two), pack("b", 2, one.as("X"))},
			map[string][]int32{"a": {1, 1}, "b": {0}},
		},
		"compressed, and another version": {
			[]*stagedPack{pack("a", 3, plannedContent{sop: "1", hash: "w", version: 2, minute: 5}), pack("b", 3, one.as("X"), two)},
			map[string][]int32{"a": {2}, "b": {1, 1}},
		},
		"a compressed one without its manifest, repaired": {
			[]*stagedPack{pack("a", 1, plannedContent{sop: "1", hash: "X", minute: 9}), pack("b", 3, one.as("X"))},
			map[string][]int32{"a": {0}, "b": {1}},
		},
		"a compressed one without its manifest, alone": {
			[]*stagedPack{pack("a", 1, plannedContent{sop: "1", hash: "X", minute: 9})},
			map[string][]int32{"a": {1}},
		},
		"with its pixel data and without": {
			[]*stagedPack{pack("a", 3, one, two), pack("b", 3, one.as("x without pixels"), two, three)},
			map[string][]int32{"a": {1, 0}, "b": {0, 1, 1}},
		},
		"without its pixel data, and a later version": {
			[]*stagedPack{pack("a", 3, plannedContent{sop: "1", hash: "w", version: 2, minute: 5}), pack("b", 3, one.as("x without pixels"))},
			map[string][]int32{"a": {2}, "b": {1}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				plan(rapid.Permutation(c.packs).Draw(rt, "packs"), nil, "")
				for _, p := range c.packs {
					if !slices.Equal(p.Plan, c.want[p.Key]) {
						rt.Fatalf("%s: %v, want %v", p.Key, p.Plan, c.want[p.Key])
					}
				}
			})
		})
	}
}
