package worklist_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/worklist"
	"github.com/tasvir-pacs/tasvir/worklist/worklisttest"
)

// atOnce runs f n times at once.
func atOnce(n int, f func(i int)) {
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-start
			f(i)
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
}

func TestExactlyOneClaims(t *testing.T) {
	s := worklisttest.Open(t)
	const n = 50
	people := make([]int64, n)
	group := worklist.Group{Name: "G"}
	for i := range people {
		people[i] = s.Person(fmt.Sprintf("r%d", i), pacs.Radiologist).ID
	}
	group.Members = people
	group, err := s.Worklist.AddGroup(t.Context(), group)
	if err != nil {
		t.Fatal(err)
	}
	s.Rule(group)
	task := s.Task("A")
	errs := make([]error, n)
	atOnce(n, func(i int) {
		_, errs[i] = s.Worklist.Claim(context.Background(), everywhere, task.ID, people[i])
	})
	held, err := s.Worklist.Task(t.Context(), everywhere, task.ID)
	if err != nil {
		t.Fatal(err)
	}
	winners := 0
	for i, err := range errs {
		if err == nil {
			winners++
			if held.ClaimedBy != people[i] {
				t.Errorf("%d was told that they hold the task, but %d does", people[i], held.ClaimedBy)
			}
			continue
		}
		wantCode(t, err, pacs.Conflict, "claimed_by_other")
		if _, who := pacs.ReasonOf(err); who != held.ClaimedByName {
			t.Errorf("the loser hears of %q, the holder is %q", who, held.ClaimedByName)
		}
	}
	if winners != 1 {
		t.Errorf("%d won", winners)
	}
}

func TestClaimNextGivesEachATaskOfTheirOwn(t *testing.T) {
	s := worklisttest.Open(t)
	const n = 12
	people := make([]int64, n)
	for i := range people {
		people[i] = s.Person(fmt.Sprintf("r%d", i), pacs.Radiologist).ID
	}
	group, err := s.Worklist.AddGroup(t.Context(), worklist.Group{Name: "G", Members: people})
	if err != nil {
		t.Fatal(err)
	}
	s.Rule(group)
	for range n - 2 { // two go away empty-handed
		s.Task("A")
	}
	got := make([]worklist.Task, n)
	errs := make([]error, n)
	atOnce(n, func(i int) {
		got[i], errs[i] = s.Worklist.ClaimNext(context.Background(), everywhere, people[i])
	})
	taken := map[string]bool{}
	for i, err := range errs {
		if err != nil {
			wantCode(t, err, pacs.NotFound, "")
			continue
		}
		if taken[got[i].ID] || got[i].ClaimedBy != people[i] || got[i].State != worklist.Claimed {
			t.Errorf("%d got %+v", people[i], got[i])
		}
		taken[got[i].ID] = true
	}
	if len(taken) != n-2 {
		t.Errorf("%d of %d tasks were given out", len(taken), n-2)
	}
}

func TestClaimNextTakesTheMostUrgentOfOnesGroups(t *testing.T) {
	s := worklisttest.Open(t)
	r := s.Person("r", pacs.Radiologist)
	mine, others := s.Group("Mine", r), s.Group("Others")
	to := func(g worklist.Group, facility string, p worklist.Priority) worklist.Task {
		rule := s.Rule(g, func(r *worklist.Rule) { r.Position, r.Priority = 1, p })
		defer func() {
			if err := s.Worklist.RemoveRule(t.Context(), rule.ID); err != nil {
				t.Fatal(err)
			}
		}()
		return s.Task(facility)
	}
	routine := to(mine, "A", worklist.Routine)
	elsewhere := to(mine, "B", worklist.Stat)
	urgent := to(mine, "A", worklist.Urgent)
	to(others, "A", worklist.Stat)
	unrouted := s.Task("A") // no group: may be claimed, but nobody is sent there

	for _, want := range []worklist.Task{urgent, routine} {
		got, err := s.Worklist.ClaimNext(t.Context(), only(s.A), r.ID)
		if err != nil || got.ID != want.ID {
			t.Errorf("next is %s %s, want %s (%v)", got.ID, got.Priority, want.ID, err)
		}
	}
	_, err := s.Worklist.ClaimNext(t.Context(), only(s.A), r.ID)
	wantCode(t, err, pacs.NotFound, "")
	if got, err := s.Worklist.ClaimNext(t.Context(), everywhere, r.ID); err != nil || got.ID != elsewhere.ID {
		t.Errorf("with all facilities in scope: %s (%v)", got.ID, err)
	}
	if _, err := s.Worklist.Claim(t.Context(), everywhere, unrouted.ID, r.ID); err != nil {
		t.Errorf("a task without a group: %v", err)
	}
}

func TestClaimAndRelease(t *testing.T) {
	s := worklisttest.Open(t)
	me, colleague, stranger := s.Person("me", pacs.Radiologist), s.Person("colleague", pacs.Radiologist), s.Person("stranger", pacs.Radiologist)
	s.Rule(s.Group("Neuro", me, colleague))
	task := s.Task("A")
	ctx, w := t.Context(), s.Worklist

	_, err := w.Claim(ctx, everywhere, task.ID, stranger.ID)
	wantCode(t, err, pacs.Forbidden, "")
	if _, err := w.Release(ctx, everywhere, task.ID, stranger.ID); err != nil {
		t.Errorf("releasing an open task: %v", err)
	}
	for _, id := range []string{"", "1", "x", "00000000-0000-0000-0000-000000000000", task.ID[:35], "{" + task.ID + "}", "urn:uuid:" + task.ID, "' OR true --", "\x00"} {
		_, err := w.Claim(ctx, everywhere, id, me.ID)
		wantCode(t, err, pacs.NotFound, "")
	}
	for range 2 {
		got, err := w.Claim(ctx, everywhere, task.ID, me.ID)
		if err != nil || got.ClaimedBy != me.ID || got.ClaimedAt.IsZero() {
			t.Errorf("claiming: %+v %v", got, err)
		}
	}
	// Outside of the facility the task does not exist, whoever holds it.
	for what, f := range map[string]func(context.Context, pacs.Scope, string, int64) (worklist.Task, error){"claim": w.Claim, "release": w.Release} {
		for _, scope := range []pacs.Scope{only(s.B), {}} {
			if _, err := f(ctx, scope, task.ID, me.ID); pacs.CodeOf(err) != pacs.NotFound {
				t.Errorf("%s from another facility: %v", what, err)
			}
		}
	}
	_, err = w.Claim(ctx, everywhere, task.ID, colleague.ID)
	wantCode(t, err, pacs.Conflict, "claimed_by_other")
	_, err = w.Claim(ctx, everywhere, task.ID, stranger.ID)
	wantCode(t, err, pacs.Conflict, "claimed_by_other")
	_, err = w.Release(ctx, everywhere, task.ID, colleague.ID)
	wantCode(t, err, pacs.Conflict, "claimed_by_other")

	for range 2 {
		got, err := w.Release(ctx, everywhere, task.ID, me.ID)
		if err != nil || got.State != worklist.Open || got.ClaimedBy != 0 || !got.ClaimedAt.IsZero() {
			t.Errorf("releasing: %+v %v", got, err)
		}
	}
	if got, err := w.Claim(ctx, everywhere, task.ID, colleague.ID); err != nil || got.ClaimedBy != colleague.ID {
		t.Errorf("claiming what was released: %+v %v", got, err)
	}

	if err := pgx.BeginFunc(ctx, s.Index.Pool(), func(tx pgx.Tx) error { return w.MarkSigned(ctx, tx, task, colleague.ID) }); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids(me, colleague) {
		_, err = w.Claim(ctx, everywhere, task.ID, id)
		wantCode(t, err, pacs.Conflict, "already_signed")
		_, err = w.Release(ctx, everywhere, task.ID, id)
		wantCode(t, err, pacs.Conflict, "already_signed")
	}
}

// Claims and releases at once end in a state that is true, and nobody in the
// group hears that they are not in it.
func TestClaimWhileOthersRelease(t *testing.T) {
	s := worklisttest.Open(t)
	a, b := s.Person("a", pacs.Radiologist), s.Person("b", pacs.Radiologist)
	s.Rule(s.Group("G", a, b))
	task := s.Task("A")
	var mu sync.Mutex
	var unexpected error
	atOnce(8, func(i int) {
		me := ids(a, b)[i%2]
		for range 20 {
			if _, err := s.Worklist.Claim(context.Background(), everywhere, task.ID, me); err == nil {
				_, err = s.Worklist.Release(context.Background(), everywhere, task.ID, me)
				if reason, _ := pacs.ReasonOf(err); reason == "claimed_by_other" {
					continue // my other window has released it, and someone else was quick
				} else if err != nil {
					mu.Lock()
					unexpected = errors.Join(unexpected, err)
					mu.Unlock()
				}
			} else if reason, _ := pacs.ReasonOf(err); reason != "claimed_by_other" {
				mu.Lock()
				unexpected = errors.Join(unexpected, err)
				mu.Unlock()
			}
		}
	})
	if unexpected != nil {
		t.Error(unexpected)
	}
}
